//! A slice as a bag of patches (P15): what the bag's pooled outputs say of it, and which of its patches count.

use crate::evidence::{self, Bag, Pooling, pool, sigmoid};
use crate::label::{BagLabel, Class};
use crate::patch::Patches;
use ndarray::{Array3, ArrayView2, ArrayView3};

/// The label probabilities of a series' bags, slice after slice.
pub(super) struct Bags {
    labels: Vec<BagLabel>,
    /// Place of hematoma among the labels.
    hematoma: usize,
    /// One list a label.
    probabilities: Vec<Vec<f32>>,
}

impl Bags {
    pub fn new(labels: &[BagLabel]) -> Self {
        // The manifest was refused if it had no such label.
        let hematoma = labels.iter().position(|&label| label == BagLabel::Hematoma).unwrap_or(0);
        Self { labels: labels.to_vec(), hematoma, probabilities: vec![Vec::new(); labels.len()] }
    }

    /// Pools a slice's bag and gives its probability of hematoma; an empty slice has none.
    ///
    /// A patch is called hematoma where its own probability ([`Bag::patch_probability`]) is at least `from`; the
    /// network has no name for the others.
    ///
    /// # Shape
    /// `outputs` is `[unique patches, 1 + labels]`, `unique` becomes `[unique patches]`.
    pub fn read(
        &mut self,
        outputs: ArrayView2<'_, f32>,
        patches: &Patches,
        from: f32,
        unique: &mut Vec<(f32, Option<Class>)>,
    ) -> f32 {
        let times = evidence::times(patches.places(), patches.in_bag(), outputs.nrows());
        let Some(bag) = Bag::pool(outputs, &times) else {
            self.probabilities.iter_mut().for_each(|of_label| of_label.push(0.0));
            unique.resize(outputs.nrows(), (0.0, None));
            return 0.0;
        };
        for (of_label, &logit) in self.probabilities.iter_mut().zip(bag.logits()) {
            of_label.push(sigmoid(logit));
        }
        unique.extend(outputs.column(1 + self.hematoma).iter().enumerate().map(|(patch, &score)| {
            let probability = bag.patch_probability(patch, score);
            (probability, (probability > 0.0 && probability >= from).then_some(Class::Hematoma))
        }));
        sigmoid(bag.logits()[self.hematoma])
    }

    /// The strongest evidence of each marker, smoothed over slices as that of hematoma is.
    pub fn markers(&self, pooling: &Pooling) -> Vec<(BagLabel, f32)> {
        let strongest = |of_label: &Vec<f32>| {
            let series = ArrayView3::from_shape((of_label.len(), 1, 1), of_label);
            let pooled: Array3<f32> = pool(pooling, series.expect("one value a slice"));
            pooled.into_iter().fold(0.0, f32::max)
        };
        let markers = self.labels.iter().zip(&self.probabilities).filter(|(label, _)| label.is_marker());
        markers.map(|(&label, of_label)| (label, strongest(of_label))).collect()
    }
}

/// What stands beside every result of a model with these labels.
pub(super) fn notice(labels: &[BagLabel]) -> Option<&'static str> {
    labels.iter().any(|label| label.is_marker()).then_some(BagLabel::MARKERS_ARE_DRAWN)
}
