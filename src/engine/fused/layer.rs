//! One layer made ready for the kernels: packed weights, and for each place of its output what it reads.
//!
//! A row of the matrix product is a patch of the batch, and there is one product for each place of the output. So a
//! place reads just the taps that meet a pixel there, and nothing is ever copied to be convolved. Maps are
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
}

/// A block's input, where it is added to what its second convolution gives.
pub struct Identity<'a, N: Numbers> {
    pub levels: &'a [N::Level],
    pub steps: &'a [N::Step],
}

impl<N: Numbers> Layer<N> {
    /// The convolution of gray levels, in [`GrayRows`].
    pub fn stem(kernels: Kernels<N>, conv: &Convolution<N>, rows: GrayRows, batch: usize) -> Layer<N> {
        let [kernel_rows, kernel_columns] = conv.window.kernel;
        let views = conv.inputs;
        let groups = (kernel_columns * views).div_ceil(N::LEVELS);
        let weights = Weights::pack(kernels, conv.outputs(), kernel_rows * groups, |output, group| {
            let (row, first) = (group / groups, group % groups * N::LEVELS);
            // Behind a row's last pixel a group may reach into the next: nothing is taken from there.
            N::group(|at| match ((first + at) / views, (first + at) % views) {
                (column, view) if column < kernel_columns => conv.weight(output, view, [row, column]),
                _ => N::Weight::default(),
            })
        });
        let weights = Arc::new(weights);
        let position = |[row, column]: [usize; 2]| {
            // The padding beside a row is in the buffer, but groups that meet nothing else are left out.
            let live: Vec<usize> = conv.window.live_columns(column).map(|(tap, _)| tap).collect();
            let first = live.first().map_or(0, |tap| tap * views / N::LEVELS);
            let end = live.last().map_or(0, |tap| ((tap + 1) * views).div_ceil(N::LEVELS));
            let runs = conv.window.live_rows(row).map(|(tap, gray_row)| Run {
                source: 0,
                offset: narrow(rows.offset(gray_row, column * conv.window.stride[1]) + first * N::LEVELS),
                weight: narrow(tap * groups + first),
                groups: narrow(end - first),
            });
            Position::new(&weights, &conv.bias, &runs.collect::<Vec<_>>())
        };
        let positions = conv.window.places().map(position).collect();
        Layer { positions, multipliers: conv.multipliers.clone(), inputs: [rows.stride(); 2], batch }
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
        let positions = conv.window.places().map(position).collect();
        let inputs = [conv.inputs, more.map_or(0, |more| more.inputs)];
        Layer { positions, multipliers: conv.multipliers.clone(), inputs, batch }
    }

    /// Multiply-adds of one patch.
    pub fn products(&self) -> usize {
        self.positions.iter().map(Position::products).sum()
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
