//! A rendered phantom as a series of DICOM CT Image Storage files, explicit VR little endian.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use ndarray::Array2;

use super::noise::{Counter, Stream, mix64};
use super::scanner::LOWEST_HU;
use super::{Hematoma, Phantom, PhantomError, Spec};

/// A series that has been written.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The files, foot to head.
    pub files: Vec<PathBuf>,
    /// Volume of blood within the slices written, partly filled voxels counted by their share.
    pub hematoma_volume_ml: f64,
}

/// Renders the series that `spec` describes and writes it to `folder`, which is created if missing.
///
/// Files are `IM0001.dcm` and so on, foot to head; existing files of these names are overwritten.
/// `progress` is called with (slices done, slices in all). The bytes do not depend on the number of
/// threads, which is that of the processors.
///
/// # Errors
/// [`PhantomError`]: a spec that cannot be rendered, or a folder that cannot be written; files
/// written before stay.
pub fn write_series(
    spec: &Spec,
    folder: &Path,
    progress: &mut dyn FnMut(u16, u16),
) -> Result<Written, PhantomError> {
    let phantom = Phantom::new(spec)?;
    std::fs::create_dir_all(folder)
        .map_err(|source| PhantomError::Io { path: folder.to_path_buf(), source })?;
    let files: Vec<PathBuf> =
        (1..=u32::from(spec.slices)).map(|number| folder.join(format!("IM{number:04}.dcm"))).collect();
    refuse_other_slices(folder, &files)?;
    let volumes = in_parallel(files.len(), progress, |index| {
        let index = index as u16;
        let slice = phantom.slice(index);
        let instance = uid(spec, &[], Level::Instance(index));
        let object = attributes(&phantom, index, &instance, &slice.hu);
        save(object, &instance, &files[usize::from(index)])?;
        Ok(slice.hematoma_ml)
    })?;
    Ok(Written { files, hematoma_volume_ml: volumes.iter().sum() })
}

