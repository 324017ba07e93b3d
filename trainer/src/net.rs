//! ResNet18 as torchvision defines it, built without the taps that a small input never uses.
//!
//! Any number of input views and output classes. Names of the variables are torchvision's, so a
//! checkpoint reads like one of its. Writing it as ONNX is `onnx`'s job.

use crate::live_taps::{Axis, LiveTaps};
use tch::nn::{self, Init, ModuleT};
use tch::{Kind, Tensor};

/// torchvision's epsilon of batch normalization. tch keeps its own copy private, and folding the
/// normalization into the weights needs the same number.
pub const NORM_EPSILON: f64 = 1e-5;

/// Brightest gray level: the network sees gray levels divided by it.
pub const GRAY_MAX: f64 = 255.0;

/// What a network takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shape {
    /// Input channels: the views of one place.
    pub views: i64,
    /// Rows and columns of a patch.
    pub size: i64,
    /// Outputs, one logit each.
    pub classes: i64,
}

/// Which taps of the kernels are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taps {
    /// Those that meet real input: the same function, about a third of the work at 16x16.
    Live,
    /// All, as torchvision has them. The specification that `Live` is tested against.
    All,
}

/// A convolution without bias and the batch normalization after it.
#[derive(Debug)]
pub struct ConvNorm {
    /// Shape `[out, in, taps, taps]`.
    pub weights: Tensor,
    /// Batch normalization over the outputs.
    pub norm: nn::BatchNorm,
    /// Step between outputs, both axes.
    pub stride: i64,
    /// The kernel's live part, both axes.
    pub live: LiveTaps,
}

impl ConvNorm {
    /// `input` is the extent of the map on entry and becomes that of the map on exit.
    fn new(
        (conv, norm): (nn::Path, nn::Path),
        channels: (i64, i64),
        axis: Axis,
        input: &mut i64,
        taps: Taps,
    ) -> ConvNorm {
        let live = match taps {
            Taps::Live => axis.live_taps(*input),
            Taps::All => {
                LiveTaps { first: 0, taps: axis.kernel, pad_before: axis.padding, pad_after: axis.padding }
            }
        };
        *input = axis.outputs(*input);
        // Kaiming, fan out. The fan is that of the full kernel: it is the same network with the
        // same distribution of the weights that count.
        let fan_out = (channels.1 * axis.kernel * axis.kernel) as f64;
        let init = Init::Randn { mean: 0.0, stdev: (2.0 / fan_out).sqrt() };
        let norm_config =
            nn::BatchNormConfig { eps: NORM_EPSILON, ws_init: Init::Const(1.0), ..Default::default() };
        ConvNorm {
            weights: conv.var("weight", &[channels.1, channels.0, live.taps, live.taps], init),
            norm: nn::batch_norm2d(&norm, channels.1, norm_config),
            stride: axis.stride,
            live,
        }
    }

    fn forward(&self, maps: &Tensor, train: bool) -> Tensor {
        let LiveTaps { pad_before, pad_after, .. } = self.live;
        let (maps, padding) = if pad_before == pad_after {
            (maps.shallow_clone(), pad_before)
        } else {
            (maps.constant_pad_nd([pad_before, pad_after, pad_before, pad_after]), 0)
        };
        maps.conv2d(&self.weights, None::<&Tensor>, self.stride, padding, 1, 1).apply_t(&self.norm, train)
    }
}

/// A residual block of two 3x3 convolutions.
#[derive(Debug)]
pub struct BasicBlock {
    /// First convolution, with the block's stride.
    pub first: ConvNorm,
    /// Second convolution.
    pub second: ConvNorm,
    /// 1x1 convolution on the shortcut where the shape changes.
    pub shortcut: Option<ConvNorm>,
}

impl BasicBlock {
    fn forward(&self, maps: &Tensor, train: bool) -> Tensor {
        let residual = self.second.forward(&self.first.forward(maps, train).relu(), train);
        match &self.shortcut {
            Some(shortcut) => residual + shortcut.forward(maps, train),
            None => residual + maps,
        }
        .relu()
    }
}

/// The patch network: gray levels 0 to 255 of `[batch, views, size, size]` to logits
/// `[batch, classes]`.
#[derive(Debug)]
pub struct ResNet18 {
    /// What it takes and gives.
    pub shape: Shape,
    /// 7x7 convolution with stride 2, before the max-pool.
    pub stem: ConvNorm,
    /// Eight blocks, two a stage.
    pub blocks: Vec<BasicBlock>,
    /// Rows and columns of the last maps, averaged away before the head.
    pub last_extent: i64,
    /// The fully connected layer.
    pub head: nn::Linear,
}

/// The max-pool behind the stem. ReLU outputs are never negative, so its padding never wins.
pub const MAX_POOL: Axis = Axis { kernel: 3, stride: 2, padding: 1 };

