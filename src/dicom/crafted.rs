//! DICOM bytes written by hand, for tests of what writers do and should not do.
//! What phantoms look like is left to `phantom`: here a slice is a few cells.

use std::io::Write;

use dicom_dictionary_std::uids;
use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::syntax::EXPLICIT_BIG;
use super::{DicomError, Object, SliceHeader};
use crate::limits::Limits;

/// A slice of 16-bit cells (0, 1, 2 ... unless set) whose elements can be replaced one by one.
#[derive(Clone)]
pub(crate) struct Crafted {
    pub cells: Vec<u16>,
    syntax: &'static str,
    bits8: bool,
    elements: Vec<(u16, u16, [u8; 2], Vec<u8>)>,
    /// Functional groups.
    groups: Vec<u8>,
}

fn even(text: &str, pad: u8) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(pad);
    }
    bytes
}

impl Crafted {
    pub fn slice(rows: u16, columns: u16) -> Crafted {
        let slice = Crafted {
            cells: (0..rows * columns).collect(),
            syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN,
            bits8: false,
            elements: Vec::new(),
            groups: Vec::new(),
        };
        slice
            .text(0x0008, 0x0008, b"CS", "ORIGINAL\\PRIMARY\\AXIAL")
            .text(0x0008, 0x0016, b"UI", uids::CT_IMAGE_STORAGE)
            .text(0x0008, 0x0018, b"UI", "1.2.3.4.1")
            .text(0x0008, 0x0060, b"CS", "CT")
            .text(0x0010, 0x0010, b"PN", "Nobody^Known")
            .text(0x0020, 0x000D, b"UI", "1.2.3.1")
            .text(0x0020, 0x000E, b"UI", "1.2.3.2")
            .text(0x0020, 0x0032, b"DS", "0\\0\\0")
            .text(0x0020, 0x0037, b"DS", "1\\0\\0\\0\\1\\0")
            .number(0x0028, 0x0002, 1)
            .text(0x0028, 0x0004, b"CS", "MONOCHROME2")
            .number(0x0028, 0x0010, rows)
            .number(0x0028, 0x0011, columns)
            .text(0x0028, 0x0030, b"DS", "0.5\\0.5")
            .number(0x0028, 0x0100, 16)
            .number(0x0028, 0x0101, 16)
            .number(0x0028, 0x0102, 15)
            .number(0x0028, 0x0103, 1)
            .text(0x0028, 0x1052, b"DS", "0")
            .text(0x0028, 0x1053, b"DS", "1")
    }

    pub fn syntax(mut self, uid: &'static str) -> Crafted {
        self.syntax = uid;
        self
    }

    pub fn bits8(mut self) -> Crafted {
        self.bits8 = true;
        self.number(0x0028, 0x0100, 8)
            .number(0x0028, 0x0101, 8)
            .number(0x0028, 0x0102, 7)
            .number(0x0028, 0x0103, 0)
    }

    /// Sets an element to raw little-endian bytes.
    pub fn with(mut self, group: u16, element: u16, vr: &[u8; 2], value: &[u8]) -> Crafted {
        self = self.without(group, element);
        self.elements.push((group, element, *vr, value.to_vec()));
        self.elements.sort();
        self
    }

    pub fn without(mut self, group: u16, element: u16) -> Crafted {
        self.elements.retain(|known| (known.0, known.1) != (group, element));
        self
    }

    pub fn text(self, group: u16, element: u16, vr: &[u8; 2], value: &str) -> Crafted {
        let pad = if vr == b"UI" { 0 } else { b' ' };
        self.with(group, element, vr, &even(value, pad))
    }

    pub fn number(self, group: u16, element: u16, value: u16) -> Crafted {
        self.with(group, element, b"US", &value.to_le_bytes())
    }

