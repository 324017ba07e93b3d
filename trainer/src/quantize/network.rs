//! The quantized network: its integers and their scales, made of a folded network and the scales
//! of its activations. Running it is `reference`'s job, writing it `qdq`'s.

use super::scheme;
use crate::fold::{Folded, FoldedConv};
use crate::live_taps::LiveTaps;
use crate::net::Shape;
use tch::Tensor;

/// Scale of the input: a gray level is its own number, the division by 255 is in the weights.
pub const GRAY_SCALE: f32 = 1.0;

/// A convolution's integers.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantConv {
    /// What it is called in a file.
    pub name: String,
    /// `[out, in, taps, taps]`.
    pub weights: Vec<i8>,
    /// Scale of each output channel's weights.
    pub scales: Vec<f32>,
    /// In steps of the accumulator; all 0 where another convolution of the same accumulator has it.
    pub bias: Vec<i32>,
    /// Input channels.
    pub inputs: usize,
    /// Step between outputs, both axes.
    pub stride: i64,
    /// The kernel's live part, both axes.
    pub live: LiveTaps,
}

/// What is added to a block's second convolution, in its accumulator.
#[derive(Clone, Debug, PartialEq)]
pub enum Shortcut {
    /// The block's input, times one whole number a channel.
    Identity(Vec<i32>),
    /// A convolution of the block's input, in the accumulator's own steps.
    Convolution(QuantConv),
}

/// A residual block's integers.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantBlock {
    /// What it is called in a file.
    pub name: String,
    /// First convolution.
    pub first: QuantConv,
    /// Scale of the hidden maps behind it.
    pub hidden: f32,
    /// Second convolution. Its bias is that of both.
    pub second: QuantConv,
    /// The shortcut.
    pub shortcut: Shortcut,
    /// Scale of the block's output.
    pub output: f32,
}

/// The quantized network.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantNet {
    /// What it takes and gives.
    pub shape: Shape,
    /// The first convolution, on gray levels.
    pub stem: QuantConv,
    /// Scale of the stem's maps, before and after the max-pool.
    pub pooled: f32,
    /// The residual blocks.
    pub blocks: Vec<QuantBlock>,
    /// Rows and columns of the last maps, summed up before the head.
    pub last_extent: i64,
    /// `[classes, channels]`.
    pub head_weights: Vec<i8>,
    /// Scale of each class's weights.
    pub head_scales: Vec<f32>,
    /// In steps of the head's accumulator.
    pub head_bias: Vec<i32>,
}

/// Largest magnitude of each output's weights.
fn largest(weights: &[f32], outputs: usize) -> Vec<f64> {
    let of_output =
        |weights: &[f32]| weights.iter().fold(0.0, |most: f64, &weight| most.max(f64::from(weight).abs()));
    weights.chunks(weights.len() / outputs).map(of_output).collect()
}

fn floats(tensor: &Tensor) -> Result<Vec<f32>, tch::TchError> {
    Vec::try_from(tensor.contiguous().view([-1]))
}

/// A folded convolution as plain numbers.
struct Plain<'a> {
    conv: &'a FoldedConv,
    weights: Vec<f32>,
    bias: Vec<f64>,
    largest: Vec<f64>,
}

impl Plain<'_> {
    fn of(conv: &FoldedConv) -> Result<Plain<'_>, tch::TchError> {
        let weights = floats(&conv.weights)?;
        let bias: Vec<f64> = floats(&conv.bias)?.into_iter().map(f64::from).collect();
        Ok(Plain { conv, largest: largest(&weights, bias.len()), weights, bias })
    }

    /// The accumulator's steps that suit this convolution alone, on an input of scale `input`.
    fn steps(&self, input: f32, bias: &[f64]) -> Vec<f64> {
        let of_output = |(&largest, &bias)| scheme::accumulator_step(f64::from(input) * largest, bias);
        self.largest.iter().zip(bias).map(of_output).collect()
    }

    /// Its integers where the accumulator counts in `steps`.
    fn quantize(&self, input: f32, steps: &[f64], bias: &[f64]) -> QuantConv {
        let scales: Vec<f32> = steps.iter().map(|step| (step / f64::from(input)) as f32).collect();
        let of_output = |(weights, &scale): (&[f32], &f32)| -> Vec<i8> {
            weights.iter().map(|&real| scheme::weight(real, scale)).collect()
        };
        let steps = scales.iter().map(|&scale| f64::from(input) * f64::from(scale));
        QuantConv {
            name: self.conv.name.clone(),
            weights: self
                .weights
                .chunks(self.weights.len() / scales.len())
                .zip(&scales)
                .flat_map(of_output)
                .collect(),
            bias: bias.iter().zip(steps).map(|(&real, step)| scheme::bias(real, step)).collect(),
            scales,
            inputs: self.conv.weights.size()[1] as usize,
            stride: self.conv.stride,
            live: self.conv.live,
        }
    }
}

