//! Length, batches, optimizer and augmentation of a training.

use crate::bag::{KINDS, UNLABELLED, WEAK};
use hemapatch::label::Class;
use serde::{Deserialize, Serialize};

/// Length and optimizer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Rounds; every round cuts the patches anew from newly augmented slices.
    pub rounds: usize,
    /// Optimizer steps a round.
    pub steps: usize,
    /// Patches a step, by kind.
    pub batch: BatchPlan,
    /// Highest learning rate of AdamW's one-cycle schedule.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Share of the target spread over all classes.
    pub label_smoothing: f64,
    /// Weight of the weak negatives' loss against the certain patches'.
    pub weak_weight: f64,
    /// Kept share of the running average of the weights, a step.
    pub average_decay: f64,
    /// First round (from 0) in which half of the weak negatives are the hardest ones.
    pub mine_from: usize,
    /// How often a boxed slice is cut in a round, each time augmented differently.
    pub boxed_repeats: usize,
    /// Threads of libtorch. With another number of them the weights are others.
    pub threads: i32,
    /// Where libtorch computes.
    pub device: ComputeDevice,
}

/// Where libtorch computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComputeDevice {
    /// The processor: the same weights every time.
    #[default]
    Cpu,
    /// The first graphics processor if libtorch has one, else the processor.
    Cuda,
}

impl Default for Training {
    fn default() -> Self {
        Training {
            rounds: 10,
            steps: 500,
            batch: BatchPlan::default(),
            learning_rate: 2e-3,
            weight_decay: 0.02,
            label_smoothing: 0.02,
            weak_weight: 1.0,
            average_decay: 0.998,
            mine_from: 3,
            boxed_repeats: 4,
            threads: 2,
            device: ComputeDevice::Cpu,
        }
    }
}

/// How many patches of each kind a batch has.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchPlan {
    /// Certain background.
    pub background: usize,
    /// Certain parenchyma.
    pub parenchyma: usize,
    /// Certain hematoma.
    pub hematoma: usize,
    /// Certain skull.
    pub skull: usize,
    /// Certain ventricle; multi-label only.
    pub ventricle: usize,
    /// Certain fluid gap; multi-label only.
    pub csf: usize,
    /// Weak negatives.
    pub weak: usize,
    /// Unlabelled patches with a pseudo-label, as many of each class as can be; semi-supervised only.
    pub unlabelled: usize,
}

impl Default for BatchPlan {
    fn default() -> Self {
        BatchPlan {
            background: 16,
            parenchyma: 48,
            hematoma: 64,
            skull: 16,
            ventricle: 0,
            csf: 0,
            weak: 112,
            unlabelled: 0,
        }
    }
}

impl BatchPlan {
    /// Certain patches by class index, then weak negatives, then unlabelled ones.
    #[must_use]
    pub fn counts(&self) -> [usize; KINDS] {
        let mut counts = [0; KINDS];
        for (class, count) in [
            (Class::Background, self.background),
            (Class::Parenchyma, self.parenchyma),
            (Class::Hematoma, self.hematoma),
            (Class::Skull, self.skull),
            (Class::Ventricle, self.ventricle),
            (Class::Csf, self.csf),
        ] {
            counts[class.index()] = count;
        }
        (counts[WEAK], counts[UNLABELLED]) = (self.weak, self.unlabelled);
        counts
    }

    /// Certain patches a batch.
    #[must_use]
    pub fn certain(&self) -> usize {
        self.counts()[..Class::COUNT].iter().sum()
    }

    /// All patches a batch.
    #[must_use]
    pub fn total(&self) -> usize {
        self.counts().iter().sum()
    }
}

/// What is changed at random: patches mirrored and transposed, all else on whole slices before
/// views are made of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Whether patches are mirrored and transposed.
    pub flips: bool,
    /// Whether the head is shifted under the grid.
    pub shift: bool,
    /// Largest rotation either way, degrees.
    pub rotation_deg: f64,
    /// Largest change of size either way, percent.
    pub size_percent: f64,
    /// Largest change of contrast either way, percent.
    pub contrast_percent: f64,
    /// Largest change of brightness either way, gray levels.
    pub brightness: f64,
    /// Largest standard deviation of added noise, gray levels.
    pub noise: f64,
    /// Largest share of the 3x3 mean that is mixed in: a softer kernel.
    pub blur: f64,
    /// Largest share of the difference from the 3x3 mean that is added: a sharper kernel.
    pub sharpen: f64,
    /// Largest share of the slices before and after that is mixed in: a thicker slice.
    pub thickness: f64,
}

impl Default for Augmentation {
    fn default() -> Self {
        Augmentation {
            flips: true,
            shift: true,
            rotation_deg: 15.0,
            size_percent: 10.0,
            contrast_percent: 8.0,
            brightness: 8.0,
            noise: 6.0,
            blur: 0.6,
            sharpen: 0.0,
            thickness: 0.0,
        }
    }
}

impl Augmentation {
    /// Whether every patch stays the patch that it is.
    pub(super) fn keeps_the_grid(&self) -> bool {
        !self.shift && self.rotation_deg == 0.0 && self.size_percent == 0.0 && self.thickness == 0.0
    }
}
