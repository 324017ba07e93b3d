//! One study, end to end: the chosen series through preparation, patches and engine to a [`Report`].
//!
//! Reading is `stream`'s work, telling anybody `output`'s. Of the slices only a few are held at a time, of the
//! patches only their probabilities.

mod bags;
mod contrast;
mod densities;
mod early;
mod pipeline;
mod report;
mod tissue;
mod verdict;

pub use early::{Early, EarlyAlert, compare_with_early_alert, is_without_gaps};
pub use report::{Outcome, Refusal, RefusalCode, Report, Rules, SliceReport, Timings, Trace, Warning};

use crate::engine::{self, Engine, EngineError, EngineOptions};
use crate::label::Class;
use crate::limits::Limits;
use crate::model::Model;
use crate::patch::Grid;
use crate::prep::Placement;
use crate::series::{self, LeftOut, LeftOutReason, NoSeries, Series, SliceEntry, Study};
use crate::simd::Level;
use crate::stream::SliceStream;
use crate::window::Window;
use contrast::Contrast;
use ndarray::ArrayView2;
use pipeline::{Arrival, Judged, Settings, Worker};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use tissue::Tissue;
use verdict::Evidence;

/// Fewer slices than this are no head, but a part of one or a mistake.
const FEWEST_SLICES: usize = 3;

/// As many slices that cannot be read are named; of the rest, how many they are.
const MOST_WARNINGS: usize = 20;

/// Whoever wants to see a study while it is worked on: a progress bar, a montage.
pub trait Observer {
    /// A series begins.
    fn begin(&mut self, _series: &Series, _grid: Grid) {}
    /// A slice was judged. Slices come in order, foot to head.
    fn slice(&mut self, _slice: JudgedSlice<'_>) {}
}

/// Nobody watches.
impl Observer for () {}

/// One slice as the network saw it, and what was found.
#[derive(Clone, Copy)]
pub struct JudgedSlice<'a> {
    /// Place among the slices of the report, from 0.
    pub index: usize,
    /// Its file and header.
    pub entry: &'a SliceEntry,
    /// How centering moved it.
    pub placement: Placement,
    /// The prepared gray levels.
    pub gray: ArrayView2<'a, u8>,
    /// The class of each place of the grid, row by row; `None` where the model has none for it.
    pub classes: &'a [Option<Class>],
}

/// A model made ready to judge studies, one after the other.
pub struct Triage {
    model: Model,
    window: Window,
    /// One a thread; at least one.
    workers: Vec<Worker>,
    limits: Limits,
}

/// One for each thread.
fn workers(engine: Box<dyn Engine>, threads: NonZeroUsize) -> Result<Vec<Worker>, EngineError> {
    Ok(engine::on_threads(engine, threads)?.into_iter().map(Worker::new).collect())
}

impl Triage {
    /// Loads a model's network. Slices are spread over the threads.
    ///
    /// `window` replaces the manifest's, for facilities that set their own.
    ///
    /// # Errors
    /// Those of [`engine::load`].
    pub fn new(
        model: Model,
        window: Option<Window>,
        options: EngineOptions,
        threads: NonZeroUsize,
        limits: Limits,
    ) -> Result<Self, EngineError> {
        let workers = workers(engine::load(&model, options)?, threads)?;
        let window = window.unwrap_or(model.window());
        Ok(Self { model, window, workers, limits })
    }

    /// Lets it remember what the network said of each slice, for studies that are looked at more than once
    /// ([`Early`]): about 10 KiB a slice.
    pub fn remembering(mut self) -> Result<Self, EngineError> {
        let threads = NonZeroUsize::new(self.workers.len()).expect("at least one");
        self.workers = workers(engine::remembering(self.workers.swap_remove(0).engine), threads)?;
        Ok(self)
    }

    /// The grid of patches over a series' slices.
    fn grid(&self, series: &Series) -> Grid {
        Grid::over(series.rows as usize, series.columns as usize, self.model.manifest().patch.size)
    }

