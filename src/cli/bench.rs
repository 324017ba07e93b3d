//! `hemapatch bench`: how fast a model runs on this machine, and where the time goes.

mod measure;

use super::engine::EngineArguments;
use super::progress::Progress;
use super::{model, patches, say};
use crate::error::{Error, Exit};
use crate::limits::Limits;
use crate::output::OutputError;
use crate::phantom::{self, Spec};
use crate::series;
use crate::simd::Level;
use measure::{Measured, Spread};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Name and number of the contract. A field renamed or dropped needs a new number.
const SCHEMA: &str = "hemapatch.bench/1";

/// Measure a model on this machine: patches a second, share of the processor's peak, each step and layer
#[derive(clap::Args)]
#[command(after_help = super::RESEARCH)]
pub(super) struct Arguments {
    /// Files, folders, ZIP archives with one head CT series [default: a synthetic head, written and removed again]
    paths: Vec<PathBuf>,
    /// Print one line of JSON and nothing else
    #[arg(long)]
    json: bool,
    /// The model's name or folder [default: the one that triage uses]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArguments,
    /// How long the network is measured, beside reading and preparing the series once
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    seconds: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected a number of seconds up to 3600".to_owned())
}

impl Arguments {
    pub fn run(self) -> Result<Exit, Error> {
        let (options, threads) = (self.engine.options(), self.engine.threads());
        let folder = model::folder(self.model.clone())?;
        // Once for nothing: what cannot be measured should say so before a phantom is made, and the model's files are
        // then in the page cache, whatever ran before.
        drop(measure::load(&folder, options, threads)?);
        // Removed when this function ends, also by an error.
        let (paths, _phantom) = match self.paths.as_slice() {
            [] => {
                let folder = phantom_folder()?;
                measure::forget_peak_memory();
                (vec![folder.path().to_owned()], Some(folder))
            }
            paths => (paths.to_vec(), None),
        };
        let loaded = measure::load(&folder, options, threads)?;
        let limits = Limits::default();
        let assembly = series::assemble(series::find(&paths, &limits), &limits);
        let [study] = assembly.studies.as_slice() else {
            return Err(patches::not_one_study(&assembly));
        };
        let choice = series::choose(study, 1)
            .map_err(|none| Error::Refused { code: (&none).into(), detail: none.to_string() })?;
        let measured = measure::measure(loaded, choice.series, &limits, self.seconds)?;
        let synthetic = self.paths.is_empty();
        if self.json { say(&line(&measured, synthetic)) } else { say(&page(&measured, synthetic)) }?;
        Ok(Exit::Done)
    }
}

fn phantom_folder() -> Result<tempfile::TempDir, Error> {
    let folder = tempfile::tempdir()
        .map_err(|source| OutputError::NotWritable { path: std::env::temp_dir(), source })?;
    let spec = Spec::demo(1);
    let mut progress = Progress::new("slices of a synthetic head");
    progress.length(spec.slices.into());
    phantom::write_series(&spec, folder.path(), &mut |done, _| progress.at(done.into()))?;
    Ok(folder)
}

/// The contract of docs/bench.md, in its order.
#[derive(Serialize)]
struct Contract<'a> {
    schema: &'static str,
    patches_per_second: Rounded,
    gmac_per_second: Option<Rounded>,
    peak_gmac_per_second: Option<Rounded>,
    share_of_peak: Option<Rounded>,
    turns: usize,
    patches: usize,
    multiply_adds_per_patch: Option<u64>,
    first_inference_ms: f64,
    peak_memory_bytes: Option<u64>,
    slice_ms: SliceMs,
    slices: usize,
    places: usize,
    different_patches: usize,
    equal_share: f64,
    layers: Option<Vec<Layer<'a>>>,
    series: &'static str,
    trace: Trace<'a>,
}

#[derive(Serialize)]
struct SliceMs {
    read: Rounded,
    prepare: Rounded,
    cut: Rounded,
    infer: Rounded,
}

#[derive(Serialize)]
struct Layer<'a> {
    name: &'a str,
    multiply_adds: u64,
    microseconds_per_patch: f64,
    share_of_time: f64,
    share_of_peak: Option<f64>,
}

impl Layer<'_> {
    fn of(layer: &measure::Layer) -> Layer<'_> {
        Layer {
            name: &layer.name,
            multiply_adds: layer.multiply_adds,
            microseconds_per_patch: rounded(layer.microseconds_per_patch),
            share_of_time: rounded(layer.share_of_time),
            share_of_peak: layer.share_of_peak.map(rounded),
        }
    }
}

#[derive(Serialize)]
struct Rounded {
    median: f64,
    p10: f64,
    p90: f64,
}

impl From<Spread> for Rounded {
    fn from(Spread { median, p10, p90 }: Spread) -> Self {
        Self { median: rounded(median), p10: rounded(p10), p90: rounded(p90) }
    }
}

#[derive(Serialize)]
struct Trace<'a> {
    program: &'static str,
    engine: &'a str,
    model: &'a str,
    model_version: &'a str,
    model_sha256: &'a str,
    precision: &'static str,
    simd: Option<&'static str>,
    threads: usize,
    architecture: &'static str,
    processor: Option<&'a str>,
    levels: Vec<&'static str>,
    intended_use: &'static str,
}

/// Six significant digits are more than any clock here knows.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

