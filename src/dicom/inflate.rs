//! Deflated data sets, inflated up to a limit.
//! What they hold is left to `guard`.

use std::io::{self, Read};

use flate2::read::DeflateDecoder;

use super::DicomError;
use crate::limits::Limits;

/// Bytes that are inflated before anybody asks how many there will be. A slice of 2048 x 2048 has 8 MiB.
const UNASKED_BYTES: u64 = 16 << 20;

/// Inflates the data set of a deflated file, up to the caller's limit. After an error, `inflated` holds what came
/// before it.
///
/// What is large is counted before it is held: a megabyte can inflate to a gigabyte, and counting touches no memory.
pub(super) fn inflate_into(
    inflated: &mut Vec<u8>,
    deflated: &[u8],
    limits: &Limits,
) -> Result<(), DicomError> {
    // One byte over the limit shows that there are more.
    let most = limits.inflated_bytes.saturating_add(1);
    let mut decoder = DeflateDecoder::new(deflated).take(most.min(UNASKED_BYTES));
    let mut got = decoder.read_to_end(inflated).map_err(|_| DicomError::Deflate)? as u64;
    if got == UNASKED_BYTES {
        let counted = io::copy(&mut DeflateDecoder::new(deflated).take(most), &mut io::sink());
        got = counted.map_err(|_| DicomError::Deflate)?;
        if got <= limits.inflated_bytes {
            inflated.reserve_exact((got - UNASKED_BYTES) as usize);
            decoder.set_limit(got - UNASKED_BYTES);
            decoder.read_to_end(inflated).map_err(|_| DicomError::Deflate)?;
        }
    }
    if got > limits.inflated_bytes {
        return Err(DicomError::Limit {
            what: "the size of the inflated data set in bytes",
            got,
            limit: limits.inflated_bytes,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn whatever_fits_is_inflated_whole() {
        let most = UNASKED_BYTES as usize;
        let limits = Limits { inflated_bytes: UNASKED_BYTES + 7, ..Limits::default() };
        for length in [0, 1, 5000, most - 1, most, most + 1, most + 7] {
            let bytes: Vec<u8> = (0..length).map(|place| (place / 1000) as u8).collect();
            let mut inflated = Vec::new();
            inflate_into(&mut inflated, &deflate(&bytes), &limits).unwrap();
            assert!(inflated == bytes, "{length} bytes");
        }
    }

    #[test]
    fn what_does_not_fit_is_never_held() {
        // A megabyte took 64 MiB, and those of a second inflating, before it was refused.
        let deflated = deflate(&vec![0; 65 << 20]);
        let mut inflated = Vec::new();
        let error = inflate_into(&mut inflated, &deflated, &Limits::default()).unwrap_err();
        assert!(matches!(error, DicomError::Limit { got: 67_108_865, limit: 67_108_864, .. }));
        assert_eq!(inflated.len() as u64, UNASKED_BYTES, "the beginning, which may say whose it is");
        assert!(inflated.capacity() as u64 <= 2 * UNASKED_BYTES);
    }

    #[test]
    fn what_is_damaged_behind_its_beginning_keeps_the_beginning() {
        let mut deflated = deflate(&vec![0; 20 << 20]);
        deflated.truncate(deflated.len() - 100);
        let mut inflated = Vec::new();
        let error = inflate_into(&mut inflated, &deflated, &Limits::default()).unwrap_err();
        assert!(matches!(error, DicomError::Deflate));
        assert_eq!(inflated.len() as u64, UNASKED_BYTES);
    }
}
