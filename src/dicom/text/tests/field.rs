//! What files of the field get wrong, and what a screen must not be given.

use super::super::Kind::{self, PersonName, Strings, Text};
use super::super::{CharacterSet, Spelling, printable};
use super::{clean, decoded, values};

#[test]
fn every_defined_term_is_known_as_such() {
    let numbers = ["6", "100", "101", "109", "110", "144", "127", "126", "138", "148", "203", "13", "166"];
    let single =
        numbers.iter().flat_map(|number| [format!("ISO_IR {number}"), format!("ISO 2022 IR {number}")]);
    let double = ["87", "159", "149", "58"].iter().map(|number| format!("ISO 2022 IR {number}"));
    let alone = ["", "ISO_IR 192", "GB18030", "GBK"].map(str::to_owned);
    for term in single.chain(double).chain(alone) {
        assert_eq!(CharacterSet::of(&[&term]).1, Spelling::Defined, "{term}");
    }
    assert_eq!(CharacterSet::of(&[]), (CharacterSet::DEFAULT, Spelling::Defined));
}

#[test]
fn misspelled_terms_mean_what_was_meant() {
    for (wrong, right) in [
        ("ISO-IR 100", "ISO_IR 100"),
        ("ISO_IR_100", "ISO_IR 100"),
        ("ISO IR 100", "ISO_IR 100"),
        ("ISOIR100", "ISO_IR 100"),
        ("iso_ir 100", "ISO_IR 100"),
        ("latin1", "ISO_IR 100"),
        ("latin_1", "ISO_IR 100"),
        ("ISO8859-1", "ISO_IR 100"),
        ("ISO 8859-15", "ISO_IR 203"),
        ("ISO_2022-IR 100", "ISO 2022 IR 100"),
        ("ISO_2022_IR+126", "ISO 2022 IR 126"),
        ("ISO 2022 58", "ISO 2022 IR 58"),
        ("ISO 2022 GBK", "GBK"),
        ("utf8", "ISO_IR 192"),
        ("UTF-8", "ISO_IR 192"),
        ("ISO 2022 IR 192", "ISO_IR 192"),
        ("shift_jis", "ISO_IR 13"),
        ("euc_kr", "ISO 2022 IR 149"),
        ("iso2022_jp", "ISO 2022 IR 87"),
        ("gb18030", "GB18030"),
    ] {
        let (set, spelling) = CharacterSet::of(&[wrong]);
        assert_eq!(set, CharacterSet::of(&[right]).0, "{wrong}");
        assert_eq!(spelling, Spelling::Corrected, "{wrong}");
    }
}

#[test]
fn unknown_terms_count_as_the_default_repertoire_and_are_told() {
    for term in
        ["UNSUPPORTED", "ISO", "ISO 2022", "ISO_IR", "?", "ISO_IR 1000", "windows-1251", &"A".repeat(1 << 20)]
    {
        assert_eq!(CharacterSet::of(&[term]), (CharacterSet::DEFAULT, Spelling::Unknown));
    }
    assert_eq!(CharacterSet::of(&["ISO_IR 100", "ISO 2022 IR 146"]).1, Spelling::Unknown);
}

#[test]
fn sets_that_stand_alone_are_not_combined() {
    let (set, spelling) = CharacterSet::of(&["ISO_IR 126", "GBK", "ISO 2022 IR 144", "ISO_IR 192"]);
    assert_eq!(spelling, Spelling::Corrected);
    assert_eq!(set, CharacterSet::of(&["ISO_IR 126", "ISO 2022 IR 144"]).0);
    assert_eq!(clean("ISO_IR 192\\ISO 2022 IR 100", b"J\xC3\xA9r\xC3\xB4me", PersonName), "Jérôme");
}

#[test]
fn undeclared_escape_sequences_are_followed_and_told() {
    let read = decoded("ISO_IR 100", b"\x1B-F\xC4\xE9\xEF", PersonName);
    assert_eq!(read.values, ["Διο"]);
    assert!(read.remarks.undeclared);
    let read = decoded("ISO_IR 192", b"\xC3\xA9 \x1B$B;3\x1B(B\xC3\xA9", Text);
    assert_eq!((read.values[0].as_str(), read.remarks.undeclared), ("é 山é", true));
}

