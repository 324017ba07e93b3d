//! A batch's gray levels, laid out for the first convolution.

use super::window::Window;

/// Levels of the largest group.
const GROUP: usize = 4;

/// Gray levels as the stem reads them: `[rows][columns][views]`, with the padding beside each row, so that a row of
/// the kernel lies in consecutive levels. Padding above and below is never read, so there is none.
#[derive(Clone, Copy, Debug)]
pub struct GrayRows {
    views: usize,
    rows: usize,
    columns: usize,
    /// Padding before a row, in pixels.
    before: usize,
    /// Pixels of a row with its padding.
    padded: usize,
}

impl GrayRows {
    /// What a stem's window asks for.
    pub fn new(window: Window, views: usize) -> GrayRows {
        let [rows, columns] = window.input;
        let before = window.before[1];
        let reach = (window.output[1] - 1) * window.stride[1] + window.kernel[1];
        GrayRows { views, rows, columns, before, padded: reach.max(before + columns) }
    }

    /// Levels of a patch: behind the last row there is room for the rest of a group.
    pub fn stride(self) -> usize {
        (self.rows * self.padded * self.views + GROUP - 1).next_multiple_of(GROUP)
    }

    /// Where a padded row's pixel begins.
    pub fn offset(self, row: usize, column: usize) -> usize {
        (row * self.padded + column) * self.views
    }

    /// Lays out patches `[n][views][rows][columns]`; the padding in `gray` must be 0 and stays so.
    pub fn fill<L: Copy + From<u8>>(self, patches: &[u8], gray: &mut [L]) {
        // Known to the compiler, the number of views is twice as fast; these are those that models have.
        match self.views {
            1 => self.interleave::<1, L>(patches, gray),
            3 => self.interleave::<3, L>(patches, gray),
            5 => self.interleave::<5, L>(patches, gray),
            _ => self.interleave_any(patches, gray),
        }
    }

    fn interleave<const VIEWS: usize, L: Copy + From<u8>>(self, patches: &[u8], gray: &mut [L]) {
        let (columns, plane) = (self.columns, self.rows * self.columns);
        let patches = patches.chunks_exact(VIEWS * plane);
        for (patch, gray) in patches.zip(gray.chunks_exact_mut(self.stride())) {
            for row in 0..self.rows {
                let views: [&[u8]; VIEWS] =
                    std::array::from_fn(|view| &patch[view * plane + row * columns..][..columns]);
                let pixels = &mut gray[self.offset(row, self.before)..][..columns * VIEWS];
                for (column, pixel) in pixels.as_chunks_mut::<VIEWS>().0.iter_mut().enumerate() {
                    *pixel = views.map(|levels| levels[column].into());
                }
            }
        }
    }

    fn interleave_any<L: From<u8>>(self, patches: &[u8], gray: &mut [L]) {
        let GrayRows { views, rows, columns, before, .. } = self;
        let patches = patches.chunks_exact(views * rows * columns);
        for (patch, gray) in patches.zip(gray.chunks_exact_mut(self.stride())) {
            for (at, levels) in patch.chunks_exact(columns).enumerate() {
                let (view, row) = (at / rows, at % rows);
                let pixels = &mut gray[self.offset(row, before)..][..columns * views];
                for (pixel, &level) in pixels.chunks_exact_mut(views).zip(levels) {
                    pixel[view] = level.into();
                }
            }
        }
    }
}
