//! A hematoma of exact volume: its place, its outline, and the four markers of its inside.

use super::noise::{Counter, Stream, gradient_noise, lerp};
use super::person::Person;
use super::shape::{ellipsoid, ramp};
use super::{Hematoma, Marker, Side, Site, brain, skull};

const EDEMA_HU: f64 = 21.0;
/// Clotted blood, and the two halves of a blend sign or of a fluid level.
const CLOT_HU: f64 = 58.0;
const FRESH_HU: f64 = 46.0;
const RETRACTED_HU: f64 = 72.0;
const PLASMA_HU: f64 = 33.0;
/// A marker's hypodense island: nearly isodense with brain.
const ISLAND_HU: f64 = 40.0;

/// A hematoma in place, ready to be sampled.
pub(super) struct Bleed {
    center: [f64; 3],
    axes: [f64; 3],
    /// Level of the outline function [`Bleed::reach`] at which the volume is the wanted one.
    radius: f64,
    outline: Outline,
    side: f64,
    site: Site,
    markers: Vec<Marker>,
    noise: Counter,
    /// Scanner height (+y down) of the fluid level.
    level_mm: f64,
}

struct Outline {
    wavelength_mm: f64,
    amplitude: f64,
}

/// A sample of the hematoma and its surroundings.
pub(super) struct Stain {
    /// Share of blood.
    pub blood: f64,
    pub blood_hu: f64,
    /// Share of edema.
    pub edema: f64,
}

impl Bleed {
    /// Places `hematoma` in `person`'s brain; `level_of` maps a head place to its scanner height.
    pub(super) fn new(
        seed: u64,
        person: &Person,
        hematoma: &Hematoma,
        level_of: impl Fn([f64; 3]) -> f64,
    ) -> Self {
        let draw = Counter::new(seed, Stream::Bleed);
        let side = match hematoma.side {
            Side::Left => 1.0,
            Side::Right => -1.0,
        };
        let (center, axes): ([f64; 3], [f64; 3]) = match hematoma.site {
            Site::Putamen => ([29.0, -3.0, 7.0], [0.78, 1.35, 1.0]),
            Site::Thalamus => ([15.0, 10.0, 6.0], [0.9, 1.15, 1.0]),
            Site::Cerebellum => ([22.0, 46.0, -36.0], [1.1, 1.05, 0.8]),
            Site::Pons => ([2.0, 4.0, -30.0], [1.15, 0.9, 1.0]),
        };
        let center = [
            side * (center[0] + draw.between(0, -1.5, 1.5)),
            center[1] + draw.between(1, -2.0, 2.0),
            center[2] + draw.between(2, -2.0, 2.0),
        ];
        let ball_mm = libm::cbrt(hematoma.volume_ml * 238.732_414_637_843); // 3000 / (4 pi)
        let lobulated = hematoma.markers.contains(&Marker::IrregularMargin);
        let outline = Outline {
            wavelength_mm: ball_mm * if lobulated { 0.85 } else { 1.7 },
            amplitude: if lobulated { 0.6 } else { 0.22 },
        };
        let mut bleed = Self {
            center,
            axes,
            radius: ball_mm,
            outline,
            side,
            site: hematoma.site,
            markers: hematoma.markers.clone(),
            noise: Counter::new(seed, Stream::Lobes),
            level_mm: level_of(center) + 0.1 * ball_mm,
        };
        bleed.radius = bleed.radius_for(person, hematoma.volume_ml, ball_mm);
        bleed
    }

    /// The level at which the outline encloses `volume_ml`: the right rank among the levels of a
    /// fine lattice of points, so that clipping by skull and midline is compensated.
    fn radius_for(&self, person: &Person, volume_ml: f64, ball_mm: f64) -> f64 {
        let step_mm = ball_mm / 24.0;
        let wanted = volume_ml * 1000.0 / (step_mm * step_mm * step_mm);
        let mut levels = Vec::new();
        for z in -56..=56 {
            for y in -66..=66 {
                for x in -56..=56 {
                    let offset = [x, y, z].map(|n: i32| f64::from(n) * step_mm);
                    let p =
                        [self.center[0] + offset[0], self.center[1] + offset[1], self.center[2] + offset[2]];
                    let level = self.reach(p);
                    if level < 2.2 * ball_mm && skull::place(person, person.regular(p)).cavity_mm > 1.5 {
                        levels.push(level);
                    }
                }
            }
        }
        if levels.is_empty() {
            return ball_mm;
        }
        let rank = (wanted as usize).min(levels.len() - 1);
        *levels.select_nth_unstable_by(rank, f64::total_cmp).1
    }

