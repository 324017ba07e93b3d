//! The slices of a series through reading, preparation and network, on all cores at once.
//!
//! A slice's own way has two steps: *read*, from the file to its prepared planes, and *judge*, from these and its
//! neighbours' to logits. Every worker takes the step that is nearest to a result: it judges the lowest slice whose
//! neighbours are there, or else reads the next one. So a single worker holds three slices at a time, and more hold
//! few more. Results come out in order, on the caller's thread, which works too while it waits for them.

use super::tissue::Sight;
use super::{Refusal, RefusalCode, Timings, milliseconds};
use crate::engine::{self, Engine};
use crate::model::Model;
use crate::patch::{Grid, Neighbourhood, Patches, Pyramid, View};
use crate::prep::{Placement, Preparation, Scratch};
use crate::series::{Series, SliceEntry};
use crate::stream::{SliceStream, StreamError};
use crate::window::Window;
use ndarray::Array2;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What one thread needs for itself.
pub(super) struct Worker {
    pub engine: Box<dyn Engine>,
    hu: Vec<i16>,
    scratch: Scratch,
}

impl Worker {
    pub fn new(engine: Box<dyn Engine>) -> Self {
        Self { engine, hu: Vec::new(), scratch: Scratch::default() }
    }
}

/// What is done with each slice.
pub(super) struct Settings<'a> {
    pub window: Window,
    pub steps: Preparation,
    pub grid: Grid,
    pub views: &'a [View],
    pub rows: usize,
    pub columns: usize,
    pub context: Context,
}

impl<'a> Settings<'a> {
    /// What a model asks for, with all slices to come out.
    pub fn of(model: &'a Model, window: Window, series: &Series) -> Self {
        let (manifest, rows, columns) = (model.manifest(), series.rows as usize, series.columns as usize);
        Self {
            window,
            steps: manifest.preparation.steps,
            grid: Grid::over(rows, columns, manifest.patch.size),
            views: &manifest.patch.views,
            rows,
            columns,
            context: Context::default(),
        }
    }
}

/// Slices of a stream that are there as neighbours only, and do not come out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context {
    /// The first one.
    pub before: bool,
    /// The last one.
    pub after: bool,
}

/// A slice's planes, ready to be cut.
pub(super) struct Prepared {
    pub gray: Array2<u8>,
    pub placement: Placement,
    pub sight: Sight,
    pyramid: Pyramid,
}

/// A slice that went through the network.
pub(super) struct Judged<'a> {
    pub entry: &'a SliceEntry,
    pub slice: Arc<Prepared>,
    pub patches: Patches,
    /// Of the unique patches.
    pub logits: Array2<f32>,
}

/// What comes out of the pipeline, slice by slice.
pub(super) enum Arrival<'r, 'a> {
    /// A slice with its logits.
    Judged(&'r Judged<'a>),
    /// One that cannot be read. Its neighbours are judged without it.
    Unreadable(StreamError),
}

/// Runs all slices of a stream through it; `take` gets them in order.
///
/// # Errors
/// [`RefusalCode::Internal`] where the network fails, which no valid model does, or a thread panics.
pub(super) fn run<'a>(
    workers: &mut [Worker],
    stream: &SliceStream<'a>,
    settings: &Settings<'_>,
    timings: &mut Timings,
    mut take: impl FnMut(Arrival<'_, 'a>),
) -> Result<(), Refusal> {
    let state = Mutex::new(State::new(stream.len(), workers.len(), settings.context));
    let line = Line { stream, settings, state, changed: Condvar::new() };
    let (own, others) = workers.split_first_mut().expect("there is a worker");
    std::thread::scope(|scope| {
        for worker in others {
            let line = &line;
            scope.spawn(move || {
                while let Some(step) = line.wait_for(State::next_step) {
                    line.work(step, worker);
                }
            });
        }
        // Should `take` panic, the others end as well.
        let _end = End(&line);
        while let Some(next) = line.wait_for(State::next_result_or_step) {
            match next {
                Next::Step(step) => line.work(step, own),
                Next::Result(Err(error)) => take(Arrival::Unreadable(error)),
                Next::Result(Ok(judged)) => {
                    take(Arrival::Judged(&judged));
                    line.lock().recycle(judged);
                    line.changed.notify_all();
                }
            }
        }
    });
    let state = line.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    timings.read_ms += state.timings.read_ms;
    timings.prepare_ms += state.timings.prepare_ms;
    timings.infer_ms += state.timings.infer_ms;
    state.failed.map_or(Ok(()), Err)
}

/// What the workers share.
struct Line<'l, 'a> {
    stream: &'l SliceStream<'a>,
    settings: &'l Settings<'l>,
    state: Mutex<State<'a>>,
    /// Told whenever somebody who waits may have something to do.
    changed: Condvar,
}

