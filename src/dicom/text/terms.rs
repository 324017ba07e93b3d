//! The terms of SpecificCharacterSet (0008,0005), and how they are misspelled. What a term's sets hold is left to
//! `sets`.

use super::sets::Set;

/// How well the values of (0008,0005) were spelled: the worst of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spelling {
    /// All are defined terms.
    Defined,
    /// It is clear what was meant: `ISO-IR 100`, `utf8`, or GBK as a second value.
    Corrected,
    /// At least one means nothing to us and was taken for the default repertoire.
    Unknown,
}

/// What one value of (0008,0005) brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    /// In force at the start if this is value 1.
    pub g0: Set,
    /// Likewise.
    pub g1: Set,
    /// Reached by escape sequence alone, even from value 1.
    pub escaped: Set,
}

impl Term {
    const ASCII: Term = Term::high(Set::Nothing);

    const fn high(g1: Set) -> Term {
        Term { g0: Set::Ascii, g1, escaped: Set::Nothing }
    }

    const fn escaped(escaped: Set) -> Term {
        Term { g0: Set::Ascii, g1: Set::Nothing, escaped }
    }

    /// # Source
    /// DICOM PS3.3 tables C.12-2 to C.12-5.
    pub fn of(value: &str) -> (Term, Spelling) {
        let value = value.trim_matches([' ', '\0']);
        if value.is_empty() {
            return (Term::ASCII, Spelling::Defined);
        }
        // Longer than any term, so that a term made of a megabyte costs nothing.
        let letters = value.bytes().filter(u8::is_ascii_alphanumeric).take(24);
        let key: String = letters.map(|letter| char::from(letter.to_ascii_uppercase())).collect();
        let name = ["ISO", "2022", "IR"].iter().fold(key.as_str(), |rest, prefix| {
            // "ISO 2022-JP" and the like keep a rest; "ISO 2022" alone means nothing.
            rest.strip_prefix(prefix).unwrap_or(rest)
        });
        let Some((term, number)) = Term::named(name) else {
            return (Term::ASCII, Spelling::Unknown);
        };
        (term, if is_defined(value, number) { Spelling::Defined } else { Spelling::Corrected })
    }

    /// The term, and its defined name less `ISO_IR ` or `ISO 2022 IR `.
    fn named(name: &str) -> Option<(Term, &'static str)> {
        let found = match name {
            "6" | "646" | "ASCII" | "USASCII" => (Term::ASCII, "6"),
            "100" | "88591" | "LATIN1" | "L1" => (Term::high(Set::Latin1), "100"),
            "101" | "88592" | "LATIN2" | "L2" => (Term::high(Set::Latin2), "101"),
            "109" | "88593" | "LATIN3" | "L3" => (Term::high(Set::Latin3), "109"),
            "110" | "88594" | "LATIN4" | "L4" => (Term::high(Set::Latin4), "110"),
            "144" | "88595" | "CYRILLIC" => (Term::high(Set::Cyrillic), "144"),
            "127" | "88596" | "ARABIC" => (Term::high(Set::Arabic), "127"),
            "126" | "88597" | "GREEK" => (Term::high(Set::Greek), "126"),
            "138" | "88598" | "HEBREW" => (Term::high(Set::Hebrew), "138"),
            "148" | "88599" | "LATIN5" | "L5" => (Term::high(Set::Latin5), "148"),
            "203" | "885915" | "LATIN9" | "L9" => (Term::high(Set::Latin9), "203"),
            "166" | "885911" | "TIS620" | "THAI" => (Term::high(Set::Thai), "166"),
            "13" | "14" | "JISX0201" | "SHIFTJIS" | "SJIS" | "CP932" | "MS932" => {
                (Term { g0: Set::Romaji, g1: Set::Katakana, escaped: Set::Nothing }, "13")
            }
            "87" | "JP" | "JISX0208" => (Term::escaped(Set::JisX0208), "87"),
            "159" | "JP2" | "JISX0212" => (Term::escaped(Set::JisX0212), "159"),
            "149" | "KR" | "EUCKR" | "KSX1001" | "KSC5601" | "CP949" => (Term::high(Set::KsX1001), "149"),
            "58" | "CN" | "EUCCN" | "GB2312" => (Term::high(Set::Gb2312), "58"),
            "192" | "UTF8" => (Term::high(Set::Utf8), "192"),
            "GB18030" => (Term::high(Set::Gb18030), "GB18030"),
            "GBK" | "CP936" => (Term::high(Set::Gbk), "GBK"),
            _ => return None,
        };
        Some(found)
    }
}

fn is_defined(value: &str, number: &str) -> bool {
    match number {
        "GB18030" | "GBK" => value == number,
        "192" => value == "ISO_IR 192",
        "87" | "159" | "149" | "58" => value.strip_prefix("ISO 2022 IR ") == Some(number),
        _ => {
            let rest = value.strip_prefix("ISO_IR ").or_else(|| value.strip_prefix("ISO 2022 IR "));
            rest == Some(number)
        }
    }
}
