//! Random numbers and smooth random fields that are the same on every platform.
//!
//! Every number is a function of (seed, stream, coordinates), so the order of evaluation and the
//! number of threads cannot change it. What the numbers stand for is left to the callers.

/// What a random number is drawn for; each purpose has a stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Stream {
    Person = 1,
    Folds,
    Texture,
    Fine,
    WarpX,
    WarpY,
    WarpZ,
    BendX,
    BendY,
    BendZ,
    Lobes,
    Bleed,
    Quantum,
    Mottle,
    Uid,
}

/// The finalizer of SplitMix64: a bijection of 64-bit words in which every bit depends on every bit.
///
/// # Source
/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014; constants of
/// Stafford's variant 13, as in `java.util.SplittableRandom`.
pub(super) const fn mix64(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The increment of SplitMix64, 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A random function of three integers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counter {
    key: u64,
}

impl Counter {
    pub(super) const fn new(seed: u64, stream: Stream) -> Self {
        let key = mix64(seed.wrapping_add((stream as u64).wrapping_mul(GOLDEN)));
        Self { key }
    }

    pub(super) const fn word(self, a: i32, b: i32, c: i32) -> u64 {
        let ab = ((a as u32 as u64) << 32) | b as u32 as u64;
        let first = mix64(self.key ^ ab.wrapping_mul(GOLDEN));
        mix64(first.wrapping_add((c as u32 as u64).wrapping_mul(GOLDEN)))
    }

    /// Uniform in `low..high`; 53 random bits.
    pub(super) fn between(self, index: i32, low: f64, high: f64) -> f64 {
        let unit = (self.word(index, 0, 0) >> 11) as f64 / 9_007_199_254_740_992.0;
        low + (high - low) * unit
    }

    /// Nearly normal, mean 0, standard deviation 1: four 16-bit uniforms added (Irwin-Hall), whose
    /// variance is 4/12.
    pub(super) fn normal(self, a: i32, b: i32, c: i32) -> f32 {
        let word = self.word(a, b, c);
        let sum = (word & 0xffff) + (word >> 16 & 0xffff) + (word >> 32 & 0xffff) + (word >> 48);
        (sum as f32 / 65_535.0 - 2.0) * 1.732_050_8
    }
}

/// The twelve edge directions of a cube, and four of them again.
///
/// # Source
/// Perlin: "Improving noise", SIGGRAPH 2002.
const GRADIENTS: [[f64; 3]; 16] = [
    [1.0, 1.0, 0.0],
    [-1.0, 1.0, 0.0],
    [1.0, -1.0, 0.0],
    [-1.0, -1.0, 0.0],
    [1.0, 0.0, 1.0],
    [-1.0, 0.0, 1.0],
    [1.0, 0.0, -1.0],
    [-1.0, 0.0, -1.0],
    [0.0, 1.0, 1.0],
    [0.0, -1.0, 1.0],
    [0.0, 1.0, -1.0],
    [0.0, -1.0, -1.0],
    [1.0, 1.0, 0.0],
    [-1.0, 1.0, 0.0],
    [0.0, -1.0, 1.0],
    [0.0, -1.0, -1.0],
];

/// Gradient noise, about -1 to 1, that varies over `wavelength_mm`.
///
/// # Source
/// Perlin: "Improving noise", SIGGRAPH 2002, with hashed instead of permuted lattice points.
pub(super) fn gradient_noise(counter: Counter, wavelength_mm: f64, p: [f64; 3]) -> f64 {
    let mut cell = [0_i32; 3];
    let mut frac = [0.0; 3];
    let mut fade = [0.0; 3];
    for axis in 0..3 {
        let at = p[axis] / wavelength_mm;
        let floor = at.floor();
        cell[axis] = floor as i32;
        let t = at - floor;
        frac[axis] = t;
        fade[axis] = t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
    }
    let corner = |dx: i32, dy: i32, dz: i32| {
        let word = counter.word(cell[0] + dx, cell[1] + dy, cell[2] + dz);
        let g = GRADIENTS[(word >> 60) as usize];
        g[0] * (frac[0] - f64::from(dx)) + g[1] * (frac[1] - f64::from(dy)) + g[2] * (frac[2] - f64::from(dz))
    };
    let along_x = |dy, dz| lerp(corner(0, dy, dz), corner(1, dy, dz), fade[0]);
    let along_y = |dz| lerp(along_x(0, dz), along_x(1, dz), fade[1]);
    lerp(along_y(0), along_y(1), fade[2])
}

/// `N` gradient noises sampled once on a lattice over the head, then read by linear interpolation:
/// a read costs a tenth of an evaluation.
pub(super) struct Field<const N: usize> {
    values: Vec<[f32; N]>,
    steps_per_mm: f64,
    counts: [i32; 3],
}

/// The box that a [`Field`] covers, in head coordinates; outside it repeats its border.
const FIELD_LOW_MM: [f64; 3] = [-84.0, -104.0, -80.0];
const FIELD_HIGH_MM: [f64; 3] = [84.0, 104.0, 80.0];

impl<const N: usize> Field<N> {
    pub(super) fn new(counters: [Counter; N], wavelength_mm: f64, step_mm: f64) -> Self {
        let mut counts = [0; 3];
        for axis in 0..3 {
            counts[axis] = ((FIELD_HIGH_MM[axis] - FIELD_LOW_MM[axis]) / step_mm) as i32 + 2;
        }
        let mut values = Vec::with_capacity((counts[0] * counts[1] * counts[2]) as usize);
        let at = |axis: usize, n: i32| FIELD_LOW_MM[axis] + f64::from(n) * step_mm;
        for z in 0..counts[2] {
            for y in 0..counts[1] {
                for x in 0..counts[0] {
                    let p = [at(0, x), at(1, y), at(2, z)];
                    values.push(counters.map(|c| gradient_noise(c, wavelength_mm, p) as f32));
                }
            }
        }
        Self { values, steps_per_mm: 1.0 / step_mm, counts }
    }

    pub(super) fn at(&self, p: [f64; 3]) -> [f64; N] {
        let mut cell = [0_i32; 3];
        let mut frac = [0.0; 3];
        for axis in 0..3 {
            let last = f64::from(self.counts[axis] - 2);
            let at = ((p[axis] - FIELD_LOW_MM[axis]) * self.steps_per_mm).clamp(0.0, last);
            // Not negative, so that cutting off is rounding down.
            cell[axis] = at as i32;
            frac[axis] = at - f64::from(cell[axis]);
        }
        let row = self.counts[0];
        let plane = row * self.counts[1];
        let start = (cell[2] * plane + cell[1] * row + cell[0]) as usize;
        let (row, plane) = (row as usize, plane as usize);
        let mut values = [0.0; N];
        for (dz, along_z) in [(0, 1.0 - frac[2]), (plane, frac[2])] {
            for (dy, along_y) in [(0, 1.0 - frac[1]), (row, frac[1])] {
                let pair = &self.values[start + dz + dy..start + dz + dy + 2];
                for n in 0..N {
                    let along_x = lerp(f64::from(pair[0][n]), f64::from(pair[1][n]), frac[0]);
                    values[n] += along_z * along_y * along_x;
                }
            }
        }
        values
    }
}

pub(super) fn lerp(from: f64, to: f64, share: f64) -> f64 {
    from + (to - from) * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_mean_0_and_deviation_1() {
        let counter = Counter::new(3, Stream::Quantum);
        let draws: Vec<f64> = (0..40_000).map(|n| f64::from(counter.normal(1, n, 2))).collect();
        let mean = draws.iter().sum::<f64>() / 40_000.0;
        let square = draws.iter().map(|d| d * d).sum::<f64>() / 40_000.0;
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((square - 1.0).abs() < 0.03, "{square}");
    }

    #[test]
    fn a_field_follows_its_noise() {
        let counter = Counter::new(9, Stream::Folds);
        let field = Field::new([counter], 24.0, 2.0);
        for n in 0..50 {
            let n = f64::from(n);
            let p = [n - 25.0, 40.0 - n, n * 0.7];
            let exact = gradient_noise(counter, 24.0, p);
            assert!((field.at(p)[0] - exact).abs() < 0.05, "{p:?}");
        }
    }

    #[test]
    fn a_field_repeats_its_border_outside() {
        let field = Field::new([Counter::new(9, Stream::Folds)], 24.0, 4.0);
        assert_eq!(field.at([500.0, 0.0, 0.0]), field.at([9e9, 0.0, 0.0]));
    }
}
