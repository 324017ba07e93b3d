//! When studies are looked at, when they are whole, and what becomes of their verdicts.
//!
//! A study is whole where its slices have no gap and nobody who sent any is still connected, for a moment; or, whatever it
//! looks like, where nothing came for long. Whatever comes later opens it again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::value::RawValue;

use super::config::{Config, Study as Settings};
use super::journal::Journal;
use super::open::{Open, objects_in};
use super::process::Process;
use super::refusals::{Refusals, reasons};
use super::retention::{Removal, Round, Rounds, Traces, studies_in};
use super::said::{Said, note_early, was_early};
use super::verdict::{self, Verdict};
use super::worker::{Answer, Request};
use crate::alert::{Channel, Notice, Occasion, Tries};
use crate::deliver::Outbox;
use crate::spool::{Spool, SpoolError, sync_folder, write_durably};

/// The file that says which verdict was given to all whom it concerns.
const HANDED_ON: &str = "handed_on";

/// What the rest of the service tells of.
#[derive(Debug)]
pub enum Happening {
    /// An object of a study is durable, or was `again`. The number of the association is 0 where there is none.
    Arrived { study_uid: String, association: u64, again: bool, stored: Instant },
    /// An object of a study was not kept, and will not be, for a reason that was noted and is new.
    Refused { study_uid: String },
    /// An association ended.
    Ended { association: u64 },
}

/// The studies of a spool.
pub struct Studies<'a> {
    spool: &'a Spool,
    settings: &'a Settings,
    /// The spool's folder, with what others have in it.
    folder: &'a Path,
    rounds: Rounds,
    /// The round in which studies are removed just now.
    removal: Option<Removal>,
    /// Why objects were refused.
    refusals: &'a Refusals<'a>,
    channels: &'a [Channel],
    outboxes: &'a [Outbox],
    journal: &'a Journal,
    open: BTreeMap<String, Open>,
    process: Option<Process>,
    /// Tries to start one.
    starts: Tries,
}

