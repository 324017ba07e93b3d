//! The runs of a position as a tile multiplier reads them: sixteen groups at once, from each row the same 64 bytes.

use super::position::Run;
use super::weights::{GROUP, LINE};

/// Groups of a chunk.
const CHUNK: usize = LINE / GROUP;

/// Chunks of pieces that are put together at once.
pub(super) const PIECED: usize = 8;

/// The runs of a position. Each group of each run is in one chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunks {
    /// 64 consecutive bytes of a row of either source.
    pub whole: [Vec<Chunk>; 2],
    /// What is left of runs, [`PIECED`] at a time.
    pub pieced: Vec<Pieced>,
}

/// Sixteen groups of weights, and the bytes of a row that meet them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Chunk {
    /// First byte of levels.
    pub levels: usize,
    /// First group of weights. The last may lie beyond the weights, where it meets nothing but zeros.
    pub weight: usize,
}

/// Chunks that are put together out of pieces: `levels` counts from the first one's beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pieced {
    pub chunks: Vec<Chunk>,
    /// Of each chunk.
    pub pieces: Vec<Vec<Piece>>,
}

/// Bytes of a row that stand as far apart as those of the chunk that they become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub source: u8,
    /// Where the chunk's first byte would be in the row, which may be before its beginning.
    pub origin: isize,
    /// The chunk's bytes that are there: bit i is byte i.
    pub bytes: u64,
}

impl Chunks {
    /// Cuts runs into chunks.
    ///
    /// What is shorter than a chunk shares one with other runs whose weights are near: so a network's first layer, whose
    /// runs are short, multiplies few zeros.
    pub fn cut(runs: &[Run]) -> Chunks {
        let mut chunks = Chunks::default();
        let mut rests: Vec<Run> = Vec::new();
        for run in runs {
            let whole = run.groups as usize / CHUNK;
            chunks.whole[usize::from(run.source)].extend((0..whole).map(|at| Chunk {
                levels: run.offset as usize + at * LINE,
                weight: run.weight as usize + at * CHUNK,
            }));
            rests.extend(from(run, (whole * CHUNK) as u32));
        }
        rests.sort_by_key(|run| run.weight);
        let mut number = 0;
        while let Some(first) = rests.first() {
            let weight = first.weight;
            let end = weight + CHUNK as u32;
            let (mut pieces, mut left, mut filled) = (Vec::new(), Vec::new(), weight);
            for run in rests {
                if run.weight < filled || run.weight >= end {
                    left.push(run);
                    continue;
                }
                let groups = run.groups.min(end - run.weight);
                let before = (run.weight - weight) as usize * GROUP;
                let bytes = u64::MAX >> (LINE - groups as usize * GROUP) << before;
                pieces.push(Piece {
                    source: run.source,
                    origin: run.offset as isize - before as isize,
                    bytes,
                });
                left.extend(from(&run, groups));
                filled = run.weight + groups;
            }
            left.sort_by_key(|run| run.weight);
            rests = left;
            if number % PIECED == 0 {
                chunks.pieced.push(Pieced::default());
            }
            let pieced = chunks.pieced.last_mut().expect("one was pushed");
            pieced.chunks.push(Chunk { levels: number % PIECED * LINE, weight: weight as usize });
            pieced.pieces.push(pieces);
            number += 1;
        }
        chunks
    }
}

/// What a run has from a group on, if it has anything.
fn from(run: &Run, group: u32) -> Option<Run> {
    let left = run.groups - group;
    let offset = run.offset + group * GROUP as u32;
    (left > 0).then_some(Run { offset, weight: run.weight + group, groups: left, ..*run })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// How often each byte of each source meets each group of weights, and which of its four.
    type Products = BTreeMap<(u8, i64, usize, usize), usize>;

    fn count(products: &mut Products, source: u8, byte: i64, weight: usize, at: usize) {
        *products.entry((source, byte, weight + at / GROUP, at % GROUP)).or_default() += 1;
    }

    proptest! {
        #[test]
        fn chunks_multiply_what_the_runs_do(
            raw in proptest::collection::vec((0u8..2, 0u32..300, 0u32..40, 1u32..50), 0..9),
        ) {
            let runs: Vec<Run> = raw
                .into_iter()
                .map(|(source, offset, weight, groups)| Run { source, offset, weight, groups })
                .collect();
            let mut expected = Products::new();
            for run in &runs {
                for at in 0..run.groups * 4 {
                    let byte = i64::from(run.offset + at);
                    count(&mut expected, run.source, byte, run.weight as usize, at as usize);
                }
            }
            let mut found = Products::new();
            let chunks = Chunks::cut(&runs);
            for (source, whole) in chunks.whole.iter().enumerate() {
                for &Chunk { levels, weight } in whole {
                    (0..64).for_each(|at| count(&mut found, source as u8, (levels + at) as i64, weight, at));
                }
            }
            for Pieced { chunks, pieces } in chunks.pieced {
                prop_assert!(chunks.len() == pieces.len() && chunks.len() <= PIECED);
                for (place, (chunk, pieces)) in chunks.into_iter().zip(pieces).enumerate() {
                    prop_assert_eq!(chunk.levels, place * 64);
                    let taken = pieces.iter().fold(0, |taken, piece| {
                        assert_eq!(taken & piece.bytes, 0, "two pieces for one byte");
                        taken | piece.bytes
                    });
                    prop_assert_ne!(taken, 0);
                    for Piece { source, origin, bytes } in pieces {
                        for at in (0..64).filter(|at| bytes >> at & 1 == 1) {
                            count(&mut found, source, origin as i64 + at as i64, chunk.weight, at);
                        }
                    }
                }
            }
            prop_assert_eq!(found, expected);
        }
    }

    /// Seven rows of nine groups: four chunks, where each row alone would take one.
    #[test]
    fn a_first_layer_takes_four_chunks() {
        let run = |row: u32| Run { source: 0, offset: row * 105, weight: row * 9, groups: 9 };
        let chunks = Chunks::cut(&[0, 1, 2, 3, 4, 5, 6].map(run));
        assert_eq!(chunks.pieced.iter().map(|pieced| pieced.chunks.len()).collect::<Vec<_>>(), [4]);
    }
}
