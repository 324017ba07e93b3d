//! Multiple-instance learning from end to end: what is trained is what runs, and it learns from bags alone.

mod untuned;

use hemapatch::engine::{self, EngineOptions};
use hemapatch::evidence::{self, Bag};
use hemapatch::label::BagLabel;
use hemapatch::model::Outputs;
use hemapatch::patch::{Grid, Neighbourhood, Patches, Pyramid, View};
use hemapatch::phantom::Marker;
use hemapatch_train::evaluate;
use hemapatch_train::export;
use hemapatch_train::learning_curve::CURVE;
use hemapatch_train::mil::{self, AttentionWeights, WindowCutter, judge};
use hemapatch_train::passport::Passport;
use hemapatch_train::random::Random;
use hemapatch_train::recipe::Recipe;
use hemapatch_train::score::Scorer;
use hemapatch_train::shard::{Shard, ShardWriter, SliceEntry, Source};
use hemapatch_train::split::{Side, Split};
use hemapatch_train::train::{Ending, Job, WEIGHTS};
use indicatif::ProgressBar;
use ndarray::Array2;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tch::{Kind, Tensor};

/// libtorch has one random generator for a whole process, from which weights begin.
static GENERATOR: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bag logits of both lie this close together, as patch logits do (round_trip.rs).
const CLOSE: f32 = 1e-4;

const PATIENTS: usize = 12;
const SLICES: usize = 9;
/// The slices with a lesion.
const BOXED: std::ops::Range<usize> = 1..4;
/// Rows and columns of a drawn slice.
const SIDE: usize = 96;

fn recipe() -> Recipe {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes").join("mil.toml");
    Recipe::read(&path).unwrap()
}

/// Every second patient's lesion is a blend of two densities.
fn is_blend(patient: usize) -> bool {
    patient.is_multiple_of(2)
}

/// A head of level 105 in air; in boxed slices a lesion, of level 180 or half 150, half 220.
fn draw(patient: usize, slice: usize, random: &mut Random) -> Array2<u8> {
    let middle = SIDE as f64 / 2.0;
    let (lesion_y, lesion_x) = (middle + 8.0, middle + 3.0 * (patient % 5) as f64 - 6.0);
    Array2::from_shape_fn((SIDE, SIDE), |(row, column)| {
        let (y, x) = (row as f64, column as f64);
        let noise = random.below(13) as u8;
        let of_lesion = (y - lesion_y).hypot(x - lesion_x) < 12.0;
        match (y - middle).hypot(x - middle) {
            _ if of_lesion && BOXED.contains(&slice) => {
                let level = match (is_blend(patient), x < lesion_x) {
                    (false, _) => 174,
                    (true, false) => 144,
                    (true, true) => 214,
                };
                level + noise
            }
            radius if radius < 34.0 => 99 + noise,
            radius if radius < 38.0 => 255,
            _ => 0,
        }
    })
}

/// Drawn patients as a shard; `drawn` says whether their markers are known.
fn write_shard(folder: &Path, recipe: &Recipe, drawn: bool) -> Split {
    let mut writer = ShardWriter::create(folder, Source::PheSich, recipe.preparation).unwrap();
    let mut random = Random::new(31);
    for patient in 0..PATIENTS {
        for slice in 0..SLICES {
            let boxed = BOXED.contains(&slice);
            let markers = if is_blend(patient) { vec![Marker::BlendSign] } else { Vec::new() };
            let entry = SliceEntry {
                patient: format!("p{patient}"),
                name: format!("p{patient}_{slice}"),
                boxed,
                box_distance: BOXED.map(|other| other.abs_diff(slice)).min(),
                hematoma_ml: None,
                markers: drawn.then_some(markers),
            };
            let gray = draw(patient, slice, &mut random);
            // No pixel has a class: nothing but bags can be learned from.
            writer.push(entry, &gray, &Array2::from_elem((SIDE, SIDE), u8::MAX)).unwrap();
        }
    }
    let index = writer.finish().unwrap();
    let patients: Vec<String> = index.patients().into_iter().map(|(name, _)| name.to_owned()).collect();
    Split::by_seed(&patients, 1).unwrap()
}

