//! Weights in the order in which the kernels read them. Which tap of which channel they belong to is left to the caller.

use std::fmt;

use super::Kernels;
use super::numbers::{Integers, Numbers};

/// Bytes of a group: of the levels, and weights of one output channel, that one instruction multiplies and sums. They are
/// four numbers of integers, and one of floats.
pub(super) const GROUP: usize = 4;

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// A cache line: no load of packed weights straddles two.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// The order of packed weights, which a level chooses.
///
/// # Shape
/// One byte a byte of a weight: `[block][group][channel within the block][4]`. Two bytes, for integers:
/// `[block][group][parity][channel within the block][2]`, the even weights of a group before the odd ones. The last block
/// is filled up with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Channels of a block.
    pub block: usize,
    /// What a byte of a weight becomes, 1 or 2.
    pub bytes: usize,
    /// Groups of zeros behind the last block: as many as the level reads beyond a run.
    pub beyond: usize,
}

impl Layout {
    /// Bytes of one group of all channels of a block.
    pub const fn group_bytes(self) -> usize {
        self.block * GROUP * self.bytes
    }

    /// Where the four bytes of a channel and a group stand, the lower one of each first.
    fn places(self, groups: usize, channel: usize, group: usize) -> [usize; 4] {
        let (block, within) = (channel / self.block, channel % self.block);
        let first = (block * groups + group) * self.group_bytes() + within * GROUP;
        match self.bytes {
            1 => [0, 1, 2, 3].map(|i| first + i),
            _ => [0, self.block * GROUP, 2, self.block * GROUP + 2].map(|i| first + i),
        }
    }
}

/// The weights of one layer, packed once for one level.
pub struct Weights<N: Numbers = Integers> {
    kernels: Kernels<N>,
    channels: usize,
    groups: usize,
    lines: Vec<Line>,
}

impl<N: Numbers> Weights<N> {
    /// Packs `channels` output channels of `groups` groups; `weight` says the weights of a channel and a group.
    ///
    /// Input channels that are no multiple of a group's levels are filled up with zeros by the caller.
    ///
    /// # Panics
    /// There is no channel or no group, or a weight of integers is -128, which `docs/quantization.md` (2) rules out.
    pub fn pack(
        kernels: Kernels<N>,
        channels: usize,
        groups: usize,
        weight: impl Fn(usize, usize) -> N::Group,
    ) -> Weights<N> {
        assert!(channels > 0 && groups > 0, "a layer without weights");
        let layout = N::layout(kernels);
        let bytes = (channels.div_ceil(layout.block) * groups + layout.beyond) * layout.group_bytes();
        let mut lines = vec![Line([0; LINE]); bytes.div_ceil(LINE)];
        for channel in 0..channels {
            for group in 0..groups {
                let places = layout.places(groups, channel, group);
                for (byte, at) in N::to_bytes(weight(channel, group)).into_iter().zip(places) {
                    let widened = i16::from(byte.cast_signed()).to_le_bytes();
                    lines[at / LINE].0[at % LINE..][..layout.bytes].copy_from_slice(&widened[..layout.bytes]);
                }
            }
        }
        Weights { kernels, channels, groups, lines }
    }

    /// The token that they are packed for.
    pub fn kernels(&self) -> Kernels<N> {
        self.kernels
    }

    /// Output channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Groups of weights of each channel.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Output channels with those that fill up the last block.
    pub(super) fn padded_channels(&self) -> usize {
        self.channels.next_multiple_of(N::layout(self.kernels).block)
    }

    /// The first packed weight, at the beginning of a cache line.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub(super) fn as_ptr(&self) -> *const u8 {
        self.lines.as_ptr().cast()
    }

    /// The weights of a channel, one that fills up a block included, and a group.
    pub(super) fn at(&self, channel: usize, group: usize) -> N::Group {
        let places = N::layout(self.kernels).places(self.groups, channel, group);
        // The lower byte of a widened weight is the weight itself.
        N::from_bytes(places.map(|at| self.lines[at / LINE].0[at % LINE]))
    }
}

impl<N: Numbers> fmt::Debug for Weights<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Weights { kernels, channels, groups, .. } = self;
        write!(f, "Weights({channels} channels, {groups} groups, {})", kernels.level())
    }
}
