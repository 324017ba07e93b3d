//! JPEG-LS: lossless and near-lossless gray frames of 2 to 16 bits (ITU-T T.87).
//! Where frames lie in a file, and what their values mean, is left to the caller.
//!
//! The work is bounded by the frame: each pixel outside of a run costs one code of at most 64 bits, and each bit
//! of a run fills at least one pixel. A header costs its bytes.

mod bits;
mod context;
mod header;
mod parameters;
mod scan;
#[cfg(test)]
mod tests;

use super::{CodecError, Coded, Extent};
use header::Header;
use scan::Scan;

/// Decodes a frame of one component into `values`, whose memory is used again.
///
/// # Shape
/// `[rows, columns]`, row by row.
///
/// # Errors
/// See [`CodecError`]. After an error `values` holds nothing of use.
///
/// # Source
/// ITU-T T.87, Annex A (scan) and Annex C (markers).
pub fn decode(stream: &[u8], extent: Extent, values: &mut Vec<u16>) -> Result<Coded, CodecError> {
    values.clear();
    let header = Header::read(stream)?;
    if header.rows != extent.rows || header.columns != extent.columns {
        return Err(CodecError::Extent { rows: header.rows, columns: header.columns });
    }
    let coded = &stream[header.scan..];
    // A line takes one bit at least. So a few bytes cannot claim many lines.
    if coded.len() < extent.rows as usize / 8 {
        return Err(CodecError::Ends);
    }
    // A frame that compresses better than this lets the vector grow while its lines are decoded.
    values.reserve(extent.pixels().min(coded.len().saturating_mul(64)));
    let mut scan = Scan::new(header.parameters, extent.columns as usize);
    scan.decode(coded, extent.rows, header.restart_lines, values)?;
    Ok(Coded { precision: header.precision, signed: false })
}
