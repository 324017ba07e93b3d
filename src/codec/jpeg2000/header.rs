//! The main header of a codestream (T.800 Annex A), as far as it decides what decoding costs.

use super::segments::{Reader, markers};
use crate::codec::{CodecError, Extent};

/// Layers that the library keeps. Writers for medicine use 1 to 20 or so.
const MOST_LAYERS: u16 = 32;
/// Decomposition levels (T.800 Table A.15).
const MOST_LEVELS: u8 = 32;
/// An image of so many pixels may come in as few bytes as it likes: they cost a few MiB.
const CHEAP_PIXELS: usize = 1 << 20;
/// Each byte pays for so many pixels more. Air alone takes about a byte for 2000 pixels in images of 512 by 512.
const PIXELS_PER_BYTE: usize = 1 << 12;
/// A tile has an SOT marker segment of 12 bytes and an SOD marker (T.800 A.4.2, A.4.3).
pub(super) const TILE_PART_BYTES: usize = 14;

/// What the main header says.
pub(super) struct Header {
    pub precision: u8,
    pub signed: bool,
    /// Tiles of the image, at least 1.
    pub tiles: u32,
    /// Packets of all tiles together, each a byte or more.
    pub packets: u64,
    /// Blocks are coded as in ITU-T T.814.
    pub high_throughput: bool,
    /// By the 5/3 wavelet, which loses nothing.
    pub reversible: bool,
    /// Where a component transform is asked for, which one component cannot have.
    pub component_transform: Option<usize>,
    /// Where the first tile-part is due.
    pub end: usize,
}

/// SIZ (T.800 A.5.1).
struct Size {
    precision: u8,
    signed: bool,
    /// Columns and rows of the image.
    image: [u32; 2],
    /// Columns and rows of a tile.
    tile: [u32; 2],
    high_throughput: bool,
}

/// COD or COC: what the packets and code-blocks of the component look like (T.800 A.6.1, A.6.2).
struct CodingStyle {
    levels: u8,
    /// PPx and PPy of each resolution level, from the lowest on.
    precincts: [[u8; 2]; MOST_LEVELS as usize + 1],
    reversible: bool,
    high_throughput: bool,
}

/// Reads the main header, and compares it with what the DICOM header tells.
///
/// # Errors
/// Where it is damaged, of another image, not supported, or promises more tiles than the bytes can hold.
pub(super) fn read(codestream: &[u8], extent: Extent) -> Result<Header, CodecError> {
    let mut reader = Reader::new(codestream, 0);
    if reader.u16()? != markers::SOC {
        return Err(CodecError::Damaged("it does not begin as JPEG 2000"));
    }
    if reader.u16()? != markers::SIZ {
        return Err(CodecError::Damaged("its size does not come first"));
    }
    let size = read_size(reader.segment()?, extent)?;
    if extent.pixels().saturating_sub(CHEAP_PIXELS) / PIXELS_PER_BYTE > codestream.len() {
        return Err(CodecError::Effort("it has few bytes for so many pixels"));
    }
    let [across, down] = [0, 1].map(|axis| size.image[axis].div_ceil(size.tile[axis]));
    // A tile number has 16 bits (T.800 A.4.2).
    let tiles = across
        .checked_mul(down)
        .filter(|&tiles| tiles <= 1 << 16)
        .ok_or(CodecError::Damaged("it has more tiles than the standard allows"))?;
    if tiles as usize > codestream.len() / TILE_PART_BYTES {
        return Err(CodecError::Ends);
    }
    let mut high_throughput = size.high_throughput;
    let (mut layers, mut default_style, mut own_style) = (0, None, None);
    let (mut has_quantization, mut component_transform) = (false, None);
    let end = loop {
        let offset = reader.offset();
        match reader.u16()? {
            markers::SOT => break offset,
            markers::COD if default_style.is_none() => {
                let segment = reader.segment()?;
                let style;
                (layers, style) = read_default_style(segment)?;
                default_style = Some(style);
                // Behind marker, length, flags, progression order and layers (T.800 A.6.1).
                component_transform = (segment[4] != 0).then_some(offset + 8);
            }
            markers::COC if own_style.is_none() => own_style = Some(read_own_style(reader.segment()?)?),
            markers::QCD if !has_quantization => {
                reader.segment()?;
                has_quantization = true;
            }
            markers::QCC | markers::TLM | markers::CRG | markers::COM => {
                reader.segment()?;
            }
            markers::CAP | markers::PRF | markers::CPF => {
                reader.segment()?;
                high_throughput = true;
            }
            markers::RGN => return Err(CodecError::Unsupported("a region of interest")),
            markers::POC => return Err(CodecError::Unsupported("changes of the progression order")),
            markers::PPM => return Err(CodecError::Unsupported("packed packet headers")),
            markers::PLM => return Err(CodecError::Unsupported("packet lengths in the main header")),
            _ => return Err(CodecError::Damaged("its main header has a marker that does not belong there")),
        }
    };
    let Some(default_style) = default_style else {
        return Err(CodecError::Damaged("it has no coding style"));
    };
    if !has_quantization {
        return Err(CodecError::Damaged("it has no quantization"));
    }
    let style = own_style.unwrap_or(default_style);
    Ok(Header {
        precision: size.precision,
        signed: size.signed,
        tiles,
        packets: u64::from(layers) * precincts(&size, &style),
        high_throughput: high_throughput || style.high_throughput,
        reversible: style.reversible,
        component_transform,
        end,
    })
}

