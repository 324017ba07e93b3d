//! The cases that figures are counted on: slices, studies, and what stands for a study without
//! hemorrhage, each with its patient.

use crate::agreement::Pair;
use crate::metrics::Case;
use crate::score::ScoredStudy;
use hemapatch::evidence::{self, Pooling};
use ndarray::{ArrayView2, ArrayView3, Axis, s};
use std::ops::Range;

/// Box-free runs shorter than this are no stand-in for a study.
const SHORTEST_RUN: usize = 3;

/// The cases of each patient: what a bootstrap draws from.
#[derive(Default)]
pub(super) struct Cases {
    /// Strongest pooled evidence of each slice.
    pub slices: Vec<Vec<Case>>,
    /// Strongest single patch of each slice.
    pub unpooled: Vec<Vec<Case>>,
    /// Full studies, and each box-free run.
    pub runs: Vec<Vec<Case>>,
    /// Full studies, and one negative a patient: the strongest of his box-free runs. A patient with
    /// many runs counts once, and must stay silent in all of them, as in a study without hemorrhage.
    pub studies: Vec<Vec<Case>>,
    /// Slices of full studies, and of box-free runs.
    pub lengths: [Vec<f64>; 2],
}

impl Cases {
    pub fn of(studies: &[ScoredStudy], pooling: &Pooling, box_distance: usize) -> Cases {
        let mut cases = Cases::default();
        for study in studies {
            let pooled = strongest(evidence::pool(pooling, study.evidence()).view());
            cases.slices.push(with_truth(&pooled, study));
            cases.unpooled.push(with_truth(&strongest(study.hematoma.view()), study));
            // Pooled by itself, a run knows nothing of the lesion some slices away.
            let mut runs: Vec<Case> = Vec::new();
            for run in box_free_runs(study, box_distance) {
                cases.lengths[1].push(run.len() as f64);
                let run = evidence::pool(pooling, study.evidence().slice(s![run, .., ..]));
                runs.push((largest(&strongest(run.view())), false));
            }
            let hemorrhage = study.boxed.contains(&true);
            cases.lengths[usize::from(!hemorrhage)].push(study.boxed.len() as f64);
            runs.push((largest(&pooled), hemorrhage));
            cases.studies.push(one_negative(&runs));
            cases.runs.push(runs);
        }
        cases
    }
}

/// Each slice's score with whether it has a box.
pub(super) fn with_truth(scores: &[f32], study: &ScoredStudy) -> Vec<Case> {
    scores.iter().copied().zip(study.boxed.iter().copied()).collect()
}

/// The same by counts: patches at or above `threshold`.
pub(super) fn counts(study: &ScoredStudy, threshold: f32) -> Vec<f32> {
    let count = |slice: ArrayView2<f32>| slice.iter().filter(|&&p| p >= threshold).count() as f32;
    study.hematoma.axis_iter(Axis(0)).map(count).collect()
}

/// The largest patch count of each full study and of each box-free run, and with one negative a
/// patient: what the paper's rule decides on.
pub(super) fn counted_studies(
    study: &ScoredStudy,
    counts: &[f32],
    box_distance: usize,
) -> (Vec<Case>, Vec<Case>) {
    let mut runs: Vec<Case> =
        box_free_runs(study, box_distance).map(|run| (largest(&counts[run]), false)).collect();
    runs.push((largest(counts), study.boxed.contains(&true)));
    let studies = one_negative(&runs);
    (runs, studies)
}

/// A patient's cases with the strongest of the negatives in place of them all.
fn one_negative(cases: &[Case]) -> Vec<Case> {
    let strongest = cases.iter().filter(|case| !case.1).max_by(|a, b| a.0.total_cmp(&b.0));
    strongest.into_iter().chain(cases.iter().filter(|case| case.1)).copied().collect()
}

/// Counted area against labelled area of each slice with labelled hematoma, and of the whole patient.
///
/// # Units
/// Pixels; `patch_pixels` is what a counted patch stands for.
pub(super) fn areas(study: &ScoredStudy, counts: &[f32], patch_pixels: usize) -> (Vec<Pair>, Pair) {
    let pairs: Vec<Pair> = counts
        .iter()
        .zip(&study.hematoma_pixels)
        .map(|(&count, &labelled)| [f64::from(count) * patch_pixels as f64, labelled as f64])
        .collect();
    let total = pairs.iter().fold([0.0, 0.0], |sum, pair| [sum[0] + pair[0], sum[1] + pair[1]]);
    (pairs.into_iter().filter(|pair| pair[1] > 0.0).collect(), total)
}

fn strongest(probabilities: ArrayView3<f32>) -> Vec<f32> {
    probabilities.axis_iter(Axis(0)).map(evidence::strongest).collect()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().copied().fold(0.0, f32::max)
}

/// Runs of slices at least `box_distance` away from every box.
pub(super) fn box_free_runs(study: &ScoredStudy, box_distance: usize) -> impl Iterator<Item = Range<usize>> {
    let far: Vec<bool> = study
        .box_distance
        .iter()
        .map(|distance| distance.is_some_and(|distance| distance >= box_distance))
        .collect();
    let mut runs = Vec::new();
    let mut start = 0;
    for run in far.chunk_by(|a, b| a == b) {
        if run[0] && run.len() >= SHORTEST_RUN {
            runs.push(start..start + run.len());
        }
        start += run.len();
    }
    runs.into_iter()
}
