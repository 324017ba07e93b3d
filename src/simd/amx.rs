//! `tdpbusd`: sixteen rows times sixteen channels times 64 levels by one instruction, eight times what `vpdpbusd` does.
//!
//! A tile is 32 rows and 32 channels: four registers of sums, which meet two of levels and two of weights. Rows of a
//! level register are rows of the job, wherever they lie; so, as at the other levels, nothing is copied to be
//! multiplied, except for what is left of a run behind its last 64 bytes ([`chunks`](super::chunks)). Bias and
//! requantization are done on 512-bit vectors.
//!
//! Tile registers are written and read by assembly alone: no code that a compiler makes touches them, since the program
//! enables their instructions for no function. So they keep what one block of assembly leaves for the next.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;
use std::sync::OnceLock;

use super::chunks::{CHUNK, Chunk, Chunks, Rest};
use super::job::{Job, Output};
use super::position::Source;
use super::weights::{LINE, Layout};

/// A block is the channels of a tile, so that sixteen of its groups, which two registers hold, are consecutive.
pub(super) const LAYOUT: Layout = Layout { block: CHANNELS, bytes: 1, beyond: CHUNK - 1 };

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

/// A chunk of a tile's rows, where it is not all there.
#[repr(C, align(64))]
struct Filled([u8; ROWS * LINE]);

/// What is on its way from one step of a tile to the next.
struct Scratch {
    sums: Sums,
    filled: Filled,
}

/// Bytes of weights that are all kept in the nearest cache, a third of it, beside the levels that they meet.
const NEAR: usize = 16 << 10;

/// Runs a job.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and VNNI, and [`is_here`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn run(mut job: Job<'_>) {
    assert_eq!(job.weights().kernels().layout(), LAYOUT, "the weights are packed for another level");
    let mut scratch = Scratch { sums: Sums([0; ROWS * CHANNELS]), filled: Filled([0; ROWS * LINE]) };
    let blocks = job.weights().channels().div_ceil(CHANNELS);
    let rows = (0..job.rows).step_by(ROWS);
    let near = blocks * job.weights().groups() * STEP <= NEAR;
    // Places that read the same levels follow each other.
    let mut places: Vec<usize> = (0..job.positions.len()).collect();
    places.sort_by_key(|&place| job.positions[place].runs().first().map(|run| run.offset));
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
            multiply(tile, job, &mut scratch.filled);
            // Done here, the tile before takes no time: other parts of the processor are at work.
            if let Some(before) = before.replace(tile) {
                write(before, job, &scratch.sums);
            }
            finish(&mut scratch.sums);
        }
    };
    if near {
        // The blocks share the levels that are read and the lines that are written.
        for row in rows {
            for &place in &places {
                (0..blocks).for_each(|block| each(place, row, block));
            }
        }
    } else {
        // Weights of a block fit in the nearest cache, and the maps of a tile's rows with them.
        for block in 0..blocks {
            for row in rows.clone() {
                places.iter().for_each(|&place| each(place, row, block));
            }
        }
    }
    // Registers in use would be saved with each switch of threads.
    // SAFETY: the caller answers for the instructions, and the last tile lies within the job.
    unsafe {
        asm!("tilerelease", options(nomem, nostack));
        if let Some(last) = before {
            write(last, job, &scratch.sums);
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

/// The first half of a tile's work: all products.
///
/// # Safety
/// As [`run`]; the tile registers have the tile's shapes, and the tile lies within the job.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn multiply(tile: Tile, job: &Job<'_>, filled: &mut Filled) {
    let (position, weights) = (&job.positions[tile.place], job.weights());
    let Chunks { whole, rests } = position.chunks();
    // SAFETY: the block is one of the weights, and behind the last group of the last block there are as many as a chunk
    // may reach beyond it (`LAYOUT`). Rows and their runs lie within the sources (`Job::new`), so whole chunks do.
    unsafe {
        let weights = weights.as_ptr().add(tile.channel / CHANNELS * weights.groups() * STEP);
        start();
        for (&Source { levels, stride }, chunks) in job.sources.iter().zip(whole) {
            if !chunks.is_empty() {
                add(chunks, levels.as_ptr().add(tile.row * stride), stride, tile.lower(), weights);
            }
        }
        for rest in rests {
            fill(rest, tile, &job.sources, filled);
            let chunk = Chunk { levels: 0, ..rest.chunk };
            add(&[chunk], filled.0.as_ptr(), LINE, tile.lower(), weights);
        }
    }
}

/// Fills up a rest with zeros, for all rows of a tile.
///
/// # Safety
/// As [`multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn fill(rest: &Rest, tile: Tile, sources: &[Source<'_>; 2], filled: &mut Filled) {
    let Source { levels, stride } = sources[usize::from(rest.source)];
    for (row, line) in filled.0.as_chunks_mut::<LINE>().0.iter_mut().take(tile.rows).enumerate() {
        // SAFETY: of the levels, only the bytes of the mask are read, and those are of a run (`Job::new`); a line has 64.
        unsafe {
            let levels = levels.as_ptr().add((tile.row + row) * stride + rest.chunk.levels);
            let levels = _mm512_maskz_loadu_epi8(rest.bytes, levels.cast());
            _mm512_storeu_si512(line.as_mut_ptr().cast(), levels);
        }
    }
}

