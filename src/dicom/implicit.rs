//! Explicit VR little endian, written again as implicit VR little endian.
//! Only what stands before values is another; who wants it so is left to `deliver`.

use super::DicomError;
use super::cursor::{Cursor, ITEM, UNDEFINED};
use super::syntax::Form;
use crate::limits::Limits;

/// A data set in explicit VR little endian, in implicit VR little endian. Values keep their bytes: nobody reads them, who might take
/// half of a letter for a backslash, or know none for a byte.
///
/// # Errors
/// It is no such data set.
///
/// # Source
/// DICOM PS3.5 7.1.2 (explicit), 7.1.3 (implicit), 7.5 (items).
pub fn implicit(data_set: &[u8], limits: &Limits) -> Result<Vec<u8>, DicomError> {
    let form = Form::ExplicitLittle;
    let mut cursor = Cursor::new(data_set, 0, limits);
    let mut written = Vec::with_capacity(data_set.len());
    // Sequences and items of defined length: where the bytes end that they stand in, and where their length is written.
    let mut open: Vec<(usize, usize)> = Vec::new();
    loop {
        while cursor.remaining() == 0 {
            let Some((end, length_at)) = open.pop() else { return Ok(written) };
            // What stands before values is no longer than it was, so neither is this.
            let length = (written.len() - length_at - 4) as u32;
            written[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
            cursor.end_at(end);
        }
        let is_marker = cursor.peek_tag(form).is_some_and(|tag| tag.group() == ITEM.group());
        let element = if is_marker { cursor.marker(form)? } else { cursor.element(form)? };
        written.extend(element.tag.group().to_le_bytes());
        written.extend(element.tag.element().to_le_bytes());
        written.extend(element.length.to_le_bytes());
        if element.tag != ITEM && element.vr != Some(*b"SQ") {
            written.extend(&data_set[cursor.value(&element)?]);
        } else if element.length != UNDEFINED {
            open.push((cursor.end(), written.len() - 4));
            cursor.end_at(cursor.enter(&element)?);
        }
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::value::{DataSetSequence, PrimitiveValue, Value};
    use dicom_core::{DataElement, Tag, VR};
    use dicom_dictionary_std::tags;
    use dicom_object::InMemDicomObject;
    use dicom_transfer_syntax_registry::entries::{EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN};
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::super::cursor::{ITEM_DELIMITER, SEQUENCE_DELIMITER, length_bytes};
    use super::*;

    /// An element, to be written in either form.
    #[derive(Clone, Debug)]
    enum Node {
        Value { tag: Tag, vr: &'static [u8; 2], value: Vec<u8> },
        Sequence { tag: Tag, is_defined: bool, items: Vec<Vec<Node>> },
    }

    fn head(tag: Tag, vr: Option<&[u8; 2]>, length: u32) -> Vec<u8> {
        let tag = [tag.group().to_le_bytes(), tag.element().to_le_bytes()].concat();
        match vr {
            None => [&tag[..], &length.to_le_bytes()].concat(),
            Some(vr) if length_bytes(*vr) == Some(2) => [&tag[..], vr, &length.to_le_bytes()[..2]].concat(),
            Some(vr) => [&tag[..], vr, &[0, 0], &length.to_le_bytes()].concat(),
        }
    }

    /// Bytes between a head and, where their length is not defined, a delimiter.
    fn enclose(tag: Tag, vr: Option<&[u8; 2]>, is_defined: bool, inside: &[u8], end: Tag) -> Vec<u8> {
        if is_defined {
            return [&head(tag, vr, inside.len() as u32), inside].concat();
        }
        [&head(tag, vr, UNDEFINED), inside, &head(end, None, 0)].concat()
    }

    fn reference_write(nodes: &[Node], is_explicit: bool) -> Vec<u8> {
        let write = |node: &Node| match node {
            Node::Value { tag, vr, value } => {
                [head(*tag, is_explicit.then_some(vr), value.len() as u32), value.clone()].concat()
            }
            Node::Sequence { tag, is_defined, items } => {
                let item = |nodes: &Vec<Node>| {
                    let inside = reference_write(nodes, is_explicit);
                    enclose(ITEM, None, *is_defined, &inside, ITEM_DELIMITER)
                };
                let items: Vec<u8> = items.iter().flat_map(item).collect();
                enclose(*tag, is_explicit.then_some(b"SQ"), *is_defined, &items, SEQUENCE_DELIMITER)
            }
        };
        nodes.iter().flat_map(write).collect()
    }

    fn tag() -> impl Strategy<Value = Tag> {
        (0x0008..0x7FE0_u16, any::<u16>()).prop_map(|(group, element)| Tag(group, element))
    }

    /// A text of any bytes, or a number, or bulk.
    fn value() -> impl Strategy<Value = Node> {
        let vrs = vec![b"PN", b"LO", b"SH", b"LT", b"UI", b"US", b"FD", b"UT", b"UC", b"OB", b"UN"];
        (tag(), select(vrs), prop::collection::vec(any::<[u8; 2]>(), 0..20))
            .prop_map(|(tag, vr, cells)| Node::Value { tag, vr, value: cells.concat() })
    }

    fn node() -> impl Strategy<Value = Node> {
        value().prop_recursive(4, 32, 4, |node| {
            let items = prop::collection::vec(prop::collection::vec(node, 0..4), 0..4);
            (tag(), any::<bool>(), items).prop_map(|(tag, is_defined, items)| Node::Sequence {
                tag,
                is_defined,
                items,
            })
        })
    }

    fn character_set(value: &str) -> Node {
        let mut value = value.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), b' ');
        Node::Value { tag: tags::SPECIFIC_CHARACTER_SET, vr: b"CS", value }
    }

    fn check(nodes: &[Node]) {
        let written = implicit(&reference_write(nodes, true), &Limits::default());
        assert_eq!(written.unwrap(), reference_write(nodes, false));
    }

    proptest! {
        #[test]
        fn values_keep_their_bytes_whatever_they_are_written_in(
            declared in select(&["", "ISO_IR 100", "ISO_IR 192", "ISO_IR 13", "GB18030", "\\ISO 2022 IR 87", "none"][..]),
            nodes in prop::collection::vec(node(), 0..6),
        ) {
            check(&[vec![character_set(declared)], nodes].concat());
        }

        #[test]
        fn what_is_no_data_set_ends_in_a_result(
            nodes in prop::collection::vec(node(), 1..4),
            (at, byte) in (any::<prop::sample::Index>(), any::<u8>()),
        ) {
            let mut bytes = reference_write(&nodes, true);
            let at = at.index(bytes.len());
            let _ = implicit(&bytes[..at], &Limits::default());
            bytes[at] = byte;
            let _ = implicit(&bytes, &Limits::default());
        }
    }

    #[test]
    fn names_are_not_read_as_what_their_character_set_says() {
        // dicom-rs wrote what it could not decode as \351, and took the second byte of a letter of Shift JIS for a backslash: a name
        // became three values, or broke.
        for (declared, name) in [
            ("ISO_IR 192", &b"J\xE9r\xF4me^Ren\xE9 "[..]),
            ("ISO_IR 13", b"\x8F\x5C^\x95\x5C "),
            ("GB18030", b"\x95\x5C\x81\x30\x81\x30"),
        ] {
            let name = Node::Value { tag: tags::PATIENT_NAME, vr: b"PN", value: name.to_vec() };
            check(&[character_set(declared), name]);
        }
    }

    #[test]
    fn plain_data_sets_are_written_as_dicom_rs_does() {
        let text = |tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
        let code = InMemDicomObject::from_element_iter([
            text(tags::CODE_VALUE, VR::SH, "274100004"),
            text(tags::CODE_MEANING, VR::LO, "Cerebral hemorrhage"),
        ]);
        let sequence = |item| Value::Sequence(DataSetSequence::from(vec![item]));
        let outer = InMemDicomObject::from_element_iter([
            DataElement::new(tags::CONCEPT_CODE_SEQUENCE, VR::SQ, sequence(code)),
            DataElement::new(tags::RATIONAL_NUMERATOR_VALUE, VR::SL, PrimitiveValue::from(-7_i32)),
        ]);
        let object = InMemDicomObject::from_element_iter([
            text(tags::PATIENT_NAME, VR::PN, "Doe^Jane"),
            text(tags::PIXEL_SPACING, VR::DS, "0.5\\0.5"),
            DataElement::new(tags::CONTENT_SEQUENCE, VR::SQ, sequence(outer)),
            DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U8((0..=255).collect())),
        ]);
        let (mut explicit, mut expected) = (Vec::new(), Vec::new());
        object.write_dataset_with_ts(&mut explicit, &EXPLICIT_VR_LITTLE_ENDIAN.erased()).unwrap();
        object.write_dataset_with_ts(&mut expected, &IMPLICIT_VR_LITTLE_ENDIAN.erased()).unwrap();
        assert_eq!(implicit(&explicit, &Limits::default()).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_written_so_is_refused() {
        // Fragments have no implicit form, and neither has what ends before it should.
        let fragments = [head(tags::PIXEL_DATA, Some(b"OB"), UNDEFINED), head(ITEM, None, 0)].concat();
        let long = [head(tags::CONTENT_SEQUENCE, Some(b"SQ"), 100), head(ITEM, None, 0)].concat();
        let inner = head(tags::CODE_VALUE, Some(b"SH"), 4);
        let longer =
            [&head(tags::CONTENT_SEQUENCE, Some(b"SQ"), 16), &head(ITEM, None, 8), &inner[..]].concat();
        for wrong in [&fragments[..], &long, &[&longer[..], b"1234"].concat(), b"object"] {
            assert!(implicit(wrong, &Limits::default()).is_err(), "{wrong:?}");
        }
    }
}
