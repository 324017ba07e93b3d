//! A network and the variables that hold its weights, and the running average of a training's weights:
//! the model.

use crate::net::{ResNet18, Shape, Taps};
use crate::recipe::{ComputeDevice, Recipe};
use std::collections::BTreeMap;
use std::path::Path;
use tch::nn::{self, VarStore};
use tch::{Device, Tensor};

/// The average follows the weights every so many steps: as good, and cheaper.
pub const AVERAGE_EVERY: usize = 8;

/// A network that a recipe describes.
pub trait Network {
    /// Builds it with fresh weights in `path`.
    fn fresh(path: &nn::Path, recipe: &Recipe) -> Self;
}

impl Network for ResNet18 {
    fn fresh(path: &nn::Path, recipe: &Recipe) -> ResNet18 {
        let shape = Shape {
            views: recipe.views.len() as i64,
            size: recipe.patch_size.pixels() as i64,
            classes: recipe.method.classes().len() as i64,
        };
        ResNet18::new(path, shape, Taps::Live)
    }
}

/// A network and the variables that hold its weights.
pub struct Weights<N> {
    /// The variables, by torchvision's names.
    pub store: VarStore,
    /// The network.
    pub net: N,
}

/// Where a recipe computes.
#[must_use]
pub fn device(recipe: &Recipe) -> Device {
    match recipe.training.device {
        ComputeDevice::Cpu => Device::Cpu,
        ComputeDevice::Cuda => Device::cuda_if_available(),
    }
}

impl<N: Network> Weights<N> {
    /// Fresh weights for a recipe's network.
    #[must_use]
    pub fn new(recipe: &Recipe) -> Weights<N> {
        let store = VarStore::new(device(recipe));
        let net = N::fresh(&store.root(), recipe);
        Weights { store, net }
    }

    /// The weights of an earlier run.
    ///
    /// # Errors
    /// When the file is missing or belongs to another network.
    pub fn load(recipe: &Recipe, path: &Path) -> Result<Weights<N>, tch::TchError> {
        let mut weights = Weights::new(recipe);
        weights.store.load(path)?;
        weights.store.freeze();
        Ok(weights)
    }

    /// Weights and running statistics, by name.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<String, Tensor> {
        self.store.variables().into_iter().collect()
    }
}

/// The weights that are trained, and their running average.
pub struct Averaged<N> {
    /// What the optimizer moves.
    pub current: Weights<N>,
    /// What follows it, weights and running statistics.
    pub average: Weights<N>,
    /// Both, variable by variable.
    pairs: Vec<(Tensor, Tensor)>,
    decay: f64,
}

impl<N: Network> Averaged<N> {
    /// Fresh weights and an average that begins with them.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn new(recipe: &Recipe) -> Result<Averaged<N>, tch::TchError> {
        let current = Weights::new(recipe);
        let mut average = Weights::new(recipe);
        average.store.copy(&current.store)?;
        average.store.freeze();
        let mut averaged = average.variables();
        let pairs = current
            .variables()
            .into_iter()
            .filter_map(|(name, variable)| averaged.remove(&name).map(|other| (variable, other)))
            .collect();
        Ok(Averaged { current, average, pairs, decay: recipe.training.average_decay })
    }

    /// Moves the average towards the weights after step number `step`, counted from 1, when it is time.
    /// Early on it follows faster: the first weights are noise.
    pub fn follow(&self, step: usize) {
        if !step.is_multiple_of(AVERAGE_EVERY) {
            return;
        }
        let warm = (1 + step) as f64 / (10 + step) as f64;
        let kept = libm::pow(self.decay.min(warm), AVERAGE_EVERY as f64);
        tch::no_grad(|| {
            for (current, average) in &self.pairs {
                let mut average = average.shallow_clone();
                let _ = average.lerp_(current, 1.0 - kept);
            }
        });
    }
}
