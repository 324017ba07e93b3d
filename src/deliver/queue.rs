//! The folder of a destination. An entry holds the objects of one verdict; an object's state is its file's extension.
//!
//! ```text
//! making/ID/                    being put together; of no worth after a crash
//! pending/ID/about.json         whose objects they are, and since when they are here
//! pending/ID/NAME.dcm           to be sent
//! pending/ID/NAME.sent          taken by the archive
//! pending/ID/NAME.refused       not wanted; NAME.why says why
//! pending/ID/asked              the transactions in which the archive was asked whether it keeps them, a line each
//! reports/TRANSACTION.json      what it answered
//! done/ID.json                  delivered: what, and how that is known
//! refused/ID/                   what the archive does not want; moved back to pending, it is tried again
//! ```
//!
//! ID is the study's UID and a hash of the objects: the same objects are delivered once, others of the same study as well.
//! `making` and `reports` are written by whoever has something, `pending` by the courier alone.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::objects::Object;
use crate::dimse::Report;
use crate::spool::{SpoolError, at, make_folder, move_durably, names, sync_folder, write_durably};

/// As many transactions of an entry are remembered; at an hour each, half a day.
const MOST_ASKED: usize = 12;

#[derive(Clone, Debug)]
pub struct Queue {
    folder: PathBuf,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct About {
    study_uid: String,
    /// Milliseconds since 1970.
    since_ms: u64,
}

impl About {
    /// Of an entry; None where somebody else wrote there.
    fn read(entry: &Path) -> Option<About> {
        serde_json::from_slice(&fs::read(entry.join("about.json")).ok()?).ok()
    }
}

/// The objects of one verdict, on their way.
#[derive(Debug)]
pub struct Entry {
    queue: PathBuf,
    path: PathBuf,
    about: About,
}

/// Files of a folder with an extension, in order; none where it is missing.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, SpoolError> {
    let mut paths = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(paths),
        entries => entries.map_err(at(folder))?,
    };
    for entry in entries {
        let path = entry.map_err(at(folder))?.path();
        if path.extension().is_some_and(|own| own == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn remove(folder: &Path) -> Result<(), SpoolError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(folder)(error)),
        _ => Ok(()),
    }
}

impl Queue {
    pub fn open(folder: PathBuf) -> Result<Queue, SpoolError> {
        remove(&folder.join("making"))?;
        for name in ["making", "pending", "reports", "done", "refused"] {
            make_folder(&folder.join(name))?;
        }
        Ok(Queue { folder })
    }

