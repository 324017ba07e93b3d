//! The head around the brain: scalp, muscle and fat, vault and base of the skull, face with its
//! orbits and sinuses. What lies inside the cavity is `brain`'s.

use super::noise::lerp;
use super::person::Person;
use super::shape::{ellipsoid, ramp, rounded_box, smooth, tube};

pub(super) const AIR_HU: f64 = -1000.0;
const FAT_HU: f64 = -95.0;
const SKIN_HU: f64 = 55.0;
const MUSCLE_HU: f64 = 58.0;
const COMPACT_HU: f64 = 1350.0;
const PETROUS_HU: f64 = 1750.0;
/// Edges are as soft as the distance between two sub-slices, so that slanting bone has no steps.
pub(super) const EDGE_MM: f64 = 1.2;

/// Where a point lies with respect to the bounding surfaces, in mm, positive inside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Below the skin.
    pub skin_mm: f64,
    /// Inside the cavity, bounded by vault and base.
    pub cavity_mm: f64,
    /// Inside the vault, base left out of account.
    pub vault_mm: f64,
}

/// Tissue outside of the cavity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outer {
    pub density_hu: f64,
    /// Share of bone.
    pub bone: f64,
}

/// Finds the bounding surfaces at a point; outside of the skin the inner ones are infinitely far.
pub(super) fn place(person: &Person, p: [f64; 3]) -> Place {
    let [x, y, z] = p;
    let [half_x, half_y, half_z] = person.cavity_mm;
    // Heads are widest behind the ears.
    let egg = 1.0 + 0.13 * ((y + 12.0) / half_y).clamp(-1.0, 0.6);
    let q = [x / egg, y, z];
    let wall = person.skull_mm + person.scalp_mm;
    let skin_half = [half_x + wall, half_y + wall + 0.5, if z < 0.0 { 150.0 } else { half_z + wall }];
    let mut skin_mm = rounded_box(q, skin_half);
    if z < -10.0 {
        let nose = ellipsoid(p, [0.0, -half_y - 6.0, -46.0], [13.0, 19.0, 20.0]);
        skin_mm = skin_mm.max(nose);
    }
    if skin_mm < -EDGE_MM {
        return Place { skin_mm, cavity_mm: f64::MIN, vault_mm: f64::MIN };
    }
    // The posterior fossa hangs behind the middle.
    let below = (-z).max(0.0);
    let down = if z < 0.0 { 70.0 } else { half_z };
    let vault_mm = rounded_box([q[0], y - 0.15 * below, z], [half_x, half_y, down]);
    let mut cavity_mm = vault_mm;
    if z < 2.0 {
        cavity_mm = cavity_mm.min((z - floor_mm(person.bent(p))) * 0.75);
        if z < -44.0 {
            // Foramen magnum and spinal canal.
            let (cx, cy) = (x / 14.5, (y - 24.0) / 16.0);
            cavity_mm = cavity_mm.max((1.0 - (cx * cx + cy * cy).sqrt()) * 14.5);
        }
    }
    Place { skin_mm, cavity_mm, vault_mm }
}

/// How far `y` lies behind the sphenoid wing's edge.
fn behind_wing(p: [f64; 3]) -> f64 {
    p[1] + 27.0 + 0.32 * (p[0].abs() - 15.0).max(0.0)
}

/// How far `y` lies behind the petrous ridge.
fn behind_petrous(p: [f64; 3]) -> f64 {
    p[1] + 9.0 - 0.56 * (p[0].abs() - 14.0).max(0.0)
}

