//! Every level against the scalar one.

mod floats;

use super::*;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::sync::Arc;

#[test]
fn names_are_read_back_on_every_processor() {
    for level in Level::ALL {
        assert_eq!(Level::from_name(level.name()), Some(level));
    }
    assert_eq!(Level::from_name("mmx"), None);
}

#[test]
fn a_token_exists_only_for_what_is_available() {
    let available = Level::available();
    assert_eq!(available[0], Level::Scalar);
    assert_eq!(Kernels::best().level(), *available.last().unwrap());
    for level in Level::ALL {
        assert_eq!(Kernels::of(level).is_some(), available.contains(&level));
    }
}

/// `scripts/arm` emulates processors whose levels are known: a detection that failed there would silently test less.
#[test]
fn a_known_processor_has_its_levels() {
    let Ok(expected) = std::env::var("HEMAPATCH_LEVELS") else { return };
    let found: Vec<&str> = Level::available().iter().map(|level| level.name()).collect();
    assert_eq!(found.join(","), expected);
}

#[test]
fn two_sources_and_a_shortcut_meet_in_one_sum() {
    let weights = Arc::new(Weights::pack(Kernels::best(), 2, 2, |channel, group| {
        [1, -1, 2, 0].map(|weight| weight * (1 + channel as i8) * if group == 0 { 1 } else { -3 })
    }));
    let runs = [
        Run { source: 0, offset: 4, weight: 1, groups: 1 },
        Run { source: 1, offset: 0, weight: 0, groups: 1 },
    ];
    let position = Position::new(&weights, &[1000, -5], &runs);
    let first = Source { levels: &[0, 0, 0, 0, 1, 2, 3, 4], stride: 8 };
    let second = Source { levels: &[10, 20, 30, 40], stride: 4 };
    let mut sums = [0; 2];
    position.sums(1, &[first, second], &mut sums, 2);
    // The first: (1 - 2 + 6) * -3 = -15; the second: 10 - 20 + 60 = 50; twice as much in channel 1.
    assert_eq!(sums, [1035, 65]);
    let shortcut = Shortcut { levels: &[255, 3], stride: 2, steps: &[2, 32767] };
    let mut levels = [0; 2];
    position.levels(1, &[first, second], Some(shortcut), &[0.1, 1e-3], &mut levels, 2);
    // 1035 + 510 = 1545 steps of 0.1; 65 + 98301 = 98366 steps of 0.001.
    assert_eq!(levels, [154, 98]);
}

/// One output position of a layer with all that it reads.
#[derive(Clone, Debug)]
struct Problem {
    rows: usize,
    channels: usize,
    groups: usize,
    runs: Vec<Run>,
    strides: [usize; 2],
    weights: Vec<i8>,
    bias: Vec<i32>,
    sources: [Vec<u8>; 2],
    shortcut: Option<(Vec<u8>, Vec<i16>)>,
    multipliers: Vec<f32>,
}

impl Problem {
    /// A problem of that size out of numbers that `next` gives; `extreme` takes the ends of all ranges.
    fn new(size: &Size, mut next: impl FnMut() -> u32) -> Problem {
        let Size { rows, channels, groups, runs, shortcut, extreme } = *size;
        let mut reach = [0; 2];
        let runs: Vec<Run> = (0..runs)
            .map(|_| {
                let weight = next() as usize % groups;
                let groups = 1 + next() as usize % (groups - weight);
                let (source, offset) = (next() as usize % 2, next() as usize % 9);
                reach[source] = reach[source].max(offset + groups * 4);
                let [offset, weight, groups] = [offset, weight, groups].map(|n| n as u32);
                Run { source: source as u8, offset, weight, groups }
            })
            .collect();
        let strides = reach.map(|reach| reach + next() as usize % 5);
        let level =
            |random: u32| if extreme { 255 * u8::from(!random.is_multiple_of(8)) } else { random as u8 };
        let bias = |random: u32| (random as i32) >> if extreme { 7 } else { 14 };
        let weight = |random: u32| match (extreme, random as i8) {
            (true, sign) => 127 * sign.signum(),
            (false, weight) => weight.max(-127),
        };
        let multiplier = |random: u32| {
            // 2^-23 to 2^8 around the usual, any normal number at the extremes.
            let exponent = if extreme { 1 + random % 254 } else { 104 + random % 14 };
            f32::from_bits(exponent << 23 | random >> 9 & 0x7f_f800)
        };
        let mut many = |count: usize| -> Vec<u32> { (0..count).map(|_| next()).collect() };
        Problem {
            rows,
            channels,
            groups,
            strides,
            weights: many(channels * groups * 4).into_iter().map(weight).collect(),
            bias: many(channels).into_iter().map(bias).collect(),
            // To the byte: what reads further is not sound.
            sources: [0, 1].map(|s| {
                let bytes = if reach[s] == 0 { 0 } else { (rows - 1) * strides[s] + reach[s] };
                many(bytes).into_iter().map(level).collect()
            }),
            shortcut: shortcut.then(|| {
                let steps =
                    many(channels).into_iter().map(|n| if extreme { i16::MAX } else { (n >> 17) as i16 });
                let steps = steps.collect();
                (many(rows * channels).into_iter().map(level).collect(), steps)
            }),
            multipliers: many(channels).into_iter().map(multiplier).collect(),
            runs,
        }
    }

