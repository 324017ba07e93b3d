//! The whole network on a batch of patches: layer after layer while the batch is in the cache.

use super::gray::GrayRows;
use super::layer::{HeadLayer, Layer, Maps};
use super::plan::{self, Plan, Shortcut};
use super::window::Window;
use crate::engine::LayerTime;
use crate::simd::{self, Kernels, Level, Numbers};
use std::fmt;
use std::time::Instant;

/// Patches that go through all layers together. More use packed weights more often while these are in the cache; their
/// maps must stay in it too. Where a product takes less time than its weights take to come, more are better.
fn batch(level: Level) -> usize {
    match level {
        Level::AmxInt8 => 192,
        _ => 64,
    }
}

/// A network whose weights are packed for one processor.
#[derive(Debug)]
pub struct Network<N: Numbers> {
    gray: GrayRows,
    stem: Layer<N>,
    pool: Pool,
    blocks: Vec<Block<N>>,
    head: HeadLayer<N>,
    patch: usize,
    batch: usize,
}

#[derive(Debug)]
struct Block<N: Numbers> {
    first: Layer<N>,
    second: Layer<N>,
    /// Where the shortcut is the identity.
    identity: Option<Vec<N::Step>>,
}

/// What a batch needs besides the weights, kept between batches.
#[derive(Clone)]
pub struct Buffers<N: Numbers> {
    gray: Vec<N::Level>,
    /// A block's hidden maps, and before any block the stem's.
    hidden: Vec<N::Level>,
    /// A block's input and output.
    maps: [Vec<N::Level>; 2],
    sums: Vec<N::Sum>,
}

/// Says nothing: a patient's pixels are in it.
impl<N: Numbers> fmt::Debug for Buffers<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers").finish_non_exhaustive()
    }
}

impl<N: Numbers> Network<N> {
    /// Packs a plan's weights.
    pub fn new(plan: &Plan<N>, kernels: Kernels<N>) -> Network<N> {
        let stem = &plan.stem;
        let gray = GrayRows::new(stem.window, stem.inputs);
        let block = |block: &plan::Block<N>| {
            let (convolution, identity) = match &block.shortcut {
                Shortcut::Convolution(convolution) => (Some(&**convolution), None),
                Shortcut::Identity(steps) => (None, Some(steps.clone())),
            };
            Block {
                first: Layer::convolution(kernels, &block.first, None),
                second: Layer::convolution(kernels, &block.second, convolution),
                identity,
            }
        };
        Network {
            gray,
            stem: Layer::stem(kernels, stem, gray),
            pool: Pool::new(plan.pool, stem.outputs()),
            blocks: plan.blocks.iter().map(block).collect(),
            head: HeadLayer::new(kernels, &plan.head),
            patch: plan.input.iter().product(),
            batch: batch(kernels.level()),
        }
    }

    /// Patches of a batch, at most.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Outputs of a patch.
    pub fn outputs(&self) -> usize {
        self.head.outputs()
    }

    /// Buffers for one thread.
    pub fn buffers(&self) -> Buffers<N> {
        let hidden =
            self.blocks.iter().map(|block| block.first.stride()).fold(self.stem.stride(), usize::max);
        let maps = self.blocks.iter().map(|block| block.second.stride()).fold(self.pool.stride(), usize::max);
        Buffers {
            gray: vec![N::Level::default(); self.batch * self.gray.stride()],
            hidden: vec![N::Level::default(); self.batch * hidden],
            maps: [maps, maps].map(|maps| vec![N::Level::default(); self.batch * maps]),
            sums: vec![N::Sum::default(); self.batch * self.outputs()],
        }
    }

    /// Runs any number of patches.
    ///
    /// # Shape
    /// `patches` is `[n, views, rows, columns]`, `logits` is `[n, outputs]`.
    pub fn run(&self, patches: &[u8], logits: &mut [f32], buffers: &mut Buffers<N>) {
        let batches =
            patches.chunks(self.batch * self.patch).zip(logits.chunks_mut(self.batch * self.outputs()));
        for (patches, logits) in batches {
            self.run_batch(patches, logits, buffers, || {});
        }
    }

    /// Runs patches and says what each layer took.
    pub fn profile(&self, patches: &[u8]) -> Vec<LayerTime> {
        let mut layers = self.layers();
        let mut buffers = self.buffers();
        let mut logits = vec![0.0; self.batch * self.outputs()];
        for patches in patches.chunks(self.batch * self.patch) {
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
    fn run_batch(
        &self,
        patches: &[u8],
        logits: &mut [f32],
        buffers: &mut Buffers<N>,
        mut done: impl FnMut(),
    ) {
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
            let shortcut = identity.as_deref().map(|steps| simd::Shortcut { levels: input, stride, steps });
            second.run(rows, &[hidden, block_input], shortcut, output);
            done();
            std::mem::swap(input, output);
            stride = second.stride();
        }
        self.head.run(rows, Maps { levels: input, stride }, &mut sums[..rows * self.outputs()], logits);
        done();
    }
}

/// The max-pool. Padding never wins, since no level behind a ReLU is below 0, so only live taps are looked at.
#[derive(Clone, Debug)]
struct Pool {
    channels: usize,
    /// Levels of one patch's input.
    input: usize,
    /// Of each place of the output, where the pixels begin that it looks at.
    places: Vec<Vec<usize>>,
}

/// Channels whose maxima stay in registers while all pixels of a place pass.
const TOGETHER: usize = 64;

impl Pool {
    fn new(window: Window, channels: usize) -> Pool {
        let pixels = |[row, column]: [usize; 2]| {
            let rows = window.live_rows(row).map(|(_, row)| row);
            let of_row = |row| window.live_columns(column).map(move |(_, column)| (row, column));
            rows.flat_map(of_row).map(|(row, column)| (row * window.input[1] + column) * channels).collect()
        };
        let places = window.places().map(pixels).collect();
        Pool { channels, input: window.input.iter().product::<usize>() * channels, places }
    }

    /// Levels of one patch's output.
    fn stride(&self) -> usize {
        self.places.len() * self.channels
    }

    fn run<L: Copy + Default + PartialOrd>(&self, rows: usize, input: &[L], output: &mut [L]) {
        let patches = input.chunks_exact(self.input).zip(output.chunks_exact_mut(self.stride()));
        for (input, output) in patches.take(rows) {
            for (pixels, output) in self.places.iter().zip(output.chunks_exact_mut(self.channels)) {
                let (blocks, rest) = output.as_chunks_mut::<TOGETHER>();
                let first_of_rest = blocks.len() * TOGETHER;
                for (block, largest) in blocks.iter_mut().enumerate() {
                    *largest = [L::default(); TOGETHER];
                    for &pixel in pixels {
                        let levels = &input[pixel + block * TOGETHER..][..TOGETHER];
                        keep_largest(largest, levels);
                    }
                }
                rest.fill(L::default());
                for &pixel in pixels {
                    keep_largest(rest, &input[pixel + first_of_rest..][..rest.len()]);
                }
            }
        }
    }
}

#[inline(always)]
fn keep_largest<L: Copy + PartialOrd>(largest: &mut [L], levels: &[L]) {
    for (largest, &level) in largest.iter_mut().zip(levels) {
        *largest = if level > *largest { level } else { *largest };
    }
}
