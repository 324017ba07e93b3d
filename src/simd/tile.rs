//! The loops that all vector levels share: blocks of channels, tiles of rows, runs, groups. Which instructions a step
//! of them takes is left to an [`Isa`], one file each.
//!
//! A tile is a few rows times one block of channels, and its sums stay in registers from the first run to the last:
//! each load of weights serves all rows, each load of levels all channels. Rows are the inner loop and blocks the outer
//! one, so that a block's weights stay in the cache nearest to the processor while all rows of the batch pass.
//!
//! How it becomes machine code: the two halves of a tile, [`multiply`] and [`write()`], are `inline(always)` into
//! [`Isa::enter`], which enables the level's instructions; so the [`Isa`]'s other functions, which enable the same ones,
//! are inlined as well. Each half of each size of tile is a function of its own, since the sums did not stay in
//! registers when a compiler met both halves at once. They reach `enter` as a [`Work`] and not as a closure, which
//! cannot be `inline(always)`: left outside, as large as assertions make it, it was thirty times slower.

use std::marker::PhantomData;

use super::job::{Job, Output};
use super::numbers::Numbers;
use super::position::{Position, Shortcut, Source};
use super::weights::{GROUP, LINE, Layout};

/// What one level can do: the steps of a tile, on vectors of `LANES` output channels.
///
/// All its functions are unsafe for the same two reasons: the processor must have the level's instructions, and pointers
/// must be good for what is said to be read and written. They need be aligned only where that is said.
pub(super) trait Isa {
    /// What is multiplied.
    type Numbers: Numbers;
    /// Sums of `LANES` channels on their way, in whatever parts the level keeps them.
    type Sums: Copy;
    /// One group of levels of one row, ready to meet all channels.
    type Levels: Copy;
    /// One group of weights of `LANES` channels.
    type Weights: Copy;

    /// Channels of a vector.
    const LANES: usize;
    /// How weights are packed; a block is a whole number of vectors.
    const LAYOUT: Layout;
    /// Rows of a tile, [`MOST_ROWS`] at most: as many as the registers hold.
    const ROWS: usize;
    /// Groups that one turn of the innermost loop takes. Several, where the rows' addresses would otherwise be computed
    /// by ports of the processor that could multiply; one, where registers are short.
    const UNROLLED: usize;

    /// Calls `work` where the compiler may use the level's instructions: a function of its own, never inlined.
    unsafe fn enter(work: impl Work);

    /// The bias alone. Reads `LANES` numbers.
    unsafe fn start(bias: *const Sum<Self>) -> Self::Sums;

    /// Reads a group, which is `GROUP` bytes.
    unsafe fn levels(at: *const Level<Self>) -> Self::Levels;

    /// Reads `LANES * GROUP` bytes, aligned to as many; if a weight has two, as many again half a group's bytes further.
    unsafe fn weights(at: *const u8) -> Self::Weights;

    /// Asks for the cache line at an address, which may be anywhere. Levels that multiply more slowly than memory brings
    /// weights do not.
    unsafe fn prefetch(_at: *const u8) {}

    /// Adds the products of a group.
    unsafe fn dot(sums: Self::Sums, levels: Self::Levels, weights: Self::Weights) -> Self::Sums;

    /// Writes what the sums are, `LANES` numbers.
    unsafe fn finish(sums: Self::Sums, out: *mut Sum<Self>);

    /// [`Numbers::activate`] on a whole block of channels: reads as many sums, multipliers and, if there is a shortcut,
    /// levels and steps; writes as many levels.
    unsafe fn activate(
        sums: *const Sum<Self>,
        shortcut: Option<(*const Level<Self>, *const <Self::Numbers as Numbers>::Step)>,
        multipliers: *const <Self::Numbers as Numbers>::Multiplier,
        out: *mut Level<Self>,
    );
}

/// A level as an [`Isa`] reads it.
type Level<I> = <<I as Isa>::Numbers as Numbers>::Level;

