//! The stored values of a slice, borrowed from the file's bytes where the encoding allows.
//! What the values mean in Hounsfield units is left to `hu`.

use std::borrow::Cow;

use dicom_dictionary_std::tags;

use super::syntax::{self, EXPLICIT_BIG};
use super::{DicomError, Oddities, SliceHeader, Unsupported};
use crate::codec::{self, Codec, Extent};
use crate::limits::Limits;

/// The cells of a slice, row by row, as stored: bits that do not belong to the value are still in them.
///
/// # Shape
/// rows x columns, row-major.
pub enum StoredValues<'a> {
    /// One byte a cell.
    Bits8(Cow<'a, [u8]>),
    /// Two bytes a cell, low byte first. Pairs, not `u16`: the bytes of a file lie at any address.
    Bits16(Cow<'a, [[u8; 2]]>),
}

/// Whether the pixels of slices with such a header can be read. Needs no pixel data.
///
/// # Errors
/// [`DicomError::Unsupported`]: a compression that nothing here decodes, color, cells of other than 8 or 16 bits, a
/// Modality LUT.
pub fn check_decodable(header: &SliceHeader) -> Result<(), DicomError> {
    if syntax::is_encapsulated(&header.transfer_syntax) && syntax::codec(&header.transfer_syntax).is_none() {
        return Err(syntax::unsupported(&header.transfer_syntax));
    }
    let unsupported = match header {
        SliceHeader { modality_lut: true, .. } => Unsupported::ModalityLut,
        SliceHeader { samples_per_pixel: 2.., .. } => {
            Unsupported::Samples { samples: header.samples_per_pixel }
        }
        SliceHeader { bits_allocated: 8 | 16, .. } => return Ok(()),
        SliceHeader { bits_allocated, .. } => Unsupported::BitsAllocated { bits: *bits_allocated },
    };
    Err(DicomError::Unsupported(unsupported))
}

/// Bits of one uncompressed frame. Saturating: the caller's limits may allow what 64 bits cannot count.
fn frame_bits(header: &SliceHeader) -> u64 {
    u64::from(header.rows)
        .saturating_mul(u64::from(header.columns))
        .saturating_mul(u64::from(header.samples_per_pixel))
        .saturating_mul(u64::from(header.bits_allocated))
}

/// Bytes of one uncompressed frame.
pub(super) fn frame_bytes(header: &SliceHeader) -> usize {
    frame_bits(header).div_ceil(8) as usize
}

/// How many frames lie whole in so many bytes of uncompressed pixel data. One byte of padding to an even length is
/// allowed (DICOM PS3.5 8.1.1); more are noted as surplus.
pub(super) fn whole_frames(
    header: &SliceHeader,
    present: usize,
    oddities: &mut Oddities,
) -> Result<usize, DicomError> {
    let expected = frame_bits(header).saturating_mul(u64::from(header.frames)).div_ceil(8);
    let present = present as u64;
    if present >= expected {
        oddities.surplus_bytes |= present > expected + expected % 2;
        return Ok(header.frames as usize);
    }
    // Frames of whole bytes each.
    let whole = if header.bits_allocated.is_multiple_of(8) { present / (frame_bits(header) / 8) } else { 0 };
    if whole == 0 {
        return Err(DicomError::PixelLength { expected, present });
    }
    Ok(whole as usize)
}

/// Whether the bytes of all pairs are swapped: in big-endian files, where pixel data are words. Cells of 8 bits are
/// swapped with them.
pub(super) fn is_swapped(header: &SliceHeader, words: bool) -> bool {
    header.transfer_syntax == EXPLICIT_BIG && (words || header.bits_allocated == 16)
}

/// The stored values in the bytes of an uncompressed frame. Swapped bytes come in whole pairs: `before` is how many of
/// them, 0 or 1, belong to the frame before.
pub(super) fn native<'a>(
    header: &SliceHeader,
    frame: &'a [u8],
    swapped: bool,
    before: usize,
) -> Result<StoredValues<'a>, DicomError> {
    check_decodable(header)?;
    let swap = |pairs: &[[u8; 2]]| pairs.iter().map(|&[high, low]| [low, high]).collect::<Vec<_>>();
    let cells = header.rows as usize * header.columns as usize;
    Ok(match (header.bits_allocated, swapped) {
        (8, false) => StoredValues::Bits8(Cow::Borrowed(&frame[..cells])),
        (8, true) => {
            // An odd last cell is the second of a pair, behind the byte of padding or of the next frame; some writers
            // leave the padding out.
            let (pairs, alone) = frame.as_chunks();
            let mut swapped = swap(pairs).into_flattened();
            swapped.extend(alone);
            swapped.drain(..before);
            swapped.truncate(cells);
            StoredValues::Bits8(Cow::Owned(swapped))
        }
        (_, false) => StoredValues::Bits16(Cow::Borrowed(&frame.as_chunks().0[..cells])),
        (_, true) => StoredValues::Bits16(Cow::Owned(swap(&frame.as_chunks().0[..cells]))),
    })
}

