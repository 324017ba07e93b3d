//! The lossless process (T.81 annex H): each sample is told by its difference from what its neighbors predict.

use super::bits::Bits;
use super::huffman::{Symbols, Table};
use super::restarts::Restarts;
use crate::codec::{CodecError, Extent};

/// What a scan of this process tells of its samples.
pub(super) struct Samples {
    pub extent: Extent,
    /// Bits of a value.
    pub precision: u8,
    /// Which neighbors predict, 1 to 7 (H.1.2.1, table H.1).
    pub predictor: u8,
    /// Low bits that were dropped, as the scan tells.
    pub point_transform: u8,
}

/// Decodes a scan into `values`, which has its size.
///
/// Values of more bits than the precision, which a sign-extended image has where its encoder did not mind, lose
/// them here, and not before: the prediction is modulo 2^16 (H.2.1).
pub(super) fn decode(
    mut restarts: Restarts<'_>,
    samples: &Samples,
    table: &Table,
    values: &mut [u16],
) -> Result<(), CodecError> {
    let columns = samples.extent.columns as usize;
    let row_of_predictor = match samples.predictor {
        1 => row::<1>,
        2 => row::<2>,
        3 => row::<3>,
        4 => row::<4>,
        5 => row::<5>,
        6 => row::<6>,
        7 => row::<7>,
        _ => return Err(CodecError::Damaged("a predictor that cannot be")),
    };
    // H.1.1: an interval is a whole number of rows, since the first row of each is predicted by itself.
    if !restarts.interval().is_multiple_of(columns) {
        return Err(CodecError::Damaged("a restart interval that ends within a row"));
    }
    let rows_of_interval = match restarts.interval() / columns {
        0 => usize::MAX,
        rows => rows,
    };
    let kept = samples.precision.checked_sub(samples.point_transform).filter(|&kept| kept > 0);
    let kept = kept.ok_or(CodecError::Damaged("a point transform that leaves no bits"))?;
    let beginning = 1 << (kept - 1);
    let mut bits = restarts.first();
    let mut above: &[u16] = &[];
    for (y, current) in values.chunks_exact_mut(columns).enumerate() {
        if y % rows_of_interval == 0 {
            if y > 0 {
                bits = restarts.next(bits)?;
            }
            first_row(&mut bits, table, beginning, current)?;
        } else {
            row_of_predictor(&mut bits, table, above, current)?;
        }
        bits.check()?;
        above = current;
    }
    finish(samples, values);
    Ok(())
}

/// Undoes the point transform (H.1.2.1), and clears what is over the precision.
fn finish(samples: &Samples, values: &mut [u16]) {
    if samples.precision == 16 && samples.point_transform == 0 {
        return;
    }
    let mask = u16::MAX >> (16 - samples.precision);
    for value in values {
        *value = (*value << samples.point_transform) & mask;
    }
}

/// H.1.2.1: the first row of an interval is predicted by its left neighbor, its first sample by half of the range.
fn first_row(bits: &mut Bits<'_>, table: &Table, beginning: i32, row: &mut [u16]) -> Result<(), CodecError> {
    let mut left = beginning;
    for value in row {
        left = (left + difference(bits, table)?) & 0xFFFF;
        *value = left as u16;
    }
    Ok(())
}

/// A row that has one above it. Its first sample is predicted by the one above (H.1.2.1).
fn row<const PREDICTOR: u8>(
    outer: &mut Bits<'_>,
    table: &Table,
    above: &[u16],
    row: &mut [u16],
) -> Result<(), CodecError> {
    let mut bits = *outer;
    let (mut left, mut up_left) = (0, 0);
    for (x, (value, up)) in row.iter_mut().zip(above).enumerate() {
        let up = i32::from(*up);
        let predicted = if x == 0 { up } else { predict::<PREDICTOR>(left, up, up_left) };
        left = (predicted + difference(&mut bits, table)?) & 0xFFFF;
        *value = left as u16;
        up_left = up;
    }
    *outer = bits;
    Ok(())
}

/// T.81 table H.1: Ra is to the left, Rb above, Rc above on the left.
#[inline(always)]
fn predict<const PREDICTOR: u8>(ra: i32, rb: i32, rc: i32) -> i32 {
    match PREDICTOR {
        1 => ra,
        2 => rb,
        3 => rc,
        4 => ra + rb - rc,
        5 => ra + ((rb - rc) >> 1),
        6 => rb + ((ra - rc) >> 1),
        _ => (ra + rb) >> 1,
    }
}

/// The next difference (H.1.2.2).
#[inline(always)]
fn difference(bits: &mut Bits<'_>, table: &Table) -> Result<i32, CodecError> {
    bits.fill();
    let found = table.find(bits)?;
    let value = if found.symbol() == Symbols::SIXTEEN { 1 << 15 } else { found.value(bits.top()) };
    bits.skip(found.total());
    Ok(value)
}
