use std::f64::consts::{FRAC_1_SQRT_2, PI};

use proptest::prelude::*;

use super::dct::ZIGZAG;
use super::decode;
use super::encoder::{self, Blocks, Samples, Shape, Step};
use crate::codec::{CodecError, Coded, Extent};

const SPECTRAL: &[Step] = &[(0, 0, 0, 0), (1, 5, 0, 0), (6, 63, 0, 0)];
const FULL: &[Step] =
    &[(0, 0, 0, 1), (1, 5, 0, 2), (6, 63, 0, 2), (1, 63, 2, 1), (0, 0, 1, 0), (1, 63, 1, 0)];
const DEEP: &[Step] = &[
    (0, 0, 0, 3),
    (0, 0, 3, 2),
    (1, 63, 0, 3),
    (1, 1, 3, 2),
    (2, 63, 3, 2),
    (1, 63, 2, 1),
    (0, 0, 2, 1),
    (0, 0, 1, 0),
    (1, 40, 1, 0),
    (41, 63, 1, 0),
];

fn extent(rows: usize, columns: usize) -> Extent {
    Extent { rows: rows as u32, columns: columns as u32 }
}

fn decoded(stream: &[u8], rows: usize, columns: usize) -> Result<(Coded, Vec<u16>), CodecError> {
    // Memory that has held something else.
    let mut values = vec![0xA5A5; 7];
    decode(stream, extent(rows, columns), &mut values).map(|coded| (coded, values))
}

/// Numbers that only depend on where they start.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![Just(Shape::Flat), Just(Shape::Steep)]
}

/// Noise, steps, and gradients with noise, by `kind`.
fn image(rows: usize, columns: usize, precision: u8, kind: u8, seed: u64) -> Vec<u16> {
    let mut numbers = Numbers(seed);
    let most = (1u64 << precision) - 1;
    let place = |at: usize| (at / columns * 3 + at % columns * 5) as u64;
    (0..rows * columns)
        .map(|at| match kind {
            0 => numbers.below(most + 1) as u16,
            1 => (if numbers.below(4) == 0 { most } else { 0 }) as u16,
            2 => ((place(at) + numbers.below(3)) % (most + 1)) as u16,
            _ => (most / 2 + 1) as u16,
        })
        .collect()
}

fn samples() -> impl Strategy<Value = Samples> {
    let size = prop_oneof![Just((1, 1)), Just((67, 33)), (1..12usize, 1..40usize)];
    (size, 2..=16u8, 1..=7u8, 0..4u8, 0..16u8, 0..4usize, shape(), any::<u64>()).prop_map(
        |((rows, columns), precision, predictor, kind, point, rows_of_interval, shape, seed)| {
            // As often with point transform as without.
            let point_transform = point.saturating_sub(8) % precision;
            let mask = u16::MAX << point_transform;
            let values =
                image(rows, columns, precision, kind, seed).iter().map(|value| value & mask).collect();
            Samples { columns, precision, predictor, point_transform, rows_of_interval, shape, values }
        },
    )
}

fn blocks() -> impl Strategy<Value = Blocks> {
    let size = prop_oneof![Just((1, 1)), Just((67, 33)), (1..20usize, 1..40usize)];
    (size, any::<bool>(), 0..5usize, 0..64u64, any::<bool>(), shape(), any::<u64>()).prop_map(
        |((rows, columns), wide, interval, dense, coarse, shape, seed)| {
            let precision = if wide { 12 } else { 8 };
            let mut numbers = Numbers(seed);
            let mut quantization = [1; 64];
            for factor in &mut quantization {
                *factor = 1 + numbers.below(if coarse { 300 } else { 3 }) as u16;
            }
            let mut coefficients = vec![[0; 64]; rows.div_ceil(8) * columns.div_ceil(8)];
            for block in &mut coefficients {
                block[0] = numbers.below(1024) as i16 - 512;
                for coefficient in &mut block[1..] {
                    if numbers.below(64) < dense {
                        let bound = 1 << numbers.below(if wide { 12 } else { 8 });
                        *coefficient = (numbers.below(2 * bound) as i64 - bound as i64) as i16;
                    }
                }
            }
            Blocks { rows, columns, precision, quantization, coefficients, interval, shape }
        },
    )
}

fn a_lossless_image() -> Samples {
    Samples {
        columns: 13,
        precision: 16,
        predictor: 4,
        point_transform: 0,
        rows_of_interval: 3,
        shape: Shape::Steep,
        values: image(11, 13, 16, 0, 1),
    }
}

