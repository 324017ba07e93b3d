//! The sets of graphic characters: which bytes make a character of a set, which escape sequence reaches it. When a
//! set is in force is left to `decode`.

use encoding_rs::{
    DecoderResult, EUC_JP, EUC_KR, Encoding, GB18030, GBK, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5,
    ISO_8859_6, ISO_8859_7, ISO_8859_8, ISO_8859_15, SHIFT_JIS, WINDOWS_874, WINDOWS_1254,
};

/// A code element of PS3.3 tables C.12-2 to C.12-5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    /// G1 where only the default repertoire is in force.
    Nothing,
    /// ISO-IR 6.
    Ascii,
    /// ISO-IR 14: ASCII, but for the yen sign at 0x5C and the overline at 0x7E.
    Romaji,
    /// ISO-IR 13. In the field `ISO_IR 13` is said of Shift_JIS too, whose pairs begin where katakana have no place.
    Katakana,
    /// ISO-IR 100, ISO 8859-1.
    Latin1,
    /// ISO-IR 101, ISO 8859-2.
    Latin2,
    /// ISO-IR 109, ISO 8859-3.
    Latin3,
    /// ISO-IR 110, ISO 8859-4.
    Latin4,
    /// ISO-IR 144, ISO 8859-5.
    Cyrillic,
    /// ISO-IR 127, ISO 8859-6.
    Arabic,
    /// ISO-IR 126, ISO 8859-7.
    Greek,
    /// ISO-IR 138, ISO 8859-8.
    Hebrew,
    /// ISO-IR 148, ISO 8859-9.
    Latin5,
    /// ISO-IR 203, ISO 8859-15.
    Latin9,
    /// ISO-IR 166, TIS 620.
    Thai,
    /// ISO-IR 87.
    JisX0208,
    /// ISO-IR 159.
    JisX0212,
    /// ISO-IR 149. In the field its extension of Windows too (code page 949), whose second bytes are no delimiters.
    KsX1001,
    /// ISO-IR 58.
    Gb2312,
    /// ISO-IR 192.
    Utf8,
    /// GB 18030, up to four bytes a character.
    Gb18030,
    /// GBK, one or two bytes a character; longer ones are read too.
    Gbk,
}

/// Where an escape sequence puts a set: bytes 0x21 to 0x7E, or those from 0xA0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    G0,
    G1,
}

/// A character that begins the bytes, None where they are none, and how many bytes that takes. At least one byte.
pub(super) type Read = (Option<char>, usize);

