//! One call of a kernel, checked: the facts that the unsafe loops cite are asserted here and nowhere else.

use super::numbers::{Integers, Numbers};
use super::position::{Position, Shortcut, Source};
use super::weights::Weights;

/// A call whose every read and write was seen to lie within its slices.
///
/// What [`Job::new`] guarantees, for each place `p` and its position, `row < rows` and `channel` below the weights' channels:
/// - all positions have the same weights;
/// - each run reads within `sources[run.source].levels` from `row * stride + run.offset` on;
/// - each run's groups are within the weights ([`Position::new`]);
/// - `out[row * stride + p * place + channel]` exists, and so does the shortcut's level there, with its own stride;
/// - there are a multiplier and a step for each channel.
pub struct Job<'a, N: Numbers = Integers> {
    pub(super) positions: &'a [Position<N>],
    pub(super) rows: usize,
    pub(super) sources: [Source<'a, N::Level>; 2],
    pub(super) output: Output<'a, N>,
}

/// Where the sums go.
pub(super) enum Output<'a, N: Numbers = Integers> {
    Levels {
        shortcut: Option<Shortcut<'a, N>>,
        multipliers: &'a [N::Multiplier],
        out: &'a mut [N::Level],
        stride: usize,
        /// From place to place, of the shortcut too.
        place: usize,
    },
    Sums {
        channels: usize,
        out: &'a mut [N::Sum],
        stride: usize,
    },
}

impl<N: Numbers> Output<'_, N> {
    /// Channels of a row and place.
    pub fn channels(&self) -> usize {
        match self {
            Output::Levels { multipliers, .. } => multipliers.len(),
            Output::Sums { channels, .. } => *channels,
        }
    }

    /// What one place's position writes, as if it were the only one.
    pub fn of_place(&mut self, number: usize) -> Output<'_, N> {
        match *self {
            Output::Levels { shortcut, multipliers, ref mut out, stride, place } => {
                let at = number * place;
                let shortcut =
                    shortcut.map(|shortcut| Shortcut { levels: &shortcut.levels[at..], ..shortcut });
                Output::Levels { shortcut, multipliers, out: &mut out[at..], stride, place }
            }
            // There is one place.
            Output::Sums { channels, ref mut out, stride } => Output::Sums { channels, out, stride },
        }
    }

    /// Writes what becomes of a row's sums from a channel on, of the first place, as the specification says.
    pub fn write(&mut self, row: usize, channel: usize, sums: &[N::Sum]) {
        match self {
            Output::Levels { shortcut, multipliers, out, stride, .. } => {
                for (channel, &sum) in (channel..).zip(sums) {
                    let shortcut = shortcut.map(|Shortcut { levels, stride, steps }| {
                        (levels[row * stride + channel], steps[channel])
                    });
                    out[row * *stride + channel] = N::activate(sum, shortcut, multipliers[channel]);
                }
            }
            Output::Sums { out, stride, .. } => {
                out[row * *stride + channel..][..sums.len()].copy_from_slice(sums);
            }
        }
    }
}

impl<'a, N: Numbers> Job<'a, N> {
    pub(super) fn new(
        positions: &'a [Position<N>],
        rows: usize,
        sources: &[Source<'a, N::Level>],
        output: Output<'a, N>,
    ) -> Job<'a, N> {
        let weights = positions.first().expect("there is a position").weights();
        let channels = weights.channels();
        let mut both = [Source { levels: &[][..], stride: 0 }; 2];
        assert!(sources.len() <= both.len(), "two sources at most");
        both[..sources.len()].copy_from_slice(sources);
        for position in positions {
            assert!(std::ptr::eq(position.weights(), weights), "positions of one layer share their weights");
            for (source, reach) in both.iter().zip(position.reach()) {
                assert!(fits(rows, source.stride, reach, source.levels.len()), "a source is too short");
            }
        }
        assert_eq!(output.channels(), channels, "one multiplier for each channel");
        let last = positions.len() - 1;
        let (stride, place, len) = match &output {
            Output::Levels { out, stride, place, .. } => (*stride, *place, out.len()),
            Output::Sums { out, stride, .. } => {
                assert_eq!(last, 0, "sums of one place");
                (*stride, 0, out.len())
            }
        };
        let reach = last.checked_mul(place).and_then(|at| at.checked_add(channels));
        let reach = reach.expect("places lie within the address space");
        if let Output::Levels { shortcut: Some(Shortcut { levels, stride, steps }), .. } = &output {
            assert_eq!(steps.len(), channels, "one step for each channel");
            assert!(fits(rows, *stride, reach, levels.len()), "the shortcut is too short");
        }
        assert!(fits(rows, stride, reach, len), "the output is too short");
        // Places within rows, or rows within places.
        let of_rows = rows.saturating_sub(1) * stride + channels;
        let apart = (rows < 2 || stride >= channels) && (last == 0 || place >= channels);
        assert!(
            apart && (rows < 2 || stride >= reach || last == 0 || place >= of_rows),
            "rows of the output overlap"
        );
        Job { positions, rows, sources: both, output }
    }

    /// The weights of all positions.
    pub(super) fn weights(&self) -> &'a Weights<N> {
        self.positions[0].weights()
    }
}

/// Whether `rows` rows of `reach` elements, `stride` apart, lie within `len` elements.
fn fits(rows: usize, stride: usize, reach: usize, len: usize) -> bool {
    let Some(last) = rows.checked_sub(1) else { return true };
    reach == 0 || last.checked_mul(stride).and_then(|at| at.checked_add(reach)).is_some_and(|end| end <= len)
}
