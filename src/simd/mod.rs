//! The matrix products of the network, one instruction set a file. In integers: u8 levels times s8 weights, summed in
//! i32, requantized to u8. In floats: f32 throughout. What is multiplied with what, and with which scales, is left to
//! `engine`.
//!
//! Every level gives the same bits. Sums of integers are the same in any order, and the rounding behind them is made
//! of single IEEE operations (`docs/quantization.md` (5)); a sum of floats has one order, and one fused multiply-add for
//! each product. `scalar.rs` and `numbers.rs` are the specification; the tests hold every other level against it.
//!
//! ```
//! use hemapatch::simd::{Kernels, Position, Run, Source, Weights};
//! use std::sync::Arc;
//!
//! // One output channel that reads one group of four levels.
//! let kernels = Kernels::best();
//! let weights = Arc::new(Weights::pack(kernels, 1, 1, |_channel, _group| [1, 2, 3, -4]));
//! let run = Run { source: 0, offset: 0, weight: 0, groups: 1 };
//! let position = Position::new(&weights, &[100], &[run]);
//! let levels = [10, 20, 30, 40, /* the next row */ 255, 0, 0, 0];
//! let mut out = [0; 2];
//! position.levels(2, &[Source { levels: &levels, stride: 4 }], None, &[0.5], &mut out, 1);
//! // (100 + 10 + 40 + 90 - 160) / 2, and (100 + 255) / 2 = 177.5 to the even side.
//! assert_eq!(out, [40, 178]);
//! ```
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
#[cfg(target_arch = "x86_64")]
mod chunks;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "x86_64")]
mod fma_avx2;
#[cfg(target_arch = "x86_64")]
mod fma_avx512;
#[cfg(target_arch = "aarch64")]
mod fma_neon;
#[cfg(target_arch = "aarch64")]
mod i8mm;
mod job;
#[cfg(target_arch = "aarch64")]
mod neon;
mod numbers;
mod peak;
mod position;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod sse2;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod tile;
mod weights;
mod wide;

#[cfg(target_arch = "aarch64")]
use std::arch::is_aarch64_feature_detected;
use std::fmt;
use std::marker::PhantomData;

use job::Job;
pub use numbers::{Floats, Integers, Numbers, One};
pub use position::{Position, Run, Shortcut, Source, Strides};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use tile::Isa;
use weights::Layout;
pub use weights::Weights;
pub use wide::Loop;

/// An instruction set that the kernels are written for, named after what it multiplies integers with. All names exist on every processor, so that a configuration
/// reads the same everywhere; [`Level::available`] says which ones run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Plain loops, the specification.
    Scalar,
    /// x86-64 as it always was: `pmaddwd` on 16-bit halves, 128 bits wide.
    Sse2,
    /// The same, 256 bits wide.
    Avx2,
    /// `vpdpbusd`, 256 bits wide.
    AvxVnni,
    /// `vpdpbusd`, 512 bits wide.
    Avx512Vnni,
    /// `tdpbusd`, sixteen rows of 512 bits, and all of the level before.
    AmxInt8,
    /// ARMv8.0: `smull`, `sadalp`.
    Neon,
    /// `sdot`, ARMv8.2 and later.
    Dotprod,
    /// `usdot`, ARMv8.6 and later.
    I8mm,
}

impl Level {
    /// Worst first, within one architecture.
    const ALL: [Level; 9] = [
        Level::Scalar,
        Level::Sse2,
        Level::Avx2,
        Level::AvxVnni,
        Level::Avx512Vnni,
        Level::AmxInt8,
        Level::Neon,
        Level::Dotprod,
        Level::I8mm,
    ];

