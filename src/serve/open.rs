//! A study that is not done with: what has come of it, and when it counts as whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use super::config::Study as Settings;
use crate::alert::Tries;
use crate::spool::{SpoolError, at};

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
    /// One with this many objects, of which something happened at this time.
    pub fn new(objects: usize, at: Instant) -> Open {
        Open {
            objects,
            has_more: false,
            looked_at: 0,
            without_gaps: false,
            arrived: at,
            last: at,
            senders: BTreeMap::new(),
            deaths: 0,
            writing: Tries::default(),
        }
    }

    /// Something of it came, and was stored at this time: it may have waited while others were judged. Whoever sends the same for
    /// ever does not keep a study from its verdict.
    pub fn arrive(&mut self, association: u64, again: bool, stored: Instant) {
        self.has_more = true;
        if !again {
            self.arrived = self.arrived.max(stored);
            self.last = self.last.max(stored);
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

    /// Whether it is to be looked at.
    pub fn waits_for_a_look(&self) -> bool {
        self.looked_at != self.objects && self.deaths == 0
    }

    /// Time until it is to be judged, should nothing happen: until it counts as whole, and its results may be written.
    pub fn due(&self, settings: &Settings) -> Duration {
        let is_seen = self.looked_at == self.objects && !self.has_more;
        let seconds = if self.without_gaps && self.senders.is_empty() && is_seen {
            settings.settled_s
        } else {
            settings.quiet_s
        };
        Duration::from_secs_f64(seconds).saturating_sub(self.last.elapsed()).max(self.writing.wait())
    }
}

/// Objects in a folder; 0 where it is not there yet.
///
/// # Errors
/// The disk: there may be some.
pub fn objects_in(objects: &Path) -> Result<usize, SpoolError> {
    let counted = fs::read_dir(objects).and_then(|entries| entries.map(|entry| entry.map(|_| 1)).sum());
    match counted {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        counted => counted.map_err(at(objects)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_who_brought_something_new_counts() {
        let now = Instant::now();
        let mut open = Open::new(0, now);
        open.arrive(1, false, now);
        open.arrive(2, true, now);
        open.arrive(1, true, now);
        let before = open.last;
        open.end(2);
        open.end(3);
        assert_eq!(open.last, before);
        assert_eq!(open.senders.len(), 1, "whoever only repeats is a sender while connected");
        open.end(1);
        assert!(open.last > before && open.senders.is_empty());
    }

    #[test]
    fn the_time_to_a_verdict_counts_from_when_the_last_object_was_stored() {
        let (now, minute) = (Instant::now(), Duration::from_secs(60));
        let mut open = Open::new(0, now);
        open.arrive(1, false, now + minute);
        assert_eq!((open.arrived, open.last), (now + minute, now + minute));
        // Neither what is there nor what is told of late changes it.
        open.arrive(1, true, now + minute * 2);
        open.arrive(2, false, now);
        assert_eq!((open.arrived, open.last), (now + minute, now + minute));
    }

    #[test]
    fn what_came_since_it_was_looked_at_is_waited_for() {
        // Slices that came while a process looked were judged under the number of those before them.
        let settings: Settings = toml::from_str("settled_s = 0\nquiet_s = 60").unwrap();
        let mut open = Open::new(1, Instant::now());
        (open.looked_at, open.without_gaps) = (1, true);
        assert!(open.due(&settings).is_zero());
        open.arrive(1, false, Instant::now());
        open.end(1);
        assert!(open.due(&settings) > Duration::from_secs(50));
    }

    #[test]
    fn only_a_folder_that_is_not_there_has_no_objects() {
        let folder = tempfile::tempdir().unwrap();
        let objects = folder.path().join("objects");
        assert_eq!(objects_in(&objects).unwrap(), 0);
        fs::write(&objects, "in the way").unwrap();
        assert!(objects_in(&objects).is_err());
    }
}
