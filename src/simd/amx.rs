//! `tdpbusd`: sixteen rows times sixteen channels times 64 levels by one instruction, eight times what `vpdpbusd` does.
//!
//! A tile is 32 rows and 32 channels: four registers of sums, which meet two of levels and two of weights. Rows of a
//! level register are rows of the job, wherever they lie; so, as at the other levels, nothing is copied to be
//! multiplied, except for runs of less than 64 bytes ([`chunks`](super::chunks)). Requantization is done on 512-bit vectors.
//!
//! Tile registers are written and read by assembly alone: no code that a compiler makes touches them, since the program
//! enables their instructions for no function. So they keep what one block of assembly leaves for the next.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;
use std::sync::OnceLock;

use super::chunks::{Chunk, Chunks, PIECED, Piece, Pieced};
use super::job::{Job, Output};
use super::position::Source;
use super::weights::{LINE, Layout};

/// A block is the channels of a tile, so that sixteen of its groups, which two registers hold, are consecutive.
pub(super) const LAYOUT: Layout = Layout { block: CHANNELS, bytes: 1, beyond: 15 };

/// Channels of a tile.
const CHANNELS: usize = 2 * SIDE;

/// Rows and channels of a tile register.
const SIDE: usize = 16;

/// Rows of a tile.
const ROWS: usize = 2 * SIDE;

/// Whether this processor has the instructions, and the operating system lets this process use them: their registers
/// are 8 KiB, which Linux sets aside only for those who ask (`arch_prctl(2)`, `Documentation/arch/x86/xstate.rst`).
pub(super) fn is_here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| {
        // Leaf 7: AMX-TILE is bit 24 of EDX, AMX-INT8 bit 25.
        let has_leaf = __cpuid(0).eax >= 7;
        has_leaf && __cpuid_count(7, 0).edx >> 24 & 3 == 3 && permitted()
    })
}

#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: a system call with two numbers, no memory; it overwrites RCX and R11.
    unsafe {
        asm!(
            "syscall",
            inout("rax") result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// The shapes of the tile registers, as `ldtilecfg` reads them.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_of_row: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// For so many rows of each half of a tile.
    fn new([upper, lower]: [usize; 2]) -> Shapes {
        let (upper, lower) = (upper as u8, lower as u8);
        let mut shapes =
            Shapes { palette: 1, start_row: 0, reserved: [0; 14], bytes_of_row: [0; 16], rows: [0; 16] };
        shapes.bytes_of_row[..8].fill(LINE as u16);
        // Sums of the upper and of the lower half, their levels, weights.
        shapes.rows[..8].copy_from_slice(&[upper, upper, lower, lower, upper, lower, 16, 16]);
        shapes
    }
}

/// The sums of a tile.
#[repr(C, align(64))]
struct Sums([i32; ROWS * CHANNELS]);

/// Bytes of a row of [`Sums`], and from one group of weights to the next: 32 numbers, and 32 channels of four bytes.
const STEP: usize = 128;

/// Levels of a tile's rows, put together out of pieces.
#[repr(C, align(64))]
struct PutTogether([u8; ROWS * PIECED * LINE]);

/// Bytes of a row of [`PutTogether`].
const PIECED_STEP: usize = PIECED * LINE;

/// What is on its way from one step of a tile to the next.
struct Scratch {
    sums: Sums,
    put_together: PutTogether,
}

/// Runs a job.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and VNNI, and [`is_here`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn run(mut job: Job<'_>) {
    assert_eq!(job.weights().kernels().layout(), LAYOUT, "the weights are packed for another level");
    let mut scratch =
        Scratch { sums: Sums([0; ROWS * CHANNELS]), put_together: PutTogether([0; ROWS * PIECED_STEP]) };
    let blocks = job.weights().channels().div_ceil(CHANNELS);
    let (positions, rows) = (job.positions.len(), job.rows);
    let whole = job.positions.iter().all(|position| position.chunks().pieced.is_empty());
    let job = &mut job;
    let (mut shaped, mut before): (_, Option<Tile>) = ([0; 2], None);
    let mut each = |place: usize, row: usize, block: usize| {
        let tile = Tile { place, row, rows: (job.rows - row).min(ROWS), channel: block * CHANNELS };
        let halves = tile.halves();
        // SAFETY: the caller answers for the instructions; the tiles lie within the job, and the registers have the
        // shapes of this one.
        unsafe {
            if shaped != halves {
                asm!("ldtilecfg [{}]", in(reg) &Shapes::new(halves), options(nostack));
                shaped = halves;
            }
            multiply(tile, job, &mut scratch);
            // Done here, the tile before takes no time: other parts of the processor are at work.
            if let Some(before) = before.replace(tile) {
                write(before, &scratch.sums, &mut job.output.of_place(before.place));
            }
            finish(&mut scratch.sums);
        }
    };
    let (places, rows) = (0..positions, (0..rows).step_by(ROWS));
    if whole {
        // Weights of a block fit in the nearest cache, and the maps of a tile's rows with them.
        for block in 0..blocks {
            for row in rows.clone() {
                places.clone().for_each(|place| each(place, row, block));
            }
        }
    } else {
        // What is put together serves all blocks.
        for place in places {
            for row in rows.clone() {
                (0..blocks).for_each(|block| each(place, row, block));
            }
        }
    }
    // Registers in use would be saved with each switch of threads.
    // SAFETY: the caller answers for the instructions, and the last tile lies within the job.
    unsafe {
        asm!("tilerelease", options(nomem, nostack));
        if let Some(last) = before {
            write(last, &scratch.sums, &mut job.output.of_place(last.place));
        }
    }
}

