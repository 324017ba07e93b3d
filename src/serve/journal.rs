//! What happens, a line of JSON each on standard error, for the journal of the machine. No line has anything that
//! identifies a patient but UIDs, shortened to a keyed hash.

use std::io::Write;
use std::sync::Mutex;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::vitals::Vitals;

/// Where lines go.
pub struct Journal {
    /// Known to this spool alone, so that a UID cannot be found by trying those of an archive.
    key: [u8; 32],
    out: Mutex<Box<dyn Write + Send>>,
    /// Counts of what was told.
    pub vitals: Vitals,
}

impl Journal {
    /// A journal on standard error.
    pub fn new(key: [u8; 32]) -> Journal {
        Journal { key, out: Mutex::new(Box::new(std::io::stderr())), vitals: Vitals::default() }
    }

    /// Adds a line. The value of a field `study` becomes a [pseudonym](Journal::pseudonym).
    pub fn tell(&self, event: &str, fields: &[(&str, &str)]) {
        self.vitals.count(event, fields);
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut line = serde_json::Map::new();
        line.insert("time".into(), seconds.as_secs_f64().into());
        line.insert("event".into(), event.into());
        for (name, value) in fields {
            let value = if *name == "study" { self.pseudonym(value) } else { (*value).to_owned() };
            line.insert((*name).into(), value.into());
        }
        let line = serde_json::Value::Object(line);
        if let Ok(mut out) = self.out.lock() {
            // There is nobody else to tell.
            let _ = writeln!(out, "{line}");
        }
    }

    /// What a study is called in logs: the same in each, and telling nothing without the spool's key.
    pub fn pseudonym(&self, uid: &str) -> String {
        pseudonym(&self.key, uid)
    }
}

/// What a study is called in the logs of the spool with this key.
pub fn pseudonym(key: &[u8; 32], uid: &str) -> String {
    let digest = Sha256::new().chain_update(key).chain_update(uid).finalize();
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
