//! The process that looks at studies: `hemapatch worker`. A study that brings it down, or takes all memory, brings down
//! nothing else.
//!
//! It reads a request a line from standard input and answers each with a line; standard input's end is its own.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::ServeError;
use super::said::{self, Said};
use crate::alert::Occasion;
use crate::limits::Limits;
use crate::output::files::{self, Pictures};
use crate::output::{OutputError, json};
use crate::series::{self, Assembly, Headers};
use crate::study::{Early, RefusalCode, Triage, Warning, is_without_gaps};

/// What a worker is asked. Folders hold the objects of one study.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// To look at what has come.
    Look {
        /// UID of the study.
        study_uid: String,
        /// Its objects.
        objects: PathBuf,
    },
    /// To judge all that has come.
    Judge {
        /// UID of the study.
        study_uid: String,
        /// Its objects.
        objects: PathBuf,
        /// Where report and pictures go.
        results: PathBuf,
        /// Why objects of it are missing.
        refused: Vec<String>,
        /// What was said of it before.
        said: Said,
    },
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It has looked.
    Looked {
        /// The line of an early alert, where the evidence suffices for one for the first time.
        early: Option<String>,
        /// Whether the slices have no gap that another one may fill.
        without_gaps: bool,
    },
    /// It has judged.
    Judged {
        /// The verdict.
        outcome: Occasion,
        /// The report's line.
        report: String,
    },
    /// It has, and the disk does not take the results: no fault of the study's.
    NotWritten {
        /// What the system said.
        why: String,
    },
}

/// What is known of a study between two requests.
#[derive(Default)]
struct Known {
    headers: Headers,
    early: Early,
}

/// Answers requests until there are no more.
///
/// # Errors
/// Standard output is gone, or there are no results to write.
pub fn work(mut triage: Triage, requests: impl BufRead, mut answers: impl Write) -> Result<(), ServeError> {
    let limits = Limits::default();
    let mut studies: BTreeMap<String, Known> = BTreeMap::new();
    for request in requests.lines() {
        let request = request.map_err(ServeError::Pipe)?;
        let request: Request =
            serde_json::from_str(&request).map_err(|error| ServeError::Pipe(error.into()))?;
        let answer = match request {
            Request::Look { study_uid, objects } => {
                let known = studies.entry(study_uid).or_default();
                look(&mut triage, known, &objects, &limits)?
            }
            Request::Judge { study_uid, objects, results, refused, said } => {
                let known = studies.remove(&study_uid).unwrap_or_default();
                let job = Job {
                    study_uid: &study_uid,
                    objects: &objects,
                    results: &results,
                    refused: &refused,
                    said: &said,
                };
                match judge(&mut triage, known.headers, &job, &limits) {
                    Err(ServeError::Output(OutputError::NotWritable { source, .. })) => {
                        Answer::NotWritten { why: source.to_string() }
                    }
                    judged => judged?,
                }
            }
        };
        // Strings and booleans always serialize.
        let line = serde_json::to_string(&answer).unwrap_or_default();
        writeln!(answers, "{line}").and_then(|()| answers.flush()).map_err(ServeError::Pipe)?;
    }
    Ok(())
}

fn assemble(headers: &mut Headers, objects: &Path, limits: &Limits) -> Assembly {
    headers.assemble(series::find(&[objects.to_owned()], limits), limits)
}

fn look(
    triage: &mut Triage,
    known: &mut Known,
    objects: &Path,
    limits: &Limits,
) -> Result<Answer, ServeError> {
    let assembly = assemble(&mut known.headers, objects, limits);
    let Some(study) = assembly.studies.first() else {
        return Ok(Answer::Looked { early: None, without_gaps: false });
    };
    // Should the network fail, the verdict will say so.
    let early = known.early.look(triage, study).ok().flatten();
    let early = early.map(|alert| json::early_line(&alert)).transpose()?;
    Ok(Answer::Looked { early, without_gaps: is_without_gaps(study) })
}

/// What is to be judged.
pub struct Job<'a> {
    /// UID of the study.
    pub study_uid: &'a str,
    /// Its objects.
    pub objects: &'a Path,
    /// Where report and pictures go.
    pub results: &'a Path,
    /// Why objects of it are missing.
    pub refused: &'a [String],
    /// What was said of it before.
    pub said: &'a Said,
}

/// Judges a study as if it had come all at once.
///
/// # Errors
/// Results cannot be written.
pub fn judge_afresh(triage: &mut Triage, job: &Job<'_>) -> Result<Answer, ServeError> {
    judge(triage, Headers::default(), job, &Limits::default())
}

fn judge(
    triage: &mut Triage,
    mut headers: Headers,
    job: &Job<'_>,
    limits: &Limits,
) -> Result<Answer, ServeError> {
    let since = Instant::now();
    let assembly = assemble(&mut headers, job.objects, limits);
    let mut drawing = files::Drawing::with_objects(limits);
    let mut report = match assembly.studies.first() {
        Some(study) => triage.judge(study, since, &mut drawing),
        None => triage.refuse(job.study_uid, RefusalCode::UnreadableInput, unread(&assembly)),
    };
    report.warnings.extend(assembly.warnings());
    report.warnings.extend(job.refused.iter().map(|why| Warning::new("refused_object", why.clone())));
    job.said.compare(&mut report);
    files::clear_unfinished(job.results)?;
    match files::write(job.results, &report, drawing.pictures()) {
        // The verdict is no worse for it: whoever is told of it is told that the archive gets nothing.
        Err(OutputError::Object { reason, .. }) => {
            report.warnings.push(Warning::new("no_result_objects", reason));
            let pictures = drawing.pictures().map(|pictures| Pictures { findings: None, ..pictures });
            files::write(job.results, &report, pictures)?;
        }
        written => written?,
    }
    Ok(Answer::Judged { outcome: said::outcome(&report), report: json::line(&report)? })
}

fn unread(assembly: &Assembly) -> String {
    let first = assembly.unread.first().map(ToString::to_string);
    first.unwrap_or_else(|| "no object of the study can be read".to_owned())
}

/// Standard input and output as a worker's.
///
/// # Errors
/// As [`work`].
pub fn on_standard_streams(triage: Triage) -> Result<(), ServeError> {
    work(triage, io::stdin().lock(), io::stdout().lock())
}
