//! A data set goes in, a model comes out: on drawn heads in PHE-SICH-CT-IDS's format.

use hemapatch::label::Class;
use hemapatch_train::bag::{Cutter, UNLABELLED};
use hemapatch_train::checkpoint::CHECKPOINT;
use hemapatch_train::evaluate;
use hemapatch_train::export;
use hemapatch_train::learning_curve::CURVE;
use hemapatch_train::net::ResNet18;
use hemapatch_train::paper_table;
use hemapatch_train::passport::Passport;
use hemapatch_train::prepare;
use hemapatch_train::quantize;
use hemapatch_train::recipe::{Recipe, Training};
use hemapatch_train::record::{self, RECORD};
use hemapatch_train::shard::{FILES, Index, Shard, Source};
use hemapatch_train::split::{Side, Split};
use hemapatch_train::train::{self, Ending, Job, WEIGHTS};
use hemapatch_train::weights::Weights;
use indicatif::ProgressBar;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// libtorch has one random generator for a whole process, from which weights begin. Tests that
/// trained side by side drew from each other's seeds, and passed on some days only.
static GENERATOR: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

const PATIENTS: usize = 6;
const SLICES: usize = 8;
/// The slices with a lesion.
const BOXED: std::ops::Range<usize> = 1..3;

/// Gray level of a drawn head: brain 105, a hematoma of 190 in boxed slices, skull, scalp.
fn level(patient: usize, boxed: bool, row: usize, column: usize) -> u8 {
    let (y, x) = (row as f64 - 250.0, column as f64 - 260.0);
    let radius = (x * x + y * y).sqrt();
    let (lesion_y, lesion_x) = (y - 20.0, x - 40.0 - 4.0 * patient as f64);
    // A fixed pattern stands for noise.
    let noise = ((row * 31 + column * 17 + patient * 7) % 13) as u8;
    match radius {
        _ if boxed && (lesion_y * lesion_y + lesion_x * lesion_x).sqrt() < 26.0 => 184 + noise,
        r if r < 140.0 => 99 + noise,
        r if r < 158.0 => 255,
        r if r < 170.0 => 120 + noise,
        _ => 0,
    }
}

fn draw_data_set(folder: &Path) {
    let images = folder.join("images");
    fs::create_dir(&images).unwrap();
    let (mut slices, mut boxes) =
        (String::from("slice,boxes\n"), String::from("slice,x_min,y_min,x_max,y_max\n"));
    for patient in 0..PATIENTS {
        for slice in 0..SLICES {
            let name = format!("{patient:04}_{slice:02}");
            let boxed = BOXED.contains(&slice);
            slices += &format!("{name},{}\n", usize::from(boxed));
            if boxed {
                // Upright, the lesion's middle is at row 270, column 300 + 4 patient; the stored
                // picture is turned: its column is the row, its row 511 less the column.
                let (x, y) = (270, 511 - (300 + 4 * patient));
                boxes += &format!("{name},{},{},{},{}\n", x - 34, y - 34, x + 34, y + 34);
            }
            let picture = image::GrayImage::from_fn(512, 512, |x, y| {
                image::Luma([level(patient, boxed, x as usize, 511 - y as usize)])
            });
            picture.save(images.join(format!("{name}.png"))).unwrap();
        }
    }
    fs::write(folder.join("slices.csv"), slices).unwrap();
    fs::write(folder.join("boxes.csv"), boxes).unwrap();
}

/// A run on the drawn data set: prepared and split, ready to train.
struct Run {
    recipe: Recipe,
    index: Index,
    split: Split,
    shard: PathBuf,
    out: TempDir,
    progress: ProgressBar,
}

impl Run {
    /// By the recipe in that file, as `shorten` leaves it.
    fn prepare(recipe: &str, shorten: impl FnOnce(&mut Training)) -> Run {
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        draw_data_set(data.path());
        let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let mut recipe = Recipe::read(&recipes.join(recipe)).unwrap();
        shorten(&mut recipe.training);
        let (shard, progress) = (out.path().join("shard"), ProgressBar::hidden());
        let prepared =
            prepare::prepare(data.path(), &shard, recipe.preparation, recipe.patch_size, &progress).unwrap();
        let index = prepared.index;
        let patients: Vec<String> = index.patients().into_iter().map(|(name, _)| name.to_owned()).collect();
        let split = Split::by_seed(&patients, recipe.seed).unwrap();
        Run { recipe, index, split, shard, out, progress }
    }

    fn train(&self, stop: bool) -> Ending {
        train::train(&self.job(false), &AtomicBool::new(stop), &self.progress).unwrap()
    }

    fn job(&self, resume: bool) -> Job<'_> {
        Job { recipe: &self.recipe, shard: &self.shard, split: &self.split, out: self.out.path(), resume }
    }
}

