//! Deflated data sets, inflated up to a limit.
//! What they hold is left to `guard`.

use std::io::Read;

use flate2::read::DeflateDecoder;

use super::DicomError;
use crate::limits::Limits;

/// Inflates the data set of a deflated file, up to the caller's limit. After an error, `inflated` holds what came
/// before it.
pub(super) fn inflate_into(
    inflated: &mut Vec<u8>,
    deflated: &[u8],
    limits: &Limits,
) -> Result<(), DicomError> {
    let got = DeflateDecoder::new(deflated)
        .take(limits.inflated_bytes.saturating_add(1))
        .read_to_end(inflated)
        .map_err(|_| DicomError::Deflate)? as u64;
    if got > limits.inflated_bytes {
        return Err(DicomError::Limit {
            what: "the size of the inflated data set in bytes",
            got,
            limit: limits.inflated_bytes,
        });
    }
    Ok(())
}
