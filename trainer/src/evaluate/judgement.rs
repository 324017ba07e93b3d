//! How well one side's patients were read, in numbers.
//!
//! Nothing is chosen here: thresholds, calibrations and temperature come from [`Choices`].

use super::Choices;
use super::cases::{self, Cases};
use crate::agreement::{Agreement, Pair};
use crate::curve;
use crate::metrics::{self, Case, ConfusionMatrix, Estimate};
use crate::operating_point::PatchGoal;
use crate::recipe::Recipe;
use crate::score::ScoredStudy;
use crate::split::Side;
use hemapatch::evidence::Calibration;
use serde::{Deserialize, Serialize};

/// How well one side's patients were read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judgement {
    /// Which patients.
    pub side: Side,
    /// Number of patients.
    pub patients: usize,
    /// Certain patches: true class against called class, in the order of the classes.
    pub patches: ConfusionMatrix,
    /// Share of the certain patches called right.
    pub patch_accuracy: Option<f64>,
    /// The same, class by class.
    pub patch_recall: Vec<Option<f64>>,
    /// Certain hematoma patches that count as hematoma at the chosen probability.
    pub patch_sensitivity: Option<Estimate>,
    /// Other certain patches that do not.
    pub patch_specificity: Option<Estimate>,
    /// Slices and studies; `None` where the shard holds patches alone.
    #[serde(flatten)]
    pub whole: Option<WholeJudgement>,
}

/// How well one side's slices and studies were read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WholeJudgement {
    /// Slices with a box, and without.
    pub slices: [usize; 2],
    /// Full studies, and box-free runs that stand for studies without hemorrhage.
    pub studies: [usize; 2],
    /// Patients with box-free runs: the strongest of them is one negative.
    pub negative_patients: usize,
    /// Median length of full studies and of runs, in slices.
    pub study_slices_median: [Option<f64>; 2],
    /// Slice AUC of the strongest pooled evidence: the model's figure.
    pub slice_auc: Option<Estimate>,
    /// Slice AUC of the strongest single patch.
    pub slice_auc_unpooled: Option<Estimate>,
    /// Slice AUC of the number of patches that count as hematoma (P13, P14).
    pub slice_auc_count: Option<Estimate>,
    /// Slices: average precision of the strongest pooled evidence.
    pub slice_average_precision: Option<Estimate>,
    /// Slices: sensitivity at the chosen probability.
    pub slice_sensitivity: Option<Estimate>,
    /// Slices: specificity at the chosen probability.
    pub slice_specificity: Option<Estimate>,
    /// Slices: mean squared error of the probability.
    pub slice_brier: Option<Estimate>,
    /// AUC of full studies against box-free runs.
    pub run_auc: Option<Estimate>,
    /// Box-free runs below the chosen probability.
    pub run_specificity: Option<Estimate>,
    /// AUC of full studies against one negative a patient.
    pub study_auc: Option<Estimate>,
    /// Average precision of the same.
    pub study_average_precision: Option<Estimate>,
    /// Full studies at or above the chosen probability.
    pub study_sensitivity: Option<Estimate>,
    /// The same with Wilson's interval, which knows how few they are.
    pub study_sensitivity_wilson: Option<Estimate>,
    /// Patients all of whose box-free runs stay below the chosen probability.
    pub study_specificity: Option<Estimate>,
    /// The same with Wilson's interval.
    pub study_specificity_wilson: Option<Estimate>,
    /// Studies, one negative a patient: mean squared error of the probability.
    pub study_brier: Option<Estimate>,
    /// Slices without and with a box against what they are called.
    pub slice_matrix: ConfusionMatrix,
    /// Box-free runs and full studies against what they are called.
    pub run_matrix: ConfusionMatrix,
    /// The same with one negative a patient.
    pub study_matrix: ConfusionMatrix,
    /// What the chosen patch threshold does, and what others would.
    pub patch_rules: Vec<PatchRule>,
    /// Every slice: what pictures are drawn of.
    pub slice_cases: Vec<SliceCase>,
    /// Every full study and run.
    pub study_cases: Vec<StudyCase>,
    /// Every patient's counted and labelled area.
    ///
    /// # Units
    /// Pixels.
    pub patient_areas: Vec<Pair>,
}

