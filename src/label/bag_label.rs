//! Labels of a whole bag of patches (P15): a slice has them, and nobody says which of its patches they rest on.

use std::fmt;

/// What a bag may be labelled with: a hematoma, and the markers of its growth.
///
/// # Source
/// The paper's method 2 (P15), and its markers A to D: Boulouis et al. 2016 by way of the paper (P16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BagLabel {
    /// The slice shows a hematoma.
    Hematoma,
    /// Marker A: a dark island inside, without connection to the outside.
    Hypodensity,
    /// Marker B: a lobulated outline.
    IrregularMargin,
    /// Marker C: two densities side by side with a sharp border.
    BlendSign,
    /// Marker D: a level border, dark above dense.
    FluidLevel,
}

impl BagLabel {
    /// Every label.
    pub const ALL: [BagLabel; 5] = [
        BagLabel::Hematoma,
        BagLabel::Hypodensity,
        BagLabel::IrregularMargin,
        BagLabel::BlendSign,
        BagLabel::FluidLevel,
    ];

    /// What every output of a model with marker labels says: there are no slices whose markers a radiologist read.
    pub const MARKERS_ARE_DRAWN: &str =
        "marker labels were drawn, not read by a radiologist; research use only";

    /// Name in reports, manifests and recipes.
    pub const fn name(self) -> &'static str {
        match self {
            BagLabel::Hematoma => "hematoma",
            BagLabel::Hypodensity => "hypodensity",
            BagLabel::IrregularMargin => "irregular_margin",
            BagLabel::BlendSign => "blend_sign",
            BagLabel::FluidLevel => "fluid_level",
        }
    }

    /// Whether it is one of the four markers.
    pub const fn is_marker(self) -> bool {
        !matches!(self, BagLabel::Hematoma)
    }

    /// The label of a name in a manifest or recipe.
    ///
    /// # Errors
    /// [`UnknownBagLabel`] for any other than the five names, which are lower case.
    pub fn from_name(name: &str) -> Result<BagLabel, UnknownBagLabel> {
        BagLabel::ALL
            .into_iter()
            .find(|label| label.name() == name)
            .ok_or_else(|| UnknownBagLabel(name.to_owned()))
    }
}

impl fmt::Display for BagLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that stands for no bag label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no bag label; known are hematoma, hypodensity, irregular_margin, blend_sign, fluid_level")]
pub struct UnknownBagLabel(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_is_found_again_by_its_name() {
        for label in BagLabel::ALL {
            assert_eq!(BagLabel::from_name(label.name()), Ok(label));
            assert_eq!(label.is_marker(), label != BagLabel::Hematoma);
        }
        let unknown = BagLabel::from_name("spot_sign").expect_err("not one of the five");
        assert!(unknown.to_string().starts_with("\"spot_sign\" is no bag label"));
    }
}
