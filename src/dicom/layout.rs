//! What the guard finds in a data set, and what it is asked to look for.
//! Finding it is left to `guard`, reading the values to `elements`.

use std::ops::Range;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::syntax::{Form, Syntax};
use super::{DicomError, FormatProblem, Oddities};
use crate::limits::Limits;

/// What the caller asks to have noted.
pub(super) struct Wanted {
    /// Elements at the top level of which the place is noted.
    pub elements: &'static [Tag],
    /// Sequences at the top level of which only matters whether they have an item.
    pub sequences: &'static [Tag],
    /// Elements in the first item of a macro of the functional groups.
    pub in_groups: &'static [Tag],
}

/// What the pass found.
pub(super) struct Layout<'a> {
    pub syntax: Syntax,
    pub oddities: Oddities,
    /// The file, from the data set on; None where the data set was deflated.
    pub bytes: &'a [u8],
    /// The data set, where it was deflated.
    pub inflated: Option<Vec<u8>>,
    /// The wanted elements that the data set has, each once.
    pub elements: Vec<Noted>,
    /// The wanted elements of the functional groups that all frames share.
    pub shared: Vec<Noted>,
    /// The wanted elements of each frame's own functional groups. Empty for single slices.
    pub frames: Vec<Vec<Noted>>,
    /// The wanted sequences that have an item.
    pub filled_sequences: Vec<Tag>,
    /// Pixel data; None where the data set has none.
    pub pixels: Option<Pixels>,
}

/// Where pixel data lie in the data set.
pub(super) enum Pixels {
    /// Uncompressed.
    Native {
        range: Range<usize>,
        /// True in representation OW: big-endian files swap the bytes of all pairs.
        words: bool,
    },
    /// In fragments, in file order.
    Fragments { offset_table: Range<usize>, fragments: Vec<Range<usize>> },
}

/// A wanted element of defined length that lies within the data set.
pub(super) struct Noted {
    pub tag: Tag,
    /// None in implicit form.
    pub vr: Option<[u8; 2]>,
    /// The form of the element: what stands in a sequence of unknown representation is implicit.
    pub form: Form,
    pub value: Range<usize>,
}

impl Layout<'_> {
    /// What the ranges lie in.
    pub fn data_set(&self) -> &[u8] {
        self.inflated.as_deref().unwrap_or(self.bytes)
    }

    pub fn note_filled(&mut self, tag: Tag, wanted: &Wanted) {
        if wanted.sequences.contains(&tag) && !self.filled_sequences.contains(&tag) {
            self.filled_sequences.push(tag);
        }
    }

    /// Frames come in ascending order, each once.
    pub fn begin_frame(&mut self, frame: u32, limits: &Limits) -> Result<(), DicomError> {
        if frame >= limits.frames {
            return Err(DicomError::Limit {
                what: "the number of frames",
                got: u64::from(frame) + 1,
                limit: u64::from(limits.frames),
            });
        }
        if self.frames.len() != frame as usize {
            return Err(DicomError::format(
                tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
                FormatProblem::Repeated,
            ));
        }
        self.frames.push(Vec::new());
        Ok(())
    }
}

/// Adds an element to a list of those of its kind.
pub(super) fn note(list: &mut Vec<Noted>, noted: Noted, limits: &Limits) -> Result<(), DicomError> {
    if noted.value.len() as u64 > u64::from(limits.parsed_bytes) {
        return Err(DicomError::Limit {
            what: "the size of a parsed element value in bytes",
            got: noted.value.len() as u64,
            limit: u64::from(limits.parsed_bytes),
        });
    }
    // Readers differ in which of two they believe, so neither can be trusted.
    if list.iter().any(|seen| seen.tag == noted.tag) {
        return Err(DicomError::format(noted.tag, FormatProblem::Repeated));
    }
    list.push(noted);
    Ok(())
}