#[test]
fn a_missing_escape_sequence_is_implied_where_one_set_alone_can_be_meant() {
    let read = decoded("\\ISO 2022 IR 149", b"\xB1\xE8\xC8\xF1\xC1\xDF", PersonName);
    assert_eq!((read.values[0].as_str(), read.remarks.implied), ("김희중", true));
    let read = decoded("\\ISO 2022 IR 13", b"\x1B)I\xD4\xCF^\xC0\xDB\xB3", PersonName);
    assert_eq!((read.values[0].as_str(), read.remarks.implied), ("ﾔﾏ^ﾀﾛｳ", true));
    let read = decoded("\\ISO 2022 IR 149\\ISO 2022 IR 58", b"\xB1\xE8", PersonName);
    assert_eq!((read.values[0].as_str(), read.remarks.implied), ("\u{FFFD}\u{FFFD}", false));
}

#[test]
fn a_missing_return_to_ascii_does_not_cost_the_delimiter() {
    let name = b"Yamada=\x1B$B;3ED^\x1B$BB@O:=\x1B$B$d$^$@^";
    assert_eq!(values("\\ISO 2022 IR 87", name, PersonName), ["Yamada=山田^太郎=やまだ^"]);
}

#[test]
fn bytes_that_no_set_explains_are_replaced_and_counted() {
    for (set, bytes, text, replaced) in [
        ("", &b"J\xE9r\xF4me"[..], "J\u{FFFD}r\u{FFFD}me", 2),
        ("ISO_IR 100", b"a\x9Bb", "a\u{FFFD}b", 1),
        ("ISO_IR 148", b"\x80", "\u{FFFD}", 1),
        ("ISO_IR 166", b"\x85\xFF", "\u{FFFD}\u{FFFD}", 2),
        ("ISO_IR 192", b"\xC4\xE9x\xE7\x8E", "\u{FFFD}\u{FFFD}x\u{FFFD}", 3),
        ("GB18030", b"\xFFa\x81", "\u{FFFD}a\u{FFFD}", 2),
        ("GB18030", b"\x81\x30\x81\x61", "\u{FFFD}0乤", 1),
        ("ISO 2022 IR 149", b"\xC7x!", "\u{FFFD}x!", 1),
        ("ISO 2022 IR 58", b"\xAA\xA1a", "\u{FFFD}a", 1),
        ("\\ISO 2022 IR 87", b"\x1B$B;", "\u{FFFD}", 1),
        ("", b"\x1B[31m", "\u{FFFD}[31m", 1),
        ("", b"\x1B", "\u{FFFD}", 1),
    ] {
        let read = decoded(set, bytes, Text);
        assert_eq!((read.values[0].as_str(), read.remarks.replaced), (text, replaced), "{set} {bytes:X?}");
    }
}

#[test]
fn a_broken_character_does_not_swallow_the_delimiter() {
    assert_eq!(values("ISO 2022 IR 149", b"\xC7\\b", Strings), ["\u{FFFD}", "b"]);
    assert_eq!(values("ISO 2022 IR 58", b"\xC7\\b", Strings), ["\u{FFFD}", "b"]);
    assert_eq!(values("ISO_IR 192", b"\xE7\x8E\\b", Strings), ["\u{FFFD}", "b"]);
    assert_eq!(values("GB18030", b"\xC7=b", PersonName), ["\u{FFFD}=b"]);
}

#[test]
fn hangul_of_code_page_949_is_read() {
    assert_eq!(clean("\\ISO 2022 IR 149", b"\x1B$)C\x8Cc\xB9\xE6\xB0\xA2\xC7\xCF", Strings), "똠방각하");
}

#[test]
fn kinds_follow_from_value_representations() {
    assert_eq!(Kind::of(*b"PN"), Some(Kind::PersonName));
    assert_eq!(Kind::of(*b"LT"), Some(Kind::Text));
    assert_eq!(Kind::of(*b"CS"), None);
}

#[test]
fn a_name_cannot_drive_a_terminal() {
    assert_eq!(printable("\x1B[2J\x07\r\n\t\x7F"), "␛[2J␇␍␊␉␡");
    assert_eq!(printable("\u{9B}31m\u{85}"), "\u{FFFD}31m\u{FFFD}");
}

#[test]
fn a_name_cannot_reorder_or_hide_what_stands_beside_it() {
    assert_eq!(printable("a\u{202E}b\u{2066}c\u{2069}\u{2028}"), "a\u{FFFD}b\u{FFFD}c\u{FFFD}\u{FFFD}");
    assert_eq!(printable("\u{FEFF}a\u{200B}\u{E0041}\u{FFFF}"), "a\u{FFFD}\u{FFFD}\u{FFFD}");
}

#[test]
fn names_of_all_scripts_are_printable_as_they_are() {
    for name in
        ["قباني^لنزار", "שרון^דבורה", "山田^太郎=やまだ", "Çavuşoğlu", "นามสกุล", "می‌خواهم", "葛󠄀", "👩‍⚕️"]
    {
        assert_eq!(printable(name), name);
    }
}
