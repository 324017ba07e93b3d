//! DICOM bytes to one slice: its header as plain numbers, and its stored values.
//! Hounsfield units are left to `hu`, the order of slices to `series`.

#[cfg(test)]
pub(crate) mod crafted;
mod cursor;
mod elements;
mod guard;
mod header;
mod inflate;
mod pixels;
mod syntax;

use std::ops::Range;

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use thiserror::Error;

use crate::limits::Limits;
use elements::Elements;

pub use header::SliceHeader;
pub use pixels::{StoredValues, check_decodable, stored_values};

/// Where the pixel data of a slice lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PixelLocation {
    /// Uncompressed, at this range of the file's bytes.
    Native(Range<usize>),
    /// Uncompressed, at this range of what the deflated data set inflates to.
    Deflated(Range<usize>),
    /// Compressed: the ranges of the file's bytes that hold the offset table and the fragments.
    Encapsulated {
        /// The basic offset table, which may be empty.
        offset_table: Range<usize>,
        /// The fragments, in file order.
        fragments: Vec<Range<usize>>,
    },
}

/// Why bytes are no slice that can be read. Names tags and numbers, never a value that may identify a patient.
#[derive(Debug, Error)]
pub enum DicomError {
    /// There are no bytes: a copy that ended before it began.
    #[error("the file is empty")]
    Empty,
    /// The bytes do not claim to be DICOM.
    #[error("not a DICOM file: no \"DICM\" after a preamble of 128 bytes")]
    NotDicom,
    /// The writer of the file broke the standard, or the file was damaged.
    #[error("{tag} {keyword}: {problem}")]
    Format {
        /// The element.
        tag: Tag,
        /// Its keyword in the data dictionary.
        keyword: &'static str,
        /// What is wrong with it.
        problem: FormatProblem,
    },
    /// The pixel data do not have the length that rows, columns and bits ask for.
    #[error("(7FE0,0010) PixelData: {expected} bytes expected, {present} present")]
    PixelLength {
        /// Bytes that the header asks for.
        expected: u64,
        /// Bytes that the file has.
        present: u64,
    },
    /// A deflated data set is no deflate stream.
    #[error("the deflated data set cannot be inflated")]
    Deflate,
    /// dicom-rs refuses elements that passed the guard.
    #[error("the header elements cannot be parsed")]
    Parse(#[source] Box<dicom_object::ReadError>),
    /// Valid DICOM that this program cannot read.
    #[error("{0} not supported")]
    Unsupported(Unsupported),
    /// Valid DICOM without pixels: a report, a directory, a plan.
    #[error("the object has no pixel data")]
    NoPixelData,
    /// Larger than the caller allows.
    #[error("{what} is {got}, over the limit of {limit}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// How many there are, or how many had been seen when counting stopped.
        got: u64,
        /// The bound in [`Limits`].
        limit: u64,
    },
}

/// What is wrong with an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FormatProblem {
    /// The bytes end within the element.
    #[error("{length} bytes claimed, {remaining} remain")]
    Length {
        /// Bytes that the element claims.
        length: u64,
        /// Bytes that remain.
        remaining: u64,
    },
    /// The bytes end where an element, an item or a delimiter should begin.
    #[error("the file ends after this element, in the middle of the data set")]
    Ends,
    /// The value representation is none of the standard's.
    #[error("unknown value representation")]
    Representation,
    /// The value representation is one that this element cannot have.
    #[error("not in a value representation that this element may have")]
    OtherRepresentation,
    /// A binary value that ends within a number.
    #[error("{length} bytes are no whole count of numbers of {cell} bytes")]
    Cells {
        /// Bytes of the value.
        length: usize,
        /// Bytes of one number.
        cell: usize,
    },
    /// Undefined length where the standard allows none.
    #[error("undefined length is not allowed here")]
    UndefinedLength,
    /// An item or a delimiter outside of a sequence, or something else inside of one.
    #[error("item or delimiter out of place")]
    Item,
    /// A value that is needed is absent or empty.
    #[error("missing")]
    Missing,
    /// The element occurs twice.
    #[error("occurs more than once")]
    Repeated,
    /// The value is no number, or not as many numbers as the standard asks for.
    #[error("not a value of the required form")]
    Value,
    /// The value is a number outside of what is possible.
    #[error("value out of range")]
    Range,
    /// Two elements contradict each other.
    #[error("contradicts {0}")]
    Contradiction(&'static str),
}

/// What valid DICOM may hold and this program does not read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unsupported {
    /// The transfer syntax.
    #[error("transfer syntax {uid} ({name}) is")]
    TransferSyntax {
        /// Its UID.
        uid: String,
        /// Its name in the standard.
        name: &'static str,
    },
    /// More than one frame in a file.
    #[error("multi-frame files ({frames} frames) are")]
    MultiFrame {
        /// Number of frames.
        frames: u32,
    },
    /// Color.
    #[error("{samples} samples per pixel are")]
    Samples {
        /// Samples per pixel.
        samples: u16,
    },
    /// Pixels of other sizes than 8 and 16 bits, or floating point.
    #[error("{bits} bits allocated per pixel are")]
    BitsAllocated {
        /// Bits allocated.
        bits: u16,
    },
}

impl DicomError {
    fn format(tag: Tag, problem: FormatProblem) -> DicomError {
        DicomError::Format { tag, keyword: keyword(tag), problem }
    }

    fn range(tag: Tag) -> DicomError {
        DicomError::format(tag, FormatProblem::Range)
    }

