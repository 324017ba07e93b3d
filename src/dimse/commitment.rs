//! Storage commitment: the question whether objects are kept for good, and the report that answers it, in implicit VR
//! little endian, which everybody has to speak.
//!
//! # Source
//! DICOM PS3.4 annex J; PS3.5 7.1.3, 7.5 (elements, sequences), 10.1 (the transfer syntax of last resort).

use serde::{Deserialize, Serialize};

use super::command;

const TRANSACTION_UID: u32 = 0x0008_1195;
const REFERENCED: u32 = 0x0008_1199;
const FAILED: u32 = 0x0008_1198;
const FAILURE_REASON: u32 = 0x0008_1197;
const CLASS_UID: u32 = 0x0008_1150;
const INSTANCE_UID: u32 = 0x0008_1155;
const ITEM: u32 = 0xFFFE_E000;
const ITEM_END: u32 = 0xFFFE_E00D;
const SEQUENCE_END: u32 = 0xFFFE_E0DD;
const UNDEFINED: u32 = u32::MAX;
/// Sequences within sequences; a report has one in none.
const DEEPEST: u32 = 4;

/// The data set that asks whether objects, by class and instance, are kept.
pub fn request(transaction_uid: &str, objects: &[(String, String)]) -> Vec<u8> {
    let items: Vec<u8> = objects
        .iter()
        .flat_map(|(class, instance)| {
            let item =
                [element(CLASS_UID, &padded(class)), element(INSTANCE_UID, &padded(instance))].concat();
            element(ITEM, &item)
        })
        .collect();
    [element(TRANSACTION_UID, &padded(transaction_uid)), element(REFERENCED, &items)].concat()
}

fn element(tag: u32, value: &[u8]) -> Vec<u8> {
    let (group, number) = ((tag >> 16) as u16, tag as u16);
    [&group.to_le_bytes()[..], &number.to_le_bytes(), &(value.len() as u32).to_le_bytes(), value].concat()
}

fn padded(uid: &str) -> Vec<u8> {
    let mut bytes = uid.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

/// What an archive answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Of the question.
    pub transaction_uid: String,
    /// Instances that it keeps.
    pub kept: Vec<String>,
    /// Instances that it does not keep, and its reason.
    pub failed: Vec<(String, u16)>,
}

impl Report {
    /// Reads a data set; None where it is no report.
    pub fn read(mut bytes: &[u8]) -> Option<Report> {
        let mut report = Report::default();
        while !bytes.is_empty() {
            let (tag, value, rest) = split(bytes, DEEPEST)?;
            bytes = rest;
            match tag {
                TRANSACTION_UID => report.transaction_uid = uid(value)?,
                REFERENCED => {
                    for item in items(value)? {
                        report.kept.push(uid(find(item, INSTANCE_UID)?)?);
                    }
                }
                FAILED => {
                    for item in items(value)? {
                        let reason = find(item, FAILURE_REASON).and_then(|value| value.try_into().ok());
                        let reason = u16::from_le_bytes(reason.unwrap_or_default());
                        report.failed.push((uid(find(item, INSTANCE_UID)?)?, reason));
                    }
                }
                // Where the objects may be had: we do not ask for them.
                _ => {}
            }
        }
        (!report.transaction_uid.is_empty()).then_some(report)
    }
}

/// The items of a sequence.
fn items(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let (tag, value, rest) = split(bytes, DEEPEST)?;
        if tag == SEQUENCE_END {
            break;
        }
        (tag == ITEM).then_some(())?;
        items.push(value);
        bytes = rest;
    }
    Some(items)
}

/// The value of an element of an item.
fn find(mut item: &[u8], wanted: u32) -> Option<&[u8]> {
    loop {
        let (tag, value, rest) = split(item, DEEPEST)?;
        match tag {
            ITEM_END => return None,
            tag if tag == wanted => return Some(value),
            _ => item = rest,
        }
    }
}

