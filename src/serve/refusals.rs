//! Why objects of studies were refused: noted before their sender is answered, so that the verdict says it whatever happens in
//! between. A study of which every object is refused has its folder too, and a verdict.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::open::objects_in;
use crate::spool::{Spool, SpoolError, is_name, write_durably};

/// The file that says why objects of the study are missing.
const FILE: &str = "refused.json";
/// As many reasons are told.
const MOST_REASONS: usize = 8;

/// Reasons of all studies of a spool.
pub struct Refusals<'a> {
    spool: &'a Spool,
    /// As many studies of which nothing else came have a folder, and as many more are remembered: whoever makes up studies does
    /// not fill the disk.
    most: usize,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    /// Studies with a folder and no object.
    empty: BTreeSet<String>,
    /// Reasons of studies that have no folder; the oldest first.
    remembered: VecDeque<(String, BTreeSet<String>)>,
}

impl<'a> Refusals<'a> {
    /// Finds what an earlier process left.
    ///
    /// # Errors
    /// The disk.
    pub fn find(spool: &'a Spool, most: usize) -> Result<Refusals<'a>, SpoolError> {
        let mut noted = Noted::default();
        for study_uid in spool.studies()? {
            // What cannot be read may have some.
            if objects_in(&spool.study(&study_uid).join("objects")).is_ok_and(|objects| objects == 0) {
                noted.empty.insert(study_uid);
            }
        }
        Ok(Refusals { spool, most, noted: Mutex::new(noted) })
    }

    /// Notes why an object of a study was refused; whether that is durable, and was not known.
    pub fn note(&self, study_uid: &str, why: String) -> bool {
        // It is held to the form where it is read.
        if !is_name(study_uid) {
            return false;
        }
        let mut noted = self.lock();
        let more = BTreeSet::from([why]);
        if self.has_room(&noted, study_uid)
            && let Ok(is_new) = self.write(&mut noted, study_uid, more.clone())
        {
            return is_new;
        }
        // A disk that refuses is met again by whoever settles it, and may end the service.
        self.remember(&mut noted, study_uid, more);
        false
    }

    /// The same of an object that may be of a study that is none of ours: only where other objects of it came.
    pub fn note_beside_others(&self, study_uid: &str, why: String) -> bool {
        is_name(study_uid) && self.spool.study(study_uid).is_dir() && self.note(study_uid, why)
    }

    /// Makes durable what was only remembered, where the study has a folder by now, or may have one; of which that was not known.
    ///
    /// # Errors
    /// The disk, unless it is full: there may be room later.
    pub fn settle(&self) -> Result<Vec<String>, SpoolError> {
        let mut noted = self.lock();
        let mut settled = Vec::new();
        for (study_uid, more) in std::mem::take(&mut noted.remembered) {
            if !self.has_room(&noted, &study_uid) {
                noted.remembered.push_back((study_uid, more));
                continue;
            }
            match self.write(&mut noted, &study_uid, more.clone()) {
                Ok(true) => settled.push(study_uid),
                Ok(false) => {}
                Err(error) if error.is_full() => noted.remembered.push_back((study_uid, more)),
                Err(error) => return Err(error),
            }
        }
        Ok(settled)
    }

    /// A study has objects, or was removed.
    pub fn forget(&self, study_uid: &str) {
        self.lock().empty.remove(study_uid);
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, noted: &Noted, study_uid: &str) -> bool {
        noted.empty.len() < self.most || self.spool.study(study_uid).is_dir()
    }

    fn write(&self, noted: &mut Noted, study_uid: &str, more: BTreeSet<String>) -> Result<bool, SpoolError> {
        self.spool.within(study_uid, |study| {
            if objects_in(&study.join("objects"))? == 0 {
                noted.empty.insert(study_uid.to_owned());
            }
            let mut reasons = reasons(study);
            let before = reasons.len();
            // The same object may be sent, and refused, for ever: that changes nothing.
            reasons.extend(more);
            let reasons: Vec<String> = reasons.into_iter().take(MOST_REASONS).collect();
            if reasons.len() == before {
                return Ok(false);
            }
            // Strings always serialize.
            write_durably(&study.join(FILE), &serde_json::to_vec(&reasons).unwrap_or_default())?;
            Ok(true)
        })
    }

    fn remember(&self, noted: &mut Noted, study_uid: &str, more: BTreeSet<String>) {
        match noted.remembered.iter_mut().find(|(own, _)| own == study_uid) {
            Some((_, reasons)) if reasons.len() < MOST_REASONS => reasons.extend(more),
            Some(_) => {}
            None => noted.remembered.push_back((study_uid.to_owned(), more)),
        }
        if noted.remembered.len() > self.most {
            noted.remembered.pop_front();
        }
    }
}

/// Why objects of a study, whose folder it is, were refused.
pub fn reasons(study: &Path) -> BTreeSet<String> {
    let text = fs::read(study.join(FILE)).unwrap_or_default();
    // Written whole; whoever wrote something else there took away a warning, and no more.
    serde_json::from_slice(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_makes_up_studies_fills_no_disk() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 0).unwrap();
        let refusals = Refusals::find(&spool, 2).unwrap();
        let note = |study_uid: &str| refusals.note(study_uid, "cut off".to_owned());
        assert!(note("1.9") && note("1.8"));
        assert!(!note("1.9"), "known");
        assert!(!note("..") && !note("1.7") && !note("1.6") && !note("1.5"));
        assert_eq!(spool.studies().unwrap(), ["1.8", "1.9"]);
        assert!(refusals.settle().unwrap().is_empty());
        // As after a start.
        assert_eq!(Refusals::find(&spool, 2).unwrap().lock().empty.len(), 2);
        // Once there is room, for those that were not forgotten: the oldest is.
        refusals.forget("1.9");
        assert_eq!(refusals.settle().unwrap(), ["1.6"]);
        refusals.forget("1.8");
        assert_eq!(refusals.settle().unwrap(), ["1.5"]);
        assert_eq!(reasons(&spool.study("1.5")).len(), 1);
    }

    #[test]
    fn what_may_be_of_a_study_that_is_none_of_ours_makes_none() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 0).unwrap();
        let refusals = Refusals::find(&spool, 2).unwrap();
        let note = || refusals.note_beside_others("1.2", "no CT image".to_owned());
        assert!(!note() && spool.studies().unwrap().is_empty());
        assert!(refusals.note("1.2", "cut off".to_owned()) && note());
        assert_eq!(reasons(&spool.study("1.2")).len(), 2);
        // A folder that cannot be read keeps no service from its start.
        fs::create_dir_all(spool.study("1.3")).unwrap();
        fs::write(spool.study("1.3").join("objects"), "in the way").unwrap();
        assert_eq!(Refusals::find(&spool, 2).unwrap().lock().empty.len(), 1);
    }

    #[test]
    fn only_so_many_reasons_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 0).unwrap();
        let refusals = Refusals::find(&spool, 2).unwrap();
        for number in (10..30).rev() {
            assert_eq!(refusals.note("1.2", format!("reason {number}")), number > 29 - MOST_REASONS);
        }
        assert_eq!(reasons(&spool.study("1.2")).len(), MOST_REASONS);
    }
}
