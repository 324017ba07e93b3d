//! The loops that all vector levels share: blocks of channels, tiles of rows, runs, groups. Which instructions a step
//! of them takes is left to an [`Isa`], one file each.
//!
//! A tile is a few rows times one block of channels, and its sums stay in registers from the first run to the last:
//! each load of weights serves all rows, each load of levels all channels. Rows are the inner loop and blocks the outer
//! one, so that a block's weights stay in the cache nearest to the processor while all rows of the batch pass.
//!
//! How it becomes machine code: the two halves of a tile, [`multiply`] and [`write`], are `inline(always)` into
//! [`Isa::enter`], which enables the level's instructions; so the [`Isa`]'s other functions, which enable the same ones,
//! are inlined as well. Each half of each size of tile is a function of its own, since the sums did not stay in
//! registers when a compiler met both halves at once.

use super::job::{Job, Output};
use super::position::{Position, Shortcut, Source};
use super::scalar;
use super::weights::GROUP;

/// What one level can do: the steps of a tile, on vectors of `LANES` output channels.
///
/// # Safety
/// Each function is called only where the processor has the level's instructions. What pointers must be good for is
/// said at each; they need be aligned where it says so.
pub(super) trait Isa {
    /// Sums of `LANES` channels on their way, in whatever parts the level keeps them.
    type Sums: Copy;
    /// One group of levels of one row, ready to meet all channels.
    type Levels: Copy;
    /// One group of weights of `LANES` channels.
    type Weights: Copy;

    /// Channels of a vector.
    const LANES: usize;
    /// Rows of a tile, [`MOST_ROWS`] at most: as many as the registers hold.
    const ROWS: usize;

    /// Calls `work` where the compiler may use the level's instructions: a function of its own, never inlined.
    unsafe fn enter(work: impl FnOnce());

    /// No products yet.
    unsafe fn zero() -> Self::Sums;

    /// Reads `GROUP` bytes.
    unsafe fn levels(at: *const u8) -> Self::Levels;

    /// Reads `LANES * GROUP` bytes, aligned to as many.
    unsafe fn weights(at: *const i8) -> Self::Weights;

    /// Adds the products of a group.
    unsafe fn dot(sums: Self::Sums, levels: Self::Levels, weights: Self::Weights) -> Self::Sums;

    /// Adds the bias and writes what the sums are. Reads and writes `LANES` numbers.
    unsafe fn finish(sums: Self::Sums, bias: *const i32, out: *mut i32);

    /// `docs/quantization.md` (7): adds n\[c\] x_q. Reads and writes `LANES` sums, reads as many levels and steps.
    unsafe fn add_shortcut(sums: *mut i32, levels: *const u8, steps: *const i16);

    /// `docs/quantization.md` (5). Reads `LANES` sums and multipliers, writes as many levels.
    unsafe fn requantize(sums: *const i32, multipliers: *const f32, out: *mut u8);
}

/// Rows of the highest tile of any level.
const MOST_ROWS: usize = 6;

/// Channels of the widest.
const MOST_CHANNELS: usize = 64;

/// A tile's sums between its two halves: row by row, `width` channels each.
#[repr(C, align(64))]
struct TileSums([i32; MOST_ROWS * MOST_CHANNELS]);

/// Which part of the output a tile is.
#[derive(Clone, Copy)]
struct Tile {
    row: usize,
    rows: usize,
    channel: usize,
    /// Channels, those that fill up the last block included.
    width: usize,
}

/// Runs a job on one level. `VECTORS` times `LANES` is the block that the level's weights are packed in.
///
/// # Safety
/// The processor has the level's instructions.
pub(super) unsafe fn run<I: Isa, const VECTORS: usize>(job: Job<'_>) {
    let Job { position, rows, sources, mut output } = job;
    let weights = position.weights();
    let block = VECTORS * I::LANES;
    assert_eq!(weights.block(), block, "weights are packed for this level");
    const { assert!(I::ROWS <= MOST_ROWS && VECTORS * I::LANES <= MOST_CHANNELS) };
    let mut sums = TileSums([0; MOST_ROWS * MOST_CHANNELS]);
    let mut channel = 0;
    while channel < weights.channels() {
        // Of a block that is not full, such as a head's few classes, only the vectors that are needed.
        let full = weights.channels() - channel >= block;
        let width = if full { block } else { I::LANES };
        for row in (0..rows).step_by(I::ROWS) {
            let tile = Tile { row, rows: I::ROWS.min(rows - row), channel, width };
            // SAFETY: the caller answers for the instructions; the rows are the job's, and a vector that begins below
            // `channels` lies within a block.
            unsafe {
                if full {
                    multiply_rows::<I, VECTORS>(tile, position, &sources, &mut sums);
                } else {
                    multiply_rows::<I, 1>(tile, position, &sources, &mut sums);
                }
                I::enter(|| write::<I>(tile, &mut sums, &mut output));
            }
        }
        channel += width;
    }
}

