//! Curves: what every threshold would do (ROC, precision and recall), and how far probabilities
//! hold (reliability).
//!
//! Points for a picture or a table; thresholds are chosen in `threshold`.

use crate::metrics::{self, Case, Estimate};
use serde::{Deserialize, Serialize};

/// Positives found and false alarms from each distinct score on, the highest first. `None` where
/// one kind is missing or a score is no number.
fn running(cases: &[Case]) -> Option<(Vec<[f64; 2]>, [f64; 2])> {
    let positives = cases.iter().filter(|case| case.1).count() as f64;
    let negatives = cases.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 || cases.iter().any(|case| case.0.is_nan()) {
        return None;
    }
    let mut ordered = cases.to_vec();
    ordered.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut found, mut alarms) = (0.0, 0.0);
    let points = ordered
        .chunk_by(|a, b| a.0 == b.0)
        .map(|equal| {
            let hits = equal.iter().filter(|case| case.1).count();
            found += hits as f64;
            alarms += (equal.len() - hits) as f64;
            [found, alarms]
        })
        .collect();
    Some((points, [positives, negatives]))
}

/// The receiver operating characteristic: false alarm rate and sensitivity, from (0, 0) to (1, 1).
///
/// Empty without positives or negatives, and where a score is no number.
#[must_use]
pub fn roc(cases: &[Case]) -> Vec<[f64; 2]> {
    let Some((points, [positives, negatives])) = running(cases) else { return Vec::new() };
    let rates = points.into_iter().map(|[found, alarms]| [alarms / negatives, found / positives]);
    std::iter::once([0.0, 0.0]).chain(rates).collect()
}

/// Recall and precision from each distinct score on, the highest first.
///
/// Empty without positives or negatives, and where a score is no number.
#[must_use]
pub fn precision_recall(cases: &[Case]) -> Vec<[f64; 2]> {
    let Some((points, [positives, _])) = running(cases) else { return Vec::new() };
    points.into_iter().map(|[found, alarms]| [found / positives, found / (found + alarms)]).collect()
}

/// Area under the steps of precision over recall. Unlike the AUC it depends on how common
/// positives are; a score that tells nothing has their share.
///
/// `None` without positives or negatives, and where a score is no number.
#[must_use]
pub fn average_precision(cases: &[Case]) -> Option<f64> {
    let points = precision_recall(cases);
    let mut before = 0.0;
    let steps = points.iter().map(|[recall, precision]| {
        let step = (recall - before) * precision;
        before = *recall;
        step
    });
    let area = steps.sum();
    (!points.is_empty()).then_some(area)
}

/// Cases whose probabilities are alike, and how many of them are positive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Cases in it.
    pub cases: usize,
    /// Mean of their probabilities.
    pub predicted: f64,
    /// Share of them that are positive, with Wilson's interval as if they were independent.
    pub observed: Estimate,
}

/// Cases by probability in `bins` equally wide steps; empty steps and scores that are no numbers
/// are left out.
#[must_use]
pub fn reliability(cases: &[Case], bins: usize) -> Vec<ReliabilityBin> {
    let bin_of =
        |probability: f32| ((f64::from(probability) * bins as f64) as usize).min(bins.saturating_sub(1));
    (0..bins)
        .filter_map(|bin| {
            let inside: Vec<Case> =
                cases.iter().filter(|case| !case.0.is_nan() && bin_of(case.0) == bin).copied().collect();
            let positives = inside.iter().filter(|case| case.1).count();
            let sum: f64 = inside.iter().map(|case| f64::from(case.0)).sum();
            Some(ReliabilityBin {
                cases: inside.len(),
                observed: metrics::wilson(positives, inside.len())?,
                predicted: sum / inside.len() as f64,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn random_cases(random: &mut Random, count: usize) -> Vec<Case> {
        let case = |_| {
            let positive = random.coin();
            ((random.below(9) + 2 * usize::from(positive)) as f32 / 10.0, positive)
        };
        (0..count).map(case).collect()
    }

    #[test]
    fn the_area_under_the_roc_curve_is_the_auc() {
        let mut random = Random::new(7);
        for round in 0..100 {
            let cases = random_cases(&mut random, 4 + round % 50);
            let area: f64 = roc(&cases)
                .windows(2)
                .map(|step| 0.5 * (step[1][0] - step[0][0]) * (step[1][1] + step[0][1]))
                .sum();
            assert!((metrics::auc(&cases).unwrap_or(0.0) - area).abs() < 1e-12, "{cases:?}");
        }
    }

    #[test]
    fn every_point_is_what_its_threshold_does() {
        let mut random = Random::new(8);
        for round in 0..100 {
            let cases = random_cases(&mut random, 4 + round % 50);
            let mut thresholds: Vec<f32> = cases.iter().map(|case| case.0).collect();
            thresholds.sort_by(|a, b| b.total_cmp(a));
            thresholds.dedup();
            for (point, &threshold) in precision_recall(&cases).iter().zip(&thresholds) {
                let called: Vec<Case> = cases.iter().filter(|case| case.0 >= threshold).copied().collect();
                let right = called.iter().filter(|case| case.1).count() as f64;
                assert_eq!(point[0], metrics::sensitivity(&cases, threshold).unwrap());
                assert_eq!(point[1], right / called.len() as f64);
            }
            for (point, &threshold) in roc(&cases)[1..].iter().zip(&thresholds) {
                let passed = metrics::specificity(&cases, threshold).unwrap();
                assert!((point[0] - (1.0 - passed)).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn average_precision_of_a_textbook_ranking() {
        // Right, wrong, right, wrong: (1 / 1 + 2 / 3) / 2.
        let cases = [(0.9, true), (0.8, false), (0.7, true), (0.6, false)];
        assert!((average_precision(&cases).unwrap() - 5.0 / 6.0).abs() < 1e-12);
        let equal = [(0.5, true), (0.5, false), (0.5, false), (0.5, false)];
        assert!((average_precision(&equal).unwrap() - 0.25).abs() < 1e-12, "the share of positives");
    }

    #[test]
    fn there_is_no_curve_of_one_kind_or_of_no_numbers() {
        for cases in [&[][..], &[(0.5, true)], &[(0.5, false)], &[(f32::NAN, true), (0.2, false)]] {
            assert!(roc(cases).is_empty() && precision_recall(cases).is_empty());
            assert_eq!(average_precision(cases), None);
        }
    }

    #[test]
    fn bins_hold_every_case_once() {
        let cases = [(0.0, false), (0.05, false), (0.1, true), (1.0, true), (f32::NAN, true)];
        let bins = reliability(&cases, 10);
        assert_eq!(bins.iter().map(|bin| bin.cases).collect::<Vec<_>>(), [2, 1, 1]);
        assert!((bins[0].predicted - 0.025).abs() < 1e-6 && bins[0].observed.value == 0.0);
        assert_eq!(bins[2].observed.value, 1.0);
        assert!(reliability(&[], 10).is_empty() && reliability(&cases, 0).is_empty());
    }
}
