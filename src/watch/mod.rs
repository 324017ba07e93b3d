//! A folder into which a scanner or a gateway drops files: each is taken into the spool once nobody writes to it any more.
//! What the objects say is left to `dicom`, what is done with them to `serve`.
//!
//! A file that was taken is removed once it is durable in the spool; one that is not wanted is moved to `refused/` in the same
//! folder, beside a text that says why. Looking is on purpose: network file systems tell nobody what happens on them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, unlinkat};
use serde::Deserialize;

use crate::dicom::{self, CT_CLASSES, Object};
use crate::limits::Limits;
use crate::mapped::{Mapped, MappedError};
use crate::series::Chain;
use crate::spool::{Kept, Spool, SpoolError};

/// Time between two looks.
const LOOKS: Duration = Duration::from_secs(1);
/// Files that are noted at a look; the rest waits for the next one.
const MOST_FILES: usize = 20_000;
/// Folders within folders.
const DEEPEST: usize = 8;
/// Where files go that are not wanted.
const REFUSED: &str = "refused";
/// How files end that somebody is still writing.
const UNFINISHED: [&str; 5] = ["tmp", "part", "partial", "filepart", "crdownload"];

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

/// Watches for ever.
pub fn watch(settings: &Settings, spool: &Spool, limits: &Limits, tell: &dyn Fn(Event)) {
    let mut watcher = Watcher::new(settings, spool, limits);
    loop {
        watcher.look(Instant::now(), tell);
        std::thread::sleep(LOOKS);
    }
}

/// Which file it is, and how: another one may have its name by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds, and nanoseconds besides.
    modified: (i64, i64),
}

impl Identity {
    fn of(file: &Metadata) -> Identity {
        let modified = (file.mtime(), file.mtime_nsec());
        Identity { device: file.dev(), inode: file.ino(), length: file.len(), modified }
    }
}

/// A file as it was at a look.
struct Seen {
    file: Identity,
    /// When it was seen like this first.
    since: Instant,
}

struct Watcher<'a> {
    settings: &'a Settings,
    spool: &'a Spool,
    limits: &'a Limits,
    seen: BTreeMap<PathBuf, Seen>,
    /// Whether anything was taken since it was quiet last.
    is_busy: bool,
    /// Told once, until it is another one or none.
    trouble: Option<String>,
}

/// Why a file stays or goes.
enum Unwanted {
    /// It is not wanted.
    Refused { study_uid: Option<String>, why: String },
    /// It cannot be taken now.
    NotNow(String),
    /// It is gone, or another one has its name.
    Replaced,
}

impl From<SpoolError> for Unwanted {
    fn from(error: SpoolError) -> Unwanted {
        Unwanted::NotNow(error.reason())
    }
}

impl<'a> Watcher<'a> {
    fn new(settings: &'a Settings, spool: &'a Spool, limits: &'a Limits) -> Watcher<'a> {
        Watcher { settings, spool, limits, seen: BTreeMap::new(), is_busy: false, trouble: None }
    }

    /// Takes what nobody has written to for a while.
    fn look(&mut self, now: Instant, tell: &dyn Fn(Event)) {
        let mut found = Vec::new();
        let mut trouble = find(&self.settings.folder, 0, &mut found).err().map(|error| error.to_string());
        let settle = Duration::from_secs_f64(self.settings.settle_s);
        let mut seen = BTreeMap::new();
        for (path, file) in found {
            let before = self.seen.get(&path).filter(|seen| seen.file == file);
            let since = before.map_or(now, |seen| seen.since);
            if before.is_none() || now.duration_since(since) < settle {
                seen.insert(path, Seen { file, since });
                continue;
            }
            let went = match self.take(&path, file) {
                Ok(event) => {
                    self.is_busy = true;
                    tell(event);
                    // In the spool it is safe; a file that stays is taken again, which changes nothing.
                    self.remove(&path, file)
                        .map_err(|error| format!("a file that was taken cannot be removed: {error}"))
                }
                Err(Unwanted::Refused { study_uid, why }) => {
                    let went = self.refuse(&path, file, &why);
                    if let Ok(true) = went {
                        tell(Event::Refused { study_uid, why });
                    }
                    went.map_err(|error| format!("a file that is not wanted cannot be moved: {error}"))
                }
                Err(Unwanted::NotNow(why)) => {
                    trouble.get_or_insert(why);
                    seen.insert(path, Seen { file, since });
                    continue;
                }
                Err(Unwanted::Replaced) => Ok(false),
            };
            match went {
                Ok(true) => {}
                // It is taken as well.
                Ok(false) => drop(seen.insert(path, Seen { file, since })),
                Err(why) => {
                    trouble.get_or_insert(why);
                    seen.insert(path, Seen { file, since: now });
                }
            }
        }
        self.seen = seen;
        if trouble != self.trouble
            && let Some(why) = &trouble
        {
            tell(Event::Troubled { why: why.clone() });
        }
        self.trouble = trouble;
        if self.is_busy && self.seen.is_empty() {
            self.is_busy = false;
            tell(Event::Quiet);
        }
    }

    /// Takes a file into the spool, if it is this one still.
    fn take(&self, path: &Path, file: Identity) -> Result<Event, Unwanted> {
        let refused = |study_uid, why: String| Unwanted::Refused { study_uid, why };
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
            let identity = dicom::identify(&bytes, self.limits);
            refused(identity.map(|identity| identity.study_uid), Chain(&error).to_string())
        })?;
        let header = &object.slices[0];
        let (study_uid, instance_uid) = (header.study_uid.clone(), header.sop_instance_uid.clone());
        if !CT_CLASSES.contains(&header.sop_class_uid.as_str()) {
            return Err(refused(Some(study_uid), "no CT image".to_owned()));
        }
        let mut draft = self.spool.draft()?;
        draft.write_all(&bytes).map_err(|error| Unwanted::NotNow(error.to_string()))?;
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

/// Opens a file in a folder. A pipe may have its name by now, whose other end is not waited for.
fn open(holder: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(openat(holder, name, flags, Mode::empty())?))
}

