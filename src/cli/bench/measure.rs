//! The measurements of `hemapatch bench`; what is made of them is left to the command.
//!
//! A figure of a busy machine says little, a share of what the same cores do in the same moment says much: so the
//! network and the yardstick run in turns.

use crate::engine::{self, Engine, EngineError, EngineOptions, LayerTime, Precision};
use crate::error::Error;
use crate::limits::Limits;
use crate::model::Model;
use crate::patch::{Grid, Neighbourhood, Patches, Pyramid};
use crate::prep::Scratch;
use crate::series::Series;
use crate::simd::{Kernels, Level};
use crate::stream::SliceStream;
use ndarray::Array2;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

/// Patches of a turn: about what a slice of a head has.
const PATCHES: usize = 1024;
/// Fewer turns have no percentiles.
const FEWEST_TURNS: usize = 5;
/// How long the yardstick runs at least: as long as the network, about, so that others' work meets both.
const SPIN: Duration = Duration::from_millis(15);

/// A median and the 10th and 90th percentile around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub median: f64,
    pub p10: f64,
    pub p90: f64,
}

impl Spread {
    /// Of values of which there is at least one.
    fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| values[(values.len() - 1) * percent / 100];
        Spread { median: at(50), p10: at(10), p90: at(90) }
    }
}

/// One layer.
pub(super) struct Layer {
    pub name: String,
    pub multiply_adds: u64,
    pub microseconds_per_patch: f64,
    pub share_of_time: f64,
    pub share_of_peak: Option<f64>,
}

/// All that was measured.
pub(super) struct Measured {
    pub model: Model,
    pub engine: &'static str,
    pub precision: Precision,
    pub level: Option<Level>,
    pub threads: usize,
    pub processor: Option<String>,
    pub patches_per_second: Spread,
    pub gmac_per_second: Option<Spread>,
    pub peak_gmac_per_second: Option<Spread>,
    pub share_of_peak: Option<Spread>,
    pub turns: usize,
    pub patches: usize,
    pub multiply_adds: Option<u64>,
    pub first_inference_ms: f64,
    pub peak_memory_bytes: Option<u64>,
    pub read_ms: Spread,
    pub prepare_ms: Spread,
    pub cut_ms: Spread,
    pub infer_ms: Spread,
    pub slices: usize,
    /// Patches of all slices, and of those the different ones, each slice by itself.
    pub places: usize,
    pub different: usize,
    pub layers: Option<Vec<Layer>>,
}

impl Measured {
    /// Share of the patches that are equal to another of their slice, and so are never run.
    pub fn equal_share(&self) -> f64 {
        1.0 - self.different as f64 / self.places as f64
    }
}

/// A model with its engine.
pub(super) struct Loaded {
    model: Model,
    /// One a thread.
    engines: Vec<Box<dyn Engine>>,
    first_inference_ms: f64,
}

/// Loads a model and runs one patch, and makes one more engine for each other thread.
///
/// # Errors
/// Those of [`Model::open`], [`engine::load`] and [`Engine::run`].
pub(super) fn load(folder: &Path, options: EngineOptions, threads: NonZeroUsize) -> Result<Loaded, Error> {
    let started = Instant::now();
    let model = Model::open(folder)?;
    let mut engine = engine::load(&model, options)?;
    let patch = &model.manifest().patch;
    let length = model.manifest().network.input.iter().product();
    let one = Patches::given(&patch.views, patch.size, vec![0; length]);
    engine.run(&one, &mut Array2::zeros((0, 0)))?;
    let first_inference_ms = milliseconds(started);
    Ok(Loaded { model, engines: engine::on_threads(engine, threads)?, first_inference_ms })
}

/// Times of the steps of a series, and patches of it to go on with.
#[derive(Default)]
struct Steps {
    read: Vec<f64>,
    prepare: Vec<f64>,
    cut: Vec<f64>,
    infer: Vec<f64>,
    places: usize,
    different: usize,
    patches: Vec<u8>,
}

