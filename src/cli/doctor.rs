//! `hemapatch doctor`: what keeps the box from its work.

use std::path::PathBuf;

use super::model;
use crate::engine::{self, EngineOptions};
use crate::error::{Error, Exit};
use crate::model::{Manifest, Model};
use crate::serve::doctor::{self, Check, State};
use crate::serve::{Config, ServeError};

/// Say what keeps a service from its work: before its first start, or while it runs
#[derive(clap::Args)]
#[command(after_help = super::RESEARCH)]
pub(super) struct Arguments {
    /// The service's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A line of JSON for each check, on standard output
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub fn run(self) -> Result<Exit, Error> {
        let config = Config::read(&self.config).map_err(ServeError::from)?;
        // Names of ways and archives are known before they are asked.
        let alerts = config.alert.iter().map(|alert| "alert ".len() + alert.name.len());
        let archives = config.deliver.iter().map(|archive| "deliver ".len() + archive.name.len());
        let width = alerts.chain(archives).max().unwrap_or(0).max("durable writes".len());
        let mut states = Vec::new();
        let mut said = Ok(());
        let mut tell = |check: Check| {
            states.push(check.state);
            let line = if self.json {
                // Strings always serialize.
                serde_json::to_string(&check).unwrap_or_default()
            } else {
                format!("{:<5}  {:<width$}  {}", check.state.name(), check.check, check.detail)
            };
            if said.is_ok() {
                said = super::say(&line);
            }
        };
        doctor::examine(&config, examine_model(&config), &mut tell);
        said?;
        let count = |state| states.iter().filter(|other| **other == state).count();
        let (wrong, warn) = (count(State::Wrong), count(State::Warn));
        if !self.json {
            let ends = match (wrong, warn) {
                (0, 0) => "It can do its work.".to_owned(),
                (0, warn) => format!("It can do its work; to be looked at: {warn}."),
                (wrong, _) => format!("It cannot do its work as configured; wrong: {wrong}."),
            };
            super::say(&format!("{ends} Research use only."))?;
        }
        Ok(if wrong > 0 { Exit::NotReady } else { Exit::Done })
    }
}

fn examine_model(config: &Config) -> Check {
    let examined = || -> Result<Check, Error> {
        let folder = model::folder(config.study.model.clone())?;
        let model = Model::open(&folder)?;
        let engine = engine::load(&model, EngineOptions::default())?;
        let Manifest { name, version, .. } = model.manifest();
        let whole = format!("{name} {version} in {}", folder.display());
        Ok(match engine.note() {
            Some(note) => {
                Check::new("model", State::Warn, format!("{whole} runs slowly, not in our kernels: {note}"))
            }
            None => Check::new("model", State::Ok, whole),
        })
    };
    examined().unwrap_or_else(|error| Check::new("model", State::Wrong, super::told(&error)))
}
