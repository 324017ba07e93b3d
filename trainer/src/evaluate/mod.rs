//! Judges a network on whole patients: patches, slices, studies; and chooses its thresholds.
//! Of labelled patches without slices around them, patches are all that can be judged.
//!
//! Thresholds, calibrations and the temperature come from validation patients. Test patients are
//! scored only when asked for, with what validation chose.

mod cases;
mod judgement;

pub use judgement::{AreaAgreement, Judgement, PatchRule, SliceCase, StudyCase, WholeJudgement, judge};

use crate::calibration;
use crate::metrics::Case;
use crate::operating_point::{OperatingPoint, PatchGoal};
use crate::recipe::Recipe;
use crate::score::{ScoreError, ScoredStudy, Scorer};
use crate::shard::{Shard, Source};
use crate::split::{Side, Split};
use crate::threshold;
use cases::Cases;
use hemapatch::evidence::Calibration;
use hemapatch::model::Rule;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

/// Slices and studies whose threshold nothing could choose are called positive from here on.
const UNCHOSEN_PROBABILITY: f32 = 0.5;

/// What validation patients chose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    /// What they were chosen on. Lists without it are from when only PHE-SICH-CT-IDS could be
    /// evaluated.
    #[serde(default = "only_phe_sich")]
    pub source: Source,
    /// The patches' logits are divided by it before they become probabilities.
    #[serde(default = "unchanged_temperature")]
    pub temperature: f32,
    /// From this probability on a patch counts as hematoma.
    pub patch_probability: f32,
    /// What the patch threshold would be for each goal that could be met.
    #[serde(default)]
    pub patch_goals: Vec<(PatchGoal, f32)>,
    /// From a slice's strongest pooled evidence to its probability.
    pub slice: Calibration,
    /// From a study's strongest pooled evidence to its probability.
    pub study: Calibration,
    /// Slices from this probability on are shown as positive.
    pub slice_probability: f32,
    /// Studies from this probability on alert.
    pub study_probability: f32,
    /// What the thresholds were chosen for, in the manifest's words. Lists without it are from when
    /// Youden's index chose.
    #[serde(default = "youden_words")]
    pub operating_point: String,
}

fn only_phe_sich() -> Source {
    Source::PheSich
}

fn unchanged_temperature() -> f32 {
    1.0
}

fn youden_words() -> String {
    "largest sum of sensitivity and specificity on validation patients".into()
}

impl Choices {
    /// The rule that decides over a study: the one whose threshold was chosen, not assumed.
    #[must_use]
    pub fn rule(&self) -> Rule {
        match self.source {
            Source::PheSich | Source::Phantoms => Rule::Threshold,
            Source::LabelledPatches => Rule::Bag,
        }
    }
}

/// Scores all patients of a side.
///
/// # Errors
/// [`ScoreError`].
pub fn score_side(
    net: &dyn Scorer,
    recipe: &Recipe,
    shard: &Shard,
    split: &Split,
    side: Side,
    progress: &ProgressBar,
) -> Result<Vec<ScoredStudy>, ScoreError> {
    let patients = split.slices_of(shard.index(), side);
    progress.set_length(patients.len() as u64);
    patients
        .into_iter()
        .map(|slices| {
            let study = net.score_study(recipe, shard, slices)?;
            progress.inc(1);
            Ok(study)
        })
        .collect()
}

