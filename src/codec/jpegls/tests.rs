//! The decoder against an encoder that follows the standard step by step, with no thought of speed.

mod encoder;

use proptest::prelude::*;

use super::*;
use encoder::Problem;

/// Pixels with long runs, gradients, or noise of full range.
fn values(kind: u8, pixels: usize, columns: usize, maximum: i64, seed: u32) -> Vec<u16> {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        i64::from(state >> 8)
    };
    let mut last = 0;
    (0..pixels)
        .map(|at| {
            let (x, y) = ((at % columns) as i64, (at / columns) as i64);
            let value = match kind {
                0 => random() % (maximum + 1),
                1 => maximum / 2 + random() % 7 - 3,
                2 => x * maximum / columns as i64 + y + random() % 3,
                3 => {
                    // Rare changes: long runs.
                    if random() % 29 == 0 {
                        last = random() % (maximum + 1);
                    }
                    last
                }
                4 => {
                    if random() % 2 == 0 {
                        0
                    } else {
                        maximum
                    }
                }
                5 => (x / 5 % 2 + y / 3 % 2) * maximum / 2 + i64::from(random() % 11 == 0),
                _ => seed.into(),
            };
            value.clamp(0, maximum) as u16
        })
        .collect()
}

fn problem() -> impl Strategy<Value = Problem> {
    let size = (1..=33usize, 1..=67usize, 2..=16u8);
    let coding = (0..4u8, any::<u32>(), any::<[u16; 3]>(), any::<u16>(), 0..8usize);
    (size, 0..7u8, any::<u32>(), coding).prop_map(
        |((rows, columns, precision), kind, seed, (preset, near, thresholds, reset, restart))| {
            let mut problem = Problem::plain(rows, columns, precision, Vec::new());
            if preset & 1 != 0 {
                problem.maximum = 1 + i64::from(near / 256) % ((1 << precision) - 1);
            }
            let maximum = problem.maxval();
            let most = (maximum / 2).min(255);
            problem.near = if near % 3 == 0 { i64::from(near / 3) % (most + 1) } else { 0 };
            if preset & 2 != 0 {
                let mut least = problem.near + 1;
                for (threshold, given) in problem.thresholds.iter_mut().zip(thresholds) {
                    *threshold = least + i64::from(given) % (maximum - least + 1);
                    least = *threshold;
                }
                problem.reset = 3 + i64::from(reset) % (maximum.max(255) - 2);
            }
            problem.restart_lines = if restart < 4 { 0 } else { restart - 3 };
            problem.values = values(kind, rows * columns, columns, maximum, seed);
            problem
        },
    )
}

proptest! {
    #[test]
    fn decodes_what_was_coded(problem in problem()) {
        let (stream, expected) = problem.encode();
        for (value, original) in expected.iter().zip(&problem.values) {
            prop_assert!((i64::from(*value) - i64::from(*original)).abs() <= problem.near);
        }
        let mut decoded = vec![7; 5];
        let result = decode(&stream, problem.extent(), &mut decoded);
        prop_assert_eq!(result, Ok(Coded { precision: problem.precision, signed: false }));
        prop_assert_eq!(&decoded, &expected);
        // A missing end marker and padding behind the scan change nothing.
        let mut padded = stream[..stream.len() - 2].to_vec();
        for _ in 0..2 {
            prop_assert!(decode(&padded, problem.extent(), &mut decoded).is_ok());
            prop_assert_eq!(&decoded, &expected);
            padded.extend([0; 9]);
        }
    }

    #[test]
    fn every_truncation_is_an_error(problem in problem()) {
        let (stream, _) = problem.encode();
        let mut decoded = Vec::new();
        for end in 0..stream.len() - 2 {
            prop_assert_eq!(decode(&stream[..end], problem.extent(), &mut decoded), Err(CodecError::Ends));
        }
    }

    #[test]
    fn every_flipped_byte_ends_in_a_result(problem in problem(), bits in 1..=255u8) {
        let (mut stream, _) = problem.encode();
        let mut decoded = Vec::new();
        for at in 0..stream.len() {
            stream[at] ^= bits;
            if decode(&stream, problem.extent(), &mut decoded).is_ok() {
                prop_assert_eq!(decoded.len(), problem.extent().pixels());
            }
            stream[at] ^= bits;
        }
    }
}

fn small() -> (Vec<u8>, Extent) {
    let problem = Problem::plain(4, 5, 12, values(0, 20, 5, 4095, 9));
    (problem.encode().0, problem.extent())
}

fn refusal(stream: &[u8], extent: Extent) -> CodecError {
    decode(stream, extent, &mut Vec::new()).unwrap_err()
}