fn an_image_of_blocks() -> Blocks {
    let mut numbers = Numbers(5);
    let mut coefficients = vec![[0; 64]; 6];
    for block in &mut coefficients {
        block[0] = numbers.below(200) as i16 - 100;
        for coefficient in &mut block[1..30] {
            *coefficient = numbers.below(9) as i16 - 4;
        }
    }
    Blocks {
        rows: 23,
        columns: 12,
        precision: 12,
        quantization: [9; 64],
        coefficients,
        interval: 2,
        shape: Shape::Flat,
    }
}

/// One stream of each process, with its extent.
fn streams() -> Vec<(Vec<u8>, usize, usize)> {
    let blocks = an_image_of_blocks();
    let (rows, columns) = (blocks.rows, blocks.columns);
    vec![
        (encoder::lossless(&a_lossless_image()), 11, 13),
        (encoder::sequential(&blocks), rows, columns),
        (encoder::progressive(&blocks, SPECTRAL), rows, columns),
        (encoder::progressive(&blocks, FULL), rows, columns),
    ]
}

/// The transform as T.81 A.3.3 writes it, in floating point.
fn reference_samples(block: &[i16; 64], quantization: &[u16; 64], precision: u8) -> [f64; 64] {
    let mut natural = [0.0; 64];
    for ((&place, &coefficient), &factor) in ZIGZAG.iter().zip(block).zip(quantization) {
        natural[usize::from(place)] = f64::from(coefficient) * f64::from(factor);
    }
    let half = |frequency: usize| if frequency == 0 { FRAC_1_SQRT_2 } else { 1.0 };
    let wave =
        |at: usize, frequency: usize| (((2 * at + 1) * frequency) as f64 * PI / 16.0).cos() * half(frequency);
    std::array::from_fn(|at| {
        let (y, x) = (at / 8, at % 8);
        let sum: f64 = (0..64).map(|f| natural[f] * wave(y, f / 8) * wave(x, f % 8)).sum();
        (sum / 4.0 + f64::from(1u32 << (precision - 1))).clamp(0.0, f64::from((1u32 << precision) - 1))
    })
}

proptest! {
    #[test]
    fn lossless_images_come_back_exactly(samples in samples()) {
        let rows = samples.values.len() / samples.columns;
        let (coded, values) = decoded(&encoder::lossless(&samples), rows, samples.columns).unwrap();
        prop_assert_eq!(coded, Coded { precision: samples.precision, signed: false });
        prop_assert_eq!(values, samples.values);
    }

    #[test]
    fn sequential_blocks_are_transformed_to_within_one_gray_level(blocks in blocks()) {
        let (_, values) = decoded(&encoder::sequential(&blocks), blocks.rows, blocks.columns).unwrap();
        let across = blocks.columns.div_ceil(8);
        for (index, block) in blocks.coefficients.iter().enumerate() {
            let wanted = reference_samples(block, &blocks.quantization, blocks.precision);
            for (at, wanted) in wanted.iter().enumerate() {
                let (y, x) = (index / across * 8 + at / 8, index % across * 8 + at % 8);
                if y < blocks.rows && x < blocks.columns {
                    let got = f64::from(values[y * blocks.columns + x]);
                    // Coefficients that no image has give larger roundings, and 32 bits overflow.
                    let honest = block.iter().zip(blocks.quantization)
                        .map(|(c, q)| i64::from(*c).abs() * i64::from(q)).sum::<i64>() < 1 << 15;
                    prop_assert!(!honest || (got - wanted).abs() <= 1.5, "{} for {}", got, wanted);
                }
            }
        }
    }

    #[test]
    fn progressive_scans_give_what_one_sequential_scan_gives(blocks in blocks()) {
        let wanted = decoded(&encoder::sequential(&blocks), blocks.rows, blocks.columns).unwrap();
        for script in [SPECTRAL, FULL, DEEP] {
            let got = decoded(&encoder::progressive(&blocks, script), blocks.rows, blocks.columns);
            prop_assert_eq!(got.as_ref(), Ok(&wanted));
        }
    }

    #[test]
    fn any_bytes_end_in_a_result(mut bytes in prop::collection::vec(any::<u8>(), 0..300), frame in any::<bool>()) {
        if frame {
            let (stream, _, _) = &streams()[bytes.len() % 4];
            let cut = stream.len() / 2;
            bytes.splice(0..0, stream[..cut].iter().copied());
        }
        let _ = decoded(&bytes, 11, 13);
        let _ = decoded(&bytes, 23, 12);
    }
}

#[test]
fn every_truncation_is_an_error() {
    for (stream, rows, columns) in streams() {
        for length in 0..encoder::end(&stream) {
            assert!(decoded(&stream[..length], rows, columns).is_err(), "{length} of {}", stream.len());
        }
    }
}

#[test]
fn every_truncation_of_the_pixels_says_that_they_end() {
    for (stream, rows, columns) in streams() {
        let start = stream.windows(2).rposition(|two| two == [0xFF, 0xDA]).unwrap() + 10;
        for length in start..encoder::end(&stream) {
            assert_eq!(decoded(&stream[..length], rows, columns), Err(CodecError::Ends), "{length}");
        }
    }
}

