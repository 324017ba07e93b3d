//! What is removed after a time: studies that are done with, and all that tells of them but the audit log.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;

use crate::spool::{SpoolError, at, names};

const DAY: f64 = 86_400.0;
/// Part of the time after which a study is removed in which it is looked for such.
const PART: f64 = 24.0;
/// Difference between the clock of the day and the one that only counts, beyond which the former was set.
const JUMP: Duration = Duration::from_secs(600);

/// `[retention]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Days after its last verdict that a study is kept.
    pub days: f64,
}

impl Retention {
    /// Whether it can be used.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let is_time = self.days > 0.0 && self.days <= 36_500.0;
        if is_time { Ok(()) } else { Err(("retention.days", "must be above 0, and at most 36500".into())) }
    }

    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.days * DAY)
    }

    /// Time between two looks.
    fn part(&self) -> Duration {
        Duration::from_secs_f64((self.days * DAY / PART).clamp(0.01, 3600.0))
    }
}

/// When studies are looked for that are to be removed.
#[derive(Debug)]
pub struct Rounds {
    retention: Option<Retention>,
    /// Both clocks, at the last round.
    last: (Instant, SystemTime),
    next: Instant,
}

/// What a round is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Nothing yet.
    NotDue,
    /// Nothing, for a day: the clock was set, and it may be wrong now.
    ClockWasSet,
    /// Studies whose last verdict is not younger than this are to be removed.
    Remove(Duration),
}

impl Rounds {
    /// The first round comes after a while, in which a clock that is wrong at the start may be set.
    pub fn new(retention: Option<Retention>) -> Rounds {
        let now = Instant::now();
        let first = retention.map_or(Duration::ZERO, |retention| retention.part());
        Rounds { retention, last: (now, SystemTime::now()), next: now + first }
    }

    /// Time until the next.
    pub fn due(&self) -> Duration {
        match self.retention {
            Some(_) => self.next.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        }
    }

    /// Begins a round, if it is due.
    pub fn begin(&mut self, now: Instant, day: SystemTime) -> Round {
        let Some(retention) = self.retention.filter(|_| now >= self.next) else { return Round::NotDue };
        let counted = now.saturating_duration_since(self.last.0);
        let difference = match day.duration_since(self.last.1) {
            Ok(passed) => passed.abs_diff(counted),
            Err(back) => back.duration() + counted,
        };
        self.last = (now, day);
        if difference > JUMP {
            self.next = now + Duration::from_secs_f64(DAY);
            return Round::ClockWasSet;
        }
        self.next = now + retention.part();
        Round::Remove(retention.time())
    }
}

/// Studies that entries of a folder belong to: their names begin with the UID and a dash.
pub fn studies_in(folder: &Path) -> Result<BTreeSet<String>, SpoolError> {
    let names = names(folder)?;
    Ok(names.iter().filter_map(|name| Some(name.split_once('-')?.0.to_owned())).collect())
}

/// Removes what the folders of alerts and archives have of a study, of those that are no longer configured too.
pub fn forget(spool: &Path, study_uid: &str) -> Result<(), SpoolError> {
    for kind in ["alerts", "deliver"] {
        let folder = spool.join(kind);
        for way in names(&folder)? {
            for state in names(&folder.join(&way))? {
                let state = folder.join(&way).join(state);
                for name in names(&state)? {
                    if name.split_once('-').is_some_and(|(own, _)| own == study_uid) {
                        remove(&state.join(name))?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), SpoolError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_round_comes_each_hour_and_asks_for_the_time_that_is_set() {
        let mut rounds = Rounds::new(Some(Retention { days: 30.0 }));
        let (start, day) = rounds.last;
        assert_eq!(rounds.begin(start, day), Round::NotDue);
        for hour in 1..4 {
            let round = rounds.begin(start + HOUR * hour, day + HOUR * hour);
            assert_eq!(round, Round::Remove(HOUR * 24 * 30));
        }
        assert_eq!(Rounds::new(None).begin(start + HOUR * 1000, day), Round::NotDue);
    }

    #[test]
    fn nothing_is_removed_for_a_day_after_the_clock_was_set() {
        for set in [1, 3600 * 24 * 400] {
            for forward in [true, false] {
                let mut rounds = Rounds::new(Some(Retention { days: 30.0 }));
                let (start, day) = rounds.last;
                let jump = JUMP + Duration::from_secs(set);
                let day = day + HOUR;
                let day = if forward { day + jump } else { day - jump };
                assert_eq!(rounds.begin(start + HOUR, day), Round::ClockWasSet);
                assert_eq!(rounds.begin(start + HOUR * 24, day + HOUR * 23), Round::NotDue);
                let later = rounds.begin(start + HOUR * 25, day + HOUR * 24);
                assert!(matches!(later, Round::Remove(_)), "{later:?}");
            }
        }
    }

    #[test]
    fn times_that_cannot_be_are_told() {
        for days in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(Retention { days }.check().is_err(), "{days}");
        }
        assert!(Retention { days: 0.5 }.check().is_ok());
    }
}
