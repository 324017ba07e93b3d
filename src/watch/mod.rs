//! A folder into which a scanner or a gateway drops files: each is taken into the spool once nobody writes to it any more.
//! What the objects say is left to `dicom`, what is done with them to `serve`.
//!
//! A file that was taken is removed once it is durable in the spool; one that is not wanted is moved to `refused/` in the same
//! folder, beside a text that says why. One that can be neither removed nor moved is remembered, so that it is looked into once.
//! Looking is on purpose: network file systems tell nobody what happens on them.

mod search;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, access, openat, renameat, unlinkat};
use serde::Deserialize;

use crate::dicom::{self, CT_CLASSES, Object};
use crate::limits::Limits;
use crate::mapped::{Mapped, MappedError};
use crate::series::Chain;
use crate::spool::{Kept, Spool, SpoolError, at};
use search::{Identity, Search};

/// Time between two looks.
const LOOKS: Duration = Duration::from_secs(1);
/// Time until it is tried again to take, remove or move a file of which that failed.
const AGAIN: Duration = Duration::from_secs(10);
/// Files that are noted at a look, besides those that stay; the rest waits for the next one.
const MOST_FILES: usize = 20_000;
/// Files that stay, because they cannot be taken, removed or moved. To remember one takes some 300 bytes.
const MOST_STAYING: usize = 200_000;
/// Where files go that are not wanted.
const REFUSED: &str = "refused";

/// `[watch]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The folder; those in it are looked into as well.
    pub folder: PathBuf,
    /// Seconds that a file has to stay as it is before it is taken.
    #[serde(default = "two")]
    pub settle_s: f64,
}

fn two() -> f64 {
    2.0
}

impl Settings {
    /// Whether they can be used.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if !self.folder.is_absolute() {
            return Err(("watch.folder", "must be absolute: a service has no working folder".into()));
        }
        if !(0.0..=3600.0).contains(&self.settle_s) {
            return Err(("watch.settle_s", "must lie between 0 and 3600".into()));
        }
        Ok(())
    }
}

/// What happens, as it is told to whoever serves. Names of files are not told: they may be those of patients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An object is durable in the spool.
    Taken {
        /// Its study.
        study_uid: String,
        /// True where it had been taken before.
        again: bool,
    },
    /// A file is not wanted.
    Refused {
        /// Its study, where that could be read.
        study_uid: Option<String>,
        /// Whether it is, or may be, a CT image.
        is_ct: bool,
        /// Why.
        why: String,
    },
    /// Nothing waits in the folder any more.
    Quiet,
    /// Files stay where they are, for now.
    Troubled {
        /// Why.
        why: String,
    },
}

/// Whether files can be taken from the folder and those in it; how many of these can be read and not written in, so that files
/// stay there.
///
/// # Errors
/// What cannot be looked into, without the names of folders in it.
pub fn probe(settings: &Settings) -> Result<usize, String> {
    let folder = &settings.folder;
    let whole = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    access(folder, whole).map_err(|error| error.to_string())?;
    let mut search = Search::new(&|_, _| false, 0);
    search.look(folder, 0).map_err(|error| error.to_string())?;
    match search.troubles.into_iter().reduce(|all, why| format!("{all}; {why}")) {
        Some(why) => Err(why),
        None => Ok(search.folders.iter().filter(|folder| access(*folder, whole).is_err()).count()),
    }
}

/// Watches for ever.
pub fn watch(settings: &Settings, spool: &Spool, limits: &Limits, tell: &dyn Fn(Event)) {
    let mut watcher = Watcher::new(settings, spool, limits);
    loop {
        watcher.look(Instant::now(), tell);
        std::thread::sleep(LOOKS);
    }
}

/// A file as it was at a look.
struct Seen {
    file: Identity,
    /// When it was seen like this first, or tried last.
    since: Instant,
    next: Next,
    /// Why that could not be done.
    trouble: Option<String>,
}

/// What is next with a file.
enum Next {
    /// It is taken, once nobody writes to it any more.
    Take,
    /// It is in the spool, and is removed.
    Remove,
    /// It is not wanted, for this reason, and is moved.
    Refuse(String),
}

struct Watcher<'a> {
    settings: &'a Settings,
    spool: &'a Spool,
    limits: &'a Limits,
    /// [`MOST_FILES`].
    most_files: usize,
    seen: BTreeMap<PathBuf, Seen>,
    /// Whether anything was taken since it was quiet last.
    is_busy: bool,
    /// Why nothing more is taken at this look.
    no_room: Option<String>,
    /// Troubles that were told and last: each is told once.
    told: BTreeSet<String>,
}

/// Why a file is not taken.
enum Unwanted {
    /// It is not wanted.
    Refused { study_uid: Option<String>, is_ct: bool, why: String },
    /// It cannot be taken now.
    NotNow(String),
    /// Nor can any other.
    NoRoom(String),
    /// It is gone, or another one has its name.
    Replaced,
}

