//! `hemapatch alerts`: which there are, and that somebody has seen to one.

use chrono::DateTime;

use super::spool::Of;
use crate::error::{Error, Exit};
use crate::serve::{ServeError, alerts};

/// List the alerts of a service, and acknowledge them
#[derive(clap::Args)]
#[command(after_help = super::RESEARCH)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List alerts, the newest first
    List {
        #[command(flatten)]
        of: Of,
        /// A line of JSON for each, on standard output
        #[arg(long)]
        json: bool,
        /// Show the studies' UIDs too
        #[arg(long)]
        identify: bool,
    },
    /// Note that somebody has seen to an alert
    Ack {
        #[command(flatten)]
        of: Of,
        /// The study, as the list calls it, or its UID
        study: String,
        /// Who has seen to it
        #[arg(long, value_name = "NAME", default_value = "")]
        by: String,
    },
}

impl Arguments {
    pub fn run(self) -> Result<Exit, Error> {
        match self.action {
            Action::List { of, json, identify } => list(&of.spool()?, json, identify),
            Action::Ack { of, study, by } => {
                if alerts::acknowledge(&of.spool()?, &study, &by).map_err(ServeError::from)? {
                    return Ok(Exit::Done);
                }
                Err(Error::NoAlert { study })
            }
        }
    }
}

fn list(spool: &std::path::Path, json: bool, identify: bool) -> Result<Exit, Error> {
    let listed = alerts::list(spool, identify).map_err(ServeError::from)?;
    for alert in &listed {
        if json {
            // Strings and finite numbers always serialize.
            super::say(&serde_json::to_string(alert).unwrap_or_default())?;
            continue;
        }
        let time = DateTime::from_timestamp(alert.time as i64, 0).unwrap_or_default();
        let seen = match &alert.acknowledged {
            Some(acknowledged) if acknowledged.by.is_empty() => "acknowledged".to_owned(),
            Some(acknowledged) => format!("acknowledged by {}", acknowledged.by.escape_debug()),
            None => "NOT ACKNOWLEDGED".to_owned(),
        };
        let probability = alert.probability.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let list = |names: &[String]| if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        let uid = alert.study_uid.as_ref().map(|uid| format!("  {uid}")).unwrap_or_default();
        super::say(&format!(
            "{}  {}{uid}  {:<5}  probability {probability}  told: {}; waiting: {}  {seen}",
            time.format("%Y-%m-%d %H:%M:%S UTC"),
            alert.study,
            alert.occasion.name(),
            list(&alert.told),
            list(&alert.waiting),
        ))?;
    }
    if !json {
        let count = listed.iter().filter(|alert| alert.acknowledged.is_none()).count();
        super::say(&format!("{} alerts, {count} not acknowledged. Research use only.", listed.len()))?;
    }
    Ok(Exit::Done)
}
