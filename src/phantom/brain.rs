//! The brain and what lies in and between its parts: cortex, white matter, deep nuclei, ventricles,
//! cisterns, falx, tentorium, calcifications. The skull around it is `skull`'s.

use super::noise::lerp;
use super::person::Person;
use super::shape::{Joint, ellipsoid, ramp, smooth, tube};

const CSF_HU: f64 = 8.0;
/// Dura with the blood of its sinuses.
const DURA_HU: f64 = 50.0;

/// A lateral ventricle: frontal horn, body, atrium, occipital horn.
const VENTRICLE: [Joint; 6] = [
    [14.5, -37.0, 6.0, 2.6],
    [8.5, -25.0, 11.0, 5.2],
    [8.0, -6.0, 18.0, 5.2],
    [14.0, 18.0, 17.0, 5.8],
    [22.0, 34.0, 8.0, 6.2],
    [19.0, 54.0, 4.0, 2.4],
];
/// Its temporal horn.
const TEMPORAL_HORN: [Joint; 3] =
    [[23.0, 32.0, 6.0, 4.5], [30.0, 10.0, -13.0, 2.2], [27.0, -7.0, -18.0, 2.0]];

/// Height of the tentorium, the roof of the cerebellum: a tent with its ridge in the midline.
pub(super) fn tentorium_mm(p: [f64; 3]) -> f64 {
    let back = (p[1] - 26.0).max(0.0);
    2.0 - 0.44 * p[0].abs() - 0.40 * back
}

/// What lies at a place inside of the skull.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tissue {
    pub density_hu: f64,
    /// Share of brain: what is left is fluid, dura or calcified.
    pub brain: f64,
    /// Share of ventricle.
    pub ventricle: f64,
    /// Share of the fluid around the brain: sulci, fissures, cisterns, the film under the skull.
    pub csf: f64,
}

/// Density and kinds of intracranial tissue.
///
/// `p` is the place before any mass pushed it, `depth_mm` the distance to the skull's inner table,
/// `vault_mm` the same without the skull base.
pub(super) fn tissue(person: &Person, p: [f64; 3], depth_mm: f64, vault_mm: f64) -> Tissue {
    let [x, y, z] = p;
    let m = [x.abs(), y, z];
    let texture = person.texture(p);
    let fine = person.fine(p);
    let behind = y > 14.0 + 0.25 * m[0];
    let tent = if behind { tentorium_mm(p) - z } else { -50.0 };

    let (mut hu, mut fluid) = cerebrum(person, p, depth_mm, texture);
    if tent > -1.5 {
        let (low_hu, low_fluid) = cerebellum(person, p, depth_mm, fine);
        let share = ramp(tent, 1.5);
        hu = lerp(hu, low_hu, share);
        fluid = lerp(fluid, low_fluid, share);
    }
    let stem = brainstem(m);
    let share = ramp(stem, 1.5);
    hu = lerp(hu, person.white_hu + 1.5 + fine, share);
    fluid *= 1.0 - share;
    let ventricle = ventricles(person, p, stem);
    fluid = fluid.max(ventricle);
    fluid = fluid.max(cisterns(person, m, stem, texture, depth_mm));
    fluid = fluid.max(fissures(person, p, depth_mm, texture));
    // A film of fluid under the skull, thicker over the frontal lobes of the old.
    let film = 0.5 + person.atrophy * (0.6 + 1.6 * smooth(10.0, -60.0, y) * (0.6 + texture));
    fluid = fluid.max(0.85 * ramp(film - depth_mm, 1.2));
    hu = lerp(hu + 0.8 * fine + 0.8 * texture, CSF_HU, fluid);

    let dura = folds_of_dura(m, tent, behind, vault_mm);
    hu = lerp(hu, DURA_HU, dura);
    let mut left = 1.0 - dura;
    for spot in &person.calcifications {
        let inside = ellipsoid(p, spot.center, spot.radii);
        if inside > -1.0 {
            let share = ramp(inside, 1.0);
            hu = lerp(hu, spot.density_hu, share);
            left *= 1.0 - share;
        }
    }
    Tissue {
        density_hu: hu,
        brain: left * (1.0 - fluid),
        ventricle: left * ventricle,
        csf: left * (fluid - ventricle),
    }
}

