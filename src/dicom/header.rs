//! The header of a slice: the elements that say what the stored values are and where they lie in the patient.
//! Whether they make a series is left to `series`; which gray they become, to `hu` and `window`.

use std::fmt;

use dicom_dictionary_std::{tags, uids};

use super::elements::Elements;
use super::layout::Layout;
use super::{DicomError, FormatProblem, Oddities, syntax};
use crate::limits::Limits;

/// No place in a scanner is farther from its origin, in mm. Keeps distances and volumes finite.
const FARTHEST_MM: f64 = 1e6;

/// No slope or intercept of Hounsfield units is larger: those of CT are about 1 and -1024. Beyond, every pixel would
/// be air or metal, whatever the slice shows.
const LARGEST_RESCALE: f64 = 1e6;

/// What the header of a slice says, as plain numbers and strings, each checked.
///
/// `Debug` leaves out the free texts: people write names into them.
#[derive(Clone, PartialEq)]
pub struct SliceHeader {
    /// UID of the transfer syntax.
    pub transfer_syntax: String,
    /// UID of what kind of object this is.
    pub sop_class_uid: String,
    /// UID of this slice.
    pub sop_instance_uid: String,
    /// UID of the study.
    pub study_uid: String,
    /// UID of the series.
    pub series_uid: String,
    /// Modality; empty where absent.
    pub modality: String,
    /// Values of ImageType, such as ORIGINAL, PRIMARY, AXIAL.
    pub image_type: Vec<String>,
    /// Number of the series; None where absent or no number: only for show.
    pub series_number: Option<i32>,
    /// Number of the slice; None where absent or no number. Scanners misnumber: never an order.
    pub instance_number: Option<i32>,
    /// Number of the scan that the slice comes from; None where absent or no number.
    pub acquisition_number: Option<i32>,
    /// How many images the scan gave; None where that is not told.
    pub images_in_acquisition: Option<u32>,
    /// Free text of the series. Not for logs.
    pub series_description: Option<String>,
    /// Free text of the protocol. Not for logs.
    pub protocol_name: Option<String>,
    /// Reconstruction kernel, as the vendor names it; its values joined by a backslash.
    pub convolution_kernel: Option<String>,
    /// How the patient lay, as the scanner was told: HFS, HFP, FFDL. Pixels follow `image_orientation` alone.
    pub patient_position: Option<String>,
    /// Body part, as the scanner or its operator names it.
    pub body_part: Option<String>,
    /// True where a contrast agent is named.
    pub contrast_agent: bool,
    /// Rows of the slice.
    pub rows: u32,
    /// Columns of the slice.
    pub columns: u32,
    /// Samples per pixel: 1 for gray.
    pub samples_per_pixel: u16,
    /// Which frame of the object it is, counted from 0.
    pub frame: u32,
    /// Frames of the object: 1 for a single slice.
    pub frames: u32,
    /// Which part of a divided multi-frame object the object is.
    pub concatenation: Option<Concatenation>,
    /// True where a table instead of slope and intercept makes the output unit.
    pub modality_lut: bool,
    /// True where the header or its transfer syntax says that the pixels were compressed with losses.
    pub lossy: bool,
    /// What is unusual about how the file is written.
    pub oddities: Oddities,
    /// Bits of a stored cell: 1 to 64; a multiple of 8, or 1.
    pub bits_allocated: u16,
    /// Bits of a cell that hold the value.
    pub bits_stored: u16,
    /// The cell's highest bit that belongs to the value, counted from 0.
    pub high_bit: u16,
    /// True for two's complement.
    pub signed: bool,
    /// True where low values are meant to be shown bright. Stored values mean the same either way.
    pub monochrome1: bool,
    /// Factor from stored value to output unit; 1 where absent. Never 0.
    pub rescale_slope: f64,
    /// Summand from stored value to output unit; 0 where absent.
    pub rescale_intercept: f64,
    /// True where slope or intercept is absent, and 1 or 0 was assumed.
    pub rescale_missing: bool,
    /// Output unit; HU where absent, for CT.
    pub rescale_type: Option<String>,
    /// Lowest and highest stored value that means "no measurement here", both included.
    pub pixel_padding: Option<(i32, i32)>,
    /// Center of the first pixel in patient coordinates (x to the left, y to the back, z to the head), in mm.
    pub image_position: Option<[f64; 3]>,
    /// Unit vectors along a row and along a column, perpendicular to each other.
    pub image_orientation: Option<[f64; 6]>,
    /// Distance of rows, distance of columns, in mm; both above 0.
    pub pixel_spacing: Option<[f64; 2]>,
    /// Nominal thickness in mm. Not the distance of slices.
    pub slice_thickness_mm: Option<f64>,
    /// Nominal tilt of the gantry in degrees; None where absent or not one number. Vendors differ in its sign.
    pub gantry_tilt_deg: Option<f64>,
}

