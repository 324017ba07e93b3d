//! A round's patches: cut from newly augmented slices, sorted by what is known of them.
//!
//! The cutting is the engine's own, so that training sees what inference will. A [`Cutter`] works
//! in a thread of its own, one round ahead of the optimizer.

use crate::augment::Variation;
use crate::random::Random;
use crate::recipe::{Dealt, Recipe};
use crate::shard::Shard;
use crate::shares::{Fill, PatchLabel, Shares, Target};
use crate::split::{Side, Split};
use hemapatch::label::Class;
use hemapatch::patch::{self, Neighbourhood, Pyramid};
use ndarray::{Array2, s};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;

/// Kinds of patches in a bag: the certain classes, then weak negatives, then unlabelled ones.
pub const KINDS: usize = Class::COUNT + 2;

/// Index of the weak negatives among the kinds.
pub const WEAK: usize = Class::COUNT;

/// Index of the unlabelled patches among the kinds.
pub const UNLABELLED: usize = Class::COUNT + 1;

/// At most this many patches of a kind are kept of a slice: neighbours in plain tissue repeat
/// each other. All hematoma is kept.
const MOST_OF_A_SLICE: [usize; KINDS] = [4, 24, usize::MAX, 12, 12, 12, 96, 48];

/// Patches by kind, as gray levels one after the other.
#[derive(Clone, Debug, Default)]
pub struct Bag {
    /// `[patches, views, size, size]` of each kind.
    pub gray: [Vec<u8>; KINDS],
    /// What is known of each class in each patch, by index.
    pub targets: [Vec<[Target; Class::COUNT]>; KINDS],
    /// Bytes of a patch.
    pub patch_bytes: usize,
}

impl Bag {
    fn empty(recipe: &Recipe) -> Bag {
        let pixels = recipe.patch_size.pixels();
        Bag { patch_bytes: recipe.views.len() * pixels * pixels, ..Bag::default() }
    }

    /// Patches of a kind.
    #[must_use]
    pub fn count(&self, kind: usize) -> usize {
        self.gray[kind].len() / self.patch_bytes.max(1)
    }

    /// Keeps at most `most` patches of each kind, evenly spread over the bag.
    pub fn thin(&mut self, most: usize) {
        for kind in 0..KINDS {
            let count = self.count(kind);
            if count > most {
                let kept: Vec<u8> =
                    (0..most).flat_map(|index| self.patch(kind, index * count / most).to_vec()).collect();
                self.gray[kind] = kept;
                self.targets[kind] =
                    (0..most).map(|index| self.targets[kind][index * count / most]).collect();
            }
        }
    }

    /// Those of a kind's patches at `places` that score highest, at most `most`, the highest first.
    ///
    /// # Errors
    /// Whatever `score` fails with; it is given patches one after the other and gives a number for each.
    pub fn hardest<E>(
        &self,
        kind: usize,
        places: &[usize],
        most: usize,
        score: impl FnOnce(&[u8]) -> Result<Vec<f32>, E>,
    ) -> Result<Vec<usize>, E> {
        let gray: Vec<u8> = places.iter().flat_map(|&place| self.patch(kind, place)).copied().collect();
        let mut ranked: Vec<(f32, usize)> = score(&gray)?.into_iter().zip(places.iter().copied()).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        ranked.truncate(most);
        Ok(ranked.into_iter().map(|(_, place)| place).collect())
    }

    /// One patch of a kind.
    #[must_use]
    pub fn patch(&self, kind: usize, index: usize) -> &[u8] {
        &self.gray[kind][index * self.patch_bytes..][..self.patch_bytes]
    }
}

/// Cuts bags from the slices of one side's patients.
pub struct Cutter {
    shard: Shard,
    recipe: Recipe,
    side: Side,
    patients: Vec<Patient>,
    random: Random,
}

/// One patient of a cutter.
#[derive(Clone)]
struct Patient {
    /// Places of the slices in the shard.
    slices: Range<usize>,
    /// Whether labels may be learned from; else all patches are unlabelled (P18).
    labelled: bool,
}

impl Cutter {
    /// A cutter for `side`'s patients.
    #[must_use]
    pub fn new(shard: Shard, split: &Split, side: Side, recipe: &Recipe) -> Cutter {
        let mut recipe = recipe.clone();
        let index = shard.index();
        if index.rows <= recipe.patch_size.pixels() {
            // Slices of one patch: there is nothing around it that could be turned into it.
            (recipe.augmentation.rotation_deg, recipe.augmentation.size_percent) = (0.0, 0.0);
            // Nor are they slices of one head.
            recipe.augmentation.thickness = 0.0;
        }
        let of_side = |patient: &str| match recipe.split.by {
            Dealt::Patient => split.side_of(patient) == Some(side),
            // Test patients stay unseen, whatever is dealt out.
            Dealt::Patch => matches!(split.side_of(patient), Some(Side::Training | Side::Validation)),
        };
        let mut patients: Vec<Patient> = index
            .patients()
            .into_iter()
            .filter(|(patient, _)| of_side(patient))
            .map(|(_, slices)| Patient { slices, labelled: true })
            .collect();
        let random = Random::new(recipe.seed).fork(0xc0);
        if let (Some(semi), Side::Training) = (&recipe.semi, side) {
            let mut order: Vec<usize> = (0..patients.len()).collect();
            random.fork(1).shuffle(&mut order);
            order.iter().skip(semi.labelled_patients).for_each(|&at| patients[at].labelled = false);
        }
        Cutter { shard, recipe, side, patients, random }
    }