/// Chooses temperature, thresholds and calibrations on validation patients with whole slices, and
/// leaves the patients' scores at that temperature.
///
/// `None` if they lack slices or studies of one kind, or hematoma for the patch threshold, or if no
/// threshold is as specific as the recipe asks.
#[must_use]
pub fn choose(source: Source, studies: &mut [ScoredStudy], recipe: &Recipe) -> Option<Choices> {
    let point = &recipe.operating_point;
    let temperature = if point.fit_temperature { fit_temperature(studies) } else { 1.0 };
    studies.iter_mut().for_each(|study| study.temper(temperature));
    let cases = Cases::of(studies, &recipe.pooling, recipe.labels.box_distance);
    let patch_goals = patch_goals(studies, &cases, recipe);
    // Bags alone have no labelled area: then slices choose, and the manifest says so.
    let wanted = patch_goals.iter().find(|(goal, _)| *goal == point.patch);
    let &(patch, patch_probability) = wanted.or(patch_goals.last())?;
    // Calibrated first: the threshold keeps its specificity among the very numbers it is held against.
    let calibrated = |cases: &[Case], specificity| {
        let calibration = calibration::calibrate(cases)?;
        let cases: Vec<Case> =
            cases.iter().map(|&(score, truth)| (calibration.probability(score), truth)).collect();
        Some((calibration, threshold::at_specificity(&cases, specificity)?))
    };
    let (slice, slice_probability) = calibrated(&cases.slices.concat(), point.slice_specificity)?;
    let (study, study_probability) = calibrated(&cases.studies.concat(), point.study_specificity)?;
    let mut operating_point = OperatingPoint { patch, ..*point }.to_string();
    if source == Source::Phantoms {
        operating_point += "; on drawn phantoms: without meaning for patients";
    }
    Some(Choices {
        source,
        temperature,
        patch_probability,
        patch_goals,
        slice,
        study,
        slice_probability,
        study_probability,
        operating_point,
    })
}

/// The temperature of what is taught on these patients; 1 where that is nothing.
fn fit_temperature(studies: &[ScoredStudy]) -> f32 {
    let patches: Vec<_> = studies
        .iter()
        .flat_map(|study| study.taught.iter().map(|&(place, target)| (study.logits.row(place), target)))
        .collect();
    calibration::temperature(&patches).unwrap_or(1.0)
}

/// The patch threshold that meets each goal.
fn patch_goals(studies: &[ScoredStudy], cases: &Cases, recipe: &Recipe) -> Vec<(PatchGoal, f32)> {
    let threshold = |goal| match goal {
        PatchGoal::Area => {
            let labelled: usize = studies.iter().flat_map(|study| &study.hematoma_pixels).sum();
            let patches = labelled as f64 / recipe.patch_size.pixels().pow(2) as f64;
            threshold::counting(studies.iter().flat_map(|study| &study.hematoma).copied().collect(), patches)
        }
        PatchGoal::YoudenPatches => threshold::youden(&certain(studies)),
        PatchGoal::YoudenSlices => threshold::youden(&cases.unpooled.concat()),
    };
    PatchGoal::ALL.into_iter().filter_map(|goal| Some((goal, threshold(goal)?))).collect()
}

fn certain(studies: &[ScoredStudy]) -> Vec<Case> {
    studies.iter().flat_map(|study| &study.certain).copied().collect()
}

/// Chooses the patch threshold on validation patients' labelled patches, which have no area around
/// them: by Youden's index, whatever the recipe's goal. Slices and studies keep their evidence
/// uncalibrated.
///
/// `None` if they lack hematoma or other patches.
#[must_use]
pub fn choose_on_patches(studies: &mut [ScoredStudy], recipe: &Recipe) -> Option<Choices> {
    let temperature = if recipe.operating_point.fit_temperature { fit_temperature(studies) } else { 1.0 };
    studies.iter_mut().for_each(|study| study.temper(temperature));
    let unchanged = Calibration { intercept: 0.0, slope: 1.0 };
    Some(Choices {
        source: Source::LabelledPatches,
        temperature,
        patch_probability: threshold::youden(&certain(studies))?,
        patch_goals: Vec::new(),
        slice: unchanged,
        study: unchanged,
        slice_probability: UNCHOSEN_PROBABILITY,
        study_probability: UNCHOSEN_PROBABILITY,
        operating_point: "patches: largest sum of sensitivity and specificity on validation patients' labelled \
                          patches; one hematoma patch alerts. Slice and study probabilities are defaults: not \
                          calibrated, threshold 0.5, since labelled patches show no whole slices"
            .into(),
    })
}

#[cfg(test)]
mod tests {
    use super::cases::box_free_runs;
    use super::*;
    use crate::calibration::Target;
    use crate::metrics::ConfusionMatrix;
    use crate::recipe::Method;
    use hemapatch::label::Class;
    use ndarray::{Array2, Array3};
    use std::path::Path;

    /// Logits that say hematoma with this probability, else background.
    fn logits(probability: f32) -> [f32; 4] {
        let mut logits = [-200.0; 4];
        logits[Class::Background.index()] = 0.0;
        logits[Class::Hematoma.index()] = Calibration::logit(probability);
        logits
    }

