//! Engines: a bag of patches in, logits out. The only folder that names an inference library.
//!
//! Callers hold an [`Engine`] and do not know which; [`load`] chooses.

mod tract;

use crate::model::Model;
use crate::patch::Patches;
use ndarray::Array2;

/// Runs a network over patches.
pub trait Engine: Send {
    /// Scores the unique patches of a slice.
    ///
    /// # Shape
    /// `logits` becomes `[unique patches, outputs]`; what it held before does not matter.
    ///
    /// # Errors
    /// [`EngineError::Run`] where the network fails, which no valid model does.
    fn run(&mut self, patches: &Patches, logits: &mut Array2<f32>) -> Result<(), EngineError>;

    /// Which engine this is, for the report's trace.
    fn name(&self) -> &'static str;
}

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// Threads that patches are spread over.
    pub threads: std::num::NonZeroUsize,
}

/// Why a network cannot be loaded (exit code 6) or run (exit code 1).
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Not ONNX, or with an operator that the engine lacks.
    #[error("the network cannot be loaded: {reason}")]
    Load {
        /// The inference library's words.
        reason: String,
    },
    /// The network's output is not what the labels of the manifest ask for.
    #[error("the network gives {found} for a batch of {batch}, the manifest has {labels} labels{}", attention(*.labels, *.outputs))]
    Shape {
        /// Its output shape.
        found: String,
        /// The batch it was asked for.
        batch: usize,
        /// Labels of the manifest.
        labels: usize,
        /// Outputs that they ask for.
        outputs: usize,
    },
    /// It gave an infinity or no number at all: no verdict can rest on that.
    #[error("the network gives patch {patch} an output of {value}")]
    NotFinite {
        /// Which of the unique patches.
        patch: usize,
        /// What it gave.
        value: f32,
    },
    /// It failed while running.
    #[error("the network failed: {reason}")]
    Run {
        /// The inference library's words.
        reason: String,
    },
}

fn attention(labels: usize, outputs: usize) -> &'static str {
    if labels == outputs { "" } else { " behind the attention logit" }
}

/// Whether all outputs are numbers. A maximum over them passes over those that are not, so that a broken network
/// would find nothing, and say so.
///
/// # Errors
/// [`EngineError::NotFinite`], with the first that is not.
pub fn check_finite(logits: &Array2<f32>) -> Result<(), EngineError> {
    match logits.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((patch, _), &value)) => Err(EngineError::NotFinite { patch, value }),
        None => Ok(()),
    }
}

/// Loads a model's network.
///
/// # Errors
/// [`EngineError::Load`] and [`EngineError::Shape`].
pub fn load(model: &Model, options: EngineOptions) -> Result<Box<dyn Engine>, EngineError> {
    Ok(Box::new(tract::TractEngine::load(model, options)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_that_is_no_number_is_found() {
        let mut logits = Array2::zeros((3, 4));
        assert!(check_finite(&logits).is_ok());
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            logits[[1, 2]] = value;
            assert!(matches!(check_finite(&logits), Err(EngineError::NotFinite { patch: 1, .. })));
        }
    }
}