/// Height of the skull base: three fossae with the sphenoid wing and the petrous ridge between.
fn floor_mm(p: [f64; 3]) -> f64 {
    let [x, y, _] = p;
    let lateral = x.abs();
    let wing = behind_wing(p);
    let petrous = behind_petrous(p);
    let roof = (lateral - 32.0) / 15.0;
    let front = -27.0 + 12.0 * (1.0 - roof * roof).max(0.0) + 5.0 * smooth(-58.0, -78.0, y);
    // In the middle: sella, dorsum, clivus; beside it the pole of the temporal lobe.
    let sella = if y < -10.0 { -22.0 } else { -20.0 - (y + 10.0) * 1.75 };
    let middle = lerp(sella, -37.0, smooth(11.0, 20.0, lateral));
    let bowl = -63.0 + 0.008 * lateral * lateral + 0.006 * (y - 30.0) * (y - 30.0);
    let back = lerp(sella.max(-64.0), bowl, smooth(10.0, 16.0, lateral));
    let mut floor = lerp(front, middle, smooth(-5.0, 3.0, wing));
    floor = lerp(floor, back, smooth(-5.0, 6.0, petrous));
    if lateral > 10.0 {
        let taper = smooth(10.0, 20.0, lateral);
        let wing_top = -14.0 + 0.05 * lateral;
        floor = floor.max(lerp(floor, wing_top - 2.2 * wing.abs(), taper));
        let petrous_top = -26.0 + 0.08 * lateral;
        floor = floor.max(lerp(floor, petrous_top - 1.5 * petrous.abs(), taper));
    }
    floor
}

/// Tissue at a point outside of the cavity, or at its very edge.
pub(super) fn outer(person: &Person, p: [f64; 3], place: Place) -> Outer {
    let fine = person.fine(p);
    let texture = person.texture(p);
    let mut hu = soft(person, p, place, fine, texture);
    let mut bone = 0.0_f64;
    let mut set = |share: f64, density_hu: f64, is_bone: bool| {
        hu = lerp(hu, density_hu, share);
        bone = lerp(bone, f64::from(u8::from(is_bone)), share);
    };
    if p[2] < 0.0 {
        face(person, person.bent(p), fine, &mut set);
    }
    // The shell around the cavity, with diploe between two compact tables.
    let wall_mm = -place.cavity_mm;
    let base = smooth(4.0, -2.0, place.vault_mm - place.cavity_mm - 2.0);
    let mut thick_mm = lerp(2.6, person.skull_mm * (1.0 + 0.35 * texture), base);
    // The occipital protuberance.
    let crest = smooth(7.0, 0.0, p[0].abs()) * smooth(40.0, 60.0, p[1]);
    thick_mm += 2.5 * crest * smooth(20.0, -5.0, p[2]) * base;
    let frontal = smooth(-66.0, -76.0, p[1]) * smooth(10.0, -8.0, p[2]);
    thick_mm += 4.0 * frontal;
    if p[2] < -44.0 {
        // Below the foramen the canal is walled by the atlas, or by ligament only.
        let canal = smooth(-58.0, -66.0, p[2]);
        thick_mm = lerp(thick_mm, 5.0, canal);
    }
    let shell = ramp(thick_mm - wall_mm, EDGE_MM);
    if shell > 0.0 {
        let table_mm = wall_mm.min(thick_mm - wall_mm);
        let marrow = smooth(1.2, 2.4, table_mm) * base;
        let diploe = person.diploe_hu + 260.0 * fine;
        set(shell, lerp(COMPACT_HU + 150.0 * texture, diploe, marrow), true);
        let sinus = ellipsoid(
            [p[0].abs(), p[1], p[2]],
            [9.0, -person.cavity_mm[1] - 5.0, -14.0],
            [10.0 + 6.0 * person.pneumatized, 2.8, 9.0],
        );
        if sinus > -1.0 && p[0].abs() > 0.8 {
            set(ramp(sinus, 1.0), AIR_HU, false);
        }
    }
    if p[2] < -8.0 {
        base_blocks(person, person.bent(p), place, fine, &mut set);
    }
    Outer { density_hu: lerp(AIR_HU, hu, ramp(place.skin_mm, EDGE_MM)), bone }
}

