//! Walks a folder of patch pictures: every file, what its name says, and what the files of one
//! patch say together. Opening the pictures is left to the caller.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Class, FileName};

/// What the files of one patch say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Nobody was certain.
    Unlabelled,
    /// One class, however often it was saved.
    One(Class),
    /// Saved under two classes: worth no more than none.
    Conflict,
}

impl Label {
    /// What is known once another file of the patch was found.
    ///
    /// A labelled patch is saved *again*, so the file without a letter says nothing new.
    #[must_use]
    pub fn and(self, class: Option<Class>) -> Label {
        match (self, class) {
            (label, None) => label,
            (Label::Unlabelled, Some(class)) => Label::One(class),
            (Label::One(known), Some(class)) if known == class => self,
            (_, Some(_)) => Label::Conflict,
        }
    }
}

/// How far the search for labelled patches goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelLimits {
    /// Files looked at.
    pub files: u64,
    /// Folders below the one given.
    pub folder_depth: u16,
}

impl Default for LabelLimits {
    /// A thousand studies of 30 slices with 1,024 patches each would be 30 million files.
    fn default() -> LabelLimits {
        LabelLimits { files: 50_000_000, folder_depth: 16 }
    }
}

/// Calls `each` with every file in a folder and the folders below it, in no particular order;
/// the name is `None` where the grid tool would not have given it. Links are not followed.
///
/// # Errors
/// [`LabelFolderError`], and whatever `each` returns: then the walk ends.
pub fn walk<E: From<LabelFolderError>>(
    folder: &Path,
    limits: LabelLimits,
    mut each: impl FnMut(PathBuf, Option<FileName>) -> Result<(), E>,
) -> Result<(), E> {
    let mut files = 0;
    let mut waiting = vec![(folder.to_path_buf(), 0)];
    while let Some((folder, depth)) = waiting.pop() {
        if depth > limits.folder_depth {
            return Err(LabelFolderError::TooDeep { path: folder, limit: limits.folder_depth }.into());
        }
        let read_error = |source| LabelFolderError::Read { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(read_error)? {
            let entry = entry.map_err(read_error)?;
            let path = entry.path();
            let kind =
                entry.file_type().map_err(|source| LabelFolderError::Read { path: path.clone(), source })?;
            if kind.is_dir() {
                waiting.push((path, depth + 1));
            } else if kind.is_file() {
                files += 1;
                if files > limits.files {
                    return Err(LabelFolderError::TooMany { path, limit: limits.files }.into());
                }
                let name = path.file_name().and_then(|name| name.to_str());
                let name = name.and_then(|name| FileName::parse(name).ok());
                each(path, name)?;
            }
        }
    }
    Ok(())
}

/// Why a folder of labelled patches could not be walked.
#[derive(Debug, thiserror::Error)]
pub enum LabelFolderError {
    /// The file system refused.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Folders in folders beyond the limit.
    #[error("{} lies deeper than {limit} folders", path.display())]
    TooDeep {
        /// The first folder too deep.
        path: PathBuf,
        /// The limit.
        limit: u16,
    },
    /// More files than the limit.
    #[error("more than {limit} files; the first too many is {}", path.display())]
    TooMany {
        /// The first file too many.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_letter_makes_a_conflict_and_the_same_letter_does_not() {
        let together = |classes: &[Option<Class>]| classes.iter().fold(Label::Unlabelled, |l, &c| l.and(c));
        let (blood, bone) = (Some(Class::Hematoma), Some(Class::Skull));
        assert_eq!(together(&[None, None]), Label::Unlabelled);
        assert_eq!(together(&[None, blood, blood, None]), Label::One(Class::Hematoma));
        assert_eq!(together(&[blood, bone]), Label::Conflict);
        assert_eq!(together(&[blood, bone, blood, None]), Label::Conflict);
    }
}