/// Reads SIZ (T.800 A.5.1).
fn read_size(segment: &[u8], extent: Extent) -> Result<Size, CodecError> {
    let mut reader = Reader::new(segment, 0);
    let capabilities = reader.u16()?;
    let image = [reader.u32()?, reader.u32()?];
    let image_offset = [reader.u32()?, reader.u32()?];
    let tile = [reader.u32()?, reader.u32()?];
    let tile_offset = [reader.u32()?, reader.u32()?];
    let components = reader.u16()?;
    if image_offset != [0, 0] || tile_offset != [0, 0] {
        return Err(CodecError::Unsupported("an image offset"));
    }
    let [columns, rows] = image;
    if (Extent { rows, columns }) != extent {
        return Err(CodecError::Extent { rows, columns });
    }
    if extent.pixels() == 0 || tile.contains(&0) {
        return Err(CodecError::Damaged("its image or its tiles are empty"));
    }
    if components != 1 {
        return Err(CodecError::Unsupported("color"));
    }
    let depth = reader.u8()?;
    let precision = (depth & 0x7f) + 1;
    if precision > 16 {
        return Err(CodecError::Unsupported("more than 16 bits"));
    }
    if [reader.u8()?, reader.u8()?] != [1, 1] {
        return Err(CodecError::Unsupported("subsampling"));
    }
    if !reader.rest().is_empty() {
        return Err(CodecError::Damaged("its size is not as long as it should be"));
    }
    // Bit 14 says Part 15, high-throughput coding (T.814 A.2).
    Ok(Size {
        precision,
        signed: depth & 0x80 != 0,
        image,
        tile,
        high_throughput: capabilities & 1 << 14 != 0,
    })
}

/// Reads COD (T.800 A.6.1): the number of layers, and the coding style.
fn read_default_style(segment: &[u8]) -> Result<(u16, CodingStyle), CodecError> {
    let mut reader = Reader::new(segment, 0);
    let flags = reader.u8()?;
    let progression = reader.u8()?;
    let layers = reader.u16()?;
    let _component_transform = reader.u8()?;
    if progression > 4 {
        return Err(CodecError::Damaged("its progression order is not in the standard"));
    }
    if layers == 0 {
        return Err(CodecError::Damaged("it has no layer"));
    }
    if layers > MOST_LAYERS {
        return Err(CodecError::Unsupported("more than 32 layers"));
    }
    Ok((layers, read_style(reader, flags)?))
}

/// Reads COC of the only component (T.800 A.6.2).
fn read_own_style(segment: &[u8]) -> Result<CodingStyle, CodecError> {
    let mut reader = Reader::new(segment, 0);
    if reader.u8()? != 0 {
        return Err(CodecError::Damaged("it has a coding style for a component that it does not have"));
    }
    let flags = reader.u8()?;
    read_style(reader, flags)
}