/// A sum as an [`Isa`] writes it.
type Sum<I> = <<I as Isa>::Numbers as Numbers>::Sum;

/// One half of a tile, to be done where the compiler may use a level's instructions.
pub(super) trait Work {
    /// Does it. Implementations are `inline(always)`.
    ///
    /// # Safety
    /// As the function says that is called in it.
    unsafe fn work(self);
}

/// Rows of the highest tile of any level.
const MOST_ROWS: usize = 6;

/// Channels of the widest.
const MOST_CHANNELS: usize = 64;

/// A tile's sums between its two halves: row by row, `width` channels each.
#[repr(C, align(64))]
struct TileSums<S>([S; MOST_ROWS * MOST_CHANNELS]);

/// Which part of the output a tile is.
#[derive(Clone, Copy)]
struct Tile {
    row: usize,
    rows: usize,
    channel: usize,
    /// Channels, those that fill up the last block included.
    width: usize,
    /// With each group of weights that is read, the cache line so many bytes further is asked for.
    prefetched: usize,
}

/// Runs a job on one level. `VECTORS` is the vectors of a block.
///
/// # Safety
/// The processor has the level's instructions.
pub(super) unsafe fn run<I: Isa, const VECTORS: usize>(job: Job<'_, I::Numbers>) {
    let layout = I::Numbers::layout(job.weights().kernels());
    assert_eq!(layout, I::LAYOUT, "the weights are packed for another level");
    let Job { positions, rows, sources, mut output } = job;
    for (place, position) in positions.iter().enumerate() {
        // SAFETY: the caller answers for the instructions, and the rest is the job's.
        unsafe { run_position::<I, VECTORS>(position, rows, &sources, output.of_place(place)) };
    }
}

/// One place of a job.
///
/// # Safety
/// The processor has the level's instructions; position, rows, sources and output are a job's.
unsafe fn run_position<I: Isa, const VECTORS: usize>(
    position: &Position<I::Numbers>,
    rows: usize,
    sources: &[Source<'_, Level<I>>; 2],
    mut output: Output<'_, I::Numbers>,
) {
    let weights = position.weights();
    const {
        assert!(I::LAYOUT.block == VECTORS * I::LANES, "a block is a whole number of vectors");
        assert!(I::LAYOUT.block <= MOST_CHANNELS && I::ROWS <= MOST_ROWS, "every tile fits in `TileSums`");
    };
    let mut sums = TileSums([Sum::<I>::default(); MOST_ROWS * MOST_CHANNELS]);
    let mut channel = 0;
    while channel < weights.channels() {
        // Of a block that is not full, such as a head's few classes, only the vectors that are needed.
        let full = weights.channels() - channel >= I::LAYOUT.block;
        let width = if full { I::LAYOUT.block } else { I::LANES };
        let next_block = weights.groups() * I::LAYOUT.group_bytes();
        let (mut row, mut line) = (0, 0);
        while row < rows {
            // As few tiles as possible, as high as each other: the sums of a low one wait for themselves.
            let left = rows - row;
            let rows = left.div_ceil(left.div_ceil(I::ROWS));
            // A network's weights are more than the second cache holds beside its activations. So the first tiles of a
            // block fetch the next block's weights, each another line of every group.
            let prefetched = if line < I::LAYOUT.group_bytes() { next_block + line } else { 0 };
            let tile = Tile { row, rows, channel, width, prefetched };
            // SAFETY: the caller answers for the instructions; the rows are the job's, and a vector that begins below
            // `channels` lies within a block.
            unsafe {
                if full {
                    multiply_rows::<I, VECTORS>(tile, position, sources, &mut sums);
                } else {
                    multiply_rows::<I, 1>(tile, position, sources, &mut sums);
                }
                I::enter(Write::<I> { tile, sums: &sums, output: &mut output, level: PhantomData });
            }
            row += tile.rows;
            line += LINE;
        }
        channel += width;
    }
}

/// The first half of a tile.
struct Multiply<'a, I: Isa, const ROWS: usize, const VECTORS: usize> {
    tile: Tile,
    position: &'a Position<I::Numbers>,
    sources: &'a [Source<'a, Level<I>>; 2],
    sums: &'a mut TileSums<Sum<I>>,
    level: PhantomData<I>,
}

