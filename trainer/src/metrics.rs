//! Numbers that say how good a classifier is, and the calibration of its scores.
//!
//! Plain slices of scores and truths in, numbers out; which patients they come from is
//! `evaluate`'s business.

use crate::random::Random;
use hemapatch::evidence::Calibration;
use serde::{Deserialize, Serialize};

/// Area under the ROC curve: the chance that a positive scores above a negative, ties half.
///
/// `None` without a positive or without a negative.
#[must_use]
pub fn auc(cases: &[(f32, bool)]) -> Option<f64> {
    let mut ordered: Vec<(f32, bool)> = cases.to_vec();
    ordered.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut negatives_below, mut wins, mut positives) = (0u64, 0.0f64, 0u64);
    for equal in ordered.chunk_by(|a, b| a.0 == b.0) {
        let positive = equal.iter().filter(|case| case.1).count() as u64;
        let negative = equal.len() as u64 - positive;
        wins += positive as f64 * (negatives_below as f64 + 0.5 * negative as f64);
        negatives_below += negative;
        positives += positive;
    }
    (positives > 0 && negatives_below > 0).then(|| wins / (positives as f64 * negatives_below as f64))
}

/// A value with the interval that holds it in 95 % of the resampled patient groups.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value on all patients.
    pub value: f64,
    /// 2.5th percentile over resampled patients.
    pub low: f64,
    /// 97.5th percentile over resampled patients.
    pub high: f64,
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ({:.3} to {:.3})", self.value, self.low, self.high)
    }
}

/// How often patients are drawn again for an interval.
const BOOTSTRAP_ROUNDS: usize = 1000;

/// Bootstrap over patients, not slices: slices of one patient are no independent cases.
///
/// `measure` sees the cases of a drawn group of patients; draws where it is undefined are left
/// out. `None` where it is undefined on all patients.
pub fn bootstrap<Case: Copy>(
    patients: &[Vec<Case>],
    seed: u64,
    measure: impl Fn(&[Case]) -> Option<f64>,
) -> Option<Estimate> {
    let value = measure(&patients.concat())?;
    let mut random = Random::new(seed);
    let mut drawn = Vec::new();
    let mut values: Vec<f64> = (0..BOOTSTRAP_ROUNDS)
        .filter_map(|_| {
            drawn.clear();
            for _ in patients {
                drawn.extend_from_slice(&patients[random.below(patients.len())]);
            }
            measure(&drawn)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let percentile = |share: f64| values.get(((values.len() as f64 - 1.0) * share) as usize).copied();
    Some(Estimate {
        value,
        low: percentile(0.025).unwrap_or(value),
        high: percentile(0.975).unwrap_or(value),
    })
}

/// Share of the positives at or above `threshold`.
#[must_use]
pub fn sensitivity(cases: &[(f32, bool)], threshold: f32) -> Option<f64> {
    let positives = cases.iter().filter(|case| case.1).count();
    let found = cases.iter().filter(|case| case.1 && case.0 >= threshold).count();
    (positives > 0).then(|| found as f64 / positives as f64)
}

/// Share of the negatives below `threshold`.
#[must_use]
pub fn specificity(cases: &[(f32, bool)], threshold: f32) -> Option<f64> {
    let negatives = cases.iter().filter(|case| !case.1).count();
    let passed = cases.iter().filter(|case| !case.1 && case.0 < threshold).count();
    (negatives > 0).then(|| passed as f64 / negatives as f64)
}

/// The middle of `values`, of the two middle ones their mean; `None` without any.
#[must_use]
pub fn median(values: &[usize]) -> Option<f64> {
    let mut ordered = values.to_vec();
    ordered.sort_unstable();
    let (low, high) = (ordered.len().checked_sub(1)? / 2, ordered.len() / 2);
    Some((ordered[low] as f64 + ordered[high] as f64) / 2.0)
}

/// The threshold with the largest sum of sensitivity and specificity (Youden's index), halfway
/// between the two scores it separates, so that it does not sit on a case.
#[must_use]
pub fn youden_threshold(cases: &[(f32, bool)]) -> Option<f32> {
    let mut ordered: Vec<(f32, bool)> = cases.to_vec();
    ordered.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = ordered.iter().filter(|case| case.1).count() as f64;
    let negatives = ordered.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let (mut best, mut threshold) = (f64::NEG_INFINITY, f32::NAN);
    let (mut found, mut alarms) = (0.0, 0.0);
    let mut groups = ordered.chunk_by(|a, b| a.0 == b.0).peekable();
    while let Some(equal) = groups.next() {
        found += equal.iter().filter(|case| case.1).count() as f64;
        alarms += equal.iter().filter(|case| !case.1).count() as f64;
        let index = found / positives - alarms / negatives;
        if index > best {
            best = index;
            let next = groups.peek().map_or(equal[0].0, |next| next[0].0);
            threshold = 0.5 * (equal[0].0 + next);
        }
    }
    Some(threshold)
}

/// Counts of true class against called class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    /// `[true class][called class]`.
    pub counts: [[u64; 4]; 4],
}

impl ConfusionMatrix {
    /// Adds one patch.
    pub fn add(&mut self, truth: usize, called: usize) {
        self.counts[truth][called] += 1;
    }

    /// Share of all patches called right.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        let all: u64 = self.counts.iter().flatten().sum();
        let right: u64 = (0..4).map(|class| self.counts[class][class]).sum();
        (all > 0).then(|| right as f64 / all as f64)
    }

    /// Share of a class's patches called right.
    #[must_use]
    pub fn recall(&self, class: usize) -> Option<f64> {
        let all: u64 = self.counts[class].iter().sum();
        (all > 0).then(|| self.counts[class][class] as f64 / all as f64)
    }
}

