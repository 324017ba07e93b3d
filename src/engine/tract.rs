//! The network through tract, in f32, with the batch size fixed.

use super::{Engine, EngineError, EngineOptions};
use crate::model::Model;
use crate::patch::Patches;
use ndarray::Array2;
use std::sync::Arc;
use tract_core::prelude::*;
use tract_onnx::prelude::{Framework, InferenceModelExt};

/// Patches of one run. tract plans for a fixed shape; 32 fills its matrix kernels and wastes little on
/// the last, partial batch.
const BATCH: usize = 32;

pub(super) struct TractEngine {
    plan: Arc<TypedRunnableModel>,
    shape: [usize; 4],
    outputs: usize,
    threads: usize,
}

impl TractEngine {
    pub(super) fn load(model: &Model, options: EngineOptions) -> Result<Self, EngineError> {
        let [views, rows, columns] = model.manifest().network.input;
        let shape = [BATCH, views, rows, columns];
        let (labels, outputs) = (model.manifest().network.labels.len(), model.outputs());
        let plan =
            plan(model.network(), shape).map_err(|e| EngineError::Load { reason: format!("{e:#}") })?;
        let found = plan.model().output_fact(0).map(|fact| fact.shape.as_concrete().map(<[usize]>::to_vec));
        let found = found.ok().flatten();
        if found.as_deref() != Some(&[BATCH, outputs]) {
            let found = found.map_or_else(|| "no fixed shape".into(), |shape| format!("{shape:?}"));
            return Err(EngineError::Shape { found, batch: BATCH, labels, outputs });
        }
        Ok(Self { plan, shape, outputs, threads: options.threads.get() })
    }

    /// Runs whole batches, one after the other; the last is filled up with zeros.
    ///
    /// # Shape
    /// `patches` is `[n, views, size, size]`, `logits` is `[n, outputs]`.
    fn run_batches(&self, patches: &[u8], logits: &mut [f32]) -> TractResult<()> {
        let length: usize = self.shape[1..].iter().product();
        for (patches, logits) in patches.chunks(BATCH * length).zip(logits.chunks_mut(BATCH * self.outputs)) {
            let mut input = Tensor::zero::<f32>(&self.shape)?;
            let mut view = input.to_plain_array_view_mut::<f32>()?;
            for (level, &gray) in view.iter_mut().zip(patches) {
                *level = f32::from(gray);
            }
            let output = self.plan.run(tvec!(input.into()))?;
            for (logit, &value) in logits.iter_mut().zip(output[0].to_plain_array_view::<f32>()?.iter()) {
                *logit = value;
            }
        }
        Ok(())
    }
}

fn plan(network: &[u8], shape: [usize; 4]) -> TractResult<Arc<TypedRunnableModel>> {
    tract_onnx::onnx()
        .model_for_read(&mut &network[..])?
        .with_input_fact(0, f32::fact(shape).into())?
        .into_optimized()?
        .into_runnable()
}

impl Engine for TractEngine {
    fn run(&mut self, patches: &Patches, logits: &mut Array2<f32>) -> Result<(), EngineError> {
        let length = patches.length();
        let count = patches.unique().len() / length;
        let mut flat = std::mem::take(logits).into_raw_vec_and_offset().0;
        flat.clear();
        flat.resize(count * self.outputs, 0.0);
        // Whole batches a thread, so that no thread but the last runs a partial one.
        let share = count.div_ceil(BATCH).div_ceil(self.threads).max(1) * BATCH;
        let this = &*self;
        let outcome = std::thread::scope(|scope| {
            let running: Vec<_> = patches
                .unique()
                .chunks(share * length)
                .zip(flat.chunks_mut(share * this.outputs))
                .map(|(patches, logits)| scope.spawn(move || this.run_batches(patches, logits)))
                .collect();
            running.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| Err(TractError::msg("a thread of the engine panicked")))
            })
        });
        outcome.map_err(|e| EngineError::Run { reason: format!("{e:#}") })?;
        *logits = Array2::from_shape_vec((count, self.outputs), flat).expect("as long as its shape says");
        Ok(())
    }

    fn name(&self) -> &'static str {
        "tract f32"
    }
}