/// Reads and judges the series once, then runs some of its patches for so many seconds.
///
/// # Errors
/// [`Error::Refused`] where a slice cannot be read, [`Error::Engine`] where the network fails.
pub(super) fn measure(
    loaded: Loaded,
    series: &Series,
    limits: &Limits,
    seconds: Duration,
) -> Result<Measured, Error> {
    let Loaded { model, mut engines, first_inference_ms } = loaded;
    let mut steps = Steps::default();
    steps.take(&model, engines[0].as_mut(), series, limits)?;
    let patch = &model.manifest().patch;
    let patches = Patches::given(&patch.views, patch.size, std::mem::take(&mut steps.patches));
    let turns = turns(&mut engines, &patches, seconds)?;
    let (threads, engine) = (engines.len(), &engines[0]);
    let of_one = patches.grid().patches();
    let layers = turns.layers(of_one as f64);
    // Each thread runs them all.
    let count = (of_one * threads) as f64;
    let multiply_adds =
        layers.as_ref().map(|layers| layers.iter().map(|layer| layer.multiply_adds).sum::<u64>());
    let products = multiply_adds.map(|multiply_adds| multiply_adds as f64 * count);
    let gmac = |products: f64| turns.run.iter().map(move |seconds| products / seconds / 1e9);
    let share = |products| gmac(products).zip(&turns.peak).map(|(gmac, peak)| gmac / peak).collect();
    Ok(Measured {
        engine: engine.name(),
        precision: engine.precision(),
        level: engine.level(),
        threads,
        processor: processor(),
        patches_per_second: Spread::of(turns.run.iter().map(|seconds| count / seconds).collect()),
        gmac_per_second: products.map(|products| Spread::of(gmac(products).collect())),
        peak_gmac_per_second: (!turns.peak.is_empty()).then(|| Spread::of(turns.peak.clone())),
        share_of_peak: products
            .filter(|_| !turns.peak.is_empty())
            .map(|products| Spread::of(share(products))),
        turns: turns.run.len(),
        patches: of_one,
        multiply_adds,
        first_inference_ms,
        peak_memory_bytes: peak_memory_bytes(),
        slices: steps.read.len(),
        read_ms: Spread::of(steps.read),
        prepare_ms: Spread::of(steps.prepare),
        cut_ms: Spread::of(steps.cut),
        infer_ms: Spread::of(steps.infer),
        places: steps.places,
        different: steps.different,
        layers,
        model,
    })
}

