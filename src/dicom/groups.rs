//! Functional groups: where a multi-frame object says what its frames share, and what each has of its own.
//! Walking them is left to `guard`, reading their elements to `header`.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

/// The macros that hold what a slice needs.
///
/// # Source
/// DICOM PS3.3 C.7.6.16.2 (pixel measures, frame content, plane position and orientation), C.8.15.3 (CT).
const MACROS: &[Tag] = &[
    tags::FRAME_CONTENT_SEQUENCE,
    tags::PLANE_POSITION_SEQUENCE,
    tags::PLANE_ORIENTATION_SEQUENCE,
    tags::PIXEL_MEASURES_SEQUENCE,
    tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
    tags::CT_IMAGE_FRAME_TYPE_SEQUENCE,
    tags::CT_RECONSTRUCTION_SEQUENCE,
    tags::CT_ACQUISITION_DETAILS_SEQUENCE,
    tags::CONTRAST_BOLUS_USAGE_SEQUENCE,
];

/// Whom a functional group belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// All frames.
    Shared,
    /// One frame, counted from 0.
    Frame(u32),
}

/// What a sequence or item is, on the way from the top of a data set to the elements of a functional group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing of interest.
    Other,
    /// The sequence of the shared functional groups.
    SharedGroups,
    /// The sequence of the functional groups of each frame.
    FrameGroups,
    /// An item of one of both.
    Group(Owner),
    /// A macro in it.
    Macro(Owner),
    /// The macro's first item.
    MacroItem(Owner),
}

impl Role {
    /// The role of an element at the top of the data set.
    pub fn at_top(tag: Tag) -> Role {
        match tag {
            tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE => Role::SharedGroups,
            tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE => Role::FrameGroups,
            _ => Role::Other,
        }
    }

    /// The role of an element in an item of this role.
    pub fn of_element(self, tag: Tag) -> Role {
        match self {
            Role::Group(owner) if MACROS.contains(&tag) => Role::Macro(owner),
            _ => Role::Other,
        }
    }

    /// The role of an item, counted from 0, in a sequence of this role.
    ///
    /// Macros with several items (of a scanner with two tubes, say) are read by their first.
    pub fn of_item(self, item: u32) -> Role {
        match (self, item) {
            (Role::SharedGroups, 0) => Role::Group(Owner::Shared),
            (Role::FrameGroups, frame) => Role::Group(Owner::Frame(frame)),
            (Role::Macro(owner), 0) => Role::MacroItem(owner),
            _ => Role::Other,
        }
    }
}
