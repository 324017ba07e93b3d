//! The recognised network as one operator of a tract model.

use super::network::{Buffers, Network};
use crate::simd::Numbers;
use tract_core::internal::*;
use tract_core::ops::source::TypedSource;

/// From a batch, as [`Network::lay_out`] lays it out, and the number of its patches, to logits `[batch, outputs]`.
///
/// The batch is always whole, and its first patches are those that count: a tensor's shape cannot change, and one that is
/// kept from batch to batch costs nothing, while new ones of a quarter of a megabyte take a twentieth of the time, and
/// threads wait for each other to get them.
#[derive(Clone, Debug)]
pub struct FusedNetwork<N: Numbers>(Arc<Network<N>>);

impl<N: Numbers<Level: Datum>> FusedNetwork<N> {
    /// Puts `network` in the place of all that a model does between its input and its output.
    ///
    /// # Errors
    /// Where the model has another number of inputs or outputs than one.
    pub fn replace(mut model: TypedModel, network: Arc<Network<N>>) -> TractResult<TypedModel> {
        let (&[input], &[output]) = (&*model.inputs, &*model.outputs) else {
            bail!("a model of {} inputs and {} outputs", model.inputs.len(), model.outputs.len());
        };
        let batch = N::Level::fact([network.batch(), network.stride()]);
        model.node_mut(input.node).op = Box::new(TypedSource::new(batch.clone()));
        model.set_outlet_fact(input, batch)?;
        model.add_source("patches of the batch", i64::scalar_fact())?;
        let mut patch = TypedModelPatch::new("the network as one operator");
        let inputs = patch.taps(&model, &model.inputs)?;
        let logits = patch.wire_node("network", FusedNetwork(network), &inputs)?;
        // Whatever came before it, its output has a fixed size now.
        model.set_outlet_fact(output, patch.outlet_fact(logits[0])?.clone())?;
        patch.shunt_outside(&model, output, logits[0])?;
        patch.apply(&mut model)?;
        // What the operator replaces leads nowhere now; this leaves it out.
        model.into_compact()
    }
}

/// Packed weights are compared by identity: tract asks only whether a constant or node is there twice.
impl<N: Numbers> PartialEq for FusedNetwork<N> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<N: Numbers> Eq for FusedNetwork<N> {}

impl<N: Numbers<Level: Datum>> Op for FusedNetwork<N> {
    fn name(&self) -> StaticName {
        "FusedNetwork".into()
    }

    op_as_typed_op!();
}

impl<N: Numbers<Level: Datum>> EvalOp for FusedNetwork<N> {
    not_out_of_plan!();

    fn state(&self, _context: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(Running(self.0.buffers()))))
    }
}

impl<N: Numbers<Level: Datum>> TypedOp for FusedNetwork<N> {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact([self.0.batch(), self.0.outputs()])))
    }

    as_op!();
}

/// The buffers of one thread.
#[derive(Clone, Debug)]
struct Running<N: Numbers>(Buffers<N>);

impl<N: Numbers<Level: Datum>> OpState for Running<N> {
    fn eval(
        &mut self,
        _context: &EvalContext,
        op: &dyn Op,
        inputs: TVec<TValue>,
    ) -> TractResult<TVec<TValue>> {
        let FusedNetwork::<N>(network) = op.downcast_ref().context("the state of another operator")?;
        let levels = inputs[0].try_as_plain_ram()?;
        let count = *inputs[1].try_as_plain_ram()?.to_scalar::<i64>()?;
        ensure!((0..=network.batch() as i64).contains(&count), "{count} patches of a batch");
        let mut logits = Tensor::zero::<f32>(&[network.batch(), network.outputs()])?;
        let out = &mut logits.try_as_plain_ram_mut()?;
        let out = &mut out.as_slice_mut::<f32>()?[..count as usize * network.outputs()];
        network.run(levels.as_slice::<N::Level>()?, out, &mut self.0);
        Ok(tvec!(logits.into_tvalue()))
    }

    /// Nothing of one run is left for the next.
    fn reset_lanes(&mut self, _lanes: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}
