//! The elements that the guard noted, read as what they should be: texts, UIDs, numbers.
//! Which elements a slice needs, and what their values may be, is left to `header`.
//!
//! Values are read here and not by dicom-rs: a parser of whole data sets takes 7 us for each element that it is handed
//! alone, and would have to be kept in step with the guard. Some thirty short values need none.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::layout::{Layout, Noted};
use super::syntax::Form;
use super::text::{CharacterSet, Kind};
use super::{DicomError, FormatProblem, is_uid};

/// The values of the elements that were noted. An element without a value counts as absent.
pub(super) struct Elements<'a> {
    own: Vec<Element<'a>>,
    /// Where an element is looked for that is not here: a frame's own elements stand before those that all frames
    /// share, and these before those of the object.
    outer: Option<&'a Elements<'a>>,
    /// What the bytes of texts mean.
    characters: CharacterSet,
}

struct Element<'a> {
    tag: Tag,
    vr: VR,
    value: &'a [u8],
    big_endian: bool,
}

impl<'a> Elements<'a> {
    /// Holds representation and length of each element against each other.
    ///
    /// # Errors
    /// Elements that cannot be values: sequences, bulk, and numbers cut in the middle.
    pub fn parse(
        layout: &'a Layout<'_>,
        noted: &[Noted],
        outer: Option<&'a Elements<'a>>,
    ) -> Result<Elements<'a>, DicomError> {
        let own = noted.iter().map(|noted| Element::of(layout, noted)).collect::<Result<_, _>>()?;
        let mut elements = Elements { own, outer, characters: CharacterSet::DEFAULT };
        elements.characters = match outer {
            Some(outer) => outer.characters,
            None => {
                let values = elements.texts(tags::SPECIFIC_CHARACTER_SET);
                CharacterSet::of(&values.iter().map(String::as_str).collect::<Vec<_>>()).0
            }
        };
        Ok(elements)
    }

    fn get(&self, tag: Tag) -> Option<&Element<'a>> {
        self.own.iter().find(|element| element.tag == tag).or_else(|| self.outer?.get(tag))
    }

    /// The values of an element as texts, trimmed.
    pub fn texts(&self, tag: Tag) -> Vec<String> {
        let Some(element) = self.get(tag) else { return Vec::new() };
        let values = element.values(&self.characters);
        if values.iter().all(String::is_empty) {
            return Vec::new();
        }
        values
    }

    pub fn text(&self, tag: Tag) -> Option<String> {
        let texts = self.texts(tag);
        (!texts.is_empty()).then(|| texts.join("\\"))
    }

    pub fn uid(&self, tag: Tag) -> Result<String, DicomError> {
        let uid = self.text(tag).ok_or_else(|| DicomError::format(tag, FormatProblem::Missing))?;
        if !is_uid(&uid) {
            return Err(DicomError::format(tag, FormatProblem::Value));
        }
        Ok(uid)
    }

    /// Exactly `N` finite numbers; None where the element is absent.
    pub fn numbers<const N: usize>(&self, tag: Tag) -> Result<Option<[f64; N]>, DicomError> {
        let texts = self.texts(tag);
        if texts.is_empty() {
            return Ok(None);
        }
        let wrong = || DicomError::format(tag, FormatProblem::Value);
        let numbers: Vec<f64> =
            texts.iter().map(|text| text.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
        if numbers.iter().any(|number| !number.is_finite()) {
            return Err(DicomError::range(tag));
        }
        numbers.try_into().map(Some).map_err(|_| wrong())
    }

    pub fn number(&self, tag: Tag) -> Result<Option<f64>, DicomError> {
        Ok(self.numbers(tag)?.map(|[number]| number))
    }

    pub fn integer(&self, tag: Tag) -> Result<Option<i64>, DicomError> {
        let wrong = || DicomError::format(tag, FormatProblem::Value);
        match self.texts(tag).as_slice() {
            [] => Ok(None),
            [text] => text.parse().map(Some).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }

    /// A number that nothing depends on: what is not one number is absent.
    pub fn lenient_number(&self, tag: Tag) -> Option<f64> {
        self.number(tag).ok().flatten()
    }

    /// Like [`Elements::lenient_number`], whole.
    pub fn lenient_integer(&self, tag: Tag) -> Option<i32> {
        i32::try_from(self.integer(tag).ok()??).ok()
    }

    pub fn required_u16(&self, tag: Tag) -> Result<u16, DicomError> {
        let value = self.integer(tag)?.ok_or_else(|| DicomError::format(tag, FormatProblem::Missing))?;
        u16::try_from(value).map_err(|_| DicomError::range(tag))
    }

    /// A count that is at least 1 and at most `limit`.
    pub fn extent(&self, tag: Tag, what: &'static str, limit: u32) -> Result<u32, DicomError> {
        let value = self.integer(tag)?.ok_or_else(|| DicomError::format(tag, FormatProblem::Missing))?;
        let extent =
            u32::try_from(value).ok().filter(|&extent| extent > 0).ok_or_else(|| DicomError::range(tag))?;
        if extent > limit {
            return Err(DicomError::Limit { what, got: u64::from(extent), limit: u64::from(limit) });
        }
        Ok(extent)
    }
}

impl<'a> Element<'a> {
    /// # Source
    /// DICOM PS3.5 6.2.2: a value of representation UN is that of implicit little-endian form, in whatever form the
    /// data set is.
    fn of(layout: &'a Layout<'_>, noted: &Noted) -> Result<Element<'a>, DicomError> {
        let of_dictionary =
            || StandardDataDictionary.by_tag(noted.tag).map_or(VR::UN, |entry| entry.vr().relaxed());
        let (vr, big_endian) = match noted.vr {
            Some(vr) if vr != *b"UN" => {
                (VR::from_binary(vr).unwrap_or(VR::UN), noted.form == Form::ExplicitBig)
            }
            _ => (of_dictionary(), false),
        };
        let cell = match vr {
            VR::AE | VR::AS | VR::CS | VR::DA | VR::DS | VR::DT | VR::IS | VR::LO | VR::LT | VR::PN => 1,
            VR::SH | VR::ST | VR::TM | VR::UC | VR::UI | VR::UR | VR::UT => 1,
            VR::SS | VR::US => 2,
            VR::FL | VR::SL | VR::UL => 4,
            VR::FD | VR::SV | VR::UV => 8,
            // Sequences and bulk: no element that is asked for is one.
            _ => return Err(DicomError::format(noted.tag, FormatProblem::OtherRepresentation)),
        };
        let value = &layout.data_set()[noted.value.clone()];
        if !value.len().is_multiple_of(cell) {
            let problem = FormatProblem::Cells { length: value.len(), cell };
            return Err(DicomError::format(noted.tag, problem));
        }
        Ok(Element { tag: noted.tag, vr, value, big_endian })
    }

    fn values(&self, characters: &CharacterSet) -> Vec<String> {
        match self.vr {
            VR::US => self.numbers(|cell| u16::from_le_bytes(cell).to_string()),
            VR::SS => self.numbers(|cell| i16::from_le_bytes(cell).to_string()),
            VR::UL => self.numbers(|cell| u32::from_le_bytes(cell).to_string()),
            VR::SL => self.numbers(|cell| i32::from_le_bytes(cell).to_string()),
            VR::UV => self.numbers(|cell| u64::from_le_bytes(cell).to_string()),
            VR::SV => self.numbers(|cell| i64::from_le_bytes(cell).to_string()),
            VR::FL => self.numbers(|cell| f32::from_le_bytes(cell).to_string()),
            VR::FD => self.numbers(|cell| f64::from_le_bytes(cell).to_string()),
            vr => match Kind::of(vr.to_bytes()) {
                Some(kind) => characters.decode(self.value, kind).values,
                None => {
                    let texts = self.value.split(|&byte| byte == b'\\');
                    texts
                        .map(|text| String::from_utf8_lossy(text).trim_matches(['\0', ' ']).to_owned())
                        .collect()
                }
            },
        }
    }

    fn numbers<const N: usize>(&self, show: impl Fn([u8; N]) -> String) -> Vec<String> {
        let cells = self.value.as_chunks().0.iter();
        cells
            .map(|&(mut cell)| {
                if self.big_endian {
                    cell.reverse();
                }
                show(cell)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;

    use crate::dicom::crafted::read_header;
    use crate::dicom::crafted::{self, Crafted};
    use crate::limits::Limits;

    fn refusal(file: &[u8]) -> String {
        read_header(file, &Limits::default()).unwrap_err().to_string()
    }

    /// A file whose ImageType, its first element, is the given bytes.
    fn with_image_type(element: &[u8]) -> Vec<u8> {
        let rest = Crafted::slice(2, 2).without(0x0008, 0x0008).file();
        let offset = crafted::file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[]).len();
        crafted::file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[element, &rest[offset..]].concat())
    }

    #[test]
    fn a_sequence_in_place_of_a_text_is_refused_before_its_inside_is_parsed() {
        // ImageType as a sequence of defined length was stepped over by the guard and handed whole to dicom-rs,
        // which parsed its inside: 20 bytes in it claimed a text of 4.3 GB, and the memory was taken.
        let bomb = with_image_type(
            b"\x08\x00\x08\x00SQ\0\0\x14\0\0\0\
            \xFE\xFF\x00\xE0\x0C\0\0\0\
            \x08\x00\x70\x00UT\0\0\xF0\xFF\xFF\xFF",
        );
        let text = "(0008,0008) ImageType: not in a value representation that this element may have";
        assert_eq!(refusal(&bomb), text);
        let open = with_image_type(b"\x08\x00\x08\x00SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\xDD\xE0\0\0\0\0");
        assert_eq!(refusal(&open), "(0008,0008) ImageType: undefined length is not allowed here");
    }

    #[test]
    fn a_number_cut_in_the_middle_is_refused_in_every_form() {
        // Rows of 3 bytes: dicom-rs read 2 of them, and took the third for the beginning of the next element, so
        // that what followed was read out of step.
        let text = "(0028,0010) Rows: 3 bytes are no whole count of numbers of 2 bytes";
        for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN] {
            let slice = Crafted::slice(2, 2).syntax(syntax).with(0x0028, 0x0010, b"US", &[2, 0, 0]);
            assert_eq!(refusal(&slice.file()), text);
        }
        let slice = Crafted::slice(2, 2).with(0x0028, 0x1053, b"FD", &[0; 12]);
        assert_eq!(
            refusal(&slice.file()),
            "(0028,1053) RescaleSlope: 12 bytes are no whole count of numbers of 8 bytes"
        );
    }

    #[test]
    fn a_value_that_a_gateway_marked_unknown_is_read_as_what_it_is() {
        let image_type = with_image_type(b"\x08\x00\x08\x00UN\0\0\x0C\0\0\0DERIVED\\MPR ");
        let (header, _) = read_header(&image_type, &Limits::default()).unwrap();
        assert_eq!(header.image_type, ["DERIVED", "MPR"]);
    }
}
