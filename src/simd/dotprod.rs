//! `sdot`, which ARMv8.2 processors may and ARMv8.4 ones must have: four channels a vector, four products a channel.
//!
//! Signed times signed: levels are offset as in `neon.rs`, which also does what stands behind the products.
//! Rust has no stable name for the instruction yet, so it is written as assembly.

use std::arch::aarch64::*;
use std::arch::asm;

use super::job::Job;
use super::neon;
use super::numbers::Integers;
use super::tile::{self, Isa, Work};
use super::weights::Layout;

/// Runs a job.
///
/// # Safety
/// The processor has NEON and the dot product extension.
pub(super) unsafe fn run(job: Job<'_>) {
    // SAFETY: the caller says so.
    unsafe { tile::run::<Dotprod, 4>(job) }
}

pub(super) struct Dotprod;

impl Isa for Dotprod {
    type Numbers = Integers;
    type Sums = int32x4_t;
    type Levels = int8x16_t;
    type Weights = int8x16_t;

    const LANES: usize = 4;
    const LAYOUT: Layout = Layout { block: 16, bytes: 1, beyond: 0 };
    const ROWS: usize = 6;
    const UNROLLED: usize = 2;

    #[inline(never)]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn enter(work: impl Work) {
        // SAFETY: the caller's promise, passed on.
        unsafe { work.work() }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn start(bias: *const i32) -> int32x4_t {
        // SAFETY: 4 numbers are there to read, as the trait says.
        unsafe { vld1q_s32(bias) }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn levels(at: *const u8) -> int8x16_t {
        // SAFETY: four bytes are there to read, as the trait says.
        let group = vdupq_n_u32(unsafe { at.cast::<u32>().read_unaligned() });
        vreinterpretq_s8_u8(veorq_u8(vreinterpretq_u8_u32(group), vdupq_n_u8(0x80)))
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn weights(at: *const u8) -> int8x16_t {
        // SAFETY: 16 bytes are there to read, as the trait says.
        unsafe { vld1q_s8(at.cast()) }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn dot(sums: int32x4_t, levels: int8x16_t, weights: int8x16_t) -> int32x4_t {
        let mut sums = sums;
        // SAFETY: registers only; the instruction is there, since the function enables its feature.
        unsafe {
            asm!(
                "sdot {sums:v}.4s, {levels:v}.16b, {weights:v}.16b",
                sums = inout(vreg) sums,
                levels = in(vreg) levels,
                weights = in(vreg) weights,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sums
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn shortcut(sums: int32x4_t, levels: *const u8, steps: *const i16) -> int32x4_t {
        // SAFETY: the caller's promise is the same, and this level includes NEON.
        unsafe { neon::shortcut(sums, levels, steps) }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn activate(sums: &[int32x4_t], multipliers: *const f32, out: *mut u8) {
        // SAFETY: as in `shortcut`.
        unsafe { neon::activate(sums, multipliers, out) }
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn finish(sums: int32x4_t, out: *mut i32) {
        // SAFETY: 4 numbers may be written, as the trait says.
        unsafe { vst1q_s32(out, sums) }
    }
}
