//! The command `hemapatch-train`: data set in, model out.

use clap::{Args, Parser, Subcommand};
use hemapatch_train::evaluate::{self, Choices};
use hemapatch_train::export;
use hemapatch_train::passport::{Passport, PassportError, Statement};
use hemapatch_train::prepare::{self, Prepared};
use hemapatch_train::recipe::Recipe;
use hemapatch_train::report;
use hemapatch_train::shard::{Shard, Source};
use hemapatch_train::split::{Side, Split};
use hemapatch_train::train::{self, Ending, WEIGHTS, Weights};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Folders and files of a run.
const SHARD: &str = "shard";
const SPLIT: &str = "split.json";
const CHOICES: &str = "choices.json";
const MODEL: &str = "model";

/// Trains, evaluates and exports the patch network of hemapatch. Research use only.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Turns, prepares and labels a data set: OUT/shard
    Prepare(Prepare),
    /// Trains on the training patients: OUT/weights.safetensors, curve.csv, split.json
    Train(Run),
    /// Chooses thresholds on the validation patients and judges: OUT/choices.json, validation.json, report.md
    Evaluate(Evaluate),
    /// Writes the engine's model: OUT/model
    Export(Export),
    /// All of it, one after the other
    Run(All),
}

#[derive(Args)]
struct Run {
    /// The recipe, a TOML file
    recipe: PathBuf,
    /// The run's folder
    #[arg(long)]
    out: PathBuf,
}

#[derive(Args)]
struct Prepare {
    #[command(flatten)]
    run: Run,
    /// Folder of PHE-SICH-CT-IDS, or of patches labelled with the grid tool
    #[arg(long)]
    data: PathBuf,
}

#[derive(Args)]
struct Evaluate {
    #[command(flatten)]
    run: Run,
    /// Also judge the test patients: once, when nothing is to be changed any more
    #[arg(long)]
    test: bool,
}

#[derive(Args)]
struct Export {
    #[command(flatten)]
    run: Run,
    #[command(flatten)]
    words: Words,
}

/// What goes into the manifest beside what training decides. All but the version is for data of
/// your own; PHE-SICH-CT-IDS has its own words.
#[derive(Args)]
struct Words {
    /// Version of weights and thresholds together
    #[arg(long, default_value = "0.1.0")]
    model_version: String,
    /// Labelled patches: what the model is, in one sentence
    #[arg(long)]
    description: Option<String>,
    /// Labelled patches: licence of the weights
    #[arg(long)]
    license: Option<String>,
    /// Labelled patches: what they are and whose, with credit
    #[arg(long)]
    training_data: Option<String>,
    /// Labelled patches: window they were cut with, Hounsfield units [without it: 0,80]
    #[arg(long, value_name = "A,B", value_parser = pair::<i16>, allow_hyphen_values = true)]
    window_hu: Option<[i16; 2]>,
    /// Labelled patches: smallest and largest pixel spacing of their slices, mm
    #[arg(long, value_name = "MIN,MAX", value_parser = pair::<f64>)]
    spacing_mm: Option<[f64; 2]>,
}

impl Words {
    /// The passport of a model that the recipe made of `source`.
    fn passport(&self, source: Source, recipe: &Recipe) -> Result<Passport, PassportError> {
        let line = Statement {
            description: self.description.clone(),
            license: self.license.clone(),
            training_data: self.training_data.clone(),
            window_hu: self.window_hu,
            spacing_mm: self.spacing_mm,
        };
        Passport::of(source, &self.model_version, &line.or(&recipe.passport))
    }
}

fn pair<T: FromStr>(text: &str) -> Result<[T; 2], String> {
    text.split_once(',')
        .and_then(|(first, second)| Some([first.trim().parse().ok()?, second.trim().parse().ok()?]))
        .ok_or_else(|| "expected two numbers with a comma between them".into())
}

#[derive(Args)]
struct All {
    #[command(flatten)]
    prepare: Prepare,
    /// Also judge the test patients
    #[arg(long)]
    test: bool,
    #[command(flatten)]
    words: Words,
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hemapatch-train: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Prepare(args) => prepare(args).map(|_| ()),
        Command::Train(args) => train(args).map(|_| ()),
        Command::Evaluate(args) => evaluate(&args.run, args.test),
        Command::Export(args) => export(&args.run, &args.words),
        Command::Run(args) => {
            let source = prepare(&args.prepare)?;
            // Better now than when the training is done.
            args.words.passport(source, &Recipe::read(&args.prepare.run.recipe)?)?;
            if train(&args.prepare.run)? == Ending::Stopped {
                return Ok(());
            }
            evaluate(&args.prepare.run, args.test)?;
            export(&args.prepare.run, &args.words)
        }
    }
}

