//! Finds the network of `docs/quantization.md` in tract's typed model, from the logits back to the gray levels.
//!
//! Structure alone is judged here: which operator follows which, and that constants have the kinds and shapes that go
//! with it. Whether their numbers keep the document's equations is `equations`' business.
//!
//! tract's typed model before decluttering is the form to read: shapes are known, and nodes still stand as in the
//! file. Decluttering would take 1x1 convolutions apart, move axes, and fold what it can.

use super::description::{Block, Convolution, Description, Head, Shortcut, Window};
use super::levels::Reals;
use tract_core::internal::*;
use tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_core::ops::cast::Cast;
use tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::element_wise::ElementWiseOp;
use tract_core::ops::konst::Const;
use tract_core::ops::math::{Add, Div, Max, Mul};
use tract_core::ops::nn::{DataFormat, Reduce, Reducer};
use tract_core::ops::quant::{DequantizeLinearF32, QuantizeLinearU8};
use tract_core::ops::source::TypedSource;

/// Channels that the kernels read together.
const GROUP: usize = 4;

/// Where a model departs from the form: it may be a fine network, but is not this one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{node} is {found}, expected {expected}")]
pub(super) struct Departure {
    node: String,
    found: String,
    expected: &'static str,
}

/// The network that a model is.
///
/// # Errors
/// The first node, seen from the output, that such a network does not have there.
pub(super) fn recognise(model: &TypedModel) -> Result<Description, Departure> {
    Reader { model }.network()
}

struct Reader<'a> {
    model: &'a TypedModel,
}

/// Maps of u8 levels, where they become reals again.
#[derive(Clone, Copy)]
struct Maps {
    /// The outlet of the reals.
    reals: OutletId,
    scale: f32,
    /// What was quantized; none for the network's input.
    from: Option<OutletId>,
}

impl<'a> Reader<'a> {
    fn network(&self) -> Result<Description, Departure> {
        let &[output] = self.model.outputs.as_slice() else {
            let found = format!("{} outputs", self.model.outputs.len());
            return Err(Departure { node: "the network".into(), found, expected: "one output" });
        };
        let (mut maps, head) = self.head(output)?;
        let mut blocks = Vec::new();
        while let Some(relu) = maps.from.filter(|&from| self.binary::<Max>(from).is_some()) {
            let (input, block) = self.block(relu, maps.scale)?;
            blocks.push(block);
            maps = input;
        }
        blocks.reverse();
        let from = maps.from.ok_or_else(|| self.departure(maps.reals, "maps of a stem"))?;
        let (from, pool) = self.max_pool(from)?;
        let stem_maps = self.maps(from)?;
        if stem_maps.scale.to_bits() != maps.scale.to_bits() {
            return Err(self.departure(from, "the scale that is behind the pool"));
        }
        let from = stem_maps.from.ok_or_else(|| self.departure(from, "a stem"))?;
        let (gray, stem) = self.convolution(self.relu(from)?)?;
        if gray.from.is_some() || gray.scale.to_bits() != 1f32.to_bits() {
            return Err(self.departure(gray.reals, "gray levels, of scale 1"));
        }
        let [rows, columns] = stem.window.input;
        let input = [stem.inputs, rows, columns];
        Ok(Description { input, stem, stem_scale: maps.scale, pool, blocks, head })
    }

    /// Reads back from the logits, to the last maps.
    fn head(&self, logits: OutletId) -> Result<(Maps, Head), Departure> {
        let (products, bias) = self.operands::<Add>(logits, "Gemm: a sum with a bias")?;
        let node = self.node(products);
        let is_gemm = node.op_as::<EinSum>().is_some_and(|op| op.axes.to_string() == "mk,nk->mn");
        if !is_gemm {
            return Err(self.departure(products, "Gemm: a product with transposed weights"));
        }
        let (features, weights) = (node.inputs[0], node.inputs[1]);
        let (weights, scales) = self.reals::<i8>(weights)?;
        let (bias, bias_steps) = self.reals::<i32>(self.head_bias(bias)?)?;
        let mut maps = features;
        while let Some(AxisOp::Rm(_)) = self.node(maps).op_as() {
            maps = self.node(maps).inputs[0];
        }
        let maps = self.mean(maps)?;
        let [channels, rows, columns] = self.extents(maps.reals)?;
        let whole = weights.len() == scales.len() * channels && bias.len() == scales.len();
        if !whole || channels % GROUP != 0 {
            return Err(self.departure(logits, "weights for each output and channel, which come in fours"));
        }
        let (places, input_scale) = (rows * columns, maps.scale);
        Ok((maps, Head { weights, scales, bias, bias_steps, channels, places, input_scale }))
    }

