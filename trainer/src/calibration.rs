//! From scores to honest probabilities: the engine's logistic map, and the temperature of the
//! patches' logits.
//!
//! What the cases are and which patients they come from is `evaluate`'s business.

use crate::metrics::Case;
use hemapatch::evidence::Calibration;
use hemapatch::label::Class;
use ndarray::ArrayView1;

/// Fits the engine's calibration by Newton's method on the log likelihood.
///
/// Targets are Platt's `(n+ + 1) / (n+ + 2)` and `1 / (n- + 2)` in place of 1 and 0, so that
/// separable scores do not send the slope to infinity. `None` without both kinds of cases, and
/// where a score is no number.
///
/// # Source
/// Platt 1999; Lin, Lin and Weng 2007 for the safeguarded Newton steps.
#[must_use]
pub fn calibrate(cases: &[Case]) -> Option<Calibration> {
    let positives = cases.iter().filter(|case| case.1).count() as f64;
    let negatives = cases.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 || cases.iter().any(|case| case.0.is_nan()) {
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

/// What a validation patch says about the temperature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A certain patch: its class.
    Class(usize),
    /// A weak negative: any class but hematoma.
    NotHematoma,
}

/// Temperatures that a fit may give. Beyond them the patches were all right, or all wrong.
const TEMPERATURES: [f64; 2] = [0.1, 10.0];

/// The temperature that makes `patches` most likely: their logits are divided by it before the
/// softmax. Golden-section search over its logarithm.
///
/// `None` without patches, and where a logit is no number.
///
/// # Source
/// Guo, Pleiss, Sun and Weinberger 2017, equation (9).
#[must_use]
pub fn temperature(patches: &[(ArrayView1<f32>, Target)]) -> Option<f32> {
    if patches.is_empty() || patches.iter().any(|(logits, _)| logits.iter().any(|logit| !logit.is_finite())) {
        return None;
    }
    let loss = |log_temperature: f64| -> f64 {
        let inverse = libm::exp(-log_temperature);
        patches.iter().map(|(logits, target)| loss_at(inverse, logits.view(), *target)).sum()
    };
    let ratio = 0.5 * (libm::sqrt(5.0) - 1.0);
    let [mut low, mut high] = TEMPERATURES.map(libm::log);
    let (mut left, mut right) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut loss_left, mut loss_right) = (loss(left), loss(right));
    // Each step leaves 0.618 of the range: 24 of them 1e-5.
    for _ in 0..24 {
        if loss_left <= loss_right {
            (high, right, loss_right) = (right, left, loss_left);
            left = high - ratio * (high - low);
            loss_left = loss(left);
        } else {
            (low, left, loss_left) = (left, right, loss_right);
            right = low + ratio * (high - low);
            loss_right = loss(right);
        }
    }
    Some(libm::exp(0.5 * (low + high)) as f32)
}

/// Negative log likelihood of one patch whose logits are multiplied by `inverse`.
fn loss_at(inverse: f64, logits: ArrayView1<f32>, target: Target) -> f64 {
    let log_sum = |leave_out: Option<usize>| {
        let kept = || logits.iter().enumerate().filter(|(class, _)| Some(*class) != leave_out);
        let most = kept().map(|(_, &logit)| inverse * f64::from(logit)).fold(f64::NEG_INFINITY, f64::max);
        most + libm::log(kept().map(|(_, &logit)| libm::exp(inverse * f64::from(logit) - most)).sum())
    };
    log_sum(None)
        - match target {
            Target::Class(class) => inverse * f64::from(logits[class]),
            Target::NotHematoma => log_sum(Some(Class::Hematoma.index())),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use ndarray::aview1;

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
    fn calibration_refuses_what_it_cannot_learn_from() {
        assert_eq!(calibrate(&[]), None);
        assert_eq!(calibrate(&[(0.4, true), (0.5, true)]), None);
        assert_eq!(calibrate(&[(f32::NAN, true), (0.5, false)]), None);
        // Equal scores know only how common hemorrhage is, smoothed as Platt does.
        let equal = calibrate(&[(0.7, true), (0.7, false), (0.7, false), (0.7, false)]).unwrap();
        assert!((equal.probability(0.7) - 0.316_667).abs() < 1e-3, "{equal:?}");
    }

    /// Logits whose patches are drawn from their softmax, then multiplied: the temperature undoes it.
    #[test]
    fn the_temperature_undoes_what_sharpened_the_logits() {
        let mut random = Random::new(3);
        for truth in [0.5f32, 1.0, 2.5] {
            let drawn: Vec<_> = (0..20_000)
                .map(|at| {
                    let logits = [0; 4].map(|_| random.between(-2.0, 2.0) as f32);
                    let total: f64 = logits.iter().map(|&logit| libm::exp(logit.into())).sum();
                    let mut draw = random.unit() * total;
                    let class = logits.iter().position(|&logit| {
                        draw -= libm::exp(logit.into());
                        draw < 0.0
                    });
                    let class = class.unwrap_or(3);
                    // Half of the patches say only whether they are hematoma.
                    let target = match class != Class::Hematoma.index() && at % 2 == 0 {
                        true => Target::NotHematoma,
                        false => Target::Class(class),
                    };
                    (logits.map(|logit| truth * logit), target)
                })
                .collect();
            let patches: Vec<_> = drawn.iter().map(|(logits, target)| (aview1(logits), *target)).collect();
            let found = temperature(&patches).unwrap();
            assert!((found / truth - 1.0).abs() < 0.1, "{found} for {truth}");
        }
    }

    #[test]
    fn a_temperature_needs_patches_and_numbers() {
        assert_eq!(temperature(&[]), None);
        assert_eq!(temperature(&[(aview1(&[f32::NAN; 4]), Target::Class(0))]), None);
        let mut right = [0.0; 4];
        right[0] = 5.0;
        // All right: the sharper the better, up to the bound.
        let found = temperature(&[(aview1(&right), Target::Class(0))]).unwrap();
        assert!((0.09..0.2).contains(&found), "{found}");
    }
}
