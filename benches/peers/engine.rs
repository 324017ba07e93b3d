//! hemapatch's side of `make bench-peers`: stays in memory, answers lines, and does nothing between them.
//!
//! ```text
//! peers levels
//! peers cut MODEL OUT SERIES       the different patches of a series, or of one patient's PNGs in order, into a file
//! peers run MODEL PATCHES PRECISION THREADS [LEVEL]
//! peers equal MODEL SERIES
//! ```
//! The last two answer each `run` on their standard input with what it took in seconds, in JSON, and `logits FILE`
//! with the file.

use hemapatch::engine::{self, Engine, EngineError, EngineOptions, Precision};
use hemapatch::limits::Limits;
use hemapatch::model::Model;
use hemapatch::patch::{Grid, Neighbourhood, Patches, Pyramid};
use hemapatch::prep::Scratch;
use hemapatch::series;
use hemapatch::simd::Level;
use hemapatch::stream::SliceStream;
use ndarray::Array2;
use std::collections::HashSet;
use std::error::Error;
use std::io::BufRead;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["levels"] => println!("{}", serde_json::json!(levels())),
        ["cut", model, out, series @ ..] if !series.is_empty() => return cut(model, out, series),
        ["run", model, patches, precision, threads, level @ ..] => {
            return run(model, patches, precision, threads, level.first().copied());
        }
        ["equal", model, series] => return equal(model, series),
        // What `cargo bench` and `cargo test` do of themselves.
        _ => println!("a part of `make bench-peers`, which says what to run"),
    }
    Ok(())
}

/// All but the specification, which takes seconds.
fn levels() -> Vec<&'static str> {
    Level::available().into_iter().filter(|&level| level != Level::Scalar).map(Level::name).collect()
}

fn load(model: &Model, precision: &str, level: Option<&str>) -> Result<Box<dyn Engine>, Box<dyn Error>> {
    let precision = Precision::ALL.into_iter().find(|known| known.name() == precision);
    let level = level.map(|name| Level::from_name(name).ok_or("no such level")).transpose()?;
    let engine = engine::load(model, EngineOptions { precision, level })?;
    // Otherwise another engine would be measured than the table says.
    if let Some(note) = engine.note() {
        return Err(note.into());
    }
    Ok(engine)
}

/// Answers the lines of standard input until it ends.
fn serve(mut answer: impl FnMut(&str) -> Result<serde_json::Value, Box<dyn Error>>) -> Done {
    for line in std::io::stdin().lock().lines() {
        println!("{}", answer(line?.trim())?);
    }
    Ok(())
}

fn run(model: &str, patches: &str, precision: &str, threads: &str, level: Option<&str>) -> Done {
    let model = Model::open(Path::new(model))?;
    let patch = &model.manifest().patch;
    let (bytes, length) = (std::fs::read(patches)?, model.manifest().network.input.iter().product::<usize>());
    let count = bytes.len() / length;
    let threads: NonZeroUsize = threads.parse()?;
    let mut engines = engine::on_threads(load(&model, precision, level)?, threads)?;
    // Threads take parts as `triage` takes slices.
    let parts = engines.len();
    let part = |bytes: &[u8]| Patches::given(&patch.views, patch.size, bytes.into());
    let parts: Vec<Patches> = bytes.chunks(count.div_ceil(parts) * length).map(part).collect();
    run_parts(&mut engines, &parts, 1)?;
    println!(
        "{}",
        serde_json::json!({
            "engine": engines[0].name(),
            "level": engines[0].level().map(Level::name),
            "patches": count,
        })
    );
    serve(|line| match line.split_once(' ') {
        Some(("run", times)) => {
            let times: usize = times.parse()?;
            let started = Instant::now();
            run_parts(&mut engines, &parts, times)?;
            Ok(serde_json::json!({ "seconds": started.elapsed().as_secs_f64() / times as f64 }))
        }
        Some(("logits", path)) => {
            let (mut bytes, mut logits) = (Vec::new(), Array2::zeros((0, 0)));
            for (part, number) in parts.iter().zip((0..engines.len()).cycle()) {
                engines[number].run(part, &mut logits)?;
                bytes.extend(logits.iter().flat_map(|logit| logit.to_le_bytes()));
            }
            std::fs::write(path, bytes)?;
            Ok(serde_json::json!({ "logits": count }))
        }
        _ => Err("run TIMES or logits FILE".into()),
    })
}

/// Runs all parts so many times, each by the thread that is free.
fn run_parts(engines: &mut [Box<dyn Engine>], parts: &[Patches], times: usize) -> Done {
    let next = AtomicUsize::new(0);
    let turn = |engine: &mut Box<dyn Engine>| {
        let mut logits = Array2::zeros((0, 0));
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= parts.len() * times {
                return Ok(());
            }
            engine.run(&parts[number % parts.len()], &mut logits)?;
        }
    };
    let ended: Result<(), EngineError> = std::thread::scope(|scope| {
        let turn = &turn;
        let (own, others) = engines.split_first_mut().expect("one thread at least");
        let others: Vec<_> = others.iter_mut().map(|engine| scope.spawn(move || turn(engine))).collect();
        let own = turn(own);
        others.into_iter().map(|other| other.join().expect("no thread panics")).chain([own]).collect()
    });
    Ok(ended?)
}

