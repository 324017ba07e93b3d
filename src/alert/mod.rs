//! Who is told, and that each is told once: a folder of notices for each way, which survives crashes.
//! What there is to tell is decided in `study`.
//!
//! ```text
//! alerts/WAY/pending/ID.json     to be told
//! alerts/WAY/running/ID.json     being told by a process of its own, which holds a lock on it
//! alerts/WAY/done/ID.json        told
//! ```

mod command;
mod log;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

pub use command::run;

use crate::spool::{SpoolError, make_folder, move_durably, write_durably};

/// Time before somebody who could not be told is told again; the last one counts for all that follow.
pub const AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(300)];

/// What somebody may be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// Hematoma is suspected before the study is whole.
    Early,
    /// The verdict is an alert.
    Alert,
    /// The verdict is no alert.
    NoAlert,
    /// The study was refused.
    Refused,
}

impl Occasion {
    /// As it stands in configurations and notices.
    pub fn name(self) -> &'static str {
        match self {
            Occasion::Early => "early",
            Occasion::Alert => "alert",
            Occasion::NoAlert => "no_alert",
            Occasion::Refused => "refused",
        }
    }
}

/// How somebody is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A line of JSON at the end of a file.
    Log(PathBuf),
    /// A program and its arguments, with the line on its standard input.
    Command(Vec<String>),
}

/// Something to tell.
#[derive(Clone, Debug, Serialize)]
pub struct Notice<'a> {
    /// Name and number of the contract.
    pub schema: &'static str,
    /// Different for each study, verdict and revision, and the same after a crash.
    pub id: String,
    /// What happened.
    pub occasion: Occasion,
    /// UID of the study.
    pub study_uid: &'a str,
    /// Which verdict on the study it is, counted from 1; 0 before the first.
    pub revision: u32,
    /// The report or the early alert.
    pub about: &'a serde_json::value::RawValue,
}

impl<'a> Notice<'a> {
    /// A notice.
    pub fn new(
        occasion: Occasion,
        study_uid: &'a str,
        revision: u32,
        about: &'a serde_json::value::RawValue,
    ) -> Notice<'a> {
        let id = format!("{study_uid}-{revision}-{}", occasion.name());
        Notice { schema: "hemapatch.notice/1", id, occasion, study_uid, revision, about }
    }
}

/// One way of telling, with its folders.
#[derive(Debug)]
pub struct Channel {
    folder: PathBuf,
    on: Vec<Occasion>,
    wake: Sender<()>,
}

/// The other end of a [`Channel`]: does the telling.
#[derive(Debug)]
pub struct Teller {
    folder: PathBuf,
    way: Way,
    woken: Receiver<()>,
}

/// Makes the folders of a way.
///
/// # Errors
/// The disk.
pub fn channel_in(folder: PathBuf, on: Vec<Occasion>, way: Way) -> Result<(Channel, Teller), SpoolError> {
    for name in ["pending", "running", "done"] {
        make_folder(&folder.join(name))?;
    }
    let (wake, woken) = channel();
    Ok((Channel { folder: folder.clone(), on, wake }, Teller { folder, way, woken }))
}

impl Channel {
    /// Takes a notice, durably, if it is one of its occasions and was not taken before.
    ///
    /// # Errors
    /// The disk.
    pub fn post(&self, notice: &Notice<'_>) -> Result<(), SpoolError> {
        let name = format!("{}.json", notice.id);
        let is_there = |state: &str| self.folder.join(state).join(&name).exists();
        // In the order in which a notice moves, so that it is seen wherever it is.
        if !self.on.contains(&notice.occasion)
            || is_there("pending")
            || is_there("running")
            || is_there("done")
        {
            return Ok(());
        }
        // Strings and numbers always serialize.
        let line = serde_json::to_string(notice).unwrap_or_default();
        write_durably(&self.folder.join("pending").join(name), line.as_bytes())?;
        // The teller lives as long as the process.
        let _ = self.wake.send(());
        Ok(())
    }
}

impl Teller {
    /// Tells whatever there is to tell, for ever: until the [`Channel`] is gone. `ended` hears of each that was told, and why
    /// one could not be.
    pub fn tell(&self, ended: &dyn Fn(Result<(), &str>)) {
        // What was there before may have been told by a process that did not come to note it.
        let mut doubtful: BTreeSet<PathBuf> = self.notices("running").into_iter().collect();
        doubtful.extend(self.notices("pending"));
        let (mut failures, mut not_before) = (0, Instant::now());
        loop {
            let waiting = [self.notices("running"), self.notices("pending")].concat();
            for notice in &waiting {
                if Instant::now() < not_before {
                    break;
                }
                match self.tell_one(notice, doubtful.contains(notice)) {
                    Ok(()) => {
                        failures = 0;
                        ended(Ok(()));
                    }
                    Err(why) => {
                        ended(Err(&why));
                        not_before = Instant::now() + AGAIN[failures.min(AGAIN.len() - 1)];
                        failures += 1;
                        doubtful.insert(notice.clone());
                    }
                }
            }
            let patience = not_before.saturating_duration_since(Instant::now());
            let patience = if patience.is_zero() { Duration::from_secs(3600) } else { patience };
            match self.woken.recv_timeout(patience) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn tell_one(&self, notice: &Path, doubtful: bool) -> Result<(), String> {
        let done = self.folder.join("done").join(notice.file_name().unwrap_or_default());
        let failed = |error: SpoolError| error.to_string();
        match &self.way {
            Way::Log(path) => {
                let line = fs::read_to_string(notice).map_err(|error| error.to_string())?;
                log::append(path, &line, doubtful).map_err(|error| format!("{}: {error}", path.display()))?;
                move_durably(notice, &done).map_err(failed)
            }
            Way::Command(words) => command::start(notice, &self.folder, words),
        }
    }

    /// The notices in a state, the oldest first.
    fn notices(&self, state: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.join(state)).into_iter().flatten().flatten();
        let is_notice = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        let age = |path: &PathBuf| path.metadata().and_then(|metadata| metadata.modified());
        let mut notices: Vec<(SystemTime, PathBuf)> = entries
            .map(|entry| entry.path())
            .filter(is_notice)
            .map(|path| (age(&path).unwrap_or(SystemTime::UNIX_EPOCH), path))
            .collect();
        notices.sort();
        notices.into_iter().map(|(_, path)| path).collect()
    }
}

/// Whether a name from a configuration can be that of a folder.
pub fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=32).contains(&name.len()) && name.chars().all(is_letter)
}
