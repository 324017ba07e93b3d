//! The whole network on a batch of patches: layer after layer while the batch is in the cache.

use super::gray::GrayRows;
use super::layer::{HeadLayer, Identity, Layer};
use super::plan::{self, Plan, Shortcut};
use super::window::Window;
use crate::engine::LayerTime;
use crate::simd::{Kernels, Level, Loop, Numbers};
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

/// Patches of the highest tile of any level: AMX takes as long for one of a single row.
const HIGHEST_TILE: usize = 32;

/// A network whose weights are packed for one processor.
#[derive(Debug)]
pub struct Network<N: Numbers> {
    kernels: Kernels<N>,
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

/// What a batch needs besides its own levels and the weights, kept between batches.
#[derive(Clone)]
pub struct Buffers<N: Numbers> {
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
        let (stem, batch) = (&plan.stem, batch(kernels.level()));
        let gray = GrayRows::new(stem.window, stem.inputs, kernels.at_once() * N::LEVELS);
        let block = |block: &plan::Block<N>| {
            let (convolution, identity) = match &block.shortcut {
                Shortcut::Convolution(convolution) => (Some(&**convolution), None),
                Shortcut::Identity(steps) => (None, Some(steps.clone())),
            };
            Block {
                first: Layer::convolution(kernels, &block.first, None, batch),
                second: Layer::convolution(kernels, &block.second, convolution, batch),
                identity,
            }
        };
        Network {
            kernels,
            gray,
            stem: Layer::stem(kernels, stem, gray, batch),
            pool: Pool::new(plan.pool, batch * stem.outputs()),
            blocks: plan.blocks.iter().map(block).collect(),
            head: HeadLayer::new(kernels, &plan.head, batch),
            patch: plan.input.iter().product(),
            batch,
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

    /// Levels of a patch as the first layer reads it.
    pub fn stride(&self) -> usize {
        self.gray.stride()
    }

    /// How many of `count` patches to run together: as many each time, but for the last, in as few batches as there can be, and
    /// whole tiles where it matters.
    pub fn batch_of(&self, count: usize) -> usize {
        let batches = count.div_ceil(self.batch).max(1);
        count.div_ceil(batches).next_multiple_of(HIGHEST_TILE).clamp(1, self.batch)
    }

    /// Buffers for one thread.
    pub fn buffers(&self) -> Buffers<N> {
        let hidden = self.blocks.iter().map(|block| block.first.size()).fold(self.stem.size(), usize::max);
        let maps = self.blocks.iter().map(|block| block.second.size());
        let maps = maps.fold(self.pool.size() / self.batch, usize::max);
        Buffers {
            hidden: vec![N::Level::default(); self.batch * hidden],
            maps: [maps, maps].map(|maps| vec![N::Level::default(); self.batch * maps]),
            sums: vec![N::Sum::default(); self.batch * self.outputs()],
        }
    }

    /// Lays out the patches of a batch for [`run`](Network::run).
    ///
    /// # Shape
    /// `patches` is `[n, views, rows, columns]`; `levels` is `[batch, stride]`. What of it belongs to no pixel must be 0, and stays
    /// so.
    pub fn lay_out(&self, patches: &[u8], levels: &mut [N::Level]) {
        self.gray.fill(patches, levels);
    }

    /// Runs a batch.
    ///
    /// # Shape
    /// `levels` is what [`lay_out`](Network::lay_out) wrote, `logits` is `[n, outputs]`.
    pub fn run(&self, levels: &[N::Level], logits: &mut [f32], buffers: &mut Buffers<N>) {
        self.run_layers(levels, logits, buffers, || {});
    }

    /// Runs patches and says what each layer took.
    pub fn profile(&self, patches: &[u8]) -> Vec<LayerTime> {
        let mut layers = self.layers();
        let mut levels = vec![N::Level::default(); self.batch * self.stride()];
        let mut buffers = self.buffers();
        let mut logits = vec![0.0; self.batch * self.outputs()];
        for patches in patches.chunks(self.batch_of(patches.len() / self.patch) * self.patch) {
            let logits = &mut logits[..patches.len() / self.patch * self.outputs()];
            let (mut rest, mut since) = (layers.iter_mut(), Instant::now());
            let mut done = || {
                let now = Instant::now();
                let layer = rest.next().expect("as many layers as there are");
                layer.seconds += (now - since).as_secs_f64();
                since = now;
            };
            self.lay_out(patches, &mut levels);
            done();
            self.run_layers(&levels, logits, &mut buffers, done);
        }
        layers
    }

    /// All that [`lay_out`](Network::lay_out) and [`run_layers`](Network::run_layers) do, in their order.
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
    fn run_layers(
        &self,
        levels: &[N::Level],
        logits: &mut [f32],
        buffers: &mut Buffers<N>,
        mut done: impl FnMut(),
    ) {
        let rows = logits.len() / self.outputs();
        let Buffers { hidden, maps: [input, output], sums } = buffers;
        self.stem.run(rows, &[levels], None, hidden);
        done();
        let count = rows * self.stem.channels();
        self.kernels.widely(Pooling { pool: &self.pool, count, input: hidden, output: input });
        done();
        for Block { first, second, identity } in &self.blocks {
            first.run(rows, &[input], None, hidden);
            done();
            let shortcut = identity.as_deref().map(|steps| Identity { levels: input, steps });
            second.run(rows, &[hidden, input], shortcut, output);
            done();
            std::mem::swap(input, output);
        }
        self.head.run(rows, input, &mut sums[..rows * self.outputs()], logits);
        done();
    }
}

/// The max-pool. Padding never wins, since no level behind a ReLU is below 0, so only live taps are looked at.
#[derive(Clone, Debug)]
struct Pool {
    /// Levels of a place, of all patches of a batch.
    place: usize,
    /// Of each place of the output, the input's places that it looks at.
    places: Vec<Vec<usize>>,
    inputs: usize,
}

/// Levels whose maxima stay in registers while all places pass.
const TOGETHER: usize = 64;

impl Pool {
    fn new(window: Window, place: usize) -> Pool {
        let seen = |[row, column]: [usize; 2]| {
            let rows = window.live_rows(row).map(|(_, row)| row);
            let of_row = |row| window.live_columns(column).map(move |(_, column)| (row, column));
            rows.flat_map(of_row).map(|(row, column)| row * window.input[1] + column).collect()
        };
        Pool { place, places: window.places().map(seen).collect(), inputs: window.input.iter().product() }
    }

    /// Levels of the output, of all patches of a batch.
    fn size(&self) -> usize {
        self.places.len() * self.place
    }
}

/// The maxima of the first `count` levels of each place.
struct Pooling<'a, L> {
    pool: &'a Pool,
    count: usize,
    input: &'a [L],
    output: &'a mut [L],
}

impl<L: Copy + Default + PartialOrd> Loop for Pooling<'_, L> {
    #[inline(always)]
    fn run(self) {
        let Pooling { pool, count, input, output } = self;
        let input: Vec<&[L]> = input.chunks_exact(pool.place).take(pool.inputs).collect();
        for (seen, output) in pool.places.iter().zip(output.chunks_exact_mut(pool.place)) {
            let (blocks, rest) = output[..count].as_chunks_mut::<TOGETHER>();
            let first_of_rest = blocks.len() * TOGETHER;
            for (block, largest) in blocks.iter_mut().enumerate() {
                let mut maxima = [L::default(); TOGETHER];
                for &place in seen {
                    keep_largest(&mut maxima, &input[place][block * TOGETHER..][..TOGETHER]);
                }
                *largest = maxima;
            }
            rest.fill(L::default());
            for &place in seen {
                keep_largest(rest, &input[place][first_of_rest..][..rest.len()]);
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
