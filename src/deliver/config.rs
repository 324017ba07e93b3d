//! `[[deliver]]`: where results go.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::alert::{Occasion, is_name};
use crate::dimse::AeTitle;
use crate::net::{Client, ClientFiles, http, is_address};

/// A destination, which is `dicom` or `stow`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Its name, which stands in the spool.
    pub name: String,
    /// Verdicts whose objects it gets.
    #[serde(default = "verdicts")]
    pub on: Vec<Occasion>,
    /// An archive that is sent to over DICOM.
    dicom: Option<Dicom>,
    /// An archive that is sent to over HTTP.
    stow: Option<Stow>,
}

/// An archive that is sent to by C-STORE.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dicom {
    /// Name or number, and port.
    pub address: String,
    /// Its title.
    pub ae_title: AeTitle,
    /// Our title.
    #[serde(default)]
    pub calling: AeTitle,
    /// Whether it is asked to commit itself to keeping what it took.
    #[serde(default = "yes")]
    pub commit: bool,
    /// Where it is spoken with over TLS.
    tls: Option<ClientFiles>,
}

impl Dicom {
    /// How it is spoken with; read anew, since certificates are renewed.
    ///
    /// # Errors
    /// What is wrong with a file.
    pub fn client(&self) -> Result<Option<Client>, String> {
        self.tls.as_ref().map(ClientFiles::load).transpose()
    }
}

/// An archive that is sent to by STOW-RS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stow {
    /// The service, without `/studies`.
    pub url: String,
    /// A file with the value of the header Authorization.
    pub authorization_file: Option<PathBuf>,
    /// Where it is spoken with over TLS: what is not the system's.
    pub tls: Option<ClientFiles>,
}

/// How objects get there.
#[derive(Clone, Debug)]
pub enum To {
    /// C-STORE.
    Dicom(Dicom),
    /// STOW-RS.
    Stow(Stow),
}

fn verdicts() -> Vec<Occasion> {
    vec![Occasion::Alert, Occasion::NoAlert]
}

fn yes() -> bool {
    true
}

impl Destination {
    /// How objects get there; None where that is not said, or said twice.
    pub fn to(&self) -> Option<To> {
        match (&self.dicom, &self.stow) {
            (Some(dicom), None) => Some(To::Dicom(dicom.clone())),
            (None, Some(stow)) => Some(To::Stow(stow.clone())),
            _ => None,
        }
    }

    /// Whether its archive reports what it keeps.
    pub fn reports(&self) -> bool {
        self.dicom.as_ref().is_some_and(|dicom| dicom.commit)
    }

    /// Files that nobody else should read.
    pub fn secrets(&self) -> Vec<PathBuf> {
        let key = |tls: Option<ClientFiles>| tls.and_then(|tls| tls.key);
        match self.to() {
            Some(To::Dicom(dicom)) => key(dicom.tls).into_iter().collect(),
            Some(To::Stow(stow)) => stow.authorization_file.into_iter().chain(key(stow.tls)).collect(),
            None => Vec::new(),
        }
    }

    /// Whether it can be used.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let name = &self.name;
        if !is_name(name) {
            return Err(("deliver.name", format!("{name:?} is not 1 to 32 letters, digits, - or _")));
        }
        if self.on.contains(&Occasion::Early) {
            return Err(("deliver.on", "there are no objects before the verdict: early cannot be".into()));
        }
        match self.to() {
            None => return Err(("deliver", format!("{name:?} needs either dicom or stow"))),
            Some(To::Dicom(dicom)) => {
                if !is_address(&dicom.address) {
                    return Err((
                        "deliver.dicom.address",
                        "must be a name or number, a colon and a port".into(),
                    ));
                }
                dicom.client().map_err(|why| ("deliver.dicom.tls", why))?;
            }
            Some(To::Stow(stow)) => {
                http::client(&stow.url, stow.tls.as_ref(), Duration::from_secs(1))
                    .map_err(|why| ("deliver.stow.url", why))?;
                if stow.authorization_file.is_some_and(|file| !file.is_absolute()) {
                    return Err(("deliver.stow.authorization_file", "must be absolute".into()));
                }
            }
        }
        Ok(())
    }
}
