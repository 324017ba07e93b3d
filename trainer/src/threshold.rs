//! Thresholds: from scores and truths to the score from which on a case is called positive.
//!
//! Every threshold lies between two scores, in the middle of their logits, so that it sits on no
//! case and leaves as much room above as below on the scale on which networks speak. What the
//! cases are is `evaluate`'s business.

use crate::metrics::Case;

/// Scores closer to 0 and 1 than this count as this close.
const EDGE: f64 = 1e-9;

/// A threshold that calls `high` positive and `low` not: the middle of their logits.
fn between(low: f32, high: f32) -> f32 {
    let logit = |score: f32| {
        let score = f64::from(score).clamp(EDGE, 1.0 - EDGE);
        libm::log(score / (1.0 - score))
    };
    let middle = (1.0 / (1.0 + libm::exp(-0.5 * (logit(low) + logit(high))))) as f32;
    // Two neighbouring numbers have nothing between them.
    if middle > low { middle.min(high) } else { high }
}

/// What calling everything from a threshold on positive does.
#[derive(Clone, Copy, Debug)]
struct Cut {
    threshold: f32,
    sensitivity: f64,
    specificity: f64,
}

/// All cuts between distinct scores, from the highest threshold (nothing is positive) to the
/// lowest (everything is). `None` without positives or negatives, and where a score is no number.
fn cuts(cases: &[Case]) -> Option<Vec<Cut>> {
    let positives = cases.iter().filter(|case| case.1).count() as f64;
    let negatives = cases.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 || cases.iter().any(|case| case.0.is_nan()) {
        return None;
    }
    let mut ordered = cases.to_vec();
    ordered.sort_by(|a, b| b.0.total_cmp(&a.0));
    let above = between(ordered[0].0, 1.0);
    // From a score of 1 on there is no threshold that calls nothing positive.
    let mut cuts = Vec::new();
    if above > ordered[0].0 {
        cuts.push(Cut { threshold: above, sensitivity: 0.0, specificity: 1.0 });
    }
    let (mut found, mut alarms) = (0.0, 0.0);
    let mut groups = ordered.chunk_by(|a, b| a.0 == b.0).peekable();
    while let Some(equal) = groups.next() {
        found += equal.iter().filter(|case| case.1).count() as f64;
        alarms += equal.iter().filter(|case| !case.1).count() as f64;
        let threshold = between(groups.peek().map_or(0.0, |next| next[0].0), equal[0].0);
        cuts.push(Cut { threshold, sensitivity: found / positives, specificity: 1.0 - alarms / negatives });
    }
    Some(cuts)
}

/// The threshold with the largest sum of sensitivity and specificity (Youden's index); the highest
/// of equals.
///
/// `None` without positives or negatives, and where a score is no number.
#[must_use]
pub fn youden(cases: &[Case]) -> Option<f32> {
    best(cuts(cases)?, |cut| [cut.sensitivity + cut.specificity, 0.0])
}

/// The threshold with the largest sensitivity among those of at least this specificity; of equally
/// sensitive ones the most specific.
///
/// `None` without positives or negatives, where a score is no number, and where negatives score so
/// high that no threshold is specific enough.
#[must_use]
pub fn at_specificity(cases: &[Case], specificity: f64) -> Option<f32> {
    let mut cuts = cuts(cases)?;
    // A share that was counted may miss the asked one by a rounding error.
    cuts.retain(|cut| cut.specificity >= specificity - 1e-12);
    best(cuts, |cut| [cut.sensitivity, cut.specificity])
}

/// The first cut with the largest merit, compared number by number.
fn best(cuts: Vec<Cut>, merit: impl Fn(&Cut) -> [f64; 2]) -> Option<f32> {
    let best = cuts.iter().map(&merit).max_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])))?;
    cuts.iter().find(|cut| merit(cut) == best).map(|cut| cut.threshold)
}

