//! The progressive process (T.81 annex G): coefficients that come band by band and bit by bit, in many scans.

use super::bits::Bits;
use super::dct::{Blocks, ZIGZAG};
use super::huffman::Table;
use super::restarts::Restarts;
use crate::codec::CodecError;

/// What a scan header tells of a progressive scan (T.81 B.2.3).
#[derive(Clone, Copy)]
pub(super) struct Band {
    /// First coefficient, in the order of the codestream.
    pub first: u8,
    /// Last coefficient.
    pub last: u8,
    /// The lowest bit that was sent before, 0 where none was.
    pub high: u8,
    /// The lowest bit that is sent now.
    pub low: u8,
}

/// Which bits of which coefficients have been sent.
///
/// Every scan has to send what is next of each of its coefficients, so all scans together see a block no more than
/// 64 times 14 times, mostly to step over it: that bounds the work.
pub(super) struct Progress {
    /// By coefficient, in the codestream's order: the lowest bit that was sent; none where nothing was.
    lowest: [Option<u8>; 64],
}

impl Progress {
    /// Nothing sent.
    pub fn new() -> Progress {
        Progress { lowest: [None; 64] }
    }

    /// Whether all bits were sent.
    pub fn complete(&self) -> bool {
        self.lowest.iter().all(|&lowest| lowest == Some(0))
    }

    /// Takes note of a scan (G.1.1.1).
    ///
    /// # Errors
    ///
    /// Where it is none that a progressive image can have, or not its turn.
    pub fn note(&mut self, band: Band) -> Result<(), CodecError> {
        let Band { first, last, high, low } = band;
        if first > last || last > 63 || (first == 0 && last > 0) || low > 13 {
            return Err(CodecError::Damaged("a band of coefficients that cannot be"));
        }
        if first > 0 && self.lowest[0].is_none() {
            return Err(CodecError::Damaged("the first scan has no DC coefficients"));
        }
        for lowest in &mut self.lowest[usize::from(first)..=usize::from(last)] {
            let its_turn = match *lowest {
                None => high == 0,
                Some(lowest) => high == lowest && low + 1 == high,
            };
            if !its_turn {
                return Err(CodecError::Damaged("a scan refines what was not sent, or sends again"));
            }
            *lowest = Some(low);
        }
        Ok(())
    }
}

/// Decodes a scan into the coefficients, of which it adds one band of bits.
///
/// Tells where the scan ends. The table decodes DC codes for the first scan of DC, bands for others; a scan that refines DC has none.
pub(super) fn decode(
    mut restarts: Restarts<'_>,
    blocks: Blocks,
    band: Band,
    table: Option<&Table>,
    coefficients: &mut [[i16; 64]],
) -> Result<usize, CodecError> {
    let mut bits = restarts.first();
    let mut last_dc = 0i32;
    // Blocks that have ended, the current one among them (G.1.2.2).
    let mut ended = 0u32;
    for (index, block) in coefficients.iter_mut().enumerate() {
        if restarts.ends_before(index) {
            bits = restarts.next(bits)?;
            last_dc = 0;
            ended = 0;
        }
        match (table, band.first, band.high) {
            (Some(table), 0, 0) => {
                bits.fill();
                let found = table.find(&bits)?;
                last_dc = last_dc.wrapping_add(found.value(bits.top()));
                bits.skip(found.total());
                block[0] = last_dc.wrapping_shl(u32::from(band.low)) as i16;
            }
            (Some(table), 1.., 0) => first_band(&mut bits, table, band, &mut ended, block)?,
            (Some(table), 1.., 1..) => refine_band(&mut bits, table, band, &mut ended, block)?,
            (_, _, _) => {
                bits.fill();
                // G.1.2.1: the bit itself, in two's complement.
                block[0] |= (bits.take(1) << band.low) as i16;
            }
        }
        if index.is_multiple_of(blocks.across) {
            bits.check()?;
        }
    }
    bits.check()?;
    Ok(bits.end())
}

