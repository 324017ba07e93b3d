//! The spool and its disk: whether what is told to be kept is kept, and what waits there for somebody.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};

use super::super::config::Config;
use super::super::{audit, key, vitals};
use super::{Check, State};
use crate::spool::{self, Found, SpoolError};

/// Time to keep an object above which a scanner that sends a thousand of them waits for minutes.
const SLOW: Duration = Duration::from_millis(100);

/// Looks at the spool of a configuration; whether a service holds it.
pub fn examine(config: &Config, tell: &mut dyn FnMut(Check)) -> bool {
    let folder = &config.spool.folder;
    let found = spool::look(folder);
    let is_spool = matches!(found, Ok(Found::Spool { .. }));
    let is_held = matches!(found, Ok(Found::Spool { is_held: true }));
    // Nothing can be said of what lies in another folder.
    let is_other = found.is_err();
    tell(place(folder, found));
    tell(room(folder, config.spool.keep_free_mb));
    tell(disk(folder));
    if !is_other && folder.is_dir() {
        tell(writes(folder));
    }
    tell(secrets(config));
    if is_spool {
        tell(log(folder));
        tell(aside(folder));
        tell(notices(config));
        if !config.deliver.is_empty() {
            tell(deliveries(config));
        }
    }
    is_held
}

fn place(folder: &Path, found: Result<Found, SpoolError>) -> Check {
    let shown = folder.display();
    let said = match found {
        // It names the folder, which is the configuration's.
        Err(error) => return Check::new("spool", State::Wrong, error.to_string()),
        Ok(Found::Missing) => {
            let there = spool::nearest(folder);
            if let Err(error) = access(there, Access::WRITE_OK | Access::EXEC_OK) {
                let why = format!("{shown}: cannot be made in {}: {error}", there.display());
                return Check::new("spool", State::Wrong, why);
            }
            return Check::new("spool", State::Ok, format!("{shown}: is made at the first start"));
        }
        Ok(Found::Empty) => format!("{shown}: empty, becomes a spool at the first start"),
        Ok(Found::Spool { is_held: true }) => format!("{shown}: held by a service that runs"),
        Ok(Found::Spool { is_held: false }) => format!("{shown}: no service runs"),
    };
    let owner = folder.metadata().map(|folder| folder.uid());
    let own = rustix::process::geteuid().as_raw();
    match owner {
        Ok(owner) if owner != own => {
            let other =
                format!("belongs to user {owner}, this is {own}: ask as the user that the service runs as");
            Check::new("spool", State::Warn, format!("{said}; {other}"))
        }
        _ => Check::new("spool", State::Ok, said),
    }
}

fn room(folder: &Path, keep_free_mb: u64) -> Check {
    let free = match spool::free(folder) {
        Ok(bytes) => bytes / 1_000_000,
        Err(error) => return Check::new("room", State::Wrong, error.reason()),
    };
    let said = format!("{free} MB are free, {keep_free_mb} MB are to stay so");
    if free < keep_free_mb {
        return Check::new("room", State::Wrong, format!("{said}: no object is taken"));
    }
    let state = if free / 2 < keep_free_mb { State::Warn } else { State::Ok };
    Check::new("room", state, said)
}

fn disk(folder: &Path) -> Check {
    match spool::foreign(folder) {
        Ok(None) => Check::new("disk", State::Ok, "neither over a network nor in memory"),
        Ok(Some(what)) => Check::new("disk", State::Warn, what),
        Err(error) => Check::new("disk", State::Wrong, error.reason()),
    }
}

fn writes(folder: &Path) -> Check {
    let time = match spool::time_to_keep(folder) {
        Ok(time) => time,
        Err(error) => {
            return Check::new(
                "durable writes",
                State::Wrong,
                format!("nothing can be kept: {}", error.reason()),
            );
        }
    };
    let said = format!("{:.1} ms until half a megabyte is durable", time.as_secs_f64() * 1000.0);
    if time > SLOW {
        return Check::new(
            "durable writes",
            State::Warn,
            format!("{said}: whoever sends waits for each object"),
        );
    }
    Check::new("durable writes", State::Ok, said)
}

/// Keys and secrets that others may read or replace.
fn secrets(config: &Config) -> Check {
    let key = Some(key::file(&config.spool.folder)).filter(|key| key.exists());
    let tls = config.receive.iter().filter_map(|receive| Some(receive.tls.as_ref()?.key.clone()));
    let files: BTreeSet<PathBuf> = key
        .into_iter()
        .chain(tls)
        .chain(config.alert.iter().flat_map(|alert| alert.secrets()))
        .chain(config.deliver.iter().flat_map(|destination| destination.secrets()))
        .collect();
    let wrong: Vec<String> = files.iter().filter_map(|file| open_to_all(file)).collect();
    match wrong.is_empty() {
        true => Check::new("secrets", State::Ok, format!("{} files, none open to all users", files.len())),
        false => Check::new("secrets", State::Wrong, wrong.join("; ")),
    }
}

