//! RLE Lossless: gray frames of 8 or 16 allocated bits (DICOM PS3.5, Annex G).
//! Where frames lie in a file, and what their values mean, is left to the caller.
//!
//! The work is bounded by the frame and the bytes: each control byte is looked at once.

use super::{CodecError, Coded, Extent};

/// Segments that a header has offsets for (DICOM PS3.5, G.5).
const OFFSETS: usize = 15;
/// The number of segments and the offsets, of four bytes each.
const HEADER: usize = 4 * (1 + OFFSETS);
/// The most pixels that a control byte stands for.
const LONGEST: usize = 128;

/// Decodes a frame of `bytes_per_value` segments, 1 or 2, into `values`, whose memory is used again.
///
/// Runs that go on from one row to the next are accepted, since encoders write them against the standard, and so
/// are bytes behind a segment's last pixel.
///
/// # Shape
/// `[rows, columns]`, row by row.
///
/// # Errors
/// See [`CodecError`]. After an error `values` holds nothing of use.
///
/// # Source
/// DICOM PS3.5, Annex G.
pub fn decode(
    stream: &[u8],
    extent: Extent,
    bytes_per_value: usize,
    values: &mut Vec<u16>,
) -> Result<Coded, CodecError> {
    values.clear();
    let pixels = extent.pixels();
    match bytes_per_value {
        1 => {
            let [segment] = segments(stream)?;
            let low = unpacked(segment, pixels)?;
            values.extend(low[..pixels].iter().map(|&byte| u16::from(byte)));
        }
        2 => {
            let [first, second] = segments(stream)?;
            // Both are checked before memory of the frame's size is taken.
            plausible(second, pixels)?;
            let high = unpacked(first, pixels)?;
            let low = unpacked(second, pixels)?;
            let pairs = high[..pixels].iter().zip(&low[..pixels]);
            values.extend(pairs.map(|(&high, &low)| u16::from_be_bytes([high, low])));
        }
        _ => return Err(CodecError::Unsupported("values of more than two bytes")),
    }
    Ok(Coded { precision: 8 * bytes_per_value as u8, signed: false })
}

/// The segments that the header tells, which are to be `COUNT` (DICOM PS3.5, G.5).
fn segments<const COUNT: usize>(stream: &[u8]) -> Result<[&[u8]; COUNT], CodecError> {
    let (header, _) = stream.split_at_checked(HEADER).ok_or(CodecError::Ends)?;
    let number = |at: usize| {
        let bytes = [header[4 * at], header[4 * at + 1], header[4 * at + 2], header[4 * at + 3]];
        u32::from_le_bytes(bytes) as usize
    };
    match number(0) {
        count if count == COUNT => {}
        0 => return Err(CodecError::Damaged("it has no segments")),
        count if count > OFFSETS => return Err(CodecError::Damaged("it has more than 15 segments")),
        _ => return Err(CodecError::Damaged("its segments are not those of its allocated bits")),
    }
    let mut segments = [&[][..]; COUNT];
    let mut least = HEADER;
    for (index, segment) in segments.iter_mut().enumerate() {
        let start = number(1 + index);
        let end = if index + 1 < COUNT { number(2 + index) } else { stream.len().max(start) };
        if start < least || end < start {
            return Err(CodecError::Damaged("its segments do not ascend"));
        }
        *segment = stream.get(start..end).ok_or(CodecError::Ends)?;
        least = end;
    }
    Ok(segments)
}

/// Refuses a segment that cannot hold `pixels`: at best two bytes stand for [`LONGEST`].
fn plausible(segment: &[u8], pixels: usize) -> Result<(), CodecError> {
    if segment.len().div_ceil(2).saturating_mul(LONGEST) < pixels { Err(CodecError::Ends) } else { Ok(()) }
}

