//! An authority, and the certificates that it gives.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Whoever vouches for others; its files lie in a folder.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A certificate and its key.
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path) -> Authority {
        fs::create_dir_all(folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, folder.file_name().unwrap().to_str().unwrap());
        let key = KeyPair::generate().unwrap();
        let certificate = folder.join("authority.pem");
        fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        let file = folder.join("authority-key.pem");
        fs::write(&file, key.serialize_pem()).unwrap();
        Authority { folder: folder.to_owned(), issuer: Issuer::new(params, key), certificate, key: file }
    }

    /// A certificate for this machine.
    pub fn issue(&self, name: &str) -> Pair {
        self.issue_until(name, 4000)
    }

    /// One that ends at the beginning of a year.
    pub fn issue_until(&self, name: &str, year: i32) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let file = |suffix: &str| self.folder.join(format!("{name}{suffix}.pem"));
        let pair = Pair { certificate: file(""), key: file("-key") };
        fs::write(&pair.certificate, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }
}

impl Pair {
    /// As a configuration has it: what its owner shows, and whom it believes.
    pub fn toml(&self, authority: &Authority) -> String {
        let Pair { certificate, key } = self;
        format!(
            "{{ certificate = {certificate:?}, key = {key:?}, authorities = {:?} }}",
            authority.certificate
        )
    }
}
