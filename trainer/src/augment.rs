//! Changes a patient's slices at random, before views are made of them: every view of a place
//! then shows the same head, turned, resized, brighter or noisier as a whole.

use crate::label_rule::UNCERTAIN;
use crate::random::Random;
use crate::recipe::Augmentation;
use crate::shard::Slab;
use crate::square;
use ndarray::{Array2, ArrayView2};

/// Fractional bits of source coordinates.
const FRACTION: u32 = 12;

/// A whole pixel in source coordinates.
const ONE: u32 = 1 << FRACTION;

/// Gray levels by which a thicker slice may differ from its own without its pixel classes becoming uncertain.
const SAME_TISSUE: u8 = 12;

/// Entries of the table of normal deviates.
const DEVIATES: usize = 4096;

/// One draw of an [`Augmentation`]: a patient's slices share it.
#[derive(Clone, Debug)]
pub struct Variation {
    /// Rotation and size: the step in source rows and columns for a step right, fixed point.
    along_row: (i64, i64),
    /// Shift of the head, pixels: the patch grid falls differently on it.
    shift: (i64, i64),
    contrast: f64,
    brightness: f64,
    noise: f64,
    /// Share of the 3x3 mean mixed in; below 0, of the difference from it added.
    blur: f64,
    /// Share of both neighbours' mean mixed in.
    thickness: f64,
}

impl Variation {
    /// Nothing changes.
    #[must_use]
    pub fn none() -> Variation {
        Variation {
            along_row: (0, 1 << FRACTION),
            shift: (0, 0),
            contrast: 1.0,
            brightness: 0.0,
            noise: 0.0,
            blur: 0.0,
            thickness: 0.0,
        }
    }

    /// Draws one. The head is also shifted by less than `patch_pixels`, so that the grid falls on
    /// it in every way.
    #[must_use]
    pub fn draw(bounds: &Augmentation, patch_pixels: usize, random: &mut Random) -> Variation {
        let either_way = |random: &mut Random, most: f64| random.between(-most, most);
        let angle = either_way(random, bounds.rotation_deg).to_radians();
        let size = 1.0 + either_way(random, bounds.size_percent) / 100.0;
        let one = f64::from(1u32 << FRACTION) / size;
        let fixed = |value: f64| (value * one).round() as i64;
        let mut variation = Variation {
            along_row: (fixed(libm::sin(angle)), fixed(libm::cos(angle))),
            shift: (random.below(patch_pixels) as i64, random.below(patch_pixels) as i64),
            contrast: 1.0 + either_way(random, bounds.contrast_percent) / 100.0,
            brightness: either_way(random, bounds.brightness),
            noise: random.between(0.0, bounds.noise),
            // Every second draw keeps the sharpness it has.
            blur: if random.coin() { random.between(0.0, bounds.blur) } else { 0.0 },
            thickness: 0.0,
        };
        // Drawn only where they are wanted: other recipes go on drawing the numbers that they drew.
        if bounds.sharpen > 0.0 && variation.blur == 0.0 && random.coin() {
            variation.blur = -random.between(0.0, bounds.sharpen);
        }
        if bounds.thickness > 0.0 && random.coin() {
            variation.thickness = random.between(0.0, bounds.thickness);
        }
        variation
    }

    /// A slice and its pixel classes, changed. Classes follow the geometry; where a thicker slice shows something
    /// else than the slice did, they are uncertain.
    ///
    /// # Shape
    /// Both `[rows, columns]`, as they were.
    #[must_use]
    pub fn apply(&self, slab: &Slab<'_>, random: &mut Random) -> (Array2<u8>, Array2<u8>) {
        let (mut gray, classes) = if self.thickness > 0.0 {
            let (gray, classes) = self.thicken(slab);
            self.move_pixels(gray.view(), classes.view())
        } else {
            self.move_pixels(slab.gray, slab.classes)
        };
        if self.blur != 0.0 {
            let smooth = square::mean(&gray, 1);
            let share = (self.blur * 256.0) as i32;
            gray.zip_mut_with(&smooth, |level, &smooth| *level = mix(*level, smooth, share));
        }
        self.change_levels(&mut gray, random);
        (gray, classes)
    }

