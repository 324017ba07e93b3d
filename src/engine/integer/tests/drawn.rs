//! Networks drawn at random that keep the document's equations.

use crate::engine::drawn::{Drawn, Random, window, without_dead_taps};
use crate::engine::fused::Window;
use crate::engine::integer::description::{Block, Convolution, Description, Head, Shortcut};

/// Scale of a weight, give or take half of it.
const WEIGHT: f32 = 1e-3;

impl Drawn {
    pub(in crate::engine::integer) fn draw(&self, seed: u64) -> Description {
        let mut random = Random::new(seed);
        let width = self.widths[0];
        let way = window(7, 2, 3, [self.size; 2]);
        let stem = alone(&mut random, "stem", self.views, width, 1.0, way);
        let stem_scale = after(&stem);
        let pool = window(3, 2, 1, stem.window.output);
        let (mut maps, mut channels, mut scale) = (pool.output, width, stem_scale);
        let mut blocks = Vec::new();
        for (at, &width) in self.widths.iter().enumerate() {
            let halved = width != channels;
            let name = |part: &str| format!("block{at}_{part}");
            let way = without_dead_taps(if halved { 2 } else { 1 }, maps);
            let first = alone(&mut random, &name("first"), channels, width, scale, way);
            let hidden = after(&first);
            let way = without_dead_taps(1, first.window.output);
            let mut second = alone(&mut random, &name("second"), width, width, hidden, way);
            let shortcut = if halved {
                let way = window(1, 2, 0, maps);
                let mut shortcut = alone(&mut random, &name("shortcut"), channels, width, scale, way);
                // (8): both count in the steps of the second.
                let steps = steps(hidden, &second.scales);
                let scales = steps.iter().map(|step| (step / f64::from(scale)) as f32).collect();
                in_scales(&mut shortcut, scales);
                Shortcut::Convolution(Box::new(shortcut))
            } else {
                // (7): a level of the shortcut is a whole number of steps.
                let of_channel = |_| {
                    let factor = f64::from(random.below(900) as u32 + 1);
                    ((f64::from(scale) / factor) / f64::from(hidden)) as f32
                };
                let scales = (0..width).map(of_channel).collect();
                in_scales(&mut second, scales);
                Shortcut::Identity
            };
            let output_scale = after(&second);
            (maps, channels, scale) = (second.window.output, width, output_scale);
            blocks.push(Block { first, second, shortcut, output_scale });
        }
        let scales: Vec<f32> = (0..self.outputs).map(|_| random.between(0.5, 1.5) * WEIGHT).collect();
        let places = maps[0] * maps[1];
        let head = Head {
            weights: weights(&mut random, self.outputs * channels),
            bias: (0..self.outputs).map(|_| random.below(20_000) as i32 - 10_000).collect(),
            bias_steps: scales.iter().map(|weight| scale * weight / places as f32).collect(),
            scales,
            channels,
            places,
            input_scale: scale,
        };
        Description { input: [self.views, self.size, self.size], stem, stem_scale, pool, blocks, head }
    }
}

fn alone(
    random: &mut Random,
    name: &str,
    inputs: usize,
    outputs: usize,
    input_scale: f32,
    window: Window,
) -> Convolution {
    let mut conv = Convolution {
        name: name.into(),
        weights: weights(random, outputs * inputs * window.kernel[0] * window.kernel[1]),
        scales: Vec::new(),
        bias: (0..outputs).map(|_| random.below(100_000) as i32 - 30_000).collect(),
        bias_steps: Vec::new(),
        inputs,
        input_scale,
        window,
    };
    in_scales(&mut conv, (0..outputs).map(|_| random.between(0.5, 1.5) * WEIGHT).collect());
    conv
}

/// -127 to 127, both now and then.
fn weights(random: &mut Random, count: usize) -> Vec<i8> {
    (0..count).map(|_| (random.below(255) as i16 - 127) as i8).collect()
}

fn in_scales(conv: &mut Convolution, scales: Vec<f32>) {
    conv.bias_steps = scales.iter().map(|scale| conv.input_scale * scale).collect();
    conv.scales = scales;
}

fn steps(input: f32, weights: &[f32]) -> Vec<f64> {
    weights.iter().map(|&weight| f64::from(input) * f64::from(weight)).collect()
}

/// A scale for the levels behind a convolution that neither cuts off most of them nor leaves a few: 255 of it are
/// some four times the spread of sums of so many random products.
fn after(conv: &Convolution) -> f32 {
    let products = conv.weights.len() as f32 / conv.scales.len() as f32;
    let step = conv.bias_steps.iter().sum::<f32>() / conv.scales.len() as f32;
    4.0 / 255.0 * step * products.sqrt() * 73.0 * 147.0
}
