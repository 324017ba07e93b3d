//! Engines: a bag of patches in, logits out. The only folder that names an inference library.
//!
//! Callers hold an [`Engine`] and do not know which; [`load`] chooses.

#[cfg(test)]
mod drawn;
mod float;
mod fused;
mod integer;
mod remember;
mod tract;

use crate::model::{Int8, Model};
use crate::patch::Patches;
use crate::simd::{Kernels, Level};
use fused::Found;
use ndarray::Array2;
use remember::Remembering;
use std::fmt;
use std::num::NonZeroUsize;
use tract::TractEngine;

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

    /// One more of the same, for another thread: weights are shared, buffers are not.
    ///
    /// # Errors
    /// [`EngineError::Load`], where the inference library cannot.
    fn another(&self) -> Result<Box<dyn Engine>, EngineError>;

    /// Which engine this is, for the report's trace.
    fn name(&self) -> &'static str;

    /// Which of the model's networks it runs.
    fn precision(&self) -> Precision;

    /// The instruction set of our kernels; `None` where the network runs in an inference library's.
    fn level(&self) -> Option<Level>;

    /// What whoever cares for speed should know.
    fn note(&self) -> Option<&str> {
        None
    }

    /// Runs the unique patches on one thread and says what each layer took, in order; `None` where an inference
    /// library runs the network, whose layers are its own.
    fn profile(&mut self, _patches: &Patches) -> Option<Vec<LayerTime>> {
        None
    }
}

/// What a layer of a network has to do, and how long it took.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerTime {
    /// Its place in the network: `stem`, `block 3, second`.
    pub name: String,
    /// Live multiply-adds of one patch; 0 where it only moves or compares levels.
    pub multiply_adds: u64,
    /// Time for all patches.
    ///
    /// # Units
    /// Seconds.
    pub seconds: f64,
}

/// Which of a model's networks runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The one in integers: [`crate::model::Network::int8`].
    Int8,
    /// The one in 32-bit floating point.
    F32,
}

impl Precision {
    /// Both, as the command line lists them.
    pub const ALL: [Self; 2] = [Self::Int8, Self::F32];

    /// As the command line and the report spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::F32 => "f32",
        }
    }

    /// The hash of the network file that a model has for it; `None` where it has none.
    pub fn sha256(self, model: &Model) -> Option<&str> {
        let network = &model.manifest().network;
        match self {
            Self::Int8 => network.int8.as_ref().map(|Int8 { sha256, .. }| sha256.as_str()),
            Self::F32 => Some(&network.sha256),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How to run. The default suits the model and the processor best.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineOptions {
    /// Which network; `None` for integers where the model has them, which is several times faster.
    pub precision: Option<Precision>,
    /// The instruction set of our kernels; `None` for the best of this processor.
    pub level: Option<Level>,
}

/// Why a network cannot be loaded (exit code 6, or 2 where what was asked for is not to be had) or run (exit code 1).
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
    /// Integers were asked for, and the model has none.
    #[error("the model {model} has no network in integers")]
    NoIntegers {
        /// The model.
        model: String,
    },
    /// A level was asked for that this processor lacks.
    #[error("this processor does not run {level}; it runs {}", names(available))]
    NoLevel {
        /// What was asked for.
        level: Level,
        /// What there is.
        available: Vec<Level>,
    },
    /// A level was asked for, and the network does not run in our kernels.
    #[error("{level} was asked for, but the network runs in {engine}, which chooses for itself")]
    NoKernels {
        /// What was asked for.
        level: Level,
        /// What runs it.
        engine: &'static str,
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

fn names(levels: &[Level]) -> String {
    levels.iter().map(|level| level.name()).collect::<Vec<_>>().join(", ")
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

/// Loads the network of a model that `options` ask for. It runs on the thread that calls it; for more,
/// [`Engine::another`].
///
/// # Errors
/// [`EngineError::Load`] and [`EngineError::Shape`] for the model's mistakes, [`EngineError::NoIntegers`],
/// [`EngineError::NoLevel`] and [`EngineError::NoKernels`] for the caller's.
pub fn load(model: &Model, options: EngineOptions) -> Result<Box<dyn Engine>, EngineError> {
    let EngineOptions { precision, level, .. } = options;
    let integers = model.int8().filter(|_| precision != Some(Precision::F32));
    let engine = match (integers, precision) {
        (Some(file), _) => load_integers(file, model, options)?,
        (None, Some(Precision::Int8)) => {
            return Err(EngineError::NoIntegers { model: model.manifest().name.clone() });
        }
        (None, _) => load_floats(model, options)?,
    };
    match level.filter(|_| engine.level().is_none()) {
        Some(level) => Err(EngineError::NoKernels { level, engine: engine.name() }),
        None => Ok(engine),
    }
}

/// The logits of so many patches and outputs, whatever was there before.
fn resized(logits: &mut Array2<f32>, shape: [usize; 2]) -> &mut [f32] {
    if logits.dim() != shape.into() {
        *logits = Array2::zeros(shape);
    }
    logits.as_slice_mut().expect("made in standard layout")
}

/// As many engines as threads, the given one among them.
///
/// # Errors
/// Those of [`Engine::another`].
pub fn on_threads(
    engine: Box<dyn Engine>,
    threads: NonZeroUsize,
) -> Result<Vec<Box<dyn Engine>>, EngineError> {
    let others = (1..threads.get()).map(|_| engine.another()).collect::<Result<Vec<_>, _>>()?;
    Ok(std::iter::once(engine).chain(others).collect())
}

/// The same engine, which answers patches that it has seen before from memory: about 10 KiB a slice.
pub fn remembering(engine: Box<dyn Engine>) -> Box<dyn Engine> {
    Box::new(Remembering::new(engine))
}

fn load_integers(file: &[u8], model: &Model, options: EngineOptions) -> Result<Box<dyn Engine>, EngineError> {
    match integer::load(file, model, kernels(options.level)?)? {
        Found::Engine(engine) => Ok(engine),
        Found::Other(reason) => {
            let tract = TractEngine::load(file, Precision::Int8, model, reason)?;
            Ok(Box::new(tract))
        }
    }
}

fn load_floats(model: &Model, options: EngineOptions) -> Result<Box<dyn Engine>, EngineError> {
    let (file, kernels) = (model.network(), kernels(options.level)?);
    let found = match kernels.floats() {
        Some(kernels) => float::load(file, model, kernels)?,
        None => Found::Other(format!("{} has no fused multiply-add", kernels.level())),
    };
    match found {
        Found::Engine(engine) => Ok(engine),
        Found::Other(reason) => {
            let tract = TractEngine::load(file, Precision::F32, model, reason)?;
            Ok(Box::new(tract))
        }
    }
}

fn kernels(level: Option<Level>) -> Result<Kernels, EngineError> {
    let Some(level) = level else { return Ok(Kernels::best()) };
    Kernels::of(level).ok_or_else(|| EngineError::NoLevel { level, available: Level::available() })
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