    /// How the command line and the reports spell it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Sse2 => "sse2",
            Level::Avx2 => "avx2",
            Level::AvxVnni => "avx-vnni",
            Level::Avx512Vnni => "avx512-vnni",
            Level::AmxInt8 => "amx-int8",
            Level::Neon => "neon",
            Level::Dotprod => "dotprod",
            Level::I8mm => "i8mm",
        }
    }

    /// The level with this [`name`](Level::name), whether or not this processor has it.
    pub fn from_name(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }

    /// What this processor has, best last, never empty.
    pub fn available() -> Vec<Level> {
        Level::ALL.into_iter().filter(|level| level.is_here()).collect()
    }

    /// Whether this processor, and this build, has all instructions that the level's kernels use.
    fn is_here(self) -> bool {
        match self {
            Level::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Level::Sse2 => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Level::AmxInt8 => Level::Avx512Vnni.is_here() && amx::is_here(),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Level::Dotprod => is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Level::I8mm => is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("i8mm"),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The right to use a level's instructions: a value exists only where [`Level::available`] names its level, and of
/// [`Floats`] only where the level has a fused multiply-add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels<N: Numbers = Integers> {
    level: Level,
    numbers: PhantomData<N>,
}

impl<N: Numbers> Kernels<N> {
    /// Which one.
    pub fn level(self) -> Level {
        self.level
    }

    /// Groups that the level multiplies at once: runs are best a multiple of as many.
    pub fn at_once(self) -> usize {
        match self.level {
            #[cfg(target_arch = "x86_64")]
            Level::AmxInt8 => chunks::CHUNK,
            _ => 1,
        }
    }
}

impl Kernels {
    /// The fastest that this processor has.
    pub fn best() -> Kernels {
        let level = Level::available().pop().expect("the scalar level is always there");
        Kernels { level, numbers: PhantomData }
    }

    /// A certain level; None where this processor lacks it.
    pub fn of(level: Level) -> Option<Kernels> {
        level.is_here().then_some(Kernels { level, numbers: PhantomData })
    }

    /// The same level for floats; None where it has no fused multiply-add. Where a level differs from another in how it
    /// multiplies integers alone, it may be the other one.
    pub fn floats(self) -> Option<Kernels<Floats>> {
        #[cfg(target_arch = "x86_64")]
        let fma = is_x86_feature_detected!("fma");
        #[cfg(not(target_arch = "x86_64"))]
        let fma = false;
        let level = if self.level == Level::AmxInt8 { Level::Avx512Vnni } else { self.level };
        let is_here = match level {
            Level::Sse2 => false,
            Level::Avx2 | Level::AvxVnni => fma,
            // Those of AVX-512 and NEON belong to what `Level::is_here` saw.
            Level::Scalar | Level::Avx512Vnni | Level::AmxInt8 => true,
            Level::Neon | Level::Dotprod | Level::I8mm => true,
        };
        is_here.then_some(Kernels { level, numbers: PhantomData })
    }

    /// Runs a job, which [`Position`] has checked, on the instructions that this token stands for.
    fn run(self, job: Job<'_>) {
        let run: unsafe fn(Job<'_>) = match self.level {
            Level::Scalar => scalar::run,
            #[cfg(target_arch = "x86_64")]
            Level::Sse2 => sse2::run,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::run,
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => avx_vnni::run,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => avx512::run,
            #[cfg(target_arch = "x86_64")]
            Level::AmxInt8 => amx::run,
            #[cfg(target_arch = "aarch64")]
            Level::Neon => neon::run,
            #[cfg(target_arch = "aarch64")]
            Level::Dotprod => dotprod::run,
            #[cfg(target_arch = "aarch64")]
            Level::I8mm => i8mm::run,
            #[allow(unreachable_patterns)]
            level => unreachable!("no token of {level} exists on this processor"),
        };
        // SAFETY: each `run` wants its level's instructions, no more. A token is made by `best` and `of` alone, and
        // only of levels in which `Level::is_here` saw all of them.
        unsafe { run(job) }
    }

    /// How the level wants its weights packed.
    fn layout(self) -> Layout {
        match self.level {
            #[cfg(target_arch = "x86_64")]
            Level::Sse2 => sse2::Sse2::LAYOUT,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::Avx2::LAYOUT,
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => avx_vnni::AvxVnni::LAYOUT,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => avx512::Avx512Vnni::LAYOUT,
            #[cfg(target_arch = "x86_64")]
            Level::AmxInt8 => amx::LAYOUT,
            #[cfg(target_arch = "aarch64")]
            Level::Neon => neon::Neon::LAYOUT,
            #[cfg(target_arch = "aarch64")]
            Level::Dotprod => dotprod::Dotprod::LAYOUT,
            #[cfg(target_arch = "aarch64")]
            Level::I8mm => i8mm::I8mm::LAYOUT,
            _ => Layout { block: 1, bytes: 1, beyond: 0 },
        }
    }

    /// What the level's multiplier takes off an activation before it multiplies: 128 where it knows signed bytes
    /// only. [`Position`] puts it back into the bias.
    fn offset(self) -> i32 {
        match self.level {
            Level::Neon | Level::Dotprod => 128,
            _ => 0,
        }
    }
}

impl Kernels<Floats> {
    /// Runs a job, which [`Position`] has checked, on the instructions that this token stands for.
    fn run(self, job: Job<'_, Floats>) {
        let run: unsafe fn(Job<'_, Floats>) = match self.level {
            Level::Scalar => scalar::run,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::AvxVnni => fma_avx2::run,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => fma_avx512::run,
            #[cfg(target_arch = "aarch64")]
            Level::Neon | Level::Dotprod | Level::I8mm => fma_neon::run,
            #[allow(unreachable_patterns)]
            level => unreachable!("no token of {level} for floats exists on this processor"),
        };
        // SAFETY: each `run` wants its level's instructions and a fused multiply-add of the same width. A token is made by
        // `floats` alone: of a token for integers, which stands for the level, where the multiply-add was seen too.
        unsafe { run(job) }
    }

    /// How the level wants its weights packed.
    fn layout(self) -> Layout {
        match self.level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::AvxVnni => fma_avx2::FmaAvx2::LAYOUT,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => fma_avx512::FmaAvx512::LAYOUT,
            #[cfg(target_arch = "aarch64")]
            Level::Neon | Level::Dotprod | Level::I8mm => fma_neon::FmaNeon::LAYOUT,
            _ => Layout { block: 1, bytes: 1, beyond: 0 },
        }
    }
}

#[cfg(test)]
mod tests;
