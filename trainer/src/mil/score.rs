//! Runs a network of bags over a patient's slices, pooled by the engine's own code.

use super::labels::bag_labels;
use super::net::AttentionNet;
use crate::metrics::ConfusionMatrix;
use crate::recipe::Recipe;
use crate::score::{BagScores, FORWARD, ScoreError, ScoredStudy, Scorer, hematoma_pixels};
use crate::shard::{Shard, ShardError};
use crate::shares::{Fill, PatchLabel, Shares};
use hemapatch::evidence::{self, Bag};
use hemapatch::label::{BagLabel, Class};
use hemapatch::patch::{Grid, Neighbourhood, Patches, Pyramid};
use ndarray::{Array2, Array3, s};
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
        shard: &mut Shard,
        slices: Range<usize>,
    ) -> Result<ScoredStudy, ScoreError> {
        let (rows, columns) = (shard.index().rows, shard.index().columns);
        let grid = Grid::over(rows, columns, recipe.patch_size);
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
        let mut study = ScoredStudy {
            patient: entries.first().map(|entry| entry.patient.clone()).unwrap_or_default(),
            hematoma: Array3::zeros((slices.len(), grid.rows, grid.columns)),
            bags: None,
            boxed: entries.iter().map(|entry| entry.boxed).collect(),
            box_distance: entries.iter().map(|entry| entry.box_distance).collect(),
            patches: ConfusionMatrix::default(),
            certain: Vec::new(),
            method: recipe.method,
            logits: Array2::zeros((0, 0)),
            taught: Vec::new(),
            hematoma_pixels: vec![0; slices.len()],
        };
        let fill = Fill { other: recipe.labels.fill, hematoma: recipe.labels.hematoma_fill };
        let size = recipe.patch_size.pixels();
        let pyramids = slices
            .clone()
            .map(|slice| Ok(Pyramid::of(&shard.gray(slice)?)))
            .collect::<Result<Vec<Pyramid>, ShardError>>()?;
        let mut patches = Patches::new(grid, &recipe.views);
        for (at, slice) in slices.enumerate() {
            patches.cut(Neighbourhood {
                before: at.checked_sub(1).and_then(|before| pyramids.get(before)),
                this: &pyramids[at],
                after: pyramids.get(at + 1),
            });
            let outputs = self.outputs(patches.unique())?;
            if outputs.iter().any(|output| !output.is_finite()) {
                return Err(ScoreError::NotANumber(study.patient));
            }
            let times = evidence::times(patches.places(), patches.in_bag(), outputs.nrows());
            let Some(bag) = Bag::pool(outputs.view(), &times) else { continue };
            for (probability, &logit) in bags.probabilities.column_mut(at).iter_mut().zip(bag.logits()) {
                *probability = evidence::sigmoid(logit);
            }
            let classes = shard.classes(slice)?;
            study.hematoma_pixels[at] = hematoma_pixels(&classes);
            for (place, &index) in patches.places().iter().enumerate() {
                if !patches.in_bag()[place] {
                    continue;
                }
                let (row, column) = (place / grid.columns, place % grid.columns);
                let index = index as usize;
                let probability = bag.patch_probability(index, outputs[[index, 1 + hematoma]]);
                study.hematoma[[at, row, column]] = probability;
                let (top, left) = (row * size, column * size);
                if top + size > rows || left + size > columns {
                    continue;
                }
                let pixels = classes.slice(s![top..top + size, left..left + size]);
                if let PatchLabel::Certain(truth) = Shares::of(pixels).label(fill, &Class::SINGLE, false) {
                    study.certain.push((probability, truth == Class::Hematoma));
                }
            }
        }
        study.bags = Some(bags);
        Ok(study)
    }
}
