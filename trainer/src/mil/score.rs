//! Runs a network of bags over a patient's slices, pooled by the engine's own code.

use super::labels::bag_labels;
use super::net::AttentionNet;
use crate::recipe::Recipe;
use crate::score::{
    BagScores, FORWARD, ScoreError, ScoredStudy, Scorer, for_each_slice, grid, hematoma_pixels, whole_patches,
};
use crate::shard::Shard;
use crate::shares::{Fill, PatchLabel};
use hemapatch::evidence::{self, Bag};
use hemapatch::label::{BagLabel, Class};
use ndarray::Array2;
use std::ops::Range;
use tch::{Kind, Tensor};

impl AttentionNet {
    /// Attention logits and scores of patches of gray levels.
    ///
    /// # Shape
    /// `gray` is `[patches, views, size, size]`, the result `[patches, 1 + labels]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn outputs(&self, gray: &[u8]) -> Result<Array2<f32>, tch::TchError> {
        let shape = self.trunk.shape;
        let patch_bytes = (shape.views * shape.size * shape.size) as usize;
        let mut outputs = Vec::new();
        for gray in gray.chunks(FORWARD * patch_bytes) {
            let patches = (gray.len() / patch_bytes) as i64;
            let input = Tensor::from_slice(gray).view([patches, shape.views, shape.size, shape.size]);
            let output = tch::no_grad(|| self.forward(&input.to_kind(Kind::Float), false));
            outputs.extend(Vec::<f32>::try_from(output.contiguous().view([-1]))?);
        }
        let columns = 1 + shape.classes as usize;
        Ok(Array2::from_shape_vec((outputs.len() / columns, columns), outputs)
            .expect("whole rows of the network's output"))
    }
}

impl Scorer for AttentionNet {
    /// A patch's probability is [`Bag::patch_probability`]; one outside of the bag has none. Patches are called
    /// hematoma or nothing, so there is no confusion of classes to count.
    fn score_study(
        &self,
        recipe: &Recipe,
        shard: &Shard,
        slices: Range<usize>,
    ) -> Result<ScoredStudy, ScoreError> {
        let grid = grid(recipe, shard);
        let entries = &shard.index().slices[slices.clone()];
        let labels = recipe.mil.bag_labels();
        let hematoma = labels.iter().position(|&label| label == BagLabel::Hematoma).unwrap_or(0);
        let truths =
            entries.iter().map(|entry| bag_labels(entry, &labels, recipe.labels.box_distance)).collect();
        let mut bags = BagScores {
            hematoma,
            probabilities: Array2::zeros((labels.len(), slices.len())),
            labels,
            truths,
        };
        let mut study = ScoredStudy::unscored(entries, grid, recipe.method);
        let fill = Fill { other: recipe.labels.fill, hematoma: recipe.labels.hematoma_fill };
        let size = recipe.patch_size.pixels();
        for_each_slice(recipe, shard, slices.clone(), |at, patches| {
            let outputs = self.outputs(patches.unique())?;
            if outputs.iter().any(|output| !output.is_finite()) {
                return Err(ScoreError::NotANumber(study.patient.clone()));
            }
            let times = evidence::times(patches.places(), patches.in_bag(), outputs.nrows());
            let Some(bag) = Bag::pool(outputs.view(), &times) else { return Ok(()) };
            for (probability, &logit) in bags.probabilities.column_mut(at).iter_mut().zip(bag.logits()) {
                *probability = evidence::sigmoid(logit);
            }
            let in_bag = |place: usize| patches.in_bag()[place];
            for place in (0..grid.patches()).filter(|&place| in_bag(place)) {
                let index = patches.places()[place] as usize;
                study.hematoma[[at, place / grid.columns, place % grid.columns]] =
                    bag.patch_probability(index, outputs[[index, 1 + hematoma]]);
            }
            let classes = shard.classes(slices.start + at);
            study.hematoma_pixels[at] = hematoma_pixels(classes);
            for (place, shares) in whole_patches(classes, grid, size).filter(|&(place, _)| in_bag(place)) {
                if let PatchLabel::Certain(truth) = shares.label(fill, &Class::SINGLE, false) {
                    let probability = study.hematoma[[at, place / grid.columns, place % grid.columns]];
                    study.certain.push((probability, truth == Class::Hematoma));
                }
            }
            Ok(())
        })?;
        study.bags = Some(bags);
        Ok(study)
    }
}