/// Scalp, muscle and fat.
fn soft(person: &Person, p: [f64; 3], place: Place, fine: f64, texture: f64) -> f64 {
    let [x, y, z] = p;
    let under_mm = place.skin_mm;
    let above_skull_mm = -place.cavity_mm - person.skull_mm;
    // Temporalis and neck muscles stand where the skin is far from the vault.
    let room = smooth(person.scalp_mm + 1.0, person.scalp_mm + 5.0, under_mm + above_skull_mm);
    let temple = smooth(22.0, 4.0, z) * smooth(30.0, 5.0, y) * smooth(38.0, 52.0, x.abs());
    let galea = ramp(1.2 - above_skull_mm, 1.0);
    let sheets = (person.folds([0.6 * x, 0.6 * y, 0.35 * z]) + 0.15 * fine).abs();
    let planes = smooth(0.015, 0.07, sheets) * smooth(-0.40, -0.15, texture + 0.3 * fine);
    let muscle = galea.max(room.max(temple) * planes * smooth(3.0, 5.0, under_mm));
    let deep = lerp(FAT_HU + 10.0 * fine, MUSCLE_HU + 6.0 * fine, muscle);
    lerp(deep, SKIN_HU, ramp(2.2 - under_mm, 1.0))
}

/// Orbits, nose, sinuses, jaw: painted by `set(share, density_hu, is_bone)`.
fn face(person: &Person, p: [f64; 3], fine: f64, set: &mut impl FnMut(f64, f64, bool)) {
    let [_, y, z] = p;
    let m = [p[0].abs(), y, z];
    let front = person.cavity_mm[1];
    if y < -20.0 {
        // Orbit: a cone of fat behind the globe, walled by thin bone.
        let globe = [33.0, -front + 4.0, -34.0];
        let apex = [13.0, -37.0, -29.0];
        let cone = tube(m, &[[globe[0], globe[1] - 4.0, globe[2], 17.5], [apex[0], apex[1], apex[2], 5.0]]);
        let rim = smooth(-front - 6.0, -front + 6.0, y);
        set(ramp(cone + 3.2, 1.2) * rim, 1150.0, true);
        set(ramp(cone, 1.0), FAT_HU, false);
        let nerve = tube(m, &[[globe[0], globe[1], globe[2], 2.0], [apex[0], apex[1], apex[2], 2.4]]);
        let muscle = 1.2 - (cone - 4.5).abs();
        let behind = ramp(y - globe[1] - 5.0, 4.0);
        set(0.6 * ramp(muscle, 1.5) * behind * ramp(fine + 0.1, 0.3), 52.0, false);
        set(ramp(nerve, 1.0), 40.0, false);
        let eye = ellipsoid(m, globe, [12.3, 12.3, 12.0]);
        set(ramp(eye, 1.0), lerp(45.0, 12.0, ramp(eye - 1.4, 0.8)), false);
        let lens = ellipsoid(m, [globe[0], globe[1] - 9.0, globe[2]], [4.4, 1.9, 4.4]);
        set(ramp(lens, 1.0), 75.0, false);
        paranasal(person, m, fine, set);
    }
    let arch =
        tube(m, &[[52.0, -front + 14.0, -47.0, 3.6], [66.0, -44.0, -47.0, 2.4], [65.0, -10.0, -44.0, 2.6]]);
    set(ramp(arch, 1.2), 1150.0, true);
    let jaw = tube(m, &[[53.0, -9.0, -47.0, 4.6], [49.0, -20.0, -84.0, 3.4]]);
    set(ramp(jaw, 1.2), lerp(1300.0, 650.0, ramp(jaw - 2.0, 1.5)), true);
    let pharynx = ellipsoid(m, [0.0, -26.0, -74.0], [12.0, 9.0, 20.0]);
    set(ramp(pharynx, 1.0), AIR_HU, false);
    let ear_canal = tube(m, &[[48.0, 7.0, -39.0, 2.6], [90.0, 5.0, -41.0, 3.0]]);
    set(ramp(ear_canal, 1.0), AIR_HU, false);
}

