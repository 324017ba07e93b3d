//! Whether an archive would take results, without sending any.

use std::time::Duration;

use dicom_dictionary_std::uids;

use super::{Destination, Dicom, To, stow};
use crate::dimse::{COMMITMENT, Proposal, Requestor, echo};

/// The classes of results, and what they are called in a complaint.
const CLASSES: [(&str, &str); 3] = [
    (uids::COMPREHENSIVE3_DSR_STORAGE, "structured reports (Comprehensive 3D SR)"),
    (uids::SEGMENTATION_STORAGE, "segmentations (SEG)"),
    (uids::SECONDARY_CAPTURE_IMAGE_STORAGE, "pictures (Secondary Capture)"),
];

impl Destination {
    /// Whether its archive is there and would take results: what it said. It is sent none.
    ///
    /// # Errors
    /// Why it would not.
    pub fn probe(&self, patience: Duration) -> Result<String, String> {
        match self.to().ok_or("no way to it")? {
            To::Dicom(dicom) => ask(&dicom, patience),
            To::Stow(stow) => stow::probe(&stow, patience).map(|at| format!("{at}: reached")),
        }
    }
}

fn ask(to: &Dicom, patience: Duration) -> Result<String, String> {
    let implicit =
        |class: &str| Proposal { class: class.to_owned(), syntax: uids::IMPLICIT_VR_LITTLE_ENDIAN };
    let mut proposals = vec![implicit(uids::VERIFICATION)];
    for (class, _) in CLASSES {
        proposals.push(Proposal { class: class.to_owned(), syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN });
        proposals.push(implicit(class));
    }
    if to.commit {
        proposals.push(implicit(COMMITMENT.0));
    }
    let tls = to.client()?;
    let association =
        Requestor::connect(&to.address, tls.as_ref(), &to.calling, &to.ae_title, &proposals, patience);
    let mut association = association.map_err(|error| error.to_string())?;
    let refused: Vec<&str> = CLASSES
        .iter()
        .filter(|(class, _)| association.context(class).is_none())
        .map(|(_, name)| *name)
        .collect();
    let is_committed = !to.commit || association.context(COMMITMENT.0).is_some();
    let mut echoed = "";
    if let Some((context, _)) = association.context(uids::VERIFICATION) {
        match association.ask(context, echo, &[]).map_err(|error| format!("C-ECHO: {error}"))? {
            0 => echoed = ", answers C-ECHO",
            status => {
                association.release();
                return Err(format!("answers C-ECHO with {status:04X}"));
            }
        }
    }
    association.release();
    if !refused.is_empty() {
        return Err(format!("{} does not take {}", to.ae_title.as_str(), refused.join(", ")));
    }
    if !is_committed {
        let title = to.ae_title.as_str();
        return Err(format!("{title} offers no storage commitment; where it never will, set commit = false"));
    }
    let committed = if to.commit { ", offers storage commitment" } else { "" };
    Ok(format!("{} takes results{committed}{echoed}", to.ae_title.as_str()))
}
