//! Marker segments in front of a scan (ITU-T T.87, Annex C; T.81, Annex B).

use super::CodecError;
use super::parameters::{Parameters, Preset};

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const DRI: u8 = 0xDD;
const COM: u8 = 0xFE;
/// Start of frame of JPEG-LS.
const SOF55: u8 = 0xF7;
/// JPEG-LS extensions: preset parameters.
const LSE: u8 = 0xF8;

/// What stands in front of the entropy-coded bytes.
pub(super) struct Header {
    pub rows: u32,
    pub columns: u32,
    pub precision: u8,
    pub parameters: Parameters,
    /// Lines between restart markers; 0 where there are none.
    pub restart_lines: u32,
    /// Where the entropy-coded bytes begin.
    pub scan: usize,
}

struct Frame {
    rows: u32,
    columns: u32,
    precision: u8,
    component: u8,
}

impl Header {
    /// Reads markers up to the start of the scan.
    pub fn read(stream: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader { bytes: stream };
        if reader.marker()? != SOI {
            return Err(CodecError::Damaged("it does not begin with a start of image"));
        }
        let mut frame = None;
        let mut preset = Preset::default();
        let mut restart_lines = 0;
        loop {
            let marker = reader.marker()?;
            match marker {
                SOI | EOI | 0x01 | 0xD0..=0xD7 => {
                    return Err(CodecError::Damaged("a marker is out of place"));
                }
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                    return Err(CodecError::Unsupported("another coding than JPEG-LS"));
                }
                _ => {}
            }
            let mut segment = reader.segment()?;
            match marker {
                SOF55 if frame.is_some() => return Err(CodecError::Damaged("it has two frames")),
                SOF55 => frame = Some(Frame::read(&mut segment)?),
                LSE => preset = preset_of(&mut segment)?,
                DRI => restart_lines = restart_of(&segment)?,
                SOS => {
                    let frame = frame.ok_or(CodecError::Damaged("its scan comes before its frame"))?;
                    let near = near_of(&mut segment, &frame)?;
                    return Ok(Self {
                        rows: frame.rows,
                        columns: frame.columns,
                        precision: frame.precision,
                        parameters: Parameters::new(frame.precision, near, preset)?,
                        restart_lines,
                        scan: stream.len() - reader.bytes.len(),
                    });
                }
                // Applications' segments and comments change no value of a gray frame.
                0xE0..=0xEF | COM => {}
                _ => return Err(CodecError::Damaged("it has a marker that JPEG-LS does not have")),
            }
        }
    }
}

impl Frame {
    /// Start of frame (ITU-T T.87, C.2.2).
    fn read(segment: &mut Reader<'_>) -> Result<Self, CodecError> {
        let precision = segment.byte()?;
        let (rows, columns) = (segment.word()?, segment.word()?);
        match segment.byte()? {
            0 => return Err(CodecError::Damaged("its frame has no component")),
            1 => {}
            _ => return Err(CodecError::Unsupported("several components")),
        }
        let component = segment.byte()?;
        // One component alone is not subsampled, whatever its factors tell, and the table is for the DCT.
        let (_factors, _table) = (segment.byte()?, segment.byte()?);
        segment.finish()?;
        if !(2..=16).contains(&precision) {
            return Err(CodecError::Damaged("its precision is not 2 to 16 bits"));
        }
        if rows == 0 || columns == 0 {
            return Err(CodecError::Unsupported("a size that is told later"));
        }
        Ok(Self { rows: rows.into(), columns: columns.into(), precision, component })
    }
}

/// NEAR of a scan (ITU-T T.87, C.2.3).
fn near_of(segment: &mut Reader<'_>, frame: &Frame) -> Result<u8, CodecError> {
    if segment.byte()? != 1 || segment.byte()? != frame.component {
        return Err(CodecError::Damaged("its scan has other components than its frame"));
    }
    let table = segment.byte()?;
    let near = segment.byte()?;
    let interleave = segment.byte()?;
    let transform = segment.byte()?;
    segment.finish()?;
    if table != 0 {
        return Err(CodecError::Unsupported("mapping tables"));
    }
    if interleave != 0 {
        return Err(CodecError::Unsupported("interleaved components"));
    }
    if transform != 0 {
        return Err(CodecError::Unsupported("a point transform"));
    }
    Ok(near)
}

/// Preset coding parameters (ITU-T T.87, C.2.4.1.1).
fn preset_of(segment: &mut Reader<'_>) -> Result<Preset, CodecError> {
    match segment.byte()? {
        1 => {}
        2 | 3 => return Err(CodecError::Unsupported("mapping tables")),
        4 => return Err(CodecError::Unsupported("an extended size")),
        _ => return Err(CodecError::Unsupported("extensions of JPEG-LS")),
    }
    let maximum = segment.word()?;
    let thresholds = [segment.word()?, segment.word()?, segment.word()?];
    let reset = segment.word()?;
    segment.finish()?;
    Ok(Preset { maximum, thresholds, reset })
}

/// Restart interval of two to four bytes (ITU-T T.87, C.2.5). Of one component a line is a unit.
fn restart_of(segment: &Reader<'_>) -> Result<u32, CodecError> {
    if !(2..=4).contains(&segment.bytes.len()) {
        return Err(CodecError::Damaged("a marker segment has the wrong length"));
    }
    Ok(segment.bytes.iter().fold(0, |lines, &byte| lines << 8 | u32::from(byte)))
}

/// Takes numbers from the front of bytes.
pub(super) struct Reader<'a> {
    pub bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, CodecError> {
        let (&byte, rest) = self.bytes.split_first().ok_or(CodecError::Ends)?;
        self.bytes = rest;
        Ok(byte)
    }

    fn word(&mut self) -> Result<u16, CodecError> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// The next marker's second byte. More bytes of 0xFF may stand in front of it (ITU-T T.81, B.1.1.2).
    pub fn marker(&mut self) -> Result<u8, CodecError> {
        if self.byte()? != 0xFF {
            return Err(CodecError::Damaged("a marker is missing"));
        }
        loop {
            match self.byte()? {
                0xFF => {}
                0 => return Err(CodecError::Damaged("a marker is missing")),
                marker => return Ok(marker),
            }
        }
    }

    /// The content of a marker segment, behind its length.
    fn segment(&mut self) -> Result<Reader<'a>, CodecError> {
        let length = usize::from(self.word()?);
        let content = length.checked_sub(2).ok_or(CodecError::Damaged("a marker segment is too short"))?;
        let (bytes, rest) = self.bytes.split_at_checked(content).ok_or(CodecError::Ends)?;
        self.bytes = rest;
        Ok(Reader { bytes })
    }

    /// Whether a segment was as long as its content.
    fn finish(&self) -> Result<(), CodecError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(CodecError::Damaged("a marker segment has the wrong length"))
        }
    }
}
