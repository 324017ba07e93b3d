//! Keeps a file's integers in tract's typed model. What is done with them is left to `recognise`.
//!
//! tract turns constants behind a DequantizeLinear into f32 while it reads a file, and the levels and their scale are
//! lost: which pair a product came from cannot be told. So DequantizeLinear of a constant becomes an operator of ours
//! there, which tract does not run ahead of time. Nothing else of the file is read otherwise than by tract.

use tract_core::internal::*;
use tract_core::ops::quant::DequantizeLinearF32;
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// tract's ONNX reader, which keeps the levels of constants.
pub(super) fn onnx() -> Onnx {
    let mut onnx = tract_onnx::onnx();
    onnx.op_register.insert("DequantizeLinear", dequantize_linear);
    onnx
}

fn dequantize_linear(
    _context: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let axis = node.get_attr_opt("axis")?.unwrap_or(1);
    Ok((expand(DequantizeLinear { axis }), vec![]))
}

/// ONNX's DequantizeLinear before tract knows types and shapes.
#[derive(Clone, Debug)]
struct DequantizeLinear {
    axis: i64,
}

impl Expansion for DequantizeLinear {
    fn name(&self) -> StaticName {
        "DequantizeLinear".into()
    }

    /// No: that is how the levels would be lost.
    fn runs_out_of_plan(&self) -> bool {
        false
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 3)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[1].datum_type, f32::datum_type())?;
        solver.equals(&inputs[0].datum_type, &inputs[2].datum_type)?;
        solver.equals(&outputs[0].datum_type, f32::datum_type())?;
        solver.equals(&inputs[0].shape, &outputs[0].shape)?;
        Ok(())
    }

    fn wire(
        &self,
        prefix: &str,
        target: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let fact = |at: usize| target.outlet_fact(inputs[at]);
        let scales = fact(1)?.konst.clone().context("a scale must be a constant")?;
        let zeros = fact(2)?.konst.clone().context("a zero point must be a constant")?;
        let zeros = zeros.cast_to::<i32>()?;
        let zeros = zeros.try_as_plain_ram()?.as_slice::<i32>()?;
        ensure!(zeros.iter().all(|&zero| zero == 0), "a zero point other than 0");
        let operator: Box<dyn TypedOp> = if fact(0)?.konst.is_some() {
            ensure!(
                self.axis == 0 && scales.len() == fact(0)?.shape[0].to_usize()?,
                "not one scale a channel"
            );
            Box::new(Reals { scales })
        } else {
            let scale = *scales.try_as_plain_ram()?.to_scalar::<f32>()?;
            Box::new(DequantizeLinearF32 { scale, zero_point: 0 })
        };
        target.wire_node(prefix, operator, &inputs[..1])
    }
}

/// The reals that a constant's levels stand for, one scale for each of its first axis: a note for `recognise`, which
/// no plan ever runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reals {
    pub scales: Arc<Tensor>,
}

impl Op for Reals {
    fn name(&self) -> StaticName {
        "Reals".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Reals {
    not_out_of_plan!();
}

impl TypedOp for Reals {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(inputs[0].shape.clone())))
    }

    as_op!();
}