impl<'a> Studies<'a> {
    /// Takes up what an earlier process left: verdicts that may not have been told, studies without one.
    pub fn resume(
        spool: &'a Spool,
        config: &'a Config,
        refusals: &'a Refusals<'a>,
        channels: &'a [Channel],
        outboxes: &'a [Outbox],
        journal: &'a Journal,
    ) -> Result<Studies<'a>, SpoolError> {
        let mut studies = Studies {
            spool,
            settings: &config.study,
            folder: &config.spool.folder,
            rounds: Rounds::new(config.retention),
            removal: None,
            refusals,
            channels,
            outboxes,
            journal,
            open: BTreeMap::new(),
            process: None,
            starts: Tries::default(),
        };
        studies.finish_purges()?;
        for study_uid in spool.studies()? {
            let folder = spool.study(&study_uid);
            // One that cannot be read keeps no other from its verdict.
            let objects = match objects_in(&folder.join("objects")) {
                Ok(objects) => objects,
                Err(error) => {
                    journal.tell("not_judged", &[("study", &study_uid), ("why", &error.reason())]);
                    continue;
                }
            };
            let verdict = studies.verdict(&study_uid)?;
            if let Some(verdict) = &verdict
                && !studies.is_handed_on(&study_uid, verdict)
            {
                // Of others, the results may be half of those of the next verdict.
                if verdict.objects == objects {
                    studies.hand_on(&study_uid, verdict)?;
                } else {
                    studies.tell(&study_uid, verdict)?;
                }
            }
            let refused = studies.reasons(&study_uid).len();
            let is_current = |verdict: Verdict| verdict.objects == objects && verdict.refused == refused;
            if !verdict.is_some_and(is_current) && (objects > 0 || refused > 0) {
                studies.open.insert(study_uid, Open::new(objects, Instant::now()));
            }
        }
        studies.tell_strays();
        Ok(studies)
    }

    /// Works until the other end of `happenings` is gone.
    ///
    /// # Errors
    /// The disk: nothing can be promised any more.
    pub fn work(&mut self, happenings: &Receiver<Happening>) -> Result<(), SpoolError> {
        loop {
            self.refusals.settle()?.into_iter().for_each(|study_uid| self.open_refused(study_uid));
            // First of all at what an earlier process left. One at a time, so that none waits for all.
            let is_more_to_look_at = self.look()?;
            // A look takes its time: nobody is to be taken for gone who has sent something since.
            let has_more_come = self.note_all(happenings);
            self.count()?;
            let is_more_to_judge = self.judge()?;
            // What came meanwhile is looked at before anything is removed: it may be of a study that is old.
            if self.note_all(happenings) || has_more_come {
                continue;
            }
            if is_more_to_look_at || is_more_to_judge || self.purge()? {
                continue;
            }
            if self.open.is_empty() {
                // Nothing is to do: its memory is given back.
                self.process = None;
            }
            match happenings.recv_timeout(self.patience()) {
                Ok(happening) => {
                    self.note(happening);
                    self.note_all(happenings);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Notes all that came meanwhile, which is looked at at once; whether there was any.
    fn note_all(&mut self, happenings: &Receiver<Happening>) -> bool {
        let mut is_any = false;
        while let Ok(happening) = happenings.try_recv() {
            self.note(happening);
            is_any = true;
        }
        is_any
    }

    fn note(&mut self, happening: Happening) {
        match happening {
            Happening::Arrived { study_uid, association, again, stored } => {
                let open = self.open.entry(study_uid).or_insert_with(|| Open::new(0, stored));
                open.arrive(association, again, stored);
            }
            Happening::Refused { study_uid } => self.open_refused(study_uid),
            Happening::Ended { association } => {
                self.open.values_mut().for_each(|open| open.end(association));
            }
        }
    }

    /// Time until something is due without anything happening.
    fn patience(&self) -> Duration {
        let due = |open: &Open| match open.waits_for_a_look() {
            true => Duration::ZERO,
            false => open.due(self.settings),
        };
        let due = self.open.values().map(due).min().map(|due| due.max(self.starts.wait()));
        due.unwrap_or(Duration::from_secs(3600)).min(self.rounds.due()).max(Duration::from_millis(1))
    }

    /// An object was refused: whoever was judged without knowing is judged again.
    fn open_refused(&mut self, study_uid: String) {
        let now = Instant::now();
        let open = self.open.entry(study_uid).or_insert_with(|| Open::new(0, now));
        open.has_more = true;
        open.last = now;
    }

    fn reasons(&self, study_uid: &str) -> BTreeSet<String> {
        reasons(&self.spool.study(study_uid))
    }

    /// Removes one of the studies that were kept long enough: that are told, delivered, and as their verdict saw them. Whether there
    /// may be more: what comes in between is looked at first.
    fn purge(&mut self) -> Result<bool, SpoolError> {
        if self.removal.is_none() {
            self.removal = self.begin_removal()?;
        }
        let Some(mut removal) = self.removal.take() else { return Ok(false) };
        let Some(study_uid) = removal.old.pop() else {
            self.tell_strays();
            return Ok(false);
        };
        let is_busy = self.open.contains_key(&study_uid) || removal.waiting.contains(&study_uid);
        // Since the round began, there may be another verdict.
        if !is_busy
            && removal.is_old(&self.spool.study(&study_uid).join(verdict::FILE))
            && let Some(verdict) = self.verdict(&study_uid)?
            && self.is_handed_on(&study_uid, &verdict)
            && self.spool.purge(&study_uid, verdict.objects, removal.kept)?
        {
            self.finish_purge(&study_uid, &mut removal.traces)?;
        }
        self.removal = Some(removal);
        Ok(true)
    }

    /// Begins a round, if it is due: which studies are old, and all that has to be found out about all of them.
    fn begin_removal(&mut self) -> Result<Option<Removal>, SpoolError> {
        let day = SystemTime::now();
        let kept = match self.rounds.begin(Instant::now(), day) {
            Round::NotDue => return Ok(None),
            Round::ClockWasSet => {
                self.journal.tell("clock_was_set", &[]);
                return Ok(None);
            }
            Round::Remove(kept) => kept,
        };
        let mut waiting = BTreeSet::new();
        for folder in self.channels.iter().flat_map(Channel::waiting) {
            waiting.extend(studies_in(&folder)?);
        }
        for outbox in self.outboxes {
            waiting.extend(studies_in(&outbox.waiting())?);
        }
        let (old, traces) = (self.spool.studies()?, Traces::default());
        let mut removal = Removal { kept, day, waiting, old: Vec::new(), traces };
        let is_old = |study_uid: &String| removal.is_old(&self.spool.study(study_uid).join(verdict::FILE));
        let old: BTreeSet<String> = old.into_iter().filter(is_old).collect();
        removal.traces = Traces::find(self.folder, &old)?;
        removal.old.extend(old);
        Ok(Some(removal))
    }

    /// What was found in the spool that does not belong there; its name, which may be a study's, is told to nobody.
    fn tell_strays(&self) {
        for folder in self.spool.take_strays() {
            self.journal.tell("put_aside", &[("what", &format!("an entry of {folder}"))]);
        }
    }

    /// Removes what a crash left half removed.
    fn finish_purges(&self) -> Result<(), SpoolError> {
        let purging = self.spool.purging()?;
        let mut traces = Traces::find(self.folder, &purging.iter().cloned().collect())?;
        purging.iter().try_for_each(|study_uid| self.finish_purge(study_uid, &mut traces))
    }

    fn finish_purge(&self, study_uid: &str, traces: &mut Traces) -> Result<(), SpoolError> {
        // First: found again without these, it would be told of a second time.
        traces.remove(study_uid)?;
        self.spool.finish_purge(study_uid)?;
        self.refusals.forget(study_uid);
        self.journal.tell("purged", &[("study", study_uid)]);
        Ok(())
    }

    /// Looks at the study of which something came last; whether others wait.
    fn look(&mut self) -> Result<bool, SpoolError> {
        self.count()?;
        let (freshest, count) = self.freshest(Open::waits_for_a_look);
        if let Some(study_uid) = freshest {
            let objects = self.spool.study(&study_uid).join("objects");
            let seen = self.open.get(&study_uid).map_or(0, |open| open.objects);
            match self.ask(&study_uid, &Request::Look { study_uid: study_uid.clone(), objects }) {
                Some(Answer::Looked { early, without_gaps }) => {
                    if let Some(open) = self.open.get_mut(&study_uid) {
                        (open.looked_at, open.without_gaps) = (seen, without_gaps);
                    }
                    let folder = self.spool.study(&study_uid);
                    // Another worker may have said so.
                    if let Some(line) = early
                        && !was_early(&folder)
                    {
                        self.journal.tell("early_alert", &[("study", &study_uid)]);
                        self.post(&study_uid, Occasion::Early, 0, &raw(line))?;
                        note_early(&folder)?;
                    }
                }
                None if !self.starts.wait().is_zero() => return Ok(false),
                // The verdict will say what is wrong with it.
                _ => {
                    if let Some(open) = self.open.get_mut(&study_uid) {
                        open.looked_at = seen;
                    }
                }
            }
        }
        Ok(count > 1)
    }

    /// Counts the objects of the studies of which something came. One that has no others than its verdict saw is done with: a
    /// sender repeated itself.
    fn count(&mut self) -> Result<(), SpoolError> {
        let mut done = Vec::new();
        for (study_uid, open) in &mut self.open {
            // Once for all that came, since a folder takes longer to count the more there is in it.
            if std::mem::take(&mut open.has_more) {
                let was_opened_now = open.objects == 0;
                open.objects = objects_in(&self.spool.study(study_uid).join("objects"))?;
                if was_opened_now || open.objects == 0 {
                    done.push((study_uid.clone(), open.objects));
                }
            }
        }
        for (study_uid, objects) in done {
            if objects > 0 {
                self.refusals.forget(&study_uid);
            }
            // Nothing at all: removed since the object that was sent again was found there.
            let is_gone = objects == 0 && self.reasons(&study_uid).is_empty();
            if is_gone || self.is_done(&study_uid, objects)? {
                self.open.remove(&study_uid);
            }
        }
        Ok(())
    }

    /// Whether a study with this many objects has its verdict, and that was handed on. It is asked also of what is sent again: the
    /// disk may have refused after the object had its name, so that nobody was told of it.
    fn is_done(&self, study_uid: &str, objects: usize) -> Result<bool, SpoolError> {
        let Some(verdict) = self.verdict(study_uid)? else { return Ok(false) };
        let is_current = verdict.objects == objects && verdict.refused == self.reasons(study_uid).len();
        // Judging failed, which whoever sends it again may have mended.
        Ok(is_current && !verdict.is_of_ours() && self.is_handed_on(study_uid, &verdict))
    }

    /// Of the studies that ask for something, the one of which something came last: the patient may still be there. And how many
    /// they are; none while no process can be started.
    fn freshest(&self, asks: impl Fn(&Open) -> bool) -> (Option<String>, usize) {
        if !self.starts.wait().is_zero() {
            return (None, 0);
        }
        let asking = self.open.iter().filter(|(_, open)| asks(open));
        let freshest = asking.clone().max_by_key(|(_, open)| open.last);
        (freshest.map(|(study_uid, _)| study_uid.clone()), asking.count())
    }

    /// Judges the freshest study that is whole; whether others are.
    fn judge(&mut self) -> Result<bool, SpoolError> {
        let (freshest, count) = self.freshest(|open| open.due(self.settings).is_zero());
        if let Some(study_uid) = freshest {
            let Some(open) = self.open.get(&study_uid) else { return Ok(false) };
            let (objects, deaths, arrived) = (open.objects, open.deaths, open.arrived);
            let folder = self.spool.study(&study_uid);
            let results = folder.join("results");
            let refused: Vec<String> = self.reasons(&study_uid).into_iter().collect();
            let before = self.verdict(&study_uid)?;
            let said = Said::of(&folder, before.as_ref());
            let (outcome, report) = if deaths >= 2 {
                // Those of an earlier verdict do not go with this one.
                let _ = fs::remove_dir_all(&results);
                (Occasion::Refused, broken(&study_uid))
            } else {
                let request = Request::Judge {
                    study_uid: study_uid.clone(),
                    objects: folder.join("objects"),
                    results: results.clone(),
                    refused: refused.clone(),
                    said: said.clone(),
                };
                match self.ask(&study_uid, &request) {
                    Some(Answer::Judged { outcome, report }) => {
                        make_durable(&results)?;
                        (outcome, report)
                    }
                    // Tried once more; after that, it is refused.
                    _ => return Ok(self.starts.wait().is_zero()),
                }
            };
            let revision = match &before {
                Some(before) if before.outcome == outcome => before.revision,
                Some(before) => before.revision + 1,
                None => 1,
            };
            let (refused, report) = (refused.len(), raw(report));
            let verdict = Verdict { revision, outcome, objects, refused, said, report };
            // Strings and numbers always serialize.
            let line = serde_json::to_string(&verdict).unwrap_or_default();
            write_durably(&folder.join(verdict::FILE), line.as_bytes())?;
            self.journal.vitals.verdict_after(arrived.elapsed());
            self.hand_on(&study_uid, &verdict)?;
            // What came meanwhile is noted before it is asked for the next time.
            if objects_in(&folder.join("objects"))? == objects {
                self.open.remove(&study_uid);
            }
        }
        Ok(count > 1)
    }

    fn ask(&mut self, study_uid: &str, request: &Request) -> Option<Answer> {
        let process = match self.process.take() {
            Some(process) => Ok(process),
            None => Process::start(self.settings),
        };
        let mut process = match process {
            Ok(process) => process,
            // Nothing is known of the study; what is wrong is the machine.
            Err(why) => {
                self.starts.failed();
                self.journal.tell("worker_not_started", &[("why", &why)]);
                return None;
            }
        };
        self.starts = Tries::default();
        match process.ask(request, Duration::from_secs(self.settings.seconds)) {
            Ok(Answer::NotWritten { why }) => {
                self.process = Some(process);
                self.journal.tell("not_judged", &[("study", study_uid), ("why", &why)]);
                if let Some(open) = self.open.get_mut(study_uid) {
                    open.writing.failed();
                }
                None
            }
            Ok(answer) => {
                self.process = Some(process);
                Some(answer)
            }
            Err(why) => {
                self.journal.tell("worker_died", &[("study", study_uid), ("why", &why)]);
                if let Some(open) = self.open.get_mut(study_uid) {
                    open.deaths += 1;
                }
                None
            }
        }
    }

    fn verdict(&self, study_uid: &str) -> Result<Option<Verdict>, SpoolError> {
        let path = self.spool.study(study_uid).join(verdict::FILE);
        let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
        match serde_json::from_str(&text) {
            Ok(verdict) => Ok(Some(verdict)),
            // Written whole, so somebody else wrote to it. The study is judged anew.
            Err(_) => {
                self.journal.tell("put_aside", &[("study", study_uid), ("what", verdict::FILE)]);
                self.spool.put_aside(&path)?;
                Ok(None)
            }
        }
    }

    fn tell(&self, study_uid: &str, verdict: &Verdict) -> Result<(), SpoolError> {
        self.post(study_uid, verdict.outcome, verdict.revision, &verdict.report)
    }

    /// Gives a verdict to those who are told and to archives, and notes that it did: another start need not read it again,
    /// and whoever is added to the configuration later does not get all that ever was.
    fn hand_on(&self, study_uid: &str, verdict: &Verdict) -> Result<(), SpoolError> {
        let (revision, objects) = (verdict.revision.to_string(), verdict.objects.to_string());
        let fields = [
            ("study", study_uid),
            ("outcome", verdict.outcome.name()),
            ("revision", &revision),
            ("objects", &objects),
            ("report_sha256", &verdict.report_sha256()),
        ];
        self.journal.tell("verdict", &fields);
        self.tell(study_uid, verdict)?;
        let folder = self.spool.study(study_uid);
        let objects = folder.join("results/dicom");
        self.outboxes.iter().try_for_each(|outbox| outbox.post(verdict.outcome, study_uid, &objects))?;
        write_durably(&folder.join(HANDED_ON), verdict.mark().as_bytes())
    }

    fn is_handed_on(&self, study_uid: &str, verdict: &Verdict) -> bool {
        let noted = fs::read_to_string(self.spool.study(study_uid).join(HANDED_ON));
        noted.is_ok_and(|noted| noted == verdict.mark())
    }

    fn post(
        &self,
        study_uid: &str,
        occasion: Occasion,
        revision: u32,
        about: &RawValue,
    ) -> Result<(), SpoolError> {
        let notice = Notice::new(occasion, study_uid, revision, about);
        self.channels.iter().try_for_each(|channel| channel.post(&notice))
    }
}

/// Makes the names of results durable; their contents are.
fn make_durable(results: &Path) -> Result<(), SpoolError> {
    for folder in [&results.join("dicom"), results] {
        if folder.is_dir() {
            sync_folder(folder)?;
        }
    }
    Ok(())
}

/// The report on a study that brings its worker down.
fn broken(study_uid: &str) -> String {
    let detail = "the process that judges ended twice on this study";
    serde_json::json!({
        "schema": "hemapatch.report/1",
        "study_uid": study_uid,
        "outcome": "refused",
        "refusal": {"code": "internal", "detail": detail},
        "trace": {"program": concat!("hemapatch ", env!("CARGO_PKG_VERSION")), "intended_use": "research use only"},
    })
    .to_string()
}

fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).unwrap_or_default()
}
