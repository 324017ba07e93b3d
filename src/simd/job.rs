//! One call of a kernel, checked: the facts that the unsafe loops cite are asserted here and nowhere else.

use super::position::{Position, Shortcut, Source};

/// A call whose every read and write was seen to lie within its slices.
///
/// What [`Job::new`] guarantees, for `row < rows` and `channel < position.weights().channels()`:
/// - each run reads within `sources[run.source].levels` from `row * stride + run.offset` on;
/// - each run's groups are within the weights ([`Position::new`]);
/// - `out[row * stride + channel]` exists, and so does the shortcut's level there;
/// - there are a multiplier and a step for each channel.
pub(super) struct Job<'a> {
    pub position: &'a Position,
    pub rows: usize,
    pub sources: [Source<'a>; 2],
    pub output: Output<'a>,
}

/// Where the sums go.
pub(super) enum Output<'a> {
    Levels { shortcut: Option<Shortcut<'a>>, multipliers: &'a [f32], out: &'a mut [u8], stride: usize },
    Sums { channels: usize, out: &'a mut [i32], stride: usize },
}

impl Output<'_> {
    /// Channels of a row.
    pub fn channels(&self) -> usize {
        match self {
            Output::Levels { multipliers, .. } => multipliers.len(),
            Output::Sums { channels, .. } => *channels,
        }
    }
}

impl<'a> Job<'a> {
    pub fn new(position: &'a Position, rows: usize, sources: &[Source<'a>], output: Output<'a>) -> Job<'a> {
        let channels = position.weights().channels();
        let mut both = [Source { levels: &[], stride: 0 }; 2];
        assert!(sources.len() <= both.len(), "two sources at most");
        both[..sources.len()].copy_from_slice(sources);
        for (source, reach) in both.iter().zip(position.reach()) {
            assert!(fits(rows, source.stride, reach, source.levels.len()), "a source is too short");
        }
        assert_eq!(output.channels(), channels, "one multiplier for each channel");
        let (stride, len) = match &output {
            Output::Levels { shortcut, out, stride, .. } => {
                if let Some(Shortcut { levels, stride, steps }) = shortcut {
                    assert_eq!(steps.len(), channels, "one step for each channel");
                    assert!(fits(rows, *stride, channels, levels.len()), "the shortcut is too short");
                }
                (*stride, out.len())
            }
            Output::Sums { out, stride, .. } => (*stride, out.len()),
        };
        assert!(rows < 2 || stride >= channels, "rows of the output overlap");
        assert!(fits(rows, stride, channels, len), "the output is too short");
        Job { position, rows, sources: both, output }
    }
}

/// Whether `rows` rows of `reach` elements, `stride` apart, lie within `len` elements.
fn fits(rows: usize, stride: usize, reach: usize, len: usize) -> bool {
    let Some(last) = rows.checked_sub(1) else { return true };
    reach == 0 || last.checked_mul(stride).and_then(|at| at.checked_add(reach)).is_some_and(|end| end <= len)
}
