//! Where the bytes of one DICOM object come from: a file, or a member of a ZIP archive.
//! Which of them are looked at is left to `find`, what they mean to `dicom`.

use std::fmt;
use std::io::{self, Read};
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::DeflateDecoder;
use thiserror::Error;

use crate::dicom::DicomError;
use crate::dicom::text::printable;
use crate::limits::Limits;
use crate::mapped::{Mapped, MappedError};

/// Characters of a member's name that are shown. ZIP allows 65,535 bytes, which would drown the message.
const LONGEST_NAME: usize = 1024;

/// One file or ZIP member. Shown as its path, or as `archive.zip!member`.
#[derive(Clone, Debug)]
pub struct Source {
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Member { archive: Arc<Archive>, member: Arc<Member> },
}

/// An open ZIP archive, shared by its members.
#[derive(Debug)]
pub(super) struct Archive {
    pub path: PathBuf,
    pub bytes: Mapped,
}

/// Where a member lies in its archive.
#[derive(Debug)]
pub(super) struct Member {
    pub name: String,
    pub range: Range<usize>,
    pub deflated: bool,
    pub inflated_bytes: u64,
    pub crc32: u32,
}

/// Why a source is not read. Shown without its place, which the caller adds, and without its cause, which
/// [`Chain`](super::Chain) adds.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The file system does not give the bytes.
    #[error(transparent)]
    File(#[from] MappedError),
    /// A folder cannot be listed.
    #[error("cannot list the folder")]
    Folder(#[source] io::Error),
    /// The bytes are no slice.
    #[error(transparent)]
    Dicom(#[from] DicomError),
    /// The ZIP archive is damaged.
    #[error("the ZIP archive is damaged: {0}")]
    Archive(&'static str),
    /// The ZIP archive uses what this program does not read.
    #[error("the ZIP archive is not supported: {0}")]
    ArchiveUnsupported(&'static str),
    /// A bound of the caller.
    #[error("{what} is over the limit of {limit}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// The bound in [`Limits`].
        limit: u64,
    },
}

/// The bytes of a source. `Debug` shows how many, never which: they are a patient's.
pub enum Bytes {
    /// A private copy of the file, mapped.
    Mapped(Mapped),
    /// A member inflated into memory.
    Owned(Vec<u8>),
    /// A member that is stored uncompressed: a view into the mapped archive.
    Member(MemberView),
}

/// A range of a mapped archive.
pub struct MemberView {
    archive: Arc<Archive>,
    range: Range<usize>,
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(mapped) => mapped,
            Bytes::Owned(bytes) => bytes,
            Bytes::Member(view) => view.archive.bytes.get(view.range.clone()).unwrap_or_default(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path) => f.write_str(&place(path)),
            Place::Member { archive, member } => f.write_str(&member_place(&archive.path, &member.name)),
        }
    }
}

/// A path as messages and reports show it: on one line, and with nothing that drives a terminal.
///
/// Names come from whoever sent the files: one that clears the screen would hide what was said before it.
pub(super) fn place(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// The same of a ZIP member: `archive.zip!member`. Of a longer name than file systems allow, beginning and end.
pub(super) fn member_place(archive: &Path, name: &str) -> String {
    let characters = name.chars().count();
    let shown = if characters > LONGEST_NAME {
        let half = LONGEST_NAME / 2;
        let beginning = name.chars().take(half);
        beginning.chain(['…']).chain(name.chars().skip(characters - half)).collect()
    } else {
        name.to_owned()
    };
    format!("{}!{}", place(archive), printable(&shown))
}

impl Source {
    /// A file. Nothing is opened yet.
    pub fn file(path: impl Into<PathBuf>) -> Source {
        Source { place: Place::File(path.into()) }
    }

    pub(super) fn member(archive: &Arc<Archive>, member: Member) -> Source {
        Source { place: Place::Member { archive: Arc::clone(archive), member: Arc::new(member) } }
    }

    /// The file, or the archive that holds the member.
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::File(path) => path,
            Place::Member { archive, .. } => &archive.path,
        }
    }

    /// The file, where all of it is the object; None for a member of an archive.
    pub(super) fn file_path(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Member { .. } => None,
        }
    }

    /// Reads the bytes: maps a private copy of a file, inflates a ZIP member.
    ///
    /// # Errors
    /// The file cannot be read; the member is damaged; a limit of the caller.
    pub fn read(&self, limits: &Limits) -> Result<Bytes, SourceError> {
        match &self.place {
            Place::File(path) => Ok(Bytes::Mapped(Mapped::open(path, limits)?)),
            Place::Member { archive, member } => member.read(archive, limits),
        }
    }
}

