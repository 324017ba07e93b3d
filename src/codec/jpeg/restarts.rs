//! Restart intervals: where one entropy-coded segment ends and the next one begins (T.81 E.1.4, B.2.1).

use super::bits::Bits;
use crate::codec::CodecError;

/// The entropy-coded segments of one scan.
pub(super) struct Restarts<'a> {
    stream: &'a [u8],
    start: usize,
    interval: usize,
    /// Which of the eight markers is next.
    number: u8,
}

impl<'a> Restarts<'a> {
    /// The segments from `start` on, of `interval` blocks or samples each; 0 where the scan is one segment.
    pub fn new(stream: &'a [u8], start: usize, interval: usize) -> Restarts<'a> {
        Restarts { stream, start, interval, number: 0 }
    }

    /// Blocks or samples of a segment, 0 where there is only one.
    pub fn interval(&self) -> usize {
        self.interval
    }

    /// Whether a segment ends before block number `index`.
    #[inline(always)]
    pub fn ends_before(&self, index: usize) -> bool {
        self.interval > 0 && index > 0 && index.is_multiple_of(self.interval)
    }

    /// The scan's first segment.
    pub fn first(&self) -> Bits<'a> {
        Bits::new(self.stream, self.start)
    }

    /// The segment behind the one that `bits` has read.
    ///
    /// # Errors
    ///
    /// Where that one was too short, and where no restart marker follows, or another one than is its turn: then an
    /// interval is missing.
    pub fn next(&mut self, bits: Bits<'a>) -> Result<Bits<'a>, CodecError> {
        bits.check()?;
        let end = bits.end();
        let fill = self.stream[end..].iter().take_while(|&&byte| byte == 0xFF).count();
        match self.stream.get(end + fill) {
            None => Err(CodecError::Ends),
            Some(&marker) if marker == 0xD0 + self.number => {
                self.number = (self.number + 1) % 8;
                Ok(Bits::new(self.stream, end + fill + 1))
            }
            // The image's end before its time.
            Some(0xD9) => Err(CodecError::Ends),
            Some(_) => Err(CodecError::Damaged("a restart marker is missing")),
        }
    }
}
