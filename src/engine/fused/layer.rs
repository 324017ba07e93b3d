//! One layer made ready for the kernels: packed weights, and for each place of its output what it reads.
//!
//! A row of the matrix product is a patch of the batch, and there is one product for each place of the output. So a
//! place reads just the taps that meet a pixel there, and nothing but gray levels is ever copied to be convolved. Maps are
//! `[place][patch][channel]`: what one product reads of a tap, and what it writes, lies side by side.

use super::gray::GrayRows;
use super::plan::{Convolution, Head};
use super::taps::{Taps, joined, narrow};
use crate::simd::{Kernels, Numbers, Position, Run, Shortcut, Source, Strides, Weights};
use std::sync::Arc;

/// A convolution, with what is added in its accumulator, and the activation behind it.
#[derive(Debug)]
pub struct Layer<N: Numbers> {
    positions: Vec<Position<N>>,
    multipliers: Vec<N::Multiplier>,
    /// Levels of a patch's row of either input.
    inputs: [usize; 2],
    batch: usize,
    products: usize,
}

/// A block's input, where it is added to what its second convolution gives.
pub struct Identity<'a, N: Numbers> {
    pub levels: &'a [N::Level],
    pub steps: &'a [N::Step],
}

impl<N: Numbers> Layer<N> {
    /// The convolution of gray levels, in [`GrayRows`].
    pub fn stem(kernels: Kernels<N>, conv: &Convolution<N>, rows: GrayRows, batch: usize) -> Layer<N> {
        let (views, window) = (conv.inputs, conv.window);
        // What is multiplied at once, in levels.
        let step = kernels.at_once() * N::LEVELS;
        // Levels of a row, filled up to whole steps unless the next row follows.
        let width = window.kernel[1] * views;
        let width = if rows.cut { width } else { width.next_multiple_of(step) };
        let steps = (window.kernel[0] * width).div_ceil(step);
        let tap = |level: usize| [level / width, level % width / views];
        let weights = Weights::pack(kernels, conv.outputs(), steps * kernels.at_once(), |output, group| {
            N::group(|at| {
                let level = group * N::LEVELS + at;
                let [row, column] = tap(level);
                let is_there = row < window.kernel[0] && column < window.kernel[1];
                if is_there {
                    conv.weight(output, level % width % views, [row, column])
                } else {
                    N::Weight::default()
                }
            })
        });
        let weights = Arc::new(weights);
        let position = |place: [usize; 2]| {
            let rows_live: Vec<usize> = window.live_rows(place[0]).map(|(tap, _)| tap).collect();
            let columns_live: Vec<usize> = window.live_columns(place[1]).map(|(tap, _)| tap).collect();
            let is_live = |level: usize| {
                let [row, column] = tap(level);
                rows_live.contains(&row) && columns_live.contains(&column)
            };
            // There may be padding in the buffer, but steps that meet nothing else are left out.
            let firsts = (0..steps).map(|at| at * step).filter(|&at| (at..at + step).any(is_live));
            let runs = firsts.map(|first| Run {
                source: 0,
                offset: narrow(rows.offset(place, first / width) + first % width),
                weight: narrow(first / N::LEVELS),
                groups: narrow(kernels.at_once()),
            });
            Position::new(&weights, &conv.bias, &joined::<N>(&runs.collect::<Vec<_>>()))
        };
        let positions = conv.window.places().map(position).collect();
        // Those of live taps: how many zeros are multiplied beside them is the level's affair.
        let live_taps =
            |[row, column]: [usize; 2]| window.live_rows(row).count() * window.live_columns(column).count();
        let products = window.places().map(live_taps).sum::<usize>() * views * conv.outputs();
        let multipliers = conv.multipliers.clone();
        Layer { positions, multipliers, inputs: [rows.stride(); 2], batch, products }
    }

