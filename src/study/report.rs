//! What is said of a study: the report, its outcome, and everything needed to retrace it.

use crate::dicom::DicomError;
use crate::label::{BagLabel, Class};
use crate::mapped::MappedError;
use crate::series::{FruitlessReason, NoSeries, SourceError};
use crate::stream::StreamError;
use std::collections::BTreeMap;

pub use crate::series::Warning;

/// The report on one study. `output` writes it down; docs/report.md says what each field means.
#[derive(Clone, Debug)]
pub struct Report {
    /// UID of the study; empty where no study could be read.
    pub study_uid: String,
    /// UID of the series that was judged; empty where none was.
    pub series_uid: String,
    /// Why this series was chosen among those of the study.
    pub series_reason: String,
    /// The verdict.
    pub outcome: Outcome,
    /// What each rule says, whichever of them decides.
    pub rules: Rules,
    /// Patches called hematoma, in all slices.
    pub hematoma_patches: u32,
    /// Volume of those patches, by their area and the real distance of slices.
    ///
    /// # Units
    /// Millilitres; `None` where the headers give no pixel spacing. An estimate to a patch's grain: a patch counts
    /// whole or not at all.
    pub hematoma_volume_ml: Option<f64>,
    /// The classes that the model can call a patch: only their counts mean anything.
    pub classes: Vec<Class>,
    /// Of a model with marker labels: the strongest evidence of each marker in any slice, 0 to 1, not calibrated.
    /// See [`BagLabel::MARKERS_ARE_DRAWN`].
    pub bag_labels: Vec<(BagLabel, f32)>,
    /// One entry a slice, foot to head.
    pub slices: Vec<SliceReport>,
    /// What a reader of the result should know.
    pub warnings: Vec<Warning>,
    /// Where the time went.
    pub timings: Timings,
    /// What is needed to get the same result again.
    pub trace: Trace,
}

/// How a study ends. There is no fourth way.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Hematoma is suspected.
    Alert {
        /// The study's calibrated probability of hematoma.
        probability: f32,
    },
    /// None is.
    NoAlert {
        /// The study's calibrated probability of hematoma.
        probability: f32,
    },
    /// Not judged. Shown wherever a result would be.
    Refused(Refusal),
}

/// Why a study was not judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: the file, the tag, the reason.
    pub detail: String,
}

/// The reasons for which a study is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// Nothing that was given holds an axial CT series.
    NoCtSeries,
    /// There are CT series, and none of them is of a head.
    NotHead,
    /// The series has too few slices to judge.
    TooFewSlices,
    /// No slice shows a head.
    NoHead,
    /// What is in the head is no brain: a phantom, or a window that does not show one.
    NoBrain,
    /// The values are not Hounsfield units: gray levels, a spectral map, a lost rescale.
    NotHounsfield,
    /// A file or folder cannot be opened or read.
    UnreadableInput,
    /// A file breaks the standard or is damaged, and nothing is left without it.
    CorruptInput,
    /// Valid, but of a kind that this program does not read.
    UnsupportedInput,
    /// Larger than the limits allow.
    LimitExceeded,
    /// The engine failed: our mistake.
    Internal,
}

impl RefusalCode {
    /// Every code.
    pub const ALL: [Self; 11] = [
        Self::NoCtSeries,
        Self::NotHead,
        Self::TooFewSlices,
        Self::NoHead,
        Self::NoBrain,
        Self::NotHounsfield,
        Self::UnreadableInput,
        Self::CorruptInput,
        Self::UnsupportedInput,
        Self::LimitExceeded,
        Self::Internal,
    ];

    /// As the report spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCtSeries => "no_ct_series",
            Self::NotHead => "not_head",
            Self::TooFewSlices => "too_few_slices",
            Self::NoHead => "no_head",
            Self::NoBrain => "no_brain",
            Self::NotHounsfield => "not_hounsfield",
            Self::UnreadableInput => "unreadable_input",
            Self::CorruptInput => "corrupt_input",
            Self::UnsupportedInput => "unsupported_input",
            Self::LimitExceeded => "limit_exceeded",
            Self::Internal => "internal",
        }
    }
}