fn short_recipe(labels: &[&str]) -> Recipe {
    let mut recipe = recipe();
    recipe.views = vec![View::new(1, 0).unwrap(), View::new(2, 0).unwrap()];
    recipe.mil.labels = labels.iter().map(|&label| label.to_owned()).collect();
    recipe.mil.windows = 4;
    recipe.mil.places = 0;
    recipe.training.rounds = 1;
    recipe.training.average_decay = 0.8;
    // Sizes and turns as the recipe has them would move a head this small out of its slice.
    recipe.augmentation.rotation_deg = 5.0;
    recipe
}

fn job<'a>(recipe: &'a Recipe, shard: &'a Path, split: &'a Split, out: &'a Path) -> Job<'a> {
    Job { recipe, shard, split, out, resume: false }
}

#[test]
fn learns_to_find_a_lesion_from_bag_labels_alone() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = short_recipe(&["hematoma"]);
    recipe.training.steps = 48;
    let shard = folder.path().join("shard");
    let split = write_shard(&shard, &recipe, false);
    let (stop, progress) = (AtomicBool::new(false), ProgressBar::hidden());
    let ending = mil::train(&job(&recipe, &shard, &split, folder.path()), &stop, &progress).unwrap();
    assert_eq!(ending, Ending::Finished);
    let curve = fs::read_to_string(folder.path().join(CURVE)).unwrap();
    assert_eq!(curve.lines().count(), 2, "{curve}");

    let weights = AttentionWeights::load(&recipe, &folder.path().join(WEIGHTS)).unwrap();
    let shard = Shard::open(&shard).unwrap();
    let mut studies =
        evaluate::score_side(&weights.net, &recipe, &shard, &split, Side::Validation, &progress).unwrap();
    let choices = evaluate::choose(Source::PheSich, &mut studies, &recipe).unwrap();
    let judgement = evaluate::judge(&mut studies, Side::Validation, &recipe, &choices).whole.unwrap();
    let (slices, studies) = (judgement.slice_auc.unwrap().value, judgement.study_auc.unwrap().value);
    assert!(slices > 0.95 && studies > 0.95, "slice AUC {slices}, study AUC {studies}\n{curve}");

    let passport = Passport::phe_sich(recipe.method, "0.0.0");
    let model = export::export_bags(&weights.net, &recipe, &choices, &passport, &folder.path().join("model"));
    let model = model.unwrap();
    assert_eq!(model.manifest().network.outputs, Outputs::Attention);
    assert_eq!(model.bag_labels(), Some(&[BagLabel::Hematoma][..]));
}

#[test]
fn learns_a_marker_of_drawn_slices() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = short_recipe(&["hematoma", "blend_sign"]);
    recipe.training.steps = 64;
    let shard = folder.path().join("shard");
    let split = write_shard(&shard, &recipe, true);
    let (stop, progress) = (AtomicBool::new(false), ProgressBar::hidden());
    mil::train(&job(&recipe, &shard, &split, folder.path()), &stop, &progress).unwrap();
    let weights = AttentionWeights::load(&recipe, &folder.path().join(WEIGHTS)).unwrap();
    let shard = Shard::open(&shard).unwrap();
    // More held-out patients than validation has: both kinds of lesions are among them.
    let mut studies = Vec::new();
    for side in [Side::Validation, Side::Test] {
        studies.extend(evaluate::score_side(&weights.net, &recipe, &shard, &split, side, &progress).unwrap());
    }
    let labels = judge::judge(&studies, &recipe.pooling, recipe.seed);
    assert_eq!(labels.len(), 2);
    for label in &labels {
        assert!(label.slices[0] > 0 && label.slices[1] > 0, "{label:?}");
        assert!(label.slice_auc.unwrap().value > 0.9, "{label:?}");
    }
    assert!(judge::markdown(&labels).contains(BagLabel::MARKERS_ARE_DRAWN));
}

