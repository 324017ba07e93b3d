//! `report.md` and its figures: an evaluation in words, tables and pictures, with what its figures
//! rest on. The numbers themselves are `evaluate`'s.

mod figures;
mod plot;
mod tables;

pub use plot::DrawError;

use crate::evaluate::{Choices, Judgement};
use crate::phantoms::DRAWN;
use crate::shard::Source;
use crate::split::Side;
use figures::Figure;
use hemapatch::label::Class;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// File name of the report.
pub const REPORT: &str = "report.md";

/// Folder of the figures, beside the report.
pub const FIGURES: &str = "figures";

/// Why a report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A figure cannot be drawn.
    #[error(transparent)]
    Draw(#[from] DrawError),
}

/// Writes `folder/report.md` and `folder/figures`: what `validation` patients chose, how they were
/// read, and, once asked for, how test patients were, and `more` below it. Gives the report's text.
///
/// # Errors
/// [`ReportError`].
pub fn write(
    folder: &Path,
    model: &str,
    choices: &Choices,
    validation: &Judgement,
    test: Option<&Judgement>,
    more: &str,
) -> Result<String, ReportError> {
    let in_file = |path: &Path| {
        let path = path.to_owned();
        move |source| ReportError::Io { path, source }
    };
    let figures = folder.join(FIGURES);
    fs::create_dir_all(&figures).map_err(in_file(&figures))?;
    let mut text = format!("# {model}\n\n");
    if choices.source == Source::Phantoms {
        text += &format!("**No clinical meaning: {DRAWN}.**\n\n");
    }
    text += &basis(choices, validation);
    for judgement in [Some(validation), test].into_iter().flatten() {
        let drawn = figures::draw(judgement, choices)?;
        text += "\n";
        text += &section(judgement, choices, &drawn);
        for figure in drawn {
            let path = folder.join(file_of(judgement.side, &figure));
            fs::write(&path, figure.svg).map_err(in_file(&path))?;
        }
    }
    text += more;
    let path = folder.join(REPORT);
    fs::write(&path, &text).map_err(in_file(&path))?;
    Ok(text)
}

const fn name_of(side: Side) -> &'static str {
    match side {
        Side::Training => "training",
        Side::Validation => "validation",
        Side::Test => "test",
    }
}

/// Where a figure lies, seen from the report.
fn file_of(side: Side, figure: &Figure) -> String {
    format!("{FIGURES}/{}_{}.svg", name_of(side), figure.name)
}

/// How many cases stand behind the choices, and how common hemorrhage is among them: a calibrated
/// probability is only true where it is as common.
fn basis(choices: &Choices, validation: &Judgement) -> String {
    let share = |[positive, negative]: [usize; 2]| {
        tables::percent((positive + negative > 0).then(|| positive as f64 / (positive + negative) as f64))
    };
    let patients = validation.patients;
    let words = match (&validation.whole, choices.source) {
        (Some(whole), _) => {
            let full = whole.studies[0];
            format!(
                "Thresholds, calibration and temperature were chosen on the {patients} validation patients, the same \
                 that the next section judges.\n\n\
                 - Operating point: {}.\n\
                 - Temperature of the patches' logits: {:.3}.\n\
                 - Slice probability: calibrated on {} slices, {} of them with a box (prevalence {}).\n\
                 - Study probability: calibrated on {} cases, {full} of them with hemorrhage (prevalence {}): full \
                 studies, and in place of studies without hemorrhage the strongest box-free run of each of {} \
                 patients.\n\n\
                 Where hemorrhage is rarer, these probabilities are too high.\n",
                choices.operating_point,
                choices.temperature,
                whole.slices[0] + whole.slices[1],
                whole.slices[0],
                share(whole.slices),
                full + whole.negative_patients,
                share([full, whole.negative_patients]),
                whole.negative_patients,
            )
        }
        (None, _) => {
            let total = validation.patches.total();
            let hematoma: u64 =
                validation.patches.counts.get(Class::Hematoma.index()).map_or(0, |row| row.iter().sum());
            format!(
                "The patch threshold, {}, was chosen on {total} labelled patches of the {patients} validation \
                 patients, the same that the next section judges; {hematoma} of them are hematoma (prevalence {}).\n\n\
                 Labelled patches show no whole slices, so nothing else could be chosen or judged: slice and study \
                 probabilities are not calibrated, and a study alerts at its first hematoma patch.\n",
                choices.patch_probability,
                share([hematoma as usize, (total - hematoma) as usize]),
            )
        }
    };
    format!("## What the choices rest on\n\n{words}")
}