fn bar(task: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>9} {bar:30} {pos}/{len} {elapsed}<{eta} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style).with_prefix(task)
}

fn prepare(args: &Prepare) -> Result<Source, Box<dyn Error>> {
    let recipe = Recipe::read(&args.run.recipe)?;
    let progress = bar("prepare");
    let shard = args.run.out.join(SHARD);
    let Prepared { index, conflicting } =
        prepare::prepare(&args.data, &shard, recipe.preparation, recipe.patch_size, &progress)?;
    progress.finish();
    let what = match index.source {
        Source::PheSich => "slices",
        Source::LabelledPatches => "labelled patches",
    };
    println!("{}: {} {what} of {} patients", shard.display(), index.slices.len(), index.patients().len());
    if conflicting > 0 {
        println!("{conflicting} patches left out: each is saved under two letters");
    }
    Ok(index.source)
}

fn train(args: &Run) -> Result<Ending, Box<dyn Error>> {
    let recipe = Recipe::read(&args.recipe)?;
    let folder = args.out.join(SHARD);
    let shard = Shard::open(&folder)?;
    // Before the split is written: weights that are there belong to the old one.
    train::check(&recipe, shard.index())?;
    let patients: Vec<String> =
        shard.index().patients().into_iter().map(|(patient, _)| patient.to_owned()).collect();
    let split = Split::by_seed(&patients, recipe.seed)?;
    write_json(&args.out.join(SPLIT), &split)?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    ctrlc::set_handler(move || asked.store(true, Ordering::Relaxed))?;
    let progress = bar("train");
    let ending = train::train(&recipe, &folder, &split, &args.out, &stop, &progress)?;
    let weights = args.out.join(WEIGHTS);
    match ending {
        Ending::Finished => println!("{}: trained {} rounds", weights.display(), recipe.training.rounds),
        Ending::Stopped => println!("{}: stopped early, the weights so far", weights.display()),
    }
    Ok(ending)
}

fn evaluate(args: &Run, test: bool) -> Result<(), Box<dyn Error>> {
    let recipe = Recipe::read(&args.recipe)?;
    tch::set_num_threads(recipe.training.threads);
    let mut shard = Shard::open(&args.out.join(SHARD))?;
    let source = shard.index().source;
    let split: Split = read_json(&args.out.join(SPLIT))?;
    let weights = Weights::load(&recipe, &args.out.join(WEIGHTS))?;
    let mut score = |side| {
        let progress = bar("evaluate");
        let studies = evaluate::score_side(&weights.net, &recipe, &mut shard, &split, side, &progress);
        progress.finish();
        studies
    };
    let studies = score(Side::Validation)?;
    let choices = match source {
        Source::PheSich => evaluate::choose(&studies, &recipe).ok_or(
            "the validation patients lack slices with or without a box: thresholds cannot be chosen",
        )?,
        Source::LabelledPatches => evaluate::choose_on_patches(&studies)
            .ok_or("the validation patients lack hematoma or other patches: no threshold can be chosen")?,
    };
    write_json(&args.out.join(CHOICES), &choices)?;
    let validation = evaluate::judge(&studies, Side::Validation, &recipe, &choices);
    write_json(&args.out.join("validation.json"), &validation)?;
    let tested = if test {
        let judgement = evaluate::judge(&score(Side::Test)?, Side::Test, &recipe, &choices);
        write_json(&args.out.join("test.json"), &judgement)?;
        Some(judgement)
    } else {
        None
    };
    let report = report::markdown(&recipe.name, &choices, &validation, tested.as_ref());
    let path = args.out.join("report.md");
    fs::write(&path, &report).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    print!("{report}");
    Ok(())
}

fn export(args: &Run, words: &Words) -> Result<(), Box<dyn Error>> {
    let recipe = Recipe::read(&args.recipe)?;
    let weights = Weights::load(&recipe, &args.out.join(WEIGHTS))?;
    let choices: Choices = read_json(&args.out.join(CHOICES))?;
    let passport = words.passport(choices.source, &recipe)?;
    let folder = args.out.join(MODEL);
    let model = export::export(&weights.net, &recipe, &choices, &passport, &folder)?;
    println!("{}: sha256 {}", folder.display(), model.manifest().network.sha256);
    Ok(())
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Box<dyn Error>> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Box<dyn Error>> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}