/// Begins the sums with zeros. To load the bias instead would take longer than to add it to each row behind.
///
/// # Safety
/// As [`multiply`].
unsafe fn start() {
    // SAFETY: the caller answers for the instructions.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            options(nomem, nostack, preserves_flags),
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

/// The second half: bias, then shortcut and requantization, or nothing.
///
/// # Safety
/// As [`multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn write(tile: Tile, job: &mut Job<'_>, sums: &Sums) {
    let Tile { place, row: first, rows, channel: block } = tile;
    let mut output = job.output.of_place(place);
    let width = CHANNELS.min(output.channels() - block);
    let (sums, _) = sums.0.as_chunks::<CHANNELS>();
    let sums = &sums[..rows];
    let bias = job.positions[place].bias()[block..].first_chunk().expect("the bias is whole blocks");
    match &mut output {
        Output::Levels { shortcut, multipliers, out, stride, .. } if width == CHANNELS => {
            let bias = vectors(bias);
            // SAFETY: `Job::new` saw that output and shortcut have all channels of every row, and that there is a
            // multiplier and a step for each.
            unsafe {
                let multipliers = multipliers.as_ptr().add(block);
                let multipliers = [_mm512_loadu_ps(multipliers), _mm512_loadu_ps(multipliers.add(SIDE))];
                let out = out.as_mut_ptr().add(first * *stride + block);
                let Some(shortcut) = shortcut else {
                    for (row, sums) in sums.iter().enumerate() {
                        requantize(added(vectors(sums), bias), multipliers, out.add(row * *stride));
                    }
                    return;
                };
                let levels = shortcut.levels.as_ptr().add(first * shortcut.stride + block);
                let steps = shortcut.steps.as_ptr().add(block);
                let steps = [_mm256_loadu_si256(steps.cast()), _mm256_loadu_si256(steps.add(SIDE).cast())];
                let steps = steps.map(|steps| _mm512_cvtepi16_epi32(steps));
                for (row, sums) in sums.iter().enumerate() {
                    let levels = levels.add(row * shortcut.stride);
                    let [a, b] = added(vectors(sums), bias);
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
                let sums: [i32; CHANNELS] = std::array::from_fn(|at| sums[at].wrapping_add(bias[at]));
                output.write(row, block, &sums[..width]);
            }
        }
    }
}

/// A row's numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn vectors(numbers: &[i32; CHANNELS]) -> [__m512i; 2] {
    let (a, b) = (&numbers[..SIDE], &numbers[SIDE..]);
    // SAFETY: sixteen numbers each.
    unsafe { [_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast())] }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn added(sums: [__m512i; 2], bias: [__m512i; 2]) -> [__m512i; 2] {
    [_mm512_add_epi32(sums[0], bias[0]), _mm512_add_epi32(sums[1], bias[1])]
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
