//! Whether the values of a series can be Hounsfield units, and whether they can be a head's.
//!
//! A header may say HU and hold gray levels, or have lost its rescale: then air passes for brain, a hematoma is lost in
//! white, and a study with blood ends in "no alert". Which evidence holds:
//!
//! - *Air at -1000 HU* is proof enough, save where the margin of the slices or their middle is as dense as bone: air and
//!   bone have changed places then, or padding stands where air would. Gray levels do not reach it, and values without
//!   their rescale do not either. It need not be around the head: sinuses and mastoid have it too.
//! - *Without air* the series may be cropped to the brain, or padded around the head, and is judged by the middle of its
//!   slices, where a head is brain: the median lies near 20 to 50 HU. The median is what noise, bone, blood and air
//!   cells do not move. Values without their rescale have 1060 there, gray levels about 110.
//! - *Gray levels whose brain happens to lie there* (a wide bone window) betray themselves otherwise: air is 0, and
//!   nothing is below that and nothing above 255. Measured heads have fat and noisy fluid below 0 and bone far above.
//! - *Bone is no evidence*, nor is the peak of water: children have thin skulls, phantoms have water, and a series
//!   cropped to the brain has neither.
//!
//! Lungs are the one organ that has soft tissue of a brain's density around large regions at -900 to -500 HU; in the middle
//! of a head there are none, whatever cushions lie around it.

use super::{Refusal, RefusalCode};

/// HU a bin of the histogram.
const BIN_HU: i16 = 4;
const BINS: usize = 768;
const LOWEST_HU: i16 = -1536;
/// Below this nothing was measured, tagged as padding or not.
const PADDING_HU: i16 = -1200;
/// Air, with noise and a bad calibration.
const AIR_HU: [i16; 2] = [-1152, -852];
const LUNG_HU: [i16; 2] = [-900, -500];
const SOFT_HU: [i16; 2] = [-20, 100];
/// The largest gray level, rounded up to whole bins.
const LARGEST_GRAY: i16 = 256;
/// The median of the middle of a head lies here: at 34 HU in `GE_human_head`, at 31 in a drawn one; wide ventricles and
/// large hematomas move it by less than this range is wide.
const MIDDLE_HU: [i16; 2] = [-20, 60];
/// As many measured pixels in ten thousand are air in a series that has any.
const AIR_IN_TEN_THOUSAND: u64 = 100;
/// As many lie below 0 where a scanner measured.
const NEGATIVE_IN_TEN_THOUSAND: u64 = 2;
/// As many are 0 where gray levels have air.
const ZERO_IN_TEN_THOUSAND: u64 = 500;
/// No margin is denser, which is air or what a cropped head has there, and no middle.
const DENSEST_HU: i16 = 500;
/// Rows that are looked at are as many, at least; the others tell the same.
const ROWS: usize = 96;

/// What one slice says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Densities {
    measured: u32,
    air: u32,
    negative: u32,
    zero: u32,
    above_gray: u32,
    lungs: bool,
    /// Median of the slice's middle.
    middle_hu: Option<i16>,
    /// Median of its margin.
    margin_hu: Option<i16>,
}

/// Histogram of a part of a slice.
struct Histogram([u32; BINS]);

impl Histogram {
    fn new() -> Self {
        Self([0; BINS])
    }

    fn add(&mut self, pixels: &[i16]) {
        for &hu in pixels {
            // Saturating: padding is the lowest number there is.
            let bin = hu.saturating_sub(LOWEST_HU).max(0) / BIN_HU;
            self.0[(bin as usize).min(BINS - 1)] += 1;
        }
    }

    fn bin(hu: i16) -> usize {
        ((hu - LOWEST_HU) / BIN_HU) as usize
    }

    fn count(&self, [from, to]: [i16; 2]) -> u32 {
        self.0[Self::bin(from)..Self::bin(to)].iter().sum()
    }

    fn measured(&self) -> u32 {
        self.0[Self::bin(PADDING_HU)..].iter().sum()
    }

    fn median(&self) -> Option<i16> {
        let half = self.measured() / 2;
        let mut below = 0;
        for (bin, &count) in self.0.iter().enumerate().skip(Self::bin(PADDING_HU)) {
            below += count;
            if below > half {
                return Some(LOWEST_HU + bin as i16 * BIN_HU + BIN_HU / 2);
            }
        }
        None
    }
}

