//! Whether somebody could be told, without telling anybody.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};

use super::{Alert, Way};

impl Alert {
    /// Whether this way could be used now: what was found. Nothing is sent, written or run.
    ///
    /// # Errors
    /// Why it could not.
    pub fn probe(&self, patience: Duration) -> Result<String, String> {
        match self.way().ok_or("no way of telling")? {
            Way::Log(path) => {
                is_appendable(&path).map_err(|why| format!("{}: {why}", path.display()))?;
                Ok(format!("{}: lines can be added", path.display()))
            }
            Way::Command(words) => program(words.first().map_or("", |word| word)),
            Way::Desktop => program("notify-send"),
            Way::Webhook(webhook) => webhook.probe(patience).map(|at| format!("{at}: reached")),
            Way::Hl7(hl7) => hl7.probe(patience).map(|at| format!("{at}: reached")),
        }
    }

    /// Files that nobody else should read.
    pub fn secrets(&self) -> Vec<PathBuf> {
        match self.way() {
            Some(Way::Webhook(webhook)) => webhook.secrets(),
            Some(Way::Hl7(hl7)) => hl7.secrets(),
            _ => Vec::new(),
        }
    }
}

/// Asked of the system, not tried: to open a pipe that nobody reads would wait for ever.
fn is_appendable(path: &Path) -> Result<(), String> {
    match path.metadata() {
        Ok(found) if found.is_dir() => Err("is a folder".to_owned()),
        Ok(_) => access(path, Access::WRITE_OK).map_err(|error| error.to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(path);
            let may = access(folder, Access::WRITE_OK | Access::EXEC_OK);
            may.map_err(|error| format!("cannot be made in its folder: {error}"))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The file of a program, found as the system finds it.
fn program(word: &str) -> Result<String, String> {
    let is_runnable = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if word.contains('/') {
        let path = Path::new(word);
        return match is_runnable(path) {
            true => Ok(format!("{word}: can be run")),
            false if path.exists() => Err(format!("{word}: is there, but cannot be run")),
            false => Err(format!("{word}: is not there")),
        };
    }
    let places = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&places).map(|place| place.join(OsStr::new(word)));
    let found = found.find(|path| is_runnable(path));
    found
        .map(|path| format!("{}: can be run", path.display()))
        .ok_or_else(|| format!("{word}: in no folder of PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_the_system_finds_them() {
        assert!(program("/bin/sh").is_ok() && program("sh").is_ok());
        assert!(program("/etc/passwd").unwrap_err().contains("cannot be run"));
        assert!(program("/nowhere/lamp").unwrap_err().contains("is not there"));
        assert!(program("no-such-lamp").unwrap_err().contains("PATH"));
    }

    #[test]
    fn a_log_that_is_not_there_yet_needs_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(is_appendable(&folder.path().join("log")), Ok(()));
        assert!(!folder.path().join("log").exists());
        assert!(is_appendable(&folder.path().join("missing/log")).is_err());
        assert!(is_appendable(folder.path()).is_err());
    }
}
