//! Who a file says the patient is: for a person who asks, on a screen. Nothing else reads these elements, and nothing
//! writes them anywhere.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::DicomError;
use super::elements::Elements;
use super::guard;
use super::layout::Wanted;
use super::text::printable;
use crate::limits::Limits;

const WANTED: Wanted = Wanted {
    elements: &[
        tags::SPECIFIC_CHARACTER_SET,
        tags::PATIENT_NAME,
        tags::PATIENT_ID,
        tags::PATIENT_BIRTH_DATE,
        tags::PATIENT_SEX,
        tags::STUDY_DATE,
        tags::STUDY_DESCRIPTION,
        tags::SERIES_DESCRIPTION,
    ],
    sequences: &[],
    in_groups: &[],
};

/// What a header says of the patient and the study, fit for one line of a screen each; None where it says nothing.
///
/// No `Debug`: logs must not have it.
pub struct Patient {
    /// The groups of the name (alphabetic, ideographic, phonetic), each family, given, middle, prefix, suffix.
    pub name: Option<String>,
    /// The hospital's number.
    pub id: Option<String>,
    /// Year, month, day.
    pub birth_date: Option<String>,
    /// M, F or O.
    pub sex: Option<String>,
    /// Year, month, day.
    pub study_date: Option<String>,
    /// Free text.
    pub study_description: Option<String>,
    /// Free text.
    pub series_description: Option<String>,
}

impl Patient {
    /// Reads the elements, with the character sets that the file tells.
    ///
    /// # Errors
    /// As of [`Object::read`](super::Object::read), but for what only slices need.
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Patient, DicomError> {
        let layout = guard::scan(bytes, &WANTED, limits)?;
        let elements = Elements::parse(&layout, &layout.elements, None)?;
        let shown = |tag: Tag| elements.text(tag).map(|text| printable(&text));
        // Components are divided by carets, groups by equals signs.
        let parts = |group: &str| {
            let parts = group.split('^').filter(|part| !part.is_empty());
            parts.collect::<Vec<_>>().join(", ")
        };
        let name =
            shown(tags::PATIENT_NAME).map(|name| name.split('=').map(parts).collect::<Vec<_>>().join(" = "));
        Ok(Patient {
            name,
            id: shown(tags::PATIENT_ID),
            birth_date: shown(tags::PATIENT_BIRTH_DATE),
            sex: shown(tags::PATIENT_SEX),
            study_date: shown(tags::STUDY_DATE),
            study_description: shown(tags::STUDY_DESCRIPTION),
            series_description: shown(tags::SERIES_DESCRIPTION),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::crafted::Crafted;

    fn name(character_set: &str, bytes: &[u8]) -> Option<String> {
        let slice = Crafted::slice(2, 2)
            .text(0x0008, 0x0005, b"CS", character_set)
            .with(0x0010, 0x0010, b"PN", bytes);
        Patient::read(&slice.file(), &Limits::default()).unwrap().name
    }

    #[test]
    fn names_are_read_in_all_their_character_sets() {
        // PS3.5 H.3.1. dicom-rs decodes by the first value alone, and showed the escape sequences.
        let japanese =
            b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B ";
        let told = name("\\ISO 2022 IR 87", japanese).unwrap();
        assert_eq!(told, "Yamada, Tarou = 山田, 太郎 = やまだ, たろう");
        assert_eq!(name("ISO_IR 100", b"Buc^J\xE9r\xF4me ").unwrap(), "Buc, Jérôme");
        assert_eq!(name("ISO_IR 100", b"").as_deref(), None);
    }

    #[test]
    fn a_name_cannot_drive_the_terminal_that_shows_it() {
        let told = name("ISO_IR 192", b"Doe\x1B[2J^\xE2\x80\xAEeoJ ").unwrap();
        assert!(!told.contains(['\x1B', '\u{202E}']), "{told:?}");
    }
}
