use super::*;
use crate::dicom::crafted::Crafted;
use crate::engine::{EngineError, Precision};
use crate::limits::Limits;
use crate::patch::PatchSize;
use crate::prep::{Bone, Centering};
use crate::series::{Series, assemble, find};
use crate::simd::Level;
use std::path::Path;

/// Gives the first pixel of each view.
struct FirstPixels {
    panics_at: Option<u8>,
}

impl Engine for FirstPixels {
    fn run(&mut self, patches: &Patches, logits: &mut Array2<f32>) -> Result<(), EngineError> {
        let views: Vec<f32> = patches.unique().chunks(256).map(|view| f32::from(view[0])).collect();
        assert_ne!(self.panics_at.map(f32::from), Some(views[1]), "told to");
        *logits = Array2::from_shape_vec((1, 3), views).unwrap();
        Ok(())
    }

    fn another(&self) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(FirstPixels { panics_at: self.panics_at }))
    }

    fn name(&self) -> &'static str {
        "first pixels"
    }

    fn precision(&self) -> Precision {
        Precision::F32
    }

    fn level(&self) -> Option<Level> {
        None
    }
}

/// Slices of one gray level each: 10, 11, 12, ...; those in `broken` can no longer be read.
fn series(folder: &Path, slices: u8, broken: &[u8]) -> Series {
    let path = |number: u8| folder.join(format!("{number:03}"));
    for number in 0..slices {
        let mut slice = Crafted::slice(16, 16)
            .text(0x0008, 0x0018, b"UI", &format!("1.2.{number}"))
            .text(0x0020, 0x0032, b"DS", &format!("0\\0\\{}", 5 * i32::from(number)))
            .text(0x0028, 0x1052, b"DS", "0");
        slice.cells.fill(u16::from(10 + number));
        std::fs::write(path(number), slice.file()).unwrap();
    }
    let limits = Limits::default();
    let series = assemble(find(&[folder.to_owned()], &limits), &limits).studies.remove(0).series.remove(0);
    broken.iter().for_each(|&number| std::fs::write(path(number), b"short").unwrap());
    series
}

/// The three levels that each slice was judged by; None for those that could not be read.
fn judge(series: &Series, threads: usize, panics_at: Option<u8>) -> Result<Vec<Option<[u8; 3]>>, Refusal> {
    judge_part(series, 0..series.slices.len(), Context::default(), threads, panics_at)
}

fn judge_part(
    series: &Series,
    part: Range<usize>,
    context: Context,
    threads: usize,
    panics_at: Option<u8>,
) -> Result<Vec<Option<[u8; 3]>>, Refusal> {
    let limits = Limits::default();
    let first = part.start + usize::from(context.before);
    let views = [-1, 0, 1].map(|offset| View::new(1, offset).unwrap());
    let settings = Settings {
        window: Window::new(0, 255).unwrap(),
        steps: Preparation { denoise: false, bone: Bone::Keep, center: Centering::Off },
        grid: Grid::over(16, 16, PatchSize::SIXTEEN),
        views: &views,
        rows: 16,
        columns: 16,
        context,
    };
    let mut workers: Vec<Worker> =
        (0..threads).map(|_| Worker::new(Box::new(FirstPixels { panics_at }))).collect();
    let mut seen = Vec::new();
    let stream = SliceStream::part(series, part, &limits);
    run(&mut workers, &stream, &settings, &mut Timings::default(), |arrival| match arrival {
        Arrival::Unreadable(_) => seen.push(None),
        Arrival::Judged(Judged { entry, logits, .. }) => {
            assert_eq!(entry.z_mm, 5.0 * (first + seen.len()) as f64);
            seen.push(Some([0, 1, 2].map(|view| logits[[0, view]] as u8)));
        }
    })?;
    Ok(seen)
}