/// A convolution with an accumulator of its own.
fn alone(conv: &FoldedConv, input: f32) -> Result<QuantConv, tch::TchError> {
    let plain = Plain::of(conv)?;
    Ok(plain.quantize(input, &plain.steps(input, &plain.bias), &plain.bias))
}

impl QuantNet {
    /// Quantizes `net`, whose [`Folded::activations`] get those `scales`.
    ///
    /// # Panics
    /// If there is not one scale for each activation.
    ///
    /// # Errors
    /// When libtorch cannot give the weights.
    ///
    /// # Source
    /// docs/quantization.md (2), (3), (6) to (9).
    pub fn of(net: &Folded, scales: &[f32]) -> Result<QuantNet, tch::TchError> {
        assert_eq!(scales.len(), 1 + 2 * net.blocks.len(), "one scale an activation");
        let pooled = scales[0];
        let mut input = pooled;
        let mut blocks = Vec::with_capacity(net.blocks.len());
        for (block, pair) in net.blocks.iter().zip(scales[1..].chunks_exact(2)) {
            let (hidden, output) = (pair[0], pair[1]);
            let second = Plain::of(&block.second)?;
            let (second, shortcut) = match &block.shortcut {
                // (8): both convolutions count in the coarser one's steps.
                Some(conv) => {
                    let side = Plain::of(conv)?;
                    let bias: Vec<f64> = second.bias.iter().zip(&side.bias).map(|(a, b)| a + b).collect();
                    let (own, other) = (second.steps(hidden, &bias), side.steps(input, &bias));
                    let steps: Vec<f64> = own.iter().zip(&other).map(|(a, b)| a.max(*b)).collect();
                    let side = side.quantize(input, &steps, &vec![0.0; steps.len()]);
                    (second.quantize(hidden, &steps, &bias), Shortcut::Convolution(side))
                }
                // (7): a level of the input is a whole number of steps.
                None => {
                    let own = second.steps(hidden, &second.bias);
                    let factors: Vec<i32> =
                        own.iter().map(|&step| scheme::identity_factor(input, step)).collect();
                    let steps: Vec<f64> =
                        factors.iter().map(|&factor| f64::from(input) / f64::from(factor)).collect();
                    (second.quantize(hidden, &steps, &second.bias), Shortcut::Identity(factors))
                }
            };
            let first = alone(&block.first, input)?;
            blocks.push(QuantBlock { name: block.name.clone(), first, hidden, second, shortcut, output });
            input = output;
        }
        let weights = floats(&net.head_weights)?;
        let bias = floats(&net.head_bias)?;
        let places = f64::from((net.last_extent * net.last_extent) as i32);
        let step_in = f64::from(input) / places;
        let head_scales: Vec<f32> = largest(&weights, bias.len())
            .iter()
            .zip(&bias)
            .map(|(&largest, &bias)| {
                (scheme::accumulator_step(step_in * largest, bias.into()) / step_in) as f32
            })
            .collect();
        let head_weights = weights
            .chunks(weights.len() / bias.len())
            .zip(&head_scales)
            .flat_map(|(weights, &scale)| weights.iter().map(move |&real| scheme::weight(real, scale)))
            .collect();
        let head_bias = bias
            .iter()
            .zip(&head_scales)
            .map(|(&real, &scale)| scheme::bias(real.into(), step_in * f64::from(scale)))
            .collect();
        Ok(QuantNet {
            shape: net.shape,
            stem: alone(&net.stem, GRAY_SCALE)?,
            pooled,
            blocks,
            last_extent: net.last_extent,
            head_weights,
            head_scales,
            head_bias,
        })
    }

    /// Scale of the maps that the head reads.
    #[must_use]
    pub fn last_scale(&self) -> f32 {
        self.blocks.last().map_or(self.pooled, |block| block.output)
    }

    /// What the head's accumulators are multiplied by to become logits.
    ///
    /// # Source
    /// docs/quantization.md (9).
    #[must_use]
    pub fn head_multipliers(&self) -> Vec<f32> {
        let places = (self.last_extent * self.last_extent) as f32;
        self.head_scales.iter().map(|&scale| scheme::multiplier(self.last_scale(), scale, places)).collect()
    }
}

/// An output's multipliers, from accumulator to activation.
#[must_use]
pub fn multipliers(conv: &QuantConv, input: f32, output: f32) -> Vec<f32> {
    conv.scales.iter().map(|&scale| scheme::multiplier(input, scale, output)).collect()
}
