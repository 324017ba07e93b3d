//! Writes a trained network as a model of the engine: `model.onnx` and the manifest that vouches
//! for it. The manifest's format is the engine's own type.

use crate::evaluate::Choices;
use crate::mil::AttentionNet;
use crate::net::ResNet18;
use crate::onnx;
use crate::passport::Passport;
use crate::recipe::{Method, Recipe};
use hemapatch::engine::{self, EngineError, EngineOptions};
use hemapatch::model::{
    Decision, Evidence, INTENDED_USE, MANIFEST, Manifest, Model, ModelError, Network, Outputs, Patch, SCHEMA,
    SlicePreparation, sha256_hex,
};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// File name of the network in a model's folder.
pub const NETWORK: &str = "model.onnx";

/// Why a model cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// libtorch does not give the weights.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// The manifest cannot be put into words.
    #[error("manifest: {0}")]
    Manifest(#[from] toml::ser::Error),
    /// The engine refuses the manifest that was written.
    #[error("the engine refuses the exported model: {0}")]
    Model(#[from] ModelError),
    /// The engine cannot run the network that was written.
    #[error("the engine refuses the exported network: {0}")]
    Engine(#[from] EngineError),
}

/// Writes `folder/model.onnx` and `folder/model.toml`, and has the engine open both.
///
/// # Errors
/// [`ExportError`].
pub fn export(
    net: &ResNet18,
    recipe: &Recipe,
    choices: &Choices,
    passport: &Passport,
    folder: &Path,
) -> Result<Model, ExportError> {
    let labels = recipe.method.classes().iter().map(|class| class.name().to_owned()).collect();
    let outputs = match recipe.method {
        Method::Multilabel => Outputs::Sigmoid,
        Method::Single | Method::Mil => Outputs::Softmax,
    };
    let face = Face { outputs, labels, encode: &|notes| onnx::encode(net, notes) };
    write_model(face, recipe, choices, passport, folder)
}

/// The same for a network of bags.
///
/// # Errors
/// [`ExportError`].
pub fn export_bags(
    net: &AttentionNet,
    recipe: &Recipe,
    choices: &Choices,
    passport: &Passport,
    folder: &Path,
) -> Result<Model, ExportError> {
    let labels = recipe.mil.labels.clone();
    let face =
        Face { outputs: Outputs::Attention, labels, encode: &|notes| onnx::encode_attention(net, notes) };
    write_model(face, recipe, choices, passport, folder)
}

/// Writes a network as ONNX, with notes.
type Encode<'a> = dyn Fn(&[(&str, &str)]) -> Result<Vec<u8>, tch::TchError> + 'a;

/// What tells the kinds of networks apart.
struct Face<'a> {
    outputs: Outputs,
    labels: Vec<String>,
    encode: &'a Encode<'a>,
}

fn write_model(
    Face { outputs, labels, encode }: Face<'_>,
    recipe: &Recipe,
    choices: &Choices,
    passport: &Passport,
    folder: &Path,
) -> Result<Model, ExportError> {
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(|source| ExportError::Io { path, source })
    };
    fs::create_dir_all(folder).map_err(|source| ExportError::Io { path: folder.into(), source })?;
    let views: Vec<String> = recipe
        .views
        .iter()
        .map(|view| format!("scale {} slice {:+}", view.scale(), view.slice_offset()))
        .collect();
    let notes = [
        ("model", recipe.name.as_str()),
        ("version", &passport.version),
        ("labels", &labels.join(", ")),
        ("views", &views.join(", ")),
        ("input", "gray levels 0 to 255"),
        ("intended_use", INTENDED_USE),
        ("license", &passport.license),
    ];
    let network = encode(&notes)?;
    let size = recipe.patch_size.pixels();
    let manifest = Manifest {
        schema: SCHEMA.into(),
        name: recipe.name.clone(),
        version: passport.version.clone(),
        description: passport.description.clone(),
        intended_use: INTENDED_USE.into(),
        license: passport.license.clone(),
        training_data: passport.training_data.clone(),
        network: Network {
            file: NETWORK.into(),
            sha256: sha256_hex(&network),
            input: [recipe.views.len(), size, size],
            outputs,
            labels,
            int8: None,
        },
        patch: Patch {
            size: recipe.patch_size,
            views: recipe.views.clone(),
            spacing_mm: passport.spacing_mm,
            slice_mm: passport.slice_mm,
        },
        preparation: SlicePreparation { window_hu: passport.window_hu, steps: recipe.preparation },
        evidence: Evidence {
            temperature: choices.temperature,
            patch_probability: choices.patch_probability,
            pooling: recipe.pooling,
            slice: choices.slice,
            study: choices.study,
        },
        decision: Decision {
            rule: choices.rule(),
            study_probability: choices.study_probability,
            slice_probability: choices.slice_probability,
            operating_point: choices.operating_point.clone(),
        },
    };
    write(NETWORK, &network)?;
    write(MANIFEST, toml::to_string_pretty(&manifest)?.as_bytes())?;
    let model = Model::open(folder)?;
    engine::load(&model, EngineOptions { threads: NonZeroUsize::MIN })?;
    Ok(model)
}
