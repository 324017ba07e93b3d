//! Floats on 256 bits: eight channels a vector, a tile of 6 rows and 16 channels in 12 of the 16 registers.

use std::arch::x86_64::*;

use super::job::Job;
use super::numbers::{Floats, One};
use super::tile::{self, Isa, Work};
use super::weights::Layout;

/// Runs a job.
///
/// # Safety
/// The processor has AVX2 and FMA.
pub(super) unsafe fn run(job: Job<'_, Floats>) {
    // SAFETY: the caller says so.
    unsafe { tile::run::<FmaAvx2, 2>(job) }
}

pub(super) struct FmaAvx2;

impl Isa for FmaAvx2 {
    type Numbers = Floats;
    type Levels = __m256;
    type Weights = __m256;
    type Sums = __m256;

    const LANES: usize = 8;
    const LAYOUT: Layout = Layout { block: 16, bytes: 1, beyond: 0 };
    const ROWS: usize = 6;
    const UNROLLED: usize = 4;

    #[inline(never)]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn enter(work: impl Work) {
        // SAFETY: the caller's promise, passed on.
        unsafe { work.work() }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn start(bias: *const f32) -> __m256 {
        // SAFETY: 8 numbers are there to read, as the trait says.
        unsafe { _mm256_loadu_ps(bias) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn levels(at: *const f32) -> __m256 {
        // SAFETY: a number is there to read, as the trait says.
        _mm256_set1_ps(unsafe { at.read() })
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn weights(at: *const u8) -> __m256 {
        // SAFETY: 32 bytes are there to read, aligned, as the trait says.
        unsafe { _mm256_load_ps(at.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn prefetch(at: *const u8) {
        // Into the second cache: the first is full of the block that is being multiplied.
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn dot(sums: __m256, levels: __m256, weights: __m256) -> __m256 {
        _mm256_fmadd_ps(levels, weights, sums)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn shortcut(sums: __m256, levels: *const f32, _steps: *const One) -> __m256 {
        // SAFETY: 8 levels are there to read, as the trait says.
        _mm256_add_ps(sums, unsafe { _mm256_loadu_ps(levels) })
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn activate(sums: &[__m256], _multipliers: *const One, out: *mut f32) {
        for (vector, &sums) in sums.iter().enumerate() {
            // Of 0 and what is no number it gives the second, as the specification does.
            let levels = _mm256_max_ps(_mm256_setzero_ps(), sums);
            // SAFETY: a block of levels may be written, as the trait says.
            unsafe { _mm256_storeu_ps(out.add(vector * Self::LANES), levels) }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn finish(sums: __m256, out: *mut f32) {
        // SAFETY: 8 numbers may be written, as the trait says.
        unsafe { _mm256_storeu_ps(out, sums) }
    }
}
