//! Makes a shard of drawn patients: phantoms by seed, prepared by the engine's own steps, with a
//! truth that is exact.
//!
//! What phantoms look like is the engine crate's `phantom`. They test the trainer and stand in
//! where no real labels exist (markers, ventricles by hand); what is learned from them is no
//! knowledge about patients.

use crate::label_rule::UNCERTAIN;
use crate::random::Random;
use crate::shard::{Index, ShardError, ShardWriter, SliceEntry, Source};
use hemapatch::label::Class;
use hemapatch::phantom::{Hematoma, Marker, Phantom, RenderedSlice, Side, Site, Spec, SpecError};
use hemapatch::prep::{Placement, Preparation, Scratch};
use hemapatch::window::{Window, WindowError};
use indicatif::ProgressBar;
use ndarray::Array2;
use std::path::Path;
use std::thread;

/// What every output of a model says that was trained on phantoms.
pub const DRAWN: &str = "trained on drawn phantoms; marker labels are the drawing's, not a radiologist's";

/// Window of the pictures, Hounsfield units: that of PHE-SICH-CT-IDS.
pub const WINDOW_HU: [i16; 2] = [0, 80];

/// A slice with less blood than this does not count as one with a hematoma: in 5 mm, a spot 5 mm
/// wide, or a dome's top that partial volume hides.
pub const SMALLEST_ML: f64 = 0.1;

/// Share of a pixel that its class fills at least where the pixel is certain, in 1/255: three quarters.
const PURE: u8 = 191;

/// Of so many drawn patients in a row, so many have a hematoma.
const OF_PATIENTS: usize = 5;
const WITH_HEMATOMA: usize = 3;

/// Sites in a hundred, in the order of [`Site::ALL`].
const SITE_PERCENT: [usize; 4] = [45, 30, 15, 10];

/// Smallest hematoma that is drawn, mL, where nothing else is asked for.
pub const LEAST_VOLUME_ML: f64 = 3.0;

/// Share of the hematomas that show a marker.
const MARKER_SHARE: f64 = 0.35;

/// How the drawn scans are taken, all the same way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scan {
    /// Slices of a series.
    pub slices: u16,
    /// Their distance and thickness.
    pub spacing_mm: f64,
    /// Rows, and as many columns.
    pub rows_columns: u16,
    /// Distance of pixels.
    pub pixel_mm: f64,
}

impl Default for Scan {
    /// The phantom's own default, which is what PHE-SICH-CT-IDS looks like.
    fn default() -> Scan {
        let Spec { slices, spacing_mm, rows_columns, pixel_mm, .. } = Spec::default();
        Scan { slices, spacing_mm, rows_columns, pixel_mm }
    }
}

/// The patients to draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cohort {
    /// How many.
    pub patients: usize,
    /// Who they are. The first of a larger cohort are those of a smaller one.
    pub seed: u64,
    /// How they are scanned.
    pub scan: Scan,
    /// Smallest hematoma, where its site has room for that.
    ///
    /// # Units
    /// mL.
    pub least_ml: f64,
}

/// Why a cohort cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum PhantomsError {
    /// A scan that cannot be rendered: the caller's fault.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The window's fault, which is this module's.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// The shard cannot be written.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

/// A slice, prepared.
struct DrawnSlice {
    gray: Array2<u8>,
    classes: Array2<u8>,
    hematoma_ml: f64,
}

impl Cohort {
    /// The patient at place `index`, from 0: three of five have a hematoma, of the least volume to the largest
    /// that its site has room for, with any of the markers.
    #[must_use]
    pub fn spec(&self, index: usize) -> Spec {
        let mut random = Random::new(self.seed).fork(index as u64);
        let Scan { slices, spacing_mm, rows_columns, pixel_mm } = self.scan;
        let seed = random.bits();
        let off_center_mm = [random.between(-10.0, 10.0), random.between(-8.0, 8.0)];
        let rotation_deg = random.between(-8.0, 8.0);
        // About half of the scanners tilt their gantry, away from the eyes.
        let tilt_deg = if random.coin() { random.between(0.0, 20.0) } else { 0.0 };
        let noise_hu = random.between(2.5, 4.5);
        let kernel_mm = random.between(0.45, 0.75);
        let bleeds = index % OF_PATIENTS < WITH_HEMATOMA;
        let hematoma = bleeds.then(|| hematoma(self.least_ml, &mut random));
        Spec {
            seed,
            slices,
            spacing_mm,
            rows_columns,
            pixel_mm,
            tilt_deg,
            off_center_mm,
            rotation_deg,
            hematoma,
            noise_hu,
            kernel_mm,
        }
    }

