//! The configuration of `hemapatch serve`: a TOML file, checked whole before anything is opened. docs/serve.md explains it.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::retention::Retention;
use crate::alert::Alert;
use crate::deliver::Destination;
use crate::dimse::AeTitle;
use crate::net::ServerFiles;
use crate::receive::{Peer, Settings};
use crate::watch;

/// Seconds: no time that is set is longer. One without bounds would be more than a clock can count.
const LONGEST_S: u64 = 86_400;

/// Everything that can be set. What is absent has the default written here.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where objects are kept until they are done with.
    pub spool: Spool,
    /// Objects that are sent.
    pub receive: Option<Receive>,
    /// How studies are judged.
    #[serde(default)]
    pub study: Study,
    /// Who is told.
    #[serde(default)]
    pub alert: Vec<Alert>,
    /// A folder that files are dropped into.
    pub watch: Option<watch::Settings>,
    /// A page for machines.
    pub web: Option<Web>,
    /// Where results go.
    #[serde(default)]
    pub deliver: Vec<Destination>,
    /// What is removed, and when. Nothing is, where it is absent.
    pub retention: Option<Retention>,
    /// The file's SHA-256, in hexadecimal.
    #[serde(skip)]
    pub sha256: String,
}

/// `[spool]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spool {
    /// Its folder, on a local disk.
    pub folder: PathBuf,
    /// Megabytes of the disk that stay free: below, objects are refused with A700, and taken again above.
    #[serde(default = "two_thousand")]
    pub keep_free_mb: u64,
}

/// `[receive]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receive {
    /// Address and port. Only this machine reaches the default.
    #[serde(default = "loopback")]
    pub listen: SocketAddr,
    /// Our title.
    #[serde(default)]
    pub ae_title: AeTitle,
    /// Who may send. Nobody else is let in.
    #[serde(default)]
    pub peer: Vec<Peer>,
    /// Where peers connect over TLS.
    pub tls: Option<ServerFiles>,
    /// Associations at once.
    #[serde(default = "hundred")]
    pub associations: NonZeroUsize,
    /// New associations a second.
    #[serde(default = "two_hundred")]
    pub associations_per_second: u32,
    /// Megabytes of an object.
    #[serde(default = "thousand")]
    pub object_mb: u64,
    /// Seconds between two objects of an association.
    #[serde(default = "sixty")]
    pub idle_s: u64,
}

/// `[web]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// Address and port, of this machine alone.
    pub listen: SocketAddr,
}

/// `[study]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Study {
    /// The model's name or folder.
    pub model: Option<PathBuf>,
    /// Threads of the process that judges.
    pub threads: NonZeroUsize,
    /// Megabytes that it may take.
    pub memory_mb: u64,
    /// Seconds that a look at a study may take.
    pub seconds: u64,
    /// Seconds without a new slice, and without an association that sends, after which a study whose slices have no gap
    /// is whole.
    pub settled_s: f64,
    /// Seconds without a new slice after which any study is whole.
    pub quiet_s: f64,
}

impl Default for Study {
    fn default() -> Self {
        Study {
            model: None,
            threads: NonZeroUsize::MIN,
            memory_mb: 1000,
            seconds: 120,
            settled_s: 1.0,
            quiet_s: 60.0,
        }
    }
}