    /// Levels and sums, with what surrounds them in the output.
    fn run(&self, level: Level) -> (Vec<u8>, Vec<i32>) {
        let kernels = Kernels::of(level).expect("only levels that are available are asked");
        let weight = |channel: usize, group: usize| {
            let at = (channel * self.groups + group) * 4;
            self.weights[at..at + 4].try_into().unwrap()
        };
        let weights = Arc::new(Weights::pack(kernels, self.channels, self.groups, weight));
        let position = Position::new(&weights, &self.bias, &self.runs);
        let sources = [0, 1].map(|s| Source { levels: &self.sources[s], stride: self.strides[s] });
        let shortcut =
            self.shortcut.as_ref().map(|(levels, steps)| Shortcut { levels, stride: self.channels, steps });
        let stride = self.channels + 3;
        let mut levels = vec![77; self.rows * stride - 3];
        position.levels(self.rows, &sources, shortcut, &self.multipliers, &mut levels, stride);
        let mut sums = vec![77; self.rows * stride - 3];
        position.sums(self.rows, &sources, &mut sums, stride);
        self.check_map([&position, &Position::new(&weights, &vec![7; self.channels], &self.runs)], &sources);
        (levels, sums)
    }

    /// A map of two places is each of them, side by side, or the one behind all rows of the other.
    fn check_map(&self, places: [&Position; 2], sources: &[Source<'_>; 2]) {
        let Problem { rows, channels, .. } = *self;
        let positions = places.map(Clone::clone);
        for strides in [
            Strides { row: 2 * channels + 5, place: channels + 2 },
            Strides { row: channels + 1, place: rows * (channels + 1) + 3 },
        ] {
            let length = rows * strides.row + 2 * strides.place;
            // As far apart as the output's places are.
            let doubled = self.shortcut.as_ref().map(|(levels, steps)| {
                let mut doubled = vec![3; length];
                for (row, levels) in levels.chunks(channels).enumerate() {
                    for place in 0..2 {
                        let at = row * strides.row + place * strides.place;
                        doubled[at..][..channels].copy_from_slice(levels);
                    }
                }
                (doubled, steps)
            });
            let shortcut =
                doubled.as_ref().map(|(levels, steps)| Shortcut { levels, stride: strides.row, steps });
            let mut alone = vec![77; length];
            for (place, position) in places.into_iter().enumerate() {
                let out = &mut alone[place * strides.place..];
                position.levels(rows, sources, shortcut, &self.multipliers, out, strides.row);
            }
            let mut map = vec![77; length];
            Position::map_levels(&positions, rows, sources, shortcut, &self.multipliers, &mut map, strides);
            assert!(map == alone, "a map differs from its places");
        }
    }

    fn check(&self) {
        let reference = self.run(Level::Scalar);
        for level in Level::available() {
            assert!(self.run(level) == reference, "level {level} differs from scalar");
        }
    }
}

/// How large a problem is, and of what kind.
#[derive(Clone, Copy, Debug)]
struct Size {
    rows: usize,
    channels: usize,
    groups: usize,
    runs: usize,
    shortcut: bool,
    extreme: bool,
}

/// Numerical Recipes' 64-bit congruential generator: integers only, the same everywhere.
fn generator(seed: u64) -> impl FnMut() -> u32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 32) as u32
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(target_arch = "x86_64") { 192 } else { 24 }, ..Default::default() })]

    #[test]
    fn every_level_equals_scalar(
        rows in 1usize..=70,
        channels in 1usize..=200,
        groups in 1usize..=24,
        runs in 0usize..=5,
        shortcut: bool,
        extreme: bool,
        seed: u64,
    ) {
        Problem::new(&Size { rows, channels, groups, runs, shortcut, extreme }, generator(seed)).check();
    }
}

