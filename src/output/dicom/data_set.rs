//! Data sets, element by element, and the modules that all result objects share.

use dicom_core::value::{DataSetSequence, PrimitiveValue, Value};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use sha2::{Digest, Sha256};

use super::codes::Code;
use crate::dicom::{IMPLEMENTATION_UID, Inherited};

/// A data set that is being made.
#[derive(Clone)]
pub struct DataSet(InMemDicomObject);

impl DataSet {
    pub fn new() -> DataSet {
        DataSet(InMemDicomObject::new_empty())
    }

    /// Text of any representation.
    pub fn text(mut self, tag: Tag, vr: VR, value: &str) -> DataSet {
        self.0.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
        self
    }

    /// A number of 16 bits.
    pub fn short(mut self, tag: Tag, value: u16) -> DataSet {
        self.0.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
        self
    }

    /// Numbers of 32 bits.
    pub fn longs(mut self, tag: Tag, values: &[u32]) -> DataSet {
        self.0.put(DataElement::new(tag, VR::UL, PrimitiveValue::U32(values.into())));
        self
    }

    /// A tag as a value.
    pub fn pointer(mut self, tag: Tag, value: Tag) -> DataSet {
        self.0.put(DataElement::new(tag, VR::AT, PrimitiveValue::Tags([value].as_slice().into())));
        self
    }

    /// Decimal numbers.
    pub fn decimals(self, tag: Tag, values: &[f64]) -> DataSet {
        let texts: Vec<String> = values.iter().map(|&value| decimal(value)).collect();
        self.text(tag, VR::DS, &texts.join("\\"))
    }

    /// Bytes.
    pub fn bytes(mut self, tag: Tag, vr: VR, value: Vec<u8>) -> DataSet {
        self.0.put(DataElement::new(tag, vr, PrimitiveValue::U8(value.into())));
        self
    }

    /// A sequence.
    pub fn items(mut self, tag: Tag, items: Vec<DataSet>) -> DataSet {
        let items: Vec<InMemDicomObject> = items.into_iter().map(|item| item.0).collect();
        self.0.put(DataElement::new(tag, VR::SQ, Value::Sequence(DataSetSequence::from(items))));
        self
    }

    /// What another one has too; its values count where both have some.
    pub fn with(mut self, other: DataSet) -> DataSet {
        other.0.into_iter().for_each(|element| drop(self.0.put(element)));
        self
    }

    /// A sequence of one code.
    pub fn code(self, tag: Tag, code: Code) -> DataSet {
        let item = DataSet::new()
            .text(tags::CODE_VALUE, VR::SH, code.value)
            .text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, code.scheme)
            .text(tags::CODE_MEANING, VR::LO, code.meaning);
        self.items(tag, vec![item])
    }

    /// As a file, explicit VR little endian.
    ///
    /// # Source
    /// DICOM PS3.10 7.1.
    pub fn file(self, sop_class_uid: &str, instance_uid: &str) -> Result<Vec<u8>, String> {
        let object = self.text(tags::SOP_CLASS_UID, VR::UI, sop_class_uid).text(
            tags::SOP_INSTANCE_UID,
            VR::UI,
            instance_uid,
        );
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(sop_class_uid)
            .media_storage_sop_instance_uid(instance_uid)
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .implementation_class_uid(IMPLEMENTATION_UID)
            .implementation_version_name("HEMAPATCH");
        let file = object.0.with_meta(meta).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        file.write_all(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }
}

/// Patient, study, equipment and series of a result object.
///
/// # Source
/// DICOM PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.7.5.1, C.7.5.2.
pub fn begin(origin: &Inherited, series: &Series<'_>) -> DataSet {
    // What has to be there, if only empty.
    let mut data_set = DataSet::new()
        .text(tags::PATIENT_NAME, VR::PN, "")
        .text(tags::PATIENT_ID, VR::LO, "")
        .text(tags::PATIENT_BIRTH_DATE, VR::DA, "")
        .text(tags::PATIENT_SEX, VR::CS, "")
        .text(tags::STUDY_DATE, VR::DA, "")
        .text(tags::STUDY_TIME, VR::TM, "")
        .text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "")
        .text(tags::STUDY_ID, VR::SH, "")
        .text(tags::ACCESSION_NUMBER, VR::SH, "");
    // The frame of reference belongs to objects that lie in it, what was lost to those that have pixels.
    let of_some = [tags::FRAME_OF_REFERENCE_UID, tags::POSITION_REFERENCE_INDICATOR];
    let of_pixels = [tags::LOSSY_IMAGE_COMPRESSION_RATIO, tags::LOSSY_IMAGE_COMPRESSION_METHOD];
    for (tag, vr, value) in origin.elements() {
        if (series.is_placed || !of_some.contains(&tag)) && !of_pixels.contains(&tag) {
            data_set = match tag {
                // The writer takes it up where it is a text; it has plain letters, or is none.
                tags::SPECIFIC_CHARACTER_SET => {
                    let plain: Vec<u8> = value.iter().copied().filter(u8::is_ascii).collect();
                    data_set.text(tag, vr, &String::from_utf8_lossy(&plain))
                }
                // Whatever stands there, right or wrong: a writer that reads it may not be able to write it again.
                _ => data_set.bytes(tag, vr, even(value, vr)),
            };
        }
    }
    if series.is_placed && origin.plain(tags::POSITION_REFERENCE_INDICATOR).is_none() {
        data_set = data_set.text(tags::POSITION_REFERENCE_INDICATOR, VR::LO, "");
    }
    let (date, time) = moment(origin);
    data_set
        .text(tags::MODALITY, VR::CS, series.modality)
        .text(tags::SERIES_INSTANCE_UID, VR::UI, &series.uid)
        .text(tags::SERIES_NUMBER, VR::IS, series.number)
        .text(tags::SERIES_DESCRIPTION, VR::LO, series.description)
        .text(tags::SERIES_DATE, VR::DA, date)
        .text(tags::SERIES_TIME, VR::TM, time)
        .text(tags::MANUFACTURER, VR::LO, "hemapatch")
        .text(tags::MANUFACTURER_MODEL_NAME, VR::LO, "hemapatch")
        .text(tags::SOFTWARE_VERSIONS, VR::LO, concat!("hemapatch ", env!("CARGO_PKG_VERSION")))
        .text(tags::CONTENT_DATE, VR::DA, date)
        .text(tags::CONTENT_TIME, VR::TM, time)
}

