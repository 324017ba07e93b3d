//! The whole network on a batch of patches: layer after layer while the batch is in the cache.

use super::description::{Description, Shortcut, Window};
use super::equations::{self, Inconsistent};
use super::layer::{GrayRows, HeadLayer, Layer, Maps};
use crate::engine::LayerTime;
use crate::simd::Kernels;
use std::fmt;
use std::time::Instant;

/// Patches that go through all layers together. More use packed weights more often while these are in the cache;
/// their maps must stay in it too.
pub(super) const BATCH: usize = 64;

/// A network whose weights are packed for one processor.
#[derive(Debug)]
pub(super) struct Network {
    gray: GrayRows,
    stem: Layer,
    pool: Pool,
    blocks: Vec<Block>,
    head: HeadLayer,
    patch: usize,
}

#[derive(Debug)]
struct Block {
    first: Layer,
    second: Layer,
    /// n\[c\] of (7), where the shortcut is the identity.
    identity: Option<Vec<i16>>,
}

/// What a batch needs besides the weights, kept between batches.
#[derive(Clone)]
pub(super) struct Buffers {
    gray: Vec<u8>,
    /// A block's hidden maps, and before any block the stem's.
    hidden: Vec<u8>,
    /// A block's input and output.
    maps: [Vec<u8>; 2],
    sums: Vec<i32>,
}

/// Says nothing: a patient's pixels are in it.
impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers").finish_non_exhaustive()
    }
}

impl Network {
    /// Packs what a file says.
    ///
    /// # Errors
    /// [`Inconsistent`], where its numbers are not those of the document.
    pub fn new(description: &Description, kernels: Kernels) -> Result<Network, Inconsistent> {
        equations::check(description)?;
        let stem = &description.stem;
        let gray = GrayRows::new(stem.window, stem.inputs);
        let block = |block: &super::description::Block| {
            let hidden_scale = block.second.input_scale;
            let (convolution, identity) = match &block.shortcut {
                Shortcut::Convolution(convolution) => (Some(&**convolution), None),
                Shortcut::Identity => {
                    (None, Some(equations::identity_factors(&block.second, block.first.input_scale)?))
                }
            };
            Ok(Block {
                first: Layer::convolution(kernels, &block.first, None, hidden_scale),
                second: Layer::convolution(kernels, &block.second, convolution, block.output_scale),
                identity,
            })
        };
        Ok(Network {
            gray,
            stem: Layer::stem(kernels, stem, gray, description.stem_scale),
            pool: Pool { window: description.pool, channels: stem.outputs() },
            blocks: description.blocks.iter().map(block).collect::<Result<_, _>>()?,
            head: HeadLayer::new(kernels, &description.head),
            patch: description.input.iter().product(),
        })
    }

    /// Outputs of a patch.
    pub fn outputs(&self) -> usize {
        self.head.outputs()
    }

    /// Buffers for one thread.
    pub fn buffers(&self) -> Buffers {
        let hidden =
            self.blocks.iter().map(|block| block.first.stride()).fold(self.stem.stride(), usize::max);
        let maps = self.blocks.iter().map(|block| block.second.stride()).fold(self.pool.stride(), usize::max);
        Buffers {
            gray: vec![0; BATCH * self.gray.stride()],
            hidden: vec![0; BATCH * hidden],
            maps: [vec![0; BATCH * maps], vec![0; BATCH * maps]],
            sums: vec![0; BATCH * self.outputs()],
        }
    }

    /// Runs any number of patches.
    ///
    /// # Shape
    /// `patches` is `[n, views, rows, columns]`, `logits` is `[n, outputs]`.
    pub fn run(&self, patches: &[u8], logits: &mut [f32], buffers: &mut Buffers) {
        let batches = patches.chunks(BATCH * self.patch).zip(logits.chunks_mut(BATCH * self.outputs()));
        for (patches, logits) in batches {
            self.run_batch(patches, logits, buffers, || {});
        }
    }

    /// Runs patches and says what each layer took.
    pub fn profile(&self, patches: &[u8]) -> Vec<LayerTime> {
        let mut layers = self.layers();
        let mut buffers = self.buffers();
        let mut logits = vec![0.0; BATCH * self.outputs()];
        for patches in patches.chunks(BATCH * self.patch) {
            let logits = &mut logits[..patches.len() / self.patch * self.outputs()];
            let (mut rest, mut since) = (layers.iter_mut(), Instant::now());
            self.run_batch(patches, logits, &mut buffers, || {
                let now = Instant::now();
                let layer = rest.next().expect("as many layers as there are");
                layer.seconds += (now - since).as_secs_f64();
                since = now;
            });
        }
        layers
    }

    /// All that [`run_batch`](Network::run_batch) does, in its order.
    fn layers(&self) -> Vec<LayerTime> {
        let layer =
            |name: String, products: usize| LayerTime { name, multiply_adds: products as u64, seconds: 0.0 };
        let blocks = self.blocks.iter().enumerate().flat_map(|(at, Block { first, second, .. })| {
            let halves = [("first", first), ("second", second)];
            halves.map(|(half, own)| layer(format!("block {}, {half}", at + 1), own.products()))
        });
        let before = [("layout", 0), ("stem", self.stem.products()), ("pool", 0)]
            .map(|(name, n)| layer(name.into(), n));
        before.into_iter().chain(blocks).chain([layer("head".into(), self.head.products())]).collect()
    }

    /// `done` is called behind each layer.
    fn run_batch(&self, patches: &[u8], logits: &mut [f32], buffers: &mut Buffers, mut done: impl FnMut()) {
        let rows = patches.len() / self.patch;
        let Buffers { gray, hidden, maps: [input, output], sums } = buffers;
        self.gray.fill(patches, gray);
        done();
        self.stem.run(rows, &[Maps { levels: gray, stride: self.gray.stride() }], None, hidden);
        done();
        self.pool.run(rows, hidden, input);
        done();
        let mut stride = self.pool.stride();
        for Block { first, second, identity } in &self.blocks {
            let block_input = Maps { levels: input, stride };
            first.run(rows, &[block_input], None, hidden);
            done();
            let hidden = Maps { levels: hidden, stride: first.stride() };
            let shortcut = identity.as_deref().map(|steps| (block_input, steps));
            second.run(rows, &[hidden, block_input], shortcut, output);
            done();
            std::mem::swap(input, output);
            stride = second.stride();
        }
        self.head.run(rows, Maps { levels: input, stride }, &mut sums[..rows * self.outputs()], logits);
        done();
    }
}

/// The max-pool of u8 maps. Padding never wins, since no level is below 0, so only live taps are looked at.
#[derive(Clone, Copy, Debug)]
struct Pool {
    window: Window,
    channels: usize,
}

impl Pool {
    /// Bytes of one patch's output.
    fn stride(&self) -> usize {
        self.window.output.iter().product::<usize>() * self.channels
    }

    fn run(&self, rows: usize, input: &[u8], output: &mut [u8]) {
        let Pool { window, channels } = *self;
        let input_stride = window.input.iter().product::<usize>() * channels;
        let patches = input.chunks_exact(input_stride).zip(output.chunks_exact_mut(self.stride()));
        for (input, output) in patches.take(rows) {
            for ([row, column], largest) in window.places().zip(output.chunks_exact_mut(channels)) {
                largest.fill(0);
                for (_, y) in window.live_rows(row) {
                    for (_, x) in window.live_columns(column) {
                        let levels = &input[(y * window.input[1] + x) * channels..][..channels];
                        for (largest, &level) in largest.iter_mut().zip(levels) {
                            *largest = level.max(*largest);
                        }
                    }
                }
            }
        }
    }
}
