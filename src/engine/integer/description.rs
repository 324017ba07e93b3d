//! What a network file says: integers, scales and shapes. What is multiplied with what follows in `equations`.

use crate::engine::fused::Window;

/// A network of the form that `docs/quantization.md` defines.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Description {
    /// `[views, rows, columns]` of a patch.
    pub input: [usize; 3],
    /// The first convolution.
    pub stem: Convolution,
    /// Scale of the stem's maps, before and after the pool.
    pub stem_scale: f32,
    /// The max-pool behind it.
    pub pool: Window,
    /// The residual blocks, in order.
    pub blocks: Vec<Block>,
    /// What makes logits of the last maps.
    pub head: Head,
}

/// A convolution's integers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Convolution {
    /// What the file calls it.
    pub name: String,
    /// `[outputs, inputs, kernel rows, kernel columns]`.
    pub weights: Vec<i8>,
    /// Scale of each output channel's weights.
    pub scales: Vec<f32>,
    /// In steps of the accumulator.
    pub bias: Vec<i32>,
    /// The steps of each output channel's accumulator, as the file gives them for the bias.
    pub bias_steps: Vec<f32>,
    /// Input channels.
    pub inputs: usize,
    /// Scale of the maps that it reads.
    pub input_scale: f32,
    /// How its kernel moves over them.
    pub window: Window,
}

/// A residual block's integers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    /// First convolution.
    pub first: Convolution,
    /// Second convolution, on the first one's maps.
    pub second: Convolution,
    /// What is added in the second convolution's accumulator.
    pub shortcut: Shortcut,
    /// Scale of the block's output.
    pub output_scale: f32,
}

/// What is added in the accumulator of a block's second convolution.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shortcut {
    /// The block's input.
    Identity,
    /// A convolution of the block's input.
    Convolution(Box<Convolution>),
}

/// The fully connected layer on the mean over the last maps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Head {
    /// `[outputs, channels]`.
    pub weights: Vec<i8>,
    /// Scale of each output's weights.
    pub scales: Vec<f32>,
    /// In steps of the accumulator.
    pub bias: Vec<i32>,
    /// The steps of each output's accumulator, as the file gives them for the bias.
    pub bias_steps: Vec<f32>,
    /// Channels of the last maps.
    pub channels: usize,
    /// Rows times columns of the last maps.
    pub places: usize,
    /// Scale of the last maps.
    pub input_scale: f32,
}
