//! 256 bits without VNNI: eight channels a vector, products of 16-bit numbers.
//!
//! `vpmaddubsw`, the instruction for u8 times s8, saturates: 2 x 255 x 127 > 32767. `vpmaddwd` is exact, but wants 16
//! bits on both sides. Weights are packed so, even ones apart from odd ones; levels are taken apart in the same way as
//! they are read, once for all channels of a tile.

use std::arch::x86_64::*;

use super::job::Job;
use super::numbers::Integers;
use super::tile::{self, Isa, Work};
use super::weights::{GROUP, Layout};

/// Runs a job.
///
/// # Safety
/// The processor has AVX2.
pub(super) unsafe fn run(job: Job<'_>) {
    // SAFETY: the caller says so.
    unsafe { tile::run::<Avx2, 2>(job) }
}

pub(super) struct Avx2;

/// Numbers 0 and 2, and numbers 1 and 3, of each group, in 16 bits.
#[derive(Clone, Copy)]
pub(super) struct Halves {
    even: __m256i,
    odd: __m256i,
}

impl Isa for Avx2 {
    type Numbers = Integers;
    type Levels = Halves;
    type Weights = Halves;
    type Sums = __m256i;

    const LANES: usize = 8;
    const LAYOUT: Layout = Layout { block: 16, bytes: 2, beyond: 0 };
    const ROWS: usize = 6;
    const UNROLLED: usize = 1;

    #[inline(never)]
    #[target_feature(enable = "avx2")]
    unsafe fn enter(work: impl Work) {
        // SAFETY: the caller's promise, passed on.
        unsafe { work.work() }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn start(bias: *const i32) -> __m256i {
        // SAFETY: 8 numbers are there to read, as the trait says.
        unsafe { _mm256_loadu_si256(bias.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn levels(at: *const u8) -> Halves {
        // SAFETY: four bytes are there to read, as the trait says.
        let group = _mm256_set1_epi32(unsafe { at.cast::<i32>().read_unaligned() });
        Halves { even: _mm256_and_si256(group, _mm256_set1_epi16(0xff)), odd: _mm256_srli_epi16::<8>(group) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn weights(at: *const u8) -> Halves {
        // SAFETY: 32 bytes are there to read, aligned, and again half a group further, as the trait says.
        unsafe {
            Halves {
                even: _mm256_load_si256(at.cast()),
                odd: _mm256_load_si256(at.add(Self::LAYOUT.block * GROUP).cast()),
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn dot(sums: __m256i, levels: Halves, weights: Halves) -> __m256i {
        let even = _mm256_madd_epi16(levels.even, weights.even);
        let odd = _mm256_madd_epi16(levels.odd, weights.odd);
        _mm256_add_epi32(_mm256_add_epi32(sums, even), odd)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn shortcut(sums: __m256i, levels: *const u8, steps: *const i16) -> __m256i {
        // SAFETY: 8 levels and steps are there to read, as the trait says.
        let (levels, steps) = unsafe {
            (
                _mm256_cvtepu8_epi32(_mm_loadl_epi64(levels.cast())),
                _mm256_cvtepi16_epi32(_mm_loadu_si128(steps.cast())),
            )
        };
        // The upper half of a level is 0, so the pairs' products are those of the lower halves.
        _mm256_add_epi32(sums, _mm256_madd_epi16(levels, steps))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn activate(sums: &[__m256i], multipliers: *const f32, out: *mut u8) {
        let mut levels = [_mm256_setzero_si256(); 2];
        for (vector, (levels, &sums)) in levels.iter_mut().zip(sums).enumerate() {
            // SAFETY: 16 multipliers are there to read, as the trait says.
            let multipliers = unsafe { _mm256_loadu_ps(multipliers.add(vector * Self::LANES)) };
            let product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), multipliers);
            // Beyond i32 the conversion gives its least number, which is right below it and wrong above it.
            *levels = _mm256_cvtps_epi32(_mm256_min_ps(product, _mm256_set1_ps(255.0)));
        }
        // The packs saturate, which is the cut at 0, and work on halves: the permutation puts fours in order.
        let words = _mm256_packs_epi32(levels[0], levels[1]);
        let bytes = _mm256_packus_epi16(words, words);
        let bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5));
        // SAFETY: 16 bytes may be written, as the trait says.
        unsafe { _mm_storeu_si128(out.cast(), _mm256_castsi256_si128(bytes)) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn finish(sums: __m256i, out: *mut i32) {
        // SAFETY: 8 numbers may be written, as the trait says.
        unsafe { _mm256_storeu_si256(out.cast(), sums) }
    }
}
