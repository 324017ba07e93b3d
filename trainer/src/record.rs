//! What a run was made of: recipe, seed, program, commit and the data's hashes, in `run.json`.

use crate::recipe::Recipe;
use crate::shard::Index;
use crate::split::Split;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
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

/// SHA-256 of each file in a shard's folder, in hexadecimal.
///
/// # Errors
/// When one cannot be read.
pub fn hash_files(shard: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut hashes = BTreeMap::new();
    for entry in fs::read_dir(shard)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            hashes.insert(entry.file_name().to_string_lossy().into_owned(), hash_file(&entry.path())?);
        }
    }
    Ok(hashes)
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
    /// The record of a run that trained `rounds` rounds.
    #[must_use]
    pub fn new(
        recipe: &'a Recipe,
        index: &Index,
        shard_sha256: BTreeMap<String, String>,
        rounds: usize,
        seconds: f64,
    ) -> Record<'a> {
        Record {
            program: concat!("hemapatch-train ", env!("CARGO_PKG_VERSION")),
            commit: commit(),
            recipe,
            patients: index.patients().len(),
            slices: index.slices.len(),
            shard_sha256,
            rounds,
            finished: rounds == recipe.training.rounds,
            seconds,
        }
    }
}

fn commit() -> Option<String> {
    let arguments = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"];
    let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| commit.trim().to_owned())
}