/// What a patch threshold does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PatchRule {
    /// What it was chosen for; `None` of a list that does not say.
    pub goal: Option<PatchGoal>,
    /// Whether it is the model's.
    pub chosen: bool,
    /// From this probability on a patch counts as hematoma.
    pub probability: f32,
    /// Certain hematoma patches that count.
    pub patch_sensitivity: Option<Estimate>,
    /// Other certain patches that do not.
    pub patch_specificity: Option<Estimate>,
    /// The paper's rule, one counted patch is enough: slices with a box that have one.
    pub slice_sensitivity: Option<Estimate>,
    /// Slices without a box that have none.
    pub slice_specificity: Option<Estimate>,
    /// The same rule: full studies that have one.
    pub study_sensitivity: Option<Estimate>,
    /// Box-free runs that have none.
    pub run_specificity: Option<Estimate>,
    /// Patients whose box-free runs all have none.
    pub study_specificity: Option<Estimate>,
    /// How far the counted area is the labelled one.
    pub area: AreaAgreement,
}

/// Counted area, patches times their pixels, against the area labelled hematoma.
///
/// # Units
/// Pixels: the pictures carry no spacing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AreaAgreement {
    /// Slices with labelled hematoma.
    pub slices: Option<Agreement>,
    /// All of a patient's slices together.
    pub patients: Option<Agreement>,
}

/// A slice, for pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceCase {
    /// Number of its patient within the side.
    pub patient: usize,
    /// Its calibrated probability.
    pub probability: f32,
    /// Its strongest single patch.
    pub strongest_patch: f32,
    /// Patches that count as hematoma at the chosen probability.
    pub patches: usize,
    /// Whether it has a box.
    pub boxed: bool,
    /// Slices to the nearest box.
    pub box_distance: Option<usize>,
    /// Counted and labelled area, pixels.
    pub area: Pair,
}

/// A full study or a run, for pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyCase {
    /// Number of its patient within the side.
    pub patient: usize,
    /// Its calibrated probability.
    pub probability: f32,
    /// Whether it shows hemorrhage.
    pub hemorrhage: bool,
}

/// Judges a side's scored patients with the choices made on validation patients, and leaves their
/// scores at the choices' temperature.
#[must_use]
pub fn judge(studies: &mut [ScoredStudy], side: Side, recipe: &Recipe, choices: &Choices) -> Judgement {
    studies.iter_mut().for_each(|study| study.temper(choices.temperature));
    let studies = &*studies;
    let mut patches = ConfusionMatrix::default();
    studies.iter().for_each(|study| patches.merge(&study.patches));
    let certain: Vec<&[Case]> = studies.iter().map(|study| study.certain.as_slice()).collect();
    let at = At { seed: recipe.seed, threshold: choices.patch_probability };
    Judgement {
        side,
        patients: studies.len(),
        patch_accuracy: patches.accuracy(),
        patch_recall: (0..patches.classes.len()).map(|class| patches.recall(class)).collect(),
        patches,
        patch_sensitivity: at.sensitivity(&certain),
        patch_specificity: at.specificity(&certain),
        whole: choices.source.has_whole_slices().then(|| judge_whole(studies, recipe, choices)),
    }
}

