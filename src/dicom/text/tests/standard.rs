//! The examples of PS3.5, and names in each set of PS3.3 tables C.12-2 to C.12-5. The names are those of David
//! Clunie's test files and of pydicom's tests.

use super::super::Kind::{PersonName, Strings, Text, UnlimitedStrings};
use super::{clean, values};

#[test]
fn reads_h_3_1_kanji_and_hiragana_by_escape_from_ascii() {
    let name = b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B";
    assert_eq!(clean("\\ISO 2022 IR 87", name, PersonName), "Yamada^Tarou=山田^太郎=やまだ^たろう");
    assert_eq!(
        clean("ISO 2022 IR 6\\ISO 2022 IR 87", name, PersonName),
        "Yamada^Tarou=山田^太郎=やまだ^たろう"
    );
}

#[test]
fn reads_h_3_2_half_width_katakana_and_kanji() {
    let name = b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3=\x1B$B;3ED\x1B(J^\x1B$BB@O:\x1B(J\
        =\x1B$B$d$^$@\x1B(J^\x1B$B$?$m$&\x1B(J";
    let read = clean("ISO 2022 IR 13\\ISO 2022 IR 87", name, PersonName);
    assert_eq!(read, "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう");
}

#[test]
fn reads_i_2_hangul_and_hanja_designated_again_after_each_delimiter() {
    let name =
        b"Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7=\x1B$)C\xC8\xAB^\x1B$)C\xB1\xE6\xB5\xBF";
    assert_eq!(clean("\\ISO 2022 IR 149", name, PersonName), "Hong^Gildong=洪^吉洞=홍^길동");
}

#[test]
fn reads_i_3_hangul_among_ascii_line_by_line() {
    let text = b"\x1B$)CThe first line includes \xC7\xD1\xB1\xDB.\r\n\
        \x1B$)CThe second line includes \xC7\xD1\xB1\xDB, too.\r\nThe third line";
    assert_eq!(
        clean("\\ISO 2022 IR 149", text, Text),
        "The first line includes 한글.\r\nThe second line includes 한글, too.\r\nThe third line"
    );
}

#[test]
fn reads_j_1_and_j_2_chinese_in_utf_8() {
    let name = b"Wang^XiaoDong=\xE7\x8E\x8B^\xE5\xB0\x8F\xE6\x9D\xB1=";
    assert_eq!(clean("ISO_IR 192", name, PersonName), "Wang^XiaoDong=王^小東=");
    let text = b"The first line includes\xE4\xB8\xAD\xE6\x96\x87.\r\nThe third line.\r\n";
    assert_eq!(clean("ISO_IR 192", text, Text), "The first line includes中文.\r\nThe third line.\r\n");
}

#[test]
fn reads_j_3_and_j_4_chinese_in_gb18030_and_gbk() {
    for set in ["GB18030", "GBK"] {
        let name = b"Wang^XiaoDong=\xCD\xF5^\xD0\xA1\xB6\xAB=";
        assert_eq!(clean(set, name, PersonName), "Wang^XiaoDong=王^小东=");
        let text = b"The first line includes\xD6\xD0\xCE\xC4.\r\nThe third line.\r\n";
        assert_eq!(clean(set, text, Text), "The first line includes中文.\r\nThe third line.\r\n");
    }
    assert_eq!(clean("GB18030", b"\x95\x32\x82\x36", Strings), "𠀀");
}

#[test]
fn reads_k_2_and_k_3_chinese_by_escape() {
    let name = b"Zhang^XiaoDong=\x1B$)A\xD5\xC5^\x1B$)A\xD0\xA1\xB6\xAB= ";
    assert_eq!(clean("\\ISO 2022 IR 58", name, PersonName), "Zhang^XiaoDong=张^小东=");
    let text = b"1.\x1B$)A\xB5\xDA\xD2\xBB\xD0\xD0\xCE\xC4\xD7\xD6\xA1\xA3\r\n\
        2.\x1B$)A\xB5\xDA\xB6\xFE\xD0\xD0\xCE\xC4\xD7\xD6\xA1\xA3\r\n\
        3.\x1B$)A\xB5\xDA\xC8\xFD\xD0\xD0\xCE\xC4\xD7\xD6\xA1\xA3\r\n";
    assert_eq!(
        clean("\\ISO 2022 IR 58", text, Text),
        "1.第一行文字。\r\n2.第二行文字。\r\n3.第三行文字。\r\n"
    );
}

#[test]
fn reads_supplementary_kanji_beside_kanji() {
    let name = b"Mori^Ogai=\x1B$B?9\x1B(B^\x1B$(Dl?\x1B$B30\x1B(B=\x1B$B$b$j\x1B(B^\x1B$B$*$&$,$$\x1B(B";
    let read = clean("ISO 2022 IR 6\\ISO 2022 IR 87\\ISO 2022 IR 159", name, PersonName);
    assert_eq!(read, "Mori^Ogai=森^鷗外=もり^おうがい");
}

/// Each one-byte set: its number, the escape sequence, the bytes of a name, the name.
const ONE_BYTE: &[(&str, &[u8], &[u8], &str)] = &[
    ("100", b"\x1B-A", b"Buc^J\xE9r\xF4me", "Buc^Jérôme"),
    ("100", b"\x1B-A", b"\xC4neas^R\xFCdiger", "Äneas^Rüdiger"),
    ("101", b"\x1B-B", b"Wa\xB3\xEAsa", "Wałęsa"),
    ("109", b"\x1B-C", b"anta\xFDnomo", "antaŭnomo"),
    ("110", b"\x1B-D", b"v\xE0rds", "vārds"),
    ("144", b"\x1B-L", b"\xBB\xEE\xDAce\xDC\xD1yp\xD3", "Люкceмбypг"),
    ("127", b"\x1B-G", b"\xE2\xC8\xC7\xE6\xEA^\xE4\xE6\xD2\xC7\xD1", "قباني^لنزار"),
    ("126", b"\x1B-F", b"\xC4\xE9\xEF\xED\xF5\xF3\xE9\xEF\xF2", "Διονυσιος"),
    ("138", b"\x1B-H", b"\xF9\xF8\xE5\xEF^\xE3\xE1\xE5\xF8\xE4", "שרון^דבורה"),
    ("148", b"\x1B-M", b"\xC7avu\xFEo\xF0lu", "Çavuşoğlu"),
    ("203", b"\x1B-b", b"\xBCuvre^\xA4", "Œuvre^€"),
    ("166", b"\x1B-T", b"\xB9\xD2\xC1\xCA\xA1\xD8\xC5", "นามสกุล"),
    ("13", b"\x1B)I", b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
];

#[test]
fn reads_each_one_byte_set_with_and_without_code_extensions() {
    for &(number, _, bytes, name) in ONE_BYTE {
        assert_eq!(clean(&format!("ISO_IR {number}"), bytes, PersonName), name);
        assert_eq!(clean(&format!("ISO 2022 IR {number}"), bytes, PersonName), name);
    }
}

#[test]
fn reads_each_one_byte_set_by_its_escape_sequence() {
    for &(number, escape, bytes, name) in ONE_BYTE {
        // Designated again in each component of a name.
        let parts: Vec<Vec<u8>> =
            bytes.split(|&byte| byte == b'^').map(|part| [escape, part].concat()).collect();
        let read = clean(&format!("\\ISO 2022 IR {number}"), &parts.join(&b'^'), PersonName);
        assert_eq!(read, name);
    }
}

#[test]
fn follows_the_escape_sequences_of_either_half() {
    let read = |bytes: &[u8]| values("", bytes, Text).concat();
    assert_eq!(read(b"\x1B(ITO\x1B(B!"), "ﾔﾏ!");
    assert_eq!(read(b"\x1B)J\xDC\xC1\x1B)B\xDC\xC1"), "¥A\\A");
    assert_eq!(read(b"\x1B$)B\xBB\xB3\xC5\xC4"), "山田");
    assert_eq!(read(b"\x1B$)D\xEC\xBF"), "鷗");
    assert_eq!(read(b"\x1B$(CH+\x1B(B"), "홍");
    assert_eq!(read(b"\x1B$(AUE\x1B$AUE\x1B(B"), "张张");
    assert_eq!(read(b"\x1B$(B;3\x1B$@;3"), "山山");
}

#[test]
fn value_1_is_in_force_again_after_controls_and_delimiters() {
    for (delimiter, kind) in [
        ("\n", Text),
        ("\r", Text),
        ("\t", Strings),
        ("\x0C", Text),
        ("\\", Strings),
        ("^", PersonName),
        ("=", PersonName),
    ] {
        let bytes = [b"\x1B-F\xC4", delimiter.as_bytes(), b"\xC4"].concat();
        let read = values("ISO 2022 IR 100\\ISO 2022 IR 126", &bytes, kind).join("\\");
        assert_eq!(read, format!("Δ{delimiter}Ä"));
    }
    // A space divides nothing, and in a text neither do these.
    for no_delimiter in [" ", "\\", "^", "="] {
        let bytes = [b"\x1B-F\xC4", no_delimiter.as_bytes(), b"\xC4"].concat();
        assert_eq!(clean("ISO 2022 IR 100\\ISO 2022 IR 126", &bytes, Text), format!("Δ{no_delimiter}Δ"));
    }
}

#[test]
fn no_delimiter_is_seen_inside_of_a_character() {
    // PS3.5 6.1.2.3 warns of 0x5C as the second byte in GB 18030 and GBK; 0x5E and 0x3D occur too.
    assert_eq!(values("GB18030", b"\x81\x5C\\\x81\x5C", Strings), ["乗", "乗"]);
    assert_eq!(values("GBK", b"\x81\x5E^\x81\x5C", PersonName), ["乛^乗"]);
    assert_eq!(values("ISO_IR 13", b"\x83\x5C\\\x95\x5C", Strings), ["ソ", "表"]);
    let haru = b"Haru=\x1B$B=U\x1B(B^\x1B$B\\J\x1B(B";
    let read = clean("\\ISO 2022 IR 87", haru, PersonName);
    assert_eq!((read.chars().nth(5), read.matches(['=', '^', '\\']).count()), (Some('春'), 2));
}

#[test]
fn padding_goes_as_each_value_representation_says() {
    assert_eq!(values("", b"  a b \\ c \0", Strings), ["a b", "c"]);
    assert_eq!(values("", b"  a ", UnlimitedStrings), ["  a"]);
    assert_eq!(values("", b"  a\\b ", Text), ["  a\\b"]);
    assert_eq!(values("", b"A^B \\C=", PersonName), ["A^B", "C="]);
    assert_eq!(values("", b"", Strings), [""; 0]);
    assert_eq!(values("", b"a\\\\b\\", Strings), ["a", "", "b", ""]);
}

#[test]
fn romaji_has_a_yen_sign_and_an_overline_but_backslash_still_divides() {
    assert_eq!(clean("ISO_IR 13", b"\\100 ~", Text), "¥100 ‾");
    assert_eq!(values("ISO_IR 13", b"a\\b", Strings), ["a", "b"]);
    assert_eq!(clean("ISO_IR 13\\ISO 2022 IR 6", b"\x1B(B\\~", Text), "\\~");
}