/// One of several objects that hold the frames of one.
///
/// # Source
/// DICOM PS3.3 C.7.6.16.1.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concatenation {
    /// UID of the whole.
    pub uid: String,
    /// Which part it is, counted from 1.
    pub number: u32,
    /// How many parts there are; None where that is not told.
    pub total: Option<u32>,
}

impl SliceHeader {
    /// Bytes of memory that it takes.
    pub(crate) fn held_bytes(&self) -> u64 {
        let texts = [
            &self.series_description,
            &self.protocol_name,
            &self.convolution_kernel,
            &self.body_part,
            &self.patient_position,
            &self.rescale_type,
        ];
        let strings = [
            &self.transfer_syntax,
            &self.sop_class_uid,
            &self.sop_instance_uid,
            &self.study_uid,
            &self.series_uid,
            &self.modality,
        ];
        let strings = strings.into_iter().chain(texts.into_iter().flatten());
        let image_type = self.image_type.iter().map(|value| size_of::<String>() + value.len());
        let held =
            size_of::<SliceHeader>() + strings.map(String::len).sum::<usize>() + image_type.sum::<usize>();
        held as u64
    }
}

impl fmt::Debug for SliceHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SliceHeader")
            .field("sop_class_uid", &self.sop_class_uid)
            .field("sop_instance_uid", &self.sop_instance_uid)
            .field("series_uid", &self.series_uid)
            .field("transfer_syntax", &self.transfer_syntax)
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .field("frames", &self.frames)
            .field("samples_per_pixel", &self.samples_per_pixel)
            .field("bits_allocated", &self.bits_allocated)
            .field("bits_stored", &self.bits_stored)
            .field("high_bit", &self.high_bit)
            .field("signed", &self.signed)
            .field("monochrome1", &self.monochrome1)
            .field("rescale_slope", &self.rescale_slope)
            .field("rescale_intercept", &self.rescale_intercept)
            .field("pixel_padding", &self.pixel_padding)
            .field("image_position", &self.image_position)
            .field("image_orientation", &self.image_orientation)
            .field("pixel_spacing", &self.pixel_spacing)
            .finish_non_exhaustive()
    }
}

/// The header of every slice in the object: one, or one a frame.
pub(super) fn read(layout: &Layout<'_>, limits: &Limits) -> Result<Vec<SliceHeader>, DicomError> {
    let object = Elements::parse(layout, &layout.elements, None);
    // First of all: a directory or a report has no rows to complain about. But a CT slice without pixels was cut
    // off behind one of its elements.
    if layout.pixels.is_none() {
        let class = object.ok().and_then(|elements| elements.text(tags::SOP_CLASS_UID));
        return Err(match class.as_deref() {
            Some(uids::CT_IMAGE_STORAGE | uids::ENHANCED_CT_IMAGE_STORAGE) => {
                DicomError::format(tags::PIXEL_DATA, FormatProblem::Missing)
            }
            _ => DicomError::NoPixelData,
        });
    }
    let object = object?;
    let shared = Elements::parse(layout, &layout.shared, Some(&object))?;
    let first = of_frame(layout, &shared, 0, limits)?;
    if first.frames == 1 && layout.frames.is_empty() {
        return Ok(vec![first]);
    }
    // Ours, not the file's: an object without functional groups has frames that all say the same.
    let groups = layout.frames.len();
    if groups > 0 && groups != first.frames as usize {
        return Err(DicomError::contradiction(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, "NumberOfFrames"));
    }
    let frame = |frame: u32| {
        let own = layout.frames.get(frame as usize).map_or(&[][..], Vec::as_slice);
        of_frame(layout, &Elements::parse(layout, own, Some(&shared))?, frame, limits)
    };
    (0..first.frames).map(frame).collect()
}

