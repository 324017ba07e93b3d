//! The network as loops over all taps in f64, padding and all.

use crate::engine::fused::Window;
use crate::engine::fused::plan::{Convolution, Plan, Shortcut};
use crate::simd::Floats;

/// Numbers of one patch, `[channels][rows][columns]`.
struct Maps {
    numbers: Vec<f64>,
    extents: [usize; 2],
}

impl Maps {
    /// 0 in the padding.
    fn at(&self, channel: usize, row: isize, column: isize) -> f64 {
        let inside = |at: isize, extent: usize| usize::try_from(at).ok().filter(|&at| at < extent);
        match (inside(row, self.extents[0]), inside(column, self.extents[1])) {
            (Some(row), Some(column)) => {
                self.numbers[(channel * self.extents[0] + row) * self.extents[1] + column]
            }
            _ => 0.0,
        }
    }
}

pub fn reference_logits(network: &Plan<Floats>, patches: &[u8]) -> Vec<f64> {
    let [views, rows, columns] = network.input;
    let logits = |patch: &[u8]| {
        let gray = Maps { numbers: patch.iter().copied().map(f64::from).collect(), extents: [rows, columns] };
        let stem = relu(sums(&network.stem, &gray));
        let mut maps = pooled(&stem, network.pool, network.stem.outputs());
        for block in &network.blocks {
            let hidden = relu(sums(&block.first, &maps));
            let mut sum = sums(&block.second, &hidden);
            let more = match &block.shortcut {
                Shortcut::Convolution(convolution) => sums(convolution, &maps),
                Shortcut::Identity(_) => maps,
            };
            sum.numbers.iter_mut().zip(more.numbers).for_each(|(sum, more)| *sum += more);
            maps = relu(sum);
        }
        let head = &network.head;
        let places: Vec<f64> = maps.numbers.chunks(head.places).map(|places| places.iter().sum()).collect();
        let weights = head.weights.chunks(head.channels);
        let logit = |(weights, &bias): (&[f32], &f32)| {
            let products = weights.iter().zip(&places).map(|(&weight, place)| f64::from(weight) * place);
            products.sum::<f64>() + f64::from(bias)
        };
        weights.zip(&head.bias).map(logit).collect::<Vec<_>>()
    };
    patches.chunks(views * rows * columns).flat_map(logits).collect()
}

fn relu(mut maps: Maps) -> Maps {
    maps.numbers.iter_mut().for_each(|number| *number = number.max(0.0));
    maps
}

fn sums(conv: &Convolution<Floats>, maps: &Maps) -> Maps {
    let Window { kernel, .. } = conv.window;
    let mut numbers = Vec::new();
    for output in 0..conv.outputs() {
        for place in conv.window.places() {
            let mut sum = f64::from(conv.bias[output]);
            for input in 0..conv.inputs {
                for [row, column] in taps(kernel) {
                    let [y, x] = met(conv.window, place, [row, column]);
                    sum += f64::from(conv.weight(output, input, [row, column])) * maps.at(input, y, x);
                }
            }
            numbers.push(sum);
        }
    }
    Maps { numbers, extents: conv.window.output }
}

fn pooled(maps: &Maps, window: Window, channels: usize) -> Maps {
    let mut numbers = Vec::new();
    for channel in 0..channels {
        for place in window.places() {
            let met = taps(window.kernel).map(|tap| met(window, place, tap));
            numbers.push(met.map(|[y, x]| maps.at(channel, y, x)).fold(0.0, f64::max));
        }
    }
    Maps { numbers, extents: window.output }
}

fn taps([rows, columns]: [usize; 2]) -> impl Iterator<Item = [usize; 2]> {
    (0..rows).flat_map(move |row| (0..columns).map(move |column| [row, column]))
}

/// Where a tap stands at a place of the output, in the padding too.
fn met(window: Window, place: [usize; 2], tap: [usize; 2]) -> [isize; 2] {
    [0, 1].map(|axis| (place[axis] * window.stride[axis] + tap[axis]) as isize - window.before[axis] as isize)
}
