//! Stored values to Hounsfield units, a whole slice at a time.
//! Where the stored values and the numbers of their layout come from is left to `dicom`.

use thiserror::Error;

/// Pixels where nothing was measured: outside of the scanner's field, filled in by its software.
///
/// The lowest `i16`, so that every window shows them black; Hounsfield values stay above it.
pub const PADDING: i16 = i16::MIN;

/// Lowest value a measured pixel can get.
const LOWEST: i32 = PADDING as i32 + 1;
const HIGHEST: i32 = i16::MAX as i32;

/// At or below this, in HU, there is no physical density: scanners fill the corners with -2000 or -3024.
const UNTAGGED_PADDING: i16 = -2000;

/// Why numbers are no rescale or no layout.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum HuError {
    /// Slope 0 makes every pixel equal; an infinite or undefined number makes none.
    #[error("rescale slope {slope} and intercept {intercept} make no Hounsfield units")]
    Rescale {
        /// Factor.
        slope: f64,
        /// Summand.
        intercept: f64,
    },
    /// The value does not fit the cell.
    #[error("{bits_stored} bits up to bit {high_bit} do not fit a cell of 16 bits")]
    Layout {
        /// Bits of the value.
        bits_stored: u16,
        /// Its highest bit, counted from 0.
        high_bit: u16,
    },
}

/// Stored value to Hounsfield units: `slope * stored + intercept`.
///
/// # Source
/// DICOM PS3.3 C.11.1.1.2 (Rescale Intercept, Slope), C.8.2.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rescale {
    slope: f64,
    intercept: f64,
}

impl Rescale {
    /// Checks slope and intercept.
    ///
    /// # Errors
    /// Slope 0, or a number that is not finite.
    pub fn new(slope: f64, intercept: f64) -> Result<Rescale, HuError> {
        if slope == 0.0 || !slope.is_finite() || !intercept.is_finite() {
            return Err(HuError::Rescale { slope, intercept });
        }
        Ok(Rescale { slope, intercept })
    }

    /// Slope and intercept where they are whole and their line stays within `i32` for every 16-bit value.
    fn whole(self) -> Option<(i32, i32)> {
        let is_whole = |number: f64, limit: f64| number.abs() <= limit && number.floor() == number;
        (is_whole(self.slope, 16_384.0) && is_whole(self.intercept, (1 << 30) as f64))
            .then_some((self.slope as i32, self.intercept as i32))
    }
}

/// How a value lies in its cell, and which values are padding.
///
/// There is no MONOCHROME1 here: that interpretation says that low values are to be *shown* bright (DICOM PS3.3
/// C.7.6.3.1.2), after all grayscale transformations. The Modality LUT that makes Hounsfield units comes first
/// and knows nothing of it, so a MONOCHROME1 slice has the same Hounsfield units as a MONOCHROME2 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredLayout {
    /// Left shift that brings the value's highest bit to bit 15.
    left: u32,
    /// Right shift that brings its lowest bit to bit 0.
    right: u32,
    signed: bool,
    /// Lowest and highest padding value; lowest above highest where there is none.
    padding: (i32, i32),
    /// True where the padding is compared to the whole cell: it needs more bits than are stored.
    whole_cell: bool,
}

impl StoredLayout {
    /// Checks the layout of 16-bit cells; the numbers are those of the DICOM header.
    ///
    /// `padding` is compared to *stored* values, before the rescale. Scanners exist whose padding does not fit
    /// the bits stored (-2000 beside 12 bits): they write it into the whole cell, so it is compared to that.
    ///
    /// # Errors
    /// No bits, or bits outside of the cell.
    ///
    /// # Source
    /// DICOM PS3.5 8.1.1 (bits), PS3.3 C.7.5.1.1.2 (padding).
    pub fn new(
        bits_stored: u16,
        high_bit: u16,
        signed: bool,
        padding: Option<(i32, i32)>,
    ) -> Result<StoredLayout, HuError> {
        if bits_stored == 0 || high_bit > 15 || high_bit + 1 < bits_stored {
            return Err(HuError::Layout { bits_stored, high_bit });
        }
        let (lowest, highest) = if signed {
            (-(1i32 << (bits_stored - 1)), (1i32 << (bits_stored - 1)) - 1)
        } else {
            (0, (1i32 << bits_stored) - 1)
        };
        Ok(StoredLayout {
            left: u32::from(15 - high_bit),
            right: u32::from(16 - bits_stored),
            signed,
            padding: padding.unwrap_or((1, 0)),
            whole_cell: padding.is_some_and(|(low, high)| low < lowest || high > highest),
        })
    }

    /// Intercept and padding where every value, and both, fit 16 bits and the slope is 1.
    fn narrow(&self, rescale: Rescale) -> Option<(i16, i16, i16)> {
        let (slope, intercept) = rescale.whole()?;
        if slope != 1 || !(self.signed || self.right > 0) {
            return None;
        }
        let (lowest, highest) = self.padding;
        Some((intercept.try_into().ok()?, lowest.try_into().ok()?, highest.try_into().ok()?))
    }
}

