//! The classes of a patch, and the files in which labelled patches are kept.
//! Who labels a patch, the grid tool or the network, is decided elsewhere.

mod bag_label;
mod file_name;
mod folder;
mod table;

pub use bag_label::{BagLabel, UnknownBagLabel};
pub use file_name::{FileName, FileNameError};
pub use folder::{Label, LabelFolderError, LabelLimits, walk};
pub use table::{ClassCounts, LabelTable, LabelTableError};

use std::fmt;

/// What fills a patch, for about 80% or more of its area.
///
/// A patch of which nobody is certain has no class: `Option<Class>` is `None`, and white.
///
/// # Source
/// The paper's grid annotation tool (P7): names, letters and colours of the first four. Ventricle and
/// fluid gap are those that its multi-label network adds (P12); their letters go on where P7 ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Air, and whatever lies outside the head.
    Background = 0,
    /// Brain parenchyma (the paper's "cortex").
    Parenchyma = 1,
    /// Acute blood.
    Hematoma = 2,
    /// Bone.
    Skull = 3,
    /// Cerebrospinal fluid within the brain.
    Ventricle = 4,
    /// Cerebrospinal fluid in the gap between brain and skull, and in sulci.
    Csf = 5,
}

impl Class {
    /// How many classes there are.
    pub const COUNT: usize = 6;

    /// Every class, in the order of its index.
    pub const ALL: [Class; Class::COUNT] =
        [Class::Background, Class::Parenchyma, Class::Hematoma, Class::Skull, Class::Ventricle, Class::Csf];

    /// The four of which a single-label network chooses one (P10): the first of [`Class::ALL`].
    pub const SINGLE: [Class; 4] = [Class::Background, Class::Parenchyma, Class::Hematoma, Class::Skull];

    /// Place of the class in counts, in this program's pixel classes and in the trainer's outputs.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The class at a place of the network's output, or `None` beyond the last one.
    pub fn from_index(index: usize) -> Option<Class> {
        Class::ALL.get(index).copied()
    }

    /// Name in reports and model manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Background => "background",
            Class::Parenchyma => "parenchyma",
            Class::Hematoma => "hematoma",
            Class::Skull => "skull",
            Class::Ventricle => "ventricle",
            Class::Csf => "csf",
        }
    }

    /// Letter in the file name of a labelled patch.
    pub const fn letter(self) -> char {
        match self {
            Class::Background => 'A',
            Class::Parenchyma => 'B',
            Class::Hematoma => 'C',
            Class::Skull => 'D',
            Class::Ventricle => 'E',
            Class::Csf => 'F',
        }
    }

    /// Colour in pictures: red, green, blue.
    pub const fn colour(self) -> [u8; 3] {
        match self {
            Class::Background => [60, 190, 90],
            Class::Parenchyma => [70, 130, 255],
            Class::Hematoma => [255, 45, 45],
            Class::Skull => [250, 210, 50],
            Class::Ventricle => [170, 90, 220],
            Class::Csf => [60, 210, 220],
        }
    }

    /// The class of a letter in a file name.
    ///
    /// # Errors
    /// [`ClassError::UnknownLetter`] for any other than A to F.
    pub fn from_letter(letter: char) -> Result<Class, ClassError> {
        Class::ALL
            .into_iter()
            .find(|class| class.letter() == letter)
            .ok_or(ClassError::UnknownLetter { letter })
    }

    /// The class of a name in a model manifest.
    ///
    /// # Errors
    /// [`ClassError::UnknownName`] for any other than the six names, which are lower case.
    pub fn from_name(name: &str) -> Result<Class, ClassError> {
        Class::ALL
            .into_iter()
            .find(|class| class.name() == name)
            .ok_or_else(|| ClassError::UnknownName { name: name.to_owned() })
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A letter or name that stands for no class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassError {
    /// The letter comes from a file name.
    #[error(
        "{letter:?} is no class letter; known are A (background), B (parenchyma), C (hematoma), D (skull), \
         E (ventricle), F (csf)"
    )]
    UnknownLetter {
        /// The letter as found.
        letter: char,
    },
    /// The name comes from a model manifest or a command line.
    #[error("{name:?} is no class; known are background, parenchyma, hematoma, skull, ventricle, csf")]
    UnknownName {
        /// The name as found.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_found_again_by_index_letter_and_name() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), index);
            assert_eq!(Class::from_index(index), Some(class));
            assert_eq!(Class::from_letter(class.letter()), Ok(class));
            assert_eq!(Class::from_name(class.name()), Ok(class));
        }
        assert_eq!(Class::from_index(6), None);
        assert_eq!(Class::SINGLE[..], Class::ALL[..4]);
    }

    #[test]
    fn an_unknown_letter_or_name_is_named_in_the_error() {
        let letter = Class::from_letter('c').expect_err("letters are upper case");
        assert!(letter.to_string().starts_with("'c' is no class letter"));
        let name = Class::from_name("tumor").expect_err("not one of the six");
        assert!(name.to_string().starts_with("\"tumor\" is no class"));
    }
}