/// Does `jobs` pieces of work on all processors; the results are in order.
pub(super) fn in_parallel<T: Send>(
    jobs: usize,
    progress: &mut dyn FnMut(u16, u16),
    work: impl Fn(usize) -> Result<T, PhantomError> + Sync,
) -> Result<Vec<T>, PhantomError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let (sender, receiver) = mpsc::channel();
    let mut results: Vec<Option<T>> = (0..jobs).map(|_| None).collect();
    let mut first_error = None;
    std::thread::scope(|scope| {
        for _ in 0..workers.min(jobs) {
            let sender = sender.clone();
            let (work, next, failed) = (&work, &next, &failed);
            scope.spawn(move || {
                while !failed.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= jobs {
                        break;
                    }
                    let outcome = work(index);
                    if outcome.is_err() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    if sender.send((index, outcome)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut done = 0;
        for (index, outcome) in receiver {
            match outcome {
                Ok(result) => results[index] = Some(result),
                Err(error) => {
                    first_error.get_or_insert(error);
                    continue;
                }
            }
            done += 1;
            progress(done, jobs as u16);
        }
    });
    match first_error {
        Some(error) => Err(error),
        None => Ok(results.into_iter().flatten().collect()),
    }
}

/// Writes a data set as a file.
pub(super) fn save(object: InMemDicomObject, instance: &str, path: &Path) -> Result<(), PhantomError> {
    let encode = |source: Box<dyn std::error::Error + Send + Sync>| PhantomError::Encode {
        path: path.to_path_buf(),
        source,
    };
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uids::CT_IMAGE_STORAGE)
        .media_storage_sop_instance_uid(instance)
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .implementation_class_uid(crate::dicom::IMPLEMENTATION_UID)
        .implementation_version_name("HEMAPATCH");
    let file = object.with_meta(meta).map_err(|error| encode(error.into()))?;
    let mut bytes = Vec::new();
    file.write_all(&mut bytes).map_err(|error| encode(error.into()))?;
    std::fs::write(path, bytes).map_err(|source| PhantomError::Io { path: path.to_path_buf(), source })
}

/// The data set of one slice.
///
/// # Source
/// DICOM PS3.3 A.3.3 (CT Image IOD) and the modules it names.
pub(super) fn attributes(
    phantom: &Phantom,
    index: u16,
    instance: &str,
    hu: &Array2<i16>,
) -> InMemDicomObject {
    let spec = phantom.spec();
    let number = u32::from(index) + 1;
    let mut object = InMemDicomObject::new_empty();
    let mut text = |tag: Tag, vr: VR, value: &str| {
        object.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
    };
    // Patient
    text(tags::PATIENT_NAME, VR::PN, "HEMAPATCH^PHANTOM");
    text(tags::PATIENT_ID, VR::LO, &format!("PHANTOM-{}", spec.seed));
    text(tags::PATIENT_BIRTH_DATE, VR::DA, "");
    text(tags::PATIENT_SEX, VR::CS, "O");
    // Study
    let study = uid(spec, &[], Level::Study);
    text(tags::STUDY_INSTANCE_UID, VR::UI, &study);
    text(tags::STUDY_DATE, VR::DA, DATE);
    text(tags::STUDY_TIME, VR::TM, TIME);
    text(tags::STUDY_ID, VR::SH, "1");
    text(tags::ACCESSION_NUMBER, VR::SH, "");
    text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "");
    text(tags::STUDY_DESCRIPTION, VR::LO, "SYNTHETIC HEAD CT");
    // Series
    text(tags::MODALITY, VR::CS, "CT");
    let series = uid(spec, &[], Level::Series);
    text(tags::SERIES_INSTANCE_UID, VR::UI, &series);
    text(tags::SERIES_NUMBER, VR::IS, "2");
    text(tags::SERIES_DATE, VR::DA, DATE);
    text(tags::SERIES_TIME, VR::TM, TIME);
    let description = "SYNTHETIC PHANTOM, AXIAL, NO PATIENT";
    text(tags::SERIES_DESCRIPTION, VR::LO, description);
    text(tags::BODY_PART_EXAMINED, VR::CS, "HEAD");
    text(tags::PATIENT_POSITION, VR::CS, "HFS");
    // Frame of reference
    let frame = uid(spec, &[], Level::Frame);
    text(tags::FRAME_OF_REFERENCE_UID, VR::UI, &frame);
    text(tags::POSITION_REFERENCE_INDICATOR, VR::LO, "OM");
    // Equipment
    text(tags::MANUFACTURER, VR::LO, "hemapatch");
    text(tags::MANUFACTURER_MODEL_NAME, VR::LO, "phantom");
    text(tags::SOFTWARE_VERSIONS, VR::LO, "hemapatch phantom 1");
    // Image and acquisition
    text(tags::INSTANCE_NUMBER, VR::IS, &number.to_string());
    text(tags::ACQUISITION_NUMBER, VR::IS, "1");
    text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL");
    for (date, time) in
        [(tags::CONTENT_DATE, tags::CONTENT_TIME), (tags::ACQUISITION_DATE, tags::ACQUISITION_TIME)]
    {
        text(date, VR::DA, DATE);
        text(time, VR::TM, TIME);
    }
    text(tags::IMAGE_COMMENTS, VR::LT, &comment(spec));
    text(tags::BURNED_IN_ANNOTATION, VR::CS, "NO");
    text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
    // Image plane
    let pixel = decimal(spec.pixel_mm);
    text(tags::PIXEL_SPACING, VR::DS, &format!("{pixel}\\{pixel}"));
    text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, &decimals(&phantom.orientation()));
    text(tags::IMAGE_POSITION_PATIENT, VR::DS, &decimals(&phantom.position_mm(index)));
    text(tags::SLICE_THICKNESS, VR::DS, &decimal(spec.spacing_mm));
    text(tags::SLICE_LOCATION, VR::DS, &decimal(phantom.middle_mm(index)[2]));
    // CT
    text(tags::GANTRY_DETECTOR_TILT, VR::DS, &decimal(spec.tilt_deg));
    text(tags::KVP, VR::DS, "120");
    text(tags::X_RAY_TUBE_CURRENT, VR::IS, "250");
    text(tags::EXPOSURE_TIME, VR::IS, "1000");
    text(tags::SCAN_OPTIONS, VR::CS, "AXIAL MODE");
    text(tags::ROTATION_DIRECTION, VR::CS, "CW");
    text(tags::CONVOLUTION_KERNEL, VR::SH, kernel(spec));
    let diameter = f64::from(spec.rows_columns) * spec.pixel_mm;
    text(tags::RECONSTRUCTION_DIAMETER, VR::DS, &decimal(diameter));
    text(tags::DATA_COLLECTION_DIAMETER, VR::DS, "250");
    text(tags::RESCALE_INTERCEPT, VR::DS, "-1024");
    text(tags::RESCALE_SLOPE, VR::DS, "1");
    text(tags::RESCALE_TYPE, VR::LO, "HU");
    text(tags::WINDOW_CENTER, VR::DS, "40");
    text(tags::WINDOW_WIDTH, VR::DS, "80");
    // SOP common
    text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE);
    text(tags::SOP_INSTANCE_UID, VR::UI, instance);
    text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100");
    // Pixels: 12 bits unsigned; the lowest value stands only outside of the field of view.
    text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    for (tag, value) in [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, spec.rows_columns),
        (tags::COLUMNS, spec.rows_columns),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, 12),
        (tags::HIGH_BIT, 11),
        (tags::PIXEL_REPRESENTATION, 0),
        (tags::PIXEL_PADDING_VALUE, 0),
    ] {
        object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }
    let stored = hu.iter().map(|&hu| (hu - LOWEST_HU as i16) as u16);
    let stored = PrimitiveValue::U16(stored.collect());
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, stored));
    object
}

