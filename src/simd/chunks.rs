//! The runs of a position as a tile multiplier reads them: sixteen groups at once, from each row the same 64 bytes.

use super::position::Run;
use super::weights::{GROUP, LINE};

/// Groups of a chunk.
pub(super) const CHUNK: usize = LINE / GROUP;

/// The runs of a position. Each group of each run is in one chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunks {
    /// 64 consecutive bytes of a row of either source.
    pub whole: [Vec<Chunk>; 2],
    /// What is left of runs.
    pub rests: Vec<Rest>,
}

/// Sixteen groups of weights, and the bytes of a row that meet them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Chunk {
    /// First byte of levels.
    pub levels: usize,
    /// First group of weights. Of a rest, the last may lie beyond the weights.
    pub weight: usize,
}

/// A chunk that is there in part: the other bytes must meet the weights as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    pub source: u8,
    pub chunk: Chunk,
    /// The bytes that are there: bit i is byte i.
    pub bytes: u64,
}

impl Chunks {
    /// Cuts runs into chunks.
    pub fn cut(runs: &[Run]) -> Chunks {
        let mut chunks = Chunks::default();
        for run in runs {
            let at = |group: usize| Chunk {
                levels: run.offset as usize + group * GROUP,
                weight: run.weight as usize + group,
            };
            let groups = run.groups as usize;
            let (whole, left) = (groups / CHUNK, groups % CHUNK);
            chunks.whole[usize::from(run.source)].extend((0..whole).map(|chunk| at(chunk * CHUNK)));
            if left > 0 {
                let bytes = u64::MAX >> (LINE - left * GROUP);
                chunks.rests.push(Rest { source: run.source, chunk: at(whole * CHUNK), bytes });
            }
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// How often each byte of each source meets each group of weights, and which of its four.
    type Products = BTreeMap<(u8, usize, usize, usize), usize>;

    fn count(products: &mut Products, source: u8, chunk: Chunk, at: usize) {
        let met = (source, chunk.levels + at, chunk.weight + at / GROUP, at % GROUP);
        *products.entry(met).or_default() += 1;
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
                let chunk = Chunk { levels: run.offset as usize, weight: run.weight as usize };
                (0..run.groups as usize * 4).for_each(|at| count(&mut expected, run.source, chunk, at));
            }
            let mut found = Products::new();
            let chunks = Chunks::cut(&runs);
            for (source, whole) in chunks.whole.iter().enumerate() {
                for &chunk in whole {
                    (0..64).for_each(|at| count(&mut found, source as u8, chunk, at));
                }
            }
            for Rest { source, chunk, bytes } in chunks.rests {
                prop_assert_ne!(bytes, 0);
                (0..64).filter(|at| bytes >> at & 1 == 1).for_each(|at| count(&mut found, source, chunk, at));
            }
            prop_assert_eq!(found, expected);
        }
    }
}
