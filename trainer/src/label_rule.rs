//! The label rule: from a prepared slice and its lesion boxes to a class for each certain pixel. What
//! pixels say of a patch is `shares`' business.
//!
//! PHE-SICH-CT-IDS has boxes, no hematoma masks, so the rule guesses masks from gray levels. It
//! was tuned by looking at overlays, not by a radiologist. A pixel of the prepared slice (gray
//! levels of the window 0 to 80 HU) is
//!
//! * **background** where its gray level is 0: outside of the head, air, fat;
//! * **skull** where its gray level is at least 250 and the closed skull does not lie around it
//!   (dense blood and calcifications can be as white);
//! * **hematoma** inside a box where the smoothed slice is at least halfway from the slice's
//!   parenchyma (its median, 60 to 145, inside the skull) to the lesion's own median, at
//!   least 16 levels above the parenchyma, further than 4 pixels from bone, and survives an
//!   opening by 5x5 pixels, tips included; smaller parts beside the largest only where they are
//!   no specks and do not lie at the bone. Halfway is where the edge of a blurred object lies. A
//!   lesion whose brightest 25 pixels are less than 26 levels above the parenchyma stays uncertain;
//! * **parenchyma** inside the skull at 60 to 145, outside of every box of this slice and of the
//!   slices beside it (edema and the ends of a hematoma are neither one nor the other). Where the
//!   skull is open nothing is certain to be inside;
//! * **ventricle** or **csf** inside the skull and outside of those boxes where the slice is dark
//!   for a 3x3 square and more: `fluid` says which of the two, and what it gets wrong.
//!
//! Looked at in 56 boxed slices of as many training patients: 3 faint lesions stay uncertain, by
//! design; 3 slices have a speck of noise or of the skull's glare beside the lesion, 2 faint
//! lesions a fuzzy rim. The rule before, halfway to the brightest 2 % of the box, had in 48 of these
//! slices missed 6 lesions whole (3 of them small or pale, but clear), the paler part of 6 more, and
//! the tips of 6.

use crate::fluid;
use crate::parts::parts;
use crate::phe_sich::LesionBox;
use crate::square;
use hemapatch::label::Class;
use hemapatch::prep::{Bone, Centering, Preparation, Scratch};
use ndarray::{Array2, Ix2, SliceInfo, SliceInfoElem, s};

/// A pixel of no certain class.
pub const UNCERTAIN: u8 = u8::MAX;

/// Gray levels that parenchyma may have.
const PARENCHYMA: std::ops::RangeInclusive<u8> = 60..=145;

/// Gray level of parenchyma where too little is inside the skull to measure it.
const USUAL_PARENCHYMA: u8 = 105;

/// Pixels that make a median.
const ENOUGH_PIXELS: usize = 500;

/// Smallest gray level of bone: saturated, but for noise.
const BONE: u8 = 250;

/// Blood is closer to bone than this only by partial volume.
const BONE_DISTANCE: usize = 4;

/// A lesion must stand out this far above the parenchyma.
const SMALLEST_CONTRAST: u8 = 26;

/// And each of its pixels this far.
const SMALLEST_RISE: u8 = 16;

/// A lesion's brightest level is that of so many pixels: as many as the opening leaves at least.
const FEWEST_PIXELS: usize = 25;

/// Smaller parts beside a lesion's largest, pixels, are noise as often as blood: 12 mm² or so.
const SMALLEST_PART: usize = 60;

/// Steps in which the threshold settles.
const STEPS: usize = 8;

/// What the opening takes off a tip comes back as far as this, pixels.
const TIP: usize = 3;

/// Classes of a prepared slice's pixels, by index; [`UNCERTAIN`] where none is certain.
///
/// # Shape
/// `[rows, columns]` of the slice. `boxes` are the slice's own in its prepared coordinates,
/// `beside` those of the slices before and after.
#[must_use]
pub fn pixel_classes(gray: &Array2<u8>, boxes: &[LesionBox], beside: &[LesionBox]) -> Array2<u8> {
    let inside = inside_of_skull(gray);
    let mut classes = gray.mapv(|level| match level {
        0 => Class::Background as u8,
        BONE.. => Class::Skull as u8,
        _ => UNCERTAIN,
    });
    classes.zip_mut_with(&inside, |class, &level| {
        if PARENCHYMA.contains(&level) {
            *class = Class::Parenchyma as u8;
        } else if level >= BONE {
            *class = UNCERTAIN;
        }
    });
    for lesion in boxes.iter().chain(beside) {
        classes
            .slice_mut(window(lesion))
            .mapv_inplace(|class| if class == Class::Parenchyma as u8 { UNCERTAIN } else { class });
    }
    let mut lesions = Array2::zeros(gray.dim());
    for lesion in boxes.iter().chain(beside) {
        lesions.slice_mut(window(lesion)).fill(1);
    }
    let parenchyma = median_parenchyma(&inside);
    fluid::mark(&mut classes, gray, &inside, parenchyma, &lesions);
    if !boxes.is_empty() {
        let smooth = square::mean(&square::mean(gray, 2), 1);
        let bone = classes.mapv(|class| u8::from(class == Class::Skull as u8));
        let bone = square::maximum(&bone, BONE_DISTANCE);
        for lesion in boxes {
            mark_hematoma(&mut classes, &smooth, &bone, parenchyma, lesion);
        }
    }
    classes
}