/// Which part of the output a tile is.
#[derive(Clone, Copy)]
struct Tile {
    place: usize,
    row: usize,
    /// 1 to 32.
    rows: usize,
    channel: usize,
}

impl Tile {
    /// Rows of the upper and of the lower half. No register has none: where the upper half is all there is, the lower
    /// one repeats its first row.
    fn halves(self) -> [usize; 2] {
        [self.rows.min(SIDE), self.rows.saturating_sub(SIDE).max(1)]
    }

    /// How many rows the lower half is below the upper.
    fn lower(self) -> usize {
        if self.rows > SIDE { SIDE } else { 0 }
    }
}

/// The first half of a tile's work: all products, and the bias.
///
/// # Safety
/// As [`run`]; the tile registers have the tile's shapes, and the tile lies within the job.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn multiply(tile: Tile, job: &Job<'_>, scratch: &mut Scratch) {
    let (position, weights) = (&job.positions[tile.place], job.weights());
    let Chunks { whole, pieced } = position.chunks();
    // SAFETY: the block is one of the weights, the bias is as long as all blocks, and behind the last group of the last
    // block there are as many as a chunk may reach beyond it (`LAYOUT`). Rows and their runs lie within the sources
    // (`Job::new`), so whole chunks do.
    unsafe {
        let weights = weights.as_ptr().add(tile.channel / CHANNELS * weights.groups() * STEP);
        start(position.bias().as_ptr().add(tile.channel));
        for (&Source { levels, stride }, chunks) in job.sources.iter().zip(whole) {
            if !chunks.is_empty() {
                add(chunks, levels.as_ptr().add(tile.row * stride), stride, tile.lower(), weights);
            }
        }
        for batch in pieced {
            // Networks have one batch at most, which is still there for the other blocks.
            if tile.channel == 0 || pieced.len() > 1 {
                put(batch, tile, &job.sources, &mut scratch.put_together);
            }
            add(&batch.chunks, scratch.put_together.0.as_ptr(), PIECED_STEP, tile.lower(), weights);
        }
    }
}

/// Puts chunks together out of their pieces, for all rows of a tile.
///
/// # Safety
/// As [`multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn put(batch: &Pieced, tile: Tile, sources: &[Source<'_>; 2], out: &mut PutTogether) {
    for (chunk, pieces) in batch.pieces.iter().enumerate() {
        let out = &mut out.0[chunk * LINE..];
        let mut begun = false;
        // As many as a chunk has of a network with several views go at once, so that each row is written once.
        for pieces in pieces.chunks(3) {
            // SAFETY: as the caller says.
            unsafe {
                match *pieces {
                    [a] => put_pieces([a], begun, tile, sources, out),
                    [a, b] => put_pieces([a, b], begun, tile, sources, out),
                    [a, b, c] => put_pieces([a, b, c], begun, tile, sources, out),
                    _ => unreachable!("chunks of three"),
                }
            }
            begun = true;
        }
    }
}

