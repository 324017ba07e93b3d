//! A recipe: everything that decides what a trained model is, in one TOML file.
//!
//! The same recipe and data give the same split and the same augmented patches everywhere, and on
//! one machine, with one libtorch and as many threads, the same weights to the last bit. Elsewhere
//! libtorch adds up in another order: other last bits, hence other hard patches, other weights.

mod labels;
mod training;

pub use labels::{Labels, LossRule, Semi};
pub use training::{Augmentation, BatchPlan, ComputeDevice, Training};

use crate::mil::Plan;
use crate::operating_point::OperatingPoint;
use crate::passport::Statement;
use hemapatch::evidence::Pooling;
use hemapatch::label::Class;
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
    /// Version of weights and thresholds together.
    #[serde(default = "first_version")]
    pub version: String,
    /// Seed of the split, the weights, the augmentation and the order.
    pub seed: u64,
    /// Side of a patch: 8, 16 or 32 pixels.
    pub patch_size: PatchSize,
    /// What the network sees of a place, one input channel each.
    pub views: Vec<View>,
    /// Noise removal, bone removal, centering.
    pub preparation: Preparation,
    /// What the network is asked.
    #[serde(default)]
    pub method: Method,
    /// What is divided into training, validation and test.
    #[serde(default)]
    pub split: SplitRule,
    /// Which patches are learned from.
    #[serde(default)]
    pub labels: Labels,
    /// How patches of different classes are weighed.
    #[serde(default)]
    pub loss: LossRule,
    /// Learning from unlabelled patches as well.
    #[serde(default)]
    pub semi: Option<Semi>,
    /// Length and optimizer.
    #[serde(default)]
    pub training: Training,
    /// What is changed at random between rounds.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// Bags and attention, for [`Method::Mil`].
    #[serde(default)]
    pub mil: Plan,
    /// How evidence is pooled over slices and patches before thresholds.
    pub pooling: Pooling,
    /// What thresholds are chosen for.
    #[serde(default)]
    pub operating_point: OperatingPoint,
    /// What is said of a model trained on data of one's own; PHE-SICH-CT-IDS needs none.
    #[serde(default)]
    pub passport: Statement,
}

fn first_version() -> String {
    "0.1.0".into()
}

/// What the network is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Which of four classes a patch is (P10, P11).
    #[default]
    Single,
    /// Which of six classes a patch shows, several allowed (P12).
    Multilabel,
    /// Multiple-instance learning: bags have labels, patches none (P15).
    Mil,
}

impl Method {
    /// The classes that patches are labelled with, and that the network's outputs stand for in their
    /// order; of bags only the patches' labels, to judge by.
    #[must_use]
    pub fn classes(self) -> &'static [Class] {
        match self {
            Method::Single | Method::Mil => &Class::SINGLE,
            Method::Multilabel => &Class::ALL,
        }
    }
}

/// What is divided into training, validation and test.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitRule {
    /// Patients or patches.
    #[serde(default)]
    pub by: Dealt,
    /// Seed of the order in which patients are dealt out, if not the recipe's: several recipes or
    /// seeds may so share their test patients.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// What a split deals out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dealt {
    /// Whole patients.
    #[default]
    Patient,
    /// Patches, whoever they are of: the paper's way (P8), for comparison with its figures only. Slices
    /// of one patient lie on every side, and what comes out says nothing of other patients. The test
    /// patients of the split by patient are left out even so.
    Patch,
}

impl Dealt {
    /// As recipes spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Dealt::Patient => "patient",
            Dealt::Patch => "patch",
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
        let batch = &self.training.batch;
        let rules = [
            (!self.views.is_empty(), "views", "at least one"),
            ((0.5..=1.0).contains(&self.labels.fill), "labels.fill", "from 0.5 to 1"),
            ((0.5..=1.0).contains(&self.labels.hematoma_fill), "labels.hematoma_fill", "from 0.5 to 1"),
            (self.labels.box_distance >= 1, "labels.box_distance", "at least 1"),
            (
                batch.weak == 0 || self.labels.weak_negatives || self.labels.rim.is_some(),
                "training.batch.weak",
                "0 where neither labels.weak_negatives nor labels.rim gives any",
            ),
            (
                self.method != Method::Mil || self.training.device == ComputeDevice::Cpu,
                "training.device",
                "\"cpu\" for the method \"mil\"",
            ),
            (
                self.labels.rim.is_none_or(|rim| (0.0..self.labels.hematoma_fill).contains(&rim)),
                "labels.rim",
                "from 0 to below labels.hematoma_fill",
            ),
            ((0.05..=1.0).contains(&self.labels.present), "labels.present", "from 0.05 to 1"),
            ((0.0..=5.0).contains(&self.loss.focal_gamma), "loss.focal_gamma", "from 0 to 5"),
            (
                self.method == Method::Multilabel || batch.ventricle + batch.csf == 0,
                "training.batch",
                "without ventricle and csf, which only method \"multilabel\" knows",
            ),
            (
                self.semi.is_none() || self.method == Method::Single,
                "semi",
                "left out, or the method \"single\"",
            ),
            (
                self.semi.is_some() == (batch.unlabelled > 0),
                "training.batch.unlabelled",
                "above 0 with [semi], and 0 without",
            ),
            (
                self.semi.as_ref().is_none_or(|semi| semi.labelled_patients >= 1),
                "semi.labelled_patients",
                "at least 1",
            ),
            (
                self.semi.as_ref().is_none_or(|semi| (0.25..=1.0).contains(&semi.confidence)),
                "semi.confidence",
                "from 0.25 to 1",
            ),
            (
                self.split.by == Dealt::Patient || self.augmentation.keeps_the_grid(),
                "augmentation",
                "without rotation, size and shift where patches are dealt out: a moved patch is another",
            ),
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
            (
                self.method == Method::Single || !self.operating_point.fit_temperature,
                "operating_point.fit_temperature",
                "false but for the method \"single\"",
            ),
            (
                (0.0..=1.0).contains(&self.operating_point.study_specificity),
                "operating_point.study_specificity",
                "from 0 to 1",
            ),
            (
                (0.0..=1.0).contains(&self.operating_point.slice_specificity),
                "operating_point.slice_specificity",
                "from 0 to 1",
            ),
            ((0.0..=1.0).contains(&self.augmentation.blur), "augmentation.blur", "from 0 to 1"),
            ((0.0..=1.0).contains(&self.augmentation.sharpen), "augmentation.sharpen", "from 0 to 1"),
            ((0.0..=1.0).contains(&self.augmentation.thickness), "augmentation.thickness", "from 0 to 1"),
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
        match rules.into_iter().chain(self.mil.rules()).find(|(holds, _, _)| !holds) {
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
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let recipe = Recipe::read(&path).unwrap();
            // What is shipped has the model's name.
            let stem = path.file_stem().unwrap().to_str().unwrap().replace("ship", "ich16");
            assert_eq!(recipe.name, stem);
            names.push(recipe.name);
        }
        assert!(names.len() >= 7, "{names:?}");
    }

    #[test]
    fn names_the_value_that_makes_no_sense() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let mut recipe = Recipe::read(&folder.join("ship.toml")).unwrap();
        recipe.labels.fill = 0.2;
        assert_eq!(recipe.check().unwrap_err().to_string(), "recipe: labels.fill must be from 0.5 to 1");
    }
}