    /// The slice as a thicker one would show it: with a share of the slices before and after, as far as there are any.
    fn thicken(&self, slab: &Slab<'_>) -> (Array2<u8>, Array2<u8>) {
        let (mut gray, mut classes) = (slab.gray.to_owned(), slab.classes.to_owned());
        let of_each = (self.thickness * 128.0) as i32;
        let [before, after] = slab.beside.map(|beside| beside.unwrap_or(slab.gray));
        ndarray::Zip::from(&mut gray).and(&mut classes).and(before).and(after).for_each(
            |level, class, &before, &after| {
                let own = *level;
                let beside = i32::from(before) + i32::from(after) - 2 * i32::from(own);
                *level = (i32::from(own) + ((beside * of_each + 128) >> 8)).clamp(0, 255) as u8;
                if level.abs_diff(own) > SAME_TISSUE {
                    *class = UNCERTAIN;
                }
            },
        );
        (gray, classes)
    }

    /// Bilinear for gray levels, nearest for classes; beyond the slice lies air.
    fn move_pixels(&self, gray: ArrayView2<'_, u8>, classes: ArrayView2<'_, u8>) -> (Array2<u8>, Array2<u8>) {
        let (rows, columns) = gray.dim();
        let (mut moved, mut moved_classes) =
            (Array2::zeros((rows, columns)), Array2::from_elem((rows, columns), UNCERTAIN));
        let (step_row, step_column) = self.along_row;
        let (middle_row, middle_column) = ((rows / 2) as i64, (columns / 2) as i64);
        let standard = "planes are in standard layout";
        let (levels, kinds) = (gray.as_slice().expect(standard), classes.as_slice().expect(standard));
        let targets = moved.rows_mut().into_iter().zip(moved_classes.rows_mut());
        for (row, (mut moved, mut moved_classes)) in targets.enumerate() {
            // A rotation by the angle of `along_row`, about the middle.
            let y = row as i64 - middle_row - self.shift.0;
            let x = -middle_column - self.shift.1;
            let mut source_row = (middle_row << FRACTION) + step_column * y + step_row * x;
            let mut source_column = (middle_column << FRACTION) - step_row * y + step_column * x;
            for (moved, moved_class) in moved.iter_mut().zip(&mut moved_classes) {
                let (top, left) = (source_row >> FRACTION, source_column >> FRACTION);
                let (down, right) =
                    ((source_row - (top << FRACTION)) as u32, (source_column - (left << FRACTION)) as u32);
                source_row += step_row;
                source_column += step_column;
                if !(0..rows as i64).contains(&top) || !(0..columns as i64).contains(&left) {
                    continue;
                }
                let (top, left) = (top as usize, left as usize);
                let (bottom, next) = ((top + 1).min(rows - 1), (left + 1).min(columns - 1));
                let above = blend(levels[top * columns + left], levels[top * columns + next], right);
                let below = blend(levels[bottom * columns + left], levels[bottom * columns + next], right);
                // 8 bits of level and 12 of each fraction fill 32.
                let between = above * (ONE - down) + below * down;
                *moved = ((between + (1 << (2 * FRACTION - 1))) >> (2 * FRACTION)) as u8;
                let (row, column) =
                    (if down > ONE / 2 { bottom } else { top }, if right > ONE / 2 { next } else { left });
                *moved_class = kinds[row * columns + column];
            }
        }
        (moved, moved_classes)
    }

    /// Contrast about the parenchyma's usual level, brightness, noise. Saturated levels stay: air
    /// and bone are as far from the window whatever the scanner's calibration.
    fn change_levels(&self, gray: &mut Array2<u8>, random: &mut Random) {
        if self.noise == 0.0 && self.contrast == 1.0 && self.brightness == 0.0 {
            return;
        }
        let fixed: Vec<i32> = (0..=255)
            .map(|level| {
                ((105.0 + (f64::from(level) - 105.0) * self.contrast + self.brightness) * 16.0) as i32
            })
            .collect();
        let deviates: Vec<i32> = (0..DEVIATES).map(|_| (normal(random) * self.noise * 16.0) as i32).collect();
        // One random number serves five pixels of twelve bits.
        for five in gray.as_slice_mut().expect("planes are in standard layout").chunks_mut(5) {
            let mut bits = random.bits() as usize;
            for level in five {
                if !matches!(*level, 0 | 255) {
                    let changed = fixed[usize::from(*level)] + deviates[bits % DEVIATES];
                    *level = ((changed + 8) >> 4).clamp(0, 255) as u8;
                }
                bits /= DEVIATES;
            }
        }
    }
}

/// `share` 256ths of the way from a level to another, or away from it.
fn mix(level: u8, other: u8, share: i32) -> u8 {
    let (level, other) = (i32::from(level), i32::from(other));
    ((level * (256 - share) + other * share + 128) >> 8).clamp(0, 255) as u8
}

