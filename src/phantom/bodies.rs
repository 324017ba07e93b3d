//! What lies in scanners and is no head: a jar of water, a chest, nothing at all.

use ndarray::Array2;

use super::Phantom;
use super::noise::{Counter, Stream, lerp};
use super::scanner::LOWEST_HU;
use super::shape::ramp;
use super::skull::AIR_HU;

/// What is scanned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Body {
    #[default]
    Head,
    /// A plastic jar of water, as it is scanned every morning.
    Jar,
    Chest,
    /// Head holder and table alone.
    Air,
}

impl Body {
    /// One slice of anything but a head, in HU.
    pub fn slice(self, phantom: &Phantom, index: u16) -> Array2<i16> {
        let spec = phantom.spec();
        let (side, pixel) = (usize::from(spec.rows_columns), spec.pixel_mm);
        let half = (side as f64 - 1.0) / 2.0 * pixel;
        let z = phantom.middle_mm(index)[2];
        let noise = Counter::new(spec.seed, Stream::Quantum);
        Array2::from_shape_fn((side, side), |(row, column)| {
            let (u, v) = (column as f64 * pixel - half, row as f64 * pixel - half);
            if u * u + v * v > (half + 0.5 * pixel) * (half + 0.5 * pixel) {
                return LOWEST_HU as i16;
            }
            let around_hu = if self == Body::Chest { AIR_HU } else { phantom.device_hu(u, v, z) };
            let hu = match self {
                Body::Head | Body::Air => around_hu,
                Body::Jar => jar(u, v, around_hu),
                Body::Chest => chest(u, v, z),
            };
            let grain = spec.noise_hu * f64::from(noise.normal(index.into(), row as i32, column as i32));
            // The lowest value is padding's alone.
            libm::rint((hu + grain).max(f64::from(LOWEST_HU) + 1.0)) as i16
        })
    }
}

/// Distance into an ellipse, about, in mm.
fn ellipse(u: f64, v: f64, center: [f64; 2], radii: [f64; 2]) -> f64 {
    let (x, y) = ((u - center[0]) / radii[0], (v - center[1]) / radii[1]);
    (1.0 - (x * x + y * y).sqrt()) * radii[0].min(radii[1])
}

fn jar(u: f64, v: f64, around_hu: f64) -> f64 {
    let inside_mm = ellipse(u, v, [0.0, -6.0], [95.0, 95.0]);
    lerp(lerp(around_hu, 120.0, ramp(inside_mm, 1.0)), 0.0, ramp(inside_mm - 6.0, 1.0))
}

fn chest(u: f64, v: f64, z: f64) -> f64 {
    let skin_mm = ellipse(u, v, [0.0, 0.0], [140.0, 98.0]);
    let mut hu = lerp(AIR_HU, -100.0, ramp(skin_mm, 1.0));
    let mut set = |inside_mm: f64, density_hu: f64| hu = lerp(hu, density_hu, ramp(inside_mm, 1.5));
    set(skin_mm - 10.0, 55.0);
    // Ribs slope, so that they pass through the slices one after the other.
    let angle = libm::atan2(v, u);
    let rib_mm = 3.5 - (skin_mm - 18.0).abs();
    set(rib_mm.min(9.0 * (libm::sin(7.0 * angle + 0.2 * z) - 0.3)), 500.0);
    for side in [-1.0, 1.0] {
        let texture_hu = 60.0 * libm::sin(0.31 * u + 0.1 * z) * libm::cos(0.27 * v);
        set(ellipse(u, v, [62.0 * side, -4.0], [50.0, 66.0]), -850.0 + texture_hu);
    }
    set(ellipse(u, v, [18.0, -26.0], [46.0, 38.0]), 42.0);
    set(ellipse(u, v, [0.0, 52.0], [21.0, 17.0]), 260.0);
    set(ellipse(u, v, [0.0, 76.0], [9.0, 8.0]), 30.0);
    set(ellipse(u, v, [22.0, 36.0], [11.0, 11.0]), 45.0);
    hu
}
