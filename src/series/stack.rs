//! Stacks: a DICOM series split into slices of one geometry, ordered from the feet to the head.
//! Which objects are slices at all is left to `assemble`.

use std::collections::{BTreeMap, BTreeSet};

use super::geometry::Orientation;
use super::reorient::Reorientation;
use super::source::Source;
use super::spacing::Spacing;
use super::{LeftOut, LeftOutReason, Series, SliceEntry, Warning, warnings};
use crate::dicom::{SliceHeader, check_decodable};

/// Slices of one stack whose positions differ by less than this, in mm, show the same place.
const SAME_PLACE_MM: f64 = 0.01;

/// A slice of which the geometry is known.
pub(super) struct Placed {
    pub source: Source,
    pub header: SliceHeader,
    pub orientation: Orientation,
    /// ImagePositionPatient.
    pub position: [f64; 3],
}

/// Splits a DICOM series into stacks.
pub(super) fn split(mut slices: Vec<Placed>) -> Vec<Vec<Placed>> {
    // By UID, so that the outcome does not hang on the names of files.
    let key = |slice: &Placed| (slice.header.sop_instance_uid.clone(), slice.header.frame);
    slices.sort_by_cached_key(key);
    let mut stacks: Vec<Vec<Placed>> = Vec::new();
    for slice in slices {
        let stack = stacks.iter_mut().find(|stack| belongs_together(&stack[0], &slice));
        match stack {
            Some(stack) => stack.push(slice),
            None => stacks.push(vec![slice]),
        }
    }
    stacks.into_iter().flat_map(split_repeats).collect()
}

fn belongs_together(a: &Placed, b: &Placed) -> bool {
    let same_spacing = match (a.header.pixel_spacing, b.header.pixel_spacing) {
        (Some(a), Some(b)) => a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-3 * a.abs()),
        (None, None) => true,
        _ => false,
    };
    same_spacing
        && a.header.rows == b.header.rows
        && a.header.columns == b.header.columns
        && a.header.convolution_kernel == b.header.convolution_kernel
        && a.header.contrast_agent == b.header.contrast_agent
        && a.orientation.is_same(&b.orientation)
}

/// Splits a stack by acquisition where the same places were scanned again: before and after contrast, say.
///
/// Acquisition numbers alone say nothing: step-and-shoot scanners count one up for every slice.
fn split_repeats(stack: Vec<Placed>) -> Vec<Vec<Placed>> {
    let places = |slices: &mut dyn Iterator<Item = &Placed>| {
        let mut along: Vec<f64> =
            slices.map(|slice| slice.orientation.along_normal(slice.position)).collect();
        along.sort_by(f64::total_cmp);
        let total = along.len();
        along.dedup_by(|b, a| *b - *a <= SAME_PLACE_MM);
        (along.len(), total)
    };
    let (distinct, total) = places(&mut stack.iter());
    let acquisitions: BTreeSet<Option<i32>> =
        stack.iter().map(|slice| slice.header.acquisition_number).collect();
    let repeats = |acquisition: &Option<i32>| {
        let (own, own_total) =
            places(&mut stack.iter().filter(|slice| slice.header.acquisition_number == *acquisition));
        // Covers at least half of the stack by itself, without repeating a place.
        own == own_total && 2 * own >= distinct && own > 1
    };
    if distinct == total || acquisitions.len() < 2 || !acquisitions.iter().all(repeats) {
        return vec![stack];
    }
    let mut parts: BTreeMap<Option<i32>, Vec<Placed>> = BTreeMap::new();
    for slice in stack {
        parts.entry(slice.header.acquisition_number).or_default().push(slice);
    }
    parts.into_values().collect()
}

/// Of slices that show one place, the lowest is kept: pixels that can be read, then the UID.
fn preference(header: &SliceHeader) -> (bool, &str, u32) {
    let unreadable = check_decodable(header).is_err();
    (unreadable, &header.sop_instance_uid, header.frame)
}

/// Orders a stack from the feet to the head, keeps each place once, and looks for what is unusual.
///
/// The order is that of ImagePositionPatient along the normal: scanners misnumber instances.
pub(super) fn order(study_uid: &str, series_uid: &str, stack: Vec<Placed>) -> (Series, Vec<LeftOut>) {
    let first = &stack[0];
    let reorientation = Reorientation::of(&first.orientation);
    let orientation = reorientation.axes(&first.orientation);
    let pixel_spacing_mm = first.header.pixel_spacing.map(|mm| reorientation.pair(mm));
    let [rows, columns] = reorientation.pair([first.header.rows, first.header.columns]);
    let mut slices: Vec<SliceEntry> = stack
        .into_iter()
        .map(|placed| SliceEntry {
            z_mm: orientation.along_normal(placed.position),
            source: placed.source,
            header: placed.header,
            slab_mm: 0.0,
        })
        .collect();
    // Stable: slices at one place stay in the order of their UIDs.
    slices.sort_by(|a, b| a.z_mm.total_cmp(&b.z_mm));
    let mut left_out = Vec::new();
    let mut kept: Vec<SliceEntry> = Vec::with_capacity(slices.len());
    for slice in slices {
        let Some(last) = kept.last_mut().filter(|last| slice.z_mm - last.z_mm <= SAME_PLACE_MM) else {
            kept.push(slice);
            continue;
        };
        let dropped = if preference(&slice.header) < preference(&last.header) {
            std::mem::replace(last, slice)
        } else {
            slice
        };
        left_out
            .push(LeftOut { place: dropped.source.to_string(), reason: LeftOutReason::DuplicatePosition });
    }
    let positions: Vec<f64> = kept.iter().map(|slice| slice.z_mm).collect();
    let spacing = Spacing::of(&positions);
    for (place, slice) in kept.iter_mut().enumerate() {
        let alone = slice.header.slice_thickness_mm.unwrap_or(0.0).max(0.0);
        slice.slab_mm = spacing.slab_mm(place, alone);
    }
    let mut series = Series {
        study_uid: study_uid.to_owned(),
        series_uid: series_uid.to_owned(),
        slices: kept,
        rows,
        columns,
        orientation,
        reorientation,
        pixel_spacing_mm,
        spacing_mm: spacing.median_mm,
        warnings: Vec::new(),
    };
    series.warnings = warnings::of_series(&series);
    series.warnings.extend(spacing.warnings());
    if !left_out.is_empty() {
        series.warnings.push(Warning::new(
            "duplicate_positions",
            format!("{} slices show a place shown before", left_out.len()),
        ));
    }
    (series, left_out)
}
