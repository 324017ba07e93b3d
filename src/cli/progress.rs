//! A progress bar on standard error, where somebody looks and it takes long.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Work that is done sooner needs no bar.
const PATIENCE: Duration = Duration::from_millis(700);

/// A bar that appears only after a while, and only on a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    since: Instant,
    unit: &'static str,
}

impl Progress {
    pub fn new(unit: &'static str) -> Self {
        Self { bar: ProgressBar::hidden(), since: Instant::now(), unit }
    }

    pub fn length(&mut self, length: u64) {
        self.bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
        // The template is a constant of ours.
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} {eta}");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.set_message(self.unit);
    }

    pub fn at(&mut self, position: u64) {
        if self.bar.is_hidden() && self.since.elapsed() > PATIENCE && std::io::stderr().is_terminal() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(position);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
