//! `report.md`: an evaluation in words and tables, with what its figures rest on.
//! The figures themselves are `evaluate`'s.

use crate::evaluate::{Choices, Judgement, WholeJudgement};
use crate::metrics::Estimate;
use crate::shard::Source;
use crate::split::Side;
use hemapatch::label::Class;
use std::fmt::Write;

/// The report of a model: what `validation` patients chose, how they were read, and, once asked
/// for, how test patients were.
#[must_use]
pub fn markdown(model: &str, choices: &Choices, validation: &Judgement, test: Option<&Judgement>) -> String {
    let mut text = format!("# {model}\n\n{}\n{}", basis(choices, validation), section(validation));
    if let Some(test) = test {
        text += "\n";
        text += &section(test);
    }
    text
}

/// How many cases stand behind the choices, and how common hemorrhage is among them: a calibrated
/// probability is only true where it is as common.
fn basis(choices: &Choices, validation: &Judgement) -> String {
    let share = |[positive, negative]: [usize; 2]| {
        percent((positive + negative > 0).then(|| positive as f64 / (positive + negative) as f64))
    };
    let patients = validation.patients;
    match (&validation.whole, choices.source) {
        (Some(whole), Source::PheSich) => format!(
            "## What the choices rest on\n\n\
             Thresholds and calibration were chosen on the {patients} validation patients, the same that the next \
             section judges.\n\n\
             - Slice probability: calibrated on {} slices, {} of them with a box (prevalence {}).\n\
             - Study probability: calibrated on {} cases, {} of them with hemorrhage (prevalence {}): full studies, \
             and box-free runs of the same patients in place of studies without hemorrhage.\n\n\
             Where hemorrhage is rarer, these probabilities are too high.\n",
            whole.slices[0] + whole.slices[1],
            whole.slices[0],
            share(whole.slices),
            whole.studies[0] + whole.studies[1],
            whole.studies[0],
            share(whole.studies),
        ),
        _ => {
            let total: u64 = validation.patches.counts.iter().flatten().sum();
            let hematoma: u64 = validation.patches.counts[Class::Hematoma.index()].iter().sum();
            format!(
                "## What the choices rest on\n\n\
                 The patch threshold, {:.4}, was chosen on {total} labelled patches of the {patients} validation \
                 patients, the same that the next section judges; {hematoma} of them are hematoma (prevalence {}).\n\n\
                 Labelled patches show no whole slices, so nothing else could be chosen or judged: slice and study \
                 probabilities are not calibrated, and a study alerts at its first hematoma patch.\n",
                choices.patch_probability,
                share([hematoma as usize, (total - hematoma) as usize]),
            )
        }
    }
}

/// One side's figures.
fn section(judgement: &Judgement) -> String {
    let side = match judgement.side {
        Side::Training => "Training",
        Side::Validation => "Validation",
        Side::Test => "Test",
    };
    let mut text = format!("## {side} patients\n\n{} patients", judgement.patients);
    if let Some(whole) = &judgement.whole {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "; {} slices with a box, {} without; {} full studies, {} box-free runs",
            whole.slices[0], whole.slices[1], whole.studies[0], whole.studies[1]
        );
    }
    text += ".\nIn brackets: 95 % interval, bootstrap over patients.\n\n";
    if let Some(whole) = &judgement.whole {
        text += &lengths(whole);
    }
    text += "| what | value |\n|---|---|\n";
    let mut rows = Vec::new();
    if let Some(whole) = &judgement.whole {
        rows.extend([
            ("slice AUC, pooled evidence", estimate(whole.slice_auc)),
            ("slice AUC, strongest patch", estimate(whole.slice_auc_unpooled)),
            ("slice AUC, number of patches", estimate(whole.slice_auc_count)),
            ("slice sensitivity", estimate(whole.slice_sensitivity)),
            ("slice specificity", estimate(whole.slice_specificity)),
            ("one patch is enough: slice sensitivity", estimate(whole.bag_sensitivity)),
            ("one patch is enough: slice specificity", estimate(whole.bag_specificity)),
            ("study AUC", estimate(whole.study_auc)),
            ("study sensitivity", estimate(whole.study_sensitivity)),
            ("study specificity", estimate(whole.study_specificity)),
        ]);
    }
    rows.extend([
        ("certain patches right", percent(judgement.patch_accuracy)),
        ("hematoma patches at the threshold or above", estimate(judgement.patch_sensitivity)),
        ("other patches below it", estimate(judgement.patch_specificity)),
    ]);
    for (what, value) in rows {
        let _ = writeln!(text, "| {what} | {value} |");
    }
    text += &confusion(judgement);
    text
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

