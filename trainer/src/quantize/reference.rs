//! Runs the quantized network in integers: the definition of its result, docs/quantization.md (5),
//! (7) to (9). The engine's kernels and other runtimes are held against it.
//!
//! Products are added up by libtorch in f32, in blocks so short that no sum needs rounding: the
//! fastest exact integers within reach here, quick enough to score whole studies.

use super::network::{GRAY_SCALE, QuantConv, QuantNet, Shortcut, multipliers};
use super::scheme;
use crate::live_taps::{Axis, LiveTaps};
use crate::net::MAX_POOL;
use tch::Tensor;

/// Patches that go through the network together.
const TOGETHER: usize = 64;

/// f32 holds every integer up to here, so that sums within it are exact in any order.
const EXACT: usize = 1 << 24;

/// Largest level.
const LARGEST: usize = u8::MAX as usize;

/// Maps of some patches.
///
/// # Shape
/// `[patches, extent, extent, channels]`.
struct Maps {
    patches: usize,
    extent: usize,
    channels: usize,
    levels: Vec<u8>,
}

/// Where a convolution reads.
#[derive(Clone, Copy)]
struct Window {
    taps: usize,
    stride: usize,
    live: LiveTaps,
    inputs: usize,
}

/// Weights and biases: from a row of numbers to accumulators.
struct Products {
    depth: usize,
    /// Weights `[numbers, outputs]` of consecutive parts of a row, each short enough to be exact.
    blocks: Vec<Tensor>,
    bias: Vec<i32>,
}

/// What a block's second convolution adds up besides its own products.
enum Side {
    Nothing,
    /// The block's input, times one factor a channel.
    Identity(Vec<i32>),
    /// A convolution of the block's input: more products in the same accumulators.
    Convolution(Window),
}

/// A convolution with all that belongs to its accumulators.
struct Layer {
    window: Window,
    side: Side,
    products: Products,
    multipliers: Vec<f32>,
}

/// The quantized network, ready to run.
pub struct Reference {
    views: usize,
    size: usize,
    stem: Layer,
    /// First and second convolution of each block.
    blocks: Vec<(Layer, Layer)>,
    head: Products,
    head_multipliers: Vec<f32>,
}

impl Window {
    fn of(conv: &QuantConv) -> Window {
        let (taps, stride) = (conv.live.taps as usize, conv.stride as usize);
        Window { taps, stride, live: conv.live, inputs: conv.inputs }
    }

    /// Numbers that one output reads.
    fn depth(self) -> usize {
        self.taps * self.taps * self.inputs
    }

    fn outputs(self, extent: usize) -> usize {
        let LiveTaps { pad_before, pad_after, .. } = self.live;
        (extent + pad_before as usize + pad_after as usize - self.taps) / self.stride + 1
    }

    /// Writes what every output reads to `rows`, `offset` into each row; the padding is 0.
    fn gather(self, maps: &Maps, rows: &mut [f32], depth: usize, offset: usize) {
        let outputs = self.outputs(maps.extent);
        let pixel = |output: usize, tap: usize| {
            (output * self.stride + tap)
                .checked_sub(self.live.pad_before as usize)
                .filter(|&pixel| pixel < maps.extent)
        };
        for (index, row) in rows.chunks_exact_mut(depth).enumerate() {
            let (patch, place) = (index / (outputs * outputs), index % (outputs * outputs));
            let (y, x) = (place / outputs, place % outputs);
            let row = &mut row[offset..][..self.depth()];
            for (tap, row) in row.chunks_exact_mut(self.inputs).enumerate() {
                match pixel(y, tap / self.taps).zip(pixel(x, tap % self.taps)) {
                    Some((y, x)) => {
                        let start = ((patch * maps.extent + y) * maps.extent + x) * maps.channels;
                        let levels = &maps.levels[start..][..self.inputs];
                        row.iter_mut().zip(levels).for_each(|(number, &level)| *number = level.into());
                    }
                    None => row.fill(0.0),
                }
            }
        }
    }
}

/// Each output's weights in the order in which a row of its inputs is gathered.
fn by_row(conv: &QuantConv) -> Vec<Vec<f32>> {
    let taps = (conv.live.taps * conv.live.taps) as usize;
    let of_output = |weights: &[i8]| {
        let weight = |tap: usize, input: usize| f32::from(weights[input * taps + tap]);
        (0..taps).flat_map(|tap| (0..conv.inputs).map(move |input| weight(tap, input))).collect()
    };
    conv.weights.chunks(conv.inputs * taps).map(of_output).collect()
}

