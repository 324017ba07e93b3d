//! Networks drawn at random, and the files that say them.

use crate::engine::drawn::{Drawn, Graph, Random, attributes, integer, window, without_dead_taps};
use crate::engine::fused::Window;
use crate::engine::fused::plan::{Block, Convolution, Head, Plan, Shortcut};
use crate::simd::{Floats, One};
use tract_onnx::pb::{AttributeProto, attribute_proto::AttributeType, tensor_proto::DataType};

/// How a file says a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// As the trainer does: dead taps left out, batch normalization folded.
    Trainer,
    /// As plain exporters of PyTorch do: kernels of three with padding, an average over maps of one place too.
    Plain,
    /// The same, with batch normalization behind convolutions without a bias, and sums the other way round.
    Normalized,
}

impl Drawn {
    /// Numbers whose maps neither grow nor vanish.
    pub fn draw_floats(&self, seed: u64, spelling: Spelling) -> Plan<Floats> {
        let mut random = Random::new(seed);
        let way = |stride: usize, maps: [usize; 2]| match spelling {
            Spelling::Trainer => without_dead_taps(stride, maps),
            _ => window(3, stride, 1, maps),
        };
        let width = self.widths[0];
        let mut stem = convolution(&mut random, self.views, width, window(7, 2, 3, [self.size; 2]));
        stem.weights.iter_mut().for_each(|weight| *weight /= 128.0);
        let pool = window(3, 2, 1, stem.window.output);
        let (mut maps, mut channels) = (pool.output, width);
        let mut blocks = Vec::new();
        for &width in self.widths {
            let halved = width != channels;
            let first = convolution(&mut random, channels, width, way(if halved { 2 } else { 1 }, maps));
            let second = convolution(&mut random, width, width, way(1, first.window.output));
            let shortcut = if halved {
                let shortcut = convolution(&mut random, channels, width, window(1, 2, 0, maps));
                Shortcut::Convolution(Box::new(shortcut))
            } else {
                Shortcut::Identity(vec![One; width])
            };
            (maps, channels) = (second.window.output, width);
            blocks.push(Block { first, second, shortcut });
        }
        let head = Head {
            weights: numbers(&mut random, self.outputs * channels, 1.0),
            bias: numbers(&mut random, self.outputs, 1.0),
            multipliers: vec![One; self.outputs],
            channels,
            places: maps[0] * maps[1],
        };
        Plan { input: [self.views, self.size, self.size], stem, pool, blocks, head }
    }
}

fn convolution(random: &mut Random, inputs: usize, outputs: usize, window: Window) -> Convolution<Floats> {
    let products = inputs * window.kernel[0] * window.kernel[1];
    Convolution {
        weights: numbers(random, outputs * products, (3.0 / products as f32).sqrt()),
        bias: numbers(random, outputs, 0.5),
        multipliers: vec![One; outputs],
        inputs,
        window,
    }
}

fn numbers(random: &mut Random, count: usize, largest: f32) -> Vec<f32> {
    (0..count).map(|_| random.between(-largest, largest)).collect()
}

/// The file that says a network.
pub fn written(network: &Plan<Floats>, spelling: Spelling) -> Graph {
    let head = &network.head;
    let mut file = Writer { graph: Graph::new(DataType::Float, network.input, head.bias.len()), spelling };
    let stem = file.convolution("stem", &network.stem, "x");
    let stem = file.graph.node("Relu", "stem_relu", &[&stem], vec![]);
    let mut maps = file.graph.node("MaxPool", "pool", &[&stem], attributes(network.pool));
    for (at, block) in network.blocks.iter().enumerate() {
        let hidden = file.convolution(&format!("block{at}_first"), &block.first, &maps);
        let hidden = file.graph.node("Relu", &format!("block{at}_hidden"), &[&hidden], vec![]);
        let second = file.convolution(&format!("block{at}_second"), &block.second, &hidden);
        if let Shortcut::Convolution(shortcut) = &block.shortcut {
            maps = file.convolution(&format!("block{at}_shortcut"), shortcut, &maps);
        }
        let mut halves = [second.as_str(), &maps];
        if spelling == Spelling::Normalized {
            halves.reverse();
        }
        let sum = file.graph.node("Add", &format!("block{at}_add"), &halves, vec![]);
        maps = file.graph.node("Relu", &format!("block{at}"), &[&sum], vec![]);
    }
    if head.places > 1 || spelling != Spelling::Trainer {
        maps = file.graph.node("GlobalAveragePool", "average", &[&maps], vec![]);
    }
    let features = file.graph.node("Flatten", "features", &[&maps], vec![integer("axis", 1)]);
    // A plan's weights are those of the mean, divided by the places: all of the shapes have a power of two.
    let weights: Vec<f32> = head.weights.iter().map(|weight| weight * head.places as f32).collect();
    file.tensor("head_weight", &[head.bias.len(), head.channels], &weights);
    file.tensor("head_bias", &[head.bias.len()], &head.bias);
    let inputs = [features.as_str(), "head_weight", "head_bias"];
    file.graph.node("Gemm", "logits", &inputs, vec![integer("transB", 1)]);
    file.graph
}

struct Writer {
    graph: Graph,
    spelling: Spelling,
}

impl Writer {
    fn convolution(&mut self, name: &str, conv: &Convolution<Floats>, maps: &str) -> String {
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{name}_{part}"));
        let [rows, columns] = conv.window.kernel;
        self.tensor(&weight, &[conv.outputs(), conv.inputs, rows, columns], &conv.weights);
        let way = attributes(conv.window);
        if self.spelling != Spelling::Normalized {
            self.tensor(&bias, &[conv.outputs()], &conv.bias);
            return self.graph.node("Conv", name, &[maps, &weight, &bias], way);
        }
        let conv_name = self.graph.node("Conv", &format!("{name}_conv"), &[maps, &weight], way);
        // Numbers that follow from the bias, none of them a neutral one.
        let of_bias = |number: fn(f32) -> f32| conv.bias.iter().copied().map(number).collect::<Vec<_>>();
        let [scale, offset, mean, variance] =
            ["scale", "offset", "mean", "variance"].map(|part| format!("{name}_{part}"));
        self.tensor(&scale, &[conv.outputs()], &of_bias(|bias| 1.0 + bias));
        self.tensor(&offset, &[conv.outputs()], &of_bias(|bias| 0.3 - bias));
        self.tensor(&mean, &[conv.outputs()], &of_bias(|bias| bias / 3.0));
        self.tensor(&variance, &[conv.outputs()], &of_bias(|bias| 0.7 + bias.abs()));
        let inputs = [conv_name.as_str(), &scale, &offset, &mean, &variance];
        let epsilon = AttributeProto {
            name: "epsilon".into(),
            r#type: AttributeType::Float as i32,
            f: 1e-5,
            ..Default::default()
        };
        self.graph.node("BatchNormalization", name, &inputs, vec![epsilon])
    }

    fn tensor(&mut self, name: &str, shape: &[usize], numbers: &[f32]) {
        let shape: Vec<i64> = shape.iter().map(|&extent| extent as i64).collect();
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.graph.tensor(name, &shape, DataType::Float, bytes);
    }
}
