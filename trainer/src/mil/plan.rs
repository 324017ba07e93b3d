//! The recipe's `[mil]`: what a step is, how attention is held smooth, what bags are labelled with.

use hemapatch::label::BagLabel;
use serde::{Deserialize, Serialize};

/// The recipe's `[mil]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// Labels of a bag. PHE-SICH-CT-IDS knows hematoma alone; markers are known of drawn heads.
    pub labels: Vec<String>,
    /// Windows of a step: half around slices with a label, half around box-free ones.
    pub windows: usize,
    /// Consecutive slices of a window.
    pub slices: usize,
    /// At most so many places of a window are used, drawn at random each time and the same in all of its slices;
    /// 0 uses all. A step costs what its patches cost, and a lesion of a few places out of 350 keeps one in a third
    /// of them nearly always; views at scale 2 and 4 show it from beside, too.
    pub places: usize,
    /// Units of the attention's hidden layer.
    pub hidden: usize,
    /// Weight of the squared difference of attention logits between neighbouring slices.
    pub smooth_slices: f64,
    /// The same between neighbouring places of a slice.
    pub smooth_places: f64,
    /// Weight of the patches' mean squared score. Without it attention stays flat: a lesion of a few patches moves the
    /// plain mean of hundreds just as well by scores of 20, and such scores say nothing of a patch.
    pub score_decay: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            labels: vec![BagLabel::Hematoma.name().to_owned()],
            windows: 4,
            slices: 3,
            places: 96,
            hidden: 64,
            smooth_slices: 0.01,
            smooth_places: 0.0,
            score_decay: 0.003,
        }
    }
}

impl Plan {
    /// The labels that the names stand for; unknown ones, which [`Plan::rules`] refuses, are left out.
    #[must_use]
    pub fn bag_labels(&self) -> Vec<BagLabel> {
        self.labels.iter().filter_map(|name| BagLabel::from_name(name).ok()).collect()
    }

    /// What must hold of the values: whether it does, the key, the rule.
    #[must_use]
    pub fn rules(&self) -> [(bool, &'static str, &'static str); 7] {
        let labels = self.bag_labels();
        let repeated = (1..labels.len()).any(|at| labels[..at].contains(&labels[at]));
        let known = labels.len() == self.labels.len() && !repeated && labels.contains(&BagLabel::Hematoma);
        [
            (known, "mil.labels", "names of bag labels, each once, hematoma among them"),
            (self.windows >= 2, "mil.windows", "at least 2"),
            (self.slices >= 1, "mil.slices", "at least 1"),
            (self.hidden >= 1, "mil.hidden", "at least 1"),
            (self.smooth_slices >= 0.0, "mil.smooth_slices", "0 or more"),
            (self.smooth_places >= 0.0, "mil.smooth_places", "0 or more"),
            (self.score_decay >= 0.0, "mil.score_decay", "0 or more"),
        ]
    }
}
