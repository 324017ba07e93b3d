//! From logits to a verdict: classes and counts of each slice as it comes, evidence over all of them at the end.

use super::bags::Bags;
use super::{Outcome, Report, Rules};
use crate::evidence::{pool, sigmoid, strongest};
use crate::label::Class;
use crate::model::{Manifest, Model, Outputs, Rule};
use crate::patch::{Grid, Patches};
use crate::series::Series;
use ndarray::{Array2, Array3, Axis};
use std::collections::BTreeMap;

/// The hematoma probability of every patch of a series: 4 KiB a slice at 32x32 patches. Of a model of bags, that of
/// every bag: one a slice.
pub(super) struct Evidence {
    grid: Grid,
    hematoma: usize,
    probabilities: Vec<f32>,
    /// Patches called hematoma, each times the slab that its slice stands for: the volume but for a patch's area.
    hematoma_patch_mm: f64,
    /// Probability and class of each unique patch of the slice at hand.
    unique: Vec<(f32, Option<Class>)>,
    /// The bags' other labels, if the model is one of bags.
    bags: Option<Bags>,
}

impl Evidence {
    pub fn new(model: &Model, grid: Grid) -> Self {
        // The manifest was refused if it had no such label.
        let hematoma = model.labels().iter().position(|&label| label == Class::Hematoma).unwrap_or(0);
        let bags = model.bag_labels().map(Bags::new);
        Self { grid, hematoma, probabilities: Vec::new(), hematoma_patch_mm: 0.0, unique: Vec::new(), bags }
    }

    /// Takes in a slice: classes for each place of the grid, and how many of each there are.
    ///
    /// # Shape
    /// `logits` is `[unique patches, outputs]`.
    ///
    /// # Units
    /// `slab_mm`: how much of the patient the slice stands for.
    pub fn add(
        &mut self,
        model: &Model,
        logits: &Array2<f32>,
        patches: &Patches,
        slab_mm: f64,
        classes: &mut Vec<Option<Class>>,
    ) -> [u32; Class::COUNT] {
        let Manifest { evidence, network, .. } = model.manifest();
        let from = evidence.patch_probability;
        self.unique.clear();
        match &mut self.bags {
            Some(bags) => {
                let hematoma = bags.read(logits.view(), patches, from, &mut self.unique);
                self.probabilities.push(hematoma);
            }
            None => {
                for logits in logits.outer_iter() {
                    let logits = logits.to_slice().expect("rows of a standard layout");
                    let probability = match network.outputs {
                        Outputs::Sigmoid => sigmoid(logits[self.hematoma] / evidence.temperature),
                        _ => softmax(logits, self.hematoma, evidence.temperature),
                    };
                    let class = if probability >= from {
                        Class::Hematoma
                    } else {
                        model.labels()[largest_but(logits, self.hematoma)]
                    };
                    self.unique.push((probability, Some(class)));
                }
            }
        }
        let mut counts = [0; Class::COUNT];
        classes.clear();
        for (&place, &in_bag) in patches.places().iter().zip(patches.in_bag()) {
            let (probability, class) = self.unique[place as usize];
            let class = if self.bags.is_none() {
                self.probabilities.push(probability);
                class
            } else {
                class.filter(|_| in_bag)
            };
            classes.push(class);
            if let Some(class) = class {
                counts[class.index()] += 1;
            }
        }
        self.hematoma_patch_mm += f64::from(counts[Class::Hematoma.index()]) * slab_mm;
        counts
    }

    /// Scores of all slices, volume, probability and outcome, into a report whose slices have their counts.
    pub fn conclude(self, model: &Model, series: &Series, report: &mut Report) {
        let evidence = &model.manifest().evidence;
        report.bag_labels = self.bags.map(|bags| bags.markers(&evidence.pooling)).unwrap_or_default();
        let strongest = strongest_of(model, self.grid, report.slices.len(), self.probabilities);
        for (slice, &strength) in report.slices.iter_mut().zip(&strongest) {
            slice.score = evidence.slice.probability(strength);
        }
        let hematoma = Class::Hematoma.index();
        report.hematoma_patches = report.slices.iter().map(|slice| slice.counts[hematoma]).sum();
        let side = self.grid.size.pixels() as f64;
        let patch_mm2 = series.pixel_spacing_mm.map(|[row_mm, column_mm]| side * row_mm * side * column_mm);
        report.hematoma_volume_ml = patch_mm2.map(|mm2| mm2 * self.hematoma_patch_mm / 1000.0);
        let most = strongest.into_iter().fold(0.0, f32::max);
        (report.rules, report.outcome) = decide(model, most, report.hematoma_patches);
    }

