//! Divides patients, never slices, into training, validation and test.
//!
//! Slices of one patient on two sides inflate accuracy by tens of points, so a [`Split`] cannot
//! be built with one, neither here nor from a file.

use crate::shard::Index;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;

/// What a patient is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The weights learn from it.
    Training,
    /// Thresholds and calibration are chosen on it, and recipes by its figures.
    Validation,
    /// Looked at once, at the end.
    Test,
}

/// Every patient's side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Sides", into = "Sides")]
pub struct Split {
    side_of: BTreeMap<String, Side>,
}

/// A split as its JSON file lists it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sides {
    /// Patients to learn from.
    pub training: Vec<String>,
    /// Patients to choose with.
    pub validation: Vec<String>,
    /// Patients to test on.
    pub test: Vec<String>,
}

/// Why lists of patients are no split.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A patient is listed twice, on one side or two.
    #[error("patient {patient} is listed under {first:?} and under {second:?}")]
    ListedTwice {
        /// The data set's own pseudonym.
        patient: String,
        /// Where it stands first.
        first: Side,
        /// Where it stands again.
        second: Side,
    },
    /// A side has no patient.
    #[error("{0:?} has no patient")]
    Empty(Side),
}

impl Split {
    /// Shares of the patients: 60 % training, 20 % validation, the rest test.
    const TRAINING_PERCENT: usize = 60;
    const VALIDATION_PERCENT: usize = 20;

    /// Deals `patients` out in the order of SHA-256(seed, patient): the same on every machine,
    /// whatever order they come in.
    ///
    /// # Errors
    /// [`SplitError`] if a patient comes twice or there are too few for three sides.
    pub fn by_seed(patients: &[String], seed: u64) -> Result<Split, SplitError> {
        let mut ordered: Vec<([u8; 32], &String)> = patients
            .iter()
            .map(|patient| {
                let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(patient);
                (digest.finalize().into(), patient)
            })
            .collect();
        ordered.sort();
        let patients: Vec<String> = ordered.into_iter().map(|(_, patient)| patient.clone()).collect();
        // Rounded to the nearest patient.
        let share = |percent: usize| (patients.len() * percent + 50) / 100;
        let (training, rest) = patients.split_at(share(Self::TRAINING_PERCENT));
        let (validation, test) = rest.split_at(share(Self::VALIDATION_PERCENT).min(rest.len()));
        let (training, validation, test) = (training.to_vec(), validation.to_vec(), test.to_vec());
        Split::try_from(Sides { training, validation, test })
    }

    /// The side of a patient; `None` if the split does not know it.
    #[must_use]
    pub fn side_of(&self, patient: &str) -> Option<Side> {
        self.side_of.get(patient).copied()
    }

    /// Where the slices of each of a side's patients lie in a shard.
    #[must_use]
    pub fn slices_of(&self, index: &Index, side: Side) -> Vec<Range<usize>> {
        let patients = index.patients().into_iter();
        patients
            .filter(|(patient, _)| self.side_of(patient) == Some(side))
            .map(|(_, slices)| slices)
            .collect()
    }

    /// A side's patients in the order of their names.
    pub fn patients(&self, side: Side) -> impl Iterator<Item = &str> {
        self.side_of.iter().filter(move |(_, of)| **of == side).map(|(patient, _)| patient.as_str())
    }
}

impl TryFrom<Sides> for Split {
    type Error = SplitError;

    fn try_from(sides: Sides) -> Result<Split, SplitError> {
        let mut side_of = BTreeMap::new();
        let Sides { training, validation, test } = sides;
        for (side, patients) in
            [(Side::Training, training), (Side::Validation, validation), (Side::Test, test)]
        {
            if patients.is_empty() {
                return Err(SplitError::Empty(side));
            }
            for patient in patients {
                if let Some(first) = side_of.insert(patient.clone(), side) {
                    return Err(SplitError::ListedTwice { patient, first, second: side });
                }
            }
        }
        Ok(Split { side_of })
    }
}

impl From<Split> for Sides {
    fn from(split: Split) -> Sides {
        let list = |side| split.patients(side).map(str::to_owned).collect();
        Sides { training: list(Side::Training), validation: list(Side::Validation), test: list(Side::Test) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{SCHEMA, SliceEntry, Source};
    use hemapatch::prep::Preparation;

    fn patients(count: usize) -> Vec<String> {
        (0..count).map(|patient| format!("{patient:04}")).collect()
    }

    #[test]
    fn every_patient_is_on_one_side() {
        let split = Split::by_seed(&patients(94), 1).unwrap();
        let counts = [Side::Training, Side::Validation, Side::Test].map(|side| split.patients(side).count());
        assert_eq!(counts, [56, 19, 19]);
        assert!(patients(94).iter().all(|patient| split.side_of(patient).is_some()));
    }

    #[test]
    fn the_order_of_the_patients_does_not_matter_and_the_seed_does() {
        let mut reversed = patients(50);
        reversed.reverse();
        let split = Split::by_seed(&patients(50), 7).unwrap();
        assert_eq!(split, Split::by_seed(&reversed, 7).unwrap());
        assert_ne!(split, Split::by_seed(&patients(50), 8).unwrap());
    }

    #[test]
    fn refuses_a_patient_on_two_sides() {
        let listed_twice = r#"{"training": ["a", "b"], "validation": ["c"], "test": ["b"]}"#;
        let error = serde_json::from_str::<Split>(listed_twice).unwrap_err().to_string();
        assert!(error.contains("patient b is listed under Training and under Test"), "{error}");
        let mut twice = patients(10);
        twice.push("0003".into());
        assert!(matches!(Split::by_seed(&twice, 1), Err(SplitError::ListedTwice { .. })));
    }

    #[test]
    fn a_file_gives_the_same_split_again() {
        let split = Split::by_seed(&patients(20), 3).unwrap();
        let json = serde_json::to_string(&split).unwrap();
        assert_eq!(serde_json::from_str::<Split>(&json).unwrap(), split);
    }

    #[test]
    fn refuses_too_few_patients_for_three_sides() {
        assert_eq!(Split::by_seed(&patients(1), 1), Err(SplitError::Empty(Side::Validation)));
    }

    #[test]
    fn a_side_has_the_slices_of_its_patients_and_no_other() {
        let entry = |patient: &str| SliceEntry {
            patient: patient.into(),
            name: patient.into(),
            boxed: false,
            box_distance: None,
            hematoma_ml: None,
            markers: None,
        };
        let index = Index {
            schema: SCHEMA.into(),
            source: Source::Phantoms,
            preparation: Preparation::default(),
            rows: 16,
            columns: 16,
            slices: ["a", "a", "b", "c", "c", "c", "d", "e", "f", "unknown"].map(entry).into(),
        };
        let split = r#"{"training": ["a", "d"], "validation": ["c", "e"], "test": ["b", "f"]}"#;
        let split: Split = serde_json::from_str(split).unwrap();
        assert_eq!(split.slices_of(&index, Side::Training), [0..2, 6..7]);
        assert_eq!(split.slices_of(&index, Side::Validation), [3..6, 7..8]);
        assert_eq!(split.slices_of(&index, Side::Test), [2..3, 8..9]);
    }
}
