//! File names of the grid annotation tool: a slice with its grid, a patch, a labelled patch.
//! Reading and writing the pictures is left to the caller.

use std::fmt;

use super::{Class, ClassError};

const EXTENSION: &str = ".png";
const GRID: &str = "_grid";

/// What a picture's file name says about it.
///
/// `stem` names the slice (the paper's `xxxx`) and may itself hold underscores and dots.
///
/// # Units
/// `x0` (column) and `y0` (row) are pixels of the slice: the patch's upper left corner.
///
/// # Source
/// The paper's grid annotation tool: `xxxx_grid.png`, `split_pic/xxxx_x0_y0.png`,
/// `xxxx_x0_y0.C.png`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileName {
    /// The slice with its grid drawn.
    Grid {
        /// Stem of the slice.
        stem: String,
    },
    /// One patch, with the class that somebody gave it, if any.
    Patch {
        /// Stem of the slice.
        stem: String,
        /// Leftmost column of the patch.
        x0: u32,
        /// Topmost row of the patch.
        y0: u32,
        /// `None` while nobody is certain.
        class: Option<Class>,
    },
}

impl FileName {
    /// Folder of the patches, beside the grid pictures.
    pub const PATCH_FOLDER: &str = "split_pic";

    /// The name of a slice's grid picture.
    ///
    /// # Errors
    /// [`FileNameError::Stem`] if the stem cannot be part of a file name.
    pub fn grid(stem: &str) -> Result<FileName, FileNameError> {
        Ok(FileName::Grid { stem: checked_stem(stem)? })
    }

    /// The name of a patch.
    ///
    /// # Errors
    /// [`FileNameError::Stem`] if the stem cannot be part of a file name.
    pub fn patch(stem: &str, x0: u32, y0: u32, class: Option<Class>) -> Result<FileName, FileNameError> {
        Ok(FileName::Patch { stem: checked_stem(stem)?, x0, y0, class })
    }

    /// Reads a file name, without its folder. Numbers may have leading zeros.
    ///
    /// # Errors
    /// [`FileNameError::Form`] if it is no name of the grid tool, [`FileNameError::Class`] if it
    /// has a letter that stands for no class.
    pub fn parse(name: &str) -> Result<FileName, FileNameError> {
        let form = || FileNameError::Form { name: name.to_owned() };
        let body = name.strip_suffix(EXTENSION).ok_or_else(form)?;
        if let Some(stem) = body.strip_suffix(GRID) {
            return FileName::grid(stem);
        }
        // From the right, since a slice's own name (0002_16) may hold underscores too.
        let (rest, last) = body.rsplit_once('_').ok_or_else(form)?;
        let (stem, x0) = rest.rsplit_once('_').ok_or_else(form)?;
        let (y0, letter) = match last.split_once('.') {
            Some((y0, letter)) => (y0, Some(letter)),
            None => (last, None),
        };
        let x0 = pixel(x0).ok_or_else(form)?;
        let y0 = pixel(y0).ok_or_else(form)?;
        let class = match letter.map(|text| (text.chars().next(), text.chars().count())) {
            None => None,
            Some((Some(letter), 1)) => Some(
                Class::from_letter(letter)
                    .map_err(|source| FileNameError::Class { name: name.to_owned(), source })?,
            ),
            Some(_) => return Err(form()),
        };
        FileName::patch(stem, x0, y0, class)
    }

    /// Stem of the slice that the picture shows.
    pub fn stem(&self) -> &str {
        match self {
            FileName::Grid { stem } | FileName::Patch { stem, .. } => stem,
        }
    }

    /// The patient of a slice named patient, underscore, number (`0002_16`, as
    /// `hemapatch patches --prefix 0002_` writes it); `None` where the name does not tell.
    ///
    /// A number alone is no patient: every series begins again at 1.
    pub fn patient(&self) -> Option<&str> {
        patient(self.stem())
    }
}

/// [`FileName::patient`] of a slice's stem.
pub(super) fn patient(stem: &str) -> Option<&str> {
    let (patient, slice) = stem.rsplit_once('_')?;
    let numbered = !slice.is_empty() && slice.bytes().all(|byte| byte.is_ascii_digit());
    (numbered && !patient.is_empty()).then_some(patient)
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileName::Grid { stem } => write!(f, "{stem}{GRID}{EXTENSION}"),
            FileName::Patch { stem, x0, y0, class } => {
                write!(f, "{stem}_{x0}_{y0}")?;
                if let Some(class) = class {
                    write!(f, ".{}", class.letter())?;
                }
                f.write_str(EXTENSION)
            }
        }
    }
}

