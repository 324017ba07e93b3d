//! Holds quantized networks against the f32 one on whole patients: the same patches, the same
//! slices, all networks in one pass.

use super::QuantizeError;
use super::calibrate::Method;
use super::reference::Reference;
use crate::metrics;
use crate::net::ResNet18;
use crate::recipe::Recipe;
use crate::score;
use crate::shard::Shard;
use crate::split::{Side, Split};
use hemapatch::evidence;
use hemapatch::label::Class;
use indicatif::ProgressBar;
use ndarray::{Array3, Axis, aview1};
use serde::{Deserialize, Serialize};

/// How close a quantized network is to the f32 one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closeness {
    /// How its activations' ranges were chosen.
    pub method: Method,
    /// Share of the patches whose largest logit is the same one.
    pub argmax_agreement: f64,
    /// The same among patches that either network calls hematoma.
    pub hematoma_agreement: Option<f64>,
    /// Root of the mean squared difference of the logits.
    pub logit_error: f64,
    /// Largest difference of a logit.
    pub logit_error_largest: f64,
    /// Area under the slices' ROC curve, from the strongest pooled evidence.
    pub slice_auc: Option<f64>,
}

/// The comparison of some quantized networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Whose patients.
    pub side: Side,
    /// Patches compared: those of a slice that are equal count once.
    pub patches: u64,
    /// Slices compared.
    pub slices: usize,
    /// Area under the slices' ROC curve in f32.
    pub slice_auc: Option<f64>,
    /// One line a quantized network.
    pub methods: Vec<Closeness>,
}

/// What is counted of one quantized network.
#[derive(Clone, Default)]
struct Tally {
    agreeing: u64,
    hematoma_of_both: u64,
    hematoma_of_either: u64,
    squares: f64,
    logits: u64,
    largest: f64,
    cases: Vec<(f32, bool)>,
}

impl Tally {
    fn add(&mut self, expected: &[f32], found: &[f32], classes: usize) {
        for (expected, found) in expected.chunks_exact(classes).zip(found.chunks_exact(classes)) {
            let [a, b] = [expected, found].map(|logits| score::most_probable(aview1(logits)));
            let hematoma = [a, b].map(|called| called == Class::Hematoma.index());
            self.agreeing += u64::from(a == b);
            self.hematoma_of_both += u64::from(hematoma == [true; 2]);
            self.hematoma_of_either += u64::from(hematoma != [false; 2]);
            for (a, b) in expected.iter().zip(found) {
                let off = f64::from((a - b).abs());
                self.squares += off * off;
                self.largest = self.largest.max(off);
            }
            self.logits += classes as u64;
        }
    }

    fn closeness(&self, method: Method, patches: u64) -> Closeness {
        let share = |part: u64, all: u64| (all > 0).then(|| part as f64 / all as f64);
        Closeness {
            method,
            // Nothing that was compared agrees with nothing.
            argmax_agreement: share(self.agreeing, patches).unwrap_or(0.0),
            hematoma_agreement: share(self.hematoma_of_both, self.hematoma_of_either),
            logit_error: (self.squares / self.logits.max(1) as f64).sqrt(),
            logit_error_largest: self.largest,
            slice_auc: metrics::auc(&self.cases),
        }
    }
}

/// Runs `net` and `candidates` over a side's patients.
///
/// # Errors
/// [`QuantizeError::Torch`].
pub fn compare(
    net: &ResNet18,
    candidates: &[(Method, Reference)],
    recipe: &Recipe,
    shard: &Shard,
    (split, side): (&Split, Side),
    progress: &ProgressBar,
) -> Result<Comparison, QuantizeError> {
    let grid = score::grid(recipe, shard);
    let classes = net.shape.classes as usize;
    // The f32 network's tally is the last.
    let mut tallies = vec![Tally::default(); candidates.len() + 1];
    let mut counted = 0;
    let patients = split.slices_of(shard.index(), side);
    progress.set_length(patients.len() as u64);
    for slices in patients {
        let mut maps = vec![Array3::zeros((slices.len(), grid.rows, grid.columns)); tallies.len()];
        score::for_each_slice(recipe, shard, slices.clone(), |at, patches| {
            let (expected, _) = score::logits(net, patches.unique())?.into_raw_vec_and_offset();
            counted += (expected.len() / classes) as u64;
            let mut all = Vec::with_capacity(tallies.len());
            for ((_, candidate), tally) in candidates.iter().zip(&mut tallies) {
                let found = candidate.logits(patches.unique())?;
                tally.add(&expected, &found, classes);
                all.push(found);
            }
            all.push(expected);
            for (map, logits) in maps.iter_mut().zip(&all) {
                for (place, &index) in patches.places().iter().enumerate() {
                    let of_patch = &logits[index as usize * classes..][..classes];
                    map[[at, place / grid.columns, place % grid.columns]] =
                        score::hematoma(recipe.method, aview1(of_patch), 1.0);
                }
            }
            Ok::<(), QuantizeError>(())
        })?;
        for (tally, map) in tallies.iter_mut().zip(&maps) {
            let pooled = evidence::pool(&recipe.pooling, map.view());
            let scores = pooled.axis_iter(Axis(0)).map(evidence::strongest);
            let boxed = shard.index().slices[slices.clone()].iter().map(|slice| slice.boxed);
            tally.cases.extend(scores.zip(boxed));
        }
        progress.inc(1);
    }
    let in_f32 = &tallies[candidates.len()].cases;
    Ok(Comparison {
        side,
        patches: counted,
        slices: in_f32.len(),
        slice_auc: metrics::auc(in_f32),
        methods: candidates
            .iter()
            .zip(&tallies)
            .map(|((method, _), tally)| tally.closeness(*method, counted))
            .collect(),
    })
}