impl Products {
    /// `rows` are the weights of each output, for numbers up to `largest`.
    fn of(rows: &[Vec<f32>], bias: &[i32], largest: usize) -> Products {
        let depth = rows[0].len();
        let most = EXACT / (scheme::LARGEST_WEIGHT as usize * largest);
        let block = |start: usize| {
            let part: Vec<&[f32]> = rows.iter().map(|row| &row[start..depth.min(start + most)]).collect();
            Tensor::from_slice(&part.concat()).view([part.len() as i64, -1]).transpose(0, 1).contiguous()
        };
        Products { depth, blocks: (0..depth).step_by(most).map(block).collect(), bias: bias.to_vec() }
    }

    /// The accumulators of every row. None leaves i32: docs/quantization.md (10).
    ///
    /// # Shape
    /// `[rows, depth]` to `[rows, outputs]`.
    fn accumulate(&self, rows: &[f32]) -> Result<Vec<i32>, tch::TchError> {
        let rows = Tensor::from_slice(rows).view([-1, self.depth as i64]);
        let mut sums = self.bias.repeat(rows.size()[0] as usize);
        let mut start = 0;
        for weights in &self.blocks {
            let length = weights.size()[0];
            let part = rows.f_narrow(1, start, length)?.f_matmul(weights)?;
            let part = Vec::<f32>::try_from(part.contiguous().view([-1]))?;
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part as i32);
            start += length;
        }
        Ok(sums)
    }
}

impl Layer {
    fn of(conv: &QuantConv, input: f32, output: f32, shortcut: Option<&Shortcut>) -> Layer {
        let mut rows = by_row(conv);
        let side = match shortcut {
            None => Side::Nothing,
            Some(Shortcut::Identity(factors)) => Side::Identity(factors.clone()),
            Some(Shortcut::Convolution(side)) => {
                rows.iter_mut().zip(by_row(side)).for_each(|(row, more)| row.extend(more));
                Side::Convolution(Window::of(side))
            }
        };
        let products = Products::of(&rows, &conv.bias, LARGEST);
        Layer { window: Window::of(conv), side, products, multipliers: multipliers(conv, input, output) }
    }

    /// Runs it over `maps`; `input` is what the shortcut reads.
    fn run(&self, maps: &Maps, input: &Maps) -> Result<Maps, tch::TchError> {
        let (extent, channels) = (self.window.outputs(maps.extent), self.products.bias.len());
        let depth = self.products.depth;
        let mut rows = vec![0.0; maps.patches * extent * extent * depth];
        self.window.gather(maps, &mut rows, depth, 0);
        if let Side::Convolution(side) = self.side {
            side.gather(input, &mut rows, depth, self.window.depth());
        }
        let mut sums = self.products.accumulate(&rows)?;
        if let Side::Identity(factors) = &self.side {
            let levels = input.levels.chunks_exact(channels);
            for (sums, levels) in sums.chunks_exact_mut(channels).zip(levels) {
                for ((sum, &level), factor) in sums.iter_mut().zip(levels).zip(factors) {
                    *sum += i32::from(level) * factor;
                }
            }
        }
        let requantized = |sums: &[i32]| -> Vec<u8> {
            let pairs = sums.iter().zip(&self.multipliers);
            pairs.map(|(&sum, &multiplier)| scheme::requantize(sum, multiplier)).collect()
        };
        let levels = sums.chunks_exact(channels).flat_map(requantized).collect();
        Ok(Maps { patches: maps.patches, extent, channels, levels })
    }
}

/// The max-pool: the same scale before and after, and its padding never wins.
fn max_pool(maps: &Maps) -> Maps {
    let Axis { kernel, stride, padding } = MAX_POOL;
    let extent = MAX_POOL.outputs(maps.extent as i64) as usize;
    let reach = |output: usize| {
        let first = output as i64 * stride - padding;
        first.max(0) as usize..((first + kernel) as usize).min(maps.extent)
    };
    let mut levels = Vec::with_capacity(maps.patches * extent * extent * maps.channels);
    for patch in 0..maps.patches {
        for place in 0..extent * extent {
            let mut largest = vec![0; maps.channels];
            for y in reach(place / extent) {
                for x in reach(place % extent) {
                    let start = ((patch * maps.extent + y) * maps.extent + x) * maps.channels;
                    let read = &maps.levels[start..][..maps.channels];
                    largest.iter_mut().zip(read).for_each(|(most, &level)| *most = level.max(*most));
                }
            }
            levels.extend(largest);
        }
    }
    Maps { extent, levels, ..*maps }
}

