//! Plain loops that the compiler makes vectors of, compiled once more for each width.

use super::Kernels;
#[cfg(target_arch = "x86_64")]
use super::Level;
use super::numbers::Numbers;

/// Such a loop. It must not matter to its result how wide vectors are: no sums of floats.
pub trait Loop {
    /// Runs it. Implementations are `inline(always)`, and so is what they call in the loop.
    fn run(self);
}

impl<N: Numbers> Kernels<N> {
    /// Runs a loop with vectors as wide as the level's.
    pub fn widely(self, work: impl Loop) {
        // What every processor of an architecture has is what everything is compiled for.
        #[cfg(not(target_arch = "x86_64"))]
        work.run();
        // SAFETY: a token exists only where its level was seen, and these are instructions of their levels.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            match self.level() {
                Level::Avx512Vnni | Level::AmxInt8 => avx512(work),
                Level::Avx2 | Level::AvxVnni => avx2(work),
                _ => work.run(),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn avx512(work: impl Loop) {
    work.run();
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn avx2(work: impl Loop) {
    work.run();
}
