//! Vessels filled with contrast agent: sinuses and veins of the dura, the arteries of the base and their branches.
//! How the brain around them looks is left to `brain`.

use super::brain::tentorium_mm;
use super::shape::{Joint, ramp, smooth, tube};

/// Blood with contrast agent, some minutes after the injection.
pub(super) const ENHANCED_HU: f64 = 220.0;

/// Middle cerebral artery: its stem, then a branch over the insula.
const MIDDLE: [Joint; 4] =
    [[6.0, -14.0, -14.0, 2.2], [24.0, -18.0, -12.0, 2.0], [38.0, -11.0, -4.0, 1.8], [40.0, 12.0, 14.0, 1.5]];
/// Anterior cerebral artery, around the knee of the corpus callosum.
const ANTERIOR: [Joint; 4] =
    [[3.0, -18.0, -14.0, 1.8], [2.0, -38.0, 0.0, 1.7], [2.0, -44.0, 14.0, 1.5], [2.0, -28.0, 30.0, 1.3]];
/// Posterior cerebral artery, around the midbrain.
const POSTERIOR: [Joint; 4] =
    [[2.0, -7.0, -18.0, 1.9], [17.0, 6.0, -13.0, 1.8], [18.0, 24.0, -7.0, 1.6], [12.0, 50.0, 0.0, 1.3]];
/// Internal cerebral veins, great vein, straight sinus.
const INNER_VEINS: [Joint; 4] =
    [[2.0, -8.0, 10.0, 1.4], [1.5, 18.0, 11.0, 1.6], [0.0, 27.0, 6.0, 3.2], [0.0, 62.0, -10.0, 3.0]];
const BASILAR: [Joint; 2] = [[0.0, -8.0, -18.0, 2.0], [0.0, -9.0, -42.0, 2.0]];
/// Choroid plexus in the atrium of the lateral ventricle.
const PLEXUS: [Joint; 2] = [[18.0, 27.0, 13.0, 2.2], [23.0, 36.0, 7.0, 3.0]];

/// Share of a place inside of the skull that is vessel; `vault_mm` is its distance to the vault's inner table.
pub(super) fn lumen(p: [f64; 3], vault_mm: f64) -> f64 {
    let [x, y, z] = [p[0].abs(), p[1], p[2]];
    let tubes = [&MIDDLE[..], &ANTERIOR, &POSTERIOR, &INNER_VEINS, &BASILAR, &PLEXUS];
    let nearest = tubes.iter().map(|joints| tube([x, y, z], joints)).fold(f64::MIN, f64::max);
    let mut share = ramp(nearest, 1.2);
    if z > -14.0 && (z > 20.0 || y > 30.0) {
        // The superior sagittal sinus, a triangle under the vault.
        share = share.max(ramp(6.0 - vault_mm - 1.2 * x, 1.5));
    }
    let transverse = 4.5 - vault_mm.max((tentorium_mm(p) - z).abs());
    share.max(ramp(transverse, 1.5) * smooth(35.0, 45.0, y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vessels_lie_where_anatomy_has_them() {
        assert_eq!(lumen([0.0, 45.0, -2.0], 40.0), 1.0, "straight sinus");
        assert_eq!(lumen([0.0, 0.0, 60.0], 2.0), 1.0, "superior sagittal sinus");
        assert_eq!(lumen([-24.0, -18.0, -12.0], 30.0), 1.0, "middle cerebral artery");
        assert_eq!(lumen([30.0, 0.0, 30.0], 30.0), 0.0, "white matter");
    }
}
