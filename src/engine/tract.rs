//! A network file through tract as it is, with the batch size fixed: what [`integer`](super::integer) and
//! [`float`](super::float) do not know, or have no kernels for.

use super::threads::{Work, spread};
use super::{Engine, EngineError, Precision};
use crate::model::Model;
use crate::patch::Patches;
use crate::simd::Level;
use ndarray::Array2;
use std::num::NonZeroUsize;
use tract_core::prelude::*;
use tract_onnx::prelude::{Framework, InferenceModelExt};

/// Patches of one run. tract plans for a fixed shape; 32 fills its matrix kernels and wastes little on
/// the last, partial batch.
const BATCH: usize = 32;

pub(super) struct TractEngine {
    /// One a thread.
    workers: Vec<TypedSimpleState>,
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
        threads: NonZeroUsize,
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
        let workers = (0..threads.get()).map(|_| plan.spawn()).collect::<TractResult<_>>().map_err(load)?;
        Ok(Self { workers, shape, outputs, precision, note })
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
        let (shape, outputs, precision, length) =
            (self.shape, self.outputs, self.precision, patches.length());
        let work = Work { patches: patches.unique(), length, outputs, batch: BATCH };
        spread(&mut self.workers, work, logits, |worker, patches, logits| {
            let output = worker.run(tvec!(batch(patches, precision, &shape)?.into()))?;
            logits.copy_from_slice(&output[0].try_as_plain_ram()?.as_slice::<f32>()?[..logits.len()]);
            Ok(())
        })
    }

    fn another(&self) -> Result<Box<dyn Engine>, EngineError> {
        let worker = self.workers[0].plan().spawn();
        let worker = worker.map_err(|e| EngineError::Load { reason: format!("{e:#}") })?;
        Ok(Box::new(Self {
            workers: vec![worker],
            shape: self.shape,
            outputs: self.outputs,
            precision: self.precision,
            note: self.note.clone(),
        }))
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