impl<I: Isa, const ROWS: usize, const VECTORS: usize> Work for Multiply<'_, I, ROWS, VECTORS> {
    #[inline(always)]
    unsafe fn work(self) {
        // SAFETY: the caller's promise, passed on.
        unsafe { multiply::<I, ROWS, VECTORS>(self.tile, self.position, self.sources, self.sums) }
    }
}

/// The second.
struct Write<'a, 'out, I: Isa> {
    tile: Tile,
    sums: &'a TileSums<Sum<I>>,
    output: &'a mut Output<'out, I::Numbers>,
    level: PhantomData<I>,
}

impl<I: Isa> Work for Write<'_, '_, I> {
    #[inline(always)]
    unsafe fn work(self) {
        // SAFETY: the caller's promise, passed on.
        unsafe { write::<I>(self.tile, self.sums, self.output) }
    }
}

/// Tells the compiler the number of rows: only then are the sums registers.
///
/// # Safety
/// As [`multiply`], for `tile.rows` rows.
unsafe fn multiply_rows<I: Isa, const VECTORS: usize>(
    tile: Tile,
    position: &Position<I::Numbers>,
    sources: &[Source<'_, Level<I>>; 2],
    sums: &mut TileSums<Sum<I>>,
) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match tile.rows {
            6 if I::ROWS >= 6 => {
                I::enter(Multiply::<I, 6, VECTORS> { tile, position, sources, sums, level: PhantomData })
            }
            5 if I::ROWS >= 5 => {
                I::enter(Multiply::<I, 5, VECTORS> { tile, position, sources, sums, level: PhantomData })
            }
            4 if I::ROWS >= 4 => {
                I::enter(Multiply::<I, 4, VECTORS> { tile, position, sources, sums, level: PhantomData })
            }
            3 if I::ROWS >= 3 => {
                I::enter(Multiply::<I, 3, VECTORS> { tile, position, sources, sums, level: PhantomData })
            }
            2 if I::ROWS >= 2 => {
                I::enter(Multiply::<I, 2, VECTORS> { tile, position, sources, sums, level: PhantomData })
            }
            1 => I::enter(Multiply::<I, 1, VECTORS> { tile, position, sources, sums, level: PhantomData }),
            rows => unreachable!("a tile of {rows} rows"),
        }
    }
}