struct End<'l, 'a>(&'l Line<'l, 'a>);

impl Drop for End<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

/// How far each slice has come, and what is used again.
struct State<'a> {
    slots: Vec<Slot>,
    /// The slices that come out.
    wanted: Range<usize>,
    /// The next slices to be read, judged and handed over.
    to_read: usize,
    to_judge: usize,
    to_take: usize,
    /// Slices that are being read, or wait to be judged; this many at most.
    ahead: usize,
    most_ahead: usize,
    /// Slices that are being judged, or wait to be handed over; this many at most.
    open: usize,
    most_open: usize,
    /// The slice before the next one to be judged.
    before: Option<Arc<Prepared>>,
    results: BTreeMap<usize, Result<Judged<'a>, StreamError>>,
    spare_planes: Vec<Prepared>,
    spare_patches: Vec<(Patches, Array2<f32>)>,
    timings: Timings,
    failed: Option<Refusal>,
    ended: bool,
}

/// A slice between reading and judging.
enum Slot {
    /// Not read, or gone on.
    Empty,
    Unreadable,
    Ready(Arc<Prepared>),
}

/// What a worker does next.
enum Step {
    Read { index: usize, planes: Option<Prepared> },
    Judge { index: usize, around: [Option<Arc<Prepared>>; 3], buffers: Option<(Patches, Array2<f32>)> },
}

/// What the caller does next.
enum Next<'a> {
    Step(Step),
    Result(Result<Judged<'a>, StreamError>),
}

/// What there is for somebody who asks.
enum Answer<T> {
    Now(T),
    Later,
    Never,
}

impl<'a> State<'a> {
    fn new(slices: usize, workers: usize, context: Context) -> Self {
        let wanted = usize::from(context.before)..slices - usize::from(context.after);
        Self {
            slots: (0..slices).map(|_| Slot::Empty).collect(),
            to_read: 0,
            to_judge: 0,
            to_take: wanted.start,
            wanted,
            ahead: 0,
            // The slice to be judged and the one behind it; others that are read meanwhile.
            most_ahead: 1 + workers,
            open: 0,
            most_open: 2 * workers,
            before: None,
            results: BTreeMap::new(),
            spare_planes: Vec::new(),
            spare_patches: Vec::new(),
            timings: Timings::default(),
            failed: None,
            ended: false,
        }
    }

    fn next_step(&mut self) -> Answer<Step> {
        while self.to_judge < self.wanted.end {
            match &self.slots[self.to_judge] {
                Slot::Unreadable => self.to_judge += 1,
                Slot::Ready(neighbour) if self.to_judge < self.wanted.start => {
                    self.before = Some(Arc::clone(neighbour));
                    self.slots[self.to_judge] = Slot::Empty;
                    (self.to_judge, self.ahead) = (self.to_judge + 1, self.ahead - 1);
                }
                Slot::Ready(_) | Slot::Empty => break,
            }
        }
        if self.ended || self.failed.is_some() || self.to_judge >= self.wanted.end {
            return Answer::Never;
        }
        if self.open < self.most_open
            && let Some(after) = self.after_next()
        {
            let index = self.to_judge;
            let Slot::Ready(this) = std::mem::replace(&mut self.slots[index], Slot::Empty) else {
                unreachable!("`after_next` saw that it is there");
            };
            (self.to_judge, self.ahead, self.open) = (index + 1, self.ahead - 1, self.open + 1);
            let around = [self.before.replace(Arc::clone(&this)), Some(this), after];
            return Answer::Now(Step::Judge { index, around, buffers: self.spare_patches.pop() });
        }
        if self.ahead < self.most_ahead && self.to_read < self.slots.len() {
            let index = self.to_read;
            (self.to_read, self.ahead) = (index + 1, self.ahead + 1);
            return Answer::Now(Step::Read { index, planes: self.spare_planes.pop() });
        }
        Answer::Later
    }

    /// If the next slice to be judged is there: the one behind it, which is none after the last.
    fn after_next(&self) -> Option<Option<Arc<Prepared>>> {
        let Slot::Ready(_) = &self.slots[self.to_judge] else { return None };
        for slot in &self.slots[self.to_judge + 1..] {
            match slot {
                Slot::Empty => return None,
                Slot::Unreadable => {}
                Slot::Ready(after) => return Some(Some(Arc::clone(after))),
            }
        }
        Some(None)
    }

