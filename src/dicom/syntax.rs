//! Transfer syntaxes: how a file writes its elements, and whether it compresses its pixels.
//! Walking the elements is left to `guard`, decompression to `pixels`.

use dicom_core::dictionary::UidDictionary;
use dicom_dictionary_std::{StandardSopClassDictionary, tags, uids};
use dicom_transfer_syntax_registry::{TransferSyntaxIndex, TransferSyntaxRegistry};

use super::{DicomError, FormatProblem, Unsupported, is_uid};
use crate::codec::Codec;

/// Explicit VR Big Endian. Retired from the standard, still in archives.
pub(super) const EXPLICIT_BIG: &str = "1.2.840.10008.1.2.2";

/// Encapsulated Uncompressed Explicit VR Little Endian: frames in fragments, as they are.
const ENCAPSULATED_UNCOMPRESSED: &str = "1.2.840.10008.1.2.1.98";

/// Root of the syntaxes of the JPEG and MPEG families. The registry leaves out the retired ones.
const COMPRESSED: &str = "1.2.840.10008.1.2.4.";

/// A transfer syntax of which the structure is known.
#[derive(Clone, Debug)]
pub(super) struct Syntax {
    pub uid: String,
    pub form: Form,
    /// True where pixel data come in fragments.
    pub encapsulated: bool,
}

/// The three encodings of elements; a deflated data set holds the explicit little-endian one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    ImplicitLittle,
    ExplicitLittle,
    ExplicitBig,
}

impl Syntax {
    /// Looks up the value of TransferSyntaxUID.
    pub fn known(value: &[u8]) -> Result<Syntax, DicomError> {
        let uid = std::str::from_utf8(value)
            .ok()
            .map(|uid| uid.trim_end_matches(['\0', ' ']))
            .filter(|uid| is_uid(uid))
            .ok_or_else(|| DicomError::format(tags::TRANSFER_SYNTAX_UID, FormatProblem::Value))?;
        let encapsulated = is_encapsulated(uid);
        let form = match uid {
            uids::IMPLICIT_VR_LITTLE_ENDIAN => Form::ImplicitLittle,
            EXPLICIT_BIG => Form::ExplicitBig,
            uids::EXPLICIT_VR_LITTLE_ENDIAN | uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => {
                Form::ExplicitLittle
            }
            // PS3.5 A.4: every encapsulated syntax is explicit little-endian.
            _ if encapsulated => Form::ExplicitLittle,
            _ => return Err(unsupported(uid)),
        };
        Ok(Syntax { uid: uid.to_owned(), form, encapsulated })
    }

    /// The syntax of uncompressed data sets in an encoding.
    pub fn uncompressed(form: Form) -> Syntax {
        let uid = match form {
            Form::ImplicitLittle => uids::IMPLICIT_VR_LITTLE_ENDIAN,
            Form::ExplicitLittle => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            Form::ExplicitBig => EXPLICIT_BIG,
        };
        Syntax { uid: uid.to_owned(), form, encapsulated: false }
    }
}

/// What decodes the frames of a transfer syntax; None for uncompressed ones, and for those that nothing here decodes.
///
/// # Source
/// DICOM PS3.5 A.4 and PS3.6 table A-1, the retired JPEG processes included: what a process has that the decoder does
/// not read (arithmetic coding, hierarchies), it refuses by name.
pub(super) fn codec(uid: &str) -> Option<Codec> {
    match uid {
        ENCAPSULATED_UNCOMPRESSED => return Some(Codec::Uncompressed),
        uids::RLE_LOSSLESS => return Some(Codec::Rle),
        _ => {}
    }
    match uid.strip_prefix(COMPRESSED)?.parse::<u16>().ok()? {
        50..=70 => Some(Codec::Jpeg),
        80 | 81 => Some(Codec::JpegLs),
        90 | 91 | 201..=203 => Some(Codec::Jpeg2000),
        _ => None,
    }
}

/// True for the transfer syntaxes that always lose something: the sequential and progressive processes of JPEG. Of the
/// others, the header has to say it.
pub(super) fn is_lossy(uid: &str) -> bool {
    let process = uid.strip_prefix(COMPRESSED).and_then(|process| process.parse().ok());
    process.is_some_and(|process: u16| (50..=56).contains(&process) || (59..=64).contains(&process))
}

/// True for the syntaxes of which the pixel data come in fragments.
pub(super) fn is_encapsulated(uid: &str) -> bool {
    uid == ENCAPSULATED_UNCOMPRESSED
        || TransferSyntaxRegistry
            .get(uid)
            .map_or(uid.starts_with(COMPRESSED), |syntax| syntax.is_encapsulated_pixel_data())
}

/// What a transfer syntax is called.
pub fn transfer_syntax_name(uid: &str) -> &'static str {
    match uid {
        ENCAPSULATED_UNCOMPRESSED => "Encapsulated Uncompressed Explicit VR Little Endian",
        _ => TransferSyntaxRegistry.get(uid).map_or("retired or not in the standard", |syntax| syntax.name()),
    }
}

/// What a SOP class is called.
pub fn sop_class_name(uid: &str) -> &'static str {
    StandardSopClassDictionary.by_uid(uid).map_or("SOP class not in the standard", |entry| entry.name)
}

/// The refusal of a transfer syntax, by number and name.
pub(super) fn unsupported(uid: &str) -> DicomError {
    DicomError::Unsupported(Unsupported::TransferSyntax {
        uid: uid.to_owned(),
        name: transfer_syntax_name(uid),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conformance_statement_has_what_is_read() {
        let statement = include_str!("../../docs/dicom-conformance.md");
        let mut rows = 0;
        for line in statement.lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let &[_, name, uid, read, ..] = &cells[..] else { continue };
            if !uid.starts_with("1.2.840.10008.1.2") || !["yes", "no"].contains(&read) {
                continue;
            }
            let plain = Syntax::known(uid.as_bytes()).is_ok_and(|syntax| !syntax.encapsulated);
            assert_eq!(plain || codec(uid).is_some(), read == "yes", "{name}");
            rows += 1;
        }
        assert_eq!(rows, 22);
    }
}
