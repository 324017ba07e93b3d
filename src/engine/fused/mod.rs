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

use super::{Engine, EngineError, LayerTime, Precision, resized};
use crate::model::Model;
use crate::patch::Patches;
use crate::simd::{Kernels, Level, Numbers};
use ndarray::Array2;
use network::Network;
pub(super) use operator::FusedNetwork;
pub(super) use plan::Plan;
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
    /// Has the operator's buffers.
    state: TypedSimpleState,
    /// The batch, kept from one to the next.
    levels: Arc<Tensor>,
    /// The one that the plan runs.
    network: Arc<Network<N>>,
    precision: Precision,
    level: Level,
}

impl<N: Numbers<Level: Datum>> FusedEngine<N> {
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
    ) -> Result<Self, EngineError> {
        let network = Network::new(plan, kernels);
        let (labels, outputs) = (model.manifest().network.labels.len(), network.outputs());
        if outputs != model.outputs() {
            let found = format!("{outputs} outputs");
            return Err(EngineError::Shape { found, batch: 1, labels, outputs: model.outputs() });
        }
        let network = Arc::new(network);
        FusedNetwork::replace(typed, Arc::clone(&network))
            .and_then(TypedModel::into_runnable)
            .and_then(|plan| Self::of(plan.spawn()?, network, precision, kernels.level()))
            .map_err(not_loaded)
    }

    fn of(
        state: TypedSimpleState,
        network: Arc<Network<N>>,
        precision: Precision,
        level: Level,
    ) -> TractResult<Self> {
        let levels = Arc::new(Tensor::zero_dt(N::Level::datum_type(), &[network.batch(), network.stride()])?);
        Ok(Self { state, levels, network, precision, level })
    }

    /// Runs patches in batches.
    ///
    /// # Shape
    /// `patches` is `[n, views, rows, columns]`, `logits` is `[n, outputs]`.
    fn run_all(&mut self, patches: &[u8], length: usize, logits: &mut [f32]) -> TractResult<()> {
        let (batch, outputs) = (self.network.batch_of(patches.len() / length), self.network.outputs());
        for (patches, logits) in patches.chunks(batch * length).zip(logits.chunks_mut(batch * outputs)) {
            // The plan has let go of it, so this is no copy.
            let levels = Arc::make_mut(&mut self.levels);
            self.network.lay_out(patches, levels.try_as_plain_ram_mut()?.as_slice_mut()?);
            let count = tensor0((patches.len() / length) as i64);
            let output = self.state.run(tvec!(Arc::clone(&self.levels).into_tvalue(), count.into()))?;
            logits.copy_from_slice(&output[0].try_as_plain_ram()?.as_slice()?[..logits.len()]);
        }
        Ok(())
    }
}

fn not_loaded(error: TractError) -> EngineError {
    EngineError::Load { reason: format!("{error:#}") }
}

/// tract's typed model, for any number of patches of that shape whose numbers are of that kind.
pub(super) fn typed(model: InferenceModel, kind: DatumType, views: [usize; 3]) -> TractResult<TypedModel> {
    let batch = model.symbols.sym("N");
    let mut shape = vec![batch.to_dim()];
    shape.extend(views.map(|extent| extent.to_dim()));
    model.with_input_fact(0, kind.fact(shape).into())?.into_typed()
}

impl<N: Numbers<Level: Datum>> Engine for FusedEngine<N> {
    fn run(&mut self, patches: &Patches, logits: &mut Array2<f32>) -> Result<(), EngineError> {
        let count = patches.unique().len() / patches.length();
        self.run_all(patches.unique(), patches.length(), resized(logits, [count, self.network.outputs()]))
            .map_err(|e| EngineError::Run { reason: format!("{e:#}") })
    }

    fn another(&self) -> Result<Box<dyn Engine>, EngineError> {
        let state = self.state.plan().spawn();
        let another =
            state.and_then(|state| Self::of(state, Arc::clone(&self.network), self.precision, self.level));
        Ok(Box::new(another.map_err(not_loaded)?))
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
