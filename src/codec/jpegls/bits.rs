//! Bits of an entropy-coded segment (ITU-T T.87, A.1): a byte after 0xFF has seven.

use super::CodecError;

/// Whether one of eight bytes is 0xFF: then one of the complement is zero.
#[inline(always)]
fn has_ff(bytes: u64) -> bool {
    (!bytes).wrapping_sub(0x0101_0101_0101_0101) & bytes & 0x8080_8080_8080_8080 != 0
}

/// Where the segment that `coded` begins with ends: at a marker, or with the bytes.
///
/// A marker is 0xFF and a byte of which the highest bit is set: in a segment that bit is stuffed with 0. Of several
/// 0xFF the last one begins the marker. Those before it fill (ITU-T T.81, B.1.1.2), but for the first: it may be
/// the segment's last byte, since some encoders do not stuff a bit behind that. As more bits at the end do no harm,
/// all are left to the segment.
pub(super) fn segment_end(coded: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let mut from = 0;
    while let Some(block) = coded.get(from..from + BLOCK) {
        if block.iter().fold(false, |found, &byte| found | (byte == 0xFF)) {
            // The byte behind the block tells whether its last one begins a marker.
            let pairs = &coded[from..coded.len().min(from + BLOCK + 1)];
            if let Some(at) = marker_in(pairs) {
                return from + at;
            }
        }
        from += BLOCK;
    }
    marker_in(&coded[from..]).map_or(coded.len(), |at| from + at)
}

fn marker_in(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair[0] == 0xFF && (0x80..0xFF).contains(&pair[1]))
}

/// Reads a segment from its first bit to its last, and zeros from there on, which [`Bits::overran`] tells of.
///
/// A copy is cheap. The scan hands it around by value, so that its fields stay in registers.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    segment: &'a [u8],
    /// The next byte that is not in `window`. It has eight bits: one that has seven is taken with the 0xFF before it.
    at: usize,
    /// The next bits, from the highest on. Below `held` bits are zeros, or bits of `segment[at..]` in place.
    window: u64,
    held: u32,
    /// How many zeros were added behind the end.
    added: u32,
}

impl<'a> Bits<'a> {
    /// [`Bits::fill`] makes sure of this many.
    pub const FILLED: u32 = 32;

    pub fn new(segment: &'a [u8]) -> Self {
        Self { segment, at: 0, window: 0, held: 0, added: 0 }
    }

    /// Whether bits behind the end were taken.
    pub fn overran(&self) -> bool {
        self.added > self.held
    }

    /// What to say where the bits make no sense: those behind the end never do.
    #[cold]
    pub fn refuse(&self, problem: &'static str) -> CodecError {
        if self.overran() { CodecError::Ends } else { CodecError::Damaged(problem) }
    }