    fn next_result_or_step(&mut self) -> Answer<Next<'a>> {
        if self.failed.is_some() || self.to_take >= self.wanted.end {
            return Answer::Never;
        }
        if let Some(result) = self.results.remove(&self.to_take) {
            self.to_take += 1;
            return Answer::Now(Next::Result(result));
        }
        match self.next_step() {
            Answer::Now(step) => Answer::Now(Next::Step(step)),
            // The last slices are in others' hands.
            Answer::Later | Answer::Never => Answer::Later,
        }
    }

    fn recycle(&mut self, judged: Judged<'a>) {
        self.open -= 1;
        self.spare_patches.push((judged.patches, judged.logits));
        self.release(judged.slice);
    }

    fn release(&mut self, slice: Arc<Prepared>) {
        // Of several who hold it, the last one gets it.
        self.spare_planes.extend(Arc::into_inner(slice));
    }
}

impl<'a> Line<'_, 'a> {
    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        // Nothing panics while it is held; and if it did, the study would be refused.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an answer; None once there will be none.
    fn wait_for<T>(&self, mut ask: impl FnMut(&mut State<'a>) -> Answer<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            match ask(&mut state) {
                Answer::Now(answer) => return Some(answer),
                Answer::Never => return None,
                Answer::Later => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Does a step. A panic refuses the study, whichever thread it was.
    fn work(&self, step: Step, worker: &mut Worker) {
        let done = catch_unwind(AssertUnwindSafe(|| match step {
            Step::Read { index, planes } => {
                self.read(index, planes, worker);
                Ok(())
            }
            Step::Judge { index, around, buffers } => self.judge(index, around, buffers, worker),
        }));
        let done = done.unwrap_or_else(|_| Err("a thread panicked".to_owned()));
        if let Err(detail) = done {
            self.lock().failed.get_or_insert(Refusal { code: RefusalCode::Internal, detail });
        }
        self.changed.notify_all();
    }

    fn read(&self, index: usize, planes: Option<Prepared>, worker: &mut Worker) {
        let Settings { window, steps, rows, columns, .. } = self.settings;
        let started = Instant::now();
        let read = self.stream.read(index, &mut worker.hu);
        let read_ms = milliseconds(started.elapsed());
        let started = Instant::now();
        let slot = match &read {
            Ok(_) => {
                let mut planes = planes.unwrap_or_else(|| Prepared::empty(*rows, *columns));
                let gray = &mut planes.gray;
                window.apply(&worker.hu, gray.as_slice_mut().expect("planes are in standard layout"));
                planes.placement = steps.prepare(gray, &mut worker.scratch);
                planes.pyramid.fill(&*gray);
                planes.sight = Sight::of(gray, &worker.hu);
                Slot::Ready(Arc::new(planes))
            }
            Err(_) => Slot::Unreadable,
        };
        let mut state = self.lock();
        state.timings.read_ms += read_ms;
        state.timings.prepare_ms += milliseconds(started.elapsed());
        state.slots[index] = slot;
        if let Err(error) = read {
            state.ahead -= 1;
            state.results.insert(index, Err(error));
        }
    }

    fn judge(
        &self,
        index: usize,
        [before, this, after]: [Option<Arc<Prepared>>; 3],
        buffers: Option<(Patches, Array2<f32>)>,
        worker: &mut Worker,
    ) -> Result<(), String> {
        let slice = this.expect("the slice itself is always there");
        let (mut patches, mut logits) = buffers.unwrap_or_else(|| {
            (Patches::new(self.settings.grid, self.settings.views), Array2::zeros((0, 0)))
        });
        let started = Instant::now();
        patches.cut(Neighbourhood {
            before: before.as_ref().map(|slice| &slice.pyramid),
            this: &slice.pyramid,
            after: after.as_ref().map(|slice| &slice.pyramid),
        });
        let prepare_ms = milliseconds(started.elapsed());
        let started = Instant::now();
        worker.engine.run(&patches, &mut logits).map_err(|e| e.to_string())?;
        engine::check_finite(&logits).map_err(|e| e.to_string())?;
        let infer_ms = milliseconds(started.elapsed());
        let mut state = self.lock();
        state.timings.prepare_ms += prepare_ms;
        state.timings.infer_ms += infer_ms;
        [before, after].into_iter().flatten().for_each(|neighbour| state.release(neighbour));
        let entry = self.stream.entry(index);
        state.results.insert(index, Ok(Judged { entry, slice, patches, logits }));
        Ok(())
    }
}

impl Prepared {
    fn empty(rows: usize, columns: usize) -> Self {
        let gray = Array2::zeros((rows, columns));
        let (placement, sight) = (Placement::default(), Sight::default());
        Self { pyramid: Pyramid::empty(rows, columns), gray, placement, sight }
    }
}

#[cfg(test)]
mod tests;