fn of_frame(
    layout: &Layout<'_>,
    elements: &Elements<'_>,
    frame: u32,
    limits: &Limits,
) -> Result<SliceHeader, DicomError> {
    let bits_allocated = elements.required_u16(tags::BITS_ALLOCATED)?;
    let bits_stored = elements.required_u16(tags::BITS_STORED)?;
    let high_bit = elements.required_u16(tags::HIGH_BIT)?;
    if !(bits_allocated == 1 || (bits_allocated % 8 == 0 && (8..=64).contains(&bits_allocated))) {
        return Err(DicomError::range(tags::BITS_ALLOCATED));
    }
    if bits_stored == 0 || bits_stored > bits_allocated {
        return Err(DicomError::contradiction(tags::BITS_STORED, "BitsAllocated"));
    }
    if high_bit >= bits_allocated || high_bit + 1 < bits_stored {
        return Err(DicomError::contradiction(tags::HIGH_BIT, "BitsStored"));
    }
    let signed = match elements.required_u16(tags::PIXEL_REPRESENTATION)? {
        0 => false,
        1 => true,
        _ => return Err(DicomError::range(tags::PIXEL_REPRESENTATION)),
    };
    let frames = match elements.integer(tags::NUMBER_OF_FRAMES)? {
        None => 1,
        Some(_) => elements.extent(tags::NUMBER_OF_FRAMES, "the number of frames", limits.frames)?,
    };
    let several = frames > 1;
    let slope = elements.number(tags::RESCALE_SLOPE)?;
    let intercept = elements.number(tags::RESCALE_INTERCEPT)?;
    if slope.is_some_and(|slope| slope == 0.0 || slope.abs() > LARGEST_RESCALE) {
        return Err(DicomError::range(tags::RESCALE_SLOPE));
    }
    if intercept.is_some_and(|intercept| intercept.abs() > LARGEST_RESCALE) {
        return Err(DicomError::range(tags::RESCALE_INTERCEPT));
    }
    Ok(SliceHeader {
        transfer_syntax: layout.syntax.uid.clone(),
        sop_class_uid: elements.uid(tags::SOP_CLASS_UID)?,
        sop_instance_uid: elements.uid(tags::SOP_INSTANCE_UID)?,
        study_uid: elements.uid(tags::STUDY_INSTANCE_UID)?,
        series_uid: elements.uid(tags::SERIES_INSTANCE_UID)?,
        modality: elements.text(tags::MODALITY).unwrap_or_default(),
        image_type: match elements.texts(tags::FRAME_TYPE) {
            of_frame if !of_frame.is_empty() => of_frame,
            _ => elements.texts(tags::IMAGE_TYPE),
        },
        series_number: elements.lenient_integer(tags::SERIES_NUMBER),
        instance_number: elements.lenient_integer(tags::INSTANCE_NUMBER),
        acquisition_number: elements
            .lenient_integer(tags::FRAME_ACQUISITION_NUMBER)
            .or_else(|| elements.lenient_integer(tags::ACQUISITION_NUMBER)),
        images_in_acquisition: elements
            .lenient_integer(tags::IMAGES_IN_ACQUISITION)
            .and_then(|count| u32::try_from(count).ok()),
        series_description: elements.text(tags::SERIES_DESCRIPTION),
        protocol_name: elements.text(tags::PROTOCOL_NAME),
        convolution_kernel: elements.text(tags::CONVOLUTION_KERNEL),
        body_part: elements.text(tags::BODY_PART_EXAMINED),
        patient_position: elements.text(tags::PATIENT_POSITION),
        // A frame may have been taken before the agent of its series was given.
        contrast_agent: (elements.text(tags::CONTRAST_BOLUS_AGENT).is_some()
            || layout.filled_sequences.contains(&tags::CONTRAST_BOLUS_AGENT_SEQUENCE))
            && elements.text(tags::CONTRAST_BOLUS_AGENT_ADMINISTERED).as_deref() != Some("NO"),
        rows: elements.extent(tags::ROWS, "the number of rows", limits.rows)?,
        columns: elements.extent(tags::COLUMNS, "the number of columns", limits.columns)?,
        samples_per_pixel: match elements.integer(tags::SAMPLES_PER_PIXEL)? {
            None => 1,
            Some(samples @ 1..=4) => samples as u16,
            Some(_) => return Err(DicomError::range(tags::SAMPLES_PER_PIXEL)),
        },
        frame,
        concatenation: concatenation(elements),
        modality_lut: layout.filled_sequences.contains(&tags::MODALITY_LUT_SEQUENCE),
        lossy: syntax::is_lossy(&layout.syntax.uid)
            || elements.text(tags::LOSSY_IMAGE_COMPRESSION).as_deref() == Some("01"),
        oddities: layout.oddities,
        frames,
        bits_allocated,
        bits_stored,
        high_bit,
        signed,
        monochrome1: elements.text(tags::PHOTOMETRIC_INTERPRETATION).as_deref() == Some("MONOCHROME1"),
        rescale_slope: slope.unwrap_or(1.0),
        rescale_intercept: intercept.unwrap_or(0.0),
        rescale_missing: slope.is_none() || intercept.is_none(),
        rescale_type: elements.text(tags::RESCALE_TYPE),
        pixel_padding: pixel_padding(elements, signed)?,
        // An object of several frames that gives one position gives none: it is not known which frame lies there.
        image_position: match elements.numbers(tags::IMAGE_POSITION_PATIENT)? {
            Some(_) if several && layout.frames.is_empty() => None,
            Some(position) if position.iter().any(|part: &f64| part.abs() > FARTHEST_MM) => {
                return Err(DicomError::range(tags::IMAGE_POSITION_PATIENT));
            }
            position => position,
        },
        image_orientation: orientation(elements)?,
        pixel_spacing: match elements.numbers(tags::PIXEL_SPACING)? {
            Some(spacing) if spacing.iter().any(|part| !(1e-6..=FARTHEST_MM).contains(part)) => {
                return Err(DicomError::range(tags::PIXEL_SPACING));
            }
            spacing => spacing,
        },
        slice_thickness_mm: match elements.number(tags::SLICE_THICKNESS)? {
            Some(thickness) if !(0.0..=FARTHEST_MM).contains(&thickness) => {
                return Err(DicomError::range(tags::SLICE_THICKNESS));
            }
            thickness => thickness,
        },
        gantry_tilt_deg: elements.lenient_number(tags::GANTRY_DETECTOR_TILT),
    })
}

