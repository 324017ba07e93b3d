//! Whether the slices show a head with a brain in it: a phantom or an empty scan gets no verdict.

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
}

impl Sight {
    /// Looks at a prepared slice: everything but the head is 0.
    pub fn of(gray: &Array2<u8>) -> Self {
        let head = gray.iter().filter(|&&level| level > 0).count();
        let brain = gray.iter().filter(|&level| BRAIN.contains(level)).count();
        Self { head: head > 0, brain: brain as f64 > BRAIN_SHARE * head as f64 }
    }
}

/// What the slices of a series showed so far.
#[derive(Default)]
pub(super) struct Tissue {
    slices: u32,
    with_head: u32,
    with_brain: u32,
}

impl Tissue {
    /// Takes in a slice.
    pub fn see(&mut self, sight: Sight) {
        self.slices += 1;
        self.with_head += u32::from(sight.head);
        self.with_brain += u32::from(sight.brain);
    }

    /// # Errors
    /// The refusal of a series without a head or without a brain.
    pub fn check(&self) -> Result<(), Refusal> {
        let Self { slices, with_head, with_brain } = *self;
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
