//! Which patches are learned from, and how they are weighed.

use serde::{Deserialize, Serialize};

/// How patches of different classes are weighed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossRule {
    /// Single label: a class weighs as much as it is rare in a batch (P11). Multi-label: presence
    /// weighs as much as it is rare (P12).
    pub class_weights: bool,
    /// Exponent of the focal loss (Lin et al. 2017); 0 is plain cross-entropy.
    pub focal_gamma: f64,
}

/// Learning from few certain labels and many unlabelled patches (P18).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Semi {
    /// Training patients whose labels are known; all patches of the others are unlabelled.
    pub labelled_patients: usize,
    /// The averaged network's least probability of a class that becomes a patch's pseudo-label.
    pub confidence: f64,
    /// Weight of the pseudo-labels' loss against that of the certain patches.
    pub weight: f64,
    /// First round (from 0) that learns from pseudo-labels.
    pub from_round: usize,
}

/// Which patches are learned from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Labels {
    /// Share of a patch that background, parenchyma or skull must fill to be certain.
    pub fill: f64,
    /// Share of a patch that hematoma must fill. Lower than `fill`: the smallest lesions are as
    /// wide as a patch and never fill one of the grid to 80 %.
    pub hematoma_fill: f64,
    /// Whether uncertain patches of box-free slices teach what is no hematoma.
    pub weak_negatives: bool,
    /// A box-free slice is at least this many slices away from a boxed one.
    pub box_distance: usize,
    /// A patch beside one that hematoma fills, itself with no more than this share of it, is a weak
    /// negative; without it, of such patches nothing is known. It keeps counts and volumes from growing
    /// beyond the hematoma's edge.
    pub rim: Option<f64>,
    /// Multi-label: share of a patch from which on a class counts as present.
    pub present: f64,
}

impl Default for Labels {
    fn default() -> Self {
        Labels {
            fill: 0.8,
            hematoma_fill: 0.6,
            weak_negatives: true,
            box_distance: 2,
            rim: None,
            present: 0.2,
        }
    }
}
