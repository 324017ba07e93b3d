//! What each place of a convolution's output reads.

use super::plan::Convolution;
use crate::simd::{Numbers, Run};

/// The taps of a convolution that meet a pixel at some place of its output: the others only ever multiply zeros.
pub struct Taps<'a, N: Numbers> {
    conv: &'a Convolution<N>,
    live: Vec<[usize; 2]>,
}

impl<'a, N: Numbers> Taps<'a, N> {
    pub fn live(conv: &'a Convolution<N>) -> Taps<'a, N> {
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
        self.conv.inputs / N::LEVELS
    }

    /// Groups of weights of an output channel.
    pub fn groups(&self) -> usize {
        self.live.len() * self.groups_of_a_tap()
    }

    /// The weights of an output channel and a group.
    pub fn weights(&self, output: usize, group: usize) -> N::Group {
        let (tap, first) = (group / self.groups_of_a_tap(), group % self.groups_of_a_tap() * N::LEVELS);
        N::group(|at| self.conv.weight(output, first + at, self.live[tap]))
    }

    /// What the output's `place` reads of `source`, whose maps are of `batch` patches; the weights begin at group
    /// `first_group`.
    pub fn runs(&self, place: [usize; 2], source: usize, batch: usize, first_group: usize) -> Vec<Run> {
        let window = self.conv.window;
        let mut runs = Vec::new();
        for (tap_row, row) in window.live_rows(place[0]) {
            for (tap_column, column) in window.live_columns(place[1]) {
                let tap = self.live.iter().position(|&tap| tap == [tap_row, tap_column]);
                let tap = tap.expect("a tap that is live here is live somewhere");
                runs.push(Run {
                    source: source as u8,
                    offset: narrow((row * window.input[1] + column) * batch * self.conv.inputs),
                    weight: narrow(first_group + tap * self.groups_of_a_tap()),
                    groups: narrow(self.groups_of_a_tap()),
                });
            }
        }
        runs
    }
}

/// Runs that go on where the one before ends, in levels and in weights, are one run.
pub fn joined<N: Numbers>(runs: &[Run]) -> Vec<Run> {
    let mut joined: Vec<Run> = Vec::new();
    for &run in runs {
        match joined.last_mut() {
            Some(last)
                if last.source == run.source
                    && last.offset + last.groups * N::LEVELS as u32 == run.offset
                    && last.weight + last.groups == run.weight =>
            {
                last.groups += run.groups;
            }
            _ => joined.push(run),
        }
    }
    joined
}

/// An offset within one patch's maps or one layer's weights.
pub fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).expect("a layer is smaller than 4 GiB")
}
