//! The lines of a scan (ITU-T T.87, Annex A).

use super::CodecError;
use super::bits::{Bits, segment_end};
use super::context::{Interruption, Regular};
use super::header::Reader;
use super::parameters::{Levels, Parameters};

/// Orders of run lengths, by how well runs went so far: J (ITU-T T.87, A.2.1).
const RUN_ORDERS: [u8; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Contexts of three levels, -4 to 4, of which the first that is not 0 is positive; 0 is for runs.
const CONTEXTS: usize = 4 * 81 + 4 * 9 + 4 + 1;

/// Decodes lines, and keeps what it learned from one to the next.
pub(super) struct Scan {
    parameters: Parameters,
    levels: Levels,
    columns: usize,
    regular: Box<[Regular; CONTEXTS]>,
    /// By whether the pixels to the left and above are alike.
    interruptions: [Interruption; 2],
    /// RUNindex.
    run_index: usize,
    /// Whether RANGE is a power of two and NEAR is 0: then a mask brings values back into range.
    exact: bool,
}

impl Scan {
    pub fn new(parameters: Parameters, columns: usize) -> Self {
        Self {
            parameters,
            levels: Levels::new(&parameters),
            columns,
            regular: Box::new([Regular::new(&parameters); CONTEXTS]),
            interruptions: [Interruption::new(&parameters); 2],
            run_index: 0,
            exact: parameters.near == 0 && parameters.range.count_ones() == 1,
        }
    }

    /// Decodes `rows` lines, which are appended to `values`.
    pub fn decode(
        &mut self,
        coded: &[u8],
        rows: u32,
        restart_lines: u32,
        values: &mut Vec<u16>,
    ) -> Result<(), CodecError> {
        let interval = if restart_lines == 0 { rows } else { restart_lines };
        let mut coded = coded;
        let mut left = rows;
        let mut restarts = 0u8;
        loop {
            let end = segment_end(coded);
            let lines = left.min(interval);
            self.interval(Bits::new(&coded[..end]), lines, values)?;
            left -= lines;
            if left == 0 {
                return Ok(());
            }
            let mut reader = Reader { bytes: &coded[end..] };
            if reader.marker()? != 0xD0 + restarts % 8 {
                return Err(CodecError::Damaged("a restart marker is missing"));
            }
            coded = reader.bytes;
            restarts = restarts.wrapping_add(1);
        }
    }

    /// Decodes the lines up to a restart, which know nothing of those before (ITU-T T.87, A.2.1).
    fn interval(&mut self, mut bits: Bits<'_>, lines: u32, values: &mut Vec<u16>) -> Result<(), CodecError> {
        self.regular.fill(Regular::new(&self.parameters));
        self.interruptions = [Interruption::new(&self.parameters); 2];
        self.run_index = 0;
        // One pixel is added in front of each line and one behind it.
        let mut above = vec![0u16; self.columns + 2];
        let mut line = above.clone();
        for _ in 0..lines {
            bits = if self.exact {
                self.line::<true>(bits, &above, &mut line)?
            } else {
                self.line::<false>(bits, &above, &mut line)?
            };
            if bits.overran() {
                return Err(CodecError::Ends);
            }
            values.extend_from_slice(&line[1..=self.columns]);
            std::mem::swap(&mut above, &mut line);
        }
        Ok(())
    }

    /// Decodes one line. Pixels are named as in ITU-T T.87, Figure 3: a is left of x, c b d are above it.
    fn line<'a, const EXACT: bool>(
        &mut self,
        mut bits: Bits<'a>,
        above: &[u16],
        line: &mut [u16],
    ) -> Result<Bits<'a>, CodecError> {
        let columns = self.columns;
        let (above, line) = (&above[..columns + 2], &mut line[..columns + 2]);
        let parameters = self.parameters;
        let near = if EXACT { 0 } else { parameters.near };
        let escape = parameters.limit - parameters.error_bits - 1;
        // The pixel in front of a line is the one above its first pixel.
        line[0] = above[1];
        let mut x = 1;
        let mut a = i32::from(above[1]);
        let mut c = i32::from(above[0]);
        let mut b = a;
        let mut level_bc = self.levels.of(b - c);
        while x <= columns {
            let d = i32::from(above[x + 1]);
            let level_db = self.levels.of(d - b);
            // The levels of a context and those of its mirror share what they learn (ITU-T T.87, A.3.4).
            let mirrored = 81 * level_db + 9 * level_bc + self.levels.of(c - a);
            if mirrored == 0 {
                (x, bits) = self.run(bits, x, above, line)?;
                if x > columns {
                    break;
                }
                a = i32::from(line[x - 1]);
                c = i32::from(above[x - 1]);
                b = i32::from(above[x]);
                level_bc = self.levels.of(b - c);
                continue;
            }
            let sign = mirrored >> 31;
            let context = &mut self.regular[((mirrored ^ sign) - sign) as usize];

            let code = bits.golomb(u32::from(context.k), escape, parameters.error_bits)?;
            if code > parameters.range as u32 {
                return Err(bits.refuse("a prediction error is out of range"));
            }
            // Even codes are errors of 0, 1, 2..., odd ones of -1, -2, -3... (ITU-T T.87, A.5.2).
            let error = (code >> 1) as i32 ^ -((code & 1) as i32) ^ i32::from(context.complement);

            // The median of the three is the edge detector of ITU-T T.87, A.4.1.
            let predicted = (a + b - c).max(a.min(b)).min(a.max(b));
            let correction = (i32::from(context.correction) ^ sign) - sign;
            let predicted = (predicted + correction).max(0).min(parameters.maximum);
            context.learn(error, &parameters, near);
            let signed_error = (error ^ sign) - sign;
            let value = if EXACT {
                (predicted + signed_error) & parameters.maximum
            } else {
                reconstruct(predicted, signed_error, &parameters)
            };
            line[x] = value as u16;
            x += 1;
            (a, c, b, level_bc) = (value, b, d, level_db);
        }
        // The pixel behind a line is its last one.
        line[columns + 1] = line[columns];
        Ok(bits)
    }

    /// Decodes a run and the pixel that ends it. Returns where the line goes on.
    ///
    /// # Source
    /// ITU-T T.87, A.7.1.2 and A.7.2.
    #[inline(never)]
    fn run<'a>(
        &mut self,
        mut bits: Bits<'a>,
        start: usize,
        above: &[u16],
        line: &mut [u16],
    ) -> Result<(usize, Bits<'a>), CodecError> {
        let end = self.columns + 1;
        let repeated = line[start - 1];
        let mut x = start;
        let order = loop {
            let order = u32::from(RUN_ORDERS[self.run_index]);
            bits.fill();
            if bits.take(1) == 0 {
                break order;
            }
            let length = 1 << order;
            if end - x < length {
                x = end;
            } else {
                x += length;
                self.run_index = (self.run_index + 1).min(RUN_ORDERS.len() - 1);
            }
            if x == end {
                line[start..end].fill(repeated);
                return Ok((end, bits));
            }
        };
        x += bits.take(order) as usize;
        if x >= end {
            return Err(bits.refuse("a run is longer than its line"));
        }
        line[start..x].fill(repeated);

        let parameters = &self.parameters;
        let (a, b) = (i32::from(repeated), i32::from(above[x]));
        let alike = (a - b).abs() <= parameters.near;
        let interruption = &mut self.interruptions[usize::from(alike)];
        let k = interruption.k(alike);
        let escape = parameters.limit - order - parameters.error_bits - 2;
        let code = bits.golomb(k, escape, parameters.error_bits)?;
        if code > parameters.range as u32 {
            return Err(bits.refuse("a prediction error is out of range"));
        }
        let error = interruption.error(code, k, alike, parameters);
        let value = if alike {
            reconstruct(a, error, parameters)
        } else {
            reconstruct(b, if a > b { -error } else { error }, parameters)
        };
        line[x] = value as u16;
        self.run_index = self.run_index.saturating_sub(1);
        Ok((x + 1, bits))
    }
}

/// The value that a prediction and its quantized error stand for (ITU-T T.87, A.4.4 and A.4.5).
#[inline(always)]
fn reconstruct(predicted: i32, error: i32, parameters: &Parameters) -> i32 {
    let value = predicted + error * parameters.step();
    let turn = parameters.range * parameters.step();
    let value = if value < -parameters.near {
        value + turn
    } else if value > parameters.maximum + parameters.near {
        value - turn
    } else {
        value
    };
    value.clamp(0, parameters.maximum)
}