/// No day in particular: a fixed date keeps the bytes fixed.
const DATE: &str = "20260101";
const TIME: &str = "120000";

/// Names the kernel as a protocol would.
fn kernel(spec: &Spec) -> &'static str {
    if spec.kernel_mm < 0.4 {
        "SHARP"
    } else if spec.kernel_mm <= 0.7 {
        "STANDARD"
    } else {
        "SOFT"
    }
}

/// Says that nobody was scanned, and what the truth is.
fn comment(spec: &Spec) -> String {
    let Some(hematoma) = &spec.hematoma else {
        return format!("Synthetic phantom, seed {}: no hematoma", spec.seed);
    };
    let (site, side) = (hematoma.site.as_str(), hematoma.side.as_str());
    let mut comment = format!(
        "Synthetic phantom, seed {}: hematoma, {side} {site}, {} mL",
        spec.seed,
        decimal(hematoma.volume_ml)
    );
    for &marker in &hematoma.markers {
        comment.push_str(", ");
        comment.push_str(marker.as_str());
    }
    comment
}

/// A decimal string of at most 16 characters, rounded to a millionth.
pub(super) fn decimal(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    // "-0" is a legal decimal string, but no pleasant one.
    if text == "-0" { "0".into() } else { text.into() }
}

pub(super) fn decimals(values: &[f64]) -> String {
    let texts: Vec<String> = values.iter().map(|&value| decimal(value)).collect();
    texts.join("\\")
}

/// What a UID is for.
#[derive(Clone, Copy)]
pub(super) enum Level {
    Study,
    Series,
    Frame,
    Instance(u16),
}

/// A UID that is a function of the whole spec and of `more`: two different specs never share one, the same
/// spec always gets the same.
///
/// # Source
/// DICOM PS3.5 B.2, "UUID derived UID"; RFC 9562 5.8, UUID version 8.
pub(super) fn uid(spec: &Spec, more: &[u64], level: Level) -> String {
    let (kind, index) = match level {
        Level::Study => (1, 0),
        Level::Series => (2, 0),
        Level::Frame => (3, 0),
        Level::Instance(index) => (4, index),
    };
    let mut words = vec![
        u64::from(spec.slices),
        spec.spacing_mm.to_bits(),
        u64::from(spec.rows_columns),
        spec.pixel_mm.to_bits(),
        spec.tilt_deg.to_bits(),
        spec.off_center_mm[0].to_bits(),
        spec.off_center_mm[1].to_bits(),
        spec.rotation_deg.to_bits(),
        spec.noise_hu.to_bits(),
        spec.kernel_mm.to_bits(),
    ];
    if let Some(hematoma) = &spec.hematoma {
        words.extend(words_of(hematoma));
    }
    words.extend(more);
    let half = |salt| {
        let mut state = Counter::new(spec.seed, Stream::Uid).word(salt, kind, i32::from(index));
        for &word in &words {
            state = mix64(state.rotate_left(23) ^ mix64(word));
        }
        u128::from(state)
    };
    let random = half(1) << 64 | half(2);
    let version_8 = random & !(0xf << 76) | 8 << 76;
    let variant = version_8 & !(3 << 62) | 2 << 62;
    format!("2.25.{variant}")
}