/// The `pixels` bytes of a segment, with up to [`LONGEST`] bytes of no meaning behind them.
///
/// Runs are short, mostly. Copying a fixed number of bytes, some of which the next run writes over, costs less
/// than calling for the exact ones.
///
/// # Source
/// DICOM PS3.5, G.3.2: the decoder.
fn unpacked(segment: &[u8], pixels: usize) -> Result<Vec<u8>, CodecError> {
    const SHORT: usize = 16;
    plausible(segment, pixels)?;
    let mut unpacked = vec![0; pixels + LONGEST];
    let mut at = 0;
    let mut done = 0;
    while done < pixels {
        // Behind any pixel there is room for the longest run.
        let (Some(room), Some(&[control, first])) =
            (unpacked[done..].first_chunk_mut::<LONGEST>(), segment.get(at..).and_then(<[u8]>::first_chunk))
        else {
            return Err(CodecError::Ends);
        };
        if control < 128 {
            let count = usize::from(control) + 1;
            let literal = &segment[at + 1..];
            match literal.first_chunk::<SHORT>() {
                Some(short) if count <= SHORT => room[..SHORT].copy_from_slice(short),
                _ => {
                    // A literal may be cut off behind the last pixel, not before.
                    let needed = count.min(pixels - done);
                    room[..needed].copy_from_slice(literal.get(..needed).ok_or(CodecError::Ends)?);
                }
            }
            at += 1 + count;
            done += count;
        } else if control > 128 {
            let count = 257 - usize::from(control);
            if count <= SHORT {
                room[..SHORT].fill(first);
            } else {
                room.fill(first);
            }
            at += 2;
            done += count;
        } else {
            // 128 stands for nothing.
            at += 1;
        }
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Packs bytes: runs of at least `least` where they are, and literals. Without rows.
    fn pack(bytes: &[u8], least: usize) -> Vec<u8> {
        let mut packed = Vec::new();
        let mut literal: Vec<u8> = Vec::new();
        let flush = |literal: &mut Vec<u8>, packed: &mut Vec<u8>| {
            for part in literal.chunks(128) {
                packed.push(part.len() as u8 - 1);
                packed.extend(part);
            }
            literal.clear();
        };
        let mut at = 0;
        while at < bytes.len() {
            let run = bytes[at..].iter().take_while(|&&byte| byte == bytes[at]).count().min(128);
            if run >= least.max(2) {
                flush(&mut literal, &mut packed);
                packed.push((257 - run) as u8);
                packed.push(bytes[at]);
            } else {
                literal.extend(&bytes[at..at + run]);
            }
            at += run;
        }
        flush(&mut literal, &mut packed);
        packed
    }

    fn stream(segments: &[Vec<u8>]) -> Vec<u8> {
        let mut header = vec![segments.len() as u32];
        let mut at = 64;
        for segment in segments {
            header.push(at);
            at += segment.len() as u32;
        }
        header.resize(16, 0);
        header.iter().flat_map(|number| number.to_le_bytes()).chain(segments.concat()).collect()
    }

    fn encode(values: &[u16], bytes_per_value: usize, least: usize) -> Vec<u8> {
        let planes = (0..bytes_per_value).rev().map(|byte| {
            let plane: Vec<u8> = values.iter().map(|value| (value >> (8 * byte)) as u8).collect();
            pack(&plane, least)
        });
        stream(&planes.collect::<Vec<_>>())
    }

    #[derive(Clone, Debug)]
    struct Problem {
        extent: Extent,
        bytes_per_value: usize,
        values: Vec<u16>,
        least_run: usize,
    }

    fn problem() -> impl Strategy<Value = Problem> {
        let runs = prop::collection::vec((any::<u16>(), 1..300usize), 1..200);
        (1..=33u32, 1..=67u32, 1..=2usize, 2..=5usize, any::<bool>(), runs).prop_map(
            |(rows, columns, bytes_per_value, least_run, noisy, runs)| {
                let extent = Extent { rows, columns };
                let values = runs
                    .iter()
                    .cycle()
                    .flat_map(|&(value, length)| {
                        let length = if noisy { length % 5 + 1 } else { length };
                        std::iter::repeat_n(if bytes_per_value == 1 { value & 0xFF } else { value }, length)
                    })
                    .take(extent.pixels())
                    .collect();
                Problem { extent, bytes_per_value, values, least_run }
            },
        )
    }

    proptest! {
        #[test]
        fn decodes_what_was_packed(problem in problem()) {
            let Problem { extent, bytes_per_value, values, least_run } = problem;
            let coded = encode(&values, bytes_per_value, least_run);
            let mut decoded = vec![7; 5];
            let result = decode(&coded, extent, bytes_per_value, &mut decoded);
            prop_assert_eq!(result, Ok(Coded { precision: 8 * bytes_per_value as u8, signed: false }));
            prop_assert_eq!(decoded, values);
        }

        #[test]
        fn every_flipped_byte_ends_in_a_result(problem in problem(), bits in any::<u8>()) {
            let mut coded = encode(&problem.values, problem.bytes_per_value, problem.least_run);
            let mut decoded = Vec::new();
            for at in 0..coded.len() {
                coded[at] ^= bits;
                if decode(&coded, problem.extent, problem.bytes_per_value, &mut decoded).is_ok() {
                    prop_assert_eq!(decoded.len(), problem.extent.pixels());
                }
                coded[at] ^= bits;
            }
        }

        #[test]
        fn every_truncation_is_an_error(problem in problem()) {
            let coded = encode(&problem.values, problem.bytes_per_value, problem.least_run);
            let mut decoded = Vec::new();
            for end in 0..coded.len() {
                let result = decode(&coded[..end], problem.extent, problem.bytes_per_value, &mut decoded);
                prop_assert_eq!(result, Err(CodecError::Ends));
            }
        }
    }

    const EXTENT: Extent = Extent { rows: 2, columns: 3 };

    fn decoded(stream: &[u8], bytes_per_value: usize) -> Result<Vec<u16>, CodecError> {
        let mut values = Vec::new();
        decode(stream, EXTENT, bytes_per_value, &mut values).map(|_| values)
    }

    #[test]
    fn the_most_significant_bytes_come_first() {
        // A run of four over the end of a row, a no-operation, a literal of two.
        let high = vec![253, 0x12, 128, 1, 0x34, 0x56];
        let low = vec![5, 1, 2, 3, 4, 5, 6];
        let expected = Ok(vec![0x1201, 0x1202, 0x1203, 0x1204, 0x3405, 0x5606]);
        assert_eq!(decoded(&stream(&[high, low]), 2), expected);
    }

    #[test]
    fn tolerates_bytes_behind_the_last_pixel() {
        // Padding, a literal that is cut off behind the pixels, a run that is too long.
        for high in [vec![251, 1, 0], vec![251, 1, 9, 9, 9, 9], vec![99, 1, 1, 1, 1, 1, 1], vec![130, 1]] {
            assert_eq!(decoded(&stream(&[high, vec![251, 2, 0, 0]]), 2), Ok(vec![0x0102; 6]));
        }
    }

    #[test]
    fn refuses_segments_that_do_not_fit() {
        let segment = vec![251, 1];
        let good = stream(&[segment.clone(), segment.clone()]);
        assert_eq!(decoded(&good, 2), Ok(vec![0x0101; 6]));
        assert!(matches!(decoded(&good, 1), Err(CodecError::Damaged(_))));
        assert!(matches!(decoded(&good, 3), Err(CodecError::Unsupported(_))));
        for (at, number) in
            [(0, 0u32), (0, 3), (0, 16), (0, u32::MAX), (4, 0), (4, 63), (4, 67), (8, 63), (8, 65)]
        {
            let mut bad = good.clone();
            bad[at..at + 4].copy_from_slice(&number.to_le_bytes());
            assert!(decoded(&bad, 2).is_err(), "{at} {number}");
        }
        for (at, number) in [(4, u32::MAX), (8, 69), (8, 1 << 31), (8, u32::MAX)] {
            let mut bad = good.clone();
            bad[at..at + 4].copy_from_slice(&number.to_le_bytes());
            assert!(decoded(&bad, 2).is_err(), "{at} {number}");
        }
    }

    #[test]
    fn refuses_a_huge_frame_of_few_bytes_before_taking_its_memory() {
        let bomb = stream(&[vec![129, 0], vec![129, 0]]);
        let extent = Extent { rows: 65535, columns: 65535 };
        assert_eq!(decode(&bomb, extent, 2, &mut Vec::new()), Err(CodecError::Ends));
    }
}
