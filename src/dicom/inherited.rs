//! What the results of a study take over from its slices: whose they are. Byte by byte, in the slices' own character set.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::DicomError;
use super::guard;
use super::layout::Wanted;
use crate::limits::Limits;

const WANTED: Wanted = Wanted {
    elements: &[
        tags::SPECIFIC_CHARACTER_SET,
        tags::STUDY_DATE,
        tags::STUDY_TIME,
        tags::ACCESSION_NUMBER,
        tags::REFERRING_PHYSICIAN_NAME,
        tags::STUDY_DESCRIPTION,
        tags::PATIENT_NAME,
        tags::PATIENT_ID,
        tags::ISSUER_OF_PATIENT_ID,
        tags::PATIENT_BIRTH_DATE,
        tags::PATIENT_SEX,
        tags::STUDY_INSTANCE_UID,
        tags::STUDY_ID,
        tags::FRAME_OF_REFERENCE_UID,
        tags::POSITION_REFERENCE_INDICATOR,
        tags::LOSSY_IMAGE_COMPRESSION_RATIO,
        tags::LOSSY_IMAGE_COMPRESSION_METHOD,
    ],
    sequences: &[],
    in_groups: &[],
};

/// The elements of patient, study and frame of reference, as they stand in a slice; and by how much it was compressed.
///
/// No `Debug`: logs must not have them.
pub struct Inherited {
    elements: Vec<(Tag, Vec<u8>)>,
}

impl Inherited {
    /// Reads them.
    ///
    /// # Errors
    /// As of [`Object::read`](super::Object::read), but for what only slices need.
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Inherited, DicomError> {
        let layout = guard::scan(bytes, &WANTED, limits)?;
        let data_set = layout.data_set();
        let value = |noted: &super::layout::Noted| {
            data_set.get(noted.value.clone()).map(|value| (noted.tag, value.to_vec()))
        };
        Ok(Inherited { elements: layout.elements.iter().filter_map(value).collect() })
    }

    /// Each element with its representation and the bytes of its value, none of them a number.
    pub fn elements(&self) -> impl Iterator<Item = (Tag, VR, &[u8])> {
        self.elements.iter().map(|(tag, value)| {
            let entry = StandardDataDictionary.by_tag(*tag);
            (*tag, entry.map_or(VR::LO, |entry| entry.vr().relaxed()), value.as_slice())
        })
    }

    /// A value of plain letters, such as a UID or a date, without what fills it up; None where it is absent, empty or other.
    pub fn plain(&self, tag: Tag) -> Option<&str> {
        let (_, value) = self.elements.iter().find(|(own, _)| *own == tag)?;
        let text = std::str::from_utf8(value).ok()?.trim_matches(|c| c == ' ' || c == '\0');
        (!text.is_empty() && text.is_ascii()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::crafted::Crafted;

    #[test]
    fn names_keep_their_bytes_whatever_they_are_written_in() {
        let name = "\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B";
        let slice = Crafted::slice(2, 2)
            .text(0x0008, 0x0005, b"CS", "\\ISO 2022 IR 87")
            .text(0x0010, 0x0010, b"PN", name)
            .text(0x0020, 0x0052, b"UI", "1.2.3");
        let inherited = Inherited::read(&slice.file(), &Limits::default()).unwrap();
        let (_, vr, value) = inherited.elements().find(|(tag, ..)| *tag == tags::PATIENT_NAME).unwrap();
        assert_eq!((vr, value.strip_suffix(b" ").unwrap_or(value)), (VR::PN, name.as_bytes()));
        assert_eq!(inherited.plain(tags::FRAME_OF_REFERENCE_UID), Some("1.2.3"));
        assert_eq!(inherited.plain(tags::ACCESSION_NUMBER), None);
    }
}
