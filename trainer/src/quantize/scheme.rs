//! The arithmetic of the quantized network, number by number: docs/quantization.md (1) to (6).
//!
//! Every function here has one result on every processor: integers, and single operations of IEEE
//! f32 that round to nearest, ties to even.

/// Largest quantized activation: u8, zero point 0.
pub const LARGEST_ACTIVATION: f32 = 255.0;

/// Largest quantized weight: s8 without -128, so that the range is symmetric.
pub const LARGEST_WEIGHT: f32 = 127.0;

/// Largest quantized bias that [`accumulator_step`] allows. f32 holds every integer up to 2^24.
const LARGEST_BIAS: f64 = (1 << 24) as f64;

/// A channel whose weights have died still needs a step; its products with f32 scales stay normal.
const SMALLEST_STEP: f64 = 1e-20;

/// Largest factor of an identity shortcut: it fits i16, and 255 of it stay far below i32's end.
const LARGEST_FACTOR: f64 = 32_767.0;

/// A weight as an integer.
///
/// # Source
/// docs/quantization.md (2).
#[must_use]
pub fn weight(real: f32, scale: f32) -> i8 {
    let level = (f64::from(real) / f64::from(scale)).round_ties_even();
    level.clamp(-f64::from(LARGEST_WEIGHT), f64::from(LARGEST_WEIGHT)) as i8
}

/// A bias as an integer, in the accumulator's steps.
///
/// # Source
/// docs/quantization.md (3).
#[must_use]
pub fn bias(real: f64, step: f64) -> i32 {
    (real / step).round_ties_even() as i32
}

/// What an accumulator is multiplied by to become an activation.
///
/// # Source
/// docs/quantization.md (4): the two roundings to f32 are part of the definition.
#[must_use]
pub fn multiplier(input: f32, weight: f32, output: f32) -> f32 {
    input * weight / output
}

/// From an accumulator to the next activation: scale, round, ReLU and saturation in one.
///
/// # Source
/// docs/quantization.md (5).
#[must_use]
pub fn requantize(accumulator: i32, multiplier: f32) -> u8 {
    // Nearest f32 of the accumulator, one product, ties to even; `as` cuts off at 0 and 255.
    (accumulator as f32 * multiplier).round_ties_even() as u8
}

/// Step of an output channel's accumulator: as fine as weights of at most `range` (in units of the
/// step's input, `s_x max|w|`) and its bias allow.
///
/// # Source
/// docs/quantization.md (6).
#[must_use]
pub fn accumulator_step(range: f64, bias: f64) -> f64 {
    (range / f64::from(LARGEST_WEIGHT)).max(bias.abs() / LARGEST_BIAS).max(SMALLEST_STEP)
}