/// The set that the bytes after an ESC designate, and their number.
///
/// # Source
/// DICOM PS3.3 tables C.12-3 and C.12-4. The halves that they leave out follow ISO/IEC 2022 (PS3.5 tables H.1-1 and
/// H.1-2): `(` and `$(` is G0, `)` and `$)` is G1, and `-` is G1 for sets of 96 characters.
pub(super) fn designated(after_escape: &[u8]) -> Option<(Half, Set, usize)> {
    let (multiple, rest) = match after_escape {
        [b'$', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (intermediate, last, length) = match rest {
        // ISO/IEC 2022: these three leave out the `(`.
        [last @ (b'@' | b'A' | b'B'), ..] if multiple => (b'(', *last, 1),
        [intermediate, last, ..] => (*intermediate, *last, 2),
        _ => return None,
    };
    let half = if intermediate == b'(' { Half::G0 } else { Half::G1 };
    let set = match (multiple, intermediate, last) {
        (false, b'(' | b')', b'B') => Set::Ascii,
        (false, b'(' | b')', b'J') => Set::Romaji,
        (false, b'(' | b')', b'I') => Set::Katakana,
        (false, b'-', b'A') => Set::Latin1,
        (false, b'-', b'B') => Set::Latin2,
        (false, b'-', b'C') => Set::Latin3,
        (false, b'-', b'D') => Set::Latin4,
        (false, b'-', b'L') => Set::Cyrillic,
        (false, b'-', b'G') => Set::Arabic,
        (false, b'-', b'F') => Set::Greek,
        (false, b'-', b'H') => Set::Hebrew,
        (false, b'-', b'M') => Set::Latin5,
        (false, b'-', b'b') => Set::Latin9,
        (false, b'-', b'T') => Set::Thai,
        // `@` is the edition of 1978, which differs in the shape of a few characters.
        (true, b'(' | b')', b'B' | b'@') => Set::JisX0208,
        (true, b'(' | b')', b'D') => Set::JisX0212,
        (true, b'(' | b')', b'C') => Set::KsX1001,
        (true, b'(' | b')', b'A') => Set::Gb2312,
        _ => return None,
    };
    Some((half, set, length + usize::from(multiple)))
}

impl Set {
    /// Not to be combined with other sets: PS3.3 table C.12-5.
    pub fn stands_alone(self) -> bool {
        matches!(self, Set::Utf8 | Set::Gb18030 | Set::Gbk)
    }

    /// Whether a character takes two bytes in either half.
    pub fn is_double(self) -> bool {
        matches!(self, Set::JisX0208 | Set::JisX0212 | Set::KsX1001 | Set::Gb2312)
    }

    /// Reads a character in G0. The bytes begin with one of 0x21 to 0x7E.
    pub fn read_low(self, bytes: &[u8]) -> Read {
        match (bytes, self.is_double()) {
            ([first, second @ 0x21..=0x7E, ..], true) => (self.pair(first | 0x80, second | 0x80), 2),
            ([first, ..], false) => (self.single(first | 0x80), 1),
            _ => (None, 1),
        }
    }

    /// Reads a character in G1. The bytes begin with one from 0x80.
    pub fn read_high(self, bytes: &[u8]) -> Read {
        match (self, bytes) {
            (Set::Utf8, _) => utf8(bytes),
            (Set::Gb18030 | Set::Gbk, _) => gb18030(bytes),
            (
                Set::Katakana,
                &[first @ (0x81..=0x9F | 0xE0..=0xEF | 0xFA..=0xFC), second @ 0x40..=0xFF, ..],
            ) => found_or_first(lookup(SHIFT_JIS, &[first, second]).map(as_in_jis), second),
            (Set::KsX1001, &[first @ 0x81..=0xFE, second @ 0x41..=0xFF, ..]) => {
                found_or_first(lookup(EUC_KR, &[first, second]), second)
            }
            (_, &[first @ 0xA1..=0xFE, second @ 0xA1..=0xFE, ..]) if self.is_double() => {
                (self.pair(first, second), 2)
            }
            (_, &[byte, ..]) => (self.single(byte), 1),
            (_, []) => (None, 1),
        }
    }

    /// A character of two bytes, both from 0xA1 to 0xFE.
    fn pair(self, first: u8, second: u8) -> Option<char> {
        match self {
            Set::JisX0208 => lookup(EUC_JP, &[first, second]).map(as_in_jis),
            Set::JisX0212 => lookup(EUC_JP, &[0x8F, first, second]).map(|c| if c == '～' { '~' } else { c }),
            Set::KsX1001 => lookup(EUC_KR, &[first, second]),
            // GBK gives the places that are free in GB 2312 to whoever wants them.
            Set::Gb2312 => lookup(GBK, &[first, second]).filter(|c| !('\u{E000}'..='\u{F8FF}').contains(c)),
            _ => None,
        }
    }

    /// A character of one byte, which is given as in G1.
    ///
    /// PS3.5 6.1.3 knows no controls from 0x80 to 0x9F. The pages of Windows have characters there, which encoding_rs
    /// would show; a terminal takes 0x9B for ESC and `[`. So here they are nothing.
    fn single(self, byte: u8) -> Option<char> {
        let table: &Encoding = match self {
            Set::Ascii if matches!(byte, 0xA1..=0xFE) => return Some(char::from(byte & 0x7F)),
            Set::Romaji if byte == 0xDC => return Some('¥'),
            Set::Romaji if byte == 0xFE => return Some('‾'),
            Set::Romaji => return Set::Ascii.single(byte),
            Set::Katakana if matches!(byte, 0xA1..=0xDF) => {
                return char::from_u32(u32::from(byte) - 0xA1 + 0xFF61);
            }
            _ if byte < 0xA0 => return None,
            Set::Latin1 => return Some(char::from(byte)),
            Set::Latin2 => ISO_8859_2,
            Set::Latin3 => ISO_8859_3,
            Set::Latin4 => ISO_8859_4,
            Set::Cyrillic => ISO_8859_5,
            Set::Arabic => ISO_8859_6,
            Set::Greek => ISO_8859_7,
            Set::Hebrew => ISO_8859_8,
            // From 0xA0 on the page of Windows is ISO 8859-9.
            Set::Latin5 => WINDOWS_1254,
            Set::Latin9 => ISO_8859_15,
            // From 0xA0 on the page of Windows is ISO 8859-11: TIS 620 and the no-break space.
            Set::Thai => WINDOWS_874,
            _ => return None,
        };
        lookup(table, &[byte])
    }
}

/// Without a character the second byte is left to be read again, if it may be a delimiter.
fn found_or_first(found: Option<char>, second: u8) -> Read {
    (found, if found.is_some() || second >= 0x80 { 2 } else { 1 })
}

fn utf8(bytes: &[u8]) -> Read {
    let bytes = &bytes[..bytes.len().min(4)];
    let (valid, wrong) = match std::str::from_utf8(bytes) {
        Ok(valid) => (valid, 1),
        Err(error) => {
            let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
            (valid, error.error_len().unwrap_or(bytes.len()))
        }
    };
    match valid.chars().next() {
        Some(character) => (Some(character), character.len_utf8()),
        None => (None, wrong.max(1)),
    }
}

fn gb18030(bytes: &[u8]) -> Read {
    match *bytes {
        [first @ 0x81..=0xFE, b'0'..=b'9', third @ 0x81..=0xFE, fourth @ b'0'..=b'9', ..] => {
            let found = lookup(GB18030, &[first, bytes[1], third, fourth]);
            (found, if found.is_some() { 4 } else { 1 })
        }
        [first @ 0x81..=0xFE, second @ 0x40..=0xFF, ..] => {
            found_or_first(lookup(GB18030, &[first, second]), second)
        }
        _ => (None, 1),
    }
}

/// The one character that the bytes are; None where they are none or not one.
fn lookup(table: &'static Encoding, bytes: &[u8]) -> Option<char> {
    let mut utf8 = [0; 16];
    let (result, _, written) =
        table.new_decoder_without_bom_handling().decode_to_utf8_without_replacement(bytes, &mut utf8, true);
    if result != DecoderResult::InputEmpty {
        return None;
    }
    let mut characters = std::str::from_utf8(&utf8[..written]).ok()?.chars();
    characters.next().filter(|_| characters.next().is_none())
}

/// Six signs of JIS X 0208 that the tables of browsers, and so encoding_rs, take from code page 932 of Windows.
fn as_in_jis(found: char) -> char {
    match found {
        '～' => '〜',
        '∥' => '‖',
        '－' => '−',
        '￠' => '¢',
        '￡' => '£',
        '￢' => '¬',
        other => other,
    }
}