/// What is wrong with a file's rights. Those of its group are somebody's decision.
fn open_to_all(file: &Path) -> Option<String> {
    let shown = file.display();
    let mode = match file.metadata() {
        Ok(metadata) => metadata.permissions().mode() & 0o777,
        Err(error) => return Some(format!("{shown}: {error}")),
    };
    if mode & 0o006 != 0 {
        return Some(format!("{shown}: mode {mode:04o} lets all users of this machine in; chmod o-rwx"));
    }
    access(file, Access::READ_OK).err().map(|error| format!("{shown}: {error}"))
}

fn log(folder: &Path) -> Check {
    let wrong = |why: &str| Check::new("audit log", State::Wrong, why);
    if !key::file(folder).exists() {
        // Made right after the spool, and never again.
        return match folder.join(audit::FILE).exists() {
            true => wrong("the spool's key is gone, without which nothing shows that the log is whole"),
            false => Check::new("audit log", State::Ok, "none yet"),
        };
    }
    match audit::check(folder, None) {
        Ok(audit::Checked { wrong: Some(why), .. }) => wrong(&format!("not whole: {why}")),
        Ok(checked) => Check::new("audit log", State::Ok, format!("whole: {} lines", checked.last.n)),
        Err(error) => wrong(&error.reason()),
    }
}

fn aside(folder: &Path) -> Check {
    match count(&folder.join("aside")) {
        0 => Check::new("aside", State::Ok, "nothing lies there"),
        lie => {
            let said =
                format!("what did not belong into the spool lies in aside/ for somebody to look at: {lie}");
            Check::new("aside", State::Warn, said)
        }
    }
}

fn notices(config: &Config) -> Check {
    let (mut said, mut state) = (Vec::new(), State::Ok);
    for (way, ages) in vitals::notices(config) {
        if let Some(oldest) = ages.iter().max() {
            said.push(format!("{way}: {} wait, the oldest for {} s", ages.len(), oldest.as_secs()));
            state = state.max(if *oldest > vitals::UNTOLD { State::Warn } else { State::Ok });
        }
        let broken = count(&config.spool.folder.join("alerts").join(way).join("broken"));
        if broken > 0 {
            said.push(format!("{way}: {broken} could not be read, in broken/"));
            state = State::Warn;
        }
    }
    Check::new("notices", state, if said.is_empty() { "none waits".to_owned() } else { said.join("; ") })
}

fn deliveries(config: &Config) -> Check {
    let mut said = Vec::new();
    for destination in &config.deliver {
        let name = &destination.name;
        let queue = config.spool.folder.join("deliver").join(name);
        let (waiting, refused) = (count(&queue.join("pending")), count(&queue.join("refused")));
        if waiting > 0 {
            said.push(format!("{name}: {waiting} on their way"));
        }
        if refused > 0 {
            said.push(format!("{name}: {refused} not wanted, in refused/"));
        }
    }
    match said.is_empty() {
        true => Check::new("deliveries", State::Ok, "none waits"),
        false => Check::new("deliveries", State::Warn, said.join("; ")),
    }
}

/// What is in a folder; nothing where it is missing.
fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, |entries| entries.flatten().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_somebody_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        drop(spool::Spool::open(&spool, 0).unwrap());
        let path = folder.path().join("hemapatch.toml");
        let text = format!(
            "[spool]\nfolder = {spool:?}\n[[alert]]\nname = 'lamp'\ncommand = ['true']\n\
             [[deliver]]\nname = 'pacs'\nstow = {{ url = 'http://127.0.0.1/' }}\n"
        );
        fs::write(&path, text).unwrap();
        let config = Config::read(&path).unwrap();
        assert_eq!(
            [aside(&spool), notices(&config), deliveries(&config)].map(|check| check.state),
            [State::Ok; 3]
        );
        for name in ["aside/1-x", "alerts/lamp/broken/1.2-1-alert.json", "deliver/pacs/refused/1.2-ab"] {
            let path = spool.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        for check in [aside(&spool), notices(&config), deliveries(&config)] {
            assert_eq!(check.state, State::Warn);
            assert!(check.detail.contains('1') && !check.detail.contains("1.2"), "{}", check.detail);
        }
    }

    #[test]
    fn little_room_is_said_before_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let free = spool::free(folder.path()).unwrap() / 1_000_000;
        assert_eq!(room(folder.path(), free / 4).state, State::Ok);
        assert_eq!(room(folder.path(), free / 3 * 2).state, State::Warn);
        assert_eq!(room(&folder.path().join("not/there/yet"), free * 2).state, State::Wrong);
    }
}
