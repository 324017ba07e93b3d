//! Fixtures are made by OpenJPEG and OpenJPH from a formula: `fixtures/make.py`.

use proptest::prelude::*;

use super::decode;
use crate::codec::{CodecError, Coded, Extent};

/// A codestream, and what is known of it.
struct Fixture {
    stream: &'static [u8],
    extent: Extent,
    coded: Coded,
}

macro_rules! fixture {
    ($name:literal, $rows:literal, $columns:literal, $sign:literal, $precision:literal) => {
        Fixture {
            stream: include_bytes!(concat!(
                "../../../fixtures/jpeg2000/",
                $name,
                "_",
                $rows,
                "x",
                $columns,
                "_",
                $sign,
                $precision,
                ".j2k"
            )),
            extent: Extent { rows: $rows, columns: $columns },
            coded: Coded { precision: $precision, signed: $sign == 's' },
        }
    };
}

const PLAIN: Fixture = fixture!("plain", 40, 36, 'u', 12);
const BOXES: Fixture = fixture!("boxes", 40, 36, 'u', 12);
const TILES: Fixture = fixture!("tiles", 33, 41, 'u', 8);
const LAYERS: Fixture = fixture!("layers", 33, 29, 'u', 16);
const PRECINCTS: Fixture = fixture!("precincts", 70, 66, 'u', 8);
const EXACT: [Fixture; 8] = [
    PLAIN,
    fixture!("plain", 40, 36, 's', 16),
    fixture!("plain", 1, 1, 'u', 16),
    fixture!("plain", 9, 31, 's', 2),
    BOXES,
    TILES,
    LAYERS,
    PRECINCTS,
];
const LOSSY: [(Fixture, &[u8]); 2] = [
    (fixture!("lossy", 40, 36, 'u', 12), include_bytes!("../../../fixtures/jpeg2000/lossy_40x36_u12.ref")),
    (fixture!("lossy", 40, 36, 's', 16), include_bytes!("../../../fixtures/jpeg2000/lossy_40x36_s16.ref")),
];
const HIGH_THROUGHPUT: Fixture = fixture!("htplain", 17, 13, 's', 16);
const HIGH_THROUGHPUT_LOSSY: Fixture = fixture!("htlossy", 17, 13, 's', 16);

impl Fixture {
    /// The values that `fixtures/make.py` gave the encoder.
    fn formula(&self) -> Vec<u16> {
        let bits = self.coded.precision;
        let sign = if self.coded.signed { 1 << (bits - 1) } else { 0 };
        let Extent { rows, columns } = self.extent;
        (0..u64::from(rows))
            .flat_map(|y| (0..u64::from(columns)).map(move |x| x * x * 37 + y * 91 + x * y * 13))
            .map(|value| (((value << bits) / 4096) & ((1 << bits) - 1)) as u16 ^ sign)
            .collect()
    }

    fn decode(&self, stream: &[u8]) -> Result<Vec<u16>, CodecError> {
        let mut values = vec![7; 3];
        let coded = decode(stream, self.extent, &mut values)?;
        assert_eq!(coded, self.coded);
        assert_eq!(values.len(), self.extent.pixels());
        Ok(values)
    }

    /// Where a marker is first.
    fn find(&self, marker: u16) -> usize {
        self.stream.windows(2).position(|pair| pair == marker.to_be_bytes()).expect("the marker is there")
    }

    /// The stream with bytes in place of those at `offset`.
    fn with(&self, offset: usize, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream.to_vec();
        stream[offset..offset + bytes.len()].copy_from_slice(bytes);
        stream
    }

    /// The stream with a marker segment more, ahead of COD.
    fn with_segment(&self, segment: &[u8]) -> Vec<u8> {
        let offset = self.find(0xff52);
        [&self.stream[..offset], segment, &self.stream[offset..]].concat()
    }
}

#[test]
fn reversible_codestreams_decode_exactly() {
    for fixture in EXACT {
        assert_eq!(fixture.decode(fixture.stream), Ok(fixture.formula()), "{:?}", fixture.coded);
    }
}

#[test]
fn irreversible_codestreams_decode_as_openjpeg_does_but_for_rounding() {
    for (fixture, reference) in LOSSY {
        // Both compute in f32, and of 16 bits it keeps few behind the point.
        let close = if fixture.coded.precision > 12 { 2 } else { 1 };
        let shift = 16 - fixture.coded.precision;
        let level = |value: u16| match fixture.coded.signed {
            true => i32::from((value << shift) as i16 >> shift),
            false => i32::from(value),
        };
        let values = fixture.decode(fixture.stream).expect("it decodes");
        for (&value, &bytes) in values.iter().zip(reference.as_chunks().0) {
            assert!((level(value) - level(u16::from_le_bytes(bytes))).abs() <= close);
        }
    }
}

