//! The two arithmetics that a network can have, and what one number does with another: with `scalar.rs`, the
//! specification of every level.

use std::fmt;
use std::ops::AddAssign;

use super::Kernels;
use super::job::Job;
use super::position::Run;
use super::scalar;
use super::weights::{GROUP, Layout, Weights};

/// An arithmetic: [`Integers`] or [`Floats`]. Nobody else can implement it.
///
/// A group of levels is four bytes in either: four levels of integers, or one of floats. So the loops over groups, runs and
/// tiles are the same.
pub trait Numbers: Copy + fmt::Debug + Eq + Send + Sync + 'static {
    /// An element of the maps.
    type Level: Copy + Default + PartialOrd + From<u8> + fmt::Debug + Send + Sync;
    /// What one level is multiplied with.
    type Weight: Copy + Default + PartialEq + fmt::Debug + Send + Sync;
    /// The weights of one output channel that meet a group of levels.
    type Group: Copy;
    /// What products are added up in.
    type Sum: Copy + Default + PartialEq + AddAssign + fmt::Debug + Send + Sync;
    /// What an identity shortcut's level is multiplied with before a channel's sum gains it.
    type Step: Copy + PartialEq + fmt::Debug + Send + Sync;
    /// What a channel's sum is multiplied with to become a level, or a logit.
    type Multiplier: Copy + PartialEq + fmt::Debug + Send + Sync;

    /// Levels of a group.
    const LEVELS: usize = GROUP / size_of::<Self::Level>();

    /// The group of weights that meet levels 0, 1 and so on of a group.
    fn group(weight: impl Fn(usize) -> Self::Weight) -> Self::Group;

    /// A sum as a real number.
    fn real(sum: Self::Sum, multiplier: Self::Multiplier) -> f32;

    /// A group of weights as bytes, the lower ones of a number first.
    #[doc(hidden)]
    fn to_bytes(weights: Self::Group) -> [u8; GROUP];

    /// The group that [`to_bytes`](Numbers::to_bytes) made these bytes of.
    #[doc(hidden)]
    fn from_bytes(bytes: [u8; GROUP]) -> Self::Group;

    /// Adds the products of a group.
    #[doc(hidden)]
    fn dot(sum: Self::Sum, levels: &[Self::Level], weights: Self::Group) -> Self::Sum;

    /// What becomes of a sum and of an identity shortcut's level: shortcut, ReLU, and the rounding to a level.
    #[doc(hidden)]
    fn activate(
        sum: Self::Sum,
        shortcut: Option<(Self::Level, Self::Step)>,
        multiplier: Self::Multiplier,
    ) -> Self::Level;

    /// A channel's bias with what the level of `weights` takes off all levels that meet these runs.
    #[doc(hidden)]
    fn start(weights: &Weights<Self>, channel: usize, bias: Self::Sum, runs: &[Run]) -> Self::Sum;

    #[doc(hidden)]
    fn layout(kernels: Kernels<Self>) -> Layout;

    #[doc(hidden)]
    fn run(kernels: Kernels<Self>, job: Job<'_, Self>);
}

/// u8 levels times s8 weights, summed in i32, requantized to u8: `docs/quantization.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integers {}

/// f32 throughout.
///
/// A sum begins with the bias and gains one product at a time, run after run, with one rounding each (a fused
/// multiply-add). So its bits follow from this order alone, whatever the width of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floats {}

/// The step and the multiplier of floats, by which nothing is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct One;

impl Numbers for Integers {
    type Level = u8;
    type Weight = i8;
    type Group = [i8; GROUP];
    type Sum = i32;
    type Step = i16;
    type Multiplier = f32;

    fn group(weight: impl Fn(usize) -> i8) -> [i8; GROUP] {
        std::array::from_fn(weight)
    }

    fn real(sum: i32, multiplier: f32) -> f32 {
        sum as f32 * multiplier
    }

    fn to_bytes(weights: [i8; GROUP]) -> [u8; GROUP] {
        assert!(!weights.contains(&i8::MIN), "a weight of -128");
        weights.map(i8::cast_unsigned)
    }

    fn from_bytes(bytes: [u8; GROUP]) -> [i8; GROUP] {
        bytes.map(u8::cast_signed)
    }

    fn dot(sum: i32, levels: &[u8], weights: [i8; GROUP]) -> i32 {
        // What wraps, wraps the same at every level; `docs/quantization.md` (10) says that no network comes near.
        let products =
            levels.iter().zip(weights).map(|(&level, weight)| i32::from(level) * i32::from(weight));
        products.fold(sum, i32::wrapping_add)
    }

    fn activate(sum: i32, shortcut: Option<(u8, i16)>, multiplier: f32) -> u8 {
        let steps = shortcut.map_or(0, |(level, step)| i32::from(step) * i32::from(level));
        scalar::requantize(sum.wrapping_add(steps), multiplier)
    }

    fn start(weights: &Weights, channel: usize, bias: i32, runs: &[Run]) -> i32 {
        match weights.kernels().offset() {
            0 => bias,
            offset => bias.wrapping_add(offset.wrapping_mul(sum_of_weights(weights, channel, runs))),
        }
    }

    fn layout(kernels: Kernels) -> Layout {
        kernels.layout()
    }

    fn run(kernels: Kernels, job: Job<'_>) {
        kernels.run(job);
    }
}

/// The sum of all weights that a channel's runs meet.
fn sum_of_weights(weights: &Weights, channel: usize, runs: &[Run]) -> i32 {
    let groups = runs.iter().flat_map(|run| run.weight as usize..(run.weight + run.groups) as usize);
    groups.flat_map(|group| weights.at(channel, group)).map(i32::from).sum()
}

impl Numbers for Floats {
    type Level = f32;
    type Weight = f32;
    type Group = f32;
    type Sum = f32;
    type Step = One;
    type Multiplier = One;

    fn group(weight: impl Fn(usize) -> f32) -> f32 {
        weight(0)
    }

    fn real(sum: f32, One: One) -> f32 {
        sum
    }

    fn to_bytes(weight: f32) -> [u8; GROUP] {
        weight.to_le_bytes()
    }

    fn from_bytes(bytes: [u8; GROUP]) -> f32 {
        f32::from_le_bytes(bytes)
    }

    fn dot(sum: f32, levels: &[f32], weight: f32) -> f32 {
        levels[0].mul_add(weight, sum)
    }

    fn activate(sum: f32, shortcut: Option<(f32, One)>, One: One) -> f32 {
        let sum = shortcut.map_or(sum, |(level, One)| sum + level);
        // Not `max`: what is no number stays none, so that a broken network is noticed.
        if sum < 0.0 { 0.0 } else { sum }
    }

    fn start(_weights: &Weights<Floats>, _channel: usize, bias: f32, _runs: &[Run]) -> f32 {
        bias
    }

    fn layout(kernels: Kernels<Floats>) -> Layout {
        kernels.layout()
    }

    fn run(kernels: Kernels<Floats>, job: Job<'_, Floats>) {
        kernels.run(job);
    }
}