/// Whether a name in a folder is that of this file still, and nobody has written to it.
fn is_still(holder: &OwnedFd, name: &OsStr, file: Identity) -> io::Result<bool> {
    match open(holder, name).and_then(|file| file.metadata()) {
        Ok(metadata) => Ok(Identity::of(&metadata) == file),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn cannot_be_read(path: &Path, source: io::Error) -> Unwanted {
    if source.kind() == ErrorKind::NotFound {
        return Unwanted::Replaced;
    }
    Unwanted::NotNow(Chain(&MappedError::Read { path: path.to_owned(), source }).to_string())
}

/// Regular files below a folder.
fn find(folder: &Path, depth: usize, found: &mut Vec<(PathBuf, Identity)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let is_unfinished = UNFINISHED.iter().any(|other| ending.eq_ignore_ascii_case(other));
        if name.starts_with('.') || is_unfinished || (depth == 0 && name == REFUSED) {
            continue;
        }
        // Of the entry itself: what a link points to was not dropped here.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && depth < DEEPEST {
            // A folder that went away meanwhile is no trouble.
            let _ = find(&path, depth + 1, found);
        } else if metadata.is_file() && found.len() < MOST_FILES {
            found.push((path, Identity::of(&metadata)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::crafted::Crafted;
    use std::cell::RefCell;

    /// Drops files, looks at these seconds, and says what was told.
    fn looked(folder: &Path, drops: &[(u64, &str, Vec<u8>)], looks: &[u64]) -> Vec<Event> {
        let watched = folder.join("in");
        fs::create_dir_all(&watched).unwrap();
        let spool = Spool::open(&folder.join("spool"), 0).unwrap();
        let settings = Settings { folder: watched.clone(), settle_s: 2.0 };
        let limits = Limits::default();
        let mut watcher = Watcher::new(&settings, &spool, &limits);
        let (events, start) = (RefCell::new(Vec::new()), Instant::now());
        for &second in looks {
            for (at, name, bytes) in drops {
                if *at == second {
                    fs::write(watched.join(name), bytes).unwrap();
                }
            }
            watcher.look(start + Duration::from_secs(second), &|event| events.borrow_mut().push(event));
        }
        events.into_inner()
    }

    fn slice() -> Vec<u8> {
        Crafted::slice(2, 2).file()
    }

    fn another_slice() -> Vec<u8> {
        Crafted::slice(3, 3).text(0x0008, 0x0018, b"UI", "1.2.3.4.2").file()
    }

    #[test]
    fn a_file_is_taken_once_it_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let half = slice()[..200].to_vec();
        let drops = [(0, "a", half), (1, "a", slice())];
        assert_eq!(looked(folder.path(), &drops, &[0, 1, 2]), []);
        let events = looked(folder.path(), &[], &[0, 2, 3]);
        assert!(matches!(&events[..], [Event::Taken { again: false, .. }, Event::Quiet]), "{events:?}");
        assert_eq!(fs::read_dir(folder.path().join("in")).unwrap().count(), 0);
        let events = looked(folder.path(), &[(0, "b", slice())], &[0, 2]);
        assert!(matches!(&events[..], [Event::Taken { again: true, .. }, Event::Quiet]), "{events:?}");
    }

    #[test]
    fn what_is_not_wanted_is_kept_beside_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let drops = [(0, "Doe^Jane.txt", b"no DICOM".to_vec()), (0, "x.part", slice()), (0, ".y", slice())];
        let events = looked(folder.path(), &drops, &[0, 2, 4]);
        let [Event::Refused { study_uid: None, why }] = &events[..] else { panic!("{events:?}") };
        assert!(!why.contains("Doe"), "{why}");
        let refused = folder.path().join("in/refused");
        assert_eq!(fs::read(refused.join("1-Doe^Jane.txt")).unwrap(), b"no DICOM");
        assert!(!fs::read_to_string(refused.join("1-Doe^Jane.txt.why.txt")).unwrap().is_empty());
        // Unfinished and hidden files stay.
        assert_eq!(fs::read_dir(folder.path().join("in")).unwrap().count(), 3);
    }

    #[test]
    fn links_lead_nowhere() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let (watched, key) = (folder.path().join("in"), folder.path().join("KEY"));
        fs::create_dir_all(watched.join(REFUSED)).unwrap();
        fs::write(&key, "secret").unwrap();
        // Where the reason would be written.
        symlink(&key, watched.join(REFUSED).join("1-x.why.txt")).unwrap();
        let events = looked(folder.path(), &[(0, "x", b"no DICOM".to_vec())], &[0, 2]);
        assert!(matches!(&events[..], [Event::Refused { .. }, ..]), "{events:?}");
        assert_eq!(fs::read(&key).unwrap(), b"secret");
        assert!(watched.join(REFUSED).join("2-x.why.txt").exists());
        // A folder that was replaced by a link after it was looked into.
        let spool = Spool::open(&folder.path().join("spool"), 0).unwrap();
        let settings = Settings { folder: watched.clone(), settle_s: 0.0 };
        let limits = Limits::default();
        let watcher = Watcher::new(&settings, &spool, &limits);
        let identity = |path: &Path| Identity::of(&path.symlink_metadata().unwrap());
        symlink(folder.path(), watched.join("sub")).unwrap();
        assert!(watcher.remove(&watched.join("sub/KEY"), identity(&key)).is_err() && key.exists());
        fs::create_dir(watched.join("real")).unwrap();
        let real = watched.join("real/y");
        fs::write(&real, "").unwrap();
        assert!(watcher.remove(&real, identity(&real)).unwrap() && !real.exists());
        drop(spool);
        // Nor is a link taken for the folder of what is not wanted.
        fs::remove_dir_all(watched.join(REFUSED)).unwrap();
        symlink(folder.path(), watched.join(REFUSED)).unwrap();
        let events = looked(folder.path(), &[(0, "z", b"no DICOM".to_vec())], &[0, 2]);
        assert!(matches!(&events[..], [Event::Troubled { .. }]), "{events:?}");
    }

    /// A gateway that uses names again wrote the next slice while the one before was being taken: it was removed unseen.
    #[test]
    fn a_file_that_is_replaced_while_it_is_taken_is_taken_too() {
        let folder = tempfile::tempdir().unwrap();
        let (watched, next) = (folder.path().join("in"), folder.path().join("next"));
        fs::create_dir(&watched).unwrap();
        let name = watched.join("IM0001");
        fs::write(&name, slice()).unwrap();
        fs::write(&next, another_slice()).unwrap();
        let spool = Spool::open(&folder.path().join("spool"), 0).unwrap();
        let settings = Settings { folder: watched.clone(), settle_s: 2.0 };
        let limits = Limits::default();
        let (mut watcher, start) = (Watcher::new(&settings, &spool, &limits), Instant::now());
        let events = RefCell::new(Vec::new());
        for second in [0, 2, 3, 5] {
            watcher.look(start + Duration::from_secs(second), &|event| {
                // Only the first time is there another one.
                let _ = fs::rename(&next, &name);
                events.borrow_mut().push(event);
            });
        }
        let events = events.into_inner();
        assert!(matches!(&events[1..], [Event::Taken { again: false, .. }, Event::Quiet]), "{events:?}");
        assert_eq!(fs::read_dir(&watched).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(&folder.path().join("spool"), 0).unwrap();
        let settings = Settings { folder: folder.path().join("none"), settle_s: 0.0 };
        let limits = Limits::default();
        let mut watcher = Watcher::new(&settings, &spool, &limits);
        let events = RefCell::new(Vec::new());
        for _ in 0..3 {
            watcher.look(Instant::now(), &|event| events.borrow_mut().push(event));
        }
        assert!(matches!(&events.into_inner()[..], [Event::Troubled { .. }]));
    }
}
