//! The integer kernels of every level that this processor has, on the shapes of the shipped network.
//!
//! `cargo bench --bench kernels`. A speed alone says little about a kernel; beside each stands its share of what the
//! same instructions do on registers alone, both timed in turns in this process, so that a busy machine slows both.

use hemapatch::simd::{Kernels, Level, Position, Run, Shortcut, Source, Weights};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// One output position of a layer, for a batch.
struct Shape {
    name: &'static str,
    rows: usize,
    channels: usize,
    /// Live taps, and the levels of one.
    taps: usize,
    depth: usize,
    shortcut: bool,
    /// Layers of this shape in turns: with many, no layer's weights are near when it is called.
    layers: usize,
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "stem, 7 rows of 7 pixels x 5 views",
        rows: 64,
        channels: 64,
        taps: 7,
        depth: 36,
        shortcut: false,
        layers: 1,
    },
    Shape {
        name: "4x4 map, 9 taps x 64",
        rows: 64,
        channels: 64,
        taps: 9,
        depth: 64,
        shortcut: true,
        layers: 1,
    },
    Shape {
        name: "2x2 map, 4 taps x 128",
        rows: 64,
        channels: 128,
        taps: 4,
        depth: 128,
        shortcut: true,
        layers: 1,
    },
    Shape {
        name: "1x1 map, 1 tap x 256",
        rows: 64,
        channels: 256,
        taps: 1,
        depth: 256,
        shortcut: true,
        layers: 1,
    },
    Shape {
        name: "1x1 map, 1 tap x 512",
        rows: 64,
        channels: 512,
        taps: 1,
        depth: 512,
        shortcut: true,
        layers: 1,
    },
    Shape {
        name: "the same, 16 patches",
        rows: 16,
        channels: 512,
        taps: 1,
        depth: 512,
        shortcut: true,
        layers: 1,
    },
    Shape {
        name: "3x3 map, 9 taps x 512",
        rows: 64,
        channels: 64,
        taps: 9,
        depth: 512,
        shortcut: true,
        layers: 1,
    },
    Shape {
        name: "1x1 map, 1 tap x 512, 16 layers in turns",
        rows: 64,
        channels: 512,
        taps: 1,
        depth: 512,
        shortcut: true,
        layers: 16,
    },
    Shape { name: "head, 4 classes", rows: 64, channels: 4, taps: 1, depth: 512, shortcut: false, layers: 1 },
];

/// A position with its input, as the engine would call it: each tap's patches lie side by side.
struct Layer {
    position: Position,
    levels: Vec<u8>,
    steps: Vec<i16>,
    multipliers: Vec<f32>,
    out: Vec<u8>,
}

impl Layer {
    fn new(kernels: Kernels, shape: &Shape) -> Layer {
        let groups = shape.depth / 4;
        let weight =
            |channel: usize, group: usize| [0, 1, 2, 3].map(|i| (channel * 7 + group * 5 + i) as i8 | 1);
        let weights = Arc::new(Weights::pack(kernels, shape.channels, shape.taps * groups, weight));
        let runs: Vec<Run> = (0..shape.taps)
            .map(|tap| Run {
                source: 0,
                offset: (tap * shape.rows * shape.depth) as u32,
                weight: (tap * groups) as u32,
                groups: groups as u32,
            })
            .collect();
        Layer {
            position: Position::new(&weights, &vec![1000; shape.channels], &runs),
            levels: (0..shape.rows * shape.taps * shape.depth.max(shape.channels)).map(|i| i as u8).collect(),
            steps: vec![300; shape.channels],
            multipliers: vec![1e-3; shape.channels],
            out: vec![0; shape.rows * shape.channels],
        }
    }

    /// Products of a call.
    fn products(&self, shape: &Shape) -> f64 {
        (self.position.products() * shape.rows) as f64
    }

    fn call(&mut self, shape: &Shape) {
        let source = Source { levels: black_box(&self.levels), stride: shape.depth };
        let shortcut = shape.shortcut.then_some(Shortcut {
            levels: &self.levels,
            stride: shape.channels,
            steps: &self.steps,
        });
        self.position.levels(
            shape.rows,
            &[source],
            shortcut,
            &self.multipliers,
            black_box(&mut self.out),
            shape.channels,
        );
    }
}

fn main() {
    println!(
        "products of u8 and s8, medians of 301 turns; of the peak: products on registers alone in the same turn\n"
    );
    for shape in SHAPES {
        println!("{}: {} patches, {} channels", shape.name, shape.rows, shape.channels);
        let mut reference = Layer::new(Kernels::of(Level::Scalar).expect("always there"), shape);
        reference.call(shape);
        for level in Level::available() {
            let kernels = Kernels::of(level).expect("it is available");
            let mut layers: Vec<Layer> = (0..shape.layers).map(|_| Layer::new(kernels, shape)).collect();
            layers[0].call(shape);
            // A benchmark is a test too.
            assert_eq!(layers[0].out, reference.out, "level {level} differs");
            // A turn is well below a time slice: whole slices that go to other programs are the outliers, not the rule.
            let repeats = (4e6 / layers[0].products(shape)).ceil() as usize;
            let turns = if level == Level::Scalar { 3 } else { 301 };
            let (mut speeds, mut shares) = (Vec::new(), Vec::new());
            for turn in 0..turns {
                let layer = &mut layers[turn % shape.layers];
                let peak = per_ns(|| kernels.spin(10_000).unwrap_or(0) as f64);
                let speed = per_ns(|| {
                    (0..repeats).for_each(|_| layer.call(shape));
                    repeats as f64 * layer.products(shape)
                });
                speeds.push(speed);
                shares.push(speed / peak);
            }
            let share = median(&mut shares);
            let share = if share.is_finite() {
                format!("{:5.1} % of the peak", share * 100.0)
            } else {
                String::new()
            };
            println!("  {:12} {:7.2} GMAC/s {share}", level.name(), median(&mut speeds));
        }
    }
}

/// How many products a nanosecond `work` does; it returns how many it did.
fn per_ns(work: impl FnOnce() -> f64) -> f64 {
    let started = Instant::now();
    let products = work();
    products / started.elapsed().as_nanos() as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