    /// A convolution of maps of `batch` patches; `more` is one of other maps that is added in its accumulator.
    ///
    /// # Source
    /// docs/quantization.md (8): to an engine it is some more taps of the same matrix product.
    pub fn convolution(
        kernels: Kernels<N>,
        conv: &Convolution<N>,
        more: Option<&Convolution<N>>,
        batch: usize,
    ) -> Layer<N> {
        let parts: Vec<Taps<'_, N>> = [Some(conv), more].into_iter().flatten().map(Taps::live).collect();
        let own_groups = parts[0].groups();
        let groups = parts.iter().map(Taps::groups).sum();
        let weights = Weights::pack(kernels, conv.outputs(), groups, |output, group| {
            let part = usize::from(group >= own_groups);
            parts[part].weights(output, group - part * own_groups)
        });
        let weights = Arc::new(weights);
        let mut bias = conv.bias.clone();
        for (bias, more) in bias.iter_mut().zip(more.iter().flat_map(|more| &more.bias)) {
            *bias += *more;
        }
        let position = |place: [usize; 2]| {
            let of_part =
                |(part, taps): (usize, &Taps<'_, N>)| taps.runs(place, part, batch, part * own_groups);
            let runs: Vec<Run> = parts.iter().enumerate().flat_map(of_part).collect();
            Position::new(&weights, &bias, &joined::<N>(&runs))
        };
        let positions: Vec<Position<N>> = conv.window.places().map(position).collect();
        let inputs = [conv.inputs, more.map_or(0, |more| more.inputs)];
        let products = positions.iter().map(Position::products).sum();
        Layer { positions, multipliers: conv.multipliers.clone(), inputs, batch, products }
    }

    /// Multiply-adds of one patch.
    pub fn products(&self) -> usize {
        self.products
    }

    /// Output channels.
    pub fn channels(&self) -> usize {
        self.multipliers.len()
    }

    /// Levels of one patch's output.
    pub fn size(&self) -> usize {
        self.positions.len() * self.channels()
    }

    /// Computes the output of `rows` patches.
    ///
    /// # Shape
    /// Inputs are `[place][batch][channel]`, but for the stem's, which is laid out as [`GrayRows`] says; `output` becomes
    /// `[place][batch][channel]`.
    pub fn run(
        &self,
        rows: usize,
        inputs: &[&[N::Level]],
        shortcut: Option<Identity<'_, N>>,
        output: &mut [N::Level],
    ) {
        let channels = self.channels();
        let source = |(&levels, stride)| Source { levels, stride };
        let sources: Vec<Source<'_, N::Level>> = inputs.iter().zip(self.inputs).map(source).collect();
        let shortcut =
            shortcut.map(|Identity { levels, steps }| Shortcut { levels, stride: channels, steps });
        let strides = Strides { row: channels, place: self.batch * channels };
        let multipliers = &self.multipliers;
        Position::map_levels(&self.positions, rows, &sources, shortcut, multipliers, output, strides);
    }
}

/// The fully connected layer on the mean of the last maps.
#[derive(Debug)]
pub struct HeadLayer<N: Numbers> {
    position: Position<N>,
    multipliers: Vec<N::Multiplier>,
    channels: usize,
}

impl<N: Numbers> HeadLayer<N> {
    /// The sum over places is moved behind the weights: each place is one more run over them.
    pub fn new(kernels: Kernels<N>, head: &Head<N>, batch: usize) -> HeadLayer<N> {
        let groups = head.channels / N::LEVELS;
        let weights = Weights::pack(kernels, head.bias.len(), groups, |output, group| {
            let first = output * head.channels + group * N::LEVELS;
            N::group(|at| head.weights[first + at])
        });
        let run = |place: usize| Run {
            source: 0,
            offset: narrow(place * batch * head.channels),
            weight: 0,
            groups: narrow(groups),
        };
        let runs: Vec<Run> = (0..head.places).map(run).collect();
        let position = Position::new(&Arc::new(weights), &head.bias, &runs);
        HeadLayer { position, multipliers: head.multipliers.clone(), channels: head.channels }
    }

    /// Multiply-adds of one patch.
    pub fn products(&self) -> usize {
        self.position.products()
    }

    /// Outputs of a patch.
    pub fn outputs(&self) -> usize {
        self.multipliers.len()
    }

    /// Logits of `rows` patches; `sums` are their accumulators.
    pub fn run(&self, rows: usize, input: &[N::Level], sums: &mut [N::Sum], logits: &mut [f32]) {
        let outputs = self.outputs();
        let input = Source { levels: input, stride: self.channels };
        self.position.sums(rows, &[input], sums, outputs);
        for (logits, sums) in logits.chunks_exact_mut(outputs).zip(sums.chunks_exact(outputs)) {
            for ((logit, &sum), &multiplier) in logits.iter_mut().zip(sums).zip(&self.multipliers) {
                *logit = N::real(sum, multiplier);
            }
        }
    }
}