#[test]
fn every_truncation_is_an_error_until_only_the_end_marker_is_missing() {
    for fixture in EXACT.iter().chain(LOSSY.iter().map(|(fixture, _)| fixture)) {
        let end = fixture.stream.len() - 2;
        assert_eq!(fixture.stream[end..], [0xff, 0xd9]);
        for length in 0..end {
            let error = fixture.decode(&fixture.stream[..length]).expect_err("cut off");
            if length > 12 {
                assert_eq!(error, CodecError::Ends);
            }
        }
        // OpenJPEG's tile-parts tell their number, so all are known to be there.
        let whole = fixture.decode(fixture.stream);
        for length in [end, end + 1] {
            let cut = fixture.decode(&fixture.stream[..length]);
            assert!(cut == whole || length == end + 1 && cut.is_err());
        }
        assert_eq!(fixture.decode(&fixture.stream[..end]), whole);
    }
}

#[test]
fn padding_is_tolerated_behind_the_end_and_in_its_place() {
    let end = PLAIN.stream.len() - 2;
    for bytes in [&[0; 1][..], &[0; 9], &[0xff, 0, 1]] {
        assert_eq!(PLAIN.decode(&[PLAIN.stream, bytes].concat()), Ok(PLAIN.formula()));
    }
    assert_eq!(PLAIN.decode(&[&PLAIN.stream[..end], &[0]].concat()), Ok(PLAIN.formula()));
    assert!(PLAIN.decode(&[&PLAIN.stream[..end], &[1, 2]].concat()).is_err());
}

#[test]
fn a_last_tile_part_without_a_length_goes_up_to_the_end_marker() {
    let length = PLAIN.find(0xff90) + 6;
    let stream = PLAIN.with(length, &[0; 4]);
    assert_eq!(PLAIN.decode(&stream), Ok(PLAIN.formula()));
    assert_eq!(PLAIN.decode(&[&stream[..], &[0]].concat()), Ok(PLAIN.formula()));
    for cut in 1..stream.len() - length {
        assert_eq!(PLAIN.decode(&stream[..stream.len() - cut]), Err(CodecError::Ends));
    }
}

#[test]
fn a_missing_tile_is_an_error_though_the_end_marker_is_there() {
    let last = TILES.stream.windows(4).rposition(|bytes| bytes == [0xff, 0x90, 0, 10]).expect("a tile-part");
    let stream = [&TILES.stream[..last], &[0xff, 0xd9]].concat();
    assert_eq!(TILES.decode(&stream), Err(CodecError::Ends));
}

#[test]
fn an_end_without_marker_is_not_believed_where_parts_do_not_tell_their_number() {
    let stream = PLAIN.with(PLAIN.find(0xff90) + 11, &[0]);
    assert_eq!(PLAIN.decode(&stream), Ok(PLAIN.formula()));
    assert_eq!(PLAIN.decode(&stream[..stream.len() - 2]), Err(CodecError::Ends));
}

#[test]
fn another_size_than_told_is_an_error_before_anything_is_allocated() {
    let mut values = Vec::new();
    let told = Extent { rows: 40, columns: 37 };
    let error = decode(PLAIN.stream, told, &mut values);
    assert_eq!(error, Err(CodecError::Extent { rows: 40, columns: 36 }));
    let huge = PLAIN.with(8, &[0xff; 8]);
    let error = decode(&huge, PLAIN.extent, &mut values);
    assert_eq!(error, Err(CodecError::Extent { rows: u32::MAX, columns: u32::MAX }));
    assert_eq!(values.capacity(), 0);
}

#[test]
fn a_few_bytes_do_not_buy_a_huge_image() {
    let side = 0x0000_ffff_u32.to_be_bytes();
    let told = Extent { rows: 0xffff, columns: 0xffff };
    let mut stream = PLAIN.with(8, &[side, side].concat());
    stream[24..32].copy_from_slice(&[side, side].concat());
    assert!(matches!(decode(&stream, told, &mut Vec::new()), Err(CodecError::Effort(_))));
}

#[test]
fn fewer_bytes_than_tiles_or_packets_need_are_refused() {
    // Tiles of one pixel: 1440 of them would take 14 bytes each.
    let stream = PLAIN.with(24, &[0, 0, 0, 1, 0, 0, 0, 1]);
    assert_eq!(PLAIN.decode(&stream), Err(CodecError::Ends));
    // Precincts of 2 by 2: 36 on the lowest level, 35 above, 63 on top, in 32 layers.
    let style = LAYERS.find(0xff52);
    let mut stream = [&LAYERS.stream[..style + 14], &[0x11; 3], &LAYERS.stream[style + 14..]].concat();
    stream[style + 3] += 3;
    stream[style + 4] |= 1;
    stream[style + 7] = 32;
    assert_eq!(LAYERS.decode(&stream), Err(CodecError::Ends));
}