impl Reference {
    /// Prepares `net` to be run.
    #[must_use]
    pub fn new(net: &QuantNet) -> Reference {
        let mut input = net.pooled;
        let block = |block: &super::network::QuantBlock| {
            let layers = (
                Layer::of(&block.first, input, block.hidden, None),
                Layer::of(&block.second, block.hidden, block.output, Some(&block.shortcut)),
            );
            input = block.output;
            layers
        };
        let blocks = net.blocks.iter().map(block).collect();
        let channels = net.head_weights.len() / net.head_bias.len();
        let head: Vec<Vec<f32>> = net
            .head_weights
            .chunks(channels)
            .map(|weights| weights.iter().map(|&weight| weight.into()).collect())
            .collect();
        let places = (net.last_extent * net.last_extent) as usize;
        Reference {
            views: net.shape.views as usize,
            size: net.shape.size as usize,
            stem: Layer::of(&net.stem, GRAY_SCALE, net.pooled, None),
            blocks,
            head: Products::of(&head, &net.head_bias, LARGEST * places),
            head_multipliers: net.head_multipliers(),
        }
    }

    /// Logits of patches of gray levels.
    ///
    /// # Shape
    /// `gray` is `[patches, views, size, size]`, the result `[patches, classes]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn logits(&self, gray: &[u8]) -> Result<Vec<f32>, tch::TchError> {
        let bytes = self.views * self.size * self.size;
        let together: Result<Vec<Vec<f32>>, _> =
            gray.chunks(TOGETHER * bytes).map(|gray| self.run(gray)).collect();
        Ok(together?.concat())
    }

    fn run(&self, gray: &[u8]) -> Result<Vec<f32>, tch::TchError> {
        let mut maps = max_pool(&self.stem.run(&self.nhwc(gray), &Maps::none())?);
        for (first, second) in &self.blocks {
            let hidden = first.run(&maps, &Maps::none())?;
            maps = second.run(&hidden, &maps)?;
        }
        // The sum over places; the mean's division is in the head's multiplier.
        let channels = maps.channels;
        let per_patch = maps.extent * maps.extent * channels;
        let mut features = vec![0.0; maps.patches * channels];
        for (features, levels) in features.chunks_exact_mut(channels).zip(maps.levels.chunks(per_patch)) {
            for place in levels.chunks_exact(channels) {
                features.iter_mut().zip(place).for_each(|(sum, &level)| *sum += f32::from(level));
            }
        }
        let sums = self.head.accumulate(&features)?;
        let classes = self.head_multipliers.iter().cycle();
        Ok(sums.iter().zip(classes).map(|(&sum, multiplier)| sum as f32 * multiplier).collect())
    }

    fn nhwc(&self, gray: &[u8]) -> Maps {
        let (views, pixels) = (self.views, self.size * self.size);
        let of_patch = |patch: &[u8]| -> Vec<u8> {
            (0..pixels * views).map(|index| patch[index % views * pixels + index / views]).collect()
        };
        let levels: Vec<u8> = gray.chunks_exact(views * pixels).flat_map(of_patch).collect();
        Maps { patches: levels.len() / (views * pixels), extent: self.size, channels: views, levels }
    }
}

