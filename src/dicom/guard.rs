//! The structure of a data set, checked in one bounded pass before any parser sees the bytes.
//! How a file begins is left to `file_meta`, the values of elements to `header` and `pixels`.
//!
//! dicom-rs trusts lengths and recurses into sequences, so a small hostile file can take all memory or end the
//! process. This pass allocates nothing that the file can choose, except for a deflated data set, which is
//! inflated up to a limit, and the lists of fragments and of noted elements, which are counted. Sequences of defined
//! length are stepped over whole, but for the functional groups of multi-frame objects: nothing here reads what the
//! others hold.

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};

use super::cursor::{Cursor, Element, ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER, UNDEFINED};
use super::fragments::fragments;
use super::groups::{Owner, Role};
use super::inflate::inflate_into;
use super::layout::{Layout, Noted, Pixels, Wanted, note};
use super::syntax::Form;
use super::{DicomError, FormatProblem, file_meta};
use crate::limits::Limits;

/// Bytes of a deflated data set in which [`scan_beginning`] looks.
const IDENTIFIED_BYTES: u64 = 1 << 20;

/// Checks the structure of a file, and finds its pixel data and what is wanted.
pub(super) fn scan<'a>(bytes: &'a [u8], wanted: &Wanted, limits: &Limits) -> Result<Layout<'a>, DicomError> {
    let (layout, end) = walk(bytes, wanted, limits)?;
    end.map(|()| layout)
}

/// What [`scan`] had found when it met what it refuses. None where the transfer syntax is not known, and where a
/// wanted element occurs twice.
pub(super) fn scan_beginning<'a>(bytes: &'a [u8], wanted: &Wanted, limits: &Limits) -> Option<Layout<'a>> {
    // UIDs stand near the beginning, so no more of a bomb is inflated.
    let limits = &Limits { inflated_bytes: limits.inflated_bytes.min(IDENTIFIED_BYTES), ..limits.clone() };
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
    let file_meta::Beginning { syntax, data_set, oddities } = file_meta::read(bytes, limits)?;
    let mut layout = Layout {
        syntax,
        oddities,
        bytes: &bytes[data_set..],
        inflated: None,
        elements: Vec::with_capacity(wanted.elements.len()),
        shared: Vec::new(),
        frames: Vec::new(),
        filled_sequences: Vec::new(),
        pixels: None,
    };
    let mut whole = Ok(());
    if layout.syntax.uid == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
        let mut inflated = Vec::new();
        whole = inflate_into(&mut inflated, layout.bytes, limits);
        let walked = scan_data_set(&inflated, wanted, limits, &mut layout);
        layout.inflated = Some(inflated);
        return Ok((layout, whole.and(walked)));
    }
    let walked = scan_data_set(layout.bytes, wanted, limits, &mut layout);
    Ok((layout, whole.and(walked)))
}

/// Something that the pass is in. What has a defined length and holds nothing of interest is stepped over instead.
struct Open {
    kind: Kind,
    /// The sequence's tag, for messages.
    tag: Tag,
    form: Form,
    role: Role,
    /// Where it ends; None where a delimiter ends it.
    end: Option<usize>,
    /// Where what is around it ends.
    outer_end: usize,
    /// Items begun, of a sequence.
    items: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sequence,
    Item,
    /// Encapsulated pixel data inside of a sequence: an icon.
    Fragments,
}

impl Open {
    /// What an element opens that is walked through; None for one that is stepped over.
    fn by(
        element: &Element,
        form: Form,
        role: Role,
        cursor: &Cursor<'_>,
    ) -> Result<Option<Open>, DicomError> {
        let undefined = element.length == UNDEFINED;
        if !undefined && role == Role::Other {
            return Ok(None);
        }
        let (kind, form) = match element.vr.as_ref() {
            Some(b"OB" | b"OW") | None if undefined && element.tag == tags::PIXEL_DATA => {
                (Kind::Fragments, form)
            }
            Some(b"SQ") | None => (Kind::Sequence, form),
            // PS3.5 6.2.2: a sequence that some program copied without knowing it.
            Some(b"UN") => (Kind::Sequence, Form::ImplicitLittle),
            Some(_) if undefined => {
                return Err(DicomError::format(element.tag, FormatProblem::UndefinedLength));
            }
            Some(_) => return Err(DicomError::format(element.tag, FormatProblem::OtherRepresentation)),
        };
        let end = if undefined { None } else { Some(cursor.enter(element)?) };
        Ok(Some(Open { kind, tag: element.tag, form, role, end, outer_end: cursor.end(), items: 0 }))
    }
}

