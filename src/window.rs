//! Hounsfield units to gray levels: the paper's equation (1), on whole slices.
//!
//! Which window a study gets is the model manifest's business or the user's.

/// A pair of Hounsfield limits `a < b`, and the integer form of equation (1) for them.
///
/// Equation (1) asks for `round(255 (hu - a) / (b - a))` between the limits. [`Window::new`]
/// looks for the smallest shift `s` at which `(v m + 2^(s-1)) >> s` is that number for every
/// `v = hu - a` of the window, so that the loop over a slice has no division and no float.
/// For the usual 0 to 80 HU it is `(51 v + 8) >> 4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    a_hu: i16,
    b_hu: i16,
    multiplier: u32,
    shift: u32,
}

/// Why a window cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// `a` must lie below `b`.
    #[error("window {a_hu},{b_hu}: the lower limit must be below the upper limit")]
    Empty {
        /// Lower limit, HU.
        a_hu: i16,
        /// Upper limit, HU.
        b_hu: i16,
    },
    /// Wider than any window in use.
    #[error("window {a_hu},{b_hu} is wider than {} HU", Window::WIDEST_HU)]
    TooWide {
        /// Lower limit, HU.
        a_hu: i16,
        /// Upper limit, HU.
        b_hu: i16,
    },
}

impl Window {
    /// The widest window, a bone window: up to here the integer form fits 32 bits.
    pub const WIDEST_HU: i32 = 2000;

    /// A window from `a_hu` (black and below) to `b_hu` (white and above).
    ///
    /// # Errors
    /// [`WindowError`] where `a_hu >= b_hu` or the window is wider than [`Window::WIDEST_HU`].
    pub fn new(a_hu: i16, b_hu: i16) -> Result<Self, WindowError> {
        let width = i32::from(b_hu) - i32::from(a_hu);
        if width <= 0 {
            return Err(WindowError::Empty { a_hu, b_hu });
        }
        if width > Self::WIDEST_HU {
            return Err(WindowError::TooWide { a_hu, b_hu });
        }
        let width = width.unsigned_abs();
        // 255 << 23 is the last product that fits 32 bits; a test walks through every width and finds the
        // search to end before it. Rounding the multiplier up sends the ties of equation (1) up.
        let (multiplier, shift) = (1..=23)
            .map(|shift| ((255u32 << shift).div_ceil(width), shift))
            .find(|&(multiplier, shift)| {
                (0..=width).all(|v| fixed_point(v, multiplier, shift) == nearest(v, width))
            })
            .ok_or(WindowError::TooWide { a_hu, b_hu })?;
        Ok(Self { a_hu, b_hu, multiplier, shift })
    }

    /// The limits `(a, b)`.
    ///
    /// # Units
    /// Hounsfield units.
    pub fn limits_hu(&self) -> (i16, i16) {
        (self.a_hu, self.b_hu)
    }

    /// Maps a slice's Hounsfield units to gray levels.
    ///
    /// # Shape
    /// `hu` and `gray` are equally long.
    ///
    /// # Panics
    /// When they are not: a mistake of ours, never of a file.
    ///
    /// # Source
    /// Equation (1) of the paper, rounded to the nearest level, halves up.
    pub fn apply(&self, hu: &[i16], gray: &mut [u8]) {
        assert_eq!(hu.len(), gray.len(), "one gray level for each Hounsfield unit");
        let (a, b) = (self.a_hu, self.b_hu);
        match self.shift {
            1 => self.narrow::<1>(hu, gray),
            2 => self.narrow::<2>(hu, gray),
            3 => self.narrow::<3>(hu, gray),
            4 => self.narrow::<4>(hu, gray),
            5 => self.narrow::<5>(hu, gray),
            6 => self.narrow::<6>(hu, gray),
            7 => self.narrow::<7>(hu, gray),
            shift => {
                let half = 1u32 << (shift - 1);
                for (gray, &hu) in gray.iter_mut().zip(hu) {
                    let v = (i32::from(hu.max(a).min(b)) - i32::from(a)) as u32;
                    *gray = (v.wrapping_mul(self.multiplier).wrapping_add(half) >> shift) as u8;
                }
            }
        }
    }

    /// The loop in 16-bit lanes, which are twice as many as 32-bit ones.
    ///
    /// Up to shift 7, `v m + half` is below `255.5 * 128 < 2^15`. It is computed as `hu m + (half - a m)`, whose
    /// parts may wrap: the sum is right modulo 2^16, and so right. A shift known to the compiler and the clamp,
    /// which never changes a value, let it use its narrowing instruction: 1.2 times as fast as without.
    fn narrow<const SHIFT: u32>(&self, hu: &[i16], gray: &mut [u8]) {
        let (a, b) = (self.a_hu, self.b_hu);
        let multiplier = self.multiplier as i16;
        let offset = (1i16 << (SHIFT - 1)).wrapping_sub(a.wrapping_mul(multiplier));
        for (gray, &hu) in gray.iter_mut().zip(hu) {
            let scaled = hu.max(a).min(b).wrapping_mul(multiplier).wrapping_add(offset);
            *gray = (scaled >> SHIFT).clamp(0, 255) as u8;
        }
    }
}

fn fixed_point(v: u32, multiplier: u32, shift: u32) -> u32 {
    (v * multiplier + (1 << (shift - 1))) >> shift
}

/// `round(255 v / width)`, halves up, in integers.
fn nearest(v: u32, width: u32) -> u32 {
    (510 * v + width) / (2 * width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Equation (1) as the paper writes it.
    fn reference_gray(hu: i16, a: i16, b: i16) -> u8 {
        if hu < a {
            0
        } else if hu > b {
            255
        } else {
            let (hu, a, b) = (f64::from(hu), f64::from(a), f64::from(b));
            (255.0 * (hu - a) / (b - a) + 0.5).floor() as u8
        }
    }

    #[test]
    fn the_usual_window_is_51_sixteenths() {
        let window = Window::new(0, 80).unwrap();
        assert_eq!((window.multiplier, window.shift), (51, 4));
    }

    #[test]
    fn every_width_has_an_exact_integer_form() {
        for width in 1..=Window::WIDEST_HU {
            Window::new(-1024, (width - 1024) as i16).unwrap();
        }
    }

    #[test]
    fn refuses_an_empty_and_a_boundless_window() {
        assert!(matches!(Window::new(80, 80), Err(WindowError::Empty { .. })));
        assert!(matches!(Window::new(i16::MIN, i16::MAX), Err(WindowError::TooWide { .. })));
    }

    #[test]
    fn padding_is_black() {
        let mut gray = [7];
        Window::new(-1000, 1000).unwrap().apply(&[i16::MIN], &mut gray);
        assert_eq!(gray, [0]);
    }

    proptest! {
        #[test]
        fn equals_equation_1(
            a in -2000i16..2000,
            width in 1i16..2000,
            hu in proptest::collection::vec(any::<i16>(), 0..200),
        ) {
            let window = Window::new(a, a + width).unwrap();
            // The limits themselves and their neighbours are where a rounding slip would show.
            let mut hu = hu;
            hu.extend([a - 1, a, a + 1, a + width - 1, a + width, a + width + 1, i16::MIN, i16::MAX]);
            let mut gray = vec![0; hu.len()];
            window.apply(&hu, &mut gray);
            let expected: Vec<u8> = hu.iter().map(|&hu| reference_gray(hu, a, a + width)).collect();
            prop_assert_eq!(gray, expected);
        }
    }
}
