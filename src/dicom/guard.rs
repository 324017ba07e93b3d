//! The structure of a DICOM file, checked in one bounded pass before any parser sees the bytes.
//! The values of elements are left to `header` and `pixels`.
//!
//! dicom-rs trusts lengths and recurses into sequences, so a small hostile file can take all memory or end the
//! process. This pass allocates nothing that the file can choose, except for a deflated data set, which is
//! inflated up to a limit, and the list of fragments, which is counted. Sequences of defined length are stepped
//! over whole: nothing here reads what they hold.

use std::borrow::Cow;
use std::ops::Range;

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};

use super::cursor::{Cursor, Element, ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER, UNDEFINED};
use super::inflate::inflate_into;
use super::syntax::{Form, Syntax};
use super::{DicomError, FormatProblem, PixelLocation};
use crate::limits::Limits;

const PREAMBLE: usize = 128;

/// What the caller asks to have noted at the top level of the data set.
pub(super) struct Wanted {
    /// Elements of which the place is noted.
    pub elements: &'static [Tag],
    /// Sequences of which only matters whether they have an item.
    pub sequences: &'static [Tag],
}

/// What the pass found.
pub(super) struct Layout<'a> {
    pub syntax: Syntax,
    /// The data set, inflated where it was deflated.
    pub data_set: Cow<'a, [u8]>,
    /// The wanted elements that the data set has, each once.
    pub elements: Vec<Noted>,
    /// The wanted sequences that have an item.
    pub filled_sequences: Vec<Tag>,
    /// Pixel data; None where the data set has none.
    pub pixels: Option<PixelLocation>,
}

/// A wanted element of defined length that lies within the data set.
pub(super) struct Noted {
    pub tag: Tag,
    /// None in implicit form.
    pub vr: Option<[u8; 2]>,
    /// Header and value.
    pub element: Range<usize>,
    pub value: Range<usize>,
}

/// Checks the structure of a file, and finds its pixel data and what is wanted.
pub(super) fn scan<'a>(bytes: &'a [u8], wanted: &Wanted, limits: &Limits) -> Result<Layout<'a>, DicomError> {
    let (layout, end) = walk(bytes, wanted, limits)?;
    end.map(|()| layout)
}

/// What [`scan`] had found when it met what it refuses. None where the transfer syntax is not known, and where a
/// wanted element occurs twice.
pub(super) fn scan_beginning<'a>(bytes: &'a [u8], wanted: &Wanted, limits: &Limits) -> Option<Layout<'a>> {
    match walk(bytes, wanted, limits).ok()? {
        (_, Err(DicomError::Format { problem: FormatProblem::Repeated, .. })) => None,
        (layout, _) => Some(layout),
    }
}

/// Walks a file as far as it goes: what was found, and whether that was all of it.
fn walk<'a>(
    bytes: &'a [u8],
    wanted: &Wanted,
    limits: &Limits,
) -> Result<(Layout<'a>, Result<(), DicomError>), DicomError> {
    let (syntax, offset) = scan_file_meta(bytes, limits)?;
    let deflated = syntax.uid == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
    let (data_set, whole): (Cow<'a, [u8]>, _) = if deflated {
        let mut inflated = Vec::new();
        let whole = inflate_into(&mut inflated, &bytes[offset..], limits);
        (Cow::Owned(inflated), whole)
    } else {
        (Cow::Borrowed(&bytes[offset..]), Ok(()))
    };
    let mut layout = Layout {
        syntax,
        data_set: Cow::Borrowed(&[]),
        elements: Vec::with_capacity(wanted.elements.len()),
        filled_sequences: Vec::new(),
        pixels: None,
    };
    let walked = scan_data_set(&data_set, wanted, limits, &mut layout);
    layout.data_set = data_set;
    layout.pixels = layout.pixels.take().map(|found| match found {
        PixelLocation::Native(range) if deflated => PixelLocation::Deflated(range),
        PixelLocation::Native(range) => PixelLocation::Native(shift(&range, offset)),
        PixelLocation::Encapsulated { offset_table, fragments } => PixelLocation::Encapsulated {
            offset_table: shift(&offset_table, offset),
            fragments: fragments.iter().map(|range| shift(range, offset)).collect(),
        },
        found @ PixelLocation::Deflated(_) => found,
    });
    Ok((layout, whole.and(walked)))
}

