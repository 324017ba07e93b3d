//! 128 bits, x86-64's own minimum: what `avx2.rs` does, four channels a vector.

use std::arch::x86_64::*;

use super::job::Job;
use super::numbers::Integers;
use super::tile::{self, Isa, Work};
use super::weights::{GROUP, Layout};

/// Runs a job.
///
/// # Safety
/// The processor has SSE2.
pub(super) unsafe fn run(job: Job<'_>) {
    // SAFETY: the caller says so.
    unsafe { tile::run::<Sse2, 2>(job) }
}

pub(super) struct Sse2;

/// Numbers 0 and 2, and numbers 1 and 3, of each group, in 16 bits.
#[derive(Clone, Copy)]
pub(super) struct Halves {
    even: __m128i,
    odd: __m128i,
}

impl Isa for Sse2 {
    type Numbers = Integers;
    type Levels = Halves;
    type Weights = Halves;
    type Sums = __m128i;

    const LANES: usize = 4;
    const LAYOUT: Layout = Layout { block: 8, bytes: 2, beyond: 0 };
    const ROWS: usize = 4;
    const UNROLLED: usize = 1;

    #[inline(never)]
    #[target_feature(enable = "sse2")]
    unsafe fn enter(work: impl Work) {
        // SAFETY: the caller's promise, passed on.
        unsafe { work.work() }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    unsafe fn start(bias: *const i32) -> __m128i {
        // SAFETY: 4 numbers are there to read, as the trait says.
        unsafe { _mm_loadu_si128(bias.cast()) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    unsafe fn levels(at: *const u8) -> Halves {
        // SAFETY: four bytes are there to read, as the trait says.
        let group = _mm_set1_epi32(unsafe { at.cast::<i32>().read_unaligned() });
        Halves { even: _mm_and_si128(group, _mm_set1_epi16(0xff)), odd: _mm_srli_epi16::<8>(group) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    unsafe fn weights(at: *const u8) -> Halves {
        // SAFETY: 16 bytes are there to read, aligned, and again half a group further, as the trait says.
        unsafe {
            Halves {
                even: _mm_load_si128(at.cast()),
                odd: _mm_load_si128(at.add(Self::LAYOUT.block * GROUP).cast()),
            }
        }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    unsafe fn dot(sums: __m128i, levels: Halves, weights: Halves) -> __m128i {
        let even = _mm_madd_epi16(levels.even, weights.even);
        let odd = _mm_madd_epi16(levels.odd, weights.odd);
        _mm_add_epi32(_mm_add_epi32(sums, even), odd)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    unsafe fn shortcut(sums: __m128i, levels: *const u8, steps: *const i16) -> __m128i {
        let zero = _mm_setzero_si128();
        // SAFETY: 4 levels and steps are there to read, as the trait says.
        let (levels, steps) = unsafe {
            let levels = _mm_cvtsi32_si128(levels.cast::<i32>().read_unaligned());
            (_mm_unpacklo_epi8(levels, zero), _mm_loadl_epi64(steps.cast()))
        };
        // The upper halves become 0, so the pairs' products are those of the lower ones.
        let (levels, steps) = (_mm_unpacklo_epi16(levels, zero), _mm_unpacklo_epi16(steps, zero));
        _mm_add_epi32(sums, _mm_madd_epi16(levels, steps))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    unsafe fn activate(sums: &[__m128i], multipliers: *const f32, out: *mut u8) {
        let mut levels = [_mm_setzero_si128(); 2];
        for (vector, (levels, &sums)) in levels.iter_mut().zip(sums).enumerate() {
            // SAFETY: 8 multipliers are there to read, as the trait says.
            let multipliers = unsafe { _mm_loadu_ps(multipliers.add(vector * Self::LANES)) };
            let product = _mm_mul_ps(_mm_cvtepi32_ps(sums), multipliers);
            // Beyond i32 the conversion gives its least number, which is right below it and wrong above it.
            *levels = _mm_cvtps_epi32(_mm_min_ps(product, _mm_set1_ps(255.0)));
        }
        // The packs saturate, which is the cut at 0.
        let words = _mm_packs_epi32(levels[0], levels[1]);
        // SAFETY: 8 bytes may be written, as the trait says.
        unsafe { _mm_storel_epi64(out.cast(), _mm_packus_epi16(words, words)) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    unsafe fn finish(sums: __m128i, out: *mut i32) {
        // SAFETY: 4 numbers may be written, as the trait says.
        unsafe { _mm_storeu_si128(out.cast(), sums) }
    }
}
