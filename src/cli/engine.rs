//! How a network is run: the options that several commands share.

use crate::engine::{EngineOptions, Precision};
use crate::simd::Level;
use std::num::NonZeroUsize;

/// Threads, precision, instruction set.
#[derive(clap::Args)]
pub(super) struct EngineArguments {
    /// Threads to spread the work over [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Run the model's network in integers, int8, or in floating point, f32 [default: int8 where the model has it]
    #[arg(long, value_name = "int8|f32", value_parser = precision)]
    precision: Option<Precision>,
    /// Instruction set for the network, to compare: all give the same result [default: the fastest here]
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    simd: Option<Level>,
}

impl EngineArguments {
    pub fn threads(&self) -> NonZeroUsize {
        let threads = self.threads.or_else(|| std::thread::available_parallelism().ok());
        threads.unwrap_or(NonZeroUsize::MIN)
    }

    pub fn options(&self) -> EngineOptions {
        EngineOptions { precision: self.precision, level: self.simd }
    }
}

fn precision(text: &str) -> Result<Precision, String> {
    let found = Precision::ALL.into_iter().find(|precision| precision.name() == text);
    found.ok_or_else(|| "expected int8 or f32".to_owned())
}

fn level(text: &str) -> Result<Level, String> {
    let here = || Level::available().iter().map(|level| level.name()).collect::<Vec<_>>().join(", ");
    Level::from_name(text).ok_or_else(|| format!("no such level; this processor runs {}", here()))
}