#[test]
fn weights_are_judged_by_the_recipe_and_the_data_that_they_were_trained_with() {
    let run = Run::prepare("ship.toml", |training| (training.rounds, training.steps) = (1, 1));
    run.train(false);
    let check = |recipe: &Recipe, shard: &Path| {
        record::check(run.out.path(), recipe, shard).map_err(|error| error.to_string())
    };
    check(&run.recipe, &run.shard).unwrap();
    let mut recipe = run.recipe.clone();
    (recipe.name, recipe.pooling.sigma_slices) = ("another".into(), 3.0);
    check(&recipe, &run.shard).expect("what is chosen after training may change");
    recipe.labels.fill = 0.7;
    let error = check(&recipe, &run.shard).unwrap_err();
    assert!(error.ends_with("trained by a recipe with another labels: train again"), "{error}");

    let other = run.out.path().join("other");
    fs::create_dir(&other).unwrap();
    for name in FILES {
        fs::copy(run.shard.join(name), other.join(name)).unwrap();
    }
    check(&run.recipe, &other).expect("the same data in another place");
    let list = fs::read_to_string(other.join(FILES[0])).unwrap();
    fs::write(other.join(FILES[0]), list.replacen("0001_00", "0001_99", 1)).unwrap();
    let error = check(&run.recipe, &other).unwrap_err();
    assert!(error.contains("trained on another shard"), "{error}");
}

#[test]
fn trains_judges_and_exports_a_model_that_the_engine_opens() {
    let _alone = alone();
    let run = Run::prepare("ship.toml", |training| {
        training.rounds = 2;
        training.steps = 32;
        training.mine_from = 1;
        training.boxed_repeats = 2;
        training.average_decay = 0.5;
    });
    assert_eq!(run.index.slices.len(), PATIENTS * SLICES);
    assert_eq!(run.index.slices[7].box_distance, Some(5));
    assert_eq!(run.train(false), Ending::Finished);
    let Run { recipe, split, shard, out, progress, .. } = &run;
    let curve = fs::read_to_string(out.path().join(CURVE)).unwrap();
    assert_eq!(curve.lines().count(), 1 + recipe.training.rounds);

    let weights = Weights::<ResNet18>::load(recipe, &out.path().join(WEIGHTS)).unwrap();
    let shard = Shard::open(shard).unwrap();
    let mut studies =
        evaluate::score_side(&weights.net, recipe, &shard, split, Side::Validation, progress).unwrap();
    let choices = evaluate::choose(Source::PheSich, &mut studies, recipe).unwrap();
    let judgement = evaluate::judge(&mut studies, Side::Validation, recipe, &choices);
    // Drawn heads are easy: a lesion that is not found means that labels and pixels are apart.
    let auc = judgement.whole.unwrap().slice_auc.unwrap().value;
    assert!(auc > 0.95, "slice AUC {auc} after two short rounds");

    let passport = Passport::phe_sich(recipe.method, "0.0.0");
    let model = export::export(&weights.net, recipe, &choices, &passport, &out.path().join("model")).unwrap();
    assert_eq!(model.manifest().network.input, [5, 16, 16]);

    assert!(export::is_of(model.manifest(), &weights.net).unwrap());
    tch::manual_seed(8);
    assert!(
        !export::is_of(model.manifest(), &Weights::new(recipe).net).unwrap(),
        "other weights, other file"
    );

    let folder = out.path().join("model");
    let quantized = quantize::quantize(&weights.net, recipe, &shard, split, progress).unwrap();
    let found = &quantized.quantization;
    assert!(found.chosen.argmax_agreement > 0.97, "{found:?}");
    let model = quantize::write(&quantized, &folder).unwrap();
    let int8 = model.manifest().network.int8.clone().unwrap();
    assert_eq!(int8.calibration, found.chosen.method.name());
    assert!(model.int8().unwrap().len() < model.network().len() / 3);
}

#[test]
fn stopping_leaves_the_weights_so_far() {
    let _alone = alone();
    let run = Run::prepare("ship.toml", |training| training.boxed_repeats = 1);
    assert_eq!(run.train(true), Ending::Stopped);
    assert!(Weights::<ResNet18>::load(&run.recipe, &run.out.path().join(WEIGHTS)).is_ok());
    assert!(!run.out.path().join(CHECKPOINT).exists(), "no round was finished");
    let error = train::train(&run.job(true), &AtomicBool::new(false), &run.progress).unwrap_err();
    assert!(error.to_string().starts_with("cannot resume: there is no"), "{error}");
}