    /// Behind the axis and the factor of 1 that tract's Gemm gives a bias.
    fn head_bias(&self, outlet: OutletId) -> Result<OutletId, Departure> {
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

    /// Reads back over GlobalAveragePool, which stands only where the last maps have more than one place.
    fn mean(&self, outlet: OutletId) -> Result<Maps, Departure> {
        let Some((sum, count)) = self.binary::<Div>(outlet) else { return self.maps(outlet) };
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
        self.maps(node.inputs[0])
    }

    /// Reads back from the ReLU behind a block's sum to the block's input.
    fn block(&self, relu: OutletId, output_scale: f32) -> Result<(Maps, Block), Departure> {
        let (second, other) = self.operands::<Add>(self.relu(relu)?, "a block's sum")?;
        let (hidden, second) = self.convolution(second)?;
        let first = hidden.from.ok_or_else(|| self.departure(hidden.reals, "maps of a first convolution"))?;
        let (input, first) = self.convolution(self.relu(first)?)?;
        // ONNX would stretch a smaller shortcut over the maps.
        if self.extents(other)? != self.extents(relu)? {
            return Err(self.departure(other, "a shortcut as large as the maps"));
        }
        let shortcut = if other == input.reals {
            Shortcut::Identity
        } else {
            let (also_input, shortcut) = self.convolution(other)?;
            if also_input.reals != input.reals {
                return Err(self.departure(other, "a shortcut from the block's input"));
            }
            Shortcut::Convolution(Box::new(shortcut))
        };
        Ok((input, Block { first, second, shortcut, output_scale }))
    }

    /// Reads back from what a convolution gives to the maps that it reads.
    fn convolution(&self, outlet: OutletId) -> Result<(Maps, Convolution), Departure> {
        let node = self.node(outlet);
        let expected = "a plain convolution in two dimensions";
        let plain =
            |op: &&Conv| op.kernel_fmt == KernelFormat::OIHW && op.group == 1 && op.q_params.is_none();
        let op = node.op_as::<Conv>().filter(plain).ok_or_else(|| self.departure(outlet, expected))?;
        let window = self.window(outlet, &op.pool_spec)?;
        let maps = self.maps(node.inputs[0])?;
        let (weights, scales) = self.reals::<i8>(node.inputs[1])?;
        let mut bias = node.inputs[2];
        if self.node(bias).op_is::<Cast>() {
            bias = self.node(bias).inputs[0];
        }
        let (bias, bias_steps) = self.reals::<i32>(bias)?;
        let (inputs, outputs) = (op.pool_spec.input_channels, op.pool_spec.output_channels);
        let taps: usize = window.kernel.iter().product();
        if weights.len() != outputs * inputs * taps || [scales.len(), bias.len()] != [outputs; 2] {
            return Err(self.departure(outlet, "a scale and a bias for each channel"));
        }
        // The stem's input channels are views, which are laid out anew.
        if maps.from.is_some() && inputs % GROUP != 0 {
            return Err(self.departure(outlet, "input channels in fours"));
        }
        let (name, input_scale) = (node.name.clone(), maps.scale);
        Ok((maps, Convolution { name, weights, scales, bias, bias_steps, inputs, input_scale, window }))
    }

    fn max_pool(&self, outlet: OutletId) -> Result<(OutletId, Window), Departure> {
        let node = self.node(outlet);
        let op = node.op_as::<MaxPool>().filter(|op| op.with_index_outputs.is_none());
        let op = op.ok_or_else(|| self.departure(outlet, "a max-pool, or the ReLU of a block"))?;
        Ok((node.inputs[0], self.window(outlet, &op.pool_spec)?))
    }

    /// A kernel's way from a node's first input to its output.
    fn window(&self, outlet: OutletId, spec: &PoolSpec) -> Result<Window, Departure> {
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

    fn relu(&self, outlet: OutletId) -> Result<OutletId, Departure> {
        let (a, b) = self.operands::<Max>(outlet, "a ReLU")?;
        match (self.scalar(a), self.scalar(b)) {
            (_, Some(0.0)) => Ok(a),
            (Some(0.0), _) => Ok(b),
            _ => Err(self.departure(outlet, "a maximum with 0")),
        }
    }

    fn maps(&self, outlet: OutletId) -> Result<Maps, Departure> {
        let node = self.node(outlet);
        let op = node.op_as::<DequantizeLinearF32>().filter(|op| op.zero_point == 0);
        let scale = op.ok_or_else(|| self.departure(outlet, "maps made of levels"))?.scale;
        let levels = node.inputs[0];
        let node = self.node(levels);
        if node.op_is::<TypedSource>() && node.outputs[0].fact.datum_type == u8::datum_type() {
            return Ok(Maps { reals: outlet, scale, from: None });
        }
        let op = node.op_as::<ElementWiseOp>().and_then(|op| op.0.downcast_ref::<QuantizeLinearU8>());
        // tract keeps the reciprocal. That of another scale within an ULP may be the same; which one is meant is then
        // said by DequantizeLinear alone.
        let same =
            |op: &QuantizeLinearU8| op.zero_point == 0 && op.scale.to_bits() == scale.recip().to_bits();
        if op.is_some_and(same) {
            Ok(Maps { reals: outlet, scale, from: Some(node.inputs[0]) })
        } else {
            Err(self.departure(levels, "levels of the same scale"))
        }
    }

    /// A constant's levels, and the scale of each of its first axis.
    fn reals<L: Datum + Copy>(&self, outlet: OutletId) -> Result<(Vec<L>, Vec<f32>), Departure> {
        let node = self.node(outlet);
        let found = node.op_as::<Reals>().and_then(|reals| {
            let levels = self.node(node.inputs[0]).op_as::<Const>()?.val();
            let levels = levels.try_as_plain_ram().ok()?.as_slice::<L>().ok()?;
            let scales = reals.scales.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?;
            Some((levels.to_vec(), scales.to_vec()))
        });
        found.ok_or_else(|| self.departure(outlet, "constant levels"))
    }

    /// The one number of a constant.
    fn scalar(&self, outlet: OutletId) -> Option<f32> {
        let constant = self.model.outlet_fact(outlet).ok()?.konst.as_ref()?;
        let values = constant.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?;
        if let &[value] = values { Some(value) } else { None }
    }

    fn operands<O: BinMiniOp>(
        &self,
        outlet: OutletId,
        expected: &'static str,
    ) -> Result<(OutletId, OutletId), Departure> {
        self.binary::<O>(outlet).ok_or_else(|| self.departure(outlet, expected))
    }

    fn binary<O: BinMiniOp>(&self, outlet: OutletId) -> Option<(OutletId, OutletId)> {
        let node = self.node(outlet);
        let op = node.op_as::<TypedBinOp>()?;
        op.0.is::<O>().then(|| (node.inputs[0], node.inputs[1]))
    }

    /// Channels, rows and columns of maps.
    fn extents(&self, outlet: OutletId) -> Result<[usize; 3], Departure> {
        let departure = || self.departure(outlet, "maps of known extents");
        let shape = self.model.outlet_fact(outlet).map_err(|_| departure())?.shape.to_tvec();
        let [_, rest @ ..] = shape.as_slice() else { return Err(departure()) };
        let rest: Option<Vec<usize>> = rest.iter().map(|extent| extent.to_usize().ok()).collect();
        rest.and_then(|extents| extents.try_into().ok()).ok_or_else(departure)
    }

    fn node(&self, outlet: OutletId) -> &'a TypedNode {
        self.model.node(outlet.node)
    }

    fn departure(&self, outlet: OutletId, expected: &'static str) -> Departure {
        let node = self.node(outlet);
        Departure { node: node.name.clone(), found: node.op.name().into_owned(), expected }
    }
}

fn pair(values: &[usize]) -> Option<[usize; 2]> {
    values.try_into().ok()
}