#[test]
fn an_image_that_ends_early_by_a_marker_ends() {
    for (stream, rows, columns) in streams() {
        let mut cut = stream[..encoder::end(&stream) - 3].to_vec();
        cut.extend([0xFF, 0xD9]);
        assert_eq!(decoded(&cut, rows, columns), Err(CodecError::Ends));
    }
}

#[test]
fn any_flipped_byte_ends_in_a_result() {
    for (stream, rows, columns) in streams() {
        for at in 0..stream.len() {
            for flip in [0x01, 0x80, 0xFF, 0x10] {
                let mut damaged = stream.clone();
                damaged[at] ^= flip;
                if let Ok((_, values)) = decoded(&damaged, rows, columns) {
                    assert_eq!(values.len(), rows * columns);
                }
            }
        }
    }
}

#[test]
fn no_decoded_value_is_over_its_precision() {
    let mut samples = a_lossless_image();
    // As if sign-extended: 12 bits are told, and 16 are there.
    samples.precision = 12;
    samples.predictor = 1;
    let (_, values) = decoded(&encoder::lossless(&samples), 11, 13).unwrap();
    assert!(values.iter().zip(&samples.values).all(|(got, sent)| *got == sent & 0x0FFF));
}

#[test]
fn neither_a_missing_end_nor_padding_matters() {
    for (mut stream, rows, columns) in streams() {
        let wanted = decoded(&stream, rows, columns).unwrap();
        stream.truncate(encoder::end(&stream));
        assert_eq!(decoded(&stream, rows, columns).as_ref(), Ok(&wanted));
        stream.extend([0; 5]);
        assert_eq!(decoded(&stream, rows, columns).as_ref(), Ok(&wanted));
    }
}

#[test]
fn a_huge_extent_of_few_bytes_is_refused_before_memory_is_taken() {
    for (mut stream, rows, columns) in streams() {
        assert_eq!(
            decoded(&stream, 65535, 65535),
            Err(CodecError::Extent { rows: rows as u32, columns: columns as u32 })
        );
        let frame =
            stream.windows(2).position(|two| two[0] == 0xFF && (0xC1..=0xC3).contains(&two[1])).unwrap();
        stream[frame + 5..frame + 9].fill(0xFF);
        let mut values = Vec::new();
        assert!(decode(&stream, extent(65535, 65535), &mut values).is_err());
        assert_eq!(values.capacity(), 0);
    }
}

#[test]
fn another_extent_is_told() {
    for (stream, rows, columns) in streams() {
        let told = CodecError::Extent { rows: rows as u32, columns: columns as u32 };
        assert_eq!(decoded(&stream, columns, rows), Err(told));
    }
}

#[test]
fn a_missing_restart_interval_is_damage() {
    let stream = encoder::sequential(&an_image_of_blocks());
    let first = stream.windows(2).position(|two| two == [0xFF, 0xD0]).unwrap();
    let second = stream.windows(2).position(|two| two == [0xFF, 0xD1]).unwrap();
    let cut = [&stream[..first], &stream[second..]].concat();
    assert_eq!(decoded(&cut, 23, 12), Err(CodecError::Damaged("a restart marker is missing")));
}

#[test]
fn a_point_transform_that_leaves_no_bits_is_damage() {
    // A shift by a negative number: found by fuzzing.
    for (precision, transform) in [(12, 12), (12, 15), (2, 2)] {
        let samples = Samples { precision, values: vec![0; 143], ..a_lossless_image() };
        let mut stream = encoder::lossless(&samples);
        let scan = stream.windows(2).position(|marker| marker == [0xFF, 0xDA]).unwrap();
        stream[scan + 9] = transform;
        let error = decoded(&stream, 11, 13).unwrap_err();
        assert_eq!(error, CodecError::Damaged("a point transform that leaves no bits"));
    }
}

#[test]
fn bits_that_were_never_sent_are_not_refined() {
    let blocks = an_image_of_blocks();
    let scripts: [&[Step]; 4] = [
        &[(0, 0, 0, 0), (1, 63, 2, 1)],
        &[(0, 0, 0, 0), (1, 63, 0, 1), (1, 63, 0, 0)],
        &[(0, 0, 0, 0), (0, 0, 0, 0)],
        &[(0, 0, 0, 0), (1, 63, 0, 3), (1, 63, 2, 1)],
    ];
    for script in scripts {
        let stream = encoder::progressive(&blocks, script);
        assert_eq!(
            decoded(&stream, 23, 12),
            Err(CodecError::Damaged("a scan refines what was not sent, or sends again"))
        );
    }
}

