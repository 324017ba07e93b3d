//! Where results go: DICOM objects into archives, each until the archive says that it keeps it.
//! What the objects say is left to `output`, when there are any to `serve`.
//!
//! A courier for each destination works on a queue, a folder that survives crashes. Whoever is away is tried again;
//! what is refused again and again is put aside with the reason, and the rest goes on.

mod config;
mod objects;
mod probe;
mod queue;
mod send;
mod stow;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

pub use config::{Destination, Dicom, Stow, To};

use crate::alert::{Occasion, Tries};
use crate::dimse::{PeerError, Report};
use crate::spool::{SpoolError, at};
use objects::Object;
use queue::{Entry, Queue};

/// Time for a report on what is kept to come before it is asked for again.
const CONFIRMATION: Duration = Duration::from_secs(300);

/// Time before a disk that refuses is asked again.
const DISK: Duration = Duration::from_secs(60);

/// How often an object is refused before it is put aside: twenty minutes, in which somebody may mend the archive.
const REFUSALS: usize = 8;

/// What a courier tells of.
#[derive(Debug)]
pub enum News<'a> {
    /// The objects of a study are where they should be.
    Delivered {
        /// The study.
        study_uid: &'a str,
        /// How many objects.
        objects: usize,
        /// What is known for sure: `storage commitment`, or only `its answer`.
        confirmed_by: &'static str,
    },
    /// They are not, for now.
    NotDelivered {
        /// The study.
        study_uid: &'a str,
        /// Why.
        why: String,
    },
    /// Some of them will not be tried again.
    Refused {
        /// The study.
        study_uid: &'a str,
        /// What the archive said.
        why: String,
    },
}

/// What became of an object at its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// It was taken.
    Taken,
    /// It was not, and may be later.
    NotNow(String),
    /// It is not wanted.
    Refused(String),
}

/// The fate that a status of C-STORE, or a failure reason of STOW-RS, means.
///
/// # Source
/// DICOM PS3.4 table B.2-1, PS3.7 annex C, PS3.18 table I.2-2.
fn fate(status: u16) -> Fate {
    match status {
        // Success; warnings: it is kept, something of it was changed or ignored; the same is there already.
        0x0000 | 0x0001 | 0x0107 | 0x0111 | 0x0116 | 0xB000..=0xBFFF => Fate::Taken,
        // Of the object: its class, its contents.
        0x0106 | 0x0117 | 0x0118 | 0x0122 | 0xA900..=0xA9FF | 0xC000..=0xCFFF => {
            Fate::Refused(format!("status {status:04X}"))
        }
        _ => Fate::NotNow(format!("status {status:04X}")),
    }
}

/// Why something could not be delivered.
#[derive(Debug)]
enum Failure {
    /// Nothing can be, for now.
    Peer(String),
    /// These objects cannot be, for now.
    Objects(String),
    /// The queue's disk.
    Disk(SpoolError),
}

impl From<SpoolError> for Failure {
    fn from(error: SpoolError) -> Failure {
        Failure::Disk(error)
    }
}

impl From<PeerError> for Failure {
    fn from(error: PeerError) -> Failure {
        Failure::Peer(error.to_string())
    }
}

/// One destination, seen by whoever has something for it.
#[derive(Debug)]
pub struct Outbox {
    queue: Queue,
    on: Vec<Occasion>,
    wake: Sender<()>,
}

/// The other end of an [`Outbox`].
#[derive(Debug)]
pub struct Courier {
    queue: Queue,
    to: To,
    woken: Receiver<()>,
}

/// Opens the queue of a destination.
///
/// # Errors
/// The disk.
pub fn outbox_in(folder: PathBuf, on: Vec<Occasion>, to: To) -> Result<(Outbox, Courier), SpoolError> {
    let queue = Queue::open(folder)?;
    let (wake, woken) = channel();
    Ok((Outbox { queue: queue.clone(), on, wake }, Courier { queue, to, woken }))
}

impl Outbox {
    /// Its folder of what is on its way.
    pub fn waiting(&self) -> PathBuf {
        self.queue.waiting()
    }