/// Between two neighbours, scaled by [`ONE`].
fn blend(first: u8, second: u8, share: u32) -> u32 {
    u32::from(first) * (ONE - share) + u32::from(second) * share
}

/// A normal deviate, by Box and Muller.
fn normal(random: &mut Random) -> f64 {
    let radius = (-2.0 * libm::log(1.0 - random.unit())).sqrt();
    radius * libm::cos(std::f64::consts::TAU * random.unit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice() -> Array2<u8> {
        Array2::from_shape_fn((64, 64), |(row, column)| (row * 3 + column) as u8)
    }

    fn alone<'a>(gray: &'a Array2<u8>, classes: &'a Array2<u8>) -> Slab<'a> {
        Slab { gray: gray.view(), classes: classes.view(), beside: [None; 2] }
    }

    #[test]
    fn no_variation_keeps_the_slice() {
        let (gray, classes) = Variation::none().apply(&alone(&slice(), &slice()), &mut Random::new(1));
        assert_eq!(gray, slice());
        assert_eq!(classes, slice());
    }

    #[test]
    fn classes_move_with_their_pixels() {
        let mut gray = Array2::zeros((128, 128));
        gray.slice_mut(ndarray::s![70..90, 30..60]).fill(200);
        let classes = gray.mapv(|level| u8::from(level > 0));
        let bounds = Augmentation {
            contrast_percent: 0.0,
            brightness: 0.0,
            noise: 0.0,
            blur: 0.0,
            ..Augmentation::default()
        };
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let variation = Variation::draw(&bounds, 16, &mut random);
            let (gray, classes) = variation.apply(&alone(&gray, &classes), &mut random);
            assert!(gray.iter().any(|&level| level == 200), "the object is still there");
            for (level, class) in gray.iter().zip(&classes) {
                // At the object's edge, bilinear and nearest may differ.
                if *level == 200 || (*level == 0 && *class != UNCERTAIN) {
                    assert_eq!(u8::from(*level > 0), *class);
                }
            }
        }
    }

    #[test]
    fn air_and_bone_keep_their_levels() {
        let gray = Array2::from_shape_fn((32, 32), |(row, _)| if row < 16 { 0 } else { 255 });
        let mut random = Random::new(3);
        let mut changed = gray.clone();
        Variation { noise: 20.0, brightness: 9.0, ..Variation::none() }
            .change_levels(&mut changed, &mut random);
        assert_eq!(gray, changed);
    }

    #[test]
    fn a_sharper_kernel_widens_an_edge_and_a_softer_one_narrows_it() {
        let edge = Array2::from_shape_fn((16, 16), |(_, column)| if column < 8 { 100 } else { 140 });
        let beside_the_edge = |blur| {
            let changed =
                Variation { blur, ..Variation::none() }.apply(&alone(&edge, &edge), &mut Random::new(1));
            (changed.0[[8, 7]], changed.0[[8, 8]], changed.0[[8, 2]])
        };
        assert_eq!(beside_the_edge(0.0), (100, 140, 100));
        // The 3x3 mean is 113 and 127 there.
        assert_eq!(beside_the_edge(0.5), (107, 134, 100));
        assert_eq!(beside_the_edge(-0.5), (94, 147, 100));
    }

    #[test]
    fn a_thicker_slice_shows_its_neighbours_and_doubts_what_they_change() {
        let (own, classes) = (Array2::from_elem((4, 4), 100), Array2::from_elem((4, 4), 1));
        let mut other = own.clone();
        other[[0, 0]] = 200;
        other[[0, 1]] = 140;
        let slab = Slab { beside: [None, Some(other.view())], ..alone(&own, &classes) };
        let variation = Variation { thickness: 0.5, ..Variation::none() };
        let (gray, doubted) = variation.apply(&slab, &mut Random::new(1));
        // A quarter of each neighbour; that before is missing.
        assert_eq!((gray[[0, 0]], gray[[0, 1]], gray[[3, 3]]), (125, 110, 100));
        assert_eq!((doubted[[0, 0]], doubted[[0, 1]], doubted[[3, 3]]), (UNCERTAIN, 1, 1));
    }

    #[test]
    fn deviates_have_mean_zero_and_variance_one() {
        let mut random = Random::new(4);
        let drawn: Vec<f64> = (0..20_000).map(|_| normal(&mut random)).collect();
        let mean = drawn.iter().sum::<f64>() / 20_000.0;
        let variance = drawn.iter().map(|x| x * x).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
    }
}
