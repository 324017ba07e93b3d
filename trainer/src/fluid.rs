//! Fluid inside of the skull, found by rule: the ventricles, and the space between brain and skull.
//!
//! Part of the label rule, and no more than that: gray levels, distances from the skull and the
//! size of connected parts. What is known to go wrong is written at [`mark`].

use crate::label_rule::UNCERTAIN;
use crate::parts::parts;
use crate::square;
use hemapatch::label::Class;
use ndarray::{Array2, Zip};

/// Fluid lies at least this far below the slice's parenchyma. In the training patients' slices it
/// peaks some 50 levels below (at 50 of 100: 16 HU, if the window is 0 to 80), and what lies between
/// the two, edges and pale white matter, is rarest at 30 to 40.
const DARKER: u8 = 34;

/// Gaps of the inside that noise tears where fluid is nearly black, filled up to twice this width.
const TEAR: usize = 3;

/// Fluid this near to the inner skull, some 12 mm, lies in sulci, fissures or cisterns.
const NEAR_SKULL: usize = 26;

/// Ventricles lie deeper than this, some 18 mm.
const DEEP: usize = 40;

/// Smallest part of a ventricle, pixels: 25 mm² or so.
const SMALLEST_PART: usize = 120;

/// A part's middle is not further from the inside's middle, in shares of its half width: beyond
/// lie the insula's cisterns.
const CENTRAL: f64 = 0.5;

/// What is narrower than this about the midline is a fissure more often than a ventricle; behind the
/// inside's middle, where the quadrigeminal cistern lies, what is narrower than the second.
const SLENDER: usize = 32;
const SLENDER_BEHIND: usize = 60;

/// The middle of a part that lies about the midline is this near to it, pixels.
const MIDLINE: f64 = 14.0;

/// Marks pixels of ventricle and of the space between brain and skull in `classes`.
///
/// `inside` is the slice without what lies outside of the skull, all 0 where nothing is known to be
/// inside; `parenchyma` its usual gray level; `lesions` is 1 in and around boxes, where dark edema must not pass for fluid.
///
/// # Known to go wrong
/// Looked at in 48 slices of as many training patients: ventricles were right where they are wide,
/// outer fluid in wide sulci, fissures and before the brainstem. Wrong were a cistern beside the
/// midbrain and a sulcus at the falx, taken for ventricles (2 slices), and fat beneath the skull's base,
/// taken for outer fluid (1). Old infarcts pass for one or the other (2 that look like it). Uncertain stay
/// narrow sulci, the third ventricle, temporal horns as a rule, and all fluid where the skull is open.
pub fn mark(
    classes: &mut Array2<u8>,
    gray: &Array2<u8>,
    inside: &Array2<u8>,
    parenchyma: u8,
    lesions: &Array2<u8>,
) {
    let highest = parenchyma.saturating_sub(DARKER);
    let inside = inside.mapv(|level| u8::from(level > 0));
    let inside = square::minimum(&square::maximum(&inside, TEAR), TEAR);
    let smooth = square::mean(gray, 1);
    let mut fluid = inside.clone();
    Zip::from(&mut fluid).and(&smooth).and(lesions).for_each(|fluid, &level, &lesion| {
        *fluid &= u8::from(level <= highest && lesion == 0);
    });
    let fluid = square::open(&fluid, 1);
    let near_skull = square::minimum(&inside, NEAR_SKULL).mapv(|deeper| 1 - deeper);
    let ventricle = ventricles(&fluid, &inside);
    Zip::from(classes).and(gray).and(&inside).and(&fluid).and(&near_skull).and(&ventricle).for_each(
        |class, &level, &inside, &fluid, &near_skull, &ventricle| {
            if fluid == 1 && ventricle == 1 {
                *class = Class::Ventricle as u8;
            } else if fluid == 1 && near_skull == 1 {
                *class = Class::Csf as u8;
            } else if fluid == 1 || (inside == 1 && level == 0) {
                *class = UNCERTAIN;
            }
        },
    );
}

