//! `[[alert]]`: who is told of what, and how.

use std::path::PathBuf;

use serde::Deserialize;

use super::hl7::Hl7;
use super::webhook::Webhook;
use super::{Occasion, Way, is_name};

/// A way of telling somebody, which is one of `log`, `command`, `webhook`, `hl7` and `desktop`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// Its name, which stands in the spool.
    pub name: String,
    /// What it is told of.
    #[serde(default = "alerts")]
    pub on: Vec<Occasion>,
    /// A file that gets a line of JSON at its end.
    log: Option<PathBuf>,
    /// A program and its arguments, which get that line on standard input.
    command: Option<Vec<String>>,
    /// An address that gets that line over HTTP.
    webhook: Option<Webhook>,
    /// A system of the hospital that gets a result message.
    hl7: Option<Hl7>,
    /// A message on the screen of whoever runs the service.
    desktop: Option<bool>,
}

fn alerts() -> Vec<Occasion> {
    vec![Occasion::Early, Occasion::Alert]
}

impl Alert {
    /// How somebody is told; None where that is not said, or said twice.
    pub fn way(&self) -> Option<Way> {
        let ways = [
            self.log.clone().map(Way::Log),
            self.command.clone().map(Way::Command),
            self.webhook.clone().map(Way::Webhook),
            self.hl7.clone().map(Way::Hl7),
            self.desktop.unwrap_or(false).then_some(Way::Desktop),
        ];
        let mut ways = ways.into_iter().flatten();
        ways.next().filter(|_| ways.next().is_none())
    }

    /// Whether it can be used.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let name = &self.name;
        if !is_name(name) {
            return Err(("alert.name", format!("{name:?} is not 1 to 32 letters, digits, - or _")));
        }
        match self.way() {
            None => {
                let ways = "exactly one of log, command, webhook, hl7 and desktop = true";
                Err(("alert", format!("{name:?} needs {ways}")))
            }
            Some(Way::Log(path)) if !path.is_absolute() => {
                Err(("alert.log", "must be absolute: a service has no working folder".into()))
            }
            Some(Way::Command(words)) if words.is_empty() => {
                Err(("alert.command", "names no program".into()))
            }
            Some(Way::Webhook(webhook)) => webhook.check(),
            Some(Way::Hl7(hl7)) => hl7.check(),
            Some(_) => Ok(()),
        }
    }
}
