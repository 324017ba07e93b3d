//! An object on its way into the spool: written, then kept under its name or dropped.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::{Spool, SpoolError, at, name, sync_folder};

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 128 << 10;

/// An object that is being received. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Draft<'a> {
    spool: &'a Spool,
    path: PathBuf,
    file: BufWriter<File>,
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is durable, under this name.
    New(PathBuf),
    /// The same bytes were there already: it was sent again.
    Again(PathBuf),
    /// An object with this UID and other bytes is there. It stays; this one was dropped.
    Differs(PathBuf),
}

impl<'a> Draft<'a> {
    pub(super) fn new(spool: &'a Spool, path: PathBuf) -> Result<Draft<'a>, SpoolError> {
        let file = File::create_new(&path).map_err(at(&path))?;
        Ok(Draft { spool, path, file: BufWriter::with_capacity(BUFFER_BYTES, file) })
    }

    /// Where its bytes are, once they are [flushed](Write::flush).
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the object under its name. When this returns, it survives a power cut.
    ///
    /// # Errors
    /// The disk. Then nobody may be told that the object was kept; sent again, it will be.
    ///
    /// # Panics
    /// Where a UID was not checked.
    pub fn keep(mut self, study_uid: &str, instance_uid: &str) -> Result<Kept, SpoolError> {
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(at(&self.path))?;
        // Until its name is durable: nobody removes the study meanwhile.
        let _names = self.spool.names.read().unwrap_or_else(PoisonError::into_inner);
        let objects = self.spool.found(study_uid)?;
        let named = objects.join(format!("{}.dcm", name(instance_uid)));
        // A link, since renaming would replace what has the name.
        let linked = fs::hard_link(&self.path, &named);
        let kept = match linked {
            Ok(()) => Kept::New(named),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if same(&self.path, &named).map_err(at(&named))? {
                    self.spool.note_again(study_uid);
                    Kept::Again(named)
                } else {
                    Kept::Differs(named)
                }
            }
            Err(error) => return Err(at(&named)(error)),
        };
        // Also where it was there: whoever linked it may not have come so far.
        sync_folder(&objects)?;
        Ok(kept)
    }
}

impl Write for Draft<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // What stays is removed when the spool is opened the next time.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether two files have the same bytes.
fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
    let (mut left, mut right) = ([0; 8192], [0; 8192]);
    loop {
        let count = one.read(&mut left)?;
        if count == 0 {
            return Ok(true);
        }
        other.read_exact(&mut right[..count])?;
        if left[..count] != right[..count] {
            return Ok(false);
        }
    }
}
