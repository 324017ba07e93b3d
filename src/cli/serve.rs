//! `hemapatch serve` and `hemapatch config`, and the processes that the service starts.

use super::model;
use crate::alert;
use crate::engine::EngineOptions;
use crate::error::{Error, Exit};
use crate::limits::Limits;
use crate::model::Model;
use crate::serve::{self, Config, ServeError, worker};
use crate::study::Triage;
use rustix::fs::Mode;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Receive studies from scanners, look while they arrive, and tell somebody
#[derive(clap::Args)]
#[command(after_help = super::RESEARCH)]
pub(super) struct Arguments {
    /// The configuration, a TOML file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Arguments {
    pub fn run(self) -> Result<Exit, Error> {
        let config = Config::read(&self.config).map_err(ServeError::from)?;
        // What is written is the patients': for this user, and the group that an administrator may give others.
        rustix::process::umask(Mode::from_raw_mode(0o027));
        let give_up = |error: ServeError| {
            let error = Error::from(error);
            super::complain(&error);
            std::process::exit(error.exit() as i32);
        };
        serve::serve(&config, &give_up)?;
        Ok(Exit::Done)
    }
}

/// Check the configuration of `serve`
#[derive(clap::Args)]
pub(super) struct ConfigArguments {
    #[command(subcommand)]
    action: ConfigAction,
}

#[derive(clap::Subcommand)]
enum ConfigAction {
    /// Say whether a configuration can be used, and what is wrong with it
    Check {
        /// A TOML file
        file: PathBuf,
    },
}

impl ConfigArguments {
    pub fn run(self) -> Result<Exit, Error> {
        let ConfigAction::Check { file } = self.action;
        let config = Config::read(&file).map_err(ServeError::from)?;
        Model::open(&model::folder(config.study.model)?)?;
        super::say(&format!("{}: can be used", file.display()))?;
        Ok(Exit::Done)
    }
}

/// Looks at studies for `serve`: a request a line on standard input
#[derive(clap::Args)]
pub(super) struct WorkerArguments {
    #[arg(long)]
    model: Option<PathBuf>,
    #[arg(long)]
    threads: NonZeroUsize,
    #[arg(long)]
    memory_mb: u64,
    /// The process that asks
    #[arg(long)]
    parent: Option<u32>,
}

impl WorkerArguments {
    pub fn run(self) -> Result<Exit, Error> {
        self.parent.map_or(Ok(()), end_with).map_err(ServeError::Pipe)?;
        let most = Some(self.memory_mb.saturating_mul(1_000_000));
        let limit = rustix::process::Rlimit { current: most, maximum: most };
        rustix::process::setrlimit(rustix::process::Resource::As, limit)
            .map_err(|error| ServeError::Pipe(error.into()))?;
        let model = Model::open(&model::folder(self.model)?)?;
        let options = EngineOptions::default();
        let triage = Triage::new(model, None, options, self.threads, Limits::default())?.remembering()?;
        worker::on_standard_streams(triage)?;
        Ok(Exit::Done)
    }
}

/// Has this process end with the one that started it, also within a study: whoever is asked reads what ends only when it has
/// answered.
fn end_with(parent: u32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // It may have ended before that was set.
    match std::os::unix::process::parent_id() == parent {
        true => Ok(()),
        false => Err(io::Error::other("the process that asks is gone")),
    }
}

/// Runs a program on a notice for `serve`, and notes that it did
#[derive(clap::Args)]
pub(super) struct NotifyArguments {
    folder: PathBuf,
    #[arg(last = true, required = true)]
    words: Vec<String>,
}

impl NotifyArguments {
    pub fn run(self) -> Result<Exit, Error> {
        let notice = PathBuf::from(std::env::var_os(alert::NOTICE).unwrap_or_default());
        match alert::run(&notice, &self.folder, &self.words) {
            Ok(()) => Ok(Exit::Done),
            Err(why) => {
                // For the service, if it is still there.
                let _ = super::say(&why);
                Ok(Exit::Output)
            }
        }
    }
}