/// Prepared slices in order.
fn slices(model: &Model, sources: &[&str]) -> Result<Vec<Pyramid>, Box<dyn Error>> {
    let steps = model.manifest().preparation.steps;
    let mut scratch = Scratch::default();
    let mut prepared = |mut gray: Array2<u8>| {
        steps.prepare(&mut gray, &mut scratch);
        Pyramid::of(&gray)
    };
    if sources[0].ends_with(".png") {
        let picture = |path: &&str| -> Result<Pyramid, Box<dyn Error>> {
            // PHE-SICH-CT-IDS keeps its slices turned to the left.
            let upright = image::imageops::rotate90(&image::open(path)?.to_luma8());
            let (columns, rows) = upright.dimensions();
            Ok(prepared(Array2::from_shape_vec((rows as usize, columns as usize), upright.into_raw())?))
        };
        return sources.iter().map(picture).collect();
    }
    let limits = Limits::default();
    let sources: Vec<PathBuf> = sources.iter().map(PathBuf::from).collect();
    let assembly = series::assemble(series::find(&sources, &limits), &limits);
    let study = assembly.studies.first().ok_or("no study")?;
    let series = series::choose(study, 3).map_err(|none| none.to_string())?.series;
    let shape = (series.rows as usize, series.columns as usize);
    let mut stream = SliceStream::new(series, &limits);
    let (mut hu, mut pyramids) = (Vec::new(), Vec::new());
    while let Some(slice) = stream.next_into(&mut hu) {
        slice?;
        let mut gray = Array2::zeros(shape);
        model.window().apply(&hu, gray.as_slice_mut().expect("standard layout"));
        pyramids.push(prepared(gray));
    }
    Ok(pyramids)
}

fn neighbourhood(slices: &[Pyramid], at: usize) -> Neighbourhood<'_> {
    let before = at.checked_sub(1).and_then(|before| slices.get(before));
    Neighbourhood { before, this: &slices[at], after: slices.get(at + 1) }
}

fn cut(model: &str, out: &str, sources: &[&str]) -> Done {
    let model = Model::open(Path::new(model))?;
    let patch = &model.manifest().patch;
    let slices = slices(&model, sources)?;
    let grid = Grid::over(slices[0].rows(), slices[0].columns(), patch.size);
    let mut patches = Patches::new(grid, &patch.views);
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    for at in 0..slices.len() {
        patches.cut(neighbourhood(&slices, at));
        for patch in patches.unique().chunks_exact(patches.length()) {
            // Those of two slices may be equal too.
            if seen.insert(patch.to_vec()) {
                all.extend_from_slice(patch);
            }
        }
    }
    let places = slices.len() * grid.patches();
    println!("{}", serde_json::json!({ "slices": slices.len(), "places": places, "patches": seen.len() }));
    Ok(std::fs::write(out, all)?)
}

/// A whole series slice by slice, as triage does it, and the same with every place of the grid through the network.
fn equal(model: &str, series: &str) -> Done {
    let model = Model::open(Path::new(model))?;
    let patch = &model.manifest().patch;
    let slices = slices(&model, &[series])?;
    let grid = Grid::over(slices[0].rows(), slices[0].columns(), patch.size);
    let mut engine = load(&model, "int8", None)?;
    let mut patches = Patches::new(grid, &patch.views);
    let (mut once, mut each) = (Array2::zeros((0, 0)), Array2::zeros((0, 0)));
    let mut whole = Vec::new();
    let mut different = 0;
    for at in 0..slices.len() {
        patches.cut(neighbourhood(&slices, at));
        let length = patches.length();
        different += patches.unique().len() / length;
        let of = |&place: &u32| &patches.unique()[place as usize * length..][..length];
        whole.push(Patches::given(
            &patch.views,
            patch.size,
            patches.places().iter().flat_map(of).copied().collect(),
        ));
    }
    println!(
        "{}",
        serde_json::json!({
            "slices": slices.len(),
            "places": slices.len() * grid.patches(),
            "patches": different,
        })
    );
    serve(|_| {
        let mut seconds = [0.0; 3];
        for (at, whole) in whole.iter().enumerate() {
            let started = Instant::now();
            patches.cut(neighbourhood(&slices, at));
            seconds[0] += started.elapsed().as_secs_f64();
            let started = Instant::now();
            engine.run(&patches, &mut once)?;
            seconds[1] += started.elapsed().as_secs_f64();
            let started = Instant::now();
            engine.run(whole, &mut each)?;
            seconds[2] += started.elapsed().as_secs_f64();
            // A benchmark is a test too.
            let same = patches.places().iter().zip(each.outer_iter()).all(|(&place, each)| {
                each.iter().zip(once.row(place as usize)).all(|(a, b)| (a - b).abs() <= 1e-4)
            });
            assert!(same, "a place has other logits when equal patches are run once");
        }
        Ok(serde_json::json!({ "cut": seconds[0], "once": seconds[1], "each": seconds[2] }))
    })
}