/// 1 in and within 3 pixels of what hangs together as a ventricle does.
fn ventricles(fluid: &Array2<u8>, inside: &Array2<u8>) -> Array2<u8> {
    let mut candidates = square::open(fluid, 2);
    candidates.zip_mut_with(&square::minimum(inside, DEEP), |candidate, &deep| *candidate &= deep);
    let mut found = Array2::zeros(fluid.dim());
    let Some(middle) = Middle::of(inside) else { return found };
    for part in parts(&candidates) {
        let columns = part.iter().map(|&(_, column)| column);
        let width = columns.clone().max().unwrap_or(0) - columns.clone().min().unwrap_or(0) + 1;
        let mean = columns.sum::<usize>() as f64 / part.len() as f64;
        let lateral = (mean - middle.column).abs();
        let row = part.iter().map(|&(row, _)| row).sum::<usize>() as f64 / part.len() as f64;
        let slender = lateral < MIDLINE && width < if row > middle.row { SLENDER_BEHIND } else { SLENDER };
        if part.len() >= SMALLEST_PART && lateral <= CENTRAL * middle.half_width && !slender {
            part.into_iter().for_each(|place| found[place] = 1);
        }
    }
    square::maximum(&found, 3)
}

/// Where the inside of the skull has its middle, and how far it reaches from there.
struct Middle {
    row: f64,
    column: f64,
    half_width: f64,
}

impl Middle {
    fn of(inside: &Array2<u8>) -> Option<Middle> {
        let (rows, columns): (Vec<usize>, Vec<usize>) =
            inside.indexed_iter().filter(|(_, inside)| **inside == 1).map(|(place, _)| place).unzip();
        let (first, last) = (columns.iter().min()?, columns.iter().max()?);
        let mean = |places: &[usize]| places.iter().sum::<usize>() as f64 / places.len() as f64;
        Some(Middle { row: mean(&rows), column: mean(&columns), half_width: (last - first) as f64 / 2.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An inside of 105 with lateral ventricles, a rim of fluid at the left, a fissure in the midline and a lesion.
    fn slice() -> Array2<u8> {
        Array2::from_shape_fn((512, 512), |(row, column)| {
            let (y, x) = (row as f64 - 256.0, column as f64 - 256.0);
            match (y * y + x * x).sqrt() {
                r if r > 150.0 => 0,
                _ if (-40.0..20.0).contains(&y) && (20.0..36.0).contains(&x.abs()) => 50,
                r if r > 140.0 && x < 0.0 => 50,
                _ if y < -50.0 && x.abs() < 4.0 => 50,
                _ if (50.0..80.0).contains(&y) && (-60.0..-30.0).contains(&x) => 50,
                _ => 105,
            }
        })
    }

    fn marked(gray: &Array2<u8>) -> Array2<u8> {
        let mut classes = gray.mapv(|level| if level >= 60 { Class::Parenchyma as u8 } else { UNCERTAIN });
        let mut lesions = Array2::zeros(gray.dim());
        lesions.slice_mut(ndarray::s![300..340, 190..230]).fill(1);
        mark(&mut classes, gray, gray, 105, &lesions);
        classes
    }

    #[test]
    fn deep_and_central_is_ventricle_near_the_skull_is_outer_fluid() {
        let classes = marked(&slice());
        let at = |row: usize, column: usize| Class::from_index(classes[[row, column]].into());
        assert_eq!((at(250, 284), at(250, 228)), (Some(Class::Ventricle), Some(Class::Ventricle)));
        assert_eq!(at(256, 111), Some(Class::Csf), "the rim");
        assert_eq!(at(120, 256), Some(Class::Csf), "the fissure's outer end");
        assert_eq!(at(190, 256), None, "its inner end could be a ventricle's");
        assert_eq!(at(320, 210), None, "dark edema in a box");
        assert_eq!(at(256, 200), Some(Class::Parenchyma));
    }

    #[test]
    fn the_level_of_fluid_follows_the_scanner() {
        let brighter = slice().mapv(|level| if level == 0 { 0 } else { level + 40 });
        let mut classes = Array2::from_elem(brighter.dim(), UNCERTAIN);
        mark(&mut classes, &brighter, &brighter, 145, &Array2::zeros(brighter.dim()));
        assert_eq!(classes[[250, 284]], Class::Ventricle as u8);
        let mut classes = Array2::from_elem(brighter.dim(), UNCERTAIN);
        mark(&mut classes, &brighter, &brighter, 105, &Array2::zeros(brighter.dim()));
        assert_eq!(classes[[250, 284]], UNCERTAIN);
    }

    #[test]
    fn black_noise_inside_is_no_air() {
        let mut gray = slice();
        gray[[250, 284]] = 0;
        let classes = marked(&gray);
        assert_eq!(classes[[250, 284]], Class::Ventricle as u8);
    }
}
