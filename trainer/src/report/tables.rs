//! The tables of a report, in Markdown.

use crate::evaluate::{Choices, Judgement, WholeJudgement};
use crate::metrics::{self, ConfusionMatrix, Estimate};
use std::fmt::Write;

/// Full studies against what stands for studies without hemorrhage.
pub(super) fn studies(whole: &WholeJudgement) -> String {
    let mut text = String::from(
        "### Studies\n\n\
         Studies without hemorrhage are stood for by box-free slices of the same patients: by each run of them, and, \
         fairer to a patient who has many runs, by the strongest run of each patient. Thresholds and calibration are \
         chosen with the latter. Wilson's interval knows how few patients there are; a bootstrap of nothing but right \
         answers does not.\n\n",
    );
    text += &lengths(whole);
    let rows = [
        ("sensitivity, full studies", whole.study_sensitivity, whole.study_sensitivity_wilson),
        ("specificity, one negative a patient", whole.study_specificity, whole.study_specificity_wilson),
        ("specificity, each box-free run", whole.run_specificity, None),
        ("AUC, one negative a patient", whole.study_auc, None),
        ("AUC, each box-free run", whole.run_auc, None),
        ("average precision, one negative a patient", whole.study_average_precision, None),
        ("Brier score, one negative a patient", whole.study_brier, None),
    ];
    text += "| studies | value | Wilson |\n|---|---|---|\n";
    for (what, value, wilson) in rows {
        let wilson =
            wilson.map_or(String::new(), |wilson| format!("{:.3} to {:.3}", wilson.low, wilson.high));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {what} | {} | {wilson} |", estimate(value));
    }
    text += "\n";
    text += &matrix("study, one negative a patient", &whole.study_matrix);
    text + &matrix("study, each run", &whole.run_matrix)
}

/// How long the cases behind the study figures are: a longer study has more chances of an alarm.
fn lengths(whole: &WholeJudgement) -> String {
    let [Some(full), Some(run)] = whole.study_slices_median else { return String::new() };
    let mut text = format!("Median length: {full} slices of a full study, {run} of a box-free run.");
    if run < full {
        text += " A shorter run has fewer chances of a false alarm than a real study without hemorrhage, so study \
                 specificity and AUC read optimistic.";
    }
    text + "\n\n"
}

/// Slices with a box against slices without.
pub(super) fn slices(whole: &WholeJudgement) -> String {
    let mut text = String::from("### Slices\n\n| slices | value |\n|---|---|\n");
    for (what, value) in [
        ("AUC, pooled evidence", whole.slice_auc),
        ("AUC, strongest patch", whole.slice_auc_unpooled),
        ("AUC, number of patches", whole.slice_auc_count),
        ("average precision, pooled evidence", whole.slice_average_precision),
        ("sensitivity", whole.slice_sensitivity),
        ("specificity", whole.slice_specificity),
        ("Brier score", whole.slice_brier),
    ] {
        let _ = writeln!(text, "| {what} | {} |", estimate(value));
    }
    text += "\n";
    text + &matrix("slice", &whole.slice_matrix)
}

/// What the chosen patch threshold and others do: to patches, and to slices and studies by the
/// paper's rule.
pub(super) fn patch_rules(whole: &WholeJudgement) -> String {
    if whole.patch_rules.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "### Patch threshold, and the rule that one patch is enough\n\n\
         | chosen for | from | certain hematoma | other certain | slices: sensitivity | specificity | studies: \
         sensitivity | specificity, a patient | specificity, a run |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for rule in &whole.patch_rules {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            goal(rule),
            rule.probability,
            estimate(rule.patch_sensitivity),
            estimate(rule.patch_specificity),
            estimate(rule.slice_sensitivity),
            estimate(rule.slice_specificity),
            estimate(rule.study_sensitivity),
            estimate(rule.study_specificity),
            estimate(rule.run_specificity),
        );
    }
    text + "\n"
}

fn goal(rule: &crate::evaluate::PatchRule) -> String {
    let goal = rule.goal.map_or("not said".into(), |goal| goal.to_string());
    if rule.chosen { goal + " **(chosen)**" } else { goal }
}

