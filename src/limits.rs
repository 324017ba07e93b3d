//! Bounds that every reader of foreign bytes is handed.
//! What happens at a bound is the reader's affair; how large the bounds are is the caller's.

/// The most that one call may read, hold or look at.
///
/// The defaults admit every head CT that a scanner writes with a wide margin, and keep a hostile file from
/// taking the machine's memory. Fuzz targets and small devices set them smaller.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one file or ZIP archive. A 1,000-slice study in one archive has about 0.5 GiB.
    pub file_bytes: u64,
    /// Data elements and items of one file. An enhanced CT of 1,000 frames has about 60,000.
    pub elements: u32,
    /// Nested sequences of undefined length. Structured reports, the deepest objects in use, stay below 20.
    pub depth: u16,
    /// Fragments of encapsulated pixel data.
    pub fragments: u32,
    /// Bytes of one element value other than pixel data. Such values are skipped, never copied.
    pub header_bytes: u64,
    /// Bytes of one element value that is parsed. The values read here are UIDs, numbers and short texts, of which
    /// the standard allows 64 bytes a value.
    pub parsed_bytes: u32,
    /// Rows of one slice. CT scanners write 512, 768, 1024; enlarged reconstructions 2048.
    pub rows: u32,
    /// Columns of one slice.
    pub columns: u32,
    /// Frames of one file.
    pub frames: u32,
    /// Pixels of one compressed frame: its decoder holds some 12 bytes for each.
    pub coded_pixels: u32,
    /// Bytes of one deflated data set or ZIP member after inflating it: they are held in memory.
    pub inflated_bytes: u64,
    /// Bytes of all members of one ZIP archive after inflating them: they take time.
    pub archive_inflated_bytes: u64,
    /// Files, folders and ZIP members looked at in one call.
    pub entries: u32,
    /// Folders below a given folder.
    pub folder_depth: u16,
    /// Slices of one series. Only their headers are held.
    pub slices: u32,
    /// Bytes of the headers of all series together. A header has about 1 KiB.
    pub held_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            file_bytes: 2 << 30,
            elements: 1_000_000,
            depth: 64,
            fragments: 65_536,
            header_bytes: 16 << 20,
            parsed_bytes: 1 << 10,
            rows: 4096,
            columns: 4096,
            frames: 4096,
            coded_pixels: 4 << 20,
            inflated_bytes: 64 << 20,
            archive_inflated_bytes: 4 << 30,
            entries: 100_000,
            folder_depth: 32,
            slices: 5_000,
            held_bytes: 256 << 20,
        }
    }
}
