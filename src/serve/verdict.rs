//! A verdict as it stands in a study's folder. When it is given is left to `studies`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::said::Said;
use crate::alert::Occasion;
use crate::model::sha256_hex;
use crate::study::RefusalCode;

/// Its file in the study's folder.
pub const FILE: &str = "verdict.json";

/// What a study was judged as.
#[derive(Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// Counted from 1; the next number where the outcome is another one.
    pub revision: u32,
    /// `alert`, `no_alert` or `refused`.
    pub outcome: Occasion,
    /// How many objects it is made of.
    pub objects: usize,
    /// For how many reasons others are missing.
    #[serde(default)]
    pub refused: usize,
    /// What was said before, which it may take back.
    #[serde(default)]
    pub said: Said,
    /// The report.
    pub report: Box<RawValue>,
}

impl Verdict {
    /// Whether the study was refused for a fault that is not its own: `internal`.
    pub fn is_of_ours(&self) -> bool {
        let code = || {
            let report: serde_json::Value = serde_json::from_str(self.report.get()).ok()?;
            Some(report["refusal"]["code"] == RefusalCode::Internal.as_str())
        };
        self.outcome == Occasion::Refused && code().unwrap_or(false)
    }

    /// SHA-256 of its report, in hexadecimal.
    pub fn report_sha256(&self) -> String {
        sha256_hex(self.report.get().as_bytes())
    }

    /// Which verdict on its study it is, in a line. Its report is another one wherever it was judged again, if only by the times in
    /// it, and has a line of its own in the audit log.
    pub fn mark(&self) -> String {
        format!("{} {} {} {}\n", self.revision, self.objects, self.refused, self.report_sha256())
    }
}