fn line(measured: &Measured, synthetic: bool) -> String {
    let Measured { model, .. } = measured;
    let manifest = model.manifest();
    let layers = measured.layers.as_deref().map(|layers| layers.iter().map(Layer::of).collect());
    let contract = Contract {
        schema: SCHEMA,
        patches_per_second: measured.patches_per_second.into(),
        gmac_per_second: measured.gmac_per_second.map(Rounded::from),
        peak_gmac_per_second: measured.peak_gmac_per_second.map(Rounded::from),
        share_of_peak: measured.share_of_peak.map(Rounded::from),
        turns: measured.turns,
        patches: measured.patches,
        multiply_adds_per_patch: measured.multiply_adds,
        first_inference_ms: rounded(measured.first_inference_ms),
        peak_memory_bytes: measured.peak_memory_bytes,
        slice_ms: SliceMs {
            read: measured.read_ms.into(),
            prepare: measured.prepare_ms.into(),
            cut: measured.cut_ms.into(),
            infer: measured.infer_ms.into(),
        },
        slices: measured.slices,
        places: measured.places,
        different_patches: measured.different,
        equal_share: rounded(measured.equal_share()),
        layers,
        series: if synthetic { "phantom" } else { "given" },
        trace: Trace {
            program: concat!("hemapatch ", env!("CARGO_PKG_VERSION")),
            engine: measured.engine,
            model: &manifest.name,
            model_version: &manifest.version,
            model_sha256: measured.precision.sha256(model).unwrap_or_default(),
            precision: measured.precision.name(),
            simd: measured.level.map(Level::name),
            threads: measured.threads,
            architecture: std::env::consts::ARCH,
            processor: measured.processor.as_deref(),
            levels: Level::available().into_iter().map(Level::name).collect(),
            intended_use: crate::model::INTENDED_USE,
        },
    };
    // Structs of strings and finite numbers always serialize.
    serde_json::to_string(&contract).unwrap_or_default()
}

fn page(measured: &Measured, synthetic: bool) -> String {
    let manifest = measured.model.manifest();
    let mut lines = Vec::new();
    let level = measured.level.map(|level| format!(" on {level}")).unwrap_or_default();
    let threads =
        if measured.threads == 1 { "one thread".into() } else { format!("{} threads", measured.threads) };
    lines.push(format!(
        "{} {}, {}: {}{level}, {threads}",
        manifest.name, manifest.version, measured.precision, measured.engine
    ));
    lines.push(format!(
        "  speed       {} patches/s, median of {} turns of {} patches",
        spread(measured.patches_per_second, 0),
        measured.turns,
        measured.patches
    ));
    if let (Some(gmac), Some(multiply_adds)) = (measured.gmac_per_second, measured.multiply_adds) {
        lines.push(format!(
            "              {} GMAC/s, {:.2} million live multiply-adds a patch",
            spread(gmac, 1),
            multiply_adds as f64 / 1e6
        ));
    }
    if let (Some(peak), Some(share)) = (measured.peak_gmac_per_second, measured.share_of_peak) {
        let percent = Spread { median: share.median * 100.0, p10: share.p10 * 100.0, p90: share.p90 * 100.0 };
        lines.push(format!(
            "  peak        {} GMAC/s on registers alone, of which {} %",
            spread(peak, 1),
            spread(percent, 1)
        ));
    }
    lines.push(format!(
        "  start       {:.0} ms from loading to the first inference",
        measured.first_inference_ms
    ));
    let megabytes = measured.peak_memory_bytes.map(|bytes| format!("{:.0} MB at most", bytes as f64 / 1e6));
    lines.push(format!("  memory      {}", megabytes.unwrap_or_else(|| "unknown".into())));
    let series = if synthetic { "of a synthetic head" } else { "of the series given" };
    lines.push(format!("\nMilliseconds a slice, {} slices {series}", measured.slices));
    for (name, time) in [
        ("read", measured.read_ms),
        ("prepare", measured.prepare_ms),
        ("cut", measured.cut_ms),
        ("infer", measured.infer_ms),
    ] {
        lines.push(format!("  {name:<10}  {}", spread(time, 3)));
    }
    lines.push(format!(
        "  {} of {} patches are equal to another of their slice ({:.1} %)",
        measured.places - measured.different,
        measured.places,
        measured.equal_share() * 100.0
    ));
    if let Some(layers) = &measured.layers {
        lines.push("\nLayer             us a patch  % of time  million multiply-adds  % of the peak".into());
        for layer in layers {
            let share = layer.share_of_peak.map_or(String::new(), |share| format!("{:.1}", share * 100.0));
            let line = format!(
                "  {:<16}{:>10.3}{:>11.1}{:>23.3}{share:>15}",
                layer.name,
                layer.microseconds_per_patch,
                layer.share_of_time * 100.0,
                layer.multiply_adds as f64 / 1e6,
            );
            lines.push(line.trim_end().to_owned());
        }
    }
    let levels = Level::available().into_iter().map(Level::name).collect::<Vec<_>>().join(", ");
    let processor = measured.processor.as_deref().map(|name| format!("{name}, ")).unwrap_or_default();
    lines.push(format!("\n{processor}{}: {levels}", std::env::consts::ARCH));
    let hash = measured.precision.sha256(&measured.model).unwrap_or_default();
    lines.push(format!(
        "model sha256 {}, hemapatch {}",
        hash.get(..12).unwrap_or(hash),
        env!("CARGO_PKG_VERSION")
    ));
    lines.push("RESEARCH USE ONLY - not a medical device".into());
    lines.join("\n")
}

/// A median with its spread, for people.
fn spread(Spread { median, p10, p90 }: Spread, digits: usize) -> String {
    format!("{median:.digits$} ({p10:.digits$} to {p90:.digits$})")
}
