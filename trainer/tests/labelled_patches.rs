//! A folder of patches labelled with the grid tool goes in, a model comes out that says so.

use hemapatch::engine::{self, EngineOptions};
use hemapatch::label::{Class, FileName};
use hemapatch::model::{Model, Rule};
use hemapatch_train::evaluate::Judgement;
use hemapatch_train::random::Random;
use hemapatch_train::recipe::{BatchPlan, Recipe};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const PATIENTS: usize = 8;
const SLICES: usize = 3;
const PATCHES: usize = 12;

/// What somebody leaves behind who labelled `PATIENTS` series: one `split_pic` each.
fn label_patches(folder: &Path) {
    let mut random = Random::new(21);
    for patient in 0..PATIENTS {
        let patches = folder.join(format!("p{patient}")).join(FileName::PATCH_FOLDER);
        fs::create_dir_all(&patches).unwrap();
        for slice in 1..=SLICES {
            for patch in 0..PATCHES {
                let class = Class::SINGLE[patch % Class::SINGLE.len()];
                let level = [0, 99, 180, 245][class.index()];
                let picture =
                    image::GrayImage::from_fn(16, 16, |_, _| image::Luma([level + random.below(11) as u8]));
                let stem = format!("p{patient}_{slice:04}");
                let labels: &[Option<Class>] = match patch {
                    // Unlabelled, then saved again with its letter, as the tool does.
                    0..4 => &[None, Some(class)],
                    4..11 => &[Some(class)],
                    // Somebody could not decide.
                    _ => &[Some(class), Some(Class::Hematoma)],
                };
                for &label in labels {
                    let name = FileName::patch(&stem, 16 * patch as u32, 0, label).unwrap();
                    picture.save(patches.join(name.to_string())).unwrap();
                }
            }
        }
    }
}

fn short_recipe(name: &str) -> Recipe {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let mut recipe = Recipe::read(&recipes.join(name)).unwrap();
    recipe.training.rounds = 2;
    recipe.training.steps = 48;
    recipe.training.average_decay = 0.5;
    recipe.training.batch =
        BatchPlan { background: 8, parenchyma: 8, hematoma: 8, skull: 8, weak: 0, ..BatchPlan::default() };
    recipe
}

fn hemapatch_train(arguments: &[&str], recipe: &Path, out: &Path) -> Output {
    let (command, options) = arguments.split_first().unwrap();
    Command::new(env!("CARGO_BIN_EXE_hemapatch-train"))
        .arg(command)
        .arg(recipe)
        .arg("--out")
        .arg(out)
        .args(options)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn labelled_patches_become_a_model_that_the_engine_opens() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    label_patches(data.path());
    let recipe = out.path().join("recipe.toml");
    fs::write(&recipe, toml::to_string(&short_recipe("single.toml")).unwrap()).unwrap();
    let run = |arguments: &[&str]| {
        let output = hemapatch_train(arguments, &recipe, out.path());
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        said(&output)
    };

    let prepared = run(&["prepare", "--data", data.path().to_str().unwrap()]);
    assert!(prepared.contains(": 264 labelled patches of 8 patients"), "{prepared}");
    assert!(prepared.contains("24 patches left out: each is saved under two letters"), "{prepared}");

    run(&["train"]);
    let report = run(&["evaluate"]);
    assert_eq!(report, fs::read_to_string(out.path().join("report.md")).unwrap());
    let judgement = fs::read_to_string(out.path().join("validation.json")).unwrap();
    let judgement: Judgement = serde_json::from_str(&judgement).unwrap();
    assert!(judgement.whole.is_none(), "there are no slices to judge");
    // The four gray levels are far apart: less means that letters and pixels are.
    assert!(judgement.patch_accuracy.unwrap() > 0.9, "{report}");

    let output = hemapatch_train(&["export", "--license", "CC0-1.0"], &recipe, out.path());
    assert!(!output.status.success() && said(&output).contains("--description"), "{}", said(&output));
    assert!(!out.path().join("model").exists(), "a model without a passport");
    let words = ["--description", "A test.", "--training-data", "Drawn squares.", "--license", "CC0-1.0"];
    run(&[&["export", "--spacing-mm", "0.4,0.5", "--window-hu", "-10,90"], &words[..]].concat());
    let model = Model::open(&out.path().join("model")).unwrap();
    engine::load(&model, EngineOptions::default()).unwrap();
    let manifest = model.manifest();
    assert_eq!((manifest.license.as_str(), manifest.training_data.as_str()), ("CC0-1.0", "Drawn squares."));
    assert_eq!((manifest.patch.spacing_mm, manifest.preparation.window_hu), ([0.4, 0.5], [-10, 90]));
    assert_eq!(manifest.decision.rule, Rule::Bag);
    assert!(manifest.decision.operating_point.contains("are defaults: not calibrated"));
    let text = fs::read_to_string(out.path().join("model").join("model.toml")).unwrap();
    assert!(!text.contains("SICH"), "{text}");
}

#[test]
fn labelled_patches_are_not_trained_with_views_of_their_surroundings() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    label_patches(data.path());
    let recipe = out.path().join("recipe.toml");
    fs::write(&recipe, toml::to_string(&short_recipe("ship.toml")).unwrap()).unwrap();
    assert!(
        hemapatch_train(&["prepare", "--data", data.path().to_str().unwrap()], &recipe, out.path())
            .status
            .success()
    );
    let output = hemapatch_train(&["train"], &recipe, out.path());
    assert!(!output.status.success() && said(&output).contains("views must be"), "{}", said(&output));
}
