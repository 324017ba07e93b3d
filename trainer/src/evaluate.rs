//! Judges a network on whole patients: patches, slices, studies; and chooses its thresholds.
//! Of labelled patches without slices around them, patches are all that can be judged.
//!
//! Thresholds and calibrations come from validation patients. Test patients are scored only when
//! asked for, with what validation chose.

use crate::metrics::{self, ConfusionMatrix, Estimate};
use crate::net::ResNet18;
use crate::recipe::Recipe;
use crate::score::{self, ScoreError, ScoredStudy};
use crate::shard::{Shard, Source};
use crate::split::{Side, Split};
use hemapatch::evidence::{self, Calibration, Pooling};
use hemapatch::label::Class;
use hemapatch::model::Rule;
use indicatif::ProgressBar;
use ndarray::{ArrayView3, Axis, s};
use serde::{Deserialize, Serialize};

/// Box-free runs shorter than this are no stand-in for a study.
const SHORTEST_RUN: usize = 3;

/// Slices and studies whose threshold nothing could choose are called positive from here on.
const UNCHOSEN_PROBABILITY: f32 = 0.5;

/// What validation patients chose.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    /// What they were chosen on. Lists without it are from when only PHE-SICH-CT-IDS could be
    /// evaluated.
    #[serde(default = "only_phe_sich")]
    pub source: Source,
    /// From this probability on a patch counts as hematoma: where "one patch is enough" separates
    /// slices with and without a box best (Youden); on labelled patches, where hematoma and other
    /// patches are separated best.
    pub patch_probability: f32,
    /// From a slice's strongest pooled evidence to its probability.
    pub slice: Calibration,
    /// From a study's strongest pooled evidence to its probability.
    pub study: Calibration,
    /// Slices from this probability on are shown as positive (Youden).
    pub slice_probability: f32,
    /// Studies from this probability on alert (Youden).
    pub study_probability: f32,
}

fn only_phe_sich() -> Source {
    Source::PheSich
}

impl Choices {
    /// The rule that decides over a study: the one whose threshold was chosen, not assumed.
    #[must_use]
    pub fn rule(&self) -> Rule {
        match self.source {
            Source::PheSich => Rule::Threshold,
            Source::LabelledPatches => Rule::Bag,
        }
    }

    /// What the thresholds were chosen for, in the manifest's words.
    #[must_use]
    pub fn operating_point(&self) -> &'static str {
        match self.source {
            Source::PheSich => "largest sum of sensitivity and specificity on validation patients",
            Source::LabelledPatches => {
                "patches: largest sum of sensitivity and specificity on validation patients' labelled patches; \
                 one hematoma patch alerts. Slice and study probabilities are defaults: not calibrated, \
                 threshold 0.5, since labelled patches show no whole slices"
            }
        }
    }
}

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
    pub patch_recall: [Option<f64>; Class::COUNT],
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
    /// Median length of both, in slices.
    pub study_slices_median: [Option<f64>; 2],
    /// Slice AUC of the strongest pooled evidence: the model's figure.
    pub slice_auc: Option<Estimate>,
    /// Slice AUC of the strongest single patch.
    pub slice_auc_unpooled: Option<Estimate>,
    /// Slice AUC of the number of patches that count as hematoma (P13, P14).
    pub slice_auc_count: Option<Estimate>,
    /// Slices: sensitivity at the chosen probability.
    pub slice_sensitivity: Option<Estimate>,
    /// Slices: specificity at the chosen probability.
    pub slice_specificity: Option<Estimate>,
    /// Slices by the paper's rule, one counted patch is enough: sensitivity.
    pub bag_sensitivity: Option<Estimate>,
    /// The same rule's specificity.
    pub bag_specificity: Option<Estimate>,
    /// AUC of full studies against box-free runs.
    pub study_auc: Option<Estimate>,
    /// Studies: sensitivity at the chosen probability.
    pub study_sensitivity: Option<Estimate>,
    /// Studies: specificity at the chosen probability.
    pub study_specificity: Option<Estimate>,
}

/// A slice's or study's score and truth.
type Case = (f32, bool);

