//! The learning curve: one line a round.

use std::path::Path;
use std::{fs, io};

/// File of the learning curve in the run's folder.
pub const CURVE: &str = "curve.csv";

/// One round's line of the learning curve.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CurvePoint {
    /// Counted from 0.
    pub round: usize,
    /// Learning rate at its end.
    pub learning_rate: f64,
    /// Mean loss of certain training patches; multi-label: of all.
    pub certain_loss: f64,
    /// Mean loss of weak negatives, hard ones included.
    pub weak_loss: f64,
    /// Mean loss against pseudo-labels.
    pub pseudo_loss: f64,
    /// Share of certain validation patches that the averaged weights call right.
    pub validation_accuracy: f64,
    /// Share of certain hematoma patches called so.
    pub validation_hematoma: f64,
    /// Share of weak negatives called hematoma.
    pub validation_false_alarms: f64,
    /// Spent on all rounds so far.
    pub seconds: f64,
}

impl CurvePoint {
    /// How many numbers a point has.
    pub const COLUMNS: usize = 9;

    const NAMES: [&str; CurvePoint::COLUMNS] = [
        "round",
        "learning_rate",
        "certain_loss",
        "weak_loss",
        "pseudo_loss",
        "validation_accuracy",
        "validation_hematoma",
        "validation_false_alarms",
        "seconds",
    ];

    /// The point's numbers, in the order of the file's columns.
    #[must_use]
    pub fn numbers(&self) -> [f64; CurvePoint::COLUMNS] {
        [
            self.round as f64,
            self.learning_rate,
            self.certain_loss,
            self.weak_loss,
            self.pseudo_loss,
            self.validation_accuracy,
            self.validation_hematoma,
            self.validation_false_alarms,
            self.seconds,
        ]
    }

    /// The point of these numbers.
    #[must_use]
    pub fn of(numbers: [f64; CurvePoint::COLUMNS]) -> CurvePoint {
        let [
            round,
            learning_rate,
            certain_loss,
            weak_loss,
            pseudo_loss,
            validation_accuracy,
            validation_hematoma,
            validation_false_alarms,
            seconds,
        ] = numbers;
        CurvePoint {
            round: round as usize,
            learning_rate,
            certain_loss,
            weak_loss,
            pseudo_loss,
            validation_accuracy,
            validation_hematoma,
            validation_false_alarms,
            seconds,
        }
    }
}

/// Writes the curve as CSV.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, curve: &[CurvePoint]) -> io::Result<()> {
    let mut text = CurvePoint::NAMES.join(",") + "\n";
    for point in curve {
        let [round, rate, numbers @ .., seconds] = point.numbers();
        let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:.5}")).collect();
        text += &format!("{round},{rate:.6},{},{seconds:.1}\n", numbers.join(","));
    }
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_found_again_in_its_numbers() {
        let point = CurvePoint { round: 3, weak_loss: 0.25, seconds: 9.5, ..CurvePoint::default() };
        assert_eq!(CurvePoint::of(point.numbers()), point);
    }

    #[test]
    fn the_file_has_a_column_for_each_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CURVE);
        write(&path, &[CurvePoint { round: 1, learning_rate: 0.002, ..CurvePoint::default() }]).unwrap();
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(
            text.lines().nth(1).unwrap(),
            "1,0.002000,0.00000,0.00000,0.00000,0.00000,0.00000,0.00000,0.0"
        );
        assert!(text.lines().all(|line| line.split(',').count() == CurvePoint::COLUMNS));
    }
}
