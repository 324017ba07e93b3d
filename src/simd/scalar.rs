//! The specification: what every other level computes, as plain loops.

use super::job::{Job, Output};
use super::position::{Position, Shortcut, Source};
use super::weights::GROUP;

pub(super) fn run(job: Job<'_>) {
    let Job { positions, rows, sources, mut output } = job;
    for (place, position) in positions.iter().enumerate() {
        run_position(position, rows, &sources, output.of_place(place));
    }
}

fn run_position(position: &Position, rows: usize, sources: &[Source<'_>; 2], output: Output<'_>) {
    let channels = position.weights().channels();
    // What wraps, wraps the same at every level; `docs/quantization.md` (10) says that no network comes near.
    let accumulator = |row: usize, channel: usize| {
        let mut sum = position.bias()[channel];
        for run in position.runs() {
            let source = sources[usize::from(run.source)];
            let levels = &source.levels[row * source.stride + run.offset as usize..];
            for (group, levels) in levels.chunks_exact(GROUP).take(run.groups as usize).enumerate() {
                let weights = position.weights().at(channel, run.weight as usize + group);
                for (&level, weight) in levels.iter().zip(weights) {
                    sum = sum.wrapping_add(i32::from(level) * i32::from(weight));
                }
            }
        }
        sum
    };
    match output {
        Output::Levels { shortcut, multipliers, out, stride } => {
            for row in 0..rows {
                for channel in 0..channels {
                    let shortcut = shortcut.map_or(0, |shortcut| shortcut_steps(&shortcut, row, channel));
                    let sum = accumulator(row, channel).wrapping_add(shortcut);
                    out[row * stride + channel] = requantize(sum, multipliers[channel]);
                }
            }
        }
        Output::Sums { out, stride, .. } => {
            for row in 0..rows {
                for channel in 0..channels {
                    out[row * stride + channel] = accumulator(row, channel);
                }
            }
        }
    }
}

/// What an identity shortcut adds to an accumulator.
///
/// # Source
/// `docs/quantization.md` (7): n\[c\] x_q.
pub(super) fn shortcut_steps(shortcut: &Shortcut<'_>, row: usize, channel: usize) -> i32 {
    i32::from(shortcut.steps[channel]) * i32::from(shortcut.levels[row * shortcut.stride + channel])
}

/// An accumulator as the next layer's level.
///
/// Cut off before it is rounded: the other way round, processors differ in what becomes of a number beyond i32.
///
/// # Source
/// `docs/quantization.md` (5).
pub(super) fn requantize(sum: i32, multiplier: f32) -> u8 {
    (sum as f32 * multiplier).clamp(0.0, 255.0).round_ties_even() as u8
}
