//! The codestream within a JP2 file, which some writers put into a DICOM file whole.

use super::segments::Reader;
use crate::codec::CodecError;

/// JPEG 2000 signature box (T.800 I.5.1).
const SIGNATURE: [u8; 12] = *b"\0\0\0\x0cjP  \r\n\x87\n";

/// A box without its head.
struct Found<'a> {
    kind: &'a [u8],
    content: &'a [u8],
}

/// The contiguous codestream: the bytes themselves, or those of the first `jp2c` box (T.800 I.5.4).
///
/// Boxes are stepped over, 8 bytes or more each. A box that claims more bytes than there are holds what there is:
/// the codestream's own lengths tell whether that is enough.
pub(super) fn codestream(bytes: &[u8]) -> Result<&[u8], CodecError> {
    if !bytes.starts_with(&SIGNATURE) {
        return Ok(bytes);
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let (found, after) = next(rest)?;
        match found.kind {
            b"jp2c" => return Ok(found.content),
            b"jp2h" => refuse_palette(found.content)?,
            _ => {}
        }
        rest = after;
    }
    Err(CodecError::Ends)
}

/// Pixels of an image with a palette are places in it, which is no gray (T.800 I.5.3.4).
fn refuse_palette(mut rest: &[u8]) -> Result<(), CodecError> {
    while !rest.is_empty() {
        let (found, after) = next(rest)?;
        if found.kind == b"pclr" {
            return Err(CodecError::Unsupported("a palette"));
        }
        rest = after;
    }
    Ok(())
}

/// A box, and what comes after it (T.800 I.4).
fn next(bytes: &[u8]) -> Result<(Found<'_>, &[u8]), CodecError> {
    let mut reader = Reader::new(bytes, 0);
    let length = reader.u32()?;
    let kind = reader.take(4)?;
    let length = match length {
        0 => u64::MAX,
        1 => u64::from(reader.u32()?) << 32 | u64::from(reader.u32()?),
        length => u64::from(length),
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
    if length < reader.offset() {
        return Err(CodecError::Damaged("a box is shorter than its head"));
    }
    Ok((Found { kind, content: &bytes[reader.offset()..length] }, &bytes[length..]))
}
