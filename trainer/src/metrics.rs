//! Numbers that say how good a classifier is, with their intervals.
//!
//! Plain slices of scores and truths in, numbers out; which patients they come from is
//! `evaluate`'s business. A score that is no number has no rank: where ranks count there is no
//! figure then, and where a threshold counts the case is wrong, whatever its truth.

use crate::random::Random;
use serde::{Deserialize, Serialize};

/// A score and the truth.
pub type Case = (f32, bool);

/// Area under the ROC curve: the chance that a positive scores above a negative, ties half.
///
/// `None` without a positive, without a negative, and where a score is no number.
#[must_use]
pub fn auc(cases: &[Case]) -> Option<f64> {
    if cases.iter().any(|case| case.0.is_nan()) {
        return None;
    }
    let mut ordered = cases.to_vec();
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

/// 97.5th percentile of the normal distribution: half of a 95 % interval, in standard deviations.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// Bootstrap over patients, not slices: slices of one patient are no independent cases.
///
/// `measure` sees the cases of a drawn group of patients; draws where it is undefined are left
/// out. `None` where it is undefined on all patients.
pub fn bootstrap<T: Copy>(
    patients: &[Vec<T>],
    seed: u64,
    measure: impl Fn(&[T]) -> Option<f64>,
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
pub fn sensitivity(cases: &[Case], threshold: f32) -> Option<f64> {
    let positives = cases.iter().filter(|case| case.1).count();
    let found = cases.iter().filter(|case| case.1 && case.0 >= threshold).count();
    (positives > 0).then(|| found as f64 / positives as f64)
}

/// Share of the negatives below `threshold`.
#[must_use]
pub fn specificity(cases: &[Case], threshold: f32) -> Option<f64> {
    let negatives = cases.iter().filter(|case| !case.1).count();
    let passed = cases.iter().filter(|case| !case.1 && case.0 < threshold).count();
    (negatives > 0).then(|| passed as f64 / negatives as f64)
}

/// A share of independent cases, one a patient, with Wilson's 95 % interval.
///
/// Where all went right, a bootstrap draws nothing but right ones and its interval is a point;
/// this one still says how few cases there were. `None` without cases.
///
/// # Source
/// Wilson 1927, without correction for continuity.
#[must_use]
pub fn wilson(found: usize, of: usize) -> Option<Estimate> {
    if of == 0 {
        return None;
    }
    let (n, value) = (of as f64, found as f64 / of as f64);
    let squared = Z_95 * Z_95 / n;
    let middle = (value + 0.5 * squared) / (1.0 + squared);
    let half = libm::sqrt(squared * (value * (1.0 - value) + 0.25 * squared)) / (1.0 + squared);
    Some(Estimate {
        value,
        low: (middle - half).max(0.0).min(value),
        high: (middle + half).min(1.0).max(value),
    })
}

/// Mean squared difference of probability and truth (Brier score); `None` without cases.
#[must_use]
pub fn brier(cases: &[Case]) -> Option<f64> {
    let squared = |&(probability, truth): &Case| {
        let error = f64::from(probability) - f64::from(u8::from(truth));
        error * error
    };
    (!cases.is_empty()).then(|| cases.iter().map(squared).sum::<f64>() / cases.len() as f64)
}

/// Share of the alarms that are right, and of the silences, where a share `prevalence` of all is
/// positive: positive and negative predictive value. `None` where there is no alarm, no silence.
///
/// # Source
/// Bayes' rule.
#[must_use]
pub fn predictive_values(sensitivity: f64, specificity: f64, prevalence: f64) -> [Option<f64>; 2] {
    let share = |right: f64, wrong: f64| (right + wrong > 0.0).then(|| right / (right + wrong));
    [
        share(sensitivity * prevalence, (1.0 - specificity) * (1.0 - prevalence)),
        share(specificity * (1.0 - prevalence), (1.0 - sensitivity) * prevalence),
    ]
}

/// The middle of `values`, of the two middle ones their mean; `None` without any.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The value below which this share of `values` lies, between two of them in proportion; `None`
/// without any.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut ordered = values.to_vec();
    ordered.sort_by(f64::total_cmp);
    let place = share.clamp(0.0, 1.0) * ordered.len().checked_sub(1)? as f64;
    let (below, above) = (ordered[place.floor() as usize], ordered[place.ceil() as usize]);
    // Not a weighted sum: of two infinities that is none.
    Some(if below == above { below } else { below + (above - below) * (place - place.floor()) })
}

/// Counts of true class against called class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    /// What the classes are called, in the order of rows and columns.
    pub classes: Vec<String>,
    /// `[true class][called class]`, as many of both as there are names.
    pub counts: Vec<Vec<u64>>,
}

impl ConfusionMatrix {
    /// An empty matrix of these classes.
    #[must_use]
    pub fn new<Name: Into<String>>(classes: impl IntoIterator<Item = Name>) -> ConfusionMatrix {
        let classes: Vec<String> = classes.into_iter().map(Into::into).collect();
        ConfusionMatrix { counts: vec![vec![0; classes.len()]; classes.len()], classes }
    }

