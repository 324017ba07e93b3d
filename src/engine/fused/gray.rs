//! A batch's gray levels, laid out for the first convolution.

use super::window::Window;

/// Levels of the largest group.
const GROUP: usize = 4;

/// Gray levels as the stem reads them: `[strips][rows][columns][views]`, so that a row of the kernel lies in consecutive
/// levels.
///
/// Where such a row is shorter than what is multiplied at once, there is a strip for each column of the output, as wide
/// as the kernel: all its rows lie in consecutive levels, one behind the other. Padding is all round. Elsewhere there is
/// one strip with all columns, which is laid out faster; padding above and below is never read, so there is none.
#[derive(Clone, Copy, Debug)]
pub struct GrayRows {
    window: Window,
    views: usize,
    at_once: usize,
    /// Whether there is a strip for each column of the output, so that the kernel's rows lie one behind the other.
    pub cut: bool,
    /// Rows of a strip.
    rows: usize,
    /// Those of them that are padding before a patch.
    above: usize,
    /// Columns of a patch with its padding.
    columns: usize,
}

impl GrayRows {
    /// What a stem's window asks for, if so many levels are multiplied at once.
    pub fn new(window: Window, views: usize, at_once: usize) -> GrayRows {
        let Window { kernel, stride, before, input, output } = window;
        let reach = |axis: usize| (output[axis] - 1) * stride[axis] + kernel[axis];
        let [rows, columns] = [0, 1].map(|axis| reach(axis).max(before[axis] + input[axis]));
        let cut = kernel[1] * views < at_once;
        let (rows, above) = if cut { (rows, before[0]) } else { (input[0], 0) };
        GrayRows { window, views, at_once, cut, rows, above, columns }
    }

    /// Levels of a patch: behind the last strip there is room for the rest of what is multiplied at once.
    pub fn stride(self) -> usize {
        let strips = if self.cut { self.window.output[1] } else { 1 };
        (strips * self.strip() + self.at_once - 1).next_multiple_of(GROUP)
    }

    /// Where a row of the kernel begins, at a place of the output. A row of padding has a place in strips alone.
    pub fn offset(self, [row, column]: [usize; 2], kernel_row: usize) -> usize {
        let Window { stride, before, .. } = self.window;
        let row = self.above + row * stride[0] + kernel_row - before[0];
        let column = column * if self.cut { self.strip() } else { stride[1] * self.views };
        row * self.width() + column
    }

    /// Levels of a strip's row.
    fn width(self) -> usize {
        self.views * if self.cut { self.window.kernel[1] } else { self.columns }
    }

    /// Levels of a strip.
    fn strip(self) -> usize {
        self.rows * self.width()
    }

    /// Lays out patches `[n][views][rows][columns]`; the padding in `gray` must be 0 and stays so.
    pub fn fill<L: Copy + Default + From<u8>>(self, patches: &[u8], gray: &mut [L]) {
        let (Window { kernel, input: [rows, columns], .. }, views) = (self.window, self.views);
        // Known to the compiler, the number of views is twice as fast; these are those that models have. So is the width
        // of their kernels.
        let interleave = match views {
            1 => GrayRows::interleave::<1, L>,
            3 => GrayRows::interleave::<3, L>,
            5 => GrayRows::interleave::<5, L>,
            _ => GrayRows::interleave_any,
        };
        let cut_up = match kernel[1] * views {
            7 => GrayRows::cut_up::<7, L>,
            21 => GrayRows::cut_up::<21, L>,
            35 => GrayRows::cut_up::<35, L>,
            _ => GrayRows::cut_up_any,
        };
        let mut uncut = vec![L::default(); if self.cut { rows * self.columns * views } else { 0 }];
        let patches = patches.chunks_exact(views * rows * columns);
        for (patch, gray) in patches.zip(gray.chunks_exact_mut(self.stride())) {
            if self.cut {
                // The whole patch first: what was just written a level at a time is slow to read several at a time.
                interleave(self, patch, &mut uncut);
                cut_up(self, &uncut, gray);
            } else {
                interleave(self, patch, gray);
            }
        }
    }

