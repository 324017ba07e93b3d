//! Floats on 512 bits: sixteen channels a vector, a tile of 6 rows and 64 channels in 24 of the 32 registers.

use std::arch::x86_64::*;

use super::job::Job;
use super::numbers::{Floats, One};
use super::tile::{self, Isa, Work};
use super::weights::Layout;

/// Runs a job.
///
/// # Safety
/// The processor has AVX-512 F.
pub(super) unsafe fn run(job: Job<'_, Floats>) {
    // SAFETY: the caller says so.
    unsafe { tile::run::<FmaAvx512, 4>(job) }
}

pub(super) struct FmaAvx512;

impl Isa for FmaAvx512 {
    type Numbers = Floats;
    type Levels = __m512;
    type Weights = __m512;
    type Sums = __m512;

    const LANES: usize = 16;
    const LAYOUT: Layout = Layout { block: 64, bytes: 1, beyond: 0 };
    const ROWS: usize = 6;
    const UNROLLED: usize = 4;

    #[inline(never)]
    #[target_feature(enable = "avx512f")]
    unsafe fn enter(work: impl Work) {
        // SAFETY: the caller's promise, passed on.
        unsafe { work.work() }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn start(bias: *const f32) -> __m512 {
        // SAFETY: 16 numbers are there to read, as the trait says.
        unsafe { _mm512_loadu_ps(bias) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn levels(at: *const f32) -> __m512 {
        // SAFETY: a number is there to read, as the trait says.
        _mm512_set1_ps(unsafe { at.read() })
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn weights(at: *const u8) -> __m512 {
        // SAFETY: 64 bytes are there to read, aligned, as the trait says.
        unsafe { _mm512_load_ps(at.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn prefetch(at: *const u8) {
        // Into the second cache: the first is full of the block that is being multiplied.
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn dot(sums: __m512, levels: __m512, weights: __m512) -> __m512 {
        _mm512_fmadd_ps(levels, weights, sums)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn shortcut(sums: __m512, levels: *const f32, _steps: *const One) -> __m512 {
        // SAFETY: 16 levels are there to read, as the trait says.
        _mm512_add_ps(sums, unsafe { _mm512_loadu_ps(levels) })
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn activate(sums: &[__m512], _multipliers: *const One, out: *mut f32) {
        for (vector, &sums) in sums.iter().enumerate() {
            // Of 0 and what is no number it gives the second, as the specification does.
            let levels = _mm512_max_ps(_mm512_setzero_ps(), sums);
            // SAFETY: a block of levels may be written, as the trait says.
            unsafe { _mm512_storeu_ps(out.add(vector * Self::LANES), levels) }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn finish(sums: __m512, out: *mut f32) {
        // SAFETY: 16 numbers may be written, as the trait says.
        unsafe { _mm512_storeu_ps(out, sums) }
    }
}
