//! Writes a description as the QDQ form of ONNX that `hemapatch-train quantize` writes.

use crate::engine::drawn::{Graph, attributes, integer};
use crate::engine::integer::description::{Convolution, Description, Shortcut};
use tract_onnx::pb::{ModelProto, tensor_proto::DataType};

pub fn encode(network: &Description) -> ModelProto {
    Graph::of(network).finish()
}

impl Graph {
    pub(in crate::engine::integer) fn of(network: &Description) -> Graph {
        let outputs = network.head.scales.len();
        let mut graph = Graph::new(DataType::Uint8, network.input, outputs);
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
        let shape = [outputs, head.channels].map(|extent| extent as i64);
        graph.reals("head_weight", &shape, DataType::Int8, bytes(&head.weights), &head.scales);
        graph.reals("head_bias", &shape[..1], DataType::Int32, words(&head.bias), &head.bias_steps);
        let inputs = [features.as_str(), "head_weight_real", "head_bias_real"];
        graph.node("Gemm", "logits", &inputs, vec![integer("transB", 1)]);
        graph
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
        let shape = [conv.scales.len() as i64, conv.inputs as i64, rows, columns];
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