    /// The outline function: distance from the center in units of the axes, bent by noise and by
    /// the borders that blood respects.
    fn reach(&self, p: [f64; 3]) -> f64 {
        let mut u = self.offset(p);
        // Putaminal hematomas follow the external capsule: turned by about 10 degrees.
        u[0] -= 0.18 * self.side * u[1];
        let [a, b, c] = self.axes;
        let round = length([u[0] / a, u[1] / b, u[2] / c]);
        let bend = gradient_noise(self.noise, self.outline.wavelength_mm, p);
        let fine = gradient_noise(self.noise, self.outline.wavelength_mm * 0.45, p);
        let level = round * (1.0 + self.outline.amplitude * (bend + 0.25 * fine));
        let over = match self.site {
            Site::Putamen | Site::Thalamus => {
                let midline = 2.0 - p[0] * self.side;
                let tent = if p[1] > 18.0 { brain::tentorium_mm(p) + 2.0 - p[2] } else { 0.0 };
                midline.max(tent)
            }
            Site::Cerebellum => p[2] - brain::tentorium_mm(p) + 2.0,
            Site::Pons => -ellipsoid(p, [0.0, 6.0, -29.0], [18.0, 16.0, 19.0]),
        };
        level + 3.0 * over.max(0.0)
    }

    /// Share of blood and edema at `p`, `cavity_mm` inside the skull, at scanner height `height_mm`.
    pub(super) fn stain(&self, p: [f64; 3], cavity_mm: f64, height_mm: f64) -> Option<Stain> {
        if length(self.offset(p)) > 3.0 * self.radius + 6.0 {
            return None;
        }
        let level = self.reach(p);
        let inside_mm = self.radius - level;
        let clip = ramp(cavity_mm - 1.5, 1.0);
        let blood = ramp(inside_mm, 1.2) * clip;
        let texture = gradient_noise(self.noise, 7.0, [p[2], p[0], p[1]]);
        let rim_mm = 3.2 + 3.0 * texture + 0.09 * self.radius;
        let edema = 0.9 * ramp(inside_mm + rim_mm, 2.2) * clip;
        if edema <= 0.0 && blood <= 0.0 {
            return None;
        }
        Some(Stain { blood, blood_hu: self.density(p, inside_mm, height_mm, texture), edema })
    }

    fn density(&self, p: [f64; 3], inside_mm: f64, height_mm: f64, texture: f64) -> f64 {
        let core = ramp(inside_mm - 0.35 * self.radius, self.radius);
        let mut hu = CLOT_HU + 4.0 * core + 5.0 * texture;
        let has = |marker| self.markers.contains(&marker);
        if has(Marker::BlendSign) {
            // Two densities side by side; the border is steep in front and back alike.
            let across = (p[0] - self.center[0]) * self.side * 0.5 + (p[1] - self.center[1]) * 0.86;
            let border = across + 2.0 * texture + 0.12 * self.radius;
            hu = lerp(FRESH_HU, RETRACTED_HU, ramp(border, 0.8)) + 2.0 * texture;
        }
        if has(Marker::FluidLevel) {
            hu = lerp(PLASMA_HU, RETRACTED_HU, ramp(height_mm - self.level_mm, 0.6));
            hu += 1.5 * texture;
        }
        if has(Marker::Hypodensity) {
            let r = 0.48 * self.radius;
            let center = [
                self.center[0] + 0.15 * self.radius * self.side,
                self.center[1] - 0.25 * self.radius,
                self.center[2],
            ];
            let island = ellipsoid(p, center, [r * 0.8, r * 1.1, r]) + 1.5 * texture;
            // It has no connection to the outside.
            let island = island.min(inside_mm - 2.5);
            hu = lerp(hu, ISLAND_HU, ramp(island, 1.2));
        }
        hu
    }

    /// Where the tissue now at `p` was before the hematoma pushed it away.
    pub(super) fn before_push(&self, p: [f64; 3], cavity_mm: f64) -> [f64; 3] {
        let offset = self.offset(p);
        let [a, b, c] = self.axes;
        let round = length([offset[0] / a, offset[1] / b, offset[2] / c]);
        let t = self.radius / round.max(self.radius);
        // Tissue at the skull cannot give way.
        let give = 0.45 * (cavity_mm / 15.0).clamp(0.0, 1.0) * t * t * t;
        [p[0] - offset[0] * give, p[1] - offset[1] * give, p[2] - offset[2] * give]
    }

    fn offset(&self, p: [f64; 3]) -> [f64; 3] {
        [p[0] - self.center[0], p[1] - self.center[1], p[2] - self.center[2]]
    }

    pub(super) const fn edema_hu(&self) -> f64 {
        EDEMA_HU
    }
}

fn length(v: [f64; 3]) -> f64 {
    (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt()
}
