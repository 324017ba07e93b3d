//! Reads tract's typed model from the logits back: what both arithmetics' networks have in common. Which node follows which
//! is left to each one's `recognise`.
//!
//! tract's typed model before decluttering is the form to read: shapes are known, and nodes still stand as in the
//! file. Decluttering would take 1x1 convolutions apart, move axes, and fold what it can.

use super::window::Window;
use std::marker::PhantomData;
use tract_core::internal::*;
use tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_core::ops::cast::Cast;
use tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::math::{Div, Max, Mul};
use tract_core::ops::nn::{DataFormat, Reduce, Reducer};

/// Where a model departs from the form: it may be a fine network, but is not this one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{node} is {found}, expected {expected}")]
pub struct Departure {
    node: String,
    found: String,
    expected: &'static str,
}

/// A model whose nodes are looked at; what they are to be is said by each arithmetic's own methods.
pub struct Reader<'a, N> {
    model: &'a TypedModel,
    numbers: PhantomData<N>,
}

impl<'a, N> Reader<'a, N> {
    pub fn new(model: &'a TypedModel) -> Self {
        Reader { model, numbers: PhantomData }
    }

    /// The one output.
    pub fn output(&self) -> Result<OutletId, Departure> {
        match self.model.outputs.as_slice() {
            &[output] => Ok(output),
            outputs => {
                let found = format!("{} outputs", outputs.len());
                Err(Departure { node: "the network".into(), found, expected: "one output" })
            }
        }
    }

    /// A product with transposed weights: features and weights.
    pub fn product(&self, outlet: OutletId) -> Result<(OutletId, OutletId), Departure> {
        let node = self.node(outlet);
        if node.op_as::<EinSum>().is_some_and(|op| op.axes.to_string() == "mk,nk->mn") {
            Ok((node.inputs[0], node.inputs[1]))
        } else {
            Err(self.departure(outlet, "Gemm: a product with transposed weights"))
        }
    }

    /// Behind the axis and the factor of 1 that tract's Gemm gives a bias.
    pub fn head_bias(&self, outlet: OutletId) -> Result<OutletId, Departure> {
        let mut bias = outlet;
        if let Some((a, b)) = self.binary::<Mul>(bias) {
            bias = match (self.scalar(a), self.scalar(b)) {
                (Some(1.0), _) => b,
                (_, Some(1.0)) => a,
                _ => return Err(self.departure(outlet, "a bias as it is")),
            };
        }
        if let Some(AxisOp::Add(0)) = self.node(bias).op_as() {
            bias = self.node(bias).inputs[0];
        }
        Ok(bias)
    }

    /// Reads back over Flatten.
    pub fn flattened(&self, outlet: OutletId) -> OutletId {
        let mut maps = outlet;
        while let Some(AxisOp::Rm(_)) = self.node(maps).op_as() {
            maps = self.node(maps).inputs[0];
        }
        maps
    }

    /// Reads back over GlobalAveragePool, where there is one.
    pub fn mean(&self, outlet: OutletId) -> Result<OutletId, Departure> {
        let Some((sum, count)) = self.binary::<Div>(outlet) else { return Ok(outlet) };
        let node = self.node(sum);
        let over_places =
            node.op_as::<Reduce>().is_some_and(|op| op.reducer == Reducer::Sum && *op.axes == [2, 3]);
        if !over_places {
            return Err(self.departure(sum, "a sum over rows and columns"));
        }
        let [_, rows, columns] = self.extents(node.inputs[0])?;
        if self.scalar(count) != Some((rows * columns) as f32) {
            return Err(self.departure(count, "the number of places"));
        }
        Ok(node.inputs[0])
    }

    /// A plain convolution, and its kernel's way.
    pub fn plain_convolution(&self, outlet: OutletId) -> Result<(&'a Conv, Window), Departure> {
        let plain =
            |op: &&Conv| op.kernel_fmt == KernelFormat::OIHW && op.group == 1 && op.q_params.is_none();
        let op = self.node(outlet).op_as::<Conv>().filter(plain);
        let op = op.ok_or_else(|| self.departure(outlet, "a plain convolution in two dimensions"))?;
        Ok((op, self.window(outlet, &op.pool_spec)?))
    }

