//! Windows: a few consecutive slices of a patient, changed the same way, as bags that share their places.
//!
//! The cutting is the engine's own, so that training sees what inference will. Windows are cut in a thread of their
//! own, some steps ahead of the optimizer.

use super::labels::bag_labels;
use crate::augment::Variation;
use crate::batch::push_turned;
use crate::random::Random;
use crate::recipe::Recipe;
use crate::shard::Shard;
use crate::split::{Side, Split};
use hemapatch::label::BagLabel;
use hemapatch::patch::{self, Grid, Neighbourhood, Pyramid};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;

/// Steps whose windows are cut ahead.
const AHEAD: usize = 4;

/// One slice of a window.
#[derive(Clone, Debug)]
pub struct WindowBag {
    /// What is known of the slice, label by label.
    pub labels: Vec<Option<bool>>,
    /// Place in the grid, row by row, and index of its patch in the window; ascending by place.
    pub patches: Vec<(usize, i64)>,
}

impl WindowBag {
    /// Index of the patch at a place, if the bag has it.
    #[must_use]
    pub fn row_at(&self, place: usize) -> Option<i64> {
        let found = self.patches.binary_search_by_key(&place, |&(place, _)| place);
        found.ok().map(|at| self.patches[at].1)
    }
}

/// Consecutive slices of one patient, foot to head.
#[derive(Clone, Debug)]
pub struct Window {
    /// `[patches, views, size, size]`: each different patch once.
    pub gray: Vec<u8>,
    /// Bytes of a patch.
    pub patch_bytes: usize,
    /// Columns of the grid that places are counted in.
    pub columns: usize,
    /// One bag a slice.
    pub bags: Vec<WindowBag>,
}

impl Window {
    /// How many different patches it has.
    #[must_use]
    pub fn patches(&self) -> usize {
        self.gray.len() / self.patch_bytes
    }
}

/// Cuts windows from the slices of one side's patients.
pub struct WindowCutter {
    shard: Shard,
    recipe: Recipe,
    labels: Vec<BagLabel>,
    /// Places of each patient's slices in the shard.
    patients: Vec<Range<usize>>,
    /// Slices that have a label, one list a label, and those known to have no hematoma: where windows begin.
    with: Vec<Vec<usize>>,
    without: Vec<usize>,
    /// A label that no slice has, or none is known to lack.
    unknown: Option<BagLabel>,
}

impl WindowCutter {
    /// A cutter for `side`'s patients.
    #[must_use]
    pub fn new(shard: Shard, split: &Split, side: Side, recipe: &Recipe) -> WindowCutter {
        let labels = recipe.mil.bag_labels();
        let patients = split.slices_of(shard.index(), side);
        let (mut with, mut without) = (vec![Vec::new(); labels.len()], Vec::new());
        let mut lacking = vec![0usize; labels.len()];
        for slice in patients.iter().cloned().flatten() {
            let known = bag_labels(&shard.index().slices[slice], &labels, recipe.labels.box_distance);
            for (((label, known), slices), lacking) in
                labels.iter().zip(known).zip(&mut with).zip(&mut lacking)
            {
                *lacking += usize::from(known == Some(false));
                match known {
                    Some(true) => slices.push(slice),
                    Some(false) if *label == BagLabel::Hematoma => without.push(slice),
                    _ => (),
                }
            }
        }
        let unknown = labels
            .iter()
            .zip(with.iter().zip(lacking))
            .find(|(_, (with, lacking))| with.is_empty() || *lacking == 0);
        let unknown = unknown.map(|(&label, _)| label);
        with.retain(|slices| !slices.is_empty());
        WindowCutter { shard, recipe: recipe.clone(), labels, patients, with, without, unknown }
    }

    /// A label that these patients cannot teach: no slice has it, or none is known to lack it.
    #[must_use]
    pub fn unknown_label(&self) -> Option<BagLabel> {
        self.unknown
    }

    /// Whether there is a slice with a label, and one without hematoma.
    #[must_use]
    pub fn has_both_kinds(&self) -> bool {
        !self.with.is_empty() && !self.without.is_empty()
    }

    /// The augmented windows of one step: every second one around a slice without hematoma, the others around slices
    /// with one of the labels in turn.
    #[must_use]
    pub fn cut_step(&self, step: usize, random: &mut Random) -> Vec<Window> {
        let plan = &self.recipe.mil;
        let pairs = plan.windows.div_ceil(2);
        (0..plan.windows)
            .map(|at| {
                let slices = if at % 2 == 1 {
                    &self.without
                } else {
                    &self.with[(step * pairs + at / 2) % self.with.len()]
                };
                let middle = slices[random.below(slices.len())];
                let pixels = self.recipe.patch_size.pixels();
                let variation = Variation::draw(&self.recipe.augmentation, pixels, random);
                let symmetry = if self.recipe.augmentation.flips { random.below(8) } else { 0 };
                let around = self.around(middle, plan.slices, random);
                self.cut(around, &variation, symmetry, random)
            })
            .collect()
    }

