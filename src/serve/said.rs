//! What was said of a study before it is judged: where a verdict takes that back, it says so.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::verdict::Verdict;
use crate::alert::Occasion;
use crate::spool::{SpoolError, write_durably};
use crate::study::{Outcome, Report, Warning, compare_with_early_alert};

/// The file in a study's folder that says that there was an early alert.
const EARLY: &str = "early";

/// What was said of a study. Kept with the verdict, which is the same again only for somebody who knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Said {
    /// Whether there was an early alert.
    pub early: bool,
    /// The outcomes of its verdicts, each another than the one before.
    pub outcomes: Vec<Occasion>,
}

impl Said {
    /// Of the study of a folder, whose last verdict it is.
    pub fn of(study: &Path, last: Option<&Verdict>) -> Said {
        let mut outcomes = last.map(|last| last.said.outcomes.clone()).unwrap_or_default();
        if let Some(last) = last.filter(|last| outcomes.last() != Some(&last.outcome)) {
            outcomes.push(last.outcome);
        }
        Said { early: was_early(study), outcomes }
    }

    /// Adds to a verdict what it takes back.
    pub fn compare(&self, report: &mut Report) {
        if self.early {
            compare_with_early_alert(report);
        }
        let outcome = outcome(report);
        if let Some(before) = self.outcomes.iter().rev().find(|before| **before != outcome) {
            let detail = format!("an earlier verdict, on what had come by then, was {}", before.name());
            report.warnings.push(Warning::new("verdict_revised", detail));
        }
    }
}

/// Whether there was an early alert on the study of a folder.
pub fn was_early(study: &Path) -> bool {
    study.join(EARLY).exists()
}

/// Notes, durably, that there was.
///
/// # Errors
/// The disk.
pub fn note_early(study: &Path) -> Result<(), SpoolError> {
    write_durably(&study.join(EARLY), b"")
}

/// A report's outcome, as it is told.
pub fn outcome(report: &Report) -> Occasion {
    match report.outcome {
        Outcome::Alert { .. } => Occasion::Alert,
        Outcome::NoAlert { .. } => Occasion::NoAlert,
        Outcome::Refused(_) => Occasion::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_outcome_is_another_verdict() {
        use Occasion::{Alert, NoAlert, Refused};
        let folder = tempfile::tempdir().unwrap();
        let mut last: Option<Verdict> = None;
        for outcome in [NoAlert, NoAlert, Alert, Alert, NoAlert, Refused] {
            let said = Said::of(folder.path(), last.as_ref());
            assert!(!said.early);
            let (revision, report) = (1, Box::default());
            last = Some(Verdict { revision, outcome, objects: 1, refused: 0, said, report });
        }
        assert_eq!(Said::of(folder.path(), last.as_ref()).outcomes, [NoAlert, Alert, NoAlert, Refused]);
        note_early(folder.path()).unwrap();
        assert!(Said::of(folder.path(), None).early);
    }
}