fn concatenation(elements: &Elements<'_>) -> Option<Concatenation> {
    let count = |tag| elements.lenient_integer(tag).and_then(|count| u32::try_from(count).ok());
    Some(Concatenation {
        uid: elements.uid(tags::CONCATENATION_UID).ok()?,
        number: count(tags::IN_CONCATENATION_NUMBER)?,
        total: count(tags::IN_CONCATENATION_TOTAL_NUMBER),
    })
}

/// The stored values that are padding, in ascending order.
///
/// # Source
/// DICOM PS3.3 C.7.5.1.1.2; the value representation of both elements follows PixelRepresentation, but
/// writers get it wrong, so the 16 bits are read again as PixelRepresentation says.
fn pixel_padding(elements: &Elements<'_>, signed: bool) -> Result<Option<(i32, i32)>, DicomError> {
    let stored = |tag| -> Result<Option<i32>, DicomError> {
        let Some(value) = elements.integer(tag)? else {
            return Ok(None);
        };
        if !(i64::from(i16::MIN)..=i64::from(u16::MAX)).contains(&value) {
            return Err(DicomError::range(tag));
        }
        let bits = value as u16;
        Ok(Some(if signed { i32::from(bits as i16) } else { i32::from(bits) }))
    };
    let Some(value) = stored(tags::PIXEL_PADDING_VALUE)? else {
        return Ok(None);
    };
    let limit = stored(tags::PIXEL_PADDING_RANGE_LIMIT)?.unwrap_or(value);
    Ok(Some((value.min(limit), value.max(limit))))
}

