//! What lies in the watched folder: files that may be taken, and what cannot be looked into.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::REFUSED;

/// Folders within folders.
const DEEPEST: usize = 8;
/// How files end that somebody is still writing.
const UNFINISHED: [&str; 5] = ["tmp", "part", "partial", "filepart", "crdownload"];

/// Which file it is, and how: another one may have its name by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds, and nanoseconds besides.
    modified: (i64, i64),
}

impl Identity {
    pub fn of(file: &Metadata) -> Identity {
        let modified = (file.mtime(), file.mtime_nsec());
        Identity { device: file.dev(), inode: file.ino(), length: file.len(), modified }
    }
}

/// Looks through a folder and those in it.
pub struct Search<'a> {
    /// Whether a file is known to stay where it is.
    pub stays: &'a dyn Fn(&Path, Identity) -> bool,
    /// As many others are noted; the rest waits for the next look.
    pub most: usize,
    /// Regular files.
    pub files: Vec<(PathBuf, Identity)>,
    /// Folders below the first one.
    pub folders: Vec<PathBuf>,
    /// What cannot be looked into, without names.
    pub troubles: BTreeSet<String>,
}

impl<'a> Search<'a> {
    pub fn new(stays: &'a dyn Fn(&Path, Identity) -> bool, most: usize) -> Search<'a> {
        Search { stays, most, files: Vec::new(), folders: Vec::new(), troubles: BTreeSet::new() }
    }

    /// Looks through a folder that lies so deep.
    ///
    /// # Errors
    /// The folder itself; those in it are among the troubles.
    pub fn look(&mut self, folder: &Path, depth: usize) -> io::Result<()> {
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
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => self.enter(path, depth + 1),
                Ok(metadata) if metadata.is_file() => self.note(path, Identity::of(&metadata)),
                Ok(_) => {}
                Err(error) => self.cannot(&error),
            }
        }
        Ok(())
    }

    fn enter(&mut self, folder: PathBuf, depth: usize) {
        if depth > DEEPEST {
            self.troubles.insert(format!("folders that lie more than {DEEPEST} deep are not looked into"));
        } else if let Err(error) = self.look(&folder, depth) {
            self.cannot(&error);
        } else {
            self.folders.push(folder);
        }
    }

    fn cannot(&mut self, error: &io::Error) {
        // What went away meanwhile is no trouble.
        if error.kind() != ErrorKind::NotFound {
            self.troubles.insert(format!("a folder in it cannot be looked into: {error}"));
        }
    }

    fn note(&mut self, path: PathBuf, file: Identity) {
        // However many stay, those that came since are seen.
        if !(self.stays)(&path, file) {
            if self.most == 0 {
                return;
            }
            self.most -= 1;
        }
        self.files.push((path, file));
    }
}