    /// The matrix of `cases` of which those at or above `threshold` are called the second class.
    #[must_use]
    pub fn of_cases(classes: [&str; 2], cases: &[Case], threshold: f32) -> ConfusionMatrix {
        let mut matrix = ConfusionMatrix::new(classes);
        for &(score, truth) in cases {
            // A score that is no number is wrong either way.
            let called = if score.is_nan() { !truth } else { score >= threshold };
            matrix.add(usize::from(truth), usize::from(called));
        }
        matrix
    }

    /// Adds one patch, slice or study.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn add(&mut self, truth: usize, called: usize) {
        self.counts[truth][called] += 1;
    }

    /// Adds all counts of `other`; an empty matrix without classes takes on the other's.
    ///
    /// # Panics
    /// If both have classes and these are not the same.
    pub fn merge(&mut self, other: &ConfusionMatrix) {
        if self.classes.is_empty() {
            *self = other.clone();
        } else if !other.classes.is_empty() {
            assert_eq!(self.classes, other.classes, "matrices of one classifier");
            for (sum, count) in self.counts.iter_mut().flatten().zip(other.counts.iter().flatten()) {
                *sum += count;
            }
        }
    }

    /// How many there are in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// Share of all that were called right.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        let right: u64 = self.counts.iter().enumerate().map(|(class, called)| called[class]).sum();
        (self.total() > 0).then(|| right as f64 / self.total() as f64)
    }

    /// Share of a class that was called right.
    #[must_use]
    pub fn recall(&self, class: usize) -> Option<f64> {
        let called = self.counts.get(class)?;
        let all: u64 = called.iter().sum();
        (all > 0).then(|| called[class] as f64 / all as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference_auc(cases: &[Case]) -> f64 {
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

    fn random_cases(seed: u64, count: usize) -> Vec<Case> {
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
    fn the_interval_of_one_patient_is_a_point() {
        let patients = [vec![(0.1, false), (0.9, true), (0.5, true)]];
        let estimate = bootstrap(&patients, 1, auc).unwrap();
        assert_eq!((estimate.low, estimate.high), (estimate.value, estimate.value));
    }

    #[test]
    fn scores_that_are_no_numbers_have_no_rank_and_are_wrong() {
        let cases = [(f32::NAN, true), (f32::NAN, false), (0.9, true), (0.1, false)];
        assert_eq!(auc(&cases), None);
        assert_eq!((sensitivity(&cases, 0.5), specificity(&cases, 0.5)), (Some(0.5), Some(0.5)));
        let matrix = ConfusionMatrix::of_cases(["no", "yes"], &cases, 0.5);
        assert_eq!(matrix.counts, [[1, 1], [1, 1]]);
        assert!(
            (auc(&[(0.3, true), (0.3, false)]).unwrap() - 0.5).abs() < 1e-12,
            "equal scores tell nothing"
        );
    }

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[9.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(&[9.0, 1.0, 4.0, 5.0]), Some(4.5));
        assert_eq!(quantile(&[0.0, 10.0, 20.0], 0.25), Some(5.0));
        assert_eq!(quantile(&[1.0, f64::INFINITY, f64::INFINITY], 0.75), Some(f64::INFINITY));
    }

    #[test]
    fn wilson_gives_the_published_intervals() {
        // Newcombe 1998, table I, method 3.
        for (found, of, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]
        {
            let interval = wilson(found, of).unwrap();
            assert!((interval.low - low).abs() < 5e-5 && (interval.high - high).abs() < 5e-5, "{interval}");
        }
        let all = wilson(19, 19).unwrap();
        assert!(all.value == 1.0 && all.high == 1.0 && (all.low - 0.8318).abs() < 5e-5, "{all}");
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn predictive_values_count_as_bayes_did() {
        // Of 1,000 people 10 are ill: 9 of them and 99 of the 990 others alarm.
        let [ppv, npv] = predictive_values(0.9, 0.9, 0.01);
        assert!((ppv.unwrap() - 9.0 / 108.0).abs() < 1e-12);
        assert!((npv.unwrap() - 891.0 / 892.0).abs() < 1e-12);
        assert_eq!(predictive_values(0.0, 1.0, 0.1)[0], None, "there is no alarm");
    }

    #[test]
    fn the_brier_score_is_a_mean_square() {
        assert_eq!(brier(&[]), None);
        assert!((brier(&[(0.5, true), (0.0, false)]).unwrap() - 0.125).abs() < 1e-12);
    }

    #[test]
    fn a_matrix_is_as_large_as_its_classes_are_many() {
        let mut matrix = ConfusionMatrix::new(["a", "b", "c"]);
        for (truth, called) in [(0, 0), (0, 2), (1, 1), (1, 1)] {
            matrix.add(truth, called);
        }
        assert_eq!((matrix.total(), matrix.accuracy()), (4, Some(0.75)));
        assert_eq!((matrix.recall(0), matrix.recall(2), matrix.recall(3)), (Some(0.5), None, None));
        let mut sum = ConfusionMatrix::default();
        sum.merge(&matrix);
        sum.merge(&matrix);
        sum.merge(&ConfusionMatrix::default());
        assert_eq!((sum.total(), sum.classes.len(), ConfusionMatrix::default().accuracy()), (8, 3, None));
    }
}
