//! `hemapatch triage`: the main job. Finds studies, judges each, prints and writes what came out.

use super::engine::EngineArguments;
use super::follow::follow;
use super::model;
use super::outbox::Outbox;
use super::progress::Progress;
use crate::error::{Error, Exit};
use crate::limits::Limits;
use crate::model::Model;
use crate::output::files::Drawing;
use crate::patch::Grid;
use crate::series::{self, Assembly, Series, Warning};
use crate::study::{JudgedSlice, Observer, Report, Triage};
use crate::window::Window;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Look for hemorrhage in head CT studies: DICOM files, folders searched in depth, ZIP archives
#[derive(clap::Args)]
#[command(after_help = super::RESEARCH)]
pub(super) struct Arguments {
    /// Files, folders, ZIP archives
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Write report.json, montage.png and chart.svg into this folder (a folder a study where there are several)
    #[arg(short, long = "output", value_name = "DIR")]
    output: Option<PathBuf>,
    /// Also write the results as DICOM objects into DIR/dicom: structured report, segmentation, pictures
    #[arg(long, requires = "output")]
    dicom: bool,
    /// Print one line of JSON a study and nothing else
    #[arg(long)]
    json: bool,
    /// The model's name or folder [default: ich16, from the models beside the program or in the working folder]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Hounsfield window to use instead of the model's own
    #[arg(long, value_name = "A,B", value_parser = window, allow_hyphen_values = true)]
    window: Option<Window>,
    /// Look at slices while they arrive, and say it when the evidence suffices for an alert; the verdict follows when
    /// nothing more arrives
    #[arg(long)]
    follow: bool,
    /// Seconds without a new slice after which a followed study is whole
    #[arg(long, value_name = "SECONDS", default_value_t = 10, requires = "follow")]
    quiet: u64,
    /// Exit with code 10 where a study alerts
    #[arg(long)]
    exit_on_alert: bool,
    #[command(flatten)]
    engine: EngineArguments,
}

pub(super) fn window(text: &str) -> Result<Window, String> {
    let limits: Vec<i16> = text.split(',').filter_map(|limit| limit.trim().parse().ok()).collect();
    match (limits.as_slice(), text.split(',').count()) {
        (&[a_hu, b_hu], 2) => Window::new(a_hu, b_hu).map_err(|e| e.to_string()),
        _ => Err("expected two whole numbers, such as 0,80".to_owned()),
    }
}

impl Arguments {
    /// What is drawn of a study; None where nothing is written.
    fn drawing(&self, limits: &Limits) -> Option<Drawing> {
        self.output.as_ref()?;
        Some(if self.dicom { Drawing::with_objects(limits) } else { Drawing::default() })
    }

    pub fn run(self) -> Result<Exit, Error> {
        let model = Model::open(&model::folder(self.model.clone())?)?;
        let limits = Limits::default();
        let search = || (Instant::now(), series::assemble(series::find(&self.paths, &limits), &limits));
        let (options, threads) = (self.engine.options(), self.engine.threads());
        // A network takes longer to get ready than a study's headers to read.
        let (triage, found) = std::thread::scope(|scope| {
            let loading = scope.spawn(|| Triage::new(model, self.window, options, threads, limits.clone()));
            let found = (!self.follow).then(search);
            (loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), found)
        });
        let mut triage = triage?;
        let mut followed = None;
        if self.follow {
            triage = triage.remembering()?;
            let quiet = Duration::from_secs(self.quiet);
            followed = Some(follow(&self.paths, &limits, &mut triage, quiet, self.json));
        }
        let (since, assembly) = found.unwrap_or_else(search);
        let refused = inputs_refused(&triage, &assembly);
        let reports = refused.len() + assembly.studies.len();
        let mut outbox = Outbox::new(self.output.clone(), reports, self.json);
        for report in &refused {
            outbox.take(report, None);
        }
        let warnings = shared_warnings(&assembly);
        for (at, study) in assembly.studies.iter().enumerate() {
            // The first study's time has the search in it; the others begin when their turn comes.
            let since = if at == 0 { since } else { Instant::now() };
            let mut watcher = Watcher::new(self.drawing(&limits));
            let mut report = triage.judge(study, since, &mut watcher);
            report.warnings.extend(warnings.iter().cloned());
            if let Some(followed) = &followed {
                followed.compare(&mut report);
            }
            outbox.take(&report, watcher.drawing.as_ref().and_then(Drawing::pictures));
        }
        Ok(outbox.close(self.exit_on_alert))
    }
}

/// Reports on what was given and is no study: nothing that a caller names may end without an outcome.
fn inputs_refused(triage: &Triage, assembly: &Assembly) -> Vec<Report> {
    let unread = assembly.unread.iter().filter(|unread| unread.named);
    let unread = unread.map(|unread| triage.refuse("", (&unread.error).into(), unread.to_string()));
    let fruitless = assembly.fruitless.iter();
    let fruitless = fruitless.map(|path| triage.refuse("", (&path.reason).into(), path.to_string()));
    unread.chain(fruitless).collect()
}

/// What holds for every study of a run: files that may belong to any of them.
fn shared_warnings(assembly: &Assembly) -> Vec<Warning> {
    let mut warnings = assembly.warnings();
    if let Some(first) = &assembly.first_not_dicom {
        warnings.push(Warning::new("not_dicom", format!("{} files, first: {first}", assembly.not_dicom)));
    }
    warnings
}

/// Draws the montage and moves the progress bar while a study is judged.
struct Watcher {
    progress: Progress,
    drawing: Option<Drawing>,
}

impl Watcher {
    fn new(drawing: Option<Drawing>) -> Self {
        Self { progress: Progress::new("slices"), drawing }
    }
}

impl Observer for Watcher {
    fn begin(&mut self, series: &Series, grid: Grid) {
        self.progress.length(series.slices.len() as u64);
        if let Some(drawing) = &mut self.drawing {
            drawing.begin(series, grid);
        }
    }

    fn slice(&mut self, slice: JudgedSlice<'_>) {
        self.progress.at(slice.index as u64 + 1);
        if let Some(drawing) = &mut self.drawing {
            drawing.slice(slice);
        }
    }
}