impl From<&SourceError> for RefusalCode {
    fn from(error: &SourceError) -> Self {
        match error {
            SourceError::File(MappedError::Limit { .. }) | SourceError::Limit { .. } => Self::LimitExceeded,
            SourceError::File(_) | SourceError::Folder(_) => Self::UnreadableInput,
            SourceError::Archive(_) => Self::CorruptInput,
            SourceError::ArchiveUnsupported(_) => Self::UnsupportedInput,
            SourceError::Dicom(error) => error.into(),
        }
    }
}

impl From<&DicomError> for RefusalCode {
    fn from(error: &DicomError) -> Self {
        match error {
            DicomError::Limit { .. } => Self::LimitExceeded,
            error if error.is_corrupt() => Self::CorruptInput,
            _ => Self::UnsupportedInput,
        }
    }
}

impl From<&StreamError> for RefusalCode {
    fn from(error: &StreamError) -> Self {
        match error {
            StreamError::Source { error, .. } => error.into(),
            StreamError::Dicom { error, .. } => error.into(),
            StreamError::Hounsfield { .. } => Self::UnsupportedInput,
            StreamError::Changed { .. } => Self::UnreadableInput,
        }
    }
}

impl From<&FruitlessReason> for RefusalCode {
    fn from(reason: &FruitlessReason) -> Self {
        match reason {
            FruitlessReason::Empty | FruitlessReason::NotDicom { .. } | FruitlessReason::NoPixels { .. } => {
                Self::NoCtSeries
            }
            FruitlessReason::NotReached { .. } => Self::LimitExceeded,
        }
    }
}

impl From<&NoSeries<'_>> for RefusalCode {
    fn from(error: &NoSeries<'_>) -> Self {
        match error {
            NoSeries::NoCtSeries => Self::NoCtSeries,
            NoSeries::NotHead => Self::NotHead,
            NoSeries::TooFewSlices { .. } => Self::TooFewSlices,
            NoSeries::Undecodable(_) => Self::UnsupportedInput,
            NoSeries::Unreadable { first, .. } => (&first.error).into(),
        }
    }
}

/// What each of the two rules says of a study.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The paper's bag rule (P13): at least one hematoma patch.
    pub bag: bool,
    /// The study's probability reaches the manifest's threshold.
    pub threshold: bool,
}

/// What is said of one slice.
#[derive(Clone, Debug)]
pub struct SliceReport {
    /// UID of the slice.
    pub sop_uid: String,
    /// Where it was read from: a file, or an archive and its member.
    pub file: String,
    /// Position along the series' normal.
    ///
    /// # Units
    /// Millimetres.
    pub z_mm: f64,
    /// Which frame of its object it is, counted from 1; None where the object has one.
    pub frame: Option<u32>,
    /// The slice's calibrated probability of hematoma.
    pub score: f32,
    /// Patches of each class, by [`Class::index`].
    pub counts: [u32; Class::COUNT],
}

/// Where the time of a study went.
///
/// Steps are added over slices, which several threads work on at once: together they may be more than the total.
///
/// # Units
/// Milliseconds of wall time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// From file to Hounsfield units.
    pub read_ms: f64,
    /// From Hounsfield units to patches.
    pub prepare_ms: f64,
    /// From patches to logits.
    pub infer_ms: f64,
    /// The whole study, headers of all its files included.
    pub total_ms: f64,
}

/// What is needed to get the same result again.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Program and version.
    pub program: String,
    /// Which engine ran the network.
    pub engine: String,
    /// Name of the model.
    pub model: String,
    /// Its version.
    pub model_version: String,
    /// SHA-256 of the network file that ran.
    pub model_sha256: String,
    /// Which of the model's networks that is: "int8" or "f32".
    pub precision: &'static str,
    /// The instruction set of our own kernels, where the network ran in them.
    pub simd: Option<&'static str>,
    /// The window that was used.
    pub window_hu: [i32; 2],
    /// The preparation steps, in order.
    pub preprocessing: Vec<String>,
    /// The rule that decided: "bag" or "threshold".
    pub rule: String,
    /// Every number that the verdict depends on, by name.
    pub thresholds: BTreeMap<String, f64>,
    /// What stands beside every result of such a model, on every page and picture.
    pub notice: Option<&'static str>,
}