fn judge_whole(studies: &[ScoredStudy], recipe: &Recipe, choices: &Choices) -> WholeJudgement {
    let cases = Cases::of(studies, &recipe.pooling, recipe.labels.box_distance);
    let counts: Vec<Vec<f32>> =
        studies.iter().map(|study| cases::counts(study, choices.patch_probability)).collect();
    let counted: Vec<Vec<Case>> =
        studies.iter().zip(&counts).map(|(study, counts)| cases::with_truth(counts, study)).collect();
    let slices = calibrated(&cases.slices, choices.slice);
    let (full, runs) = (calibrated(&cases.studies, choices.study), calibrated(&cases.runs, choices.study));
    let over = |patients: &[Vec<Case>], measure: fn(&[Case]) -> Option<f64>| {
        metrics::bootstrap(patients, recipe.seed, measure)
    };
    let at = |threshold| At { seed: recipe.seed, threshold };
    let (of_slices, of_studies) = (at(choices.slice_probability), at(choices.study_probability));
    let matrix = |classes, patients: &[Vec<Case>], threshold| {
        ConfusionMatrix::of_cases(classes, &patients.concat(), threshold)
    };
    let study_matrix = matrix(["no hemorrhage", "hemorrhage"], &full, choices.study_probability);
    let exact = |class: usize| {
        let [right, of] = [study_matrix.counts[class][class], study_matrix.counts[class].iter().sum()];
        metrics::wilson(right as usize, of as usize)
    };
    let patch_pixels = recipe.patch_size.pixels().pow(2);
    let patient_areas =
        studies.iter().zip(&counts).map(|(study, counts)| cases::areas(study, counts, patch_pixels).1);
    WholeJudgement {
        slices: both(&cases.slices),
        studies: both(&cases.runs),
        negative_patients: both(&cases.studies)[1],
        study_slices_median: cases.lengths.each_ref().map(|lengths| metrics::median(lengths)),
        slice_auc: over(&cases.slices, metrics::auc),
        slice_auc_unpooled: over(&cases.unpooled, metrics::auc),
        slice_auc_count: over(&counted, metrics::auc),
        slice_average_precision: over(&cases.slices, curve::average_precision),
        slice_sensitivity: of_slices.sensitivity(&slices),
        slice_specificity: of_slices.specificity(&slices),
        slice_brier: over(&slices, metrics::brier),
        run_auc: over(&cases.runs, metrics::auc),
        run_specificity: of_studies.specificity(&runs),
        study_auc: over(&cases.studies, metrics::auc),
        study_average_precision: over(&cases.studies, curve::average_precision),
        study_sensitivity: of_studies.sensitivity(&full),
        study_sensitivity_wilson: exact(1),
        study_specificity: of_studies.specificity(&full),
        study_specificity_wilson: exact(0),
        study_brier: over(&full, metrics::brier),
        slice_matrix: matrix(["no box", "box"], &slices, choices.slice_probability),
        run_matrix: matrix(["box-free run", "full study"], &runs, choices.study_probability),
        study_matrix,
        patch_rules: patch_rules(studies, recipe, choices),
        slice_cases: slice_cases(studies, &slices, &cases.unpooled, &counts, patch_pixels),
        study_cases: runs
            .iter()
            .enumerate()
            .flat_map(|(patient, cases)| {
                cases.iter().map(move |&(probability, hemorrhage)| StudyCase {
                    patient,
                    probability,
                    hemorrhage,
                })
            })
            .collect(),
        patient_areas: patient_areas.collect(),
    }
}

fn calibrated(patients: &[Vec<Case>], calibration: Calibration) -> Vec<Vec<Case>> {
    let of_case = |&(score, truth): &Case| (calibration.probability(score), truth);
    patients.iter().map(|cases| cases.iter().map(of_case).collect()).collect()
}

/// How many positives and negatives.
fn both(patients: &[Vec<Case>]) -> [usize; 2] {
    let positive = patients.iter().flatten().filter(|case| case.1).count();
    [positive, patients.iter().map(Vec::len).sum::<usize>() - positive]
}

fn slice_cases(
    studies: &[ScoredStudy],
    calibrated: &[Vec<Case>],
    unpooled: &[Vec<Case>],
    counts: &[Vec<f32>],
    patch_pixels: usize,
) -> Vec<SliceCase> {
    let of_study = |(patient, study): (usize, &ScoredStudy)| -> Vec<SliceCase> {
        let of_slice = |slice: usize| SliceCase {
            patient,
            probability: calibrated[patient][slice].0,
            strongest_patch: unpooled[patient][slice].0,
            patches: counts[patient][slice] as usize,
            boxed: study.boxed[slice],
            box_distance: study.box_distance[slice],
            area: [
                f64::from(counts[patient][slice]) * patch_pixels as f64,
                study.hematoma_pixels[slice] as f64,
            ],
        };
        (0..study.boxed.len()).map(of_slice).collect()
    };
    studies.iter().enumerate().flat_map(of_study).collect()
}

