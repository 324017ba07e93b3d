//! Warnings about how the files of a series are written: parts that are missing, and standards not kept.
//! What a file has that is odd is found in `dicom`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Series, Warning};
use crate::dicom::{Concatenation, Oddities};

/// The warnings of a series that its files give.
pub(super) fn warnings(series: &Series) -> Vec<Warning> {
    // What is odd about an object of many frames is odd once.
    let headers = series.slices.iter().map(|slice| &slice.header);
    let objects: BTreeMap<&str, Oddities> =
        headers.clone().map(|header| (header.sop_instance_uid.as_str(), header.oddities)).collect();
    let mut warnings = Vec::new();
    let mut counted = |code, is: fn(&Oddities) -> bool, what: &str| {
        let count = objects.values().filter(|oddities| is(oddities)).count();
        if count > 0 {
            warnings.push(Warning::new(code, format!("{count} files {what}")));
        }
    };
    counted("preamble_missing", |odd| odd.preamble_missing, "without a preamble");
    counted(
        "file_meta_missing",
        |odd| odd.file_meta,
        "without a transfer syntax: it was told by the first element",
    );
    counted(
        "encoding_mismatch",
        |odd| odd.other_encoding,
        "in another encoding than their transfer syntax tells",
    );
    counted("surplus_pixel_data", |odd| odd.surplus_bytes, "with more pixel data than their headers ask for");
    counted("unfinished_file", |odd| odd.unfinished, "that end before their pixel data are told to end");
    let missing: u64 = objects.values().map(|oddities| u64::from(oddities.frames_missing)).sum();
    if missing > 0 {
        warnings.push(Warning::new("frames_missing", format!("{missing} frames are told and not there")));
    }
    warnings.extend(of_concatenations(headers.filter_map(|header| header.concatenation.as_ref())));
    warnings
}

/// A warning `concatenation_incomplete` where parts of a divided object are not there.
fn of_concatenations<'a>(parts: impl Iterator<Item = &'a Concatenation>) -> Option<Warning> {
    let mut wholes: BTreeMap<&str, (BTreeSet<u32>, u32)> = BTreeMap::new();
    for part in parts {
        let (numbers, total) = wholes.entry(&part.uid).or_default();
        numbers.insert(part.number);
        // Parts are counted from 1 and come in any order: the last that is known is the least that there are.
        *total = (*total).max(part.number).max(part.total.unwrap_or(0));
    }
    let missing: u64 =
        wholes.values().map(|(numbers, total)| u64::from(*total).saturating_sub(numbers.len() as u64)).sum();
    let detail = format!("{missing} parts of a divided object are not there");
    (missing > 0).then(|| Warning::new("concatenation_incomplete", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_of_a_divided_object_are_counted() {
        let part = |number, total| Concatenation { uid: "1.2".to_owned(), number, total };
        let told = |parts: &[Concatenation]| of_concatenations(parts.iter()).map(|warning| warning.detail);
        assert_eq!(told(&[part(2, Some(2)), part(1, None), part(1, None)]), None);
        let missing = |count| Some(format!("{count} parts of a divided object are not there"));
        assert_eq!(told(&[part(1, Some(3))]), missing(2));
        assert_eq!(told(&[part(3, None)]), missing(2));
        assert_eq!(told(&[]), None);
    }
}
