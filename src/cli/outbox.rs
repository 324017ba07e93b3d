//! Where `triage` puts its reports: standard output, and a folder if asked for.
//!
//! A report that was judged is never lost because another place failed: each place is tried, the first failure decides
//! the exit code, and the studies that follow are judged all the same.

use super::{complain, say};
use crate::error::{Error, Exit};
use crate::output::files::{self, Pictures};
use crate::output::{json, summary};
use crate::study::{Outcome, Report};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Takes the reports of one run.
pub(super) struct Outbox {
    folder: Option<PathBuf>,
    /// Whether a report is expected alone: then it goes straight into the folder.
    alone: bool,
    json: bool,
    taken: BTreeSet<PathBuf>,
    outcomes: Vec<Outcome>,
    failed: Option<Exit>,
}

impl Outbox {
    /// `reports` is how many reports will come.
    pub fn new(folder: Option<PathBuf>, reports: usize, json: bool) -> Self {
        let (taken, outcomes) = (BTreeSet::new(), Vec::new());
        Self { folder, alone: reports <= 1, json, taken, outcomes, failed: None }
    }

    /// Prints a report and writes it.
    pub fn take(&mut self, report: &Report, pictures: Option<Pictures<'_>>) {
        if !self.json && !self.outcomes.is_empty() {
            // An empty line parts the pages; where standard output is gone, the page itself will say so.
            let _ = say("");
        }
        for done in [self.print(report), self.write(report, pictures)] {
            if let Err(error) = done {
                complain(&error);
                self.failed.get_or_insert(error.exit());
            }
        }
        self.outcomes.push(report.outcome.clone());
    }

    /// How the run ends.
    pub fn close(self, exit_on_alert: bool) -> Exit {
        match (Exit::of(&self.outcomes, exit_on_alert), self.failed) {
            (Exit::Alert, _) => Exit::Alert,
            (exit, failed) => failed.unwrap_or(exit),
        }
    }

    fn print(&self, report: &Report) -> Result<(), Error> {
        if self.json {
            return say(&json::line(report)?);
        }
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let style = if colour { summary::Style::Ansi } else { summary::Style::Plain };
        say(summary::text(report, style).trim_end())
    }

    fn write(&mut self, report: &Report, pictures: Option<Pictures<'_>>) -> Result<(), Error> {
        let Some(output) = self.folder.clone() else { return Ok(()) };
        let folder = self.folder_of(&output, report);
        Ok(files::write(&folder, report, pictures)?)
    }

    /// Straight into the folder where the report is the only one, else into one named by the study, or `refused` where
    /// there is none; no two reports of a run share one.
    fn folder_of(&mut self, output: &Path, report: &Report) -> PathBuf {
        if self.alone {
            return output.to_owned();
        }
        // UIDs are numbers joined by single dots: the reader refuses others, so they are safe names.
        let name = if report.study_uid.is_empty() { "refused" } else { &report.study_uid };
        let numbered = |n: u32| if n == 1 { name.to_owned() } else { format!("{name}-{n}") };
        let mut folders = (1..).map(|n| output.join(numbered(n)));
        // There is always one, since only finitely many are taken.
        folders.find(|folder| self.taken.insert(folder.clone())).unwrap_or_else(|| output.to_owned())
    }
}
