//! The command line: arguments in, exit code out. Each command's work is done by the modules it calls.

mod alerts;
mod bench;
mod doctor;
mod engine;
mod follow;
mod inspect;
mod model;
mod outbox;
mod patches;
mod phantom;
mod progress;
mod serve;
mod spool;
mod stats;
mod triage;

use crate::error::{Error, Exit};
use crate::output::OutputError;
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

const RESEARCH: &str = "For research use only. Not a medical device, not for diagnosis or treatment.";

/// Offline triage of head CT for intracerebral hemorrhage, patch by patch, on one CPU.
#[derive(Parser)]
#[command(name = "hemapatch", version, about, after_help = RESEARCH)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Triage(triage::Arguments),
    Inspect(inspect::Arguments),
    Patches(patches::Arguments),
    Stats(stats::Arguments),
    Phantom(phantom::Arguments),
    Model(model::Arguments),
    Bench(bench::Arguments),
    Serve(serve::Arguments),
    Config(serve::ConfigArguments),
    Doctor(doctor::Arguments),
    Alerts(alerts::Arguments),
    Audit(spool::AuditArguments),
    Replay(spool::ReplayArguments),
    #[command(hide = true)]
    Worker(serve::WorkerArguments),
    #[command(hide = true)]
    Notify(serve::NotifyArguments),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder
    Man {
        /// The folder; made where it is missing
        #[arg(short, long = "output", value_name = "DIR")]
        output: PathBuf,
    },
}

/// Runs the program.
///
/// Results go to standard output, everything else to standard error.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors. Nothing can be said where the terminal is gone.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let ended = match cli.command {
        Command::Triage(arguments) => arguments.run(),
        Command::Inspect(arguments) => arguments.run(),
        Command::Patches(arguments) => arguments.run(),
        Command::Stats(arguments) => arguments.run(),
        Command::Phantom(arguments) => arguments.run(),
        Command::Model(arguments) => arguments.run(),
        Command::Bench(arguments) => arguments.run(),
        Command::Serve(arguments) => arguments.run(),
        Command::Config(arguments) => arguments.run(),
        Command::Doctor(arguments) => arguments.run(),
        Command::Alerts(arguments) => arguments.run(),
        Command::Audit(arguments) => arguments.run(),
        Command::Replay(arguments) => arguments.run(),
        Command::Worker(arguments) => arguments.run(),
        Command::Notify(arguments) => arguments.run(),
        Command::Completions { shell } => completions(shell),
        Command::Man { output } => man(&output),
    };
    ended.unwrap_or_else(|error| {
        complain(&error);
        error.exit()
    })
}

fn complain(error: &Error) {
    eprintln!("hemapatch: {}", told(error));
}

/// An error and what caused it, on one line.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Transparent errors repeat their cause word for word.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// Writes a line to standard output.
fn say(line: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Error::Stdout)
}

fn completions(shell: clap_complete::Shell) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hemapatch", &mut script);
    io::stdout().lock().write_all(&script).map_err(Error::Stdout)?;
    Ok(Exit::Done)
}

fn man(folder: &std::path::Path) -> Result<Exit, Error> {
    let refused = |source| OutputError::NotWritable { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(refused)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(refused)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
