//! `hemapatch model`: which models there are, what they say of themselves, whether they are whole.

use super::say;
use crate::engine::{self, EngineOptions, Precision};
use crate::error::{Error, Exit};
use crate::model::{self, MANIFEST, Manifest, Model};
use std::path::{Path, PathBuf};

/// The model that is used where none is named.
const DEFAULT: &str = "ich16";
/// Where models may lie, for boxes that keep them elsewhere.
const VARIABLE: &str = "HEMAPATCH_MODELS";

/// List, show and verify models
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the models that can be found
    List,
    /// Print a model's manifest
    Show(Which),
    /// Check a model: manifest, hash, network, shapes
    Verify(Which),
}

#[derive(clap::Args)]
struct Which {
    /// The model's name or folder [default: the one that triage uses]
    #[arg(value_name = "MODEL")]
    folder: Option<PathBuf>,
}

impl Arguments {
    pub fn run(self) -> Result<Exit, Error> {
        match self.command {
            Command::List => {
                let mut found = false;
                for models in places().into_iter().filter(|folder| folder.is_dir()) {
                    for folder in model::list(&models)? {
                        let manifest = Manifest::read(&folder)?;
                        let Manifest { name, version, description, .. } = manifest;
                        say(&format!("{name} {version}  {}  {description}", folder.display()))?;
                        found = true;
                    }
                }
                if found { Ok(Exit::Done) } else { Err(Error::NoModel { looked: places() }) }
            }
            Command::Show(which) => {
                let folder = folder(which.folder)?;
                Manifest::read(&folder)?;
                let path = folder.join(MANIFEST);
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| model::ModelError::Io { path, source })?;
                say(text.trim_end())?;
                Ok(Exit::Done)
            }
            Command::Verify(which) => {
                let folder = folder(which.folder)?;
                let model = Model::open(&folder)?;
                let Manifest { name, version, .. } = model.manifest();
                for precision in [Precision::F32, Precision::Int8] {
                    let Some(sha256) = precision.sha256(&model) else { continue };
                    let engine =
                        engine::load(&model, EngineOptions { precision: Some(precision), level: None })?;
                    let runs = engine
                        .level()
                        .map_or(engine.name().to_owned(), |level| format!("{} on {level}", engine.name()));
                    say(&format!("{name} {version}, {precision}: sha256 {sha256} agrees, runs in {runs}"))?;
                    if let Some(note) = engine.note() {
                        say(&format!("  slowly, not in our kernels: {note}"))?;
                    }
                }
                Ok(Exit::Done)
            }
        }
    }
}

/// The folder of the model to use: the one named, or the default one wherever it is found first.
pub(super) fn folder(named: Option<PathBuf>) -> Result<PathBuf, Error> {
    if let Some(folder) = named {
        // `model list` shows names, so a name does too.
        let by_name = places().into_iter().map(|models| models.join(&folder));
        let found = by_name.into_iter().find(|model| model.join(MANIFEST).is_file());
        let is_model = folder.join(MANIFEST).is_file();
        return Ok(found.filter(|_| !is_model).unwrap_or(folder));
    }
    let found = places().into_iter().map(|models| models.join(DEFAULT)).find(|m| m.join(MANIFEST).is_file());
    found.ok_or_else(|| Error::NoModel { looked: places() })
}

/// Folders that may hold models: named by the environment, beside the program or where a package would put them,
/// in the repository that the program was built in, in the working folder. No folder that anybody might write to:
/// whoever writes a model decides what is said.
fn places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::var_os(VARIABLE).map(PathBuf::from).into_iter().collect();
    if let Ok(program) = std::env::current_exe() {
        let mut folders = program.ancestors().skip(1);
        places.extend(folders.next().map(|beside| beside.join("models")));
        if let Some(above) = folders.next() {
            places.push(above.join("share/hemapatch/models"));
            // Cargo builds into target/PROFILE of the repository.
            if above.file_name().is_some_and(|name| name == "target") {
                places.extend(folders.next().map(|repository| repository.join("models")));
            }
        }
    }
    places.push(Path::new("models").to_owned());
    let mut seen = Vec::new();
    places.retain(|place| {
        let real = place.canonicalize().unwrap_or_else(|_| place.clone());
        let new = !seen.contains(&real);
        seen.push(real);
        new
    });
    places
}
