//! What a peer says on a connection, and what it hears, in memory.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use hemapatch::net::Timed;

/// A connection on which everything has been said already.
pub struct Connection<'a> {
    /// What the peer still says.
    pub said: &'a [u8],
    /// Bytes that come at once.
    pub at_once: usize,
    /// How it ends behind them, where it does not end well.
    pub end: Option<ErrorKind>,
    /// What the peer hears.
    pub heard: &'a mut Vec<u8>,
    /// Bytes that it hears before it is gone.
    pub hears: usize,
}

impl<'a> Connection<'a> {
    /// One that comes at once and ends well.
    pub fn new(said: &'a [u8], heard: &'a mut Vec<u8>) -> Connection<'a> {
        Connection { said, at_once: usize::MAX, end: None, heard, hears: usize::MAX }
    }
}

impl Read for Connection<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.said.is_empty() {
            return self.end.map_or(Ok(0), |kind| Err(kind.into()));
        }
        let count = bytes.len().min(self.at_once).min(self.said.len());
        let (now, later) = self.said.split_at(count);
        bytes[..count].copy_from_slice(now);
        self.said = later;
        Ok(count)
    }
}

impl Write for Connection<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.hears - self.heard.len());
        if count == 0 && !bytes.is_empty() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        self.heard.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Timed for Connection<'_> {
    fn set_patience(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }
}