/// The pass: the bytes, what is open, and what was noted.
struct Walk<'w, 'a> {
    cursor: Cursor<'w>,
    // An explicit stack: recursion would let the file choose how deep the program's own stack grows.
    opened: Vec<Open>,
    wanted: &'w Wanted,
    limits: &'w Limits,
    layout: &'w mut Layout<'a>,
}

/// Walks the data set up to its pixel data. What follows them (padding, signatures) is not looked at.
fn scan_data_set(
    data_set: &[u8],
    wanted: &Wanted,
    limits: &Limits,
    layout: &mut Layout<'_>,
) -> Result<(), DicomError> {
    let cursor = Cursor::new(data_set, 0, limits);
    let mut walk = Walk { cursor, opened: Vec::new(), wanted, limits, layout };
    while walk.step()? {
        // A sequence and its item are two entries.
        if walk.opened.len() > 2 * usize::from(limits.depth) {
            return Err(DicomError::Limit {
                what: "the depth of nested sequences",
                got: u64::from(limits.depth) + 1,
                limit: u64::from(limits.depth),
            });
        }
    }
    Ok(())
}

impl Walk<'_, '_> {
    /// Takes one element, item or delimiter. False at the pixel data, and where the data set ends without.
    fn step(&mut self) -> Result<bool, DicomError> {
        let Some(open) = self.opened.last() else {
            return self.top();
        };
        if open.end == Some(self.cursor.at()) {
            self.close();
            return Ok(true);
        }
        match open.kind {
            Kind::Item => self.in_item(open.form, open.role),
            Kind::Sequence | Kind::Fragments => self.in_sequence(),
        }?;
        Ok(true)
    }

    fn open(&mut self, open: Open) {
        if let Some(end) = open.end {
            self.cursor.end_at(end);
        }
        self.opened.push(open);
    }

    fn close(&mut self) {
        if let Some(open) = self.opened.pop() {
            self.cursor.end_at(open.outer_end);
        }
    }

    fn top(&mut self) -> Result<bool, DicomError> {
        let Walk { wanted, limits, .. } = *self;
        if self.cursor.remaining() == 0 {
            return Ok(false);
        }
        let form = self.layout.syntax.form;
        let element = self.cursor.element(form)?;
        if element.tag == tags::PIXEL_DATA {
            self.layout.pixels = Some(self.pixel_data(&element)?);
            return Ok(false);
        }
        let is_wanted = wanted.elements.contains(&element.tag);
        if is_wanted && element.length == UNDEFINED {
            return Err(DicomError::format(element.tag, FormatProblem::UndefinedLength));
        }
        let role = if wanted.in_groups.is_empty() { Role::Other } else { Role::at_top(element.tag) };
        if let Some(open) = Open::by(&element, form, role, &self.cursor)? {
            if self.cursor.peek_tag(open.form) == Some(ITEM) {
                self.layout.note_filled(element.tag, wanted);
            }
            self.open(open);
            return Ok(true);
        }
        let value = self.cursor.value(&element)?;
        if !value.is_empty() {
            self.layout.note_filled(element.tag, wanted);
        }
        if is_wanted {
            let Element { tag, vr, .. } = element;
            let noted = Noted { tag, vr, form, value };
            note(&mut self.layout.elements, noted, limits)?;
        }
        Ok(true)
    }

