//! What could not be read, and what was given and came to nothing: told, never dropped.
//! Which outcome each of them gets is left to `study` and `cli`.

use std::error::Error;
use std::fmt;

use super::Warning;
use super::source::SourceError;

/// As many `unreadable_file` warnings are given one by one; of the rest, how many they are.
const MOST_WARNINGS: usize = 20;

/// A file, folder or ZIP member that was not read, and why. Shown as its place and the whole reason, on one line.
#[derive(Debug)]
pub struct Unread {
    /// Its path, or `archive.zip!member`.
    pub place: String,
    /// True where somebody waits for its outcome: the caller named this very path, or named a folder or an
    /// archive of which nothing else became part of a study.
    pub named: bool,
    /// UID of the series that it belongs to, where that could be read.
    pub series_uid: Option<String>,
    /// Why.
    pub error: SourceError,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, Chain(&self.error))
    }
}

/// A warning `unreadable_file` for each, up to what a reader still looks at.
pub(super) fn warnings(unread: &[Unread]) -> Vec<Warning> {
    let told = unread.iter().take(MOST_WARNINGS);
    let mut warnings: Vec<Warning> =
        told.map(|unread| Warning::new("unreadable_file", unread.to_string())).collect();
    if unread.len() > MOST_WARNINGS {
        warnings.push(Warning::new("unreadable_file", format!("and {} more", unread.len() - MOST_WARNINGS)));
    }
    warnings
}

/// An error with its causes, on one line.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(inner) = cause {
            write!(f, ": {inner}")?;
            cause = inner.source();
        }
        Ok(())
    }
}

/// A path that the caller named, of which nothing became part of a study and nothing failed to be read: without
/// this entry it would end without an outcome. Shown as its place and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fruitless {
    /// The path.
    pub place: String,
    /// Why nothing came of it.
    pub reason: FruitlessReason,
}

/// Why nothing came of a path that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FruitlessReason {
    /// A folder or an archive without files.
    Empty,
    /// No file is DICOM.
    NotDicom {
        /// How many there are.
        count: u32,
        /// The first of them.
        first: String,
    },
    /// DICOM objects, none of them with pixels: reports, directories.
    NoPixels {
        /// How many there are.
        count: u32,
        /// The first of them.
        first: String,
    },
    /// The search had ended before, at [`Limits::entries`](crate::limits::Limits::entries).
    NotReached {
        /// The limit.
        limit: u32,
    },
}

impl fmt::Display for Fruitless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match &self.reason {
            FruitlessReason::Empty => f.write_str("no file was found"),
            FruitlessReason::NotDicom { count: 1, first } => write!(f, "the only file is not DICOM: {first}"),
            FruitlessReason::NotDicom { count, first } => {
                write!(f, "none of the {count} files is DICOM, first: {first}")
            }
            FruitlessReason::NoPixels { count: 1, first } if *first == self.place => {
                f.write_str("the object has no pixel data")
            }
            FruitlessReason::NoPixels { count, first } => {
                write!(f, "no pixel data in any DICOM object ({count}), first: {first}")
            }
            FruitlessReason::NotReached { limit } => {
                write!(f, "not looked at: the limit of {limit} files was reached before")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::mapped::MappedError;

    fn unread(place: &str) -> Unread {
        let source = io::Error::new(io::ErrorKind::PermissionDenied, "permission denied");
        let error = SourceError::File(MappedError::Read { path: place.into(), source });
        Unread { place: place.to_owned(), named: false, series_uid: None, error }
    }

    #[test]
    fn the_reason_is_told_with_its_cause_and_the_place_once() {
        // The warning said "x.dcm: cannot read x.dcm", and not that the permission was missing.
        assert_eq!(unread("x.dcm").to_string(), "x.dcm: cannot be read: permission denied");
        assert_eq!(warnings(&[unread("x.dcm")])[0].detail, "x.dcm: cannot be read: permission denied");
    }

    #[test]
    fn a_folder_full_of_broken_files_does_not_flood_the_report() {
        // 40,000 broken files gave 40,000 warnings, in the report of every study.
        let broken: Vec<Unread> = (0..23).map(|number| unread(&number.to_string())).collect();
        let warnings = warnings(&broken);
        assert_eq!(warnings.len(), 21);
        assert_eq!(warnings[20].detail, "and 3 more");
        assert!(warnings.iter().all(|warning| warning.code == "unreadable_file"));
    }
}