    /// Takes the objects of a folder; false where there are none, or were taken before.
    pub fn post(&self, study_uid: &str, objects: &Path) -> Result<bool, SpoolError> {
        let paths = files(objects, "dcm")?;
        if paths.is_empty() {
            return Ok(false);
        }
        let mut digest = Sha256::new();
        let mut contents = Vec::with_capacity(paths.len());
        for path in &paths {
            let bytes = fs::read(path).map_err(at(path))?;
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(&bytes);
            contents.push(bytes);
        }
        let digest: String = digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let id = format!("{study_uid}-{digest}");
        let (pending, refused) =
            (self.folder.join("pending").join(&id), self.folder.join("refused").join(&id));
        if pending.exists() || refused.exists() || self.done(&id).exists() {
            return Ok(false);
        }
        let making = self.folder.join("making").join(&id);
        remove(&making)?;
        make_folder(&making)?;
        for (path, bytes) in paths.iter().zip(&contents) {
            write_durably(&making.join(path.file_name().unwrap_or_default()), bytes)?;
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Behind those of its study that wait, also where the clock was set back since.
        let waiting = self.entries()?;
        let last =
            waiting.iter().filter(|entry| entry.study_uid() == study_uid).map(|entry| entry.about.since_ms);
        let since_ms = (since.as_millis() as u64).max(last.max().map_or(0, |last| last + 1));
        let about = About { study_uid: study_uid.to_owned(), since_ms };
        // Strings and numbers always serialize.
        write_durably(&making.join("about.json"), &serde_json::to_vec(&about).unwrap_or_default())?;
        move_durably(&making, &pending)?;
        Ok(true)
    }

    /// The folder of what is on its way.
    pub fn waiting(&self) -> PathBuf {
        self.folder.join("pending")
    }

    fn done(&self, id: &str) -> PathBuf {
        self.folder.join("done").join(format!("{id}.json"))
    }

    /// What is on its way, the oldest first.
    pub fn entries(&self) -> Result<Vec<Entry>, SpoolError> {
        let pending = self.folder.join("pending");
        let mut entries = Vec::new();
        for entry in fs::read_dir(&pending).map_err(at(&pending))? {
            let path = entry.map_err(at(&pending))?.path();
            let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if self.done(&id).exists() {
                // A crash came before it was removed.
                remove(&path)?;
                continue;
            }
            if let Some(about) = About::read(&path) {
                entries.push(Entry { queue: self.folder.clone(), path, about });
            }
        }
        entries
            .sort_by(|one, other| (one.about.since_ms, &one.path).cmp(&(other.about.since_ms, &other.path)));
        Ok(entries)
    }

    /// Moves what is no entry, for somebody else wrote there, to what is refused: it is kept, and holds up no other. The studies whose
    /// they are, by their names.
    pub fn put_broken_aside(&self) -> Result<Vec<String>, SpoolError> {
        let pending = self.folder.join("pending");
        let mut studies = Vec::new();
        for id in names(&pending)? {
            let path = pending.join(&id);
            if About::read(&path).is_none() {
                move_durably(&path, &self.folder.join("refused").join(format!("{id}-broken")))?;
                studies.push(id.split('-').next().unwrap_or_default().to_owned());
            }
        }
        Ok(studies)
    }

    /// Takes a report, if an entry waits for it.
    pub fn note(&self, report: &Report) -> Result<bool, SpoolError> {
        let uid = &report.transaction_uid;
        if !self.entries()?.iter().any(|entry| entry.asked().contains(uid)) {
            return Ok(false);
        }
        // Its name is ours, so it is a UID; and it always serializes.
        let path = self.folder.join("reports").join(format!("{uid}.json"));
        write_durably(&path, &serde_json::to_vec(report).unwrap_or_default())?;
        Ok(true)
    }

    /// Whether there is a report that was not looked at yet.
    pub fn has_reports(&self) -> bool {
        files(&self.folder.join("reports"), "json").is_ok_and(|reports| !reports.is_empty())
    }

    /// The reports that came, and their files.
    pub fn reports(&self) -> Result<Vec<(Report, PathBuf)>, SpoolError> {
        let mut reports = Vec::new();
        for path in files(&self.folder.join("reports"), "json")? {
            let bytes = fs::read(&path).map_err(at(&path))?;
            match serde_json::from_slice(&bytes) {
                Ok(report) => reports.push((report, path)),
                // It is asked for again after a while.
                Err(_) => self.forget(&path)?,
            }
        }
        Ok(reports)
    }

    pub fn forget(&self, report: &Path) -> Result<(), SpoolError> {
        fs::remove_file(report).map_err(at(report))
    }
}

impl Entry {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn study_uid(&self) -> &str {
        &self.about.study_uid
    }

    /// Objects to be sent.
    pub fn waiting(&self) -> Result<Vec<PathBuf>, SpoolError> {
        files(&self.path, "dcm")
    }

    /// Objects that were taken.
    pub fn taken(&self) -> Result<Vec<PathBuf>, SpoolError> {
        files(&self.path, "sent")
    }

    /// Whether any object was taken.
    pub fn is_begun(&self) -> Result<bool, SpoolError> {
        Ok(!self.taken()?.is_empty())
    }

    /// Forgets it: objects of a later verdict on the same study take its place.
    pub fn drop(&self) -> Result<(), SpoolError> {
        remove(&self.path)
    }

    /// An object was taken.
    pub fn sent(&self, object: &Path) -> Result<(), SpoolError> {
        move_durably(object, &object.with_extension("sent"))
    }

