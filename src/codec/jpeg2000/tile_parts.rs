//! The tile-parts of a codestream (T.800 A.4): whether all are there, and whole.

use std::borrow::Cow;

use super::header::{Header, TILE_PART_BYTES};
use super::segments::{Reader, markers};
use crate::codec::CodecError;

/// Parts of one tile.
#[derive(Clone, Copy, Default)]
struct Parts {
    seen: u16,
    /// TNsot; 0 where no part tells.
    told: u8,
}

/// A tile-part: from its SOT marker to its last packet.
struct TilePart {
    tile: usize,
    /// TPsot: its number within the tile.
    number: u8,
    /// TNsot: how many parts the tile has, or 0.
    parts: u8,
    end: usize,
    /// Where the packets begin.
    packets: usize,
    /// Psot was 0: it goes up to the end of the codestream.
    unbounded: bool,
}

/// Checks that the tile-parts of all tiles are there, and gives the codestream back as the libraries need it:
/// up to its EOC marker, and not further.
///
/// The library takes tiles and packets that are missing for zeros, so what tells of them is checked here: lengths of
/// tile-parts (Psot), their numbers (TPsot, TNsot), and where nothing else tells the end, the EOC marker.
/// A codestream of which the last length is 0 or the EOC marker is missing is copied, to be given both, and to lose
/// a component transform that makes no sense.
///
/// # Errors
/// [`CodecError::Ends`] where a part is missing or cut off, or where there are fewer bytes than packets.
pub(super) fn check<'a>(codestream: &'a [u8], header: &Header) -> Result<Cow<'a, [u8]>, CodecError> {
    // `header` holds at most one tile for 14 bytes.
    let mut tiles = vec![Parts::default(); header.tiles as usize];
    let mut offset = header.end;
    let mut packet_bytes = 0;
    let mut unbounded = None;
    let ended = loop {
        if is_padding(&codestream[offset..]) {
            break false;
        }
        let mut reader = Reader::new(codestream, offset);
        match reader.u16()? {
            markers::EOC => break true,
            markers::SOT => {}
            _ => return Err(CodecError::Damaged("it has no tile-part where one is due")),
        }
        let part = read_tile_part(reader, offset)?;
        let parts = tiles.get_mut(part.tile).ok_or(CodecError::Damaged("a tile-part is of no tile"))?;
        note(parts, &part)?;
        packet_bytes += (part.end - part.packets) as u64;
        if part.unbounded {
            unbounded = Some((offset, part.end));
        }
        offset = part.end;
    };
    let known_end = ended || tiles.iter().all(|parts| parts.told != 0);
    let complete = tiles.iter().all(|parts| parts.seen > 0 && parts.seen >= u16::from(parts.told));
    if !known_end || !complete || packet_bytes < header.packets {
        return Err(CodecError::Ends);
    }
    if ended && unbounded.is_none() && header.component_transform.is_none() {
        return Ok(Cow::Borrowed(&codestream[..offset + 2]));
    }
    let mut whole = codestream[..offset].to_vec();
    if let Some((start, end)) = unbounded {
        let length = u32::try_from(end - start).map_err(|_| CodecError::Effort("a tile-part of 4 GiB"))?;
        // Marker, length of the segment and tile number come before it (T.800 A.4.2).
        whole[start + 6..start + 10].copy_from_slice(&length.to_be_bytes());
    }
    if let Some(offset) = header.component_transform {
        whole[offset] = 0;
    }
    whole.extend_from_slice(&markers::EOC.to_be_bytes());
    Ok(Cow::Owned(whole))
}

/// Counts a part, which must be the next one of its tile.
fn note(parts: &mut Parts, part: &TilePart) -> Result<(), CodecError> {
    if u16::from(part.number) != parts.seen {
        return Err(CodecError::Damaged("the parts of a tile are not in order"));
    }
    if part.parts != 0 {
        if part.number >= part.parts || parts.told != 0 && parts.told != part.parts {
            return Err(CodecError::Damaged("a tile does not have the parts that it tells"));
        }
        parts.told = part.parts;
    }
    parts.seen += 1;
    Ok(())
}

/// Reads the header of the tile-part that begins at `start`, behind its SOT marker (T.800 A.4.2).
fn read_tile_part(mut reader: Reader<'_>, start: usize) -> Result<TilePart, CodecError> {
    let mut segment = Reader::new(reader.segment()?, 0);
    let tile = usize::from(segment.u16()?);
    let length = segment.u32()? as usize;
    let number = segment.u8()?;
    let parts = segment.u8()?;
    if !segment.rest().is_empty() {
        return Err(CodecError::Damaged("the head of a tile-part is not as long as it should be"));
    }
    let unbounded = length == 0;
    let end = if unbounded {
        reader.offset() + last_end_marker(reader.rest()).ok_or(CodecError::Ends)?
    } else if length < TILE_PART_BYTES {
        return Err(CodecError::Damaged("a tile-part is shorter than its head"));
    } else {
        // Only bytes that are there are stepped over.
        let behind_marker = length - (reader.offset() - start);
        Reader::take(&mut reader.clone(), behind_marker)?;
        start + length
    };
    loop {
        match reader.u16()? {
            markers::SOD => break,
            markers::PLT | markers::COM => {
                reader.segment()?;
            }
            markers::COD | markers::COC | markers::QCD | markers::QCC | markers::RGN | markers::POC => {
                return Err(CodecError::Unsupported("a coding style of a single tile"));
            }
            markers::PPT => return Err(CodecError::Unsupported("packed packet headers")),
            _ => return Err(CodecError::Damaged("a tile-part has a marker that does not belong there")),
        }
    }
    if reader.offset() > end {
        return Err(CodecError::Damaged("a tile-part is shorter than its head"));
    }
    Ok(TilePart { tile, number, parts, end, packets: reader.offset(), unbounded })
}

/// Where the last EOC marker begins. Packets cannot hold one (T.800 B.10.1, C.3); numbers in SOP markers could,
/// so it is looked for from the end.
fn last_end_marker(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).rposition(|pair| pair == markers::EOC.to_be_bytes())
}

/// A fragment has an even number of bytes; the one that is too many is 0 (DICOM PS3.5 A.4). Some writers add more.
fn is_padding(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}