/// How far counted patches are the labelled area.
pub(super) fn areas(whole: &WholeJudgement) -> String {
    if whole.patch_rules.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "### Area of hematoma\n\n\
         Counted patches times their pixels, less the pixels labelled hematoma. The pictures carry no spacing, so \
         areas are in pixels; labels were derived by rule from boxes and gray levels.\n\n\
         | patch threshold | over | n | labelled, mean | counted / labelled, median | bias | 95 % limits of agreement | \
         correlation |\n|---|---|---|---|---|---|---|---|\n",
    );
    for rule in &whole.patch_rules {
        for (over, agreement) in [("slices", rule.area.slices), ("patients", rule.area.patients)] {
            let Some(agreement) = agreement else { continue };
            let Estimate { value, low, high } = agreement.bias;
            let limits =
                agreement.limits.map_or("none".into(), |[low, high]| format!("{low:.0} to {high:.0}"));
            let _ = writeln!(
                text,
                "| {} | {over} | {} | {:.0} | {} | {value:.0} ({low:.0} to {high:.0}) | {limits} | {} |",
                goal(rule),
                agreement.pairs,
                agreement.reference_mean,
                estimate(agreement.ratio_median),
                estimate(agreement.correlation),
            );
        }
    }
    text + "\n"
}

/// Prevalences of the table, in shares.
const PREVALENCES: [f64; 6] = [0.001, 0.01, 0.05, 0.1, 0.2, 0.5];

/// What an alert and a silence mean where hemorrhage is as common as this.
pub(super) fn predictive_values(whole: &WholeJudgement) -> String {
    let (Some(sensitivity), Some(specificity)) =
        (whole.study_sensitivity_wilson, whole.study_specificity_wilson)
    else {
        return String::new();
    };
    let mut text = String::from(
        "### Predictive values of an alert\n\n\
         By Bayes' rule from sensitivity and specificity above (one negative a patient); in brackets both at their \
         lower and both at their upper Wilson bound.\n\n\
         | prevalence | alerts that are right (PPV) | silences that are right (NPV) |\n|---|---|---|\n",
    );
    for prevalence in PREVALENCES {
        let of = |sensitivity, specificity| metrics::predictive_values(sensitivity, specificity, prevalence);
        let [value, low, high] = [
            of(sensitivity.value, specificity.value),
            of(sensitivity.low, specificity.low),
            of(sensitivity.high, specificity.high),
        ];
        let words = |which: usize| match (value[which], low[which], high[which]) {
            (Some(value), Some(low), Some(high)) => Estimate { value, low, high }.to_string(),
            _ => "none".into(),
        };
        let _ = writeln!(text, "| {} % | {} | {} |", 100.0 * prevalence, words(0), words(1));
    }
    text + "\n"
}

/// Certain patches.
pub(super) fn patches(judgement: &Judgement, choices: &Choices) -> String {
    let mut text = String::from("### Certain patches\n\n| patches | value |\n|---|---|\n");
    for (what, value) in [
        ("right".to_owned(), percent(judgement.patch_accuracy)),
        (
            format!("hematoma, at {} or above", choices.patch_probability),
            estimate(judgement.patch_sensitivity),
        ),
        (format!("others, below {}", choices.patch_probability), estimate(judgement.patch_specificity)),
    ] {
        let _ = writeln!(text, "| {what} | {value} |");
    }
    text += "\n";
    text + &matrix("patch", &judgement.patches)
}

/// A matrix of any size; nothing of one without classes.
fn matrix(what: &str, matrix: &ConfusionMatrix) -> String {
    if matrix.classes.is_empty() {
        return String::new();
    }
    let mut text = format!("| true {what} | right |");
    for class in &matrix.classes {
        let _ = write!(text, " called {class} |");
    }
    text += "\n|---|---|";
    text += &"---|".repeat(matrix.classes.len());
    text.push('\n');
    for (at, (class, counts)) in matrix.classes.iter().zip(&matrix.counts).enumerate() {
        let _ = write!(text, "| {class} | {} |", percent(matrix.recall(at)));
        for count in counts {
            let _ = write!(text, " {count} |");
        }
        text.push('\n');
    }
    text + "\n"
}

/// A share as percent.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or("none".into(), |share| format!("{:.2} %", 100.0 * share))
}

fn estimate(estimate: Option<Estimate>) -> String {
    estimate.map_or("none".into(), |estimate| estimate.to_string())
}