/// `docs/quantization.md` (10): the largest sum that a network can ask for.
#[test]
fn the_largest_sums_are_exact() {
    for sign in [1, -1] {
        let (groups, channels, rows) = ((4608 + 256) / 4, 16, 7);
        let problem = Problem {
            rows,
            channels,
            groups,
            runs: vec![Run { source: 0, offset: 0, weight: 0, groups: groups as u32 }],
            strides: [groups * 4; 2],
            weights: vec![127 * sign; channels * groups * 4],
            bias: vec![i32::from(sign) << 24; channels],
            sources: [vec![255; rows * groups * 4], vec![]],
            shortcut: Some((vec![255; rows * channels], vec![i16::MAX; channels])),
            multipliers: vec![1e-6; channels],
        };
        problem.check();
        let sum = i32::from(sign) * (4864 * 127 * 255 + (1 << 24));
        assert!(problem.run(Level::Scalar).1.iter().all(|&s| s == sum || s == 77));
    }
}

/// `docs/quantization.md` (5): halves go to the even side, products beyond i32 are cut off, none wraps round.
#[test]
fn ties_are_even_and_overflows_are_cut_off() {
    let sums = [1, 3, 5, 509, 511, 513, -1, -3, 0, i32::MAX, i32::MIN, 1 << 24, (1 << 24) + 1];
    let expected_halves = [0, 2, 2, 254, 255, 255, 0, 0, 0, 255, 0, 255, 255];
    for level in Level::available() {
        let kernels = Kernels::of(level).unwrap();
        let weights = Arc::new(Weights::pack(kernels, sums.len(), 1, |_, _| [0; 4]));
        let position = Position::new(&weights, &sums, &[]);
        for (multiplier, expected) in [
            (0.5, expected_halves),
            (3e38, sums.map(|sum| if sum > 0 { 255 } else { 0 })),
            (f32::MIN_POSITIVE, [0; 13]),
        ] {
            let mut out = [0; 13];
            position.levels(1, &[], None, &[multiplier; 13], &mut out, 13);
            assert_eq!(out, expected, "level {level}, multiplier {multiplier}");
        }
    }
}

/// One hash that every processor must match: integers from a fixed generator in, levels and sums out.
#[test]
fn every_processor_gives_the_same_bits() {
    let mut hash = Sha256::new();
    let mut reference = Vec::new();
    for level in Level::available() {
        let mut bytes = Vec::new();
        for (i, rows) in [1, 2, 3, 5, 6, 7, 16].into_iter().enumerate() {
            let size = Size {
                rows,
                channels: 20 * i + 4,
                groups: 9 + i,
                runs: 3,
                shortcut: i % 2 > 0,
                extreme: i > 4,
            };
            let (levels, sums) = Problem::new(&size, generator(i as u64)).run(level);
            bytes.extend(levels);
            bytes.extend(sums.iter().flat_map(|sum| sum.to_le_bytes()));
        }
        if level == Level::Scalar {
            hash.update(&bytes);
            reference = bytes;
        } else {
            assert!(bytes == reference, "level {level} differs from scalar");
        }
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, "ebf3f4be844b72bbdfbb256031e4399e02b9687d4501fd027c4fd3fe7862763a");
}

#[test]
fn spinning_says_how_many_products_it_did() {
    for level in Level::available() {
        let products = Kernels::of(level).unwrap().spin(3);
        assert!(products.is_none_or(|products| products % 3 == 0 && products > 0), "level {level}");
    }
}