    /// An object was taken, but is not there.
    pub fn send_again(&self, object: &Path) -> Result<(), SpoolError> {
        move_durably(object, &object.with_extension("dcm"))
    }

    /// An object is not wanted.
    pub fn refuse(&self, object: &Path, why: &str) -> Result<(), SpoolError> {
        write_durably(&object.with_extension("why"), why.as_bytes())?;
        move_durably(object, &object.with_extension("refused"))
    }

    /// Notes the transaction in which the archive is asked; it may answer an earlier one.
    pub fn ask(&self, transaction_uid: &str) -> Result<(), SpoolError> {
        let mut asked = self.asked();
        asked.push(transaction_uid.to_owned());
        let latest = asked.len().saturating_sub(MOST_ASKED);
        write_durably(&self.path.join("asked"), asked[latest..].join("\n").as_bytes())
    }

    /// The transactions in which it was asked, the latest last.
    pub fn asked(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.path.join("asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }

    /// Ends it. Some, why, where some of its objects are not wanted: it is kept then, as it would be tried again.
    pub fn finish(&self, sent: &[Object], confirmed_by: &str) -> Result<Option<String>, SpoolError> {
        let id = self.path.file_name().unwrap_or_default();
        let refused = files(&self.path, "refused")?;
        if let Some(first) = refused.first() {
            let why = fs::read_to_string(first.with_extension("why")).unwrap_or_default();
            for object in &refused {
                move_durably(object, &object.with_extension("dcm"))?;
            }
            move_durably(&self.path, &self.queue.join("refused").join(id))?;
            return Ok(Some(format!("{} of its objects are not wanted: {why}", refused.len())));
        }
        let objects = sent.iter().map(|object| &object.instance_uid).collect::<Vec<_>>();
        let record = serde_json::json!({
            "study_uid": self.about.study_uid, "objects": objects, "confirmed_by": confirmed_by,
        });
        let path = self.queue.join("done").join(format!("{}.json", id.to_string_lossy()));
        write_durably(&path, record.to_string().as_bytes())?;
        remove(&self.path)?;
        sync_folder(&self.queue.join("pending"))?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue, and a folder with an object of this content.
    fn queue(folder: &Path, content: &str) -> (Queue, PathBuf) {
        let objects = folder.join(content);
        make_folder(&objects).unwrap();
        fs::write(objects.join("report.dcm"), content).unwrap();
        (Queue::open(folder.join("queue")).unwrap(), objects)
    }

    #[test]
    fn a_later_verdict_stands_behind_an_earlier_one_whatever_the_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        let (queue, first) = queue(folder.path(), "first");
        assert!(queue.post("1.2", &first).unwrap());
        // The clock is set back by years.
        let about = queue.entries().unwrap()[0].path().join("about.json");
        fs::write(&about, r#"{"study_uid": "1.2", "since_ms": 4000000000000}"#).unwrap();
        let (_, second) = self::queue(folder.path(), "second");
        assert!(queue.post("1.2", &second).unwrap() && !queue.post("1.2", &second).unwrap());
        let entries = queue.entries().unwrap();
        assert_eq!(fs::read(&entries[1].waiting().unwrap()[0]).unwrap(), b"second");
    }

    #[test]
    fn an_archive_may_answer_what_it_was_asked_earlier() {
        let folder = tempfile::tempdir().unwrap();
        let (queue, objects) = queue(folder.path(), "objects");
        queue.post("1.2", &objects).unwrap();
        let entry = &queue.entries().unwrap()[0];
        (0..20).for_each(|number| entry.ask(&format!("2.25.{number}")).unwrap());
        let report =
            |uid: &str| Report { transaction_uid: uid.to_owned(), kept: Vec::new(), failed: Vec::new() };
        assert!(queue.note(&report("2.25.19")).unwrap() && queue.note(&report("2.25.8")).unwrap());
        assert!(!queue.note(&report("2.25.7")).unwrap() && !queue.note(&report("1.2.3")).unwrap());
    }
}