fn two_thousand() -> u64 {
    2000
}
fn thousand() -> u64 {
    1000
}
fn two_hundred() -> u32 {
    200
}
fn hundred() -> NonZeroUsize {
    const { NonZeroUsize::new(100).unwrap() }
}
fn sixty() -> u64 {
    60
}
fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 11112))
}
/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It is no TOML, or has a field that does not exist or is of another form.
    #[error("{}: {}", path.display(), reason.trim_end())]
    Form {
        /// The file.
        path: PathBuf,
        /// Line, field and reason.
        reason: String,
    },
    /// A field has a value that cannot be.
    #[error("{}: {field}: {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`], which names the file and the field.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config: Config = toml::from_str(&text)
            .map_err(|error| ConfigError::Form { path: path.to_owned(), reason: error.to_string() })?;
        config.check().map_err(|(field, problem)| ConfigError::Value {
            path: path.to_owned(),
            field,
            problem,
        })?;
        config.sha256 = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(config)
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        if !self.spool.folder.is_absolute() {
            return Err(("spool.folder", "must be absolute: a service has no working folder".into()));
        }
        if let Some(receive) = &self.receive {
            if receive.peer.is_empty() {
                return Err((
                    "receive.peer",
                    "nobody may send: list a peer with ae_title and address".into(),
                ));
            }
            if receive.idle_s == 0 || receive.object_mb == 0 || receive.associations_per_second == 0 {
                return Err((
                    "receive",
                    "idle_s, object_mb and associations_per_second must be above 0".into(),
                ));
            }
            if receive.idle_s > LONGEST_S {
                return Err(("receive.idle_s", "must be at most 86400, a day".into()));
            }
            receive.settings(false).map_err(|why| ("receive.tls", why))?;
        }
        if let Some(watch) = &self.watch {
            watch.check()?;
            if watch.folder.starts_with(&self.spool.folder) || self.spool.folder.starts_with(&watch.folder) {
                return Err(("watch.folder", "must not hold the spool, nor lie in it".into()));
            }
        }
        if self.web.as_ref().is_some_and(|web| !web.listen.ip().is_loopback()) {
            let why = "must be an address of this machine alone, 127.0.0.1 or [::1]";
            return Err(("web.listen", why.into()));
        }
        self.retention.map_or(Ok(()), |retention| retention.check())?;
        let study = &self.study;
        if study.seconds == 0 || study.memory_mb == 0 {
            return Err(("study", "seconds and memory_mb must be above 0".into()));
        }
        if study.seconds > LONGEST_S {
            return Err(("study.seconds", "must be at most 86400, a day".into()));
        }
        if study.quiet_s > LONGEST_S as f64 {
            return Err(("study.quiet_s", "must be at most 86400, a day".into()));
        }
        // Nor where one of them is no number.
        let is_ordered = study.settled_s >= 0.0 && study.settled_s <= study.quiet_s;
        if !is_ordered {
            return Err(("study.settled_s", "must lie between 0 and quiet_s".into()));
        }
        for (index, alert) in self.alert.iter().enumerate() {
            alert.check()?;
            if self.alert[..index].iter().any(|other| other.name == alert.name) {
                return Err(("alert.name", format!("{:?} occurs twice", alert.name)));
            }
        }
        for (index, destination) in self.deliver.iter().enumerate() {
            destination.check()?;
            if self.deliver[..index].iter().any(|other| other.name == destination.name) {
                return Err(("deliver.name", format!("{:?} occurs twice", destination.name)));
            }
        }
        Ok(())
    }
}

impl Receive {
    /// How associations are served.
    ///
    /// `reports`: whether archives are asked what they keep.
    ///
    /// # Errors
    /// What is wrong with a file of TLS.
    pub fn settings(&self, reports: bool) -> Result<Settings, String> {
        Ok(Settings {
            ae_title: self.ae_title.clone(),
            peers: self.peer.clone(),
            tls: self.tls.as_ref().map(ServerFiles::load).transpose()?,
            associations: self.associations.get(),
            associations_per_second: self.associations_per_second,
            pdu_bytes: 128 << 10,
            object_bytes: self.object_mb.saturating_mul(1_000_000),
            idle: Duration::from_secs(self.idle_s),
            patience: Duration::from_secs(10),
            object_time: Duration::from_secs(300),
            reports,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Occasion, Way};

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hemapatch.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path).map_err(|error| error.to_string().replace(&*path.to_string_lossy(), "F"))
    }

    const SMALL: &str = "[spool]\nfolder = '/var/lib/hemapatch'\n";

    #[test]
    fn a_spool_is_all_that_is_needed() {
        let config = read(SMALL).unwrap();
        assert!(config.receive.is_none() && config.alert.is_empty());
        assert_eq!(config.spool.keep_free_mb, 2000);
    }

