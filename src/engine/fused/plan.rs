//! A network's numbers as the kernels want them, whatever file they come from: what is packed, multiplied and added.

use super::window::Window;
use crate::simd::Numbers;

/// A residual network: a first convolution, a max-pool, residual blocks, and a fully connected layer on the mean of the last
/// maps.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<N: Numbers> {
    /// `[views, rows, columns]` of a patch.
    pub input: [usize; 3],
    /// The first convolution, of gray levels; a ReLU follows, as it does every convolution.
    pub stem: Convolution<N>,
    /// The max-pool behind it.
    pub pool: Window,
    /// The residual blocks, in order.
    pub blocks: Vec<Block<N>>,
    /// What makes logits of the last maps.
    pub head: Head<N>,
}

/// A convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution<N: Numbers> {
    /// `[outputs, inputs, kernel rows, kernel columns]`.
    pub weights: Vec<N::Weight>,
    /// What each output channel's sum begins with.
    pub bias: Vec<N::Sum>,
    /// What each output channel's sum is multiplied with.
    pub multipliers: Vec<N::Multiplier>,
    /// Input channels: behind the stem a multiple of a group's levels.
    pub inputs: usize,
    /// How its kernel moves over the maps.
    pub window: Window,
}

/// A residual block.
#[derive(Clone, Debug, PartialEq)]
pub struct Block<N: Numbers> {
    /// First convolution.
    pub first: Convolution<N>,
    /// Second convolution, on the first one's maps.
    pub second: Convolution<N>,
    /// What is added to its sum.
    pub shortcut: Shortcut<N>,
}

/// What is added to the sum of a block's second convolution.
#[derive(Clone, Debug, PartialEq)]
pub enum Shortcut<N: Numbers> {
    /// The block's input, times as much for each channel.
    Identity(Vec<N::Step>),
    /// A convolution of the block's input. Its multipliers do not matter.
    Convolution(Box<Convolution<N>>),
}

/// The fully connected layer on the last maps.
#[derive(Clone, Debug, PartialEq)]
pub struct Head<N: Numbers> {
    /// `[outputs, channels]`, for each place alike.
    pub weights: Vec<N::Weight>,
    /// What each output's sum begins with.
    pub bias: Vec<N::Sum>,
    /// What makes each output's sum a logit.
    pub multipliers: Vec<N::Multiplier>,
    /// Channels of the last maps.
    pub channels: usize,
    /// Rows times columns of the last maps.
    pub places: usize,
}

impl<N: Numbers> Convolution<N> {
    /// Output channels.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// The weight of an output and an input channel at a tap.
    pub fn weight(&self, output: usize, input: usize, tap: [usize; 2]) -> N::Weight {
        let [rows, columns] = self.window.kernel;
        self.weights[((output * self.inputs + input) * rows + tap[0]) * columns + tap[1]]
    }
}
