//! One DICOM object: the headers of its slices, and where the pixels of each lie.
//! Their order is left to `series`, Hounsfield units to `hu`.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::layout::Pixels;
use super::pixels::{self, StoredValues};
use super::{DicomError, SliceHeader, attributes, fragments, guard, header};
use crate::limits::Limits;

/// A DICOM object that was read: a slice, or many in one. The bytes stay with the caller.
pub struct Object {
    /// The slices: one, or one a frame, in the order of the frames. At least one.
    pub slices: Vec<SliceHeader>,
    /// Where the pixels of each slice lie, as ranges of [`Object::holder`].
    frames: Vec<Frame>,
    /// True where the bytes of all pairs are swapped.
    swapped: bool,
    /// The data set, where it was deflated.
    inflated: Option<Vec<u8>>,
}

/// The bytes of a frame.
enum Frame {
    Native(Range<usize>),
    /// In fragments, one behind the other.
    Encapsulated(Vec<Range<usize>>),
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} slices", self.slices.len())
    }
}

impl Object {
    /// Reads the headers of an object and finds its pixel data, in one bounded pass.
    ///
    /// The guard checks the structure of the whole data set, and only the few elements that [`SliceHeader`] holds are
    /// read. No element that identifies the patient is read. Of an object of several frames that was
    /// cut off, the frames that are whole are kept.
    ///
    /// # Errors
    /// See [`DicomError`]. Pixels that cannot be decoded are located here; [`Object::stored_values`] refuses them.
    ///
    /// # Source
    /// DICOM PS3.10 7.1 (file), PS3.5 7 (data set), PS3.5 A.4 (encapsulation), PS3.3 C.7.6.16 (frames).
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Object, DicomError> {
        let mut layout = guard::scan(bytes, &attributes::WANTED, limits)?;
        let mut slices = header::read(&layout, limits)?;
        // `header::read` has refused objects without pixels, and made at least one header.
        let (Some(pixels), Some(first)) = (layout.pixels.take(), slices.first()) else {
            return Err(DicomError::NoPixelData);
        };
        let mut oddities = layout.oddities;
        // What was deflated lies in a buffer of its own, anything else in the file.
        let offset = if layout.inflated.is_some() { 0 } else { bytes.len() - layout.data_set().len() };
        let shift = |range: &Range<usize>| range.start + offset..range.end + offset;
        let mut swapped = false;
        let frames: Vec<Frame> = match pixels {
            Pixels::Native { range, words } => {
                let whole = pixels::whole_frames(first, range.len(), &mut oddities)?;
                swapped = pixels::is_swapped(first, words);
                let frame_bytes = pixels::frame_bytes(first);
                let Range { start, end } = shift(&range);
                // Whole pairs of bytes, since big-endian files swap an odd last cell with the padding behind it, or with
                // the first cell of the next frame.
                let frame = |frame: usize| {
                    let bytes = frame * frame_bytes..(frame + 1) * frame_bytes;
                    let pairs = bytes.start & !1..bytes.end.next_multiple_of(2);
                    let bytes = if swapped { pairs } else { bytes };
                    Frame::Native(start + bytes.start..(start + bytes.end).min(end))
                };
                (0..whole).map(frame).collect()
            }
            Pixels::Fragments { offset_table, fragments } => {
                let table = &layout.data_set()[offset_table];
                let told = first.frames;
                let frames = fragments::frames(layout.data_set(), table, &fragments, told)?;
                let gather =
                    |frame: Range<usize>| Frame::Encapsulated(fragments[frame].iter().map(shift).collect());
                frames.into_iter().map(gather).collect()
            }
        };
        oddities.frames_missing = (slices.len() - frames.len()) as u32;
        slices.truncate(frames.len());
        slices.iter_mut().for_each(|slice| slice.oddities = oddities);
        Ok(Object { slices, frames, swapped, inflated: layout.inflated })
    }

