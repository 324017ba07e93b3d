//! What a run was made of: recipe, seed, program, commit and the data's hashes, in `run.json`.

use crate::recipe::Recipe;
use crate::shard::{FILES, Index};
use crate::split::Split;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

/// File of the record in the run's folder.
pub const RECORD: &str = "run.json";

/// What a run was made of.
#[derive(Clone, Debug, Serialize)]
pub struct Record<'a> {
    /// Name and version of this program.
    pub program: &'static str,
    /// The source's commit, with `-dirty` after changes; `None` outside of a repository.
    pub commit: Option<String>,
    /// The whole recipe, defaults included, with its seed.
    pub recipe: &'a Recipe,
    /// Patients and slices of the shard.
    pub patients: usize,
    /// Slices of the shard.
    pub slices: usize,
    /// SHA-256 of each of the shard's files.
    pub shard_sha256: BTreeMap<String, String>,
    /// Rounds that were trained.
    pub rounds: usize,
    /// Whether that were all.
    pub finished: bool,
    /// Time spent on training.
    pub seconds: f64,
}

/// SHA-256 of each file of a shard's folder, in hexadecimal.
///
/// # Errors
/// When one cannot be read.
pub fn hash_files(shard: &Path) -> io::Result<BTreeMap<String, String>> {
    FILES.into_iter().map(|name| Ok((name.to_owned(), hash_file(&shard.join(name))?))).collect()
}

fn hash_file(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => hash.update(&block[..read]),
        }
    }
}

/// SHA-256 over everything that decides what a training does.
#[must_use]
pub fn fingerprint(recipe: &Recipe, split: &Split, shard: &BTreeMap<String, String>) -> [u8; 32] {
    let all = serde_json::json!({ "recipe": recipe, "split": split, "shard": shard });
    Sha256::digest(all.to_string()).into()
}

impl<'a> Record<'a> {
    /// The record of a run that begins now: the program's source may change while it lasts.
    #[must_use]
    pub fn begin(recipe: &'a Recipe, index: &Index, shard_sha256: BTreeMap<String, String>) -> Record<'a> {
        Record {
            program: concat!("hemapatch-train ", env!("CARGO_PKG_VERSION")),
            commit: commit(),
            recipe,
            patients: index.patients().len(),
            slices: index.slices.len(),
            shard_sha256,
            rounds: 0,
            finished: false,
            seconds: 0.0,
        }
    }

    /// The same after `rounds` rounds, which took `seconds`.
    #[must_use]
    pub fn after(self, rounds: usize, seconds: f64) -> Record<'a> {
        Record { rounds, finished: rounds == self.recipe.training.rounds, seconds, ..self }
    }
}

/// What a record says of the weights beside it.
#[derive(Deserialize)]
struct Kept {
    recipe: Recipe,
    shard_sha256: BTreeMap<String, String>,
}

/// Why weights are not those of a recipe and a shard.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The record cannot be read, or the shard.
    #[error("{}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The record is none.
    #[error("{}: {source}", path.display())]
    Format {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Another recipe.
    #[error("{}: the weights were trained by a recipe with another {key}: train again", path.display())]
    Recipe {
        /// The record.
        path: PathBuf,
        /// The first key that differs.
        key: String,
    },
    /// Other data.
    #[error("{}: the weights were trained on another shard than {}: train again", path.display(), shard.display())]
    Shard {
        /// The record.
        path: PathBuf,
        /// The shard that was given.
        shard: PathBuf,
    },
}

/// Keys of a recipe that say nothing of training, and may be chosen anew for weights that are there.
const AFTER_TRAINING: [&str; 5] = ["name", "version", "pooling", "operating_point", "passport"];

/// Whether the weights in a run's folder were trained by this recipe, on this shard.
///
/// # Errors
/// [`RecordError`], also if they were not.
pub fn check(out: &Path, recipe: &Recipe, shard: &Path) -> Result<(), RecordError> {
    let path = out.join(RECORD);
    let text = fs::read_to_string(&path).map_err(|source| RecordError::Io { path: path.clone(), source })?;
    let json = |source| RecordError::Format { path: path.clone(), source };
    let kept: Kept = serde_json::from_str(&text).map_err(json)?;
    let [kept_keys, keys] = [&kept.recipe, recipe].map(serde_json::to_value);
    let (kept_keys, keys) = (kept_keys.map_err(json)?, keys.map_err(json)?);
    let mut trained =
        keys.as_object().into_iter().flatten().filter(|(key, _)| !AFTER_TRAINING.contains(&key.as_str()));
    if let Some((key, _)) = trained.find(|(key, value)| kept_keys.get(key) != Some(value)) {
        return Err(RecordError::Recipe { path, key: key.clone() });
    }
    let hashes = hash_files(shard).map_err(|source| RecordError::Io { path: shard.into(), source })?;
    if hashes == kept.shard_sha256 { Ok(()) } else { Err(RecordError::Shard { path, shard: shard.into() }) }
}

fn commit() -> Option<String> {
    let arguments = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"];
    let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| commit.trim().to_owned())
}
