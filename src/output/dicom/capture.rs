//! Pictures of a report: the montage, and the slices with the most patches called hematoma with the grid over them.
//!
//! # Source
//! DICOM PS3.3 A.8.1, Secondary Capture Image.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use image::RgbImage;

use super::data_set::{DataSet, Series, begin};
use super::seg::reference;
use super::{About, ResultObject};
use crate::output::grid::{Caption, captioned};
use crate::output::montage::Montage;

/// All slices.
pub fn montage(about: &About<'_>, montage: &Montage, facts: &[String]) -> Result<ResultObject, String> {
    let description = about.description("pictures");
    object(
        about,
        ("pictures", "9902", &description),
        "montage",
        1,
        montage.draw(about.report, facts),
        DataSet::new(),
    )
}

/// The slices with the most hematoma: a series of their own, since viewers zoom a series as its first picture needs it.
pub fn overlays(about: &About<'_>) -> Result<Vec<ResultObject>, String> {
    let (mut objects, description) = (Vec::new(), about.description("drawn patches"));
    for (overlay, number) in about.findings.overlays().iter().zip(1u32..) {
        let slice = about.report.slices.get(overlay.index);
        let finding = about.findings.slices().get(overlay.index);
        let caption = Caption {
            slice: overlay.index + 1,
            slices: about.findings.slices().len(),
            score: slice.map_or(0.0, |slice| slice.score),
            // Drawn in the standard view, where it is known how the patient lay.
            has_sides: finding.is_some_and(|slice| slice.plane.is_some()),
        };
        let picture = captioned(&overlay.picture, &caption);
        let comment = format!("{}; research use only", caption.line());
        let mut about_slice = DataSet::new().text(tags::IMAGE_COMMENTS, VR::LT, &comment).text(
            tags::PATIENT_ORIENTATION,
            VR::CS,
            if caption.has_sides { "L\\P" } else { "" },
        );
        if let Some(slice) = finding {
            about_slice = about_slice.items(tags::SOURCE_IMAGE_SEQUENCE, vec![reference(slice, slice.frame)]);
        }
        let series = ("overlays", "9904", &*description);
        let name = format!("overlay-{:04}", overlay.index + 1);
        objects.push(object(about, series, &name, number, picture, about_slice)?);
    }
    Ok(objects)
}

/// `more` is what the others of its series do not have.
fn object(
    about: &About<'_>,
    (kind, series_number, description): (&str, &str, &str),
    name: &str,
    number: u32,
    picture: RgbImage,
    more: DataSet,
) -> Result<ResultObject, String> {
    let series =
        Series { modality: "OT", uid: about.uid(kind), number: series_number, description, is_placed: false };
    let short =
        |length: u32| u16::try_from(length).map_err(|_| format!("{name}: a picture of {length} pixels"));
    let (columns, rows) = (short(picture.width())?, short(picture.height())?);
    let mut pixels = picture.into_raw();
    if !pixels.len().is_multiple_of(2) {
        pixels.push(0);
    }
    let bytes = begin(about.origin, &series)
        .text(tags::INSTANCE_NUMBER, VR::IS, &number.to_string())
        .text(tags::BODY_PART_EXAMINED, VR::CS, "HEAD")
        .text(tags::CONVERSION_TYPE, VR::CS, "WSD")
        .text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY\\OTHER")
        .text(tags::PATIENT_ORIENTATION, VR::CS, "")
        // What is written into the picture is no patient's.
        .text(tags::BURNED_IN_ANNOTATION, VR::CS, "NO")
        .text(tags::RECOGNIZABLE_VISUAL_FEATURES, VR::CS, "NO")
        .with(about.findings.losses())
        .text(tags::DERIVATION_DESCRIPTION, VR::ST, "Drawn over prepared slices; research use only")
        .short(tags::SAMPLES_PER_PIXEL, 3)
        .text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB")
        .short(tags::PLANAR_CONFIGURATION, 0)
        .short(tags::ROWS, rows)
        .short(tags::COLUMNS, columns)
        .short(tags::BITS_ALLOCATED, 8)
        .short(tags::BITS_STORED, 8)
        .short(tags::HIGH_BIT, 7)
        .short(tags::PIXEL_REPRESENTATION, 0)
        .bytes(tags::PIXEL_DATA, VR::OB, pixels)
        .with(more)
        .file(uids::SECONDARY_CAPTURE_IMAGE_STORAGE, &about.uid(name))?;
    Ok(ResultObject { name: format!("{name}.dcm"), bytes })
}
