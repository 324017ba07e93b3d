//! Runs a network over a patient's slices, cut and pooled by the engine's own code.

use crate::calibration::Target;
use crate::metrics::ConfusionMatrix;
use crate::net::{ResNet18, Shape};
use crate::recipe::{Method, Recipe};
use crate::shard::{Shard, SliceEntry};
use crate::shares::{Fill, PatchLabel, Shares};
use hemapatch::evidence;
use hemapatch::label::{BagLabel, Class};
use hemapatch::patch::{Grid, Neighbourhood, Patches, Pyramid};
use ndarray::{Array2, Array3, ArrayView1, ArrayView2, ArrayView3, Axis, s};
use std::ops::Range;
use tch::nn::ModuleT;
use tch::{Kind, Tensor};

/// Patches of one forward pass.
pub(crate) const FORWARD: usize = 512;

/// A patient's patch probabilities, and what the annotation says of its slices.
#[derive(Clone, Debug)]
pub struct ScoredStudy {
    /// The data set's own pseudonym.
    pub patient: String,
    /// Probability of hematoma, `[slices, grid rows, grid columns]`.
    pub hematoma: Array3<f32>,
    /// What a network of bags says of the slices.
    pub bags: Option<BagScores>,
    /// Whether each slice has a lesion box.
    pub boxed: Vec<bool>,
    /// Slices to the nearest boxed one.
    pub box_distance: Vec<Option<usize>>,
    /// Certain patches: true class against called class.
    pub patches: ConfusionMatrix,
    /// Certain patches: probability of hematoma, and whether it is one.
    pub certain: Vec<(f32, bool)>,
    /// What the network is asked, hence how its logits become probabilities.
    pub method: Method,
    /// Logits of every place of the grid, slice by slice, row by row: `[places, classes]`; none of a network of
    /// bags, whose patches have no classes.
    pub logits: Array2<f32>,
    /// Certain patches and weak negatives: their places in `logits`, and what they are.
    pub taught: Vec<(usize, Target)>,
    /// Pixels labelled hematoma, slice by slice.
    pub hematoma_pixels: Vec<usize>,
}

/// The bags of a patient's slices.
#[derive(Clone, Debug)]
pub struct BagScores {
    /// The bags' labels.
    pub labels: Vec<BagLabel>,
    /// Place of hematoma among them.
    pub hematoma: usize,
    /// Probability of each label, `[labels, slices]`.
    pub probabilities: Array2<f32>,
    /// Slice by slice, what is known of each label.
    pub truths: Vec<Vec<Option<bool>>>,
}

impl ScoredStudy {
    /// A patient's slices before any patch of them is scored.
    pub(crate) fn unscored(entries: &[SliceEntry], grid: Grid, method: Method) -> ScoredStudy {
        ScoredStudy {
            patient: entries.first().map(|entry| entry.patient.clone()).unwrap_or_default(),
            hematoma: Array3::zeros((entries.len(), grid.rows, grid.columns)),
            bags: None,
            boxed: entries.iter().map(|entry| entry.boxed).collect(),
            box_distance: entries.iter().map(|entry| entry.box_distance).collect(),
            patches: ConfusionMatrix::default(),
            certain: Vec::new(),
            method,
            logits: Array2::zeros((0, 0)),
            taught: Vec::new(),
            hematoma_pixels: vec![0; entries.len()],
        }
    }

    /// What slices and studies are judged by: the patches' probabilities, or the bags', a grid of one a slice.
    #[must_use]
    pub fn evidence(&self) -> ArrayView3<'_, f32> {
        match &self.bags {
            Some(bags) => bags.probabilities.row(bags.hematoma).insert_axis(Axis(1)).insert_axis(Axis(1)),
            None => self.hematoma.view(),
        }
    }

    /// Gives all patches the probabilities that their logits have at this temperature.
    pub fn temper(&mut self, temperature: f32) {
        if self.logits.is_empty() {
            return;
        }
        let probability = |logits: ArrayView1<f32>| hematoma(self.method, logits, temperature);
        for (patch, logits) in self.hematoma.iter_mut().zip(self.logits.outer_iter()) {
            *patch = probability(logits);
        }
        let certain = self.taught.iter().filter_map(|&(place, target)| match target {
            Target::Class(class) => {
                Some((probability(self.logits.row(place)), class == Class::Hematoma.index()))
            }
            Target::NotHematoma => None,
        });
        self.certain = certain.collect();
    }
}