impl Member {
    fn stored<'a>(&self, archive: &'a Archive) -> Result<&'a [u8], SourceError> {
        archive.bytes.get(self.range.clone()).ok_or(SourceError::Archive("a member ends behind the archive"))
    }

    /// The first bytes of the member: enough to see whether it is DICOM.
    pub fn beginning(&self, archive: &Archive, bytes: usize) -> Result<Vec<u8>, SourceError> {
        let stored = self.stored(archive)?;
        let mut beginning = Vec::with_capacity(bytes);
        if self.deflated {
            DeflateDecoder::new(stored)
                .take(bytes as u64)
                .read_to_end(&mut beginning)
                .map_err(|_| SourceError::Archive("a member cannot be inflated"))?;
        } else {
            beginning.extend(&stored[..stored.len().min(bytes)]);
        }
        Ok(beginning)
    }

    fn read(&self, archive: &Arc<Archive>, limits: &Limits) -> Result<Bytes, SourceError> {
        let stored = self.stored(archive)?;
        if self.inflated_bytes > limits.inflated_bytes {
            return Err(SourceError::Limit {
                what: "the inflated size of a ZIP member in bytes",
                limit: limits.inflated_bytes,
            });
        }
        let bytes = if self.deflated {
            let mut inflated = Vec::new();
            // Never more than the archive claims, so that the sum of its claims, which `archive` bounds, is what
            // all of it takes. Nor is memory reserved for a claim.
            DeflateDecoder::new(stored)
                .take(self.inflated_bytes.saturating_add(1))
                .read_to_end(&mut inflated)
                .map_err(|_| SourceError::Archive("a member cannot be inflated"))?;
            Bytes::Owned(inflated)
        } else {
            Bytes::Member(MemberView { archive: Arc::clone(archive), range: self.range.clone() })
        };
        if bytes.len() as u64 != self.inflated_bytes {
            return Err(SourceError::Archive("a member does not have the size that its directory tells"));
        }
        let mut crc = flate2::Crc::new();
        crc.update(&bytes);
        if crc.sum() != self.crc32 {
            return Err(SourceError::Archive("a member does not match its checksum"));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_on_one_line_and_drive_no_terminal() {
        // A member named so cleared the screen of whoever read the message, and forged a line of it.
        let archive = Path::new("a\u{7}.zip");
        let shown = member_place(archive, "\u{1B}[2J\n0 alerts\u{202E}gpj.dcm");
        assert_eq!(shown, "a␇.zip!␛[2J␊0 alerts\u{FFFD}gpj.dcm");
        assert_eq!(Source::file("x\u{1B}c").to_string(), "x␛c");
        assert_eq!(member_place(Path::new("å.zip"), "シリーズ/1"), "å.zip!シリーズ/1");
    }

    #[test]
    fn names_longer_than_a_file_system_has_are_shown_in_part() {
        let name = format!("begin{}end.dcm", "x".repeat(60_000));
        let shown = member_place(Path::new("a.zip"), &name);
        assert_eq!(shown.chars().count(), "a.zip!".len() + LONGEST_NAME + 1);
        assert!(shown.starts_with("a.zip!begin") && shown.contains('…') && shown.ends_with("end.dcm"));
    }
}
