//! The network in floating point, as plain ONNX has it.
//!
//! What is recognised in tract's typed model becomes one operator, which is `fused`'s business. A file of another form is
//! left to tract as it is.

mod recognise;

use super::fused::{self, Found, FusedEngine, Plan};
use super::{EngineError, Precision};
use crate::model::Model;
use crate::simd::{Floats, Kernels};
use tract_core::prelude::*;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::Framework;

/// Looks for the network in a file.
///
/// # Errors
/// [`EngineError::Shape`] where the outputs are not those of the manifest.
pub(super) fn load(file: &[u8], model: &Model, kernels: Kernels<Floats>) -> Result<Found, EngineError> {
    let (typed, plan) = match read(file, model.manifest().network.input) {
        Ok(read) => read,
        Err(other) => return Ok(Found::Other(format!("{other:#}"))),
    };
    let engine = FusedEngine::new(typed, &plan, Precision::F32, model, kernels)?;
    Ok(Found::Engine(Box::new(engine)))
}

fn read(file: &[u8], views: [usize; 3]) -> TractResult<(TypedModel, Plan<Floats>)> {
    understand(&tract_onnx::onnx().proto_model_for_read(&mut &file[..])?, views)
}

/// tract's typed model, for any number of patches of that shape, and the network that it is.
fn understand(file: &ModelProto, views: [usize; 3]) -> TractResult<(TypedModel, Plan<Floats>)> {
    let model = fused::typed(tract_onnx::onnx().model_for_proto_model(file)?, DatumType::F32, views)?;
    let plan = recognise::recognise(&model)?;
    Ok((model, plan))
}

#[cfg(test)]
mod tests;