#[test]
fn a_training_that_was_stopped_goes_on_to_the_same_weights() {
    let _alone = alone();
    let mut run = Run::prepare("ship.toml", |training| {
        training.rounds = 3;
        training.steps = 8;
        training.mine_from = 1;
        training.boxed_repeats = 1;
    });
    run.train(false);
    let path = |name: &str| run.out.path().join(name);
    let expected = fs::read(path(WEIGHTS)).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&fs::read(path(RECORD)).unwrap()).unwrap();
    assert_eq!((&record["rounds"], &record["finished"]), (&3.into(), &true.into()));
    assert_eq!(record["shard_sha256"].as_object().unwrap().len(), 3);

    let stop = AtomicBool::new(false);
    let ending = std::thread::scope(|scope| {
        let training = scope.spawn(|| train::train(&run.job(false), &stop, &run.progress).unwrap());
        // It forgets the old checkpoint first; then somewhere behind the first round's end.
        let rounds = || fs::read_to_string(path(CURVE)).map_or(0, |curve| curve.lines().count());
        while (!(2..4).contains(&rounds()) || !path(CHECKPOINT).exists()) && !training.is_finished() {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        training.join().unwrap()
    });
    assert_eq!(ending, Ending::Stopped);
    assert!(fs::read(path(WEIGHTS)).unwrap() != expected, "nothing was left to do");
    train::train(&run.job(true), &AtomicBool::new(false), &run.progress).unwrap();
    assert!(fs::read(path(WEIGHTS)).unwrap() == expected, "a resumed training gave other weights");
    let rounds = fs::read_to_string(path(CURVE)).unwrap().lines().count() - 1;
    assert_eq!(rounds, 3);

    run.recipe.training.weight_decay *= 2.0;
    let error = train::train(&run.job(true), &AtomicBool::new(false), &run.progress).unwrap_err();
    assert!(error.to_string().ends_with("belongs to another recipe, split or shard"), "{error}");
}

#[test]
fn the_same_seed_gives_the_same_weights_on_the_same_machine() {
    let _alone = alone();
    let run = Run::prepare("ship.toml", |training| {
        training.rounds = 2;
        training.steps = 4;
        // The second round's batches depend on the first round's weights too.
        training.mine_from = 1;
        training.boxed_repeats = 1;
    });
    let [first, again] = [0, 1].map(|_| {
        run.train(false);
        fs::read(run.out.path().join(WEIGHTS)).unwrap()
    });
    // Not assert_eq: it would print megabytes.
    assert!(first == again, "two trainings by one recipe differ");
}

#[test]
fn a_patch_that_is_dealt_out_lies_on_one_side() {
    let run = Run::prepare("single.toml", |_| ());
    let recipe = paper_table::by_patch(&run.recipe);
    let cut = |recipe: &Recipe, side| {
        Cutter::new(Shard::open(&run.shard).unwrap(), &run.split, side, recipe).cut_plain()
    };
    let count = |side| cut(&recipe, side).count(Class::Hematoma.index());
    let dealt = [Side::Training, Side::Validation, Side::Test].map(count);
    // Hematoma is never thinned, so every patch of it is somewhere; those of test patients are nowhere.
    let seen: usize = [Side::Training, Side::Validation]
        .map(|side| cut(&run.recipe, side).count(Class::Hematoma.index()))
        .iter()
        .sum();
    assert_eq!(dealt.iter().sum::<usize>(), seen);
    assert!(dealt[0] > dealt[2] && dealt[2] > 0, "{dealt:?}");
}

#[test]
fn patients_without_labels_teach_by_pseudo_labels() {
    let _alone = alone();
    let mut run = Run::prepare("semi.toml", |training| {
        training.rounds = 3;
        training.steps = 32;
        training.boxed_repeats = 2;
        training.average_decay = 0.5;
    });
    let semi = run.recipe.semi.as_mut().unwrap();
    (semi.labelled_patients, semi.confidence, semi.from_round) = (2, 0.5, 1);
    let shard = Shard::open(&run.shard).unwrap();
    let bag = Cutter::new(shard, &run.split, Side::Training, &run.recipe).cut_round(0);
    assert!(bag.count(UNLABELLED) > 0 && bag.count(Class::Hematoma.index()) > 0);
    assert_eq!(run.train(false), Ending::Finished);
    let curve = fs::read_to_string(run.out.path().join(CURVE)).unwrap();
    let losses: Vec<f64> =
        curve.lines().skip(1).map(|line| line.split(',').nth(4).unwrap().parse().unwrap()).collect();
    assert!(losses[0] == 0.0 && losses[1] > 0.0 && losses[2] > 0.0, "{curve}");

    run.recipe.semi.as_mut().unwrap().labelled_patients = 100;
    let error = train::train(&run.job(false), &AtomicBool::new(false), &run.progress).unwrap_err();
    assert!(error.to_string().contains("must leave some over"), "{error}");
}
