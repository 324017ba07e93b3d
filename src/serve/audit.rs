//! What happened, for whoever asks later: lines that are only ever added, each bound to the one before by a keyed hash.
//!
//! ```text
//! {"before":"","event":"started","n":1,"time":1764000000.5,...,"mac":"4f2c..."}
//! {"before":"4f2c...","event":"verdict","n":2,"time":1764000031.0,...,"mac":"90ab..."}
//! ```
//!
//! A line that was changed, removed or put in between breaks the chain for all that follow. Two things it cannot show by itself:
//! that lines are missing at the end, and anything to somebody who has the spool's key. Against both, number and hash of each
//! line stand in the journal too, which may be sent to another machine.
//!
//! # Source
//! RFC 2104 (HMAC).

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::key::{self, pseudonym};
use super::verdict::{self, Verdict};
use crate::spool::{SpoolError, at, is_name};

/// Its name in the spool.
pub const FILE: &str = "audit.jsonl";
/// Letters of a value: no line is longer than what is read to find the last one.
const MOST_LETTERS: usize = 400;
/// Bytes at the end in which the last line is looked for: more than a line, and a page that a power cut left half written.
const TAIL: u64 = 32 << 10;
/// Time for another process that adds a line.
const LOCK: Duration = Duration::from_secs(1);
/// Time in which a service that has written a verdict has noted it.
const MOMENT: Duration = Duration::from_secs(2);
/// What stands between what is hashed and its hash.
const MAC: &str = ",\"mac\":\"";

/// The log of a spool. Several processes may add to it.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    key: [u8; 32],
}

/// Number and hash of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Counted from 1.
    pub n: u64,
    /// Of the line and, by it, of all before.
    pub mac: String,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The last line.
    pub last: Link,
    /// Pieces that a power cut left, each followed by a line that says so.
    pub torn: u64,
    /// What is wrong, where something is: the first thing, since all that follows hangs on it.
    pub wrong: Option<String>,
}

impl Audit {
    /// The log of the spool with this key.
    pub fn new(spool: &Path, key: [u8; 32]) -> Audit {
        Audit { path: spool.join(FILE), key }
    }

