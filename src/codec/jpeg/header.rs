//! Marker segments: what they tell, checked (T.81 B.2). What is done with it is left to the module above.

use super::huffman::Definition;
use super::progressive::Band;
use crate::codec::{CodecError, Extent};

/// How the coefficients or samples of a frame are coded: with Huffman codes, all of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    /// SOF0 and SOF1.
    Sequential,
    /// SOF2.
    Progressive,
    /// SOF3.
    Lossless,
}

/// A frame header (B.2.2) of one component.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub process: Process,
    /// Bits of a sample.
    pub precision: u8,
    pub extent: Extent,
    component: u8,
    /// Which quantization table.
    pub quantization: usize,
}

/// A scan header (B.2.3) of one component.
#[derive(Clone, Copy)]
pub(super) struct Scan {
    /// Which Huffman tables, each in its class.
    pub dc: usize,
    pub ac: usize,
    /// Of a lossless scan, the first number is the predictor and the last one the point transform.
    pub band: Band,
}

/// Tables as they were told last, by the number of their place.
#[derive(Default)]
pub(super) struct Tables {
    /// Class 0: DC, or lossless.
    pub dc: [Option<Definition>; 4],
    /// Class 1: AC.
    pub ac: [Option<Definition>; 4],
    /// In the order of the codestream.
    pub quantization: [Option<[u16; 64]>; 4],
}

impl Process {
    /// That of a frame marker (table B.1); None where the marker is none of a frame.
    pub fn of(marker: u8) -> Result<Option<Process>, CodecError> {
        match marker {
            0xC0 | 0xC1 => Ok(Some(Process::Sequential)),
            0xC2 => Ok(Some(Process::Progressive)),
            0xC3 => Ok(Some(Process::Lossless)),
            // DHP and EXP belong to the hierarchical mode as well.
            0xC5..=0xC7 | 0xDE | 0xDF => Err(CodecError::Unsupported("hierarchical coding")),
            0xC9..=0xCF => Err(CodecError::Unsupported("arithmetic coding")),
            0xC8 | 0xF0..=0xFD => Err(CodecError::Unsupported("another process than those of T.81")),
            _ => Ok(None),
        }
    }
}

impl Frame {
    /// Reads a frame header.
    pub fn read(process: Process, segment: &[u8]) -> Result<Frame, CodecError> {
        let &[precision, y0, y1, x0, x1, components, ref rest @ ..] = segment else {
            return Err(CodecError::Damaged("a frame header of another length"));
        };
        let fits = match process {
            Process::Sequential | Process::Progressive => precision == 8 || precision == 12,
            Process::Lossless => (2..=16).contains(&precision),
        };
        if !fits {
            return Err(CodecError::Damaged("a precision that its process does not have"));
        }
        if components > 1 {
            return Err(CodecError::Unsupported("more than one component"));
        }
        let (&[component, sampling, quantization], 1) = (rest, components) else {
            return Err(CodecError::Damaged("a frame header of another length"));
        };
        if !(1..=4).contains(&(sampling >> 4)) || !(1..=4).contains(&(sampling & 0x0F)) || quantization > 3 {
            return Err(CodecError::Damaged("a component that cannot be"));
        }
        let extent = Extent {
            rows: u32::from(u16::from_be_bytes([y0, y1])),
            columns: u32::from(u16::from_be_bytes([x0, x1])),
        };
        if extent.rows == 0 {
            return Err(CodecError::Unsupported("a number of rows that follows them (DNL)"));
        }
        if extent.columns == 0 {
            return Err(CodecError::Damaged("no columns"));
        }
        Ok(Frame { process, precision, extent, component, quantization: usize::from(quantization) })
    }
}

impl Scan {
    /// Reads a scan header of a frame.
    pub fn read(frame: &Frame, segment: &[u8]) -> Result<Scan, CodecError> {
        let &[1, component, tables, first, last, bits] = segment else {
            return Err(CodecError::Damaged("a scan header of another length"));
        };
        if component != frame.component {
            return Err(CodecError::Damaged("a scan of a component that is not there"));
        }
        let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 0x0F));
        if dc > 3 || ac > 3 {
            return Err(CodecError::Damaged("a Huffman table of a number that cannot be"));
        }
        Ok(Scan { dc, ac, band: Band { first, last, high: bits >> 4, low: bits & 0x0F } })
    }
}

impl Tables {
    /// Reads Huffman tables (B.2.4.2).
    pub fn read_huffman(&mut self, mut segment: &[u8]) -> Result<(), CodecError> {
        while let Some((&place, rest)) = segment.split_first() {
            let cut = || CodecError::Damaged("a Huffman table is cut off");
            let (&counts, rest) = rest.split_first_chunk::<16>().ok_or_else(cut)?;
            let count = counts.iter().map(|&count| usize::from(count)).sum();
            if count > 256 {
                return Err(CodecError::Damaged("a Huffman table has more codes than fit"));
            }
            let (symbols, rest) = rest.split_at_checked(count).ok_or_else(cut)?;
            let class = match place >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(CodecError::Damaged("a Huffman table of a class that cannot be")),
            };
            let table = class
                .get_mut(usize::from(place & 0x0F))
                .ok_or(CodecError::Damaged("a Huffman table of a number that cannot be"))?;
            *table = Some(Definition { counts, symbols: symbols.to_vec() });
            segment = rest;
        }
        Ok(())
    }

    /// Reads quantization tables (B.2.4.1).
    pub fn read_quantization(&mut self, mut segment: &[u8]) -> Result<(), CodecError> {
        while let Some((&place, rest)) = segment.split_first() {
            let cut = || CodecError::Damaged("a quantization table is cut off");
            let mut factors = [0; 64];
            let rest = match place >> 4 {
                0 => {
                    let (bytes, rest) = rest.split_first_chunk::<64>().ok_or_else(cut)?;
                    factors = bytes.map(u16::from);
                    rest
                }
                1 => {
                    let (bytes, rest) = rest.split_first_chunk::<128>().ok_or_else(cut)?;
                    for (factor, two) in factors.iter_mut().zip(bytes.as_chunks::<2>().0) {
                        *factor = u16::from_be_bytes(*two);
                    }
                    rest
                }
                _ => return Err(CodecError::Damaged("a quantization table of a precision that cannot be")),
            };
            if factors.contains(&0) {
                return Err(CodecError::Damaged("a quantization of zero"));
            }
            let table = self
                .quantization
                .get_mut(usize::from(place & 0x0F))
                .ok_or(CodecError::Damaged("a quantization table of a number that cannot be"))?;
            *table = Some(factors);
            segment = rest;
        }
        Ok(())
    }
}
