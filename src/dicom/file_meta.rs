//! How a file begins: the preamble, the file meta group, and which transfer syntax the data set has.
//! The data set itself is left to `guard`.

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};

use super::cursor::{Cursor, length_bytes};
use super::syntax::{Form, Syntax};
use super::{DicomError, FormatProblem, Oddities};
use crate::limits::Limits;

const PREAMBLE: usize = 128;
const MAGIC: &[u8; 4] = b"DICM";

/// Groups 2 and 8 begin with an element up to this one.
const LAST_FIRST: u16 = 0x0018;

/// Their first elements have no more bytes than this. Two letters, read as part of a length, make far more.
const LONGEST_FIRST: u32 = 1024;

/// What stands before the data set.
pub(super) struct Beginning {
    pub syntax: Syntax,
    /// Where the data set begins.
    pub data_set: usize,
    /// What is unusual about the beginning.
    pub oddities: Oddities,
}

/// True for bytes that begin as DICOM: with a preamble, or as those files do that programs write without one.
pub fn claims_dicom(beginning: &[u8]) -> bool {
    start(beginning).is_some()
}

/// Where the file meta group or, in its absence, the data set begins, and whether it does without a preamble.
fn start(bytes: &[u8]) -> Option<(usize, bool)> {
    if bytes.get(PREAMBLE..PREAMBLE + MAGIC.len()) == Some(MAGIC) {
        Some((PREAMBLE + MAGIC.len(), false))
    } else if bytes.starts_with(MAGIC) {
        Some((MAGIC.len(), true))
    } else {
        form_at(bytes, &[2, 8]).map(|_| (0, true))
    }
}

/// The encoding of the element at the beginning of the bytes, where it is of one of the groups and not to be
/// mistaken for another encoding.
fn form_at(bytes: &[u8], groups: &[u16]) -> Option<Form> {
    let &[a, b, c, d, e, f, g, h] = bytes.first_chunk()?;
    let has_vr = length_bytes([e, f]).is_some();
    let fits = |group, element| groups.contains(&group) && element <= LAST_FIRST;
    if fits(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])) {
        let is_length = u32::from_le_bytes([e, f, g, h]) <= LONGEST_FIRST;
        return match (has_vr, is_length) {
            (true, _) => Some(Form::ExplicitLittle),
            (false, true) => Some(Form::ImplicitLittle),
            (false, false) => None,
        };
    }
    (has_vr && fits(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))).then_some(Form::ExplicitBig)
}