/// Reads the parameters that COD and COC share (T.800 Tables A.15 to A.21).
fn read_style(mut reader: Reader<'_>, flags: u8) -> Result<CodingStyle, CodecError> {
    let levels = reader.u8()?;
    let block = [reader.u8()?, reader.u8()?];
    let block_style = reader.u8()?;
    let wavelet = reader.u8()?;
    if levels > MOST_LEVELS {
        return Err(CodecError::Damaged("it has more than 32 decomposition levels"));
    }
    // Sides are 2^(2 + value): at most 1024 each, at most 4096 coefficients together.
    if block.iter().any(|&side| side > 8) || block[0] + block[1] > 8 {
        return Err(CodecError::Damaged("its code-blocks are too large"));
    }
    if wavelet > 1 {
        return Err(CodecError::Unsupported("other wavelets than 5/3 and 9/7"));
    }
    // 2^15 where none are given, which is as good as none.
    let mut precincts = [[15; 2]; MOST_LEVELS as usize + 1];
    if flags & 1 != 0 {
        for (level, precinct) in precincts.iter_mut().enumerate().take(usize::from(levels) + 1) {
            let sides = reader.u8()?;
            *precinct = [sides & 15, sides >> 4];
            // The three bands of a higher level have half of the side (T.800 B.7).
            if level > 0 && precinct.contains(&0) {
                return Err(CodecError::Damaged("its precincts are too small"));
            }
        }
    }
    if !reader.rest().is_empty() {
        return Err(CodecError::Damaged("its coding style is not as long as it should be"));
    }
    // Bits 6 and 7 are high-throughput coding (T.814 A.4).
    Ok(CodingStyle { levels, precincts, reversible: wavelet == 1, high_throughput: block_style & 0xc0 != 0 })
}

/// Precincts of all tiles and resolution levels together (T.800 B.5, B.6, equations B-14 and B-16).
///
/// Both axes are counted by themselves, since tiles and precincts form grids.
fn precincts(size: &Size, style: &CodingStyle) -> u64 {
    let along = |axis: usize, level: u8| {
        let (image, tile) = (u64::from(size.image[axis]), u64::from(size.tile[axis]));
        let (shift, side) = (style.levels - level, style.precincts[usize::from(level)][axis]);
        (0..image.div_ceil(tile))
            .map(|index| {
                let first = (index * tile).div_ceil(1 << shift);
                let last = image.min((index + 1) * tile).div_ceil(1 << shift);
                if last > first { last.div_ceil(1 << side) - (first >> side) } else { 0 }
            })
            .sum::<u64>()
    };
    (0..=style.levels)
        .map(|level| along(0, level).saturating_mul(along(1, level)))
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Notes the precinct of every pixel of every tile's every resolution level.
    fn reference_precincts(size: &Size, style: &CodingStyle) -> u64 {
        let mut found = BTreeSet::new();
        for (y, x) in (0..size.image[1]).flat_map(|y| (0..size.image[0]).map(move |x| (y, x))) {
            let tile = [x / size.tile[0], y / size.tile[1]];
            for level in 0..=style.levels {
                let step = 1u64 << (style.levels - level);
                // Only pixels that the decimation keeps are on the level (equation B-14).
                if u64::from(x) % step == 0 && u64::from(y) % step == 0 {
                    let [side_x, side_y] = style.precincts[usize::from(level)];
                    let precinct = [(u64::from(x) / step) >> side_x, (u64::from(y) / step) >> side_y];
                    found.insert((tile, level, precinct));
                }
            }
        }
        found.len() as u64
    }

    proptest! {
        #[test]
        fn counts_the_precincts_that_have_a_pixel(
            image in [1u32..40, 1u32..40],
            tile in [1u32..50, 1u32..50],
            levels in 0u8..8,
            sides in prop::collection::vec([1u8..6, 1u8..6], 8),
        ) {
            let mut precincts = [[15; 2]; MOST_LEVELS as usize + 1];
            precincts[..8].copy_from_slice(&sides);
            let size = Size { precision: 8, signed: false, image, tile, high_throughput: false };
            let style = CodingStyle { levels, precincts, reversible: true, high_throughput: false };
            prop_assert_eq!(super::precincts(&size, &style), reference_precincts(&size, &style));
        }
    }
}
