//! The loops that all vector levels share: blocks of channels, tiles of rows, runs, groups. Which instructions a step
//! of them takes is left to an [`Isa`], one file each.
//!
//! A tile is a few rows times one block of channels, and its sums stay in registers from the first run to the last:
//! each load of weights serves all rows, each load of levels all channels. Rows are the inner loop and blocks the outer
//! one, so that a block's weights stay in the cache nearest to the processor while all rows of the batch pass.
//!
//! How it becomes machine code: all of a tile, [`compute`], is `inline(always)` into [`Isa::enter`], which enables the
//! level's instructions; so the [`Isa`]'s other functions, which enable the same ones, are inlined as well. Sums go from
//! the registers where they were added up straight to levels, with no memory between: that holds since each size of tile
//! is a function of its own, and each loop over its rows and vectors short enough to be unrolled. A tile reaches `enter`
//! as a [`Work`] and not as a closure, which cannot be `inline(always)`: left outside, as large as assertions make it, it
//! was thirty times slower.

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

    /// Adds what an identity shortcut brings. Reads `LANES` levels and steps.
    unsafe fn shortcut(
        sums: Self::Sums,
        levels: *const Level<Self>,
        steps: *const <Self::Numbers as Numbers>::Step,
    ) -> Self::Sums;

    /// [`Numbers::activate`], behind a shortcut if there is one, on the sums of a whole block of channels. Reads as many
    /// multipliers, writes as many levels.
    unsafe fn activate(
        sums: &[Self::Sums],
        multipliers: *const <Self::Numbers as Numbers>::Multiplier,
        out: *mut Level<Self>,
    );

    /// Writes what the sums are, `LANES` numbers.
    unsafe fn finish(sums: Self::Sums, out: *mut Sum<Self>);
}

/// A level as an [`Isa`] reads it.
type Level<I> = <<I as Isa>::Numbers as Numbers>::Level;

/// A sum as an [`Isa`] writes it.
type Sum<I> = <<I as Isa>::Numbers as Numbers>::Sum;

/// Something to be done where the compiler may use a level's instructions.
pub(super) trait Work {
    /// Does it. Implementations are `inline(always)`.
    ///
    /// # Safety
    /// As the function says that is called in it.
    unsafe fn work(self);
}

/// Tiles that share in fetching a block's weights. A batch has hardly more; and the fewer they are, the more of what they
/// read themselves waits behind what they fetch.
const FETCHING: usize = 8;

/// Rows of the highest tile of any level.
const MOST_ROWS: usize = 6;

/// Channels of the widest.
const MOST_CHANNELS: usize = 64;

/// Which part of the output a tile is.
#[derive(Clone, Copy)]
struct Tile {
    row: usize,
    channel: usize,
    /// In each turn of the innermost loop, the cache lines so many bytes behind its weights are asked for.
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
        assert!(VECTORS > 1, "a tile of one vector is part of a block");
        assert!(I::LAYOUT.block <= MOST_CHANNELS && I::ROWS <= MOST_ROWS, "there is code for every tile");
    };
    let mut channel = 0;
    while channel < weights.channels() {
        // Of a block that is not full, such as a head's few classes, only the vectors that are needed.
        let full = weights.channels() - channel >= I::LAYOUT.block;
        let width = if full { I::LAYOUT.block } else { I::LANES };
        let next_block = weights.groups() * I::LAYOUT.group_bytes();
        let (mut row, mut fetched) = (0, 0);
        while row < rows {
            // As few tiles as possible, as high as each other: the sums of a low one wait for themselves.
            let left = rows - row;
            let rows = left.div_ceil(left.div_ceil(I::ROWS));
            // A network's weights are more than the second cache holds beside its activations. So the first tiles of a
            // block fetch the next block's weights: of every turn each takes the lines behind those of the tile before.
            let prefetched = if fetched < turn::<I>() { next_block + fetched } else { 0 };
            let tile = Tile { row, channel, prefetched };
            // SAFETY: the caller answers for the instructions; the rows are the job's, and a vector that begins below
            // `channels` lies within a block.
            unsafe {
                if full {
                    compute_rows::<I, VECTORS>(rows, tile, position, sources, &mut output);
                } else {
                    compute_rows::<I, 1>(rows, tile, position, sources, &mut output);
                }
            }
            row += rows;
            fetched += lines_of_turn::<I>() * LINE;
        }
        channel += width;
    }
}

/// Bytes of weights that a turn of the innermost loop reads.
const fn turn<I: Isa>() -> usize {
    I::UNROLLED * I::LAYOUT.group_bytes()
}

/// Lines of the next block that a tile fetches in a turn.
const fn lines_of_turn<I: Isa>() -> usize {
    (turn::<I>() / LINE).div_ceil(FETCHING)
}

/// A tile on its way into [`Isa::enter`].
struct Compute<'a, 'out, I: Isa, const ROWS: usize, const VECTORS: usize> {
    tile: Tile,
    position: &'a Position<I::Numbers>,
    sources: &'a [Source<'a, Level<I>>; 2],
    output: &'a mut Output<'out, I::Numbers>,
    level: PhantomData<I>,
}

