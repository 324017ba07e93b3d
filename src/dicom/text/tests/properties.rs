//! What holds for any bytes and any sets.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::{CharacterSet, Kind, printable};

const TERMS: &[&str] = &[
    "",
    "ISO_IR 100",
    "ISO_IR 13",
    "ISO_IR 192",
    "GB18030",
    "GBK",
    "ISO 2022 IR 6",
    "ISO 2022 IR 13",
    "ISO 2022 IR 87",
    "ISO 2022 IR 159",
    "ISO 2022 IR 149",
    "ISO 2022 IR 58",
    "ISO 2022 IR 126",
    "ISO 2022 IR 166",
    "nonsense",
];
const KINDS: &[Kind] = &[Kind::PersonName, Kind::Strings, Kind::UnlimitedStrings, Kind::Text];
/// What makes sequences that plain random bytes would seldom be.
const PIECES: &[&[u8]] = &[
    b"\x1B$B",
    b"\x1B$(D",
    b"\x1B$)C",
    b"\x1B$)A",
    b"\x1B(B",
    b"\x1B(J",
    b"\x1B)I",
    b"\x1B(I",
    b"\x1B-F",
    b"\x1B-T",
    b"\x1B$A",
    b"\x1B$(C",
    b"\x1B",
    b"\x1B$",
    b"\\",
    b"^",
    b"=",
    b"\r\n",
    b"\x81\x30\x81\x30",
    b"\xE3\x81",
];

/// A text and the sets that are said to hold for it.
#[derive(Debug, Clone)]
struct TextProblem {
    terms: Vec<String>,
    bytes: Vec<u8>,
    kind: Kind,
}

fn problems() -> impl Strategy<Value = TextProblem> {
    let term = prop_oneof![8 => select(TERMS).prop_map(str::to_owned), 1 => any::<String>()];
    let piece = prop_oneof![
        1 => select(PIECES).prop_map(<[u8]>::to_vec),
        2 => vec(any::<u8>(), 1..6),
    ];
    (vec(term, 0..4), vec(piece, 0..20), select(KINDS)).prop_map(|(terms, pieces, kind)| TextProblem {
        terms,
        bytes: pieces.concat(),
        kind,
    })
}

impl TextProblem {
    fn set(&self) -> CharacterSet {
        CharacterSet::of(&self.terms.iter().map(String::as_str).collect::<Vec<_>>()).0
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_in_any_sets_end_in_values_no_longer_than_three_times_the_bytes(problem in problems()) {
        let read = problem.set().decode(&problem.bytes, problem.kind);
        prop_assert!(read.values.iter().map(String::len).sum::<usize>() <= 3 * problem.bytes.len());
        let backslashes = problem.bytes.iter().filter(|&&byte| byte == b'\\').count();
        prop_assert!(read.values.len() <= 1 + backslashes);
        prop_assert!(problem.kind != Kind::Text || read.values.len() <= 1);
        prop_assert!(read.remarks.replaced <= problem.bytes.len());
    }

    #[test]
    fn whatever_was_decoded_is_printable_without_controls(problem in problems()) {
        for value in problem.set().decode(&problem.bytes, problem.kind).values {
            let shown = printable(&value);
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert_eq!(printable(&shown), shown);
        }
    }

    #[test]
    fn ascii_goes_through_unchanged(text in "[\\x00-\\x1A\\x1C-\\x7F]{0,40}[!-~]", term in select(TERMS)) {
        // Romaji is the one set that changes two of them.
        prop_assume!(!term.ends_with("IR 13") || !text.contains(['\\', '~']));
        let (set, _) = CharacterSet::of(&[term]);
        prop_assert_eq!(set.decode(text.as_bytes(), Kind::Text).values, [text]);
    }

    #[test]
    fn utf_8_goes_through_unchanged(text in "[^\\x1B]{0,40}[!-~]") {
        let (set, _) = CharacterSet::of(&["ISO_IR 192"]);
        prop_assert_eq!(set.decode(text.as_bytes(), Kind::Text).values, [text]);
    }

    #[test]
    fn each_value_is_read_as_if_it_stood_alone(problem in problems(), other in problems()) {
        let set = problem.set();
        let kind = if problem.kind == Kind::Text { Kind::Strings } else { problem.kind };
        let read = |bytes: &[u8]| set.decode(bytes, kind).values;
        // Back in ASCII before the backslash, as the standard demands.
        let first = [&problem.bytes[..], b" \x1B(B"].concat();
        let second = [&other.bytes[..], b" "].concat();
        let both = [&first[..], b"\\", &second].concat();
        prop_assert_eq!(read(&both), [read(&first), read(&second)].concat());
    }
}
