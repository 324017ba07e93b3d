//! What a processor could do at most: a level's multiply-adds on registers alone, as a yardstick for `benches/kernels.rs`.
//!
//! Written in assembly, since a compiler may compute a product that does not change only once.

use super::{Floats, Kernels, Level};

/// Sums that a loop keeps going, so that none waits for the one before: latency (at most 5) times instructions a cycle
/// (at most 2).
const CHAINS: u64 = 12;

impl Kernels {
    /// Multiplies and adds in `steps` rounds of a loop that touches no memory.
    ///
    /// # Units
    /// Returns how many products of a level and a weight that was; None for the scalar level, which is no yardstick.
    pub fn spin(self, steps: u64) -> Option<u64> {
        let (spin, products): (unsafe fn(u64), u64) = match self.level {
            #[cfg(target_arch = "x86_64")]
            Level::Sse2 => (x86_64::sse2, 8),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => (x86_64::avx2, 16),
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => (x86_64::avx_vnni, 32),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => (x86_64::avx512_vnni, 64),
            #[cfg(target_arch = "x86_64")]
            Level::AmxInt8 => (super::amx::spin, 16 * 16 * 64),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => (aarch64::neon, 8),
            #[cfg(target_arch = "aarch64")]
            Level::Dotprod => (aarch64::dotprod, 16),
            #[cfg(target_arch = "aarch64")]
            Level::I8mm => (aarch64::i8mm, 16),
            _ => return None,
        };
        let steps = steps.max(1);
        // SAFETY: a token of a level exists only where `Level::is_here` saw the instructions.
        unsafe { spin(steps) };
        Some(steps * CHAINS * products)
    }
}

impl Kernels<Floats> {
    /// The same of floats.
    ///
    /// # Units
    /// Returns how many products that was; None for the scalar level.
    pub fn spin(self, steps: u64) -> Option<u64> {
        let (spin, products): (unsafe fn(u64), u64) = match self.level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::AvxVnni => (x86_64::fma_avx2, 8),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => (x86_64::fma_avx512, 16),
            #[cfg(target_arch = "aarch64")]
            Level::Neon | Level::Dotprod | Level::I8mm => (aarch64::fma_neon, 4),
            _ => return None,
        };
        let steps = steps.max(1);
        // SAFETY: a token of a level for floats exists only where `Kernels::floats` saw the instructions.
        unsafe { spin(steps) };
        Some(steps * CHAINS * products)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::asm;

    /// A function that repeats an instruction, or two, on twelve sums. `vzeroall` at the beginning of floats, since those
    /// that happen to be there may be slow ones. `vzeroupper` at the end, where registers were wider than SSE's: what
    /// they leave behind slows later SSE code.
    macro_rules! spin {
        ($name:ident, $feature:literal, $enter:literal, $step:literal, $leave:literal) => {
            #[target_feature(enable = $feature)]
            pub(super) fn $name(steps: u64) {
                // SAFETY: registers only, all of them named; the count ends at 0, since it began above.
                unsafe {
                    asm!(
                        $enter,
                        "2:",
                        ".irp sum, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
                        $step,
                        ".endr",
                        "sub {steps}, 1",
                        "jnz 2b",
                        $leave,
                        steps = inout(reg) steps => _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                        out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                        out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                        out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                        options(nomem, nostack),
                    );
                }
            }
        };
    }

    spin!(sse2, "sse2", "", "movdqa xmm12, xmm13\npmaddwd xmm12, xmm14\npaddd xmm\\sum, xmm12", "");
    spin!(avx2, "avx2", "", "vpmaddwd ymm12, ymm13, ymm14\nvpaddd ymm\\sum, ymm\\sum, ymm12", "vzeroupper");
    spin!(avx_vnni, "avx2,avxvnni", "", "{{vex}} vpdpbusd ymm\\sum, ymm13, ymm14", "vzeroupper");
    spin!(fma_avx2, "avx2,fma", "vzeroall", "vfmadd231ps ymm\\sum, ymm13, ymm14", "vzeroupper");
    spin!(fma_avx512, "avx512f", "vzeroall", "vfmadd231ps zmm\\sum, zmm13, zmm14", "vzeroupper");
    spin!(avx512_vnni, "avx512f,avx512vnni", "", "vpdpbusd zmm\\sum, zmm13, zmm14", "vzeroupper");
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use std::arch::asm;

    /// A function that repeats an instruction, or two, on twelve sums.
    macro_rules! spin {
        ($name:ident, $feature:literal, $step:literal) => {
            #[target_feature(enable = $feature)]
            pub(super) fn $name(steps: u64) {
                // SAFETY: registers only, all of them named; the count ends at 0, since it began above.
                unsafe {
                    asm!(
                        "2:",
                        ".irp sum, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
                        $step,
                        ".endr",
                        "subs {steps}, {steps}, #1",
                        "b.ne 2b",
                        steps = inout(reg) steps => _,
                        out("v16") _, out("v17") _, out("v18") _, out("v19") _,
                        out("v20") _, out("v21") _, out("v22") _, out("v23") _,
                        out("v24") _, out("v25") _, out("v26") _, out("v27") _,
                        out("v28") _, out("v29") _, out("v30") _,
                        options(nomem, nostack),
                    );
                }
            }
        };
    }

    spin!(neon, "neon", "smull v28.8h, v29.8b, v30.8b\nsadalp v\\sum\\().4s, v28.8h");
    spin!(fma_neon, "neon", "fmla v\\sum\\().4s, v29.4s, v30.4s");
    spin!(dotprod, "neon,dotprod", "sdot v\\sum\\().4s, v29.16b, v30.16b");
    spin!(i8mm, "neon,i8mm", "usdot v\\sum\\().4s, v29.16b, v30.16b");
}