    /// At most `most` slices of known labels as they are, evenly spread: windows of one slice. Empty slices are left
    /// out.
    #[must_use]
    pub fn cut_plain(&self, most: usize) -> Vec<Window> {
        let mut slices: Vec<usize> = self.with.iter().flatten().chain(&self.without).copied().collect();
        slices.sort_unstable();
        slices.dedup();
        let chosen = most.min(slices.len());
        let mut random = Random::new(self.recipe.seed).fork(0x9b);
        let mut windows = Vec::with_capacity(chosen);
        for at in 0..chosen {
            let slice = slices[at * slices.len() / chosen];
            windows.push(self.cut(slice..slice + 1, &Variation::none(), 0, &mut random));
        }
        windows.retain(|window| window.patches() > 0);
        windows
    }

    /// So many slices of a patient with `middle` among them, anywhere.
    fn around(&self, middle: usize, count: usize, random: &mut Random) -> Range<usize> {
        let patient = self.patients.iter().find(|slices| slices.contains(&middle));
        let patient = patient.cloned().unwrap_or(middle..middle + 1);
        let count = count.min(patient.len());
        let first = (middle + 1).saturating_sub(count).max(patient.start);
        let last = middle.min(patient.end - count);
        let start = first + random.below(last - first + 1);
        start..start + count
    }

    fn cut(
        &self,
        slices: Range<usize>,
        variation: &Variation,
        symmetry: usize,
        random: &mut Random,
    ) -> Window {
        let recipe = &self.recipe;
        let (size, pixels) = (recipe.patch_size, recipe.patch_size.pixels());
        let patient = self.patients.iter().find(|patient| patient.contains(&slices.start));
        let patient = patient.cloned().unwrap_or(slices.clone());
        let reach = usize::from(recipe.views.iter().any(|view| view.slice_offset() != 0));
        let first = slices.start.saturating_sub(reach).max(patient.start);
        let last = (slices.end + reach).min(patient.end);
        let mut pyramids = Vec::new();
        for slice in first..last {
            // Classes are not looked at: bags are all that is labelled.
            let (gray, _) = variation.apply(&self.shard.slab(slice, &patient), random);
            pyramids.push(Pyramid::of(&gray));
        }
        let pyramid = |slice: usize| slice.checked_sub(first).and_then(|at| pyramids.get(at));
        let grid = Grid::over(self.shard.index().rows, self.shard.index().columns, size);
        let shown = |slice: usize, place: usize| {
            pyramid(slice)
                .is_some_and(|slice| patch::in_bag(slice, size, place / grid.columns, place % grid.columns))
        };
        let mut places: Vec<usize> =
            (0..grid.patches()).filter(|&place| slices.clone().any(|slice| shown(slice, place))).collect();
        if recipe.mil.places > 0 && places.len() > recipe.mil.places {
            random.shuffle(&mut places);
            places.truncate(recipe.mil.places);
            places.sort_unstable();
        }
        let patch_bytes = recipe.views.len() * pixels * pixels;
        let mut window = Window { gray: Vec::new(), patch_bytes, columns: grid.columns, bags: Vec::new() };
        let mut known: HashMap<Vec<u8>, i64> = HashMap::new();
        let (mut straight, mut turned) = (vec![0; patch_bytes], Vec::with_capacity(patch_bytes));
        for slice in slices {
            let Some(this) = pyramid(slice) else { continue };
            let around = Neighbourhood {
                before: slice.checked_sub(1).and_then(pyramid),
                this,
                after: pyramid(slice + 1),
            };
            let labels =
                bag_labels(&self.shard.index().slices[slice], &self.labels, recipe.labels.box_distance);
            let mut patches = Vec::with_capacity(places.len());
            for &place in places.iter().filter(|&&place| shown(slice, place)) {
                let (row, column) = (place / grid.columns, place % grid.columns);
                patch::cut(&recipe.views, around, size, row, column, &mut straight);
                turned.clear();
                for view in straight.chunks_exact(pixels * pixels) {
                    push_turned(view, pixels, symmetry, &mut turned);
                }
                let next = known.len() as i64;
                let index = *known.entry(turned.clone()).or_insert(next);
                if index == next {
                    window.gray.extend_from_slice(&turned);
                }
                patches.push((place, index));
            }
            window.bags.push(WindowBag { labels, patches });
        }
        window
    }
}

/// The windows of all steps, cut while earlier ones are in use.
pub struct Windows {
    receiver: Receiver<Vec<Window>>,
    thread: Option<JoinHandle<()>>,
}

impl Windows {
    /// Starts cutting the windows of these steps, each step's independent of those before it.
    #[must_use]
    pub fn start(cutter: WindowCutter, steps: Range<usize>) -> Windows {
        let (sender, receiver) = mpsc::sync_channel(AHEAD);
        let random = Random::new(cutter.recipe.seed).fork(0xb1);
        let thread = std::thread::spawn(move || {
            for step in steps {
                // The other side hangs up when training ends early.
                if sender.send(cutter.cut_step(step, &mut random.fork(step as u64))).is_err() {
                    return;
                }
            }
        });
        Windows { receiver, thread: Some(thread) }
    }
}

impl Iterator for Windows {
    type Item = Vec<Window>;

    /// The next step's windows; `None` after the last.
    fn next(&mut self) -> Option<Self::Item> {
        match self.receiver.recv() {
            Ok(windows) => Some(windows),
            Err(mpsc::RecvError) => {
                if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                    std::panic::resume_unwind(panic);
                }
                None
            }
        }
    }
}
