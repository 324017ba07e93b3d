//! One pass over the bytes of a text: which sets are in force, where values end. What the bytes mean in a set is
//! left to `sets`.

use super::sets::{Half, Set, designated};
use super::{CharacterSet, Decoded, Kind, Remarks};

const ESCAPE: u8 = 0x1B;

pub(super) fn decode(set: &CharacterSet, bytes: &[u8], kind: Kind) -> Decoded {
    let mut pass = Pass {
        set,
        kind,
        g0: set.g0,
        g1: set.g1,
        current: String::with_capacity(bytes.len()),
        values: Vec::new(),
        remarks: Remarks::default(),
    };
    let mut rest = bytes;
    // Each step takes at least one byte.
    while let Some(&first) = rest.first() {
        let taken = pass.step(first, rest);
        rest = rest.get(taken..).unwrap_or_default();
    }
    if !bytes.is_empty() {
        pass.end_value();
    }
    Decoded { values: pass.values, remarks: pass.remarks }
}

struct Pass<'a> {
    set: &'a CharacterSet,
    kind: Kind,
    g0: Set,
    g1: Set,
    current: String,
    values: Vec<String>,
    remarks: Remarks,
}

impl Pass<'_> {
    /// Reads what the rest begins with, and returns the number of its bytes.
    fn step(&mut self, first: u8, rest: &[u8]) -> usize {
        match first {
            ESCAPE => self.escape(&rest[1..]),
            0x00..=0x1F | 0x7F => {
                self.current.push(char::from(first));
                self.reset();
                1
            }
            b' ' => {
                self.current.push(' ');
                1
            }
            0x21..=0x7E => self.low(first, rest),
            0x80.. => self.high(rest),
        }
    }

    /// Follows an escape sequence of any set that we know. What else an ESC may begin stays in the text, with
    /// U+FFFD for the ESC.
    fn escape(&mut self, after: &[u8]) -> usize {
        let Some((half, set, length)) = designated(after) else {
            self.push(None);
            return 1;
        };
        match half {
            Half::G0 => self.g0 = set,
            Half::G1 => self.g1 = set,
        }
        self.remarks.undeclared |= !self.set.declared.has(set);
        1 + length
    }

    fn low(&mut self, first: u8, rest: &[u8]) -> usize {
        // In every other set these bytes are letters, or halves of them. Half a letter that looks like a delimiter is
        // one: some writers do not return to ASCII before it.
        let divides = match self.g0 {
            Set::Ascii | Set::Romaji => true,
            set => set.is_double() && !matches!(rest.get(1), Some(0x21..=0x7E)),
        };
        if divides && self.kind.is_delimiter(first) {
            if first == b'\\' {
                self.end_value();
            } else {
                self.current.push(char::from(first));
            }
            self.reset();
            return 1;
        }
        let (found, taken) = self.g0.read_low(rest);
        self.push(found);
        taken
    }

    fn high(&mut self, rest: &[u8]) -> usize {
        let set = match (self.g1, self.set.implied) {
            (Set::Nothing, Some(implied)) => {
                self.remarks.implied = true;
                implied
            }
            (set, _) => set,
        };
        let (found, taken) = set.read_high(rest);
        self.push(found);
        taken
    }

    fn push(&mut self, found: Option<char>) {
        self.remarks.replaced += usize::from(found.is_none());
        self.current.push(found.unwrap_or(char::REPLACEMENT_CHARACTER));
    }

    fn reset(&mut self) {
        (self.g0, self.g1) = (self.set.g0, self.set.g1);
    }

    fn end_value(&mut self) {
        self.values.push(self.kind.trim(&self.current).to_owned());
        self.current.clear();
    }
}
