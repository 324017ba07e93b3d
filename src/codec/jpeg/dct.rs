//! Blocks of quantized DCT coefficients in sequential order (T.81 annex F), and where blocks lie in the image.

use super::bits::Bits;
use super::huffman::Table;
use super::idct::Transform;
use super::restarts::Restarts;
use crate::codec::{CodecError, Extent};

/// Places of the coefficients in a block of rows, in the order of the codestream (T.81 figure A.6).
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The blocks of an image of one component. A scan of one component is not interleaved, so its sampling factors do
/// not matter (T.81 A.2.2).
#[derive(Clone, Copy)]
pub(super) struct Blocks {
    extent: Extent,
    /// Blocks of a row of blocks.
    pub across: usize,
    /// Rows of blocks.
    pub down: usize,
}

impl Blocks {
    /// Those that cover an image.
    pub fn new(extent: Extent) -> Blocks {
        let (across, down) = (extent.columns.div_ceil(8) as usize, extent.rows.div_ceil(8) as usize);
        Blocks { extent, across, down }
    }

    /// Blocks in all.
    pub fn count(self) -> usize {
        self.across * self.down
    }

    /// Writes a block's samples, as far as they lie within the image (A.2.4).
    #[inline(always)]
    fn put(self, values: &mut [u16], row: usize, column: usize, samples: &[u16; 64]) {
        let columns = self.extent.columns as usize;
        let (top, left) = (row * 8, column * 8);
        let lines = values[top * columns..].chunks_mut(columns).take(8);
        if left + 8 <= columns {
            for (line, eight) in lines.zip(samples.as_chunks::<8>().0) {
                line[left..left + 8].copy_from_slice(eight);
            }
        } else {
            for (line, eight) in lines.zip(samples.as_chunks::<8>().0) {
                let line = &mut line[left..];
                line.copy_from_slice(&eight[..line.len()]);
            }
        }
    }

    /// Turns coefficients that were all gathered before into samples.
    pub fn transform(self, coefficients: &[[i16; 64]], transform: &Transform, values: &mut [u16]) {
        let mut wide = [0; 64];
        for (row, blocks) in coefficients.chunks_exact(self.across).enumerate() {
            for (column, block) in blocks.iter().enumerate() {
                let [dc, others @ ..] = block;
                if others.iter().fold(0, |all, coefficient| all | coefficient) == 0 {
                    let flat = transform.flat(i32::from(*dc) * transform.factors[0]);
                    self.put(values, row, column, &[flat; 64]);
                    continue;
                }
                // Which halves have coefficients, as sequential blocks tell by their places.
                let any = |wanted: usize| {
                    block.iter().enumerate().fold(0, |all, (place, coefficient)| {
                        if place & wanted == 0 { all } else { all | coefficient }
                    }) != 0
                };
                let places = usize::from(any(0b100_000)) << 5 | usize::from(any(0b000_100)) << 2;
                for ((wide, narrow), factor) in wide.iter_mut().zip(block).zip(&transform.factors) {
                    *wide = i32::from(*narrow) * factor;
                }
                self.put(values, row, column, &transform.samples(&wide, places));
            }
        }
    }
}

/// Decodes the one scan of a sequential image into `values`, which has its size.
pub(super) fn decode(
    mut restarts: Restarts<'_>,
    blocks: Blocks,
    (dc, ac): (&Table, &Table),
    transform: &Transform,
    values: &mut [u16],
) -> Result<(), CodecError> {
    let mut bits = restarts.first();
    let mut last_dc = 0;
    for row in 0..blocks.down {
        for column in 0..blocks.across {
            if restarts.ends_before(row * blocks.across + column) {
                bits = restarts.next(bits)?;
                last_dc = 0;
            }
            let mut block = [0; 64];
            let places = decode_block(&mut bits, dc, ac, &mut last_dc, transform, &mut block)?;
            let samples =
                if places == 0 { [transform.flat(block[0]); 64] } else { transform.samples(&block, places) };
            blocks.put(values, row, column, &samples);
        }
        bits.check()?;
    }
    Ok(())
}

/// One block, dequantized (T.81 F.2.2.1, F.2.2.2, A.3.4). All bits of the places of its AC coefficients.
#[inline(always)]
fn decode_block(
    outer: &mut Bits<'_>,
    dc: &Table,
    ac: &Table,
    last_dc: &mut i32,
    transform: &Transform,
    block: &mut [i32; 64],
) -> Result<usize, CodecError> {
    let mut bits = *outer;
    bits.fill();
    let found = dc.find(&bits)?;
    *last_dc = last_dc.wrapping_add(found.value(bits.top()));
    bits.skip(found.total());
    // Behind any honest range a coefficient only has to be some number.
    block[0] = i32::from(*last_dc as i16) * transform.factors[0];
    let mut places = 0;
    let mut k = 1;
    while k < 64 {
        bits.fill();
        let found = ac.find(&bits)?;
        let value = found.value(bits.top());
        bits.skip(found.total());
        if found.extra() == 0 {
            match found.symbol() {
                0x00 => break,
                0xF0 => {
                    k += 16;
                    continue;
                }
                _ => return Err(CodecError::Damaged("a coefficient of no bits")),
            }
        }
        k += usize::from(found.symbol() >> 4);
        let Some(&place) = ZIGZAG.get(k) else {
            return Err(bits.fault("a run of zeros leaves its block"));
        };
        let place = usize::from(place & 63);
        places |= place;
        block[place] = value * transform.factors[place];
        k += 1;
    }
    if k > 64 {
        return Err(bits.fault("a run of zeros leaves its block"));
    }
    *outer = bits;
    Ok(places)
}
