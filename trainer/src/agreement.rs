//! How far a measured size agrees with a reference: of an area in pixels, or a volume.
//!
//! Plain pairs in, numbers out, in the unit that they came in. What is measured and against what is
//! `evaluate`'s business.

use crate::metrics::{self, Estimate, Z_95};
use serde::{Deserialize, Serialize};

/// A measured size and its reference.
pub type Pair = [f64; 2];

/// Agreement of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// How many pairs.
    pub pairs: usize,
    /// Mean of the references.
    pub reference_mean: f64,
    /// Median of measured through reference, where the reference is not 0.
    pub ratio_median: Option<Estimate>,
    /// Mean of measured less reference.
    pub bias: Estimate,
    /// Between these lie 95 % of the differences, were they normal; `None` of a single pair.
    pub limits: Option<[f64; 2]>,
    /// Pearson's correlation; `None` where one of both does not vary.
    pub correlation: Option<Estimate>,
}

impl Agreement {
    /// The agreement of the patients' pairs, with intervals by bootstrap over patients.
    ///
    /// `None` without pairs.
    ///
    /// # Source
    /// Bland and Altman 1986.
    #[must_use]
    pub fn of(patients: &[Vec<Pair>], seed: u64) -> Option<Agreement> {
        let all = patients.concat();
        let bias = metrics::bootstrap(patients, seed, |pairs| mean(pairs.iter().map(difference)))?;
        let variance = |mean: f64| {
            all.iter().map(|pair| (difference(pair) - mean) * (difference(pair) - mean)).sum::<f64>()
                / (all.len() - 1) as f64
        };
        let limits = (all.len() > 1).then(|| {
            let half = Z_95 * libm::sqrt(variance(bias.value));
            [bias.value - half, bias.value + half]
        });
        Some(Agreement {
            pairs: all.len(),
            reference_mean: mean(all.iter().map(|pair| pair[1]))?,
            ratio_median: metrics::bootstrap(patients, seed, ratio_median),
            bias,
            limits,
            correlation: metrics::bootstrap(patients, seed, correlation),
        })
    }
}

fn difference([measured, reference]: &Pair) -> f64 {
    measured - reference
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

fn ratio_median(pairs: &[Pair]) -> Option<f64> {
    let ratios: Vec<f64> = pairs.iter().filter(|pair| pair[1] > 0.0).map(|pair| pair[0] / pair[1]).collect();
    metrics::median(&ratios)
}

fn correlation(pairs: &[Pair]) -> Option<f64> {
    let middle = [0, 1].map(|of| mean(pairs.iter().map(|pair| pair[of])));
    let (measured, reference) = (middle[0]?, middle[1]?);
    let (mut both, mut squares) = (0.0, [0.0, 0.0]);
    for pair in pairs {
        let (x, y) = (pair[0] - measured, pair[1] - reference);
        both += x * y;
        squares[0] += x * x;
        squares[1] += y * y;
    }
    let scale = libm::sqrt(squares[0] * squares[1]);
    (scale > 0.0).then(|| both / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_worked_example() {
        let pairs: Vec<Vec<Pair>> =
            [[10.0, 8.0], [22.0, 20.0], [30.0, 32.0], [44.0, 40.0]].map(|pair| vec![pair]).to_vec();
        let agreement = Agreement::of(&pairs, 1).unwrap();
        assert_eq!((agreement.pairs, agreement.reference_mean, agreement.bias.value), (4, 25.0, 1.5));
        assert!((agreement.ratio_median.unwrap().value - 1.1).abs() < 1e-12);
        // Differences 2, 2, -2, 4: their standard deviation is the root of 19 / 3.
        let half = Z_95 * libm::sqrt(19.0 / 3.0);
        let [low, high] = agreement.limits.unwrap();
        assert!((low - 1.5 + half).abs() < 1e-9 && (high - 1.5 - half).abs() < 1e-9);
        assert!((agreement.correlation.unwrap().value - 0.984_335).abs() < 1e-4, "{agreement:?}");
        assert!(agreement.bias.low <= 1.5 && agreement.bias.high >= 1.5);
    }

    #[test]
    fn little_to_compare_gives_few_numbers() {
        assert_eq!(Agreement::of(&[], 1), None);
        assert_eq!(Agreement::of(&[Vec::new()], 1), None);
        let one = Agreement::of(&[vec![[5.0, 0.0]]], 1).unwrap();
        assert_eq!((one.limits, one.correlation, one.ratio_median), (None, None, None));
        assert_eq!(one.bias.value, 5.0);
    }
}
