//! What the commands do. Each reads what the one before it left in the run's folder.

use super::{All, Place, Prepare, Throughput, Words};
use crate::evaluate::{self, Choices};
use crate::export;
use crate::mil::{self, AttentionWeights};
use crate::net::ResNet18;
use crate::phantoms::{Cohort, LEAST_VOLUME_ML, Scan};
use crate::prepare::{self, Prepared};
use crate::quantize;
use crate::recipe::{Dealt, Method, Recipe};
use crate::record;
use crate::report;
use crate::score::{ScoredStudy, Scorer};
use crate::shard::{Index, Shard, Source};
use crate::slice_list;
use crate::split::{Side, Split};
use crate::throughput;
use crate::train::{self, Ending, Job, WEIGHTS};
use crate::weights::Weights;
use hemapatch::model::Manifest;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Files of a run.
pub(super) const SPLIT: &str = "split.json";
const CHOICES: &str = "choices.json";
const MODEL: &str = "model";
const QUANTIZATION: &str = "quantization.json";

/// All of it, one after the other.
pub(super) fn run(args: &All) -> Result<(), Box<dyn Error>> {
    let place = args.prepare.run.place()?;
    let source = prepare(&place, &args.prepare)?;
    // Better now than when the training is done.
    args.words.passport(source, &place.recipe)?;
    if train(&place, args.resume)? == Ending::Stopped {
        return Err("stopped: nothing was evaluated or exported".into());
    }
    evaluate(&place, args.test)?;
    export(&place, &args.words)?;
    // The attention of a network of bags stays in f32.
    if place.recipe.method == Method::Mil { Ok(()) } else { quantize(&place) }
}

pub(super) fn bar(task: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>9} {bar:30} {pos}/{len} {elapsed}<{eta} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style).with_prefix(task)
}

pub(super) fn prepare(place: &Place, args: &Prepare) -> Result<Source, Box<dyn Error>> {
    let Place { recipe, shard, .. } = place;
    let progress = bar("prepare");
    let Prepared { index, conflicting } = match (&args.origin.data, args.origin.phantoms) {
        (Some(data), _) => prepare::prepare(data, shard, recipe.preparation, recipe.patch_size, &progress)?,
        (None, Some(patients)) => {
            let cohort =
                Cohort { patients, seed: args.seed, scan: Scan::default(), least_ml: LEAST_VOLUME_ML };
            Prepared { index: cohort.prepare(shard, recipe.preparation, &progress)?, conflicting: 0 }
        }
        (None, None) => {
            let shard =
                Shard::open(shard).map_err(|error| format!("{error}; --data says what to prepare"))?;
            train::check(recipe, shard.index())?;
            return Ok(shard.index().source);
        }
    };
    progress.finish();
    let what = match index.source {
        Source::PheSich => "slices",
        Source::Phantoms => "drawn slices",
        Source::LabelledPatches => "labelled patches",
    };
    println!("{}: {} {what} of {} patients", shard.display(), index.slices.len(), index.patients().len());
    if conflicting > 0 {
        println!("{conflicting} patches left out: each is saved under two letters");
    }
    Ok(index.source)
}

pub(super) fn train(place: &Place, resume: bool) -> Result<Ending, Box<dyn Error>> {
    let Place { recipe, out, shard } = place;
    let opened = Shard::open(shard)?;
    // Before the split is written: weights that are there belong to the old one.
    train::check(recipe, opened.index())?;
    let split = split_of(opened.index(), recipe)?;
    if !resume {
        // What is there belongs to the old split, and would be judged by the new one.
        for name in [WEIGHTS, CHOICES] {
            let path = out.join(name);
            if path.exists() {
                fs::remove_file(&path)
                    .map_err(|error| format!("cannot remove {}: {error}", path.display()))?;
            }
        }
        write_json(&out.join(SPLIT), &split)?;
    }
    let stop = stop_when_asked()?;
    let progress = bar("train");
    let job = Job { recipe, shard, split: &split, out, resume };
    let ending = match recipe.method {
        Method::Single | Method::Multilabel => train::train(&job, &stop, &progress)?,
        Method::Mil => mil::train(&job, &stop, &progress)?,
    };
    let weights = out.join(WEIGHTS);
    match ending {
        Ending::Finished => println!("{}: trained {} rounds", weights.display(), recipe.training.rounds),
        Ending::Stopped => {
            println!("{}: stopped early, the weights so far; --resume goes on", weights.display());
        }
    }
    Ok(ending)
}

/// The recipe's split of a shard's patients.
pub(super) fn split_of(index: &Index, recipe: &Recipe) -> Result<Split, Box<dyn Error>> {
    let patients: Vec<String> = index.patients().into_iter().map(|(patient, _)| patient.to_owned()).collect();
    Ok(Split::by_seed(&patients, recipe.split.seed.unwrap_or(recipe.seed))?)
}

/// The split that a run was trained with, which must be the recipe's.
fn split_of_run(place: &Place, index: &Index) -> Result<Split, Box<dyn Error>> {
    let path = place.out.join(SPLIT);
    let split: Split = read_json(&path)?;
    if split == split_of(index, &place.recipe)? {
        Ok(split)
    } else {
        Err(format!("{}: is not the split of the recipe and the shard: train again", path.display()).into())
    }
}

/// A flag that Ctrl-C raises.
pub(super) fn stop_when_asked() -> Result<Arc<AtomicBool>, ctrlc::Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            // Asked twice: 128 and the signal's number, as a shell would say.
            std::process::exit(130);
        }
    })?;
    Ok(stop)
}

