//! `vpdpbusd` on 512 bits: sixteen channels a vector, a tile of 6 rows and 64 channels in 24 of the 32 registers.

use std::arch::x86_64::*;

use super::job::Job;
use super::tile::{self, Isa};

/// Runs a job.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and VNNI.
pub(super) unsafe fn run(job: Job<'_>) {
    // SAFETY: the caller says so.
    unsafe { tile::run::<Avx512Vnni, 4>(job) }
}

pub(super) struct Avx512Vnni;

impl Isa for Avx512Vnni {
    type Levels = __m512i;
    type Weights = __m512i;
    type Sums = __m512i;

    const LANES: usize = 16;
    const ROWS: usize = 6;

    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn enter(work: impl FnOnce()) {
        work();
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn zero() -> __m512i {
        _mm512_setzero_si512()
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn levels(at: *const u8) -> __m512i {
        // SAFETY: four bytes are there to read, as the trait says.
        _mm512_set1_epi32(unsafe { at.cast::<i32>().read_unaligned() })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn weights(at: *const i8) -> __m512i {
        // SAFETY: 64 bytes are there to read, aligned, as the trait says.
        unsafe { _mm512_load_si512(at.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn dot(sums: __m512i, levels: __m512i, weights: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(sums, levels, weights)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn finish(sums: __m512i, bias: *const i32, out: *mut i32) {
        // SAFETY: 16 numbers are there to read, and as many to write, as the trait says.
        unsafe { _mm512_storeu_si512(out.cast(), _mm512_add_epi32(sums, _mm512_loadu_si512(bias.cast()))) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn add_shortcut(sums: *mut i32, levels: *const u8, steps: *const i16) {
        // SAFETY: 16 levels and 16 steps are there to read, as the trait says.
        let (levels, steps) = unsafe { (_mm_loadu_si128(levels.cast()), _mm256_loadu_si256(steps.cast())) };
        // The upper half of a level is 0, so the pairwise products are those of the lower halves.
        let products = _mm512_madd_epi16(_mm512_cvtepu8_epi32(levels), _mm512_cvtepi16_epi32(steps));
        // SAFETY: 16 sums are there to read and write, as the trait says.
        unsafe {
            _mm512_storeu_si512(sums.cast(), _mm512_add_epi32(_mm512_loadu_si512(sums.cast()), products))
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn requantize(sums: *const i32, multipliers: *const f32, out: *mut u8) {
        // SAFETY: 16 sums and 16 multipliers are there to read, as the trait says.
        let (sums, multipliers) = unsafe { (_mm512_loadu_si512(sums.cast()), _mm512_loadu_ps(multipliers)) };
        let product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), multipliers);
        let cut = _mm512_min_ps(_mm512_max_ps(product, _mm512_setzero_ps()), _mm512_set1_ps(255.0));
        let levels = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(cut));
        // SAFETY: 16 bytes may be written, as the trait says.
        unsafe { _mm_storeu_si128(out.cast(), levels) }
    }
}