    /// A study of 2x2 patches. One of four in boxed slices is labelled hematoma.
    fn study(boxed: &[bool], probability: impl Fn(usize) -> f32) -> ScoredStudy {
        let distance =
            |at: usize| (0..boxed.len()).filter(|&other| boxed[other]).map(|other| other.abs_diff(at)).min();
        let mut study = ScoredStudy {
            patient: "a".into(),
            hematoma: Array3::zeros((boxed.len(), 2, 2)),
            boxed: boxed.to_vec(),
            box_distance: (0..boxed.len()).map(distance).collect(),
            patches: ConfusionMatrix::default(),
            certain: Vec::new(),
            bags: None,
            method: Method::Single,
            logits: Array2::from_shape_fn((4 * boxed.len(), 4), |(place, class)| {
                logits(if place % 4 == 0 { probability(place / 4) } else { 0.01 })[class]
            }),
            taught: Vec::new(),
            hematoma_pixels: boxed.iter().map(|&boxed| if boxed { 256 } else { 0 }).collect(),
        };
        study.temper(1.0);
        study
    }

    fn recipe(name: &str) -> Recipe {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let mut recipe = Recipe::read(&folder.join(name)).unwrap();
        recipe.pooling.sigma_slices = 0.0;
        recipe
    }

    fn value(estimate: Option<crate::metrics::Estimate>) -> Option<f64> {
        estimate.map(|estimate| estimate.value)
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
        let mut studies: Vec<ScoredStudy> = (0..6)
            .map(|_| study(&boxed, |slice| if (8..12).contains(&slice) { 0.95 } else { 0.02 }))
            .collect();
        let mut recipe = recipe("ship.toml");
        recipe.operating_point.study_specificity = 0.95;
        let choices = choose(Source::PheSich, &mut studies, &recipe).unwrap();
        assert!(choices.slice_probability > 0.0 && choices.study_probability < 1.0);
        assert!(choices.operating_point.contains("specificity of at least 0.95 of studies"));
        assert_eq!((choices.temperature, choices.rule()), (1.0, Rule::Threshold), "nothing is taught");
        let judgement = judge(&mut studies, Side::Validation, &recipe, &choices).whole.unwrap();
        for estimate in [
            judgement.slice_auc,
            judgement.slice_average_precision,
            judgement.slice_sensitivity,
            judgement.slice_specificity,
            judgement.run_auc,
            judgement.run_specificity,
            judgement.study_auc,
            judgement.study_sensitivity,
            judgement.study_specificity,
        ] {
            assert_eq!(value(estimate), Some(1.0));
        }
        assert_eq!((judgement.slices, judgement.studies), ([24, 120], [6, 12]));
        assert_eq!(judgement.negative_patients, 6, "each stands for one study, not for two runs");
        // Before the box 7 of 24 slices are far enough from it, behind it 11.
        assert_eq!(judgement.study_slices_median, [Some(24.0), Some(9.0)]);
        assert_eq!(judgement.study_matrix.counts, [[6, 0], [0, 6]]);
        assert_eq!(judgement.run_matrix.counts, [[12, 0], [0, 6]]);
        let wilson = judgement.study_specificity_wilson.unwrap();
        assert!(wilson.low < 0.7, "six patients are no proof: {wilson}");
        let rule = judgement.patch_rules.iter().find(|rule| rule.chosen).unwrap();
        assert_eq!(rule.goal, Some(PatchGoal::Area));
        let area = rule.area.patients.unwrap();
        assert_eq!((area.bias.value, value(area.ratio_median)), (0.0, Some(1.0)));
        assert_eq!(rule.area.slices.unwrap().pairs, 24);
        for (at, case) in judgement.slice_cases.iter().enumerate() {
            assert_eq!((case.patient, case.patches > 0), (at / 24, case.boxed));
        }
    }

