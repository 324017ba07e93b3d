//! The specification: what every other level computes, as plain loops. What one number does with another is in
//! `numbers.rs`.

use super::job::{Job, Output};
use super::numbers::Numbers;
use super::position::{Position, Source};

pub(super) fn run<N: Numbers>(job: Job<'_, N>) {
    let Job { positions, rows, sources, mut output } = job;
    for (place, position) in positions.iter().enumerate() {
        run_position(position, rows, &sources, output.of_place(place));
    }
}

fn run_position<N: Numbers>(
    position: &Position<N>,
    rows: usize,
    sources: &[Source<'_, N::Level>; 2],
    mut output: Output<'_, N>,
) {
    for row in 0..rows {
        for channel in 0..position.weights().channels() {
            let mut sum = position.bias()[channel];
            for run in position.runs() {
                let source = sources[usize::from(run.source)];
                let levels = &source.levels[row * source.stride + run.offset as usize..];
                for (group, levels) in levels.chunks_exact(N::LEVELS).take(run.groups as usize).enumerate() {
                    sum = N::dot(sum, levels, position.weights().at(channel, run.weight as usize + group));
                }
            }
            output.write(row, channel, &[sum]);
        }
    }
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
