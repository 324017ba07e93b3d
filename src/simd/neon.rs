//! ARMv8.0, which every 64-bit ARM processor has: four channels a vector, products of signed bytes in 16 bits.
//!
//! There is no instruction for u8 times s8. So a level becomes signed, 128 less, by turning its highest bit over;
//! [`Position`](super::Position) puts 128 times the weights back into the bias. A product then is 128 * 127 at most.

use std::arch::aarch64::*;

use super::job::Job;
use super::tile::{self, Isa};

/// Runs a job.
///
/// # Safety
/// The processor has NEON.
pub(super) unsafe fn run(job: Job<'_>) {
    // SAFETY: the caller says so.
    unsafe { tile::run::<Neon, 4>(job) }
}

pub(super) struct Neon;

impl Isa for Neon {
    /// Two channels a vector, two parts a channel: what `sadalp` makes of four products.
    type Sums = [int32x4_t; 2];
    type Levels = int8x8_t;
    type Weights = int8x16_t;

    const LANES: usize = 4;
    const ROWS: usize = 3;

    #[inline(never)]
    #[target_feature(enable = "neon")]
    unsafe fn enter(work: impl FnOnce()) {
        work();
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn zero() -> [int32x4_t; 2] {
        [vdupq_n_s32(0); 2]
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn levels(at: *const u8) -> int8x8_t {
        // SAFETY: four bytes are there to read, as the trait says.
        let group = unsafe { at.cast::<u32>().read_unaligned() };
        vreinterpret_s8_u32(vdup_n_u32(group ^ 0x8080_8080))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn weights(at: *const i8) -> int8x16_t {
        // SAFETY: 16 bytes are there to read, as the trait says.
        unsafe { vld1q_s8(at) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn dot(sums: [int32x4_t; 2], levels: int8x8_t, weights: int8x16_t) -> [int32x4_t; 2] {
        [
            vpadalq_s16(sums[0], vmull_s8(vget_low_s8(weights), levels)),
            vpadalq_s16(sums[1], vmull_s8(vget_high_s8(weights), levels)),
        ]
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn finish(sums: [int32x4_t; 2], bias: *const i32, out: *mut i32) {
        // SAFETY: 4 numbers are there to read, and as many to write, as the trait says.
        unsafe { vst1q_s32(out, vaddq_s32(vpaddq_s32(sums[0], sums[1]), vld1q_s32(bias))) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn add_shortcut(sums: *mut i32, levels: *const u8, steps: *const i16) {
        // SAFETY: 4 levels, steps and sums are there to read, and the sums to write, as the trait says.
        unsafe {
            let levels = vcreate_u8(u64::from(levels.cast::<u32>().read_unaligned()));
            let levels = vreinterpret_s16_u16(vget_low_u16(vmovl_u8(levels)));
            vst1q_s32(sums, vmlal_s16(vld1q_s32(sums), levels, vld1_s16(steps)));
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn requantize(sums: *const i32, multipliers: *const f32, out: *mut u8) {
        // SAFETY: 4 sums and 4 multipliers are there to read, as the trait says.
        let (sums, multipliers) = unsafe { (vld1q_s32(sums), vld1q_f32(multipliers)) };
        let product = vmulq_f32(vcvtq_f32_s32(sums), multipliers);
        let cut = vminq_f32(vmaxq_f32(product, vdupq_n_f32(0.0)), vdupq_n_f32(255.0));
        let words = vmovn_u32(vcvtnq_u32_f32(cut));
        let levels = vreinterpret_u32_u8(vmovn_u16(vcombine_u16(words, words)));
        // SAFETY: 4 bytes may be written, as the trait says.
        unsafe { out.cast::<u32>().write_unaligned(vget_lane_u32::<0>(levels)) }
    }
}