#[test]
fn a_progressive_image_without_its_last_bits_ends() {
    let blocks = an_image_of_blocks();
    let stream = encoder::progressive(&blocks, &FULL[..FULL.len() - 1]);
    assert_eq!(decoded(&stream, 23, 12), Err(CodecError::Ends));
}

#[test]
fn what_is_not_supported_is_said() {
    let stream = encoder::lossless(&a_lossless_image());
    let frame = stream.windows(2).position(|two| two == [0xFF, 0xC3]).unwrap();
    let with = |offset: usize, byte: u8| {
        let mut stream = stream.clone();
        stream[frame + offset] = byte;
        decoded(&stream, 11, 13)
    };
    assert_eq!(with(1, 0xC9), Err(CodecError::Unsupported("arithmetic coding")));
    assert_eq!(with(1, 0xCB), Err(CodecError::Unsupported("arithmetic coding")));
    assert_eq!(with(1, 0xC7), Err(CodecError::Unsupported("hierarchical coding")));
    assert_eq!(with(1, 0xDE), Err(CodecError::Unsupported("hierarchical coding")));
    assert_eq!(with(1, 0xF7), Err(CodecError::Unsupported("another process than those of T.81")));
    assert_eq!(with(9, 3), Err(CodecError::Unsupported("more than one component")));
    assert_eq!(with(6, 0), Err(CodecError::Unsupported("a number of rows that follows them (DNL)")));
}

#[test]
fn fill_bytes_before_markers_are_stepped_over() {
    let stream = encoder::lossless(&a_lossless_image());
    let mut filled = Vec::new();
    for (at, &byte) in stream.iter().enumerate() {
        if byte == 0xFF && stream[at + 1] != 0 && stream[at + 1] >= 0xC0 {
            filled.extend([0xFF, 0xFF]);
        }
        filled.push(byte);
    }
    assert_eq!(decoded(&filled, 11, 13), decoded(&stream, 11, 13));
}

/// A block whose coefficients use all of the transform, without one of them far from what an image has.
fn a_golden_image(precision: u8) -> Blocks {
    let coefficients = (0..64i16).map(|k| (k * 37 + 11) % 41 - 20).collect::<Vec<_>>();
    Blocks {
        rows: 8,
        columns: 8,
        precision,
        quantization: [if precision == 8 { 3 } else { 41 }; 64],
        coefficients: vec![coefficients.try_into().unwrap()],
        interval: 0,
        shape: Shape::Flat,
    }
}

/// What libjpeg-turbo 3.1.3 decodes.
const GOLDEN_8: [u16; 64] = [
    120, 95, 77, 205, 89, 152, 82, 126, 148, 130, 129, 110, 130, 87, 140, 160, 193, 124, 121, 130, 98, 58,
    122, 123, 75, 46, 134, 106, 114, 92, 120, 133, 142, 126, 110, 132, 80, 122, 162, 130, 161, 81, 116, 30,
    107, 178, 131, 119, 135, 92, 107, 111, 209, 191, 128, 187, 138, 137, 109, 174, 158, 117, 169, 120,
];

/// What libjpeg-turbo 3.1.3 decodes.
const GOLDEN_12: [u16; 64] = [
    1937, 1596, 1348, 3105, 1509, 2373, 1416, 2016, 2315, 2078, 2064, 1799, 2072, 1490, 2208, 2491, 2939,
    1994, 1949, 2080, 1640, 1091, 1962, 1979, 1328, 925, 2134, 1750, 1857, 1560, 1941, 2111, 2236, 2020,
    1805, 2106, 1385, 1961, 2519, 2081, 2499, 1399, 1890, 710, 1757, 2725, 2087, 1919, 2139, 1559, 1765,
    1813, 3151, 2908, 2042, 2859, 2182, 2171, 1789, 2682, 2457, 1896, 2609, 1944,
];

#[test]
fn the_transform_gives_the_same_bits_as_that_of_the_independent_jpeg_group() {
    for (precision, wanted) in [(8, GOLDEN_8), (12, GOLDEN_12)] {
        let (_, values) = decoded(&encoder::sequential(&a_golden_image(precision)), 8, 8).unwrap();
        assert_eq!(values, wanted);
    }
}

#[test]
fn a_flood_of_fill_bytes_is_read_once() {
    let columns = 60_000;
    let samples =
        Samples { columns, rows_of_interval: 0, values: image(1, columns, 16, 3, 0), ..a_lossless_image() };
    let stream = encoder::lossless(&samples);
    let start = stream.windows(2).rposition(|two| two == [0xFF, 0xDA]).unwrap() + 10;
    // Looked at again for each sample, these would keep the decoder busy for minutes.
    let flood = [&stream[..start], &[0xFF; 4_000_000], &[0xD9]].concat();
    assert_eq!(decoded(&flood, 1, columns), Err(CodecError::Ends));
}