    /// Makes an enhanced CT of it, with a frame at each place along z, in mm. What slices have of their own, and what
    /// all of them share, moves into functional groups, whose sequences tell their lengths or end in delimiters.
    /// `cells` become those of all frames.
    pub fn enhanced(mut self, places_mm: &[f64], delimited: bool) -> Crafted {
        let cells = self.cells.clone();
        self.cells = (0..places_mm.len() as u16)
            .flat_map(|frame| cells.iter().map(move |cell| cell + 100 * frame).collect::<Vec<_>>())
            .collect();
        let implicit = self.syntax == uids::IMPLICIT_VR_LITTLE_ENDIAN;
        let text = |group: u16, element: u16, text: &str| {
            let mut bytes = [group.to_le_bytes(), element.to_le_bytes()].concat();
            let value = even(text, b' ');
            match implicit {
                true => bytes.extend((value.len() as u32).to_le_bytes()),
                false => bytes.extend([b"DS", &(value.len() as u16).to_le_bytes()[..]].concat()),
            }
            bytes.extend(value);
            bytes
        };
        let item = |inside: &[u8]| {
            let mut bytes = vec![0xFE, 0xFF, 0x00, 0xE0];
            bytes.extend((if delimited { u32::MAX } else { inside.len() as u32 }).to_le_bytes());
            bytes.extend(inside);
            bytes.extend(if delimited { &b"\xFE\xFF\x0D\xE0\0\0\0\0"[..] } else { b"" });
            bytes
        };
        let sequence = |group: u16, element: u16, items: &[u8]| {
            let mut bytes = [group.to_le_bytes(), element.to_le_bytes()].concat();
            bytes.extend(if implicit { &b""[..] } else { b"SQ\0\0" });
            bytes.extend((if delimited { u32::MAX } else { items.len() as u32 }).to_le_bytes());
            bytes.extend(items);
            bytes.extend(if delimited { &b"\xFE\xFF\xDD\xE0\0\0\0\0"[..] } else { b"" });
            bytes
        };
        let own = |group, element, inside: &[u8]| sequence(group, element, &item(inside));
        let shared = [
            own(0x0020, 0x9116, &text(0x0020, 0x0037, "1\\0\\0\\0\\1\\0")),
            own(0x0028, 0x9110, &[text(0x0018, 0x0050, "5"), text(0x0028, 0x0030, "0.5\\0.5")].concat()),
        ]
        .concat();
        let frame = |(number, place): (usize, &f64)| {
            let position = own(0x0020, 0x9113, &text(0x0020, 0x0032, &format!("0\\0\\{place}")));
            let rescale =
                [text(0x0028, 0x1052, &format!("-{}", 100 * number)), text(0x0028, 0x1053, "1")].concat();
            item(&[position, own(0x0028, 0x9145, &rescale)].concat())
        };
        let frames: Vec<u8> = places_mm.iter().enumerate().flat_map(frame).collect();
        self.groups = [sequence(0x5200, 0x9229, &item(&shared)), sequence(0x5200, 0x9230, &frames)].concat();
        self.without(0x0020, 0x0032)
            .without(0x0020, 0x0037)
            .without(0x0028, 0x0030)
            .without(0x0028, 0x1052)
            .without(0x0028, 0x1053)
            .text(0x0008, 0x0016, b"UI", uids::ENHANCED_CT_IMAGE_STORAGE)
            .text(0x0028, 0x0008, b"IS", &places_mm.len().to_string())
    }

    /// The elements, without pixel data.
    pub fn data_set(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (group, element, vr, value) in &self.elements {
            self.element(&mut bytes, *group, *element, vr, value);
        }
        bytes.extend(&self.groups);
        bytes
    }

    fn element(&self, bytes: &mut Vec<u8>, group: u16, element: u16, vr: &[u8; 2], value: &[u8]) {
        let big = self.syntax == EXPLICIT_BIG;
        let two = |number: u16| {
            if big { number.to_be_bytes() } else { number.to_le_bytes() }
        };
        bytes.extend(two(group));
        bytes.extend(two(element));
        if self.syntax == uids::IMPLICIT_VR_LITTLE_ENDIAN {
            bytes.extend((value.len() as u32).to_le_bytes());
        } else if vr == b"OW" {
            bytes.extend(b"OW\0\0");
            let length = value.len() as u32;
            bytes.extend(if big { length.to_be_bytes() } else { length.to_le_bytes() });
        } else {
            bytes.extend(vr);
            bytes.extend(two(value.len() as u16));
        }
        if big && (vr == b"US" || vr == b"OW") {
            bytes.extend(value.chunks(2).flat_map(|pair| [pair[1], pair[0]]));
        } else {
            bytes.extend(value);
        }
    }

    pub fn file(&self) -> Vec<u8> {
        let mut data_set = self.data_set();
        let mut pixels: Vec<u8> = if self.bits8 {
            self.cells.iter().map(|&cell| cell as u8).collect()
        } else {
            self.cells.iter().flat_map(|cell| cell.to_le_bytes()).collect()
        };
        if pixels.len() % 2 == 1 {
            pixels.push(0);
        }
        self.element(&mut data_set, 0x7FE0, 0x0010, b"OW", &pixels);
        if self.syntax == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
            data_set = deflate(&data_set);
        }
        file(self.syntax, &data_set)
    }
}

/// The object in a file, and the header of its first slice.
pub(crate) fn read_header(file: &[u8], limits: &Limits) -> Result<(SliceHeader, Object), DicomError> {
    let object = Object::read(file, limits)?;
    Ok((object.slices[0].clone(), object))
}

/// A file of any transfer syntax around the bytes of a data set.
pub(crate) fn file(syntax: &str, data_set: &[u8]) -> Vec<u8> {
    let uid = even(syntax, 0);
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    bytes.extend([2, 0, 0, 0]);
    bytes.extend(b"UL\x04\0");
    bytes.extend((uid.len() as u32 + 8).to_le_bytes());
    bytes.extend([2, 0, 0x10, 0]);
    bytes.extend(b"UI");
    bytes.extend((uid.len() as u16).to_le_bytes());
    bytes.extend(uid);
    bytes.extend(data_set);
    bytes
}

/// A file whose pixel data are the given items: an offset table, then fragments.
pub(crate) fn encapsulated(syntax: &str, items: &[&[u8]]) -> Vec<u8> {
    let mut data_set = Crafted::slice(2, 2).data_set();
    data_set.extend(b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF");
    for item in items {
        data_set.extend(b"\xFE\xFF\x00\xE0");
        data_set.extend((item.len() as u32).to_le_bytes());
        data_set.extend(*item);
    }
    data_set.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
    file(syntax, &data_set)
}

pub(crate) fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
