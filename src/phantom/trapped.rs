//! Studies with a trap in them, drawn and written. Which traps there are stands in `trap`.

use std::path::{Path, PathBuf};

use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use ndarray::Array2;

use super::bodies::Body;
use super::scanner::{LOWEST_HU, Lying, Pose};
use super::write::{Level, attributes, decimal, decimals, in_parallel, refuse_other_slices, save, uid};
use super::{Phantom, PhantomError, Spec, Trap, Written};

/// How far apart the columns of [`Trap::NonSquarePixels`] are, in distances of rows: 7 fifths.
const WIDER: (usize, usize) = (7, 5);

/// Slices of one study that have a phantom, and perhaps a series, of their own.
struct Part {
    phantom: Phantom,
    body: Body,
    /// Which slices of the phantom are written.
    slices: Vec<u16>,
    /// Which series of the study it is, from 0.
    series: u16,
    /// Exchanges left and right.
    mirrored: bool,
}

/// Draws a study with a trap in it and writes it to `folder`, as [`super::write_series`] does. Volumes of hematomas
/// are those of the slices of all series together.
///
/// # Errors
/// Those of [`super::write_series`].
pub fn write_trap(
    trap: Trap,
    spec: &Spec,
    folder: &Path,
    progress: &mut dyn FnMut(u16, u16),
) -> Result<Written, PhantomError> {
    let parts = parts(trap, spec)?;
    let jobs: Vec<(usize, u16)> = parts
        .iter()
        .enumerate()
        .flat_map(|(number, part)| part.slices.iter().map(move |&index| (number, index)))
        .collect();
    let copied = if trap == Trap::Copies { jobs.len() / 3 } else { 0 };
    std::fs::create_dir_all(folder).map_err(|source| PhantomError::Io { path: folder.to_owned(), source })?;
    let mut files: Vec<PathBuf> =
        (1..=jobs.len() + copied).map(|number| folder.join(format!("IM{number:04}.dcm"))).collect();
    refuse_other_slices(folder, &files)?;
    let volumes = in_parallel(jobs.len(), progress, |job| {
        let (number, index) = jobs[job];
        let part = &parts[number];
        let instance = uid(spec, &[trap as u64, number as u64], Level::Instance(index));
        let (hu, volume_ml) = part.draw(index);
        let mut object = attributes(&part.phantom, index, &instance, &hu);
        put(&mut object, tags::STUDY_INSTANCE_UID, VR::UI, &uid(spec, &[trap as u64], Level::Study));
        let series = uid(spec, &[trap as u64, part.series.into()], Level::Series);
        put(&mut object, tags::SERIES_INSTANCE_UID, VR::UI, &series);
        put(&mut object, tags::SERIES_NUMBER, VR::IS, &(2 + part.series).to_string());
        if part.mirrored {
            mirror(&mut object, &part.phantom, index);
        }
        spring(trap, number, index, &part.phantom, hu, &mut object);
        save(object, &instance, &files[job])?;
        Ok(volume_ml)
    })?;
    for copy in 0..copied {
        let (from, to) = (&files[2 * copy], &files[jobs.len() + copy]);
        std::fs::copy(from, to).map_err(|source| PhantomError::Io { path: to.clone(), source })?;
    }
    files.truncate(jobs.len() + copied);
    Ok(Written { files, hematoma_volume_ml: volumes.iter().sum() })
}

/// The parts of a study, in the order in which a scanner would send them.
fn parts(trap: Trap, spec: &Spec) -> Result<Vec<Part>, PhantomError> {
    let posed = |lying, enhanced| Phantom::posed(spec, Pose { lying, enhanced });
    let all: Vec<u16> = (0..spec.slices).collect();
    let of = |phantom, series| {
        let slices = all.clone();
        Part { phantom, body: Body::Head, slices, series, mirrored: false }
    };
    let plain = |series| posed(Lying::Supine, false).map(|phantom| of(phantom, series));
    let bone = Spec { kernel_mm: 0.25, noise_hu: 3.0 * spec.noise_hu, ..spec.clone() };
    let bone = || Phantom::new(&bone).map(|phantom| of(phantom, 0));
    let body = |body| plain(0).map(|part| Part { body, ..part });
    Ok(match trap {
        Trap::BoneAndSoft => vec![bone()?, plain(1)?],
        Trap::BoneOnly => vec![bone()?],
        Trap::ThinAndThick => {
            // No more than the middle of the head, which is enough to be tempted.
            let thin = Spec { spacing_mm: 0.6, slices: 30, noise_hu: 2.0 * spec.noise_hu, ..spec.clone() };
            let slices = (0..thin.slices).collect();
            vec![Part { slices, ..of(Phantom::new(&thin)?, 0) }, plain(1)?]
        }
        Trap::ContrastTagged | Trap::ContrastUntagged => vec![of(posed(Lying::Supine, true)?, 0)],
        Trap::TwoAcquisitions => vec![plain(0)?, of(posed(Lying::Supine, true)?, 0)],
        Trap::DuplicatePlaces => {
            let again = all.iter().copied().filter(|index| index % 3 == 1).collect();
            vec![plain(0)?, Part { slices: again, ..plain(0)? }]
        }
        Trap::MissingSlices => {
            let missing = spec.slices / 4;
            let rest =
                all.iter().copied().filter(|&index| index != missing && index != missing + 1).collect();
            vec![Part { slices: rest, ..plain(0)? }]
        }
        Trap::Prone => vec![of(posed(Lying::Prone, false)?, 0)],
        Trap::DecubitusLeft => vec![of(posed(Lying::Left, false)?, 0)],
        Trap::DecubitusRight => vec![of(posed(Lying::Right, false)?, 0)],
        Trap::FeetFirst => vec![Part { mirrored: true, ..plain(0)? }],
        Trap::Localizer => vec![Part { slices: vec![spec.slices / 2], ..plain(0)? }, plain(0)?],
        Trap::Water => vec![body(Body::Jar)?],
        Trap::Chest => vec![body(Body::Chest)?],
        Trap::EmptyAir => vec![body(Body::Air)?],
        _ => vec![plain(0)?],
    })
}

