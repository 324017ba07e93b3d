//! Notices over HTTP, signed, so that a receiver knows who sent them and drops those that it has.
//!
//! # Source
//! RFC 2104 (HMAC), RFC 9110 (HTTP), draft-ietf-httpapi-idempotency-key-header (the header of that name).

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use super::Untold;
use crate::net::{ClientFiles, http};

/// Time for all of a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where notices are posted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    url: String,
    /// A file with the secret that the receiver knows too.
    secret_file: Option<PathBuf>,
    /// Where it is spoken with over TLS: what is not the system's.
    tls: Option<ClientFiles>,
}

impl Webhook {
    /// Whether it can be used.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        http::client(&self.url, self.tls.as_ref(), PATIENCE).map_err(|why| ("alert.webhook.url", why))?;
        if self.secret_file.as_ref().is_some_and(|file| !file.is_absolute()) {
            return Err(("alert.webhook.secret_file", "must be absolute".into()));
        }
        Ok(())
    }

    /// Connects, and posts nothing: who is there.
    pub(super) fn probe(&self, patience: Duration) -> Result<String, String> {
        self.secret()?;
        http::reach(&self.url, self.tls.as_ref(), patience)
    }

    /// Files that nobody else should read.
    pub(super) fn secrets(&self) -> Vec<PathBuf> {
        let key = self.tls.as_ref().and_then(|tls| tls.key.clone());
        self.secret_file.clone().into_iter().chain(key).collect()
    }

    /// What requests are signed with.
    fn secret(&self) -> Result<Option<Vec<u8>>, String> {
        let Some(file) = &self.secret_file else { return Ok(None) };
        let secret = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        match secret.trim_ascii() {
            [] => Err(format!("{}: no secret in it", file.display())),
            secret => Ok(Some(secret.to_vec())),
        }
    }
}

/// Posts a notice.
pub fn post(to: &Webhook, id: &str, line: &str) -> Result<(), Untold> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let time = now.as_secs().to_string();
    let mut request = http::client(&to.url, to.tls.as_ref(), PATIENCE)
        .map_err(Untold::Away)?
        .post(&to.url)
        .header("Content-Type", "application/json")
        .header("Idempotency-Key", id)
        .header("X-Hemapatch-Timestamp", &time);
    if let Some(secret) = to.secret().map_err(Untold::Away)? {
        request = request.header("X-Hemapatch-Signature", format!("sha256={}", sign(&secret, &time, line)));
    }
    let answer = request.send(line).map_err(untold)?;
    match answer.status().as_u16() {
        200..=299 => Ok(()),
        // The same would come of any other notice.
        status @ (401 | 403 | 404 | 407 | 408 | 429 | 300..=399 | 500..) => {
            Err(Untold::Nobody(format!("HTTP {status}")))
        }
        status => Err(Untold::Refused(format!("HTTP {status}"))),
    }
}

/// Whether whoever should be told was reached.
fn untold(error: ureq::Error) -> Untold {
    let is_away = match &error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        ureq::Error::Timeout(when) => matches!(when, ureq::Timeout::Resolve | ureq::Timeout::Connect),
        ureq::Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
        ),
        _ => false,
    };
    if is_away { Untold::Away(error.to_string()) } else { Untold::Nobody(error.to_string()) }
}

/// HMAC-SHA256 of time, a dot and the body, in hexadecimal: the time is signed too, so that nobody sends it again later.
fn sign(secret: &[u8], time: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length");
    for part in [time, ".", body] {
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_others() {
        // python3 -c 'import hmac; print(hmac.new(b"secret", b"1700000000.{}", "sha256").hexdigest())'
        let expected = "b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163";
        assert_eq!(sign(b"secret", "1700000000", "{}"), expected);
    }
}
