//! A study that is not done with: what has come of it, and when it counts as whole.

use std::collections::BTreeSet;
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
    /// Associations that sent some, and have not ended.
    pub senders: BTreeSet<u64>,
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
            senders: BTreeSet::new(),
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
            self.senders.insert(association);
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
