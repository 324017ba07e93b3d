//! DICOM bytes to slices: their headers as plain numbers, and their stored values.
//! Hounsfield units are left to `hu`, the order of slices to `series`.

mod attributes;
#[cfg(test)]
pub(crate) mod crafted;
mod cursor;
mod elements;
mod file_meta;
mod fragments;
mod groups;
mod guard;
mod header;
mod implicit;
mod inflate;
mod inherited;
mod layout;
mod object;
mod order;
mod patient;
mod pixels;
mod syntax;
pub mod text;

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use thiserror::Error;

use crate::codec::CodecError;
use crate::limits::Limits;
use elements::Elements;

pub use file_meta::claims_dicom;
pub use header::{Concatenation, SliceHeader};
pub use implicit::implicit;
pub use inherited::Inherited;
pub use object::Object;
pub use order::Order;
pub use patient::Patient;
pub use pixels::{StoredValues, check_decodable};
/// CT, a slice an object or many. What else belongs to a study, such as dose reports, has no slices.
pub const CT_CLASSES: [&str; 3] = [
    dicom_dictionary_std::uids::CT_IMAGE_STORAGE,
    dicom_dictionary_std::uids::ENHANCED_CT_IMAGE_STORAGE,
    dicom_dictionary_std::uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE,
];

pub use syntax::{sop_class_name, transfer_syntax_name};

/// What is unusual about how a file is written, and does not keep it from being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// No preamble.
    pub preamble_missing: bool,
    /// No file meta group, or one without a transfer syntax, or in implicit form.
    pub file_meta: bool,
    /// The data set is written in another encoding than its transfer syntax tells.
    pub other_encoding: bool,
    /// The pixel data have more bytes than rows, columns and bits ask for.
    pub surplus_bytes: bool,
    /// The file ends before its pixel data are told to end.
    pub unfinished: bool,
    /// Frames that are told and not there.
    pub frames_missing: u32,
}

/// The implementation class UID of this program, which stands in every file that it writes.
pub const IMPLEMENTATION_UID: &str = "2.25.308916426337403276093176254183529110317";

/// Why bytes are no slice that can be read. Names tags and numbers, never a value that may identify a patient.
#[derive(Debug, Error)]
pub enum DicomError {
    /// There are no bytes: a copy that ended before it began.
    #[error("the file is empty")]
    Empty,
    /// The bytes do not claim to be DICOM.
    #[error("not a DICOM file")]
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
    /// A frame's codestream is not decoded.
    #[error("(7FE0,0010) PixelData, frame {}: {error}", frame + 1)]
    Codec {
        /// The frame, counted from 0.
        frame: u32,
        /// Why.
        error: CodecError,
    },
    /// A deflated data set is no deflate stream.
    #[error("the deflated data set cannot be inflated")]
    Deflate,
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
    /// Color.
    #[error("{samples} samples per pixel are")]
    Samples {
        /// Samples per pixel.
        samples: u16,
    },
    /// A table instead of slope and intercept. Its outputs are never negative (DICOM PS3.3 C.11.1.1.1), so they are no
    /// Hounsfield units of a head in air.
    #[error("a Modality LUT is")]
    ModalityLut,
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
            | DicomError::Codec {
                error: CodecError::Ends | CodecError::Damaged(_) | CodecError::Extent { .. },
                ..
            }
            | DicomError::Deflate => true,
            DicomError::NotDicom
            | DicomError::Codec { .. }
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

/// Says where a file belongs that [`Object::read`] refuses; None where not even that can be read.
///
/// Looks at the two UIDs alone, up to where the file is cut off or broken. A file that names two studies belongs
/// to none.
pub fn identify(bytes: &[u8], limits: &Limits) -> Option<Identity> {
    let layout = guard::scan_beginning(bytes, &attributes::IDENTITY, limits)?;
    let elements = Elements::parse(&layout, &layout.elements, None).ok()?;
    Some(Identity {
        study_uid: elements.uid(tags::STUDY_INSTANCE_UID).ok()?,
        series_uid: elements.uid(tags::SERIES_INSTANCE_UID).ok(),
    })
}

/// UID of the SOP class of such a file; None where it is not told.
pub fn class_of(bytes: &[u8], limits: &Limits) -> Option<String> {
    let layout = guard::scan_beginning(bytes, &attributes::CLASS, limits)?;
    let elements = Elements::parse(&layout, &layout.elements, None).ok()?;
    elements.uid(tags::SOP_CLASS_UID).ok()
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;

    use super::*;
    use crate::dicom::crafted::{Crafted, read_header};

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
