//! What is unusual about the headers of a series.
//! Distances between its slices are left to `spacing`.

use super::{Series, Warning, oddities};
use crate::dicom::SliceHeader;

/// Angles below this are what upright gantries report, in degrees.
const UPRIGHT_DEG: f64 = 0.5;

/// Slices farther apart than this many times their thickness leave out a part of the head.
const SPARSE: f64 = 1.5;

/// The warnings of a series that its headers give.
pub(super) fn of_series(series: &Series) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let tilt = series.tilt_deg();
    if tilt.abs() >= UPRIGHT_DEG {
        warnings.push(Warning::new("gantry_tilt", format!("{tilt:.1} degrees")));
    }
    let roll = series.orientation.roll_deg();
    if roll.abs() >= UPRIGHT_DEG {
        warnings.push(Warning::new("oblique_slices", format!("{roll:.1} degrees to the side")));
    }
    if !series.reorientation.is_none() {
        let position = series.header().and_then(|header| header.patient_position.as_deref());
        warnings.push(Warning::new("reoriented", series.reorientation.detail(position)));
    }
    let tagged = series.header().and_then(|header| header.gantry_tilt_deg);
    // Vendors differ in the sign, so only the size can be compared.
    if let Some(tagged) = tagged.filter(|tagged| (tagged.abs() - tilt.abs()).abs() > 1.0) {
        warnings.push(Warning::new(
            "tilt_mismatch",
            format!("GantryDetectorTilt {tagged:.1}, orientation {tilt:.1} degrees"),
        ));
    }
    let nominal = series.header().and_then(|header| header.slice_thickness_mm);
    if let (Some(thickness), Some(spacing)) = (nominal, series.spacing_mm)
        && thickness > 0.0
        && spacing > SPARSE * thickness
    {
        warnings.push(Warning::new(
            "sparse_slices",
            format!("slices of {thickness:.1} mm every {spacing:.1} mm: parts of the head are not seen"),
        ));
    }
    let count = |is: fn(&SliceHeader) -> bool| {
        let slices = series.slices.iter();
        slices.filter(|slice| is(&slice.header)).count()
    };
    let mut counted = |code, count: usize, what: &str| {
        if count > 0 {
            warnings.push(Warning::new(code, format!("{count} slices {what}")));
        }
    };
    counted("contrast_agent", count(|header| header.contrast_agent), "with a contrast agent");
    counted(
        "rescale_missing",
        count(|header| header.rescale_missing),
        "without slope or intercept: 1 and 0 assumed",
    );
    counted(
        "rescale_type",
        count(|header| header.rescale_type.as_deref().is_some_and(|unit| !unit.eq_ignore_ascii_case("HU"))),
        "of unspecified unit",
    );
    counted(
        "monochrome1",
        count(|header| header.monochrome1),
        "meant to be shown inverted: read as Hounsfield units all the same",
    );
    counted("lossy_compression", count(|header| header.lossy), "compressed with losses");
    if series.pixel_spacing_mm.is_none() {
        warnings
            .push(Warning::new("pixel_spacing_missing", "no PixelSpacing: areas and volumes are not known"));
    }
    warnings.extend(oddities::warnings(series));
    warnings
}
