//! One layer made ready for the kernels: packed weights, and for each place of its output what it reads.
//!
//! A row of the matrix product is a patch of the batch, and there is one product for each place of the output. So a
//! place reads just the taps that meet a pixel there, maps stay in the order rows, columns, channels, and nothing is
//! ever copied to be convolved.

use super::description::{Convolution, Head, Window};
use super::equations;
use crate::simd::{Kernels, Position, Run, Shortcut, Source, Weights};
use std::sync::Arc;

/// Levels that one instruction multiplies with as many weights.
const GROUP: usize = 4;

/// A convolution, with what is added in its accumulator, and the requantization behind it.
#[derive(Debug)]
pub(super) struct Layer {
    positions: Vec<Position>,
    /// (4).
    multipliers: Vec<f32>,
}

/// Maps of a batch: patch after patch, each `[rows][columns][channels]`.
#[derive(Clone, Copy)]
pub(super) struct Maps<'a> {
    pub levels: &'a [u8],
    /// Bytes of a patch.
    pub stride: usize,
}

impl Maps<'_> {
    fn source(&self) -> Source<'_> {
        Source { levels: self.levels, stride: self.stride }
    }
}

impl Layer {
    /// The convolution of gray levels, in [`GrayRows`].
    pub fn stem(kernels: Kernels, conv: &Convolution, rows: GrayRows, output_scale: f32) -> Layer {
        let [kernel_rows, kernel_columns] = conv.window.kernel;
        let views = conv.inputs;
        let groups = (kernel_columns * views).div_ceil(GROUP);
        let weights = Weights::pack(kernels, conv.outputs(), kernel_rows * groups, |output, group| {
            let (row, first) = (group / groups, group % groups * GROUP);
            // Behind a row's last pixel a group may reach into the next: nothing is taken from there.
            [0, 1, 2, 3].map(|at| match ((first + at) / views, (first + at) % views) {
                (column, view) if column < kernel_columns => conv.weight(output, view, [row, column]),
                _ => 0,
            })
        });
        let weights = Arc::new(weights);
        let position = |[row, column]: [usize; 2]| {
            // The padding beside a row is in the buffer, but groups that meet nothing else are left out.
            let live: Vec<usize> = conv.window.live_columns(column).map(|(tap, _)| tap).collect();
            let first = live.first().map_or(0, |tap| tap * views / GROUP);
            let end = live.last().map_or(0, |tap| ((tap + 1) * views).div_ceil(GROUP));
            let runs = conv.window.live_rows(row).map(|(tap, gray_row)| Run {
                source: 0,
                offset: narrow(rows.offset(gray_row, column * conv.window.stride[1]) + first * GROUP),
                weight: narrow(tap * groups + first),
                groups: narrow(end - first),
            });
            Position::new(&weights, &conv.bias, &runs.collect::<Vec<_>>())
        };
        let positions = conv.window.places().map(position).collect();
        Layer { positions, multipliers: multipliers(conv, output_scale) }
    }