/// The probability of hematoma, of a patch's logits divided by a temperature.
pub(crate) fn hematoma(method: Method, logits: ArrayView1<f32>, temperature: f32) -> f32 {
    match method {
        Method::Multilabel => evidence::sigmoid(logits[Class::Hematoma.index()] / temperature),
        Method::Single | Method::Mil => softmax(logits, Class::Hematoma.index(), temperature),
    }
}

/// The probability of one class, of logits divided by a temperature.
fn softmax(logits: ArrayView1<f32>, class: usize, temperature: f32) -> f32 {
    let share = |logit: f32| libm::expf((logit - logits[class]) / temperature);
    1.0 / logits.iter().map(|&logit| share(logit)).sum::<f32>()
}

/// A network that whole patients can be scored by.
pub trait Scorer {
    /// Scores the patient whose slices are `slices` of the shard.
    ///
    /// # Errors
    /// [`ScoreError`].
    fn score_study(
        &self,
        recipe: &Recipe,
        shard: &Shard,
        slices: Range<usize>,
    ) -> Result<ScoredStudy, ScoreError>;
}

impl Scorer for ResNet18 {
    fn score_study(
        &self,
        recipe: &Recipe,
        shard: &Shard,
        slices: Range<usize>,
    ) -> Result<ScoredStudy, ScoreError> {
        score_study(self, recipe, shard, slices)
    }
}

/// Logits of the classes for patches of gray levels.
///
/// # Shape
/// `gray` is `[patches, views, size, size]`, the result `[patches, classes]`.
///
/// # Errors
/// When libtorch fails.
pub fn logits(net: &ResNet18, gray: &[u8]) -> Result<Array2<f32>, tch::TchError> {
    forward(net, gray, |logits| logits)
}

/// Probabilities of a method's classes for patches of gray levels, as [`logits`].
///
/// # Errors
/// When libtorch fails.
pub fn probabilities(net: &ResNet18, method: Method, gray: &[u8]) -> Result<Array2<f32>, tch::TchError> {
    forward(net, gray, |logits| match method {
        Method::Multilabel => logits.sigmoid(),
        Method::Single | Method::Mil => logits.softmax(1, Kind::Float),
    })
}

fn forward(
    net: &ResNet18,
    gray: &[u8],
    finish: impl Fn(Tensor) -> Tensor,
) -> Result<Array2<f32>, tch::TchError> {
    let Shape { views, size, classes } = net.shape;
    let patch_bytes = (views * size * size) as usize;
    let (patches, classes) = (gray.len() / patch_bytes, classes as usize);
    let device = net.head.ws.device();
    let mut outputs = Vec::with_capacity(patches * classes);
    for gray in gray.chunks(FORWARD * patch_bytes) {
        let patches = (gray.len() / patch_bytes) as i64;
        // Bytes travel, floats are made where they are used.
        let input = Tensor::from_slice(gray).view([patches, views, size, size]).to_device(device);
        let output = tch::no_grad(|| finish(net.forward_t(&input.to_kind(Kind::Float), false)));
        outputs.extend(Vec::<f32>::try_from(output.contiguous().view([-1]))?);
    }
    Ok(Array2::from_shape_vec((patches, classes), outputs).expect("one row a patch"))
}

/// Why a patient cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// The network is broken, by a learning rate too high, say.
    #[error("the network gives patient {0} scores that are no numbers")]
    NotANumber(String),
}

/// Cuts the patches of a patient's slices, one slice after the other, and hands them over with the slice's place
/// among them.
///
/// # Errors
/// Whatever `visit` fails with.
pub(crate) fn for_each_slice<E>(
    recipe: &Recipe,
    shard: &Shard,
    slices: Range<usize>,
    mut visit: impl FnMut(usize, &Patches) -> Result<(), E>,
) -> Result<(), E> {
    let pyramids: Vec<Pyramid> = slices.map(|slice| Pyramid::of(shard.gray(slice))).collect();
    let mut patches = Patches::new(grid(recipe, shard), &recipe.views);
    for (at, this) in pyramids.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| pyramids.get(before));
        patches.cut(Neighbourhood { before, this, after: pyramids.get(at + 1) });
        visit(at, &patches)?;
    }
    Ok(())
}