/// The slice without what lies outside of the skull; all 0 where the skull is open.
fn inside_of_skull(gray: &Array2<u8>) -> Array2<u8> {
    let removal = Preparation { denoise: false, bone: Bone::Remove, center: Centering::Off };
    let mut inside = gray.clone();
    removal.prepare(&mut inside, &mut Scratch::default());
    // A closed skull has a scalp, which goes with it. Where bone alone was removed, nothing is
    // known to be inside.
    let scalp_pixels = gray
        .iter()
        .zip(&inside)
        .filter(|&(&before, &after)| PARENCHYMA.contains(&before) && after == 0)
        .count();
    if scalp_pixels == 0 {
        inside.fill(0);
    }
    inside
}

fn median_parenchyma(inside: &Array2<u8>) -> u8 {
    let mut histogram = [0usize; 256];
    for &level in inside {
        if PARENCHYMA.contains(&level) {
            histogram[usize::from(level)] += 1;
        }
    }
    let count: usize = histogram.iter().sum();
    if count < ENOUGH_PIXELS { USUAL_PARENCHYMA } else { quantile(&histogram, count.div_ceil(2)) }
}

/// The level at which the histogram's running count reaches `rank`.
fn quantile(histogram: &[usize; 256], rank: usize) -> u8 {
    let mut count = 0;
    for (level, pixels) in (0..=u8::MAX).zip(histogram) {
        count += pixels;
        if count >= rank {
            return level;
        }
    }
    u8::MAX
}

/// The pixels of a box.
fn window(lesion: &LesionBox) -> SliceInfo<[SliceInfoElem; 2], Ix2, Ix2> {
    s![lesion.top..=lesion.bottom, lesion.left..=lesion.right]
}

fn mark_hematoma(
    classes: &mut Array2<u8>,
    smooth: &Array2<u8>,
    bone: &Array2<u8>,
    parenchyma: u8,
    lesion: &LesionBox,
) {
    let window = window(lesion);
    let (smooth, bone) = (smooth.slice(window), bone.slice(window));
    let mut histogram = [0usize; 256];
    for (&level, _) in smooth.iter().zip(bone).filter(|&(_, &bone)| bone == 0) {
        histogram[usize::from(level)] += 1;
    }
    let count: usize = histogram.iter().sum();
    let brightest = quantile(&histogram, count.saturating_sub(FEWEST_PIXELS));
    let standing_out = parenchyma.saturating_add(SMALLEST_CONTRAST);
    if count == 0 || brightest < standing_out {
        return;
    }
    let halfway = |level: u8| {
        let halfway = parenchyma + level.saturating_sub(parenchyma).div_ceil(2);
        halfway.max(parenchyma.saturating_add(SMALLEST_RISE))
    };
    // From below, so that of a lesion with two densities the paler is not lost: a few steps, and it stays.
    let mut threshold = standing_out;
    for _ in 0..STEPS {
        let above: usize = histogram[usize::from(threshold)..].iter().sum();
        threshold = halfway(quantile(&histogram, count - above / 2));
    }
    let mut blood = Array2::zeros(smooth.dim());
    ndarray::Zip::from(&mut blood).and(smooth).and(bone).for_each(|blood, &level, &bone| {
        *blood = u8::from(level >= threshold && bone == 0);
    });
    let core = without_fringe(&square::open(&blood, 2), &bone.to_owned());
    // The opening rounds off tips; they come back, thin bridges to elsewhere do not.
    let blood = &square::maximum(&core, TIP) & &blood;
    classes.slice_mut(window).zip_mut_with(&blood, |class, &blood| {
        if blood == 1 {
            *class = Class::Hematoma as u8;
        }
    });
}

