//! The patches that calibration looks at: training patients' alone, as many of each kind.

use super::QuantizeError;
use crate::bag::{Bag, Cutter, KINDS, WEAK};
use crate::net::ResNet18;
use crate::random::Random;
use crate::recipe::Recipe;
use crate::score;
use crate::shard::Shard;
use crate::split::{Side, Split};
use hemapatch::label::Class;
use ndarray::ArrayView1;
use serde::{Deserialize, Serialize};

/// Patches of each kind, and hard ones.
pub const OF_A_KIND: usize = 512;

/// Weak negatives that hard ones are looked for among.
const SEARCHED: usize = 8192;

/// What the sample calls weak negatives, and those of them that look like hematoma most.
const WEAK_NAME: &str = "weak";
const HARD_NAME: &str = "hard";

/// How many patches of a kind there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stratum {
    /// A class, `weak`, `hard` or `unlabelled`.
    pub kind: String,
    /// Fewer than [`OF_A_KIND`] where the training patients have no more.
    pub patches: usize,
}

/// Calibration's patches.
#[derive(Clone, Debug)]
pub struct Sample {
    /// `[patches, views, size, size]`.
    pub gray: Vec<u8>,
    /// What they are.
    pub strata: Vec<Stratum>,
}

impl Sample {
    /// Draws from the training patients of `split`: the same patches for the same recipe and
    /// shard, and of the hard ones, for the same `net`.
    ///
    /// # Errors
    /// [`QuantizeError::NoPatches`], [`QuantizeError::Torch`].
    pub fn draw(
        net: &ResNet18,
        recipe: &Recipe,
        shard: Shard,
        split: &Split,
    ) -> Result<Sample, QuantizeError> {
        let bag = Cutter::new(shard, split, Side::Training, recipe).cut_plain();
        let random = Random::new(recipe.seed).fork(0x18);
        let mut sample = Sample { gray: Vec::new(), strata: Vec::new() };
        for kind in 0..KINDS {
            let mut places: Vec<usize> = (0..bag.count(kind)).collect();
            random.fork(kind as u64).shuffle(&mut places);
            let (taken, rest) = places.split_at(places.len().min(OF_A_KIND));
            sample.add(&bag, kind, name(kind), taken);
            if kind == WEAK {
                let searched = &rest[..rest.len().min(SEARCHED)];
                let hard = bag.hardest(WEAK, searched, OF_A_KIND, |gray| margins(net, gray))?;
                sample.add(&bag, kind, HARD_NAME, &hard);
            }
        }
        if sample.gray.is_empty() { Err(QuantizeError::NoPatches) } else { Ok(sample) }
    }

    fn add(&mut self, bag: &Bag, kind: usize, name: &str, places: &[usize]) {
        for &place in places {
            self.gray.extend_from_slice(bag.patch(kind, place));
        }
        self.strata.push(Stratum { kind: name.into(), patches: places.len() });
    }

    /// Number of patches.
    #[must_use]
    pub fn patches(&self) -> usize {
        self.strata.iter().map(|stratum| stratum.patches).sum()
    }
}

fn name(kind: usize) -> &'static str {
    match Class::ALL.get(kind) {
        Some(class) => class.name(),
        None if kind == WEAK => WEAK_NAME,
        None => "unlabelled",
    }
}

/// The logit of hematoma above the largest of the others, patch by patch.
fn margins(net: &ResNet18, gray: &[u8]) -> Result<Vec<f32>, tch::TchError> {
    let hematoma = Class::Hematoma.index();
    let margin = |logits: ArrayView1<f32>| {
        let others = logits.iter().enumerate().filter(|&(class, _)| class != hematoma);
        logits[hematoma] - others.fold(f32::NEG_INFINITY, |most, (_, &logit)| most.max(logit))
    };
    Ok(score::logits(net, gray)?.outer_iter().map(margin).collect())
}
