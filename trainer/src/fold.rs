//! A patch network as runtimes are given it: batch normalization folded into weights and biases,
//! gray levels as they come. Writing it as a file is `onnx`'s job, integers are `quantize`'s.

use crate::live_taps::{Axis, LiveTaps};
use crate::net::{ConvNorm, GRAY_MAX, MAX_POOL, NORM_EPSILON, ResNet18, Shape};
use tch::{Kind, Tensor};

/// A convolution with its bias, in f32.
#[derive(Debug)]
pub struct FoldedConv {
    /// What it is called in a file: `stem`, `layer1_0_conv1` and so on.
    pub name: String,
    /// Shape `[out, in, taps, taps]`.
    pub weights: Tensor,
    /// Shape `[out]`.
    pub bias: Tensor,
    /// Step between outputs, both axes.
    pub stride: i64,
    /// The kernel's live part, both axes.
    pub live: LiveTaps,
}

/// A residual block.
#[derive(Debug)]
pub struct FoldedBlock {
    /// What it is called in a file: `layer1_0` and so on.
    pub name: String,
    /// First convolution; ReLU follows.
    pub first: FoldedConv,
    /// Second convolution; the shortcut is added to it, then ReLU.
    pub second: FoldedConv,
    /// 1x1 convolution on the shortcut where the shape changes.
    pub shortcut: Option<FoldedConv>,
}

/// The folded network.
#[derive(Debug)]
pub struct Folded {
    /// What it takes and gives.
    pub shape: Shape,
    /// The first convolution. Its weights carry the division of gray levels by 255.
    pub stem: FoldedConv,
    /// The residual blocks.
    pub blocks: Vec<FoldedBlock>,
    /// Rows and columns of the last maps, averaged away before the head.
    pub last_extent: i64,
    /// The head's weights, shape `[classes, channels]`.
    pub head_weights: Tensor,
    /// The head's bias, shape `[classes]`.
    pub head_bias: Tensor,
}

impl FoldedConv {
    /// Folds in f64 up to the last step. `gain` multiplies the weights: the input is that much
    /// larger than what the network was trained on.
    fn of(name: String, conv: &ConvNorm, gain: f64) -> FoldedConv {
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
        FoldedConv {
            name,
            weights: weights.to_kind(Kind::Float),
            bias: bias.to_kind(Kind::Float),
            stride: conv.stride,
            live: conv.live,
        }
    }

    fn forward(&self, maps: &Tensor) -> Tensor {
        let LiveTaps { pad_before, pad_after, .. } = self.live;
        maps.constant_pad_nd([pad_before, pad_after, pad_before, pad_after]).conv2d(
            &self.weights,
            Some(&self.bias),
            self.stride,
            0,
            1,
            1,
        )
    }
}

impl Folded {
    /// Folds `net` as it is in evaluation mode.
    #[must_use]
    pub fn of(net: &ResNet18) -> Folded {
        let block = |(index, block): (usize, &crate::net::BasicBlock)| {
            let name = format!("layer{}_{}", index / 2 + 1, index % 2);
            let conv = |part: &str, conv| FoldedConv::of(format!("{name}_{part}"), conv, 1.0);
            FoldedBlock {
                first: conv("conv1", &block.first),
                second: conv("conv2", &block.second),
                shortcut: block.shortcut.as_ref().map(|shortcut| conv("shortcut", shortcut)),
                name,
            }
        };
        let head_bias = match &net.head.bs {
            Some(bias) => bias.detach().copy(),
            None => Tensor::zeros([net.shape.classes], (Kind::Float, net.head.ws.device())),
        };
        Folded {
            shape: net.shape,
            stem: FoldedConv::of("stem".into(), &net.stem, 1.0 / GRAY_MAX),
            blocks: net.blocks.iter().enumerate().map(block).collect(),
            last_extent: net.last_extent,
            head_weights: net.head.ws.detach().copy(),
            head_bias,
        }
    }

    /// What is quantized when the network is: the pooled stem, then of each block the hidden maps
    /// and the output, all behind a ReLU.
    ///
    /// # Shape
    /// `gray` is `[patches, views, size, size]`; each activation `[patches, channels, rows, columns]`.
    #[must_use]
    pub fn activations(&self, gray: &Tensor) -> Vec<Tensor> {
        let Axis { kernel, stride, padding } = MAX_POOL;
        let mut maps = self.stem.forward(gray).relu().max_pool2d(kernel, stride, padding, 1, false);
        let mut activations = vec![maps.shallow_clone()];
        for block in &self.blocks {
            let hidden = block.first.forward(&maps).relu();
            let residual = block.second.forward(&hidden);
            maps = match &block.shortcut {
                Some(shortcut) => residual + shortcut.forward(&maps),
                None => residual + maps,
            }
            .relu();
            activations.extend([hidden, maps.shallow_clone()]);
        }
        activations
    }
}