impl From<SpoolError> for Unwanted {
    fn from(error: SpoolError) -> Unwanted {
        let why = error.reason();
        if error.is_full() { Unwanted::NoRoom(why) } else { Unwanted::NotNow(why) }
    }
}

impl<'a> Watcher<'a> {
    fn new(settings: &'a Settings, spool: &'a Spool, limits: &'a Limits) -> Watcher<'a> {
        Watcher {
            settings,
            spool,
            limits,
            most_files: MOST_FILES,
            seen: BTreeMap::new(),
            is_busy: false,
            no_room: None,
            told: BTreeSet::new(),
        }
    }

    /// Takes what nobody has written to for a while.
    fn look(&mut self, now: Instant, tell: &dyn Fn(Event)) {
        let mut before = std::mem::take(&mut self.seen);
        let (files, mut troubles) = self.find(&before);
        // Before anything is read: without room, all that waits would be read again at each look.
        self.no_room = self.spool.check_room().err().map(|error| error.reason());
        for (path, file) in files {
            let seen = match before.remove(&path) {
                Some(seen) if seen.file == file => self.go_on(&path, seen, now, tell),
                _ => Some(Seen { file, since: now, next: Next::Take, trouble: None }),
            };
            if let Some(seen) = seen {
                self.seen.insert(path, seen);
            }
        }
        troubles.extend(self.seen.values().filter_map(|seen| seen.trouble.clone()));
        // A file that is in trouble does not wait: with its study goes on what is there.
        let is_quiet = self.seen.values().all(|seen| seen.trouble.is_some());
        troubles.extend(self.no_room.take().filter(|_| !is_quiet));
        for why in troubles.difference(&self.told) {
            tell(Event::Troubled { why: why.clone() });
        }
        self.told = troubles;
        if self.is_busy && is_quiet {
            self.is_busy = false;
            tell(Event::Quiet);
        }
    }

    /// The files that are there, with what cannot be looked into.
    fn find(&self, before: &BTreeMap<PathBuf, Seen>) -> (Vec<(PathBuf, Identity)>, BTreeSet<String>) {
        let stays = |path: &Path, file| {
            before.get(path).is_some_and(|seen| seen.file == file && seen.trouble.is_some())
        };
        let staying = before.values().filter(|seen| seen.trouble.is_some()).count();
        let most = self.most_files.min(MOST_STAYING.saturating_sub(staying));
        let mut search = Search::new(&stays, most);
        if let Err(error) = search.look(&self.settings.folder, 0) {
            search.troubles.insert(error.to_string());
        }
        if staying >= MOST_STAYING {
            search.troubles.insert(format!("{MOST_STAYING} files stay in it: no others are taken"));
        }
        (search.files, search.troubles)
    }

    /// Does what is next with a file; what is left to do, where it stays.
    fn go_on(&mut self, path: &Path, mut seen: Seen, now: Instant, tell: &dyn Fn(Event)) -> Option<Seen> {
        let settle = Duration::from_secs_f64(self.settings.settle_s);
        let wait = if seen.trouble.is_some() { AGAIN } else { settle };
        let waits_for_room = self.no_room.is_some() && matches!(seen.next, Next::Take);
        if waits_for_room || now.duration_since(seen.since) < wait {
            return Some(seen);
        }
        if let Next::Take = seen.next {
            seen.next = match self.take(path, seen.file) {
                Ok(event) => {
                    self.is_busy = true;
                    tell(event);
                    Next::Remove
                }
                Err(Unwanted::Refused { study_uid, is_ct, why }) => {
                    tell(Event::Refused { study_uid, is_ct, why: why.clone() });
                    Next::Refuse(why)
                }
                Err(Unwanted::NotNow(why)) => return Some(Seen { since: now, trouble: Some(why), ..seen }),
                Err(Unwanted::NoRoom(why)) => {
                    self.no_room = Some(why);
                    return Some(seen);
                }
                // The next look finds out.
                Err(Unwanted::Replaced) => return Some(seen),
            };
        }
        // What was done before stays done: a file that cannot go is neither taken nor refused a second time.
        let (went, what) = match &seen.next {
            Next::Refuse(why) => {
                (self.refuse(path, seen.file, why), "a file that is not wanted cannot be moved")
            }
            _ => (self.remove(path, seen.file), "a file that was taken cannot be removed"),
        };
        match went {
            Ok(true) => None,
            // It is taken as well.
            Ok(false) => Some(Seen { trouble: None, ..seen }),
            Err(error) => Some(Seen { since: now, trouble: Some(format!("{what}: {error}")), ..seen }),
        }
    }

    /// Takes a file into the spool, if it is this one still.
    fn take(&self, path: &Path, file: Identity) -> Result<Event, Unwanted> {
        let refused = |study_uid, why: String| Unwanted::Refused { study_uid, is_ct: true, why };
        let (holder, name) = self.holder(path).map_err(|error| cannot_be_read(path, error))?;
        let opened = open(&holder, name).map_err(|error| cannot_be_read(path, error))?;
        if opened.metadata().map_or(true, |metadata| Identity::of(&metadata) != file) {
            return Err(Unwanted::Replaced);
        }
        // A copy: whoever writes to the file after all changes nothing that was looked at.
        let bytes = match Mapped::read(opened, path, self.limits) {
            Ok(bytes) => bytes,
            Err(error @ (MappedError::Limit { .. } | MappedError::NotAFile { .. })) => {
                return Err(refused(None, error.to_string()));
            }
            Err(error) => return Err(Unwanted::NotNow(Chain(&error).to_string())),
        };
        let object = Object::read(&bytes, self.limits).map_err(|error| {
            let class_uid = dicom::class_of(&bytes, self.limits);
            let is_ct = class_uid.is_none_or(|class_uid| CT_CLASSES.contains(&&*class_uid));
            let study_uid = dicom::identify(&bytes, self.limits).map(|identity| identity.study_uid);
            Unwanted::Refused { study_uid, is_ct, why: Chain(&error).to_string() }
        })?;
        let header = &object.slices[0];
        let (study_uid, instance_uid) = (header.study_uid.clone(), header.sop_instance_uid.clone());
        if !CT_CLASSES.contains(&header.sop_class_uid.as_str()) {
            let why = "no CT image".to_owned();
            return Err(Unwanted::Refused { study_uid: Some(study_uid), is_ct: false, why });
        }
        let mut draft = self.spool.draft()?;
        draft.write_all(&bytes).map_err(at(path))?;
        match draft.keep(&study_uid, &instance_uid)? {
            Kept::New(_) => Ok(Event::Taken { study_uid, again: false }),
            Kept::Again(_) => Ok(Event::Taken { study_uid, again: true }),
            Kept::Differs(_) => {
                Err(refused(Some(study_uid), "another object with this UID is here already".to_owned()))
            }
        }
    }

    /// Moves a file out of the way, beside a text that says why; false where another one has its name.
    fn refuse(&self, path: &Path, file: Identity, why: &str) -> io::Result<bool> {
        let (holder, name) = self.holder(path)?;
        if !is_still(&holder, name, file)? {
            return Ok(false);
        }
        let folder = self.settings.folder.join(REFUSED);
        fs::create_dir_all(&folder)?;
        // A link would lead out of the folder that we were given.
        if !folder.symlink_metadata()?.is_dir() {
            return Err(io::Error::other(format!("{REFUSED} is no folder")));
        }
        let shown = name.to_string_lossy();
        let mut names = (1..).map(|number| {
            let numbered = format!("{number}-{shown}");
            (folder.join(format!("{numbered}.why.txt")), folder.join(numbered))
        });
        let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
        let free = names.find(|(text, file)| is_free(text) && is_free(file));
        let (text, free) = free.unwrap_or_default();
        // Before the text: a file that cannot be moved leaves none at each try.
        renameat(&holder, name, CWD, &free)?;
        File::create_new(text)?.write_all(format!("{why}\n").as_bytes())?;
        Ok(true)
    }

    /// Removes a file; false where another one has its name.
    fn remove(&self, path: &Path, file: Identity) -> io::Result<bool> {
        let (holder, name) = self.holder(path)?;
        if !is_still(&holder, name, file)? {
            return Ok(false);
        }
        unlinkat(&holder, name, AtFlags::empty())?;
        Ok(true)
    }

    /// The folder of a file, and its name there. By way of folders alone: one that somebody has replaced by a link since leads
    /// elsewhere.
    fn holder<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let folder = &self.settings.folder;
        let below = path.strip_prefix(folder).map_err(io::Error::other)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // What we were given may be a link.
        let mut holder = openat(CWD, folder, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for part in below.parent().into_iter().flat_map(Path::components) {
            holder = openat(&holder, part.as_os_str(), flags, Mode::empty())?;
        }
        Ok((holder, below.file_name().unwrap_or_default()))
    }
}

/// Whether a file is another one, or somebody is about to change it: it was removed, or a file server's client holds it.
fn is_changing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::WouldBlock)
}

/// Opens a file in a folder. A pipe may have its name by now, whose other end is not waited for.
fn open(holder: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(openat(holder, name, flags, Mode::empty())?))
}

/// Whether a name in a folder is that of this file still, and nobody has written to it.
fn is_still(holder: &OwnedFd, name: &OsStr, file: Identity) -> io::Result<bool> {
    match open(holder, name).and_then(|file| file.metadata()) {
        Ok(metadata) => Ok(Identity::of(&metadata) == file),
        Err(error) if is_changing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn cannot_be_read(path: &Path, source: io::Error) -> Unwanted {
    if is_changing(&source) {
        return Unwanted::Replaced;
    }
    Unwanted::NotNow(Chain(&MappedError::Read { path: path.to_owned(), source }).to_string())
}