    /// The augmented bag of round `round`; any round can be cut without those before it.
    #[must_use]
    pub fn cut_round(&self, round: usize) -> Bag {
        let mut bag = Bag::empty(&self.recipe);
        let random = self.random.fork(round as u64);
        let pixels = self.recipe.patch_size.pixels();
        let shift =
            if self.recipe.augmentation.shift && self.shard.index().rows > pixels { pixels } else { 1 };
        for (at, patient) in self.patients.iter().enumerate() {
            let mut random = random.fork(at as u64);
            let repeats = if patient.labelled { self.recipe.training.boxed_repeats } else { 1 };
            for repeat in 0..repeats {
                let variation = Variation::draw(&self.recipe.augmentation, shift, &mut random);
                self.cut_patient(patient, &variation, repeat > 0, &mut random, &mut bag);
            }
        }
        bag
    }

    /// A bag of the slices as they are.
    #[must_use]
    pub fn cut_plain(&self) -> Bag {
        let mut bag = Bag::empty(&self.recipe);
        let mut random = self.random.fork(u64::MAX);
        for patient in &self.patients {
            self.cut_patient(patient, &Variation::none(), false, &mut random, &mut bag);
        }
        bag
    }

    /// Cuts one patient's slices, all changed the same way; `only_hematoma` from boxed slices.
    fn cut_patient(
        &self,
        patient: &Patient,
        variation: &Variation,
        only_hematoma: bool,
        random: &mut Random,
        bag: &mut Bag,
    ) {
        let slices = patient.slices.clone();
        let reach = usize::from(self.recipe.views.iter().any(|view| view.slice_offset() != 0));
        let wanted: Vec<usize> = slices
            .clone()
            .filter(|&slice| !only_hematoma || self.shard.index().slices[slice].boxed)
            .collect();
        let mut kept: BTreeMap<usize, (Pyramid, Array2<u8>)> = BTreeMap::new();
        for slice in wanted {
            let (first, last) =
                (slice.saturating_sub(reach).max(slices.start), (slice + reach).min(slices.end - 1));
            kept.retain(|&other, _| other >= first);
            for other in first..=last {
                if let Entry::Vacant(vacant) = kept.entry(other) {
                    let (gray, classes) = variation.apply(&self.shard.slab(other, &slices), random);
                    vacant.insert((Pyramid::of(&gray), classes));
                }
            }
            let beside =
                |other: Option<usize>| other.and_then(|other| kept.get(&other)).map(|(pyramid, _)| pyramid);
            let Some((this, classes)) = kept.get(&slice) else { continue };
            let around =
                Neighbourhood { before: beside(slice.checked_sub(1)), this, after: beside(Some(slice + 1)) };
            let wanted = Wanted { labelled: patient.labelled, only_hematoma };
            self.cut_slice(slice, around, classes, wanted, random, bag);
        }
    }

