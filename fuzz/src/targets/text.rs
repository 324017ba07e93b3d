//! Texts in the character sets of DICOM.

use hemapatch::dicom::text::{CharacterSet, Kind, printable};

use crate::choices::Choices;

const TERMS: [&str; 16] = [
    "",
    "ISO_IR 100",
    "ISO_IR 13",
    "ISO_IR 166",
    "ISO_IR 192",
    "GB18030",
    "GBK",
    "ISO 2022 IR 6",
    "ISO 2022 IR 13",
    "ISO 2022 IR 87",
    "ISO 2022 IR 159",
    "ISO 2022 IR 149",
    "ISO 2022 IR 58",
    "ISO 2022 IR 100",
    "iso-2022 ir-87",
    "?",
];

/// Any bytes decode, in any sets, to texts that can be shown on a terminal.
pub fn decode(input: &[u8]) {
    let mut choices = Choices::new(input);
    let terms: Vec<&str> = (0..choices.below(5)).map(|_| choices.of(&TERMS)).collect();
    let kind = choices.of(&[Kind::PersonName, Kind::Strings, Kind::UnlimitedStrings, Kind::Text]);
    let bytes = choices.rest();
    let (set, _) = CharacterSet::of(&terms);
    let decoded = set.decode(bytes, kind);
    let mut letters = 0;
    for value in &decoded.values {
        letters += value.chars().count();
        assert!(!printable(value).chars().any(char::is_control));
    }
    assert!(letters <= bytes.len(), "{letters} letters of {} bytes", bytes.len());
}
