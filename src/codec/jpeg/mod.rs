//! JPEG (ITU-T T.81) with Huffman codes and one component: sequential and progressive DCT, and lossless. What the
//! values mean is left to the DICOM header.
//!
//! The bytes are not trusted. Nothing is allocated before the frame header has been compared with what the caller
//! expects, and before there are as many bytes as so many pixels need at the least. Each scan is read once, and
//! [`progressive::Progress`] bounds how many there are.

mod bits;
mod dct;
#[cfg(test)]
mod encoder;
mod header;
mod huffman;
mod idct;
mod lossless;
mod progressive;
mod restarts;
#[cfg(test)]
mod tests;

use self::dct::Blocks;
use self::header::{Frame, Process, Scan, Tables};
use self::huffman::{Definition, Symbols, Table};
use self::idct::Transform;
use self::lossless::Samples;
use self::progressive::Progress;
use self::restarts::Restarts;
use super::{CodecError, Coded, Extent};

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const DQT: u8 = 0xDB;
const DNL: u8 = 0xDC;
const DRI: u8 = 0xDD;
const DHT: u8 = 0xC4;
const DAC: u8 = 0xCC;

/// Decodes a frame of `extent` into `values`, row by row. The memory that `values` has is used again.
///
/// What follows the last scan is not looked at: an end marker, padding.
///
/// # Errors
///
/// Where the codestream is none of these processes, is damaged or cut off, or has another extent. Then `values` hold
/// nothing of use.
pub fn decode(stream: &[u8], extent: Extent, values: &mut Vec<u16>) -> Result<Coded, CodecError> {
    let mut reader =
        Reader { stream, at: 0, tables: Tables::default(), interval: 0, frame: None, gathered: None };
    if reader.marker()? != SOI {
        return Err(CodecError::Damaged("it does not begin as JPEG does"));
    }
    loop {
        let marker = reader.marker()?;
        if let Some(precision) = reader.step(marker, extent, values)? {
            return Ok(Coded { precision, signed: false });
        }
    }
}

/// A codestream, as far as it was read.
struct Reader<'a> {
    stream: &'a [u8],
    at: usize,
    tables: Tables,
    /// Restart interval; 0 for none.
    interval: usize,
    frame: Option<Frame>,
    gathered: Option<Gathered>,
}

/// What the scans of a progressive image have told so far.
struct Gathered {
    coefficients: Vec<[i16; 64]>,
    progress: Progress,
    /// With the quantization table of the first scan's time: later scans may find another one in its place.
    transform: Transform,
}

impl<'a> Reader<'a> {
    /// The next marker, behind any fill bytes (T.81 B.1.1.2).
    fn marker(&mut self) -> Result<u8, CodecError> {
        let rest = &self.stream[self.at..];
        let fill = rest.iter().take_while(|&&byte| byte == 0xFF).count();
        let marker = *rest.get(fill).ok_or(CodecError::Ends)?;
        if fill == 0 || marker == 0x00 {
            return Err(CodecError::Damaged("no marker where one has to be"));
        }
        self.at += fill + 1;
        Ok(marker)
    }