/// The model's patch threshold and, where it is another, that of each goal.
fn patch_rules(studies: &[ScoredStudy], recipe: &Recipe, choices: &Choices) -> Vec<PatchRule> {
    let mut rules: Vec<(Option<PatchGoal>, f32)> =
        choices.patch_goals.iter().map(|&(goal, probability)| (Some(goal), probability)).collect();
    if !rules.iter().any(|&(_, probability)| probability == choices.patch_probability) {
        rules.insert(0, (None, choices.patch_probability));
    }
    rules
        .into_iter()
        .map(|(goal, probability)| {
            let chosen = probability == choices.patch_probability;
            patch_rule(studies, recipe, goal, chosen, probability)
        })
        .collect()
}

fn patch_rule(
    studies: &[ScoredStudy],
    recipe: &Recipe,
    goal: Option<PatchGoal>,
    chosen: bool,
    probability: f32,
) -> PatchRule {
    let certain: Vec<&[Case]> = studies.iter().map(|study| study.certain.as_slice()).collect();
    let (mut slices, mut runs, mut full) = (Vec::new(), Vec::new(), Vec::new());
    let (mut slice_areas, mut patient_areas) = (Vec::new(), Vec::new());
    for study in studies {
        let counts = cases::counts(study, probability);
        slices.push(cases::with_truth(&counts, study));
        let counted = cases::counted_studies(study, &counts, recipe.labels.box_distance);
        runs.push(counted.0);
        full.push(counted.1);
        let (of_slices, of_patient) = cases::areas(study, &counts, recipe.patch_size.pixels().pow(2));
        slice_areas.push(of_slices);
        patient_areas.push(vec![of_patient]);
    }
    let at = At { seed: recipe.seed, threshold: probability };
    let one_patch = At { threshold: 1.0, ..at };
    PatchRule {
        goal,
        chosen,
        probability,
        patch_sensitivity: at.sensitivity(&certain),
        patch_specificity: at.specificity(&certain),
        slice_sensitivity: one_patch.sensitivity(&slices),
        slice_specificity: one_patch.specificity(&slices),
        study_sensitivity: one_patch.sensitivity(&full),
        run_specificity: one_patch.specificity(&runs),
        study_specificity: one_patch.specificity(&full),
        area: AreaAgreement {
            slices: Agreement::of(&slice_areas, recipe.seed),
            patients: Agreement::of(&patient_areas, recipe.seed),
        },
    }
}

/// A threshold, and the seed of the intervals around what it gives.
#[derive(Clone, Copy)]
struct At {
    threshold: f32,
    seed: u64,
}

/// How many of a patient's cases went right, out of how many.
type Tally = (usize, usize);

impl At {
    fn sensitivity(self, patients: &[impl AsRef<[Case]>]) -> Option<Estimate> {
        self.share(patients, true, |score| score >= self.threshold)
    }

    fn specificity(self, patients: &[impl AsRef<[Case]>]) -> Option<Estimate> {
        self.share(patients, false, |score| score < self.threshold)
    }

    /// The share of the cases of one truth that went right. Counted once a patient: he may have
    /// some ten thousand patches, and is drawn a thousand times.
    fn share(
        self,
        patients: &[impl AsRef<[Case]>],
        truth: bool,
        right: impl Fn(f32) -> bool,
    ) -> Option<Estimate> {
        let tally = |cases: &[Case]| -> Tally {
            let asked = || cases.iter().filter(|case| case.1 == truth);
            (asked().filter(|case| right(case.0)).count(), asked().count())
        };
        let tallies: Vec<Vec<Tally>> = patients.iter().map(|cases| vec![tally(cases.as_ref())]).collect();
        metrics::bootstrap(&tallies, self.seed, |tallies| {
            let sum = tallies.iter().fold((0, 0), |sum, tally| (sum.0 + tally.0, sum.1 + tally.1));
            (sum.1 > 0).then(|| sum.0 as f64 / sum.1 as f64)
        })
    }
}
