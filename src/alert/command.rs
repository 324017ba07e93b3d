//! Notices for a program, on its standard input.
//!
//! The program is run by a process of its own, which goes on when this one is killed, and notes the end: so a crash
//! neither forgets a notice nor gives it twice. Only a power cut while the program runs leaves that open; then it is run
//! again, with `HEMAPATCH_REPEATED=1` in its environment.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::spool::move_durably;

/// Time for a program.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the program on a notice by a process of its own, and waits for that.
pub fn start(notice: &Path, folder: &Path, words: &[String]) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut runner = Command::new(program);
    runner.arg("notify").arg(notice).arg(folder).arg("--").args(words).stdin(Stdio::null());
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
        move_durably(notice, &running).map_err(|error| error.to_string())?;
    }
    let line = fs::read(&running).map_err(|error| error.to_string())?;
    let untold = match feed(words, &line, repeated) {
        Ok(ended) if ended.success() => None,
        // Whether it told anybody is not known; it said that it did not.
        Ok(ended) => Some(format!("{}: {ended}", words.first().map_or("", |word| word))),
        Err(Failed::NotRun(why)) => Some(why),
        // It may have told before it was ended, so it stays where it is seen to be repeated.
        Err(Failed::Ended(why)) => return Err(why),
    };
    if let Some(why) = untold {
        let pending = folder.join("pending").join(name);
        move_durably(&running, &pending).map_err(|error| error.to_string())?;
        return Err(why);
    }
    move_durably(&running, &done).map_err(|error| error.to_string())?;
    // Nobody needs it any more; one that stays does no harm.
    let _ = fs::remove_file(running.with_extension("lock"));
    Ok(())
}

/// Why a program did not come to its end.
enum Failed {
    NotRun(String),
    Ended(String),
}

fn feed(words: &[String], line: &[u8], repeated: bool) -> Result<ExitStatus, Failed> {
    let no_program = || Failed::NotRun("no program".to_owned());
    let (program, arguments) = words.split_first().ok_or_else(no_program)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null());
    if repeated {
        command.env("HEMAPATCH_REPEATED", "1");
    }
    let mut child = command.spawn().map_err(|error| Failed::NotRun(format!("{program}: {error}")))?;
    if let Some(mut input) = child.stdin.take() {
        // A program may end without reading all of it.
        let _ = input.write_all(line).and_then(|()| input.write_all(b"\n"));
    }
    let since = Instant::now();
    loop {
        match child.try_wait().map_err(|error| Failed::Ended(error.to_string()))? {
            Some(ended) => return Ok(ended),
            None if since.elapsed() > PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                let why = format!("{program}: did not end within {} s", PATIENCE.as_secs());
                return Err(Failed::Ended(why));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