impl Densities {
    /// Looks at a slice.
    ///
    /// # Shape
    /// `hu` is row-major.
    pub fn of(hu: &[i16], columns: usize) -> Self {
        let rows = hu.len() / columns.max(1);
        let (mut middle, mut margin, mut between) = (Histogram::new(), Histogram::new(), Histogram::new());
        for row in (0..rows).step_by((rows / ROWS).max(1)) {
            let pixels = &hu[row * columns..][..columns];
            if row < rows / 16 || row >= rows - rows / 16 {
                margin.add(pixels);
                continue;
            }
            let (left, rest) = pixels.split_at(columns / 16);
            let (rest, right) = rest.split_at(rest.len() - columns / 16);
            margin.add(left);
            margin.add(right);
            if row < rows / 4 || row >= rows - rows / 4 {
                between.add(rest);
                continue;
            }
            let (left, rest) = rest.split_at(columns / 4 - columns / 16);
            let (rest, right) = rest.split_at(rest.len() - (columns / 4 - columns / 16));
            between.add(left);
            between.add(right);
            middle.add(rest);
        }
        let (middle_hu, margin_hu) = (middle.median(), margin.median());
        // In the middle alone: cushions around a head can be as light as lungs. Half of what a chest has there.
        let lungs = 10 * middle.count(LUNG_HU) > 3 * middle.count(SOFT_HU) + middle.measured() / 2;
        let mut all = between;
        for (sum, (a, b)) in all.0.iter_mut().zip(middle.0.iter().zip(&margin.0)) {
            *sum += a + b;
        }
        let measured = all.measured();
        let highest = LOWEST_HU + BINS as i16 * BIN_HU;
        Self {
            measured,
            air: all.count(AIR_HU),
            negative: all.count([PADDING_HU, 0]),
            zero: all.count([0, BIN_HU]),
            above_gray: all.count([LARGEST_GRAY, highest]),
            lungs,
            middle_hu,
            margin_hu,
        }
    }
}

/// What the slices of a series said so far.
#[derive(Default)]
pub(super) struct Plausibility {
    slices: u32,
    measured: u64,
    air: u64,
    negative: u64,
    zero: u64,
    above_gray: u64,
    with_lungs: u32,
    middles_hu: Vec<i16>,
    margins_hu: Vec<i16>,
}

impl Plausibility {
    /// Takes in a slice.
    pub fn see(&mut self, slice: Densities) {
        self.slices += 1;
        self.measured += u64::from(slice.measured);
        self.air += u64::from(slice.air);
        self.negative += u64::from(slice.negative);
        self.zero += u64::from(slice.zero);
        self.above_gray += u64::from(slice.above_gray);
        self.with_lungs += u32::from(slice.lungs);
        self.middles_hu.extend(slice.middle_hu);
        self.margins_hu.extend(slice.margin_hu);
    }

    /// # Errors
    /// The refusal of a series that is not in Hounsfield units, or shows lungs.
    pub fn check(&self) -> Result<(), Refusal> {
        let shares = |count: u64, in_ten_thousand: u64| 10_000 * count >= in_ten_thousand * self.measured;
        if let Some(middle_hu) = median(&self.middles_hu) {
            // A margin of padding alone says nothing.
            let margin_hu = median(&self.margins_hu).unwrap_or(middle_hu);
            let grays = self.above_gray == 0
                && !shares(self.negative, NEGATIVE_IN_TEN_THOUSAND)
                && shares(self.zero, ZERO_IN_TEN_THOUSAND);
            let [low, high] = MIDDLE_HU;
            let is_brain = !grays && (low..=high).contains(&middle_hu);
            let has_air = shares(self.air, AIR_IN_TEN_THOUSAND) && margin_hu.max(middle_hu) < DENSEST_HU;
            if !has_air && !is_brain {
                let range = if grays { ", and all values lie from 0 to 255" } else { "" };
                let detail = format!(
                    "the slices have {margin_hu} at their margin and {middle_hu} in their middle{range}: Hounsfield \
                     units have -1000 for air and 20 to 50 for brain"
                );
                return Err(Refusal { code: RefusalCode::NotHounsfield, detail });
            }
        }
        if 2 * self.with_lungs > self.slices {
            let detail = format!("{} of {} slices show lungs", self.with_lungs, self.slices);
            return Err(Refusal { code: RefusalCode::NotHead, detail });
        }
        Ok(())
    }
}

