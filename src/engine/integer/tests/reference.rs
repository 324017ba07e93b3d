//! `docs/quantization.md` (4), (5) and (7) to (9) as they stand there: loops over all taps, padding and all.

use crate::engine::fused::Window;
use crate::engine::integer::description::{Convolution, Description, Shortcut};

/// Levels of one patch, `[channels][rows][columns]`.
struct Maps {
    levels: Vec<u8>,
    extents: [usize; 2],
    scale: f32,
}

impl Maps {
    /// 0 in the padding.
    fn at(&self, channel: usize, row: isize, column: isize) -> i32 {
        let inside = |at: isize, extent: usize| usize::try_from(at).ok().filter(|&at| at < extent);
        match (inside(row, self.extents[0]), inside(column, self.extents[1])) {
            (Some(row), Some(column)) => {
                self.levels[(channel * self.extents[0] + row) * self.extents[1] + column].into()
            }
            _ => 0,
        }
    }
}

pub fn reference_logits(network: &Description, patches: &[u8]) -> Vec<f32> {
    let [views, rows, columns] = network.input;
    let logits = |patch: &[u8]| {
        let gray = Maps { levels: patch.to_vec(), extents: [rows, columns], scale: 1.0 };
        let stem = requantized(&sums(&network.stem, &gray), &network.stem, network.stem_scale);
        let mut maps = pooled(&stem, network.pool);
        for block in &network.blocks {
            let hidden = requantized(&sums(&block.first, &maps), &block.first, block.second.input_scale);
            let mut accumulators = sums(&block.second, &hidden);
            match &block.shortcut {
                Shortcut::Convolution(convolution) => {
                    let more = sums(convolution, &maps);
                    accumulators.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                }
                Shortcut::Identity => {
                    let places = accumulators.len() / block.second.scales.len();
                    for (at, (sum, &level)) in accumulators.iter_mut().zip(&maps.levels).enumerate() {
                        let step = f64::from(hidden.scale) * f64::from(block.second.scales[at / places]);
                        *sum += (f64::from(maps.scale) / step).round_ties_even() as i32 * i32::from(level);
                    }
                }
            }
            maps = requantized(&accumulators, &block.second, block.output_scale);
        }
        head(network, &maps)
    };
    patches.chunks(views * rows * columns).flat_map(logits).collect()
}

/// A, `[channels][rows][columns]`.
fn sums(conv: &Convolution, maps: &Maps) -> Vec<i32> {
    let Window { kernel, stride, before, .. } = conv.window;
    let mut sums = Vec::new();
    for output in 0..conv.scales.len() {
        for [row, column] in conv.window.places() {
            let mut sum = conv.bias[output];
            for input in 0..conv.inputs {
                for tap_row in 0..kernel[0] {
                    for tap_column in 0..kernel[1] {
                        let y = (row * stride[0] + tap_row) as isize - before[0] as isize;
                        let x = (column * stride[1] + tap_column) as isize - before[1] as isize;
                        let tap = tap_row * kernel[1] + tap_column;
                        let weight = (output * conv.inputs + input) * kernel[0] * kernel[1] + tap;
                        let weight = i32::from(conv.weights[weight]);
                        sum += weight * maps.at(input, y, x);
                    }
                }
            }
            sums.push(sum);
        }
    }
    sums
}

/// (4) and (5).
fn requantized(sums: &[i32], conv: &Convolution, scale: f32) -> Maps {
    let places = sums.len() / conv.scales.len();
    let level = |(at, &sum): (usize, &i32)| {
        let multiplier = conv.input_scale * conv.scales[at / places] / scale;
        (sum as f32 * multiplier).round_ties_even().clamp(0.0, 255.0) as u8
    };
    let levels = sums.iter().enumerate().map(level).collect();
    Maps { levels, extents: conv.window.output, scale }
}

fn pooled(maps: &Maps, window: Window) -> Maps {
    let channels = maps.levels.len() / (maps.extents[0] * maps.extents[1]);
    let mut levels = Vec::new();
    for channel in 0..channels {
        for [row, column] in window.places() {
            let mut largest = 0;
            for tap_row in 0..window.kernel[0] {
                for tap_column in 0..window.kernel[1] {
                    let y = (row * window.stride[0] + tap_row) as isize - window.before[0] as isize;
                    let x = (column * window.stride[1] + tap_column) as isize - window.before[1] as isize;
                    largest = largest.max(maps.at(channel, y, x));
                }
            }
            levels.push(largest as u8);
        }
    }
    Maps { levels, extents: window.output, scale: maps.scale }
}

/// (9).
fn head(network: &Description, maps: &Maps) -> Vec<f32> {
    let head = &network.head;
    let features: Vec<i32> = maps
        .levels
        .chunks(head.places)
        .map(|levels| levels.iter().map(|&level| i32::from(level)).sum())
        .collect();
    let logit = |(output, weights): (usize, &[i8])| {
        let products = weights.iter().zip(&features).map(|(&weight, feature)| i32::from(weight) * feature);
        let sum = head.bias[output] + products.sum::<i32>();
        sum as f32 * (head.input_scale * head.scales[output] / head.places as f32)
    };
    head.weights.chunks(features.len()).enumerate().map(logit).collect()
}
