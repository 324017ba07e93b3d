//! The recognised network as one operator of a tract model.

use super::network::{Buffers, Network};
use tract_core::internal::*;

/// From gray levels `[n, views, rows, columns]` in u8 to logits `[n, outputs]` in f32.
#[derive(Clone, Debug)]
pub(super) struct IntegerNetwork(Arc<Network>);

impl IntegerNetwork {
    /// Puts `network` in the place of all that a model does between its input and its output.
    ///
    /// # Errors
    /// Where the model's input and output are not those of the network.
    pub fn replace(mut model: TypedModel, network: impl Into<Arc<Network>>) -> TractResult<TypedModel> {
        let (inputs, output) = (model.inputs.clone(), model.outputs[0]);
        let mut patch = TypedModelPatch::new("the network in integers");
        let gray = patch.taps(&model, &inputs)?;
        let logits = patch.wire_node("integers", IntegerNetwork(network.into()), &gray)?;
        patch.shunt_outside(&model, output, logits[0])?;
        patch.apply(&mut model)?;
        // What the operator replaces leads nowhere now; this leaves it out.
        model.into_compact()
    }
}

/// Packed weights are compared by identity: tract asks only whether a constant or node is there twice.
impl PartialEq for IntegerNetwork {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for IntegerNetwork {}

impl Op for IntegerNetwork {
    fn name(&self) -> StaticName {
        "IntegerNetwork".into()
    }

    op_as_typed_op!();
}

impl EvalOp for IntegerNetwork {
    not_out_of_plan!();

    fn state(&self, _context: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(Running(self.0.buffers()))))
    }
}

impl TypedOp for IntegerNetwork {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact([inputs[0].shape[0].clone(), self.0.outputs().to_dim()])))
    }

    as_op!();
}

/// The buffers of one thread.
#[derive(Clone, Debug)]
struct Running(Buffers);

impl OpState for Running {
    fn eval(
        &mut self,
        _context: &EvalContext,
        op: &dyn Op,
        inputs: TVec<TValue>,
    ) -> TractResult<TVec<TValue>> {
        let IntegerNetwork(network) = op.downcast_ref().context("the state of another operator")?;
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
