//! What the coder remembers of each kind of neighborhood.

use super::parameters::Parameters;

/// The longest remainder of a code: prediction errors have at most 16 bits.
const LONGEST: u32 = 16;

/// The least k with `count << k >= sum` (ITU-T T.87, A.5.1, code segment A.10).
#[inline(always)]
fn golomb_parameter(sum: u32, count: u32) -> u32 {
    // Shifted by the difference of their lengths, the count is as long as the sum, and may still be less. One bit
    // is set, which changes no length but that of 0, so that the processor's bit scan is defined.
    let k = (count | 1).leading_zeros().saturating_sub((sum | 1).leading_zeros());
    (k + u32::from(count << k < sum)).min(LONGEST)
}

/// State of a regular context (ITU-T T.87, A.6), and what the next code of it needs.
#[derive(Clone, Copy)]
pub(super) struct Regular {
    /// A: the sum of the errors' magnitudes.
    sum: u32,
    /// B: the bias, between -N and 0.
    bias: i32,
    /// N: how many errors were met, up to RESET.
    count: i32,
    /// C: what is added to the prediction.
    pub correction: i8,
    /// k of the next code. It is worked out here, where no other step waits for it.
    pub k: u8,
    /// -1 where the next code's error is complemented, else 0 (ITU-T T.87, A.5.2: k is 0 and 2B <= -N).
    pub complement: i8,
}

impl Regular {
    pub fn new(parameters: &Parameters) -> Self {
        let sum = first_sum(parameters);
        let k = golomb_parameter(sum, 1) as u8;
        // B is 0, so nothing is complemented.
        Self { sum, bias: 0, count: 1, correction: 0, k, complement: 0 }
    }

    /// Learns an error (ITU-T T.87, A.6, code segments A.12 and A.13).
    ///
    /// Written without branches: errors are noise, and no branch predictor foresees them.
    #[inline(always)]
    pub fn learn(&mut self, error: i32, parameters: &Parameters, near: i32) {
        let mut sum = self.sum + error.unsigned_abs();
        let mut bias = self.bias + error * (2 * near + 1);
        let mut count = self.count;
        if count == parameters.reset {
            sum >>= 1;
            bias >>= 1;
            count >>= 1;
        }
        count += 1;
        let (low, high) = (bias <= -count, bias > 0);
        let moved = bias + if low { count } else { 0 } - if high { count } else { 0 };
        bias = moved.max(1 - count).min(0);
        let correction = i32::from(self.correction) + i32::from(high) - i32::from(low);
        self.correction = correction.clamp(-128, 127) as i8;
        let k = golomb_parameter(sum, count as u32);
        self.complement = -i8::from(near == 0 && k == 0 && 2 * bias <= -count);
        self.k = k as u8;
        (self.sum, self.bias, self.count) = (sum, bias, count);
    }
}

/// State of one of the two contexts for the pixel that ends a run (ITU-T T.87, A.7.2).
#[derive(Clone, Copy)]
pub(super) struct Interruption {
    /// A.
    sum: u32,
    /// N.
    count: u32,
    /// Nn: how many errors were negative.
    negative: u32,
}

impl Interruption {
    pub fn new(parameters: &Parameters) -> Self {
        Self { sum: first_sum(parameters), count: 1, negative: 0 }
    }

    /// k of the next code; `alike` where the pixels to the left and above are alike (RItype of 1).
    pub fn k(&self, alike: bool) -> u32 {
        golomb_parameter(self.sum + if alike { self.count >> 1 } else { 0 }, self.count)
    }

    /// The error of a code, which is learned (ITU-T T.87, A.7.2.1 and A.7.2.2, code segments A.20 to A.23).
    pub fn error(&mut self, code: u32, k: u32, alike: bool, parameters: &Parameters) -> i32 {
        let mapped = code + u32::from(alike);
        let magnitude = mapped.div_ceil(2) as i32;
        let expected_negative = k != 0 || 2 * self.negative >= self.count;
        let error = if expected_negative == (mapped % 2 == 1) { -magnitude } else { magnitude };
        self.negative += u32::from(error < 0);
        self.sum += (code + u32::from(!alike)) >> 1;
        if self.count == parameters.reset as u32 {
            self.sum >>= 1;
            self.count >>= 1;
            self.negative >>= 1;
        }
        self.count += 1;
        error
    }
}

/// A at the beginning of a scan (ITU-T T.87, A.2.1).
fn first_sum(parameters: &Parameters) -> u32 {
    ((parameters.range as u32 + 32) / 64).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golomb_parameter_is_the_one_that_counting_up_finds() {
        let sums = (0..3000).chain((12..=21).flat_map(|bits| (1u32 << bits) - 2..(1 << bits) + 3));
        for sum in sums {
            for count in (1..=70).chain([128, 255, 256, 65535]) {
                let reference = (0..).find(|k| u64::from(count) << k >= u64::from(sum)).unwrap();
                assert_eq!(golomb_parameter(sum, count), reference.min(LONGEST), "{sum} {count}");
            }
        }
    }
}
