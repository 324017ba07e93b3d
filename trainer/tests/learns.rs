//! The trainer learns: it finds the hematomas of drawn heads that it never saw. One shard for both methods; bags
//! learn in `bags.rs`.

use hemapatch::evidence::Pooling;
use hemapatch_train::evaluate;
use hemapatch_train::net::ResNet18;
use hemapatch_train::phantoms::{Cohort, Scan};
use hemapatch_train::recipe::{Augmentation, BatchPlan, Labels, Method, Recipe};
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
};

/// Slice AUC on patients never trained on.
const LEARNED: f64 = 0.95;

/// libtorch has one random generator for a whole process, from which weights begin.
static GENERATOR: Mutex<()> = Mutex::new(());

/// The shard of [`COHORT`], drawn by the first test that wants it. It stays in the target folder, where the
/// next run writes over it.
static SHARD: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("learns");
    let preparation = recipe("ship.toml").preparation;
    COHORT.prepare(&folder, preparation, &ProgressBar::hidden()).unwrap();
    folder
});

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
    recipe
}

/// Slice AUC, on patients that it was not trained on, of a network trained by `recipe`.
fn held_out_slice_auc(recipe: &Recipe) -> f64 {
    let folder = SHARD.as_path();
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let (out, progress) = (tempfile::tempdir().unwrap(), ProgressBar::hidden());
    let mut shard = Shard::open(folder).unwrap();
    let patients: Vec<String> =
        shard.index().patients().into_iter().map(|(patient, _)| patient.to_owned()).collect();
    let split = Split::by_seed(&patients, recipe.seed).unwrap();
    let job = Job { recipe, shard: folder, split: &split, out: out.path(), resume: false };
    assert_eq!(train::train(&job, &AtomicBool::new(false), &progress).unwrap(), Ending::Finished);
    let net = Weights::<ResNet18>::load(recipe, &out.path().join(WEIGHTS)).unwrap().net;
    // Nothing is chosen here but thresholds, which an AUC does not know: both sides are held out.
    let mut studies = Vec::new();
    for side in [Side::Validation, Side::Test] {
        studies.extend(evaluate::score_side(&net, recipe, &mut shard, &split, side, &progress).unwrap());
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
    recipe.training.steps = 110;
    recipe.training.batch = BatchPlan { ventricle: 16, csf: 16, weak: 80, ..BatchPlan::default() };
    let auc = held_out_slice_auc(&recipe);
    assert!(auc >= LEARNED, "slice AUC {auc}");
}
