//! High-throughput blocks (ITU-T T.814), left to `jpeg2000-decoder` whole.

use jpeg2000_decoder::{DecodeError, DecodeOptions, TypedSamples, decode_codestream};

use super::header::Header;
use crate::codec::{CodecError, Extent};

/// Decodes a codestream that was checked as any other.
///
/// Irreversible ones are refused: version 0.1.0 of the library refuses most of what OpenJPH writes, and some of the
/// rest it decodes 2 to 8 gray levels away.
pub(super) fn decode(
    codestream: &[u8],
    header: &Header,
    extent: Extent,
    values: &mut Vec<u16>,
) -> Result<(), CodecError> {
    if !header.reversible {
        return Err(CodecError::Unsupported("irreversible high-throughput coding"));
    }
    let image = decode_codestream(codestream, &DecodeOptions::default()).map_err(|error| match error {
        DecodeError::MalformedInput { .. } => CodecError::Damaged("its packets cannot be decoded"),
        _ => CodecError::Unsupported("this kind of high-throughput coding"),
    })?;
    let [gray] = image.components() else {
        return Err(CodecError::Unsupported("color"));
    };
    let mask = u16::MAX >> (16 - header.precision);
    values.clear();
    match gray.samples() {
        TypedSamples::Signed(samples) => values.extend(samples.iter().map(|&sample| sample as u16 & mask)),
        TypedSamples::Unsigned(samples) => values.extend(samples.iter().map(|&sample| sample as u16 & mask)),
    }
    if values.len() != extent.pixels() {
        return Err(CodecError::Damaged("it decodes to another number of pixels"));
    }
    Ok(())
}
