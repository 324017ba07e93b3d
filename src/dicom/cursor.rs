//! One element after the other: tags, representations and lengths, each held against the bytes that remain.
//! What may stand inside of what is left to `guard`.

use std::ops::Range;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::syntax::Form;
use super::{DicomError, FormatProblem};
use crate::limits::Limits;

pub(super) const UNDEFINED: u32 = u32::MAX;
pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(super) const ITEM_DELIMITER: Tag = Tag(0xFFFE, 0xE00D);
pub(super) const SEQUENCE_DELIMITER: Tag = Tag(0xFFFE, 0xE0DD);

/// The header of an element, item or delimiter.
pub(super) struct Element {
    pub tag: Tag,
    /// None in implicit form and for items and delimiters.
    pub vr: Option<[u8; 2]>,
    pub length: u32,
}

/// How the length of an explicit element is written, by its value representation; None for what is none of the
/// standard's.
///
/// # Source
/// DICOM PS3.5 7.1.2, tables 7.1-1 and 7.1-2.
pub(super) fn length_bytes(vr: [u8; 2]) -> Option<usize> {
    match &vr {
        b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR" | b"UT"
        | b"UV" => Some(4),
        b"AE" | b"AS" | b"AT" | b"CS" | b"DA" | b"DS" | b"DT" | b"FD" | b"FL" | b"IS" | b"LO" | b"LT"
        | b"PN" | b"SH" | b"SL" | b"SS" | b"ST" | b"TM" | b"UI" | b"UL" | b"US" => Some(2),
        _ => None,
    }
}

/// A place in the bytes, and what has been counted on the way.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the innermost sequence or item of defined length ends, or the bytes do.
    end: usize,
    limits: &'a Limits,
    counted: u32,
    /// The element begun last, for messages where the bytes end.
    last: Tag,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8], at: usize, limits: &'a Limits) -> Cursor<'a> {
        let end = bytes.len();
        Cursor { bytes, at, end, limits, counted: 0, last: tags::FILE_META_INFORMATION_GROUP_LENGTH }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// Where the bytes end for now.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Lets the bytes end elsewhere: at a place that [`Cursor::enter`] gave, or at the one before it.
    pub fn end_at(&mut self, end: usize) {
        self.end = end;
    }

    /// Where a value ends that is walked through instead of stepped over.
    pub fn enter(&self, element: &Element) -> Result<usize, DicomError> {
        let (length, remaining) = (u64::from(element.length), self.remaining() as u64);
        if length > remaining {
            return Err(DicomError::format(element.tag, FormatProblem::Length { length, remaining }));
        }
        Ok(self.at + element.length as usize)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DicomError> {
        let taken = self.bytes[self.at..self.end]
            .first_chunk::<N>()
            .ok_or_else(|| DicomError::format(self.last, FormatProblem::Ends))?;
        self.at += N;
        Ok(*taken)
    }

    fn take_u16(&mut self, form: Form) -> Result<u16, DicomError> {
        let bytes = self.take()?;
        Ok(match form {
            Form::ExplicitBig => u16::from_be_bytes(bytes),
            Form::ImplicitLittle | Form::ExplicitLittle => u16::from_le_bytes(bytes),
        })
    }

    fn take_u32(&mut self, form: Form) -> Result<u32, DicomError> {
        let bytes = self.take()?;
        Ok(match form {
            Form::ExplicitBig => u32::from_be_bytes(bytes),
            Form::ImplicitLittle | Form::ExplicitLittle => u32::from_le_bytes(bytes),
        })
    }

    fn take_tag(&mut self, form: Form) -> Result<Tag, DicomError> {
        let tag = Tag(self.take_u16(form)?, self.take_u16(form)?);
        self.last = tag;
        self.counted += 1;
        if self.counted > self.limits.elements {
            return Err(DicomError::Limit {
                what: "the number of elements",
                got: u64::from(self.counted),
                limit: u64::from(self.limits.elements),
            });
        }
        Ok(tag)
    }

    pub fn peek_tag(&self, form: Form) -> Option<Tag> {
        let [a, b, c, d] = *self.bytes[self.at..self.end].first_chunk()?;
        Some(match form {
            Form::ExplicitBig => Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
            Form::ImplicitLittle | Form::ExplicitLittle => {
                Tag(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
            }
        })
    }

    /// The header of an item or delimiter, which has no value representation in any form.
    pub fn marker(&mut self, form: Form) -> Result<Element, DicomError> {
        Ok(Element { tag: self.take_tag(form)?, vr: None, length: self.take_u32(form)? })
    }

    /// The header of a data element.
    ///
    /// # Source
    /// DICOM PS3.5 7.1.2 (explicit), 7.1.3 (implicit).
    pub fn element(&mut self, form: Form) -> Result<Element, DicomError> {
        let tag = self.take_tag(form)?;
        if tag.group() == ITEM.group() {
            return Err(DicomError::format(tag, FormatProblem::Item));
        }
        if form == Form::ImplicitLittle {
            let length = self.take_u32(form)?;
            return Ok(Element { tag, vr: None, length });
        }
        let vr: [u8; 2] = self.take()?;
        let length = match length_bytes(vr) {
            Some(2) => u32::from(self.take_u16(form)?),
            Some(_) => {
                let _reserved: [u8; 2] = self.take()?;
                self.take_u32(form)?
            }
            // PS3.5 6.2: representations yet to come have two reserved bytes and a long length.
            None if vr.iter().all(u8::is_ascii_uppercase) && self.take::<2>()? == [0, 0] => {
                self.take_u32(form)?
            }
            None => return Err(DicomError::format(tag, FormatProblem::Representation)),
        };
        Ok(Element { tag, vr: Some(vr), length })
    }

    /// Steps over a value of defined length.
    pub fn value(&mut self, element: &Element) -> Result<Range<usize>, DicomError> {
        let tag = element.tag;
        if element.length == UNDEFINED {
            return Err(DicomError::format(tag, FormatProblem::UndefinedLength));
        }
        let length = u64::from(element.length);
        if length > self.remaining() as u64 {
            return Err(DicomError::format(
                tag,
                FormatProblem::Length { length, remaining: self.remaining() as u64 },
            ));
        }
        // Sequences, items, and the pixel data groups of other objects may be long.
        let is_long = element.vr == Some(*b"SQ") || tag == ITEM || tag.group() == 0x7FE0;
        if length > self.limits.header_bytes && !is_long {
            return Err(DicomError::Limit {
                what: "the size of a header element value in bytes",
                got: length,
                limit: self.limits.header_bytes,
            });
        }
        let start = self.at;
        self.at += element.length as usize;
        Ok(start..self.at)
    }
}