    fn cut_slice(
        &self,
        slice: usize,
        around: Neighbourhood<'_>,
        classes: &Array2<u8>,
        wanted: Wanted,
        random: &mut Random,
        bag: &mut Bag,
    ) {
        let (recipe, size) = (&self.recipe, self.recipe.patch_size);
        let known = recipe.method.classes();
        let of_slice = self.random.fork(0xde).fork(slice as u64);
        let entry = &self.shard.index().slices[slice];
        let far_from_boxes = recipe.labels.weak_negatives
            && entry.box_distance.is_none_or(|distance| distance >= recipe.labels.box_distance);
        let mut places: [Vec<Place>; KINDS] = Default::default();
        let fill = Fill { other: recipe.labels.fill, hematoma: recipe.labels.hematoma_fill };
        let grid = (classes.nrows() / size.pixels(), classes.ncols() / size.pixels());
        let shares = Array2::from_shape_fn(grid, |(row, column)| {
            let (top, left) = (row * size.pixels(), column * size.pixels());
            Shares::of(classes.slice(s![top..top + size.pixels(), left..left + size.pixels()]))
        });
        for row in 0..grid.0 {
            for column in 0..grid.1 {
                if recipe.split.by == Dealt::Patch && dealt_to(&of_slice, row, column) != self.side {
                    continue;
                }
                let at_rim = recipe.labels.rim.is_some_and(|rim| is_rim(&shares, (row, column), rim, fill));
                let shares = &shares[[row, column]];
                let kind = match shares.label(fill, known, far_from_boxes || at_rim) {
                    // Air teaches nothing that the few labels do not.
                    PatchLabel::Certain(Class::Background) if !wanted.labelled => continue,
                    _ if !wanted.labelled => UNLABELLED,
                    PatchLabel::Certain(class) => class.index(),
                    PatchLabel::WeakNegative => WEAK,
                    PatchLabel::Unknown => continue,
                };
                if !wanted.only_hematoma || kind == Class::Hematoma.index() {
                    let targets = shares.targets(recipe.labels.present, far_from_boxes || at_rim);
                    places[kind].push(Place { row, column, targets });
                }
            }
        }
        for (kind, places) in places.iter_mut().enumerate() {
            if places.len() > MOST_OF_A_SLICE[kind] {
                random.shuffle(places);
                places.truncate(MOST_OF_A_SLICE[kind]);
            }
            for &Place { row, column, targets } in places.iter() {
                bag.targets[kind].push(targets);
                let gray = &mut bag.gray[kind];
                let start = gray.len();
                gray.resize(start + bag.patch_bytes, 0);
                patch::cut(&recipe.views, around, size, row, column, &mut gray[start..]);
            }
        }
    }
}

/// Whether a patch lies beside one that hematoma fills, and has itself no more of it than `most`.
fn is_rim(shares: &Array2<Shares>, (row, column): (usize, usize), most: f64, fill: Fill) -> bool {
    let around = |at: usize, end: usize| at.saturating_sub(1)..(at + 2).min(end);
    shares[[row, column]].hematoma() <= most
        && shares
            .slice(s![around(row, shares.nrows()), around(column, shares.ncols())])
            .iter()
            .any(|beside| beside.hematoma() >= fill.hematoma)
}

/// What a slice is cut for.
#[derive(Clone, Copy)]
struct Wanted {
    labelled: bool,
    only_hematoma: bool,
}

/// A patch of a slice's grid, before it is cut.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
    targets: [Target; Class::COUNT],
}

/// The side that a patch falls to where patches are dealt out: 70 % to learn from, a fifth of them to
/// choose with, and 30 % for the test (P8).
fn dealt_to(of_slice: &Random, row: usize, column: usize) -> Side {
    match of_slice.fork(row as u64).fork(column as u64).below(100) {
        0..56 => Side::Training,
        56..70 => Side::Validation,
        _ => Side::Test,
    }
}

/// The bags of all rounds from one on, each cut while the one before it is in use.
pub struct Bags {
    receiver: Receiver<Bag>,
    thread: Option<JoinHandle<()>>,
}

impl Bags {
    /// Starts cutting the bag of round `first`.
    #[must_use]
    pub fn start(shard: Shard, split: &Split, recipe: &Recipe, first: usize) -> Bags {
        let cutter = Cutter::new(shard, split, Side::Training, recipe);
        let rounds = recipe.training.rounds;
        // A rendezvous: one bag in use, one waiting, none piling up.
        let (sender, receiver) = mpsc::sync_channel(0);
        let thread = std::thread::spawn(move || {
            for round in first..rounds {
                // The other side hangs up when training ends early.
                if sender.send(cutter.cut_round(round)).is_err() {
                    return;
                }
            }
        });
        Bags { receiver, thread: Some(thread) }
    }
}

impl Iterator for Bags {
    type Item = Bag;

    /// The next round's bag; `None` after the last.
    fn next(&mut self) -> Option<Bag> {
        match self.receiver.recv() {
            Ok(bag) => Some(bag),
            Err(mpsc::RecvError) => {
                if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                    std::panic::resume_unwind(panic);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label_rule::UNCERTAIN;

    #[test]
    fn the_rim_lies_beside_a_filled_patch_and_has_little_itself() {
        // Three patches in a row, 10 pixels each: filled, touched, free; a second row below is free.
        let classes = Array2::from_shape_fn((20, 40), |(row, column)| {
            if row < 10 && column < 11 { Class::Hematoma as u8 } else { UNCERTAIN }
        });
        let shares = Array2::from_shape_fn((2, 4), |(row, column)| {
            Shares::of(classes.slice(s![10 * row..10 * row + 10, 10 * column..10 * column + 10]))
        });
        let fill = Fill { other: 0.8, hematoma: 0.5 };
        let rim = |most| shares.indexed_iter().filter(|&(at, _)| is_rim(&shares, at, most, fill)).count();
        assert_eq!(rim(0.1), 3, "right, below, and below right of the filled one");
        assert_eq!(rim(0.05), 2, "the touched one has a tenth");
    }
}