    fn contradiction(tag: Tag, with: &'static str) -> DicomError {
        DicomError::format(tag, FormatProblem::Contradiction(with))
    }

    /// True where the file breaks the standard, false where it is valid and of no use, or too large.
    pub fn is_corrupt(&self) -> bool {
        match self {
            DicomError::Empty
            | DicomError::Format { .. }
            | DicomError::PixelLength { .. }
            | DicomError::Deflate
            | DicomError::Parse(_) => true,
            DicomError::NotDicom
            | DicomError::Unsupported(_)
            | DicomError::NoPixelData
            | DicomError::Limit { .. } => false,
        }
    }
}

/// The keyword of a tag in the data dictionary.
fn keyword(tag: Tag) -> &'static str {
    match tag {
        // The data dictionary leaves these three out.
        Tag(0xFFFE, 0xE000) => return "Item",
        Tag(0xFFFE, 0xE00D) => return "ItemDelimitationItem",
        Tag(0xFFFE, 0xE0DD) => return "SequenceDelimitationItem",
        Tag(group, _) if group % 2 == 1 => return "private element",
        _ => {}
    }
    StandardDataDictionary.by_tag(tag).map_or("element", |entry| entry.alias())
}

/// True for a UID of the standard's form, PS3.5 9.1: numbers with single dots between them.
///
/// Writers break the rule against leading zeros, so that one is not held. The others are: UIDs become names of
/// folders, and `..` is one that exists already.
fn is_uid(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 64 && text.split('.').all(is_number)
}

/// Which study and series a file belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// UID of the study.
    pub study_uid: String,
    /// UID of the series; None where the file ends before it.
    pub series_uid: Option<String>,
}

/// Says where a file belongs that [`read_header`] refuses; None where not even that can be read.
///
/// Looks at the two UIDs alone, up to where the file is cut off or broken. A file that names two studies belongs
/// to none.
pub fn identify(bytes: &[u8], limits: &Limits) -> Option<Identity> {
    let layout = guard::scan_beginning(bytes, &header::IDENTITY, limits)?;
    let elements = Elements::parse(&layout).ok()?;
    Some(Identity {
        study_uid: elements.uid(tags::STUDY_INSTANCE_UID).ok()?,
        series_uid: elements.uid(tags::SERIES_INSTANCE_UID).ok(),
    })
}

/// Reads the header of a slice and finds its pixel data, in one bounded pass.
///
/// dicom-rs sees only the few elements that [`SliceHeader`] holds, after the guard has checked the structure of
/// the whole data set. No element that identifies the patient is read.
///
/// # Errors
/// See [`DicomError`]. Compressed pixel data are located here; [`stored_values`] refuses them.
///
/// # Source
/// DICOM PS3.10 7.1 (file), PS3.5 7 (data set), PS3.5 A.4 (encapsulation).
pub fn read_header(bytes: &[u8], limits: &Limits) -> Result<(SliceHeader, PixelLocation), DicomError> {
    let layout = guard::scan(bytes, &header::WANTED, limits)?;
    let header = header::read(&layout, limits)?;
    // `header::read` has refused objects without.
    let location = layout.pixels.ok_or(DicomError::NoPixelData)?;
    if let PixelLocation::Native(range) | PixelLocation::Deflated(range) = &location {
        pixels::check_length(&header, range.len())?;
    }
    Ok((header, location))
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;

    use super::*;
    use crate::dicom::crafted::Crafted;

    #[test]
    fn a_uid_is_no_way_out_of_a_folder() {
        // A study with the UID ".." was read, and `triage -o DIR` wrote its report beside DIR: any digits and
        // dots passed for a UID.
        for uid in ["", ".", "..", "1..2", ".1", "1.", "1.2/3", "1.2\\3", &"1".repeat(65)] {
            assert!(!is_uid(uid), "{uid}");
        }
        for uid in ["1", "1.2.840.10008.1.2", "1.02", &"1".repeat(64)] {
            assert!(is_uid(uid), "{uid}");
        }
        let slice = Crafted::slice(2, 2).text(0x0020, 0x000D, b"UI", "..");
        let error = read_header(&slice.file(), &Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), "(0020,000D) StudyInstanceUID: not a value of the required form");
    }

    #[test]
    fn a_file_cut_off_behind_its_uids_still_says_where_it_belongs() {
        // Every file of a study was cut off in its pixels. The study vanished: its files became warnings of
        // another study in the same folder, which ended well.
        let limits = Limits::default();
        let file = Crafted::slice(16, 16).file();
        let identity = |bytes: &[u8]| identify(bytes, &limits);
        let whole = identity(&file[..file.len() - 400]).unwrap();
        assert_eq!((whole.study_uid.as_str(), whole.series_uid.as_deref()), ("1.2.3.1", Some("1.2.3.2")));
        let series = file.windows(7).position(|window| window == b"1.2.3.2").unwrap();
        assert_eq!(identity(&file[..series]).unwrap().series_uid, None);
        assert_eq!(identity(&file[..200]), None);
        let deflated = Crafted::slice(16, 16).syntax(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN).file();
        assert_eq!(identity(&deflated[..deflated.len() - 20]), Some(whole));
        let twice = [&b"\x20\x00\x0D\x00UI\x02\x002\0"[..], &Crafted::slice(2, 2).data_set()].concat();
        assert_eq!(identity(&crafted::file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &twice)), None);
    }
}