/// Blood without the glare along the skull and the specks of noisy pictures: the largest part, and
/// what is no speck and does not lie at `bone`.
fn without_fringe(blood: &Array2<u8>, bone: &Array2<u8>) -> Array2<u8> {
    let at_bone = square::maximum(bone, 1);
    let parts = parts(blood);
    let largest = parts.iter().map(Vec::len).max().unwrap_or(0);
    let mut kept = Array2::zeros(blood.dim());
    for part in parts {
        let apart = part.len() >= SMALLEST_PART && part.iter().all(|&place| at_bone[place] == 0);
        if apart || part.len() == largest {
            part.into_iter().for_each(|place| kept[place] = 1);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const LESION: LesionBox = LesionBox { left: 280, top: 220, right: 350, bottom: 290 };

    /// Brain of 105 in a skull with a scalp, a hematoma of 185 and a ventricle of 20.
    fn head(open: bool) -> Array2<u8> {
        Array2::from_shape_fn((512, 512), |(row, column)| {
            let (y, x) = (row as f64 - 256.0, column as f64 - 256.0);
            let radius = (x * x + y * y).sqrt();
            let blood = (240..270).contains(&row) && (300..330).contains(&column);
            let ventricle = (200..230).contains(&row) && (230..250).contains(&column);
            match radius {
                r if r < 150.0 && blood => 185,
                r if r < 150.0 && ventricle => 20,
                r if r < 150.0 => 105,
                r if r < 165.0 && !(open && row > 300) => 255,
                r if r < 175.0 => 120,
                _ => 0,
            }
        })
    }

    fn class_at(classes: &Array2<u8>, row: usize, column: usize) -> Option<Class> {
        Class::from_index(classes[[row, column]].into())
    }

    #[test]
    fn each_tissue_gets_its_class() {
        let classes = pixel_classes(&head(false), &[LESION], &[]);
        assert_eq!(class_at(&classes, 10, 10), Some(Class::Background));
        assert_eq!(class_at(&classes, 256, 256 - 157), Some(Class::Skull));
        assert_eq!(class_at(&classes, 255, 315), Some(Class::Hematoma));
        assert_eq!(class_at(&classes, 256, 200), Some(Class::Parenchyma));
        assert_eq!(class_at(&classes, 215, 240), Some(Class::Ventricle));
        assert_eq!(class_at(&classes, 285, 290), None, "edema within the box is uncertain");
        assert_eq!(class_at(&classes, 256, 256 - 170), None, "scalp is uncertain");
    }

    #[test]
    fn the_edge_of_a_hematoma_is_where_the_levels_are_halfway() {
        let classes = pixel_classes(&head(false), &[LESION], &[]);
        let blood = classes.iter().filter(|&&class| class == Class::Hematoma as u8).count();
        // 30 x 30 pixels were drawn; smoothing rounds the corners.
        assert!((840..=900).contains(&blood), "{blood} pixels");
    }

    #[test]
    fn blood_outside_of_every_box_is_not_called_hematoma() {
        let classes = pixel_classes(&head(false), &[], &[]);
        assert!(classes.iter().all(|&class| class != Class::Hematoma as u8));
        assert_eq!(class_at(&classes, 255, 315), None);
    }

    #[test]
    fn saturated_blood_is_hematoma_not_skull() {
        let dense = head(false).mapv(|level| if level == 185 { 255 } else { level });
        let classes = pixel_classes(&dense, &[LESION], &[]);
        assert_eq!(class_at(&classes, 255, 315), Some(Class::Hematoma));
        let classes = pixel_classes(&dense, &[], &[]);
        assert_eq!(class_at(&classes, 255, 315), None);
    }

    #[test]
    fn a_faint_lesion_stays_uncertain() {
        let faint = head(false).mapv(|level| if level == 185 { 125 } else { level });
        let classes = pixel_classes(&faint, &[LESION], &[]);
        assert!(classes.iter().all(|&class| class != Class::Hematoma as u8));
    }

    #[test]
    fn a_small_clear_lesion_in_a_large_box_is_found_and_a_paler_half_goes_with_it() {
        let head = head(false);
        // 6 x 6 pixels of 71 x 71, fewer than 2 %: such were missed.
        let small = Array2::from_shape_fn((512, 512), |(row, column)| {
            let blood = (250..256).contains(&row) && (310..316).contains(&column);
            match head[[row, column]] {
                185 => {
                    if blood {
                        185
                    } else {
                        105
                    }
                }
                level => level,
            }
        });
        let count =
            |classes: Array2<u8>| classes.iter().filter(|&&class| class == Class::Hematoma as u8).count();
        let found = count(pixel_classes(&small, &[LESION], &[]));
        assert!((25..=60).contains(&found), "{found} pixels");
        // Two thirds of 150 beside a third of 220: halfway to the brightest is above the paler part.
        let blend = Array2::from_shape_fn((512, 512), |(row, column)| match head[[row, column]] {
            185 => {
                if column < 320 {
                    150
                } else {
                    220
                }
            }
            level => level,
        });
        let found = count(pixel_classes(&blend, &[LESION], &[]));
        // 900 are drawn. Halfway to the paler part lies a little outside of the denser part's edge.
        assert!((840..=1000).contains(&found), "{found} pixels");
    }

    #[test]
    fn nothing_is_parenchyma_in_an_open_skull_or_beside_a_lesion() {
        let classes = pixel_classes(&head(true), &[], &[]);
        assert!(classes.iter().all(|&class| class != Class::Parenchyma as u8));
        let classes = pixel_classes(&head(false), &[], &[LESION]);
        assert_eq!(class_at(&classes, 285, 290), None);
        assert_eq!(class_at(&classes, 256, 200), Some(Class::Parenchyma));
    }
}
