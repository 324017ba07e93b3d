//! A network file through tract as it is, with the batch size fixed: what [`integer`](super::integer) and
//! [`float`](super::float) do not know, or have no kernels for.

use super::{Engine, EngineError, Precision, resized};
use crate::model::Model;
use crate::patch::Patches;
use crate::simd::Level;
use ndarray::Array2;
use tract_core::prelude::*;
use tract_onnx::prelude::{Framework, InferenceModelExt};

/// Patches of one run. tract plans for a fixed shape; 32 fills its matrix kernels and wastes little on
/// the last, partial batch.
const BATCH: usize = 32;

pub(super) struct TractEngine {
    state: TypedSimpleState,
    shape: [usize; 4],
    outputs: usize,
    precision: Precision,
    /// Why it is tract that runs it.
    note: String,
}

impl TractEngine {
    /// Makes tract ready for a file that takes gray levels as f32, or as u8 where it is in integers.
    ///
    /// # Errors
    /// [`EngineError::Load`] and [`EngineError::Shape`].
    pub(super) fn load(
        file: &[u8],
        precision: Precision,
        model: &Model,
        note: String,
    ) -> Result<Self, EngineError> {
        let [views, rows, columns] = model.manifest().network.input;
        let shape = [BATCH, views, rows, columns];
        let (labels, outputs) = (model.manifest().network.labels.len(), model.outputs());
        let load = |e: TractError| EngineError::Load { reason: format!("{e:#}") };
        let plan = plan(file, precision, shape).map_err(load)?;
        let found = plan.model().output_fact(0).map(|fact| fact.shape.as_concrete().map(<[usize]>::to_vec));
        let found = found.ok().flatten();
        if found.as_deref() != Some(&[BATCH, outputs]) {
            let found = found.map_or_else(|| "no fixed shape".into(), |shape| format!("{shape:?}"));
            return Err(EngineError::Shape { found, batch: BATCH, labels, outputs });
        }
        let state = plan.spawn().map_err(load)?;
        Ok(Self { state, shape, outputs, precision, note })
    }

    fn run_batch(&mut self, patches: &[u8], logits: &mut [f32]) -> TractResult<()> {
        let output = self.state.run(tvec!(batch(patches, self.precision, &self.shape)?.into()))?;
        logits.copy_from_slice(&output[0].try_as_plain_ram()?.as_slice::<f32>()?[..logits.len()]);
        Ok(())
    }
}

fn plan(file: &[u8], precision: Precision, shape: [usize; 4]) -> TractResult<Arc<TypedRunnableModel>> {
    let input = match precision {
        Precision::Int8 => u8::fact(shape),
        Precision::F32 => f32::fact(shape),
    };
    tract_onnx::onnx()
        .model_for_read(&mut &file[..])?
        .with_input_fact(0, input.into())?
        .into_optimized()?
        .into_runnable()
}

/// One batch of gray levels, filled up with zeros.
fn batch(patches: &[u8], precision: Precision, shape: &[usize]) -> TractResult<Tensor> {
    let mut input = Tensor::zero::<u8>(shape)?;
    input.try_as_plain_ram_mut()?.as_slice_mut::<u8>()?[..patches.len()].copy_from_slice(patches);
    match precision {
        Precision::Int8 => Ok(input),
        Precision::F32 => Ok(input.cast_to::<f32>()?.into_owned()),
    }
}

impl Engine for TractEngine {
    fn run(&mut self, patches: &Patches, logits: &mut Array2<f32>) -> Result<(), EngineError> {
        let length = patches.length();
        let logits = resized(logits, [patches.unique().len() / length, self.outputs]);
        let batches = patches.unique().chunks(BATCH * length).zip(logits.chunks_mut(BATCH * self.outputs));
        for (patches, logits) in batches {
            self.run_batch(patches, logits).map_err(|e| EngineError::Run { reason: format!("{e:#}") })?;
        }
        Ok(())
    }

    fn another(&self) -> Result<Box<dyn Engine>, EngineError> {
        let state = self.state.plan().spawn();
        let state = state.map_err(|e| EngineError::Load { reason: format!("{e:#}") })?;
        let Self { shape, outputs, precision, ref note, .. } = *self;
        Ok(Box::new(Self { state, shape, outputs, precision, note: note.clone() }))
    }

    fn name(&self) -> &'static str {
        match self.precision {
            Precision::Int8 => "tract int8",
            Precision::F32 => "tract f32",
        }
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn level(&self) -> Option<Level> {
        None
    }

    fn note(&self) -> Option<&str> {
        Some(&self.note)
    }
}