#[test]
fn engine_and_trainer_give_a_bag_the_same_logits() {
    let _alone = alone();
    let mut recipe = recipe();
    recipe.mil.labels = vec!["hematoma".into(), "hypodensity".into(), "fluid_level".into()];
    tch::manual_seed(11);
    let weights = AttentionWeights::new(&recipe);
    let mut random = Random::new(12);
    // Half of the slice is air, a part of it flat: patches outside of the bag, and equal ones in it.
    let slice = Array2::from_shape_fn((256, 256), |(row, _)| match row {
        0..112 => 0,
        112..192 => random.below(256) as u8,
        _ => 100,
    });
    let pyramid = Pyramid::of(&slice);
    let mut patches = Patches::new(Grid::over(256, 256, recipe.patch_size), &recipe.views);
    patches.cut(Neighbourhood { before: None, this: &pyramid, after: None });
    let gray = Tensor::from_slice(patches.unique()).view([-1, 3, 16, 16]).to_kind(Kind::Float);
    // A few training passes, so that the running statistics are not the ones they began with.
    tch::no_grad(|| (0..5).for_each(|_| drop(weights.net.forward(&gray, true))));

    let choices = untuned::choices();
    let folder = tempfile::tempdir().unwrap();
    let passport = Passport::phe_sich(recipe.method, "0.0.0");
    let model = export::export_bags(&weights.net, &recipe, &choices, &passport, folder.path()).unwrap();
    let mut engine = engine::load(&model, EngineOptions::default()).unwrap();
    let mut outputs = Array2::zeros((0, 0));
    engine.run(&patches, &mut outputs).unwrap();
    let times = evidence::times(patches.places(), patches.in_bag(), outputs.nrows());
    let found = Bag::pool(outputs.view(), &times).unwrap();

    let trained = tch::no_grad(|| weights.net.forward(&gray, false));
    let rows: Vec<i64> = patches
        .places()
        .iter()
        .zip(patches.in_bag())
        .filter(|&(_, &in_bag)| in_bag)
        .map(|(&place, _)| i64::from(place))
        .collect();
    assert_eq!(rows.len(), 9 * 16);
    assert!(times.iter().any(|&times| times > 1) && times.contains(&0));
    let expected: Vec<f32> = Vec::try_from(mil::pool(&trained, &Tensor::from_slice(&rows))).unwrap();
    assert_eq!(found.logits().len(), 3);
    for (found, expected) in found.logits().iter().zip(&expected) {
        assert!((found - expected).abs() <= CLOSE, "{found} in the engine, {expected} in the trainer");
    }
    let attention = outputs.column(0);
    let spread = attention.iter().fold(0.0f32, |most, &a| most.max((a - attention[0]).abs()));
    assert!(spread > 1e-3, "attention tells patches apart: {spread}");
}

#[test]
fn scoring_pools_as_the_window_that_was_trained_on() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let recipe = short_recipe(&["hematoma"]);
    let split = write_shard(folder.path(), &recipe, false);
    tch::manual_seed(3);
    let weights = AttentionWeights::new(&recipe);
    let shard = || Shard::open(folder.path()).unwrap();
    let cutter = WindowCutter::new(shard(), &split, Side::Validation, &recipe);
    let windows = cutter.cut_plain(1);
    let (window, bag) = (&windows[0], &windows[0].bags[0]);
    assert!(bag.patches.len() > 16 && bag.patches.len() < 36, "the corners show air");
    let outputs = weights.net.outputs(&window.gray).unwrap();
    let flat = Tensor::from_slice(outputs.as_slice().unwrap()).view([-1, 2]);
    let rows: Vec<i64> = bag.patches.iter().map(|&(_, row)| row).collect();
    let logit = f32::try_from(mil::pool(&flat, &Tensor::from_slice(&rows)).get(0)).unwrap();

    let patient = split.patients(Side::Validation).map(str::to_owned).collect::<Vec<_>>();
    let index = shard().index().clone();
    // The first validation slice of a known label, in the order of the shard.
    let (_, slices) =
        index.patients().into_iter().find(|(name, _)| patient.contains(&(*name).to_owned())).unwrap();
    let known =
        |entry: &SliceEntry| entry.box_distance.is_some_and(|distance| distance == 0 || distance >= 2);
    let first = slices.clone().position(|slice| known(&index.slices[slice])).unwrap();
    let study = weights.net.score_study(&recipe, &shard(), slices).unwrap();
    let found = study.bags.unwrap().probabilities[[0, first]];
    assert!((found - evidence::sigmoid(logit)).abs() < 1e-5);
}
