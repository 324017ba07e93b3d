//! A slice at full, half and quarter size, averaged once, with room around it for the wide views.

use super::PatchSize;
use ndarray::ArrayView2;

/// Zeros around each level: a view at scale 4 of a 32-pixel patch reaches 12 quarter-size pixels beyond the slice.
const MARGIN: usize = 16;
/// The largest patch: levels are as large as whole patches of this side, so that edge patches need no test.
const LARGEST_PATCH: usize = 32;

/// One slice at scales 1, 2 and 4.
///
/// Each level is the rounded average of 2x2 pixels of the level before it, in integers.
pub struct Pyramid {
    rows: usize,
    columns: usize,
    levels: [Level; 3],
}

struct Level {
    /// Bytes from one row to the next.
    stride: usize,
    levels: Vec<u8>,
}

impl Level {
    fn zeros(rows: usize, columns: usize) -> Self {
        let stride = columns + 2 * MARGIN;
        Self { stride, levels: vec![0; (rows + 2 * MARGIN) * stride] }
    }

    fn rows_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.levels.chunks_exact_mut(self.stride).skip(MARGIN).map(|row| &mut row[MARGIN..])
    }

    fn halve_into(&self, half: &mut Level) {
        let mut rows = self.levels.chunks_exact(self.stride).skip(MARGIN).map(|row| &row[MARGIN..]);
        let width = (self.stride - 2 * MARGIN) / 2;
        let height = half.levels.len() / half.stride - 2 * MARGIN;
        for out in half.rows_mut().take(height) {
            let (Some(upper), Some(lower)) = (rows.next(), rows.next()) else { return };
            let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
            for (out, (upper, lower)) in out[..width].iter_mut().zip(pairs) {
                let sum =
                    u16::from(upper[0]) + u16::from(upper[1]) + u16::from(lower[0]) + u16::from(lower[1]);
                *out = ((sum + 2) >> 2) as u8;
            }
        }
    }
}

impl Pyramid {
    /// The pyramid of a slice.
    ///
    /// # Shape
    /// `[rows, columns]`, any size.
    pub fn of<'a>(gray: impl Into<ArrayView2<'a, u8>>) -> Self {
        let gray = gray.into();
        let mut pyramid = Self::empty(gray.nrows(), gray.ncols());
        pyramid.fill(gray);
        pyramid
    }

    /// A pyramid of zeros, to be filled slice after slice.
    pub fn empty(rows: usize, columns: usize) -> Self {
        let (high, wide) = (rows.next_multiple_of(LARGEST_PATCH), columns.next_multiple_of(LARGEST_PATCH));
        let levels = [1, 2, 4].map(|scale| Level::zeros(high / scale, wide / scale));
        Self { rows, columns, levels }
    }

    /// Replaces the slice.
    ///
    /// # Panics
    /// When `gray` has another size than the pyramid.
    pub fn fill<'a>(&mut self, gray: impl Into<ArrayView2<'a, u8>>) {
        let gray = gray.into();
        assert_eq!(gray.dim(), (self.rows, self.columns), "a pyramid serves slices of one size");
        let [full, half, quarter] = &mut self.levels;
        for (row, gray) in full.rows_mut().zip(gray.rows()) {
            // Planes are in standard layout, so a row is a slice.
            row[..gray.len()].copy_from_slice(gray.to_slice().expect("planes are in standard layout"));
        }
        full.halve_into(half);
        half.halve_into(quarter);
    }

    /// Rows of the slice.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the slice.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Whether any pixel of the slice under the patch at `row`, `column` of the grid is brighter than 0.
    pub(super) fn shows(&self, size: PatchSize, row: usize, column: usize) -> bool {
        let size = size.pixels();
        let level = &self.levels[0];
        let (top, left) = (MARGIN + row * size, MARGIN + column * size);
        let mut rows = level.levels[top * level.stride..].chunks(level.stride).take(size);
        rows.any(|row| row[left..left + size].iter().any(|&gray| gray > 0))
    }

    /// Cuts one view of the patch at `row`, `column` of the grid.
    ///
    /// # Shape
    /// `out` is `[size, size]`.
    pub(super) fn cut(&self, scale: usize, size: PatchSize, row: usize, column: usize, out: &mut [u8]) {
        let size = size.pixels();
        // Scale 1, 2, 4 is level 0, 1, 2. A patch begins at `row * size / scale` there, and the wider
        // square `(scale - 1) size / 2` slice pixels before it.
        let level = &self.levels[scale.ilog2() as usize];
        let before = (scale - 1) * size / (2 * scale);
        let top = MARGIN + row * size / scale - before;
        let left = MARGIN + column * size / scale - before;
        let rows = level.levels[top * level.stride..].chunks(level.stride);
        for (out, row) in out.chunks_exact_mut(size).zip(rows) {
            out.copy_from_slice(&row[left..left + size]);
        }
    }
}