/// The cases of each patient: what a bootstrap draws from.
#[derive(Default)]
struct Cases {
    slices: Vec<Vec<Case>>,
    unpooled: Vec<Vec<Case>>,
    studies: Vec<Vec<Case>>,
    /// Slices of full studies, and of box-free runs.
    lengths: [Vec<usize>; 2],
}

/// Scores all patients of a side.
///
/// # Errors
/// [`ScoreError`].
pub fn score_side(
    net: &ResNet18,
    recipe: &Recipe,
    shard: &mut Shard,
    split: &Split,
    side: Side,
    progress: &ProgressBar,
) -> Result<Vec<ScoredStudy>, ScoreError> {
    let patients: Vec<std::ops::Range<usize>> = shard
        .index()
        .patients()
        .into_iter()
        .filter(|(patient, _)| split.side_of(patient) == Some(side))
        .map(|(_, slices)| slices)
        .collect();
    progress.set_length(patients.len() as u64);
    patients
        .into_iter()
        .map(|slices| {
            let study = score::score_study(net, recipe, shard, slices)?;
            progress.inc(1);
            Ok(study)
        })
        .collect()
}

fn strongest(probabilities: ArrayView3<f32>) -> Vec<f32> {
    probabilities.axis_iter(Axis(0)).map(evidence::strongest).collect()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().copied().fold(0.0, f32::max)
}

impl Cases {
    fn of(studies: &[ScoredStudy], pooling: &Pooling, box_distance: usize) -> Cases {
        let mut cases = Cases::default();
        for study in studies {
            let pooled = strongest(evidence::pool(pooling, study.hematoma.view()).view());
            let with_truth =
                |scores: &[f32]| scores.iter().copied().zip(study.boxed.iter().copied()).collect();
            cases.slices.push(with_truth(&pooled));
            cases.unpooled.push(with_truth(&strongest(study.hematoma.view())));
            // Pooled by itself, a run knows nothing of the lesion some slices away.
            let mut studies: Vec<Case> = Vec::new();
            for run in box_free_runs(study, box_distance) {
                cases.lengths[1].push(run.len());
                let run = evidence::pool(pooling, study.hematoma.slice(s![run, .., ..]));
                studies.push((largest(&strongest(run.view())), false));
            }
            let hemorrhage = study.boxed.contains(&true);
            cases.lengths[usize::from(!hemorrhage)].push(study.boxed.len());
            studies.push((largest(&pooled), hemorrhage));
            cases.studies.push(studies);
        }
        cases
    }
}

/// Runs of slices at least `box_distance` away from every box.
fn box_free_runs(study: &ScoredStudy, box_distance: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let far: Vec<bool> = study
        .box_distance
        .iter()
        .map(|distance| distance.is_some_and(|distance| distance >= box_distance))
        .collect();
    let mut runs = Vec::new();
    let mut start = 0;
    for run in far.chunk_by(|a, b| a == b) {
        if run[0] && run.len() >= SHORTEST_RUN {
            runs.push(start..start + run.len());
        }
        start += run.len();
    }
    runs.into_iter()
}

/// Chooses thresholds and calibrations on validation patients of PHE-SICH-CT-IDS.
///
/// `None` if they lack slices or studies of one kind.
#[must_use]
pub fn choose(studies: &[ScoredStudy], recipe: &Recipe) -> Option<Choices> {
    let cases = Cases::of(studies, &recipe.pooling, recipe.labels.box_distance);
    let (slices, studies) = (cases.slices.concat(), cases.studies.concat());
    let slice = metrics::calibrate(&slices)?;
    let study = metrics::calibrate(&studies)?;
    Some(Choices {
        source: Source::PheSich,
        patch_probability: metrics::youden_threshold(&cases.unpooled.concat())?,
        slice,
        study,
        slice_probability: slice.probability(metrics::youden_threshold(&slices)?),
        study_probability: study.probability(metrics::youden_threshold(&studies)?),
    })
}