/// The Hounsfield units of a slice of 16-bit cells, low byte first.
///
/// Whole slopes and intercepts are exact; others are rounded to the nearest unit (ties upward), so a value is
/// wrong by at most 0.5 HU. Values beyond `i16` become its nearest value above [`PADDING`]; padding becomes
/// [`PADDING`]. Values of -2000 and below without a padding element stay as they are, since they lie below
/// every window; [`has_untagged_padding`] finds them.
///
/// # Panics
/// `stored` and `hu` differ in length.
pub fn to_hounsfield(stored: &[[u8; 2]], layout: &StoredLayout, rescale: Rescale, hu: &mut [i16]) {
    assert_eq!(stored.len(), hu.len(), "a value for every cell");
    // One loop for each combination: a choice made inside of the loop would keep it from being vectorised.
    match (layout.signed, layout.whole_cell) {
        (true, false) => convert::<true, false>(stored, layout, rescale, hu),
        (true, true) => convert::<true, true>(stored, layout, rescale, hu),
        (false, false) => convert::<false, false>(stored, layout, rescale, hu),
        (false, true) => convert::<false, true>(stored, layout, rescale, hu),
    }
}

/// The Hounsfield units of a slice of 8-bit cells, like [`to_hounsfield`].
///
/// Scanners do not write such slices, so they are widened first instead of having loops of their own.
///
/// # Panics
/// `stored` and `hu` differ in length.
pub fn to_hounsfield_8(stored: &[u8], layout: &StoredLayout, rescale: Rescale, hu: &mut [i16]) {
    let widened: Vec<[u8; 2]> = stored.iter().map(|&cell| [cell, 0]).collect();
    to_hounsfield(&widened, layout, rescale, hu);
}

fn convert<const SIGNED: bool, const WHOLE_CELL: bool>(
    stored: &[[u8; 2]],
    layout: &StoredLayout,
    rescale: Rescale,
    hu: &mut [i16],
) {
    let StoredLayout { left, right, padding: (lowest, highest), .. } = *layout;
    let value = |cell: u16| {
        if SIGNED { i32::from(((cell << left) as i16) >> right) } else { i32::from((cell << left) >> right) }
    };
    let compared = |cell: u16, value: i32| match (WHOLE_CELL, SIGNED) {
        (false, _) => value,
        (true, true) => i32::from(cell as i16),
        (true, false) => i32::from(cell),
    };
    let masked = |compared: i32, hu: i32| {
        if (compared >= lowest) & (compared <= highest) { PADDING } else { hu as i16 }
    };
    let narrow = if WHOLE_CELL { None } else { layout.narrow(rescale) };
    if let Some((intercept, lowest, highest)) = narrow {
        // Nearly every CT: 16-bit lanes, saturating at their ends.
        for (hu, &cell) in hu.iter_mut().zip(stored) {
            let value = value(u16::from_le_bytes(cell)) as i16;
            let rescaled = value.saturating_add(intercept).max(LOWEST as i16);
            *hu = if (value >= lowest) & (value <= highest) { PADDING } else { rescaled };
        }
    } else if let Some((slope, intercept)) = rescale.whole() {
        for (hu, &cell) in hu.iter_mut().zip(stored) {
            let cell = u16::from_le_bytes(cell);
            let value = value(cell);
            let rescaled = (value * slope + intercept).clamp(LOWEST, HIGHEST);
            *hu = masked(compared(cell, value), rescaled);
        }
    } else {
        for (hu, &cell) in hu.iter_mut().zip(stored) {
            let cell = u16::from_le_bytes(cell);
            let value = value(cell);
            let rescaled = f64::from(value) * rescale.slope + rescale.intercept;
            // Made positive first, since the conversion to integers cuts toward 0.
            let shifted = rescaled.clamp(f64::from(LOWEST), f64::from(HIGHEST)) + 32_768.5;
            *hu = masked(compared(cell, value), shifted as i32 - 32_768);
        }
    }
}