impl<I: Isa, const ROWS: usize, const VECTORS: usize> Work for Compute<'_, '_, I, ROWS, VECTORS> {
    #[inline(always)]
    unsafe fn work(self) {
        // SAFETY: the caller's promise, passed on.
        unsafe { compute::<I, ROWS, VECTORS>(self.tile, self.position, self.sources, self.output) }
    }
}

/// Tells the compiler the number of rows: only then are the sums registers.
///
/// # Safety
/// As [`compute`], for `rows` rows.
unsafe fn compute_rows<I: Isa, const VECTORS: usize>(
    rows: usize,
    tile: Tile,
    position: &Position<I::Numbers>,
    sources: &[Source<'_, Level<I>>; 2],
    output: &mut Output<'_, I::Numbers>,
) {
    let level = PhantomData;
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match rows {
            6 if I::ROWS >= 6 => {
                I::enter(Compute::<I, 6, VECTORS> { tile, position, sources, output, level })
            }
            5 if I::ROWS >= 5 => {
                I::enter(Compute::<I, 5, VECTORS> { tile, position, sources, output, level })
            }
            4 if I::ROWS >= 4 => {
                I::enter(Compute::<I, 4, VECTORS> { tile, position, sources, output, level })
            }
            3 if I::ROWS >= 3 => {
                I::enter(Compute::<I, 3, VECTORS> { tile, position, sources, output, level })
            }
            2 if I::ROWS >= 2 => {
                I::enter(Compute::<I, 2, VECTORS> { tile, position, sources, output, level })
            }
            1 => I::enter(Compute::<I, 1, VECTORS> { tile, position, sources, output, level }),
            rows => unreachable!("a tile of {rows} rows"),
        }
    }
}

/// All of a tile: bias, products, and what becomes of them.
///
/// # Safety
/// The processor has the level's instructions; position, sources and output are of one job, and the `ROWS` rows from the
/// tile's first on are rows of it; `VECTORS * LANES` channels from the tile's first on lie within one block of the weights,
/// and if that is all of the block, it is full of channels.
#[inline(always)]
unsafe fn compute<I: Isa, const ROWS: usize, const VECTORS: usize>(
    tile: Tile,
    position: &Position<I::Numbers>,
    sources: &[Source<'_, Level<I>>; 2],
    output: &mut Output<'_, I::Numbers>,
) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let sums = multiply::<I, ROWS, VECTORS>(tile, position, sources);
        write::<I, ROWS, VECTORS>(tile, sums, output);
    }
}

/// The first half of a tile: bias and products.
///
/// # Safety
/// As [`compute`].
#[inline(always)]
unsafe fn multiply<I: Isa, const ROWS: usize, const VECTORS: usize>(
    tile: Tile,
    position: &Position<I::Numbers>,
    sources: &[Source<'_, Level<I>>; 2],
) -> [[I::Sums; VECTORS]; ROWS] {
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
                for line in 0..lines_of_turn::<I>() {
                    I::prefetch(block.wrapping_add(tile.prefetched + line * LINE));
                }
                for group in 0..I::UNROLLED {
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
    sums
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
/// As [`compute`].
#[inline(always)]
unsafe fn write<I: Isa, const ROWS: usize, const VECTORS: usize>(
    tile: Tile,
    mut sums: [[I::Sums; VECTORS]; ROWS],
    output: &mut Output<'_, I::Numbers>,
) {
    let rows = tile.row..;
    match output {
        Output::Levels { shortcut, multipliers, out, stride, .. }
            if VECTORS * I::LANES == I::LAYOUT.block =>
        {
            if let &mut Some(Shortcut { levels, stride, steps }) = shortcut {
                for (row, sums) in rows.clone().zip(&mut sums) {
                    for (vector, sums) in sums.iter_mut().enumerate() {
                        let channel = tile.channel + vector * I::LANES;
                        // SAFETY: `Job::new` saw that the shortcut has all channels of every row, and a step for each.
                        *sums = unsafe {
                            let levels = levels.as_ptr().add(row * stride + channel);
                            I::shortcut(*sums, levels, steps.as_ptr().add(channel))
                        };
                    }
                }
            }
            for (row, sums) in rows.zip(&sums) {
                // SAFETY: `Job::new` saw the same of the output and the multipliers.
                unsafe {
                    let out = out.as_mut_ptr().add(row * *stride + tile.channel);
                    I::activate(sums, multipliers.as_ptr().add(tile.channel), out);
                }
            }
        }
        // What does not fill a block is left to the specification.
        _ => {
            let mut numbers = [[Sum::<I>::default(); MOST_CHANNELS]; ROWS];
            for (numbers, sums) in numbers.iter_mut().zip(sums) {
                for (numbers, sums) in numbers.chunks_exact_mut(I::LANES).zip(sums) {
                    // SAFETY: there is room for the vector's channels.
                    unsafe { I::finish(sums, numbers.as_mut_ptr()) };
                }
            }
            let width = (VECTORS * I::LANES).min(output.channels() - tile.channel);
            for (row, numbers) in rows.zip(&numbers) {
                output.write(row, tile.channel, &numbers[..width]);
            }
        }
    }
}