    /// A convolution of maps; `more` is one of other maps that is added in its accumulator.
    ///
    /// # Source
    /// docs/quantization.md (8): to an integer engine it is some more taps of the same matrix product.
    pub fn convolution(
        kernels: Kernels,
        conv: &Convolution,
        more: Option<&Convolution>,
        output_scale: f32,
    ) -> Layer {
        let parts: Vec<Taps<'_>> = [Some(conv), more].into_iter().flatten().map(Taps::live).collect();
        let own_groups = parts[0].groups();
        let groups = parts.iter().map(Taps::groups).sum();
        let weights = Weights::pack(kernels, conv.outputs(), groups, |output, group| {
            let part = usize::from(group >= own_groups);
            parts[part].weights(output, group - part * own_groups)
        });
        let weights = Arc::new(weights);
        let mut bias = conv.bias.clone();
        for (bias, more) in bias.iter_mut().zip(more.iter().flat_map(|more| &more.bias)) {
            *bias += more;
        }
        let position = |place: [usize; 2]| {
            let of_part = |(part, taps): (usize, &Taps<'_>)| taps.runs(place, part, part * own_groups);
            let runs: Vec<Run> = parts.iter().enumerate().flat_map(of_part).collect();
            Position::new(&weights, &bias, &joined(&runs))
        };
        let positions = conv.window.places().map(position).collect();
        Layer { positions, multipliers: multipliers(conv, output_scale) }
    }

    /// Output channels.
    fn channels(&self) -> usize {
        self.multipliers.len()
    }

    /// Bytes of one patch's output.
    pub fn stride(&self) -> usize {
        self.positions.len() * self.channels()
    }

    /// Multiply-adds of one patch.
    pub fn products(&self) -> usize {
        self.positions.iter().map(Position::products).sum()
    }

    /// Computes the output of `rows` patches into `output`, [`stride`](Layer::stride) bytes each.
    ///
    /// `shortcut` is a block's input and its n\[c\] of (7), where it is added as it is.
    pub fn run(
        &self,
        rows: usize,
        inputs: &[Maps<'_>],
        shortcut: Option<(Maps<'_>, &[i16])>,
        output: &mut [u8],
    ) {
        let sources: [Source<'_>; 2] = [inputs[0].source(), inputs[inputs.len() - 1].source()];
        let shortcut =
            shortcut.map(|(maps, steps)| Shortcut { levels: maps.levels, stride: maps.stride, steps });
        let (multipliers, stride) = (&self.multipliers, self.stride());
        Position::map_levels(&self.positions, rows, &sources, shortcut, multipliers, output, stride);
    }
}

/// The fully connected layer on the mean of the last maps.
#[derive(Debug)]
pub(super) struct HeadLayer {
    position: Position,
    multipliers: Vec<f32>,
}

impl HeadLayer {
    /// The sum over places is moved behind the weights: each place is one more run over them.
    pub fn new(kernels: Kernels, head: &Head) -> HeadLayer {
        let groups = head.channels / GROUP;
        let weights = Weights::pack(kernels, head.scales.len(), groups, |output, group| {
            let first = output * head.channels + group * GROUP;
            [0, 1, 2, 3].map(|at| head.weights[first + at])
        });
        let run = |place: usize| Run {
            source: 0,
            offset: narrow(place * head.channels),
            weight: 0,
            groups: narrow(groups),
        };
        let runs: Vec<Run> = (0..head.places).map(run).collect();
        let position = Position::new(&Arc::new(weights), &head.bias, &runs);
        HeadLayer { position, multipliers: equations::head_multipliers(head) }
    }

    /// Outputs of a patch.
    pub fn outputs(&self) -> usize {
        self.multipliers.len()
    }

    /// Multiply-adds of one patch.
    pub fn products(&self) -> usize {
        self.position.products()
    }

    /// Logits of `rows` patches; `sums` are their accumulators.
    ///
    /// # Source
    /// docs/quantization.md (9).
    pub fn run(&self, rows: usize, input: Maps<'_>, sums: &mut [i32], logits: &mut [f32]) {
        let outputs = self.outputs();
        self.position.sums(rows, &[input.source()], sums, outputs);
        for (logits, sums) in logits.chunks_exact_mut(outputs).zip(sums.chunks_exact(outputs)) {
            for ((logit, &sum), multiplier) in logits.iter_mut().zip(sums).zip(&self.multipliers) {
                *logit = sum as f32 * multiplier;
            }
        }
    }
}

/// Gray levels as the stem reads them: `[rows][columns][views]`, with the padding beside each row, so that a row of
/// the kernel lies in consecutive bytes. Padding above and below is never read, so there is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct GrayRows {
    views: usize,
    rows: usize,
    columns: usize,
    /// Padding before a row, in pixels.
    before: usize,
    /// Pixels of a row with its padding.
    padded: usize,
}

impl GrayRows {
    /// What a stem's window asks for.
    pub fn new(window: Window, views: usize) -> GrayRows {
        let [rows, columns] = window.input;
        let before = window.before[1];
        let reach = (window.output[1] - 1) * window.stride[1] + window.kernel[1];
        GrayRows { views, rows, columns, before, padded: reach.max(before + columns) }
    }

    /// Bytes of a patch: behind the last row there is room for the rest of a group.
    pub fn stride(self) -> usize {
        (self.rows * self.padded * self.views + GROUP - 1).next_multiple_of(GROUP)
    }

    /// Where a padded row's pixel begins.
    fn offset(self, row: usize, column: usize) -> usize {
        (row * self.padded + column) * self.views
    }

    /// Lays out patches `[n][views][rows][columns]`; the padding in `gray` must be 0 and stays so.
    pub fn fill(self, patches: &[u8], gray: &mut [u8]) {
        // Known to the compiler, the number of views is twice as fast; these are those that models have.
        match self.views {
            1 => self.interleave::<1>(patches, gray),
            3 => self.interleave::<3>(patches, gray),
            5 => self.interleave::<5>(patches, gray),
            _ => self.interleave_any(patches, gray),
        }
    }

    fn interleave<const VIEWS: usize>(self, patches: &[u8], gray: &mut [u8]) {
        let (columns, plane) = (self.columns, self.rows * self.columns);
        let patches = patches.chunks_exact(VIEWS * plane);
        for (patch, gray) in patches.zip(gray.chunks_exact_mut(self.stride())) {
            for row in 0..self.rows {
                let views: [&[u8]; VIEWS] =
                    std::array::from_fn(|view| &patch[view * plane + row * columns..][..columns]);
                let pixels = &mut gray[self.offset(row, self.before)..][..columns * VIEWS];
                for (column, pixel) in pixels.as_chunks_mut::<VIEWS>().0.iter_mut().enumerate() {
                    *pixel = views.map(|levels| levels[column]);
                }
            }
        }
    }

    fn interleave_any(self, patches: &[u8], gray: &mut [u8]) {
        let GrayRows { views, rows, columns, before, .. } = self;
        let patches = patches.chunks_exact(views * rows * columns);
        for (patch, gray) in patches.zip(gray.chunks_exact_mut(self.stride())) {
            for (at, levels) in patch.chunks_exact(columns).enumerate() {
                let (view, row) = (at / rows, at % rows);
                let pixels = &mut gray[self.offset(row, before)..][..columns * views];
                for (pixel, &level) in pixels.chunks_exact_mut(views).zip(levels) {
                    pixel[view] = level;
                }
            }
        }
    }
}

/// The taps of a convolution that meet a pixel at some place of its output: the others only ever multiply zeros.
struct Taps<'a> {
    conv: &'a Convolution,
    live: Vec<[usize; 2]>,
}

impl<'a> Taps<'a> {
    fn live(conv: &'a Convolution) -> Taps<'a> {
        let window = conv.window;
        let [rows, columns] = window.kernel;
        let any = |axis: usize, tap: usize| {
            (0..window.output[axis]).any(|output| {
                let mut live: Box<dyn Iterator<Item = (usize, usize)>> = if axis == 0 {
                    Box::new(window.live_rows(output))
                } else {
                    Box::new(window.live_columns(output))
                };
                live.any(|(at, _)| at == tap)
            })
        };
        let taps = (0..rows).flat_map(|row| (0..columns).map(move |column| [row, column]));
        Taps { conv, live: taps.filter(|&[row, column]| any(0, row) && any(1, column)).collect() }
    }

    fn groups_of_a_tap(&self) -> usize {
        self.conv.inputs / GROUP
    }

    fn groups(&self) -> usize {
        self.live.len() * self.groups_of_a_tap()
    }

    fn weights(&self, output: usize, group: usize) -> [i8; 4] {
        let (tap, first) = (group / self.groups_of_a_tap(), group % self.groups_of_a_tap() * GROUP);
        [0, 1, 2, 3].map(|at| self.conv.weight(output, first + at, self.live[tap]))
    }

    /// What the output's `place` reads of `source`; the weights begin at group `first_group`.
    fn runs(&self, place: [usize; 2], source: usize, first_group: usize) -> Vec<Run> {
        let window = self.conv.window;
        let mut runs = Vec::new();
        for (tap_row, row) in window.live_rows(place[0]) {
            for (tap_column, column) in window.live_columns(place[1]) {
                let tap = self.live.iter().position(|&tap| tap == [tap_row, tap_column]);
                let tap = tap.expect("a tap that is live here is live somewhere");
                runs.push(Run {
                    source: source as u8,
                    offset: narrow((row * window.input[1] + column) * self.conv.inputs),
                    weight: narrow(first_group + tap * self.groups_of_a_tap()),
                    groups: narrow(self.groups_of_a_tap()),
                });
            }
        }
        runs
    }
}

/// Runs that go on where the one before ends, in levels and in weights, are one run.
fn joined(runs: &[Run]) -> Vec<Run> {
    let mut joined: Vec<Run> = Vec::new();
    for &run in runs {
        match joined.last_mut() {
            Some(last)
                if last.source == run.source
                    && last.offset + last.groups * GROUP as u32 == run.offset
                    && last.weight + last.groups == run.weight =>
            {
                last.groups += run.groups;
            }
            _ => joined.push(run),
        }
    }
    joined
}

fn multipliers(conv: &Convolution, output_scale: f32) -> Vec<f32> {
    equations::multipliers(conv.input_scale, &conv.scales, output_scale)
}

/// An offset within one patch's maps or one layer's weights.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).expect("a layer is smaller than 4 GiB")
}
