//! From dequantized coefficients to samples: the inverse DCT in integers.
//!
//! T.81 leaves open how the transform is rounded. This one rounds as the "accurate integer" method of the Independent
//! JPEG Group does, since that is what others decode DICOM with; so lossy frames give the same values here.

use super::dct::ZIGZAG;

/// Bits behind the binary point of the constants.
const FRACTION: u32 = 13;

/// Dequantizes and transforms blocks of one image.
pub(super) struct Transform {
    /// The quantization table by rows (T.81 A.3.4).
    pub factors: [i32; 64],
    /// Bits of a sample: 8 or 12.
    precision: u8,
}

impl Transform {
    /// With a quantization table in the codestream's order.
    pub fn new(quantization: &[u16; 64], precision: u8) -> Transform {
        let mut factors = [0; 64];
        for (&place, &factor) in ZIGZAG.iter().zip(quantization) {
            factors[usize::from(place)] = i32::from(factor);
        }
        Transform { factors, precision }
    }

    /// The samples of a block, with the level shift (T.81 A.3.1) undone. `places` has all bits of the places where
    /// coefficients are not 0: most blocks have none in one half or both, and need half of the work there.
    #[inline(always)]
    pub fn samples(&self, block: &[i32; 64], places: usize) -> [u16; 64] {
        match (self.precision, places & 0b100_000 == 0, places & 0b000_100 == 0) {
            (8, true, true) => inverse::<8, 2, 4, 4>(block),
            (8, true, false) => inverse::<8, 2, 4, 8>(block),
            (8, false, true) => inverse::<8, 2, 8, 4>(block),
            (8, false, false) => inverse::<8, 2, 8, 8>(block),
            (_, true, true) => inverse::<12, 1, 4, 4>(block),
            (_, true, false) => inverse::<12, 1, 4, 8>(block),
            (_, false, true) => inverse::<12, 1, 8, 4>(block),
            (_, false, false) => inverse::<12, 1, 8, 8>(block),
        }
    }

    /// All samples of a block that has nothing but DC: what [`Transform::samples`] gives.
    pub fn flat(&self, dc: i32) -> u16 {
        let sample = (dc.wrapping_add(4) >> 3).wrapping_add(1 << (self.precision - 1));
        sample.clamp(0, (1 << self.precision) - 1) as u16
    }
}

/// Both passes: over columns, then over rows. `KEPT` bits behind the binary point are kept between them: more
/// would not fit 32 bits. Only the first `ROWS` and `COLUMNS` have coefficients.
#[inline(never)]
fn inverse<const PRECISION: u32, const KEPT: u32, const ROWS: usize, const COLUMNS: usize>(
    block: &[i32; 64],
) -> [u16; 64] {
    let (rows, _) = block.as_chunks::<8>();
    let rows: &[[i32; 8]; 8] = rows.as_array().expect("64 are 8 times 8");
    let columns = transposed(&pass::<ROWS>(rows, FRACTION - KEPT));
    // 3 bits: the factor of 8 by which the two passes are too large.
    let samples = transposed(&pass::<COLUMNS>(&columns, FRACTION + KEPT + 3));
    let mut out = [0; 64];
    for (out, sample) in out.iter_mut().zip(samples.as_flattened()) {
        *out = sample.wrapping_add(1 << (PRECISION - 1)).clamp(0, (1 << PRECISION) - 1) as u16;
    }
    out
}

fn transposed(rows: &[[i32; 8]; 8]) -> [[i32; 8]; 8] {
    let mut columns = [[0; 8]; 8];
    for (y, row) in rows.iter().enumerate() {
        for (x, value) in row.iter().enumerate() {
            columns[x][y] = *value;
        }
    }
    columns
}

/// Eight transforms of eight numbers side by side: the first numbers of all, the second ones, ….
///
/// Overflow wraps: it happens only to coefficients that no image has.
#[derive(Clone, Copy)]
struct Lanes([i32; 8]);

impl Lanes {
    #[inline(always)]
    fn zip(self, other: Lanes, with: impl Fn(i32, i32) -> i32) -> Lanes {
        let mut lanes = self.0;
        for (lane, other) in lanes.iter_mut().zip(other.0) {
            *lane = with(*lane, other);
        }
        Lanes(lanes)
    }

    #[inline(always)]
    fn add(self, other: Lanes) -> Lanes {
        self.zip(other, i32::wrapping_add)
    }

    #[inline(always)]
    fn sub(self, other: Lanes) -> Lanes {
        self.zip(other, i32::wrapping_sub)
    }

    #[inline(always)]
    fn times(self, factor: i32) -> Lanes {
        self.zip(self, |lane, _| lane.wrapping_mul(factor))
    }

    /// Divides by a power of two, to the nearest, halves up.
    #[inline(always)]
    fn rounded(self, bits: u32) -> [i32; 8] {
        self.zip(self, |lane, _| lane.wrapping_add(1 << (bits - 1)) >> bits).0
    }
}

/// A constant with 13 bits behind the binary point.
const fn fixed(constant: f64) -> i32 {
    (constant * (1 << FRACTION) as f64 + 0.5) as i32
}

/// One pass over all columns, of which only the first `LENGTH` numbers are not 0.
///
/// # Source
///
/// C. Loeffler, A. Ligtenberg, G. Moschytz: Practical fast 1-D DCT algorithms with 11 multiplications, 1989; figure 1
/// read from right to left, its outputs larger by the square root of 8.
#[inline(always)]
fn pass<const LENGTH: usize>(rows: &[[i32; 8]; 8], drop: u32) -> [[i32; 8]; 8] {
    let mut c = [Lanes([0; 8]); 8];
    for (lanes, row) in c.iter_mut().zip(rows).take(LENGTH) {
        *lanes = Lanes(*row);
    }

    // The even part: a rotation by 6/8 of a right angle, and butterflies.
    let turned = c[2].add(c[6]).times(fixed(0.541_196_100));
    let e2 = turned.sub(c[6].times(fixed(1.847_759_065)));
    let e3 = turned.add(c[2].times(fixed(0.765_366_865)));
    let e0 = c[0].add(c[4]).times(1 << FRACTION);
    let e1 = c[0].sub(c[4]).times(1 << FRACTION);
    let even = [e0.add(e3), e1.add(e2), e1.sub(e2), e0.sub(e3)];

    // The odd part: as many products as sums of its four inputs need.
    let (sum_a, sum_b) = (c[7].add(c[3]), c[5].add(c[1]));
    let both = sum_a.add(sum_b).times(fixed(1.175_875_602));
    let outer = c[7].add(c[1]).times(fixed(0.899_976_223));
    let inner = c[5].add(c[3]).times(fixed(2.562_915_447));
    let a = both.sub(sum_a.times(fixed(1.961_570_560)));
    let b = both.sub(sum_b.times(fixed(0.390_180_644)));
    let odd = [
        c[1].times(fixed(1.501_321_110)).sub(outer).add(b),
        c[3].times(fixed(3.072_711_026)).sub(inner).add(a),
        c[5].times(fixed(2.053_119_869)).sub(inner).add(b),
        c[7].times(fixed(0.298_631_336)).sub(outer).add(a),
    ];

    [
        even[0].add(odd[0]).rounded(drop),
        even[1].add(odd[1]).rounded(drop),
        even[2].add(odd[2]).rounded(drop),
        even[3].add(odd[3]).rounded(drop),
        even[3].sub(odd[3]).rounded(drop),
        even[2].sub(odd[2]).rounded(drop),
        even[1].sub(odd[1]).rounded(drop),
        even[0].sub(odd[0]).rounded(drop),
    ]
}
