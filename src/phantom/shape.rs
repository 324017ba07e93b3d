//! Shapes as signed distances in mm, positive inside, from which anatomy is put together.
//!
//! The distances are first-order estimates: exact enough for edges of a millimetre.

/// Share of a voxel inside a surface at signed distance `distance_mm`, for an edge `width_mm` wide.
pub(super) fn ramp(distance_mm: f64, width_mm: f64) -> f64 {
    (0.5 + distance_mm / width_mm).clamp(0.0, 1.0)
}

/// 0 below `low`, 1 above `high`, smooth between.
pub(super) fn smooth(low: f64, high: f64, at: f64) -> f64 {
    let t = ((at - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Signed distance to an ellipsoid, positive inside.
pub(super) fn ellipsoid(p: [f64; 3], center: [f64; 3], radii: [f64; 3]) -> f64 {
    let mut square = 0.0;
    for axis in 0..3 {
        let u = (p[axis] - center[axis]) / radii[axis];
        square += u * u;
    }
    (1.0 - square.sqrt()) * radii[0].min(radii[1]).min(radii[2])
}

/// Radial distance, positive inside, to a surface between an ellipsoid and a box: the points with
/// `(1 - k) sum u^2 + k sum u^4 = 1`, where `u` is the coordinate over its half axis and `k` is 0.14.
pub(super) fn rounded_box(p: [f64; 3], half_mm: [f64; 3]) -> f64 {
    const SQUARENESS: f64 = 0.14;
    let (mut square, mut fourth, mut length) = (0.0, 0.0, 0.0);
    for axis in 0..3 {
        let u = p[axis] / half_mm[axis];
        square += u * u;
        fourth += u * u * u * u;
        length += p[axis] * p[axis];
    }
    let (s, f) = ((1.0 - SQUARENESS) * square, SQUARENESS * fourth);
    // The factor r for which p / r lies on the surface solves r^4 - s r^2 - f = 0.
    let r = ((s + (s * s + 4.0 * f).sqrt()) * 0.5).sqrt();
    if r < 0.05 {
        return half_mm[0].min(half_mm[1]).min(half_mm[2]);
    }
    length.sqrt() * (1.0 / r - 1.0)
}

/// A point with the radius that a tapered tube has there.
pub(super) type Joint = [f64; 4];

/// Signed distance, positive inside, to a chain of cones through `joints`.
pub(super) fn tube(p: [f64; 3], joints: &[Joint]) -> f64 {
    let mut nearest = f64::MIN;
    for pair in joints.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let (mut along, mut square) = (0.0, 0.0);
        for axis in 0..3 {
            let edge = b[axis] - a[axis];
            along += (p[axis] - a[axis]) * edge;
            square += edge * edge;
        }
        let t = (along / square).clamp(0.0, 1.0);
        let mut distance = 0.0;
        for axis in 0..3 {
            let gap = p[axis] - (a[axis] + (b[axis] - a[axis]) * t);
            distance += gap * gap;
        }
        nearest = nearest.max(a[3] + (b[3] - a[3]) * t - distance.sqrt());
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounded_box_is_zero_on_its_half_axes() {
        let half = [60.0, 80.0, 50.0];
        for axis in 0..3 {
            let mut p = [0.0; 3];
            p[axis] = half[axis];
            assert!(rounded_box(p, half).abs() < 1e-9);
            p[axis] += 3.0;
            assert!((rounded_box(p, half) + 3.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_tube_tapers() {
        let joints = [[0.0, 0.0, 0.0, 4.0], [10.0, 0.0, 0.0, 2.0]];
        assert!((tube([0.0, 4.0, 0.0], &joints)).abs() < 1e-9);
        assert!((tube([5.0, 3.0, 0.0], &joints)).abs() < 1e-9);
        assert!((tube([12.0, 0.0, 0.0], &joints)).abs() < 1e-9);
    }
}
