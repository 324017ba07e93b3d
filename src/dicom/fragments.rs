//! Encapsulated pixel data: fragments, and which of them make up each frame.
//! What is in a frame is left to `codec`.

use std::ops::Range;

use dicom_dictionary_std::tags;

use super::cursor::{Cursor, ITEM, SEQUENCE_DELIMITER};
use super::layout::Pixels;
use super::syntax::Form;
use super::{DicomError, FormatProblem, Oddities};
use crate::limits::Limits;

/// What a frame's codestream begins with: JPEG and JPEG-LS, JPEG 2000, JPEG 2000 in a file of its own.
const BEGINNINGS: [&[u8]; 3] = [b"\xFF\xD8\xFF", b"\xFF\x4F\xFF\x51", b"\0\0\0\x0CjP  "];

/// The offset table and the fragments of encapsulated pixel data.
///
/// Where the bytes end between two fragments, or in the middle of one, what is whole is taken, and noted as
/// unfinished: whether the frames are whole, their decoders see.
///
/// # Source
/// DICOM PS3.5 A.4.
pub(super) fn fragments(
    cursor: &mut Cursor<'_>,
    form: Form,
    oddities: &mut Oddities,
    limits: &Limits,
) -> Result<Pixels, DicomError> {
    let mut offset_table = None;
    let mut fragments = Vec::new();
    loop {
        if cursor.remaining() < 8 {
            oddities.unfinished = true;
            break;
        }
        let marker = cursor.marker(form)?;
        match marker.tag {
            SEQUENCE_DELIMITER => break,
            ITEM if marker.length as usize > cursor.remaining() && !fragments.is_empty() => {
                oddities.unfinished = true;
                break;
            }
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
        Some(offset_table) if !fragments.is_empty() => Ok(Pixels::Fragments { offset_table, fragments }),
        _ => Err(DicomError::format(tags::PIXEL_DATA, FormatProblem::Missing)),
    }
}

/// Which fragments make up each frame, as ranges of `fragments`: by their count, else by the offset table, else by
/// what codestreams begin with. Fewer than `frames` where the file was cut off.
///
/// # Errors
/// The fragments cannot be told apart.
///
/// # Source
/// DICOM PS3.5 A.4: a frame may be split over several fragments, and the offset table may be empty.
pub(super) fn frames(
    data_set: &[u8],
    offset_table: &[u8],
    fragments: &[Range<usize>],
    frames: u32,
) -> Result<Vec<Range<usize>>, DicomError> {
    let frames = frames as usize;
    let count = fragments.len();
    if frames == 1 {
        return Ok(std::iter::once(0..count).collect());
    }
    if count == frames {
        return Ok((0..count).map(|fragment| fragment..fragment + 1).collect());
    }
    let first = fragments.first().map_or(0, |fragment| fragment.start);
    let table: Vec<usize> =
        offset_table.as_chunks().0.iter().map(|&offset| u32::from_le_bytes(offset) as usize).collect();
    let told = |fragment: &Range<usize>| table.binary_search(&(fragment.start - first)).is_ok();
    let seen = |fragment: &Range<usize>| {
        BEGINNINGS.iter().any(|beginning| data_set[fragment.clone()].starts_with(beginning))
    };
    let by_table = starts(fragments, told);
    let starts =
        if table.len() == frames && by_table.len() == frames { by_table } else { starts(fragments, seen) };
    if starts.first() != Some(&0) || starts.len() > frames {
        // Run lengths have no beginning of their own, but one fragment a frame.
        if count < frames && starts.is_empty() {
            return Ok((0..count).map(|fragment| fragment..fragment + 1).collect());
        }
        return Err(DicomError::contradiction(tags::PIXEL_DATA, "NumberOfFrames"));
    }
    let ends = starts.iter().skip(1).copied().chain([count]);
    Ok(starts.iter().zip(ends).map(|(&start, end)| start..end).collect())
}

fn starts(fragments: &[Range<usize>], is_start: impl Fn(&Range<usize>) -> bool) -> Vec<usize> {
    let numbered = fragments.iter().enumerate();
    numbered.filter(|(_, fragment)| is_start(fragment)).map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fragments of such bytes, with the eight bytes of an item before each, and the frames found in them.
    fn found(table: &[u32], fragments: &[&[u8]], wanted: u32) -> Result<Vec<Range<usize>>, DicomError> {
        let mut bytes = Vec::new();
        let mut ranges = Vec::new();
        for fragment in fragments {
            bytes.extend([0; 8]);
            ranges.push(bytes.len()..bytes.len() + fragment.len());
            bytes.extend(*fragment);
        }
        let table: Vec<u8> = table.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        frames(&bytes, &table, &ranges, wanted)
    }

    #[test]
    fn one_frame_takes_all_fragments_and_as_many_frames_take_one_each() {
        assert_eq!(found(&[], &[b"ab", b"cd", b"ef"], 1).unwrap().first(), Some(&(0..3)));
        assert_eq!(found(&[0, 99], &[b"ab", b"cd"], 2).unwrap(), [0..1, 1..2]);
    }

    #[test]
    fn the_offset_table_tells_frames_of_several_fragments_apart() {
        assert_eq!(found(&[0, 20], &[b"ab", b"cd", b"ef"], 2).unwrap(), [0..2, 2..3]);
    }

    #[test]
    fn without_an_offset_table_or_with_a_wrong_one_a_frame_begins_with_its_codestream() {
        let fragments: [&[u8]; 3] = [b"\xFF\xD8\xFFx", b"rest", b"\xFF\xD8\xFFy"];
        assert_eq!(found(&[], &fragments, 2).unwrap(), [0..2, 2..3]);
        assert_eq!(found(&[0, 13], &fragments, 2).unwrap(), [0..2, 2..3]);
        assert!(found(&[], &[b"ab", b"cd", b"ef"], 2).is_err());
    }

    #[test]
    fn of_a_file_cut_off_the_frames_that_were_begun_are_told() {
        assert_eq!(found(&[0, 12, 24], &[b"run1", b"run2"], 3).unwrap(), [0..1, 1..2]);
        let jpeg: [&[u8]; 3] = [b"\xFF\xD8\xFFx", b"rest", b"\xFF\xD8\xFFy"];
        assert_eq!(found(&[], &jpeg, 5).unwrap(), [0..2, 2..3]);
    }
}
