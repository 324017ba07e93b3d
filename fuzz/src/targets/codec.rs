//! Codestreams of one frame.

use hemapatch::codec::{Codec, CodecError, Extent, decode};

use super::object::one_line;

pub fn rle(input: &[u8]) {
    let Some((cell, rest)) = input.split_first() else { return };
    check(Codec::Rle, usize::from(cell % 2) + 1, rest);
}

pub fn jpeg(input: &[u8]) {
    check(Codec::Jpeg, 2, input);
}

pub fn jpegls(input: &[u8]) {
    check(Codec::JpegLs, 2, input);
}

pub fn jpeg2000(input: &[u8]) {
    check(Codec::Jpeg2000, 2, input);
}

/// Decodes a codestream whose extent, of up to 64 x 64, the first two bytes tell. It is refused, or has as many values
/// as pixels, none above what its precision allows, whatever the buffer held before.
fn check(codec: Codec, cell_bytes: usize, input: &[u8]) {
    let Some(([rows, columns], codestream)) = input.split_first_chunk::<2>() else { return };
    let side = |byte: u8| u32::from(byte) % 64 + 1;
    let extent = Extent { rows: side(*rows), columns: side(*columns) };
    let mut values = Vec::new();
    let first = decode(codec, codestream, extent, cell_bytes, &mut values);
    assert_ne!(first, Err(CodecError::Panicked));
    let mut dirty = vec![0xAAAA; 5000];
    let second = decode(codec, codestream, extent, cell_bytes, &mut dirty);
    assert_eq!(first, second, "the answer depends on the buffer");
    match first {
        Err(error) => one_line(&error),
        Ok(coded) => {
            assert!(values == dirty, "the values depend on the buffer");
            assert_eq!(values.len(), extent.pixels());
            assert!((1..=16).contains(&coded.precision));
            assert!(
                values.iter().all(|&value| u32::from(value) < 1 << coded.precision),
                "more bits than told"
            );
        }
    }
}