/// The grid that a recipe lays over a shard's slices.
pub(crate) fn grid(recipe: &Recipe, shard: &Shard) -> Grid {
    Grid::over(shard.index().rows, shard.index().columns, recipe.patch_size)
}

/// What is known of each whole patch of a slice: the places of the grid, and the patches' pixels by class.
pub(crate) fn whole_patches<'a>(
    classes: ArrayView2<'a, u8>,
    grid: Grid,
    size: usize,
) -> impl Iterator<Item = (usize, Shares)> + 'a {
    (0..grid.patches()).filter_map(move |place| {
        let (top, left) = (place / grid.columns * size, place % grid.columns * size);
        let whole = top + size <= classes.nrows() && left + size <= classes.ncols();
        whole.then(|| (place, Shares::of(classes.slice(s![top..top + size, left..left + size]))))
    })
}

/// Scores the patient whose slices are `slices` of the shard.
///
/// # Errors
/// [`ScoreError`].
pub fn score_study(
    net: &ResNet18,
    recipe: &Recipe,
    shard: &Shard,
    slices: Range<usize>,
) -> Result<ScoredStudy, ScoreError> {
    let grid = grid(recipe, shard);
    let entries = &shard.index().slices[slices.clone()];
    let known = recipe.method.classes();
    let mut study = ScoredStudy {
        patches: ConfusionMatrix::new(known.iter().map(|class| class.name())),
        ..ScoredStudy::unscored(entries, grid, recipe.method)
    };
    let fill = Fill { other: recipe.labels.fill, hematoma: recipe.labels.hematoma_fill };
    let size = recipe.patch_size.pixels();
    let mut all_logits: Vec<f32> = Vec::with_capacity(slices.len() * grid.patches() * known.len());
    for_each_slice(recipe, shard, slices.clone(), |at, patches| {
        let unique = logits(net, patches.unique())?;
        let first = all_logits.len() / known.len();
        for &index in patches.places() {
            all_logits.extend(unique.row(index as usize));
        }
        let classes = shard.classes(slices.start + at);
        study.hematoma_pixels[at] = hematoma_pixels(classes);
        let far_from_boxes =
            entries[at].box_distance.is_none_or(|distance| distance >= recipe.labels.box_distance);
        for (place, shares) in whole_patches(classes, grid, size) {
            let target = match shares.label(fill, known, far_from_boxes) {
                PatchLabel::Certain(truth) => {
                    let called = most_probable(unique.row(patches.places()[place] as usize));
                    study.patches.add(truth.index(), called);
                    Target::Class(truth.index())
                }
                PatchLabel::WeakNegative => Target::NotHematoma,
                PatchLabel::Unknown => continue,
            };
            study.taught.push((first + place, target));
        }
        Ok::<(), ScoreError>(())
    })?;
    if all_logits.iter().any(|logit| !logit.is_finite()) {
        return Err(ScoreError::NotANumber(study.patient));
    }
    study.logits = Array2::from_shape_vec((all_logits.len() / known.len(), known.len()), all_logits)
        .expect("one row a place");
    study.temper(1.0);
    Ok(study)
}

/// How many pixels are labelled hematoma.
pub(crate) fn hematoma_pixels(classes: ArrayView2<u8>) -> usize {
    classes.iter().filter(|&&class| class == Class::Hematoma as u8).count()
}

/// Index of the most probable class, of probabilities or of logits.
#[must_use]
pub fn most_probable(probability: ArrayView1<f32>) -> usize {
    (1..probability.len())
        .fold(0, |best, class| if probability[class] > probability[best] { class } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::aview1;

    #[test]
    fn a_temperature_sharpens_and_changes_no_order() {
        let [cold, plain, warm] =
            [0.5, 1.0, 2.0].map(|temperature| softmax(aview1(&[2.0, 0.0, 0.0, 0.0]), 0, temperature));
        assert!(warm < plain && plain < cold);
        // At half the temperature a logit counts double.
        assert!((softmax(aview1(&[4.0, 0.0, 0.0, 0.0]), 0, 1.0) - cold).abs() < 1e-6);
        assert!((softmax(aview1(&[1e30, 1e30]), 0, 1.0) - 0.5).abs() < 1e-6);
    }
}