    /// Adds a line, durably.
    ///
    /// # Errors
    /// The disk.
    pub fn add(&self, time: f64, event: &str, fields: Map<String, Value>) -> Result<Link, SpoolError> {
        let failed = |error| at(&self.path)(error);
        let options = File::options().read(true).append(true).create(true).open(&self.path);
        let mut file = options.map_err(failed)?;
        // Until it is closed. Whoever holds it for long, to read it or by mistake, must not keep anybody from being told.
        let since = Instant::now();
        while let Err(error) = file.try_lock() {
            match error {
                TryLockError::WouldBlock if since.elapsed() < LOCK => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                TryLockError::WouldBlock => return Err(failed(ErrorKind::ResourceBusy.into())),
                TryLockError::Error(error) => return Err(failed(error)),
            }
        }
        let length = file.metadata().map_err(failed)?.len();
        let from = length.saturating_sub(TAIL);
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).map_err(failed)?;
        let (mut last, torn) = self.last(&tail);
        let mut text = Vec::new();
        if !torn.is_empty() {
            text.push(b'\n');
        }
        if let Some((whole, _)) = self.read(torn) {
            // Only its end was missing.
            last = whole;
        } else if !torn.is_empty() {
            let mut fields = Map::new();
            fields.insert("bytes".into(), torn.len().into());
            fields.insert("sha256".into(), hex(&Sha256::digest(torn)).into());
            last = self.line(&mut text, &last, time, "torn", fields);
        }
        last = self.line(&mut text, &last, time, event, fields);
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        if length == 0 {
            self.path.parent().map_or(Ok(()), crate::spool::sync_folder)?;
        }
        Ok(last)
    }

    /// The last line that is one of ours, and what stands behind it.
    fn last<'a>(&self, tail: &'a [u8]) -> (Link, &'a [u8]) {
        let mut end = tail.len();
        while let Some(newline) = tail[..end].iter().rposition(|byte| *byte == b'\n') {
            let begin =
                tail[..newline].iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
            if let Some((link, _)) = self.read(&tail[begin..newline]) {
                return (link, &tail[newline + 1..]);
            }
            end = newline;
        }
        (Link::default(), tail)
    }

    fn line(
        &self,
        text: &mut Vec<u8>,
        before: &Link,
        time: f64,
        event: &str,
        fields: Map<String, Value>,
    ) -> Link {
        let mut line = Map::new();
        line.insert("n".into(), (before.n + 1).into());
        line.insert("time".into(), time.into());
        line.insert("event".into(), event.into());
        for (name, value) in fields {
            let short = value.as_str().map(|text| text.chars().take(MOST_LETTERS).collect::<String>().into());
            line.insert(name, short.unwrap_or(value));
        }
        line.insert("before".into(), before.mac.clone().into());
        let line = Value::Object(line).to_string();
        let hashed = line.strip_suffix('}').unwrap_or(&line);
        let mac = hex(&self.mac(hashed.as_bytes()).finalize().into_bytes());
        text.extend(format!("{hashed}{MAC}{mac}\"}}\n").bytes());
        Link { n: before.n + 1, mac }
    }

    fn mac(&self, hashed: &[u8]) -> Hmac<Sha256> {
        // Another use of the key than pseudonyms.
        Hmac::<Sha256>::new_from_slice(&self.key)
            .expect("a key of any length")
            .chain_update("audit")
            .chain_update(hashed)
    }

    /// A line that carries its own hash, and what it says; None for any other.
    fn read(&self, line: &[u8]) -> Option<(Link, Value)> {
        let text = std::str::from_utf8(line).ok()?;
        let (hashed, mac) = text.rsplit_once(MAC)?;
        let mac = mac.strip_suffix("\"}")?;
        self.mac(hashed.as_bytes()).verify_slice(&unhex(mac)?).ok()?;
        let value: Value = serde_json::from_str(text).ok()?;
        Some((Link { n: value["n"].as_u64()?, mac: mac.to_owned() }, value))
    }

    /// Follows the lines from the first one on: what is wrong with them, and the hash of each study's last verdict.
    fn follow(&self, holds: Option<&Link>) -> Result<(Checked, BTreeMap<String, String>), SpoolError> {
        let failed = |error| at(&self.path)(error);
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let wrong = Some(format!("there is no {FILE}"));
                return Ok((Checked { wrong, ..Checked::default() }, BTreeMap::new()));
            }
            file => file.map_err(failed)?,
        };
        // When nobody is within a line; what is added later is not looked at, and waits for nobody.
        file.lock_shared().map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        file.unlock().map_err(failed)?;
        let mut checked = Checked::default();
        let mut verdicts: BTreeMap<String, String> = BTreeMap::new();
        // What was no line of ours, since the last that was.
        let (mut odd, mut line, mut number) = (Vec::new(), Vec::new(), 0u64);
        let mut is_held = holds.is_none();
        let mut reader = BufReader::new(file.take(length));
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                break;
            }
            number += 1;
            let Some((link, value)) = self.read(line.strip_suffix(b"\n").unwrap_or_default()) else {
                odd.extend_from_slice(&line);
                continue;
            };
            if !odd.is_empty() {
                // The newline was added when the piece was found.
                let piece = odd.strip_suffix(b"\n").unwrap_or(&odd);
                let is_told =
                    value["event"] == "torn" && value["sha256"] == hex(&Sha256::digest(piece)).as_str();
                if !is_told {
                    checked.wrong = Some(format!("line {}: not as it was written", number - 1));
                    return Ok((checked, verdicts));
                }
                checked.torn += 1;
                odd.clear();
            }
            if link.n != checked.last.n + 1 || value["before"] != checked.last.mac.as_str() {
                let wrong =
                    format!("line {number}: does not follow the line before: something was removed or added");
                checked.wrong = Some(wrong);
                return Ok((checked, verdicts));
            }
            is_held |= holds == Some(&link);
            if let (Some(study), Some(report)) = (value["study"].as_str(), value["report_sha256"].as_str()) {
                verdicts.insert(study.to_owned(), report.to_owned());
            }
            checked.last = link;
        }
        checked.wrong = if !odd.is_empty() {
            Some(format!(
                "line {number}: not as it was written, or half written when the power failed; the service says which when it starts"
            ))
        } else if !is_held {
            let n = holds.map_or(0, |link| link.n);
            Some(format!(
                "line {n} is not the one that is asked for: lines were replaced, or removed at the end"
            ))
        } else {
            None
        };
        Ok((checked, verdicts))
    }
}

