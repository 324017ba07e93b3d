//! Compressed frames to values: the decoders of DICOM's transfer syntaxes, for one component of up to 16 bits.
//! Where a frame's bytes lie in a file, and what its values mean, is left to `dicom`.

mod jpeg;
mod jpeg2000;
mod jpegls;
mod rle;

use std::panic::{AssertUnwindSafe, catch_unwind};

use thiserror::Error;

/// How frames are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all: the bytes are the cells.
    Uncompressed,
    /// DICOM's run lengths, PS3.5 annex G.
    Rle,
    /// ITU-T T.81: sequential, progressive and lossless, with Huffman codes.
    Jpeg,
    /// ITU-T T.87: lossless and near-lossless.
    JpegLs,
    /// ITU-T T.800, and T.814 (high throughput).
    Jpeg2000,
}

/// Rows and columns that the header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub columns: u32,
}

impl Extent {
    /// How many there are.
    pub fn pixels(self) -> usize {
        self.rows as usize * self.columns as usize
    }
}

/// What a codestream says of the values that were decoded from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coded {
    /// Bits of a value: 1 to 16. Higher bits of the decoded values are 0.
    pub precision: u8,
    /// True where the codestream itself says two's complement. Only JPEG 2000 can.
    pub signed: bool,
}

/// Why a codestream is not decoded. Shown without its place, which the caller adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The bytes end before the last pixel.
    #[error("the codestream ends before its last pixel")]
    Ends,
    /// It breaks its standard.
    #[error("the codestream is damaged: {0}")]
    Damaged(&'static str),
    /// Valid, and not read: color, arithmetic coding.
    #[error("codestreams with {0} are not supported")]
    Unsupported(&'static str),
    /// It holds another image than the header tells.
    #[error("the codestream has {rows} rows and {columns} columns")]
    Extent {
        /// Rows of the codestream.
        rows: u32,
        /// Columns of the codestream.
        columns: u32,
    },
    /// Decoding would take more work than an honest frame of its size.
    #[error("the codestream would take too much work: {0}")]
    Effort(&'static str),
    /// Our mistake, or that of a library: nothing is known of the frame.
    #[error("the decoder failed")]
    Panicked,
}

/// Decodes one frame of one component. `cell_bytes` is the size of a cell, 1 or 2, which only uncompressed and
/// run-length coded frames depend on.
///
/// # Shape
/// `values` becomes rows x columns, row-major; its memory is used again. After an error it holds nothing of use.
///
/// # Errors
/// See [`CodecError`]. The extent is held against the codestream's own before anything of its size is allocated.
pub fn decode(
    codec: Codec,
    codestream: &[u8],
    extent: Extent,
    cell_bytes: usize,
    values: &mut Vec<u16>,
) -> Result<Coded, CodecError> {
    let decoded = catch_unwind(AssertUnwindSafe(|| match codec {
        Codec::Uncompressed => uncompressed(codestream, extent, cell_bytes, values),
        Codec::Rle => rle::decode(codestream, extent, cell_bytes, values),
        Codec::Jpeg => jpeg::decode(codestream, extent, values),
        Codec::Jpeg2000 => jpeg2000::decode(codestream, extent, values),
        Codec::JpegLs => jpegls::decode(codestream, extent, values),
    }));
    decoded.unwrap_or(Err(CodecError::Panicked))
}

fn uncompressed(
    cells: &[u8],
    extent: Extent,
    cell_bytes: usize,
    values: &mut Vec<u16>,
) -> Result<Coded, CodecError> {
    let wanted = cells.get(..extent.pixels() * cell_bytes).ok_or(CodecError::Ends)?;
    values.clear();
    match cell_bytes {
        1 => values.extend(wanted.iter().map(|&cell| u16::from(cell))),
        _ => values.extend(wanted.as_chunks().0.iter().map(|&cell| u16::from_le_bytes(cell))),
    }
    Ok(Coded { precision: 8 * cell_bytes as u8, signed: false })
}
