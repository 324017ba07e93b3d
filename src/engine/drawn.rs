//! What the tests of both arithmetics draw their networks with, and write them into.

use super::fused::Window;
use super::fused::network::{Buffers, Network};
use crate::simd::Numbers;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto,
    attribute_proto::AttributeType,
    tensor_proto::DataType,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};

/// The same numbers on every machine: a linear congruential generator.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.below(1 << 20) as f32 / (1 << 20) as f32
    }
}

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    pub size: usize,
    pub views: usize,
    /// One block each; where the width changes, maps are halved and the shortcut is a convolution.
    pub widths: &'static [usize],
    pub outputs: usize,
}

/// Sizes, views, widths of the stages and outputs; a stage of another width than the one before halves its maps.
pub const SHAPES: [Drawn; 6] = [
    Drawn { size: 8, views: 1, widths: &[4, 4], outputs: 1 },
    Drawn { size: 16, views: 5, widths: &[8, 12, 16, 20], outputs: 4 },
    Drawn { size: 16, views: 2, widths: &[64, 68], outputs: 6 },
    Drawn { size: 32, views: 3, widths: &[12, 12, 24], outputs: 3 },
    Drawn { size: 32, views: 4, widths: &[4, 8, 16, 32, 36], outputs: 2 },
    // A row of the stem is longer than what any level multiplies at once.
    Drawn { size: 8, views: 10, widths: &[8], outputs: 2 },
];

pub fn patches(shape: &Drawn, count: usize) -> Vec<u8> {
    let mut random = Random::new(7);
    (0..count * shape.views * shape.size * shape.size).map(|_| random.below(256) as u8).collect()
}

/// A network with the memory that it needs.
pub struct Ready<'a, N: Numbers> {
    network: &'a Network<N>,
    levels: Vec<N::Level>,
    buffers: Buffers<N>,
}

impl<'a, N: Numbers> Ready<'a, N> {
    pub fn new(network: &'a Network<N>) -> Ready<'a, N> {
        let levels = vec![N::Level::default(); network.batch() * network.stride()];
        Ready { network, levels, buffers: network.buffers() }
    }

    /// Batch after batch.
    pub fn run(&mut self, patches: &[u8], count: usize) -> Vec<f32> {
        let (batch, outputs) = (self.network.batch_of(count), self.network.outputs());
        let length = patches.len() / count.max(1);
        let mut logits = vec![0.0; count * outputs];
        for (patches, logits) in patches.chunks(batch * length.max(1)).zip(logits.chunks_mut(batch * outputs))
        {
            self.network.lay_out(patches, &mut self.levels);
            self.network.run(&self.levels, logits, &mut self.buffers);
        }
        logits
    }
}

pub fn run<N: Numbers>(network: &Network<N>, patches: &[u8], count: usize) -> Vec<f32> {
    Ready::new(network).run(patches, count)
}

pub fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

pub fn window(kernel: usize, stride: usize, padding: usize, input: [usize; 2]) -> Window {
    let output = input.map(|extent| (extent + 2 * padding - kernel) / stride + 1);
    Window { kernel: [kernel; 2], stride: [stride; 2], before: [padding; 2], input, output }
}

/// A kernel of three with padding 1, without the rows and columns that are dead everywhere, as the trainer writes them.
pub fn without_dead_taps(stride: usize, input: [usize; 2]) -> Window {
    match (input, stride) {
        ([1, 1], _) => window(1, stride, 0, input),
        ([2, 2], 2) => window(2, 2, 0, input),
        _ => window(3, stride, 1, input),
    }
}

/// An ONNX file in the making, which a test may still alter.
pub struct Graph(GraphProto);

impl Graph {
    /// From patches `x`, of numbers of that kind, to `logits`.
    pub fn new(kind: DataType, [views, rows, columns]: [usize; 3], outputs: usize) -> Graph {
        let patches = [None, Some(views), Some(rows), Some(columns)];
        Graph(GraphProto {
            input: vec![value("x", kind, &patches)],
            output: vec![value("logits", DataType::Float, &[None, Some(outputs)])],
            ..Default::default()
        })
    }

    pub fn finish(self) -> ModelProto {
        ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
            graph: Some(self.0),
            ..Default::default()
        }
    }

    pub fn node_mut(&mut self, name: &str) -> &mut NodeProto {
        self.0.node.iter_mut().find(|node| node.name == name).expect("the network has such a node")
    }

    pub fn set_byte(&mut self, tensor: &str, byte: u8) {
        let tensor = self.0.initializer.iter_mut().find(|found| found.name == tensor);
        tensor.expect("the network has such a constant").raw_data = vec![byte];
    }

    pub fn node(
        &mut self,
        kind: &str,
        name: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> String {
        self.0.node.push(NodeProto {
            op_type: kind.into(),
            name: name.into(),
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![name.into()],
            attribute,
            ..Default::default()
        });
        name.into()
    }

    pub fn tensor(&mut self, name: &str, shape: &[i64], kind: DataType, raw_data: Vec<u8>) {
        self.0.initializer.push(TensorProto {
            name: name.into(),
            dims: shape.to_vec(),
            data_type: kind as i32,
            raw_data,
            ..Default::default()
        });
    }
}

pub fn attributes(window: Window) -> Vec<AttributeProto> {
    let [kernel, strides, before] =
        [window.kernel, window.stride, window.before].map(|pair| pair.map(|extent| extent as i64));
    let pads = [before, before].concat();
    let integers = |name: &str, values: &[i64]| AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..Default::default()
    };
    vec![integers("kernel_shape", &kernel), integers("strides", &strides), integers("pads", &pads)]
}

pub fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i: value, ..Default::default() }
}

fn value(name: &str, kind: DataType, shape: &[Option<usize>]) -> ValueInfoProto {
    let extent = |&extent: &Option<usize>| match extent {
        Some(extent) => dimension::Value::DimValue(extent as i64),
        None => dimension::Value::DimParam("N".into()),
    };
    let dimension = |of: &Option<usize>| Dimension { value: Some(extent(of)), ..Default::default() };
    let tensor = type_proto::Tensor {
        elem_type: kind as i32,
        shape: Some(TensorShapeProto { dim: shape.iter().map(dimension).collect() }),
    };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..Default::default() }
}
