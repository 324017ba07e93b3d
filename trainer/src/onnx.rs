//! Writes a patch network as plain ONNX: batch normalization folded, dead taps left out.
//!
//! Only standard operators of opset 17 (Conv, Relu, MaxPool, Add, Flatten, Gemm), so that every
//! runtime reads the file. What the outputs mean is the manifest's job.

use crate::net::{ConvNorm, GRAY_MAX, MAX_POOL, NORM_EPSILON, ResNet18};
use prost::Message;
use tch::{Kind, Tensor};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType,
    tensor_proto::DataType, tensor_shape_proto::Dimension, tensor_shape_proto::dimension, type_proto,
};

/// Name of the input: gray levels 0 to 255 as f32, shape `[N, views, size, size]`.
pub const INPUT: &str = "x";

/// Name of the output: logits, shape `[N, classes]`.
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
    let mut graph = Writer::default();
    let mut maps = graph.convolution("stem", &net.stem, INPUT, 1.0 / GRAY_MAX)?;
    maps = graph.node("Relu", "stem_relu", &[&maps], vec![]);
    maps = graph.node(
        "MaxPool",
        "pool",
        &[&maps],
        vec![
            integers("kernel_shape", &[MAX_POOL.kernel; 2]),
            integers("strides", &[MAX_POOL.stride; 2]),
            integers("pads", &[MAX_POOL.padding; 4]),
        ],
    );
    for (index, block) in net.blocks.iter().enumerate() {
        let name = format!("layer{}_{}", index / 2 + 1, index % 2);
        let mut residual = graph.convolution(&format!("{name}_conv1"), &block.first, &maps, 1.0)?;
        residual = graph.node("Relu", &format!("{name}_relu1"), &[&residual], vec![]);
        residual = graph.convolution(&format!("{name}_conv2"), &block.second, &residual, 1.0)?;
        if let Some(shortcut) = &block.shortcut {
            maps = graph.convolution(&format!("{name}_shortcut"), shortcut, &maps, 1.0)?;
        }
        let sum = graph.node("Add", &format!("{name}_add"), &[&residual, &maps], vec![]);
        maps = graph.node("Relu", &format!("{name}_relu2"), &[&sum], vec![]);
    }
    if net.last_extent > 1 {
        maps = graph.node("GlobalAveragePool", "average", &[&maps], vec![]);
    }
    let features = graph.node("Flatten", "features", &[&maps], vec![integer("axis", 1)]);
    graph.tensor("head_weight", &net.head.ws)?;
    let mut head_inputs = vec![features.as_str(), "head_weight"];
    if let Some(bias) = &net.head.bs {
        graph.tensor("head_bias", bias)?;
        head_inputs.push("head_bias");
    }
    graph.node("Gemm", OUTPUT, &head_inputs, vec![integer("transB", 1)]);

    let shape = net.shape;
    let graph = GraphProto {
        name: "hemapatch_resnet18".into(),
        input: vec![float_value(INPUT, &[None, Some(shape.views), Some(shape.size), Some(shape.size)])],
        output: vec![float_value(OUTPUT, &[None, Some(shape.classes)])],
        ..graph.0
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
    Ok(model.encode_to_vec())
}

/// Weights and bias of a convolution with its batch normalization folded in, in f64 up to the
/// last step. `gain` multiplies the weights: the input that the file takes is that much larger.
fn folded(conv: &ConvNorm, gain: f64) -> (Tensor, Tensor) {
    let double = |tensor: &Tensor| tensor.detach().to_kind(Kind::Double);
    let norm = &conv.norm;
    let inverse_deviation = (double(&norm.running_var) + NORM_EPSILON).rsqrt();
    let amplitude = match &norm.ws {
        Some(weights) => double(weights) * inverse_deviation,
        None => inverse_deviation,
    };
    let mut bias = -double(&norm.running_mean) * &amplitude;
    if let Some(offset) = &norm.bs {
        bias += double(offset);
    }
    let weights = double(&conv.weights) * amplitude.view([-1, 1, 1, 1]) * gain;
    (weights.to_kind(Kind::Float), bias.to_kind(Kind::Float))
}

/// A graph in the making. Every node is named after its one output.
#[derive(Default)]
struct Writer(GraphProto);

impl Writer {
    fn node(
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

    fn convolution(
        &mut self,
        name: &str,
        conv: &ConvNorm,
        input: &str,
        gain: f64,
    ) -> Result<String, tch::TchError> {
        let (weights, bias) = folded(conv, gain);
        let (weights_name, bias_name) = (format!("{name}_weight"), format!("{name}_bias"));
        self.tensor(&weights_name, &weights)?;
        self.tensor(&bias_name, &bias)?;
        let live = conv.live;
        let attributes = vec![
            integers("kernel_shape", &[live.taps; 2]),
            integers("strides", &[conv.stride; 2]),
            integers("pads", &[live.pad_before, live.pad_before, live.pad_after, live.pad_after]),
        ];
        Ok(self.node("Conv", name, &[input, &weights_name, &bias_name], attributes))
    }

    fn tensor(&mut self, name: &str, tensor: &Tensor) -> Result<(), tch::TchError> {
        let values = Vec::<f32>::try_from(tensor.detach().contiguous().view([-1]))?;
        self.0.initializer.push(TensorProto {
            name: name.into(),
            dims: tensor.size(),
            data_type: DataType::Float as i32,
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ..Default::default()
        });
        Ok(())
    }
}

fn integer(name: &str, value: i64) -> AttributeProto {
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

/// An f32 input or output; `None` is the batch size `N`, left to the reader.
fn float_value(name: &str, extents: &[Option<i64>]) -> ValueInfoProto {
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
    let tensor =
        type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            denotation: String::new(),
            value: Some(type_proto::Value::TensorType(tensor)),
        }),
        ..Default::default()
    }
}