/// The threshold from which on `count` of the scores lie, as nearly as ties allow: patches of a
/// counted area that is neither too large nor too small.
///
/// `None` if that is no score or more than there are, and where a score is no number.
#[must_use]
pub fn counting(mut scores: Vec<f32>, count: f64) -> Option<f32> {
    if scores.iter().any(|score| score.is_nan()) || count < 0.5 || count > scores.len() as f64 {
        return None;
    }
    scores.sort_by(|a, b| b.total_cmp(a));
    let mut counted = 0;
    let mut best: Option<(f64, f32)> = None;
    let mut groups = scores.chunk_by(|a, b| a == b).peekable();
    while let Some(equal) = groups.next() {
        counted += equal.len();
        let error = (counted as f64 - count).abs();
        if best.is_some_and(|(least, _)| error >= least) {
            break;
        }
        best = Some((error, between(groups.peek().map_or(0.0, |next| next[0]), equal[0])));
    }
    best.map(|(_, threshold)| threshold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{sensitivity, specificity};
    use crate::random::Random;

    /// Few distinct scores, so that ties are common.
    fn random_cases(random: &mut Random, count: usize) -> Vec<Case> {
        let case = |_| {
            let positive = random.coin();
            ((1 + random.below(12) + 3 * usize::from(positive)) as f32 / 17.0, positive)
        };
        (0..count).map(case).collect()
    }

    /// Every threshold that differs, tried one by one.
    fn reference_thresholds(cases: &[Case]) -> Vec<f32> {
        let mut scores: Vec<f32> = cases.iter().map(|case| case.0).collect();
        scores.push(1.0);
        scores
    }

    #[test]
    fn no_threshold_at_that_specificity_finds_more() {
        let mut random = Random::new(1);
        for round in 0..200 {
            let cases = random_cases(&mut random, 2 + round % 40);
            for asked in [0.0, 0.5, 0.9, 0.95, 1.0] {
                let found = at_specificity(&cases, asked);
                let reference = reference_thresholds(&cases)
                    .into_iter()
                    .filter(|&threshold| specificity(&cases, threshold).is_some_and(|share| share >= asked))
                    .filter_map(|threshold| sensitivity(&cases, threshold))
                    .max_by(f64::total_cmp);
                let Some(threshold) = found else {
                    assert!(reference.is_none(), "{cases:?}");
                    continue;
                };
                assert!(specificity(&cases, threshold).unwrap() >= asked, "{cases:?}");
                assert_eq!(sensitivity(&cases, threshold), reference, "{cases:?}");
                assert!(cases.iter().all(|case| case.0 != threshold), "it sits on a case");
            }
        }
    }

    #[test]
    fn no_threshold_has_a_larger_youden_index() {
        let mut random = Random::new(2);
        for round in 0..200 {
            let cases = random_cases(&mut random, 2 + round % 40);
            let index = |threshold| Some(sensitivity(&cases, threshold)? + specificity(&cases, threshold)?);
            let reference = reference_thresholds(&cases).into_iter().filter_map(index).max_by(f64::total_cmp);
            let found = youden(&cases).and_then(index);
            assert!((found.unwrap_or(9.0) - reference.unwrap_or(9.0)).abs() < 1e-12, "{cases:?}");
        }
    }

    #[test]
    fn the_middle_is_that_of_the_logits() {
        let cases = [(0.001, false), (0.01, false), (0.99, true), (0.999, true)];
        assert!((at_specificity(&cases, 0.95).unwrap() - 0.5).abs() < 1e-6);
        assert!((youden(&cases).unwrap() - 0.5).abs() < 1e-6);
        // Odds of 1/9999 and 1: their geometric mean is 1/99.995.
        let cases = [(0.0001, false), (0.5, true)];
        assert!((at_specificity(&cases, 1.0).unwrap() - 0.0099).abs() < 1e-4);
        let next = 0.5f32.next_up();
        assert_eq!(at_specificity(&[(0.5, false), (next, true)], 1.0), Some(next));
    }

    #[test]
    fn a_negative_on_top_costs_what_lies_below_it() {
        let cases = [(0.9, false), (0.8, true), (0.3, false), (0.2, true)];
        let strict = at_specificity(&cases, 1.0).unwrap();
        assert!(strict > 0.9, "nothing is found without a false alarm: {strict}");
        let half = at_specificity(&cases, 0.5).unwrap();
        assert!(half > 0.3 && half < 0.8, "{half}");
    }

    #[test]
    fn degenerate_cases_have_no_threshold_or_a_safe_one() {
        for cases in [&[][..], &[(0.5, true)], &[(0.5, false)], &[(f32::NAN, true), (0.1, false)]] {
            assert_eq!((youden(cases), at_specificity(cases, 0.9)), (None, None), "{cases:?}");
        }
        let equal = at_specificity(&[(0.4, true), (0.4, false)], 0.9).unwrap();
        assert!(equal > 0.4, "a score that tells nothing alerts nobody");
        assert_eq!(at_specificity(&[(1.0, true), (1.0, false)], 0.9), None);
        let saturated = at_specificity(&[(1.0, true), (0.0, false)], 1.0).unwrap();
        assert!((saturated - 0.5).abs() < 1e-6);
    }

    #[test]
    fn as_many_are_counted_as_were_asked_for() {
        let mut random = Random::new(4);
        for round in 1..100 {
            let scores: Vec<f32> = (0..round).map(|_| (1 + random.below(20)) as f32 / 30.0).collect();
            let asked = random.between(0.5, round as f64);
            let counted = |threshold: f32| scores.iter().filter(|&&score| score >= threshold).count() as f64;
            let found = (counted(counting(scores.clone(), asked).unwrap()) - asked).abs();
            // Counting nothing is no choice: then there would be no hematoma patch at all.
            let reference = scores.iter().map(|&score| (counted(score) - asked).abs());
            assert!((found - reference.fold(f64::INFINITY, f64::min)).abs() < 1e-12, "{scores:?} {asked}");
        }
        assert_eq!(counting(vec![0.5, f32::NAN], 1.0), None);
        assert_eq!(counting(vec![0.5], 0.0), None);
        assert_eq!(counting(vec![0.5], 2.0), None);
    }
}
