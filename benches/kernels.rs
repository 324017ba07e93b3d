//! The kernels of every level that this processor has, in integers and in floats, on the shapes of the shipped network.
//!
//! `cargo bench --bench kernels`. A speed alone says little about a kernel; beside each stands its share of what the
//! same instructions do on registers alone, both timed in turns in this process, so that a busy machine slows both.

use hemapatch::simd::{
    Floats, Integers, Kernels, Level, Numbers, One, Position, Run, Shortcut, Source, Weights,
};
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

/// What a layer of an arithmetic is made of here.
trait Bench: Numbers {
    const NAME: &str;

    fn kernels(level: Level) -> Option<Kernels<Self>>;
    fn spin(kernels: Kernels<Self>, steps: u64) -> Option<u64>;
    fn level(number: usize) -> Self::Level;
    fn weight(number: usize) -> Self::Weight;
    fn bias() -> Self::Sum;
    fn step() -> Self::Step;
    fn multiplier() -> Self::Multiplier;
}

impl Bench for Integers {
    const NAME: &str = "u8 and s8";

    fn kernels(level: Level) -> Option<Kernels> {
        Kernels::of(level)
    }

    fn spin(kernels: Kernels, steps: u64) -> Option<u64> {
        kernels.spin(steps)
    }

    fn level(number: usize) -> u8 {
        number as u8
    }

    fn weight(number: usize) -> i8 {
        number as i8 | 1
    }

    fn bias() -> i32 {
        1000
    }

    fn step() -> i16 {
        300
    }

    fn multiplier() -> f32 {
        1e-3
    }
}

impl Bench for Floats {
    const NAME: &str = "f32";

    fn kernels(level: Level) -> Option<Kernels<Floats>> {
        // Levels that differ in integers alone are measured once.
        Kernels::of(level).and_then(Kernels::floats).filter(|kernels| kernels.level() == level)
    }

    fn spin(kernels: Kernels<Floats>, steps: u64) -> Option<u64> {
        kernels.spin(steps)
    }

    fn level(number: usize) -> f32 {
        f32::from(number as u8) / 100.0
    }

    fn weight(number: usize) -> f32 {
        f32::from(number as i8 | 1) / 100.0
    }

    fn bias() -> f32 {
        0.5
    }

    fn step() -> One {
        One
    }

    fn multiplier() -> One {
        One
    }
}

/// A position with its input, as the engine would call it: each tap's patches lie side by side.
struct Layer<N: Numbers> {
    position: Position<N>,
    levels: Vec<N::Level>,
    steps: Vec<N::Step>,
    multipliers: Vec<N::Multiplier>,
    out: Vec<N::Level>,
}

impl<N: Bench> Layer<N> {
    fn new(kernels: Kernels<N>, shape: &Shape) -> Layer<N> {
        let groups = shape.depth / N::LEVELS;
        let weight = |channel: usize, group: usize| N::group(|i| N::weight(channel * 7 + group * 5 + i));
        let weights = Arc::new(Weights::pack(kernels, shape.channels, shape.taps * groups, weight));
        let runs: Vec<Run> = (0..shape.taps)
            .map(|tap| Run {
                source: 0,
                offset: (tap * shape.rows * shape.depth) as u32,
                weight: (tap * groups) as u32,
                groups: groups as u32,
            })
            .collect();
        let levels = shape.rows * shape.taps * shape.depth.max(shape.channels);
        Layer {
            position: Position::new(&weights, &vec![N::bias(); shape.channels], &runs),
            levels: (0..levels).map(N::level).collect(),
            steps: vec![N::step(); shape.channels],
            multipliers: vec![N::multiplier(); shape.channels],
            out: vec![N::Level::default(); shape.rows * shape.channels],
        }
    }

    /// Products of a call.
    fn products(&self, shape: &Shape) -> f64 {
        (self.position.products() * shape.rows) as f64
    }

    fn call(&mut self, shape: &Shape) {
        let source = Source { levels: black_box(&self.levels[..]), stride: shape.depth };
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
    println!("medians of 301 turns; of the peak: products on registers alone in the same turn");
    measure::<Integers>();
    measure::<Floats>();
}

fn measure<N: Bench>() {
    println!("\nproducts of {}\n", N::NAME);
    for shape in SHAPES {
        println!("{}: {} patches, {} channels", shape.name, shape.rows, shape.channels);
        let mut reference = Layer::<N>::new(N::kernels(Level::Scalar).expect("always there"), shape);
        reference.call(shape);
        for kernels in Level::available().into_iter().filter_map(N::kernels) {
            let level = kernels.level();
            let mut layers: Vec<Layer<N>> = (0..shape.layers).map(|_| Layer::new(kernels, shape)).collect();
            layers[0].call(shape);
            // A benchmark is a test too.
            assert!(layers[0].out == reference.out, "level {level} differs");
            // A turn is well below a time slice: whole slices that go to other programs are the outliers, not the rule.
            let repeats = (4e6 / layers[0].products(shape)).ceil() as usize;
            let turns = if level == Level::Scalar { 3 } else { 301 };
            let (mut speeds, mut shares) = (Vec::new(), Vec::new());
            for turn in 0..turns {
                let layer = &mut layers[turn % shape.layers];
                let peak = per_ns(|| N::spin(kernels, 10_000).unwrap_or(0) as f64);
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
