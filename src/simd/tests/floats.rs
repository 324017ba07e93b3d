//! The same of floats.

use super::*;

/// One output position of a layer with all that it reads.
#[derive(Clone, Debug)]
struct Problem {
    size: Size,
    runs: Vec<Run>,
    strides: [usize; 2],
    weights: Vec<f32>,
    bias: Vec<f32>,
    sources: [Vec<f32>; 2],
    shortcut: Option<Vec<f32>>,
}

impl Problem {
    /// A problem of that size out of numbers that `next` gives.
    fn new(size: &Size, mut next: impl FnMut() -> u32) -> Problem {
        let Size { rows, channels, groups, .. } = *size;
        let mut reach = [0; 2];
        let runs: Vec<Run> = (0..size.runs)
            .map(|_| {
                let weight = next() as usize % groups;
                let groups = 1 + next() as usize % (groups - weight);
                let (source, offset) = (next() as usize % 2, next() as usize % 9);
                reach[source] = reach[source].max(offset + groups);
                let [offset, weight, groups] = [offset, weight, groups].map(|n| n as u32);
                Run { source: source as u8, offset, weight, groups }
            })
            .collect();
        let strides = reach.map(|reach| reach + next() as usize % 5);
        let mut many =
            |count: usize| -> Vec<f32> { (0..count).map(|_| number(next(), size.extreme)).collect() };
        Problem {
            size: *size,
            strides,
            weights: many(channels * groups),
            bias: many(channels),
            // To the number: what reads further is not sound.
            sources: [0, 1].map(|s| many(if reach[s] == 0 { 0 } else { (rows - 1) * strides[s] + reach[s] })),
            shortcut: size.shortcut.then(|| many(rows * channels)),
            runs,
        }
    }

    /// Levels and sums as bits, with what surrounds them in the output.
    fn run(&self, kernels: Kernels<Floats>) -> [Vec<u32>; 2] {
        let Size { rows, channels, groups, .. } = self.size;
        let weight = |channel: usize, group: usize| self.weights[channel * groups + group];
        let weights = Arc::new(Weights::pack(kernels, channels, groups, weight));
        let position = Position::new(&weights, &self.bias, &self.runs);
        let sources = [0, 1].map(|s| Source { levels: &self.sources[s][..], stride: self.strides[s] });
        let steps = vec![One; channels];
        let shortcut =
            self.shortcut.as_ref().map(|levels| Shortcut { levels, stride: channels, steps: &steps });
        let stride = channels + 3;
        let mut levels = vec![77.0; rows * stride - 3];
        position.levels(rows, &sources, shortcut, &vec![One; channels], &mut levels, stride);
        let mut sums = vec![77.0; rows * stride - 3];
        position.sums(rows, &sources, &mut sums, stride);
        [levels, sums].map(|numbers| numbers.into_iter().map(f32::to_bits).collect())
    }

    fn check(&self) {
        let reference = self.run(floats(Level::Scalar).unwrap());
        for kernels in available() {
            assert!(self.run(kernels) == reference, "level {} differs from scalar", kernels.level());
        }
    }
}

/// A number around 1; at the extremes of any size whose products still have a finite sum, 0 with either sign, or so small
/// that products are no normal numbers.
fn number(random: u32, extreme: bool) -> f32 {
    let exponent = match random % 16 {
        0 if extreme => 0,
        _ if extreme => 40 + random % 117,
        _ => 124 + random % 4,
    };
    let mantissa = if extreme && random.is_multiple_of(32) { 0 } else { random >> 9 };
    f32::from_bits(random << 27 & 1 << 31 | exponent << 23 | mantissa)
}

fn floats(level: Level) -> Option<Kernels<Floats>> {
    Kernels::of(level).and_then(Kernels::floats)
}

fn available() -> impl Iterator<Item = Kernels<Floats>> {
    Level::available().into_iter().filter_map(floats)
}