/// Two perpendicular unit vectors, within what scanners round.
fn orientation(elements: &Elements<'_>) -> Result<Option<[f64; 6]>, DicomError> {
    const TOLERANCE: f64 = 0.01;
    let Some(cosines) = elements.numbers::<6>(tags::IMAGE_ORIENTATION_PATIENT)? else {
        return Ok(None);
    };
    let [a, b, c, d, e, f] = cosines;
    let is_unit = |x: f64, y: f64, z: f64| (x * x + y * y + z * z - 1.0).abs() <= TOLERANCE;
    if is_unit(a, b, c) && is_unit(d, e, f) && (a * d + b * e + c * f).abs() <= TOLERANCE {
        return Ok(Some(cosines));
    }
    Err(DicomError::range(tags::IMAGE_ORIENTATION_PATIENT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::crafted::Crafted;
    use crate::dicom::crafted::read_header;
    use crate::dicom::syntax::EXPLICIT_BIG;

    fn header(slice: Crafted) -> Result<SliceHeader, DicomError> {
        read_header(&slice.file(), &Limits::default()).map(|(header, _)| header)
    }

    fn refusal(slice: Crafted) -> String {
        header(slice).unwrap_err().to_string()
    }

    #[test]
    fn every_syntax_gives_the_same_header() {
        let slice = Crafted::slice(2, 3).number(0x0028, 0x0120, 63_536).text(0x0018, 0x1120, b"DS", "+18.5");
        let explicit = header(slice.clone()).unwrap();
        assert_eq!(explicit.gantry_tilt_deg, Some(18.5));
        assert_eq!(explicit.pixel_padding, Some((-2000, -2000)));
        assert_eq!((explicit.rows, explicit.columns), (2, 3));
        for syntax in
            [uids::IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_BIG, uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN]
        {
            let mut other = header(slice.clone().syntax(syntax)).unwrap();
            assert_eq!(other.transfer_syntax, syntax);
            other.transfer_syntax.clone_from(&explicit.transfer_syntax);
            assert!(other == explicit, "{syntax}");
        }
    }

    #[test]
    fn padding_follows_the_sign_of_the_pixels_and_its_range_is_ordered() {
        let slice = Crafted::slice(2, 2).with(0x0028, 0x0120, b"SS", &(-1500i16).to_le_bytes()).with(
            0x0028,
            0x0121,
            b"SS",
            &(-2000i16).to_le_bytes(),
        );
        let signed = header(slice.clone()).unwrap();
        assert_eq!(signed.pixel_padding, Some((-2000, -1500)));
        let unsigned = header(slice.number(0x0028, 0x0103, 0)).unwrap();
        assert_eq!(unsigned.pixel_padding, Some((63_536, 64_036)));
    }

    #[test]
    fn refuses_impossible_values_by_tag_and_keyword() {
        let slice = || Crafted::slice(2, 2);
        let text = |group, element, value| refusal(slice().text(group, element, b"DS", value));
        assert_eq!(text(0x0028, 0x1053, "0"), "(0028,1053) RescaleSlope: value out of range");
        assert_eq!(text(0x0028, 0x1052, "NaN"), "(0028,1052) RescaleIntercept: value out of range");
        assert_eq!(text(0x0028, 0x0030, "0.5\\-0.5"), "(0028,0030) PixelSpacing: value out of range");
        assert_eq!(
            text(0x0020, 0x0032, "1\\2"),
            "(0020,0032) ImagePositionPatient: not a value of the required form"
        );
        assert_eq!(
            text(0x0020, 0x0037, "1\\0\\0\\1\\0\\0"),
            "(0020,0037) ImageOrientationPatient: value out of range"
        );
        assert_eq!(refusal(slice().number(0x0028, 0x0010, 0)), "(0028,0010) Rows: value out of range");
        assert_eq!(
            refusal(slice().number(0x0028, 0x0011, 60_000)),
            "the number of columns is 60000, over the limit of 4096"
        );
        assert_eq!(
            refusal(slice().number(0x0028, 0x0101, 17)),
            "(0028,0101) BitsStored: contradicts BitsAllocated"
        );
        assert_eq!(
            refusal(slice().number(0x0028, 0x0102, 14)),
            "(0028,0102) HighBit: contradicts BitsStored"
        );
        assert_eq!(refusal(slice().without(0x0020, 0x000E)), "(0020,000E) SeriesInstanceUID: missing");
        assert_eq!(
            refusal(slice().text(0x0020, 0x000D, b"UI", "1.2/../3")),
            "(0020,000D) StudyInstanceUID: not a value of the required form"
        );
    }

    #[test]
    fn a_rescale_that_no_scanner_writes_is_refused() {
        // With a slope of 1e308 every pixel was the densest or the thinnest there is, and the slice was readable.
        for value in ["1e308", "-1000001", "1e7"] {
            let text = refusal(Crafted::slice(2, 2).text(0x0028, 0x1053, b"DS", value));
            assert_eq!(text, "(0028,1053) RescaleSlope: value out of range");
            let text = refusal(Crafted::slice(2, 2).text(0x0028, 0x1052, b"DS", value));
            assert_eq!(text, "(0028,1052) RescaleIntercept: value out of range");
        }
        assert!(header(Crafted::slice(2, 2).text(0x0028, 0x1052, b"DS", "-32768")).is_ok());
    }

    #[test]
    fn a_missing_rescale_is_assumed_and_flagged() {
        let header = header(Crafted::slice(2, 2).without(0x0028, 0x1053)).unwrap();
        assert!(header.rescale_missing);
        assert_eq!((header.rescale_slope, header.rescale_intercept), (1.0, 0.0));
    }

    #[test]
    fn numbers_that_nothing_depends_on_may_be_nonsense() {
        let header = header(Crafted::slice(2, 2).text(0x0020, 0x0013, b"IS", "A7")).unwrap();
        assert_eq!(header.instance_number, None);
    }

    #[test]
    fn a_tilt_that_is_no_number_keeps_no_slice_from_being_read() {
        // A scanner wrote two values, an archive "N/A", and every slice of the series was refused for a number
        // that only a warning looks at.
        for tilt in ["18.5\\0", "N/A"] {
            let header = header(Crafted::slice(2, 2).text(0x0018, 0x1120, b"DS", tilt)).unwrap();
            assert_eq!(header.gantry_tilt_deg, None);
        }
    }

    #[test]
    fn a_slice_cut_off_before_its_pixels_is_corrupt() {
        // Cut off exactly behind an element, a slice passed for an object that never had pixels, and was left
        // out without a word.
        let file =
            crate::dicom::crafted::file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &Crafted::slice(2, 2).data_set());
        let error = read_header(&file, &Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), "(7FE0,0010) PixelData: missing");
        assert!(error.is_corrupt());
    }

    #[test]
    fn long_texts_are_refused_and_what_is_held_is_counted() {
        // 64 KiB were allowed for each of 33 values of each header: hostile headers took 2 MB each.
        let long = Crafted::slice(2, 2).text(0x0008, 0x103E, b"LO", &"x".repeat(1026));
        assert_eq!(
            refusal(long),
            "the size of a parsed element value in bytes is 1026, over the limit of 1024"
        );
        let short = header(Crafted::slice(2, 2)).unwrap().held_bytes();
        let longer = Crafted::slice(2, 2).text(0x0008, 0x103E, b"LO", &"x".repeat(1000));
        assert_eq!(header(longer).unwrap().held_bytes(), short + 1000);
    }

    #[test]
    fn texts_in_other_character_sets_do_not_fail() {
        let slice = Crafted::slice(2, 2).with(0x0008, 0x103E, b"LO", b"\x1B$BF,It\x1B(B").with(
            0x0018,
            0x1030,
            b"LO",
            b"\xC3\xA9\xFF\xFE",
        );
        assert!(header(slice).unwrap().series_description.is_some());
    }

    #[test]
    fn debug_prints_no_free_text() {
        let slice = Crafted::slice(2, 2)
            .text(0x0008, 0x103E, b"LO", "Secret^Person")
            .text(0x0018, 0x1030, b"LO", "Secret^Person")
            .text(0x0018, 0x0015, b"CS", "SECRET");
        let printed = format!("{:?}", header(slice).unwrap());
        assert!(!printed.to_uppercase().contains("SECRET") && !printed.contains("Nobody"));
    }

    #[test]
    fn an_object_without_pixels_is_not_corrupt() {
        let file = crate::dicom::crafted::file(
            uids::EXPLICIT_VR_LITTLE_ENDIAN,
            &Crafted::slice(2, 2).without(0x0008, 0x0016).data_set(),
        );
        let error = read_header(&file, &Limits::default()).unwrap_err();
        assert!(matches!(error, DicomError::NoPixelData) && !error.is_corrupt());
    }
}