    /// What runs the network.
    fn engine(&self) -> &dyn Engine {
        &*self.workers[0].engine
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Chooses a study's head series and judges it.
    ///
    /// Every way through ends in a report; what went wrong is its outcome or one of its warnings.
    /// `since` is when work on the study began, so that the report's total has the headers' reading in it.
    pub fn judge(&mut self, study: &Study, since: Instant, observer: &mut dyn Observer) -> Report {
        let choice = match series::choose(study, FEWEST_SLICES) {
            Ok(choice) => choice,
            Err(none) => {
                let (code, detail) = why_no_series(study, &none);
                let warnings = study.warnings();
                return Report { warnings, ..self.refuse(&study.study_uid, code, detail) };
            }
        };
        let mut report = self.blank_report();
        report.study_uid = study.study_uid.clone();
        report.series_uid = choice.series.series_uid.clone();
        report.series_reason = choice.reason;
        report.warnings = choice.series.warnings.clone();
        report.warnings.extend(choice.warnings);
        report.warnings.extend(study.warnings());
        report
            .warnings
            .extend(LeftOut::summary(&study.left_out).map(|detail| Warning::new("left_out", detail)));
        if let Err(refusal) = self.judge_slices(choice.series, &mut report, observer) {
            report.slices.clear();
            let refusal = Refusal { detail: refusal.detail + &first_file(choice.series), ..refusal };
            report.outcome = Outcome::Refused(refusal);
        }
        report.timings.total_ms = milliseconds(since.elapsed());
        report
    }

    /// A report on something that could not be judged.
    pub fn refuse(&self, study_uid: &str, code: RefusalCode, detail: String) -> Report {
        let outcome = Outcome::Refused(Refusal { code, detail });
        Report { study_uid: study_uid.to_owned(), outcome, ..self.blank_report() }
    }

    /// A report that nothing was decided in: whoever forgets to decide refuses, and never says "no alert".
    fn blank_report(&self) -> Report {
        let undecided = Refusal { code: RefusalCode::Internal, detail: "not judged".to_owned() };
        Report {
            study_uid: String::new(),
            series_uid: String::new(),
            series_reason: String::new(),
            outcome: Outcome::Refused(undecided),
            rules: Rules::default(),
            hematoma_patches: 0,
            hematoma_volume_ml: None,
            classes: self.model.labels().to_vec(),
            bag_labels: Vec::new(),
            slices: Vec::new(),
            warnings: Vec::new(),
            timings: Timings::default(),
            trace: self.trace(),
        }
    }

    fn judge_slices(
        &mut self,
        series: &Series,
        report: &mut Report,
        observer: &mut dyn Observer,
    ) -> Result<(), Refusal> {
        report.warnings.extend(self.spacing_warnings(series));
        report.warnings.extend(report.trace.notice.map(|notice| Warning::new("drawn_markers", notice)));
        let grid = self.grid(series);
        observer.begin(series, grid);
        let Self { model, window, workers, limits } = self;
        let settings = Settings::of(model, *window, series);
        let (mut evidence, mut tissue) = (Evidence::new(model, grid), Tissue::default());
        let mut contrast = Contrast::new(series.pixel_spacing_mm);
        let (mut classes, mut unreadable, mut timings) = (Vec::new(), Vec::new(), Timings::default());
        let stream = SliceStream::new(series, limits);
        pipeline::run(workers, &stream, &settings, &mut timings, |arrival| match arrival {
            Arrival::Unreadable(error) => {
                // The neighbours are judged without it, and the report says so.
                if unreadable.len() < MOST_WARNINGS {
                    report.warnings.push(Warning::new("unreadable_file", error.to_string()));
                }
                unreadable.push(error);
            }
            Arrival::Judged(Judged { entry, slice, patches, logits }) => {
                tissue.see(slice.sight);
                contrast.see(slice.sight.enhanced_pixels, entry.slab_mm);
                let counts = evidence.add(model, logits, patches, entry.slab_mm, &mut classes);
                report.slices.push(SliceReport {
                    sop_uid: entry.header.sop_instance_uid.clone(),
                    file: entry.source.to_string(),
                    z_mm: entry.z_mm,
                    frame: (entry.header.frames > 1).then_some(entry.header.frame + 1),
                    score: 0.0,
                    counts,
                });
                let index = report.slices.len() - 1;
                let (gray, placement) = (slice.gray.view(), slice.placement);
                observer.slice(JudgedSlice { index, entry, placement, gray, classes: &classes });
            }
        })?;
        report.timings = timings;
        report.warnings.extend(stream.warnings());
        if let Some(first) = unreadable.first().filter(|_| report.slices.len() < FEWEST_SLICES) {
            return Err(Refusal { code: first.into(), detail: first.to_string() });
        }
        if unreadable.len() > MOST_WARNINGS {
            let rest = unreadable.len() - MOST_WARNINGS;
            report.warnings.push(Warning::new("unreadable_file", format!("and {rest} more")));
        }
        tissue.check()?;
        // Where the header tells of it, nothing is suspected.
        let told = series.slices.iter().any(|slice| slice.header.contrast_agent);
        report.warnings.extend(contrast.warning().filter(|_| !told));
        evidence.conclude(model, series, report);
        Ok(())
    }

    /// Warnings for pixels or slices at distances that the model does not serve.
    fn spacing_warnings(&self, series: &Series) -> impl Iterator<Item = Warning> {
        let patch = &self.model.manifest().patch;
        let serves = |[small, large]: [f64; 2], mm: f64| (small..=large).contains(&mm);
        let pixels = series.pixel_spacing_mm.filter(|mm| !mm.iter().all(|&mm| serves(patch.spacing_mm, mm)));
        let pixels = pixels.map(|[row_mm, column_mm]| {
            let [small, large] = patch.spacing_mm;
            let detail = format!("{row_mm:.3} x {column_mm:.3} mm, the model serves {small} to {large} mm");
            Warning::new("pixel_spacing", detail)
        });
        let slices = series.spacing_mm.zip(patch.slice_mm).filter(|&(mm, served)| !serves(served, mm));
        let slices = slices.map(|(mm, [small, large])| {
            let detail = format!("{mm:.1} mm apart, the model serves {small} to {large} mm");
            Warning::new("slice_spacing", detail)
        });
        pixels.into_iter().chain(slices)
    }

    fn trace(&self) -> Trace {
        let manifest = self.model.manifest();
        let (a_hu, b_hu) = self.window.limits_hu();
        let mut preprocessing = vec![format!("window {a_hu} to {b_hu} HU")];
        preprocessing.extend(manifest.preparation.steps.describe());
        let views = manifest.patch.views.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        preprocessing.push(format!("patches of {} pixels, views {views}", manifest.patch.size.pixels()));
        Trace {
            program: concat!("hemapatch ", env!("CARGO_PKG_VERSION")).to_owned(),
            engine: self.engine().name().to_owned(),
            model: manifest.name.clone(),
            model_version: manifest.version.clone(),
            model_sha256: self.engine().precision().sha256(&self.model).unwrap_or_default().to_owned(),
            precision: self.engine().precision().name(),
            simd: self.engine().level().map(Level::name),
            window_hu: [a_hu.into(), b_hu.into()],
            preprocessing,
            rule: manifest.decision.rule.name().to_owned(),
            thresholds: verdict::thresholds(manifest),
            notice: self.model.bag_labels().and_then(bags::notice),
        }
    }
}

/// The refusal of a study without a series to judge.
fn why_no_series(study: &Study, none: &NoSeries<'_>) -> (RefusalCode, String) {
    let has = |reason| study.left_out.iter().any(|object| object.reason == reason);
    let too_many = has(LeftOutReason::TooManySlices);
    let code = match none {
        // Part of a series could look like a clean head, so one over the limit is left out whole.
        NoSeries::NoCtSeries | NoSeries::NotHead if too_many => RefusalCode::LimitExceeded,
        NoSeries::NoCtSeries if has(LeftOutReason::NotHounsfield) => RefusalCode::NotHounsfield,
        none => none.into(),
    };
    let first = study.series.first().map(first_file);
    let objects = LeftOut::summary(&study.left_out).map(|objects| format!("; left out: {objects}"));
    (code, format!("{none}{}{}", first.unwrap_or_default(), objects.unwrap_or_default()))
}

/// Words that let somebody find a series on the disk.
fn first_file(series: &Series) -> String {
    series.slices.first().map(|slice| format!("; first file: {}", slice.source)).unwrap_or_default()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests;