    #[test]
    fn a_patient_with_one_loud_run_is_one_false_alarm() {
        let boxed: Vec<bool> = (0..24).map(|slice| (8..12).contains(&slice)).collect();
        let mut studies: Vec<ScoredStudy> = (0..4)
            .map(|patient| {
                study(&boxed, |slice| match slice {
                    8..12 => 0.95,
                    20 if patient == 0 => 0.97,
                    _ => 0.02,
                })
            })
            .collect();
        let mut recipe = recipe("ship.toml");
        recipe.operating_point.study_specificity = 0.75;
        let choices = choose(Source::PheSich, &mut studies, &recipe).unwrap();
        let judgement = judge(&mut studies, Side::Validation, &recipe, &choices).whole.unwrap();
        assert_eq!(value(judgement.study_sensitivity), Some(1.0));
        assert_eq!(value(judgement.study_specificity), Some(0.75));
        assert_eq!(value(judgement.run_specificity), Some(7.0 / 8.0));
    }

    #[test]
    fn the_temperature_is_what_the_taught_patches_ask_for() {
        let boxed: Vec<bool> = (0..12).map(|slice| slice == 5).collect();
        let mut studies = [study(&boxed, |slice| if slice == 5 { 0.9 } else { 0.1 })];
        // Three of four right at a logit of 2.2, whose probability is 0.9: too sure of itself.
        for (place, right) in [(20, true), (0, true), (4, true), (8, false)] {
            let hematoma = (place == 20) == right;
            let class = if hematoma { Class::Hematoma } else { Class::Background };
            studies[0].taught.push((place, Target::Class(class.index())));
        }
        let mut recipe = recipe("ship.toml");
        assert_eq!(
            choose(Source::PheSich, &mut studies, &recipe).unwrap().temperature,
            1.0,
            "nobody asked for one"
        );
        recipe.operating_point.fit_temperature = true;
        let choices = choose(Source::PheSich, &mut studies, &recipe).unwrap();
        assert!((choices.temperature - 2.0).abs() < 1e-3, "{}", choices.temperature);
        assert!((studies[0].hematoma[[5, 0, 0]] - 0.75).abs() < 1e-3, "the scores are left at it");
    }

    #[test]
    fn nothing_is_chosen_of_one_kind_of_patients() {
        let recipe = recipe("ship.toml");
        for boxed in [[false; 8], [true; 8]] {
            assert_eq!(choose(Source::PheSich, &mut [study(&boxed, |_| 0.5)], &recipe), None);
        }
        assert_eq!(choose(Source::PheSich, &mut [], &recipe), None);
        let mut unlabelled = study(&[false, false, false, false, false, true], |_| 0.5);
        unlabelled.hematoma_pixels.fill(0);
        let choices = choose(Source::PheSich, &mut [unlabelled], &recipe).unwrap();
        assert!(!choices.operating_point.contains("area"), "{}", choices.operating_point);
    }

    #[test]
    fn labelled_patches_are_judged_as_patches_alone() {
        let mut labelled = study(&[false; 4], |slice| [0.1, 0.3, 0.7, 0.9][slice]);
        let class = |hematoma| if hematoma { Class::Hematoma } else { Class::Background };
        labelled.taught = (0..4).map(|slice| (4 * slice, Target::Class(class(slice > 1).index()))).collect();
        let mut studies = [labelled];
        let recipe = recipe("single.toml");
        assert_eq!(choose(Source::PheSich, &mut studies, &recipe), None, "there are no boxes");
        let choices = choose_on_patches(&mut studies, &recipe).unwrap();
        assert!((choices.patch_probability - 0.5).abs() < 1e-6 && choices.rule() == Rule::Bag);
        assert!(choices.operating_point.contains("defaults"));
        let judgement = judge(&mut studies, Side::Validation, &recipe, &choices);
        assert_eq!(value(judgement.patch_sensitivity), Some(1.0));
        assert!(judgement.whole.is_none());
        let json = serde_json::to_string(&judgement).unwrap();
        assert!(!json.contains("slice_auc"), "{json}");
    }

    #[test]
    fn choices_of_earlier_runs_are_those_of_phe_sich() {
        let text = r#"{"patch_probability": 0.9, "slice": {"intercept": 0.0, "slope": 1.0},
            "study": {"intercept": 0.0, "slope": 1.0}, "slice_probability": 0.4, "study_probability": 0.4}"#;
        let choices: Choices = serde_json::from_str(text).unwrap();
        assert_eq!((choices.source, choices.temperature), (Source::PheSich, 1.0));
        assert!(choices.operating_point.contains("largest sum"));
    }
}
