//! Runs a network over a patient's slices, cut and pooled by the engine's own code.

use crate::label_rule::{Fill, PatchLabel, patch_label};
use crate::metrics::ConfusionMatrix;
use crate::net::ResNet18;
use crate::recipe::Recipe;
use crate::shard::{Shard, ShardError};
use hemapatch::label::Class;
use hemapatch::patch::{Grid, Neighbourhood, Patches, Pyramid};
use ndarray::{Array3, s};
use std::ops::Range;
use tch::nn::ModuleT;
use tch::{Kind, Tensor};

/// Patches of one forward pass.
const FORWARD: usize = 512;

/// A patient's patch probabilities, and what the annotation says of its slices.
#[derive(Clone, Debug)]
pub struct ScoredStudy {
    /// The data set's own pseudonym.
    pub patient: String,
    /// Probability of hematoma, `[slices, grid rows, grid columns]`.
    pub hematoma: Array3<f32>,
    /// Whether each slice has a lesion box.
    pub boxed: Vec<bool>,
    /// Slices to the nearest boxed one.
    pub box_distance: Vec<Option<usize>>,
    /// Certain patches: true class against called class.
    pub patches: ConfusionMatrix,
    /// Certain patches: probability of hematoma, and whether it is one.
    pub certain: Vec<(f32, bool)>,
}

/// Probabilities of the classes for patches of gray levels.
///
/// # Shape
/// `gray` is `[patches, views, size, size]`, the result `[patches][class]`.
///
/// # Errors
/// When libtorch fails.
pub fn probabilities(net: &ResNet18, gray: &[u8]) -> Result<Vec<[f32; Class::COUNT]>, tch::TchError> {
    let (views, size) = (net.shape.views, net.shape.size);
    let patch_bytes = (views * size * size) as usize;
    let mut probabilities = Vec::with_capacity(gray.len() / patch_bytes);
    for gray in gray.chunks(FORWARD * patch_bytes) {
        let patches = (gray.len() / patch_bytes) as i64;
        let input = Tensor::from_slice(gray).view([patches, views, size, size]).to_kind(Kind::Float);
        let output = tch::no_grad(|| net.forward_t(&input, false).softmax(1, Kind::Float));
        let flat = Vec::<f32>::try_from(output.contiguous().view([-1]))?;
        probabilities.extend_from_slice(flat.as_chunks::<{ Class::COUNT }>().0);
    }
    Ok(probabilities)
}

/// Why a patient cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// The shard cannot be read.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

/// Scores the patient whose slices are `slices` of the shard.
///
/// # Errors
/// [`ScoreError`].
pub fn score_study(
    net: &ResNet18,
    recipe: &Recipe,
    shard: &mut Shard,
    slices: Range<usize>,
) -> Result<ScoredStudy, ScoreError> {
    let (rows, columns) = (shard.index().rows, shard.index().columns);
    let grid = Grid::over(rows, columns, recipe.patch_size);
    let entries = &shard.index().slices[slices.clone()];
    let mut study = ScoredStudy {
        patient: entries.first().map(|entry| entry.patient.clone()).unwrap_or_default(),
        hematoma: Array3::zeros((slices.len(), grid.rows, grid.columns)),
        boxed: entries.iter().map(|entry| entry.boxed).collect(),
        box_distance: entries.iter().map(|entry| entry.box_distance).collect(),
        patches: ConfusionMatrix::default(),
        certain: Vec::new(),
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
        let unique = probabilities(net, patches.unique())?;
        let classes = shard.classes(slice)?;
        for (place, &index) in patches.places().iter().enumerate() {
            let (row, column) = (place / grid.columns, place % grid.columns);
            let probability = &unique[index as usize];
            study.hematoma[[at, row, column]] = probability[Class::Hematoma.index()];
            let (top, left) = (row * size, column * size);
            if top + size > rows || left + size > columns {
                continue;
            }
            let pixels = classes.slice(s![top..top + size, left..left + size]);
            if let PatchLabel::Certain(truth) = patch_label(pixels, fill, false) {
                study.patches.add(truth.index(), most_probable(probability));
                study.certain.push((probability[Class::Hematoma.index()], truth == Class::Hematoma));
            }
        }
    }
    Ok(study)
}

/// Index of the most probable class.
#[must_use]
pub fn most_probable(probability: &[f32; Class::COUNT]) -> usize {
    (1..Class::COUNT).fold(0, |best, class| if probability[class] > probability[best] { class } else { best })
}
