//! Writes a patch network as plain ONNX: batch normalization folded, dead taps left out.
//!
//! Only standard operators of opset 17 (Conv, Relu, MaxPool, Add, Flatten, Gemm; for attention Tanh,
//! Sigmoid, Mul and Concat), so that every runtime reads the file. What the outputs mean is the manifest's job; the same network in
//! integers is `quantize::qdq`'s.

use crate::fold::{Folded, FoldedConv};
use crate::live_taps::LiveTaps;
use crate::mil::AttentionNet;
use crate::net::{MAX_POOL, ResNet18, Shape};
use prost::Message;
use tch::{Tensor, nn};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType,
    tensor_proto::DataType, tensor_shape_proto::Dimension, tensor_shape_proto::dimension, type_proto,
};

/// Name of the input: gray levels 0 to 255, as f32 in the f32 network, shape `[N, views, size, size]`.
pub const INPUT: &str = "x";

/// Name of the output: logits, shape `[N, outputs]`.
pub const OUTPUT: &str = "logits";

/// Operator set of the file.
const OPSET: i64 = 17;

/// The file format's version that belongs to [`OPSET`].
const IR_VERSION: i64 = 8;

/// Encodes `net` in evaluation mode as an ONNX file with a free batch size `N`.
///
/// `notes` become the file's metadata (who made it, class names, intended use).
///
/// # Errors
/// When libtorch cannot give the weights.
pub fn encode(net: &ResNet18, notes: &[(&str, &str)]) -> Result<Vec<u8>, tch::TchError> {
    let net = Folded::of(net);
    let mut graph = Writer::default();
    let features = graph.trunk(&net)?;
    graph.floats("head_weight", &net.head_weights)?;
    graph.floats("head_bias", &net.head_bias)?;
    graph.head([&features, "head_weight", "head_bias"]);
    Ok(graph.finish("hemapatch_resnet18", DataType::Float, net.shape, net.shape.classes, notes))
}

/// Encodes a network of bags: for each patch its attention logit, then its score for each label.
///
/// # Errors
/// When libtorch cannot give the weights.
pub fn encode_attention(net: &AttentionNet, notes: &[(&str, &str)]) -> Result<Vec<u8>, tch::TchError> {
    let mut graph = Writer::default();
    let features = graph.trunk(&Folded::of(&net.trunk))?;
    let content = graph.linear("content", "attention_content", &net.content, &features)?;
    let content = graph.node("Tanh", "attention_tanh", &[&content], vec![]);
    let gate = graph.linear("gate", "attention_gate", &net.gate, &features)?;
    let gate = graph.node("Sigmoid", "attention_sigmoid", &[&gate], vec![]);
    let gated = graph.node("Mul", "attention_gated", &[&content, &gate], vec![]);
    let attention = graph.linear("attention", "attention", &net.attention, &gated)?;
    let scores = graph.linear("head", "scores", &net.trunk.head, &features)?;
    graph.node("Concat", OUTPUT, &[&attention, &scores], vec![integer("axis", 1)]);
    let shape = net.trunk.shape;
    Ok(graph.finish("hemapatch_attention", DataType::Float, shape, 1 + shape.classes, notes))
}

/// A graph in the making. Every node is named after its one output.
#[derive(Default)]
pub(crate) struct Writer(GraphProto);

impl Writer {
    /// The network up to its head; the name of its embedding, `[N, channels]`.
    fn trunk(&mut self, net: &Folded) -> Result<String, tch::TchError> {
        let mut maps = self.convolution(&net.stem, INPUT)?;
        maps = self.node("Relu", "stem_relu", &[&maps], vec![]);
        maps = self.max_pool("pool", &maps);
        for block in &net.blocks {
            let name = &block.name;
            let mut residual = self.convolution(&block.first, &maps)?;
            residual = self.node("Relu", &format!("{name}_relu1"), &[&residual], vec![]);
            residual = self.convolution(&block.second, &residual)?;
            if let Some(shortcut) = &block.shortcut {
                maps = self.convolution(shortcut, &maps)?;
            }
            let sum = self.node("Add", &format!("{name}_add"), &[&residual, &maps], vec![]);
            maps = self.node("Relu", &format!("{name}_relu2"), &[&sum], vec![]);
        }
        Ok(self.features(&maps, net.last_extent))
    }

    /// A fully connected layer called `name`, whose tensors are called after `tensors`.
    fn linear(
        &mut self,
        tensors: &str,
        name: &str,
        layer: &nn::Linear,
        input: &str,
    ) -> Result<String, tch::TchError> {
        let weights = format!("{tensors}_weight");
        self.floats(&weights, &layer.ws)?;
        let mut inputs = vec![input, &weights];
        let bias = format!("{tensors}_bias");
        if let Some(values) = &layer.bs {
            self.floats(&bias, values)?;
            inputs.push(&bias);
        }
        Ok(self.node("Gemm", name, &inputs, vec![integer("transB", 1)]))
    }

