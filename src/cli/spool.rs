//! `hemapatch audit` and `hemapatch replay`: whether a spool's log and results are what they were. Both read beside a running
//! service.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::model;
use crate::engine::EngineOptions;
use crate::error::{Error, Exit};
use crate::limits::Limits;
use crate::model::Model;
use crate::serve::audit::{self, Checked, Link};
use crate::serve::replay::{Replayed, replay};
use crate::serve::{Config, ServeError};
use crate::study::Triage;

/// Whose spool.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Of {
    /// The service's configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The service's spool
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
}

impl Of {
    pub fn spool(self) -> Result<PathBuf, Error> {
        match (self.config, self.spool) {
            (Some(config), _) => Ok(Config::read(&config).map_err(ServeError::from)?.spool.folder),
            // One of them is there: clap sees to it.
            (None, spool) => Ok(spool.unwrap_or_default()),
        }
    }
}

/// Check the audit log of a service
#[derive(clap::Args)]
#[command(after_help = super::RESEARCH)]
pub(super) struct AuditArguments {
    #[command(subcommand)]
    action: AuditAction,
}

#[derive(clap::Subcommand)]
enum AuditAction {
    /// Say whether any line was changed, removed or added, and whether the verdicts in the spool are those that it tells of
    Verify {
        #[command(flatten)]
        of: Of,
        /// A line that has to be in it, as the journal has it in its field `audit`: shows that none is missing at the end
        #[arg(long, value_name = "NUMBER:HASH", value_parser = link)]
        holds: Option<Link>,
    },
}

fn link(text: &str) -> Result<Link, String> {
    let parts = text.split_once(':').and_then(|(n, mac)| Some((n.parse().ok()?, mac)));
    let (n, mac) = parts.ok_or("expected a number, a colon and a hash")?;
    Ok(Link { n, mac: mac.to_owned() })
}

impl AuditArguments {
    pub fn run(self) -> Result<Exit, Error> {
        let AuditAction::Verify { of, holds } = self.action;
        let checked = audit::check(&of.spool()?, holds.as_ref()).map_err(ServeError::from)?;
        let Checked { last, torn, wrong } = checked;
        if let Some(wrong) = wrong {
            return Err(Error::Differs { detail: format!("the audit log is not whole: {wrong}") });
        }
        let pieces =
            if torn == 0 { String::new() } else { format!(", {torn} half written when the power failed") };
        super::say(&format!("whole: {} lines{pieces}; the last is {}:{}", last.n, last.n, last.mac))?;
        Ok(Exit::Done)
    }
}

/// Judge a study of a service's spool again, and say whether its results are the same, byte by byte
#[derive(clap::Args)]
#[command(after_help = super::RESEARCH)]
pub(super) struct ReplayArguments {
    /// The study, as the journal calls it, or its UID
    study: String,
    #[command(flatten)]
    of: Of,
    /// The model's name or folder [default: the configuration's, or the one that triage uses]
    #[arg(long)]
    model: Option<PathBuf>,
}

impl ReplayArguments {
    pub fn run(self) -> Result<Exit, Error> {
        let config = self.of.config.as_deref().map(Config::read).transpose().map_err(ServeError::from)?;
        let named = self.model.or_else(|| config.and_then(|config| config.study.model));
        let model = Model::open(&model::folder(named)?)?;
        let options = EngineOptions::default();
        let mut triage = Triage::new(model, None, options, NonZeroUsize::MIN, Limits::default())?;
        let replayed = replay(&mut triage, &self.of.spool()?, &self.study)?;
        let Some(Replayed { study, files, differences }) = replayed else {
            return Err(Error::NoVerdict { study: self.study });
        };
        if differences.is_empty() {
            super::say(&format!("{study}: the same, {files} files. Research use only."))?;
            return Ok(Exit::Done);
        }
        let detail = format!("{study}: not the same: {}", differences.join("; "));
        Err(Error::Differs { detail })
    }
}
