//! Who is told, and that each is told once: a folder of notices for each way, which survives crashes.
//! What there is to tell is decided in `study`.
//!
//! ```text
//! alerts/WAY/pending/ID.json     to be told
//! alerts/WAY/running/ID.json     being told by a process of its own, which holds a lock on it
//! alerts/WAY/done/ID.json        told
//! alerts/WAY/broken/             what is no notice
//! ```

mod command;
mod config;
mod hl7;
mod log;
mod probe;
#[cfg(test)]
mod tests;
mod tries;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub use command::{NOTICE, run};
pub use config::Alert;
pub use hl7::{Hl7, exchange};
pub use tries::Tries;
pub use webhook::Webhook;

use crate::dicom::Order;
use crate::limits::Limits;
use crate::mapped::{Mapped, MappedError};
use crate::spool::{self, SpoolError, make_folder, move_durably, write_durably};

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
#[derive(Clone, Debug)]
pub enum Way {
    /// A line of JSON at the end of a file.
    Log(PathBuf),
    /// A program and its arguments, with the line on its standard input.
    Command(Vec<String>),
    /// The line, posted over HTTP.
    Webhook(Webhook),
    /// A result message.
    Hl7(Hl7),
    /// A message on a screen.
    Desktop,
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
    /// When it was taken: seconds since 1970.
    pub time: f64,
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
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = (now.as_secs_f64() * 1000.0).round() / 1000.0;
        Notice { schema: "hemapatch.notice/1", id, occasion, study_uid, revision, time, about }
    }
}

/// A notice as it stands in a folder.
#[derive(Clone, Debug, Deserialize)]
pub struct Told {
    /// See [`Notice::id`].
    pub id: String,
    /// See [`Notice::occasion`].
    pub occasion: Occasion,
    /// See [`Notice::study_uid`].
    pub study_uid: String,
    /// See [`Notice::revision`].
    pub revision: u32,
    /// See [`Notice::time`].
    pub time: f64,
    /// See [`Notice::about`].
    pub about: serde_json::Value,
}

/// Why somebody was not told, for now.
#[derive(Debug)]
enum Untold {
    /// Nobody can be reached: no notice can be told.
    Away(String),
    /// Whoever was reached did not answer: no other notice can be told either, but it may be this one that drives them away.
    Nobody(String),
    /// This notice was not taken.
    Refused(String),
}

impl From<SpoolError> for Untold {
    fn from(error: SpoolError) -> Untold {
        Untold::Away(format!("the disk: {}", error.reason()))
    }
}

/// One way of telling, with its folders.
#[derive(Debug)]
pub struct Channel {
    folder: PathBuf,
    on: Vec<Occasion>,
    wake: Sender<()>,
}

/// Where a teller finds the objects of a study: whose study it is stands in them, and in no notice.
pub type Objects<'a> = &'a (dyn Fn(&str) -> PathBuf + Sync);

/// Who hears of a notice, by its ID, that it was told or why not.
pub type Ended<'a> = &'a dyn Fn(&str, Result<(), &str>);

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
    for name in ["pending", "running", "done", "broken"] {
        make_folder(&folder.join(name))?;
    }
    let (wake, woken) = channel();
    Ok((Channel { folder: folder.clone(), on, wake }, Teller { folder, way, woken }))
}

impl Channel {
    /// Its folders of notices that somebody was not told of yet.
    pub fn waiting(&self) -> [PathBuf; 2] {
        ["pending", "running"].map(|state| self.folder.join(state))
    }

