//! How a kernel moves over maps, and which of its taps meet a pixel.

/// A kernel's way over maps; rows and columns in each field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Padding before the first row and column.
    pub before: [usize; 2],
    /// Extents of the maps that it reads.
    pub input: [usize; 2],
    /// Extents of the maps that it makes.
    pub output: [usize; 2],
}

impl Window {
    /// The places of the output, row by row.
    pub fn places(self) -> impl Iterator<Item = [usize; 2]> {
        let [rows, columns] = self.output;
        (0..rows).flat_map(move |row| (0..columns).map(move |column| [row, column]))
    }

    /// The kernel's rows, with the map's row that each meets, for a row of the output. Those that meet padding are
    /// left out: they are dead taps, which only ever multiply zeros.
    pub fn live_rows(self, output: usize) -> impl Iterator<Item = (usize, usize)> {
        self.live(0, output)
    }

    /// The same for columns.
    pub fn live_columns(self, output: usize) -> impl Iterator<Item = (usize, usize)> {
        self.live(1, output)
    }

    fn live(self, axis: usize, output: usize) -> impl Iterator<Item = (usize, usize)> {
        let first = output * self.stride[axis];
        (0..self.kernel[axis]).filter_map(move |tap| {
            let at = (first + tap).checked_sub(self.before[axis])?;
            (at < self.input[axis]).then_some((tap, at))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_of_three_on_a_map_of_two_has_four_live_taps_at_each_place() {
        let window = Window { kernel: [3; 2], stride: [1; 2], before: [1; 2], input: [2; 2], output: [2; 2] };
        assert_eq!(window.places().collect::<Vec<_>>(), [[0, 0], [0, 1], [1, 0], [1, 1]]);
        assert_eq!(window.live_rows(0).collect::<Vec<_>>(), [(1, 0), (2, 1)]);
        assert_eq!(window.live_columns(1).collect::<Vec<_>>(), [(0, 0), (1, 1)]);
    }

    #[test]
    fn a_stride_skips_and_padding_after_is_dead() {
        let window = Window { kernel: [3; 2], stride: [2; 2], before: [1; 2], input: [3; 2], output: [2; 2] };
        assert_eq!(window.live_rows(0).collect::<Vec<_>>(), [(1, 0), (2, 1)]);
        assert_eq!(window.live_rows(1).collect::<Vec<_>>(), [(0, 1), (1, 2)]);
    }
}
