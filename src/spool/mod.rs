//! A durable folder of the objects that came in, by study: nothing that was acknowledged is ever lost.
//! What the objects mean is left to `study`, who sent them to `receive` and `watch`.
//!
//! ```text
//! LOCK                                   held by the one process that writes here
//! VERSION                                what this layout is called
//! incoming/N                             an object while it is received; of no worth after a crash
//! studies/STUDY/objects/INSTANCE.dcm     an object, complete and never changed
//! studies/STUDY/...                      whatever is found out about the study
//! purging/STUDY/                         a study that is being removed
//! aside/                                 what should not be here, and is kept for somebody to look at
//! ```
//!
//! STUDY and INSTANCE are UIDs, which the reader of headers holds to numbers with single dots between them. An object is
//! written, made durable, linked to its name, and its name made durable, in this order; only then is it told to be kept.

mod draft;
mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use thiserror::Error;

pub use draft::{Draft, Kept};
pub use look::{Found, foreign, free, look, nearest, time_to_keep};

/// Time in which whoever holds a spool may let go of it.
const PATIENCE: Duration = Duration::from_secs(2);

const VERSION: &str = "hemapatch spool 1\n";

/// A file that whoever tries the disk writes beside the others, and removes; of no worth after a crash.
const TRIAL: &str = ".trial";

/// What may be in a folder that becomes a spool: a crash may have come between the first files, and disks begin with a folder.
const OWN: [&str; 9] =
    ["LOCK", "VERSION", "VERSION.new", "incoming", "studies", "purging", "aside", TRIAL, "lost+found"];

/// The folder, held alone by this process.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    /// Room on the disk below which nothing more is taken.
    reserve_bytes: u64,
    /// Studies whose folders are known to be durable.
    durable: Mutex<BTreeSet<String>>,
    /// When an object of a study was sent again last, which was told to be kept without being new.
    again: Mutex<BTreeMap<String, Instant>>,
    /// Folders in which something was found that does not belong there, for whoever tells of it.
    strays: Mutex<Vec<String>>,
    /// Held by whoever puts an object into a study; alone, by whoever removes one.
    names: RwLock<()>,
    /// Number of the next draft.
    next: AtomicU64,
    _lock: File,
}

