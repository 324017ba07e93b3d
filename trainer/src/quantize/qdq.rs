//! Writes the quantized network as ONNX for other runtimes, in QDQ form: plain operators between
//! QuantizeLinear and DequantizeLinear. The integers and scales in the file are the network.
//!
//! The numbers that an integer engine needs besides, multipliers and factors, follow from them:
//! docs/quantization.md (4), (7), (9).

use super::network::{GRAY_SCALE, QuantConv, QuantNet, Shortcut};
use crate::onnx::{INPUT, Writer, conv_attributes, integer};
use tract_onnx::pb::tensor_proto::DataType;

/// Zero point of every activation.
const ZERO: &str = "zero";

fn little_endian(reals: &[f32]) -> Vec<u8> {
    reals.iter().flat_map(|real| real.to_le_bytes()).collect()
}

fn bytes(levels: &[i8]) -> Vec<u8> {
    levels.iter().map(|level| level.cast_unsigned()).collect()
}

/// Encodes `net` as an ONNX file with a free batch size `N` whose input is u8.
///
/// `notes` become the file's metadata.
#[must_use]
pub fn encode(net: &QuantNet, notes: &[(&str, &str)]) -> Vec<u8> {
    let mut graph = Writer::default();
    graph.tensor(ZERO, &[], DataType::Uint8, vec![0]);
    graph.scale("x_scale", GRAY_SCALE);
    let gray = graph.node("DequantizeLinear", "x_real", &[INPUT, "x_scale", ZERO], vec![]);
    let stem = graph.quant_convolution(&net.stem, &gray, GRAY_SCALE);
    let stem = graph.quantized("stem_relu", "stem", &[&stem], net.pooled);
    let pooled = graph.max_pool("pool", &stem);
    // The same scale again: runtimes look for it behind what they are to run in integers.
    let mut maps = graph.requantized("pool", &pooled, net.pooled);
    let mut input = net.pooled;
    for block in &net.blocks {
        let name = &block.name;
        let hidden = graph.quant_convolution(&block.first, &maps, input);
        let hidden =
            graph.quantized(&format!("{name}_relu1"), &format!("{name}_hidden"), &[&hidden], block.hidden);
        let second = graph.quant_convolution(&block.second, &hidden, block.hidden);
        if let Shortcut::Convolution(shortcut) = &block.shortcut {
            maps = graph.quant_convolution(shortcut, &maps, input);
        }
        let sum = graph.node("Add", &format!("{name}_add"), &[&second, &maps], vec![]);
        maps = graph.quantized(&format!("{name}_relu2"), name, &[&sum], block.output);
        input = block.output;
    }
    let features = graph.features(&maps, net.last_extent);
    let classes = net.head_bias.len() as i64;
    let channels = net.head_weights.len() as i64 / classes;
    let places = (net.last_extent * net.last_extent) as f32;
    graph.per_channel(
        "head_weight",
        &[classes, channels],
        DataType::Int8,
        bytes(&net.head_weights),
        &net.head_scales,
    );
    let steps: Vec<f32> = net.head_scales.iter().map(|scale| input * scale / places).collect();
    graph.bias("head_bias", &net.head_bias, &steps);
    graph.head([&features, "head_weight_real", "head_bias_real"]);
    graph.finish("hemapatch_resnet18_int8", DataType::Uint8, net.shape, net.shape.classes, notes)
}

impl Writer {
    fn scale(&mut self, name: &str, scale: f32) {
        self.tensor(name, &[], DataType::Float, little_endian(&[scale]));
    }

    /// Rounds `maps` to levels of `scale` and back to reals.
    fn requantized(&mut self, name: &str, maps: &str, scale: f32) -> String {
        let scale_name = format!("{name}_scale");
        self.scale(&scale_name, scale);
        let level = self.node("QuantizeLinear", &format!("{name}_level"), &[maps, &scale_name, ZERO], vec![]);
        self.node("DequantizeLinear", &format!("{name}_real"), &[&level, &scale_name, ZERO], vec![])
    }

    /// ReLU, then levels.
    fn quantized(&mut self, relu: &str, name: &str, inputs: &[&str], scale: f32) -> String {
        let maps = self.node("Relu", relu, inputs, vec![]);
        self.requantized(name, &maps, scale)
    }

    /// A constant with one scale for each of its first axis, as `NAME_real`.
    fn per_channel(&mut self, name: &str, extents: &[i64], kind: DataType, levels: Vec<u8>, scales: &[f32]) {
        let (scale, zero) = (format!("{name}_scale"), format!("{name}_zero"));
        let level_bytes = levels.len() / extents.iter().product::<i64>() as usize;
        self.tensor(name, extents, kind, levels);
        self.tensor(&scale, &extents[..1], DataType::Float, little_endian(scales));
        self.tensor(&zero, &extents[..1], kind, vec![0; scales.len() * level_bytes]);
        let axis = vec![integer("axis", 0)];
        self.node("DequantizeLinear", &format!("{name}_real"), &[name, &scale, &zero], axis);
    }

    fn bias(&mut self, name: &str, bias: &[i32], steps: &[f32]) {
        let levels = bias.iter().flat_map(|level| level.to_le_bytes()).collect();
        self.per_channel(name, &[bias.len() as i64], DataType::Int32, levels, steps);
    }

    fn quant_convolution(&mut self, conv: &QuantConv, maps: &str, input: f32) -> String {
        let name = &conv.name;
        let (weight, bias) = (format!("{name}_weight"), format!("{name}_bias"));
        let extents = [conv.scales.len() as i64, conv.inputs as i64, conv.live.taps, conv.live.taps];
        self.per_channel(&weight, &extents, DataType::Int8, bytes(&conv.weights), &conv.scales);
        let steps: Vec<f32> = conv.scales.iter().map(|scale| input * scale).collect();
        self.bias(&bias, &conv.bias, &steps);
        let inputs = [maps, &format!("{weight}_real"), &format!("{bias}_real")];
        self.node("Conv", name, &inputs, conv_attributes(conv.stride, conv.live))
    }
}
