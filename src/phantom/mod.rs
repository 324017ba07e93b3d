//! Synthetic non-contrast head CT series, with or without a hematoma, written as DICOM.
//!
//! A phantom is invented from a seed, and is the same on every platform: its random numbers are
//! integers, and its transcendental functions come from `libm` alone. Its pixels are nobody's.
//! What a reader makes of it is left to the other modules.

mod bodies;
mod brain;
mod hematoma;
mod noise;
mod person;
mod scanner;
mod shape;
mod skull;
mod spec;
mod trap;
mod trapped;
mod vessels;
mod write;

use std::path::PathBuf;

pub use scanner::{Phantom, RenderedSlice};
pub use spec::{Hematoma, Marker, Side, Site, Spec, SpecError};
pub use trap::Trap;
pub use trapped::write_trap;
pub use write::{Written, write_series};

/// Why a series could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PhantomError {
    /// The caller's fault.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The folder's fault.
    #[error("cannot write {}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The caller's fault: the folder's other slices would be taken for more of this head.
    #[error("{} is not of this series: choose an empty folder", path.display())]
    OtherSeries {
        /// A slice that would be left.
        path: PathBuf,
    },
    /// Our fault: the data set does not encode.
    #[error("cannot encode {}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What the encoder said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small and fast, yet with every structure: 5 slices of 64 x 64 pixels.
    fn small() -> Spec {
        Spec { slices: 5, spacing_mm: 7.0, rows_columns: 64, pixel_mm: 3.6, ..Spec::default() }
    }

    fn with(site: Site, volume_ml: f64, markers: &[Marker]) -> Spec {
        Spec {
            slices: 45,
            spacing_mm: 3.0,
            rows_columns: 96,
            pixel_mm: 2.4,
            noise_hu: 0.0,
            hematoma: Some(Hematoma { site, side: Side::Left, volume_ml, markers: markers.to_vec() }),
            ..Spec::default()
        }
    }

    fn series(spec: &Spec) -> Vec<RenderedSlice> {
        let phantom = Phantom::new(spec).expect("a valid spec");
        (0..spec.slices).map(|index| phantom.slice(index)).collect()
    }

    /// Densities of the pixels that are blood in the truth, with their rows.
    fn blood(slices: &[RenderedSlice]) -> Vec<(usize, i16)> {
        let mut blood = Vec::new();
        for slice in slices {
            for ((row, column), &class) in slice.truth.indexed_iter() {
                if class == 2 {
                    blood.push((row, slice.hu[[row, column]]));
                }
            }
        }
        blood
    }

    /// FNV-1a, 64 bits.
    fn fnv(slices: &[RenderedSlice]) -> u64 {
        let bytes = slices.iter().flat_map(|slice| slice.hu.iter().flat_map(|hu| hu.to_le_bytes()));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    #[test]
    fn is_the_same_on_every_platform() {
        let spec = Spec { tilt_deg: 12.0, rotation_deg: 4.0, hematoma: Spec::demo(1).hematoma, ..small() };
        assert_eq!(format!("{:016x}", fnv(&series(&spec))), "8e53744c09095dc1");
    }

    #[test]
    fn seeds_make_different_heads() {
        let other = Spec { seed: 2, ..small() };
        assert_ne!(fnv(&series(&small())), fnv(&series(&other)));
    }

    #[test]
    fn a_clean_head_has_no_blood() {
        let slices = series(&small());
        assert!(blood(&slices).is_empty());
        assert!(slices.iter().all(|slice| slice.hematoma_ml == 0.0));
        let skull = slices.iter().flat_map(|s| &s.truth).filter(|&&c| c == 3);
        assert!(skull.count() > 500);
    }

    /// Away from bone nothing in a clean brain is as dense as blood, save calcified spots; and these are
    /// smaller than a patch.
    #[test]
    fn a_clean_brain_has_nothing_like_blood() {
        for seed in 1..=2 {
            let spec = Spec { seed, rows_columns: 128, pixel_mm: 1.8, noise_hu: 0.0, ..Spec::default() };
            let slices = series(&spec);
            for at in 1..slices.len() - 1 {
                let inside = |row: usize, column: usize| {
                    slices[at - 1..=at + 1].iter().all(|slice| {
                        let around = ndarray::s![row - 2..=row + 2, column - 2..=column + 2];
                        slice.truth.slice(around).iter().all(|class| [1, 4, 5].contains(class))
                    })
                };
                let mut dense = 0;
                for row in 2..126 {
                    for column in 2..126 {
                        let is_dense = slices[at].hu[[row, column]] > 52;
                        dense += usize::from(is_dense && inside(row, column));
                    }
                }
                assert!(dense < 20, "seed {seed}, slice {at}: {dense} pixels");
            }
        }
    }

    /// Where nothing mixes with it, fluid is darker than brain; the ventricles lie inside of the brain, the fluid
    /// around it lies nearer to the skull; and every head has both.
    #[test]
    fn ventricles_and_the_fluid_around_the_brain_are_told_apart() {
        for seed in 1..=3 {
            let spec = Spec { seed, rows_columns: 128, pixel_mm: 1.8, noise_hu: 0.0, ..Spec::default() };
            let mut levels: [Vec<i16>; 6] = Default::default();
            let mut off_middle: [Vec<f64>; 6] = Default::default();
            for slice in series(&spec) {
                for ((row, column), &class) in slice.truth.indexed_iter() {
                    if slice.purity[[row, column]] > 216 {
                        levels[usize::from(class)].push(slice.hu[[row, column]]);
                        let (y, x) = (row as f64 - 63.5, column as f64 - 63.5);
                        off_middle[usize::from(class)].push((y * y + x * x).sqrt() * spec.pixel_mm);
                    }
                }
            }
            let median = |class: usize| {
                let mut levels = levels[class].clone();
                levels.sort_unstable();
                levels[levels.len() / 2]
            };
            let mean = |class: usize| off_middle[class].iter().sum::<f64>() / off_middle[class].len() as f64;
            assert!((3..=14).contains(&median(4)) && (3..=18).contains(&median(5)), "seed {seed}");
            assert!((25..=42).contains(&median(1)), "seed {seed}: {}", median(1));
            assert!(mean(4) + 12.0 < mean(5), "seed {seed}: {} {}", mean(4), mean(5));
            assert!(levels[4].len() > 400 && levels[5].len() > 400, "seed {seed}");
        }
    }

    #[test]
    fn volume_is_what_was_asked_for() {
        for (site, volume_ml) in [
            (Site::Pons, 6.0),
            (Site::Pons, Site::Pons.max_volume_ml()),
            (Site::Thalamus, Site::Thalamus.max_volume_ml()),
            (Site::Cerebellum, Site::Cerebellum.max_volume_ml()),
            (Site::Putamen, Site::Putamen.max_volume_ml()),
        ] {
            let spec = with(site, volume_ml, &[Marker::IrregularMargin]);
            let slices = series(&spec);
            let got: f64 = slices.iter().map(|slice| slice.hematoma_ml).sum();
            assert!((got / volume_ml - 1.0).abs() < 0.05, "{site:?}: {got}");
            let pixel_ml = spec.pixel_mm * spec.pixel_mm * spec.spacing_mm / 1000.0;
            let mask = blood(&slices).len() as f64 * pixel_ml;
            assert!((mask / volume_ml - 1.0).abs() < 0.1, "{site:?}: mask {mask}");
        }
    }

    #[test]
    fn blood_is_denser_than_brain() {
        let slices = series(&with(Site::Putamen, 30.0, &[]));
        let mut blood: Vec<i16> = blood(&slices).into_iter().map(|(_, hu)| hu).collect();
        blood.sort_unstable();
        let median = blood[blood.len() / 2];
        assert!((52..=72).contains(&median), "{median}");
    }

    fn share(blood: &[(usize, i16)], range: std::ops::Range<i16>) -> f64 {
        let count = blood.iter().filter(|(_, hu)| range.contains(hu)).count();
        count as f64 / blood.len() as f64
    }

    #[test]
    fn hypodensity_darkens_the_inside() {
        let plain = blood(&series(&with(Site::Putamen, 40.0, &[])));
        let marked = blood(&series(&with(Site::Putamen, 40.0, &[Marker::Hypodensity])));
        assert_eq!(plain.len(), marked.len());
        let darker = plain.iter().zip(&marked).filter(|(p, m)| p.1 > m.1 + 10);
        let darker = darker.count() as f64 / plain.len() as f64;
        assert!((0.03..0.2).contains(&darker), "{darker}");
    }

    #[test]
    fn irregular_margin_lengthens_the_outline() {
        let outline = |markers: &[Marker]| {
            let slices = series(&with(Site::Putamen, 40.0, markers));
            let mut edges = 0;
            for slice in &slices {
                for window in slice.truth.windows((1, 2)) {
                    edges += usize::from((window[[0, 0]] == 2) != (window[[0, 1]] == 2));
                }
                for window in slice.truth.windows((2, 1)) {
                    edges += usize::from((window[[0, 0]] == 2) != (window[[1, 0]] == 2));
                }
            }
            edges as f64
        };
        assert!(outline(&[Marker::IrregularMargin]) > 1.12 * outline(&[]));
    }

    #[test]
    fn blend_sign_shows_two_densities() {
        let marked = blood(&series(&with(Site::Putamen, 40.0, &[Marker::BlendSign])));
        assert!(share(&marked, 40..54) > 0.2);
        assert!(share(&marked, 66..80) > 0.2);
        assert!(share(&marked, 55..65) < 0.25);
    }

    #[test]
    fn fluid_level_is_dark_above_dense_and_level() {
        let spec = Spec { rotation_deg: 15.0, ..with(Site::Putamen, 40.0, &[Marker::FluidLevel]) };
        let marked = blood(&series(&spec));
        let lowest_dark = marked.iter().filter(|(_, hu)| *hu < 40).map(|(row, _)| *row);
        let highest_dense = marked.iter().filter(|(_, hu)| *hu > 66).map(|(row, _)| *row);
        let (dark, dense) = (lowest_dark.max(), highest_dense.min());
        let (dark, dense) = (dark.expect("plasma"), dense.expect("cells"));
        assert!(dark <= dense + 1 && dense <= dark + 3, "{dark}, {dense}");
    }

    fn centroid(slice: &RenderedSlice) -> [f64; 2] {
        let (mut sum, mut count) = ([0.0; 2], 0.0);
        for ((row, column), &class) in slice.truth.indexed_iter() {
            if class != 0 {
                sum[0] += column as f64;
                sum[1] += row as f64;
                count += 1.0;
            }
        }
        [sum[0] / count, sum[1] / count]
    }

    #[test]
    fn off_center_shifts_the_head_in_the_picture() {
        let shifted = Spec { off_center_mm: [18.0, -10.8], ..small() };
        let (here, there) = (&series(&small())[2], &series(&shifted)[2]);
        let ([x0, y0], [x1, y1]) = (centroid(here), centroid(there));
        assert!((x1 - x0 - 5.0).abs() < 0.2, "{x0} {x1}");
        assert!((y1 - y0 + 3.0).abs() < 0.2, "{y0} {y1}");
    }

    #[test]
    fn left_is_at_higher_columns() {
        let slices = series(&with(Site::Putamen, 20.0, &[]));
        for slice in &slices {
            for ((_, column), &class) in slice.truth.indexed_iter() {
                assert!(class != 2 || column > 48);
            }
        }
    }

    #[test]
    fn tilted_planes_lie_spacing_apart_along_their_normal() {
        let spec = Spec { tilt_deg: 18.5, ..small() };
        let phantom = Phantom::new(&spec).expect("a valid spec");
        let o = phantom.orientation();
        let normal = [o[1] * o[5] - o[2] * o[4], o[2] * o[3] - o[0] * o[5], o[0] * o[4] - o[1] * o[3]];
        let along = |index| {
            let p = phantom.position_mm(index);
            p[0] * normal[0] + p[1] * normal[1] + p[2] * normal[2]
        };
        for index in 1..spec.slices {
            assert!((along(index) - along(index - 1) - spec.spacing_mm).abs() < 1e-9);
        }
    }

    #[test]
    fn tilt_samples_the_same_head() {
        // The middle row of a tilted slice is the middle row of the straight slice at that place.
        let straight = Spec { noise_hu: 0.0, ..small() };
        let tilted = Spec { tilt_deg: 20.0, rows_columns: 65, ..straight.clone() };
        let straight = Spec { rows_columns: 65, ..straight };
        let (a, b) = (&series(&straight)[2].truth, &series(&tilted)[2].truth);
        let differing = (0..65).filter(|&c| a[[32, c]] != b[[32, c]]).count();
        assert!(differing <= 3, "{differing}");
        assert_ne!(a, b);
    }

    #[test]
    fn pixels_outside_of_the_field_of_view_are_padding() {
        let slice = &series(&small())[0];
        assert_eq!(slice.hu[[0, 0]], -1024);
        assert!(slice.hu[[0, 32]] > -1024);
    }
}