#[test]
fn a_run_of_no_groups_reads_nothing() {
    for level in Level::available() {
        let weights = Arc::new(Weights::pack(Kernels::of(level).unwrap(), 20, 1, |_, _| [1; 4]));
        let nothing = Run { source: 1, offset: u32::MAX, weight: 0, groups: 0 };
        let mut sums = [0; 40];
        Position::new(&weights, &[7; 20], &[nothing]).sums(2, &[], &mut sums, 20);
        assert_eq!(sums, [7; 40], "level {level}");
    }
}

fn small_position() -> Position {
    let weights = Arc::new(Weights::pack(Kernels::best(), 8, 4, |_, _| [1; 4]));
    Position::new(&weights, &[0; 8], &[Run { source: 1, offset: 3, weight: 1, groups: 2 }])
}

#[test]
#[should_panic(expected = "a source is too short")]
fn refuses_a_source_that_ends_within_the_last_row() {
    let (short, mut out) = ([0; 20 + 11 - 1], [0; 24]);
    let source = Source { levels: &short, stride: 10 };
    small_position().levels(3, &[source, source], None, &[1.0; 8], &mut out, 8);
}

#[test]
#[should_panic(expected = "a source is too short")]
fn refuses_a_stride_that_overflows() {
    let source = Source { levels: &[0; 64], stride: usize::MAX / 2 };
    small_position().sums(4, &[source, source], &mut [0; 32], 8);
}

#[test]
#[should_panic(expected = "the output is too short")]
fn refuses_an_output_that_ends_within_the_last_row() {
    let source = Source { levels: &[0; 64], stride: 11 };
    small_position().sums(3, &[source, source], &mut [0; 23], 8);
}

#[test]
#[should_panic(expected = "rows of the output overlap")]
fn refuses_rows_on_top_of_each_other() {
    let source = Source { levels: &[0; 64], stride: 11 };
    small_position().sums(3, &[source, source], &mut [0; 64], 7);
}

#[test]
#[should_panic(expected = "the shortcut is too short")]
fn refuses_a_shortcut_that_ends_within_the_last_row() {
    let source = Source { levels: &[0; 64], stride: 11 };
    let shortcut = Shortcut { levels: &[0; 15], stride: 8, steps: &[1; 8] };
    small_position().levels(2, &[source, source], Some(shortcut), &[1.0; 8], &mut [0; 16], 8);
}

#[test]
#[should_panic(expected = "one multiplier for each channel")]
fn refuses_missing_multipliers() {
    let source = Source { levels: &[0; 64], stride: 11 };
    small_position().levels(2, &[source, source], None, &[1.0; 7], &mut [0; 16], 8);
}

#[test]
#[should_panic(expected = "rows of the output overlap")]
fn refuses_places_on_top_of_rows() {
    let position = small_position();
    let source = Source { levels: &[0; 64], stride: 11 };
    let map = [position.clone(), position];
    let strides = Strides { row: 8, place: 12 };
    Position::map_levels(&map, 2, &[source, source], None, &[1.0; 8], &mut [0; 64], strides);
}

#[test]
#[should_panic(expected = "positions of one layer share their weights")]
fn refuses_a_map_of_two_layers() {
    let map = [small_position(), small_position()];
    let source = Source { levels: &[0; 64], stride: 11 };
    Position::map_levels(
        &map,
        1,
        &[source, source],
        None,
        &[1.0; 8],
        &mut [0; 16],
        Strides { row: 16, place: 8 },
    );
}

#[test]
#[should_panic(expected = "reaches beyond the weights")]
fn refuses_runs_beyond_the_weights() {
    let weights = Arc::new(Weights::pack(Kernels::best(), 8, 4, |_, _| [1; 4]));
    Position::new(&weights, &[0; 8], &[Run { source: 0, offset: 0, weight: 2, groups: 3 }]);
}

#[test]
#[should_panic(expected = "a weight of -128")]
fn refuses_the_weight_that_has_no_opposite() {
    Weights::pack(Kernels::best(), 8, 4, |_, _| [0, 0, -128, 0]);
}
