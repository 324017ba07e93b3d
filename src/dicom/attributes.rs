//! Which attributes of a data set are read: no others are looked at. docs/dicom-conformance.md says what for.

use dicom_dictionary_std::tags;

use super::layout::Wanted;

/// What the guard is asked for. Nothing here names the patient, the physician or the date.
pub(super) const WANTED: Wanted = Wanted {
    elements: &[
        tags::SPECIFIC_CHARACTER_SET,
        tags::IMAGE_TYPE,
        tags::SOP_CLASS_UID,
        tags::SOP_INSTANCE_UID,
        tags::MODALITY,
        tags::SERIES_DESCRIPTION,
        tags::CONTRAST_BOLUS_AGENT,
        tags::BODY_PART_EXAMINED,
        tags::SLICE_THICKNESS,
        tags::PROTOCOL_NAME,
        tags::GANTRY_DETECTOR_TILT,
        tags::CONVOLUTION_KERNEL,
        tags::PATIENT_POSITION,
        tags::STUDY_INSTANCE_UID,
        tags::SERIES_INSTANCE_UID,
        tags::SERIES_NUMBER,
        tags::ACQUISITION_NUMBER,
        tags::IMAGES_IN_ACQUISITION,
        tags::INSTANCE_NUMBER,
        tags::IMAGE_POSITION_PATIENT,
        tags::IMAGE_ORIENTATION_PATIENT,
        tags::SAMPLES_PER_PIXEL,
        tags::PHOTOMETRIC_INTERPRETATION,
        tags::NUMBER_OF_FRAMES,
        tags::ROWS,
        tags::COLUMNS,
        tags::PIXEL_SPACING,
        tags::BITS_ALLOCATED,
        tags::BITS_STORED,
        tags::HIGH_BIT,
        tags::PIXEL_REPRESENTATION,
        tags::PIXEL_PADDING_VALUE,
        tags::PIXEL_PADDING_RANGE_LIMIT,
        tags::RESCALE_INTERCEPT,
        tags::RESCALE_SLOPE,
        tags::RESCALE_TYPE,
        tags::LOSSY_IMAGE_COMPRESSION,
        tags::CONCATENATION_UID,
        tags::IN_CONCATENATION_NUMBER,
        tags::IN_CONCATENATION_TOTAL_NUMBER,
    ],
    sequences: &[tags::CONTRAST_BOLUS_AGENT_SEQUENCE, tags::MODALITY_LUT_SEQUENCE],
    in_groups: &[
        tags::FRAME_TYPE,
        tags::CONTRAST_BOLUS_AGENT_ADMINISTERED,
        tags::SLICE_THICKNESS,
        tags::GANTRY_DETECTOR_TILT,
        tags::CONVOLUTION_KERNEL,
        tags::IMAGE_POSITION_PATIENT,
        tags::IMAGE_ORIENTATION_PATIENT,
        tags::FRAME_ACQUISITION_NUMBER,
        tags::PIXEL_SPACING,
        tags::RESCALE_INTERCEPT,
        tags::RESCALE_SLOPE,
        tags::RESCALE_TYPE,
    ],
};

/// What is asked of a file that cannot be read as a slice: only where it belongs.
pub(super) const IDENTITY: Wanted = Wanted {
    elements: &[tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID],
    sequences: &[],
    in_groups: &[],
};

/// What is asked of a file beside that.
pub(super) const CLASS: Wanted = Wanted { elements: &[tags::SOP_CLASS_UID], sequences: &[], in_groups: &[] };

#[cfg(test)]
mod tests {
    use dicom_core::Tag;

    use super::*;

    #[test]
    fn the_conformance_statement_has_every_attribute_that_is_read() {
        let statement = include_str!("../../docs/dicom-conformance.md");
        let table = statement.split("## 5. Attributes").nth(1).unwrap().split("## 6.").next().unwrap();
        let read: Vec<Tag> = [WANTED.elements, WANTED.sequences, WANTED.in_groups].concat();
        for tag in &read {
            assert!(table.contains(&tag.to_string()), "{tag} is read and not told");
        }
        let told = table.lines().filter_map(|line| line.strip_prefix("| (")?.split_once(')'));
        for (tag, _) in told.filter(|(tag, _)| *tag != "7FE0,0010") {
            let is_read = read.iter().any(|read| read.to_string() == format!("({tag})"));
            assert!(is_read, "({tag}) is told and not read");
        }
    }
}
