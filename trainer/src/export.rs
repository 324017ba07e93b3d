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
    let manifest = manifest(outputs, labels, recipe, choices, passport);
    let network = encode(net, &manifest)?;
    write_model(manifest, &network, folder)
}

/// A network as ONNX, with what a manifest says of it.
fn encode(net: &ResNet18, manifest: &Manifest) -> Result<Vec<u8>, tch::TchError> {
    onnx::encode(net, &as_pairs(&notes(manifest)))
}

/// Whether a manifest's network is this one.
///
/// # Errors
/// When libtorch does not give the weights.
pub fn is_of(manifest: &Manifest, net: &ResNet18) -> Result<bool, tch::TchError> {
    Ok(sha256_hex(&encode(net, manifest)?) == manifest.network.sha256)
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
    let manifest = manifest(Outputs::Attention, recipe.mil.labels.clone(), recipe, choices, passport);
    let network = onnx::encode_attention(net, &as_pairs(&notes(&manifest)))?;
    write_model(manifest, &network, folder)
}

/// What an ONNX file says of itself.
fn notes(manifest: &Manifest) -> [(&'static str, String); 7] {
    let views: Vec<String> = manifest
        .patch
        .views
        .iter()
        .map(|view| format!("scale {} slice {:+}", view.scale(), view.slice_offset()))
        .collect();
    [
        ("model", manifest.name.clone()),
        ("version", manifest.version.clone()),
        ("labels", manifest.network.labels.join(", ")),
        ("views", views.join(", ")),
        ("input", "gray levels 0 to 255".into()),
        ("intended_use", INTENDED_USE.into()),
        ("license", manifest.license.clone()),
    ]
}

fn as_pairs<'a>(notes: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    notes.iter().map(|(key, value)| (*key, value.as_str())).collect()
}

/// The manifest of a network that is not written yet.
fn manifest(
    outputs: Outputs,
    labels: Vec<String>,
    recipe: &Recipe,
    choices: &Choices,
    passport: &Passport,
) -> Manifest {
    let size = recipe.patch_size.pixels();
    Manifest {
        schema: SCHEMA.into(),
        name: recipe.name.clone(),
        version: passport.version.clone(),
        description: passport.description.clone(),
        intended_use: INTENDED_USE.into(),
        license: passport.license.clone(),
        training_data: passport.training_data.clone(),
        network: Network {
            file: NETWORK.into(),
            sha256: String::new(),
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
    }
}

fn write_model(mut manifest: Manifest, network: &[u8], folder: &Path) -> Result<Model, ExportError> {
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(|source| ExportError::Io { path, source })
    };
    manifest.network.sha256 = sha256_hex(network);
    fs::create_dir_all(folder).map_err(|source| ExportError::Io { path: folder.into(), source })?;
    write(NETWORK, network)?;
    write(MANIFEST, toml::to_string_pretty(&manifest)?.as_bytes())?;
    let model = Model::open(folder)?;
    engine::load(&model, EngineOptions::default())?;
    Ok(model)
}