    /// The marker segment that follows its marker, without its length (B.1.1.4).
    fn segment(&mut self) -> Result<&'a [u8], CodecError> {
        let rest = &self.stream[self.at..];
        let (&length, rest) = rest.split_first_chunk::<2>().ok_or(CodecError::Ends)?;
        let length = usize::from(u16::from_be_bytes(length));
        let inner = length.checked_sub(2).ok_or(CodecError::Damaged("a marker segment of no length"))?;
        self.at += length;
        rest.get(..inner).ok_or(CodecError::Ends)
    }

    /// Reads what a marker begins. The precision, where that completes the image.
    fn step(
        &mut self,
        marker: u8,
        expected: Extent,
        values: &mut Vec<u16>,
    ) -> Result<Option<u8>, CodecError> {
        match marker {
            DHT => {
                let segment = self.segment()?;
                self.tables.read_huffman(segment)?;
            }
            DQT => {
                let segment = self.segment()?;
                self.tables.read_quantization(segment)?;
            }
            DRI => {
                let Ok(&interval) = <&[u8; 2]>::try_from(self.segment()?) else {
                    return Err(CodecError::Damaged("a restart interval of another length"));
                };
                self.interval = usize::from(u16::from_be_bytes(interval));
            }
            SOS => return self.scan(values),
            EOI => return Err(CodecError::Ends),
            SOI => return Err(CodecError::Damaged("it begins twice")),
            DNL => return Err(CodecError::Unsupported("a number of rows that follows them (DNL)")),
            DAC => return Err(CodecError::Unsupported("arithmetic coding")),
            // APPn, COM: nothing that decoding needs.
            0xE0..=0xEF | 0xFE => {
                self.segment()?;
            }
            // Without a segment: TEM, and a restart marker behind the last interval of a scan, which some write.
            0x01 | 0xD0..=0xD7 => {}
            _ => {
                let Some(process) = Process::of(marker)? else {
                    return Err(CodecError::Damaged("a marker that is reserved"));
                };
                if self.frame.is_some() {
                    return Err(CodecError::Damaged("it has two frame headers"));
                }
                let frame = Frame::read(process, self.segment()?)?;
                if frame.extent != expected {
                    let Extent { rows, columns } = frame.extent;
                    return Err(CodecError::Extent { rows, columns });
                }
                self.frame = Some(frame);
            }
        }
        Ok(None)
    }

    /// Decodes a scan. The precision, where it was the last one.
    fn scan(&mut self, values: &mut Vec<u16>) -> Result<Option<u8>, CodecError> {
        let frame = self.frame.ok_or(CodecError::Damaged("a scan before its frame"))?;
        let scan = Scan::read(&frame, self.segment()?)?;
        let restarts = Restarts::new(self.stream, self.at, self.interval);
        let complete = match frame.process {
            Process::Lossless => {
                let samples = Samples {
                    extent: frame.extent,
                    precision: frame.precision,
                    predictor: scan.band.first,
                    point_transform: scan.band.low,
                };
                let table = table(&self.tables.dc[scan.dc], Symbols::Differences { most: Symbols::SIXTEEN })?;
                self.wants(1, frame.extent.pixels())?;
                values.resize(frame.extent.pixels(), 0);
                lossless::decode(restarts, &samples, &table, values)?;
                true
            }
            Process::Sequential => {
                let blocks = Blocks::new(frame.extent);
                let dc = table(&self.tables.dc[scan.dc], Symbols::Differences { most: 15 })?;
                let ac = table(&self.tables.ac[scan.ac], Symbols::Coefficients)?;
                let transform = self.transform(&frame)?;
                self.wants(2, blocks.count())?;
                values.resize(frame.extent.pixels(), 0);
                dct::decode(restarts, blocks, (&dc, &ac), &transform, values)?;
                true
            }
            Process::Progressive => self.progressive_scan(&frame, &scan, restarts, values)?,
        };
        Ok(complete.then_some(frame.precision))
    }

    /// Decodes a scan of a progressive image, and transforms what was gathered behind the last one.
    fn progressive_scan(
        &mut self,
        frame: &Frame,
        scan: &Scan,
        restarts: Restarts<'_>,
        values: &mut Vec<u16>,
    ) -> Result<bool, CodecError> {
        let blocks = Blocks::new(frame.extent);
        let mut gathered = match self.gathered.take() {
            Some(gathered) => gathered,
            None => {
                let transform = self.transform(frame)?;
                self.wants(1, blocks.count())?;
                Gathered { coefficients: vec![[0; 64]; blocks.count()], progress: Progress::new(), transform }
            }
        };
        let band = scan.band;
        gathered.progress.note(band)?;
        let table = match (band.first, band.high) {
            (0, 0) => Some(table(&self.tables.dc[scan.dc], Symbols::Differences { most: 15 })?),
            (0, _) => None,
            (_, _) => Some(table(&self.tables.ac[scan.ac], Symbols::Bands)?),
        };
        self.at = progressive::decode(restarts, blocks, band, table.as_ref(), &mut gathered.coefficients)?;
        if gathered.progress.complete() {
            values.resize(frame.extent.pixels(), 0);
            blocks.transform(&gathered.coefficients, &gathered.transform, values);
            return Ok(true);
        }
        self.gathered = Some(gathered);
        Ok(false)
    }

    fn transform(&self, frame: &Frame) -> Result<Transform, CodecError> {
        let table = self.tables.quantization[frame.quantization].as_ref();
        Ok(Transform::new(
            table.ok_or(CodecError::Damaged("a quantization table is missing"))?,
            frame.precision,
        ))
    }

    /// Refuses early what cannot be complete: a code has at least one bit.
    fn wants(&self, codes: usize, times: usize) -> Result<(), CodecError> {
        if times / 8 * codes > self.stream.len() - self.at { Err(CodecError::Ends) } else { Ok(()) }
    }
}

/// The Huffman table that a scan wants.
fn table(definition: &Option<Definition>, kind: Symbols) -> Result<Table, CodecError> {
    Table::new(definition.as_ref().ok_or(CodecError::Damaged("a Huffman table is missing"))?, kind)
}