impl Steps {
    /// What `triage` does of a series, with a clock between the steps.
    fn take(
        &mut self,
        model: &Model,
        engine: &mut dyn Engine,
        series: &Series,
        limits: &Limits,
    ) -> Result<(), Error> {
        let manifest = model.manifest();
        let (rows, columns) = (series.rows as usize, series.columns as usize);
        let grid = Grid::over(rows, columns, manifest.patch.size);
        let mut patches = Patches::new(grid, &manifest.patch.views);
        let (mut hu, mut scratch, mut logits) = (Vec::new(), Scratch::default(), Array2::zeros((0, 0)));
        let mut gray = Array2::zeros((rows, columns));
        // The slice before, the one whose turn it is, the one after.
        let mut held: VecDeque<Option<Pyramid>> = [None, None].into();
        let mut stream = SliceStream::new(series, limits);
        loop {
            let started = Instant::now();
            let next = stream
                .next_into(&mut hu)
                .transpose()
                .map_err(|error| Error::Refused { code: (&error).into(), detail: error.to_string() })?;
            if next.is_some() {
                self.read.push(milliseconds(started));
                let started = Instant::now();
                model.window().apply(&hu, gray.as_slice_mut().expect("planes are in standard layout"));
                manifest.preparation.steps.prepare(&mut gray, &mut scratch);
                held.push_back(Some(Pyramid::of(&gray)));
                self.prepare.push(milliseconds(started));
            } else {
                held.push_back(None);
            }
            if let [before, Some(this), after] = &*held.make_contiguous() {
                let started = Instant::now();
                patches.cut(Neighbourhood { before: before.as_ref(), this, after: after.as_ref() });
                self.cut.push(milliseconds(started));
                let started = Instant::now();
                engine.run(&patches, &mut logits)?;
                engine::check_finite(&logits)?;
                self.infer.push(milliseconds(started));
                self.keep(&patches);
            }
            held.pop_front();
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Counts a slice's patches, and keeps the first ones.
    fn keep(&mut self, patches: &Patches) {
        let length = patches.length();
        self.places += patches.places().len();
        self.different += patches.unique().len() / length;
        let room = (PATCHES * length).saturating_sub(self.patches.len());
        self.patches.extend_from_slice(&patches.unique()[..patches.unique().len().min(room)]);
    }
}

/// What the turns took.
#[derive(Default)]
struct Turns {
    /// Seconds until all threads are done.
    run: Vec<f64>,
    /// GMAC/s of the yardstick on as many threads, and on one. Empty where there is none.
    peak: Vec<f64>,
    peak_of_one: Vec<f64>,
    /// The layers' seconds, on one thread.
    layers: Vec<Vec<LayerTime>>,
}

fn turns(engines: &mut [Box<dyn Engine>], patches: &Patches, seconds: Duration) -> Result<Turns, Error> {
    let yardstick = Yardstick::of(&*engines[0]);
    let threads = engines.len();
    let mut turns = Turns::default();
    let mut logits = vec![Array2::zeros((0, 0)); threads];
    let mut run = |engines: &mut [Box<dyn Engine>]| -> Result<(), EngineError> {
        let jobs = engines.iter_mut().zip(&mut logits);
        together(jobs.map(|(engine, logits)| move || engine.run(patches, logits))).into_iter().collect()
    };
    // One that does not count: buffers and caches are as they will be.
    run(engines)?;
    let started = Instant::now();
    while turns.run.len() < FEWEST_TURNS || started.elapsed() < seconds {
        let since = Instant::now();
        run(engines)?;
        turns.run.push(since.elapsed().as_secs_f64());
        if let Some(yardstick) = &yardstick {
            turns.peak.push(yardstick.spin(threads));
            turns.peak_of_one.push(yardstick.spin(1));
        }
        turns.layers.extend(engines[0].profile(patches));
    }
    Ok(turns)
}

/// What the processor does on registers alone, in an engine's numbers and at its level.
struct Yardstick {
    /// [`Kernels::spin`].
    spin: Box<dyn Fn(u64) -> Option<u64> + Sync>,
    /// For [`SPIN`].
    steps: u64,
}

impl Yardstick {
    /// None where the level has none.
    fn of(engine: &dyn Engine) -> Option<Yardstick> {
        let kernels = engine.level().and_then(Kernels::of)?;
        let spin: Box<dyn Fn(u64) -> Option<u64> + Sync> = match engine.precision() {
            Precision::Int8 => Box::new(move |steps| kernels.spin(steps)),
            Precision::F32 => {
                let floats = kernels.floats()?;
                Box::new(move |steps| floats.spin(steps))
            }
        };
        let mut steps = 1000;
        loop {
            let since = Instant::now();
            spin(steps)?;
            if since.elapsed() >= SPIN {
                return Some(Yardstick { spin, steps });
            }
            steps *= 2;
        }
    }

    /// GMAC/s on so many threads.
    fn spin(&self, threads: usize) -> f64 {
        let since = Instant::now();
        let products = together((0..threads).map(|_| || (self.spin)(self.steps)));
        let products: u64 = products.into_iter().flatten().sum();
        products as f64 / since.elapsed().as_secs_f64() / 1e9
    }
}

/// Does all at once, the first on this thread, and waits.
fn together<T: Send, F: FnOnce() -> T + Send>(jobs: impl Iterator<Item = F>) -> Vec<T> {
    std::thread::scope(|scope| {
        let mut jobs = jobs;
        let own = jobs.next();
        let others: Vec<_> = jobs.map(|job| scope.spawn(job)).collect();
        let own = own.map(|job| job());
        let others = others.into_iter().map(|other| match other.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        own.into_iter().chain(others).collect()
    })
}

impl Turns {
    /// The layers at their median times; None where the engine has none to show.
    fn layers(&self, patches: f64) -> Option<Vec<Layer>> {
        let first = self.layers.first()?;
        let of = |at: usize| self.layers.iter().map(move |layers| layers[at].seconds);
        let medians: Vec<f64> = (0..first.len()).map(|at| Spread::of(of(at).collect()).median).collect();
        let total: f64 = medians.iter().sum();
        let layer = |(at, LayerTime { name, multiply_adds, .. }): (usize, &LayerTime)| {
            let products = *multiply_adds as f64 * patches / 1e9;
            let shares = of(at).zip(&self.peak_of_one).map(|(seconds, peak)| products / seconds / peak);
            let shares: Vec<f64> = shares.collect();
            Layer {
                name: name.clone(),
                multiply_adds: *multiply_adds,
                microseconds_per_patch: medians[at] / patches * 1e6,
                share_of_time: medians[at] / total,
                share_of_peak: (*multiply_adds > 0 && !shares.is_empty()).then(|| Spread::of(shares).median),
            }
        };
        Some(first.iter().enumerate().map(layer).collect())
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// A line's value of a file of `/proc`; None where there is no such line, or no such file.
fn of_proc(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

fn processor() -> Option<String> {
    of_proc("/proc/cpuinfo", "model name")
}

/// Lets the peak of memory begin anew, where Linux can do that: making a phantom takes more than judging it.
pub(super) fn forget_peak_memory() {
    // Elsewhere the figure has the phantom in it; docs/bench.md says so.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that this process had since it began, or since [`forget_peak_memory`].
fn peak_memory_bytes() -> Option<u64> {
    let kilobytes = of_proc("/proc/self/status", "VmHWM")?;
    kilobytes.split(' ').next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_made_of_values_that_were_seen() {
        let spread = Spread::of((0..=100).rev().map(f64::from).collect());
        assert_eq!(spread, Spread { median: 50.0, p10: 10.0, p90: 90.0 });
        assert_eq!(Spread::of(vec![7.0]), Spread { median: 7.0, p10: 7.0, p90: 7.0 });
    }
}
