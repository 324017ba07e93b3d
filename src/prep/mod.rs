//! Preparation of one gray slice: noise removal, bone removal, centering, in this order.
//!
//! Works on gray levels after the window, so that a slice from a scanner and a slice that was
//! published as a windowed picture take the same way. What a model wants of it stands in its manifest.

mod center;
mod denoise;
mod mask;
mod regions;
mod skull;

pub use center::Placement;

use mask::Mask;
use ndarray::Array2;
use regions::Regions;
use serde::{Deserialize, Serialize};

/// What becomes of bone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bone {
    /// Bone stays and is a class of its own.
    #[default]
    Keep,
    /// Everything but the inside of the skull becomes 0.
    Remove,
}

/// Whether the head is moved to the middle of the slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Centering {
    /// The head stays where it is.
    Off,
    /// The head's centroid moves to the middle, by whole pixels.
    #[default]
    Shift,
    /// The shift, and the head's long axis turned upright.
    Upright,
}

/// The steps that a model was trained with, and so must be run with.
///
/// # Source
/// Parts P3, P4 and P5 of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// Whether everything but the head is removed: table, head holder, tubes (P3).
    pub denoise: bool,
    /// What becomes of bone (P4).
    pub bone: Bone,
    /// Centering (P5).
    pub center: Centering,
}

impl Default for Preparation {
    fn default() -> Self {
        Self { denoise: true, bone: Bone::Keep, center: Centering::Shift }
    }
}

/// Buffers that are allocated once and used for slice after slice.
#[derive(Default)]
pub struct Scratch {
    head: Mask,
    core: Mask,
    inside: Mask,
    spare: Mask,
    words: Vec<u64>,
    regions: Regions,
    moved: Vec<u8>,
}

impl Preparation {
    /// The steps in order, in words, for a report's trace.
    pub fn describe(&self) -> Vec<String> {
        let steps = [
            self.denoise.then_some("noise removed"),
            (self.bone == Bone::Remove).then_some("bone removed"),
            match self.center {
                Centering::Off => None,
                Centering::Shift => Some("head centered"),
                Centering::Upright => Some("head centered and turned upright"),
            },
        ];
        steps.into_iter().flatten().map(str::to_owned).collect()
    }

    /// Prepares one gray slice in place and says how it was moved.
    ///
    /// # Shape
    /// `gray` is `[rows, columns]`, of any size but empty, in standard layout.
    ///
    /// # Panics
    /// When `gray` is not in standard layout, which the planes of this crate always are.
    pub fn prepare(&self, gray: &mut Array2<u8>, scratch: &mut Scratch) -> Placement {
        let columns = gray.ncols();
        let pixels = gray.as_slice_mut().expect("planes are in standard layout");
        scratch.find_head(pixels, columns);
        if self.denoise {
            scratch.head.keep_inside(pixels);
        }
        // Bone removal leaves the head's outline behind, so the placement is taken before it.
        let placement = Placement::of(&scratch.head, self.center);
        if self.bone == Bone::Remove {
            scratch.remove_bone(pixels, columns);
        }
        placement.apply_pixels(pixels, columns, &mut scratch.moved);
        placement
    }
}

/// Pixels on a 512-column slice, on a slice of `columns`: scanners keep the field of view, not the pixel size.
fn of_512(pixels: usize, columns: usize) -> usize {
    (pixels * columns).div_ceil(512)
}
