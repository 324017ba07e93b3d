//! Transfer syntaxes: how a file writes its elements, and whether it compresses its pixels.
//! Walking the elements is left to `guard`, decompression to `pixels`.

use dicom_dictionary_std::{tags, uids};
use dicom_transfer_syntax_registry::{TransferSyntaxIndex, TransferSyntaxRegistry};

use super::{DicomError, FormatProblem, Unsupported, is_uid};

/// Explicit VR Big Endian. Retired from the standard, still in archives.
pub(super) const EXPLICIT_BIG: &str = "1.2.840.10008.1.2.2";

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
}

/// True for the syntaxes of which the pixel data come in fragments.
pub(super) fn is_encapsulated(uid: &str) -> bool {
    TransferSyntaxRegistry
        .get(uid)
        .map_or(uid.starts_with(COMPRESSED), |syntax| syntax.is_encapsulated_pixel_data())
}

/// The refusal of a transfer syntax, by number and name.
pub(super) fn unsupported(uid: &str) -> DicomError {
    DicomError::Unsupported(Unsupported::TransferSyntax {
        uid: uid.to_owned(),
        name: TransferSyntaxRegistry
            .get(uid)
            .map_or("retired or not in the standard", |syntax| syntax.name()),
    })
}
