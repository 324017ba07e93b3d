//! A residual network as one operator on the kernels of `simd`, in either arithmetic.
//!
//! tract reads the file, knows shapes and plans. What follows from the file's numbers is left to `integer` and `float`, which
//! recognise their network in tract's typed model and hand over a [`Plan`] of it.

mod gray;
mod layer;
pub(super) mod network;
mod operator;
pub(super) mod plan;
pub(super) mod reader;
mod taps;
mod window;

use super::threads::{Work, spread};
use super::{Engine, EngineError, LayerTime, Precision};
use crate::model::Model;
use crate::patch::Patches;
use crate::simd::{Kernels, Level, Numbers};
use ndarray::Array2;
use network::Network;
pub(super) use operator::FusedNetwork;
pub(super) use plan::Plan;
use std::num::NonZeroUsize;
use tract_core::prelude::*;
use tract_onnx::prelude::{InferenceModel, InferenceModelExt};
pub(super) use window::Window;

/// What came of looking for a network in a file.
pub(super) enum Found {
    /// It is one.
    Engine(Box<dyn Engine>),
    /// It is another network, or no network at all: the first thing that is otherwise.
    Other(String),
}

/// A plan whose one operator is the whole network.
pub(super) struct FusedEngine<N: Numbers> {
    /// One a thread, with its buffers.
    workers: Vec<TypedSimpleState>,
    /// The one that the plan runs.
    network: Arc<Network<N>>,
    views: [usize; 3],
    precision: Precision,
    level: Level,
}

impl<N: Numbers> FusedEngine<N> {
    /// Packs the plan that was made of a file's typed model.
    ///
    /// # Errors
    /// [`EngineError::Load`] where tract cannot run it, [`EngineError::Shape`] where its outputs are not those of the
    /// manifest.
    pub fn new(
        typed: TypedModel,
        plan: &Plan<N>,
        precision: Precision,
        model: &Model,
        kernels: Kernels<N>,
        threads: NonZeroUsize,
    ) -> Result<Self, EngineError> {
        let network = Network::new(plan, kernels);
        let (labels, outputs) = (model.manifest().network.labels.len(), network.outputs());
        if outputs != model.outputs() {
            let found = format!("{outputs} outputs");
            return Err(EngineError::Shape { found, batch: 1, labels, outputs: model.outputs() });
        }
        let network = Arc::new(network);
        let plan = FusedNetwork::replace(typed, Arc::clone(&network)).and_then(TypedModel::into_runnable);
        let workers = plan.and_then(|plan| (0..threads.get()).map(|_| plan.spawn()).collect());
        let workers = workers.map_err(|e| EngineError::Load { reason: format!("{e:#}") })?;
        let (views, level) = (model.manifest().network.input, kernels.level());
        Ok(Self { workers, network, views, precision, level })
    }

    /// Patches of a batch: as many batches for each thread, all of one size but for the last, and whole tiles where it
    /// matters.
    fn batch(&self, patches: &Patches) -> usize {
        let (count, threads) = (patches.unique().len() / patches.length(), self.workers.len());
        let most = self.network.batch();
        let turns = count.div_ceil(threads * most).max(1);
        count.div_ceil(turns * threads).next_multiple_of(HIGHEST_TILE).clamp(1, most)
    }
}

/// Patches of the highest tile of any level: AMX takes as long for one of a single row.
const HIGHEST_TILE: usize = 32;

/// tract's typed model, for any number of patches of that shape whose numbers are of that kind.
pub(super) fn typed(model: InferenceModel, kind: DatumType, views: [usize; 3]) -> TractResult<TypedModel> {
    let batch = model.symbols.sym("N");
    let mut shape = vec![batch.to_dim()];
    shape.extend(views.map(|extent| extent.to_dim()));
    model.with_input_fact(0, kind.fact(shape).into())?.into_typed()
}

impl<N: Numbers> Engine for FusedEngine<N> {
    fn run(&mut self, patches: &Patches, logits: &mut Array2<f32>) -> Result<(), EngineError> {
        let [views, rows, columns] = self.views;
        let length = patches.length();
        let work = Work {
            patches: patches.unique(),
            length,
            outputs: self.network.outputs(),
            batch: self.batch(patches),
        };
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
        let Self { ref network, views, precision, level, .. } = *self;
        Ok(Box::new(Self { workers: vec![worker], network: Arc::clone(network), views, precision, level }))
    }

    fn name(&self) -> &'static str {
        match self.precision {
            Precision::Int8 => "hemapatch int8",
            Precision::F32 => "hemapatch f32",
        }
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn level(&self) -> Option<Level> {
        Some(self.level)
    }

    fn profile(&mut self, patches: &Patches) -> Option<Vec<LayerTime>> {
        Some(self.network.profile(patches.unique()))
    }
}