impl Maps {
    /// Where nothing is read.
    fn none() -> Maps {
        Maps { patches: 0, extent: 0, channels: 0, levels: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// One convolution, and what it runs on.
    struct ConvProblem {
        conv: QuantConv,
        maps: Maps,
    }

    impl ConvProblem {
        /// `level` and `weight` draw the numbers: at random, or at an extreme.
        fn new(
            (extent, inputs, outputs): (usize, usize, usize),
            axis: Axis,
            mut level: impl FnMut() -> u8,
            mut weight: impl FnMut() -> i8,
        ) -> ConvProblem {
            let live = axis.live_taps(extent as i64);
            let count = outputs * inputs * (live.taps * live.taps) as usize;
            let patches = 3;
            ConvProblem {
                conv: QuantConv {
                    name: "conv".into(),
                    weights: (0..count).map(|_| weight()).collect(),
                    scales: vec![1.0; outputs],
                    bias: (0..outputs as i32).map(|output| output - 2).collect(),
                    inputs,
                    stride: axis.stride,
                    live,
                },
                maps: Maps {
                    patches,
                    extent,
                    channels: inputs,
                    levels: (0..patches * extent * extent * inputs).map(|_| level()).collect(),
                },
            }
        }

        /// Sums in i64, straight from the definition of a padded convolution.
        fn reference(&self) -> Vec<i64> {
            let Maps { patches, extent, channels, levels } = &self.maps;
            let (conv, taps) = (&self.conv, self.conv.live.taps as usize);
            let outputs = Window::of(conv).outputs(*extent);
            let mut sums = Vec::new();
            for patch in 0..*patches {
                for place in 0..outputs * outputs {
                    for output in 0..conv.scales.len() {
                        let mut sum = i64::from(conv.bias[output]);
                        for tap in 0..taps * taps {
                            let at = |place: usize, tap: usize| {
                                (place as i64) * conv.stride + tap as i64 - conv.live.pad_before
                            };
                            let (y, x) = (at(place / outputs, tap / taps), at(place % outputs, tap % taps));
                            let inside = 0..*extent as i64;
                            if !inside.contains(&y) || !inside.contains(&x) {
                                continue;
                            }
                            for input in 0..*channels {
                                let pixel = (patch * extent + y as usize) * extent + x as usize;
                                let level = i64::from(levels[pixel * channels + input]);
                                let weight = conv.weights[(output * channels + input) * taps * taps + tap];
                                sum += level * i64::from(weight);
                            }
                        }
                        sums.push(sum);
                    }
                }
            }
            sums
        }

        fn run(&self) -> Vec<i64> {
            let window = Window::of(&self.conv);
            let products = Products::of(&by_row(&self.conv), &self.conv.bias, LARGEST);
            let outputs = window.outputs(self.maps.extent);
            let mut rows = vec![0.0; self.maps.patches * outputs * outputs * products.depth];
            window.gather(&self.maps, &mut rows, products.depth, 0);
            products.accumulate(&rows).unwrap().into_iter().map(i64::from).collect()
        }
    }

    const SEVEN: Axis = Axis { kernel: 7, stride: 2, padding: 3 };
    const THREE: Axis = Axis { kernel: 3, stride: 1, padding: 1 };
    const HALVING: Axis = Axis { kernel: 3, stride: 2, padding: 1 };
    const ONE: Axis = Axis { kernel: 1, stride: 2, padding: 0 };

    #[test]
    fn accumulators_are_sums_of_products() {
        let mut random = Random::new(31);
        for axis in [SEVEN, THREE, HALVING, ONE] {
            for extent in [1, 2, 3, 4, 8] {
                let (mut levels, mut weights) = (random.fork(1), random.fork(2));
                random.bits();
                let problem = ConvProblem::new(
                    (extent, 5, 6),
                    axis,
                    || levels.below(256) as u8,
                    || (weights.below(255) as i16 - 127) as i8,
                );
                assert_eq!(problem.run(), problem.reference(), "{axis:?} on {extent}");
            }
        }
    }

    #[test]
    fn the_largest_sums_of_the_deepest_layer_fit() {
        for weight in [-127, 127] {
            let problem = ConvProblem::new((3, 512, 4), THREE, || 255, || weight);
            let expected = problem.reference();
            assert_eq!(problem.run(), expected);
            assert!(expected.iter().any(|sum| sum.abs() > 149_000_000));
        }
    }

    #[test]
    fn the_max_pool_is_the_largest_of_its_window() {
        let mut random = Random::new(33);
        let levels = (0..2 * 5 * 5 * 3).map(|_| random.below(256) as u8).collect();
        let maps = Maps { patches: 2, extent: 5, channels: 3, levels };
        let pooled = max_pool(&maps);
        assert_eq!((pooled.extent, pooled.levels.len()), (3, 2 * 9 * 3));
        let at = |y: usize, x: usize| maps.levels[((5 + y) * 5 + x) * 3 + 1];
        let expected = (1..4).flat_map(|y| (1..4).map(move |x| (y, x))).map(|(y, x)| at(y, x)).max();
        // The second patch's middle output, channel 1.
        assert_eq!(Some(pooled.levels[((3 + 1) * 3 + 1) * 3 + 1]), expected);
    }
}
