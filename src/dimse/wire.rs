//! Protocol data units on a connection: read whole, each within its time and size.
//! What they ask for is left to `receive` and `requestor`; what they mean byte by byte to `dicom_ul`, but for data, which are many.
//!
//! # Source
//! DICOM PS3.8 9.3.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use dicom_ul::pdu::{self, Pdu};
use thiserror::Error;

use crate::net::Timed;

/// Bytes of a unit before what its length counts.
const HEAD: usize = 6;
/// Bytes of a data value before its data: length, context, control header.
const VALUE_HEAD: usize = 6;
/// The type of units that hold data.
const DATA: u8 = 4;

/// Why nothing more can be read.
#[derive(Debug, Error)]
pub enum WireError {
    /// The peer is gone, between two units.
    #[error("the connection ended")]
    Ended,
    /// The peer is gone, within a unit.
    #[error("the connection ended within a unit")]
    CutOff,
    /// Nothing came.
    #[error("nothing came in time")]
    Quiet,
    /// A unit began and did not end in time.
    #[error("a unit came too slowly")]
    TooSlow,
    /// A unit is longer than was agreed on.
    #[error("a unit of {length} bytes, over the limit of {limit}")]
    TooLong {
        /// Its length.
        length: u32,
        /// What was agreed on.
        limit: u32,
    },
    /// A unit is none.
    #[error("a unit that cannot be read")]
    Malformed,
    /// The operating system.
    #[error("{0}")]
    Io(#[source] io::Error),
}

/// A unit that was read.
pub enum Unit<'a> {
    /// Data values: commands and data sets.
    Data(Values<'a>),
    /// Any other.
    Other(Pdu),
}

/// The values of a data unit, checked to fill it.
pub struct Values<'a> {
    rest: &'a [u8],
}

/// A part of a command or of a data set.
pub struct Value<'a> {
    /// Number of the context it was said in.
    pub context: u8,
    /// Of a command, not of a data set.
    pub is_command: bool,
    /// Whether it is the last of its command or data set.
    pub is_last: bool,
    /// Its bytes.
    pub data: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let (value, rest) = split_value(self.rest)?;
        self.rest = rest;
        Some(value)
    }
}

fn split_value(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let ([l0, l1, l2, l3, context, control], rest) = bytes.split_first_chunk::<VALUE_HEAD>()?;
    let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
    let (data, rest) = rest.split_at_checked(length.checked_sub(2)?)?;
    let (is_command, is_last) = (control & 1 != 0, control & 2 != 0);
    Some((Value { context: *context, is_command, is_last, data }, rest))
}

/// A connection.
pub struct Wire<S> {
    stream: S,
    /// The unit that was read last, its head included.
    unit: Vec<u8>,
    /// The longest unit that is read.
    limit: u32,
}

impl<S: Timed> Wire<S> {
    /// `limit` is what a peer is told as the longest unit.
    pub fn new(stream: S, limit: u32) -> Wire<S> {
        Wire { stream, unit: Vec::new(), limit }
    }

