//! Floats on every 64-bit ARM processor, `fmla`: four channels a vector, a tile of 6 rows and 16 channels in 24 of the 32
//! registers.

use std::arch::aarch64::*;

use super::job::Job;
use super::numbers::{Floats, One};
use super::tile::{self, Isa, Work};
use super::weights::Layout;

/// Runs a job.
///
/// # Safety
/// The processor has NEON.
pub(super) unsafe fn run(job: Job<'_, Floats>) {
    // SAFETY: the caller says so.
    unsafe { tile::run::<FmaNeon, 4>(job) }
}

pub(super) struct FmaNeon;

impl Isa for FmaNeon {
    type Numbers = Floats;
    type Levels = float32x4_t;
    type Weights = float32x4_t;
    type Sums = float32x4_t;

    const LANES: usize = 4;
    const LAYOUT: Layout = Layout { block: 16, bytes: 1, beyond: 0 };
    const ROWS: usize = 6;
    const UNROLLED: usize = 2;

    #[inline(never)]
    #[target_feature(enable = "neon")]
    unsafe fn enter(work: impl Work) {
        // SAFETY: the caller's promise, passed on.
        unsafe { work.work() }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn start(bias: *const f32) -> float32x4_t {
        // SAFETY: 4 numbers are there to read, as the trait says.
        unsafe { vld1q_f32(bias) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn levels(at: *const f32) -> float32x4_t {
        // SAFETY: a number is there to read, as the trait says.
        unsafe { vld1q_dup_f32(at) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn weights(at: *const u8) -> float32x4_t {
        // SAFETY: 16 bytes are there to read, aligned, as the trait says.
        unsafe { vld1q_f32(at.cast()) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn dot(sums: float32x4_t, levels: float32x4_t, weights: float32x4_t) -> float32x4_t {
        vfmaq_f32(sums, weights, levels)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn shortcut(sums: float32x4_t, levels: *const f32, _steps: *const One) -> float32x4_t {
        // SAFETY: 4 levels are there to read, as the trait says.
        vaddq_f32(sums, unsafe { vld1q_f32(levels) })
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn activate(sums: &[float32x4_t], _multipliers: *const One, out: *mut f32) {
        for (vector, &sums) in sums.iter().enumerate() {
            // Not `fmax`: 0 where it is less, and else the number itself, as the specification says.
            let negative = vcltq_f32(sums, vdupq_n_f32(0.0));
            let levels = vbslq_f32(negative, vdupq_n_f32(0.0), sums);
            // SAFETY: a block of levels may be written, as the trait says.
            unsafe { vst1q_f32(out.add(vector * Self::LANES), levels) }
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn finish(sums: float32x4_t, out: *mut f32) {
        // SAFETY: 4 numbers may be written, as the trait says.
        unsafe { vst1q_f32(out, sums) }
    }
}