fn words_of(hematoma: &Hematoma) -> Vec<u64> {
    let mut words = vec![hematoma.site as u64, hematoma.side as u64, hematoma.volume_ml.to_bits()];
    words.extend(hematoma.markers.iter().map(|&marker| marker as u64));
    words
}

/// A shorter series written over a longer one used to leave its last slices, and a study of two heads.
pub(super) fn refuse_other_slices(folder: &Path, files: &[PathBuf]) -> Result<(), PhantomError> {
    let failed = |source| PhantomError::Io { path: folder.to_path_buf(), source };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("IM") && name.ends_with(".dcm") && !files.contains(&path) {
            return Err(PhantomError::OtherSeries { path });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Spec {
        Spec { slices: 3, rows_columns: 32, pixel_mm: 7.0, ..Spec::demo(4) }
    }

    #[test]
    fn writes_the_slices_foot_to_head() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut calls = Vec::new();
        let written = write_series(&tiny(), folder.path(), &mut |done, all| {
            calls.push((done, all));
        })
        .expect("written");
        assert_eq!(calls, [(1, 3), (2, 3), (3, 3)]);
        let mut last_z = f64::MIN;
        for (index, path) in written.files.iter().enumerate() {
            let file = dicom_object::open_file(path).expect("readable");
            let number = file.element(tags::INSTANCE_NUMBER).expect("a number");
            assert_eq!(number.to_int::<usize>().expect("whole"), index + 1);
            let position = file.element(tags::IMAGE_POSITION_PATIENT).expect("a place");
            let z = position.to_multi_float64().expect("numbers")[2];
            assert!(z > last_z);
            last_z = z;
            let pixels = file.element(tags::PIXEL_DATA).expect("pixels");
            let stored: Vec<u16> = pixels.to_multi_int().expect("words");
            let hu = Phantom::new(&tiny()).expect("valid").slice(index as u16).hu;
            assert!(hu.iter().zip(&stored).all(|(&hu, &s)| i32::from(s) == i32::from(hu) + 1024));
        }
    }

    #[test]
    fn the_same_spec_gives_the_same_bytes() {
        let read = || {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let written = write_series(&tiny(), folder.path(), &mut |_, _| {}).expect("written");
            let bytes = written.files.iter().map(std::fs::read);
            bytes.collect::<Result<Vec<_>, _>>().expect("readable")
        };
        assert_eq!(read(), read());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let folder = file.path().join("series");
        let error = write_series(&tiny(), &folder, &mut |_, _| {}).expect_err("no folder");
        assert!(matches!(error, PhantomError::Io { path, .. } if path == folder));
    }

    #[test]
    fn uids_tell_specs_and_levels_apart() {
        let plain = Spec::default();
        let mut all: Vec<String> = [Level::Study, Level::Series, Level::Frame, Level::Instance(0)]
            .map(|level| uid(&plain, &[], level))
            .into();
        all.push(uid(&plain, &[], Level::Instance(1)));
        all.push(uid(&Spec::demo(1), &[], Level::Study));
        let tilted = Spec { tilt_deg: 1.0, ..plain };
        all.push(uid(&tilted, &[], Level::Study));
        assert!(all.iter().all(|uid| uid.len() <= 64 && uid.starts_with("2.25.")));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 7);
    }

    #[test]
    fn decimal_strings_fit_their_vr() {
        assert_eq!(decimal(0.45), "0.45");
        assert_eq!(decimal(-0.000_000_1), "0");
        assert_eq!(decimal(-114.975), "-114.975");
        assert!(decimal(-16_384.123_456_7).len() <= 16);
    }
}