    /// Makes sure that [`Bits::FILLED`] bits are in the window.
    #[inline(always)]
    pub fn fill(&mut self) {
        if self.held >= Self::FILLED {
            return;
        }
        match self.segment.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            Some(next) if !has_ff(u64::from_be_bytes(*next)) => {
                // As many whole bytes as fit are taken. Bits of the next one may follow them in the window: they
                // are the same ones that the next filling puts there.
                self.window |= u64::from_be_bytes(*next) >> self.held;
                self.at += (63 - self.held as usize) >> 3;
                self.held |= 56;
            }
            _ => *self = self.filled_bytewise(),
        }
    }

    #[cold]
    #[inline(never)]
    fn filled_bytewise(mut self) -> Self {
        self.window &= !(u64::MAX >> self.held);
        // 0xFF is taken together with the seven bits behind it: 15 bits.
        while self.held <= 64 - 15 {
            let (bits, count, bytes) = match self.segment.get(self.at) {
                Some(0xFF) => {
                    let stuffed = self.segment.get(self.at + 1);
                    let seven = u64::from(stuffed.copied().unwrap_or(0) & 0x7F);
                    (0xFF << 7 | seven, if stuffed.is_some() { 15 } else { 8 }, 2)
                }
                Some(&byte) => (u64::from(byte) << 7, 8, 1),
                None => {
                    self.added += 64 - self.held;
                    self.held = 64;
                    break;
                }
            };
            self.window |= bits << (64 - 15 - self.held);
            self.held += count;
            self.at = self.segment.len().min(self.at + bytes);
        }
        self
    }

    /// Takes `count` bits, 0 to 31. Call [`Bits::fill`] before.
    #[inline(always)]
    pub fn take(&mut self, count: u32) -> u32 {
        let taken = (self.window >> 1 >> (63 - count)) as u32;
        self.skip(count);
        taken
    }

    #[inline(always)]
    fn skip(&mut self, count: u32) {
        self.window <<= count;
        self.held -= count;
    }

    /// Takes a code of parameter `k`, 0 to 16, of which at most `escape` zeros are the unary part.
    ///
    /// # Source
    /// ITU-T T.87, A.5.3: limited-length Golomb codes.
    #[inline(always)]
    pub fn golomb(&mut self, k: u32, escape: u32, error_bits: u32) -> Result<u32, CodecError> {
        // Fourteen zeros, the bit behind them and k bits are in the filled window: no further checks.
        const SHORT: u32 = 15;
        self.fill();
        let zeros = (self.window | 1).leading_zeros();
        if zeros >= escape.min(SHORT) {
            let (code, bits) = self.long_golomb(k, escape, error_bits)?;
            *self = bits;
            return Ok(code);
        }
        let low = self.window << zeros << 1 >> 1 >> (63 - k);
        self.skip(zeros + 1 + k);
        Ok(zeros << k | low as u32)
    }

    #[cold]
    #[inline(never)]
    fn long_golomb(mut self, k: u32, escape: u32, error_bits: u32) -> Result<(u32, Self), CodecError> {
        let mut zeros = 0;
        loop {
            self.fill();
            let here = (self.window | 1).leading_zeros().min(Self::FILLED - 1);
            zeros += here;
            if zeros > escape {
                self.skip(here);
                return Err(self.refuse("a code is longer than the limit"));
            }
            if here < Self::FILLED - 1 {
                self.skip(here + 1);
                break;
            }
            self.skip(here);
        }
        self.fill();
        let code = if zeros < escape { zeros << k | self.take(k) } else { self.take(error_bits) + 1 };
        Ok((code, self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits of a segment, one by one.
    fn reference(segment: &[u8]) -> Vec<u32> {
        let mut bits = Vec::new();
        for (at, &byte) in segment.iter().enumerate() {
            let highest = if at > 0 && segment[at - 1] == 0xFF { 6 } else { 7 };
            bits.extend((0..=highest).rev().map(|bit| u32::from(byte >> bit & 1)));
        }
        bits
    }

    #[test]
    fn a_byte_after_ff_has_seven_bits_wherever_it_lies() {
        for place in 0..40 {
            for run in 1..=3 {
                let mut segment: Vec<u8> = (0..43u8).map(|at| at.wrapping_mul(89) % 251).collect();
                for pair in 0..run {
                    segment[place.min(36) + 2 * pair] = 0xFF;
                    segment[place.min(36) + 2 * pair + 1] &= 0x7F;
                }
                for step in 1..=7u32 {
                    let mut bits = Bits::new(&segment);
                    let expected = reference(&segment);
                    for group in expected.chunks_exact(step as usize) {
                        bits.fill();
                        let value = group.iter().fold(0, |value, bit| value << 1 | bit);
                        assert_eq!(bits.take(step), value);
                    }
                    assert!(!bits.overran());
                }
            }
        }
    }

    #[test]
    fn tells_at_the_first_bit_behind_the_end() {
        for segment in [&[][..], &[0xA5], &[0xFF], &[0xFF, 0x7F], &[0; 9], &[1, 2, 0xFF]] {
            let mut bits = Bits::new(segment);
            for _ in reference(segment) {
                bits.fill();
                bits.take(1);
                assert!(!bits.overran());
            }
            bits.fill();
            assert_eq!(bits.take(1), 0);
            assert!(bits.overran());
        }
    }

    #[test]
    fn a_segment_ends_at_the_first_marker() {
        for place in 0..100 {
            let mut coded = vec![0x55u8; 130];
            coded[place] = 0xFF;
            assert_eq!(segment_end(&coded), 130);
            coded[place + 1] = 0x80;
            assert_eq!(segment_end(&coded), place);
            assert_eq!(segment_end(&coded[..place + 2]), place);
            assert_eq!(segment_end(&coded[..place + 1]), place + 1);
            coded[place + 1..place + 3].copy_from_slice(&[0xFF, 0xD9]);
            assert_eq!(segment_end(&coded), place + 1);
        }
    }
}
