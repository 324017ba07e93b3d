//! What a patch's pixels say of it: the certain class for a single-label network, a target for each
//! class for a multi-label one. Which pixels are of which class is `label_rule`'s business.

use hemapatch::label::Class;
use ndarray::ArrayView2;

/// What is known of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchLabel {
    /// One class fills it.
    Certain(Class),
    /// Mixed, and no hematoma.
    WeakNegative,
    /// Nothing.
    Unknown,
}

/// Shares of a patch's pixels that make it certain.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// For all classes but hematoma.
    pub other: f64,
    /// For hematoma.
    pub hematoma: f64,
}

/// What is known of one class in one patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Enough of its pixels are of the class.
    Present,
    /// Next to none of them can be.
    Absent,
    /// Neither.
    Unknown,
}

/// Of this share of a patch's pixels nobody minds what they are: a row of a 16x16 patch.
const NEXT_TO_NONE: f64 = 1.0 / 16.0;

/// How many of a patch's pixels are of each class.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    counts: [usize; Class::COUNT],
    pixels: usize,
}

impl Shares {
    /// Counts the pixel classes of a patch; [`crate::label_rule::UNCERTAIN`] is of no class.
    #[must_use]
    pub fn of(classes: ArrayView2<u8>) -> Shares {
        let mut counts = [0usize; Class::COUNT];
        for &class in classes {
            if let Some(count) = counts.get_mut(usize::from(class)) {
                *count += 1;
            }
        }
        Shares { counts, pixels: classes.len() }
    }

    /// Share of hematoma.
    #[must_use]
    pub fn hematoma(&self) -> f64 {
        self.counts[Class::Hematoma.index()] as f64 / self.pixels.max(1) as f64
    }

    /// The label for a network that chooses one of `known`.
    ///
    /// `no_hematoma`: what is certain for nothing is still known not to be hematoma, since no box is near.
    #[must_use]
    pub fn label(&self, fill: Fill, known: &[Class], no_hematoma: bool) -> PatchLabel {
        let certain = known.iter().copied().find(|&class| {
            let least = if class == Class::Hematoma { fill.hematoma } else { fill.other };
            self.counts[class.index()] as f64 >= least * self.pixels as f64
        });
        match certain {
            Some(class) => PatchLabel::Certain(class),
            None if no_hematoma => PatchLabel::WeakNegative,
            None => PatchLabel::Unknown,
        }
    }

    /// The targets for a network that says yes or no to each class (P12).
    ///
    /// A class is present from a share of `present` on, and absent where it has next to none of the
    /// pixels even if all uncertain ones were its own; hematoma is absent far from boxes.
    #[must_use]
    pub fn targets(&self, present: f64, far_from_boxes: bool) -> [Target; Class::COUNT] {
        let pixels = self.pixels as f64;
        let uncertain = self.pixels - self.counts.iter().sum::<usize>();
        Class::ALL.map(|class| {
            let count = self.counts[class.index()];
            if class == Class::Hematoma && far_from_boxes {
                Target::Absent
            } else if count as f64 >= present * pixels {
                Target::Present
            } else if (count + uncertain) as f64 <= NEXT_TO_NONE * pixels {
                Target::Absent
            } else {
                Target::Unknown
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label_rule::UNCERTAIN;
    use ndarray::Array2;

    fn shares(parts: &[(Class, usize)]) -> Shares {
        let mut classes = Array2::from_elem((10, 10), UNCERTAIN);
        let mut pixels = classes.iter_mut();
        for &(class, count) in parts {
            pixels.by_ref().take(count).for_each(|pixel| *pixel = class as u8);
        }
        Shares::of(classes.view())
    }

    #[test]
    fn a_patch_needs_its_share_of_one_class() {
        let fill = Fill { other: 0.8, hematoma: 0.6 };
        let label = |class, pixels, far| shares(&[(class, pixels)]).label(fill, &Class::SINGLE, far);
        assert_eq!(label(Class::Skull, 80, false), PatchLabel::Certain(Class::Skull));
        assert_eq!(label(Class::Skull, 79, false), PatchLabel::Unknown);
        assert_eq!(label(Class::Skull, 79, true), PatchLabel::WeakNegative);
        assert_eq!(label(Class::Hematoma, 60, false), PatchLabel::Certain(Class::Hematoma));
        assert_eq!(label(Class::Hematoma, 59, false), PatchLabel::Unknown);
    }

    #[test]
    fn a_class_that_the_network_does_not_know_is_never_certain() {
        let fill = Fill { other: 0.8, hematoma: 0.6 };
        let ventricle = shares(&[(Class::Ventricle, 95)]);
        assert_eq!(ventricle.label(fill, &Class::ALL, true), PatchLabel::Certain(Class::Ventricle));
        assert_eq!(ventricle.label(fill, &Class::SINGLE, true), PatchLabel::WeakNegative);
        assert_eq!(ventricle.label(fill, &Class::SINGLE, false), PatchLabel::Unknown);
    }

    #[test]
    fn several_classes_may_be_present_and_uncertain_pixels_leave_doubt() {
        use Target::{Absent, Present, Unknown};
        let mixed = shares(&[(Class::Background, 30), (Class::Skull, 66)]);
        assert_eq!(mixed.targets(0.2, false), [Present, Absent, Absent, Present, Absent, Absent]);
        let doubtful = shares(&[(Class::Parenchyma, 70)]);
        assert_eq!(doubtful.targets(0.2, false), [Unknown, Present, Unknown, Unknown, Unknown, Unknown]);
        assert_eq!(doubtful.targets(0.2, true)[Class::Hematoma.index()], Absent);
        let edge = shares(&[(Class::Hematoma, 15), (Class::Parenchyma, 85)]);
        assert_eq!(edge.targets(0.2, false)[Class::Hematoma.index()], Unknown);
    }
}
