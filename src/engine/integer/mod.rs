//! The network in integers, as `docs/quantization.md` defines it to the last bit.
//!
//! What is recognised in tract's typed model becomes one operator, which is `fused`'s business. A file of another form is
//! left to tract as it is.

mod description;
mod equations;
mod levels;
mod recognise;

use super::fused::{self, Found, FusedEngine};
use super::{EngineError, Precision};
use crate::model::Model;
use crate::simd::Kernels;
use description::Description;
use tract_core::prelude::*;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::Framework;

/// Looks for the network in a file.
///
/// # Errors
/// [`EngineError::Load`] where the numbers are not those of the document, [`EngineError::Shape`] where the outputs
/// are not those of the manifest.
pub(super) fn load(file: &[u8], model: &Model, kernels: Kernels) -> Result<Found, EngineError> {
    let (typed, description) = match read(file, model.manifest().network.input) {
        Ok(read) => read,
        Err(other) => return Ok(Found::Other(format!("{other:#}"))),
    };
    let plan = equations::plan(&description).map_err(|e| EngineError::Load { reason: e.to_string() })?;
    let engine = FusedEngine::new(typed, &plan, Precision::Int8, model, kernels)?;
    Ok(Found::Engine(Box::new(engine)))
}

fn read(file: &[u8], views: [usize; 3]) -> TractResult<(TypedModel, Description)> {
    understand(&levels::onnx().proto_model_for_read(&mut &file[..])?, views)
}

/// tract's typed model, for any number of patches of that shape, and the network that it is.
fn understand(file: &ModelProto, views: [usize; 3]) -> TractResult<(TypedModel, Description)> {
    let model = fused::typed(levels::onnx().model_for_proto_model(file)?, DatumType::U8, views)?;
    let description = recognise::recognise(&model)?;
    Ok((model, description))
}

#[cfg(test)]
mod tests;