    /// The probabilities of the slices that were taken in.
    pub fn into_probabilities(self) -> Vec<f32> {
        self.probabilities
    }
}

/// The strongest pooled evidence of each of consecutive slices.
pub(super) fn strongest_of(model: &Model, grid: Grid, slices: usize, probabilities: Vec<f32>) -> Vec<f32> {
    // Of bags there is one a slice.
    let (rows, columns) = if model.bag_labels().is_some() { (1, 1) } else { (grid.rows, grid.columns) };
    let shape = (slices, rows, columns);
    let probabilities = Array3::from_shape_vec(shape, probabilities).expect("one grid a slice");
    let pooled = pool(&model.manifest().evidence.pooling, probabilities.view());
    pooled.axis_iter(Axis(0)).map(strongest).collect()
}

/// What the rules make of a study's strongest evidence and its hematoma patches.
pub(super) fn decide(model: &Model, most: f32, hematoma_patches: u32) -> (Rules, Outcome) {
    let Manifest { evidence, decision, .. } = model.manifest();
    let probability = evidence.study.probability(most);
    let rules = Rules { bag: hematoma_patches > 0, threshold: probability >= decision.study_probability };
    let alert = match decision.rule {
        Rule::Bag => rules.bag,
        Rule::Threshold => rules.threshold,
    };
    (rules, if alert { Outcome::Alert { probability } } else { Outcome::NoAlert { probability } })
}

/// The numbers of a manifest that a verdict depends on.
pub(super) fn thresholds(manifest: &Manifest) -> BTreeMap<String, f64> {
    let Manifest { evidence, decision, .. } = manifest;
    // Shortest decimal form: 0.8 and not 0.800000011920929.
    let plain = |value: f32| value.to_string().parse().unwrap_or(f64::from(value));
    [
        ("temperature", evidence.temperature),
        ("patch_probability", evidence.patch_probability),
        ("sigma_slices", evidence.pooling.sigma_slices),
        ("sigma_patches", evidence.pooling.sigma_patches),
        ("slice_intercept", evidence.slice.intercept),
        ("slice_slope", evidence.slice.slope),
        ("study_intercept", evidence.study.intercept),
        ("study_slope", evidence.study.slope),
        ("slice_probability", decision.slice_probability),
        ("study_probability", decision.study_probability),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), plain(value)))
    .collect()
}

/// The softmax probability of one output.
fn softmax(logits: &[f32], index: usize, temperature: f32) -> f32 {
    let sum: f32 = logits.iter().map(|&logit| libm::expf((logit - logits[index]) / temperature)).sum();
    1.0 / sum
}

/// The largest output but one; the first of equals. With a single output, that one.
fn largest_but(logits: &[f32], index: usize) -> usize {
    let mut best = usize::from(index == 0).min(logits.len() - 1);
    for (i, &logit) in logits.iter().enumerate() {
        if i != index && logit > logits[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_is_a_probability_even_of_large_logits() {
        assert!((softmax(&[0.0, 0.0], 0, 1.0) - 0.5).abs() < 1e-6);
        assert_eq!(softmax(&[0.0, 500.0], 0, 1.0), 0.0);
        assert_eq!(softmax(&[0.0, 500.0], 1, 1.0), 1.0);
        let total: f32 = (0..4).map(|i| softmax(&[1.0, -2.0, 0.3, 4.0], i, 1.7)).sum();
        assert!((total - 1.0).abs() < 1e-5);
    }

    #[test]
    fn two_outputs_are_as_sure_as_their_difference_is_large() {
        for (difference, temperature) in [(0.0, 1.0), (3.0, 1.0), (-2.5, 4.0)] {
            let both = softmax(&[difference, 0.0], 0, temperature);
            assert!((both - sigmoid(difference / temperature)).abs() < 1e-6);
        }
    }

    #[test]
    fn the_largest_of_the_others_is_named() {
        assert_eq!(largest_but(&[9.0, 1.0, 3.0], 0), 2);
        assert_eq!(largest_but(&[1.0, 9.0, 3.0], 1), 2);
        assert_eq!(largest_but(&[1.0], 0), 0);
    }
}
