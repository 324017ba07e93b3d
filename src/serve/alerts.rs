//! The alerts of a spool, for whoever asks: which there are, who was told, who has seen to them. Read beside a running service.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::audit::Audit;
use super::journal::now;
use super::key::{self, pseudonym};
use super::verdict::{self, Verdict};
use crate::alert::{Occasion, Told};
use crate::spool::{SpoolError, is_name, write_durably};

/// Name and number of the contract.
pub const SCHEMA: &str = "hemapatch.alerts/1";

const ACKNOWLEDGED: &str = "acknowledged.json";

/// A study for which there is an alert.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// Name and number of the contract.
    pub schema: &'static str,
    /// What the study is called in logs.
    pub study: String,
    /// Its UID, for those who may know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub study_uid: Option<String>,
    /// `early` or `alert`.
    pub occasion: Occasion,
    /// Which verdict it is; 0 before the first.
    pub revision: u32,
    /// When it was given: seconds since 1970.
    pub time: f64,
    /// The probability of hematoma.
    pub probability: Option<f64>,
    /// The ways by which somebody was told of it.
    pub told: Vec<String>,
    /// The ways by which nobody was told yet.
    pub waiting: Vec<String>,
    /// Who has seen to it; None where nobody has, since the verdict is this one.
    pub acknowledged: Option<Acknowledged>,
    /// What it is for.
    pub intended_use: &'static str,
}

/// That somebody has seen to an alert.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Which verdict was seen.
    pub revision: u32,
    /// When: seconds since 1970.
    pub time: f64,
    /// Who, as they said.
    pub by: String,
}

/// What is known of a study's notices.
#[derive(Default)]
struct Notices {
    told: Vec<String>,
    waiting: Vec<String>,
    about: Option<(f64, serde_json::Value)>,
}

/// Lists alerts, the newest first.
///
/// # Errors
/// The folder is no spool, or cannot be read.
pub fn list(spool: &Path, identify: bool) -> Result<Vec<Listed>, SpoolError> {
    let key = key::read(spool)?;
    let mut notices = notices(spool);
    let mut listed = Vec::new();
    for entry in entries(&spool.join("studies"))? {
        let study_uid = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !is_name(&study_uid) {
            continue;
        }
        let (occasion, revision, time, probability) = match verdict(&entry)? {
            Some((verdict, time)) if verdict.outcome == Occasion::Alert => {
                let report: serde_json::Value =
                    serde_json::from_str(verdict.report.get()).unwrap_or_default();
                (Occasion::Alert, verdict.revision, time, report["probability"].as_f64())
            }
            // An early alert on a study that was judged otherwise is none any more.
            Some(_) => continue,
            None => match notices.get(&(study_uid.clone(), 0)).and_then(|notices| notices.about.as_ref()) {
                Some((time, about)) => (Occasion::Early, 0, *time, about["probability"].as_f64()),
                None => continue,
            },
        };
        let Notices { told, waiting, .. } =
            notices.remove(&(study_uid.clone(), revision)).unwrap_or_default();
        let acknowledged = fs::read(entry.join(ACKNOWLEDGED)).ok();
        let acknowledged: Option<Acknowledged> =
            acknowledged.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        listed.push(Listed {
            schema: SCHEMA,
            study: pseudonym(&key, &study_uid),
            study_uid: identify.then_some(study_uid),
            occasion,
            revision,
            time,
            probability,
            told,
            waiting,
            acknowledged: acknowledged.filter(|acknowledged| acknowledged.revision == revision),
            intended_use: "research use only",
        });
    }
    listed.sort_by(|one, other| other.time.total_cmp(&one.time));
    Ok(listed)
}

/// Notes that somebody has seen to the alert of a study, by its name in logs or its UID. False where it has none.
///
/// # Errors
/// As of [`list`]; the note cannot be written.
pub fn acknowledge(spool: &Path, study: &str, by: &str) -> Result<bool, SpoolError> {
    let listed = list(spool, true)?;
    let is_it = |one: &&Listed| one.study == study || one.study_uid.as_deref() == Some(study);
    let Some(Listed { study_uid: Some(study_uid), revision, .. }) = listed.iter().find(is_it) else {
        return Ok(false);
    };
    let note = Acknowledged { revision: *revision, time: now().round(), by: by.to_owned() };
    let path = spool.join("studies").join(study_uid).join(ACKNOWLEDGED);
    // Strings and numbers always serialize.
    write_durably(&path, &serde_json::to_vec(&note).unwrap_or_default())?;
    let key = key::read(spool)?;
    let fields =
        [("study", pseudonym(&key, study_uid)), ("revision", revision.to_string()), ("by", by.to_owned())];
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    Audit::new(spool, key).add(now(), "acknowledged", fields)?;
    Ok(true)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let failed = |source| SpoolError::Io { path: folder.to_owned(), source };
    fs::read_dir(folder).map_err(failed)?.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

fn verdict(study: &Path) -> Result<Option<(Verdict, f64)>, SpoolError> {
    let path = study.join(verdict::FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SpoolError::Io { path, source }),
    };
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
    let time = path.metadata().and_then(|metadata| metadata.modified()).ok().and_then(since);
    Ok(serde_json::from_str(&text)
        .ok()
        .map(|verdict| (verdict, time.unwrap_or_default().as_secs_f64().round())))
}

/// What the ways of telling have, by study and verdict. What moves meanwhile may be missed for a moment.
fn notices(spool: &Path) -> BTreeMap<(String, u32), Notices> {
    let mut all: BTreeMap<(String, u32), Notices> = BTreeMap::new();
    for way in entries(&spool.join("alerts")).unwrap_or_default() {
        let name = way.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for state in ["pending", "running", "done"] {
            for path in entries(&way.join(state)).unwrap_or_default() {
                let Some(bytes) = fs::read(&path).ok() else { continue };
                let Ok(told) = serde_json::from_slice::<Told>(&bytes) else { continue };
                if !matches!(told.occasion, Occasion::Early | Occasion::Alert) {
                    continue;
                }
                let notices = all.entry((told.study_uid, told.revision)).or_default();
                let list = if state == "done" { &mut notices.told } else { &mut notices.waiting };
                list.push(name.clone());
                notices.about = Some((told.time, told.about));
            }
        }
    }
    all
}