    /// Reads the next unit, which has to begin within `idle` and to end within `whole` of its beginning.
    ///
    /// # Errors
    /// See [`WireError`]; none can be recovered from.
    pub fn read(&mut self, idle: Duration, whole: Duration) -> Result<Unit<'_>, WireError> {
        let mut head = [0; HEAD];
        let begun = Instant::now();
        self.fill(&mut head[..1], begun + idle, WireError::Ended).map_err(|error| match error {
            WireError::TooSlow => WireError::Quiet,
            error => error,
        })?;
        let until = Instant::now() + whole;
        self.fill(&mut head[1..], until, WireError::CutOff)?;
        let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
        if length > self.limit {
            return Err(WireError::TooLong { length, limit: self.limit });
        }
        let mut unit = std::mem::take(&mut self.unit);
        unit.clear();
        unit.extend(head);
        unit.resize(HEAD + length as usize, 0);
        let filled = self.fill(&mut unit[HEAD..], until, WireError::CutOff);
        self.unit = unit;
        filled?;
        if head[0] == DATA {
            let mut rest = &self.unit[HEAD..];
            while !rest.is_empty() {
                (_, rest) = split_value(rest).ok_or(WireError::Malformed)?;
            }
            return Ok(Unit::Data(Values { rest: &self.unit[HEAD..] }));
        }
        // A panic of a parser is no reason to end anything but this association.
        let parsed = std::panic::catch_unwind(|| pdu::read_pdu(&self.unit[..], pdu::MAXIMUM_PDU_SIZE, true));
        match parsed {
            Ok(Ok(Some(pdu))) => Ok(Unit::Other(pdu)),
            _ => Err(WireError::Malformed),
        }
    }

    fn fill(&mut self, mut bytes: &mut [u8], until: Instant, ended: WireError) -> Result<(), WireError> {
        while !bytes.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(WireError::TooSlow);
            }
            self.stream.set_patience(left).map_err(WireError::Io)?;
            match self.stream.read(bytes) {
                Ok(0) => return Err(ended),
                Ok(count) => bytes = &mut bytes[count..],
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(WireError::TooSlow),
                    ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => return Err(ended),
                    _ => return Err(WireError::Io(error)),
                },
            }
        }
        Ok(())
    }

    /// Sends a unit.
    ///
    /// # Errors
    /// The peer takes nothing any more.
    pub fn send(&mut self, pdu: &Pdu) -> Result<(), WireError> {
        let mut bytes = Vec::new();
        pdu::write_pdu(&mut bytes, pdu).map_err(|_| WireError::Malformed)?;
        self.stream.write_all(&bytes).and_then(|()| self.stream.flush()).map_err(WireError::Io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    impl Timed for Cursor<Vec<u8>> {
        fn set_patience(&mut self, _: Duration) -> io::Result<()> {
            Ok(())
        }
    }

    const TIME: Duration = Duration::from_secs(1);

    fn wire(bytes: &[u8]) -> Wire<Cursor<Vec<u8>>> {
        Wire::new(Cursor::new(bytes.to_vec()), 1000)
    }

    fn unit(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, 0][..], &(body.len() as u32).to_be_bytes(), body].concat()
    }

    fn value(context: u8, control: u8, data: &[u8]) -> Vec<u8> {
        [&(data.len() as u32 + 2).to_be_bytes()[..], &[context, control], data].concat()
    }

    #[test]
    fn data_values_come_one_by_one() {
        let body = [value(1, 3, b"command"), value(1, 0, b"data"), value(1, 2, b"")].concat();
        let mut wire = wire(&[unit(4, &body), unit(5, &[0; 4])].concat());
        let Ok(Unit::Data(values)) = wire.read(TIME, TIME) else { panic!("data") };
        let values: Vec<_> =
            values.map(|value| (value.is_command, value.is_last, value.data.to_vec())).collect();
        assert_eq!(
            values,
            [(true, true, b"command".to_vec()), (false, false, b"data".to_vec()), (false, true, vec![])]
        );
        assert!(matches!(wire.read(TIME, TIME), Ok(Unit::Other(Pdu::ReleaseRQ))));
        assert!(matches!(wire.read(TIME, TIME), Err(WireError::Ended)));
    }

    #[test]
    fn units_that_lie_about_lengths_are_refused() {
        let long = [&[4, 0][..], &u32::MAX.to_be_bytes()].concat();
        assert!(matches!(wire(&long).read(TIME, TIME), Err(WireError::TooLong { limit: 1000, .. })));
        assert!(matches!(wire(&unit(4, &[0; 999])[..500]).read(TIME, TIME), Err(WireError::CutOff)));
        for body in [&[0; 3][..], &[0, 0, 0, 1, 1, 0], &[0xFF; 8], &[0, 0, 0, 3, 1, 0]] {
            assert!(matches!(wire(&unit(4, body)).read(TIME, TIME), Err(WireError::Malformed)), "{body:?}");
        }
        for kind in [1, 2, 3, 7] {
            assert!(
                matches!(wire(&unit(kind, &[0; 3])).read(TIME, TIME), Err(WireError::Malformed)),
                "{kind}"
            );
        }
    }
}