    /// The stored values of a slice, counted as in [`Object::slices`]: a view into `bytes` for uncompressed
    /// little-endian files, else a copy. `bytes` are those that the object was read from.
    ///
    /// # Errors
    /// Unsupported encodings; frames that cannot be decoded.
    ///
    /// # Panics
    /// When there are not so many slices.
    pub fn stored_values<'a>(
        &'a self,
        bytes: &'a [u8],
        frame: usize,
        limits: &Limits,
    ) -> Result<StoredValues<'a>, DicomError> {
        let header = &self.slices[frame];
        let holder = self.inflated.as_deref().unwrap_or(bytes);
        match &self.frames[frame] {
            Frame::Native(range) => {
                let before = if self.swapped { frame * pixels::frame_bytes(header) % 2 } else { 0 };
                pixels::native(header, &holder[range.clone()], self.swapped, before)
            }
            Frame::Encapsulated(fragments) => {
                let codestream = match &fragments[..] {
                    [whole] => Cow::Borrowed(&holder[whole.clone()]),
                    parts => {
                        Cow::Owned(parts.iter().flat_map(|part| &holder[part.clone()]).copied().collect())
                    }
                };
                pixels::decoded(header, &codestream, limits)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;

    use super::*;
    use crate::dicom::crafted::{self, Crafted};

    fn read(file: &[u8]) -> Result<Object, DicomError> {
        Object::read(file, &Limits::default())
    }

    #[test]
    fn each_frame_of_an_enhanced_object_is_a_slice_with_its_own_place_and_rescale() {
        for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN] {
            for delimited in [false, true] {
                let file = Crafted::slice(2, 2).syntax(syntax).enhanced(&[10.0, 0.0, 5.0], delimited).file();
                let object = read(&file).unwrap();
                let place = |slice: &SliceHeader| slice.image_position.unwrap()[2];
                assert_eq!(object.slices.iter().map(place).collect::<Vec<_>>(), [10.0, 0.0, 5.0]);
                let limits = Limits::default();
                for (frame, slice) in object.slices.iter().enumerate() {
                    assert_eq!((slice.frame, slice.frames), (frame as u32, 3));
                    assert_eq!(slice.rescale_intercept, -100.0 * frame as f64);
                    assert_eq!(slice.image_orientation, Some([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]));
                    assert_eq!((slice.pixel_spacing, slice.slice_thickness_mm), (Some([0.5; 2]), Some(5.0)));
                    let StoredValues::Bits16(cells) = object.stored_values(&file, frame, &limits).unwrap()
                    else {
                        panic!("16 bits");
                    };
                    assert_eq!(u16::from_le_bytes(cells[3]), 100 * frame as u16 + 3);
                }
            }
        }
    }

    #[test]
    fn functional_groups_cut_off_or_of_another_number_than_frames_are_refused() {
        for delimited in [false, true] {
            let slice = Crafted::slice(2, 2).enhanced(&[0.0, 5.0], delimited);
            let file = slice.file();
            // Without the second frame's pixels one frame is whole; without any, none is.
            for length in 0..file.len() - 8 {
                assert!(read(&file[..length]).is_err(), "{length}");
            }
            let text = read(&slice.clone().text(0x0028, 0x0008, b"IS", "1").file()).unwrap_err().to_string();
            assert_eq!(text, "(5200,9230) PerFrameFunctionalGroupsSequence: contradicts NumberOfFrames");
            let limits = Limits { frames: 1, ..Limits::default() };
            let text = Object::read(&file, &limits).unwrap_err().to_string();
            assert_eq!(text, "the number of frames is 2, over the limit of 1");
        }
    }

    #[test]
    fn any_flipped_byte_of_functional_groups_ends_in_a_result() {
        for delimited in [false, true] {
            let file = Crafted::slice(2, 2).enhanced(&[0.0, 5.0], delimited).file();
            for place in 132..file.len() {
                for value in [0, 1, 0x7F, 0x80, 0xFF] {
                    let mut damaged = file.clone();
                    damaged[place] = value;
                    if let Ok(object) = read(&damaged) {
                        for frame in 0..object.slices.len() {
                            let _ = object.stored_values(&damaged, frame, &Limits::default());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn an_item_longer_than_its_sequence_is_refused() {
        // Lengths were held against the end of the file only, so an item could reach into what follows.
        let mut file = Crafted::slice(2, 2).enhanced(&[0.0], false).file();
        let item = file.windows(4).rposition(|window| window == b"\xFE\xFF\x00\xE0").unwrap();
        file[item + 4] += 2;
        assert!(matches!(
            read(&file).unwrap_err(),
            DicomError::Format { problem: crate::dicom::FormatProblem::Length { .. }, .. }
        ));
    }

    #[test]
    fn one_position_for_many_frames_is_none() {
        let mut slice = Crafted::slice(2, 2).text(0x0028, 0x0008, b"IS", "2");
        slice.cells.extend_from_within(..);
        let object = read(&slice.file()).unwrap();
        assert!(object.slices.iter().all(|slice| slice.image_position.is_none()));
    }

    #[test]
    fn a_modality_lut_is_unsupported() {
        let lut = b"\x28\x00\x00\x30SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0";
        let whole = Crafted::slice(2, 2).data_set();
        let pixels = b"\xE0\x7F\x10\x00OW\0\0\x08\0\0\0\x01\0\x02\0\x03\0\x04\0";
        let file = crafted::file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[&whole[..], lut, pixels].concat());
        let object = read(&file).unwrap();
        let text = object.stored_values(&file, 0, &Limits::default()).err().unwrap().to_string();
        assert_eq!(text, "a Modality LUT is not supported");
    }
}
