//! `hemapatch triage --follow`: looks at a folder while a study arrives in it.

use super::{complain, say};
use crate::error::Error;
use crate::limits::Limits;
use crate::output::{json, summary};
use crate::series::{self, Headers};
use crate::study::{Early, EarlyAlert, Report, Triage};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time between two looks. A folder is looked at and not waited on, since network file systems, into which scanners write,
/// tell nobody of what another machine does. Little against the seconds that a scanner takes for a slice, much against a look.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// The studies that arrived, and what was said of them before they were whole.
pub(super) struct Followed(BTreeMap<String, Early>);

/// Looks again and again, and says it as soon as the evidence suffices for an alert. Ends when something arrived and
/// nothing more did for `quiet`: no DICOM object says that it is the last of its study.
///
/// Should the network fail or standard output be gone, the verdict will say so.
pub(super) fn follow(
    paths: &[PathBuf],
    limits: &Limits,
    triage: &mut Triage,
    quiet: Duration,
    json: bool,
) -> Followed {
    let mut studies: BTreeMap<String, Early> = BTreeMap::new();
    let (mut headers, mut last_change) = (Headers::default(), None);
    loop {
        let found = series::find(paths, limits);
        // What cannot be read is the verdict's to tell, but waiting for it would never end.
        let anything = !found.sources.is_empty() || !found.unread.is_empty();
        let assembly = headers.assemble(found, limits);
        if headers.changed() || last_change.is_none() {
            last_change = anything.then(Instant::now);
            for study in &assembly.studies {
                let early = studies.entry(study.study_uid.clone()).or_default();
                if let Ok(Some(alert)) = early.look(triage, study)
                    && let Err(error) = announce(&alert, json)
                {
                    complain(&error);
                }
            }
        } else if last_change.is_some_and(|last_change| last_change.elapsed() >= quiet) {
            return Followed(studies);
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

fn announce(alert: &EarlyAlert, json: bool) -> Result<(), Error> {
    if json { say(&json::early_line(alert)?) } else { say(&summary::early_text(alert)) }
}

impl Followed {
    /// Adds to a verdict that an early alert preceded it and was wrong.
    pub fn compare(&self, report: &mut Report) {
        if let Some(early) = self.0.get(&report.study_uid) {
            early.compare(report);
        }
    }
}
