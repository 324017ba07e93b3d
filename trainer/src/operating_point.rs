//! What thresholds are chosen for: the recipe's `[operating_point]`.
//!
//! The choosing itself is `threshold`'s, on the validation patients that `evaluate` brings.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What thresholds are chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OperatingPoint {
    /// Smallest share of validation patients whose box-free runs must all stay silent. Among the
    /// study thresholds that keep it, the most sensitive one is chosen.
    pub study_specificity: f64,
    /// Smallest share of validation slices without a box that must stay below the slice threshold.
    /// At 30 slices a study, 0.99 marks a wrong slice in every third study.
    pub slice_specificity: f64,
    /// What the patch threshold is for.
    pub patch: PatchGoal,
    /// Whether logits are divided by a temperature fitted on certain and weak validation patches.
    /// It undoes the doubt that label smoothing leaves in certain patches, but makes mixed ones too
    /// sure: slices pooled from them were told apart no better, and calibrated worse.
    pub fit_temperature: bool,
}

impl Default for OperatingPoint {
    fn default() -> Self {
        OperatingPoint {
            study_specificity: 0.95,
            slice_specificity: 0.99,
            patch: PatchGoal::Area,
            fit_temperature: false,
        }
    }
}

/// What the patch threshold is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatchGoal {
    /// The area of the counted patches is, over all patients, as large as the labelled hematoma.
    Area,
    /// Certain hematoma patches and other certain ones are told apart best (Youden).
    YoudenPatches,
    /// One counted patch tells slices with a box from slices without best (Youden).
    YoudenSlices,
}

impl PatchGoal {
    /// All, in the order in which they are reported.
    pub const ALL: [PatchGoal; 3] = [PatchGoal::Area, PatchGoal::YoudenPatches, PatchGoal::YoudenSlices];
}

impl fmt::Display for PatchGoal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PatchGoal::Area => "counted area without bias",
            PatchGoal::YoudenPatches => "largest Youden index on certain patches",
            PatchGoal::YoudenSlices => "largest Youden index of one patch a slice",
        })
    }
}

/// As a manifest says it.
impl fmt::Display for OperatingPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "largest sensitivity on validation patients at a specificity of at least {} of studies (one negative \
             a patient: the highest of his box-free runs) and {} of slices; patches: {}",
            self.study_specificity, self.slice_specificity, self.patch
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_may_say_one_thing_and_leave_the_rest() {
        let point: OperatingPoint =
            toml::from_str("study_specificity = 0.9\npatch = \"youden_slices\"").unwrap();
        let expected = OperatingPoint {
            study_specificity: 0.9,
            patch: PatchGoal::YoudenSlices,
            ..OperatingPoint::default()
        };
        assert_eq!(point, expected);
        assert!(toml::from_str::<OperatingPoint>("studies = 0.9").is_err());
    }

    #[test]
    fn its_words_name_both_specificities() {
        let words = OperatingPoint::default().to_string();
        assert!(words.contains("at least 0.95 of studies") && words.contains("0.99 of slices"), "{words}");
    }
}
