//! Writes a description as the QDQ form of ONNX that `hemapatch-train quantize` writes.

use crate::engine::integer::description::{Convolution, Description, Shortcut, Window};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto,
    attribute_proto::AttributeType,
    tensor_proto::DataType,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};

pub fn encode(network: &Description) -> ModelProto {
    Graph::of(network).finish()
}

/// A file in the making, which a test may still alter.
pub struct Graph(GraphProto);

impl Graph {
    pub fn of(network: &Description) -> Graph {
        let mut graph = Graph(GraphProto::default());
        let [views, rows, columns] = network.input.map(|extent| extent as i64);
        graph.0.input = vec![value("x", DataType::Uint8, &[None, Some(views), Some(rows), Some(columns)])];
        let outputs = network.head.scales.len() as i64;
        graph.0.output = vec![value("logits", DataType::Float, &[None, Some(outputs)])];
        graph.tensor("zero", &[], DataType::Uint8, vec![0]);
        graph.tensor("x_scale", &[], DataType::Float, 1f32.to_le_bytes().to_vec());
        let gray = graph.node("DequantizeLinear", "x_real", &["x", "x_scale", "zero"], vec![]);
        let stem = graph.convolution(&network.stem, &gray);
        let stem = graph.relu("stem", &stem, network.stem_scale);
        let pooled = graph.node("MaxPool", "pool", &[&stem], attributes(network.pool));
        let mut maps = graph.levels("pool", &pooled, network.stem_scale);
        for (at, block) in network.blocks.iter().enumerate() {
            let hidden = graph.convolution(&block.first, &maps);
            let hidden = graph.relu(&format!("block{at}_hidden"), &hidden, block.second.input_scale);
            let second = graph.convolution(&block.second, &hidden);
            if let Shortcut::Convolution(convolution) = &block.shortcut {
                maps = graph.convolution(convolution, &maps);
            }
            let sum = graph.node("Add", &format!("block{at}_add"), &[&second, &maps], vec![]);
            maps = graph.relu(&format!("block{at}"), &sum, block.output_scale);
        }
        let head = &network.head;
        if head.places > 1 {
            maps = graph.node("GlobalAveragePool", "average", &[&maps], vec![]);
        }
        let features = graph.node("Flatten", "features", &[&maps], vec![integer("axis", 1)]);
        let shape = [outputs, head.channels as i64];
        graph.reals("head_weight", &shape, DataType::Int8, bytes(&head.weights), &head.scales);
        graph.reals("head_bias", &shape[..1], DataType::Int32, words(&head.bias), &head.bias_steps);
        let inputs = [features.as_str(), "head_weight_real", "head_bias_real"];
        graph.node("Gemm", "logits", &inputs, vec![integer("transB", 1)]);
        graph
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

    fn node(&mut self, kind: &str, name: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
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

    fn tensor(&mut self, name: &str, shape: &[i64], kind: DataType, raw_data: Vec<u8>) {
        self.0.initializer.push(TensorProto {
            name: name.into(),
            dims: shape.to_vec(),
            data_type: kind as i32,
            raw_data,
            ..Default::default()
        });
    }

    /// A constant's levels and scales, as `NAME_real`.
    fn reals(&mut self, name: &str, shape: &[i64], kind: DataType, levels: Vec<u8>, scales: &[f32]) {
        let (scale, zero) = (format!("{name}_scale"), format!("{name}_zero"));
        let width = levels.len() / shape.iter().product::<i64>() as usize;
        self.tensor(name, shape, kind, levels);
        let raw = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        self.tensor(&scale, &shape[..1], DataType::Float, raw);
        self.tensor(&zero, &shape[..1], kind, vec![0; scales.len() * width]);
        let inputs = [name, &scale, &zero];
        self.node("DequantizeLinear", &format!("{name}_real"), &inputs, vec![integer("axis", 0)]);
    }

    fn convolution(&mut self, conv: &Convolution, maps: &str) -> String {
        let (name, [rows, columns]) = (&conv.name, conv.window.kernel.map(|extent| extent as i64));
        let shape = [conv.outputs() as i64, conv.inputs as i64, rows, columns];
        let (weight, bias) = (format!("{name}_weight"), format!("{name}_bias"));
        self.reals(&weight, &shape, DataType::Int8, bytes(&conv.weights), &conv.scales);
        self.reals(&bias, &shape[..1], DataType::Int32, words(&conv.bias), &conv.bias_steps);
        let inputs = [maps, &format!("{weight}_real"), &format!("{bias}_real")];
        self.node("Conv", name, &inputs, attributes(conv.window))
    }

    fn relu(&mut self, name: &str, maps: &str, scale: f32) -> String {
        let maps = self.node("Relu", &format!("{name}_relu"), &[maps], vec![]);
        self.levels(name, &maps, scale)
    }

    /// Rounded to levels of `scale` and back, as `NAME_real`.
    fn levels(&mut self, name: &str, maps: &str, scale: f32) -> String {
        let scale_name = format!("{name}_scale");
        self.tensor(&scale_name, &[], DataType::Float, scale.to_le_bytes().to_vec());
        let level =
            self.node("QuantizeLinear", &format!("{name}_level"), &[maps, &scale_name, "zero"], vec![]);
        self.node("DequantizeLinear", &format!("{name}_real"), &[&level, &scale_name, "zero"], vec![])
    }
}

fn bytes(levels: &[i8]) -> Vec<u8> {
    levels.iter().map(|level| level.cast_unsigned()).collect()
}

fn words(levels: &[i32]) -> Vec<u8> {
    levels.iter().flat_map(|level| level.to_le_bytes()).collect()
}

fn attributes(window: Window) -> Vec<AttributeProto> {
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

fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i: value, ..Default::default() }
}

fn value(name: &str, kind: DataType, shape: &[Option<i64>]) -> ValueInfoProto {
    let dimension = |extent: &Option<i64>| Dimension {
        value: Some(
            extent.map_or_else(|| dimension::Value::DimParam("N".into()), dimension::Value::DimValue),
        ),
        ..Default::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: kind as i32,
        shape: Some(TensorShapeProto { dim: shape.iter().map(dimension).collect() }),
    };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..Default::default() }
}