/// The first element: tag, value, and what follows it. A value of undefined length still has its delimiter at its end.
fn split(bytes: &[u8], depth: u32) -> Option<(u32, &[u8], &[u8])> {
    let ([g0, g1, e0, e1, length @ ..], rest) = bytes.split_first_chunk::<8>()?;
    let own = u32::from(u16::from_le_bytes([*g0, *g1])) << 16 | u32::from(u16::from_le_bytes([*e0, *e1]));
    let length = u32::from_le_bytes(*length);
    if length != UNDEFINED {
        let (value, rest) = rest.split_at_checked(length as usize)?;
        return Some((own, value, rest));
    }
    let end = if own == ITEM { ITEM_END } else { SEQUENCE_END };
    let mut left = rest;
    loop {
        let (tag, _, after) = split(left, depth.checked_sub(1)?)?;
        left = after;
        if tag == end {
            let (value, rest) = rest.split_at(rest.len() - left.len());
            return Some((own, value, rest));
        }
    }
}

/// A UID, which has to be there.
fn uid(value: &[u8]) -> Option<String> {
    command::uid(value).filter(|uid| !uid.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn undefined(tag: u32, value: &[u8], end: u32) -> Vec<u8> {
        let mut bytes = element(tag, &[]);
        bytes[4..8].copy_from_slice(&UNDEFINED.to_le_bytes());
        [bytes, value.to_vec(), element(end, &[])].concat()
    }

    #[test]
    fn what_is_asked_for_is_what_a_report_lists() {
        let objects =
            [("1.2.840".to_owned(), "1.2.3".to_owned()), ("1.2.841".to_owned(), "1.2.30".to_owned())];
        let report = Report::read(&request("2.25.7", &objects)).unwrap();
        assert_eq!(report.transaction_uid, "2.25.7");
        assert_eq!(report.kept, ["1.2.3", "1.2.30"]);
        assert!(report.failed.is_empty());
    }

    #[test]
    fn sequences_may_have_any_length() {
        let inner = [
            element(CLASS_UID, &padded("1.2.840")),
            element(INSTANCE_UID, &padded("1.2.3")),
            element(FAILURE_REASON, &0x0112u16.to_le_bytes()),
        ]
        .concat();
        let item = undefined(ITEM, &inner, ITEM_END);
        let other = undefined(0x0008_1140, &undefined(ITEM, &inner, ITEM_END), SEQUENCE_END);
        for sequence in [undefined(FAILED, &item, SEQUENCE_END), element(FAILED, &element(ITEM, &inner))] {
            let bytes = [other.clone(), element(TRANSACTION_UID, b"2.25.7"), sequence].concat();
            let report = Report::read(&bytes).unwrap();
            assert_eq!(report.failed, [("1.2.3".to_owned(), 0x0112)]);
        }
    }

    #[test]
    fn what_is_no_report_is_none() {
        assert_eq!(Report::read(&[]), None);
        assert_eq!(Report::read(&element(REFERENCED, &[])), None);
        assert_eq!(Report::read(&element(TRANSACTION_UID, b"../etc")), None);
        // Deeper than any report, and never ending.
        let deep: Vec<u8> = (0..100_000).flat_map(|_| [8, 0, 0x99, 0x11, 0xFF, 0xFF, 0xFF, 0xFF]).collect();
        assert_eq!(Report::read(&deep), None);
    }

    proptest! {
        #[test]
        fn no_bytes_bring_the_reader_down(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Report::read(&bytes);
        }

        #[test]
        fn no_change_of_a_report_does(at in 0usize..200, byte in any::<u8>(), cut in 0usize..200) {
            let objects = vec![("1.2.840".to_owned(), "1.2.3".to_owned()); 3];
            let mut bytes = request("2.25.7", &objects);
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(cut.max(1));
            let _ = Report::read(&bytes);
        }
    }
}