    pub fn max_pool(&self, outlet: OutletId) -> Result<(OutletId, Window), Departure> {
        let node = self.node(outlet);
        let op = node.op_as::<MaxPool>().filter(|op| op.with_index_outputs.is_none());
        let op = op.ok_or_else(|| self.departure(outlet, "a max-pool, or the ReLU of a block"))?;
        Ok((node.inputs[0], self.window(outlet, &op.pool_spec)?))
    }

    /// A kernel's way from a node's first input to its output.
    pub fn window(&self, outlet: OutletId, spec: &PoolSpec) -> Result<Window, Departure> {
        let departure = |expected| self.departure(outlet, expected);
        let before = match &spec.padding {
            PaddingSpec::Explicit(before, _) | PaddingSpec::ExplicitOnnxPool(before, _, false) => {
                pair(before)
            }
            _ => None,
        };
        let before = before.ok_or_else(|| departure("padding in numbers"))?;
        let kernel = pair(&spec.kernel_shape).ok_or_else(|| departure("a kernel of rows and columns"))?;
        let stride = spec.strides.as_deref().map_or(Some([1; 2]), pair);
        let stride = stride.ok_or_else(|| departure("strides of rows and columns"))?;
        let dense = spec.dilations.iter().flatten().all(|&dilation| dilation == 1);
        if !dense || spec.data_format != DataFormat::NCHW {
            return Err(departure("a dense kernel on channels, rows, columns"));
        }
        let [_, rows, columns] = self.extents(self.node(outlet).inputs[0])?;
        let input = [rows, columns];
        let [_, rows, columns] = self.extents(outlet)?;
        Ok(Window { kernel, stride, before, input, output: [rows, columns] })
    }

    pub fn relu(&self, outlet: OutletId) -> Result<OutletId, Departure> {
        let (a, b) = self.operands::<Max>(outlet, "a ReLU")?;
        match (self.scalar(a), self.scalar(b)) {
            (_, Some(0.0)) => Ok(a),
            (Some(0.0), _) => Ok(b),
            _ => Err(self.departure(outlet, "a maximum with 0")),
        }
    }

    /// The one number of a constant.
    pub fn scalar(&self, outlet: OutletId) -> Option<f32> {
        if let &[value] = self.constant(outlet)? { Some(value) } else { None }
    }

    /// The numbers of a constant, whatever its shape.
    pub fn constant(&self, outlet: OutletId) -> Option<&'a [f32]> {
        let fact = self.model.outlet_fact(outlet).ok()?;
        if let Some(constant) = &fact.konst {
            return constant.try_as_plain_ram().ok()?.as_slice::<f32>().ok();
        }
        // tract casts to what a number is already, and adds axes of one.
        let node = self.node(outlet);
        let is_renamed = node.op_is::<Cast>() || matches!(node.op_as(), Some(AxisOp::Add(_) | AxisOp::Rm(_)));
        if is_renamed && fact.datum_type == f32::datum_type() { self.constant(node.inputs[0]) } else { None }
    }

    pub fn operands<O: BinMiniOp>(
        &self,
        outlet: OutletId,
        expected: &'static str,
    ) -> Result<(OutletId, OutletId), Departure> {
        self.binary::<O>(outlet).ok_or_else(|| self.departure(outlet, expected))
    }

    pub fn binary<O: BinMiniOp>(&self, outlet: OutletId) -> Option<(OutletId, OutletId)> {
        let node = self.node(outlet);
        let op = node.op_as::<TypedBinOp>()?;
        op.0.is::<O>().then(|| (node.inputs[0], node.inputs[1]))
    }

    /// Channels, rows and columns of maps.
    pub fn extents(&self, outlet: OutletId) -> Result<[usize; 3], Departure> {
        let departure = || self.departure(outlet, "maps of known extents");
        let shape = self.model.outlet_fact(outlet).map_err(|_| departure())?.shape.to_tvec();
        let [_, rest @ ..] = shape.as_slice() else { return Err(departure()) };
        let rest: Option<Vec<usize>> = rest.iter().map(|extent| extent.to_usize().ok()).collect();
        rest.and_then(|extents| extents.try_into().ok()).ok_or_else(departure)
    }

    pub fn node(&self, outlet: OutletId) -> &'a TypedNode {
        self.model.node(outlet.node)
    }

    pub fn departure(&self, outlet: OutletId, expected: &'static str) -> Departure {
        let node = self.node(outlet);
        Departure { node: node.name.clone(), found: node.op.name().into_owned(), expected }
    }
}

fn pair(values: &[usize]) -> Option<[usize; 2]> {
    values.try_into().ok()
}
