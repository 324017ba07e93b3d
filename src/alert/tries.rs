//! When something that did not work is tried again.

use std::time::{Duration, Instant};

/// Time before the next try; the last one counts for all that follow.
const AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(300)];

/// The tries of one thing.
#[derive(Debug, Default)]
pub struct Tries {
    failures: usize,
    not_before: Option<Instant>,
}

impl Tries {
    /// It did not work.
    pub fn failed(&mut self) {
        self.not_before = Some(Instant::now() + AGAIN[self.failures.min(AGAIN.len() - 1)]);
        self.failures += 1;
    }

    /// It is looked at again after a time.
    pub fn rest(&mut self, time: Duration) {
        self.not_before = Some(Instant::now() + time);
    }

    /// How often it did not work since it last did.
    pub fn failures(&self) -> usize {
        self.failures
    }

    /// Time until it is tried again.
    pub fn wait(&self) -> Duration {
        self.not_before.map_or(Duration::ZERO, |then| then.saturating_duration_since(Instant::now()))
    }
}
