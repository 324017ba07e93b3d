//! Batches: so many patches of each kind, drawn from a bag, mirrored and transposed.

use crate::bag::{Bag, KINDS, WEAK};
use crate::random::Random;
use crate::recipe::BatchPlan;
use tch::{Kind, Tensor};

/// One step's patches: certain ones first, weak negatives last.
#[derive(Debug)]
pub struct Batch {
    /// Gray levels as f32, `[patches, views, size, size]`.
    pub gray: Tensor,
    /// Class index of the certain patches, `[certain]`.
    pub classes: Tensor,
}

/// Draws batches from a bag: every patch of a kind once before any comes twice.
pub struct Sampler<'a> {
    bag: &'a Bag,
    /// Shape of a patch: views, then its side.
    shape: [i64; 2],
    counts: [usize; KINDS],
    flips: bool,
    decks: [Deck; KINDS],
    /// The hardest weak negatives, if they were looked for.
    hard: Option<Deck>,
    random: Random,
}

/// Indices in random order, dealt again and again.
struct Deck {
    cards: Vec<usize>,
    next: usize,
}

impl Deck {
    fn new(cards: Vec<usize>) -> Deck {
        Deck { next: cards.len(), cards }
    }

    fn deal(&mut self, random: &mut Random) -> Option<usize> {
        if self.next == self.cards.len() {
            random.shuffle(&mut self.cards);
            self.next = 0;
        }
        let card = self.cards.get(self.next).copied();
        self.next += 1;
        card
    }
}

impl<'a> Sampler<'a> {
    /// A sampler of `bag`. `shape` is `[views, side]`.
    #[must_use]
    pub fn new(bag: &'a Bag, shape: [i64; 2], plan: BatchPlan, flips: bool, random: Random) -> Sampler<'a> {
        let decks = std::array::from_fn(|kind| Deck::new((0..bag.count(kind)).collect()));
        Sampler { bag, shape, counts: plan.counts(), flips, decks, hard: None, random }
    }

    /// From now on half of the weak negatives come from these.
    pub fn set_hard(&mut self, hard: Vec<usize>) {
        self.hard = (!hard.is_empty()).then(|| Deck::new(hard));
    }

    /// The next batch. Kinds that the bag lacks are missing from it.
    pub fn draw(&mut self) -> Batch {
        let [views, side] = self.shape;
        let pixels = (side * side) as usize;
        let patches: usize = self.counts.iter().sum();
        let mut gray = Vec::with_capacity(patches * self.bag.patch_bytes);
        let mut classes: Vec<i64> = Vec::with_capacity(patches);
        for kind in 0..KINDS {
            for drawn in 0..self.counts[kind] {
                let deck = match &mut self.hard {
                    Some(hard) if kind == WEAK && drawn % 2 == 1 => hard,
                    _ => &mut self.decks[kind],
                };
                let Some(index) = deck.deal(&mut self.random) else { break };
                let patch = self.bag.patch(kind, index);
                let symmetry = if self.flips { self.random.below(8) } else { 0 };
                for view in patch.chunks_exact(pixels) {
                    push_turned(view, side as usize, symmetry, &mut gray);
                }
                if kind != WEAK {
                    classes.push(kind as i64);
                }
            }
        }
        let drawn = (gray.len() / self.bag.patch_bytes) as i64;
        let gray = Tensor::from_slice(&gray).view([drawn, views, side, side]).to_kind(Kind::Float);
        Batch { gray, classes: Tensor::from_slice(&classes) }
    }
}

/// Appends a square view under one of the square's eight symmetries.
fn push_turned(view: &[u8], side: usize, symmetry: usize, out: &mut Vec<u8>) {
    if symmetry == 0 {
        out.extend_from_slice(view);
        return;
    }
    let (mirror_rows, mirror_columns, transpose) = (symmetry & 1 != 0, symmetry & 2 != 0, symmetry & 4 != 0);
    let mirrored = |at: usize, mirror: bool| if mirror { side - 1 - at } else { at };
    for row in 0..side {
        for column in 0..side {
            let (from_row, from_column) = (mirrored(row, mirror_rows), mirrored(column, mirror_columns));
            let at = if transpose { from_column * side + from_row } else { from_row * side + from_column };
            out.push(view[at]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn bag() -> Bag {
        let mut bag = Bag { patch_bytes: 4, ..Bag::default() };
        for (kind, gray) in bag.gray.iter_mut().enumerate() {
            *gray = (0..12).map(|index| (kind * 50 + index / 4) as u8).collect();
        }
        bag
    }

    const PLAN: BatchPlan = BatchPlan { background: 1, parenchyma: 0, hematoma: 3, skull: 0, weak: 2 };

    #[test]
    fn a_batch_has_its_kinds_in_order_and_each_patch_once() {
        let bag = bag();
        let mut sampler = Sampler::new(&bag, [1, 2], PLAN, true, Random::new(1));
        let batch = sampler.draw();
        assert_eq!(batch.gray.size(), [6, 1, 2, 2]);
        assert_eq!(Vec::<i64>::try_from(&batch.classes).unwrap(), [0, 2, 2, 2]);
        let first: Vec<f32> = Vec::try_from(batch.gray.select(1, 0).select(1, 0).select(1, 0)).unwrap();
        let hematoma: BTreeSet<i64> = first[1..4].iter().map(|&level| level as i64).collect();
        assert_eq!(hematoma.into_iter().collect::<Vec<_>>(), [100, 101, 102]);
        assert!(first[4..].iter().all(|&level| level >= 200.0));
    }

    #[test]
    fn half_of_the_weak_negatives_are_the_hard_ones() {
        let bag = bag();
        let mut sampler = Sampler::new(&bag, [1, 2], PLAN, false, Random::new(1));
        sampler.set_hard(vec![2]);
        for _ in 0..5 {
            let batch = sampler.draw();
            assert_eq!(batch.gray.double_value(&[5, 0, 0, 0]), 202.0);
        }
    }

    #[test]
    fn the_eight_symmetries_are_different() {
        let view: Vec<u8> = (0..9).collect();
        let turned: BTreeSet<Vec<u8>> = (0..8)
            .map(|symmetry| {
                let mut out = Vec::new();
                push_turned(&view, 3, symmetry, &mut out);
                out
            })
            .collect();
        assert_eq!(turned.len(), 8);
        assert!(turned.iter().all(|view| view[4] == 4));
    }
}
