//! DICOM objects that the fuzzer chooses: nearly valid, so that it reaches what lies behind the first checks.

use crate::choices::Choices;
use crate::encoders;
use crate::writer::{Element, End, Form, Writer, file};

pub const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub const ENHANCED_CT: &str = "1.2.840.10008.5.1.4.1.1.2.1";

/// Transfer syntaxes: how elements are written, and whether pixels come in fragments.
pub const SYNTAXES: [(&str, Form, bool); 18] = [
    ("1.2.840.10008.1.2.1", Form::ExplicitLittle, false),
    ("1.2.840.10008.1.2", Form::ImplicitLittle, false),
    ("1.2.840.10008.1.2.2", Form::ExplicitBig, false),
    ("1.2.840.10008.1.2.1.99", Form::ExplicitLittle, false),
    ("1.2.840.10008.1.2.1.98", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.5", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.50", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.51", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.57", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.70", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.80", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.81", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.90", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.91", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.201", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.202", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.203", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.100", Form::ExplicitLittle, true),
];

const NUMBERS: [&str; 14] =
    ["1", "0", "-1024", "0.5", "-1", "1e300", "-0", "NaN", "inf", "1e-320", "32768", " 2 ", "", "x"];

/// What makes a slice one of its series.
#[derive(Clone, Copy, Default)]
pub struct Place {
    pub study: u8,
    pub series: u8,
    pub instance: u8,
    pub z: i16,
}

/// A data set, and what it is said to be.
pub struct DataSet {
    pub syntax: &'static str,
    pub class: &'static str,
    pub bytes: Vec<u8>,
}

/// A file as the choices say, then spoilt in places where they say so.
pub fn object(choices: &mut Choices<'_>, place: Place) -> Vec<u8> {
    let DataSet { syntax, bytes: data_set, .. } = data_set(choices, place);
    let mut bytes = file(syntax, &data_set);
    match choices.below(12) {
        9 => drop(bytes.drain(..128)),
        10 => drop(bytes.drain(..132)),
        11 => bytes = data_set,
        _ => {}
    }
    if choices.rarely() {
        let end = bytes.len() - usize::from(choices.number()) % bytes.len();
        bytes.truncate(end);
    }
    bytes
}

/// A data set as the choices say, then spoilt in places where they say so.
pub fn data_set(choices: &mut Choices<'_>, place: Place) -> DataSet {
    let (syntax, form, encapsulated) = choices.of(&SYNTAXES);
    let (rows, columns) = (choices.below(9) as u16, choices.below(9) as u16);
    let (rows, columns) = (if rows == 0 { 4 } else { rows }, if columns == 0 { 4 } else { columns });
    let frames = choices.below(8).saturating_sub(3);
    let bits = choices.of(&[16u16, 16, 16, 16, 16, 8, 8, 12, 32, 1, 0]);
    let mut writer = Writer::new(form);
    let mut elements = elements(choices, place, (rows, columns, frames as u16, bits));
    if choices.rarely() {
        let (one, other) = (choices.below(elements.len()), choices.below(elements.len()));
        elements.swap(one, other);
    }
    elements.iter().for_each(|element| writer.element(element));
    if frames > 0 {
        groups(&mut writer, choices, frames);
    }
    let frame_values = usize::from(rows) * usize::from(columns);
    let values: Vec<u16> = (0..frame_values * frames.max(1)).map(|at| (at * 7) as u16 & 0x0FFF).collect();
    if encapsulated {
        fragments(&mut writer, choices, syntax, &values, (rows, columns), frames.max(1), bits);
    } else {
        let native: Vec<u8> = match bits {
            8 => values.iter().map(|&value| value as u8).collect(),
            _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        writer.element(&Element { tag: (0x7FE0, 0x0010), vr: *choices.of(&[b"OW", b"OB"]), value: native });
    }
    if choices.rarely() {
        writer.element(&Element { tag: (0xFFFC, 0xFFFC), vr: *b"OB", value: vec![0; 4] });
    }
    spoil(&mut writer, choices);
    let mut bytes = writer.bytes;
    if syntax.ends_with(".99") {
        bytes = encoders::deflate(&bytes);
    }
    DataSet { syntax, class: class(frames), bytes }
}

/// What an object is that has frames, or none.
fn class(frames: usize) -> &'static str {
    if frames > 0 { ENHANCED_CT } else { CT }
}

fn elements(
    choices: &mut Choices<'_>,
    place: Place,
    (rows, columns, frames, bits): (u16, u16, u16, u16),
) -> Vec<Element> {
    let number = |choices: &mut Choices<'_>, usual: &str| {
        if choices.rarely() { choices.of(&NUMBERS).to_owned() } else { usual.to_owned() }
    };
    let class = if choices.rarely() {
        choices.of(&["", "1.2.840.10008.5.1.4.1.1.4", "..", ENHANCED_CT])
    } else {
        class(usize::from(frames))
    };
    let mut elements = vec![
        Element::text((8, 5), b"CS", choices.of(&["ISO_IR 100", "", "ISO 2022 IR 87\\ISO 2022 IR 13", "?"])),
        Element::text(
            (8, 8),
            b"CS",
            choices.of(&["ORIGINAL\\PRIMARY\\AXIAL", "ORIGINAL\\PRIMARY\\LOCALIZER", "", "\\"]),
        ),
        Element::text((8, 0x16), b"UI", class),
        Element::text((8, 0x18), b"UI", &format!("1.2.3.{}", place.instance)),
        Element::text((8, 0x60), b"CS", choices.of(&["CT", "CT", "CT", "MR", ""])),
        Element::text((0x10, 0x10), b"PN", "Nobody^Known"),
        Element::text((0x18, 0x50), b"DS", &number(choices, "5")),
        Element::text((0x18, 0x1120), b"DS", &number(choices, "0")),
        Element::text((0x20, 0x0D), b"UI", &format!("1.2.{}", place.study)),
        Element::text((0x20, 0x0E), b"UI", &format!("1.2.3.{}", place.series)),
        Element::text((0x20, 0x13), b"IS", &number(choices, "1")),
    ];
    if frames == 0 {
        let (x, y) = (number(choices, "0"), number(choices, "0"));
        elements.push(Element::text((0x20, 0x32), b"DS", &format!("{x}\\{y}\\{}", place.z)));
        elements.push(Element::text((0x20, 0x37), b"DS", orientation(choices)));
    }
    elements.push(Element::number((0x28, 2), choices.of(&[1, 1, 1, 3])));
    elements.push(Element::text((0x28, 4), b"CS", choices.of(&["MONOCHROME2", "MONOCHROME1", "RGB"])));
    if frames > 0 {
        elements.push(Element::text((0x28, 8), b"IS", &number(choices, &frames.to_string())));
    }
    elements.push(Element::number((0x28, 0x10), rows));
    elements.push(Element::number((0x28, 0x11), columns));
    if frames == 0 {
        let spacing = number(choices, "0.5");
        elements.push(Element::text((0x28, 0x30), b"DS", &format!("{spacing}\\{spacing}")));
    }
    elements.push(Element::number((0x28, 0x100), bits));
    let stored = if choices.rarely() { choices.number() } else { bits };
    elements.push(Element::number((0x28, 0x101), stored));
    elements.push(Element::number(
        (0x28, 0x102),
        if choices.rarely() { choices.number() } else { stored.wrapping_sub(1) },
    ));
    elements.push(Element::number((0x28, 0x103), choices.of(&[1, 0, 2])));
    if choices.rarely() {
        elements.push(Element::number((0x28, 0x120), choices.number()));
    }
    if frames == 0 {
        elements.push(Element::text((0x28, 0x1052), b"DS", &number(choices, "-1024")));
        elements.push(Element::text((0x28, 0x1053), b"DS", &number(choices, "1")));
        elements.push(Element::text((0x28, 0x1054), b"LO", choices.of(&["HU", "", "US"])));
    }
    // Absent, empty, of another representation, twice.
    for _ in 0..choices.below(8).saturating_sub(4) {
        let at = choices.below(elements.len());
        match choices.below(4) {
            0 => drop(elements.remove(at)),
            1 => elements[at].value.clear(),
            2 => elements[at].vr = *choices.of(&[b"UN", b"OB", b"LO", b"ZZ"]),
            _ => elements.insert(at, elements[at].clone()),
        }
    }
    elements
}