#[test]
fn names_what_it_does_not_support() {
    let supported = |stream: &[u8]| PLAIN.decode(stream);
    let style = PLAIN.find(0xff52);
    for (stream, what) in [
        (PLAIN.with(16, &[0, 0, 0, 1]), "an image offset"),
        (PLAIN.with(40, &[0, 3]), "color"),
        (PLAIN.with(42, &[16]), "more than 16 bits"),
        (PLAIN.with(43, &[2]), "subsampling"),
        (PLAIN.with(style + 6, &[0, 33]), "more than 32 layers"),
        (PLAIN.with(style + 13, &[2]), "other wavelets than 5/3 and 9/7"),
        (PLAIN.with_segment(&[0xff, 0x5e, 0, 5, 0, 0, 3]), "a region of interest"),
        (PLAIN.with_segment(&[0xff, 0x5f, 0, 2]), "changes of the progression order"),
        (PLAIN.with_segment(&[0xff, 0x60, 0, 2]), "packed packet headers"),
        (PLAIN.with_segment(&[0xff, 0x57, 0, 2]), "packet lengths in the main header"),
    ] {
        assert_eq!(supported(&stream), Err(CodecError::Unsupported(what)));
    }
}

#[test]
fn a_palette_is_refused() {
    let header = BOXES.stream.windows(4).position(|kind| kind == b"colr").expect("a box");
    assert_eq!(BOXES.decode(&BOXES.with(header, b"pclr")), Err(CodecError::Unsupported("a palette")));
}

#[test]
fn the_component_may_have_styles_of_its_own() {
    let (style, quantization) = (PLAIN.find(0xff52), PLAIN.find(0xff5c));
    let length = usize::from(PLAIN.stream[quantization + 3]);
    let own_style = [&[0xff, 0x53, 0, 9, 0, 0], &PLAIN.stream[style + 9..style + 14]].concat();
    let own_quantization =
        [&[0xff, 0x5d, 0, length as u8 + 1, 0], &PLAIN.stream[quantization + 4..quantization + 2 + length]]
            .concat();
    assert_eq!(PLAIN.decode(&PLAIN.with_segment(&own_style)), Ok(PLAIN.formula()));
    assert_eq!(PLAIN.decode(&PLAIN.with_segment(&own_quantization)), Ok(PLAIN.formula()));
    // They are heard: without levels, nothing fits.
    let other = [0xff, 0x53, 0, 9, 0, 0, 0, 4, 4, 0, 1];
    assert_ne!(PLAIN.decode(&PLAIN.with_segment(&other)), Ok(PLAIN.formula()));
}

#[test]
fn a_component_transform_of_one_component_is_not_heard() {
    assert_eq!(PLAIN.decode(&PLAIN.with(PLAIN.find(0xff52) + 8, &[1])), Ok(PLAIN.formula()));
}

#[test]
fn high_throughput_decodes_exactly_where_it_is_reversible() {
    assert_eq!(HIGH_THROUGHPUT.decode(HIGH_THROUGHPUT.stream), Ok(HIGH_THROUGHPUT.formula()));
    let error = CodecError::Unsupported("irreversible high-throughput coding");
    assert_eq!(HIGH_THROUGHPUT_LOSSY.decode(HIGH_THROUGHPUT_LOSSY.stream), Err(error));
    for length in 0..HIGH_THROUGHPUT.stream.len() - 2 {
        assert!(HIGH_THROUGHPUT.decode(&HIGH_THROUGHPUT.stream[..length]).is_err());
    }
}

#[test]
fn any_byte_with_a_flipped_bit_ends_in_a_result() {
    for fixture in EXACT.iter().chain([&HIGH_THROUGHPUT]) {
        for offset in 0..fixture.stream.len() {
            let stream = fixture.with(offset, &[fixture.stream[offset] ^ (1 << (offset % 8))]);
            let mut values = Vec::new();
            if decode(&stream, fixture.extent, &mut values).is_ok() {
                assert_eq!(values.len(), fixture.extent.pixels());
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_result(
        fixture in 0..EXACT.len(),
        kept in 0usize..700,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let fixture = &EXACT[fixture];
        let kept = &fixture.stream[..kept.min(fixture.stream.len())];
        let stream = [kept, &bytes].concat();
        let mut values = Vec::new();
        if decode(&stream, fixture.extent, &mut values).is_ok() {
            prop_assert_eq!(values.len(), fixture.extent.pixels());
        }
    }

    #[test]
    fn many_changed_bytes_end_in_a_result(
        fixture in 0..EXACT.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let fixture = &EXACT[fixture];
        let mut stream = fixture.stream.to_vec();
        for (place, byte) in changes {
            let place = place.index(stream.len());
            stream[place] = byte;
        }
        let _ = decode(&stream, fixture.extent, &mut Vec::new());
    }
}
