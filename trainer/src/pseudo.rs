//! Pseudo-labels (P18): of the unlabelled patches, those that the averaged network is sure of.
//!
//! # Source
//! Lee 2013, with the averaged network as teacher (Tarvainen and Valpola 2017) and a threshold as in
//! FixMatch (Sohn et al. 2020). Teacher and student see the patch of one round; the student's is
//! mirrored and transposed besides.

use crate::bag::{Bag, UNLABELLED};
use crate::net::ResNet18;
use crate::recipe::{Method, Semi};
use crate::score;

/// Unlabelled patches that are scored in a round.
const ASKED: usize = 40_000;

/// The unlabelled patches of each class that `net` gives at least the recipe's confidence.
///
/// # Errors
/// When libtorch fails.
pub fn label(net: &ResNet18, semi: &Semi, bag: &Bag) -> Result<Vec<Vec<usize>>, tch::TchError> {
    let count = bag.count(UNLABELLED);
    let asked = count.min(ASKED);
    let places: Vec<usize> = (0..asked).map(|index| index * count / asked).collect();
    let gray: Vec<u8> = places.iter().flat_map(|&place| bag.patch(UNLABELLED, place)).copied().collect();
    let called = score::probabilities(net, Method::Single, &gray)?;
    let mut labelled = vec![Vec::new(); called.ncols()];
    for (place, probability) in places.into_iter().zip(called.outer_iter()) {
        let class = score::most_probable(probability);
        if f64::from(probability[class]) >= semi.confidence {
            labelled[class].push(place);
        }
    }
    Ok(labelled)
}
