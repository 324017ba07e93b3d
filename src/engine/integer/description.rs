//! What a network file says: integers, scales and shapes. How they are multiplied is left to `network`.

/// A network of the form that `docs/quantization.md` defines.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Description {
    /// `[views, rows, columns]` of a patch.
    pub input: [usize; 3],
    /// The first convolution.
    pub stem: Convolution,
    /// Scale of the stem's maps, before and after the pool.
    pub stem_scale: f32,
    /// The max-pool behind it.
    pub pool: Window,
    /// The residual blocks, in order.
    pub blocks: Vec<Block>,
    /// What makes logits of the last maps.
    pub head: Head,
}

/// A convolution's integers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Convolution {
    /// What the file calls it.
    pub name: String,
    /// `[outputs, inputs, kernel rows, kernel columns]`.
    pub weights: Vec<i8>,
    /// Scale of each output channel's weights.
    pub scales: Vec<f32>,
    /// In steps of the accumulator.
    pub bias: Vec<i32>,
    /// The steps of each output channel's accumulator, as the file gives them for the bias.
    pub bias_steps: Vec<f32>,
    /// Input channels.
    pub inputs: usize,
    /// Scale of the maps that it reads.
    pub input_scale: f32,
    /// How its kernel moves over them.
    pub window: Window,
}

impl Convolution {
    /// Output channels.
    pub fn outputs(&self) -> usize {
        self.scales.len()
    }

    /// The weight of an output and an input channel at a tap.
    pub fn weight(&self, output: usize, input: usize, tap: [usize; 2]) -> i8 {
        let [rows, columns] = self.window.kernel;
        self.weights[((output * self.inputs + input) * rows + tap[0]) * columns + tap[1]]
    }
}

/// A residual block's integers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    /// First convolution.
    pub first: Convolution,
    /// Second convolution, on the first one's maps.
    pub second: Convolution,
    /// What is added in the second convolution's accumulator.
    pub shortcut: Shortcut,
    /// Scale of the block's output.
    pub output_scale: f32,
}

/// What is added in the accumulator of a block's second convolution.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shortcut {
    /// The block's input.
    Identity,
    /// A convolution of the block's input.
    Convolution(Box<Convolution>),
}

/// The fully connected layer on the mean over the last maps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Head {
    /// `[outputs, channels]`.
    pub weights: Vec<i8>,
    /// Scale of each output's weights.
    pub scales: Vec<f32>,
    /// In steps of the accumulator.
    pub bias: Vec<i32>,
    /// The steps of each output's accumulator, as the file gives them for the bias.
    pub bias_steps: Vec<f32>,
    /// Channels of the last maps.
    pub channels: usize,
    /// Rows times columns of the last maps.
    pub places: usize,
    /// Scale of the last maps.
    pub input_scale: f32,
}

/// A kernel's way over maps; rows and columns in each field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
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