/// `str::parse` would also take a plus sign.
fn pixel(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// A stem comes from a file name or a UID of somebody else: it must not lead out of the folder.
fn checked_stem(stem: &str) -> Result<String, FileNameError> {
    let forbidden = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
    if stem.is_empty() || stem.contains(forbidden) {
        return Err(FileNameError::Stem { stem: stem.to_owned() });
    }
    Ok(stem.to_owned())
}

/// A file name that the grid tool would not have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileNameError {
    /// Neither `xxxx_grid.png` nor `xxxx_x0_y0.png` nor `xxxx_x0_y0.C.png`.
    #[error("{name:?} is no file name of the grid tool")]
    Form {
        /// The name as found.
        name: String,
    },
    /// The form is right, the letter is not.
    #[error("{name:?}: {source}")]
    Class {
        /// The name as found.
        name: String,
        /// Which letter.
        source: ClassError,
    },
    /// An empty stem, or one with a separator or a control character.
    #[error("{stem:?} cannot name the pictures of a slice")]
    Stem {
        /// The stem as given.
        stem: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_three_forms_of_the_paper() {
        let grid = FileName::parse("0002_16_grid.png");
        assert_eq!(grid, FileName::grid("0002_16"));
        let patch = FileName::parse("0002_16_256_48.png");
        assert_eq!(patch, FileName::patch("0002_16", 256, 48, None));
        let labelled = FileName::parse("1.2.840.7_0_496.C.png");
        let expected = FileName::patch("1.2.840.7", 0, 496, Some(Class::Hematoma));
        assert_eq!(labelled, expected);
    }

    #[test]
    fn tells_the_patient_only_where_a_number_follows_it() {
        let patient = |name: &str| FileName::parse(name).expect(name).patient().map(str::to_owned);
        assert_eq!(patient("0002_16_256_48.C.png").as_deref(), Some("0002"));
        assert_eq!(patient("ward_7_0001_0_0.png").as_deref(), Some("ward_7"));
        assert_eq!(patient("0002_16_grid.png").as_deref(), Some("0002"));
        for name in ["0001_256_48.C.png", "IM7_0_0.C.png", "_01_0_0.png", "a_b_0_0.png", "a__0_0.png"] {
            assert_eq!(patient(name), None, "{name}");
        }
    }

    #[test]
    fn refuses_names_of_other_programs() {
        for name in [
            "",
            ".png",
            "slice.png",
            "0002_16.png",
            "_grid.png",
            "_0_16.png",
            "s_0_16.jpg",
            "s_0_-16.png",
            "s_+0_16.png",
            "s_0_16.CC.png",
            "s_0_16..png",
            "s_0_99999999999.png",
            "../s_0_16.png",
            "s\u{1b}_0_16.png",
        ] {
            assert!(FileName::parse(name).is_err(), "{name:?}");
        }
        let unknown = FileName::parse("s_0_16.G.png").expect_err("G is no class");
        assert!(unknown.to_string().contains("'G' is no class letter"));
    }

    proptest! {
        #[test]
        fn a_formatted_name_reads_back_as_itself(
            stem in "[A-Za-z0-9_. -]{1,24}",
            x0: u32,
            y0: u32,
            class in proptest::option::of(0usize..Class::COUNT),
        ) {
            let class = class.and_then(Class::from_index);
            let patch = FileName::patch(&stem, x0, y0, class).expect("a plain stem");
            prop_assert_eq!(FileName::parse(&patch.to_string()), Ok(patch));
            let grid = FileName::grid(&stem).expect("a plain stem");
            prop_assert_eq!(FileName::parse(&grid.to_string()), Ok(grid));
        }

        #[test]
        fn any_text_is_read_or_refused_without_panic(name in any::<String>(), tail in "[_.0-9A-Ea-e]{0,12}") {
            if let Ok(read) = FileName::parse(&format!("{name}{tail}.png")) {
                prop_assert_eq!(FileName::parse(&read.to_string()), Ok(read));
            }
        }
    }
}
