//! The bits of an entropy-coded segment, first bit of a byte first. What they mean is left to `huffman`.

use crate::codec::CodecError;

/// Bits that are surely there after [`Bits::fill`]: one code of 16 bits and 16 bits behind it.
const ENOUGH: u32 = 32;

/// Reads entropy-coded segments, without their stuffed bytes (T.81 B.1.1.5). Copied into a local variable by the
/// loops that are to be quick, so that its fields live in registers.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    stream: &'a [u8],
    /// First byte that is not in the buffer.
    next: usize,
    /// First byte from `next` on that is 0xFF, or the stream's end. All bytes before it are plain.
    plain_until: usize,
    /// Not yet read bits, the next one on top. Below the held ones may lie bits of the bytes from `next` on.
    buffer: u64,
    /// How many bits the buffer surely holds.
    held: u32,
    /// How many of all bits that were put into the buffer were not in the stream.
    invented: u64,
    /// A marker has been met, or the stream's end: fill bytes before it are not to be looked at again and again.
    over: bool,
}

impl<'a> Bits<'a> {
    /// The segment that begins at `start`.
    pub fn new(stream: &'a [u8], start: usize) -> Bits<'a> {
        let plain_until = find_ff(stream, start);
        Bits { stream, next: start, plain_until, buffer: 0, held: 0, invented: 0, over: false }
    }

    /// Makes sure that a code and what belongs to it is in the buffer: 32 bits. Behind the end of the segment zeros
    /// are read, and [`Bits::check`] tells.
    #[inline(always)]
    pub fn fill(&mut self) {
        if self.held < ENOUGH {
            self.refill();
        }
    }

    /// [`Bits::fill`] for loops in which the buffer is low nearly each time.
    #[inline(always)]
    pub fn refill(&mut self) {
        if self.next + 8 <= self.plain_until
            && let Some(eight) = self.stream.get(self.next..).and_then(<[u8]>::first_chunk::<8>)
        {
            self.buffer |= u64::from_be_bytes(*eight) >> self.held;
            // Whole bytes only: what else came along is put there again, the same, by the next call.
            self.next += ((63 - self.held) >> 3) as usize;
            self.held |= 56;
        } else {
            *self = self.refilled_by_bytes();
        }
    }

    /// By value: a pointer to the reader would keep its fields out of the registers.
    #[cold]
    #[inline(never)]
    fn refilled_by_bytes(mut self) -> Bits<'a> {
        while self.held <= 56 {
            let byte = if self.over { None } else { self.plain_byte() };
            if byte.is_none() {
                self.over = true;
                self.invented += 8;
            }
            let byte = byte.unwrap_or(0);
            self.buffer |= u64::from(byte) << (56 - self.held);
            self.held += 8;
        }
        self
    }

    /// The segment's next byte; None where it ends.
    fn plain_byte(&mut self) -> Option<u8> {
        if self.next < self.plain_until {
            let byte = self.stream[self.next];
            self.next += 1;
            return Some(byte);
        }
        // T.81 B.1.1.5: 0xFF is a value where 0x00 follows, else a marker, before which may be more of 0xFF.
        let behind = self.stream.get(self.next..)?.iter().position(|&byte| byte != 0xFF)? + self.next;
        if self.stream[behind] != 0x00 {
            return None;
        }
        self.next = behind + 1;
        self.plain_until = find_ff(self.stream, self.next);
        Some(0xFF)
    }

    /// The bits on top, of which 32 are sure after [`Bits::fill`].
    #[inline(always)]
    pub fn top(&self) -> u64 {
        self.buffer
    }

    /// Steps over at most as many bits as were made sure of.
    #[inline(always)]
    pub fn skip(&mut self, count: u32) {
        self.buffer <<= count & 63;
        self.held = self.held.wrapping_sub(count);
    }

    /// The next bits as a number, at most 16 of them, after a [`Bits::fill`] that was enough.
    #[inline(always)]
    pub fn take(&mut self, count: u32) -> u32 {
        let value = (self.buffer >> 1 >> (63 - count)) as u32;
        self.skip(count);
        value
    }

    /// Whether bits were read that the segment does not have.
    ///
    /// # Errors
    ///
    /// [`CodecError::Ends`] where that is so.
    #[inline(always)]
    pub fn check(&self) -> Result<(), CodecError> {
        if u64::from(self.held) < self.invented { Err(CodecError::Ends) } else { Ok(()) }
    }

    /// Which error a code is that no table has: zeros behind the end of a segment are no damage of their own.
    #[cold]
    pub fn fault(&self, what: &'static str) -> CodecError {
        if self.invented > 0 { CodecError::Ends } else { CodecError::Damaged(what) }
    }

    /// Where the marker begins that ends the segment, or where the stream ends.
    pub fn end(mut self) -> usize {
        while self.plain_until < self.stream.len() {
            self.next = self.plain_until;
            if self.plain_byte().is_none() {
                return self.next;
            }
        }
        self.stream.len()
    }
}

/// The first 0xFF from `start` on, or the stream's end. Eight bytes a step: this sees all bytes of a frame.
fn find_ff(stream: &[u8], start: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut at = start;
    while let Some(eight) = stream.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*eight);
        // The lowest set bit marks the first byte that is 0xFF: a zero byte of the inverse borrows from its top bit.
        let found = (!word).wrapping_sub(ONES) & word & (ONES << 7);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    stream
        .get(at..)
        .and_then(|rest| rest.iter().position(|&byte| byte == 0xFF))
        .map_or(stream.len(), |n| at + n)
}