/// A text that is filled up where its length is odd.
fn even(value: &[u8], vr: VR) -> Vec<u8> {
    let mut value = value.to_vec();
    if !value.len().is_multiple_of(2) {
        value.push(if vr == VR::UI { 0 } else { b' ' });
    }
    value
}

/// A series of result objects.
pub struct Series<'a> {
    pub modality: &'a str,
    pub uid: String,
    pub number: &'a str,
    pub description: &'a str,
    /// Whether its objects lie in the frame of reference.
    pub is_placed: bool,
}

/// Date and time that results bear: the study's, so that the same study gives the same bytes whenever it is judged.
fn moment(origin: &Inherited) -> (&str, &str) {
    let is_date = |text: &&str| text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_time =
        |text: &&str| text.len() >= 2 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let date = origin.plain(tags::STUDY_DATE).filter(is_date).unwrap_or("19000101");
    (date, origin.plain(tags::STUDY_TIME).filter(is_time).unwrap_or("000000"))
}

/// A UID that the same parts always give.
///
/// # Source
/// DICOM PS3.5 B.2: a UUID as a number; version and variant as RFC 9562 has them for hashes of one's own (version 8).
pub fn uid(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let digest: [u8; 32] = digest.finalize().into();
    let mut number = [0; 16];
    number.copy_from_slice(&digest[..16]);
    number[6] = number[6] & 0x0F | 0x80;
    number[8] = number[8] & 0x3F | 0x80;
    format!("2.25.{}", u128::from_be_bytes(number))
}

/// A number of single precision, with the digits that tell it from others: as the report in JSON has it.
pub fn single(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// A decimal string: at most 16 characters, without an exponent where people can read it so.
///
/// # Source
/// DICOM PS3.5 table 6.2-1, DS.
pub fn decimal(value: f64) -> String {
    let shortest = value.to_string();
    if shortest.len() <= 16 {
        return shortest;
    }
    let plain = (0..=14).rev().map(|digits| format!("{value:.digits$}")).find(|text| text.len() <= 16);
    let is_near =
        |text: &String| text.parse::<f64>().is_ok_and(|near| (near - value).abs() <= value.abs() * 1e-9);
    if let Some(text) = plain.filter(is_near) {
        // Zeros behind a point say nothing; before it they do.
        return if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        };
    }
    // As many digits as there is room for; the sign, one digit, the point and an exponent take the rest.
    (0..=12)
        .rev()
        .map(|digits| format!("{value:.digits$e}"))
        .find(|text| text.len() <= 16)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::crafted::Crafted;
    use crate::limits::Limits;

    #[test]
    fn whatever_a_scanner_wrote_comes_through_byte_by_byte() {
        // A man's sex in GBK, a character set with a stray byte, and a UID with one.
        let slice = Crafted::slice(2, 2)
            .with(0x0008, 0x0005, b"CS", b"GB18030\xE9")
            .with(0x0010, 0x0040, b"CS", b"\xC4\xD0")
            .with(0x0020, 0x0052, b"UI", b"1.2.\xB73\0");
        let origin = Inherited::read(&slice.file(), &Limits::default()).unwrap();
        let series = Series { modality: "SR", uid: uid(&[]), number: "1", description: "", is_placed: true };
        let file = begin(&origin, &series).file("1.2.840.10008.5.1.4.1.1.88.34", "1.2").unwrap();
        let has = |bytes: &[u8]| file.windows(bytes.len()).any(|window| window == bytes);
        assert!(has(b"CS\x02\0\xC4\xD0") && has(b"UI\x08\x001.2.\xB73\0") && has(b"CS\x08\0GB18030 "));
    }

    #[test]
    fn decimals_fit_and_keep_what_they_can() {
        for value in
            [0.0, -0.1, 1.0 / 3.0, -123_456.789_012_345, 1e-9, -1.234_567_890_123e-101, f64::MAX / 3.0]
        {
            let text = decimal(value);
            assert!(text.len() <= 16, "{text}");
            assert!((text.parse::<f64>().unwrap() - value).abs() <= value.abs() * 1e-8, "{text}");
        }
    }

    #[test]
    fn what_people_read_has_no_exponent() {
        assert_eq!(decimal(28.512_000_000_000_004), "28.512");
        assert_eq!(decimal(single(0.907_589_2)), "0.9075892");
        assert_eq!(decimal(-123_456.789_012_345), "-123456.78901235");
        assert_eq!(decimal(100_000_000_000_000.02), "100000000000000");
        assert_eq!(decimal(1.25e-30), "1.2500000000e-30");
    }

    #[test]
    fn uids_are_the_same_again_and_differ_where_a_part_does() {
        assert_eq!(uid(&["a", "b"]), uid(&["a", "b"]));
        assert_ne!(uid(&["a", "b"]), uid(&["ab", ""]));
        assert!(uid(&[]).len() <= 64);
    }
}
