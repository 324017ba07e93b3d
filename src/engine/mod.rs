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
    /// `logits` becomes `[unique patches, labels]`; what it held before does not matter.
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
    /// The network's output is not one logit for each label of the manifest.
    #[error("the network gives {found} for a batch of {batch}, the manifest has {labels} labels")]
    Shape {
        /// Its output shape.
        found: String,
        /// The batch it was asked for.
        batch: usize,
        /// Labels of the manifest.
        labels: usize,
    },
    /// It failed while running.
    #[error("the network failed: {reason}")]
    Run {
        /// The inference library's words.
        reason: String,
    },
}

/// Loads a model's network.
///
/// # Errors
/// [`EngineError::Load`] and [`EngineError::Shape`].
pub fn load(model: &Model, options: EngineOptions) -> Result<Box<dyn Engine>, EngineError> {
    Ok(Box::new(tract::TractEngine::load(model, options)?))
}
