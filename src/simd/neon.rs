//! ARMv8.0, which every 64-bit ARM processor has: four channels a vector, products of signed bytes in 16 bits.
//!
//! There is no instruction for u8 times s8. So a level becomes signed, 128 less, by turning its highest bit over;
//! [`Position`](super::Position) puts 128 times the weights back into the bias. A product then is 128 * 127 at most.

use std::arch::aarch64::*;

use super::job::Job;
use super::numbers::Integers;
use super::tile::{self, Isa, Work};
use super::weights::Layout;

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
    type Numbers = Integers;
    /// Two channels a vector, two parts a channel: what `sadalp` makes of four products.
    type Sums = [int32x4_t; 2];
    type Levels = int8x8_t;
    type Weights = int8x16_t;

    const LANES: usize = 4;
    const LAYOUT: Layout = Layout { block: 16, bytes: 1, beyond: 0 };
    const ROWS: usize = 3;
    const UNROLLED: usize = 1;

    #[inline(never)]
    #[target_feature(enable = "neon")]
    unsafe fn enter(work: impl Work) {
        // SAFETY: the caller's promise, passed on.
        unsafe { work.work() }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn start(bias: *const i32) -> [int32x4_t; 2] {
        // SAFETY: 4 numbers are there to read, as the trait says.
        parts(unsafe { vld1q_s32(bias) })
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
    unsafe fn weights(at: *const u8) -> int8x16_t {
        // SAFETY: 16 bytes are there to read, as the trait says.
        unsafe { vld1q_s8(at.cast()) }
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
    unsafe fn shortcut(sums: [int32x4_t; 2], levels: *const u8, steps: *const i16) -> [int32x4_t; 2] {
        // SAFETY: 4 levels and steps are there to read, as the trait says.
        let [a, b] = parts(unsafe { shortcut(vdupq_n_s32(0), levels, steps) });
        [vaddq_s32(sums[0], a), vaddq_s32(sums[1], b)]
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn activate(sums: &[[int32x4_t; 2]], multipliers: *const f32, out: *mut u8) {
        let mut whole = [vdupq_n_s32(0); 4];
        for (whole, sums) in whole.iter_mut().zip(sums) {
            *whole = vpaddq_s32(sums[0], sums[1]);
        }
        // SAFETY: 16 multipliers are there to read, and 16 bytes may be written, as the trait says.
        unsafe { activate(&whole, multipliers, out) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn finish(sums: [int32x4_t; 2], out: *mut i32) {
        // SAFETY: 4 numbers may be written, as the trait says.
        unsafe { vst1q_s32(out, vpaddq_s32(sums[0], sums[1])) }
    }
}

/// Numbers of four channels as the two parts that [`Neon`] keeps of each.
#[inline]
#[target_feature(enable = "neon")]
fn parts(numbers: int32x4_t) -> [int32x4_t; 2] {
    let zero = vdupq_n_s32(0);
    [vzip1q_s32(numbers, zero), vzip2q_s32(numbers, zero)]
}

/// [`Isa::shortcut`] on sums of one part, as the later levels keep them.
///
/// # Safety
/// The processor has NEON; four levels and steps are there to read.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn shortcut(sums: int32x4_t, levels: *const u8, steps: *const i16) -> int32x4_t {
    // SAFETY: as the caller says.
    let (levels, steps) = unsafe { (u64::from(levels.cast::<u32>().read_unaligned()), vld1_s16(steps)) };
    let levels = vreinterpret_s16_u16(vget_low_u16(vmovl_u8(vcreate_u8(levels))));
    vmlal_s16(sums, levels, steps)
}

/// [`Isa::activate`] on such sums.
///
/// # Safety
/// The processor has NEON; 16 multipliers are there to read, and 16 bytes may be written.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn activate(sums: &[int32x4_t], multipliers: *const f32, out: *mut u8) {
    let mut words = [vdup_n_u16(0); 4];
    for (vector, (words, &sums)) in words.iter_mut().zip(sums).enumerate() {
        // SAFETY: as the caller says.
        let multipliers = unsafe { vld1q_f32(multipliers.add(vector * Neon::LANES)) };
        let product = vmulq_f32(vcvtq_f32_s32(sums), multipliers);
        // The conversion to an unsigned number saturates, which is the cut at 0.
        *words = vmovn_u32(vcvtnq_u32_f32(vminq_f32(product, vdupq_n_f32(255.0))));
    }
    let [a, b, c, d] = words;
    let levels = vcombine_u8(vmovn_u16(vcombine_u16(a, b)), vmovn_u16(vcombine_u16(c, d)));
    // SAFETY: as the caller says.
    unsafe { vst1q_u8(out, levels) }
}
