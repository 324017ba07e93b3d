//! The recognised network as one operator of a tract model.

use super::network::{Buffers, Network};
use crate::simd::Numbers;
use tract_core::internal::*;
use tract_core::ops::source::TypedSource;

/// From gray levels `[n, views, rows, columns]` in u8 to logits `[n, outputs]` in f32.
#[derive(Clone, Debug)]
pub struct FusedNetwork<N: Numbers>(Arc<Network<N>>);

impl<N: Numbers> FusedNetwork<N> {
    /// Puts `network` in the place of all that a model does between its input, which becomes u8, and its output.
    ///
    /// # Errors
    /// Where the model's input and output are not those of the network.
    pub fn replace(mut model: TypedModel, network: impl Into<Arc<Network<N>>>) -> TractResult<TypedModel> {
        let (inputs, output) = (model.inputs.clone(), model.outputs[0]);
        let gray = u8::fact(model.outlet_fact(inputs[0])?.shape.clone());
        model.node_mut(inputs[0].node).op = Box::new(TypedSource::new(gray.clone()));
        model.set_outlet_fact(inputs[0], gray)?;
        let mut patch = TypedModelPatch::new("the network as one operator");
        let gray = patch.taps(&model, &inputs)?;
        let logits = patch.wire_node("network", FusedNetwork(network.into()), &gray)?;
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

impl<N: Numbers> Op for FusedNetwork<N> {
    fn name(&self) -> StaticName {
        "FusedNetwork".into()
    }

    op_as_typed_op!();
}

impl<N: Numbers> EvalOp for FusedNetwork<N> {
    not_out_of_plan!();

    fn state(&self, _context: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(Running(self.0.buffers()))))
    }
}

impl<N: Numbers> TypedOp for FusedNetwork<N> {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact([inputs[0].shape[0].clone(), self.0.outputs().to_dim()])))
    }

    as_op!();
}

/// The buffers of one thread.
#[derive(Clone, Debug)]
struct Running<N: Numbers>(Buffers<N>);

impl<N: Numbers> OpState for Running<N> {
    fn eval(
        &mut self,
        _context: &EvalContext,
        op: &dyn Op,
        inputs: TVec<TValue>,
    ) -> TractResult<TVec<TValue>> {
        let FusedNetwork::<N>(network) = op.downcast_ref().context("the state of another operator")?;
        let patches = &inputs[0];
        let mut logits = Tensor::zero::<f32>(&[patches.shape()[0], network.outputs()])?;
        network.run(
            patches.try_as_plain_ram()?.as_slice::<u8>()?,
            logits.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?,
            &mut self.0,
        );
        Ok(tvec!(logits.into_tvalue()))
    }

    /// Nothing of one run is left for the next.
    fn reset_lanes(&mut self, _lanes: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}
