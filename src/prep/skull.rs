//! Bone removal (P4): keeps the inside of the skull.

use super::{Scratch, of_512};

/// Gray level of bone: saturated. At the usual window that is 78 HU and more.
const BONE: u8 = 250;
/// Gaps of the skull up to twice this (512-column pixels) are closed: sutures, foramina, thin orbital roofs.
const GAP: usize = 4;
/// A smaller inside is a sinus or an orbit, not a brain.
const SMALLEST_INSIDE: usize = 1_500;
/// Scalp and fat are nowhere thicker than twice this; brain and muscle are.
const THICK: usize = 8;

impl Scratch {
    /// Sets to 0 what does not lie inside the skull.
    ///
    /// The inside is what the slice's border cannot reach without crossing bone. Where more thick tissue
    /// lies outside than inside, the skull is open in this slice (at its base, or cut off) and the brain may
    /// well be outside: then only the bone itself is removed, since a lost hemorrhage weighs more than a face
    /// that stays. Dense spots that the inside surrounds stay too: blood can be as white as bone.
    pub(super) fn remove_bone(&mut self, gray: &mut [u8], columns: usize) {
        let Self { head, core: bone, inside, spare, words, regions, .. } = self;
        let gap = of_512(GAP, columns);
        let smallest = of_512(of_512(SMALLEST_INSIDE, columns), columns) as u32;
        bone.threshold(gray, columns, BONE);
        spare.copy_from(bone);
        spare.dilate(gap, words);
        spare.invert();
        regions.find(spare);
        let closed: Vec<u32> = regions
            .list(spare)
            .into_iter()
            .filter(|region| !region.at_border && region.area >= smallest)
            .map(|region| region.root)
            .collect();
        inside.copy_from(spare);
        inside.clear();
        // `list` names regions in ascending order.
        regions.mark(inside, |root| closed.binary_search(&root).is_ok());
        spare.and_not(inside);
        spare.and(head);
        spare.erode(of_512(THICK, columns), words);
        if spare.count() >= inside.count() {
            head.and_not(bone);
            head.keep_inside(gray);
            return;
        }
        inside.dilate(gap, words);
        // The pixels next to bone are partly bone.
        bone.dilate(1, words);
        inside.and_not(bone);
        regions.fill_holes(inside, spare, u32::MAX);
        inside.keep_inside(gray);
    }
}

#[cfg(test)]
mod tests {
    use crate::prep::{Bone, Centering, Preparation, Scratch};
    use ndarray::Array2;

    fn remove(gray: &mut Array2<u8>) {
        let preparation =
            Preparation { bone: Bone::Remove, center: Centering::Off, ..Preparation::default() };
        preparation.prepare(gray, &mut Scratch::default());
    }

    fn radius(row: usize, column: usize) -> f64 {
        let (y, x) = (row as f64 - 256.0, column as f64 - 256.0);
        (x * x + y * y).sqrt()
    }

    #[test]
    fn removes_skull_and_scalp_and_keeps_dense_blood() {
        let mut gray = Array2::from_shape_fn((512, 512), |(row, column)| {
            let blood = (230..260).contains(&row) && (300..330).contains(&column);
            match radius(row, column) {
                r if r < 150.0 => {
                    if blood {
                        255
                    } else {
                        105
                    }
                }
                r if r < 165.0 => 255,
                r if r < 175.0 => 120,
                _ => 0,
            }
        });
        remove(&mut gray);
        for ((row, column), &level) in gray.indexed_iter() {
            match radius(row, column) {
                r if r < 148.0 => assert!(level >= 105, "brain at {row},{column} is {level}"),
                r if r > 151.0 => assert_eq!(level, 0, "bone or scalp at {row},{column}"),
                _ => {}
            }
        }
        assert_eq!(gray[[245, 315]], 255);
    }

    #[test]
    fn an_open_skull_loses_only_its_bone() {
        let mut gray = Array2::from_shape_fn((512, 512), |(row, column)| match radius(row, column) {
            r if r < 150.0 => 105,
            r if r < 165.0 && row < 256 => 255,
            _ => 0,
        });
        remove(&mut gray);
        assert_eq!(gray[[256, 256]], 105);
        assert!(gray.iter().all(|&level| level < 250));
    }
}
