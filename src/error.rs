//! How a run ends: every error of the crate, and the exit codes that programs may rely on.

use crate::engine::EngineError;
use crate::label::LabelTableError;
use crate::model::ModelError;
use crate::output::OutputError;
use crate::phantom::PhantomError;
use crate::serve::ServeError;
use crate::study::{Outcome, RefusalCode};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// The exit codes. docs/exit-codes.md says when each occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All studies were judged.
    Done = 0,
    /// Our mistake.
    Internal = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Nothing that was given holds a CT series to judge.
    NoCtSeries = 3,
    /// Corrupt or unsupported input.
    Input = 4,
    /// A limit was exceeded.
    Limit = 5,
    /// The model is missing, or is not what its manifest says.
    Model = 6,
    /// The output cannot be written.
    Output = 7,
    /// Some studies were judged, some refused.
    Partial = 8,
    /// `doctor` found what keeps the service from its work.
    NotReady = 9,
    /// An alert was raised, and `--exit-on-alert` was given.
    Alert = 10,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// How a run that gave these outcomes ends.
    pub fn of(outcomes: &[Outcome], exit_on_alert: bool) -> Exit {
        let refused = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Refused(refusal) => Some(refusal.code),
            _ => None,
        });
        let judged = outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Refused(_)));
        let alert = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Alert { .. }));
        match refused {
            // Whoever asked to be woken by an alert is woken, whatever else happened.
            _ if alert && exit_on_alert => Exit::Alert,
            None if judged => Exit::Done,
            None => Exit::NoCtSeries,
            Some(_) if judged => Exit::Partial,
            Some(code) => Exit::refused(code),
        }
    }

    /// How a run ends whose only study was refused.
    pub fn refused(code: RefusalCode) -> Exit {
        match code {
            RefusalCode::NoCtSeries
            | RefusalCode::NotHead
            | RefusalCode::TooFewSlices
            | RefusalCode::NoHead
            | RefusalCode::NoBrain => Exit::NoCtSeries,
            RefusalCode::NotHounsfield
            | RefusalCode::UnreadableInput
            | RefusalCode::CorruptInput
            | RefusalCode::UnsupportedInput => Exit::Input,
            RefusalCode::LimitExceeded => Exit::Limit,
            RefusalCode::Internal => Exit::Internal,
        }
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// No model was named, and none was found.
    #[error("no model found; looked in {}. Name one with --model DIR", list(looked))]
    NoModel {
        /// The folders that were looked in.
        looked: Vec<PathBuf>,
    },
    /// The network of a model cannot be used.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A result cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Standard output is closed or full.
    #[error("cannot write to standard output: {0}")]
    Stdout(#[source] io::Error),
    /// The service cannot go on.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// An alert is to be acknowledged that is not there.
    #[error("{study}: no study with an alert is called so; `hemapatch alerts list` shows them")]
    NoAlert {
        /// The study that was named.
        study: String,
    },
    /// A study is to be judged again that was not judged.
    #[error("{study}: the spool has no study of this name with a verdict")]
    NoVerdict {
        /// The study that was named.
        study: String,
    },
    /// Something in a spool is not what it was.
    #[error("{detail}")]
    Differs {
        /// What, and what of it.
        detail: String,
    },
    /// The phantom cannot be, or cannot be written.
    #[error(transparent)]
    Phantom(#[from] PhantomError),
    /// A folder of labelled patches cannot be read.
    #[error(transparent)]
    Labels(#[from] LabelTableError),
    /// Patches are cut of one study at a time: their names tell slices apart, not studies.
    #[error("{count} studies found, one is needed")]
    SeveralStudies {
        /// How many there are.
        count: usize,
    },
    /// A study's slices cannot be cut into patches.
    #[error("{detail}")]
    Refused {
        /// Why.
        code: RefusalCode,
        /// The file and the reason.
        detail: String,
    },
}

impl Error {
    /// The exit code that goes with it.
    pub fn exit(&self) -> Exit {
        match self {
            Error::Model(_) | Error::NoModel { .. } => Exit::Model,
            Error::Engine(EngineError::Run { .. }) => Exit::Internal,
            // The model is what it says it is; something else was asked for.
            Error::Engine(
                EngineError::NoIntegers { .. } | EngineError::NoLevel { .. } | EngineError::NoKernels { .. },
            ) => Exit::Usage,
            Error::Engine(_) => Exit::Model,
            Error::Output(OutputError::NotFinite { .. } | OutputError::Png { .. }) => Exit::Internal,
            // File names are made of what the caller gave.
            Error::Phantom(PhantomError::Spec(_) | PhantomError::OtherSeries { .. })
            | Error::Output(OutputError::FileName(_)) => Exit::Usage,
            Error::Phantom(PhantomError::Encode { .. }) => Exit::Internal,
            Error::Output(_) | Error::Stdout(_) | Error::Phantom(PhantomError::Io { .. }) => Exit::Output,
            Error::SeveralStudies { .. } | Error::NoAlert { .. } | Error::NoVerdict { .. } => Exit::Usage,
            Error::Serve(ServeError::Config(_) | ServeError::Tls(_) | ServeError::Listen { .. }) => {
                Exit::Usage
            }
            Error::Serve(ServeError::Spool(_) | ServeError::Disk(_) | ServeError::Output(_)) => Exit::Output,
            Error::Serve(ServeError::Pipe(_)) => Exit::Internal,
            Error::Labels(_) | Error::Differs { .. } => Exit::Input,
            Error::Refused { code, .. } => Exit::refused(*code),
        }
    }
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}