/// Some pieces of a chunk, over what is `begun` of it or over zeros.
///
/// # Safety
/// As [`multiply`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn put_pieces<const PIECES: usize>(
    pieces: [Piece; PIECES],
    begun: bool,
    tile: Tile,
    sources: &[Source<'_>; 2],
    out: &mut [u8],
) {
    let mut from = pieces.map(|Piece { source, origin, .. }| {
        let Source { levels, stride } = sources[usize::from(source)];
        (levels.as_ptr().wrapping_add(tile.row * stride).wrapping_offset(origin), stride)
    });
    for out in out.chunks_mut(PIECED_STEP).take(tile.rows) {
        let out = out[..LINE].as_mut_ptr();
        // SAFETY: of the levels, only the bytes of the masks are read, and those are of runs (`Job::new`); of what is
        // put together, the 64 bytes of the slice.
        unsafe {
            let mut levels = if begun { _mm512_load_si512(out.cast()) } else { _mm512_setzero_si512() };
            for ((from, stride), Piece { bytes, .. }) in from.iter_mut().zip(pieces) {
                levels = _mm512_mask_loadu_epi8(levels, bytes, from.cast());
                *from = from.wrapping_add(*stride);
            }
            _mm512_store_si512(out.cast(), levels);
        }
    }
}

/// Begins the sums of 32 rows and channels with the bias: a step of 0 reads the same 64 bytes for each row.
///
/// # Safety
/// As [`multiply`]; 32 numbers are there to read.
unsafe fn start(bias: *const i32) {
    // SAFETY: as the caller says.
    unsafe {
        asm!(
            "tileloadd tmm0, [{bias} + {step}]",
            "tileloadd tmm1, [{bias} + {step} + 64]",
            "tileloadd tmm2, [{bias} + {step}]",
            "tileloadd tmm3, [{bias} + {step} + 64]",
            bias = in(reg) bias,
            step = in(reg) 0usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            options(nostack, readonly, preserves_flags),
        );
    }
}

/// Adds the products of chunks.
///
/// # Safety
/// As [`multiply`]; from `levels` on are the rows of the tile, `stride` apart, with the chunks' bytes in each, `lower` is
/// how far the lower half is below; from `weights` on are the chunks' groups.
unsafe fn add(chunks: &[Chunk], levels: *const u8, stride: usize, lower: usize, weights: *const u8) {
    let Range { start, end } = chunks.as_ptr_range();
    // SAFETY: as the caller says; there is a chunk, so the loop ends at the last one's end.
    unsafe {
        asm!(
            "2:",
            "mov {offset}, [{chunk}]",
            "mov {weight}, [{chunk} + 8]",
            "add {chunk}, 16",
            "shl {weight}, 7",
            "lea {below}, [{lower} + {offset}]",
            "add {offset}, {upper}",
            "add {weight}, {weights}",
            "tileloadd tmm6, [{weight} + {step}]",
            "tileloadd tmm4, [{offset} + {stride}]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{weight} + {step} + 64]",
            "tdpbusd tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{below} + {stride}]",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            "cmp {chunk}, {end}",
            "jne 2b",
            chunk = inout(reg) start => _,
            end = in(reg) end,
            offset = out(reg) _,
            below = out(reg) _,
            weight = out(reg) _,
            upper = in(reg) levels,
            lower = in(reg) levels.wrapping_add(lower * stride),
            stride = in(reg) stride,
            weights = in(reg) weights,
            step = in(reg) STEP,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, readonly),
        );
    }
}

/// Takes the sums out of the registers.
///
/// # Safety
/// As [`multiply`].
unsafe fn finish(sums: &mut Sums) {
    let sums = sums.0.as_mut_ptr();
    // SAFETY: the caller answers for the instructions; sums of a tile are 32 rows.
    unsafe {
        asm!(
            "tilestored [{upper} + {step}], tmm0",
            "tilestored [{upper} + {step} + 64], tmm1",
            "tilestored [{lower} + {step}], tmm2",
            "tilestored [{lower} + {step} + 64], tmm3",
            upper = in(reg) sums,
            lower = in(reg) sums.wrapping_add(SIDE * CHANNELS),
            step = in(reg) STEP,
            options(nostack, preserves_flags),
        );
    }
}

