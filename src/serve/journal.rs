//! What happens, a line of JSON each on standard error, for the journal of the machine. No line has anything that
//! identifies a patient but UIDs, shortened to a keyed hash.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::audit::{Audit, Link};
use super::key::pseudonym;
use super::vitals::Vitals;
use crate::spool::SpoolError;

/// What is noted in the audit log too: all that somebody may ask for later, and nothing that comes for each slice or each try.
const AUDITED: [&str; 12] = [
    "started",
    "not_stored",
    "not_taken",
    "early_alert",
    "verdict",
    "told",
    "delivered",
    "delivery_refused",
    "worker_died",
    "put_aside",
    "purged",
    "clock_was_set",
];

/// Where lines go.
pub struct Journal {
    /// Known to this spool alone, so that a UID cannot be found by trying those of an archive.
    key: [u8; 32],
    audit: Audit,
    out: Mutex<Box<dyn Write + Send>>,
    /// Counts of what was told.
    pub vitals: Vitals,
}

impl Journal {
    /// A journal on standard error, and the audit log of a spool with this key.
    pub fn new(spool: &Path, key: [u8; 32]) -> Journal {
        let out: Mutex<Box<dyn Write + Send>> = Mutex::new(Box::new(std::io::stderr()));
        Journal { key, audit: Audit::new(spool, key), out, vitals: Vitals::default() }
    }

    /// Adds a line. The value of a field `study` becomes a [pseudonym](Journal::pseudonym).
    pub fn tell(&self, event: &str, fields: &[(&str, &str)]) {
        self.vitals.count(event, fields);
        let time = now();
        let mut line = Map::new();
        for (name, value) in fields {
            let value = if *name == "study" { self.pseudonym(value) } else { (*value).to_owned() };
            line.insert((*name).into(), value.into());
        }
        if AUDITED.contains(&event) {
            match self.audit.add(time, event, line.clone()) {
                // Sent to another machine, it shows later that nothing was removed.
                Ok(Link { n, mac }) => drop(line.insert("audit".into(), format!("{n}:{mac}").into())),
                // To go on is better than to tell nobody of a study.
                Err(error) => self.complain(time, &error),
            }
        }
        line.insert("time".into(), time.into());
        line.insert("event".into(), event.into());
        self.write(line);
    }

    fn complain(&self, time: f64, error: &SpoolError) {
        self.vitals.count("audit_failed", &[]);
        let fields =
            [("time", Value::from(time)), ("event", "audit_failed".into()), ("why", error.reason().into())];
        self.write(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    }

    fn write(&self, line: Map<String, Value>) {
        let line = Value::Object(line);
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

/// Seconds since 1970, to the millisecond.
pub fn now() -> f64 {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (seconds.as_secs_f64() * 1000.0).round() / 1000.0
}
