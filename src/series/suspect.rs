//! Files that are not DICOM and were meant to be, by their names or by what lies beside them.
//! Finding them is left to `find`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What programs append to the names of DICOM files.
const EXTENSIONS: [&str; 3] = ["dcm", "ima", "dicom"];

/// What packers append to the names of single files.
const PACKED: [&str; 6] = ["gz", "bz2", "xz", "zst", "7z", "zip"];

/// The last part of a path or of a member's name.
fn last_part(name: &Path) -> String {
    name.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// True for names such as `IM0028.dcm` and `IM0028.dcm.gz`.
///
/// Names that begin with a dot are no objects: macOS packs a `._IM0028.dcm` beside every `IM0028.dcm`.
pub(super) fn is_named_dicom(name: &Path) -> bool {
    let name = last_part(name);
    let mut parts = name.rsplit('.');
    let mut extension = parts.next().unwrap_or_default();
    if PACKED.contains(&extension) {
        extension = parts.next().unwrap_or_default();
    }
    !name.starts_with('.') && parts.next().is_some() && EXTENSIONS.contains(&extension)
}

/// True for the names of ZIP archives.
pub(super) fn is_named_archive(name: &Path) -> bool {
    last_part(name).ends_with(".zip")
}

/// Where a file lies and what its name ends in: what files that a program wrote in one go have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kin {
    /// The archive that holds it.
    archive: Option<PathBuf>,
    folder: PathBuf,
    extension: Option<OsString>,
}

impl Kin {
    /// None for names that are never a slice's: those of directories of discs, and hidden ones.
    pub fn of(archive: Option<&Path>, name: &Path) -> Option<Kin> {
        let last = last_part(name);
        if last == "dicomdir" || last.starts_with('.') {
            return None;
        }
        Some(Kin {
            archive: archive.map(Path::to_owned),
            folder: name.parent()?.to_owned(),
            extension: name.extension().map(OsString::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_slices_and_of_other_files() {
        for name in ["IM0028.dcm", "a/b/x.DCM", "x.IMA", "x.y.dicom", "IM0028.dcm.gz", "x.dcm.zip"] {
            assert!(is_named_dicom(Path::new(name)), "{name}");
        }
        for name in ["IM0028", "notes.txt", "dcm", ".dcm", "._IM0028.dcm", "x.gz", "dcm.gz", "a.dcm/x"] {
            assert!(!is_named_dicom(Path::new(name)), "{name}");
        }
    }
}