    /// Writes a patch's rows with all columns; the padding beside them stays.
    fn interleave<const VIEWS: usize, L: From<u8>>(self, patch: &[u8], uncut: &mut [L]) {
        let (before, [rows, columns]) = (self.window.before[1], self.window.input);
        let plane = rows * columns;
        for (row, uncut) in uncut.chunks_exact_mut(self.columns * VIEWS).take(rows).enumerate() {
            let views: [&[u8]; VIEWS] =
                std::array::from_fn(|view| &patch[view * plane + row * columns..][..columns]);
            let pixels = &mut uncut[before * VIEWS..][..columns * VIEWS];
            for (column, pixel) in pixels.as_chunks_mut::<VIEWS>().0.iter_mut().enumerate() {
                *pixel = views.map(|levels| levels[column].into());
            }
        }
    }

    fn interleave_any<L: From<u8>>(self, patch: &[u8], uncut: &mut [L]) {
        let (views, before, [rows, columns]) = (self.views, self.window.before[1], self.window.input);
        for (at, levels) in patch.chunks_exact(columns).enumerate() {
            let (view, row) = (at / rows, at % rows);
            let pixels = &mut uncut[(row * self.columns + before) * views..][..columns * views];
            for (pixel, &level) in pixels.chunks_exact_mut(views).zip(levels) {
                pixel[view] = level.into();
            }
        }
    }

    /// Copies into each strip what it has of a patch's rows.
    fn cut_up<const WIDTH: usize, L: Copy>(self, uncut: &[L], gray: &mut [L]) {
        let (row, step) = (self.columns * self.views, self.window.stride[1] * self.views);
        for (column, strip) in gray.chunks_exact_mut(self.strip()).take(self.window.output[1]).enumerate() {
            let strip = strip[self.above * WIDTH..].as_chunks_mut::<WIDTH>().0.iter_mut();
            for (strip, uncut) in strip.zip(uncut.chunks_exact(row)) {
                *strip = *uncut[column * step..].first_chunk().expect("no strip reaches beyond the padding");
            }
        }
    }

    fn cut_up_any<L: Copy>(self, uncut: &[L], gray: &mut [L]) {
        let (row, step) = (self.columns * self.views, self.window.stride[1] * self.views);
        let width = self.width();
        for (column, strip) in gray.chunks_exact_mut(self.strip()).take(self.window.output[1]).enumerate() {
            let strip = strip[self.above * width..].chunks_exact_mut(width);
            for (strip, uncut) in strip.zip(uncut.chunks_exact(row)) {
                strip.copy_from_slice(&uncut[column * step..][..width]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel meets at every place and tap, padding included where it is laid out.
    #[test]
    fn the_kernel_finds_its_levels_in_strips_and_in_rows() {
        for (size, [output_rows, output_columns], kernel, stride, before) in
            [(16, [8, 8], 7, 2, 3), (8, [4, 4], 7, 2, 3), (6, [2, 1], 5, 3, 1), (5, [5, 5], 3, 1, 1)]
        {
            let window = Window {
                kernel: [kernel; 2],
                stride: [stride; 2],
                before: [before; 2],
                input: [size; 2],
                output: [output_rows, output_columns],
            };
            for (views, at_once) in [(1, 1), (1, 64), (2, 4), (2, 64), (3, 64), (5, 4), (5, 64)] {
                let patches: Vec<u8> = (0..2 * views * size * size).map(|at| (at % 255 + 1) as u8).collect();
                let rows = GrayRows::new(window, views, at_once);
                assert_eq!(rows.cut, kernel * views < at_once);
                let mut gray = vec![0u8; 2 * rows.stride()];
                rows.fill(&patches, &mut gray);
                for (patch, gray) in patches.chunks(views * size * size).zip(gray.chunks(rows.stride())) {
                    for place in window.places() {
                        for tap in (0..kernel * kernel).map(|tap| [tap / kernel, tap % kernel]) {
                            let [row, column] =
                                [0, 1].map(|axis| (place[axis] * stride + tap[axis]).wrapping_sub(before));
                            let is_padding = row >= size || column >= size;
                            if row >= size && !rows.cut {
                                continue;
                            }
                            for view in 0..views {
                                let level = gray[rows.offset(place, tap[0]) + tap[1] * views + view];
                                let expected =
                                    if is_padding { 0 } else { patch[(view * size + row) * size + column] };
                                assert_eq!(
                                    level, expected,
                                    "{views} views, {at_once} at once, {place:?}, {tap:?}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
