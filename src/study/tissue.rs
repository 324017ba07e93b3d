//! Whether the slices show a head with a brain in it: a phantom or an empty scan gets no verdict. What their values say
//! before any window is left to `densities`.

use super::contrast::enhanced_pixels;
use super::densities::{Densities, Plausibility};
use super::{Refusal, RefusalCode};
use ndarray::Array2;

/// Gray levels of brain: at the usual window 20 to 50 HU. Water and cerebrospinal fluid lie below.
const BRAIN: std::ops::RangeInclusive<u8> = 64..=160;
/// A brain slice has more than this share of its head in [`BRAIN`]; 55 to 80 percent is usual.
const BRAIN_SHARE: f64 = 0.25;
/// The slices of a head series that show brain in that way are more than this share.
const SLICE_SHARE: f64 = 0.2;

/// What one slice shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    head: bool,
    brain: bool,
    densities: Densities,
    /// Pixels that may be vessels full of contrast agent.
    pub enhanced_pixels: u32,
}

impl Sight {
    /// Looks at a prepared slice: everything but the head is 0. `hu` is the slice as it was measured.
    pub fn of(gray: &Array2<u8>, hu: &[i16]) -> Self {
        let head = gray.iter().filter(|&&level| level > 0).count();
        let brain = gray.iter().filter(|&level| BRAIN.contains(level)).count();
        Self {
            head: head > 0,
            brain: brain as f64 > BRAIN_SHARE * head as f64,
            densities: Densities::of(hu, gray.ncols()),
            enhanced_pixels: enhanced_pixels(hu, gray.ncols()),
        }
    }
}

/// What the slices of a series showed so far.
#[derive(Default)]
pub(super) struct Tissue {
    slices: u32,
    with_head: u32,
    with_brain: u32,
    plausibility: Plausibility,
}

impl Tissue {
    /// Takes in a slice.
    pub fn see(&mut self, sight: Sight) {
        self.slices += 1;
        self.with_head += u32::from(sight.head);
        self.with_brain += u32::from(sight.brain);
        self.plausibility.see(sight.densities);
    }

    /// # Errors
    /// The refusal of a series that is not in Hounsfield units, or without a head or a brain.
    pub fn check(&self) -> Result<(), Refusal> {
        // First: of values in another unit, the window shows anything or nothing.
        self.plausibility.check()?;
        let Self { slices, with_head, with_brain, .. } = *self;
        if with_head == 0 {
            let detail = format!("none of {slices} slices shows a head");
            return Err(Refusal { code: RefusalCode::NoHead, detail });
        }
        if f64::from(with_brain) <= SLICE_SHARE * f64::from(slices) {
            let detail = format!("{with_brain} of {slices} slices show tissue as dense as brain");
            return Err(Refusal { code: RefusalCode::NoBrain, detail });
        }
        Ok(())
    }
}
