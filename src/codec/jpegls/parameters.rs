//! The coding parameters of a scan: given ones checked, the others as the standard sets them.

use super::CodecError;

/// Coding parameters as a marker segment tells them: 0 asks for the default (ITU-T T.87, C.2.4.1.1).
#[derive(Clone, Copy, Default)]
pub(super) struct Preset {
    pub maximum: u16,
    pub thresholds: [u16; 3],
    pub reset: u16,
}

/// Checked coding parameters, and what follows from them (ITU-T T.87, A.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    /// MAXVAL: the greatest value of a pixel, 1 to 65535.
    pub maximum: i32,
    /// NEAR: how far a decoded value may be from the one that was coded.
    pub near: i32,
    /// T1, T2, T3: NEAR < T1 <= T2 <= T3 <= MAXVAL.
    pub thresholds: [i32; 3],
    /// RESET: at this count a context halves what it remembers.
    pub reset: i32,
    /// RANGE: how many prediction errors there are.
    pub range: i32,
    /// qbpp: bits of a mapped prediction error.
    pub error_bits: u32,
    /// LIMIT: the longest code.
    pub limit: u32,
}

impl Parameters {
    /// Parameters of a scan of `precision` bits.
    pub fn new(precision: u8, near: u8, preset: Preset) -> Result<Self, CodecError> {
        let highest = (1 << precision) - 1;
        let maximum = if preset.maximum == 0 { highest } else { i32::from(preset.maximum) };
        if maximum > highest {
            return Err(CodecError::Damaged("its largest value has more bits than its precision"));
        }
        let near = i32::from(near);
        if near > maximum / 2 {
            return Err(CodecError::Damaged("it allows errors over half of the largest value"));
        }
        let thresholds = thresholds(maximum, near, preset.thresholds)?;
        let reset = if preset.reset == 0 { 64 } else { i32::from(preset.reset) };
        if reset < 3 || reset > maximum.max(255) {
            return Err(CodecError::Damaged("its reset threshold is out of range"));
        }
        let range = (maximum + 2 * near) / (2 * near + 1) + 1;
        let value_bits = bits_for(maximum + 1).max(2);
        Ok(Self {
            maximum,
            near,
            thresholds,
            reset,
            range,
            error_bits: bits_for(range),
            limit: 2 * (value_bits + value_bits.max(8)),
        })
    }

    /// A quantized prediction error stands for this many values: 2 NEAR + 1.
    pub fn step(&self) -> i32 {
        2 * self.near + 1
    }
}

/// The least number of bits that tell `count` things apart: the logarithm to base 2, rounded up.
fn bits_for(count: i32) -> u32 {
    i32::BITS - (count - 1).leading_zeros()
}

/// Thresholds of the gradients: the given ones, and defaults for zeros (ITU-T T.87, C.2.4.1.1.1).
fn thresholds(maximum: i32, near: i32, given: [u16; 3]) -> Result<[i32; 3], CodecError> {
    // T1, T2 and T3 of 8-bit images.
    const BASIC: [i32; 3] = [3, 7, 21];
    let mut thresholds = [0; 3];
    let mut least = near + 1;
    for index in 0..3 {
        // 2, 3, 4: below these the thresholds of few bits do not fall.
        let floor = index as i32 + 2;
        let per_near = (2 * index as i32 + 3) * near;
        let default = if maximum >= 128 {
            let factor = (maximum.min(4095) + 128) / 256;
            factor * (BASIC[index] - floor) + floor + per_near
        } else {
            let factor = 256 / (maximum + 1);
            floor.max(BASIC[index] / factor + per_near)
        };
        thresholds[index] = match i32::from(given[index]) {
            0 if default < least || default > maximum => least,
            0 => default,
            given if given < least || given > maximum => {
                return Err(CodecError::Damaged("its gradient thresholds are out of range"));
            }
            given => given,
        };
        least = thresholds[index];
    }
    Ok(thresholds)
}

/// Levels of a gradient, -4 to 4, by the gradient (ITU-T T.87, A.3.3).
///
/// Gradients have 17 bits with their sign. The table is indexed by their two's complement, so that a mask makes
/// every index valid.
pub(super) struct Levels(Box<[i8; Self::LENGTH]>);

impl Levels {
    const LENGTH: usize = 1 << 17;

    pub fn new(parameters: &Parameters) -> Self {
        let mut table = vec![0i8; Self::LENGTH].into_boxed_slice();
        let [t1, t2, t3] = parameters.thresholds.map(|threshold| threshold as usize);
        let starts = [parameters.near as usize + 1, t1, t2, t3, parameters.maximum as usize + 1];
        for (level, ends) in (1i8..).zip(starts.windows(2)) {
            table[ends[0]..ends[1]].fill(level);
            table[Self::LENGTH + 1 - ends[1]..Self::LENGTH + 1 - ends[0]].fill(-level);
        }
        Self(table.try_into().expect("the table was made with this length"))
    }

    #[inline(always)]
    pub fn of(&self, gradient: i32) -> i32 {
        i32::from(self.0[gradient as usize & (Self::LENGTH - 1)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(precision: u8, near: u8, thresholds: [u16; 3]) -> Result<Parameters, CodecError> {
        Parameters::new(precision, near, Preset { thresholds, ..Preset::default() })
    }

    #[test]
    fn the_defaults_are_those_of_the_standards_table() {
        // ITU-T T.87, Table C.3 and the formulas of C.2.4.1.1.1.
        for (precision, near, expected) in
            [(8, 0, [3, 7, 21]), (12, 0, [18, 67, 276]), (16, 0, [18, 67, 276]), (8, 3, [12, 22, 42])]
        {
            assert_eq!(parameters(precision, near, [0; 3]).unwrap().thresholds, expected);
        }
    }

    #[test]
    fn the_limits_are_those_of_the_standards_formulas() {
        let eight = parameters(8, 0, [0; 3]).unwrap();
        assert_eq!((eight.range, eight.error_bits, eight.limit), (256, 8, 32));
        let sixteen = parameters(16, 0, [0; 3]).unwrap();
        assert_eq!((sixteen.range, sixteen.error_bits, sixteen.limit), (65536, 16, 64));
        let near = parameters(8, 3, [0; 3]).unwrap();
        assert_eq!((near.range, near.error_bits, near.limit), (38, 6, 32));
    }

    #[test]
    fn levels_follow_the_order_of_the_standards_comparisons() {
        for (precision, near, given) in
            [(2, 0, [0; 3]), (3, 1, [0; 3]), (8, 0, [0; 3]), (12, 4, [0; 3]), (16, 0, [9, 9, 65535])]
        {
            let parameters = parameters(precision, near, given).unwrap();
            let levels = Levels::new(&parameters);
            let [t1, t2, t3] = parameters.thresholds;
            for gradient in -parameters.maximum..=parameters.maximum {
                let reference = match gradient {
                    d if d <= -t3 => -4,
                    d if d <= -t2 => -3,
                    d if d <= -t1 => -2,
                    d if d < -parameters.near => -1,
                    d if d <= parameters.near => 0,
                    d if d < t1 => 1,
                    d if d < t2 => 2,
                    d if d < t3 => 3,
                    _ => 4,
                };
                assert_eq!(levels.of(gradient), reference, "{gradient} at {parameters:?}");
            }
        }
    }

    #[test]
    fn refuses_thresholds_that_do_not_ascend() {
        for given in [[9, 8, 10], [9, 10, 9], [1, 300, 301], [3, 7, 256]] {
            assert!(parameters(8, 0, given).is_err());
        }
    }
}