/// The first half of a tile: bias and products.
///
/// # Safety
/// The processor has the level's instructions; position and sources are of one job, and the tile's `ROWS` rows are rows
/// of it; `VECTORS * LANES` channels from the tile's first on lie within one block of the weights.
#[inline(always)]
unsafe fn multiply<I: Isa, const ROWS: usize, const VECTORS: usize>(
    tile: Tile,
    position: &Position<I::Numbers>,
    sources: &[Source<'_, Level<I>>; 2],
    out: &mut TileSums<Sum<I>>,
) {
    let weights = position.weights();
    let group_bytes = I::LAYOUT.group_bytes();
    let (block, within) = (tile.channel / I::LAYOUT.block, tile.channel % I::LAYOUT.block);
    // SAFETY: `run` saw that the weights have this `Layout`, and the caller says that the block exists.
    let block = unsafe { weights.as_ptr().add(block * weights.groups() * group_bytes + within * GROUP) };
    // SAFETY: the caller answers for the instructions, and the bias is as long as the packed blocks (`Position::new`).
    let mut sums = unsafe {
        let bias = position.bias().as_ptr().add(tile.channel);
        let mut row = [I::start(bias); VECTORS];
        for (vector, sums) in row.iter_mut().enumerate().skip(1) {
            *sums = I::start(bias.add(vector * I::LANES));
        }
        [row; ROWS]
    };
    for run in position.runs() {
        let Source { levels, stride } = sources[usize::from(run.source)];
        // SAFETY: `Job::new` saw that each row's runs lie within the source, and `Position::new` that their groups are
        // groups of the weights. So the levels of each row and group are there, and the vectors of its weights;
        // those are aligned, since the first line is and lanes are powers of two.
        unsafe {
            let mut levels = levels.as_ptr().add(tile.row * stride + run.offset as usize);
            let mut block = block.add(run.weight as usize * group_bytes);
            for _ in 0..run.groups as usize / I::UNROLLED {
                for group in 0..I::UNROLLED {
                    I::prefetch(block.wrapping_add(tile.prefetched + group * group_bytes));
                    add_group::<I, ROWS, VECTORS>(
                        &mut sums,
                        levels.add(group * I::Numbers::LEVELS),
                        stride,
                        block.add(group * group_bytes),
                    );
                }
                // Behind the last group nothing may be there: `wrapping_add` claims nothing.
                levels = levels.wrapping_add(I::UNROLLED * I::Numbers::LEVELS);
                block = block.wrapping_add(I::UNROLLED * group_bytes);
            }
            for _ in 0..run.groups as usize % I::UNROLLED {
                add_group::<I, ROWS, VECTORS>(&mut sums, levels, stride, block);
                levels = levels.wrapping_add(I::Numbers::LEVELS);
                block = block.wrapping_add(group_bytes);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        for (vector, &sums) in sums.iter().enumerate() {
            // SAFETY: `run` saw that every tile fits.
            unsafe { I::finish(sums, out.0.as_mut_ptr().add((row * VECTORS + vector) * I::LANES)) };
        }
    }
}

/// Adds the products of one group, of all rows and channels of a tile.
///
/// # Safety
/// The processor has the level's instructions; from `levels` on are `ROWS` rows of a group, `stride` apart; from `block`
/// on are `VECTORS` aligned vectors of its weights.
#[inline(always)]
unsafe fn add_group<I: Isa, const ROWS: usize, const VECTORS: usize>(
    sums: &mut [[I::Sums; VECTORS]; ROWS],
    levels: *const Level<I>,
    stride: usize,
    block: *const u8,
) {
    // SAFETY: as the caller says.
    unsafe {
        let mut group = [I::weights(block); VECTORS];
        for (vector, weights) in group.iter_mut().enumerate().skip(1) {
            *weights = I::weights(block.add(vector * I::LANES * GROUP));
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            let levels = I::levels(levels.add(row * stride));
            for (sums, &weights) in sums.iter_mut().zip(&group) {
                *sums = I::dot(*sums, levels, weights);
            }
        }
    }
}

/// The second half of a tile: shortcut and activation, or nothing.
///
/// # Safety
/// The processor has the level's instructions; the tile lies within the job that `output` comes from; and if it is as
/// wide as the level's block, it is full of channels.
#[inline(always)]
unsafe fn write<I: Isa>(tile: Tile, sums: &TileSums<Sum<I>>, output: &mut Output<'_, I::Numbers>) {
    let width = tile.width.min(output.channels() - tile.channel);
    for (row, sums) in (tile.row..tile.row + tile.rows).zip(sums.0.chunks_exact(tile.width)) {
        match output {
            Output::Levels { shortcut, multipliers, out, stride, .. } if tile.width == I::LAYOUT.block => {
                let shortcut = shortcut.map(|Shortcut { levels, stride, steps }| {
                    // SAFETY: `Job::new` saw that the shortcut has all channels of every row, and a step for each.
                    unsafe {
                        (levels.as_ptr().add(row * stride + tile.channel), steps.as_ptr().add(tile.channel))
                    }
                });
                // SAFETY: `Job::new` saw the same of the output and the multipliers.
                unsafe {
                    let out = out.as_mut_ptr().add(row * *stride + tile.channel);
                    I::activate(sums.as_ptr(), shortcut, multipliers.as_ptr().add(tile.channel), out);
                }
            }
            // What does not fill a block is left to the specification.
            _ => output.write(row, tile.channel, &sums[..width]),
        }
    }
}
