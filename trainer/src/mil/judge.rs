//! How well bags are labelled, label by label. Hematoma alone decides over slices and studies: that is `evaluate`'s.

use crate::metrics::{self, Estimate};
use crate::score::ScoredStudy;
use hemapatch::evidence::{Pooling, pool};
use hemapatch::label::BagLabel;
use ndarray::Axis;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// How well one label was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabelJudgement {
    /// The label's name.
    pub label: String,
    /// Slices with the label, and without; those of which it is not known are left out.
    pub slices: [usize; 2],
    /// AUC over them, smoothed along the series as the engine does.
    pub slice_auc: Option<Estimate>,
}

/// Judges each label on scored studies; none for studies that were not scored as bags.
#[must_use]
pub fn judge(studies: &[ScoredStudy], pooling: &Pooling, seed: u64) -> Vec<LabelJudgement> {
    let Some(labels) = studies.iter().find_map(|study| study.bags.as_ref()).map(|bags| bags.labels.clone())
    else {
        return Vec::new();
    };
    labels.iter().enumerate().map(|(at, label)| judge_label(studies, at, *label, pooling, seed)).collect()
}

fn judge_label(
    studies: &[ScoredStudy],
    at: usize,
    label: BagLabel,
    pooling: &Pooling,
    seed: u64,
) -> LabelJudgement {
    let patients: Vec<Vec<(f32, bool)>> = studies
        .iter()
        .filter_map(|study| study.bags.as_ref())
        .map(|bags| {
            let series = bags.probabilities.row(at).insert_axis(Axis(1)).insert_axis(Axis(1));
            let pooled = pool(pooling, series);
            pooled
                .iter()
                .zip(&bags.truths)
                .filter_map(|(&p, truth)| truth[at].map(|truth| (p, truth)))
                .collect()
        })
        .collect();
    let with = patients.iter().flatten().filter(|case| case.1).count();
    let all: usize = patients.iter().map(Vec::len).sum();
    LabelJudgement {
        label: label.name().into(),
        slices: [with, all - with],
        slice_auc: metrics::bootstrap(&patients, seed, metrics::auc),
    }
}

/// A section of the report on bag labels; empty without any.
#[must_use]
pub fn markdown(labels: &[LabelJudgement]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n## Bag labels, validation patients\n\n");
    if labels.iter().any(|label| label.label != BagLabel::Hematoma.name()) {
        let _ = writeln!(text, "Note: {}.\n", BagLabel::MARKERS_ARE_DRAWN);
    }
    text += "| label | slices with | without | slice AUC |\n|---|---|---|---|\n";
    for LabelJudgement { label, slices: [with, without], slice_auc } in labels {
        let auc = slice_auc.map_or_else(|| "-".to_owned(), |auc| auc.to_string());
        let _ = writeln!(text, "| {label} | {with} | {without} | {auc} |");
    }
    text
}
