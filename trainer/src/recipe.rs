//! A recipe: everything that decides what a trained model is, in one TOML file.
//!
//! The same recipe and data give the same split and the same augmented patches everywhere, and on
//! one machine, with one libtorch and as many threads, the same weights to the last bit. Elsewhere
//! libtorch adds up in another order: other last bits, hence other hard patches, other weights.

use crate::passport::Statement;
use hemapatch::evidence::Pooling;
use hemapatch::patch::{PatchSize, View};
use hemapatch::prep::Preparation;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A recipe, as its TOML file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the model that comes out.
    pub name: String,
    /// Seed of the split, the weights, the augmentation and the order.
    pub seed: u64,
    /// Side of a patch: 8, 16 or 32 pixels.
    pub patch_size: PatchSize,
    /// What the network sees of a place, one input channel each.
    pub views: Vec<View>,
    /// Noise removal, bone removal, centering.
    pub preparation: Preparation,
    /// Which patches are learned from.
    #[serde(default)]
    pub labels: Labels,
    /// Length and optimizer.
    #[serde(default)]
    pub training: Training,
    /// What is changed at random between rounds.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// How evidence is pooled over slices and patches before thresholds.
    pub pooling: Pooling,
    /// What is said of a model trained on data of one's own; PHE-SICH-CT-IDS needs none.
    #[serde(default)]
    pub passport: Statement,
}

/// Which patches are learned from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Labels {
    /// Share of a patch that background, parenchyma or skull must fill to be certain.
    pub fill: f64,
    /// Share of a patch that hematoma must fill. Lower than `fill`: the smallest lesions are as
    /// wide as a patch and never fill one of the grid to 80 %.
    pub hematoma_fill: f64,
    /// Whether uncertain patches of box-free slices teach what is no hematoma.
    pub weak_negatives: bool,
    /// A box-free slice is at least this many slices away from a boxed one.
    pub box_distance: usize,
}

impl Default for Labels {
    fn default() -> Self {
        Labels { fill: 0.8, hematoma_fill: 0.6, weak_negatives: true, box_distance: 2 }
    }
}

/// Length and optimizer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Rounds; every round cuts the patches anew from newly augmented slices.
    pub rounds: usize,
    /// Optimizer steps a round.
    pub steps: usize,
    /// Patches a step, by kind.
    pub batch: BatchPlan,
    /// Highest learning rate of AdamW's one-cycle schedule.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Share of the target spread over all classes.
    pub label_smoothing: f64,
    /// Weight of the weak negatives' loss against the certain patches'.
    pub weak_weight: f64,
    /// Kept share of the running average of the weights, a step.
    pub average_decay: f64,
    /// First round (from 0) in which half of the weak negatives are the hardest ones.
    pub mine_from: usize,
    /// How often a boxed slice is cut in a round, each time augmented differently.
    pub boxed_repeats: usize,
    /// Threads of libtorch. With another number of them the weights are others.
    pub threads: i32,
}

impl Default for Training {
    fn default() -> Self {
        Training {
            rounds: 10,
            steps: 500,
            batch: BatchPlan::default(),
            learning_rate: 2e-3,
            weight_decay: 0.02,
            label_smoothing: 0.02,
            weak_weight: 1.0,
            average_decay: 0.998,
            mine_from: 3,
            boxed_repeats: 4,
            threads: 2,
        }
    }
}

/// How many patches of each kind a batch has.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchPlan {
    /// Certain background.
    pub background: usize,
    /// Certain parenchyma.
    pub parenchyma: usize,
    /// Certain hematoma.
    pub hematoma: usize,
    /// Certain skull.
    pub skull: usize,
    /// Weak negatives.
    pub weak: usize,
}

impl Default for BatchPlan {
    fn default() -> Self {
        BatchPlan { background: 16, parenchyma: 48, hematoma: 64, skull: 16, weak: 112 }
    }
}

impl BatchPlan {
    /// Certain patches by class index, then weak negatives.
    #[must_use]
    pub fn counts(&self) -> [usize; 5] {
        [self.background, self.parenchyma, self.hematoma, self.skull, self.weak]
    }

    /// Certain patches a batch.
    #[must_use]
    pub fn certain(&self) -> usize {
        self.counts()[..4].iter().sum()
    }

