//! A study's report as objects for the archive: a structured report, pictures, and a segmentation of the patches called
//! hematoma. What they say is decided in `study`; how they get to the archive is left to whoever sends files.
//!
//! The same report on the same slices gives the same bytes under the same UIDs, whenever and wherever it is made: so an object
//! that is sent twice is one object, and another verdict is another one.

mod capture;
mod codes;
mod data_set;
mod findings;
mod seg;
mod sr;

use dicom_dictionary_std::tags;

pub use findings::Findings;

use super::montage::Montage;
use crate::dicom::Inherited;
use crate::study::{Outcome, Report, Timings};
use data_set::uid;

/// What the segmentation is of, and the volume in the report.
const HEMATOMA_PATCHES: &str = "hematoma patches";

/// An object, ready to be written.
pub struct ResultObject {
    /// The name of its file.
    pub name: String,
    /// The file.
    pub bytes: Vec<u8>,
}

/// What all objects of a report share.
struct About<'a> {
    report: &'a Report,
    findings: &'a Findings,
    origin: &'a Inherited,
    /// Different for each verdict.
    verdict: String,
}

impl About<'_> {
    /// The UID of an object or a series of this verdict.
    fn uid(&self, what: &str) -> String {
        uid(&["hemapatch result", &self.verdict, what])
    }

    /// The description of a series. How many slices were seen tells the later of two verdicts from the earlier one.
    fn description(&self, what: &str) -> String {
        match self.findings.slices().len() {
            0 => format!("hemapatch {what}, research use only"),
            slices => format!("hemapatch {what}, {slices} slices, research use only"),
        }
    }

    /// The UID of something that is measured, the same in whichever object speaks of it.
    fn tracking_uid(&self, what: &str) -> String {
        self.uid(&format!("tracking {what}"))
    }
}

/// The objects of a report.
///
/// # Errors
/// What the slices say of the patient could not be read, or an object not be encoded.
pub fn objects(
    report: &Report,
    findings: &Findings,
    montage: &Montage,
    facts: &[String],
) -> Result<Vec<ResultObject>, String> {
    let origin = findings.origin()?;
    if origin.plain(tags::STUDY_INSTANCE_UID) != Some(&report.study_uid) {
        return Err("the slices are of another study".to_owned());
    }
    let about = About { report, findings, origin, verdict: verdict(report) };
    // Slices may have been looked at before a study was refused; none of it counts.
    let is_judged = !matches!(report.outcome, Outcome::Refused(_));
    let segmentation = if is_judged { seg::object(&about)? } else { None };
    let mut objects = vec![sr::object(&about, segmentation.is_some())?];
    objects.extend(segmentation);
    objects.push(capture::montage(&about, montage, facts)?);
    if is_judged {
        objects.extend(capture::overlays(&about)?);
    }
    Ok(objects)
}

/// A name for all that a report says but for how long it took and where the files lie.
fn verdict(report: &Report) -> String {
    let mut report = report.clone();
    report.timings = Timings::default();
    for slice in &mut report.slices {
        slice.file.clear();
    }
    format!("{report:?}")
}
