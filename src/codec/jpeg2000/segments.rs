//! Markers and marker segments of a codestream, read within bounds.

use crate::codec::CodecError;

/// Markers of ITU-T T.800 Table A.2, and CAP of ITU-T T.814.
pub(super) mod markers {
    pub const SOC: u16 = 0xff4f;
    pub const CAP: u16 = 0xff50;
    pub const SIZ: u16 = 0xff51;
    pub const COD: u16 = 0xff52;
    pub const COC: u16 = 0xff53;
    pub const TLM: u16 = 0xff55;
    pub const PRF: u16 = 0xff56;
    pub const PLM: u16 = 0xff57;
    pub const PLT: u16 = 0xff58;
    pub const CPF: u16 = 0xff59;
    pub const QCD: u16 = 0xff5c;
    pub const QCC: u16 = 0xff5d;
    pub const RGN: u16 = 0xff5e;
    pub const POC: u16 = 0xff5f;
    pub const PPM: u16 = 0xff60;
    pub const PPT: u16 = 0xff61;
    pub const CRG: u16 = 0xff63;
    pub const COM: u16 = 0xff64;
    pub const SOT: u16 = 0xff90;
    pub const SOD: u16 = 0xff93;
    pub const EOC: u16 = 0xffd9;
}

/// Bytes that are read from front to back. What is not there is [`CodecError::Ends`].
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, offset }
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let taken = self.rest().get(..length).ok_or(CodecError::Ends)?;
        self.offset += length;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, CodecError> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, CodecError> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn u32(&mut self) -> Result<u32, CodecError> {
        self.take(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The parameters of a marker segment: its length counts itself, but not the marker (T.800 A.1.2).
    pub(super) fn segment(&mut self) -> Result<&'a [u8], CodecError> {
        let length = self.u16()?;
        let length = length.checked_sub(2).ok_or(CodecError::Damaged("a marker segment is too short"))?;
        self.take(usize::from(length))
    }
}