/// Chooses the patch threshold on validation patients' labelled patches; slices and studies keep
/// their evidence uncalibrated.
///
/// `None` if they lack hematoma or other patches.
#[must_use]
pub fn choose_on_patches(studies: &[ScoredStudy]) -> Option<Choices> {
    let patches: Vec<Case> = studies.iter().flat_map(|study| &study.certain).copied().collect();
    let unchanged = Calibration { intercept: 0.0, slope: 1.0 };
    Some(Choices {
        source: Source::LabelledPatches,
        patch_probability: metrics::youden_threshold(&patches)?,
        slice: unchanged,
        study: unchanged,
        slice_probability: UNCHOSEN_PROBABILITY,
        study_probability: UNCHOSEN_PROBABILITY,
    })
}

/// Judges a side's scored patients with the choices made on validation patients.
#[must_use]
pub fn judge(studies: &[ScoredStudy], side: Side, recipe: &Recipe, choices: &Choices) -> Judgement {
    let mut patches = ConfusionMatrix::default();
    for study in studies {
        for (sum, counts) in patches.counts.iter_mut().flatten().zip(study.patches.counts.iter().flatten()) {
            *sum += counts;
        }
    }
    let certain: Vec<Vec<Case>> = studies.iter().map(|study| study.certain.clone()).collect();
    let at = At { seed: recipe.seed, threshold: choices.patch_probability };
    Judgement {
        side,
        patients: studies.len(),
        patch_accuracy: patches.accuracy(),
        patch_recall: std::array::from_fn(|class| patches.recall(class)),
        patches,
        patch_sensitivity: at.sensitivity(&certain),
        patch_specificity: at.specificity(&certain),
        whole: (choices.source == Source::PheSich).then(|| judge_whole(studies, recipe, choices)),
    }
}

fn judge_whole(studies: &[ScoredStudy], recipe: &Recipe, choices: &Choices) -> WholeJudgement {
    let cases = Cases::of(studies, &recipe.pooling, recipe.labels.box_distance);
    let counts: Vec<Vec<Case>> = studies
        .iter()
        .map(|study| {
            let counted = |slice: ndarray::ArrayView2<f32>| {
                slice.iter().filter(|&&p| p >= choices.patch_probability).count() as f32
            };
            study.hematoma.axis_iter(Axis(0)).map(counted).zip(study.boxed.iter().copied()).collect()
        })
        .collect();
    let calibrated = |patients: &[Vec<Case>], calibration: Calibration| -> Vec<Vec<Case>> {
        let of_case = |&(score, truth): &Case| (calibration.probability(score), truth);
        patients.iter().map(|cases| cases.iter().map(of_case).collect()).collect()
    };
    let slices = calibrated(&cases.slices, choices.slice);
    let runs = calibrated(&cases.studies, choices.study);
    let auc = |patients: &[Vec<Case>]| metrics::bootstrap(patients, recipe.seed, metrics::auc);
    let at = |threshold| At { seed: recipe.seed, threshold };
    let both = |patients: &[Vec<Case>]| {
        let positive = patients.iter().flatten().filter(|case| case.1).count();
        [positive, patients.iter().map(Vec::len).sum::<usize>() - positive]
    };
    WholeJudgement {
        slices: both(&cases.slices),
        studies: both(&cases.studies),
        study_slices_median: cases.lengths.each_ref().map(|lengths| metrics::median(lengths)),
        slice_auc: auc(&cases.slices),
        slice_auc_unpooled: auc(&cases.unpooled),
        slice_auc_count: auc(&counts),
        slice_sensitivity: at(choices.slice_probability).sensitivity(&slices),
        slice_specificity: at(choices.slice_probability).specificity(&slices),
        bag_sensitivity: at(1.0).sensitivity(&counts),
        bag_specificity: at(1.0).specificity(&counts),
        study_auc: auc(&cases.studies),
        study_sensitivity: at(choices.study_probability).sensitivity(&runs),
        study_specificity: at(choices.study_probability).specificity(&runs),
    }
}

/// A threshold, and the seed of the intervals around what it gives.
#[derive(Clone, Copy)]
struct At {
    threshold: f32,
    seed: u64,
}