/// Reads what stands before the data set, and finds the data set's encoding.
///
/// The file meta group is explicit little-endian whatever follows it. Its group length is not relied on: writers
/// get it wrong, and the group ends where the next one begins. A missing preamble, group or transfer syntax, and a
/// data set in another encoding than the transfer syntax tells, are accepted where the first element leaves no
/// doubt, and noted.
///
/// # Source
/// DICOM PS3.10 7.1.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Beginning, DicomError> {
    if bytes.is_empty() {
        return Err(DicomError::Empty);
    }
    let (at, preamble_missing) = start(bytes).ok_or(DicomError::NotDicom)?;
    let mut oddities = Oddities { preamble_missing, ..Oddities::default() };
    let is_meta = |tag: Tag| tag.group() == 0x0002;
    let form = match form_at(&bytes[at..], &[2]) {
        Some(Form::ImplicitLittle) => {
            oddities.file_meta = true;
            Form::ImplicitLittle
        }
        _ => Form::ExplicitLittle,
    };
    let mut cursor = Cursor::new(bytes, at, limits);
    let mut syntax = None;
    while cursor.peek_tag(Form::ExplicitLittle).is_some_and(is_meta) {
        let element = cursor.element(form)?;
        let value = cursor.value(&element)?;
        if element.tag == tags::TRANSFER_SYNTAX_UID && !value.is_empty() {
            syntax = Some(Syntax::known(&bytes[value])?);
        }
    }
    let data_set = cursor.at();
    let seen = form_at(&bytes[data_set..], &[8]);
    let syntax = match (syntax, seen) {
        (Some(syntax), Some(seen))
            if seen != syntax.form && syntax.uid != uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN =>
        {
            oddities.other_encoding = true;
            // Compressed pixels stay what they are: only the elements around them are written otherwise.
            if syntax.encapsulated { Syntax { form: seen, ..syntax } } else { Syntax::uncompressed(seen) }
        }
        (Some(syntax), _) => syntax,
        (None, Some(seen)) => {
            oddities.file_meta = true;
            Syntax::uncompressed(seen)
        }
        (None, None) => return Err(DicomError::format(tags::TRANSFER_SYNTAX_UID, FormatProblem::Missing)),
    };
    Ok(Beginning { syntax, data_set, oddities })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::crafted::{self, Crafted};
    use crate::dicom::syntax::EXPLICIT_BIG;

    /// The oddities of a file, which must have the cells of a whole one.
    fn oddities(file: &[u8]) -> Oddities {
        assert!(claims_dicom(&file[..132]));
        let (header, object) = crafted::read_header(file, &Limits::default()).unwrap();
        let Ok(crate::dicom::StoredValues::Bits16(cells)) = object.stored_values(file, 0, &Limits::default())
        else {
            panic!("16 bits");
        };
        assert_eq!(cells.iter().map(|&cell| u16::from_le_bytes(cell)).collect::<Vec<_>>(), [0, 1, 2, 3]);
        header.oddities
    }

    #[test]
    fn what_is_missing_before_the_data_set_is_told_by_its_first_element() {
        for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_BIG] {
            let file = Crafted::slice(2, 2).syntax(syntax).file();
            let begin = crafted::file(syntax, &[]).len();
            let data_set = &file[begin..];
            let no_meta = Oddities { preamble_missing: true, file_meta: true, ..Oddities::default() };
            assert_eq!(oddities(&file), Oddities::default());
            assert_eq!(oddities(&file[132..]), Oddities { preamble_missing: true, ..Oddities::default() });
            assert_eq!(oddities(&file[128..]), Oddities { preamble_missing: true, ..Oddities::default() });
            assert_eq!(oddities(data_set), no_meta);
            let no_group = [&file[..132], data_set].concat();
            assert_eq!(oddities(&no_group), Oddities { file_meta: true, ..Oddities::default() });
        }
    }

    #[test]
    fn a_data_set_in_another_encoding_than_told_is_read_as_what_it_is() {
        // Gateways that decompress forget the transfer syntax, and write the other encoding behind it.
        let encodings = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_BIG];
        for told in encodings {
            for written in encodings {
                let whole = Crafted::slice(2, 2).syntax(written).file();
                let data_set = &whole[crafted::file(written, &[]).len()..];
                let oddities = oddities(&crafted::file(told, data_set));
                assert_eq!(oddities, Oddities { other_encoding: told != written, ..Oddities::default() });
            }
        }
    }

    #[test]
    fn a_file_meta_group_in_implicit_form_is_read() {
        let whole = Crafted::slice(2, 2).file();
        let data_set = &whole[crafted::file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[]).len()..];
        let meta = [&[0; 128][..], b"DICM\x02\0\x10\0\x14\0\0\x001.2.840.10008.1.2.1\0", data_set].concat();
        assert_eq!(oddities(&meta), Oddities { file_meta: true, ..Oddities::default() });
    }

    #[test]
    fn other_files_are_not_taken_for_dicom() {
        for beginning in [
            &b"PK\x03\x04 and so on"[..],
            b"\x89PNG\r\n\x1A\n",
            b"# Notes\n",
            &[0; 132],
            &[8, 0, 0, 0, 9, 9, 9, 9],
        ] {
            assert!(!claims_dicom(beginning), "{beginning:?}");
        }
    }
}