/// Tells the compiler the number of rows: only then are the sums registers.
///
/// # Safety
/// As [`multiply`], for `tile.rows` rows.
unsafe fn multiply_rows<I: Isa, const VECTORS: usize>(
    tile: Tile,
    position: &Position,
    sources: &[Source<'_>; 2],
    sums: &mut TileSums,
) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match tile.rows {
            6 if I::ROWS >= 6 => I::enter(|| multiply::<I, 6, VECTORS>(tile, position, sources, sums)),
            5 if I::ROWS >= 5 => I::enter(|| multiply::<I, 5, VECTORS>(tile, position, sources, sums)),
            4 if I::ROWS >= 4 => I::enter(|| multiply::<I, 4, VECTORS>(tile, position, sources, sums)),
            3 if I::ROWS >= 3 => I::enter(|| multiply::<I, 3, VECTORS>(tile, position, sources, sums)),
            2 if I::ROWS >= 2 => I::enter(|| multiply::<I, 2, VECTORS>(tile, position, sources, sums)),
            1 => I::enter(|| multiply::<I, 1, VECTORS>(tile, position, sources, sums)),
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
    position: &Position,
    sources: &[Source<'_>; 2],
    out: &mut TileSums,
) {
    let weights = position.weights();
    let group_bytes = weights.block() * GROUP;
    let (block, within) = (tile.channel / weights.block(), tile.channel % weights.block());
    // SAFETY: packed weights are `[block][group][channel within the block][4]`, and the block exists.
    let block = unsafe { weights.as_ptr().add(block * weights.groups() * group_bytes + within * GROUP) };
    // SAFETY: the caller answers for the instructions.
    let mut sums = [[unsafe { I::zero() }; VECTORS]; ROWS];
    for run in position.runs() {
        let Source { levels, stride } = sources[usize::from(run.source)];
        // SAFETY: `Job::new` saw that each row's runs lie within the source, and `Position::new` that their groups are
        // groups of the weights. So the four bytes of each row and group are there, and the vectors of its weights;
        // those are aligned, since the first line is and lanes are powers of two.
        unsafe {
            let mut levels = levels.as_ptr().add(tile.row * stride + run.offset as usize);
            let mut block = block.add(run.weight as usize * group_bytes);
            for _ in 0..run.groups {
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
                // Behind the last group nothing may be there: `wrapping_add` claims nothing.
                levels = levels.wrapping_add(GROUP);
                block = block.wrapping_add(group_bytes);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        for (vector, &sums) in sums.iter().enumerate() {
            let channel = vector * I::LANES;
            // SAFETY: the bias is as long as the packed blocks (`Position::new`), and `run` asserted that any tile fits.
            unsafe {
                let bias = position.bias().as_ptr().add(tile.channel + channel);
                I::finish(sums, bias, out.0.as_mut_ptr().add(row * VECTORS * I::LANES + channel));
            }
        }
    }
}

/// The second half of a tile: shortcut and requantization, or nothing.
///
/// # Safety
/// The processor has the level's instructions; the tile lies within the job that `output` comes from.
#[inline(always)]
unsafe fn write<I: Isa>(tile: Tile, sums: &mut TileSums, output: &mut Output<'_>) {
    let channels = output.channels();
    let width = tile.width.min(channels - tile.channel);
    // Vectors that are full of channels; the rest of the last one is left to the specification itself.
    let whole = width / I::LANES * I::LANES;
    for (row, sums) in (tile.row..tile.row + tile.rows).zip(sums.0.chunks_exact_mut(tile.width)) {
        match output {
            Output::Levels { shortcut, multipliers, out, stride } => {
                for lane in (0..whole).step_by(I::LANES) {
                    let channel = tile.channel + lane;
                    // SAFETY: `Job::new` saw that every row has all its channels, in the output and in the shortcut,
                    // and that there is a multiplier and a step for each; `lane + LANES <= width`.
                    unsafe {
                        let sums = sums.as_mut_ptr().add(lane);
                        if let Some(Shortcut { levels, stride, steps }) = shortcut {
                            let levels = levels.as_ptr().add(row * *stride + channel);
                            I::add_shortcut(sums, levels, steps.as_ptr().add(channel));
                        }
                        let out = out.as_mut_ptr().add(row * *stride + channel);
                        I::requantize(sums, multipliers.as_ptr().add(channel), out);
                    }
                }
                for lane in whole..width {
                    let channel = tile.channel + lane;
                    let steps =
                        shortcut.map_or(0, |shortcut| scalar::shortcut_steps(&shortcut, row, channel));
                    let sum = sums[lane].wrapping_add(steps);
                    out[row * *stride + channel] = scalar::requantize(sum, multipliers[channel]);
                }
            }
            Output::Sums { out, stride, .. } => {
                out[row * *stride + tile.channel..][..width].copy_from_slice(&sums[..width]);
            }
        }
    }
}
