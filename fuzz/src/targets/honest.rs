//! Objects that keep to the standard: what was written comes back, whatever of its freedoms the writer took.

use hemapatch::dicom::{Object, StoredValues};
use hemapatch::hu::PADDING;
use hemapatch::stream::rescale;

use crate::choices::Choices;
use crate::limits;
use crate::objects::codestream;
use crate::writer::{Element, End, Form, Writer, file};

/// Transfer syntaxes without losses of which an encoder is at hand: how elements are written, and whether pixels come in
/// fragments.
const SYNTAXES: [(&str, Form, bool); 9] = [
    ("1.2.840.10008.1.2.1", Form::ExplicitLittle, false),
    ("1.2.840.10008.1.2", Form::ImplicitLittle, false),
    ("1.2.840.10008.1.2.2", Form::ExplicitBig, false),
    ("1.2.840.10008.1.2.1.99", Form::ExplicitLittle, false),
    ("1.2.840.10008.1.2.1.98", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.5", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.57", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.70", Form::ExplicitLittle, true),
    ("1.2.840.10008.1.2.4.80", Form::ExplicitLittle, true),
];

/// What the fuzzer chose to have written.
struct Problem {
    syntax: &'static str,
    form: Form,
    encapsulated: bool,
    rows: u16,
    columns: u16,
    /// 0 for a single slice, which has no functional groups.
    frames: usize,
    allocated: u16,
    stored: u16,
    high_bit: u16,
    signed: bool,
    intercept: i32,
    /// Of all frames, as unsigned numbers of the bits stored.
    values: Vec<u16>,
}

impl Problem {
    fn chosen(choices: &mut Choices<'_>) -> Problem {
        let (syntax, form, encapsulated) = choices.of(&SYNTAXES);
        let (rows, columns) = (1 + choices.below(12) as u16, 1 + choices.below(12) as u16);
        let frames = choices.below(5);
        let allocated = choices.of(&[16, 8]);
        // JPEG and JPEG-LS know no images of one bit.
        let stored = (allocated - choices.below(usize::from(allocated)) as u16).max(2);
        let above = if encapsulated { 0 } else { choices.below(usize::from(allocated - stored) + 1) as u16 };
        let signed = choices.below(2) == 1;
        let intercept = i32::from(choices.number() as i16);
        let step = choices.number();
        let count = usize::from(rows) * usize::from(columns) * frames.max(1);
        let mask = u16::MAX >> (16 - stored);
        let value = |at: usize| ((at as u16).wrapping_mul(step) ^ choices.number()) & mask;
        let values = (0..count).map(value).collect();
        let high_bit = stored + above - 1;
        Problem {
            syntax,
            form,
            encapsulated,
            rows,
            columns,
            frames,
            allocated,
            stored,
            high_bit,
            signed,
            intercept,
            values,
        }
    }

    fn pixels(&self) -> usize {
        usize::from(self.rows) * usize::from(self.columns)
    }

    /// Summand of a frame's rescale: each has its own.
    fn intercept(&self, frame: usize) -> i32 {
        self.intercept - 10 * frame as i32
    }

    fn hu(&self, frame: usize, value: u16) -> i16 {
        let unused = 32 - u32::from(self.stored);
        let value = u32::from(value) << unused;
        let value = if self.signed { value as i32 >> unused } else { (value >> unused) as i32 };
        let lowest = i32::from(PADDING) + 1;
        (value + self.intercept(frame)).clamp(lowest, i32::from(i16::MAX)) as i16
    }

    fn write(&self, choices: &mut Choices<'_>) -> Vec<u8> {
        let mut writer = Writer::new(self.form);
        let number = |tag, number| Element::number(tag, number);
        let texts = |writer: &mut Writer, texts: &[((u16, u16), &[u8; 2], &str)]| {
            texts.iter().for_each(|(tag, vr, text)| writer.element(&Element::text(*tag, vr, text)));
        };
        let single = self.frames == 0;
        let class = if single { "1.2.840.10008.5.1.4.1.1.2" } else { "1.2.840.10008.5.1.4.1.1.2.1" };
        if choices.rarely() {
            writer.element(&Element { tag: (8, 0), vr: *b"UL", value: vec![0; 4] });
        }
        texts(
            &mut writer,
            &[((8, 0x16), b"UI", class), ((8, 0x18), b"UI", "1.2.3"), ((8, 0x60), b"CS", "CT")],
        );
        if choices.rarely() {
            // What a sequence holds is its own affair, whatever it is called.
            let depth = choices.below(4);
            nested(&mut writer, choices, (9, 0x1001), depth);
        }
        texts(&mut writer, &[((0x10, 0x10), b"PN", "Nobody^Known")]);
        texts(&mut writer, &[((0x20, 0x0D), b"UI", "1.2"), ((0x20, 0x0E), b"UI", "1.2.4")]);
        if single {
            texts(
                &mut writer,
                &[((0x20, 0x32), b"DS", "0\\0\\0"), ((0x20, 0x37), b"DS", "1\\0\\0\\0\\1\\0")],
            );
        }
        writer.element(&number((0x28, 2), 1));
        texts(&mut writer, &[((0x28, 4), b"CS", "MONOCHROME2")]);
        if !single {
            texts(&mut writer, &[((0x28, 8), b"IS", &self.frames.to_string())]);
        }
        for (element, value) in [(0x10, self.rows), (0x11, self.columns)] {
            writer.element(&number((0x28, element), value));
        }
        let bits = [self.allocated, self.stored, self.high_bit, u16::from(self.signed)];
        (0x100..).zip(bits).for_each(|(element, value)| writer.element(&number((0x28, element), value)));
        if single {
            self.write_rescale(&mut writer, 0);
        }
        if choices.rarely() {
            nested(&mut writer, choices, (0x88, 0x0200), 1);
        }
        if !single {
            self.write_groups(&mut writer, choices);
        }
        if self.encapsulated {
            self.write_fragments(&mut writer, choices)
        } else {
            self.write_native(&mut writer, choices)
        }
        if choices.rarely() {
            writer.element(&Element { tag: (0xFFFC, 0xFFFC), vr: *b"OB", value: vec![0; 6] });
        }
        let mut data_set = writer.bytes;
        if self.syntax.ends_with(".99") {
            data_set = crate::encoders::deflate(&data_set);
        }
        // With a preamble, without one, without the four letters behind it.
        file(self.syntax, &data_set).split_off(choices.of(&[0, 128, 132]))
    }

    fn write_rescale(&self, writer: &mut Writer, frame: usize) {
        writer.element(&Element::text((0x28, 0x1052), b"DS", &self.intercept(frame).to_string()));
        writer.element(&Element::text((0x28, 0x1053), b"DS", "1"));
    }

    fn write_groups(&self, writer: &mut Writer, choices: &mut Choices<'_>) {
        let ends = [End::Length, End::Delimiter];
        let (outer, inner) = (choices.of(&ends), choices.of(&ends));
        let own = |writer: &mut Writer, tag, fill: &dyn Fn(&mut Writer)| {
            writer.sequence(tag, b"SQ", inner, |writer| writer.item(inner, |writer| fill(writer)));
        };
        writer.sequence((0x5200, 0x9229), b"SQ", outer, |writer| {
            writer.item(outer, |writer| {
                own(writer, (0x20, 0x9116), &|writer| {
                    writer.element(&Element::text((0x20, 0x37), b"DS", "1\\0\\0\\0\\1\\0"));
                });
            });
        });
        writer.sequence((0x5200, 0x9230), b"SQ", outer, |writer| {
            for frame in 0..self.frames {
                writer.item(outer, |writer| {
                    own(writer, (0x20, 0x9113), &|writer| {
                        writer.element(&Element::text((0x20, 0x32), b"DS", &format!("0\\0\\{frame}")));
                    });
                    own(writer, (0x28, 0x9145), &|writer| self.write_rescale(writer, frame));
                });
            }
        });
    }

    fn write_native(&self, writer: &mut Writer, choices: &mut Choices<'_>) {
        let left = self.high_bit + 1 - self.stored;
        // Bits outside of the value were overlays once.
        let others = !((u16::MAX >> (16 - self.stored)) << left) & choices.number();
        let cells = self.values.iter().map(|value| value << left | others);
        let mut bytes: Vec<u8> = match self.allocated {
            8 => cells.map(|cell| cell as u8).collect(),
            _ => cells.flat_map(u16::to_le_bytes).collect(),
        };
        if bytes.len() % 2 == 1 {
            bytes.push(0);
        }
        // PS3.5 A.1 to A.3: words, but for cells of a byte in explicit form.
        let may_be_bytes = self.allocated == 8 && self.form != Form::ImplicitLittle;
        let vr = if may_be_bytes { *choices.of(&[b"OW", b"OB"]) } else { *b"OW" };
        writer.element(&Element { tag: (0x7FE0, 0x0010), vr, value: bytes });
    }

    fn write_fragments(&self, writer: &mut Writer, choices: &mut Choices<'_>) {
        let (precision, parts) = (self.stored as u8, 1 + choices.below(3));
        let frames: Vec<Vec<Vec<u8>>> = self
            .values
            .chunks(self.pixels())
            .map(|values| {
                let mut stream = codestream(
                    choices,
                    self.syntax,
                    values,
                    (self.rows, self.columns),
                    (self.allocated, precision),
                );
                if stream.len() % 2 == 1 {
                    stream.push(0);
                }
                let part = 2 * (stream.len() / 2).div_ceil(parts);
                stream.chunks(part).map(<[u8]>::to_vec).collect()
            })
            .collect();
        writer.begin((0x7FE0, 0x0010), b"OB", u32::MAX);
        // PS3.5 A.4: from the first fragment's item on. Without it nothing tells where a frame of several parts ends.
        let needed = self.frames > 1 && parts > 1;
        let mut table = Vec::new();
        let mut at = 0u32;
        for frame in &frames {
            table.extend(at.to_le_bytes());
            at += frame.iter().map(|part| 8 + part.len() as u32).sum::<u32>();
        }
        writer.fragment(if needed || choices.below(2) == 1 { &table } else { &[] });
        frames.iter().flatten().for_each(|part| writer.fragment(part));
        writer.end_fragments();
    }
}

/// A sequence with what would be of interest at the top level: rows, pixels, another place.
fn nested(writer: &mut Writer, choices: &mut Choices<'_>, tag: (u16, u16), depth: usize) {
    let end = choices.of(&[End::Length, End::Delimiter]);
    writer.sequence(tag, b"SQ", end, |writer| {
        for _ in 0..choices.below(3) {
            writer.item(end, |writer| {
                if depth > 0 {
                    nested(writer, choices, (9, 0x1001), depth - 1);
                }
                writer.element(&Element::text((0x20, 0x32), b"DS", "7\\7\\7"));
                writer.element(&Element::number((0x28, 0x10), 7));
                writer.element(&Element { tag: (0x7FE0, 0x0010), vr: *b"OW", value: vec![7; 8] });
            });
        }
    });
}

/// Every value of every frame comes back, in Hounsfield units too, and every frame has its own place.
pub fn object(input: &[u8]) {
    let mut choices = Choices::new(input);
    let problem = Problem::chosen(&mut choices);
    let bytes = problem.write(&mut choices);
    let limits = limits();
    let object = Object::read(&bytes, &limits).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(object.slices.len(), problem.frames.max(1));
    let mut hu = Vec::new();
    for (frame, (header, values)) in
        object.slices.iter().zip(problem.values.chunks(problem.pixels())).enumerate()
    {
        assert_eq!(header.image_position, Some([0.0, 0.0, frame as f64]));
        let stored = object.stored_values(&bytes, frame, &limits).unwrap_or_else(|error| panic!("{error}"));
        let cells: Vec<u16> = match &stored {
            StoredValues::Bits8(cells) => cells.iter().map(|&cell| u16::from(cell)).collect(),
            StoredValues::Bits16(cells) => cells.iter().map(|&cell| u16::from_le_bytes(cell)).collect(),
        };
        let (left, mask) = (problem.high_bit + 1 - problem.stored, u16::MAX >> (16 - problem.stored));
        let read: Vec<u16> = cells.iter().map(|cell| cell >> left & mask).collect();
        assert!(read == values, "frame {frame}: {read:?} of {values:?}");
        rescale(header, &stored, &mut hu).unwrap_or_else(|error| panic!("{error}"));
        let expected: Vec<i16> = values.iter().map(|&value| problem.hu(frame, value)).collect();
        assert!(hu == expected, "frame {frame}: {hu:?} of {expected:?}");
    }
}