pub(super) fn evaluate(place: &Place, test: bool) -> Result<(), Box<dyn Error>> {
    let Place { recipe, out, shard: folder } = place;
    if recipe.split.by == Dealt::Patch {
        return Err("where patches were dealt out no patient is unseen: `table` judges such a run".into());
    }
    tch::set_num_threads(recipe.training.threads);
    let shard = Shard::open(folder)?;
    train::check(recipe, shard.index())?;
    record::check(out, recipe, folder)?;
    let source = shard.index().source;
    let split = split_of_run(place, shard.index())?;
    let weights = out.join(WEIGHTS);
    let net: Box<dyn Scorer> = match recipe.method {
        Method::Single | Method::Multilabel => Box::new(Weights::<ResNet18>::load(recipe, &weights)?.net),
        Method::Mil => Box::new(AttentionWeights::load(recipe, &weights)?.net),
    };
    let score = |side| {
        let progress = bar("evaluate");
        let studies = evaluate::score_side(&*net, recipe, &shard, &split, side, &progress);
        progress.finish();
        studies
    };
    let list = |side: &str, studies: &[ScoredStudy]| {
        let path = out.join(format!("{side}-slices.csv"));
        fs::write(&path, slice_list::csv(studies, recipe))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    let mut studies = score(Side::Validation)?;
    let choices = match source {
        Source::PheSich | Source::Phantoms => evaluate::choose(source, &mut studies, recipe).ok_or(
            "the validation patients lack slices with or without a box, or labelled hematoma: thresholds cannot \
             be chosen",
        )?,
        Source::LabelledPatches => evaluate::choose_on_patches(&mut studies, recipe)
            .ok_or("the validation patients lack hematoma or other patches: no threshold can be chosen")?,
    };
    write_json(&out.join(CHOICES), &choices)?;
    let validation = evaluate::judge(&mut studies, Side::Validation, recipe, &choices);
    write_json(&out.join("validation.json"), &validation)?;
    list("validation", &studies)?;
    let tested = if test {
        let mut studies = score(Side::Test)?;
        let judgement = evaluate::judge(&mut studies, Side::Test, recipe, &choices);
        write_json(&out.join("test.json"), &judgement)?;
        list("test", &studies)?;
        Some(judgement)
    } else {
        None
    };
    let labels = mil::judge::judge(&studies, &recipe.pooling, recipe.seed);
    if !labels.is_empty() {
        write_json(&out.join("bag_labels.json"), &labels)?;
    }
    let more = mil::judge::markdown(&labels);
    let report = report::write(out, &recipe.name, &choices, &validation, tested.as_ref(), &more)?;
    print!("{report}");
    Ok(())
}

pub(super) fn export(place: &Place, words: &Words) -> Result<(), Box<dyn Error>> {
    let Place { recipe, out, .. } = place;
    let weights = out.join(WEIGHTS);
    let choices: Choices = read_json(&out.join(CHOICES))?;
    let passport = words.passport(choices.source, recipe)?;
    let folder = out.join(MODEL);
    let model = match recipe.method {
        Method::Single | Method::Multilabel => {
            export::export(&Weights::load(recipe, &weights)?.net, recipe, &choices, &passport, &folder)?
        }
        Method::Mil => {
            let net = AttentionWeights::load(recipe, &weights)?.net;
            export::export_bags(&net, recipe, &choices, &passport, &folder)?
        }
    };
    println!("{}: sha256 {}", folder.display(), model.manifest().network.sha256);
    Ok(())
}

pub(super) fn quantize(place: &Place) -> Result<(), Box<dyn Error>> {
    let Place { recipe, out, shard } = place;
    if recipe.method == Method::Mil {
        return Err("a network of bags cannot be quantized: its attention is in f32".into());
    }
    tch::set_num_threads(recipe.training.threads);
    let folder = out.join(MODEL);
    let weights = Weights::load(recipe, &out.join(WEIGHTS))?;
    // Before the work: there must be a model to put the network into, of the same weights.
    if !export::is_of(&Manifest::read(&folder)?, &weights.net)? {
        return Err(format!("{}: was exported from other weights: run export again", folder.display()).into());
    }
    record::check(out, recipe, shard)?;
    let shard = Shard::open(shard)?;
    let split = split_of_run(place, shard.index())?;
    let progress = bar("quantize");
    let quantized = quantize::quantize(&weights.net, recipe, &shard, &split, &progress)?;
    progress.finish();
    write_json(&out.join(QUANTIZATION), &quantized.quantization)?;
    print!("{}", quantized.quantization.markdown());
    if !quantized.quantization.within_bars {
        return Err(format!(
            "{}: outside of the bars, not made part of the model",
            out.join(QUANTIZATION).display()
        )
        .into());
    }
    let model = quantize::write(&quantized, &folder)?;
    if let Some(int8) = &model.manifest().network.int8 {
        println!("{}: sha256 {}", folder.join(&int8.file).display(), int8.sha256);
    }
    Ok(())
}

pub(super) fn throughput(args: &Throughput) -> Result<(), Box<dyn Error>> {
    let Place { recipe, shard, .. } = args.run.place()?;
    if recipe.method == Method::Mil || recipe.semi.is_some() {
        return Err(
            "throughput is measured of recipes whose patches are all labelled: not of mil and semi".into()
        );
    }
    let shard = Shard::open(&shard)?;
    train::check(&recipe, shard.index())?;
    let split = split_of(shard.index(), &recipe)?;
    let mut recipe = recipe;
    recipe.training.steps = args.steps.unwrap_or(recipe.training.steps);
    let turns = throughput::measure(&recipe, &shard, &split, args.turns)?;
    print!("{}", throughput::report(&turns, recipe.training.steps * recipe.training.batch.total()));
    Ok(())
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Box<dyn Error>> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Box<dyn Error>> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}