/// The stored values in the codestream of a frame, as cells of the header's layout.
///
/// Sign and place of a value in its cell are the header's: codestreams of JPEG and JPEG-LS do not know signs, and
/// those of JPEG 2000 tell others than the header often enough.
///
/// # Source
/// DICOM PS3.5 8.2.1 to 8.2.4: bits allocated, stored and pixel representation describe the decoded cells.
pub(super) fn decoded<'a>(
    header: &SliceHeader,
    codestream: &[u8],
    limits: &Limits,
) -> Result<StoredValues<'a>, DicomError> {
    check_decodable(header)?;
    let codec =
        syntax::codec(&header.transfer_syntax).ok_or_else(|| syntax::unsupported(&header.transfer_syntax))?;
    let pixels = u64::from(header.rows) * u64::from(header.columns);
    if pixels > u64::from(limits.coded_pixels) {
        return Err(DicomError::Limit {
            what: "the number of pixels of a compressed frame",
            got: pixels,
            limit: u64::from(limits.coded_pixels),
        });
    }
    let extent = Extent { rows: header.rows, columns: header.columns };
    let mut values = Vec::new();
    let coded = codec::decode(codec, codestream, extent, usize::from(header.bits_allocated / 8), &mut values)
        .map_err(|error| DicomError::Codec { frame: header.frame, error })?;
    if u16::from(coded.precision) > header.bits_allocated {
        return Err(DicomError::contradiction(tags::BITS_ALLOCATED, "the codestream's precision"));
    }
    let holds_cells = matches!(codec, Codec::Uncompressed | Codec::Rle);
    let above = 16 - u32::from(coded.precision);
    // A value that cannot reach the header's high bit was taken out of its cell before it was compressed.
    let left = if !holds_cells && u16::from(coded.precision) <= header.high_bit {
        header.high_bit + 1 - header.bits_stored
    } else {
        0
    };
    // JPEG's values of fewer bits than are stored are taken as what they are: there are signed headers around frames
    // without any negative value.
    let extend = header.signed && codec != Codec::Jpeg;
    let place = |value: u16| {
        let extended = if extend { ((value << above) as i16 >> above) as u16 } else { value };
        extended << left
    };
    Ok(match header.bits_allocated {
        8 => StoredValues::Bits8(values.into_iter().map(|value| place(value) as u8).collect()),
        _ => StoredValues::Bits16(values.into_iter().map(|value| place(value).to_le_bytes()).collect()),
    })
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;

    use super::*;
    use crate::dicom::Object;
    use crate::dicom::crafted::{self, Crafted};

    fn cells(file: &[u8]) -> Result<(bool, Vec<u16>), DicomError> {
        let limits = Limits::default();
        let object = Object::read(file, &limits)?;
        Ok(match object.stored_values(file, 0, &limits)? {
            StoredValues::Bits8(cells) => {
                (matches!(cells, Cow::Borrowed(_)), cells.iter().map(|&cell| u16::from(cell)).collect())
            }
            StoredValues::Bits16(cells) => (
                matches!(cells, Cow::Borrowed(_)),
                cells.iter().map(|&cell| u16::from_le_bytes(cell)).collect(),
            ),
        })
    }

    #[test]
    fn every_uncompressed_syntax_gives_the_same_cells_and_little_endian_borrows() {
        let slice = Crafted::slice(3, 5);
        for (syntax, borrowed) in [
            (uids::EXPLICIT_VR_LITTLE_ENDIAN, true),
            (uids::IMPLICIT_VR_LITTLE_ENDIAN, true),
            (EXPLICIT_BIG, false),
            (uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, true),
        ] {
            let file = slice.clone().syntax(syntax).file();
            assert_eq!(cells(&file).unwrap(), (borrowed, slice.cells.clone()), "{syntax}");
            let file = slice.clone().bits8().syntax(syntax).file();
            assert_eq!(cells(&file).unwrap().1, slice.cells, "{syntax}");
        }
    }

    #[test]
    fn refuses_pixel_data_of_the_wrong_length_and_says_both_lengths() {
        let mut slice = Crafted::slice(3, 5);
        slice.cells.pop();
        let error = cells(&slice.file()).unwrap_err();
        assert_eq!(error.to_string(), "(7FE0,0010) PixelData: 30 bytes expected, 28 present");
        let mut file = Crafted::slice(3, 5).file();
        file.truncate(file.len() - 7);
        let error = cells(&file).unwrap_err();
        assert_eq!(error.to_string(), "(7FE0,0010) PixelData: 30 bytes expected, 23 present");
    }

    #[test]
    fn an_odd_number_of_bytes_may_be_padded() {
        let slice = Crafted::slice(3, 5).bits8();
        let file = slice.file();
        assert_eq!(file.len() % 2, 0);
        assert_eq!(cells(&file).unwrap().1.len(), 15);
    }

    #[test]
    fn swapped_bytes_belong_to_the_frame_that_they_are_swapped_into() {
        // Each frame was swapped by itself: of frames with an odd number of bytes every second one was wrong, and the last one
        // was a cell too short where the padding was left out.
        let mut slice = Crafted::slice(3, 3).with(0x0028, 0x0008, b"IS", b"3 ").bits8().syntax(EXPLICIT_BIG);
        slice.cells = (0..27).collect();
        let file = slice.file();
        let limits = Limits::default();
        let frame = |file: &[u8], frame: usize| {
            let object = Object::read(file, &limits).unwrap();
            match object.stored_values(file, frame, &limits).unwrap() {
                StoredValues::Bits8(cells) => cells.to_vec(),
                StoredValues::Bits16(_) => unreachable!("of 8 bits"),
            }
        };
        for number in 0..3u8 {
            let cells: Vec<u8> = (9 * number..9 * number + 9).collect();
            assert_eq!(frame(&file, usize::from(number)), cells, "frame {number}");
        }
        // The padding lies before the last cell.
        let unpadded = [&file[..file.len() - 2], &[26]].concat();
        assert_eq!(frame(&unpadded, 2)[8], 26);
    }

    #[test]
    fn compressions_that_nothing_decodes_are_unsupported_by_name() {
        let file = crafted::encapsulated("1.2.840.10008.1.2.4.102", &[&[], &[1, 2, 3, 4]]);
        let text = cells(&file).unwrap_err().to_string();
        assert!(text.contains("1.2.840.10008.1.2.4.102") && text.contains("MPEG-4"), "{text}");
    }

    #[test]
    fn frames_that_are_whole_are_kept_and_the_others_counted() {
        let mut slice = Crafted::slice(2, 2).with(0x0028, 0x0008, b"IS", b"3 ");
        slice.cells = (0..10).collect();
        let file = slice.file();
        let limits = Limits::default();
        let object = Object::read(&file, &limits).unwrap();
        assert_eq!((object.slices.len(), object.slices[1].frame), (2, 1));
        assert_eq!(object.slices[0].oddities.frames_missing, 1);
        let StoredValues::Bits16(second) = object.stored_values(&file, 1, &limits).unwrap() else {
            panic!("16 bits");
        };
        assert_eq!(second.iter().map(|&cell| u16::from_le_bytes(cell)).collect::<Vec<_>>(), [4, 5, 6, 7]);
    }

    #[test]
    fn surplus_bytes_are_noted_and_one_byte_of_padding_is_none() {
        let mut slice = Crafted::slice(3, 5).bits8();
        let surplus = |slice: &Crafted| {
            Object::read(&slice.file(), &Limits::default()).unwrap().slices[0].oddities.surplus_bytes
        };
        assert!(!surplus(&slice));
        slice.cells.extend([0, 0]);
        assert!(surplus(&slice));
        assert_eq!(cells(&slice.file()).unwrap().1.len(), 15);
    }
}
