//! Batches: so many patches of each kind, drawn from a bag, mirrored and transposed.

use crate::bag::{Bag, KINDS, UNLABELLED, WEAK};
use crate::random::Random;
use crate::recipe::BatchPlan;
use crate::shares::Target;
use hemapatch::label::Class;
use tch::{Device, Kind, Tensor};

/// One step's patches: certain ones first, then weak negatives, then those with a pseudo-label.
#[derive(Debug)]
pub struct Batch {
    /// Gray levels as f32, `[patches, views, size, size]`.
    pub gray: Tensor,
    /// Class index of the certain patches, `[certain]`.
    pub classes: Tensor,
    /// Weak negatives.
    pub weak: i64,
    /// Class index of the pseudo-labelled patches, `[pseudo]`.
    pub pseudo: Tensor,
    /// 1 where a class is present, 0 where it is absent, -1 where that is unknown: f32, `[patches, 6]`.
    pub targets: Tensor,
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
    /// The unlabelled patches with a pseudo-label, by class index.
    pseudo: Vec<(usize, Deck)>,
    device: Device,
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
        let counts = plan.counts();
        let (hard, pseudo, device) = (None, Vec::new(), Device::Cpu);
        Sampler { bag, shape, counts, flips, decks, hard, pseudo, device, random }
    }

    /// From now on batches lie on `device`.
    #[must_use]
    pub fn on(self, device: Device) -> Sampler<'a> {
        Sampler { device, ..self }
    }

    /// From now on half of the weak negatives come from these.
    pub fn set_hard(&mut self, hard: Vec<usize>) {
        self.hard = (!hard.is_empty()).then(|| Deck::new(hard));
    }

    /// From now on unlabelled patches are drawn from these, by class index, as many of each class.
    pub fn set_pseudo(&mut self, pseudo: Vec<Vec<usize>>) {
        self.pseudo = pseudo
            .into_iter()
            .enumerate()
            .filter(|(_, cards)| !cards.is_empty())
            .map(|(class, cards)| (class, Deck::new(cards)))
            .collect();
    }

    /// The next batch. Kinds that the bag lacks are missing from it.
    pub fn draw(&mut self) -> Batch {
        let [views, side] = self.shape;
        let pixels = (side * side) as usize;
        let patches: usize = self.counts.iter().sum();
        let mut gray = Vec::with_capacity(patches * self.bag.patch_bytes);
        let mut classes: Vec<i64> = Vec::with_capacity(patches);
        let (mut weak, mut pseudo) = (0, Vec::new());
        let mut targets: Vec<f32> = Vec::with_capacity(patches * Class::COUNT);
        for kind in 0..KINDS {
            for drawn in 0..self.counts[kind] {
                let among = self.pseudo.len();
                let (deck, class) = match (&mut self.hard, kind) {
                    (Some(hard), WEAK) if drawn % 2 == 1 => (hard, None),
                    (_, UNLABELLED) if among == 0 => break,
                    (_, UNLABELLED) => {
                        let (class, deck) = &mut self.pseudo[drawn % among];
                        (deck, Some(*class as i64))
                    }
                    _ => (&mut self.decks[kind], (kind < WEAK).then_some(kind as i64)),
                };
                let Some(index) = deck.deal(&mut self.random) else { break };
                match kind {
                    WEAK => weak += 1,
                    UNLABELLED => pseudo.extend(class),
                    _ => classes.extend(class),
                }
                targets.extend(self.bag.targets[kind][index].map(|target| match target {
                    Target::Present => 1.0,
                    Target::Absent => 0.0,
                    Target::Unknown => -1.0,
                }));
                let patch = self.bag.patch(kind, index);
                let symmetry = if self.flips { self.random.below(8) } else { 0 };
                for view in patch.chunks_exact(pixels) {
                    push_turned(view, side as usize, symmetry, &mut gray);
                }
            }
        }
        let drawn = (gray.len() / self.bag.patch_bytes) as i64;
        // Bytes travel, floats are made where they are used.
        let gray = Tensor::from_slice(&gray).view([drawn, views, side, side]).to_device(self.device);
        Batch {
            gray: gray.to_kind(Kind::Float),
            classes: Tensor::from_slice(&classes).to_device(self.device),
            weak,
            pseudo: Tensor::from_slice(&pseudo).to_device(self.device),
            targets: Tensor::from_slice(&targets).view([drawn, -1]).to_device(self.device),
        }
    }
}

/// Appends a square view under one of the square's eight symmetries.
pub(crate) fn push_turned(view: &[u8], side: usize, symmetry: usize, out: &mut Vec<u8>) {
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
            *gray = (0..12).map(|index| (kind * 30 + index / 4) as u8).collect();
        }
        bag.targets = std::array::from_fn(|_| vec![[Target::Unknown; Class::COUNT]; 3]);
        bag
    }

    const PLAN: BatchPlan = BatchPlan {
        background: 1,
        parenchyma: 0,
        hematoma: 3,
        skull: 0,
        ventricle: 0,
        csf: 0,
        weak: 2,
        unlabelled: 0,
    };

    #[test]
    fn a_batch_has_its_kinds_in_order_and_each_patch_once() {
        let bag = bag();
        let mut sampler = Sampler::new(&bag, [1, 2], PLAN, true, Random::new(1));
        let batch = sampler.draw();
        assert_eq!(batch.gray.size(), [6, 1, 2, 2]);
        assert_eq!(Vec::<i64>::try_from(&batch.classes).unwrap(), [0, 2, 2, 2]);
        let first: Vec<f32> = Vec::try_from(batch.gray.select(1, 0).select(1, 0).select(1, 0)).unwrap();
        let hematoma: BTreeSet<i64> = first[1..4].iter().map(|&level| level as i64).collect();
        assert_eq!(hematoma.into_iter().collect::<Vec<_>>(), [60, 61, 62]);
        assert!(first[4..].iter().all(|&level| level >= 180.0));
    }

    #[test]
    fn pseudo_labelled_patches_come_last_and_evenly_by_class() {
        let bag = bag();
        let plan = BatchPlan { unlabelled: 4, ..PLAN };
        let mut sampler = Sampler::new(&bag, [1, 2], plan, false, Random::new(1));
        assert_eq!(sampler.draw().pseudo.numel(), 0, "nothing has a pseudo-label yet");
        sampler.set_pseudo(vec![vec![0], vec![], vec![1, 2]]);
        let batch = sampler.draw();
        assert_eq!((batch.classes.size()[0], batch.weak), (4, 2));
        assert_eq!(Vec::<i64>::try_from(&batch.pseudo).unwrap(), [0, 2, 0, 2]);
        assert_eq!(batch.gray.double_value(&[6, 0, 0, 0]), 210.0);
        assert!(batch.gray.double_value(&[7, 0, 0, 0]) > 210.0);
        assert_eq!(batch.targets.size(), [10, 6]);
    }

    #[test]
    fn half_of_the_weak_negatives_are_the_hard_ones() {
        let bag = bag();
        let mut sampler = Sampler::new(&bag, [1, 2], PLAN, false, Random::new(1));
        sampler.set_hard(vec![2]);
        for _ in 0..5 {
            let batch = sampler.draw();
            assert_eq!(batch.gray.double_value(&[5, 0, 0, 0]), 182.0);
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
