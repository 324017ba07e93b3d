//! All that a training needs to go on where a round ended, in one file: weights, their average, the
//! optimizer's moments and the learning curve.
//!
//! A resumed training gives the weights of an uninterrupted one, to the last bit: batches depend on
//! the recipe's seed and the round alone.

use crate::optimizer::AdamW;
use crate::weights::{Averaged, Network, Weights};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};
use tch::Tensor;

/// File of the last round's end in the run's folder.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

/// What a training was begun with, as SHA-256: another recipe, split or shard cannot go on with it.
pub type Fingerprint = [u8; 32];

/// Why a training cannot go on, or its state cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// There is nothing to resume.
    #[error("cannot resume: there is no {}", .0.display())]
    Missing(PathBuf),
    /// The checkpoint was begun otherwise.
    #[error("cannot resume: {} belongs to another recipe, split or shard", .0.display())]
    Foreign(PathBuf),
    /// A variable is missing or has another shape.
    #[error("cannot resume: {}: {name} is missing or of another shape", path.display())]
    Damaged {
        /// The checkpoint.
        path: PathBuf,
        /// Which tensor.
        name: String,
    },
    /// libtorch cannot read or write it.
    #[error("{}: {source}", path.display())]
    Torch {
        /// The checkpoint.
        path: PathBuf,
        /// libtorch's words.
        source: tch::TchError,
    },
    /// The file cannot be put in its place.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes a network's weights, whole or not at all.
///
/// # Errors
/// [`CheckpointError::Torch`], [`CheckpointError::Io`].
pub fn save_weights<N: Network>(weights: &Weights<N>, path: &Path) -> Result<(), CheckpointError> {
    let tensors: Vec<(String, Tensor)> = weights.variables().into_iter().collect();
    write_whole(&tensors, path)
}

/// Removes what an earlier training left to resume: from now on it would belong to other weights.
///
/// # Errors
/// [`CheckpointError::Io`].
pub fn forget(path: &Path) -> Result<(), CheckpointError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(CheckpointError::Io { path: path.into(), source })
        }
        _ => Ok(()),
    }
}

/// Writes the state at the end of a round, whole or not at all.
///
/// # Errors
/// [`CheckpointError::Torch`], [`CheckpointError::Io`].
pub fn save<N: Network>(
    path: &Path,
    fingerprint: &Fingerprint,
    weights: &Averaged<N>,
    optimizer: &AdamW,
    curve: &[f64],
) -> Result<(), CheckpointError> {
    let mut tensors = vec![
        ("fingerprint".to_owned(), Tensor::from_slice(fingerprint)),
        ("curve".to_owned(), Tensor::from_slice(curve)),
    ];
    for (kind, weights) in [("current", &weights.current), ("average", &weights.average)] {
        let named = weights.variables().into_iter().map(|(name, tensor)| (format!("{kind}/{name}"), tensor));
        tensors.extend(named);
    }
    tensors.extend(optimizer.state());
    write_whole(&tensors, path)
}

/// Puts a checkpoint's state into `weights` and `optimizer`, and gives its curve.
///
/// Curves are numbers here, `columns` a round: what they mean is the training's business.
///
/// # Errors
/// [`CheckpointError`].
pub fn load<N: Network>(
    path: &Path,
    fingerprint: &Fingerprint,
    columns: usize,
    weights: &mut Averaged<N>,
    optimizer: &mut AdamW,
) -> Result<Vec<f64>, CheckpointError> {
    if !path.is_file() {
        return Err(CheckpointError::Missing(path.into()));
    }
    let torch = |source| CheckpointError::Torch { path: path.into(), source };
    let saved: BTreeMap<String, Tensor> =
        Tensor::read_safetensors(path).map_err(torch)?.into_iter().collect();
    let damaged = |name: &str| CheckpointError::Damaged { path: path.into(), name: name.into() };
    let found = |name: &str| saved.get(name).ok_or_else(|| damaged(name));
    if Vec::<u8>::try_from(found("fingerprint")?).map_err(torch)? != fingerprint {
        return Err(CheckpointError::Foreign(path.into()));
    }
    for (kind, weights) in [("current", &weights.current), ("average", &weights.average)] {
        for (name, mut variable) in weights.variables() {
            let name = format!("{kind}/{name}");
            let tensor = found(&name)?;
            if tensor.size() != variable.size() {
                return Err(damaged(&name));
            }
            tch::no_grad(|| variable.copy_(tensor));
        }
    }
    let numbers = Vec::<f64>::try_from(found("curve")?).map_err(torch)?;
    if !numbers.len().is_multiple_of(columns) {
        return Err(damaged("curve"));
    }
    optimizer.restore(&saved).ok_or_else(|| damaged("optimizer"))?;
    Ok(numbers)
}

/// First beside its place, then there: whoever stops us in between leaves the old file.
fn write_whole(tensors: &[(String, Tensor)], path: &Path) -> Result<(), CheckpointError> {
    let beside = path.with_extension("part");
    Tensor::write_safetensors(tensors, &beside)
        .map_err(|source| CheckpointError::Torch { path: beside.clone(), source })?;
    fs::rename(&beside, path).map_err(|source| CheckpointError::Io { path: path.into(), source })
}
