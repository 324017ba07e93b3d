//! The shipped network in integers beside the same in f32: patches a second on one thread.
//!
//! `cargo bench --bench network`. The ratio is printed first: both run in turns in this process, so that a busy machine
//! slows both. `hemapatch bench` tells how near either is to what the processor could do.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use hemapatch::engine::{self, Engine, EngineOptions, Precision};
use hemapatch::model::Model;
use hemapatch::patch::{Grid, Neighbourhood, Patches, Pyramid};
use hemapatch::phantom::{Phantom, Spec};
use hemapatch::prep::Scratch;
use hemapatch::simd::{Kernels, Level};
use ndarray::Array2;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Instant;

static MODEL: LazyLock<Model> =
    LazyLock::new(|| Model::open(Path::new("models/ich16")).expect("the shipped model is whole"));

/// The different patches of a middle slice of a synthetic head.
static PATCHES: LazyLock<Patches> = LazyLock::new(|| {
    let manifest = MODEL.manifest();
    let phantom = Phantom::new(&Spec::demo(1)).expect("a valid spec");
    let [below, this, above] = [13, 14, 15].map(|index| {
        let hu = phantom.slice(index).hu;
        let mut gray = Array2::zeros(hu.dim());
        let flat = gray.as_slice_mut().expect("planes are in standard layout");
        MODEL.window().apply(hu.as_slice().expect("planes are in standard layout"), flat);
        manifest.preparation.steps.prepare(&mut gray, &mut Scratch::default());
        Pyramid::of(&gray)
    });
    let grid = Grid::over(this.rows(), this.columns(), manifest.patch.size);
    let mut patches = Patches::new(grid, &manifest.patch.views);
    patches.cut(Neighbourhood { before: Some(&below), this: &this, after: Some(&above) });
    patches
});

fn engine(precision: Precision, level: Option<Level>) -> Box<dyn Engine> {
    engine::load(&MODEL, EngineOptions { precision: Some(precision), level })
        .expect("the shipped model loads")
}

fn count() -> usize {
    PATCHES.unique().len() / PATCHES.length()
}

fn main() {
    ratio();
    println!();
    divan::main();
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn ratio() {
    let mut engines = [engine(Precision::Int8, None), engine(Precision::F32, None)];
    let mut seconds = [Vec::new(), Vec::new()];
    let mut logits = Array2::zeros((0, 0));
    for _ in 0..31 {
        for (engine, seconds) in engines.iter_mut().zip(&mut seconds) {
            let started = Instant::now();
            engine.run(black_box(&PATCHES), &mut logits).expect("the shipped network runs");
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    let mut ratios: Vec<f64> = seconds[1].iter().zip(&seconds[0]).map(|(f32, int8)| f32 / int8).collect();
    for (engine, seconds) in engines.iter().zip(&mut seconds) {
        let (name, level) = (engine.name(), engine.level().map_or("none", Level::name));
        println!("{name} ({level}): {:.0} patches/s", count() as f64 / median(seconds));
    }
    let ratio = median(&mut ratios);
    println!(
        "integers {ratio:.1}x ({:.1} to {:.1}) as fast, median and 10th to 90th percentile of 31 turns",
        ratios[3], ratios[27]
    );
}

/// All but the scalar level, which is the specification and takes seconds.
fn levels() -> impl Iterator<Item = &'static str> {
    Level::available().into_iter().filter(|&level| level != Level::Scalar).map(Level::name)
}

/// Those that have floats of their own.
fn levels_of_floats() -> impl Iterator<Item = &'static str> {
    let floats = |name| Kernels::of(Level::from_name(name)?)?.floats();
    levels().filter(move |name| floats(name).is_some_and(|kernels| kernels.level().name() == *name))
}

#[divan::bench(args = levels(), sample_count = 30)]
fn in_integers(bencher: Bencher, level: &str) {
    bench(bencher, engine(Precision::Int8, Level::from_name(level)));
}

#[divan::bench(args = levels_of_floats(), sample_count = 30)]
fn in_floating_point(bencher: Bencher, level: &str) {
    bench(bencher, engine(Precision::F32, Level::from_name(level)));
}

fn bench(bencher: Bencher, mut engine: Box<dyn Engine>) {
    let mut logits = Array2::zeros((0, 0));
    bencher.counter(ItemsCount::new(count())).bench_local(|| engine.run(black_box(&PATCHES), &mut logits));
}
