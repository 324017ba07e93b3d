//! The trainer learns: it finds the hematomas of drawn heads that it never saw, by any of its methods.

use hemapatch::evidence::Pooling;
use hemapatch::patch::PatchSize;
use hemapatch_train::evaluate;
use hemapatch_train::mil::{self, AttentionWeights};
use hemapatch_train::net::ResNet18;
use hemapatch_train::phantoms::{Cohort, LEAST_VOLUME_ML, Scan};
use hemapatch_train::recipe::{Augmentation, BatchPlan, Labels, Method, Recipe};
use hemapatch_train::score::Scorer;
use hemapatch_train::shard::Shard;
use hemapatch_train::split::{Side, Split};
use hemapatch_train::train::{self, Ending, Job, WEIGHTS};
use hemapatch_train::weights::Weights;
use indicatif::ProgressBar;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Small pictures, and few, thick slices: a head is drawn in about a second.
const COHORT: Cohort = Cohort {
    patients: 24,
    seed: 1,
    scan: Scan { slices: 12, spacing_mm: 8.0, rows_columns: 256, pixel_mm: 0.9 },
    least_ml: LEAST_VOLUME_ML,
};

/// For bags: more of them, and hematomas that fill some patches of a slice.
const LARGE_COHORT: Cohort = Cohort {
    patients: 40,
    scan: Scan { rows_columns: 128, pixel_mm: 1.8, ..COHORT.scan },
    least_ml: 20.0,
    ..COHORT
};

/// No augmentation at all.
const STILL: Augmentation = Augmentation {
    flips: false,
    shift: false,
    rotation_deg: 0.0,
    size_percent: 0.0,
    contrast_percent: 0.0,
    brightness: 0.0,
    noise: 0.0,
    blur: 0.0,
    sharpen: 0.0,
    thickness: 0.0,
};

/// Slice AUC on patients never trained on.
const LEARNED: f64 = 0.95;

/// libtorch has one random generator for a whole process, from which weights begin.
static GENERATOR: Mutex<()> = Mutex::new(());

/// The shards of both, each drawn by the first test that wants it. They stay in the target folder, where the
/// next run writes over them.
static SHARD: LazyLock<PathBuf> = LazyLock::new(|| prepare(&COHORT, "learns"));
static LARGE: LazyLock<PathBuf> = LazyLock::new(|| prepare(&LARGE_COHORT, "learns-large"));

fn prepare(cohort: &Cohort, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let preparation = recipe("ship.toml").preparation;
    cohort.prepare(&folder, preparation, &ProgressBar::hidden()).unwrap();
    folder
}

/// A recipe that comes with the trainer, made short: a minute would be long here.
fn recipe(file: &str) -> Recipe {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let mut recipe = Recipe::read(&recipes.join(file)).unwrap();
    recipe.seed = 1;
    recipe.split.seed = None;
    recipe.training.rounds = 3;
    recipe.training.steps = 50;
    recipe.training.mine_from = 1;
    recipe.training.boxed_repeats = 2;
    // So few steps on so few heads learn what is plain, not what real pictures differ by.
    recipe.augmentation = Augmentation::default();
    recipe.labels = Labels::default();
    recipe.views.retain(|view| view.slice_offset() == 0);
    recipe.pooling = Pooling { sigma_slices: 0.8, sigma_patches: 0.6 };
    // The average is over the last ten steps or so, not over more than there are.
    recipe.training.average_decay = 0.9;
    // Threads that wait for each other lose more on a shared machine than a second one gains.
    recipe.training.threads = 1;
    recipe
}

/// Slice AUC, on patients that it was not trained on, of a network trained by `recipe`.
fn held_out_slice_auc(recipe: &Recipe) -> f64 {
    let folder: &Path = if recipe.method == Method::Mil { &LARGE } else { &SHARD };
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let (out, progress) = (tempfile::tempdir().unwrap(), ProgressBar::hidden());
    let shard = Shard::open(folder).unwrap();
    let patients: Vec<String> =
        shard.index().patients().into_iter().map(|(patient, _)| patient.to_owned()).collect();
    let split = Split::by_seed(&patients, recipe.seed).unwrap();
    let job = Job { recipe, shard: folder, split: &split, out: out.path(), resume: false };
    let (stop, weights) = (AtomicBool::new(false), out.path().join(WEIGHTS));
    let (ending, net): (Ending, Box<dyn Scorer>) = if recipe.method == Method::Mil {
        let ending = mil::train(&job, &stop, &progress).unwrap();
        (ending, Box::new(AttentionWeights::load(recipe, &weights).unwrap().net))
    } else {
        let ending = train::train(&job, &stop, &progress).unwrap();
        (ending, Box::new(Weights::<ResNet18>::load(recipe, &weights).unwrap().net))
    };
    assert_eq!(ending, Ending::Finished);
    // Nothing is chosen here but thresholds, which an AUC does not know: both sides are held out.
    let mut studies = Vec::new();
    for side in [Side::Validation, Side::Test] {
        studies.extend(evaluate::score_side(&*net, recipe, &shard, &split, side, &progress).unwrap());
    }
    let choices = evaluate::choose(shard.index().source, &mut studies, recipe).unwrap();
    let judgement = evaluate::judge(&mut studies, Side::Test, recipe, &choices);
    judgement.whole.unwrap().slice_auc.unwrap().value
}

#[test]
fn single_label_patches_find_hematomas_in_heads_never_seen() {
    let auc = held_out_slice_auc(&recipe("ship.toml"));
    assert!(auc >= LEARNED, "slice AUC {auc}");
}

#[test]
fn multi_label_patches_find_them_too() {
    let mut recipe = recipe("ship.toml");
    recipe.method = Method::Multilabel;
    recipe.loss.class_weights = true;
    // Six answers share the loss that one had.
    recipe.training.steps = 170;
    recipe.training.batch = BatchPlan { ventricle: 16, csf: 16, weak: 80, ..BatchPlan::default() };
    let auc = held_out_slice_auc(&recipe);
    assert!(auc >= LEARNED, "slice AUC {auc}");
}

#[test]
fn bags_find_large_ones_without_a_label_on_any_patch() {
    let mut recipe = recipe("mil.toml");
    // Half of the size and half of the pixels: a patch shows as much, and costs less.
    recipe.patch_size = PatchSize::try_from(8).unwrap();
    recipe.training.rounds = 4;
    recipe.training.steps = 175;
    recipe.training.average_decay = 0.95;
    // What a slice says of its seventy patches is faint: nothing else is to be learned here.
    recipe.mil.score_decay = 0.0005;
    recipe.augmentation = Augmentation { flips: true, shift: true, rotation_deg: 5.0, ..STILL };
    let auc = held_out_slice_auc(&recipe);
    assert!(auc >= LEARNED, "slice AUC {auc}");
}