    /// Takes the objects of a folder, durably, if the verdict is one of its occasions. The same objects are taken once.
    ///
    /// # Errors
    /// The disk.
    pub fn post(&self, occasion: Occasion, study_uid: &str, objects: &Path) -> Result<(), SpoolError> {
        if self.on.contains(&occasion) && self.queue.post(study_uid, objects)? {
            // The courier lives as long as the process.
            let _ = self.wake.send(());
        }
        Ok(())
    }

    /// Takes what an archive says that it keeps. False where nothing of this destination waits for it.
    ///
    /// # Errors
    /// The disk.
    pub fn report(&self, report: &Report) -> Result<bool, SpoolError> {
        let is_awaited = self.queue.note(report)?;
        if is_awaited {
            let _ = self.wake.send(());
        }
        Ok(is_awaited)
    }
}

/// What a courier knows that need not survive it.
#[derive(Debug, Default)]
struct Memory {
    /// Of all entries: an archive that is away is away for all.
    peer: Tries,
    /// How often it was away for an entry: it may be the entry that drives it away, so others go first.
    away: BTreeMap<PathBuf, usize>,
    entries: BTreeMap<PathBuf, Tries>,
    /// How often an object of an entry was refused, or taken and not kept; not how often there was no room for it.
    refusals: BTreeMap<PathBuf, usize>,
}

impl Memory {
    /// The tries of an entry.
    fn tries(&mut self, entry: &Entry) -> &mut Tries {
        self.entries.entry(entry.path().to_owned()).or_default()
    }

    /// Counts one more refusal; whether it was the last one.
    fn refused(&mut self, entry: &Entry) -> bool {
        let refusals = self.refusals.entry(entry.path().to_owned()).or_default();
        *refusals += 1;
        *refusals >= REFUSALS
    }

    /// Whether the next refusal of one of its objects is the last one.
    fn is_last_try(&self, entry: &Entry) -> bool {
        self.refusals.get(entry.path()).is_some_and(|refusals| refusals + 1 >= REFUSALS)
    }
}

