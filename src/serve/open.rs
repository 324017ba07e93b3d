//! A study that is not done with: what has come of it, and when it counts as whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::config::Study as Settings;
use crate::alert::Tries;

/// A study that is not done with.
pub struct Open {
    /// Objects that are in the spool, as they were counted last.
    pub objects: usize,
    /// Whether some came since.
    pub has_more: bool,
    /// How many of them were looked at.
    pub looked_at: usize,
    /// Whether those looked at last have no gap.
    pub without_gaps: bool,
    /// When the last one came.
    pub arrived: Instant,
    /// When anything of it happened last.
    pub last: Instant,
    /// Associations that sent some, and have not ended; whether any of it was new.
    senders: BTreeMap<u64, bool>,
    /// How often a worker died of it.
    pub deaths: u32,
    /// Tries to write its results.
    pub writing: Tries,
}

impl Open {
    pub fn new(objects: usize) -> Open {
        let now = Instant::now();
        Open {
            objects,
            has_more: false,
            looked_at: 0,
            without_gaps: false,
            arrived: now,
            last: now,
            senders: BTreeMap::new(),
            deaths: 0,
            writing: Tries::default(),
        }
    }

    /// Something of it came. Whoever sends the same for ever does not keep a study from its verdict.
    pub fn arrive(&mut self, association: u64, again: bool) {
        self.has_more = true;
        if !again {
            self.arrived = Instant::now();
            self.last = self.arrived;
        }
        if association > 0 {
            *self.senders.entry(association).or_default() |= !again;
        }
    }

    /// An association ended. Whoever only repeated what was there does not keep a study from its verdict by that either.
    pub fn end(&mut self, association: u64) {
        if self.senders.remove(&association) == Some(true) {
            self.last = Instant::now();
        }
    }

    /// Time until it is to be judged, should nothing happen: until it counts as whole, and its results may be written.
    pub fn due(&self, settings: &Settings) -> Duration {
        let seconds = if self.without_gaps && self.senders.is_empty() && self.looked_at == self.objects {
            settings.settled_s
        } else {
            settings.quiet_s
        };
        Duration::from_secs_f64(seconds).saturating_sub(self.last.elapsed()).max(self.writing.wait())
    }
}

/// Objects in a folder; 0 where it is not there yet.
pub fn objects_in(objects: &Path) -> usize {
    fs::read_dir(objects).map_or(0, |entries| entries.flatten().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_who_brought_something_new_counts() {
        let mut open = Open::new(0);
        open.arrive(1, false);
        open.arrive(2, true);
        open.arrive(1, true);
        let before = open.last;
        open.end(2);
        open.end(3);
        assert_eq!(open.last, before);
        assert_eq!(open.senders.len(), 1, "whoever only repeats is a sender while connected");
        open.end(1);
        assert!(open.last > before && open.senders.is_empty());
    }
}
