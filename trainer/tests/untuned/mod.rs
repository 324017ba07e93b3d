//! Choices for networks that nobody tuned: what a model needs to be written, and no test looks at.

use hemapatch::evidence::Calibration;
use hemapatch_train::evaluate::Choices;
use hemapatch_train::shard::Source;

/// Every threshold in the middle.
pub fn choices() -> Choices {
    let calibration = Calibration { intercept: 0.0, slope: 1.0 };
    Choices {
        source: Source::PheSich,
        temperature: 1.0,
        patch_probability: 0.5,
        patch_goals: Vec::new(),
        slice: calibration,
        study: calibration,
        slice_probability: 0.5,
        study_probability: 0.5,
        operating_point: "a test".into(),
    }
}
