//! The patches called hematoma as a segmentation: one segment, a frame for each slice that has some.
//!
//! # Source
//! DICOM PS3.3 A.51 and C.8.20.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};

use super::codes::{self, Code};
use super::data_set::{DataSet, Series, begin};
use super::findings::{Plane, SliceFinding};
use super::{About, HEMATOMA_PATCHES, ResultObject};

/// The segmentation; None where no patch was called hematoma, or it is not told where the slices lie.
pub fn object(about: &About<'_>) -> Result<Option<ResultObject>, String> {
    let slices: Vec<(&SliceFinding, Plane)> = about
        .findings
        .slices()
        .iter()
        .filter(|slice| !slice.patches.is_empty())
        .filter_map(|slice| Some((slice, slice.plane?)))
        .collect();
    let Some((first, plane)) = slices.first().copied().filter(|_| about.findings.is_placed()) else {
        return Ok(None);
    };
    let series = Series {
        modality: "SEG",
        uid: about.uid("segmentations"),
        number: "9903",
        description: &about.description("patches"),
        is_placed: true,
    };
    let short =
        |length: usize| u16::try_from(length).map_err(|_| format!("a slice of {length} pixels a side"));
    // A slice beside a gap stands for more than the others.
    let is_even = slices.iter().all(|(_, other)| (other.thickness_mm - plane.thickness_mm).abs() < 0.001);
    let organization = about.uid("dimensions");
    let bytes = begin(about.origin, &series)
        .text(tags::INSTANCE_NUMBER, VR::IS, "1")
        // It has to be there, and a program has none.
        .text(tags::DEVICE_SERIAL_NUMBER, VR::LO, "none")
        .text(tags::BODY_PART_EXAMINED, VR::CS, "HEAD")
        .text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY")
        .text(tags::CONTENT_LABEL, VR::CS, "HEMATOMA")
        .text(tags::CONTENT_DESCRIPTION, VR::LO, "Patches called hematoma; research use only")
        .text(tags::CONTENT_CREATOR_NAME, VR::PN, "")
        .with(about.findings.losses())
        .text(tags::SEGMENTATION_TYPE, VR::CS, "BINARY")
        .items(tags::SEGMENT_SEQUENCE, vec![segment(about)])
        .items(tags::REFERENCED_SERIES_SEQUENCE, vec![referenced(about, &slices)])
        .items(
            tags::DIMENSION_ORGANIZATION_SEQUENCE,
            vec![DataSet::new().text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &organization)],
        )
        .items(
            tags::DIMENSION_INDEX_SEQUENCE,
            vec![
                DataSet::new()
                    .text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &organization)
                    .pointer(tags::DIMENSION_INDEX_POINTER, tags::REFERENCED_SEGMENT_NUMBER)
                    .pointer(tags::FUNCTIONAL_GROUP_POINTER, tags::SEGMENT_IDENTIFICATION_SEQUENCE)
                    .text(tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, "Segment"),
                DataSet::new()
                    .text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &organization)
                    .pointer(tags::DIMENSION_INDEX_POINTER, tags::IMAGE_POSITION_PATIENT)
                    .pointer(tags::FUNCTIONAL_GROUP_POINTER, tags::PLANE_POSITION_SEQUENCE)
                    .text(tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, "Place"),
            ],
        )
        .items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared(plane, is_even)])
        .items(
            tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
            slices
                .iter()
                .zip(1..)
                .map(|(&(slice, plane), place)| frame(slice, plane, place, is_even))
                .collect(),
        )
        .text(tags::NUMBER_OF_FRAMES, VR::IS, &slices.len().to_string())
        .short(tags::SAMPLES_PER_PIXEL, 1)
        .text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2")
        .short(tags::ROWS, short(first.stored.0)?)
        .short(tags::COLUMNS, short(first.stored.1)?)
        .short(tags::BITS_ALLOCATED, 1)
        .short(tags::BITS_STORED, 1)
        .short(tags::HIGH_BIT, 0)
        .short(tags::PIXEL_REPRESENTATION, 0)
        .bytes(tags::PIXEL_DATA, VR::OB, pixels(about, &slices))
        .file(uids::SEGMENTATION_STORAGE, &about.uid("segmentation"))?;
    Ok(Some(ResultObject { name: "segmentation.dcm".to_owned(), bytes }))
}

fn segment(about: &About<'_>) -> DataSet {
    let trace = &about.report.trace;
    let algorithm = DataSet::new()
        .code(tags::ALGORITHM_FAMILY_CODE_SEQUENCE, codes::ARTIFICIAL_INTELLIGENCE)
        .text(tags::ALGORITHM_NAME, VR::LO, "hemapatch")
        .text(tags::ALGORITHM_VERSION, VR::LO, &trace.program)
        .text(tags::ALGORITHM_PARAMETERS, VR::LT, &parameters(about).join("; "));
    DataSet::new()
        .short(tags::SEGMENT_NUMBER, 1)
        .text(tags::SEGMENT_LABEL, VR::LO, "Hematoma patches")
        .text(tags::SEGMENT_DESCRIPTION, VR::ST, "Whole patches that the network called hematoma; no outline")
        .text(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC")
        .text(tags::SEGMENT_ALGORITHM_NAME, VR::LO, "hemapatch")
        .items(tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE, vec![algorithm])
        .code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, codes::ABNORMAL)
        .code(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, codes::HEMATOMA)
        .text(tags::TRACKING_ID, VR::UT, HEMATOMA_PATCHES)
        .text(tags::TRACKING_UID, VR::UI, &about.tracking_uid(HEMATOMA_PATCHES))
}

