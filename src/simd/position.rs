//! One place of a layer's output map: what it reads, checked once, and the two ways to compute it.

use std::fmt;
use std::slice;
use std::sync::Arc;

#[cfg(target_arch = "x86_64")]
use super::Level;
#[cfg(target_arch = "x86_64")]
use super::chunks::Chunks;
use super::job::{Job, Output};
use super::numbers::{Integers, Numbers};
use super::weights::Weights;

/// Consecutive groups of levels that meet consecutive groups of weights: a live tap, or several side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which of the sources, 0 or 1.
    pub source: u8,
    /// First level, counted from the row's beginning.
    pub offset: u32,
    /// First group of weights.
    pub weight: u32,
    /// How many groups.
    pub groups: u32,
}

/// Levels in rows: a row is one patch of the batch, `stride` levels after the one before.
#[derive(Clone, Copy)]
pub struct Source<'a, L = u8> {
    /// Row r begins at `r * stride`.
    pub levels: &'a [L],
    /// Levels from row to row.
    pub stride: usize,
}

/// An identity shortcut: channel c's accumulator gains `steps[c]` times the level at c; with floats, the level itself.
///
/// # Source
/// `docs/quantization.md` (7): n\[c\] x_q.
#[derive(Clone, Copy)]
pub struct Shortcut<'a, N: Numbers = Integers> {
    /// The block's input: row r's channel c stands at `r * stride + c`.
    pub levels: &'a [N::Level],
    /// Levels from row to row.
    pub stride: usize,
    /// n\[c\], one for each channel, none negative.
    pub steps: &'a [N::Step],
}

/// How a map of several places is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strides {
    /// Levels from row to row.
    pub row: usize,
    /// Levels from place to place.
    pub place: usize,
}

/// Everything that one output position of a layer needs besides its input.
///
/// Which levels and weights its runs reach is known when it is built; so the kernels' loops test nothing.
#[derive(Clone)]
pub struct Position<N: Numbers = Integers> {
    weights: Arc<Weights<N>>,
    /// Whole blocks of channels. What the level takes off the activations is put back here.
    bias: Vec<N::Sum>,
    runs: Vec<Run>,
    /// How many levels of a row the runs read of each source.
    reach: [usize; 2],
    /// The same runs, as a tile multiplier reads them; empty where there is none.
    #[cfg(target_arch = "x86_64")]
    chunks: Chunks,
}

impl<N: Numbers> Position<N> {
    /// A position that sums `bias` and the products of all `runs`.
    ///
    /// # Shape
    /// `bias` has one entry for each channel of the weights.
    ///
    /// # Panics
    /// The bias has another length, or a run names a source above 1 or weights that are not there.
    pub fn new(weights: &Arc<Weights<N>>, bias: &[N::Sum], runs: &[Run]) -> Position<N> {
        assert_eq!(bias.len(), weights.channels(), "one bias for each channel");
        // Of no groups, nothing is read: so not even the address of such a run may be asked for.
        let runs: Vec<Run> = runs.iter().copied().filter(|run| run.groups > 0).collect();
        let mut reach = [0; 2];
        for run in &runs {
            let last = run.weight as u64 + run.groups as u64;
            assert!(run.source < 2 && last <= weights.groups() as u64, "{run:?} reaches beyond the weights");
            let end = run.offset as u64 + run.groups as u64 * N::LEVELS as u64;
            let end = usize::try_from(end).expect("a row is smaller than the address space");
            let reach = &mut reach[usize::from(run.source)];
            *reach = end.max(*reach);
        }
        let bias = (0..weights.padded_channels()).map(|channel| match bias.get(channel) {
            Some(&bias) => N::start(weights, channel, bias, &runs),
            None => N::Sum::default(),
        });
        Position {
            bias: bias.collect(),
            weights: Arc::clone(weights),
            #[cfg(target_arch = "x86_64")]
            chunks: if weights.kernels().level() == Level::AmxInt8 {
                Chunks::cut(&runs)
            } else {
                Chunks::default()
            },
            runs,
            reach,
        }
    }

    /// Computes all channels of `rows` rows as levels: sum, shortcut, ReLU or requantization.
    ///
    /// # Shape
    /// Row r reads `sources[s].levels[r * stride..]` and writes its channels from `out[r * out_stride]` on; the rest of
    /// `out` stays. `multipliers` has one finite entry for each channel, even of floats.
    ///
    /// # Panics
    /// A source, the shortcut or `out` is too short for so many rows, rows of `out` overlap, or the multipliers or
    /// steps are not one for each channel.
    ///
    /// # Source
    /// `docs/quantization.md` (5), (7) and (8).
    pub fn levels(
        &self,
        rows: usize,
        sources: &[Source<'_, N::Level>],
        shortcut: Option<Shortcut<'_, N>>,
        multipliers: &[N::Multiplier],
        out: &mut [N::Level],
        out_stride: usize,
    ) {
        let strides = Strides { row: out_stride, place: 0 };
        Position::map_levels(slice::from_ref(self), rows, sources, shortcut, multipliers, out, strides);
    }

    /// [`levels`](Position::levels) of all places of a map, whose positions share their weights. Which of them are
    /// computed first is left to the kernels: weights that serve several places are best kept near.
    ///
    /// # Shape
    /// Row r of place p writes its channels from `out[r * strides.row + p * strides.place]` on; places of the shortcut's
    /// levels are as far apart.
    ///
    /// # Panics
    /// As [`levels`](Position::levels), or the positions are none or do not share their weights.
    pub fn map_levels(
        positions: &[Position<N>],
        rows: usize,
        sources: &[Source<'_, N::Level>],
        shortcut: Option<Shortcut<'_, N>>,
        multipliers: &[N::Multiplier],
        out: &mut [N::Level],
        strides: Strides,
    ) {
        let Strides { row: stride, place } = strides;
        let output = Output::Levels { shortcut, multipliers, out, stride, place };
        let job = Job::new(positions, rows, sources, output);
        N::run(job.weights().kernels(), job);
    }

    /// Computes the accumulators themselves, for a head.
    ///
    /// # Shape, Panics
    /// As [`levels`](Position::levels).
    ///
    /// # Source
    /// `docs/quantization.md` (9): A.
    pub fn sums(&self, rows: usize, sources: &[Source<'_, N::Level>], out: &mut [N::Sum], out_stride: usize) {
        let output = Output::Sums { channels: self.weights.channels(), out, stride: out_stride };
        N::run(self.weights.kernels(), Job::new(slice::from_ref(self), rows, sources, output));
    }

    /// The layer's weights.
    pub fn weights(&self) -> &Weights<N> {
        &self.weights
    }

    /// Multiply-adds of one row.
    pub fn products(&self) -> usize {
        let groups: usize = self.runs.iter().map(|run| run.groups as usize).sum();
        groups * N::LEVELS * self.weights.channels()
    }

    pub(super) fn bias(&self) -> &[N::Sum] {
        &self.bias
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    pub(super) fn reach(&self) -> [usize; 2] {
        self.reach
    }
}

impl<N: Numbers> fmt::Debug for Position<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({} runs of {:?})", self.runs.len(), self.weights)
    }
}
