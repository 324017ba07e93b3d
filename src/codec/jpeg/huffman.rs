//! Huffman codes: tables as the codestream tells them, and as they are decoded with. What the symbols are for is left
//! to the processes.

use super::bits::Bits;
use crate::codec::CodecError;

/// Codes of up to as many bits are found in one step.
const QUICK: u32 = 12;

/// What a table's symbols are, and how many bits follow them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbols {
    /// Categories of differences: 0 to 15 (F.1.2.1), in the lossless process 16 as well (H.1.2.2).
    Differences { most: u8 },
    /// A run of zeros, and the category of the coefficient behind it (F.1.2.2).
    Coefficients,
    /// The same, with runs of blocks that have ended (G.1.2.2).
    Bands,
}

/// A table as DHT tells it (B.2.4.2): made into a [`Table`] only where a scan wants it, so that a codestream of
/// nothing but tables is soon read.
#[derive(Clone)]
pub(super) struct Definition {
    /// Codes of each length, from 1 bit on.
    pub counts: [u8; 16],
    /// In the order of their codes.
    pub symbols: Vec<u8>,
}

/// A symbol that was found: bits of code and what follows it in the lowest byte, then bits of the code alone, then
/// bits of what follows alone, then the symbol.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Found(u32);

impl Found {
    const NONE: Found = Found(0);

    fn new(symbol: u8, code: u32, extra: u32) -> Found {
        Found((code + extra) | code << 8 | extra << 16 | u32::from(symbol) << 24)
    }

    #[inline(always)]
    pub fn total(self) -> u32 {
        self.0 & 0xFF
    }

    #[inline(always)]
    pub fn code(self) -> u32 {
        self.0 >> 8 & 0xFF
    }

    #[inline(always)]
    pub fn extra(self) -> u32 {
        self.0 >> 16 & 0xFF
    }

    #[inline(always)]
    pub fn symbol(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// The number that follows the symbol on top of `bits`, in the way of T.81 F.2.2.1 (EXTEND): below half of its
    /// range it is negative.
    #[inline(always)]
    pub fn value(self, top: u64) -> i32 {
        let behind_code = top << (self.code() & 63);
        let raw = (behind_code >> 1 >> (63 - (self.extra() & 63))) as i32;
        // All ones where the first bit is 0.
        let negative = !((behind_code as i64 >> 63) as i32);
        raw + (negative & ((-1 << (self.extra() & 31)) + 1))
    }
}

/// What decodes one table's codes.
pub(super) struct Table {
    /// By the next 12 bits; none where the code is longer, and for the category of 16 bits, which is rare and the
    /// only one with a rule of its own.
    quick: Box<[Found; 1 << QUICK]>,
    /// By length: the first 16 bits that no code of this length begins with any more.
    limits: [u32; 17],
    /// By length: what is added to a code to find its symbol's place.
    places: [i32; 17],
    symbols: Vec<u8>,
    kind: Symbols,
}

impl Table {
    /// Gives the symbols their codes (T.81 C.2).
    ///
    /// # Errors
    ///
    /// Where there are more codes than the lengths have room for, or symbols that cannot be.
    pub fn new(definition: &Definition, kind: Symbols) -> Result<Table, CodecError> {
        let mut table = Table {
            quick: Box::new([Found::NONE; 1 << QUICK]),
            limits: [0; 17],
            places: [0; 17],
            symbols: definition.symbols.clone(),
            kind,
        };
        let mut code = 0u32;
        let mut place = 0usize;
        for length in 1..=16u32 {
            let count = u32::from(definition.counts[length as usize - 1]);
            if code + count > 1 << length {
                return Err(CodecError::Damaged("a Huffman table has more codes than fit"));
            }
            table.places[length as usize] = place as i32 - code as i32;
            for &symbol in definition.symbols.iter().skip(place).take(count as usize) {
                let extra = kind.extra(symbol)?;
                if length <= QUICK && symbol != Symbols::SIXTEEN {
                    let first = (code << (QUICK - length)) as usize;
                    table.quick[first..first + (1 << (QUICK - length))]
                        .fill(Found::new(symbol, length, extra));
                }
                code += 1;
            }
            place += count as usize;
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }

    /// The symbol on top of `bits`, which stays there. Wants [`Bits::fill`] before.
    #[inline(always)]
    pub fn find(&self, bits: &Bits<'_>) -> Result<Found, CodecError> {
        let found = self.quick[(bits.top() >> (64 - QUICK)) as usize];
        if found == Found::NONE {
            self.find_by_length(bits.top()).ok_or_else(|| no_code(bits))
        } else {
            Ok(found)
        }
    }

    /// T.81 F.2.2.3 (DECODE), for what the quick table does not have.
    #[cold]
    #[inline(never)]
    fn find_by_length(&self, top: u64) -> Option<Found> {
        let top = (top >> 48) as u32;
        let length = (1..=16u32).find(|&length| top < self.limits[length as usize])?;
        let place = (top >> (16 - length)) as i32 + self.places[length as usize];
        let symbol = *self.symbols.get(usize::try_from(place).ok()?)?;
        Some(Found::new(symbol, length, self.kind.extra(symbol).ok()?))
    }
}

impl Symbols {
    /// The category of a difference of 32768, which has no further bits (H.1.2.2, table H.2).
    pub const SIXTEEN: u8 = 16;

    /// Bits that follow a symbol.
    fn extra(self, symbol: u8) -> Result<u32, CodecError> {
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 0x0F));
        match self {
            Symbols::Differences { most } if symbol > most => {
                Err(CodecError::Damaged("a Huffman table has a category that cannot be"))
            }
            Symbols::Differences { .. } if symbol == Symbols::SIXTEEN => Ok(0),
            Symbols::Differences { .. } => Ok(u32::from(symbol)),
            // G.1.2.2: EOBn is followed by n bits of the run's length.
            Symbols::Bands if size == 0 && run < 15 => Ok(run),
            Symbols::Coefficients | Symbols::Bands => Ok(size),
        }
    }
}

#[cold]
fn no_code(bits: &Bits<'_>) -> CodecError {
    bits.fault("a code that no Huffman table has")
}