/// Why the spool cannot be used, or did not take an object.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// Another process writes there.
    #[error("{}: another process holds this spool", folder.display())]
    Held {
        /// The spool.
        folder: PathBuf,
    },
    /// A layout that this program does not know, or another kind of folder.
    #[error("{}: no spool: another folder, or one on which no service was started", folder.display())]
    NotASpool {
        /// The folder.
        folder: PathBuf,
    },
    /// There is less room on the disk than is to be kept free.
    #[error("{free} bytes are free on the spool's disk, {reserve} are to stay so")]
    Full {
        /// What is free.
        free: u64,
        /// What is to stay free.
        reserve: u64,
    },
    /// The disk or its rights.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was to be read or written.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl SpoolError {
    /// Whether there may be room for another object later.
    pub fn is_full(&self) -> bool {
        match self {
            SpoolError::Full { .. } => true,
            SpoolError::Io { source, .. } => {
                matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// What it is, without paths, which have UIDs in them, and the same each time, so that it is told once: for peers and logs.
    pub fn reason(&self) -> String {
        match self {
            SpoolError::Io { source, .. } => source.to_string(),
            SpoolError::Full { reserve, .. } => {
                format!("less is free on the spool's disk than the {reserve} bytes that are to stay so")
            }
            SpoolError::Held { .. } => "another process holds the spool".to_owned(),
            SpoolError::NotASpool { .. } => "no spool of this program".to_owned(),
        }
    }
}

/// For `map_err`: the error of a path.
pub fn at(path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Io { path, source }
}

impl Spool {
    /// Opens a spool, or makes one of an empty or missing folder, and holds it until the value goes.
    ///
    /// Drafts of an earlier process, which nobody was told to be kept, are removed; what does not belong is put aside.
    ///
    /// # Errors
    /// Another process holds it; the folder is something else; the disk.
    pub fn open(folder: &Path, reserve_bytes: u64) -> Result<Spool, SpoolError> {
        fs::create_dir_all(folder).map_err(at(folder))?;
        let version = folder.join("VERSION");
        let is_spool = match fs::read_to_string(&version) {
            Ok(text) if text == VERSION => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Ok(_) => return Err(SpoolError::NotASpool { folder: folder.to_owned() }),
            Err(error) => return Err(at(&version)(error)),
        };
        if !is_spool {
            for entry in fs::read_dir(folder).map_err(at(folder))? {
                let name = entry.map_err(at(folder))?.file_name();
                if !OWN.iter().any(|own| name == *own) {
                    return Err(SpoolError::NotASpool { folder: folder.to_owned() });
                }
            }
        }
        let path = folder.join("LOCK");
        let lock = File::options().create(true).append(true).open(&path).map_err(at(&path))?;
        let since = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                // A service that was killed while it started a process leaves its lock to that for a moment: until it is the
                // other program.
                Err(TryLockError::WouldBlock) if since.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(SpoolError::Held { folder: folder.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(SpoolError::Io { path, source }),
            }
        }
        for name in ["incoming", "studies", "purging", "aside"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(at(&path))?;
        }
        if !is_spool {
            write_durably(&version, VERSION.as_bytes())?;
        }
        sync_folder(folder)?;
        let spool = Spool {
            folder: folder.to_owned(),
            reserve_bytes,
            durable: Mutex::new(BTreeSet::new()),
            again: Mutex::default(),
            strays: Mutex::default(),
            names: RwLock::new(()),
            next: AtomicU64::new(0),
            _lock: lock,
        };
        spool.clear_drafts()?;
        Ok(spool)
    }

    /// Begins an object.
    ///
    /// # Errors
    /// There is no room; the disk.
    pub fn draft(&self) -> Result<Draft<'_>, SpoolError> {
        self.check_room()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Draft::new(self, self.folder.join("incoming").join(number.to_string()))
    }

    /// Whether there is room for another object.
    ///
    /// # Errors
    /// [`SpoolError::Full`]; the disk.
    pub fn check_room(&self) -> Result<(), SpoolError> {
        let free = self.free_bytes()?;
        if free < self.reserve_bytes {
            return Err(SpoolError::Full { free, reserve: self.reserve_bytes });
        }
        Ok(())
    }

    /// What is free on its disk.
    ///
    /// # Errors
    /// The disk.
    pub fn free_bytes(&self) -> Result<u64, SpoolError> {
        free_bytes(&self.folder).map_err(at(&self.folder))
    }

    /// The folder of a study, there or not.
    ///
    /// # Panics
    /// Where the UID is no name of a folder: whoever has one from outside has it checked.
    pub fn study(&self, study_uid: &str) -> PathBuf {
        self.folder.join("studies").join(name(study_uid))
    }

    /// The UIDs of all studies, in order.
    ///
    /// # Errors
    /// The disk.
    pub fn studies(&self) -> Result<Vec<String>, SpoolError> {
        self.studies_in("studies")
    }

    /// The UIDs that folders in one of the spool's are called by, in order. What is called otherwise is put aside.
    fn studies_in(&self, name: &str) -> Result<Vec<String>, SpoolError> {
        let folder = self.folder.join(name);
        let mut studies = Vec::new();
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let entry = entry.map_err(at(&folder))?;
            match entry.file_name().into_string() {
                Ok(name) if is_name(&name) && entry.file_type().is_ok_and(|kind| kind.is_dir()) => {
                    studies.push(name);
                }
                _ => self.put_stray_aside(&entry.path(), name)?,
            }
        }
        studies.sort();
        Ok(studies)
    }

    /// Takes a study out of the spool, if it has this many objects still, and none of them was sent again within this time: more of
    /// them may follow, which would be half a study. From then on it is not there, and comes anew if an object of it does;
    /// [`finish_purge`](Spool::finish_purge) removes it.
    ///
    /// # Errors
    /// The disk.
    pub fn purge(&self, study_uid: &str, objects: usize, kept: Duration) -> Result<bool, SpoolError> {
        let _alone = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let study = self.study(study_uid);
        let folder = study.join("objects");
        let count = fs::read_dir(&folder).map_err(at(&folder))?.count();
        let mut again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        if count != objects || again.get(study_uid).is_some_and(|last| last.elapsed() < kept) {
            return Ok(false);
        }
        again.remove(study_uid);
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).remove(study_uid);
        move_durably(&study, &self.folder.join("purging").join(name(study_uid)))?;
        Ok(true)
    }

    /// The UIDs of studies that were taken out and are not removed yet.
    ///
    /// # Errors
    /// The disk.
    pub fn purging(&self) -> Result<Vec<String>, SpoolError> {
        self.studies_in("purging")
    }

    /// Removes a study that was taken out.
    ///
    /// # Errors
    /// The disk.
    pub fn finish_purge(&self, study_uid: &str) -> Result<(), SpoolError> {
        let folder = self.folder.join("purging");
        let path = folder.join(study_uid);
        fs::remove_dir_all(&path).map_err(at(&path))?;
        sync_folder(&folder)
    }

    /// Moves what does not belong to where it does no harm, under a name that is free.
    ///
    /// # Errors
    /// The disk.
    pub fn put_aside(&self, path: &Path) -> Result<(), SpoolError> {
        let aside = self.folder.join("aside");
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut names = (1..).map(|n| aside.join(format!("{n}-{file_name}")));
        let free = names.find(|name| !name.exists()).expect("finitely many are taken");
        fs::rename(path, &free).map_err(at(path))?;
        sync_folder(&aside)?;
        path.parent().map_or(Ok(()), sync_folder)
    }

    /// The same of what is none of ours in one of the spool's folders.
    fn put_stray_aside(&self, path: &Path, folder: &str) -> Result<(), SpoolError> {
        self.put_aside(path)?;
        self.strays.lock().unwrap_or_else(PoisonError::into_inner).push(folder.to_owned());
        Ok(())
    }

    /// The folders in which something was found, since this was asked last, that does not belong there, and was put aside.
    pub fn take_strays(&self) -> Vec<String> {
        std::mem::take(&mut *self.strays.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn clear_drafts(&self) -> Result<(), SpoolError> {
        let folder = self.folder.join("incoming");
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let entry = entry.map_err(at(&folder))?;
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.put_stray_aside(&path, "incoming")?;
            } else {
                fs::remove_file(&path).map_err(at(&path))?;
            }
        }
        Ok(())
    }

    /// Lets something be written into the folder of a study, which is made where it is not there, while nobody removes that; nor
    /// soon, as where an object is sent again.
    ///
    /// # Errors
    /// The disk; what is written fails.
    ///
    /// # Panics
    /// As [`study`](Spool::study).
    pub fn within<T>(
        &self,
        study_uid: &str,
        write: impl FnOnce(&Path) -> Result<T, SpoolError>,
    ) -> Result<T, SpoolError> {
        let _names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        self.found(study_uid)?;
        self.note_again(study_uid);
        write(&self.study(study_uid))
    }

    /// Notes that an object of a study was sent again, while whoever removes studies waits.
    fn note_again(&self, study_uid: &str) {
        let mut again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        again.insert(study_uid.to_owned(), Instant::now());
    }

    /// Makes the folders of a study, durably.
    fn found(&self, study_uid: &str) -> Result<PathBuf, SpoolError> {
        let study = self.study(study_uid);
        let objects = study.join("objects");
        // Held while they are made: whoever comes second must not tell of an object whose folder may vanish.
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if !durable.contains(study_uid) {
            fs::create_dir_all(&objects).map_err(at(&objects))?;
            sync_folder(&study)?;
            sync_folder(&self.folder.join("studies"))?;
            durable.insert(study_uid.to_owned());
        }
        Ok(objects)
    }
}

