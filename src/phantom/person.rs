//! What differs from one head to the next: sizes, densities, wear, calcifications, noise fields.
//!
//! Head coordinates are DICOM patient axes in mm (x to the left, y to the back, z to the crown),
//! with the origin in the midline between the thalami.

use super::noise::{Counter, Field, Stream};

/// One invented person, drawn from a seed.
pub(super) struct Person {
    /// Half axes of the cavity: right to left, front to back, upward.
    pub cavity_mm: [f64; 3],
    pub skull_mm: f64,
    pub scalp_mm: f64,
    /// 0 young and tight, 1 old and wide: sulci and ventricles.
    pub atrophy: f64,
    /// Radius of the lateral ventricles against the average, right and left.
    pub ventricle: [f64; 2],
    pub gray_hu: f64,
    pub white_hu: f64,
    pub diploe_hu: f64,
    /// Amount of air in mastoid and sinuses.
    pub pneumatized: f64,
    pub calcifications: Vec<Calcification>,
    /// Which of the two kinds of head holder.
    pub holder_is_cradle: bool,
    folds: Field<1>,
    texture: Field<1>,
    fine: Field<1>,
    warp: Field<3>,
    bend: Field<3>,
}

/// A calcified spot, much denser than blood and a few mm large.
pub(super) struct Calcification {
    pub center: [f64; 3],
    pub radii: [f64; 3],
    pub density_hu: f64,
}

impl Person {
    pub(super) fn new(seed: u64) -> Self {
        let draw = Counter::new(seed, Stream::Person);
        let noise = |stream| Counter::new(seed, stream);
        let size = draw.between(0, 0.97, 1.03);
        let atrophy = draw.between(1, 0.1, 0.9);
        let ventricle = 0.8 + 0.35 * atrophy;
        Self {
            cavity_mm: [
                66.0 * size * draw.between(2, 0.97, 1.03),
                81.5 * size * draw.between(3, 0.97, 1.03),
                65.0 * size,
            ],
            skull_mm: draw.between(4, 5.5, 8.0),
            scalp_mm: draw.between(5, 4.0, 6.0),
            atrophy,
            ventricle: [ventricle * draw.between(6, 0.92, 1.08), ventricle * draw.between(7, 0.92, 1.08)],
            gray_hu: draw.between(8, 36.5, 38.5),
            white_hu: draw.between(9, 27.5, 29.5),
            diploe_hu: draw.between(10, 550.0, 900.0),
            pneumatized: draw.between(11, 0.0, 1.0),
            calcifications: calcifications(draw),
            holder_is_cradle: draw.between(12, 0.0, 1.0) < 0.6,
            folds: Field::new([noise(Stream::Folds)], 16.0, 2.0),
            texture: Field::new([noise(Stream::Texture)], 34.0, 4.0),
            fine: Field::new([noise(Stream::Fine)], 6.5, 1.5),
            warp: Field::new([Stream::WarpX, Stream::WarpY, Stream::WarpZ].map(noise), 90.0, 8.0),
            bend: Field::new([Stream::BendX, Stream::BendY, Stream::BendZ].map(noise), 30.0, 4.0),
        }
    }

    /// Maps a place in this head to the place in the regular head that all shapes are written for:
    /// nobody is symmetric, and no edge is straight.
    pub(super) fn regular(&self, p: [f64; 3]) -> [f64; 3] {
        displaced(&self.warp, 8.0, p)
    }

    /// The same once more, over shorter distances, for what lies within skull and skin.
    pub(super) fn bent(&self, p: [f64; 3]) -> [f64; 3] {
        displaced(&self.bend, 4.5, p)
    }

    /// Zero on the sheets along which cortex and muscles are folded; varies over a gyrus.
    pub(super) fn folds(&self, p: [f64; 3]) -> f64 {
        self.folds.at(p)[0]
    }

    /// Varies over a lobe.
    pub(super) fn texture(&self, p: [f64; 3]) -> f64 {
        self.texture.at(p)[0]
    }

    /// Varies over a few mm.
    pub(super) fn fine(&self, p: [f64; 3]) -> f64 {
        self.fine.at(p)[0]
    }
}

fn displaced(field: &Field<3>, strength_mm: f64, p: [f64; 3]) -> [f64; 3] {
    let by = field.at(p);
    [p[0] + strength_mm * by[0], p[1] + strength_mm * by[1], p[2] + strength_mm * by[2]]
}

/// Pineal and choroid plexus in nearly everybody, falx and pallidum in some.
fn calcifications(draw: Counter) -> Vec<Calcification> {
    let mut spots = Vec::new();
    let mut add = |center, radii, density_hu| {
        spots.push(Calcification { center, radii, density_hu });
    };
    let chance = |index| draw.between(index, 0.0, 1.0);
    if chance(20) < 0.85 {
        let r = draw.between(21, 1.4, 2.3);
        add([draw.between(22, -1.0, 1.0), 22.0, 3.0], [r, r, r * 1.2], 420.0);
    }
    for (n, side) in [(0, -1.0), (1, 1.0)] {
        if chance(23 + n) < 0.75 {
            let r = draw.between(25 + n, 1.1, 2.3);
            let center = [side * draw.between(27 + n, 20.0, 23.0), 35.0, 9.0];
            add(center, [r, r * 1.7, r * 1.3], 360.0);
        }
        if chance(29 + n) < 0.2 {
            let center = [side * 19.0, draw.between(31 + n, -4.0, 3.0), 2.0];
            add(center, [1.4, 1.8, 2.4], 350.0);
        }
    }
    if chance(33) < 0.4 {
        let y = draw.between(34, -60.0, -35.0);
        add([0.0, y, draw.between(35, 28.0, 42.0)], [1.2, 4.0, 3.5], 700.0);
    }
    spots
}
