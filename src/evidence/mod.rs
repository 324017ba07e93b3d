//! Evidence: from the patches' probabilities to a slice's and a study's.
//!
//! A single suspicious patch is weak evidence (a bone edge, partial volume); neighbours that agree, on
//! this slice and the next, are strong. Numbers come from the manifest, which trainer and engine share.

mod attention;

pub use attention::{Bag, sigmoid, times};

use ndarray::{Array3, ArrayView2, ArrayView3, Axis, Zip};
use serde::{Deserialize, Serialize};

/// Gaussian smoothing of hematoma probabilities over neighbouring slices and patches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pooling {
    /// Along the series.
    ///
    /// # Units
    /// Slices; 0 does not smooth.
    pub sigma_slices: f32,
    /// Within a slice.
    ///
    /// # Units
    /// Patches; 0 does not smooth.
    pub sigma_patches: f32,
}

/// Smooths the patch probabilities of a series.
///
/// At the borders the kernel's remaining weights are scaled to sum to 1.
///
/// # Shape
/// `[slices, grid rows, grid columns]`, in and out.
pub fn pool(pooling: &Pooling, probabilities: ArrayView3<'_, f32>) -> Array3<f32> {
    let mut pooled = probabilities.to_owned();
    for (axis, sigma) in [(0, pooling.sigma_slices), (1, pooling.sigma_patches), (2, pooling.sigma_patches)] {
        pooled = smooth(pooled, Axis(axis), &kernel(sigma));
    }
    pooled
}

/// Largest pooled evidence of a slice; 0 for an empty grid.
pub fn strongest(pooled: ArrayView2<'_, f32>) -> f32 {
    pooled.iter().fold(0.0, |most, &p| most.max(p))
}

/// One side of a Gaussian, its middle first, cut off at three sigma.
fn kernel(sigma: f32) -> Vec<f32> {
    if sigma <= 0.0 {
        return vec![1.0];
    }
    let reach = (3.0 * sigma).ceil() as usize;
    (0..=reach).map(|i| libm::expf(-((i * i) as f32) / (2.0 * sigma * sigma))).collect()
}

fn smooth(from: Array3<f32>, axis: Axis, kernel: &[f32]) -> Array3<f32> {
    if kernel.len() == 1 {
        return from;
    }
    let mut to = Array3::zeros(from.dim());
    let length = from.len_of(axis);
    for at in 0..length {
        let reach = kernel.len() - 1;
        let around = at.saturating_sub(reach)..(at + reach + 1).min(length);
        let total: f32 = around.clone().map(|other| kernel[other.abs_diff(at)]).sum();
        let mut out = to.index_axis_mut(axis, at);
        for other in around {
            let weight = kernel[other.abs_diff(at)] / total;
            Zip::from(&mut out).and(from.index_axis(axis, other)).for_each(|out, &p| *out += weight * p);
        }
    }
    to
}

/// A logistic map from pooled evidence to a probability, fitted on validation patients.
///
/// # Source
/// Platt 1999, on the logit of the evidence: intercept 0 and slope 1 change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Added to the scaled logit.
    pub intercept: f32,
    /// Scales the logit; positive, so that more evidence is never less probable.
    pub slope: f32,
}

impl Calibration {
    /// The logit that [`Calibration::probability`] scales: of the evidence, kept off 0 and 1.
    pub fn logit(evidence: f32) -> f32 {
        let p = evidence.clamp(1e-6, 1.0 - 1e-6);
        libm::logf(p / (1.0 - p))
    }

    /// The calibrated probability of `evidence` (0 to 1).
    pub fn probability(&self, evidence: f32) -> f32 {
        1.0 / (1.0 + libm::expf(-(self.intercept + self.slope * Self::logit(evidence))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POOLING: Pooling = Pooling { sigma_slices: 0.8, sigma_patches: 0.6 };

    /// Weighted mean over all of the series with the product kernel, cell by cell.
    fn reference_pool(pooling: &Pooling, p: &Array3<f32>) -> Array3<f32> {
        let weight = |sigma: f32, apart: usize| {
            if apart as f32 > (3.0 * sigma).ceil() {
                0.0
            } else if apart == 0 {
                1.0
            } else {
                libm::expf(-((apart * apart) as f32) / (2.0 * sigma * sigma))
            }
        };
        Array3::from_shape_fn(p.dim(), |at| {
            let (mut sum, mut total) = (0.0, 0.0);
            for (other, &value) in p.indexed_iter() {
                let w = weight(pooling.sigma_slices, at.0.abs_diff(other.0))
                    * weight(pooling.sigma_patches, at.1.abs_diff(other.1))
                    * weight(pooling.sigma_patches, at.2.abs_diff(other.2));
                sum += w * value;
                total += w;
            }
            sum / total
        })
    }

    proptest! {
        #[test]
        fn pooling_is_a_weighted_mean(
            values in proptest::collection::vec(0f32..1.0, 60), slices in 0f32..1.5, patches in 0f32..1.5,
        ) {
            let p = Array3::from_shape_vec((3, 4, 5), values).unwrap();
            let pooling = Pooling { sigma_slices: slices, sigma_patches: patches };
            let expected = reference_pool(&pooling, &p);
            for (pooled, expected) in pool(&pooling, p.view()).iter().zip(&expected) {
                prop_assert!((pooled - expected).abs() < 1e-5);
            }
        }

        #[test]
        fn more_evidence_is_never_less_probable(a in 0f32..=1.0, b in 0f32..=1.0, intercept in -9f32..9.0, slope in 0.01f32..5.0) {
            let calibration = Calibration { intercept, slope };
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(calibration.probability(low) <= calibration.probability(high));
        }
    }

    #[test]
    fn neighbours_that_agree_outweigh_a_lone_patch() {
        let mut lone = Array3::zeros((5, 8, 8));
        lone[[2, 3, 3]] = 1.0;
        let mut together = Array3::zeros((5, 8, 8));
        together.slice_mut(ndarray::s![1..4, 3..5, 3..5]).fill(0.9);
        let strongest_of = |p: &Array3<f32>| strongest(pool(&POOLING, p.view()).index_axis(Axis(0), 2));
        assert!(strongest_of(&together) > 2.0 * strongest_of(&lone));
    }

    #[test]
    fn the_plain_calibration_changes_nothing() {
        let plain = Calibration { intercept: 0.0, slope: 1.0 };
        for p in [0.01, 0.3, 0.5, 0.97] {
            assert!((plain.probability(p) - p).abs() < 1e-5);
        }
    }
}