/// Nasal cavity, ethmoid cells and maxillary sinuses.
fn paranasal(person: &Person, m: [f64; 3], fine: f64, set: &mut impl FnMut(f64, f64, bool)) {
    let [x, y, z] = m;
    let front = person.cavity_mm[1];
    let maxillary = ellipsoid(m, [28.0, -front + 17.0, -61.0], [15.0, 16.5, 13.5]);
    set(ramp(maxillary + 2.0, 1.2), 1000.0, true);
    set(ramp(maxillary, 1.2), AIR_HU, false);
    let nasal = ellipsoid(m, [0.0, -front + 14.0, -54.0], [14.0, 32.0, 27.0]);
    let nasal = nasal.min(-24.0 - z);
    set(ramp(nasal + 1.6, 1.2), 900.0, true);
    // Septum, turbinates, and the walls of the ethmoid cells further up.
    let cells = smooth(-46.0, -40.0, z);
    let lattice = (fine * 1.4).abs().min((x - 6.5).abs() * 0.35);
    let wall = cells * ramp(0.16 - lattice, 0.14);
    let turbinate = (1.0 - cells) * ramp(1.8 - (x - 7.0 - 3.0 * fine).abs(), 1.0);
    let inside = ramp(nasal, 1.2);
    set(inside, AIR_HU, false);
    set(inside * turbinate, 50.0, false);
    set(inside * wall.max(ramp(0.8 - x, 0.8)), 500.0, true);
    // The bridge of the nose.
    let bridge = tube(m, &[[0.0, -front - 3.0, -22.0, 5.0], [4.0, -front - 9.0, -40.0, 2.2]]);
    set(ramp(bridge, 1.2) * ramp(y + front, 6.0).max(0.7), 900.0, true);
}

/// The massive bone of the base: petrous pyramids with their mastoid cells, clivus, sphenoid.
fn base_blocks(person: &Person, p: [f64; 3], place: Place, fine: f64, set: &mut impl FnMut(f64, f64, bool)) {
    let [x, y, z] = p;
    let lateral = x.abs();
    let petrous = behind_petrous(p);
    let half = 8.0 + 0.10 * (lateral - 14.0).max(0.0);
    let body = (half - petrous.abs())
        .min(z + 47.0 - 0.08 * lateral)
        .min(lateral - 13.0)
        .min(63.0 - lateral)
        .min(-place.cavity_mm);
    let share = ramp(body, 1.5);
    if share > 0.0 {
        let dense = smooth(44.0, 34.0, lateral);
        set(share, lerp(1000.0, PETROUS_HU, dense) + 200.0 * fine, true);
        let cell = ramp(fine + 0.06 + 0.22 * person.pneumatized, 0.2);
        let mastoid = smooth(40.0, 48.0, lateral) * smooth(0.5, 2.5, body);
        set(share * cell * mastoid, AIR_HU + 50.0, false);
        let ear = ellipsoid([lateral, y, z], [38.0, 5.0, -38.0], [5.0, 3.5, 4.0]);
        set(ramp(ear, 1.0), AIR_HU, false);
    }
    let clivus = tube(
        [lateral, y, z],
        &[[0.0, -40.0, -36.0, 12.0], [0.0, -16.0, -32.0, 13.0], [0.0, 6.0, -54.0, 8.0]],
    )
    .min(-place.cavity_mm);
    let share = ramp(clivus, 1.5);
    if share > 0.0 {
        set(share, 780.0 + 200.0 * fine, true);
        let sinus =
            ellipsoid([lateral, y, z], [6.5, -29.0, -35.0], [6.0 + 3.0 * person.pneumatized, 11.0, 8.0]);
        set(ramp(sinus.min(lateral - 0.5), 1.0), AIR_HU, false);
    }
}

/// Share of the ear that stands out from the head: a curled rim of cartilage.
pub(super) fn auricle(p: [f64; 3]) -> f64 {
    let m = [p[0].abs(), p[1], p[2]];
    if m[0] < 66.0 || m[1] < -6.0 || m[1] > 34.0 || m[2] < -64.0 {
        return 0.0;
    }
    let body = ellipsoid(m, [79.0, 14.0, -36.0], [9.0, 16.0, 26.0]);
    let hollow = ellipsoid(m, [80.0, 9.0, -36.0], [7.0, 13.0, 22.0]);
    ramp(body, EDGE_MM) * ramp(-hollow, EDGE_MM)
}
