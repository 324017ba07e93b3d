//! A round's patches: cut from newly augmented slices, sorted by what is known of them.
//!
//! The cutting is the engine's own, so that training sees what inference will. A [`Cutter`] works
//! in a thread of its own, one round ahead of the optimizer.

use crate::augment::Variation;
use crate::label_rule::{Fill, PatchLabel, patch_label};
use crate::random::Random;
use crate::recipe::Recipe;
use crate::shard::{Shard, ShardError};
use crate::split::{Side, Split};
use hemapatch::label::Class;
use hemapatch::patch::{self, Neighbourhood, Pyramid};
use ndarray::{Array2, s};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;

/// Kinds of patches in a bag: the four certain classes, then weak negatives.
pub const KINDS: usize = Class::COUNT + 1;

/// Index of the weak negatives among the kinds.
pub const WEAK: usize = Class::COUNT;

/// At most this many patches of a kind are kept of a slice: neighbours in plain tissue repeat
/// each other. All hematoma is kept.
const MOST_OF_A_SLICE: [usize; KINDS] = [4, 24, usize::MAX, 12, 96];

/// Patches by kind, as gray levels one after the other.
#[derive(Clone, Debug, Default)]
pub struct Bag {
    /// `[patches, views, size, size]` of each kind.
    pub gray: [Vec<u8>; KINDS],
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
            }
        }
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
    /// Places of each patient's slices in the shard.
    patients: Vec<Range<usize>>,
    random: Random,
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
        }
        let patients = index
            .patients()
            .into_iter()
            .filter(|(patient, _)| split.side_of(patient) == Some(side))
            .map(|(_, slices)| slices)
            .collect();
        let random = Random::new(recipe.seed).fork(0xc0);
        Cutter { shard, recipe, patients, random }
    }

    /// The augmented bag of round `round`; any round can be cut without those before it.
    ///
    /// # Errors
    /// [`ShardError`] if the shard cannot be read.
    pub fn cut_round(&mut self, round: usize) -> Result<Bag, ShardError> {
        let mut bag = Bag::empty(&self.recipe);
        let random = self.random.fork(round as u64);
        let pixels = self.recipe.patch_size.pixels();
        let shift = if self.shard.index().rows > pixels { pixels } else { 1 };
        for (at, slices) in self.patients.clone().into_iter().enumerate() {
            let mut random = random.fork(at as u64);
            for repeat in 0..self.recipe.training.boxed_repeats {
                let variation = Variation::draw(&self.recipe.augmentation, shift, &mut random);
                self.cut_patient(slices.clone(), &variation, repeat > 0, &mut random, &mut bag)?;
            }
        }
        Ok(bag)
    }

    /// A bag of the slices as they are.
    ///
    /// # Errors
    /// [`ShardError`] if the shard cannot be read.
    pub fn cut_plain(&mut self) -> Result<Bag, ShardError> {
        let mut bag = Bag::empty(&self.recipe);
        let mut random = self.random.fork(u64::MAX);
        for slices in self.patients.clone() {
            self.cut_patient(slices, &Variation::none(), false, &mut random, &mut bag)?;
        }
        Ok(bag)
    }

    /// Cuts one patient's slices, all changed the same way; `only_hematoma` from boxed slices.
    fn cut_patient(
        &mut self,
        slices: Range<usize>,
        variation: &Variation,
        only_hematoma: bool,
        random: &mut Random,
        bag: &mut Bag,
    ) -> Result<(), ShardError> {
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
                    let (gray, classes) = (self.shard.gray(other)?, self.shard.classes(other)?);
                    let (gray, classes) = variation.apply(&gray, &classes, random);
                    vacant.insert((Pyramid::of(&gray), classes));
                }
            }
            let beside =
                |other: Option<usize>| other.and_then(|other| kept.get(&other)).map(|(pyramid, _)| pyramid);
            let Some((this, classes)) = kept.get(&slice) else { continue };
            let around =
                Neighbourhood { before: beside(slice.checked_sub(1)), this, after: beside(Some(slice + 1)) };
            self.cut_slice(slice, around, classes, only_hematoma, random, bag);
        }
        Ok(())
    }

    fn cut_slice(
        &self,
        slice: usize,
        around: Neighbourhood<'_>,
        classes: &Array2<u8>,
        only_hematoma: bool,
        random: &mut Random,
        bag: &mut Bag,
    ) {
        let (recipe, size) = (&self.recipe, self.recipe.patch_size);
        let entry = &self.shard.index().slices[slice];
        let far_from_boxes = recipe.labels.weak_negatives
            && entry.box_distance.is_none_or(|distance| distance >= recipe.labels.box_distance);
        let mut places: [Vec<(usize, usize)>; KINDS] = Default::default();
        let fill = Fill { other: recipe.labels.fill, hematoma: recipe.labels.hematoma_fill };
        for row in 0..classes.nrows() / size.pixels() {
            for column in 0..classes.ncols() / size.pixels() {
                let (top, left) = (row * size.pixels(), column * size.pixels());
                let pixels = classes.slice(s![top..top + size.pixels(), left..left + size.pixels()]);
                let kind = match patch_label(pixels, fill, far_from_boxes) {
                    PatchLabel::Certain(class) => class.index(),
                    PatchLabel::WeakNegative => WEAK,
                    PatchLabel::Unknown => continue,
                };
                if !only_hematoma || kind == Class::Hematoma.index() {
                    places[kind].push((row, column));
                }
            }
        }
        for (kind, places) in places.iter_mut().enumerate() {
            if places.len() > MOST_OF_A_SLICE[kind] {
                random.shuffle(places);
                places.truncate(MOST_OF_A_SLICE[kind]);
            }
            for &(row, column) in places.iter() {
                let gray = &mut bag.gray[kind];
                let start = gray.len();
                gray.resize(start + bag.patch_bytes, 0);
                patch::cut(&recipe.views, around, size, row, column, &mut gray[start..]);
            }
        }
    }
}

/// The bags of all rounds, each cut while the one before it is in use.
pub struct Bags {
    receiver: Receiver<Result<Bag, ShardError>>,
    thread: Option<JoinHandle<()>>,
}

impl Bags {
    /// Starts cutting the first round's bag.
    #[must_use]
    pub fn start(shard: Shard, split: &Split, recipe: &Recipe) -> Bags {
        let mut cutter = Cutter::new(shard, split, Side::Training, recipe);
        let rounds = recipe.training.rounds;
        // A rendezvous: one bag in use, one waiting, none piling up.
        let (sender, receiver) = mpsc::sync_channel(0);
        let thread = std::thread::spawn(move || {
            for round in 0..rounds {
                let bag = cutter.cut_round(round);
                let failed = bag.is_err();
                // The other side hangs up when training ends early.
                if sender.send(bag).is_err() || failed {
                    return;
                }
            }
        });
        Bags { receiver, thread: Some(thread) }
    }
}

impl Iterator for Bags {
    type Item = Result<Bag, ShardError>;

    /// The next round's bag; `None` after the last.
    fn next(&mut self) -> Option<Result<Bag, ShardError>> {
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