fn shift(range: &Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

/// The transfer syntax, and where the data set begins.
///
/// The file meta group is explicit little-endian whatever follows it (DICOM PS3.10 7.1). Its group length is
/// not relied on: writers get it wrong, and the group ends where the next one begins.
pub(super) fn scan_file_meta(bytes: &[u8], limits: &Limits) -> Result<(Syntax, usize), DicomError> {
    if bytes.is_empty() {
        return Err(DicomError::Empty);
    }
    if bytes.get(PREAMBLE..PREAMBLE + 4) != Some(b"DICM") {
        return Err(DicomError::NotDicom);
    }
    let mut cursor = Cursor::new(bytes, PREAMBLE + 4, limits);
    let mut syntax = None;
    while cursor.peek_tag(Form::ExplicitLittle).is_some_and(|tag| tag.group() == 0x0002) {
        let element = cursor.element(Form::ExplicitLittle)?;
        let value = cursor.value(&element)?;
        if element.tag == tags::TRANSFER_SYNTAX_UID {
            syntax = Some(Syntax::known(&bytes[value])?);
        }
    }
    let missing = || DicomError::format(tags::TRANSFER_SYNTAX_UID, FormatProblem::Missing);
    Ok((syntax.ok_or_else(missing)?, cursor.at()))
}

/// Something of undefined length that the pass is in. What has a defined length is stepped over instead.
struct Open {
    kind: Kind,
    /// The sequence's tag, for messages.
    tag: Tag,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sequence,
    Item,
    /// Encapsulated pixel data inside of a sequence: an icon.
    Fragments,
}

impl Open {
    /// What an element of undefined length opens; None where its length is defined.
    fn by(element: &Element, form: Form) -> Result<Option<Open>, DicomError> {
        if element.length != UNDEFINED {
            return Ok(None);
        }
        let (kind, form) = match element.vr.as_ref() {
            Some(b"OB" | b"OW") | None if element.tag == tags::PIXEL_DATA => (Kind::Fragments, form),
            Some(b"SQ") | None => (Kind::Sequence, form),
            // PS3.5 6.2.2: a sequence that some program copied without knowing it.
            Some(b"UN") => (Kind::Sequence, Form::ImplicitLittle),
            Some(_) => {
                return Err(DicomError::format(element.tag, FormatProblem::UndefinedLength));
            }
        };
        Ok(Some(Open { kind, tag: element.tag, form }))
    }
}

/// Walks the data set up to its pixel data. What follows them (padding, signatures) is not looked at.
fn scan_data_set(
    data_set: &[u8],
    wanted: &Wanted,
    limits: &Limits,
    layout: &mut Layout<'_>,
) -> Result<(), DicomError> {
    let mut cursor = Cursor::new(data_set, 0, limits);
    // An explicit stack: recursion would let the file choose how deep the program's own stack grows.
    let mut opened: Vec<Open> = Vec::new();
    loop {
        match opened.last() {
            None => {
                if cursor.at() == data_set.len() {
                    return Ok(());
                }
                let start = cursor.at();
                let element = cursor.element(layout.syntax.form)?;
                if element.tag == tags::PIXEL_DATA {
                    layout.pixels =
                        Some(pixel_data(&mut cursor, &element, layout.syntax.encapsulated, limits)?);
                    return Ok(());
                }
                let is_wanted = wanted.elements.contains(&element.tag);
                if is_wanted && element.length == UNDEFINED {
                    return Err(DicomError::format(element.tag, FormatProblem::UndefinedLength));
                }
                if let Some(open) = Open::by(&element, layout.syntax.form)? {
                    if cursor.peek_tag(open.form) == Some(ITEM) {
                        layout.note_filled(element.tag, wanted);
                    }
                    opened.push(open);
                    continue;
                }
                let value = cursor.value(&element)?;
                if !value.is_empty() {
                    layout.note_filled(element.tag, wanted);
                }
                if is_wanted {
                    let Element { tag, vr, .. } = element;
                    layout.note_element(Noted { tag, vr, element: start..value.end, value }, limits)?;
                }
            }
            Some(&Open { kind: Kind::Item, form, .. }) => {
                if cursor.peek_tag(form) == Some(ITEM_DELIMITER) {
                    cursor.marker(form)?;
                    opened.pop();
                    continue;
                }
                let element = cursor.element(form)?;
                match Open::by(&element, form)? {
                    Some(open) => opened.push(open),
                    None => {
                        cursor.value(&element)?;
                    }
                }
            }
            Some(&Open { kind, tag, form }) => {
                let marker = cursor.marker(form)?;
                match (marker.tag, marker.length) {
                    (SEQUENCE_DELIMITER, _) => {
                        opened.pop();
                    }
                    (ITEM, UNDEFINED) if kind == Kind::Sequence => {
                        opened.push(Open { kind: Kind::Item, tag, form })
                    }
                    (ITEM, UNDEFINED) => {
                        return Err(DicomError::format(tag, FormatProblem::UndefinedLength));
                    }
                    (ITEM, _) => {
                        cursor.value(&marker)?;
                    }
                    _ => return Err(DicomError::format(tag, FormatProblem::Item)),
                }
            }
        }
        // A sequence and its item are two entries.
        if opened.len() > 2 * usize::from(limits.depth) {
            return Err(DicomError::Limit {
                what: "the depth of nested sequences",
                got: u64::from(limits.depth) + 1,
                limit: u64::from(limits.depth),
            });
        }
    }
}

impl Layout<'_> {
    fn note_filled(&mut self, tag: Tag, wanted: &Wanted) {
        if wanted.sequences.contains(&tag) && !self.filled_sequences.contains(&tag) {
            self.filled_sequences.push(tag);
        }
    }

    fn note_element(&mut self, noted: Noted, limits: &Limits) -> Result<(), DicomError> {
        if noted.value.len() as u64 > u64::from(limits.parsed_bytes) {
            return Err(DicomError::Limit {
                what: "the size of a parsed element value in bytes",
                got: noted.value.len() as u64,
                limit: u64::from(limits.parsed_bytes),
            });
        }
        // Readers differ in which of two they believe, so neither can be trusted.
        if self.elements.iter().any(|seen| seen.tag == noted.tag) {
            return Err(DicomError::format(noted.tag, FormatProblem::Repeated));
        }
        self.elements.push(noted);
        Ok(())
    }
}

