//! What is removed after a time: studies that are done with, and all that tells of them but the audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
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
    Ok(names.iter().filter_map(|name| study_of(name)).map(str::to_owned).collect())
}

/// The study that an entry belongs to.
fn study_of(name: &str) -> Option<&str> {
    name.split_once('-').map(|(study_uid, _)| study_uid)
}

/// What the folders of alerts and archives have of some studies, of ways that are no longer configured too. Found once for all of
/// them: there are as many entries as there were notices.
#[derive(Debug, Default)]
pub struct Traces {
    ways: Vec<PathBuf>,
    /// Of each study, where it has something, and how that is called.
    names: BTreeMap<String, BTreeSet<(usize, String)>>,
}

impl Traces {
    /// Finds those of studies.
    pub fn find(spool: &Path, studies: &BTreeSet<String>) -> Result<Traces, SpoolError> {
        let mut traces = Traces::default();
        if studies.is_empty() {
            return Ok(traces);
        }
        for kind in ["alerts", "deliver"] {
            for way in names(&spool.join(kind))? {
                let way = spool.join(kind).join(way);
                for state in names(&way)? {
                    for name in names(&way.join(state))? {
                        if let Some(study_uid) = study_of(&name).filter(|study| studies.contains(*study)) {
                            let found = traces.names.entry(study_uid.to_owned()).or_default();
                            found.insert((traces.ways.len(), name));
                        }
                    }
                }
                traces.ways.push(way);
            }
        }
        Ok(traces)
    }

    /// Removes those of a study, also where they have another state by now.
    pub fn remove(&mut self, study_uid: &str) -> Result<(), SpoolError> {
        for (way, name) in self.names.remove(study_uid).into_iter().flatten() {
            let way = &self.ways[way];
            names(way)?.iter().try_for_each(|state| remove(&way.join(state).join(&name)))?;
        }
        Ok(())
    }
}

/// A round in which studies are removed, one after the other.
#[derive(Debug)]
pub struct Removal {
    /// Time after its last verdict, or after it was sent again, that a study is kept.
    pub kept: Duration,
    /// When the round began.
    pub day: SystemTime,
    /// Studies of which somebody is still to be told, or whose results are on their way.
    pub waiting: BTreeSet<String>,
    /// Those that are still to be looked at.
    pub old: Vec<String>,
    /// What tells of them.
    pub traces: Traces,
}

impl Removal {
    /// Whether a file is of a time that is old now.
    pub fn is_old(&self, file: &Path) -> bool {
        let written = file.metadata().and_then(|metadata| metadata.modified());
        written.is_ok_and(|written| self.day.duration_since(written).is_ok_and(|passed| passed >= self.kept))
    }
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
    fn all_that_tells_of_a_study_is_found_once_and_removed_wherever_it_is_by_then() {
        let folder = tempfile::tempdir().unwrap();
        let made = |path: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path
        };
        let notice = made("alerts/log/done/1.2-1-alert.json");
        let (part, result) =
            (made("deliver/pacs/refused/1.2-ab/a.why"), made("deliver/old/done/1.2-ab.json"));
        let others = [made("alerts/log/done/1.2.3-1-alert.json"), made("deliver/pacs/done/1.2.3-ab.json")];
        let mut traces = Traces::find(folder.path(), &BTreeSet::from(["1.2".to_owned()])).unwrap();
        // Somebody wants it to be tried again.
        let entry = part.parent().unwrap();
        let pending = folder.path().join("deliver/pacs/pending/1.2-ab");
        fs::create_dir(pending.parent().unwrap()).unwrap();
        fs::rename(entry, &pending).unwrap();
        traces.remove("1.2").unwrap();
        traces.remove("1.2.3").unwrap();
        assert!(!notice.exists() && !pending.exists() && !result.exists());
        assert!(others.iter().all(|other| other.exists()));
    }

    #[test]
    fn times_that_cannot_be_are_told() {
        for days in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(Retention { days }.check().is_err(), "{days}");
        }
        assert!(Retention { days: 0.5 }.check().is_ok());
    }
}
