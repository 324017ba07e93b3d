//! Coded concepts.
//!
//! # Source
//! DICOM PS3.16 and SNOMED CT. What neither names stands under 99HEMAPATCH, a private scheme.

/// A coded concept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    pub value: &'static str,
    pub scheme: &'static str,
    pub meaning: &'static str,
}

const fn dcm(value: &'static str, meaning: &'static str) -> Code {
    Code { value, scheme: "DCM", meaning }
}

const fn sct(value: &'static str, meaning: &'static str) -> Code {
    Code { value, scheme: "SCT", meaning }
}

const fn own(value: &'static str, meaning: &'static str) -> Code {
    Code { value, scheme: "99HEMAPATCH", meaning }
}

pub const REPORT: Code = dcm("126000", "Imaging Measurement Report");
pub const LANGUAGE: Code = dcm("121049", "Language of Content Item and Descendants");
pub const ENGLISH: Code = Code { value: "en", scheme: "RFC5646", meaning: "English" };
pub const OBSERVER_TYPE: Code = dcm("121005", "Observer Type");
pub const DEVICE: Code = dcm("121007", "Device");
pub const DEVICE_UID: Code = dcm("121012", "Device Observer UID");
pub const DEVICE_NAME: Code = dcm("121013", "Device Observer Name");
pub const DEVICE_MANUFACTURER: Code = dcm("121014", "Device Observer Manufacturer");
pub const DEVICE_MODEL: Code = dcm("121015", "Device Observer Model Name");
pub const PROCEDURE: Code = dcm("121058", "Procedure reported");
pub const CT_OF_HEAD: Code = sct("303653007", "Computed tomography of head");
pub const COMMENT: Code = dcm("121106", "Comment");
pub const MEASUREMENTS: Code = dcm("126010", "Imaging Measurements");
pub const GROUP: Code = dcm("125007", "Measurement Group");
pub const TRACKING: Code = dcm("112039", "Tracking Identifier");
pub const TRACKING_UID: Code = dcm("112040", "Tracking Unique Identifier");
pub const FINDING: Code = dcm("121071", "Finding");
pub const HEMORRHAGE: Code = sct("274100004", "Cerebral hemorrhage");
pub const SITE: Code = sct("363698007", "Finding Site");
pub const BRAIN: Code = sct("12738006", "Brain");
pub const ALGORITHM_NAME: Code = dcm("111001", "Algorithm Name");
pub const ALGORITHM_VERSION: Code = dcm("111003", "Algorithm Version");
pub const ALGORITHM_PARAMETERS: Code = dcm("111002", "Algorithm Parameters");
pub const PROBABILITY: Code = dcm("122157", "Probability");
pub const VOLUME: Code = sct("118565006", "Volume");
pub const SOURCE_OF_MEASUREMENT: Code = dcm("121112", "Source of Measurement");
pub const REFERENCED_SEGMENT: Code = dcm("121191", "Referenced Segment");
pub const SOURCE_FOR_SEGMENTATION: Code = dcm("121233", "Source image for segmentation");

pub const MILLILITERS: Code = Code { value: "mL", scheme: "UCUM", meaning: "milliliter" };
pub const PATCH: Code = Code { value: "{patches}", scheme: "UCUM", meaning: "patches" };
pub const NO_UNITS: Code = Code { value: "1", scheme: "UCUM", meaning: "no units" };

pub const OUTCOME: Code = own("outcome", "Outcome of triage");
pub const ALERT: Code = own("alert", "Hematoma is suspected");
pub const NO_ALERT: Code = own("no_alert", "No hematoma is suspected");
pub const REFUSED: Code = own("refused", "Not judged");
pub const PATCHES: Code = own("patches", "Patches called hematoma");

pub const ABNORMAL: Code = sct("49755003", "Morphologically Abnormal Structure");
pub const HEMATOMA: Code = sct("35566002", "Hematoma");
pub const ARTIFICIAL_INTELLIGENCE: Code = dcm("123110", "Artificial Intelligence");
pub const SEGMENTATION: Code = dcm("113076", "Segmentation");
pub const SOURCE_FOR_PROCESSING: Code = dcm("121322", "Source image for image processing operation");
