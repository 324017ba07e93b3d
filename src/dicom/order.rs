//! Whose study it is, and under which number it was ordered: for messages to the hospital's own systems. Nothing else reads
//! these elements, and no log has them.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::DicomError;
use super::elements::Elements;
use super::guard;
use super::layout::Wanted;
use crate::limits::Limits;

const WANTED: Wanted = Wanted {
    elements: &[
        tags::SPECIFIC_CHARACTER_SET,
        tags::ACCESSION_NUMBER,
        tags::STUDY_DATE,
        tags::STUDY_TIME,
        tags::PATIENT_NAME,
        tags::PATIENT_ID,
        tags::ISSUER_OF_PATIENT_ID,
        tags::PATIENT_BIRTH_DATE,
        tags::PATIENT_SEX,
        tags::TIMEZONE_OFFSET_FROM_UTC,
    ],
    sequences: &[],
    in_groups: &[],
};

/// What names patient and order, where something else among the elements cannot be read.
const LEAST: Wanted = Wanted {
    elements: &[
        tags::SPECIFIC_CHARACTER_SET,
        tags::ACCESSION_NUMBER,
        tags::PATIENT_ID,
        tags::ISSUER_OF_PATIENT_ID,
    ],
    sequences: &[],
    in_groups: &[],
};

/// What a header says of patient and order; empty where it says nothing.
///
/// No `Debug`: logs must not have it.
#[derive(Default)]
pub struct Order {
    /// Family, given, middle, prefix, suffix, as far as they are there: the alphabetic group, or the first one.
    pub name: Vec<String>,
    /// The hospital's number.
    pub patient_id: String,
    /// Who gave it.
    pub issuer: String,
    /// Year, month, day.
    pub birth_date: String,
    /// M, F or O.
    pub sex: String,
    /// Of the order.
    pub accession_number: String,
    /// Year, month, day.
    pub study_date: String,
    /// Hours, minutes, seconds, parts.
    pub study_time: String,
    /// Of these times: sign, hours, minutes.
    pub zone: String,
}

impl Order {
    /// Reads the elements, with the character sets that the file tells; the numbers alone where not all can be read.
    ///
    /// # Errors
    /// As of [`Object::read`](super::Object::read), but for what only slices need.
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Order, DicomError> {
        Order::read_these(&WANTED, bytes, limits).or_else(|_| Order::read_these(&LEAST, bytes, limits))
    }

    fn read_these(wanted: &Wanted, bytes: &[u8], limits: &Limits) -> Result<Order, DicomError> {
        let layout = guard::scan(bytes, wanted, limits)?;
        let elements = Elements::parse(&layout, &layout.elements, None)?;
        let text = |tag: Tag| elements.text(tag).unwrap_or_default();
        let names = text(tags::PATIENT_NAME);
        let group = names.split('=').find(|group| !group.is_empty()).unwrap_or_default();
        Ok(Order {
            name: group.split('^').map(|part| part.trim().to_owned()).collect(),
            patient_id: text(tags::PATIENT_ID),
            issuer: text(tags::ISSUER_OF_PATIENT_ID),
            birth_date: text(tags::PATIENT_BIRTH_DATE),
            sex: text(tags::PATIENT_SEX),
            accession_number: text(tags::ACCESSION_NUMBER),
            study_date: text(tags::STUDY_DATE),
            study_time: text(tags::STUDY_TIME),
            zone: text(tags::TIMEZONE_OFFSET_FROM_UTC),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::crafted::Crafted;

    #[test]
    fn names_come_in_parts_and_in_unicode() {
        let slice = Crafted::slice(2, 2)
            .text(0x0008, 0x0005, b"CS", "ISO_IR 100")
            .text(0x0008, 0x0050, b"SH", "A77 ")
            .with(0x0010, 0x0010, b"PN", b"Buc^J\xE9r\xF4me ");
        let order = Order::read(&slice.file(), &Limits::default()).unwrap();
        assert_eq!(order.name, ["Buc", "Jérôme"]);
        assert_eq!((&*order.accession_number, &*order.birth_date), ("A77", ""));
    }

    #[test]
    fn a_number_is_read_beside_what_cannot_be() {
        let slice = Crafted::slice(2, 2)
            .text(0x0010, 0x0010, b"PN", &"Doe".repeat(1000))
            .text(0x0010, 0x0020, b"LO", "77");
        let order = Order::read(&slice.file(), &Limits::default()).unwrap();
        assert_eq!((&*order.patient_id, order.name), ("77", vec![String::new()]));
    }
}