fn confusion(judgement: &Judgement) -> String {
    let mut text = String::from("\n| true class, certain patches | right |");
    for class in Class::ALL {
        let _ = write!(text, " called {class} |");
    }
    text += "\n|---|---|---|---|---|---|\n";
    for class in Class::ALL {
        let _ = write!(text, "| {class} | {} |", percent(judgement.patch_recall[class.index()]));
        for called in judgement.patches.counts[class.index()] {
            let _ = write!(text, " {called} |");
        }
        text.push('\n');
    }
    text
}

fn percent(share: Option<f64>) -> String {
    share.map_or("none".into(), |share| format!("{:.2} %", 100.0 * share))
}

fn estimate(estimate: Option<Estimate>) -> String {
    estimate.map_or("none".into(), |estimate| estimate.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ConfusionMatrix;
    use hemapatch::evidence::Calibration;

    fn choices(source: Source) -> Choices {
        let calibration = Calibration { intercept: 0.0, slope: 1.0 };
        Choices {
            source,
            patch_probability: 0.5,
            slice: calibration,
            study: calibration,
            slice_probability: 0.5,
            study_probability: 0.5,
        }
    }

    fn judgement(whole: Option<WholeJudgement>) -> Judgement {
        let one = Estimate { value: 1.0, low: 0.9, high: 1.0 };
        Judgement {
            side: Side::Validation,
            patients: 4,
            patches: ConfusionMatrix { counts: [[6, 0, 0, 0], [0, 5, 0, 0], [0, 1, 4, 0], [0, 0, 0, 4]] },
            patch_accuracy: Some(0.95),
            patch_recall: [Some(1.0), Some(1.0), Some(0.8), Some(1.0)],
            patch_sensitivity: Some(one),
            patch_specificity: Some(one),
            whole,
        }
    }

    fn whole(study_slices_median: [Option<f64>; 2]) -> WholeJudgement {
        WholeJudgement {
            slices: [20, 60],
            studies: [4, 12],
            study_slices_median,
            slice_auc: Some(Estimate { value: 0.9, low: 0.8, high: 0.95 }),
            slice_auc_unpooled: None,
            slice_auc_count: None,
            slice_sensitivity: None,
            slice_specificity: None,
            bag_sensitivity: None,
            bag_specificity: None,
            study_auc: None,
            study_sensitivity: None,
            study_specificity: None,
        }
    }

    #[test]
    fn says_how_many_cases_the_calibration_saw_and_how_long_they_were() {
        let judgement = judgement(Some(whole([Some(28.0), Some(7.5)])));
        let text = markdown("a", &choices(Source::PheSich), &judgement, None);
        for words in [
            "calibrated on 80 slices, 20 of them with a box (prevalence 25.00 %)",
            "calibrated on 16 cases, 4 of them with hemorrhage (prevalence 25.00 %)",
            "Median length: 28 slices of a full study, 7.5 of a box-free run. A shorter run",
            "specificity and AUC read optimistic.",
            "| slice AUC, pooled evidence | 0.900 (0.800 to 0.950) |",
            "| hematoma | 80.00 % | 0 | 1 | 4 | 0 |",
        ] {
            assert!(text.contains(words), "{words:?} in\n{text}");
        }
    }

    #[test]
    fn calls_nothing_optimistic_where_runs_are_no_shorter() {
        let judgement = judgement(Some(whole([Some(8.0), Some(8.0)])));
        let text = markdown("a", &choices(Source::PheSich), &judgement, None);
        assert!(text.contains("Median length: 8 slices") && !text.contains("optimistic"), "{text}");
    }

    #[test]
    fn says_that_labelled_patches_leave_slices_and_studies_unjudged() {
        let text = markdown("a", &choices(Source::LabelledPatches), &judgement(None), None);
        assert!(text.contains("chosen on 20 labelled patches of the 4 validation patients"), "{text}");
        assert!(text.contains("5 of them are hematoma (prevalence 25.00 %)"), "{text}");
        assert!(!text.contains("slice AUC") && !text.contains("study specificity"), "{text}");
    }
}
