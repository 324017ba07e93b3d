//! The command line of `hemapatch-train`: what can be asked. What then is done is in `commands` and `table`.

mod commands;
mod table;

use crate::passport::{Passport, PassportError, Statement};
use crate::recipe::Recipe;
use crate::shard::Source;
use clap::{Args, Parser, Subcommand};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

/// Folder of the prepared data in a run's folder.
const SHARD: &str = "shard";

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
    Train(Train),
    /// Chooses thresholds on the validation patients and judges: OUT/choices.json, validation.json, report.md, figures
    Evaluate(Evaluate),
    /// Writes the engine's model: OUT/model
    Export(Export),
    /// Makes the exported network one of integers: OUT/quantization.json, OUT/model/model.int8.onnx
    Quantize(Run),
    /// All of it, one after the other
    Run(All),
    /// The paper's figures of patch accuracy beside ours: OUT/table.md, and a run for each row
    Table(Table),
    /// How fast training is beside plain libtorch calls, in turns
    Throughput(Throughput),
}

#[derive(Args)]
struct Run {
    /// The recipe, a TOML file
    recipe: PathBuf,
    /// The run's folder [default: out/NAME, by the recipe's name]
    #[arg(long)]
    out: Option<PathBuf>,
    /// The prepared data, which runs may share [default: OUT/shard]
    #[arg(long)]
    shard: Option<PathBuf>,
}

/// A recipe that was read, and where its run lies.
struct Place {
    recipe: Recipe,
    out: PathBuf,
    shard: PathBuf,
}

impl Run {
    fn place(&self) -> Result<Place, Box<dyn Error>> {
        let recipe = Recipe::read(&self.recipe)?;
        let out = self.out.clone().unwrap_or_else(|| Path::new("out").join(&recipe.name));
        let shard = self.shard.clone().unwrap_or_else(|| out.join(SHARD));
        fs::create_dir_all(&out).map_err(|error| format!("cannot create {}: {error}", out.display()))?;
        Ok(Place { recipe, out, shard })
    }
}

#[derive(Args)]
struct Train {
    #[command(flatten)]
    run: Run,
    /// Go on after the last whole round of a training that was stopped
    #[arg(long)]
    resume: bool,
}

#[derive(Args)]
struct Prepare {
    #[command(flatten)]
    run: Run,
    #[command(flatten)]
    origin: Origin,
    /// Phantoms: who is drawn
    #[arg(long, default_value_t = 1, conflicts_with = "data")]
    seed: u64,
}

/// What is learned from: one of the two, or what was prepared before.
#[derive(Args)]
#[group(multiple = false)]
struct Origin {
    /// Folder of PHE-SICH-CT-IDS, or of patches labelled with the grid tool
    #[arg(long)]
    data: Option<PathBuf>,
    /// Draw so many patients instead; what is learned from them is worth nothing for real ones
    #[arg(long, value_name = "N")]
    phantoms: Option<usize>,
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
    /// Version of weights and thresholds together [default: the recipe's]
    #[arg(long)]
    model_version: Option<String>,
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
        let version = self.model_version.as_ref().unwrap_or(&recipe.version);
        Passport::of(source, recipe.method, version, &line.or(&recipe.passport))
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
    /// Go on after the last whole round of a training that was stopped
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    words: Words,
}

#[derive(Args)]
struct Table {
    /// The prepared data
    #[arg(long)]
    shard: PathBuf,
    /// Folder of the table, and of its runs
    #[arg(long, default_value = "out/table")]
    out: PathBuf,
    /// Folder of the recipes single, weighted and multilabel
    #[arg(long, default_value = "trainer/recipes")]
    recipes: PathBuf,
    /// Also judge the test patients
    #[arg(long)]
    test: bool,
}

#[derive(Args)]
struct Throughput {
    #[command(flatten)]
    run: Run,
    /// How often each is measured
    #[arg(long, default_value_t = 9)]
    turns: usize,
    /// Steps of a turn [default: the recipe's steps a round]
    #[arg(long)]
    steps: Option<usize>,
}

/// Does what the command line asks.
#[must_use]
pub fn main() -> ExitCode {
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
        Command::Prepare(args) => commands::prepare(&args.run.place()?, args).map(|_| ()),
        Command::Train(args) => commands::train(&args.run.place()?, args.resume).map(|_| ()),
        Command::Evaluate(args) => commands::evaluate(&args.run.place()?, args.test),
        Command::Export(args) => commands::export(&args.run.place()?, &args.words),
        Command::Quantize(args) => commands::quantize(&args.place()?),
        Command::Run(args) => commands::run(args),
        Command::Table(args) => table::table(args),
        Command::Throughput(args) => commands::throughput(args),
    }
}
