//! Makes a trained network one of integers: calibrates on training patients, compares on
//! validation patients, writes the best. The scheme is docs/quantization.md.

pub mod calibrate;
pub mod compare;
pub mod network;
pub mod qdq;
pub mod reference;
pub mod sample;
pub mod scheme;

use crate::export::ExportError;
use crate::fold::Folded;
use crate::net::ResNet18;
use crate::recipe::Recipe;
use crate::shard::Shard;
use crate::split::{Side, Split};
use calibrate::{Method, Observed};
use compare::{Closeness, Comparison};
use hemapatch::engine::{self, EngineOptions};
use hemapatch::model::{INTENDED_USE, Int8, MANIFEST, Manifest, Model, ModelError, sha256_hex};
use indicatif::ProgressBar;
use network::QuantNet;
use reference::Reference;
use sample::{Sample, Stratum};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// File name of the quantized network in a model's folder.
pub const NETWORK: &str = "model.int8.onnx";

/// Least share of patches whose largest logit must be that of the f32 network.
pub const AGREEMENT_BAR: f64 = 0.995;

/// How far the slice AUC may be from that of the f32 network.
pub const SLICE_AUC_BAR: f64 = 0.003;

/// Why a network cannot be quantized.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// Nothing to calibrate on.
    #[error("the training patients have no patch to calibrate on")]
    NoPatches,
    /// The model that the quantized network belongs to cannot be opened.
    #[error("run export first: {0}")]
    Model(#[from] ModelError),
    /// The model's folder cannot be written, or what was written is not a model.
    #[error(transparent)]
    Export(#[from] ExportError),
}

/// `quantization.json`: what the choice among the calibrations rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    /// Calibration's patches, all of training patients.
    pub sample: Vec<Stratum>,
    /// The calibrations on validation patients.
    pub comparison: Comparison,
    /// The best of them.
    pub chosen: Closeness,
    /// Whether it is within [`AGREEMENT_BAR`] and [`SLICE_AUC_BAR`].
    pub within_bars: bool,
    /// Scales of the activations, in the order of the forward pass.
    pub scales: Vec<f32>,
}

/// The chosen network and why.
pub struct Quantized {
    /// The network.
    pub net: QuantNet,
    /// Why.
    pub quantization: Quantization,
}

/// Calibrates by every method on training patients and chooses by validation patients: of those
/// within the bars, or of all if none is, the one with the smallest mean error of the logits.
/// Shares of patches and AUCs say whether it is good enough, but differ by chance among the good.
///
/// # Errors
/// [`QuantizeError`].
pub fn quantize(
    net: &ResNet18,
    recipe: &Recipe,
    shard: &Shard,
    split: &Split,
    progress: &ProgressBar,
) -> Result<Quantized, QuantizeError> {
    let sample = Sample::draw(net, recipe, shard.clone(), split)?;
    let folded = Folded::of(net);
    let observed = Observed::of(&folded, &sample.gray)?;
    let mut candidates = Vec::new();
    for method in Method::ALL {
        candidates.push((method, Reference::new(&QuantNet::of(&folded, &observed.scales(method))?)));
    }
    let comparison = compare::compare(net, &candidates, recipe, shard, (split, Side::Validation), progress)?;
    let within_bars = |found: &Closeness| {
        let auc_is_near = match (found.slice_auc, comparison.slice_auc) {
            (Some(found), Some(expected)) => (found - expected).abs() <= SLICE_AUC_BAR,
            // Labelled patches have no slices, hence no AUC to lose.
            (None, None) => true,
            _ => false,
        };
        found.argmax_agreement >= AGREEMENT_BAR && auc_is_near
    };
    let order = |a: &Closeness, b: &Closeness| {
        within_bars(b).cmp(&within_bars(a)).then(a.logit_error.total_cmp(&b.logit_error))
    };
    let chosen = comparison.methods.iter().copied().min_by(order).ok_or(QuantizeError::NoPatches)?;
    let within_bars = within_bars(&chosen);
    let scales = observed.scales(chosen.method);
    Ok(Quantized {
        net: QuantNet::of(&folded, &scales)?,
        quantization: Quantization { sample: sample.strata, comparison, chosen, within_bars, scales },
    })
}

/// Writes the quantized network into the exported model's `folder` and its line into the
/// manifest, and has the engine open both.
///
/// # Errors
/// [`QuantizeError`].
pub fn write(quantized: &Quantized, folder: &Path) -> Result<Model, QuantizeError> {
    let mut manifest = Manifest::read(folder)?;
    let closeness = &quantized.quantization.chosen;
    let notes = [
        ("model", manifest.name.as_str()),
        ("version", &manifest.version),
        ("classes", &manifest.network.labels.join(", ")),
        ("input", "gray levels 0 to 255"),
        ("calibration", closeness.method.name()),
        ("intended_use", INTENDED_USE),
        ("license", &manifest.license),
    ];
    let network = qdq::encode(&quantized.net, &notes);
    manifest.network.int8 = Some(Int8 {
        file: NETWORK.into(),
        sha256: sha256_hex(&network),
        calibration: closeness.method.name().into(),
        argmax_agreement: closeness.argmax_agreement,
    });
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(|source| ExportError::Io { path, source })
    };
    put(NETWORK, &network)?;
    put(MANIFEST, toml::to_string_pretty(&manifest).map_err(ExportError::Manifest)?.as_bytes())?;
    let model = Model::open(folder)?;
    engine::load(&model, EngineOptions::default()).map_err(ExportError::Engine)?;
    Ok(model)
}

impl Quantization {
    /// The comparison as a Markdown table, and what was chosen.
    #[must_use]
    pub fn markdown(&self) -> String {
        let Comparison { patches, slices, slice_auc, methods, .. } = &self.comparison;
        let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.5}"));
        let percent =
            |value: Option<f64>| value.map_or("-".into(), |value| format!("{:.3} %", 100.0 * value));
        let strata: Vec<String> =
            self.sample.iter().map(|stratum| format!("{} {}", stratum.patches, stratum.kind)).collect();
        let mut text = format!(
            "Calibrated on training patients' patches ({}), compared on validation patients: {patches} patches, \
             {slices} slices; slice AUC in f32 {}.\n\n\
             | calibration | same class | same, of hematoma | logit error: root mean square, largest | slice AUC |\n\
             |---|---|---|---|---|\n",
            strata.join(", "),
            number(*slice_auc),
        );
        for line in methods {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.4}, {:.2} | {} |",
                line.method.name(),
                percent(Some(line.argmax_agreement)),
                percent(line.hematoma_agreement),
                line.logit_error,
                line.logit_error_largest,
                number(line.slice_auc)
            );
        }
        let verdict = if self.within_bars { "within" } else { "NOT within" };
        let _ = writeln!(
            text,
            "\nChosen: {}, {verdict} the bars (same class {:.1} %, slice AUC {SLICE_AUC_BAR}).",
            self.chosen.method.name(),
            100.0 * AGREEMENT_BAR
        );
        text
    }
}