#[test]
fn slices_come_out_in_order_with_their_neighbours_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    for broken in [&[][..], &[0], &[6], &[2, 3], &[0, 1, 3, 5, 6], &[0, 1, 2, 3, 4, 5, 6]] {
        let series = series(folder.path(), 7, broken);
        let whole: Vec<u8> = (0..7).filter(|number| !broken.contains(number)).collect();
        let expected: Vec<Option<[u8; 3]>> = (0..7u8)
            .map(|number| {
                let at = whole.iter().position(|&other| other == number)?;
                let level = |at: usize| 10 + whole[at];
                // At the ends a slice stands in for the neighbour that is missing.
                Some([level(at.saturating_sub(1)), level(at), level((at + 1).min(whole.len() - 1))])
            })
            .collect();
        for threads in 1..=5 {
            assert_eq!(judge(&series, threads, None).unwrap(), expected, "{broken:?}, {threads} threads");
        }
    }
}

#[test]
fn a_part_is_judged_as_it_is_in_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    for broken in [&[][..], &[3]] {
        let series = series(folder.path(), 7, broken);
        let whole = judge(&series, 1, None).unwrap();
        for (first, last) in (0..7).flat_map(|first| (first + 1..=7).map(move |last| (first, last))) {
            let context = Context { before: first > 0, after: last < 7 };
            let part = first - usize::from(context.before)..last + usize::from(context.after);
            let beside_a_gap = [part.start, part.end - 1].iter().any(|end| broken.contains(&(*end as u8)));
            for threads in 1..=3 {
                let judged = judge_part(&series, part.clone(), context, threads, None).unwrap();
                assert!(judged == whole[first..last] || beside_a_gap, "{first} to {last}: {judged:?}");
                assert_eq!(judged.len(), last - first);
            }
        }
    }
}

#[test]
fn a_panic_in_any_thread_refuses_the_study() {
    let folder = tempfile::tempdir().unwrap();
    let series = series(folder.path(), 7, &[]);
    for threads in 1..=3 {
        for level in 10..17 {
            let refusal = judge(&series, threads, Some(level)).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::Internal);
            assert_eq!(refusal.detail, "a thread panicked");
        }
    }
}

/// A thousand slices pass, and as many planes and patches are allocated as for ten.
#[test]
fn a_long_series_takes_no_more_memory() {
    let allocated = |slices: usize, workers: usize| {
        let mut state = State::new(slices, workers, Context::default());
        let (mut under_way, mut planes_made, mut patches_made) = (Vec::new(), 0, 0);
        loop {
            while under_way.len() < workers
                && let Answer::Now(step) = state.next_step()
            {
                under_way.push(step);
            }
            // Who began last ends first: results wait for the slowest.
            match under_way.pop() {
                Some(Step::Read { index, planes }) => {
                    planes_made += usize::from(planes.is_none());
                    let planes = planes.unwrap_or_else(|| Prepared::empty(1, 1));
                    state.slots[index] = Slot::Ready(Arc::new(planes));
                }
                Some(Step::Judge { around, buffers, .. }) => {
                    patches_made += usize::from(buffers.is_none());
                    let (patches, logits) = buffers.unwrap_or_else(|| {
                        (Patches::new(Grid::over(1, 1, PatchSize::SIXTEEN), &[]), Array2::zeros((0, 0)))
                    });
                    state.open -= 1;
                    state.spare_patches.push((patches, logits));
                    around.into_iter().flatten().for_each(|slice| state.release(slice));
                }
                None => break,
            }
        }
        assert_eq!((state.to_read, state.to_judge), (slices, slices));
        (planes_made, patches_made)
    };
    assert_eq!(allocated(1000, 1), (3, 1));
    for workers in 1..=8 {
        assert_eq!(allocated(1000, workers), allocated(40, workers));
        let (planes, patches) = allocated(1000, workers);
        assert!(planes <= 2 * workers + 3 && patches <= 2 * workers, "{planes} and {patches}");
    }
}