fn pixel_data(
    cursor: &mut Cursor<'_>,
    element: &Element,
    encapsulated: bool,
    limits: &Limits,
) -> Result<PixelLocation, DicomError> {
    if encapsulated {
        if element.length != UNDEFINED {
            return Err(DicomError::contradiction(element.tag, "TransferSyntaxUID"));
        }
        return fragments(cursor, limits);
    }
    if element.length == UNDEFINED {
        return Err(DicomError::format(element.tag, FormatProblem::UndefinedLength));
    }
    if u64::from(element.length) > cursor.remaining() as u64 {
        return Err(DicomError::PixelLength {
            expected: u64::from(element.length),
            present: cursor.remaining() as u64,
        });
    }
    Ok(PixelLocation::Native(cursor.value(element)?))
}

/// The offset table and the fragments of encapsulated pixel data.
///
/// # Source
/// DICOM PS3.5 A.4.
fn fragments(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<PixelLocation, DicomError> {
    let form = Form::ExplicitLittle;
    let mut offset_table = None;
    let mut fragments = Vec::new();
    loop {
        let marker = cursor.marker(form)?;
        match marker.tag {
            SEQUENCE_DELIMITER => break,
            ITEM => {
                let range = cursor.value(&marker)?;
                if offset_table.is_none() {
                    offset_table = Some(range);
                    continue;
                }
                if fragments.len() >= limits.fragments as usize {
                    return Err(DicomError::Limit {
                        what: "the number of pixel data fragments",
                        got: fragments.len() as u64 + 1,
                        limit: u64::from(limits.fragments),
                    });
                }
                fragments.push(range);
            }
            _ => return Err(DicomError::format(tags::PIXEL_DATA, FormatProblem::Item)),
        }
    }
    match offset_table {
        Some(offset_table) if !fragments.is_empty() => {
            Ok(PixelLocation::Encapsulated { offset_table, fragments })
        }
        _ => Err(DicomError::format(tags::PIXEL_DATA, FormatProblem::Missing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::crafted::{self, Crafted};
    use crate::dicom::read_header;
    use crate::dicom::syntax::EXPLICIT_BIG;

    const LITTLE: &str = uids::EXPLICIT_VR_LITTLE_ENDIAN;

    fn refusal(file: &[u8]) -> String {
        read_header(file, &Limits::default()).unwrap_err().to_string()
    }

    /// A file whose data set begins with `bytes` and goes on with a valid slice.
    fn after(bytes: &[u8]) -> Vec<u8> {
        let valid = Crafted::slice(2, 2).file();
        let offset = crafted::file(LITTLE, &[]).len();
        crafted::file(LITTLE, &[bytes, &valid[offset..]].concat())
    }

    #[test]
    fn refuses_what_does_not_claim_to_be_dicom() {
        assert!(refusal(b"no").contains("DICM"));
        assert!(refusal(&[b'a'; 5000]).contains("DICM"));
        let missing = refusal(&[vec![0; 128], b"DICM".to_vec()].concat());
        assert_eq!(missing, "(0002,0010) TransferSyntaxUID: missing");
    }

    #[test]
    fn refuses_a_claim_of_four_gigabytes() {
        // A 482-byte file with one such element made dicom-object 0.10.1 take 4.1 GB.
        let file = after(b"\x08\x00\x70\x00UT\0\0\xF0\xFF\xFF\xFF");
        let text = refusal(&file);
        assert!(text.starts_with("(0008,0070) Manufacturer: 4294967280 bytes claimed, "), "{text}");
    }

    #[test]
    fn refuses_deep_nesting_without_recursion() {
        // Sequences nested 8,000 deep ended the process inside of dicom-object 0.10.1.
        let level =
            [&b"\x40\x00\x30\xA7SQ\0\0\xFF\xFF\xFF\xFF"[..], b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF"].concat();
        let text = refusal(&after(&level.repeat(8000)));
        assert_eq!(text, "the depth of nested sequences is 65, over the limit of 64");
    }

    #[test]
    fn refuses_a_deflate_bomb() {
        // 1 MB of deflated zeros took 2 GB in dicom-object 0.10.1.
        let zeros = crafted::deflate(&vec![0; 100 << 20]);
        let file = crafted::file(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, &zeros);
        assert!(file.len() < 200_000);
        assert!(refusal(&file).contains("inflated data set"));
        let broken = crafted::file(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, &[0xFF; 64]);
        assert!(refusal(&broken).contains("cannot be inflated"));
    }

    #[test]
    fn every_truncation_is_refused() {
        for file in [
            Crafted::slice(2, 2).file(),
            Crafted::slice(2, 2).syntax(uids::IMPLICIT_VR_LITTLE_ENDIAN).file(),
            Crafted::slice(2, 2).syntax(EXPLICIT_BIG).file(),
            crafted::encapsulated(uids::JPEG2000_LOSSLESS, &[&[], &[1, 2]]),
            after(NESTED),
        ] {
            read_header(&file, &Limits::default()).unwrap();
            for length in 0..file.len() {
                assert!(read_header(&file[..length], &Limits::default()).is_err());
            }
        }
    }

    /// A sequence with an item of undefined length that holds an icon with fragments, an item of defined
    /// length, and an unknown element of undefined length, whose inside is implicit.
    const NESTED: &[u8] = b"\x08\x00\x05\x11SQ\0\0\xFF\xFF\xFF\xFF\
        \xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF\
        \xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF\
        \xFE\xFF\x00\xE0\x00\0\0\0\xFE\xFF\x00\xE0\x02\0\0\0ab\xFE\xFF\xDD\xE0\0\0\0\0\
        \xFE\xFF\x0D\xE0\0\0\0\0\
        \xFE\xFF\x00\xE0\x04\0\0\0junk\
        \xFE\xFF\xDD\xE0\0\0\0\0\
        \x09\x00\x01\x10UN\0\0\xFF\xFF\xFF\xFF\
        \xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF\
        \x08\x00\x18\x00\x02\0\0\x00zz\
        \xFE\xFF\x0D\xE0\0\0\0\0\
        \xFE\xFF\xDD\xE0\0\0\0\0";

    #[test]
    fn steps_through_nested_sequences_and_reads_nothing_from_them() {
        let (header, _) = read_header(&after(NESTED), &Limits::default()).unwrap();
        assert_eq!(header.sop_instance_uid, "1.2.3.4.1");
    }

    #[test]
    fn refuses_items_out_of_place_and_undefined_lengths_of_texts() {
        let item = refusal(&after(b"\xFE\xFF\x00\xE0\0\0\0\0"));
        assert_eq!(item, "(FFFE,E000) Item: item or delimiter out of place");
        let text = refusal(&after(b"\x08\x00\x70\x00UT\0\0\xFF\xFF\xFF\xFF"));
        assert_eq!(text, "(0008,0070) Manufacturer: undefined length is not allowed here");
        let vr = refusal(&after(b"\x08\x00\x70\x00\x02\0\0\0ab"));
        assert_eq!(vr, "(0008,0070) Manufacturer: unknown value representation");
    }

    #[test]
    fn refuses_a_second_opinion_on_an_element() {
        let twice = after(b"\x08\x00\x18\x00UI\x02\x001\0");
        assert_eq!(refusal(&twice), "(0008,0018) SOPInstanceUID: occurs more than once");
    }

    #[test]
    fn counts_elements_fragments_and_sizes() {
        let small = Limits { elements: 10, ..Limits::default() };
        let error = read_header(&Crafted::slice(2, 2).file(), &small).unwrap_err();
        assert!(matches!(error, DicomError::Limit { limit: 10, .. }));
        let small = Limits { fragments: 2, ..Limits::default() };
        let file = crafted::encapsulated(uids::JPEG2000_LOSSLESS, &[&[], &[1], &[2], &[3]]);
        assert!(matches!(read_header(&file, &small).unwrap_err(), DicomError::Limit { limit: 2, .. }));
        let small = Limits { header_bytes: 100, ..Limits::default() };
        let long = [&b"\x09\x00\x01\x10UN\0\0\x65\0\0\0"[..], &[0; 101]].concat();
        assert!(matches!(
            read_header(&after(&long), &small).unwrap_err(),
            DicomError::Limit { got: 101, .. }
        ));
    }

    #[test]
    fn unknown_transfer_syntaxes_are_named() {
        assert_eq!(
            refusal(&crafted::file("1.2.840.113619.5.2", &[])),
            "transfer syntax 1.2.840.113619.5.2 (retired or not in the standard) is not supported"
        );
    }

    #[test]
    fn any_flipped_byte_ends_in_a_result() {
        for file in [after(NESTED), Crafted::slice(2, 2).syntax(EXPLICIT_BIG).file()] {
            for place in 0..file.len() {
                for value in [0, 1, 0x7F, 0x80, 0xFF] {
                    let mut damaged = file.clone();
                    damaged[place] = value;
                    let _ = read_header(&damaged, &Limits::default());
                }
            }
        }
    }
}