fn median(values: &[i16]) -> Option<i16> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hu::PADDING;

    const SIDE: usize = 128;

    /// A head of 40 pixels' radius: brain at 33 HU with noise, fluid, a skull, fat, and `outside` around it.
    fn head(outside: i16) -> Vec<i16> {
        let mut state = 7u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as i16 % 25 - 12
        };
        let at = |pixel: usize| {
            let (y, x) = ((pixel / SIDE) as f64 - 63.5, (pixel % SIDE) as f64 - 63.5);
            (y * y + x * x).sqrt()
        };
        (0..SIDE * SIDE)
            .map(|pixel| match at(pixel) {
                r if r < 8.0 => 5 + noise(),
                r if r < 36.0 => 33 + noise(),
                r if r < 40.0 => 1100 + 10 * noise(),
                r if r < 43.0 => -90 + noise(),
                _ if outside == -1000 => outside + noise(),
                _ => outside,
            })
            .collect()
    }

    fn check(hu: &[i16], columns: usize) -> Result<(), Refusal> {
        let mut series = Plausibility::default();
        (0..5).for_each(|_| series.see(Densities::of(hu, columns)));
        series.check()
    }

    fn refused(hu: &[i16]) -> String {
        let refusal = check(hu, SIDE).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::NotHounsfield);
        refusal.detail
    }

    fn changed(change: impl Fn(i16) -> i16) -> Vec<i16> {
        head(-1000).into_iter().map(change).collect()
    }

    #[test]
    fn a_head_passes_in_air_in_padding_and_without_either() {
        for outside in [-1000, -1024, PADDING, -2000, -3024, 0] {
            assert_eq!(check(&head(outside), SIDE), Ok(()), "{outside}");
        }
        let all = head(-1000);
        let cropped: Vec<i16> =
            (40..88).flat_map(|row| all[row * SIDE + 40..row * SIDE + 88].to_vec()).collect();
        assert_eq!(check(&cropped, 48), Ok(()));
        let nothing = vec![PADDING; SIDE * SIDE];
        assert_eq!(check(&nothing, SIDE), Ok(()), "that there is no head, others see");
    }

    #[test]
    fn gray_levels_are_refused_with_both_numbers() {
        for (low, wide) in [(0, 80), (-15, 100), (-160, 400), (-450, 1500), (-400, 2000), (-1600, 4000)] {
            let gray = |hu: i16| ((i32::from(hu) - low).clamp(0, wide) * 255 / wide) as i16;
            let detail = refused(&changed(gray));
            let middle = format!("{} in their middle", gray(33) / BIN_HU * BIN_HU + BIN_HU / 2);
            assert!(detail.contains("at their margin") && detail.contains(&middle), "{low} {wide}: {detail}");
        }
    }

    #[test]
    fn values_that_lost_their_rescale_are_refused() {
        assert!(refused(&changed(|hu| hu + 1024)).contains("have 26 at their margin and 1058"));
        let padded = changed(|hu| if hu < -900 { PADDING } else { hu + 1024 });
        assert!(refused(&padded).contains("1058 in their middle"), "a margin of padding");
        refused(&changed(|hu| -hu));
        refused(&changed(|hu| (hu + 1024) / 10));
    }

    #[test]
    fn lungs_are_no_head() {
        // A chest whose field of view was a head's got "no alert".
        let chest = |pixel: usize| {
            let (row, column) = (pixel / SIDE, pixel % SIDE);
            let body = (20..108).contains(&row) && (10..118).contains(&column);
            let lung =
                (35..90).contains(&row) && [(20..50), (78..108)].iter().any(|side| side.contains(&column));
            [-1000, 45, -850][usize::from(body) + usize::from(lung)]
        };
        let hu: Vec<i16> = (0..SIDE * SIDE).map(chest).collect();
        let refusal = check(&hu, SIDE).unwrap_err();
        assert_eq!(
            (refusal.code, refusal.detail.as_str()),
            (RefusalCode::NotHead, "5 of 5 slices show lungs")
        );
    }

    #[test]
    fn slices_of_any_size_are_looked_at() {
        for (rows, columns) in [(1, 1), (1, 40), (3, 2), (17, 5), (200, 7)] {
            let densities = Densities::of(&vec![30; rows * columns], columns);
            assert!(densities.measured > 0);
        }
    }
}
