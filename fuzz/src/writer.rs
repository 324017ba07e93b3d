//! Data sets, written in any of the three encodings, with the places of all lengths kept so that they can be spoilt.

/// The three encodings of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    ExplicitLittle,
    ImplicitLittle,
    ExplicitBig,
}

/// An element of which the value is written as it is, but for the order of bytes in numbers.
#[derive(Clone)]
pub struct Element {
    pub tag: (u16, u16),
    pub vr: [u8; 2],
    pub value: Vec<u8>,
}

impl Element {
    pub fn text(tag: (u16, u16), vr: &[u8; 2], text: &str) -> Element {
        let mut value = text.as_bytes().to_vec();
        if value.len() % 2 == 1 {
            value.push(if vr == b"UI" { 0 } else { b' ' });
        }
        Element { tag, vr: *vr, value }
    }

    pub fn number(tag: (u16, u16), number: u16) -> Element {
        Element { tag, vr: *b"US", value: number.to_le_bytes().to_vec() }
    }
}

/// How a sequence or an item ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Length,
    Delimiter,
}

const ITEM: (u16, u16) = (0xFFFE, 0xE000);
const ITEM_END: (u16, u16) = (0xFFFE, 0xE00D);
const SEQUENCE_END: (u16, u16) = (0xFFFE, 0xE0DD);

/// A data set while it is written.
pub struct Writer {
    pub form: Form,
    pub bytes: Vec<u8>,
    /// Where lengths stand, and of how many bytes each is.
    pub lengths: Vec<(usize, usize)>,
}

impl Writer {
    pub fn new(form: Form) -> Writer {
        Writer { form, bytes: Vec::new(), lengths: Vec::new() }
    }

    pub fn two(&mut self, number: u16) {
        self.bytes.extend(match self.form {
            Form::ExplicitBig => number.to_be_bytes(),
            _ => number.to_le_bytes(),
        });
    }

    fn length(&mut self, length: u32, bytes: usize) {
        self.lengths.push((self.bytes.len(), bytes));
        match (self.form, bytes) {
            (_, 2) => self.two(length as u16),
            (Form::ExplicitBig, _) => self.bytes.extend(length.to_be_bytes()),
            _ => self.bytes.extend(length.to_le_bytes()),
        }
    }

    /// Tag, representation and length.
    pub fn begin(&mut self, tag: (u16, u16), vr: &[u8; 2], length: u32) {
        self.two(tag.0);
        self.two(tag.1);
        if self.form == Form::ImplicitLittle {
            return self.length(length, 4);
        }
        self.bytes.extend(vr);
        if [*b"OB", *b"OW", *b"SQ", *b"UN", *b"UT", *b"UC"].contains(vr) {
            self.bytes.extend([0, 0]);
            self.length(length, 4);
        } else {
            self.length(length, 2);
        }
    }

    pub fn element(&mut self, element: &Element) {
        self.begin(element.tag, &element.vr, element.value.len() as u32);
        if self.form == Form::ExplicitBig && [*b"US", *b"SS", *b"OW"].contains(&element.vr) {
            self.bytes.extend(element.value.chunks(2).flat_map(|pair| pair.iter().rev()));
        } else {
            self.bytes.extend(&element.value);
        }
    }

    fn marker(&mut self, tag: (u16, u16), length: u32) {
        self.two(tag.0);
        self.two(tag.1);
        self.length(length, 4);
    }

    /// An item of raw bytes: a fragment, or the offset table.
    pub fn fragment(&mut self, bytes: &[u8]) {
        self.marker(ITEM, bytes.len() as u32);
        self.bytes.extend(bytes);
    }

    pub fn end_fragments(&mut self) {
        self.marker(SEQUENCE_END, 0);
    }

    pub fn sequence(&mut self, tag: (u16, u16), vr: &[u8; 2], end: End, fill: impl FnOnce(&mut Writer)) {
        self.begin(tag, vr, u32::MAX);
        let start = self.bytes.len();
        fill(self);
        self.end(start, end, SEQUENCE_END);
    }

    pub fn item(&mut self, end: End, fill: impl FnOnce(&mut Writer)) {
        self.marker(ITEM, u32::MAX);
        let start = self.bytes.len();
        fill(self);
        self.end(start, end, ITEM_END);
    }

    fn end(&mut self, start: usize, end: End, delimiter: (u16, u16)) {
        if end == End::Delimiter {
            return self.marker(delimiter, 0);
        }
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start - 4..start].copy_from_slice(&match self.form {
            Form::ExplicitBig => length.to_be_bytes(),
            _ => length.to_le_bytes(),
        });
    }
}

/// A file of any transfer syntax around the bytes of a data set.
pub fn file(syntax: &str, data_set: &[u8]) -> Vec<u8> {
    let mut meta = Writer::new(Form::ExplicitLittle);
    let syntax = Element::text((2, 0x10), b"UI", syntax);
    let length = 8 + syntax.value.len() as u32;
    meta.element(&Element { tag: (2, 0), vr: *b"UL", value: length.to_le_bytes().to_vec() });
    meta.element(&syntax);
    [&[0; 128][..], b"DICM", &meta.bytes, data_set].concat()
}
