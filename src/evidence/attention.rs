//! Attention pooling: from the patches of a bag to the bag's own logits.
//!
//! The network gives an attention logit and a score for each label of a patch; what the labels are called is the
//! manifest's business, which places a bag has is `patch`'s.

use ndarray::ArrayView2;

/// One bag, pooled.
///
/// With attention logits `a` and scores `s` of the bag's patches, its logit for label `k` is the sum over its patches
/// of `softmax(a)_i s_ik`. Scores are linear in the patch's embedding, so this is the linear classifier of the
/// attention-weighted mean embedding, whatever the size of the bag.
///
/// # Source
/// Ilse, Tomczak, Welling 2018, "Attention-based Deep Multiple Instance Learning" (ICML), equations (7) to (9).
#[derive(Clone, Debug, PartialEq)]
pub struct Bag {
    shares: Vec<f32>,
    logits: Vec<f32>,
    /// What each patch would have if all had the same.
    even_share: f32,
}

impl Bag {
    /// Pools a bag in which unique patch `i` occurs `times[i]` times; `None` for a bag without patches.
    ///
    /// # Shape
    /// `outputs` is `[unique patches, 1 + labels]`: the attention logit, then a score for each label.
    pub fn pool(outputs: ArrayView2<'_, f32>, times: &[u32]) -> Option<Bag> {
        let patches: u32 = times.iter().sum();
        let in_bag = || outputs.outer_iter().zip(times).filter(|&(_, &times)| times > 0);
        let highest = in_bag().map(|(output, _)| output[0]).fold(f32::NEG_INFINITY, f32::max);
        if patches == 0 {
            return None;
        }
        // In f64, so that the order of the patches does not matter to the digits that are printed.
        let weight = |output: f32| libm::exp(f64::from(output - highest));
        let total: f64 = in_bag().map(|(output, &times)| f64::from(times) * weight(output[0])).sum();
        let share = |(output, &times): (ndarray::ArrayView1<'_, f32>, &u32)| {
            if times > 0 { (weight(output[0]) / total) as f32 } else { 0.0 }
        };
        let shares = outputs.outer_iter().zip(times).map(share).collect();
        let logit = |label: usize| {
            let weighted = |(output, &times): (ndarray::ArrayView1<'_, f32>, &u32)| {
                f64::from(times) * weight(output[0]) / total * f64::from(output[1 + label])
            };
            in_bag().map(weighted).sum::<f64>() as f32
        };
        let logits = (0..outputs.ncols() - 1).map(logit).collect();
        Some(Bag { shares, logits, even_share: 1.0 / patches as f32 })
    }

    /// Each unique patch's share of the attention: that of one occurrence. Over the bag's places they sum to 1.
    pub fn shares(&self) -> &[f32] {
        &self.shares
    }

    /// The bag's logit for each label.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// A unique patch's own probability of a label for which it scores `score`: 0 where it has less than an even
    /// share of the attention. Scores of patches that the network looks away from were never held to anything.
    pub fn patch_probability(&self, patch: usize, score: f32) -> f32 {
        if self.shares[patch] >= self.even_share { sigmoid(score) } else { 0.0 }
    }
}

/// How often each unique patch occurs in a bag.
///
/// `places` names a unique patch for each place of the grid, `in_bag` says which places belong to the bag.
pub fn times(places: &[u32], in_bag: &[bool], unique: usize) -> Vec<u32> {
    let mut times = vec![0; unique];
    for (&place, _) in places.iter().zip(in_bag).filter(|&(_, &in_bag)| in_bag) {
        times[place as usize] += 1;
    }
    times
}

/// The probability that a logit stands for.
pub fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-logit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Axis, array};
    use proptest::prelude::*;

    /// One place after the other, as the formula stands.
    fn reference_logit(outputs: &Array2<f32>, places: &[usize], label: usize) -> f64 {
        let weights: Vec<f64> = places.iter().map(|&at| f64::from(outputs[[at, 0]]).exp()).collect();
        let total: f64 = weights.iter().sum();
        let scores = places.iter().map(|&at| f64::from(outputs[[at, 1 + label]]));
        weights.iter().zip(scores).map(|(weight, score)| weight / total * score).sum()
    }

    proptest! {
        #[test]
        fn pooling_is_the_attention_weighted_mean_over_all_places(
            values in proptest::collection::vec(-4f32..4.0, 21),
            places in proptest::collection::vec(0usize..7, 1..40),
        ) {
            let outputs = Array2::from_shape_vec((7, 3), values).unwrap();
            let named: Vec<u32> = places.iter().map(|&place| place as u32).collect();
            let counts = times(&named, &vec![true; places.len()], 7);
            let bag = Bag::pool(outputs.view(), &counts).unwrap();
            for label in 0..2 {
                prop_assert!((f64::from(bag.logits()[label]) - reference_logit(&outputs, &places, label)).abs() < 1e-5);
            }
            let sum: f32 = places.iter().map(|&place| bag.shares()[place]).sum();
            prop_assert!((sum - 1.0).abs() < 1e-5);
        }

        #[test]
        fn the_order_of_patches_does_not_matter(
            values in proptest::collection::vec(-4f32..4.0, 15), counts in proptest::collection::vec(1u32..5, 5),
        ) {
            let outputs = Array2::from_shape_vec((5, 3), values).unwrap();
            let order = [3, 0, 4, 2, 1];
            let turned: Vec<u32> = order.iter().map(|&at| counts[at]).collect();
            let one = Bag::pool(outputs.view(), &counts).unwrap();
            let other = Bag::pool(outputs.select(Axis(0), &order).view(), &turned).unwrap();
            for (one, other) in one.logits().iter().zip(other.logits()) {
                prop_assert!((one - other).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_bag_of_one_patch_has_its_scores() {
        let outputs = array![[90.0, 0.25, -3.0], [100.0, 7.0, 7.0]];
        let bag = Bag::pool(outputs.view(), &[1, 0]).unwrap();
        assert_eq!((bag.logits(), bag.shares()), (&[0.25, -3.0][..], &[1.0, 0.0][..]));
        assert_eq!(bag.patch_probability(0, 0.25), sigmoid(0.25));
        assert_eq!(bag.patch_probability(1, 7.0), 0.0, "it is not in the bag");
        assert_eq!(Bag::pool(outputs.view(), &[0, 0]), None);
    }

    #[test]
    fn a_patch_that_occurs_twice_counts_twice() {
        let outputs = array![[0.0, 1.0], [0.0, 4.0]];
        let bag = Bag::pool(outputs.view(), &[2, 1]).unwrap();
        assert!((bag.logits()[0] - 2.0).abs() < 1e-6);
    }

    #[test]
    fn patches_that_the_network_looks_away_from_have_no_say() {
        let outputs = array![[5.0, 2.0], [0.0, 9.0], [0.0, 9.0]];
        let bag = Bag::pool(outputs.view(), &[1, 1, 1]).unwrap();
        assert!(bag.patch_probability(0, 2.0) > 0.8);
        assert_eq!(bag.patch_probability(1, 9.0), 0.0);
    }
}
