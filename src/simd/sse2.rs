//! 128 bits, x86-64's own minimum: what `avx2` does, on four channels a vector.

use std::arch::x86_64::*;

use super::job::Job;
use super::tile::{self, Isa};

/// Runs a job.
///
/// # Safety
/// The processor has SSE2.
pub(super) unsafe fn run(job: Job<'_>) {
    // SAFETY: the caller says so.
    unsafe { tile::run::<Sse2, 4>(job) }
}

pub(super) struct Sse2;

/// Bytes 0 and 2, and bytes 1 and 3, of each group, as 16-bit numbers.
#[derive(Clone, Copy)]
pub(super) struct Halves {
    even: __m128i,
    odd: __m128i,
}

impl Isa for Sse2 {
    type Levels = Halves;
    type Weights = Halves;
    type Sums = __m128i;

    const LANES: usize = 4;
    const ROWS: usize = 2;

    #[inline(never)]
    #[target_feature(enable = "sse2")]
    unsafe fn enter(work: impl FnOnce()) {
        work();
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    unsafe fn zero() -> __m128i {
        _mm_setzero_si128()
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
    unsafe fn weights(at: *const i8) -> Halves {
        // SAFETY: 16 bytes are there to read, aligned, as the trait says.
        let group = unsafe { _mm_load_si128(at.cast()) };
        Halves { even: _mm_srai_epi16::<8>(_mm_slli_epi16::<8>(group)), odd: _mm_srai_epi16::<8>(group) }
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
    unsafe fn finish(sums: __m128i, bias: *const i32, out: *mut i32) {
        // SAFETY: 4 numbers are there to read, and as many to write, as the trait says.
        unsafe { _mm_storeu_si128(out.cast(), _mm_add_epi32(sums, _mm_loadu_si128(bias.cast()))) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    unsafe fn add_shortcut(sums: *mut i32, levels: *const u8, steps: *const i16) {
        // SAFETY: 4 levels and 4 steps are there to read, as the trait says.
        let (levels, steps) =
            unsafe { (levels.cast::<i32>().read_unaligned(), _mm_loadl_epi64(steps.cast())) };
        let zero = _mm_setzero_si128();
        let words = _mm_unpacklo_epi8(_mm_cvtsi32_si128(levels), zero);
        // The upper halves are 0, so the pairwise products are those of the lower ones.
        let products = _mm_madd_epi16(_mm_unpacklo_epi16(words, zero), _mm_unpacklo_epi16(steps, zero));
        // SAFETY: 4 sums are there to read and write, as the trait says.
        unsafe { _mm_storeu_si128(sums.cast(), _mm_add_epi32(_mm_loadu_si128(sums.cast()), products)) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    unsafe fn requantize(sums: *const i32, multipliers: *const f32, out: *mut u8) {
        // SAFETY: 4 sums and 4 multipliers are there to read, as the trait says.
        let (sums, multipliers) = unsafe { (_mm_loadu_si128(sums.cast()), _mm_loadu_ps(multipliers)) };
        let product = _mm_mul_ps(_mm_cvtepi32_ps(sums), multipliers);
        let cut = _mm_min_ps(_mm_max_ps(product, _mm_setzero_ps()), _mm_set1_ps(255.0));
        let levels = _mm_cvtps_epi32(cut);
        let words = _mm_packs_epi32(levels, levels);
        let bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
        // SAFETY: 4 bytes may be written, as the trait says.
        unsafe { out.cast::<i32>().write_unaligned(bytes) }
    }
}
