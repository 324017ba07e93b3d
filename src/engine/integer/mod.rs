//! The network in integers, as `docs/quantization.md` defines it to the last bit.
//!
//! tract reads the file, knows shapes and plans; the network that is recognised in its typed model becomes one
//! operator there, which runs on the kernels of `simd`. A file of another form is left to tract as it is.

mod description;
mod equations;
mod layer;
mod levels;
mod network;
mod operator;
mod recognise;

use super::threads::{Work, spread};
use super::{Engine, EngineError, LayerTime, Precision};
use crate::model::Model;
use crate::patch::Patches;
use crate::simd::{Kernels, Level};
use description::Description;
use ndarray::Array2;
use network::{BATCH, Network};
use operator::IntegerNetwork;
use std::num::NonZeroUsize;
use tract_core::prelude::*;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{Framework, InferenceModelExt};

/// A plan whose one operator is the whole network.
pub(super) struct IntegerEngine {
    /// One a thread, with its buffers.
    workers: Vec<TypedSimpleState>,
    /// The one that the plan runs.
    network: Arc<Network>,
    views: [usize; 3],
    outputs: usize,
    level: Level,
}

/// What came of looking for the network of `docs/quantization.md` in a file.
pub(super) enum Found {
    /// It is one.
    Engine(IntegerEngine),
    /// It is another network, or no network at all: the first thing that is otherwise.
    Other(String),
}

impl IntegerEngine {
    /// Makes an engine of a file, where it has the form.
    ///
    /// # Errors
    /// [`EngineError::Load`] where it has the form and breaks the equations, [`EngineError::Shape`] where its outputs
    /// are not those of the manifest.
    pub fn load(
        file: &[u8],
        model: &Model,
        kernels: Kernels,
        threads: NonZeroUsize,
    ) -> Result<Found, EngineError> {
        let views = model.manifest().network.input;
        let (typed, description) = match read(file, views) {
            Ok(read) => read,
            Err(other) => return Ok(Found::Other(format!("{other:#}"))),
        };
        let load = |reason| EngineError::Load { reason };
        let network = Network::new(&description, kernels).map_err(|e| load(e.to_string()))?;
        let (labels, outputs) = (model.manifest().network.labels.len(), network.outputs());
        if outputs != model.outputs() {
            let found = format!("{outputs} outputs");
            return Err(EngineError::Shape { found, batch: 1, labels, outputs: model.outputs() });
        }
        let network = Arc::new(network);
        let plan = IntegerNetwork::replace(typed, Arc::clone(&network)).and_then(TypedModel::into_runnable);
        let plan = plan.map_err(|e| load(format!("{e:#}")))?;
        let workers = (0..threads.get()).map(|_| plan.spawn()).collect::<TractResult<_>>();
        let workers = workers.map_err(|e| load(format!("{e:#}")))?;
        Ok(Found::Engine(Self { workers, network, views, outputs, level: kernels.level() }))
    }

    /// Patches of a batch: as many batches for each thread, all of one size.
    fn batch(&self, patches: &Patches) -> usize {
        let (count, threads) = (patches.unique().len() / patches.length(), self.workers.len());
        let turns = count.div_ceil(threads * BATCH).max(1);
        count.div_ceil(turns * threads).max(1)
    }
}

fn read(file: &[u8], views: [usize; 3]) -> TractResult<(TypedModel, Description)> {
    understand(&levels::onnx().proto_model_for_read(&mut &file[..])?, views)
}

/// tract's typed model, for any number of patches of that shape, and the network that it is.
fn understand(file: &ModelProto, views: [usize; 3]) -> TractResult<(TypedModel, Description)> {
    let model = levels::onnx().model_for_proto_model(file)?;
    let batch = model.symbols.sym("N");
    let mut shape = vec![batch.to_dim()];
    shape.extend(views.map(|extent| extent.to_dim()));
    let model = model.with_input_fact(0, u8::fact(shape).into())?.into_typed()?;
    let description = recognise::recognise(&model)?;
    Ok((model, description))
}

impl Engine for IntegerEngine {
    fn run(&mut self, patches: &Patches, logits: &mut Array2<f32>) -> Result<(), EngineError> {
        let [views, rows, columns] = self.views;
        let length = patches.length();
        let work =
            Work { patches: patches.unique(), length, outputs: self.outputs, batch: self.batch(patches) };
        spread(&mut self.workers, work, logits, |worker, patches, logits| {
            let shape = [patches.len() / length, views, rows, columns];
            let output = worker.run(tvec!(Tensor::from_shape(&shape, patches)?.into()))?;
            logits.copy_from_slice(output[0].try_as_plain_ram()?.as_slice::<f32>()?);
            Ok(())
        })
    }

    fn another(&self) -> Result<Box<dyn Engine>, EngineError> {
        let worker = self.workers[0].plan().spawn();
        let worker = worker.map_err(|e| EngineError::Load { reason: format!("{e:#}") })?;
        Ok(Box::new(Self {
            workers: vec![worker],
            network: Arc::clone(&self.network),
            views: self.views,
            outputs: self.outputs,
            level: self.level,
        }))
    }

    fn name(&self) -> &'static str {
        "hemapatch int8"
    }

    fn precision(&self) -> Precision {
        Precision::Int8
    }

    fn level(&self) -> Option<Level> {
        Some(self.level)
    }

    fn profile(&mut self, patches: &Patches) -> Option<Vec<LayerTime>> {
        Some(self.network.profile(patches.unique()))
    }
}

#[cfg(test)]
mod tests;
