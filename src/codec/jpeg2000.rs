//! JPEG 2000 (ITU-T T.800) frames of one component, guarded before the library sees them.
//! Packets, arithmetic decoding and wavelets are left to `hayro-jpeg2000`.
//!
//! The library is safe Rust, but it allocates what a header asks for, and what is missing it takes for zeros.
//! So the main header and every tile-part are read here first. What bounds the work: rows and columns are those of
//! the DICOM header; each tile has a tile-part of 14 bytes or more that is there; each packet takes a byte or more of
//! the tile-parts, and the packets that the header promises are counted before decoding. A code-block has a
//! coefficient or more, at most 32 layers and at most 94 coding passes. So memory and time are linear in
//! bytes + pixels.

mod boxes;
mod header;
mod high_throughput;
mod segments;
mod tile_parts;

#[cfg(test)]
mod tests;

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use self::header::Header;
use super::{CodecError, Coded, Extent};

/// Decodes a codestream, alone or in a JP2 file, as it lies in the fragments of one frame.
///
/// Values of signed codestreams are two's complement, cut to their precision. `values` is of use after success only.
///
/// # Errors
/// Where the codestream is not of one component of `extent`, is cut off, damaged, or uses what is not supported.
///
/// # Panics
/// Not by itself; the library was not seen to, but its own assertions remain. Callers who must not end catch it.
///
/// # Source
/// ITU-T T.800 Annex A for markers, Annex B for geometry, Annex G.1 for the level shift, Annex I for boxes.
pub fn decode(stream: &[u8], extent: Extent, values: &mut Vec<u16>) -> Result<Coded, CodecError> {
    let codestream = boxes::codestream(stream)?;
    let header = header::read(codestream, extent)?;
    let whole = tile_parts::check(codestream, &header)?;
    let coded = Coded { precision: header.precision, signed: header.signed };
    if header.high_throughput {
        high_throughput::decode(&whole, &header, extent, values)?;
    } else {
        decode_arithmetic(&whole, &header, extent, values)?;
    }
    Ok(coded)
}

fn decode_arithmetic(
    codestream: &[u8],
    header: &Header,
    extent: Extent,
    values: &mut Vec<u16>,
) -> Result<(), CodecError> {
    // Strict: the library refuses packets that end early, instead of a blurred picture.
    let settings = DecodeSettings { resolve_palette_indices: false, strict: true, target_resolution: None };
    let refused = |_| CodecError::Damaged("its packets cannot be decoded");
    let image = Image::new(codestream, &settings).map_err(refused)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(refused)?;
    let samples = match decoded.components() {
        [gray] => gray.samples(),
        _ => return Err(CodecError::Unsupported("color")),
    };
    if samples.len() != extent.pixels() {
        return Err(CodecError::Damaged("it decodes to another number of pixels"));
    }
    store(samples, header, values);
    Ok(())
}

/// Rounds and clamps samples, and gives signed ones their sign back.
///
/// The library adds half of the range to signed samples too, where T.800 G.1.2 does so for unsigned ones only.
/// In two's complement that is taken back by the highest bit alone.
/// Reversible samples are whole numbers below 2^24, which f32 holds exactly.
fn store(samples: &[f32], header: &Header, values: &mut Vec<u16>) {
    let largest = f32::from(u16::MAX >> (16 - header.precision));
    let sign = if header.signed { 1 << (header.precision - 1) } else { 0 };
    values.clear();
    // The cast takes NaN, which a hostile step size can make, as 0.
    values.extend(samples.iter().map(|sample| ((sample + 0.5).clamp(0.0, largest) as u16) ^ sign));
}