#[test]
fn every_level_but_those_without_a_fused_multiply_add_has_floats() {
    assert!(floats(Level::Sse2).is_none());
    assert_eq!(available().next().unwrap().level(), Level::Scalar);
    for level in [Level::Avx512Vnni, Level::Neon, Level::Dotprod, Level::I8mm] {
        assert_eq!(floats(level).is_some(), Level::available().contains(&level), "{level}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(target_arch = "x86_64") { 192 } else { 24 }, ..Default::default() })]

    #[test]
    fn every_level_equals_scalar(
        rows in 1usize..=40,
        channels in 1usize..=200,
        groups in 1usize..=40,
        runs in 0usize..=5,
        shortcut: bool,
        extreme: bool,
        seed: u64,
    ) {
        Problem::new(&Size { rows, channels, groups, runs, shortcut, extreme }, generator(seed)).check();
    }
}

/// A fused multiply-add rounds once: 1 + e times 1 - e is 1 - e * e, which two roundings make 1.
#[test]
fn products_are_not_rounded() {
    let e = 2f32.powi(-20);
    for kernels in available() {
        let weights = Arc::new(Weights::pack(kernels, 70, 1, |_, _| 1.0 - e));
        let run = Run { source: 0, offset: 0, weight: 0, groups: 1 };
        let mut sums = [0.0; 70];
        let source = Source { levels: &[1.0 + e][..], stride: 1 };
        Position::new(&weights, &[-1.0; 70], &[run]).sums(1, &[source], &mut sums, 70);
        assert_eq!(sums, [-e * e; 70], "level {}", kernels.level());
    }
}

/// What is no number must reach the logits, where it is refused; a ReLU that made it 0 would hide it.
#[test]
fn relu_cuts_off_numbers_only() {
    let infinity = f32::INFINITY;
    for kernels in available() {
        let bias: Vec<f32> = [f32::NAN, -1.0, 2.0, -infinity, infinity, 1e-40, -1e-40].repeat(20);
        let weights = Arc::new(Weights::pack(kernels, bias.len(), 1, |_, _| 0.0));
        let mut out = vec![7.0; bias.len()];
        let ones = vec![One; bias.len()];
        Position::new(&weights, &bias, &[]).levels(1, &[], None, &ones, &mut out, 0);
        for out in out.chunks(7) {
            assert!(out[0].is_nan(), "level {}: {out:?}", kernels.level());
            assert_eq!(out[1..], [0.0, 2.0, 0.0, infinity, 1e-40, 0.0], "level {}", kernels.level());
        }
    }
}

/// One hash that every processor must match: numbers from a fixed generator in, bits of levels and sums out.
#[test]
fn every_processor_gives_the_same_bits() {
    let reference = |kernels: Kernels<Floats>| {
        let mut hash = Sha256::new();
        for (i, rows) in [1, 2, 3, 5, 6, 7, 16].into_iter().enumerate() {
            let (shortcut, extreme) = (i % 2 > 0, i > 3);
            let size = Size { rows, channels: 20 * i + 4, groups: 9 + 3 * i, runs: 3, shortcut, extreme };
            for bits in Problem::new(&size, generator(i as u64)).run(kernels).concat() {
                hash.update(bits.to_le_bytes());
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    for kernels in available() {
        assert_eq!(
            reference(kernels),
            "a3e986c466598d9c83f28f0c62e6ced0336ca4c0985ecf232f450c283c66bb22",
            "level {}",
            kernels.level()
        );
    }
}

#[test]
fn spinning_says_how_many_products_it_did() {
    for kernels in available() {
        let products = kernels.spin(3);
        assert!(products.is_none_or(|products| products % 3 == 0 && products > 0), "{kernels:?}");
    }
}

#[test]
#[should_panic(expected = "a source is too short")]
fn refuses_a_source_that_ends_within_the_last_row() {
    let kernels = available().last().unwrap();
    let weights = Arc::new(Weights::pack(kernels, 8, 4, |_, _| 1.0));
    let runs = [Run { source: 0, offset: 3, weight: 1, groups: 2 }];
    let short = [0.0; 20 + 5 - 1];
    let source = Source { levels: &short[..], stride: 10 };
    Position::new(&weights, &[0.0; 8], &runs).sums(3, &[source], &mut [0.0; 24], 8);
}