impl At {
    fn sensitivity(self, patients: &[Vec<Case>]) -> Option<Estimate> {
        metrics::bootstrap(patients, self.seed, |cases| metrics::sensitivity(cases, self.threshold))
    }

    fn specificity(self, patients: &[Vec<Case>]) -> Option<Estimate> {
        metrics::bootstrap(patients, self.seed, |cases| metrics::specificity(cases, self.threshold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    fn study(boxed: &[bool], probability: impl Fn(usize) -> f32) -> ScoredStudy {
        let distance =
            |at: usize| (0..boxed.len()).filter(|&other| boxed[other]).map(|other| other.abs_diff(at)).min();
        ScoredStudy {
            patient: "a".into(),
            hematoma: Array3::from_shape_fn((boxed.len(), 2, 2), |(slice, ..)| probability(slice)),
            boxed: boxed.to_vec(),
            box_distance: (0..boxed.len()).map(distance).collect(),
            patches: ConfusionMatrix::default(),
            certain: Vec::new(),
        }
    }

    #[test]
    fn runs_keep_their_distance_from_boxes() {
        let boxed = [false, false, false, false, false, true, true, false, false, false, false];
        let runs: Vec<_> = box_free_runs(&study(&boxed, |_| 0.0), 2).collect();
        assert_eq!(runs, [0..4, 8..11]);
    }

    #[test]
    fn a_perfect_network_is_judged_perfect() {
        let boxed: Vec<bool> = (0..24).map(|slice| (8..12).contains(&slice)).collect();
        let studies: Vec<ScoredStudy> = (0..6)
            .map(|_| study(&boxed, |slice| if (8..12).contains(&slice) { 0.95 } else { 0.02 }))
            .collect();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let mut recipe = Recipe::read(&folder.join("ich16.toml")).unwrap();
        recipe.pooling.sigma_slices = 0.0;
        let choices = choose(&studies, &recipe).unwrap();
        assert!(choices.slice_probability > 0.0 && choices.study_probability < 1.0);
        let judgement = judge(&studies, Side::Validation, &recipe, &choices).whole.unwrap();
        for estimate in [
            judgement.slice_auc,
            judgement.slice_sensitivity,
            judgement.slice_specificity,
            judgement.study_auc,
            judgement.study_sensitivity,
            judgement.study_specificity,
            judgement.bag_specificity,
        ] {
            assert_eq!(estimate.map(|estimate| estimate.value), Some(1.0));
        }
        assert_eq!((judgement.slices, judgement.studies), ([24, 120], [6, 12]));
        // Before the box 7 of 24 slices are far enough from it, behind it 11.
        assert_eq!(judgement.study_slices_median, [Some(24.0), Some(9.0)]);
    }

    #[test]
    fn labelled_patches_are_judged_as_patches_alone() {
        let mut labelled = study(&[false; 4], |_| 0.0);
        labelled.certain = vec![(0.1, false), (0.3, false), (0.7, true), (0.9, true)];
        let studies = [labelled];
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let recipe = Recipe::read(&folder.join("paper.toml")).unwrap();
        assert_eq!(choose(&studies, &recipe), None, "there are no boxes");
        let choices = choose_on_patches(&studies).unwrap();
        assert_eq!((choices.patch_probability, choices.rule()), (0.5, Rule::Bag));
        assert!(choices.operating_point().contains("defaults"));
        let judgement = judge(&studies, Side::Validation, &recipe, &choices);
        assert_eq!(judgement.patch_sensitivity.map(|estimate| estimate.value), Some(1.0));
        assert!(judgement.whole.is_none());
        let json = serde_json::to_string(&judgement).unwrap();
        assert!(!json.contains("slice_auc"), "{json}");
    }

    #[test]
    fn choices_of_earlier_runs_are_those_of_phe_sich() {
        let text = r#"{"patch_probability": 0.9, "slice": {"intercept": 0.0, "slope": 1.0},
            "study": {"intercept": 0.0, "slope": 1.0}, "slice_probability": 0.4, "study_probability": 0.4}"#;
        assert_eq!(serde_json::from_str::<Choices>(text).unwrap().source, Source::PheSich);
    }
}