    #[test]
    fn whoever_listens_listens_on_loopback_and_to_somebody() {
        let nobody = format!("{SMALL}[receive]\n");
        assert!(read(&nobody).unwrap_err().contains("F: receive.peer: nobody may send"));
        let somebody = format!("{nobody}[[receive.peer]]\nae_title = 'CT1'\naddress = '10.1.0.0/16'\n");
        let receive = read(&somebody).unwrap().receive.unwrap();
        assert!(receive.listen.ip().is_loopback());
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, expected) in [
            ("[spool]\nfolder = 'spool'\n", "spool.folder: must be absolute"),
            ("[spool]\nfolder = '/s'\nkeep_free = 3\n", "keep_free"),
            (&format!("{SMALL}[study]\nsettled_s = 5\nquiet_s = 1\n"), "study.settled_s"),
            (&format!("{SMALL}[study]\nthreads = 0\n"), "threads"),
            (&format!("{SMALL}[retention]\ndays = 0\n"), "retention.days"),
            (&format!("{SMALL}[[alert]]\nname = 'a/b'\nlog = '/a'\n"), "alert.name"),
            (&format!("{SMALL}[[alert]]\nname = 'a'\nlog = 'a'\n"), "alert.log"),
            (&format!("{SMALL}[[alert]]\nname = 'a'\ncommand = []\n"), "alert.command"),
            (&format!("{SMALL}[[alert]]\nname = 'a'\n"), "alert"),
            (&format!("{SMALL}[[alert]]\nname = 'a'\ndesktop = true\nlog = '/a'\n"), "exactly one"),
            (
                &format!("{SMALL}[[alert]]\nname = 'a'\nwebhook = {{ url = 'ftp://a/' }}\n"),
                "alert.webhook.url",
            ),
            (&format!("{SMALL}[[alert]]\nname = 'a'\nhl7 = {{ address = 'ris' }}\n"), "alert.hl7.address"),
            (&format!("{SMALL}[[deliver]]\nname = 'a'\n"), "either dicom or stow"),
            (&format!("{SMALL}[[deliver]]\nname = 'a'\nstow = {{ url = 'pacs' }}\n"), "deliver.stow.url"),
            (
                &format!("{SMALL}[[deliver]]\nname = 'a'\ndicom = {{ address = 'pacs', ae_title = 'P' }}\n"),
                "deliver.dicom.address",
            ),
            (&format!("{SMALL}[[receive.peer]]\nae_title = 'A'\naddress = 'here'\n"), "here"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected) && error.starts_with("F: "), "{error}");
        }
    }

    #[test]
    fn no_time_is_longer_than_a_clock_can_count() {
        // The promise of the fuzz target `config`: such times were taken, and the service fell over them at the first association or study.
        let peer = "[[receive.peer]]\nae_title = 'CT1'\naddress = '10.1.0.1'\n";
        for (text, field) in [
            ("[study]\nquiet_s = 1e20\n".to_owned(), "study.quiet_s"),
            ("[study]\nquiet_s = inf\n".to_owned(), "study.quiet_s"),
            ("[study]\nquiet_s = nan\n".to_owned(), "study.settled_s"),
            ("[study]\nseconds = 9223372036854775807\n".to_owned(), "study.seconds"),
            (format!("[receive]\nidle_s = 9223372036854775807\n{peer}"), "receive.idle_s"),
        ] {
            let error = read(&format!("{SMALL}{text}")).unwrap_err();
            assert!(error.starts_with(&format!("F: {field}: ")), "{error}");
        }
        assert!(read(&format!("{SMALL}[study]\nquiet_s = 86400\nseconds = 86400\n")).is_ok());
    }

    #[test]
    fn ways_of_telling_are_read() {
        let text =
            format!("{SMALL}[[alert]]\nname = 'lamp'\non = ['early']\ncommand = ['/bin/lamp', 'red']\n");
        let alert = &read(&text).unwrap().alert[0];
        assert_eq!(alert.on, [Occasion::Early]);
        assert!(matches!(alert.way(), Some(Way::Command(words)) if words.len() == 2));
    }
}
