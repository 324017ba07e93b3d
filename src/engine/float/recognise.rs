//! Finds a residual network in tract's typed model, from the logits back to the gray levels.
//!
//! Two spellings of one network are the same here: a batch normalization behind a convolution is folded into it, and the mean
//! of the last maps into the weights behind it.

use crate::engine::fused::plan::{Block, Convolution, Head, Plan, Shortcut};
use crate::engine::fused::reader::{Departure, Reader};
use crate::simd::{Floats, One};
use tract_core::internal::*;
use tract_core::ops::cnn::Conv;
use tract_core::ops::math::{Add, Max, Mul};
use tract_core::ops::source::TypedSource;

/// The network that a model is.
///
/// # Errors
/// The first node, seen from the output, that such a network does not have there.
pub(super) fn recognise(model: &TypedModel) -> Result<Plan<Floats>, Departure> {
    Reader::<Floats>::new(model).network()
}

/// A slope and an offset for each channel.
struct Norm {
    slope: Vec<f32>,
    offset: Vec<f32>,
}

impl Reader<'_, Floats> {
    fn network(&self) -> Result<Plan<Floats>, Departure> {
        let (mut maps, head) = self.head(self.output()?)?;
        let mut blocks = Vec::new();
        while self.binary::<Max>(maps).is_some() {
            let (input, block) = self.block(maps)?;
            blocks.push(block);
            maps = input;
        }
        blocks.reverse();
        let (stem_maps, pool) = self.max_pool(maps)?;
        let (gray, stem) = self.convolution(self.relu(stem_maps)?)?;
        if !self.node(gray).op_is::<TypedSource>() {
            return Err(self.departure(gray, "the network's input"));
        }
        // The pool passes over what is no number, so that from here on none may be.
        let largest = |(channel, bias): (usize, &f32)| {
            let taps = stem.weights.len() / stem.outputs();
            let weights = &stem.weights[channel * taps..][..taps];
            weights.iter().fold(bias.abs(), |sum, weight| sum + weight.abs() * 255.0)
        };
        if !stem.bias.iter().enumerate().map(largest).all(f32::is_finite) {
            return Err(self.departure(stem_maps, "finite sums"));
        }
        let [rows, columns] = stem.window.input;
        let input = [stem.inputs, rows, columns];
        Ok(Plan { input, stem, pool, blocks, head })
    }

    /// Reads back from the logits, to the last maps.
    fn head(&self, logits: OutletId) -> Result<(OutletId, Head<Floats>), Departure> {
        let (products, bias) = match self.binary::<Add>(logits) {
            Some((products, bias)) => (products, Some(self.numbers(self.head_bias(bias)?)?)),
            None => (logits, None),
        };
        let (features, weights) = self.product(products)?;
        let mut weights = self.numbers(weights)?;
        let maps = self.mean(self.flattened(features))?;
        let [channels, rows, columns] = self.extents(maps)?;
        let outputs = weights.len() / channels.max(1);
        let bias = bias.unwrap_or_else(|| vec![0.0; outputs]);
        if outputs == 0 || weights.len() != outputs * channels || bias.len() != outputs {
            return Err(self.departure(logits, "weights for each output and channel"));
        }
        let places = rows * columns;
        weights.iter_mut().for_each(|weight| *weight /= places as f32);
        Ok((maps, Head { weights, bias, multipliers: vec![One; outputs], channels, places }))
    }

    /// Reads back from the ReLU behind a block's sum to the block's input.
    fn block(&self, relu: OutletId) -> Result<(OutletId, Block<Floats>), Departure> {
        let sum = self.relu(relu)?;
        let (a, b) = self.operands::<Add>(sum, "a block's sum")?;
        // ONNX would stretch a smaller shortcut over the maps.
        for half in [a, b] {
            if self.extents(half)? != self.extents(sum)? {
                return Err(self.departure(half, "a shortcut as large as the maps"));
            }
        }
        // A sum has two orders. Where neither is right, the usual one says why.
        self.halves(a, b).or_else(|departure| self.halves(b, a).map_err(|_| departure))
    }

    fn halves(&self, second: OutletId, other: OutletId) -> Result<(OutletId, Block<Floats>), Departure> {
        let (hidden, second) = self.convolution(second)?;
        let (input, first) = self.convolution(self.relu(hidden)?)?;
        let shortcut = if other == input {
            Shortcut::Identity(vec![One; second.outputs()])
        } else {
            let (also_input, shortcut) = self.convolution(other)?;
            if also_input != input {
                return Err(self.departure(other, "a shortcut from the block's input"));
            }
            Shortcut::Convolution(Box::new(shortcut))
        };
        Ok((input, Block { first, second, shortcut }))
    }

    /// Reads back from what a convolution gives to the maps that it reads.
    fn convolution(&self, outlet: OutletId) -> Result<(OutletId, Convolution<Floats>), Departure> {
        let (outlet, norm) = self.norm(outlet)?;
        let (op, window) = self.plain_convolution(outlet)?;
        let (inputs, outputs) = (op.pool_spec.input_channels, op.pool_spec.output_channels);
        let node = self.node(outlet);
        let (mut weights, mut bias) = (self.numbers(node.inputs[1])?, self.numbers(node.inputs[2])?);
        if bias.len() == 1 {
            bias = vec![bias[0]; outputs];
        }
        let taps = inputs * window.kernel.iter().product::<usize>();
        if weights.len() != outputs * taps || bias.len() != outputs {
            return Err(self.departure(outlet, "weights and a bias for each channel"));
        }
        if let Some(Norm { slope, offset }) = norm {
            if [slope.len(), offset.len()] != [outputs; 2] {
                return Err(self.departure(outlet, "a normalization of each channel"));
            }
            for (channel, weights) in weights.chunks_exact_mut(taps).enumerate() {
                weights.iter_mut().for_each(|weight| *weight *= slope[channel]);
                bias[channel] = bias[channel].mul_add(slope[channel], offset[channel]);
            }
        }
        let multipliers = vec![One; outputs];
        Ok((node.inputs[0], Convolution { weights, bias, multipliers, inputs, window }))
    }

    /// Reads back over a batch normalization, where there is one: a product with constants, and a sum with constants.
    fn norm(&self, outlet: OutletId) -> Result<(OutletId, Option<Norm>), Departure> {
        if self.node(outlet).op_is::<Conv>() {
            return Ok((outlet, None));
        }
        let (offset, product) = self.operands::<Add>(outlet, "a convolution, normalized or not")?;
        let (slope, maps) = self.operands::<Mul>(product, "a normalized convolution")?;
        let (slope, offset) = (self.numbers(slope)?, self.numbers(offset)?);
        Ok((maps, Some(Norm { slope, offset })))
    }

    /// A constant's numbers, all of them finite.
    fn numbers(&self, outlet: OutletId) -> Result<Vec<f32>, Departure> {
        let numbers = self.constant(outlet).ok_or_else(|| self.departure(outlet, "constant numbers"))?;
        if numbers.iter().all(|number| number.is_finite()) {
            Ok(numbers.to_vec())
        } else {
            Err(self.departure(outlet, "finite numbers"))
        }
    }
}
