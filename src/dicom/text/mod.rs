//! Text elements: their bytes and SpecificCharacterSet (0008,0005) to Unicode. Which elements are texts, and
//! which data set's (0008,0005) holds for them, is left to the caller.
//!
//! Nothing here fails: a header is an input, and a name that is partly read is worth more than none. What could
//! not be read shows as U+FFFD, and [`Remarks`] say so. Time is linear in the input; a text takes at most three
//! bytes for each byte of the input, and there are no more values than backslashes plus one.
//!
//! # Source
//! DICOM PS3.3 C.12.1.1.2; PS3.5 6.1, 6.2 and annexes H (Japanese), I (Korean), J and K (Chinese).

mod decode;
mod printable;
mod sets;
mod terms;

#[cfg(test)]
mod tests;

pub use printable::printable;
pub use terms::Spelling;

use sets::Set;
use terms::Term;

/// What (0008,0005) says about the texts of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CharacterSet {
    /// In force at the start of each value, and again after each delimiter: see [`Kind`].
    g0: Set,
    g1: Set,
    /// What reads a byte above 0x7F while no G1 set is in force: the one set that was declared for such bytes. Many
    /// files declare `\ISO 2022 IR 149` and leave out the escape sequences.
    implied: Option<Set>,
    declared: Declared,
}

impl CharacterSet {
    /// The default repertoire, in force where (0008,0005) is absent: ASCII.
    pub const DEFAULT: CharacterSet =
        CharacterSet { g0: Set::Ascii, g1: Set::Nothing, implied: None, declared: Declared(0) };

    /// Reads the values of (0008,0005), and says how well they were spelled. A term that means nothing counts as
    /// the default repertoire; so does an empty first value.
    ///
    /// # Source
    /// DICOM PS3.3 C.12.1.1.2: value 1 is the set at the start, the others are reached by escape sequences.
    pub fn of(values: &[&str]) -> (CharacterSet, Spelling) {
        let mut spelling = Spelling::Defined;
        let mut set = CharacterSet::DEFAULT;
        let mut high_sets = Declared(0);
        for (place, value) in values.iter().enumerate() {
            let (term, spelled) = Term::of(value);
            spelling = spelling.max(spelled);
            // Table C.12-5: a set without code extensions stands alone.
            if place > 0 && term.g1.stands_alone() {
                spelling = spelling.max(Spelling::Corrected);
                continue;
            }
            if place == 0 {
                (set.g0, set.g1) = (term.g0, term.g1);
            }
            for declared in [term.g0, term.g1, term.escaped] {
                set.declared.insert(declared);
            }
            high_sets.insert(term.g1);
            if set.g1 == Set::Nothing && term.g1 != Set::Nothing {
                set.implied = Some(term.g1);
            }
        }
        // Two sets explain the same byte in two ways: then none does.
        if high_sets.count() > 1 {
            set.implied = None;
        }
        (set, spelling)
    }

    /// Decodes the bytes of an element. An element without bytes has no values.
    pub fn decode(&self, bytes: &[u8], kind: Kind) -> Decoded {
        decode::decode(self, bytes, kind)
    }
}

/// How a text is divided, and where the sets of value 1 are in force again.
///
/// # Source
/// DICOM PS3.5 table 6.2-1 (values, padding) and 6.1.2.5.3: value 1 is in force again at each control character but
/// ESC (line ends, tab), at the end of a value, and in a person name at `^` and `=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PN: values divided by backslashes. Spaces at the end are padding.
    PersonName,
    /// LO and SH: values divided by backslashes. Spaces at both ends are padding.
    Strings,
    /// UC: values divided by backslashes. Spaces at the end are padding.
    UnlimitedStrings,
    /// ST, LT and UT: one value, in which a backslash is a character. Spaces at the end are padding.
    Text,
}

impl Kind {
    /// None where (0008,0005) does not apply to the value representation.
    pub fn of(vr: [u8; 2]) -> Option<Kind> {
        match &vr {
            b"PN" => Some(Kind::PersonName),
            b"LO" | b"SH" => Some(Kind::Strings),
            b"UC" => Some(Kind::UnlimitedStrings),
            b"ST" | b"LT" | b"UT" => Some(Kind::Text),
            _ => None,
        }
    }

    fn is_delimiter(self, byte: u8) -> bool {
        match self {
            Kind::PersonName => matches!(byte, b'\\' | b'^' | b'='),
            Kind::Strings | Kind::UnlimitedStrings => byte == b'\\',
            Kind::Text => false,
        }
    }

    fn trim(self, value: &str) -> &str {
        // NUL pads UIDs alone, but some writers pad everything with it.
        let value = value.trim_end_matches([' ', '\0']);
        if self == Kind::Strings { value.trim_start_matches(' ') } else { value }
    }
}

/// The values of an element, and what had to be overlooked to read them.
///
/// No `Debug`: the values are a patient's.
#[derive(Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The values, without their padding. A person name keeps its `^` and `=`, and may be divided at them.
    pub values: Vec<String>,
    /// What was wrong with the bytes.
    pub remarks: Remarks,
}

/// What was wrong with the bytes of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remarks {
    /// How many U+FFFD stand for bytes that no set explains.
    pub replaced: usize,
    /// An escape sequence reached a set that (0008,0005) does not declare. It was followed all the same.
    pub undeclared: bool,
    /// An escape sequence is missing: bytes were read by the one set that could be meant.
    pub implied: bool,
}

/// The sets that (0008,0005) names, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Declared(u32);

impl Declared {
    fn insert(&mut self, set: Set) {
        // Always at hand: PS3.5 6.1.2.5.3 returns to ASCII before delimiters.
        if !matches!(set, Set::Nothing | Set::Ascii) {
            self.0 |= 1 << set as u32;
        }
    }

    fn has(self, set: Set) -> bool {
        matches!(set, Set::Nothing | Set::Ascii) || self.0 & 1 << set as u32 != 0
    }

    fn count(self) -> u32 {
        self.0.count_ones()
    }
}