    /// Takes a notice, durably, if it is one of its occasions and was not taken before.
    ///
    /// # Errors
    /// The disk.
    pub fn post(&self, notice: &Notice<'_>) -> Result<(), SpoolError> {
        let name = format!("{}.json", notice.id);
        let is_there = |state: &str| self.folder.join(state).join(&name).exists();
        // In the order in which a notice moves, so that it is seen wherever it is.
        if !self.on.contains(&notice.occasion) || ["pending", "running", "done"].into_iter().any(is_there) {
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

/// How often it is tried to read whose study it is, where its objects cannot be read.
const MOST_UNNAMED: usize = 3;

/// What a teller knows that need not survive it.
struct Memory {
    /// Notices that may have been told by a process that did not come to note it.
    doubtful: BTreeSet<PathBuf>,
    /// Of all notices: somebody who is away is away for all.
    way: Tries,
    /// How often nobody was there for a notice: it may be the notice that drives them away, so others go first.
    nobody: BTreeMap<OsString, usize>,
    /// Of a notice, by its name: one that is not taken does not hold up the others.
    notices: BTreeMap<OsString, Tries>,
}

impl Teller {
    /// Tells whatever there is to tell, for ever: until the [`Channel`] is gone. `ended` hears, by its [ID](Notice::id), of each
    /// that was told, and why one could not be.
    pub fn tell(&self, objects: Objects<'_>, ended: Ended<'_>) {
        let doubtful = [self.notices("running"), self.notices("pending")].concat();
        let mut memory = Memory {
            doubtful: doubtful.into_iter().collect(),
            way: Tries::default(),
            nobody: BTreeMap::new(),
            notices: BTreeMap::new(),
        };
        let mut is_woken = false;
        loop {
            let patience = self.round(&mut memory, is_woken, objects, ended);
            is_woken = match self.woken.recv_timeout(patience) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
        }
    }

    /// Tells what is due; when something is due again. Where one came just now it is tried at once, whoever was away before.
    fn round(
        &self,
        memory: &mut Memory,
        mut is_fresh: bool,
        objects: Objects<'_>,
        ended: Ended<'_>,
    ) -> Duration {
        let all = [self.notices("running"), self.notices("pending")].concat();
        let (mut notices, mut overtaken) = (all.clone(), BTreeSet::new());
        let nobody = |notice: &PathBuf| memory.nobody.get(notice.file_name().unwrap_or_default()).copied();
        // Of those for whom nobody was there as often, the oldest.
        notices.sort_by_cached_key(|notice| nobody(notice).unwrap_or(0));
        for notice in notices {
            let name = notice.file_name().unwrap_or_default().to_owned();
            is_fresh &= !memory.nobody.contains_key(&name);
            let tries = memory.notices.entry(name.clone()).or_default();
            if !memory.way.wait().is_zero() && !is_fresh {
                break;
            }
            if !tries.wait().is_zero() || overtaken.contains(&notice) {
                continue;
            }
            let is_doubtful = memory.doubtful.contains(&notice);
            let id = notice.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            // Better without the patient's name than not at all.
            let is_anonymous = tries.failures() >= MOST_UNNAMED;
            match self.tell_one(&notice, is_doubtful, is_anonymous, objects) {
                Ok(()) => {
                    memory.way = Tries::default();
                    memory.notices.remove(&name);
                    memory.nobody.remove(&name);
                    ended(&id, Ok(()));
                    overtaken.extend(self.give_up(&notice, &all, ended));
                }
                Err(untold) => {
                    let why = match untold {
                        Untold::Away(why) => {
                            memory.way.failed();
                            is_fresh = false;
                            why
                        }
                        Untold::Nobody(why) => {
                            memory.way.failed();
                            *memory.nobody.entry(name).or_default() += 1;
                            is_fresh = false;
                            why
                        }
                        Untold::Refused(why) => {
                            tries.failed();
                            why
                        }
                    };
                    ended(&id, Err(&why));
                    memory.doubtful.insert(notice);
                }
            }
        }
        let left = [self.notices("running"), self.notices("pending")].concat();
        let is_left = |name: &OsString| left.iter().any(|notice| notice.file_name() == Some(name));
        memory.notices.retain(|name, _| is_left(name));
        memory.nobody.retain(|name, _| is_left(name));
        let wait = |notice: &PathBuf| {
            let tries = memory.notices.get(notice.file_name().unwrap_or_default());
            tries.map_or(Duration::ZERO, Tries::wait)
        };
        let hour = Duration::from_secs(3600);
        let first = left.iter().map(wait).min();
        first.map_or(hour, |first| first.max(memory.way.wait()).clamp(Duration::from_millis(10), hour))
    }

    /// Gives up those notices that one that was told takes back: told now, they would be the last word on the study.
    fn give_up(&self, told: &Path, notices: &[PathBuf], ended: Ended<'_>) -> Vec<PathBuf> {
        let done = self.folder.join("done");
        let told = done.join(told.file_name().unwrap_or_default());
        let mut given_up = Vec::new();
        for notice in notices.iter().filter(|notice| takes_back(&told, notice)) {
            // Should the disk not take that, it is told, late, or given up the next time.
            if move_durably(notice, &done.join(notice.file_name().unwrap_or_default())).is_ok() {
                let id = notice.file_stem().unwrap_or_default().to_string_lossy();
                ended(&id, Err("given up: what it says was taken back before it was taken"));
                given_up.push(notice.clone());
            }
        }
        given_up
    }

    fn tell_one(
        &self,
        notice: &Path,
        doubtful: bool,
        is_anonymous: bool,
        objects: Objects<'_>,
    ) -> Result<(), Untold> {
        let name = notice.file_name().unwrap_or_default();
        let done = self.folder.join("done").join(name);
        let line = match fs::read_to_string(notice) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // The process that runs a program has noted its end meanwhile.
                return Ok(());
            }
            line => line,
        };
        let told = line.ok().and_then(|line| {
            let told: Told = serde_json::from_str(&line).ok()?;
            spool::is_name(&told.study_uid).then_some((line, told))
        });
        let Some((line, told)) = told else {
            // Written whole, so somebody else wrote to it. It is kept for somebody to look at.
            move_durably(notice, &self.folder.join("broken").join(name))?;
            return Err(Untold::Refused("a notice cannot be read; it is in the folder broken".to_owned()));
        };
        match &self.way {
            Way::Log(path) => log::append(path, &line, doubtful)
                .map_err(|error| Untold::Away(format!("{}: {error}", path.display())))?,
            Way::Command(words) => {
                return command::start(notice, &self.folder, words).map_err(Untold::Refused);
            }
            Way::Desktop => {
                return command::start(notice, &self.folder, &desktop(&told)).map_err(Untold::Refused);
            }
            Way::Webhook(webhook) => webhook::post(webhook, &told.id, &line)?,
            Way::Hl7(hl7) => {
                let order = match order(&objects(&told.study_uid)) {
                    Err(_) if is_anonymous => Order::default(),
                    order => order?,
                };
                hl7::send(hl7, &told, &order)?;
            }
        }
        Ok(move_durably(notice, &done)?)
    }

    /// The notices in a state, the oldest first.
    fn notices(&self, state: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.join(state)).into_iter().flatten().flatten();
        let is_notice = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        let mut notices: Vec<(SystemTime, PathBuf)> =
            entries.map(|entry| entry.path()).filter(is_notice).map(|path| (age(&path), path)).collect();
        notices.sort();
        notices.into_iter().map(|(_, path)| path).collect()
    }
}

