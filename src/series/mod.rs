//! Series: which DICOM objects there are, which of them are slices of one volume, in which order, and which
//! series of a study is the head.
//! Pixels are left to `stream`.

mod archive;
mod assemble;
mod choose;
mod find;
mod geometry;
mod kernel;
mod naming;
mod oddities;
mod reorient;
mod sorting;
mod source;
mod spacing;
mod stack;
mod suspect;
mod unread;
mod warnings;

use std::collections::BTreeMap;
use std::fmt;

use crate::dicom::SliceHeader;

pub use assemble::{Assembly, Headers, assemble};
pub use choose::{Choice, NoSeries, choose};
pub use find::{Found, Input, find};
pub use geometry::Orientation;
pub use kernel::{KernelClass, kernel_class};
pub use naming::HeadEvidence;
pub use reorient::Reorientation;
pub use source::{Bytes, MemberView, Source, SourceError};
pub use unread::{Chain, Fruitless, FruitlessReason, Unread};

/// A study and its axial CT series.
#[derive(Debug)]
pub struct Study {
    /// UID of the study.
    pub study_uid: String,
    /// Its stacks of axial CT slices, by series number and UID. May be empty.
    pub series: Vec<Series>,
    /// Its objects that are no axial CT slices.
    pub left_out: Vec<LeftOut>,
    /// Its objects that cannot be read but for the UID of the study. Slices may be among them.
    pub unread: Vec<Unread>,
}

impl Study {
    /// Warnings `unreadable_file` for the objects of this study.
    pub fn warnings(&self) -> Vec<Warning> {
        unread::warnings(&self.unread)
    }
}

/// Slices of one stack: parallel, of one size, one kernel, each place once, from the feet to the head.
///
/// A DICOM series becomes more than one of these where it holds several stacks. Rows, columns, axes and pixel spacing
/// are those of the standard view, into which [`Series::reorientation`] brings the pixels that are stored.
#[derive(Debug)]
pub struct Series {
    /// UID of the study.
    pub study_uid: String,
    /// UID of the DICOM series.
    pub series_uid: String,
    /// The slices; at least one.
    pub slices: Vec<SliceEntry>,
    /// Rows of every slice.
    pub rows: u32,
    /// Columns of every slice.
    pub columns: u32,
    /// Axes of every slice.
    pub orientation: Orientation,
    /// What brings the stored pixels into the standard view.
    pub reorientation: Reorientation,
    /// Distance of rows, distance of columns, in mm; None where the headers give none.
    pub pixel_spacing_mm: Option<[f64; 2]>,
    /// Median distance of neighbouring slices along the normal, in mm; None for a single slice.
    pub spacing_mm: Option<f64>,
    /// What is unusual about the series.
    pub warnings: Vec<Warning>,
}

impl Series {
    /// Tilt of the gantry in degrees, from the orientation of the slices.
    pub fn tilt_deg(&self) -> f64 {
        self.orientation.tilt_deg()
    }

    /// The header of the lowest slice; what it says of kernel, contrast and size holds for all.
    pub fn header(&self) -> Option<&SliceHeader> {
        self.slices.first().map(|slice| &slice.header)
    }
}

/// A slice in its series.
#[derive(Debug)]
pub struct SliceEntry {
    /// Where its bytes are.
    pub source: Source,
    /// Its header.
    pub header: SliceHeader,
    /// Its place along the normal, in mm, ascending toward the head.
    pub z_mm: f64,
    /// How much of the patient it stands for along the normal, in mm: times an area, a volume.
    pub slab_mm: f64,
}

/// An object that is not read, on purpose.
#[derive(Debug)]
pub struct LeftOut {
    /// Its path, or `archive.zip!member`.
    pub place: String,
    /// Why.
    pub reason: LeftOutReason,
}

impl LeftOut {
    /// How many there are for each reason and which is the first: `1 (localizer), first: a/IM1`; None where there
    /// are none.
    pub fn summary(left_out: &[LeftOut]) -> Option<String> {
        let mut counts: BTreeMap<LeftOutReason, (u32, &str)> = BTreeMap::new();
        for object in left_out {
            counts.entry(object.reason).or_insert((0, &object.place)).0 += 1;
        }
        let words =
            counts.iter().map(|(reason, (count, first))| format!("{count} ({reason}), first: {first}"));
        (!left_out.is_empty()).then(|| words.collect::<Vec<_>>().join("; "))
    }
}

/// Why an object is no slice to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOutReason {
    /// Its SOP class is another one than CT Image Storage.
    NotCt,
    /// A localizer, as ImageType says.
    Localizer,
    /// Made of slices instead of measured: dose report, protocol page, projection, perfusion map.
    NotASlice,
    /// No position or orientation in the patient.
    NoPosition,
    /// Coronal, sagittal, or more than 45 degrees off axial.
    NotAxial,
    /// Rescaled to another unit than Hounsfield's: a spectral map.
    NotHounsfield,
    /// Without pixel data.
    NoPixels,
    /// The same object was found before.
    Copy,
    /// The place is shown by another slice of the series.
    DuplicatePosition,
    /// The series has more slices than [`Limits::slices`](crate::limits::Limits::slices), or met
    /// [`Limits::held_bytes`](crate::limits::Limits::held_bytes).
    TooManySlices,
}

impl fmt::Display for LeftOutReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeftOutReason::NotCt => "not a CT image",
            LeftOutReason::Localizer => "localizer",
            LeftOutReason::NotASlice => "not a slice: report, projection or map",
            LeftOutReason::NoPosition => "no position or orientation",
            LeftOutReason::NotAxial => "not axial",
            LeftOutReason::NotHounsfield => "not in Hounsfield units, by RescaleType",
            LeftOutReason::NoPixels => "no pixel data",
            LeftOutReason::Copy => "the same object was found before",
            LeftOutReason::DuplicatePosition => "another slice shows the same place",
            LeftOutReason::TooManySlices => "too many slices in the series",
        })
    }
}

/// Something about a series that its reader should know, and that does not keep it from being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Stable word for programs, such as `gantry_tilt`.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

impl Warning {
    pub(crate) fn new(code: &'static str, detail: impl Into<String>) -> Warning {
        Warning { code, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_told_by_name() {
        // A study was refused with "left out: 1 (localizer)", and nobody could tell which file that was.
        let object = |place: &str, reason| LeftOut { place: place.to_owned(), reason };
        let left_out = [
            object("b", LeftOutReason::NotAxial),
            object("c", LeftOutReason::Localizer),
            object("a", LeftOutReason::NotAxial),
        ];
        assert_eq!(LeftOut::summary(&left_out).unwrap(), "1 (localizer), first: c; 2 (not axial), first: b");
        assert_eq!(LeftOut::summary(&[]), None);
    }
}