/// One side's figures, as numbers and as pictures.
fn section(judgement: &Judgement, choices: &Choices, figures: &[Figure]) -> String {
    let name = name_of(judgement.side);
    let mut text =
        format!("## {}{} patients\n\n{} patients", name[..1].to_uppercase(), &name[1..], judgement.patients);
    if let Some(whole) = &judgement.whole {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "; {} slices with a box, {} without; {} full studies, {} box-free runs of {} patients",
            whole.slices[0], whole.slices[1], whole.studies[0], whole.studies[1], whole.negative_patients
        );
    }
    text += ".\nIn brackets: 95 % interval, bootstrap over patients.\n\n";
    if let Some(whole) = &judgement.whole {
        text += &tables::studies(whole);
        text += &tables::slices(whole);
        text += &tables::patch_rules(whole);
        text += &tables::areas(whole);
        text += &tables::predictive_values(whole);
    }
    text += &tables::patches(judgement, choices);
    text += "### Figures\n\n";
    for figure in figures {
        let _ = writeln!(text, "![{}]({})\n", figure.caption, file_of(judgement.side, figure));
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::Agreement;
    use crate::evaluate::{AreaAgreement, PatchRule, SliceCase, StudyCase, WholeJudgement};
    use crate::metrics::{ConfusionMatrix, Estimate};
    use crate::operating_point::PatchGoal;
    use hemapatch::evidence::Calibration;

    fn choices(source: Source) -> Choices {
        let calibration = Calibration { intercept: 0.0, slope: 1.0 };
        Choices {
            source,
            temperature: 0.5,
            patch_probability: 0.5,
            patch_goals: Vec::new(),
            slice: calibration,
            study: calibration,
            slice_probability: 0.5,
            study_probability: 0.5,
            operating_point: "a test".into(),
        }
    }

    /// Of each class five patches, one hematoma missed.
    fn judgement(whole: Option<WholeJudgement>) -> Judgement {
        let one = Estimate { value: 1.0, low: 0.9, high: 1.0 };
        let mut patches = ConfusionMatrix::new(Class::SINGLE.map(Class::name));
        for class in 0..Class::SINGLE.len() {
            (0..5).for_each(|_| patches.add(class, class));
        }
        let hematoma = Class::Hematoma.index();
        patches.counts[hematoma][hematoma] = 4;
        patches.add(hematoma, Class::Parenchyma.index());
        Judgement {
            side: Side::Validation,
            patients: 4,
            patch_accuracy: patches.accuracy(),
            patch_recall: (0..Class::SINGLE.len()).map(|class| patches.recall(class)).collect(),
            patches,
            patch_sensitivity: Some(one),
            patch_specificity: Some(one),
            whole,
        }
    }

    fn whole(study_slices_median: [Option<f64>; 2]) -> WholeJudgement {
        let some = Some(Estimate { value: 0.9, low: 0.8, high: 0.95 });
        let areas: Vec<Vec<[f64; 2]>> = [[512.0, 400.0], [1024.0, 1100.0]].map(|pair| vec![pair]).to_vec();
        let area = AreaAgreement { slices: None, patients: Agreement::of(&areas, 1) };
        let matrix = ConfusionMatrix {
            classes: vec!["no".into(), "yes".into()],
            counts: vec![vec![11, 1], vec![0, 4]],
        };
        let rule = PatchRule {
            goal: Some(PatchGoal::Area),
            chosen: true,
            probability: 0.75,
            patch_sensitivity: some,
            patch_specificity: some,
            slice_sensitivity: some,
            slice_specificity: some,
            study_sensitivity: some,
            run_specificity: some,
            study_specificity: None,
            area,
        };
        let slice = |patient, probability: f32, box_distance| SliceCase {
            patient,
            probability,
            strongest_patch: probability,
            patches: 1,
            boxed: box_distance == 0,
            box_distance: Some(box_distance),
            area: [256.0, if box_distance == 0 { 300.0 } else { 0.0 }],
        };
        let study = |patient, probability, hemorrhage| StudyCase { patient, probability, hemorrhage };
        WholeJudgement {
            slices: [20, 60],
            studies: [4, 12],
            negative_patients: 4,
            study_slices_median,
            slice_auc: some,
            slice_auc_unpooled: None,
            slice_auc_count: None,
            slice_average_precision: None,
            slice_sensitivity: None,
            slice_specificity: some,
            slice_brier: None,
            run_auc: None,
            run_specificity: None,
            study_auc: None,
            study_average_precision: None,
            study_sensitivity: some,
            study_sensitivity_wilson: some,
            study_specificity: some,
            study_specificity_wilson: some,
            study_brier: None,
            slice_matrix: matrix.clone(),
            run_matrix: matrix.clone(),
            study_matrix: matrix,
            patch_rules: vec![rule],
            slice_cases: vec![slice(0, 0.9, 0), slice(0, 1.0, 0), slice(0, 0.3, 1), slice(1, 0.0, 12)],
            study_cases: vec![
                study(0, 0.1, false),
                study(0, 0.2, false),
                study(0, 0.9, true),
                study(1, 0.8, true),
            ],
            patient_areas: areas.concat(),
        }
    }

    fn written(choices: &Choices, judgement: &Judgement) -> (String, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let text = write(folder.path(), "a", choices, judgement, None, "").unwrap();
        assert_eq!(text, fs::read_to_string(folder.path().join(REPORT)).unwrap());
        let mut figures: Vec<String> = fs::read_dir(folder.path().join(FIGURES))
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        figures.sort();
        for figure in &figures {
            assert!(text.contains(&format!("]({FIGURES}/{figure})")), "{figure} is not shown");
            let svg = fs::read_to_string(folder.path().join(FIGURES).join(figure)).unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{figure}");
        }
        (text, figures)
    }

    #[test]
    fn says_how_many_cases_the_calibration_saw_and_how_long_they_were() {
        let judgement = judgement(Some(whole([Some(28.0), Some(7.5)])));
        let (text, figures) = written(&choices(Source::PheSich), &judgement);
        for words in [
            "Operating point: a test.",
            "calibrated on 80 slices, 20 of them with a box (prevalence 25.00 %)",
            "calibrated on 8 cases, 4 of them with hemorrhage (prevalence 50.00 %)",
            "Median length: 28 slices of a full study, 7.5 of a box-free run. A shorter run",
            "specificity and AUC read optimistic.",
            "| AUC, pooled evidence | 0.900 (0.800 to 0.950) |",
            "| hematoma | 80.00 % | 0 | 1 | 4 | 0 |",
            "| counted area without bias **(chosen)** | 0.75 |",
            "| patients | 2 |",
        ] {
            assert!(text.contains(words), "{words:?} in\n{text}");
        }
        assert_eq!(figures.len(), 10, "{figures:?}");
    }

    #[test]
    fn calls_nothing_optimistic_where_runs_are_no_shorter() {
        let judgement = judgement(Some(whole([Some(8.0), Some(8.0)])));
        let (text, _) = written(&choices(Source::PheSich), &judgement);
        assert!(text.contains("Median length: 8 slices") && !text.contains("optimistic"), "{text}");
    }

    #[test]
    fn says_that_labelled_patches_leave_slices_and_studies_unjudged() {
        let (text, figures) = written(&choices(Source::LabelledPatches), &judgement(None));
        let total = 5 * Class::SINGLE.len();
        assert!(
            text.contains(&format!("chosen on {total} labelled patches of the 4 validation patients")),
            "{text}"
        );
        assert!(text.contains("5 of them are hematoma"), "{text}");
        assert!(!text.contains("AUC") && !text.contains("specificity of studies"), "{text}");
        assert_eq!(figures, ["validation_confusion_patches.svg"]);
    }

    #[test]
    fn says_first_that_phantoms_are_drawn() {
        let (text, _) = written(&choices(Source::Phantoms), &judgement(Some(whole([None; 2]))));
        assert!(text.starts_with("# a\n\n**No clinical meaning: trained on drawn phantoms;"), "{text}");
        assert!(text.contains("AUC"), "{text}");
    }

    #[test]
    fn draws_what_little_there_is() {
        let mut judgement = judgement(Some(whole([None, None])));
        let whole = judgement.whole.as_mut().unwrap();
        (whole.slice_cases, whole.study_cases) = (Vec::new(), Vec::new());
        (whole.patch_rules, whole.patient_areas) = (Vec::new(), Vec::new());
        whole.study_sensitivity_wilson = None;
        judgement.patches = ConfusionMatrix::default();
        let (text, figures) = written(&choices(Source::PheSich), &judgement);
        assert!(!text.contains("Median length") && figures.len() == 8, "{figures:?}\n{text}");
    }
}