/// The program that shows a message on a desktop. It says nothing of the patient: whoever walks by may read it.
fn desktop(told: &Told) -> Vec<String> {
    let (urgency, text) = match told.occasion {
        Occasion::Early => ("critical", "Hemorrhage suspected in a head CT that is still arriving"),
        Occasion::Alert => ("critical", "Hemorrhage suspected in a head CT"),
        Occasion::NoAlert => ("normal", "No hemorrhage suspected in a head CT"),
        Occasion::Refused => ("normal", "A head CT was not judged"),
    };
    let urgency = format!("--urgency={urgency}");
    let words = ["notify-send", "--app-name=hemapatch", &urgency, text, "For research use only."];
    words.map(str::to_owned).to_vec()
}

/// What a notice is of, by its name: study, revision, occasion.
fn parts(notice: &Path) -> Option<(&str, u32, Occasion)> {
    let mut parts = notice.file_stem()?.to_str()?.splitn(3, '-');
    let (study_uid, revision) = (parts.next()?, parts.next()?.parse().ok()?);
    Some((study_uid, revision, serde_json::from_value(parts.next()?.into()).ok()?))
}

/// Whether a notice says the contrary of an earlier one on the same study. Verdicts are in the order of their numbers, whatever the
/// clock says; an early alert has none of its own, so that its age counts.
fn takes_back(later: &Path, earlier: &Path) -> bool {
    let (Some(new), Some(old)) = (parts(later), parts(earlier)) else { return false };
    let is_older = match (new.2, old.2) {
        (Occasion::NoAlert, Occasion::Alert) | (Occasion::Alert, Occasion::NoAlert) => old.1 < new.1,
        (Occasion::NoAlert, Occasion::Early) => age(earlier) <= age(later),
        _ => false,
    };
    new.0 == old.0 && is_older && earlier.exists()
}

/// When a notice was taken.
fn age(notice: &Path) -> SystemTime {
    let modified = notice.metadata().and_then(|metadata| metadata.modified());
    modified.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Whose study it is, from the first of its objects that tells; nobody's where none does.
fn order(objects: &Path) -> Result<Order, Untold> {
    let limits = Limits::default();
    let failed = |error: io::Error| Untold::Refused(format!("whose study it is cannot be read: {error}"));
    let entries = match fs::read_dir(objects) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Order::default()),
        entries => entries.map_err(failed)?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    paths.sort();
    let mut unread = None;
    for path in paths {
        match Mapped::open(&path, &limits) {
            // Whose it is may stand there.
            Err(MappedError::Read { source, .. } | MappedError::Copy { source, .. }) => unread = Some(source),
            Err(_) => {}
            Ok(bytes) => {
                if let Ok(order) = Order::read(&bytes, &limits) {
                    return Ok(order);
                }
            }
        }
    }
    unread.map_or_else(|| Ok(Order::default()), |error| Err(failed(error)))
}

/// Whether a name from a configuration can be that of a folder.
pub fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=32).contains(&name.len()) && name.chars().all(is_letter)
}