impl ResNet18 {
    /// Builds it with fresh weights in `path`.
    #[must_use]
    pub fn new(path: &nn::Path, shape: Shape, taps: Taps) -> ResNet18 {
        let mut extent = shape.size;
        let stem_axis = Axis { kernel: 7, stride: 2, padding: 3 };
        let stem_path = (path / "conv1", path / "bn1");
        let stem = ConvNorm::new(stem_path, (shape.views, 64), stem_axis, &mut extent, taps);
        extent = MAX_POOL.outputs(extent);

        let mut blocks = Vec::with_capacity(8);
        let mut channels = 64;
        for stage in 0..4 {
            let out = 64 << stage;
            for index in 0..2 {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let path = path / format!("layer{}", stage + 1) / index;
                let mut entry = extent;
                let first = ConvNorm::new(
                    (&path / "conv1", &path / "bn1"),
                    (channels, out),
                    Axis { kernel: 3, stride, padding: 1 },
                    &mut extent,
                    taps,
                );
                let second = ConvNorm::new(
                    (&path / "conv2", &path / "bn2"),
                    (out, out),
                    Axis { kernel: 3, stride: 1, padding: 1 },
                    &mut extent,
                    taps,
                );
                let shortcut = (stride != 1 || channels != out).then(|| {
                    let path = &path / "downsample";
                    let axis = Axis { kernel: 1, stride, padding: 0 };
                    ConvNorm::new((&path / 0, &path / 1), (channels, out), axis, &mut entry, taps)
                });
                blocks.push(BasicBlock { first, second, shortcut });
                channels = out;
            }
        }
        let head = nn::linear(path / "fc", channels, shape.classes, Default::default());
        ResNet18 { shape, stem, blocks, last_extent: extent, head }
    }

    /// Every convolution, in the order of the forward pass (a block's shortcut last).
    pub fn convolutions(&self) -> impl Iterator<Item = &ConvNorm> {
        std::iter::once(&self.stem).chain(
            self.blocks
                .iter()
                .flat_map(|block| [&block.first, &block.second].into_iter().chain(&block.shortcut)),
        )
    }
}

impl ResNet18 {
    /// The embedding that the head reads, `[batch, channels]`.
    pub fn embed(&self, gray: &Tensor, train: bool) -> Tensor {
        let mut maps = self.stem.forward(&(gray / GRAY_MAX), train).relu();
        let Axis { kernel, stride, padding } = MAX_POOL;
        maps = maps.max_pool2d(kernel, stride, padding, 1, false);
        for block in &self.blocks {
            maps = block.forward(&maps, train);
        }
        if self.last_extent > 1 {
            maps = maps.mean_dim([2i64, 3].as_slice(), true, Kind::Float);
        }
        maps.flat_view()
    }
}

impl ModuleT for ResNet18 {
    fn forward_t(&self, gray: &Tensor, train: bool) -> Tensor {
        self.embed(gray, train).apply(&self.head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, nn::VarStore};

    /// Draws everything that training would have changed, so that no default hides a mistake.
    pub(crate) fn randomize(net: &ResNet18) {
        tch::no_grad(|| {
            for conv in net.convolutions() {
                let norm = &conv.norm;
                let _ = norm.running_mean.shallow_clone().normal_(0.0, 0.2);
                let _ = norm.running_var.shallow_clone().uniform_(0.5, 2.0);
                for affine in [&norm.ws, &norm.bs].into_iter().flatten() {
                    let _ = affine.shallow_clone().uniform_(0.5, 1.0);
                }
            }
        });
    }

    /// Puts the live kernels into full kernels of zeros.
    fn embed(live: &ResNet18, full: &ResNet18) {
        tch::no_grad(|| {
            for (from, to) in live.convolutions().zip(full.convolutions()) {
                let LiveTaps { first, taps, .. } = from.live;
                let mut kernel = to.weights.shallow_clone();
                let _ = kernel.zero_();
                kernel.narrow(2, first, taps).narrow(3, first, taps).copy_(&from.weights);
                for (from, to) in [(&from.norm.ws, &to.norm.ws), (&from.norm.bs, &to.norm.bs)] {
                    if let (Some(from), Some(to)) = (from, to) {
                        to.shallow_clone().copy_(from);
                    }
                }
                to.norm.running_mean.shallow_clone().copy_(&from.norm.running_mean);
                to.norm.running_var.shallow_clone().copy_(&from.norm.running_var);
            }
            full.head.ws.shallow_clone().copy_(&live.head.ws);
            if let (Some(from), Some(to)) = (&live.head.bs, &full.head.bs) {
                to.shallow_clone().copy_(from);
            }
        });
    }

    #[test]
    fn live_taps_give_the_full_networks_logits() {
        tch::manual_seed(3);
        for (size, views) in [(8, 1), (16, 3), (32, 1)] {
            let shape = Shape { views, size, classes: 4 };
            let (store_live, store_full) = (VarStore::new(Device::Cpu), VarStore::new(Device::Cpu));
            let live = ResNet18::new(&store_live.root(), shape, Taps::Live);
            let full = ResNet18::new(&store_full.root(), shape, Taps::All);
            randomize(&live);
            embed(&live, &full);
            let gray = Tensor::rand([16, views, size, size], (Kind::Float, Device::Cpu)) * GRAY_MAX;
            for train in [false, true] {
                let (a, b) = (live.forward_t(&gray, train), full.forward_t(&gray, train));
                let scale = b.abs().max().double_value(&[]);
                let off = (a - b).abs().max().double_value(&[]);
                assert!(off <= 1e-4 * scale.max(1.0), "{size}x{size}: off by {off} of {scale}");
            }
        }
    }

    #[test]
    fn has_the_parameters_of_the_design() {
        let count = |size, taps| {
            let store = VarStore::new(Device::Cpu);
            let _net = ResNet18::new(&store.root(), Shape { views: 1, size, classes: 4 }, taps);
            store.trainable_variables().iter().map(|t| t.numel()).sum::<usize>()
        };
        // torchvision's resnet18 has 11,689,512 parameters with 3 channels and 1,000 classes.
        assert_eq!(count(16, Taps::All), 11_689_512 - 2 * 64 * 49 - 996 * 513);
        assert_eq!(count(16, Taps::Live) / 10_000, 209);
        assert_eq!(count(32, Taps::Live) / 10_000, 422);
    }
}
