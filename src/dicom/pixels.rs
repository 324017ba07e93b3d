//! The stored values of a slice, borrowed from the file's bytes where the encoding allows.
//! What the values mean in Hounsfield units is left to `hu`.

use std::borrow::Cow;

use super::inflate::inflate;
use super::syntax::{self, EXPLICIT_BIG};
use super::{DicomError, PixelLocation, SliceHeader, Unsupported, guard};
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

/// Whether [`stored_values`] can read slices with such a header. Needs no pixel data.
///
/// # Errors
/// [`DicomError::Unsupported`]: compressed, several frames, color, or cells of other than 8 or 16 bits.
pub fn check_decodable(header: &SliceHeader) -> Result<(), DicomError> {
    if syntax::is_encapsulated(&header.transfer_syntax) {
        return Err(syntax::unsupported(&header.transfer_syntax));
    }
    let unsupported = match header {
        SliceHeader { frames: 2.., .. } => Unsupported::MultiFrame { frames: header.frames },
        SliceHeader { samples_per_pixel: 2.., .. } => {
            Unsupported::Samples { samples: header.samples_per_pixel }
        }
        // Big-endian files swap the bytes of 8-bit cells or not, by the element's representation.
        SliceHeader { bits_allocated: 8, .. } if header.transfer_syntax != EXPLICIT_BIG => return Ok(()),
        SliceHeader { bits_allocated: 16, .. } => return Ok(()),
        SliceHeader { bits_allocated, .. } => Unsupported::BitsAllocated { bits: *bits_allocated },
    };
    Err(DicomError::Unsupported(unsupported))
}

/// Holds the length of uncompressed pixel data against the header. One byte of padding to an even length is
/// allowed (DICOM PS3.5 8.1.1).
pub(super) fn check_length(header: &SliceHeader, present: usize) -> Result<(), DicomError> {
    // Saturating: the caller's limits may allow what 64 bits cannot count.
    let expected = u64::from(header.rows)
        .saturating_mul(u64::from(header.columns))
        .saturating_mul(u64::from(header.samples_per_pixel))
        .saturating_mul(u64::from(header.frames))
        .saturating_mul(u64::from(header.bits_allocated))
        .div_ceil(8);
    let present = present as u64;
    if present == expected || present == expected.saturating_add(expected % 2) {
        return Ok(());
    }
    Err(DicomError::PixelLength { expected, present })
}

/// The stored values of a slice: a view into `bytes` for uncompressed little-endian files, a copy for deflated
/// and big-endian ones.
///
/// `header` and `location` come from [`super::read_header`] on the same bytes.
///
/// # Errors
/// Unsupported encodings; pixel data that do not fit the header or lie outside of `bytes`.
pub fn stored_values<'a>(
    bytes: &'a [u8],
    header: &SliceHeader,
    location: &PixelLocation,
    limits: &Limits,
) -> Result<StoredValues<'a>, DicomError> {
    check_decodable(header)?;
    let (range, holder): (_, Cow<'a, [u8]>) = match location {
        PixelLocation::Native(range) => (range, Cow::Borrowed(bytes)),
        PixelLocation::Deflated(range) => {
            let (_, data_set) = guard::scan_file_meta(bytes, limits)?;
            (range, Cow::Owned(inflate(&bytes[data_set..], limits)?))
        }
        PixelLocation::Encapsulated { .. } => {
            return Err(syntax::unsupported(&header.transfer_syntax));
        }
    };
    check_length(header, range.len())?;
    let cells = header.rows as usize * header.columns as usize;
    let wanted = cells * usize::from(header.bits_allocated / 8);
    let outside = || DicomError::PixelLength {
        expected: wanted as u64,
        present: holder.len().saturating_sub(range.start) as u64,
    };
    if holder.len() < range.end || range.len() < wanted {
        return Err(outside());
    }
    let range = range.start..range.start + wanted;
    let big_endian = header.transfer_syntax == EXPLICIT_BIG;
    Ok(match (holder, header.bits_allocated) {
        (Cow::Borrowed(file), 8) => StoredValues::Bits8(Cow::Borrowed(&file[range])),
        (Cow::Borrowed(file), _) if !big_endian => {
            StoredValues::Bits16(Cow::Borrowed(file[range].as_chunks().0))
        }
        (Cow::Borrowed(file), _) => StoredValues::Bits16(Cow::Owned(
            file[range].as_chunks().0.iter().map(|&[high, low]| [low, high]).collect(),
        )),
        (Cow::Owned(inflated), 8) => StoredValues::Bits8(Cow::Owned(inflated[range].to_vec())),
        (Cow::Owned(inflated), _) => StoredValues::Bits16(Cow::Owned(inflated[range].as_chunks().0.to_vec())),
    })
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;

    use super::*;
    use crate::dicom::crafted::{self, Crafted};
    use crate::dicom::read_header;

    fn cells(file: &[u8]) -> Result<(bool, Vec<u16>), DicomError> {
        let limits = Limits::default();
        let (header, location) = read_header(file, &limits)?;
        Ok(match stored_values(file, &header, &location, &limits)? {
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
            (uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, false),
        ] {
            let file = slice.clone().syntax(syntax).file();
            assert_eq!(cells(&file).unwrap(), (borrowed, slice.cells.clone()), "{syntax}");
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
    fn compressed_pixels_are_unsupported_by_name() {
        let file = crafted::encapsulated(uids::JPEG2000_LOSSLESS, &[&[], &[1, 2, 3, 4]]);
        let (header, location) = read_header(&file, &Limits::default()).unwrap();
        assert!(matches!(
            &location,
            PixelLocation::Encapsulated { fragments, .. } if file[fragments[0].clone()] == [1, 2, 3, 4]
        ));
        let error = stored_values(&file, &header, &location, &Limits::default()).err().unwrap();
        let text = error.to_string();
        assert!(text.contains("1.2.840.10008.1.2.4.90") && text.contains("JPEG 2000"), "{text}");
    }

    #[test]
    fn several_frames_are_unsupported() {
        let mut slice = Crafted::slice(2, 2).with(0x0028, 0x0008, b"IS", b"2 ");
        slice.cells = vec![0; 8];
        let text = cells(&slice.file()).unwrap_err().to_string();
        assert_eq!(text, "multi-frame files (2 frames) are not supported");
    }
}
