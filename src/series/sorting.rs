//! The objects of one study while they come in: what is an axial CT slice, each once and within the limits.
//! Stacks and the order within them are left to `stack`.

use std::collections::BTreeMap;

use dicom_dictionary_std::uids;

use super::geometry::Orientation;
use super::source::Source;
use super::stack::{Placed, order, split};
use super::unread::Unread;
use super::{LeftOut, LeftOutReason, Study, Warning};
use crate::dicom::{SliceHeader, check_decodable};
use crate::limits::Limits;

/// The memory that the headers of all studies share.
pub(super) struct Held {
    pub bytes: u64,
    pub limit: u64,
}

impl Held {
    /// True where there was room.
    fn take(&mut self, header: &SliceHeader) -> bool {
        let bytes = self.bytes.saturating_add(header.held_bytes());
        if bytes > self.limit {
            return false;
        }
        self.bytes = bytes;
        true
    }

    fn give_back(&mut self, header: &SliceHeader) {
        self.bytes = self.bytes.saturating_sub(header.held_bytes());
    }
}

/// A study while its objects come in.
#[derive(Default)]
pub(super) struct Sorting {
    /// By SOP instance UID and frame: each slice is kept once.
    slices: BTreeMap<(String, u32), Placed>,
    /// By series UID.
    series: BTreeMap<String, Gathered>,
    left_out: Vec<LeftOut>,
    /// Objects that say that they belong to the study, and of which no more can be read.
    pub unread: Vec<Unread>,
}

#[derive(Default)]
struct Gathered {
    slices: u32,
    too_many: bool,
}

impl Sorting {
    pub fn sort(&mut self, source: &Source, header: SliceHeader, held: &mut Held, limits: &Limits) {
        match slice_geometry(&header) {
            Ok((orientation, position)) => {
                let source = source.clone();
                self.keep(Placed { source, header, orientation, position }, held, limits);
            }
            Err(reason) => self.leave_out(source, reason),
        }
    }

    fn leave_out(&mut self, source: &Source, reason: LeftOutReason) {
        self.left_out.push(LeftOut { place: source.to_string(), reason });
    }

    /// Keeps a slice, or the copy of it that can be decoded, where the limits allow.
    fn keep(&mut self, mut slice: Placed, held: &mut Held, limits: &Limits) {
        let key = (slice.header.sop_instance_uid.clone(), slice.header.frame);
        if let Some(mut before) = self.slices.remove(&key) {
            held.give_back(&before.header);
            if let Some(gathered) = self.series.get_mut(&before.header.series_uid) {
                gathered.slices -= 1;
            }
            let is_readable = |slice: &Placed| check_decodable(&slice.header).is_ok();
            if is_readable(&before) || !is_readable(&slice) {
                std::mem::swap(&mut before, &mut slice);
            }
            self.leave_out(&before.source, LeftOutReason::Copy);
        }
        let gathered = self.series.entry(slice.header.series_uid.clone()).or_default();
        if !gathered.too_many && gathered.slices < limits.slices && held.take(&slice.header) {
            gathered.slices += 1;
            self.slices.insert(key, slice);
            return;
        }
        // A part of a series would look like a complete head without a hematoma, so none of it is kept.
        let begun = gathered.slices > 0;
        (gathered.too_many, gathered.slices) = (true, 0);
        if begun {
            let (given_up, others): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.slices)
                .into_iter()
                .partition(|(_, kept)| kept.header.series_uid == slice.header.series_uid);
            self.slices = others;
            for kept in given_up.into_values() {
                held.give_back(&kept.header);
                self.leave_out(&kept.source, LeftOutReason::TooManySlices);
            }
        }
        self.leave_out(&slice.source, LeftOutReason::TooManySlices);
    }

    pub fn finish(self, study_uid: String) -> Study {
        let mut study = Study { study_uid, series: Vec::new(), left_out: self.left_out, unread: self.unread };
        let mut by_series: BTreeMap<String, Vec<Placed>> = BTreeMap::new();
        for slice in self.slices.into_values() {
            by_series.entry(slice.header.series_uid.clone()).or_default().push(slice);
        }
        for (series_uid, slices) in by_series {
            let stacks = split(slices);
            let parts = stacks.len();
            for stack in stacks {
                let (mut series, mut left_out) = order(&study.study_uid, &series_uid, stack);
                if parts > 1 {
                    series.warnings.push(Warning::new(
                        "split_series",
                        format!("one of {parts} stacks of slices in the series"),
                    ));
                }
                study.left_out.append(&mut left_out);
                study.series.push(series);
            }
        }
        // Stable, so that the stacks of one series stay in the order of `split`.
        study.series.sort_by_key(|series| {
            let number = series.header().and_then(|header| header.series_number);
            (number.unwrap_or(i32::MAX), series.series_uid.clone())
        });
        study
    }
}

/// Whether RescaleType allows Hounsfield units. US is "unspecified", and an absent unit is HU for CT; whether the
/// values bear it out, `study` sees from the pixels.
///
/// # Source
/// DICOM PS3.3 C.11.1.1.2 (Rescale Type), C.8.2.1.
fn is_hounsfield(header: &SliceHeader) -> bool {
    let unit = header.rescale_type.as_deref().unwrap_or_default();
    ["", "HU", "US"].iter().any(|known| unit.eq_ignore_ascii_case(known))
}

/// Orientation and position of an axial CT slice, or why the object is none.
fn slice_geometry(header: &SliceHeader) -> Result<(Orientation, [f64; 3]), LeftOutReason> {
    match header.sop_class_uid.as_str() {
        uids::CT_IMAGE_STORAGE
        | uids::ENHANCED_CT_IMAGE_STORAGE
        | uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE => {}
        _ => return Err(LeftOutReason::NotCt),
    }
    // ImageType also has values of the vendor's choice, in one value or spread over several: CT_SOM5 PROT.
    let words: Vec<String> = header
        .image_type
        .iter()
        .flat_map(|value| value.split([' ', '_']))
        .map(str::to_ascii_uppercase)
        .collect();
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&word.as_str()));
    if has(&["LOCALIZER", "SCOUT", "TOPOGRAM", "TOP"]) {
        return Err(LeftOutReason::Localizer);
    }
    if has(&[
        "SCREEN",
        "DOSE",
        "PROT",
        "PROTOCOL",
        "REPORT",
        "MIP",
        "MINIP",
        "VRT",
        "PROJECTION",
        "PERFUSION",
        "RCBF",
        "RCBV",
        "CBF",
        "CBV",
        "MTT",
        "TTP",
        "TMAX",
    ]) {
        return Err(LeftOutReason::NotASlice);
    }
    if !is_hounsfield(header) {
        return Err(LeftOutReason::NotHounsfield);
    }
    let (Some(orientation), Some(position)) = (Orientation::of(header), header.image_position) else {
        return Err(LeftOutReason::NoPosition);
    };
    if !orientation.is_axial() {
        return Err(LeftOutReason::NotAxial);
    }
    Ok((orientation, position))
}