/// Density of the hemispheres, and the share of fluid in their sulci.
fn cerebrum(person: &Person, p: [f64; 3], depth_mm: f64, texture: f64) -> (f64, f64) {
    let m = [p[0].abs(), p[1], p[2]];
    // A sulcus is a sheet where the noise passes through zero; 8 mm is its inverse slope there.
    // Read near the surface, the noise hardly changes with depth: sulci cut in at right angles.
    let length_mm = (p[0] * p[0] + p[1] * p[1] + p[2] * p[2]).sqrt().max(1.0);
    let outward = 1.0 + 0.6 * depth_mm / length_mm;
    let surface = p.map(|coordinate| coordinate * outward);
    let fold_mm = person.folds(surface).abs() * 8.0;
    let reach_mm = 15.0 + 11.0 * texture;
    let open = ramp(reach_mm - depth_mm, 4.0);
    let fold_mm = fold_mm + (1.0 - open) * 9.0;
    let ribbon = ramp(3.8 + texture - fold_mm.min(depth_mm), 1.6);
    let mut gray = 0.92 * ribbon;
    if m[0] < 44.0 && m[1] > -42.0 && m[1] < 34.0 && m[2] > -14.0 && m[2] < 26.0 {
        gray = gray.max(deep_gray(m));
    }
    // White matter is darkest around the ventricles, the more so with age.
    let rarefied = person.atrophy * 2.5 * smooth(18.0, 34.0, depth_mm) * smooth(0.1, 0.6, texture);
    let hu = lerp(person.white_hu - rarefied, person.gray_hu, gray);
    let crown = smooth(5.0, 50.0, p[2]);
    let gap_mm = 0.1 + 0.65 * person.atrophy + 1.2 * texture + 0.5 * crown;
    let fluid = if gap_mm > -0.4 { open * ramp(gap_mm - fold_mm, 1.1) } else { 0.0 };
    (hu, fluid)
}

/// Share of gray matter of caudate, putamen, pallidum, thalamus and insula.
fn deep_gray(m: [f64; 3]) -> f64 {
    let turned = [m[0] - 0.18 * (m[1] + 3.0), m[1], m[2]];
    let caudate = ellipsoid(m, [14.5, -20.0, 9.0], [4.5, 9.0, 9.0]);
    let putamen = ellipsoid(turned, [27.0, -3.0, 4.0], [4.8, 15.0, 10.0]);
    let pallidum = ellipsoid(turned, [20.0, 0.0, 2.0], [4.2, 9.0, 7.0]);
    let thalamus = ellipsoid(m, [10.5, 9.0, 5.0], [8.5, 13.0, 9.0]);
    let insula = ellipsoid(m, [37.0, -2.0, 5.0], [2.4, 21.0, 14.0]);
    let nuclei = caudate.max(putamen).max(thalamus).max(insula);
    ramp(nuclei, 2.5).max(0.6 * ramp(pallidum, 2.5))
}

/// Density of the cerebellum, and the share of fluid between its folia.
fn cerebellum(person: &Person, p: [f64; 3], depth_mm: f64, fine: f64) -> (f64, f64) {
    let m = [p[0].abs(), p[1], p[2]];
    let core = ellipsoid(m, [17.0, 33.0, -36.0], [14.0, 12.0, 9.0]);
    let hu = lerp(person.gray_hu - 1.0, person.white_hu + 1.0, ramp(core, 5.0));
    // Folia run level, so that a stack of sheets in height shows as short dark strokes.
    let sheet = (fine * 3.0).abs();
    let rim = ramp(9.0 - depth_mm, 6.0);
    let fluid = 0.35 * rim * (0.4 + person.atrophy) * ramp(0.35 - sheet, 0.6);
    (hu + fine, fluid)
}

/// Signed distance to midbrain, pons and medulla.
fn brainstem(m: [f64; 3]) -> f64 {
    let midbrain = ellipsoid(m, [0.0, 6.0, -13.0], [16.0, 13.0, 11.0]);
    let pons = ellipsoid(m, [0.0, 5.0, -31.0], [17.0, 14.0, 15.0]);
    let medulla = tube(m, &[[0.0, 12.0, -40.0, 9.0], [0.0, 27.0, -70.0, 6.5]]);
    midbrain.max(pons).max(medulla)
}

fn ventricles(person: &Person, p: [f64; 3], stem: f64) -> f64 {
    let m = [p[0].abs(), p[1], p[2]];
    let mut inside = -5.0_f64;
    if m[0] < 44.0 && p[1] > -46.0 && p[1] < 66.0 && p[2] > -26.0 && p[2] < 32.0 {
        let wide = person.ventricle[usize::from(p[0] > 0.0)];
        let lateral = tube(m, &VENTRICLE).max(tube(m, &TEMPORAL_HORN));
        // The septum keeps the two apart.
        inside = inside.max((lateral + (wide - 1.0) * 8.0).min(m[0] - 0.6));
        let third = ellipsoid(m, [0.0, 3.0, -2.0], [1.6 + 2.2 * person.atrophy, 14.0, 9.0]);
        inside = inside.max(third);
    }
    if p[2] < -20.0 {
        let fourth = ellipsoid(m, [0.0, 24.0, -36.0], [8.0, 5.5, 10.0]);
        inside = inside.max(fourth.min(1.0 - stem));
    }
    ramp(inside, 1.4)
}