    /// All patches a batch.
    #[must_use]
    pub fn total(&self) -> usize {
        self.counts().iter().sum()
    }
}

/// What is changed at random: patches mirrored and transposed, all else on whole slices before
/// views are made of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Whether patches are mirrored and transposed.
    pub flips: bool,
    /// Largest rotation either way, degrees.
    pub rotation_deg: f64,
    /// Largest change of size either way, percent.
    pub size_percent: f64,
    /// Largest change of contrast either way, percent.
    pub contrast_percent: f64,
    /// Largest change of brightness either way, gray levels.
    pub brightness: f64,
    /// Largest standard deviation of added noise, gray levels.
    pub noise: f64,
    /// Largest share of the 3x3 mean that is mixed in.
    pub blur: f64,
}

impl Default for Augmentation {
    fn default() -> Self {
        Augmentation {
            flips: true,
            rotation_deg: 15.0,
            size_percent: 10.0,
            contrast_percent: 8.0,
            brightness: 8.0,
            noise: 6.0,
            blur: 0.6,
        }
    }
}

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The recipe.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no recipe.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The recipe.
        path: PathBuf,
        /// What is wrong, with its line.
        problem: Box<toml::de::Error>,
    },
    /// A value makes no sense.
    #[error("recipe: {what} must be {rule}")]
    Value {
        /// Which value.
        what: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

impl Recipe {
    /// Reads a recipe and checks its values.
    ///
    /// # Errors
    /// [`RecipeError`].
    pub fn read(path: &Path) -> Result<Recipe, RecipeError> {
        let text =
            fs::read_to_string(path).map_err(|source| RecipeError::Io { path: path.into(), source })?;
        let recipe: Recipe = toml::from_str(&text)
            .map_err(|problem| RecipeError::Format { path: path.into(), problem: Box::new(problem) })?;
        recipe.check()?;
        Ok(recipe)
    }

    fn check(&self) -> Result<(), RecipeError> {
        let rules = [
            (!self.views.is_empty(), "views", "at least one"),
            ((0.5..=1.0).contains(&self.labels.fill), "labels.fill", "from 0.5 to 1"),
            ((0.5..=1.0).contains(&self.labels.hematoma_fill), "labels.hematoma_fill", "from 0.5 to 1"),
            (self.labels.box_distance >= 1, "labels.box_distance", "at least 1"),
            (self.training.rounds >= 1, "training.rounds", "at least 1"),
            (self.training.steps >= 1, "training.steps", "at least 1"),
            (self.training.boxed_repeats >= 1, "training.boxed_repeats", "at least 1"),
            (self.training.threads >= 1, "training.threads", "at least 1"),
            (self.training.batch.hematoma >= 1, "training.batch.hematoma", "at least 1"),
            (self.training.batch.certain() >= 2, "training.batch", "at least two certain patches"),
            (
                (0.0..1.0).contains(&self.training.average_decay),
                "training.average_decay",
                "from 0 to below 1",
            ),
            (
                (0.0..1.0).contains(&self.training.label_smoothing),
                "training.label_smoothing",
                "from 0 to below 1",
            ),
            (self.training.learning_rate > 0.0, "training.learning_rate", "above 0"),
            ((0.0..=1.0).contains(&self.augmentation.blur), "augmentation.blur", "from 0 to 1"),
            (
                (0.0..=50.0).contains(&self.augmentation.size_percent),
                "augmentation.size_percent",
                "from 0 to 50",
            ),
            (
                (0.0..=50.0).contains(&self.augmentation.contrast_percent),
                "augmentation.contrast_percent",
                "from 0 to 50",
            ),
        ];
        match rules.into_iter().find(|(holds, _, _)| !holds) {
            Some((_, what, rule)) => Err(RecipeError::Value { what, rule }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipes_that_come_with_the_trainer_are_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        for name in ["ich16.toml", "paper.toml"] {
            let recipe = Recipe::read(&folder.join(name)).unwrap();
            assert_eq!(format!("{}.toml", recipe.name), name);
        }
    }

    #[test]
    fn names_the_value_that_makes_no_sense() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let mut recipe = Recipe::read(&folder.join("ich16.toml")).unwrap();
        recipe.labels.fill = 0.2;
        assert_eq!(recipe.check().unwrap_err().to_string(), "recipe: labels.fill must be from 0.5 to 1");
    }
}