/// The second half: shortcut and requantization, or nothing.
///
/// # Safety
/// As [`multiply`]; `output` is that of the tile's place.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn write(tile: Tile, sums: &Sums, output: &mut Output<'_>) {
    let Tile { row: first, rows, channel: block, .. } = tile;
    let width = CHANNELS.min(output.channels() - block);
    let sums = sums.0.chunks_exact(CHANNELS).take(rows);
    match output {
        Output::Levels { shortcut, multipliers, out, stride, .. } if width == CHANNELS => {
            // SAFETY: `Job::new` saw that output and shortcut have all channels of every row, and that there is a
            // multiplier and a step for each.
            unsafe {
                let multipliers = multipliers.as_ptr().add(block);
                let multipliers = [_mm512_loadu_ps(multipliers), _mm512_loadu_ps(multipliers.add(SIDE))];
                let out = out.as_mut_ptr().add(first * *stride + block);
                let Some(shortcut) = shortcut else {
                    for (row, sums) in sums.enumerate() {
                        requantize(vectors(sums), multipliers, out.add(row * *stride));
                    }
                    return;
                };
                let levels = shortcut.levels.as_ptr().add(first * shortcut.stride + block);
                let steps = shortcut.steps.as_ptr().add(block);
                let steps = [_mm256_loadu_si256(steps.cast()), _mm256_loadu_si256(steps.add(SIDE).cast())];
                let steps = steps.map(|steps| _mm512_cvtepi16_epi32(steps));
                for (row, sums) in sums.enumerate() {
                    let levels = levels.add(row * shortcut.stride);
                    let [a, b] = vectors(sums);
                    let levels_a = _mm512_cvtepu8_epi32(_mm_loadu_si128(levels.cast()));
                    let levels_b = _mm512_cvtepu8_epi32(_mm_loadu_si128(levels.add(SIDE).cast()));
                    // The upper half of a level is 0, so the pairs' products are those of the lower halves.
                    let sums = [
                        _mm512_dpwssd_epi32(a, levels_a, steps[0]),
                        _mm512_dpwssd_epi32(b, levels_b, steps[1]),
                    ];
                    requantize(sums, multipliers, out.add(row * *stride));
                }
            }
        }
        // What does not fill a block is left to the specification.
        _ => {
            for (row, sums) in (first..).zip(sums) {
                output.write(row, block, &sums[..width]);
            }
        }
    }
}

/// A row's sums.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn vectors(sums: &[i32]) -> [__m512i; 2] {
    let (a, b) = (&sums[..SIDE], &sums[SIDE..CHANNELS]);
    // SAFETY: sixteen numbers each.
    unsafe { [_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast())] }
}

/// `docs/quantization.md` (5) on a row.
///
/// # Safety
/// 32 bytes may be written.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn requantize(sums: [__m512i; 2], multipliers: [__m512; 2], out: *mut u8) {
    let level = |sums, multipliers| {
        let product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), multipliers);
        // Beyond i32 the conversion gives its least number, which is right below it and wrong above it.
        _mm512_cvtps_epi32(_mm512_min_ps(product, _mm512_set1_ps(255.0)))
    };
    // The packs saturate, which is the cut at 0, and work on quarters: the permutation puts fours in order.
    let words = _mm512_packs_epi32(level(sums[0], multipliers[0]), level(sums[1], multipliers[1]));
    let bytes = _mm512_packus_epi16(words, words);
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 4, 8, 12, 1, 5, 9, 13);
    let bytes = _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, bytes));
    // SAFETY: as the caller says.
    unsafe { _mm256_storeu_si256(out.cast(), bytes) }
}

/// [`Kernels::spin`](super::Kernels::spin): twelve products of full registers a step.
///
/// # Safety
/// [`is_here`].
pub(super) unsafe fn spin(steps: u64) {
    // SAFETY: the caller answers for the instructions; of the memory, only the shapes are read. The count ends at 0,
    // since `Kernels::spin` begins above.
    unsafe {
        asm!(
            "ldtilecfg [{shapes}]",
            "2:",
            ".rept 3",
            ".irp sum, 0, 1, 2, 3",
            "tdpbusd tmm\\sum, tmm4, tmm6",
            ".endr",
            ".endr",
            "sub {steps}, 1",
            "jnz 2b",
            "tilerelease",
            shapes = in(reg) &Shapes::new([SIDE; 2]),
            steps = inout(reg) steps => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, readonly),
        );
    }
}