fn cisterns(person: &Person, m: [f64; 3], stem: f64, texture: f64, depth_mm: f64) -> f64 {
    let [x, y, z] = m;
    if z > 8.0 {
        return 0.0;
    }
    let wide = 0.6 * person.atrophy + 0.5 * texture;
    let suprasellar = ellipsoid(m, [0.0, -13.0, -16.0], [13.0, 10.0, 7.0]) + wide;
    let quadrigeminal = ellipsoid(m, [0.0, 21.5, -5.0], [10.0, 3.4, 6.0]) + wide;
    let magna = ellipsoid(m, [0.0, 46.0, -58.0], [16.0, 9.0, 9.0]) + 2.0 * wide;
    let canal = ellipsoid(m, [0.0, 25.0, -66.0], [13.0, 14.0, 18.0]);
    // A shell about the brainstem: ambient beside the midbrain, prepontine before the pons.
    let shell = if x < 20.0 && z < -5.0 && z > -21.0 {
        let ends = smooth(-16.0, -21.0, z) + smooth(-9.0, -5.0, z);
        0.1 + wide + 1.8 * smooth(0.0, 16.0, y) - (stem + 1.6).abs() - ends
    } else {
        -5.0
    };
    let prepontine = ellipsoid(m, [0.0, -11.0, -33.0], [13.0, 5.0, 12.0]) + wide;
    let open =
        suprasellar.max(quadrigeminal).max(magna).max(shell).max(prepontine.min(depth_mm + 2.0)).max(canal);
    ramp(open, 1.6) * ramp(-stem, 1.2)
}

/// Share of fluid in the Sylvian and the interhemispheric fissure.
fn fissures(person: &Person, p: [f64; 3], depth_mm: f64, texture: f64) -> f64 {
    let m = [p[0].abs(), p[1], p[2]];
    let wander = person.folds(p) * 5.0 + texture * 4.0;
    let mut open = 0.0_f64;
    if m[0] > 20.0 && m[2] > -16.0 && m[2] < 24.0 {
        // The fissure climbs toward the back.
        let y = m[1] - 0.9 * (m[2] - 2.0) + wander;
        let flat = [m[0], y, 0.0];
        let r = 0.2 + 1.3 * person.atrophy + 0.8 * texture + 1.6 * person.fine(p);
        let sheet = tube(flat, &[[23.0, -22.0, 0.0, r], [40.0, -14.0, 0.0, r + 0.4]])
            .max(tube(flat, &[[40.0, -14.0, 0.0, r + 0.4], [64.0, -4.0, 0.0, r]]))
            .max(tube(flat, &[[40.0, -14.0, 0.0, r], [39.5, 10.0, 0.0, r - 0.3]]));
        open = ramp(sheet, 1.5) * smooth(-16.0, -10.0, m[2]) * smooth(24.0, 16.0, m[2]);
    }
    let split = (p[2] - 26.0).max(-p[1] - 36.0 + 0.3 * p[2].min(0.0)).max(p[1] - 44.0).min(p[2] + 14.0);
    if split > -2.0 {
        let gap = 0.5 + 0.9 * person.atrophy + 0.6 * texture + 0.5 * ramp(12.0 - depth_mm, 10.0);
        let bend = 0.6 * texture;
        open = open.max(ramp(gap - (p[0] - bend).abs(), 1.2) * ramp(split, 4.0));
    }
    open
}

/// Share of dura: falx, tentorium, and the sinuses where they meet the skull.
fn folds_of_dura(m: [f64; 3], tent: f64, behind: bool, vault_mm: f64) -> f64 {
    let [x, y, z] = m;
    let above = z > -14.0 && (z > 30.0 || y < -42.0 || (y > 40.0 && tent < 0.0));
    let mut dura = if above { 0.9 * ramp(0.7 - x, 0.8) } else { 0.0 };
    if above && (z > 20.0 || y > 30.0) {
        // The superior sagittal sinus, a triangle under the vault.
        let sinus = 5.0 - vault_mm - 1.2 * x;
        dura = dura.max(0.9 * ramp(sinus, 1.5));
    }
    if behind {
        dura = dura.max(0.55 * ramp(0.7 - tent.abs(), 1.0));
        let transverse = 4.0 - vault_mm.max(tent.abs());
        dura = dura.max(0.9 * ramp(transverse, 1.5) * smooth(35.0, 45.0, y));
    }
    dura
}
