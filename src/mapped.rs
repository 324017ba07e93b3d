//! Files as read-only bytes in memory, large ones mapped instead of read: the only place that maps.
//! What the bytes mean is left to `dicom` and `series`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use thiserror::Error;

use crate::limits::Limits;

/// Files up to this size are read into memory. A slice of 512 x 512 takes 58 us to be read, and 178 us to be copied and
/// mapped; what is larger should not have to fit.
const READ_BYTES: u64 = 4 << 20;

/// A private copy of a file: of a small one in memory, of a large one mapped.
///
/// A mapping of a file that somebody else can still write is unsound: its bytes may change under a `&[u8]`,
/// and a read beyond a truncated end kills the process. So the file is copied, inside the kernel, into an
/// unnamed temporary file, and that copy is mapped. It vanishes with the value.
#[derive(Debug)]
pub struct Mapped {
    held: Held,
}

#[derive(Debug)]
enum Held {
    Read(Vec<u8>),
    Mapped(Mmap),
}

/// Why a file could not be mapped. Shown without its path and its cause: the caller adds both.
#[derive(Debug, Error)]
pub enum MappedError {
    /// The file cannot be opened or read.
    #[error("cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Folders, pipes and devices have no length to be held against a limit.
    #[error("is not a regular file")]
    NotAFile {
        /// What was given.
        path: PathBuf,
    },
    /// The file is larger than the caller allows.
    #[error("has more than the limit of {limit} bytes")]
    Limit {
        /// The file.
        path: PathBuf,
        /// [`Limits::file_bytes`].
        limit: u64,
    },
    /// There is no room or no right for the private copy, or it cannot be mapped.
    #[error("a private copy cannot be made")]
    Copy {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Mapped {
    /// Reads the file at `path`, or copies it into an unnamed temporary file and maps the copy.
    ///
    /// # Errors
    /// The file is no readable regular file, exceeds [`Limits::file_bytes`], or cannot be copied.
    pub fn open(path: &Path, limits: &Limits) -> Result<Mapped, MappedError> {
        let read = |source| MappedError::Read { path: path.to_owned(), source };
        // Asked before opening, since opening a pipe waits for its other end.
        if !std::fs::metadata(path).map_err(read)?.is_file() {
            return Err(MappedError::NotAFile { path: path.to_owned() });
        }
        Mapped::read(File::open(path).map_err(read)?, path, limits)
    }

    /// The same of a file that is open already; `path` is for errors alone.
    ///
    /// # Errors
    /// As [`open`](Mapped::open).
    pub fn read(mut original: File, path: &Path, limits: &Limits) -> Result<Mapped, MappedError> {
        let read = |source| MappedError::Read { path: path.to_owned(), source };
        let copy = |source| MappedError::Copy { path: path.to_owned(), source };
        let metadata = original.metadata().map_err(read)?;
        if !metadata.is_file() {
            return Err(MappedError::NotAFile { path: path.to_owned() });
        }
        let too_large = || MappedError::Limit { path: path.to_owned(), limit: limits.file_bytes };
        // A file of holes is made in no time, and copying it up to the limit would fill the disk with zeros.
        if metadata.len() > limits.file_bytes {
            return Err(too_large());
        }
        // Counted while reading and copying: the length that the file system tells may have changed since.
        let mut beginning = Vec::new();
        if metadata.len() <= READ_BYTES {
            let wanted = READ_BYTES.min(limits.file_bytes).saturating_add(1);
            // One more than there is, so that the end is met without growing.
            beginning.reserve_exact(metadata.len() as usize + 1);
            (&mut original).take(wanted).read_to_end(&mut beginning).map_err(read)?;
            let bytes = beginning.len() as u64;
            if bytes > limits.file_bytes {
                return Err(too_large());
            }
            if bytes <= READ_BYTES {
                return Ok(Mapped { held: Held::Read(beginning) });
            }
        }
        let mut private = tempfile::tempfile().map_err(copy)?;
        private.write_all(&beginning).map_err(copy)?;
        let wanted = limits.file_bytes.saturating_add(1) - beginning.len() as u64;
        let bytes =
            beginning.len() as u64 + io::copy(&mut original.take(wanted), &mut private).map_err(copy)?;
        if bytes > limits.file_bytes {
            return Err(too_large());
        }
        if bytes == 0 {
            // An empty range cannot be mapped on every platform.
            return Ok(Mapped { held: Held::Read(Vec::new()) });
        }
        Ok(Mapped { held: Held::Mapped(map_private(&private).map_err(copy)?) })
    }
}

/// Maps a file that `tempfile::tempfile` made in this module.
#[allow(unsafe_code)]
fn map_private(private: &File) -> io::Result<Mmap> {
    // SAFETY: `Mapped::open` made this file by `tempfile::tempfile`: it has no name in any folder, its only
    // handle is the one here, which is dropped after the map is made, and nothing wrote or will write to it
    // after the copy. So the bytes stay put while the map lives.
    unsafe { Mmap::map(private) }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.held {
            Held::Read(bytes) => bytes,
            Held::Mapped(map) => map,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_when_the_original_is_overwritten_and_truncated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slice");
        for size in [100_000, READ_BYTES as usize, READ_BYTES as usize + 1] {
            std::fs::write(&path, vec![7u8; size]).unwrap();
            let mapped = Mapped::open(&path, &Limits::default()).unwrap();
            assert_eq!(matches!(mapped.held, Held::Mapped(_)), size as u64 > READ_BYTES);
            std::fs::write(&path, vec![9u8; size]).unwrap();
            assert!(mapped.iter().all(|&byte| byte == 7));
            File::options().write(true).open(&path).unwrap().set_len(3).unwrap();
            assert_eq!(mapped.len(), size);
            assert!(mapped.iter().all(|&byte| byte == 7));
        }
    }

    #[test]
    fn an_empty_file_is_no_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty");
        std::fs::write(&path, b"").unwrap();
        assert!(Mapped::open(&path, &Limits::default()).unwrap().is_empty());
    }

    #[test]
    fn refuses_folders_missing_files_and_files_over_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        std::fs::write(&path, [0u8; 11]).unwrap();
        let limits = Limits { file_bytes: 10, ..Limits::default() };
        assert!(matches!(Mapped::open(&path, &limits), Err(MappedError::Limit { limit: 10, .. })));
        assert!(matches!(Mapped::open(folder.path(), &limits), Err(MappedError::NotAFile { .. })));
        // 3 GB of holes took 5 seconds to be refused: 2 of them were copied first.
        File::create(&path).unwrap().set_len(3 << 30).unwrap();
        let limits = Limits::default();
        assert!(matches!(Mapped::open(&path, &limits), Err(MappedError::Limit { limit: 0x8000_0000, .. })));
        assert!(matches!(Mapped::open(&folder.path().join("none"), &limits), Err(MappedError::Read { .. })));
    }
}