/// The blocks that a run of n extra bits ends (G.1.2.2, table G.1).
#[inline(always)]
fn run_of_blocks(bits: &mut Bits<'_>, size: u8) -> u32 {
    (1 << size) + bits.take(u32::from(size))
}

/// The first bits of a block's band (G.1.2.2).
#[inline(always)]
fn first_band(
    outer: &mut Bits<'_>,
    table: &Table,
    band: Band,
    ended: &mut u32,
    block: &mut [i16; 64],
) -> Result<(), CodecError> {
    if *ended > 0 {
        *ended -= 1;
        return Ok(());
    }
    let mut bits = *outer;
    let mut k = usize::from(band.first);
    let end = usize::from(band.last) + 1;
    while k < end {
        bits.fill();
        let found = table.find(&bits)?;
        let run = found.symbol() >> 4;
        if found.symbol() & 0x0F == 0 {
            if run < 15 {
                bits.skip(found.code());
                *ended = run_of_blocks(&mut bits, run) - 1;
                break;
            }
            bits.skip(found.total());
            k += 16;
            continue;
        }
        let value = found.value(bits.top());
        bits.skip(found.total());
        k += usize::from(run);
        let Some(&place) = ZIGZAG[..end].get(k) else {
            return Err(bits.fault("a run of zeros leaves its band"));
        };
        block[usize::from(place & 63)] = (value << band.low) as i16;
        k += 1;
    }
    if k > end {
        return Err(bits.fault("a run of zeros leaves its band"));
    }
    *outer = bits;
    Ok(())
}

/// One more bit of a block's band (G.1.2.3): for each coefficient that is not 0 already a correction, and those that
/// become 1 now, between them.
#[inline(always)]
fn refine_band(
    outer: &mut Bits<'_>,
    table: &Table,
    band: Band,
    ended: &mut u32,
    block: &mut [i16; 64],
) -> Result<(), CodecError> {
    let mut bits = *outer;
    let one = 1i16 << band.low;
    let mut k = usize::from(band.first);
    let end = usize::from(band.last) + 1;
    while k < end && *ended == 0 {
        bits.fill();
        let found = table.find(&bits)?;
        bits.skip(found.code());
        let mut zeros = found.symbol() >> 4;
        let new = match found.symbol() & 0x0F {
            0 if zeros < 15 => {
                *ended = run_of_blocks(&mut bits, zeros);
                break;
            }
            0 => 0,
            1 if bits.take(1) == 1 => one,
            1 => -one,
            _ => return Err(bits.fault("a refined coefficient of more than one bit")),
        };
        // Over as many zeros as the run tells, correcting what lies between them, to the zero behind them.
        let place = loop {
            let Some(&place) = ZIGZAG[..end].get(k) else {
                return Err(bits.fault("a run of zeros leaves its band"));
            };
            let coefficient = &mut block[usize::from(place & 63)];
            k += 1;
            if *coefficient != 0 {
                correct(&mut bits, one, coefficient);
            } else if zeros == 0 {
                break place;
            } else {
                zeros -= 1;
            }
        };
        block[usize::from(place & 63)] = new;
    }
    if *ended > 0 {
        for &place in &ZIGZAG[k..end] {
            let coefficient = &mut block[usize::from(place & 63)];
            if *coefficient != 0 {
                correct(&mut bits, one, coefficient);
            }
        }
        *ended -= 1;
    }
    *outer = bits;
    Ok(())
}

/// A bit that is added to a coefficient's amount (G.1.2.3).
#[inline(always)]
fn correct(bits: &mut Bits<'_>, one: i16, coefficient: &mut i16) {
    bits.fill();
    // The bit is 0 in all honest coefficients: only a damaged one can have left its range.
    if bits.take(1) == 1 {
        *coefficient = coefficient.wrapping_add(if *coefficient > 0 { one } else { -one });
    }
}