impl Courier {
    /// Delivers whatever there is, for ever: until the [`Outbox`] is gone.
    pub fn deliver(&self, tell: &dyn Fn(News<'_>)) {
        let mut memory = Memory::default();
        let mut is_woken = false;
        loop {
            let patience = match self.round(&mut memory, is_woken, tell) {
                Ok(patience) => patience,
                Err(error) => {
                    tell(News::NotDelivered { study_uid: "", why: format!("the disk: {}", error.reason()) });
                    DISK
                }
            };
            is_woken = match self.woken.recv_timeout(patience) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
        }
    }

    /// Tries what is due; when something is due again. What came just now is tried at once, whoever was away before.
    fn round(
        &self,
        memory: &mut Memory,
        mut is_fresh: bool,
        tell: &dyn Fn(News<'_>),
    ) -> Result<Duration, SpoolError> {
        for study_uid in self.queue.put_broken_aside()? {
            let why = "what was to be sent cannot be read; it is in the folder refused".to_owned();
            tell(News::Refused { study_uid: &study_uid, why });
        }
        self.take_reports(memory, tell)?;
        let entries = self.queue.entries()?;
        let mut due: Vec<&Entry> = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let is_newer = |other: &Entry| other.study_uid() == entry.study_uid();
            if entries[index + 1..].iter().any(is_newer) && !entry.is_begun()? {
                entry.drop()?;
            } else {
                due.push(entry);
            }
        }
        // Of those for which it was away as often, the oldest.
        due.sort_by_key(|entry| memory.away.get(entry.path()).copied().unwrap_or(0));
        for entry in due {
            is_fresh &= !memory.away.contains_key(entry.path());
            if !memory.peer.wait().is_zero() && !is_fresh {
                break;
            }
            if !memory.tries(entry).wait().is_zero() {
                continue;
            }
            let failed = match self.forward(entry, memory, tell) {
                Ok(()) => {
                    memory.peer = Tries::default();
                    memory.away.remove(entry.path());
                    continue;
                }
                Err(Failure::Disk(error)) => return Err(error),
                Err(Failure::Peer(why)) => {
                    memory.peer.failed();
                    *memory.away.entry(entry.path().to_owned()).or_default() += 1;
                    is_fresh = false;
                    why
                }
                Err(Failure::Objects(why)) => {
                    memory.peer = Tries::default();
                    memory.tries(entry).failed();
                    why
                }
            };
            tell(News::NotDelivered { study_uid: entry.study_uid(), why: failed });
        }
        // Those that came on the associations just held.
        self.take_reports(memory, tell)?;
        let left = self.queue.entries()?;
        let is_left = |path: &PathBuf| left.iter().any(|entry| entry.path() == path);
        memory.entries.retain(|path, _| is_left(path));
        memory.refusals.retain(|path, _| is_left(path));
        memory.away.retain(|path, _| is_left(path));
        let waits =
            left.iter().map(|entry| memory.entries.get(entry.path()).map_or(Duration::ZERO, Tries::wait));
        let hour = Duration::from_secs(3600);
        Ok(waits
            .min()
            .map_or(hour, |first| first.max(memory.peer.wait()).clamp(Duration::from_millis(10), hour)))
    }

    /// Brings an entry as far as it goes now.
    fn forward(&self, entry: &Entry, memory: &mut Memory, tell: &dyn Fn(News<'_>)) -> Result<(), Failure> {
        let waiting = read(entry, &entry.waiting()?)?;
        let asks = matches!(&self.to, To::Dicom(dicom) if dicom.commit);
        if waiting.is_empty() && !(asks && entry.is_begun()?) {
            // A crash came before it was noted that all is sent, or nothing of it can be read. There is nothing to offer an archive,
            // and no association is to be had for nothing.
            return Ok(finish(entry, "its answer", tell)?);
        }
        let (mut failed, mut is_refused): (Option<String>, bool) = (None, false);
        let is_last_try = memory.is_last_try(entry);
        let mut note = |object: &Object, fate: Fate| -> Result<(), SpoolError> {
            is_refused |= matches!(fate, Fate::Refused(_));
            match fate {
                Fate::Taken => entry.sent(&object.path)?,
                Fate::Refused(why) if is_last_try => entry.refuse(&object.path, &why)?,
                Fate::Refused(why) | Fate::NotNow(why) => {
                    failed.get_or_insert(format!("an object is not taken: {why}"));
                }
            }
            Ok(())
        };
        let dicom = match &self.to {
            To::Dicom(dicom) => dicom,
            To::Stow(stow) => {
                let sent = stow::send(stow, &waiting, &mut note);
                if is_refused {
                    memory.refused(entry);
                }
                sent?;
                return match failed {
                    Some(why) => Err(Failure::Objects(why)),
                    None => Ok(finish(entry, "its answer", tell)?),
                };
            }
        };
        let mut association = send::connect(dicom, &waiting)?;
        send::store(&mut association, &waiting, &mut note)?;
        if is_refused {
            memory.refused(entry);
        }
        if let Some(why) = failed {
            association.release();
            return Err(Failure::Objects(why));
        }
        let sent = read(entry, &entry.taken()?)?;
        if !dicom.commit || sent.is_empty() {
            association.release();
            return Ok(finish(entry, "its answer", tell)?);
        }
        let transaction_uid = send::new_uid();
        // Before it is asked: the report may be here before the answer is.
        entry.ask(&transaction_uid)?;
        let patience = || !self.queue.has_reports();
        if let Some(report) = send::commit(association, &transaction_uid, &sent, patience)? {
            self.queue.note(&report)?;
        }
        // An archive that takes its time is given more of it.
        let rest = CONFIRMATION * u32::try_from(entry.asked().len()).unwrap_or(1);
        memory.tries(entry).rest(rest);
        Ok(())
    }

    fn take_reports(&self, memory: &mut Memory, tell: &dyn Fn(News<'_>)) -> Result<(), SpoolError> {
        for (report, path) in self.queue.reports()? {
            let entries = self.queue.entries()?;
            let asked = entries.iter().find(|entry| entry.asked().contains(&report.transaction_uid));
            // Where objects are to be sent again, on the word of another report, it is asked once more when they are there.
            if let Some(entry) = asked
                && entry.waiting()?.is_empty()
            {
                let lost: Vec<Object> = read(entry, &entry.taken()?)?
                    .into_iter()
                    .filter(|object| !report.kept.contains(&object.instance_uid))
                    .collect();
                if lost.is_empty() {
                    finish(entry, "storage commitment", tell)?;
                } else {
                    let reason = report.failed.first().map_or(0, |(_, reason)| *reason);
                    let why = format!("{} of its objects are not kept: reason {reason:04X}", lost.len());
                    memory.tries(entry).failed();
                    let is_last_try = memory.refused(entry);
                    for object in &lost {
                        if is_last_try {
                            entry.refuse(&object.path, &why)?;
                        } else {
                            entry.send_again(&object.path)?;
                        }
                    }
                    if is_last_try {
                        finish(entry, "storage commitment", tell)?;
                        self.queue.forget(&path)?;
                        continue;
                    }
                    tell(News::NotDelivered { study_uid: entry.study_uid(), why });
                }
            }
            self.queue.forget(&path)?;
        }
        Ok(())
    }
}

/// Objects of an entry. One that is none, for somebody else wrote to it or the disk lost it, is put aside, and the others go on.
fn read(entry: &Entry, paths: &[PathBuf]) -> Result<Vec<Object>, SpoolError> {
    let mut objects = Vec::with_capacity(paths.len());
    for path in paths {
        match Object::of(path, std::fs::read(path).map_err(at(path))?) {
            Ok(object) => objects.push(object),
            Err(why) => entry.refuse(path, &format!("it cannot be read: {why}"))?,
        }
    }
    Ok(objects)
}

/// Notes that there is nothing left to do for an entry.
fn finish(entry: &Entry, confirmed_by: &'static str, tell: &dyn Fn(News<'_>)) -> Result<(), SpoolError> {
    let sent = read(entry, &entry.taken()?)?;
    let study_uid = entry.study_uid();
    match entry.finish(&sent, confirmed_by)? {
        None => tell(News::Delivered { study_uid, objects: sent.len(), confirmed_by }),
        Some(why) => tell(News::Refused { study_uid, why }),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use dicom_object::FileMetaTableBuilder;

    use super::*;

    /// A file that is an object, as far as an archive's answers are concerned.
    pub(super) fn write(folder: &Path, instance_uid: &str) {
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid("1.2.840.10008.5.1.4.1.1.7")
            .media_storage_sop_instance_uid(instance_uid)
            .transfer_syntax("1.2.840.10008.1.2.1")
            .build()
            .unwrap();
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM");
        meta.write(&mut bytes).unwrap();
        std::fs::write(folder.join(format!("{instance_uid}.dcm")), bytes).unwrap();
    }

    #[test]
    fn an_object_that_is_taken_and_not_kept_is_put_aside_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let objects = folder.path().join("objects");
        std::fs::create_dir(&objects).unwrap();
        ["1.2.3", "1.2.4"].iter().for_each(|uid| write(&objects, uid));
        let dicom = serde_json::json!({ "address": "127.0.0.1:1", "ae_title": "PACS" });
        let to = To::Dicom(serde_json::from_value(dicom).unwrap());
        let queue = folder.path().join("queue");
        let (outbox, courier) = outbox_in(queue.clone(), vec![Occasion::Alert], to).unwrap();
        outbox.post(Occasion::Alert, "1.2", &objects).unwrap();
        let news: RefCell<Vec<String>> = RefCell::default();
        let tell = |told: News<'_>| news.borrow_mut().push(format!("{told:?}"));
        let mut memory = Memory::default();
        for number in 1..=REFUSALS {
            let entry = &courier.queue.entries().unwrap()[0];
            let waiting = entry.waiting().unwrap();
            // All of them at first, then the one that is lost each time.
            assert_eq!(waiting.len(), if number == 1 { 2 } else { 1 });
            waiting.iter().for_each(|path| entry.sent(path).unwrap());
            entry.ask(&format!("2.25.{number}")).unwrap();
            let report = Report {
                transaction_uid: format!("2.25.{number}"),
                kept: vec!["1.2.3".to_owned()],
                failed: vec![("1.2.4".to_owned(), 0x0112)],
            };
            assert!(outbox.report(&report).unwrap());
            courier.take_reports(&mut memory, &tell).unwrap();
            assert!(!courier.queue.has_reports());
            if number < REFUSALS {
                // The archive says it twice, before the lost one is there again: nothing is delivered by that.
                assert!(outbox.report(&report).unwrap());
                courier.take_reports(&mut memory, &tell).unwrap();
            }
        }
        let news = news.into_inner();
        assert_eq!(news.len(), REFUSALS);
        let (last, before) = news.split_last().unwrap();
        assert!(before.iter().all(|news| news.starts_with("NotDelivered") && news.contains("reason 0112")));
        assert!(last.starts_with("Refused") && last.contains("1 of its objects"), "{last}");
        // Nothing waits; moved back to the pending ones, the lost one alone is tried again.
        assert!(courier.queue.entries().unwrap().is_empty());
        let aside = std::fs::read_dir(queue.join("refused")).unwrap().next().unwrap().unwrap().path();
        assert!(aside.join("1.2.3.sent").exists() && aside.join("1.2.4.dcm").exists());
    }

    #[test]
    fn what_was_sent_before_a_crash_is_delivered_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let objects = folder.path().join("objects");
        std::fs::create_dir(&objects).unwrap();
        write(&objects, "1.2.3");
        // Nobody listens there, nor needs to.
        let dicom = serde_json::json!({ "address": "127.0.0.1:1", "ae_title": "PACS", "commit": false });
        let to = To::Dicom(serde_json::from_value(dicom).unwrap());
        let (outbox, courier) = outbox_in(folder.path().join("queue"), vec![Occasion::Alert], to).unwrap();
        outbox.post(Occasion::Alert, "1.2", &objects).unwrap();
        let entry = &courier.queue.entries().unwrap()[0];
        entry.sent(&entry.waiting().unwrap()[0]).unwrap();
        let news: RefCell<Vec<String>> = RefCell::default();
        let tell = |told: News<'_>| news.borrow_mut().push(format!("{told:?}"));
        courier.round(&mut Memory::default(), true, &tell).unwrap();
        let news = news.into_inner();
        assert!(
            news.len() == 1 && news[0].starts_with("Delivered") && news[0].contains("objects: 1"),
            "{news:?}"
        );
        assert!(courier.queue.entries().unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_read_holds_up_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let to = To::Dicom(
            serde_json::from_value(serde_json::json!({
                "address": "127.0.0.1:1", "ae_title": "PACS",
            }))
            .unwrap(),
        );
        let queue = folder.path().join("queue");
        let (outbox, courier) = outbox_in(queue.clone(), vec![Occasion::Alert], to).unwrap();
        for study_uid in ["1.2", "1.3", "1.4"] {
            let objects = folder.path().join(study_uid);
            std::fs::create_dir(&objects).unwrap();
            write(&objects, &format!("{study_uid}.9"));
            outbox.post(Occasion::Alert, study_uid, &objects).unwrap();
        }
        let entries = courier.queue.entries().unwrap();
        let broken = entries[0].waiting().unwrap().remove(0);
        std::fs::write(&broken, "no object").unwrap();
        std::fs::write(entries[1].path().join("about.json"), "nobody's").unwrap();
        let news: RefCell<Vec<String>> = RefCell::default();
        let tell = |told: News<'_>| news.borrow_mut().push(format!("{told:?}"));
        // Nobody listens there, and that is all that is wrong with the last one.
        let mut memory = Memory::default();
        courier.round(&mut memory, true, &tell).unwrap();
        let news = news.into_inner();
        assert!(news[0].starts_with("Refused") && news[0].contains("1.3"), "{news:?}");
        assert!(news[1].starts_with("Refused") && news[1].contains("1.2") && news[1].contains("too short"));
        assert!(news[2].starts_with("NotDelivered") && news[2].contains("127.0.0.1:1"), "{news:?}");
        assert_eq!(courier.queue.entries().unwrap().len(), 1);
    }

    #[test]
    fn an_answer_says_whether_to_try_again() {
        for status in [0x0000, 0x0107, 0x0111, 0xB007] {
            assert_eq!(fate(status), Fate::Taken, "{status:04X}");
        }
        for status in [0x0122, 0xA900, 0xC123] {
            assert!(matches!(fate(status), Fate::Refused(_)), "{status:04X}");
        }
        // No room, no rights, an operation that is not served, what nobody knows.
        for status in [0xA700, 0x0124, 0x0211, 0xFFFF] {
            assert!(matches!(fate(status), Fate::NotNow(_)), "{status:04X}");
        }
    }
}
