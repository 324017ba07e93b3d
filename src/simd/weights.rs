//! Weights in the order in which the kernels read them. Which tap of which channel they belong to is left to the caller.

use std::fmt;

use super::Kernels;

/// Levels, and weights of one output channel, that one instruction multiplies and sums.
pub(super) const GROUP: usize = 4;

/// A cache line: no load of packed weights straddles two.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([i8; Line::BYTES]);

impl Line {
    const BYTES: usize = 64;
}

/// The weights of one layer, packed once for one level.
///
/// # Shape
/// `[block][group][channel within the block][4]`. The last block is filled up with zeros.
pub struct Weights {
    kernels: Kernels,
    channels: usize,
    groups: usize,
    block: usize,
    lines: Vec<Line>,
}

impl Weights {
    /// Packs `channels` output channels of `groups` groups; `weight` says the four weights of a channel and a group.
    ///
    /// Input channels that are no multiple of four are filled up with zeros by the caller.
    ///
    /// # Panics
    /// There is no channel or no group, or a weight is -128: two products of it overflow 16 bits at
    /// [`Level::Neon`](super::Level::Neon), and `docs/quantization.md` (2) rules it out.
    pub fn pack(
        kernels: Kernels,
        channels: usize,
        groups: usize,
        weight: impl Fn(usize, usize) -> [i8; 4],
    ) -> Weights {
        assert!(channels > 0 && groups > 0, "a layer without weights");
        let block = kernels.block();
        let bytes = channels.next_multiple_of(block) * groups * GROUP;
        let mut lines = vec![Line([0; Line::BYTES]); bytes.div_ceil(Line::BYTES)];
        for channel in 0..channels {
            for group in 0..groups {
                let four = weight(channel, group);
                assert!(!four.contains(&i8::MIN), "channel {channel}: a weight of -128");
                let at = place(block, groups, channel, group);
                lines[at / Line::BYTES].0[at % Line::BYTES..][..GROUP].copy_from_slice(&four);
            }
        }
        Weights { kernels, channels, groups, block, lines }
    }

    /// The token that they are packed for.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Output channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Groups of four weights of each channel.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Channels of a block.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub(super) fn block(&self) -> usize {
        self.block
    }

    /// Output channels with those that fill up the last block.
    pub(super) fn padded_channels(&self) -> usize {
        self.channels.next_multiple_of(self.block)
    }

    /// The first packed weight, at the beginning of a cache line.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub(super) fn as_ptr(&self) -> *const i8 {
        self.lines.as_ptr().cast()
    }

    /// The four weights of a channel, one that fills up a block included, and a group.
    pub(super) fn at(&self, channel: usize, group: usize) -> [i8; 4] {
        let at = place(self.block, self.groups, channel, group);
        let four = &self.lines[at / Line::BYTES].0[at % Line::BYTES..][..GROUP];
        four.try_into().expect("a group has four weights")
    }
}

/// Where the weights of a channel and a group begin.
fn place(block: usize, groups: usize, channel: usize, group: usize) -> usize {
    (((channel / block) * groups + group) * block + channel % block) * GROUP
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Weights { kernels, channels, groups, .. } = self;
        write!(f, "Weights({channels} channels, {groups} groups, {})", kernels.level())
    }
}