    /// Draws, prepares and labels the cohort as a shard in `target`.
    ///
    /// # Errors
    /// [`PhantomsError`].
    pub fn prepare(
        &self,
        target: &Path,
        preparation: Preparation,
        progress: &ProgressBar,
    ) -> Result<Index, PhantomsError> {
        progress.set_length((self.patients * usize::from(self.scan.slices)) as u64);
        let mut writer = ShardWriter::create(target, Source::Phantoms, preparation)?;
        let window = Window::new(WINDOW_HU[0], WINDOW_HU[1])?;
        let specs: Vec<Spec> = (0..self.patients).map(|index| self.spec(index)).collect();
        let side_by_side = thread::available_parallelism().map_or(1, usize::from);
        let mut patient = 0;
        for specs in specs.chunks(side_by_side) {
            let drawn: Vec<_> = thread::scope(|scope| {
                let draw = |spec| scope.spawn(move || draw(spec, window, preparation, progress));
                let drawing: Vec<_> = specs.iter().map(draw).collect();
                let done = |handle: thread::ScopedJoinHandle<_>| {
                    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                drawing.into_iter().map(done).collect()
            });
            for (spec, slices) in specs.iter().zip(drawn) {
                patient += 1;
                push(&mut writer, &format!("phantom-{patient:04}"), spec, &slices?)?;
            }
        }
        Ok(writer.finish()?)
    }
}

fn hematoma(least_ml: f64, random: &mut Random) -> Hematoma {
    let mut percent = random.below(100);
    let mut site = Site::Putamen;
    for (next, share) in Site::ALL.into_iter().zip(SITE_PERCENT) {
        site = next;
        if percent < share {
            break;
        }
        percent -= share;
    }
    let side = if random.coin() { Side::Left } else { Side::Right };
    // Small ones are commoner: the volume's logarithm is uniform.
    let most_ml = site.max_volume_ml();
    let (least, most) = (libm::log(least_ml.min(most_ml)), libm::log(most_ml));
    let volume_ml = libm::exp(random.between(least, most)).min(most_ml);
    let mut markers: Vec<Marker> = Marker::ALL.into_iter().filter(|_| random.unit() < MARKER_SHARE).collect();
    // These two divide the hematoma in two different ways; one of them has to go.
    let dropped = if random.coin() { Marker::BlendSign } else { Marker::FluidLevel };
    if markers.contains(&Marker::BlendSign) && markers.contains(&Marker::FluidLevel) {
        markers.retain(|&marker| marker != dropped);
    }
    Hematoma { site, side, volume_ml, markers }
}

/// One patient's slices, foot to head.
fn draw(
    spec: &Spec,
    window: Window,
    preparation: Preparation,
    progress: &ProgressBar,
) -> Result<Vec<DrawnSlice>, SpecError> {
    let phantom = Phantom::new(spec)?;
    let mut scratch = Scratch::default();
    let slices = (0..spec.slices).map(|index| {
        let slice = phantom.slice(index);
        let mut gray = Array2::zeros(slice.hu.dim());
        let standard = "planes are in standard layout";
        window.apply(slice.hu.as_slice().expect(standard), gray.as_slice_mut().expect(standard));
        let placement = preparation.prepare(&mut gray, &mut scratch);
        let mut classes = moved(certain(&slice), placement);
        settle(&mut classes, &gray);
        progress.inc(1);
        DrawnSlice { gray, classes, hematoma_ml: slice.hematoma_ml }
    });
    Ok(slices.collect())
}

/// The truth where one class fills a pixel, [`UNCERTAIN`] at the edges where several do.
fn certain(slice: &RenderedSlice) -> Array2<u8> {
    let mut classes = slice.truth.clone();
    classes.zip_mut_with(&slice.purity, |class, &purity| {
        if purity < PURE {
            *class = UNCERTAIN;
        }
    });
    classes
}

/// Classes after their slice was moved. A class is no quantity: of a turned slice each class is
/// turned by itself, and a pixel that no class fills by half is uncertain.
fn moved(mut classes: Array2<u8>, placement: Placement) -> Array2<u8> {
    if placement.rotation_deg == 0.0 {
        // What enters is 0: background.
        placement.apply(&mut classes);
        return classes;
    }
    let turned = |is_in: &dyn Fn(u8) -> bool| {
        let mut mask = classes.mapv(|class| if is_in(class) { u8::MAX } else { 0 });
        placement.apply(&mut mask);
        mask
    };
    let foreground = turned(&|class| class != Class::Background as u8);
    let mut result = foreground.mapv(|share| if share < 128 { Class::Background as u8 } else { UNCERTAIN });
    for class in Class::ALL.into_iter().filter(|&class| class != Class::Background) {
        let mask = turned(&|other| other == class as u8);
        result.zip_mut_with(&mask, |result, &share| {
            if share >= 128 {
                *result = class as u8;
            }
        });
    }
    result
}

/// Makes classes say what the prepared picture shows, as the rule for real slices does:
/// background is black, and soft tissue outside of the skull is of no class.
fn settle(classes: &mut Array2<u8>, gray: &Array2<u8>) {
    classes.zip_mut_with(gray, |class, &level| {
        *class = match (Class::from_index((*class).into()), level) {
            (Some(Class::Background), 1..) => UNCERTAIN,
            // Removed with the skull.
            (Some(Class::Skull), 0) => Class::Background as u8,
            (Some(Class::Parenchyma | Class::Hematoma), 0) => UNCERTAIN,
            _ => *class,
        };
    });
}

fn push(
    writer: &mut ShardWriter,
    patient: &str,
    spec: &Spec,
    slices: &[DrawnSlice],
) -> Result<(), ShardError> {
    let boxed: Vec<bool> = slices.iter().map(|slice| slice.hematoma_ml >= SMALLEST_ML).collect();
    let markers = spec.hematoma.as_ref().map_or(Vec::new(), |hematoma| hematoma.markers.clone());
    for (at, slice) in slices.iter().enumerate() {
        let entry = SliceEntry {
            patient: patient.into(),
            name: format!("{patient}_{at:02}"),
            boxed: boxed[at],
            box_distance: (0..boxed.len())
                .filter(|&other| boxed[other])
                .map(|other| other.abs_diff(at))
                .min(),
            hematoma_ml: Some(slice.hematoma_ml),
            markers: Some(markers.clone()),
        };
        writer.push(entry, &slice.gray, &slice.classes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Shard;
    use crate::shares::{Fill, PatchLabel, Shares};
    use crate::split::{Side as SplitSide, Split};
    use hemapatch::prep::{Bone, Centering};
    use std::collections::BTreeSet;

    /// Coarse and quick: 10 slices of 96 x 96 pixels.
    const SCAN: Scan = Scan { slices: 10, spacing_mm: 9.0, rows_columns: 96, pixel_mm: 2.4 };

    fn prepared(patients: usize, preparation: Preparation) -> (tempfile::TempDir, Shard) {
        let folder = tempfile::tempdir().unwrap();
        let cohort = Cohort { patients, seed: 5, scan: SCAN, least_ml: LEAST_VOLUME_ML };
        cohort.prepare(folder.path(), preparation, &ProgressBar::hidden()).unwrap();
        let shard = Shard::open(folder.path()).unwrap();
        (folder, shard)
    }

    #[test]
    fn every_patient_can_be_rendered_and_three_of_five_bleed() {
        let cohort = Cohort { patients: 200, seed: 3, scan: Scan::default(), least_ml: LEAST_VOLUME_ML };
        let specs: Vec<Spec> = (0..cohort.patients).map(|index| cohort.spec(index)).collect();
        assert!(specs.iter().all(|spec| spec.validate() == Ok(())));
        let bleeds: Vec<&Hematoma> = specs.iter().filter_map(|spec| spec.hematoma.as_ref()).collect();
        assert_eq!(bleeds.len(), 120);
        for site in Site::ALL {
            assert!(bleeds.iter().any(|bleed| bleed.site == site), "{site:?}");
        }
        for marker in Marker::ALL {
            let with = bleeds.iter().filter(|bleed| bleed.markers.contains(&marker)).count();
            assert!((20..=60).contains(&with), "{marker:?}: {with}");
        }
        let persons: BTreeSet<u64> = specs.iter().map(|spec| spec.seed).collect();
        assert_eq!(persons.len(), cohort.patients);
        assert_eq!(Cohort { patients: 1, ..cohort }.spec(7), specs[7]);
    }

    #[test]
    fn the_list_says_what_was_drawn() {
        let (_folder, shard) = prepared(4, Preparation::default());
        let index = shard.index();
        assert_eq!((index.source, index.slices.len(), index.rows), (Source::Phantoms, 40, 96));
        let cohort = Cohort { patients: 4, seed: 5, scan: SCAN, least_ml: LEAST_VOLUME_ML };
        for (patient, (name, slices)) in index.patients().into_iter().enumerate() {
            assert_eq!(name, format!("phantom-{:04}", patient + 1));
            let slices = &index.slices[slices];
            let volume_ml: f64 = slices.iter().filter_map(|slice| slice.hematoma_ml).sum();
            let hematoma = cohort.spec(patient).hematoma;
            let markers = hematoma.as_ref().map_or(Vec::new(), |hematoma| hematoma.markers.clone());
            assert!(slices.iter().all(|slice| slice.markers.as_ref() == Some(&markers)));
            for (at, slice) in slices.iter().enumerate() {
                assert_eq!(slice.boxed, slice.hematoma_ml >= Some(SMALLEST_ML));
                assert_eq!(slice.boxed, slice.box_distance == Some(0));
                assert_eq!(slice.box_distance.is_some(), hematoma.is_some(), "{name} {at}");
            }
            let asked_ml = hematoma.map_or(0.0, |hematoma| hematoma.volume_ml);
            assert!((volume_ml - asked_ml).abs() <= 0.15 * asked_ml, "{name}: {volume_ml} of {asked_ml} mL");
        }
    }

    #[test]
    fn no_drawn_patient_is_on_two_sides() {
        let (_folder, shard) = prepared(10, Preparation::default());
        let patients: Vec<String> =
            shard.index().patients().into_iter().map(|(patient, _)| patient.to_owned()).collect();
        let split = Split::by_seed(&patients, 1).unwrap();
        let sides = [SplitSide::Training, SplitSide::Validation, SplitSide::Test];
        for slice in &shard.index().slices {
            let on =
                sides.iter().filter(|&&side| split.patients(side).any(|patient| patient == slice.patient));
            assert_eq!(on.count(), 1, "{}", slice.name);
        }
        // Nor is one drawn twice under two names.
        let cohort = Cohort { patients: 10, seed: 5, scan: SCAN, least_ml: LEAST_VOLUME_ML };
        let persons: BTreeSet<u64> = (0..10).map(|index| cohort.spec(index).seed).collect();
        assert_eq!(persons.len(), 10);
    }

    /// Classes lie on the tissue that the picture shows, however the preparation moved it.
    #[test]
    fn classes_move_with_their_slice() {
        for center in [Centering::Off, Centering::Shift, Centering::Upright] {
            let (_folder, shard) = prepared(2, Preparation { center, ..Preparation::default() });
            let mut levels: [Vec<u8>; Class::COUNT] = Default::default();
            for slice in 0..shard.index().slices.len() {
                let (gray, classes) = (shard.gray(slice), shard.classes(slice));
                for (&level, &class) in gray.iter().zip(&classes) {
                    if let Some(levels) = levels.get_mut(usize::from(class)) {
                        levels.push(level);
                    }
                }
            }
            let share = |class: Class, range: std::ops::RangeInclusive<u8>| {
                let levels = &levels[class.index()];
                assert!(levels.len() > 100, "{center:?}: {} of {class}", levels.len());
                levels.iter().filter(|level| range.contains(level)).count() as f64 / levels.len() as f64
            };
            for (class, range) in [
                (Class::Background, 0..=0),
                (Class::Parenchyma, 60..=150),
                // Plasma above a fluid level is no denser than brain.
                (Class::Hematoma, 90..=255),
                (Class::Skull, 250..=255),
                (Class::Ventricle, 0..=75),
                // Thin: a blurred picture mixes brain or bone into it.
                (Class::Csf, 0..=110),
            ] {
                let share = share(class, range);
                assert!(share > 0.85, "{center:?}: {share} of {class} looks like it");
            }
        }
    }

    #[test]
    fn without_bone_no_pixel_is_skull() {
        let (_folder, shard) = prepared(1, Preparation { bone: Bone::Remove, ..Preparation::default() });
        let middle = shard.classes(7);
        assert!(middle.iter().all(|&class| class != Class::Skull as u8));
        assert!(middle.iter().filter(|&&class| class == Class::Parenchyma as u8).count() > 500);
    }

    #[test]
    fn every_class_fills_patches() {
        let (_folder, shard) = prepared(5, Preparation::default());
        let fill = Fill { other: 0.8, hematoma: 0.6 };
        let mut found = BTreeSet::new();
        for slice in 0..shard.index().slices.len() {
            let classes = shard.classes(slice);
            for patch in classes.exact_chunks((2, 2)) {
                if let PatchLabel::Certain(class) = Shares::of(patch).label(fill, &Class::ALL, false) {
                    found.insert(class);
                }
            }
        }
        assert_eq!(found.len(), Class::COUNT, "{found:?}");
    }
}
