//! Looking at a study while its slices arrive: evidence of what is there, before the last slice is.
//!
//! A slice is scored once its two neighbours are there, since the network sees them too; its score does not change when
//! others arrive, but where one of them comes between. The verdict is left to [`Triage::judge`], on the whole study.

use super::pipeline::{self, Arrival, Context, Judged, Settings};
use super::tissue::{Sight, Tissue};
use super::verdict::{Evidence, decide, strongest_of};
use super::{FEWEST_SLICES, Outcome, Refusal, Report, Timings, Triage, Warning};
use crate::label::Class;
use crate::patch::Grid;
use crate::series::{self, Series, Study};
use crate::stream::SliceStream;
use std::collections::HashMap;
use std::ops::Range;

/// A gap of as many usual ones may be a slice that has not arrived.
const WIDEST_GAP: f64 = 1.8;

/// What is known of a study while it arrives. One for each study.
#[derive(Default)]
pub struct Early {
    /// By a slice and its neighbours.
    scored: HashMap<[Place; 3], Scored>,
    alerted: bool,
}

/// UID of an object, and the number of a frame in it.
type Place = (String, u32);

struct Scored {
    /// Of hematoma, for each place of the grid; of a model of bags, one.
    probabilities: Vec<f32>,
    hematoma_patches: u32,
    sight: Sight,
}

/// Hematoma is suspected already. The verdict on the whole study may be another.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlyAlert {
    /// UID of the study.
    pub study_uid: String,
    /// UID of the series.
    pub series_uid: String,
    /// Calibrated probability of hematoma, by the slices that are scored.
    pub probability: f32,
    /// How many slices these are.
    pub slices: usize,
}

impl Early {
    /// Scores what arrived since the last look, and gives the alert when the evidence first suffices for one.
    ///
    /// A study that could not be judged yet, or cannot be at all, gives none: what is wrong with it is the verdict's to
    /// say.
    ///
    /// # Errors
    /// The network fails.
    pub fn look(&mut self, triage: &mut Triage, study: &Study) -> Result<Option<EarlyAlert>, Refusal> {
        if self.alerted {
            return Ok(None);
        }
        let Ok(choice) = series::choose(study, FEWEST_SLICES) else { return Ok(None) };
        let series = choice.series;
        let grid = triage.grid(series);
        let stretches = stretches(series, triage.model().manifest().patch.slice_mm);
        for stretch in &stretches {
            self.score(triage, series, grid, stretch)?;
        }
        let (mut tissue, mut most, mut hematoma_patches, mut slices) = (Tissue::default(), 0.0f32, 0, 0);
        for stretch in stretches {
            let mut probabilities = Vec::new();
            let scored: Vec<&Scored> =
                stretch.filter_map(|index| self.scored.get(&key(series, index))).collect();
            for scored in &scored {
                probabilities.extend_from_slice(&scored.probabilities);
                hematoma_patches += scored.hematoma_patches;
                tissue.see(scored.sight);
            }
            let strongest = strongest_of(triage.model(), grid, scored.len(), probabilities);
            most = strongest.into_iter().fold(most, f32::max);
            slices += scored.len();
        }
        if slices < FEWEST_SLICES || tissue.check().is_err() {
            return Ok(None);
        }
        let (_, Outcome::Alert { probability }) = decide(triage.model(), most, hematoma_patches) else {
            return Ok(None);
        };
        self.alerted = true;
        let (study_uid, series_uid) = (study.study_uid.clone(), series.series_uid.clone());
        Ok(Some(EarlyAlert { study_uid, series_uid, probability, slices }))
    }

    /// Whether there was an alert.
    pub fn alerted(&self) -> bool {
        self.alerted
    }

    /// Adds to a verdict that an early alert preceded it and was wrong.
    pub fn compare(&self, report: &mut Report) {
        if self.alerted {
            compare_with_early_alert(report);
        }
    }

    /// Scores those slices of a stretch that are not.
    fn score(
        &mut self,
        triage: &mut Triage,
        series: &Series,
        grid: Grid,
        stretch: &Range<usize>,
    ) -> Result<(), Refusal> {
        let mut from = stretch.start;
        while from < stretch.end {
            let is_new = |index: &usize| !self.scored.contains_key(&key(series, *index));
            let Some(start) = (from..stretch.end).find(is_new) else { break };
            let end = (start..stretch.end).find(|index| !is_new(index)).unwrap_or(stretch.end);
            from = end;
            let Triage { model, workers, limits, window } = triage;
            let settings = Settings {
                grid,
                context: Context { before: true, after: true },
                ..Settings::of(model, *window, series)
            };
            let stream = SliceStream::part(series, start - 1..end + 1, limits);
            let (mut index, mut classes) = (start, Vec::new());
            pipeline::run(workers, &stream, &settings, &mut Timings::default(), |arrival| {
                // What cannot be read yet is tried again at the next look.
                if let Arrival::Judged(Judged { slice, patches, logits, .. }) = arrival {
                    let mut evidence = Evidence::new(model, grid);
                    let counts = evidence.add(model, logits, patches, 0.0, &mut classes);
                    let scored = Scored {
                        probabilities: evidence.into_probabilities(),
                        hematoma_patches: counts[Class::Hematoma.index()],
                        sight: slice.sight,
                    };
                    self.scored.insert(key(series, index), scored);
                }
                index += 1;
            })?;
        }
        Ok(())
    }
}

/// Adds to a verdict which an early alert preceded, if it is another, that it is withdrawn.
pub fn compare_with_early_alert(report: &mut Report) {
    if !matches!(report.outcome, Outcome::Alert { .. }) {
        let detail = "the whole study does not bear out what its first slices gave reason for";
        report.warnings.push(Warning::new("early_alert_withdrawn", detail));
    }
}

/// Whether the slices that have come reach from the lowest to the highest without a gap that another one may fill, and the
/// study has as many objects as the scanner says that there are images. Not so where there is no series to judge yet.
pub fn is_without_gaps(study: &Study) -> bool {
    let Ok(choice) = series::choose(study, FEWEST_SLICES) else { return false };
    // Of all series: some scanners count the images of every reconstruction.
    let told = choice.series.slices.iter().filter_map(|slice| slice.header.images_in_acquisition).max();
    let slices: usize = study.series.iter().map(|series| series.slices.len()).sum();
    if told.is_some_and(|told| slices + study.left_out.len() + study.unread.len() < told as usize) {
        return false;
    }
    let widest = choice.series.spacing_mm.unwrap_or(0.0) * WIDEST_GAP;
    choice.series.slices.windows(2).all(|pair| pair[1].z_mm - pair[0].z_mm <= widest)
}

/// Slices that have both neighbours, as near as neighbours are: stretches of consecutive ones.
fn stretches(series: &Series, served_mm: Option<[f64; 2]>) -> Vec<Range<usize>> {
    let widest = series.spacing_mm.unwrap_or(0.0) * WIDEST_GAP;
    let widest = served_mm.map_or(widest, |[_, most]| widest.min(most));
    let is_near = |below: usize| series.slices[below + 1].z_mm - series.slices[below].z_mm <= widest;
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for index in 1..series.slices.len().saturating_sub(1) {
        if is_near(index - 1) && is_near(index) {
            match stretches.last_mut() {
                Some(last) if last.end == index => last.end += 1,
                _ => stretches.push(index..index + 1),
            }
        }
    }
    stretches
}

fn key(series: &Series, index: usize) -> [Place; 3] {
    [index - 1, index, index + 1].map(|index| {
        let header = &series.slices[index].header;
        (header.sop_instance_uid.clone(), header.frame)
    })
}
