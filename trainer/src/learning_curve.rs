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

/// One round's line of a learning curve: numbers with names.
pub trait Point: Sized {
    /// What the numbers are called: the round and its learning rate first, the seconds last.
    const NAMES: &'static [&'static str];

    /// The point's numbers, in the order of their names.
    fn numbers(&self) -> Vec<f64>;

    /// The point of these numbers; `None` if there are not as many as names.
    fn of(numbers: &[f64]) -> Option<Self>;

    /// Spent on all rounds so far.
    fn seconds(&self) -> f64;

    /// The point for whoever watches.
    fn words(&self) -> String;
}

impl Point for CurvePoint {
    const NAMES: &'static [&'static str] = &[
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

    fn numbers(&self) -> Vec<f64> {
        vec![
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

    fn of(numbers: &[f64]) -> Option<CurvePoint> {
        let &[
            round,
            learning_rate,
            certain_loss,
            weak_loss,
            pseudo_loss,
            validation_accuracy,
            validation_hematoma,
            validation_false_alarms,
            seconds,
        ] = numbers
        else {
            return None;
        };
        Some(CurvePoint {
            round: round as usize,
            learning_rate,
            certain_loss,
            weak_loss,
            pseudo_loss,
            validation_accuracy,
            validation_hematoma,
            validation_false_alarms,
            seconds,
        })
    }

    fn seconds(&self) -> f64 {
        self.seconds
    }

    fn words(&self) -> String {
        format!(
            "loss {:.4} + {:.4}, validation {:.4}, false alarms {:.4}",
            self.certain_loss, self.weak_loss, self.validation_accuracy, self.validation_false_alarms
        )
    }
}

/// Writes the curve as CSV.
///
/// # Errors
/// When the file cannot be written.
pub fn write<P: Point>(path: &Path, curve: &[P]) -> io::Result<()> {
    let mut text = P::NAMES.join(",") + "\n";
    for point in curve {
        let numbers = point.numbers();
        let [round, rate, numbers @ .., seconds] = &numbers[..] else { continue };
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
        assert_eq!(CurvePoint::of(&point.numbers()), Some(point));
        assert_eq!(CurvePoint::of(&[1.0, 2.0]), None);
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
        assert!(text.lines().all(|line| line.split(',').count() == CurvePoint::NAMES.len()));
    }
}