/// Writes a file so that after a crash it has the old contents or the new ones.
///
/// # Errors
/// The disk.
pub fn write_durably(path: &Path, contents: &[u8]) -> Result<(), SpoolError> {
    write_with(File::options().create(true).truncate(true).write(true), path, contents)
}

/// The same of a file that only this user may read.
///
/// # Errors
/// The disk; somebody else is writing it.
pub fn write_secretly(path: &Path, contents: &[u8]) -> Result<(), SpoolError> {
    use std::os::unix::fs::OpenOptionsExt;
    // What a crash left may have other rights.
    let _ = fs::remove_file(new_name(path));
    write_with(File::options().create_new(true).mode(0o600).write(true), path, contents)
}

fn new_name(path: &Path) -> PathBuf {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    PathBuf::from(new)
}

fn write_with(options: &fs::OpenOptions, path: &Path, contents: &[u8]) -> Result<(), SpoolError> {
    let new = new_name(path);
    let mut file = options.open(&new).map_err(at(&new))?;
    file.write_all(contents).and_then(|()| file.sync_all()).map_err(at(&new))?;
    drop(file);
    fs::rename(&new, path).map_err(at(path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes a folder and those above it that are missing, durably.
///
/// # Errors
/// The disk.
pub fn make_folder(folder: &Path) -> Result<(), SpoolError> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folder(parent)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(at(folder)(error)),
        _ => {}
    }
    folder.parent().map_or(Ok(()), sync_folder)
}

/// Gives a file another name on the same disk, durably; what had the name is gone.
///
/// # Errors
/// The disk.
pub fn move_durably(from: &Path, to: &Path) -> Result<(), SpoolError> {
    fs::rename(from, to).map_err(at(from))?;
    to.parent().map_or(Ok(()), sync_folder)?;
    from.parent().map_or(Ok(()), sync_folder)
}

/// Makes the names in a folder durable.
///
/// # Errors
/// The disk.
pub fn sync_folder(folder: &Path) -> Result<(), SpoolError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

/// Names in a folder; none where it is none.
///
/// # Errors
/// The disk.
pub fn names(folder: &Path) -> Result<BTreeSet<String>, SpoolError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(BTreeSet::new());
        }
        entries => entries.map_err(at(folder))?,
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        Ok(entry.map_err(at(folder))?.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}

fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// A UID as the name of a file or folder.
fn name(uid: &str) -> &str {
    assert!(is_name(uid), "a UID that was not checked");
    uid
}

/// Whether a UID is numbers with single dots between them: no way out of a folder.
pub fn is_name(uid: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    uid.len() <= 64 && uid.split('.').all(is_number)
}

#[cfg(test)]
mod tests;