fn orientation(choices: &mut Choices<'_>) -> &'static str {
    choices.of(&[
        "1\\0\\0\\0\\1\\0",
        "1\\0\\0\\0\\1\\0",
        "-1\\0\\0\\0\\-1\\0",
        "0\\1\\0\\-1\\0\\0",
        "1\\0\\0\\0\\0.9\\0.4358898943540674",
        "0\\0\\0\\0\\0\\0",
        "1\\0\\0\\1\\0\\0",
        "1\\0\\0",
    ])
}

/// The functional groups of a multi-frame object.
fn groups(writer: &mut Writer, choices: &mut Choices<'_>, frames: usize) {
    let end = |choices: &mut Choices<'_>| choices.of(&[End::Length, End::Delimiter]);
    let (outer, inner) = (end(choices), end(choices));
    let position = |writer: &mut Writer, z: usize| {
        writer.sequence((0x20, 0x9113), b"SQ", inner, |writer| {
            writer.item(inner, |writer| {
                writer.element(&Element::text((0x20, 0x32), b"DS", &format!("0\\0\\{}", 5 * z)));
            });
        });
    };
    writer.sequence((0x5200, 0x9229), b"SQ", outer, |writer| {
        writer.item(outer, |writer| {
            writer.sequence((0x20, 0x9116), b"SQ", inner, |writer| {
                writer.item(inner, |writer| {
                    writer.element(&Element::text((0x20, 0x37), b"DS", orientation(choices)));
                });
            });
            writer.sequence((0x28, 0x9110), b"SQ", inner, |writer| {
                writer.item(inner, |writer| writer.element(&Element::text((0x28, 0x30), b"DS", "0.5\\0.5")));
            });
            writer.sequence((0x28, 0x9145), b"SQ", inner, |writer| {
                writer.item(inner, |writer| {
                    writer.element(&Element::text((0x28, 0x1052), b"DS", choices.of(&NUMBERS)));
                    writer.element(&Element::text((0x28, 0x1053), b"DS", choices.of(&NUMBERS)));
                });
            });
        });
    });
    let items = if choices.rarely() { choices.below(12) } else { frames };
    writer.sequence((0x5200, 0x9230), b"SQ", outer, |writer| {
        for z in 0..items {
            writer.item(outer, |writer| position(writer, z));
        }
    });
}

fn fragments(
    writer: &mut Writer,
    choices: &mut Choices<'_>,
    syntax: &str,
    values: &[u16],
    extent: (u16, u16),
    frames: usize,
    bits: u16,
) {
    writer.begin((0x7FE0, 0x0010), b"OB", u32::MAX);
    let table = if choices.rarely() { 12 } else { 0 };
    let table = choices.bytes(table);
    writer.fragment(table);
    let one = values.len() / frames;
    for frame in values.chunks(one.max(1)) {
        let stream = codestream(choices, syntax, frame, extent, (bits, 12));
        let parts = choices.below(8).saturating_sub(4).max(1);
        for part in stream.chunks(stream.len().div_ceil(parts).max(1)) {
            writer.fragment(part);
        }
    }
    if !choices.rarely() {
        writer.end_fragments();
    }
}

/// The values, encoded as the transfer syntax says where an encoder is at hand; else bytes of the fuzzer.
pub fn codestream(
    choices: &mut Choices<'_>,
    syntax: &str,
    values: &[u16],
    (rows, columns): (u16, u16),
    (allocated, precision): (u16, u8),
) -> Vec<u8> {
    let (rows, columns) = (usize::from(rows), usize::from(columns));
    let cell_bytes = if allocated == 8 { 1 } else { 2 };
    match syntax.rsplit('.').next() {
        Some("98") => values.iter().flat_map(|value| value.to_le_bytes()[..cell_bytes].to_vec()).collect(),
        Some("5") => encoders::rle(values, cell_bytes),
        Some("57" | "70") => encoders::jpeg_lossless(columns, precision, 1 + choices.below(7) as u8, values),
        Some("80" | "81") => encoders::jpegls(rows, columns, precision, values),
        _ => {
            let count = choices.below(200);
            choices.bytes(count).to_vec()
        }
    }
}

/// Lengths that lie, and bytes that are others.
fn spoil(writer: &mut Writer, choices: &mut Choices<'_>) {
    for _ in 0..choices.below(8).saturating_sub(5) {
        let (at, bytes) = writer.lengths[usize::from(choices.number()) % writer.lengths.len()];
        let length = match choices.below(6) {
            0 => u32::MAX,
            1 => u32::MAX - 1,
            2 => 0,
            3 => u32::from(choices.byte()),
            4 => 0x7FFF_FFFF,
            _ => u32::from(choices.number()) << 8,
        };
        let length =
            if writer.form == Form::ExplicitBig { length.to_be_bytes() } else { length.to_le_bytes() };
        writer.bytes[at..at + bytes].copy_from_slice(&length[..bytes]);
    }
    for _ in 0..choices.below(8).saturating_sub(6) {
        let at = usize::from(choices.number()) % writer.bytes.len();
        writer.bytes[at] = choices.byte();
    }
}