    /// Adds a node and gives back its output's name.
    pub(crate) fn node(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        self.0.node.push(NodeProto {
            op_type: operator.into(),
            name: name.into(),
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![name.into()],
            attribute: attributes,
            ..Default::default()
        });
        name.into()
    }

    fn convolution(&mut self, conv: &FoldedConv, input: &str) -> Result<String, tch::TchError> {
        let name = &conv.name;
        let (weights_name, bias_name) = (format!("{name}_weight"), format!("{name}_bias"));
        self.floats(&weights_name, &conv.weights)?;
        self.floats(&bias_name, &conv.bias)?;
        let attributes = conv_attributes(conv.stride, conv.live);
        Ok(self.node("Conv", name, &[input, &weights_name, &bias_name], attributes))
    }

    /// The max-pool behind the stem.
    pub(crate) fn max_pool(&mut self, name: &str, maps: &str) -> String {
        let attributes = vec![
            integers("kernel_shape", &[MAX_POOL.kernel; 2]),
            integers("strides", &[MAX_POOL.stride; 2]),
            integers("pads", &[MAX_POOL.padding; 4]),
        ];
        self.node("MaxPool", name, &[maps], attributes)
    }

    /// The mean over maps of `extent` rows and columns, flat.
    pub(crate) fn features(&mut self, maps: &str, extent: i64) -> String {
        let maps = if extent > 1 {
            self.node("GlobalAveragePool", "average", &[maps], vec![])
        } else {
            maps.to_owned()
        };
        self.node("Flatten", "features", &[&maps], vec![integer("axis", 1)])
    }

    /// The fully connected layer on features, weights and bias.
    pub(crate) fn head(&mut self, inputs: [&str; 3]) {
        self.node("Gemm", OUTPUT, &inputs, vec![integer("transB", 1)]);
    }

    fn floats(&mut self, name: &str, tensor: &Tensor) -> Result<(), tch::TchError> {
        let values = Vec::<f32>::try_from(tensor.detach().contiguous().view([-1]))?;
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, &tensor.size(), DataType::Float, bytes);
        Ok(())
    }

    /// Adds a constant, as little-endian bytes.
    pub(crate) fn tensor(&mut self, name: &str, extents: &[i64], kind: DataType, bytes: Vec<u8>) {
        self.0.initializer.push(TensorProto {
            name: name.into(),
            dims: extents.to_vec(),
            data_type: kind as i32,
            raw_data: bytes,
            ..Default::default()
        });
    }

    /// The file of a graph of that name and shape, whose input is of that kind and whose output has so many
    /// numbers a patch.
    pub(crate) fn finish(
        self,
        name: &str,
        input: DataType,
        shape: Shape,
        outputs: i64,
        notes: &[(&str, &str)],
    ) -> Vec<u8> {
        let patches = [None, Some(shape.views), Some(shape.size), Some(shape.size)];
        let graph = GraphProto {
            name: name.into(),
            input: vec![value(INPUT, input, &patches)],
            output: vec![value(OUTPUT, DataType::Float, &[None, Some(outputs)])],
            ..self.0
        };
        let model = ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            producer_name: env!("CARGO_PKG_NAME").into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(graph),
            metadata_props: notes
                .iter()
                .map(|(key, value)| StringStringEntryProto { key: (*key).into(), value: (*value).into() })
                .collect(),
            ..Default::default()
        };
        model.encode_to_vec()
    }
}

/// Kernel, strides and padding of a convolution.
pub(crate) fn conv_attributes(stride: i64, live: LiveTaps) -> Vec<AttributeProto> {
    vec![
        integers("kernel_shape", &[live.taps; 2]),
        integers("strides", &[stride; 2]),
        integers("pads", &[live.pad_before, live.pad_before, live.pad_after, live.pad_after]),
    ]
}

/// An attribute of one integer.
pub(crate) fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i: value, ..Default::default() }
}

fn integers(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..Default::default()
    }
}

/// An input or output; `None` is the batch size `N`, left to the reader.
fn value(name: &str, kind: DataType, extents: &[Option<i64>]) -> ValueInfoProto {
    let dim = extents
        .iter()
        .map(|extent| Dimension {
            denotation: String::new(),
            value: Some(match extent {
                Some(extent) => dimension::Value::DimValue(*extent),
                None => dimension::Value::DimParam("N".into()),
            }),
        })
        .collect();
    let tensor = type_proto::Tensor { elem_type: kind as i32, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            denotation: String::new(),
            value: Some(type_proto::Value::TensorType(tensor)),
        }),
        ..Default::default()
    }
}
