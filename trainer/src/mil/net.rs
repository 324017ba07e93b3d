//! The network of a bag's patches: ResNet18's embedding, gated attention, and a linear classifier.

use crate::net::{ResNet18, Shape, Taps};
use crate::recipe::Recipe;
use crate::weights::{Network, Weights};
use tch::nn::{self, Module};
use tch::{Kind, Tensor};

/// Patches in, an attention logit and a score for each label out.
///
/// The attention logit of the embedding `h` is `w (tanh(V h) * sigmoid(U h))`. A bag's logit for label `k` is
/// `c_k z + b_k` of the mean embedding `z` weighted by the softmax of attention. Weights sum to 1, so it is the weighted
/// mean of the scores `s_k = c_k h + b_k` of the patches: nothing but these numbers has to leave the network.
///
/// # Source
/// Ilse, Tomczak, Welling 2018, equations (7) and (9): gated attention.
#[derive(Debug)]
pub struct AttentionNet {
    /// The embedding; its head is the linear classifier, one output a label.
    pub trunk: ResNet18,
    /// V, under the hyperbolic tangent.
    pub content: nn::Linear,
    /// U, under the sigmoid.
    pub gate: nn::Linear,
    /// w, without bias: the softmax would take it out again.
    pub attention: nn::Linear,
}

impl AttentionNet {
    /// Builds it with fresh weights in `path`; `shape.classes` are the labels.
    #[must_use]
    pub fn new(path: &nn::Path, shape: Shape, hidden: i64) -> AttentionNet {
        let trunk = ResNet18::new(path, shape, Taps::Live);
        let channels = trunk.head.ws.size()[1];
        let attention = path / "attention";
        let without_bias = nn::LinearConfig { bias: false, ..Default::default() };
        AttentionNet {
            trunk,
            content: nn::linear(&attention / "content", channels, hidden, Default::default()),
            gate: nn::linear(&attention / "gate", channels, hidden, Default::default()),
            attention: nn::linear(&attention / "weight", hidden, 1, without_bias),
        }
    }

    /// Attention logits and scores of patches.
    ///
    /// # Shape
    /// `gray` is `[patches, views, size, size]`, gray levels 0 to 255; the result `[patches, 1 + labels]`.
    pub fn forward(&self, gray: &Tensor, train: bool) -> Tensor {
        let embedding = self.trunk.embed(gray, train);
        let gated = self.content.forward(&embedding).tanh() * self.gate.forward(&embedding).sigmoid();
        Tensor::cat(&[self.attention.forward(&gated), self.trunk.head.forward(&embedding)], 1)
    }
}

/// A bag's logits, `[labels]`. `rows` says which rows of `outputs` are its patches; one that it names twice counts
/// twice.
///
/// # Shape
/// `outputs` is `[patches, 1 + labels]`, `rows` is `[patches of the bag]`, at least one.
pub fn pool(outputs: &Tensor, rows: &Tensor) -> Tensor {
    let bag = outputs.index_select(0, rows);
    let shares = bag.narrow(1, 0, 1).softmax(0, Kind::Float);
    let scores = bag.narrow(1, 1, bag.size()[1] - 1);
    (shares * scores).sum_dim_intlist([0i64].as_slice(), false, Kind::Float)
}

/// A network of bags and the variables that hold its weights: torchvision's names, and those below `attention`.
pub type AttentionWeights = Weights<AttentionNet>;

impl Network for AttentionNet {
    fn fresh(path: &nn::Path, recipe: &Recipe) -> AttentionNet {
        let shape = Shape {
            views: recipe.views.len() as i64,
            size: recipe.patch_size.pixels() as i64,
            classes: recipe.mil.labels.len() as i64,
        };
        AttentionNet::new(path, shape, recipe.mil.hidden as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use hemapatch::evidence::Bag;
    use ndarray::Array2;
    use tch::Device;
    use tch::nn::VarStore;

    fn outputs(patches: usize, random: &mut Random) -> Array2<f32> {
        Array2::from_shape_fn((patches, 3), |_| random.between(-3.0, 3.0) as f32)
    }

    #[test]
    fn pools_as_the_engine_does_with_each_patch_as_often_as_it_occurs() {
        let mut random = Random::new(5);
        for (patches, drawn) in [(1, 1), (7, 40), (30, 12)] {
            let outputs = outputs(patches, &mut random);
            let rows: Vec<i64> = (0..drawn).map(|_| random.below(patches) as i64).collect();
            let mut times = vec![0; patches];
            rows.iter().for_each(|&row| times[row as usize] += 1);
            let flat = outputs.as_slice().unwrap();
            let tensor = Tensor::from_slice(flat).view([patches as i64, 3]);
            let found: Vec<f32> = Vec::try_from(pool(&tensor, &Tensor::from_slice(&rows))).unwrap();
            let expected = Bag::pool(outputs.view(), &times).unwrap();
            for (found, expected) in found.iter().zip(expected.logits()) {
                assert!((found - expected).abs() < 1e-5, "{found}, in the engine {expected}");
            }
        }
    }

    #[test]
    fn a_bags_logit_is_the_linear_classifier_of_its_mean_embedding() {
        let store = VarStore::new(Device::Cpu);
        let shape = Shape { views: 1, size: 16, classes: 2 };
        let net = AttentionNet::new(&store.root(), shape, 8);
        let gray = Tensor::rand([5, 1, 16, 16], (Kind::Float, Device::Cpu)) * 255.0;
        let outputs = net.forward(&gray, false);
        let embedding = net.trunk.embed(&gray, false);
        let shares = outputs.narrow(1, 0, 1).softmax(0, Kind::Float);
        let mean = (shares * embedding).sum_dim_intlist([0i64].as_slice(), true, Kind::Float);
        let expected = net.trunk.head.forward(&mean).squeeze();
        let off = (pool(&outputs, &Tensor::from_slice(&[0i64, 1, 2, 3, 4])) - expected).abs().max();
        assert!(off.double_value(&[]) < 1e-4);
    }
}