/// How many accumulator steps one level of an identity shortcut's activation of scale `shortcut`
/// is worth: a whole number, for which the step is made a little larger than need be.
///
/// # Source
/// docs/quantization.md (7).
#[must_use]
pub fn identity_factor(shortcut: f32, step: f64) -> i32 {
    // At least 1: a shortcut must not vanish, rather are weights of such a channel cut off.
    (f64::from(shortcut) / step).floor().clamp(1.0, LARGEST_FACTOR) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Nearest integer to `value * 2^exponent`, ties to even, by integers alone.
    fn reference_round(value: i128, exponent: i32) -> i128 {
        if exponent >= 0 {
            return value << exponent;
        }
        let divisor = 1i128 << -exponent;
        let (below, rest) = (value.div_euclid(divisor), value.rem_euclid(divisor));
        match (2 * rest).cmp(&divisor) {
            std::cmp::Ordering::Less => below,
            std::cmp::Ordering::Greater => below + 1,
            std::cmp::Ordering::Equal => below + (below & 1),
        }
    }

    /// The 24 highest bits of `value`, rounded to nearest, and the exponent that goes with them:
    /// what f32 keeps.
    fn reference_f32(value: i128, exponent: i32) -> (i128, i32) {
        let bits = 128 - value.unsigned_abs().leading_zeros() as i32;
        let dropped = (bits - 24).max(0);
        (reference_round(value, -dropped), exponent + dropped)
    }

    /// Equation (5) without a floating-point unit.
    fn reference_requantize(accumulator: i32, multiplier: f32) -> u8 {
        let bits = multiplier.to_bits();
        let (mantissa, exponent) = ((bits & 0x7f_ffff) | 0x80_0000, (bits >> 23) as i32 - 150);
        let (sum, sum_exponent) = reference_f32(accumulator.into(), 0);
        let (product, exponent) = reference_f32(sum * i128::from(mantissa), sum_exponent + exponent);
        // Far below 1 nothing is left; shifting by so much would leave i128.
        let level = if exponent < -100 { 0 } else { reference_round(product, exponent) };
        level.clamp(0, 255) as u8
    }

    #[test]
    fn requantizing_is_what_integers_say_it_is() {
        let mut random = Random::new(41);
        let extremes = [
            i32::MIN,
            i32::MIN + 1,
            -1,
            0,
            1,
            i32::MAX,
            1 << 24,
            (1 << 24) + 1,
            (1 << 25) + 2,
            (1 << 25) + 6,
        ];
        let multipliers = [1e-6f32, 1.0 / 512.0, 0.25, 0.5, 1.0, 1.5, 255.0, 0.001_953_124_9];
        for accumulator in extremes {
            for multiplier in multipliers {
                let found = requantize(accumulator, multiplier);
                assert_eq!(
                    found,
                    reference_requantize(accumulator, multiplier),
                    "{accumulator} {multiplier}"
                );
            }
        }
        for _ in 0..200_000 {
            let multiplier = random.between(1e-5, 0.02) as f32;
            // Around the range's ends as often as inside.
            let accumulator = (random.between(-20.0, 280.0) / f64::from(multiplier)) as i32;
            let found = requantize(accumulator, multiplier);
            assert_eq!(found, reference_requantize(accumulator, multiplier), "{accumulator} {multiplier}");
        }
    }

    #[test]
    fn ties_go_to_the_even_level_and_the_ends_hold() {
        let halves = [1, 3, 5, 7, 509, 511, 513].map(|accumulator| requantize(accumulator, 0.5));
        assert_eq!(halves, [0, 2, 2, 4, 254, 255, 255]);
        assert_eq!([requantize(-1, 1.0), requantize(i32::MIN, 1.0), requantize(i32::MAX, 1.0)], [0, 0, 255]);
    }

    #[test]
    fn weights_use_their_whole_range_and_never_leave_it() {
        assert_eq!([weight(1.27, 0.01), weight(-1.27, 0.01), weight(0.005, 0.01)], [127, -127, 0]);
        assert_eq!([weight(9.0, 0.01), weight(-9.0, 0.01)], [127, -127]);
    }

    #[test]
    fn a_channel_without_weights_keeps_its_bias() {
        let step = accumulator_step(0.0, -0.3);
        let level = bias(-0.3, step);
        assert_eq!(level, -(1 << 24));
        assert!(accumulator_step(0.0, 0.0) > 0.0);
        assert_eq!(bias(0.0, accumulator_step(0.0, 0.0)), 0);
    }

    #[test]
    fn a_level_of_an_identity_is_a_whole_number_of_steps() {
        let mut random = Random::new(42);
        for _ in 0..10_000 {
            let (shortcut, wanted) = (random.between(0.001, 0.1) as f32, random.between(1e-7, 1e-3));
            let factor = identity_factor(shortcut, wanted);
            assert!((1..=32_767).contains(&factor));
            let step = f64::from(shortcut) / f64::from(factor);
            // Never finer than wanted, unless a level of the shortcut itself is finer.
            assert!(step >= wanted * (1.0 - 1e-12) || factor == 1, "{shortcut} {wanted}");
        }
    }
}