/// Fits the engine's calibration by Newton's method on the log likelihood.
///
/// Targets are Platt's `(n+ + 1) / (n+ + 2)` and `1 / (n- + 2)` in place of 1 and 0, so that
/// separable scores do not send the slope to infinity. `None` without both kinds of cases.
///
/// # Source
/// Platt 1999; Lin, Lin and Weng 2007 for the safeguarded Newton steps.
#[must_use]
pub fn calibrate(cases: &[(f32, bool)]) -> Option<Calibration> {
    let positives = cases.iter().filter(|case| case.1).count() as f64;
    let negatives = cases.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let (high, low) = ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0));
    let cases: Vec<(f64, f64)> = cases
        .iter()
        .map(|&(score, positive)| (Calibration::logit(score).into(), if positive { high } else { low }))
        .collect();
    // log(1 + exp(z)) - target z, without overflow for large z.
    let loss = |slope: f64, intercept: f64| -> f64 {
        let of_case = |&(x, target): &(f64, f64)| {
            let z = slope * x + intercept;
            libm::log1p(libm::exp(-z.abs())) + z.max(0.0) - target * z
        };
        cases.iter().map(of_case).sum()
    };
    let (mut slope, mut intercept) = (0.0, libm::log((positives + 1.0) / (negatives + 1.0)));
    let mut loss_now = loss(slope, intercept);
    'newton: for _ in 0..100 {
        let (mut g_slope, mut g_intercept) = (0.0, 0.0);
        // A small ridge keeps the Hessian invertible where all scores are equal.
        let (mut h_ss, mut h_si, mut h_ii) = (1e-10, 0.0, 1e-10);
        for &(x, target) in &cases {
            let p = 1.0 / (1.0 + libm::exp(-(slope * x + intercept)));
            let (gradient, curvature) = (p - target, p * (1.0 - p));
            g_slope += gradient * x;
            g_intercept += gradient;
            h_ss += curvature * x * x;
            h_si += curvature * x;
            h_ii += curvature;
        }
        if g_slope.abs() < 1e-6 && g_intercept.abs() < 1e-6 {
            break;
        }
        let determinant = h_ss * h_ii - h_si * h_si;
        let step_slope = -(h_ii * g_slope - h_si * g_intercept) / determinant;
        let step_intercept = -(h_ss * g_intercept - h_si * g_slope) / determinant;
        let mut length = 1.0;
        loop {
            let tried = (slope + length * step_slope, intercept + length * step_intercept);
            let loss_tried = loss(tried.0, tried.1);
            if loss_tried < loss_now {
                ((slope, intercept), loss_now) = (tried, loss_tried);
                break;
            }
            length *= 0.5;
            if length < 1e-10 {
                break 'newton;
            }
        }
    }
    Some(Calibration { slope: slope as f32, intercept: intercept as f32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference_auc(cases: &[(f32, bool)]) -> f64 {
        let (mut wins, mut pairs) = (0.0, 0.0);
        for positive in cases.iter().filter(|case| case.1) {
            for negative in cases.iter().filter(|case| !case.1) {
                pairs += 1.0;
                wins += if positive.0 > negative.0 {
                    1.0
                } else if positive.0 == negative.0 {
                    0.5
                } else {
                    0.0
                };
            }
        }
        wins / pairs
    }

    fn random_cases(seed: u64, count: usize) -> Vec<(f32, bool)> {
        let mut random = Random::new(seed);
        (0..count)
            .map(|_| {
                let positive = random.coin();
                // Few distinct scores, so that ties are common.
                ((random.below(7) + usize::from(positive)) as f32 / 8.0, positive)
            })
            .collect()
    }

    #[test]
    fn auc_counts_pairs_with_ties_as_half() {
        for seed in 0..20 {
            let cases = random_cases(seed, 60);
            assert!((auc(&cases).unwrap() - reference_auc(&cases)).abs() < 1e-12);
        }
        assert_eq!(auc(&[(0.3, true)]), None);
        assert_eq!(auc(&[]), None);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7]), Some(7.0));
        assert_eq!(median(&[9, 1, 4]), Some(4.0));
        assert_eq!(median(&[9, 1, 4, 5]), Some(4.5));
    }

    #[test]
    fn youden_separates_what_can_be_separated() {
        let cases = [(0.1, false), (0.2, false), (0.6, true), (0.9, true)];
        assert_eq!(youden_threshold(&cases), Some(0.4));
        assert_eq!(sensitivity(&cases, 0.4), Some(1.0));
        assert_eq!(specificity(&cases, 0.4), Some(1.0));
    }

    #[test]
    fn calibration_finds_the_coefficients_that_made_the_cases() {
        let truth = Calibration { slope: 1.7, intercept: -0.8 };
        let mut random = Random::new(5);
        let cases: Vec<(f32, bool)> = (0..40_000)
            .map(|_| {
                let score = random.between(0.01, 0.99) as f32;
                (score, random.unit() < f64::from(truth.probability(score)))
            })
            .collect();
        let fitted = calibrate(&cases).unwrap();
        assert!((fitted.slope - truth.slope).abs() < 0.05, "{fitted:?}");
        assert!((fitted.intercept - truth.intercept).abs() < 0.05, "{fitted:?}");
    }

    #[test]
    fn calibration_stays_finite_on_separable_scores() {
        let fitted = calibrate(&[(0.0, false), (0.1, false), (0.9, true), (1.0, true)]).unwrap();
        assert!(fitted.slope.is_finite() && fitted.slope > 0.0);
        assert!(fitted.probability(1.0) > 0.6 && fitted.probability(0.0) < 0.4);
    }

    #[test]
    fn the_interval_of_one_patient_is_a_point() {
        let patients = [vec![(0.1, false), (0.9, true), (0.5, true)]];
        let estimate = bootstrap(&patients, 1, auc).unwrap();
        assert_eq!((estimate.low, estimate.high), (estimate.value, estimate.value));
    }
}
