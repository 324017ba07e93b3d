//! Finds the network of `docs/quantization.md` in tract's typed model, from the logits back to the gray levels.
//!
//! Structure alone is judged here: which operator follows which, and that constants have the kinds and shapes that go
//! with it. Whether their numbers keep the document's equations is `equations`' business.

use super::description::{Block, Convolution, Description, Head, Shortcut};
use super::levels::Reals;
use crate::engine::fused::reader::{Departure, Reader};
use crate::simd::Integers;
use tract_core::internal::*;
use tract_core::ops::cast::Cast;
use tract_core::ops::element_wise::ElementWiseOp;
use tract_core::ops::konst::Const;
use tract_core::ops::math::{Add, Max};
use tract_core::ops::quant::{DequantizeLinearF32, QuantizeLinearU8};
use tract_core::ops::source::TypedSource;

/// Channels that the kernels read together.
const GROUP: usize = 4;

/// The network that a model is.
///
/// # Errors
/// The first node, seen from the output, that such a network does not have there.
pub(super) fn recognise(model: &TypedModel) -> Result<Description, Departure> {
    Reader::<Integers>::new(model).network()
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

impl Reader<'_, Integers> {
    fn network(&self) -> Result<Description, Departure> {
        let (mut maps, head) = self.head(self.output()?)?;
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
        let (features, weights) = self.product(products)?;
        let (weights, scales) = self.reals::<i8>(weights)?;
        let (bias, bias_steps) = self.reals::<i32>(self.head_bias(bias)?)?;
        let maps = self.maps(self.mean(self.flattened(features))?)?;
        let [channels, rows, columns] = self.extents(maps.reals)?;
        let whole = weights.len() == scales.len() * channels && bias.len() == scales.len();
        if !whole || channels % GROUP != 0 {
            return Err(self.departure(logits, "weights for each output and channel, which come in fours"));
        }
        let (places, input_scale) = (rows * columns, maps.scale);
        Ok((maps, Head { weights, scales, bias, bias_steps, channels, places, input_scale }))
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
        let (op, window) = self.plain_convolution(outlet)?;
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
}
