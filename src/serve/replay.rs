//! Whether a study's results are those of its objects: judged again from the spool, and compared byte by byte.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::ServeError;
use super::key::{self, pseudonym};
use super::refusals;
use super::verdict::{self, Verdict};
use super::worker::{Answer, Job, judge_afresh};
use crate::spool::{SpoolError, at, is_name, names};
use crate::study::Triage;

/// What a study was judged as, and what it is judged as now.
#[derive(Debug)]
pub struct Replayed {
    /// What the study is called in logs.
    pub study: String,
    /// How many files were compared.
    pub files: usize,
    /// What is not the same, by name: a field of the report, a file.
    pub differences: Vec<String>,
}

/// Judges a study of a spool again, by its UID or its name in logs. None where there is none with a verdict.
///
/// Everything has to be the same but the time that it took. What was said before, in the order in which slices came, is taken from
/// the verdict.
///
/// # Errors
/// The spool cannot be read; results cannot be written.
pub fn replay(triage: &mut Triage, spool: &Path, study: &str) -> Result<Option<Replayed>, ServeError> {
    // Reports name files as the service does.
    let spool = std::path::absolute(spool).map_err(at(spool))?;
    let key = key::read(&spool)?;
    let Some(study_uid) = find(&spool, &key, study)? else { return Ok(None) };
    let folder = spool.join("studies").join(&study_uid);
    let Ok(text) = fs::read_to_string(folder.join(verdict::FILE)) else { return Ok(None) };
    let Ok(verdict) = serde_json::from_str::<Verdict>(&text) else { return Ok(None) };
    let mut differences = Vec::new();
    let objects = folder.join("objects");
    let count = names(&objects)?.len();
    if count != verdict.objects {
        differences.push(format!("the study has {count} objects, its verdict is on {}", verdict.objects));
    }
    let fresh = tempfile::tempdir().map_err(at(&std::env::temp_dir()))?;
    let refused: Vec<String> = refusals::reasons(&folder).into_iter().collect();
    let (results, said) = (fresh.path(), &verdict.said);
    let job = Job { study_uid: &study_uid, objects: &objects, results, refused: &refused, said };
    let Answer::Judged { report, .. } = judge_afresh(triage, &job)? else { return Ok(None) };
    compare(verdict.report.get(), &report, &mut differences);
    let results = folder.join("results");
    let mut files = 1;
    for part in ["", "dicom"] {
        let (then, now) = (results.join(part), fresh.path().join(part));
        for name in names(&then)?.union(&names(&now)?) {
            if name == "report.json" || then.join(name).is_dir() {
                continue;
            }
            files += 1;
            let read = |folder: &Path| fs::read(folder.join(name)).ok();
            if read(&then) != read(&now) {
                differences.push(Path::new(part).join(name).display().to_string());
            }
        }
    }
    Ok(Some(Replayed { study: pseudonym(&key, &study_uid), files, differences }))
}

fn find(spool: &Path, key: &[u8; 32], study: &str) -> Result<Option<String>, SpoolError> {
    let studies = names(&spool.join("studies"))?;
    let is_it = |uid: &&String| is_name(uid) && (*uid == study || pseudonym(key, uid) == study);
    Ok(studies.iter().find(is_it).cloned())
}

/// Fields of two reports that are not the same.
fn compare(then: &str, now: &str, differences: &mut Vec<String>) {
    let read = |text: &str| {
        let mut report: Value = serde_json::from_str(text).unwrap_or_default();
        if let Some(report) = report.as_object_mut() {
            report.remove("timings_ms");
        }
        report
    };
    let (then, now) = (read(then), read(now));
    let (Some(then), Some(now)) = (then.as_object(), now.as_object()) else {
        differences.push("report".to_owned());
        return;
    };
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    for name in names {
        if then.get(name) != now.get(name) {
            differences.push(format!("report: {name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_may_differ() {
        let report =
            r#"{"outcome":"no_alert","timings_ms":{"total":1},"warnings":[{"code":"a"}],"slices":[1]}"#;
        let differences = |other: &str| {
            let mut differences = Vec::new();
            compare(report, other, &mut differences);
            differences
        };
        let early = r#"[{"code":"a"},{"code":"early_alert_withdrawn"}]"#;
        assert_eq!(differences(&report.replace(r#"[{"code":"a"}]"#, early)), ["report: warnings"]);
        assert_eq!(differences(&report.replace(r#":1}"#, ":2}")), [""; 0]);
        assert_eq!(differences(&report.replace("[1]", "[2]")), ["report: slices"]);
        assert_eq!(differences(&report.replace("no_alert", "alert")), ["report: outcome"]);
        assert_eq!(differences("{}"), ["report: outcome", "report: slices", "report: warnings"]);
        assert_eq!(differences("no report"), ["report"]);
    }
}
