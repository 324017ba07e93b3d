//! `vpdpbusd` on 512 bits: sixteen channels a vector, a tile of 6 rows and 64 channels in 24 of the 32 registers.

use std::arch::x86_64::*;

use super::job::Job;
use super::numbers::Integers;
use super::tile::{self, Isa, Work};
use super::weights::Layout;

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
    type Numbers = Integers;
    type Levels = __m512i;
    type Weights = __m512i;
    type Sums = __m512i;

    const LANES: usize = 16;
    const LAYOUT: Layout = Layout { block: 64, bytes: 1, beyond: 0 };
    const ROWS: usize = 6;
    const UNROLLED: usize = 4;

    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn enter(work: impl Work) {
        // SAFETY: the caller's promise, passed on.
        unsafe { work.work() }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn start(bias: *const i32) -> __m512i {
        // SAFETY: 16 numbers are there to read, as the trait says.
        unsafe { _mm512_loadu_si512(bias.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn levels(at: *const u8) -> __m512i {
        // SAFETY: four bytes are there to read, as the trait says.
        _mm512_set1_epi32(unsafe { at.cast::<i32>().read_unaligned() })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn weights(at: *const u8) -> __m512i {
        // SAFETY: 64 bytes are there to read, aligned, as the trait says.
        unsafe { _mm512_load_si512(at.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn prefetch(at: *const u8) {
        // Into the second cache: the first is full of the block that is being multiplied.
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn dot(sums: __m512i, levels: __m512i, weights: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(sums, levels, weights)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn shortcut(sums: __m512i, levels: *const u8, steps: *const i16) -> __m512i {
        // SAFETY: 16 levels and steps are there to read, as the trait says.
        let (levels, steps) = unsafe {
            (
                _mm512_cvtepu8_epi32(_mm_loadu_si128(levels.cast())),
                _mm512_cvtepi16_epi32(_mm256_loadu_si256(steps.cast())),
            )
        };
        // The upper half of a level is 0, so the pairs' products are those of the lower halves.
        _mm512_dpwssd_epi32(sums, levels, steps)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn activate(sums: &[__m512i], multipliers: *const f32, out: *mut u8) {
        let mut levels = [_mm512_setzero_si512(); 4];
        for (vector, (levels, &sums)) in levels.iter_mut().zip(sums).enumerate() {
            // SAFETY: 64 multipliers are there to read, as the trait says.
            let multipliers = unsafe { _mm512_loadu_ps(multipliers.add(vector * Self::LANES)) };
            let product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), multipliers);
            // Beyond i32 the conversion gives its least number, which is right below it and wrong above it.
            *levels = _mm512_cvtps_epi32(_mm512_min_ps(product, _mm512_set1_ps(255.0)));
        }
        // The packs saturate, which is the cut at 0, and work on quarters: the permutation puts fours in order.
        let [a, b, c, d] = levels;
        let bytes = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        // SAFETY: 64 bytes may be written, as the trait says.
        unsafe { _mm512_storeu_si512(out.cast(), _mm512_permutexvar_epi32(order, bytes)) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn finish(sums: __m512i, out: *mut i32) {
        // SAFETY: 16 numbers may be written, as the trait says.
        unsafe { _mm512_storeu_si512(out.cast(), sums) }
    }
}
