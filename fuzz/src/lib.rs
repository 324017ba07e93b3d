//! The fuzz targets, and what they share. docs/fuzzing.md says how they are run.

pub mod choices;
pub mod connection;
pub mod conversation;
pub mod encoders;
pub mod objects;
pub mod seeds;
pub mod targets;
pub mod writer;

use hemapatch::limits::Limits;

/// Bounds so small that the fuzzer meets all of them.
pub fn limits() -> Limits {
    Limits {
        file_bytes: 1 << 20,
        elements: 2000,
        depth: 8,
        fragments: 12,
        header_bytes: 4096,
        parsed_bytes: 256,
        rows: 64,
        columns: 64,
        frames: 8,
        coded_pixels: 2048,
        inflated_bytes: 64 << 10,
        archive_inflated_bytes: 128 << 10,
        entries: 40,
        folder_depth: 4,
        slices: 12,
        held_bytes: 16 << 10,
    }
}