#[test]
fn decodes_the_example_of_the_standard() {
    // ITU-T T.87, H.3: 4 x 4 pixels of 8 bits, lossless.
    let expected = [0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145];
    let header =
        [0xFF, 0xD8, 0xFF, 0xF7, 0, 0x0B, 8, 0, 4, 0, 4, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 0, 0];
    let scan = [
        0xC0, 0x00, 0x00, 0x6C, 0x80, 0x20, 0x8E, 0x01, 0xC0, 0x00, 0x00, 0x57, 0x40, 0x00, 0x00, 0x6E, 0xE6,
        0x00, 0x00, 0x01, 0xBC, 0x18, 0x00, 0x00, 0x05, 0xD8, 0x00, 0x00, 0x91, 0x60, 0xFF, 0xD9,
    ];
    let mut decoded = Vec::new();
    let extent = Extent { rows: 4, columns: 4 };
    decode(&[&header[..], &scan].concat(), extent, &mut decoded).unwrap();
    assert_eq!(decoded, expected);
}

#[test]
fn wide_lines_of_one_value_use_the_longest_runs() {
    let columns = 65535;
    let mut values = vec![1000; 3 * columns];
    values[2 * columns - 1] = 7;
    let problem = Problem::plain(3, columns, 16, values);
    let (stream, expected) = problem.encode();
    let mut decoded = Vec::new();
    decode(&stream, problem.extent(), &mut decoded).unwrap();
    assert_eq!(decoded, expected);
}

#[test]
fn contexts_that_hardly_ever_forget_are_counted_to_the_end() {
    for (kind, near) in [(4, 0), (4, 1), (3, 0)] {
        let mut problem = Problem::plain(120, 200, 15, values(kind, 24_000, 200, 32767, 3));
        (problem.near, problem.reset) = (near, 5000);
        let (stream, expected) = problem.encode();
        let mut decoded = Vec::new();
        decode(&stream, problem.extent(), &mut decoded).unwrap();
        assert_eq!(decoded, expected);
    }
}

#[test]
fn refuses_another_size_before_it_takes_memory() {
    let (stream, extent) = small();
    let told = CodecError::Extent { rows: extent.rows, columns: extent.columns };
    for (rows, columns) in [(5, 4), (4, 6), (0, 0), (u32::MAX, u32::MAX)] {
        assert_eq!(refusal(&stream, Extent { rows, columns }), told);
    }
}

#[test]
fn refuses_a_huge_frame_of_few_bytes() {
    let (mut stream, _) = small();
    stream[7..11].fill(0xFF);
    let mut values = Vec::new();
    let extent = Extent { rows: 65535, columns: 65535 };
    assert_eq!(decode(&stream, extent, &mut values), Err(CodecError::Ends));
    assert!(values.capacity() < 100_000);
}

#[test]
fn refuses_what_it_does_not_read_by_name() {
    let (stream, extent) = small();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = stream.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        refusal(&changed, extent)
    };
    let inserted = |segment: &[u8]| refusal(&[&stream[..2], segment, &stream[2..]].concat(), extent);
    assert_eq!(with(3, &[0xC3]), CodecError::Unsupported("another coding than JPEG-LS"));
    assert_eq!(with(11, &[3]), CodecError::Unsupported("several components"));
    assert_eq!(with(7, &[0, 0]), CodecError::Unsupported("a size that is told later"));
    assert_eq!(with(21, &[1]), CodecError::Unsupported("mapping tables"));
    assert_eq!(with(23, &[1]), CodecError::Unsupported("interleaved components"));
    assert_eq!(with(24, &[1]), CodecError::Unsupported("a point transform"));
    assert_eq!(inserted(&[0xFF, 0xF8, 0, 6, 2, 1, 1, 0]), CodecError::Unsupported("mapping tables"));
    assert_eq!(inserted(&[0xFF, 0xF8, 0, 5, 4, 2, 1]), CodecError::Unsupported("an extended size"));
    for damaged in [with(0, &[0]), with(2, &[0]), with(6, &[1]), with(6, &[17]), with(20, &[9])] {
        assert!(matches!(damaged, CodecError::Damaged(_)), "{damaged}");
    }
    for segment in [&[0xFF, 0xD0][..], &[0xFF, 0xE0, 0, 1], &[0xFF, 0xDD, 0, 3, 1], &[0xFF, 0xC4, 0, 2]] {
        assert!(matches!(inserted(segment), CodecError::Damaged(_)), "{segment:?}");
    }
}

#[test]
fn steps_over_applications_segments_and_fill_bytes() {
    let (stream, extent) = small();
    let extra = [0xFF, 0xFF, 0xFF, 0xE8, 0, 4, 1, 2, 0xFF, 0xFE, 0, 2];
    let mut decoded = Vec::new();
    decode(&[&stream[..2], &extra, &stream[2..]].concat(), extent, &mut decoded).unwrap();
    assert_eq!(decoded, values(0, 20, 5, 4095, 9));
}

#[test]
fn refuses_a_restart_marker_that_is_missing_or_another() {
    let mut problem = Problem::plain(4, 5, 12, values(0, 20, 5, 4095, 9));
    problem.restart_lines = 2;
    let (stream, _) = problem.encode();
    let at = stream.windows(2).position(|pair| pair == [0xFF, 0xD0]).unwrap();
    for marker in [0xD1, 0xD9] {
        let mut changed = stream.clone();
        changed[at + 1] = marker;
        assert!(matches!(refusal(&changed, problem.extent()), CodecError::Damaged(_)));
    }
}