impl Part {
    /// One slice in HU, and the volume of blood in it.
    fn draw(&self, index: u16) -> (Array2<i16>, f64) {
        if self.body != Body::Head {
            return (self.body.slice(&self.phantom, index), 0.0);
        }
        let slice = self.phantom.slice(index);
        let mut hu = slice.hu;
        if self.mirrored {
            hu.invert_axis(ndarray::Axis(1));
            hu = hu.as_standard_layout().into_owned();
        }
        (hu, slice.hematoma_ml)
    }
}

fn put(object: &mut InMemDicomObject, tag: Tag, vr: VR, value: &str) {
    object.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
}

fn put_number(object: &mut InMemDicomObject, tag: Tag, value: u16) {
    object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
}

fn put_stored(object: &mut InMemDicomObject, stored: impl Iterator<Item = u16>) {
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(stored.collect())));
}

fn put_rescale(object: &mut InMemDicomObject, slope: f64, intercept: f64, unit: &str) {
    put(object, tags::RESCALE_SLOPE, VR::DS, &decimal(slope));
    put(object, tags::RESCALE_INTERCEPT, VR::DS, &decimal(intercept));
    put(object, tags::RESCALE_TYPE, VR::LO, unit);
}

/// The plane of a mirrored slice: its rows begin where they ended, and run the other way.
fn mirror(object: &mut InMemDicomObject, phantom: &Phantom, index: u16) {
    let spec = phantom.spec();
    let mut axes = phantom.orientation();
    let mut position = phantom.position_mm(index);
    let length_mm = (f64::from(spec.rows_columns) - 1.0) * spec.pixel_mm;
    for axis in 0..3 {
        position[axis] += axes[axis] * length_mm;
        axes[axis] = 0.0 - axes[axis];
    }
    put(object, tags::IMAGE_ORIENTATION_PATIENT, VR::DS, &decimals(&axes));
    put(object, tags::IMAGE_POSITION_PATIENT, VR::DS, &decimals(&position));
}

