//! The encoders that the decoders' tests are written with: naive, and with nothing of the decoders in them.

#![allow(dead_code, missing_docs)]

use hemapatch::codec::Extent;

#[path = "../../src/codec/jpeg/encoder.rs"]
pub mod jpeg;

#[path = "../../src/codec/jpegls/tests/encoder.rs"]
mod jpegls_encoder;

/// A JPEG-LS codestream of a frame without losses.
pub fn jpegls(rows: usize, columns: usize, precision: u8, values: &[u16]) -> Vec<u8> {
    jpegls_encoder::Problem::plain(rows, columns, precision, values.to_vec()).encode().0
}

/// A JPEG-LS codestream that loses up to `near`, with restart markers behind every `restart_lines`.
pub fn jpegls_near(
    rows: usize,
    columns: usize,
    precision: u8,
    values: &[u16],
    near: i64,
    restart_lines: usize,
) -> Vec<u8> {
    let plain = jpegls_encoder::Problem::plain(rows, columns, precision, values.to_vec());
    jpegls_encoder::Problem { near, restart_lines, ..plain }.encode().0
}

/// A lossless JPEG codestream.
pub fn jpeg_lossless(columns: usize, precision: u8, predictor: u8, values: &[u16]) -> Vec<u8> {
    let shape = if predictor.is_multiple_of(2) { jpeg::Shape::Steep } else { jpeg::Shape::Flat };
    let values = values.to_vec();
    let rows_of_interval = usize::from(predictor / 4);
    let samples =
        jpeg::Samples { columns, precision, predictor, point_transform: 0, rows_of_interval, shape, values };
    jpeg::lossless(&samples)
}

/// A block of one level: `level` above the middle of the precision's range.
pub fn flat_block(rows: usize, columns: usize, precision: u8, level: i16) -> jpeg::Blocks {
    let mut coefficients = [0; 64];
    coefficients[0] = level;
    let blocks = rows.div_ceil(8) * columns.div_ceil(8);
    jpeg::Blocks {
        rows,
        columns,
        precision,
        quantization: [8; 64],
        coefficients: vec![coefficients; blocks],
        interval: 0,
        shape: jpeg::Shape::Flat,
    }
}

/// DICOM's run lengths: each segment a row of repeats and copies.
pub fn rle(values: &[u16], cell_bytes: usize) -> Vec<u8> {
    let planes: Vec<Vec<u8>> = (0..cell_bytes)
        .rev()
        .map(|byte| packed(&values.iter().map(|value| value.to_le_bytes()[byte]).collect::<Vec<_>>()))
        .collect();
    let mut header = vec![cell_bytes as u32];
    let mut at = 64;
    for plane in &planes {
        header.push(at);
        at += plane.len() as u32;
    }
    header.resize(16, 0);
    let header: Vec<u8> = header.iter().flat_map(|number| number.to_le_bytes()).collect();
    [header, planes.concat()].concat()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        for part in run.chunks(128) {
            match part {
                [byte] => packed.extend([0, *byte]),
                [byte, ..] => packed.extend([(257 - part.len()) as u8, *byte]),
                [] => {}
            }
        }
    }
    if packed.len() % 2 == 1 {
        packed.push(0x80);
    }
    packed
}

/// A deflated stream.
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}