    fn in_item(&mut self, form: Form, role: Role) -> Result<(), DicomError> {
        if self.cursor.peek_tag(form) == Some(ITEM_DELIMITER) {
            self.cursor.marker(form)?;
            self.close();
            return Ok(());
        }
        let element = self.cursor.element(form)?;
        if let Some(open) = Open::by(&element, form, role.of_element(element.tag), &self.cursor)? {
            self.open(open);
            return Ok(());
        }
        let value = self.cursor.value(&element)?;
        if let Role::MacroItem(owner) = role
            && self.wanted.in_groups.contains(&element.tag)
        {
            let Element { tag, vr, .. } = element;
            let noted = Noted { tag, vr, form, value };
            let list = match owner {
                Owner::Shared => &mut self.layout.shared,
                Owner::Frame(frame) => &mut self.layout.frames[frame as usize],
            };
            note(list, noted, self.limits)?;
        }
        Ok(())
    }

    fn in_sequence(&mut self) -> Result<(), DicomError> {
        let Some(open) = self.opened.last_mut() else { return Ok(()) };
        let (kind, tag, form) = (open.kind, open.tag, open.form);
        let marker = self.cursor.marker(form)?;
        match (marker.tag, marker.length) {
            (SEQUENCE_DELIMITER, _) => self.close(),
            (ITEM, UNDEFINED) if kind == Kind::Fragments => {
                return Err(DicomError::format(tag, FormatProblem::UndefinedLength));
            }
            (ITEM, length) => {
                let role = open.role.of_item(open.items);
                open.items = open.items.saturating_add(1);
                if let Role::Group(Owner::Frame(frame)) = role {
                    self.layout.begin_frame(frame, self.limits)?;
                }
                if length != UNDEFINED && role == Role::Other {
                    self.cursor.value(&marker)?;
                    return Ok(());
                }
                let end = if length == UNDEFINED { None } else { Some(self.cursor.enter(&marker)?) };
                let outer_end = self.cursor.end();
                self.open(Open { kind: Kind::Item, tag, form, role, end, outer_end, items: 0 });
            }
            _ => return Err(DicomError::format(tag, FormatProblem::Item)),
        }
        Ok(())
    }

    fn pixel_data(&mut self, element: &Element) -> Result<Pixels, DicomError> {
        let Walk { cursor, layout, limits, .. } = self;
        if layout.syntax.encapsulated {
            if element.length != UNDEFINED {
                return Err(DicomError::contradiction(element.tag, "TransferSyntaxUID"));
            }
            return fragments(cursor, layout.syntax.form, &mut layout.oddities, limits);
        }
        if element.length == UNDEFINED {
            return Err(DicomError::format(element.tag, FormatProblem::UndefinedLength));
        }
        // Where the bytes end before, `pixels` looks for what is whole.
        let length = (element.length as usize).min(cursor.remaining());
        layout.oddities.unfinished |= length < element.length as usize;
        Ok(Pixels::Native { range: cursor.at()..cursor.at() + length, words: element.vr != Some(*b"OB") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::crafted::read_header;
    use crate::dicom::crafted::{self, Crafted};
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
        assert_eq!(refusal(b"no"), "not a DICOM file");
        assert_eq!(refusal(&[b'a'; 5000]), "not a DICOM file");
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
            after(NESTED),
        ] {
            read_header(&file, &Limits::default()).unwrap();
            for length in 0..file.len() {
                assert!(read_header(&file[..length], &Limits::default()).is_err());
            }
        }
    }

    #[test]
    fn fragments_may_lack_their_delimiter_and_not_their_bytes() {
        let file = crafted::encapsulated(uids::JPEG2000_LOSSLESS, &[&[], &[1, 2]]);
        let limits = Limits::default();
        assert!(!read_header(&file, &limits).unwrap().0.oddities.unfinished);
        for length in 0..file.len() - 8 {
            assert!(read_header(&file[..length], &limits).is_err());
        }
        for length in file.len() - 8..file.len() {
            assert!(read_header(&file[..length], &limits).unwrap().0.oddities.unfinished);
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