/// True where a pixel is at -2000 HU or below and no padding element announced it.
pub fn has_untagged_padding(hu: &[i16]) -> bool {
    // Whole chunks without a way out, which can be vectorised, and a way out between them.
    hu.chunks(4096).any(|chunk| {
        chunk.iter().fold(false, |found, &hu| found | ((hu <= UNTAGGED_PADDING) & (hu != PADDING)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A slice to convert.
    #[derive(Clone, Debug)]
    struct HounsfieldProblem {
        cells: Vec<u16>,
        bits_stored: u16,
        high_bit: u16,
        signed: bool,
        padding: Option<(i32, i32)>,
        slope: f64,
        intercept: f64,
    }

    impl HounsfieldProblem {
        /// One pixel at a time, bit by bit, in 64-bit numbers.
        fn reference(&self) -> Vec<i16> {
            let pixel = |&cell: &u16| {
                let low_bit = self.high_bit + 1 - self.bits_stored;
                let mut value = 0i64;
                for bit in 0..self.bits_stored {
                    value += i64::from(cell >> (low_bit + bit) & 1) << bit;
                }
                if self.signed && value >= 1 << (self.bits_stored - 1) {
                    value -= 1 << self.bits_stored;
                }
                if let Some((low, high)) = self.padding {
                    let (low, high) = (i64::from(low), i64::from(high));
                    let (least, most) = if self.signed {
                        (-(1i64 << (self.bits_stored - 1)), (1i64 << (self.bits_stored - 1)) - 1)
                    } else {
                        (0, (1i64 << self.bits_stored) - 1)
                    };
                    let whole = if self.signed { i64::from(cell as i16) } else { i64::from(cell) };
                    let compared = if low < least || high > most { whole } else { value };
                    if compared >= low && compared <= high {
                        return PADDING;
                    }
                }
                let exact = value as f64 * self.slope + self.intercept;
                ((exact + 0.5).floor() as i64).clamp(-32_767, 32_767) as i16
            };
            self.cells.iter().map(pixel).collect()
        }

        fn run(&self) -> Vec<i16> {
            let layout =
                StoredLayout::new(self.bits_stored, self.high_bit, self.signed, self.padding).unwrap();
            let rescale = Rescale::new(self.slope, self.intercept).unwrap();
            let stored: Vec<[u8; 2]> = self.cells.iter().map(|cell| cell.to_le_bytes()).collect();
            let mut hu = vec![0; stored.len()];
            to_hounsfield(&stored, &layout, rescale, &mut hu);
            hu
        }
    }

    fn problems() -> impl Strategy<Value = HounsfieldProblem> {
        let slope = prop_oneof![
            Just(1.0),
            Just(-1.0),
            (-300i32..300).prop_map(|slope| f64::from(slope) + 0.0),
            -40.0..40.0f64,
            Just(2.0002442),
        ]
        .prop_filter("slope 0 is refused", |slope| *slope != 0.0);
        let intercept = prop_oneof![Just(0.0), Just(-1024.0), Just(-8192.0), -5000.0..5000.0f64, Just(1e9),];
        let padding = prop_oneof![
            Just(None),
            (-32_768i32..=65_535, 0i32..500).prop_map(|(low, more)| Some((low, low + more))),
        ];
        (0u16..16, any::<bool>(), padding, slope, intercept).prop_flat_map(
            |(high_bit, signed, padding, slope, intercept)| {
                let cells = prop::collection::vec(
                    prop_oneof![any::<u16>(), Just(0), Just(0x7FFF), Just(0x8000), Just(0xFFFF)],
                    0..70,
                );
                (1..=high_bit + 1, cells).prop_map(move |(bits_stored, cells)| HounsfieldProblem {
                    cells,
                    bits_stored,
                    high_bit,
                    signed,
                    padding,
                    slope,
                    intercept,
                })
            },
        )
    }

    proptest! {
        // Four loops and their edges are rare among random problems.
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn agrees_with_the_reference(problem in problems()) {
            prop_assert_eq!(problem.run(), problem.reference());
        }
    }

    #[test]
    fn padding_is_compared_before_the_rescale() {
        let problem = HounsfieldProblem {
            cells: vec![0, 1, 2, 1024],
            bits_stored: 12,
            high_bit: 11,
            signed: false,
            padding: Some((0, 1)),
            slope: 1.0,
            intercept: -1024.0,
        };
        assert_eq!(problem.run(), [PADDING, PADDING, -1022, 0]);
    }

    #[test]
    fn padding_beyond_the_stored_bits_is_compared_to_the_cell() {
        // -2000 needs all 16 bits; its low 12 bits alone read 48, a plausible tissue.
        let problem = HounsfieldProblem {
            cells: vec![(-2000i16) as u16, 48],
            bits_stored: 12,
            high_bit: 11,
            signed: true,
            padding: Some((-2000, -2000)),
            slope: 1.0,
            intercept: 0.0,
        };
        assert_eq!(problem.run(), [PADDING, 48]);
    }

    #[test]
    fn padding_without_a_tag_is_found() {
        assert!(has_untagged_padding(&[0, -3024]));
        assert!(has_untagged_padding(&[-2000]));
        assert!(!has_untagged_padding(&[-1999, 0, PADDING]));
    }

    #[test]
    fn eight_bit_cells_are_widened() {
        let layout = StoredLayout::new(8, 7, false, None).unwrap();
        let mut hu = [0; 3];
        to_hounsfield_8(&[0, 128, 255], &layout, Rescale::new(32.1216, -4047.0).unwrap(), &mut hu);
        assert_eq!(hu, [-4047, 65, 4144]);
        let signed = StoredLayout::new(8, 7, true, None).unwrap();
        to_hounsfield_8(&[0, 128, 255], &signed, Rescale::new(1.0, 0.0).unwrap(), &mut hu);
        assert_eq!(hu, [0, -128, -1]);
    }

    #[test]
    fn refuses_slopes_and_layouts_that_mean_nothing() {
        assert!(Rescale::new(0.0, 1.0).is_err());
        assert!(Rescale::new(f64::NAN, 1.0).is_err());
        assert!(Rescale::new(1.0, f64::INFINITY).is_err());
        assert!(StoredLayout::new(0, 0, false, None).is_err());
        assert!(StoredLayout::new(16, 14, false, None).is_err());
        assert!(StoredLayout::new(16, 16, false, None).is_err());
    }
}