/// What the result depends on, a line each.
pub fn parameters(about: &About<'_>) -> Vec<String> {
    let trace = &about.report.trace;
    let mut lines = vec![
        format!("model {} {}", trace.model, trace.model_version),
        format!("model sha256 {}", trace.model_sha256),
        format!("precision {}", trace.precision),
        format!("window {} to {} HU", trace.window_hu[0], trace.window_hu[1]),
        format!("rule {}", trace.rule),
    ];
    lines.extend(trace.thresholds.iter().map(|(name, value)| format!("threshold {name} {value}")));
    lines
}

fn referenced(about: &About<'_>, slices: &[(&SliceFinding, Plane)]) -> DataSet {
    let mut instances: Vec<&SliceFinding> = Vec::new();
    for (slice, _) in slices {
        // Frames of one object are one reference.
        if !instances.iter().any(|known| known.sop_instance_uid == slice.sop_instance_uid) {
            instances.push(slice);
        }
    }
    let instances = instances.into_iter().map(|slice| reference(slice, None)).collect();
    DataSet::new()
        .text(tags::SERIES_INSTANCE_UID, VR::UI, &about.report.series_uid)
        .items(tags::REFERENCED_INSTANCE_SEQUENCE, instances)
}

/// A slice by class and UID, and its frame where one is asked for.
pub fn reference(slice: &SliceFinding, frame: Option<u32>) -> DataSet {
    let item = DataSet::new().text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, &slice.sop_class_uid).text(
        tags::REFERENCED_SOP_INSTANCE_UID,
        VR::UI,
        &slice.sop_instance_uid,
    );
    match frame {
        Some(frame) => item.text(tags::REFERENCED_FRAME_NUMBER, VR::IS, &frame.to_string()),
        None => item,
    }
}

fn measures(plane: Plane) -> DataSet {
    let measures = DataSet::new()
        .decimals(tags::PIXEL_SPACING, &plane.spacing_mm)
        .decimals(tags::SLICE_THICKNESS, &[plane.thickness_mm]);
    DataSet::new().items(tags::PIXEL_MEASURES_SEQUENCE, vec![measures])
}

/// What all frames share; their measures where these are even.
fn shared(plane: Plane, is_even: bool) -> DataSet {
    let group = if is_even { measures(plane) } else { DataSet::new() };
    group
        .items(
            tags::PLANE_ORIENTATION_SEQUENCE,
            vec![DataSet::new().decimals(tags::IMAGE_ORIENTATION_PATIENT, &plane.orientation)],
        )
        .items(
            tags::SEGMENT_IDENTIFICATION_SEQUENCE,
            vec![DataSet::new().short(tags::REFERENCED_SEGMENT_NUMBER, 1)],
        )
}

fn frame(slice: &SliceFinding, plane: Plane, place: u32, is_even: bool) -> DataSet {
    let source = reference(slice, slice.frame)
        .code(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, codes::SOURCE_FOR_PROCESSING)
        .text(tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES");
    let derivation = |code: Code| {
        DataSet::new()
            .code(tags::DERIVATION_CODE_SEQUENCE, code)
            .items(tags::SOURCE_IMAGE_SEQUENCE, vec![source])
    };
    let group = if is_even { DataSet::new() } else { measures(plane) };
    group
        .items(
            tags::FRAME_CONTENT_SEQUENCE,
            vec![DataSet::new().longs(tags::DIMENSION_INDEX_VALUES, &[1, place])],
        )
        .items(
            tags::PLANE_POSITION_SEQUENCE,
            vec![DataSet::new().decimals(tags::IMAGE_POSITION_PATIENT, &plane.position)],
        )
        .items(tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation(codes::SEGMENTATION)])
}

/// One bit a pixel, the lowest first, from frame to frame without a gap.
///
/// # Source
/// DICOM PS3.5 8.1.1.
fn pixels(about: &About<'_>, slices: &[(&SliceFinding, Plane)]) -> Vec<u8> {
    let mut bits = slices.iter().flat_map(|(slice, _)| about.findings.mask(slice)).peekable();
    let mut bytes = Vec::new();
    while bits.peek().is_some() {
        let byte = bits.by_ref().take(8).enumerate();
        bytes.push(byte.fold(0, |byte, (at, bit)| byte | u8::from(bit) << at));
    }
    if !bytes.len().is_multiple_of(2) {
        bytes.push(0);
    }
    bytes
}
