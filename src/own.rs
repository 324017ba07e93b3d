//! This program, run again by itself: what may die is a process of its own.

use std::io;
use std::process::Command;

/// A command that runs this program: the file that runs, also where a newer one was put in its place since.
///
/// # Errors
/// The operating system does not tell which file it is.
pub fn command() -> io::Result<Command> {
    if cfg!(target_os = "linux") {
        let mut command = Command::new("/proc/self/exe");
        // What lists of processes call it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::arg0(&mut command, "hemapatch");
        return Ok(command);
    }
    std::env::current_exe().map(Command::new)
}
