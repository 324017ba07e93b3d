//! Notices for a program, on its standard input.
//!
//! The program is run by a process of its own, which goes on when this one is killed, and notes the end: so a crash
//! neither forgets a notice nor gives it twice. Only a power cut while the program runs, or its taking too long, leaves that open;
//! then it is run again, with `HEMAPATCH_REPEATED=1` in its environment.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::own;
use crate::spool::{SpoolError, move_durably};

/// The variable that names the notice to the process that runs the program.
pub const NOTICE: &str = "HEMAPATCH_NOTICE";

/// Time for a program.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the program on a notice by a process of its own, and waits for that.
pub fn start(notice: &Path, folder: &Path, words: &[String]) -> Result<(), String> {
    let mut runner = own::command().map_err(|error| error.to_string())?;
    // Its name has a UID in it, and lists of processes show arguments to everybody.
    runner.env(NOTICE, notice);
    runner.arg("notify").arg(folder).arg("--").args(words).stdin(Stdio::null());
    // In a group of its own: what ends us, from a terminal or a service manager's signal to the group, does not end it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut runner, 0);
    let ended = runner.stdout(Stdio::piped()).spawn().and_then(|runner| runner.wait_with_output());
    let ended = ended.map_err(|error| error.to_string())?;
    if ended.status.success() {
        return Ok(());
    }
    // What it says on standard output is why; the program that it runs has none.
    let why = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
    Err(if why.is_empty() { ended.status.to_string() } else { why })
}

/// What that process does: runs the program, and notes that it did.
///
/// # Errors
/// The program cannot be run, or does not end well; the disk.
pub fn run(notice: &Path, folder: &Path, words: &[String]) -> Result<(), String> {
    let name = notice.file_name().ok_or("no notice")?;
    let (running, done) = (folder.join("running").join(name), folder.join("done").join(name));
    let repeated = notice == running;
    // Held while it runs: whoever comes later waits, and then finds it done.
    let lock = File::create(running.with_extension("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    if done.exists() {
        return Ok(());
    }
    if !repeated {
        move_durably(notice, &running).map_err(disk)?;
    }
    let line = fs::read(&running).map_err(|error| error.to_string())?;
    let untold = match feed(words, &line, repeated, PATIENCE) {
        Ok(ended) if ended.success() => None,
        // Whether it told anybody is not known; it said that it did not.
        Ok(ended) => Some(format!("{}: {ended}", words.first().map_or("", |word| word))),
        Err(Failed::NotRun(why)) => Some(why),
        // It may have told before it was ended, so it stays where it is seen to be repeated.
        Err(Failed::Ended(why)) => return Err(why),
    };
    if let Some(why) = untold {
        let pending = folder.join("pending").join(name);
        move_durably(&running, &pending).map_err(disk)?;
        return Err(why);
    }
    move_durably(&running, &done).map_err(disk)?;
    // Nobody needs it any more; one that stays does no harm.
    let _ = fs::remove_file(running.with_extension("lock"));
    Ok(())
}

/// What the disk said; paths have the UID of a study in them.
fn disk(error: SpoolError) -> String {
    format!("the disk: {}", error.reason())
}

/// Why a program did not come to its end.
enum Failed {
    NotRun(String),
    Ended(String),
}

fn feed(words: &[String], line: &[u8], repeated: bool, patience: Duration) -> Result<ExitStatus, Failed> {
    let no_program = || Failed::NotRun("no program".to_owned());
    let (program, arguments) = words.split_first().ok_or_else(no_program)?;
    let mut command = Command::new(program);
    command.args(arguments).env_remove(NOTICE).stdin(Stdio::piped()).stdout(Stdio::null());
    // A group, so that what it started ends with it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    if repeated {
        command.env("HEMAPATCH_REPEATED", "1");
    }
    let mut child = command.spawn().map_err(|error| Failed::NotRun(format!("{program}: {error}")))?;
    let since = Instant::now();
    if let Some(mut input) = child.stdin.take() {
        let line = [line, b"\n"].concat();
        // A program may end without reading all of it, or read none of it and go on; the clock runs meanwhile.
        std::thread::spawn(move || drop(input.write_all(&line)));
    }
    loop {
        match child.try_wait().map_err(|error| Failed::Ended(error.to_string()))? {
            Some(ended) => return Ok(ended),
            None if since.elapsed() > patience => {
                if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                let _ = child.kill();
                let _ = child.wait();
                let why = format!("{program}: did not end within {} s", patience.as_secs());
                return Err(Failed::Ended(why));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_reads_nothing_and_does_not_end_is_ended() {
        let words = ["/bin/sh", "-c", "sleep 1000 & sleep 1000"].map(str::to_owned);
        // More than a pipe holds.
        let line = vec![b'x'; 1 << 20];
        assert!(matches!(feed(&words, &line, false, Duration::from_millis(100)), Err(Failed::Ended(_))));
        assert!(feed(&["true".to_owned()], &line, false, PATIENCE).is_ok_and(|ended| ended.success()));
        assert!(matches!(feed(&["/nowhere".to_owned()], &line, false, PATIENCE), Err(Failed::NotRun(_))));
    }
}