/// Makes the trap of what is a plain slice so far.
fn spring(
    trap: Trap,
    part: usize,
    index: u16,
    phantom: &Phantom,
    hu: Array2<i16>,
    object: &mut InMemDicomObject,
) {
    let spec = phantom.spec();
    let position = |object: &mut InMemDicomObject, word| put(object, tags::PATIENT_POSITION, VR::CS, word);
    match trap {
        Trap::Prone => position(object, "HFP"),
        Trap::DecubitusLeft => position(object, "HFDL"),
        Trap::DecubitusRight => position(object, "HFDR"),
        Trap::FeetFirst => position(object, "FFS"),
        Trap::ContrastTagged => put(object, tags::CONTRAST_BOLUS_AGENT, VR::LO, "SYNTHETIC AGENT"),
        Trap::TwoAcquisitions => {
            put(object, tags::ACQUISITION_NUMBER, VR::IS, &(part + 1).to_string());
            let number = part as u32 * u32::from(spec.slices) + u32::from(index) + 1;
            put(object, tags::INSTANCE_NUMBER, VR::IS, &number.to_string());
        }
        Trap::ReversedNumbers => {
            put(object, tags::INSTANCE_NUMBER, VR::IS, &(spec.slices - index).to_string());
        }
        Trap::Localizer if part == 0 => {
            put(object, tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER");
            put(object, tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "0\\1\\0\\0\\0\\-1");
        }
        Trap::NonSquarePixels => widen(object, spec, &hu),
        Trap::VaryingIntercept => {
            let intercept = -1024 - 8 * i32::from(index);
            let stored = hu.iter().map(|&hu| match i32::from(hu) {
                padding if padding == LOWEST_HU as i32 => 0,
                hu => (hu - intercept) as u16,
            });
            put_stored(object, stored);
            put_number(object, tags::BITS_STORED, 16);
            put_number(object, tags::HIGH_BIT, 15);
            put_rescale(object, 1.0, f64::from(intercept), "HU");
        }
        Trap::Windowed => {
            put_stored(object, hu.iter().map(|&hu| (hu.clamp(0, 80) as u16 * 51 + 8) / 16));
            put_rescale(object, 1.0, 0.0, "HU");
            object.remove_element(tags::PIXEL_PADDING_VALUE);
        }
        Trap::NoIntercept => {
            for tag in [tags::RESCALE_SLOPE, tags::RESCALE_INTERCEPT, tags::RESCALE_TYPE] {
                object.remove_element(tag);
            }
        }
        Trap::EffectiveNumber => {
            // In hundredths; water has 7.42.
            let number = |hu: i16| (742.0 + 0.6 * f64::from(hu)).clamp(0.0, 4000.0) as u16;
            put_stored(object, hu.iter().map(|&hu| if hu < -500 { 0 } else { number(hu) }));
            put_rescale(object, 0.01, 0.0, "Z_EFF");
        }
        Trap::IodineMap => {
            // In hundredths; nobody has iodine in the brain before it is injected.
            put_stored(object, hu.iter().map(|&hu| (hu.clamp(0, 400) / 4) as u16));
            put_rescale(object, 0.01, 0.0, "mg/ml");
        }
        Trap::Chest => {
            put(object, tags::BODY_PART_EXAMINED, VR::CS, "");
            put(object, tags::SERIES_DESCRIPTION, VR::LO, "SYNTHETIC PHANTOM, AXIAL, NO PATIENT");
            put(object, tags::STUDY_DESCRIPTION, VR::LO, "");
        }
        _ => {}
    }
}

/// Columns farther apart than rows, each a mean of the two that it lies between.
fn widen(object: &mut InMemDicomObject, spec: &Spec, hu: &Array2<i16>) {
    let (wide, narrow) = WIDER;
    let columns = (hu.ncols() - 1) * narrow / wide + 1;
    let stored = Array2::from_shape_fn((hu.nrows(), columns), |(row, column)| {
        let (at, rest) = (column * wide / narrow, (column * wide % narrow) as i32);
        let next = (at + 1).min(hu.ncols() - 1);
        let (left, right) = (i32::from(hu[[row, at]]), i32::from(hu[[row, next]]));
        let lowest = LOWEST_HU as i32;
        if left == lowest || right == lowest {
            // Padding mixes with nothing.
            return (left.min(right) - lowest) as u16;
        }
        let narrow = narrow as i32;
        ((left * (narrow - rest) + right * rest).div_euclid(narrow) - lowest) as u16
    });
    put_number(object, tags::COLUMNS, columns as u16);
    let apart = spec.pixel_mm * wide as f64 / narrow as f64;
    put(object, tags::PIXEL_SPACING, VR::DS, &decimals(&[spec.pixel_mm, apart]));
    put_stored(object, stored.into_iter());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trap_can_be_drawn_twice_with_the_same_bytes() {
        for &trap in Trap::ALL {
            let small = Spec { slices: 4, rows_columns: 32, pixel_mm: 7.0, spacing_mm: 5.0, ..trap.spec() };
            let read = || {
                let folder = tempfile::tempdir().unwrap();
                let written = write_trap(trap, &small, folder.path(), &mut |_, _| {}).unwrap();
                assert!(written.files.len() >= 2, "{}", trap.as_str());
                let bytes = written.files.iter().map(std::fs::read);
                bytes.collect::<Result<Vec<_>, _>>().unwrap()
            };
            assert!(read() == read(), "{}", trap.as_str());
        }
    }

    /// Where the blood is in the patient (DICOM PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1) does not hang on how he lies.
    #[test]
    fn blood_stays_where_it_is_in_the_patient() {
        let spec = Spec { slices: 9, spacing_mm: 5.0, rows_columns: 96, pixel_mm: 2.4, ..Spec::demo(1) };
        let center = |lying| {
            let phantom = Phantom::posed(&spec, Pose { lying, enhanced: false }).unwrap();
            let axes = phantom.orientation();
            let (mut sum, mut pixels) = ([0.0; 3], 0.0);
            for index in 0..spec.slices {
                let first = phantom.position_mm(index);
                for ((row, column), &class) in phantom.slice(index).truth.indexed_iter() {
                    if class == 2 {
                        pixels += 1.0;
                        for axis in 0..3 {
                            let along_row = axes[axis] * column as f64;
                            let along_column = axes[3 + axis] * row as f64;
                            sum[axis] += first[axis] + spec.pixel_mm * (along_row + along_column);
                        }
                    }
                }
            }
            sum.map(|sum| sum / pixels)
        };
        let supine = center(Lying::Supine);
        assert!(supine[0] > 20.0, "on the left");
        for lying in [Lying::Prone, Lying::Left, Lying::Right] {
            let there = center(lying);
            assert!(supine.iter().zip(there).all(|(a, b)| (a - b).abs() < 0.5), "{lying:?}: {there:?}");
        }
    }

    #[test]
    fn names_are_found_again() {
        for &trap in Trap::ALL {
            assert_eq!(Trap::of(trap.as_str()), Some(trap));
        }
        assert_eq!(Trap::of("none"), None);
    }
}
