//! `vpdpbusd` on 256 bits: eight channels a vector, a tile of 6 rows and 16 channels in 12 of the 16 registers. What
//! stands before and behind the products is AVX2's.

use std::arch::x86_64::*;

use super::avx2::Avx2;
use super::job::Job;
use super::numbers::Integers;
use super::tile::{self, Isa, Work};
use super::weights::Layout;

/// Runs a job.
///
/// # Safety
/// The processor has AVX2 and AVX-VNNI.
pub(super) unsafe fn run(job: Job<'_>) {
    // SAFETY: the caller says so.
    unsafe { tile::run::<AvxVnni, 2>(job) }
}

pub(super) struct AvxVnni;

impl Isa for AvxVnni {
    type Numbers = Integers;
    type Levels = __m256i;
    type Weights = __m256i;
    type Sums = __m256i;

    const LANES: usize = 8;
    const LAYOUT: Layout = Layout { block: 16, bytes: 1, beyond: 0 };
    const ROWS: usize = 6;
    const UNROLLED: usize = 4;

    #[inline(never)]
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn enter(work: impl Work) {
        // SAFETY: the caller's promise, passed on.
        unsafe { work.work() }
    }

    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn start(bias: *const i32) -> __m256i {
        // SAFETY: the caller's promise is the same, here and in what follows, and this level includes AVX2.
        unsafe { Avx2::start(bias) }
    }

    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn levels(at: *const u8) -> __m256i {
        // SAFETY: four bytes are there to read, as the trait says.
        _mm256_set1_epi32(unsafe { at.cast::<i32>().read_unaligned() })
    }

    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn weights(at: *const u8) -> __m256i {
        // SAFETY: 32 bytes are there to read, aligned, as the trait says.
        unsafe { _mm256_load_si256(at.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn prefetch(at: *const u8) {
        // Into the second cache: the first is full of the block that is being multiplied.
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }

    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn dot(sums: __m256i, levels: __m256i, weights: __m256i) -> __m256i {
        _mm256_dpbusd_avx_epi32(sums, levels, weights)
    }

    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn shortcut(sums: __m256i, levels: *const u8, steps: *const i16) -> __m256i {
        // SAFETY: as in `start`.
        unsafe { Avx2::shortcut(sums, levels, steps) }
    }

    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn activate(sums: &[__m256i], multipliers: *const f32, out: *mut u8) {
        // SAFETY: as in `start`.
        unsafe { Avx2::activate(sums, multipliers, out) }
    }

    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn finish(sums: __m256i, out: *mut i32) {
        // SAFETY: as in `start`.
        unsafe { Avx2::finish(sums, out) }
    }
}