/// Checks the log of a spool from its first line on, and that the verdicts that stand in the spool are those that it tells of.
/// `holds` is a line that has to be in it, as the journal has it.
///
/// # Errors
/// There is no spool, or its disk refuses.
pub fn check(spool: &Path, holds: Option<&Link>) -> Result<Checked, SpoolError> {
    let audit = Audit::new(spool, key::read(spool)?);
    let (mut checked, mut verdicts) = audit.follow(holds)?;
    if checked.wrong.is_none() && other_verdict(spool, &audit.key, &verdicts)?.is_some() {
        // A service that runs writes a verdict, and then the line that tells of it.
        std::thread::sleep(MOMENT);
        (checked, verdicts) = audit.follow(holds)?;
        if checked.wrong.is_none() {
            checked.wrong = other_verdict(spool, &audit.key, &verdicts)?;
        }
    }
    Ok(checked)
}

/// A verdict in the spool that is none of these, the last of each study.
fn other_verdict(
    spool: &Path,
    key: &[u8; 32],
    verdicts: &BTreeMap<String, String>,
) -> Result<Option<String>, SpoolError> {
    let folder = spool.join("studies");
    for entry in fs::read_dir(&folder).map_err(at(&folder))? {
        let path = entry.map_err(at(&folder))?.path();
        let study_uid = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(text) = fs::read_to_string(path.join(verdict::FILE)) else { continue };
        let Some(verdict) = serde_json::from_str::<Verdict>(&text).ok().filter(|_| is_name(&study_uid))
        else {
            continue;
        };
        let study = pseudonym(key, &study_uid);
        if verdicts.get(&study) != Some(&verdict.report_sha256()) {
            return Ok(Some(format!(
                "study {study}: its verdict in the spool is not the last one that was noted"
            )));
        }
    }
    Ok(None)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_holds_it_keeps_nobody_waiting_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::new(folder.path(), [7; 32]);
        audit.add(1.0, "started", Map::new()).unwrap();
        let holder = File::open(folder.path().join(FILE)).unwrap();
        holder.lock_shared().unwrap();
        let held = audit.add(2.0, "verdict", Map::new()).unwrap_err();
        assert!(held.reason().contains("busy"), "{}", held.reason());
        holder.unlock().unwrap();
        assert_eq!(audit.add(3.0, "verdict", Map::new()).unwrap().n, 2);
    }
    use crate::spool::Spool;

    fn spool() -> (tempfile::TempDir, Audit) {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 0).unwrap();
        drop(spool);
        let key = key::read_or_make(folder.path()).unwrap();
        let audit = Audit::new(folder.path(), key);
        for n in 0..5 {
            let fields = Map::from_iter([("why".to_owned(), Value::from(format!("\"{n}\"}}")))]);
            audit.add(f64::from(n) + 0.5, "told", fields).unwrap();
        }
        (folder, audit)
    }

    fn wrong(folder: &tempfile::TempDir) -> Option<String> {
        check(folder.path(), None).unwrap().wrong
    }

    fn lines(audit: &Audit) -> Vec<String> {
        fs::read_to_string(&audit.path).unwrap().lines().map(str::to_owned).collect()
    }

    fn put(audit: &Audit, lines: &[String]) {
        fs::write(&audit.path, lines.join("\n") + "\n").unwrap();
    }

    #[test]
    fn a_log_that_nobody_touched_is_whole() {
        let (folder, audit) = spool();
        let checked = check(folder.path(), None).unwrap();
        assert_eq!((checked.last.n, checked.torn, checked.wrong), (5, 0, None));
        assert_eq!(audit.add(9.0, "told", Map::new()).unwrap().n, 6);
    }

    #[test]
    fn every_changed_letter_is_found() {
        let (folder, audit) = spool();
        let bytes = fs::read(&audit.path).unwrap();
        for index in 0..bytes.len() {
            let mut other = bytes.clone();
            other[index] ^= 1;
            fs::write(&audit.path, other).unwrap();
            assert!(wrong(&folder).is_some(), "byte {index}");
        }
    }

    #[test]
    fn lines_that_are_removed_doubled_or_swapped_are_found() {
        let (folder, audit) = spool();
        let whole = lines(&audit);
        for index in 0..4 {
            let mut fewer = whole.clone();
            fewer.remove(index);
            put(&audit, &fewer);
            assert!(wrong(&folder).is_some(), "without line {index}");
            let mut more = whole.clone();
            more.insert(index, whole[index].clone());
            put(&audit, &more);
            assert!(wrong(&folder).is_some(), "line {index} twice");
            let mut swapped = whole.clone();
            swapped.swap(index, index + 1);
            put(&audit, &swapped);
            assert!(wrong(&folder).is_some(), "lines {index} swapped");
        }
    }

    #[test]
    fn an_end_that_is_missing_is_found_by_a_line_of_the_journal() {
        let (folder, audit) = spool();
        let last = check(folder.path(), None).unwrap().last;
        assert_eq!(check(folder.path(), Some(&last)).unwrap().wrong, None);
        put(&audit, &lines(&audit)[..4]);
        assert_eq!(wrong(&folder), None);
        assert!(check(folder.path(), Some(&last)).unwrap().wrong.is_some());
        // Nor may others stand in its place.
        audit.add(7.0, "told", Map::new()).unwrap();
        assert_eq!(wrong(&folder), None);
        assert!(check(folder.path(), Some(&last)).unwrap().wrong.is_some());
    }

    #[test]
    fn whatever_a_power_cut_leaves_of_a_line_is_kept_and_said() {
        let (folder, audit) = spool();
        let whole = fs::read(&audit.path).unwrap();
        let begin = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        let zeros = [&whole[..begin], &[0; 4096]].concat();
        fs::write(&audit.path, &whole[..whole.len() - 1]).unwrap();
        audit.add(7.0, "started", Map::new()).unwrap();
        let checked = check(folder.path(), None).unwrap();
        assert_eq!((checked.last.n, checked.torn, checked.wrong), (6, 0, None));
        let halves = (begin + 1..whole.len() - 1).map(|end| whole[..end].to_vec());
        for left in halves.chain([zeros]) {
            fs::write(&audit.path, &left).unwrap();
            assert!(wrong(&folder).is_some());
            audit.add(7.0, "started", Map::new()).unwrap();
            let checked = check(folder.path(), None).unwrap();
            assert_eq!((checked.last.n, checked.torn, checked.wrong), (6, 1, None));
            assert!(fs::read(&audit.path).unwrap().starts_with(&left), "nothing is removed");
        }
    }

    #[test]
    fn a_stranger_cannot_write_a_line() {
        let (folder, audit) = spool();
        let stranger = Audit { path: audit.path.clone(), key: [7; 32] };
        stranger.add(7.0, "told", Map::new()).unwrap();
        assert!(wrong(&folder).is_some());
    }
}
