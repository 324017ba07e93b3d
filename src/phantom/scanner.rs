//! The scanner: slice planes and their geometry, partial volume, head holder and table, beam
//! hardening, point spread and noise.

use ndarray::Array2;

use super::hematoma::Bleed;
use super::noise::{Counter, Stream, lerp};
use super::person::Person;
use super::shape::{ramp, smooth};
use super::skull::{self, AIR_HU, EDGE_MM};
use super::vessels;
use super::{Spec, SpecError, brain};
use crate::label::Class;

/// The range of stored values: 12 bits, offset by 1024.
pub(super) const LOWEST_HU: f32 = -1024.0;
const HIGHEST_HU: f32 = 3071.0;
/// Height in the head on which the stack of slices is centered.
const MIDDLE_Z_MM: f64 = 5.0;
/// Sub-slices averaged in a slice are at most this far apart.
const SUB_SLICE_MM: f64 = 1.25;

/// A person in the scanner: everything that all slices of a [`Spec`] have in common.
pub struct Phantom {
    spec: Spec,
    person: Person,
    bleed: Option<Bleed>,
    sin_tilt: f64,
    cos_tilt: f64,
    sin_turn: f64,
    cos_turn: f64,
    pose: Pose,
}

/// How a patient is scanned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pose {
    pub lying: Lying,
    /// With a contrast agent in the vessels.
    pub enhanced: bool,
}

/// On what a patient lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lying {
    #[default]
    Supine,
    Prone,
    /// On the left side.
    Left,
    /// On the right side.
    Right,
}

impl Lying {
    /// Quarter turns of the patient in the scanner's picture, clockwise as seen from the feet.
    fn quarters(self) -> u8 {
        match self {
            Self::Supine => 0,
            Self::Left => 1,
            Self::Prone => 2,
            Self::Right => 3,
        }
    }

    /// A direction of the scanner (to the right as seen from the feet, down, inward) in patient coordinates.
    fn to_patient(self, [right, down, inward]: [f64; 3]) -> [f64; 3] {
        // Sums with 0, so that no coordinate is -0.
        match self {
            Self::Supine => [right, down, inward],
            Self::Left => [down, 0.0 - right, inward],
            Self::Prone => [0.0 - right, 0.0 - down, inward],
            Self::Right => [0.0 - down, right, inward],
        }
    }
}

/// One slice, with its truth.
pub struct RenderedSlice {
    /// Hounsfield units, -1024 outside of the circular field of view.
    pub hu: Array2<i16>,
    /// Per pixel the class that fills most of it, coded as [`crate::label::Class`]: 0 background and all soft tissue
    /// outside of the skull, 1 parenchyma (dura and calcified spots go with it), 2 hematoma, 3 skull,
    /// 4 ventricle, 5 the fluid between brain and skull.
    pub truth: Array2<u8>,
    /// Share of the pixel that its class fills, in 1/255; dura and calcified spots do not add to it.
    pub purity: Array2<u8>,
    /// Volume of blood in this slice, partly filled pixels counted by their share.
    pub hematoma_ml: f64,
}

/// Shares and density of one pixel, averaged over the slice thickness.
#[derive(Clone, Copy, Default)]
struct Voxel {
    density_hu: f64,
    blood: f64,
    bone: f64,
    cavity: f64,
    brain: f64,
    ventricle: f64,
    csf: f64,
}

impl Phantom {
    /// Invents the person and places the hematoma.
    ///
    /// # Errors
    /// As [`Spec::validate`].
    pub fn new(spec: &Spec) -> Result<Self, SpecError> {
        Self::posed(spec, Pose::default())
    }

    /// The same in another pose.
    pub(super) fn posed(spec: &Spec, pose: Pose) -> Result<Self, SpecError> {
        spec.validate()?;
        let person = Person::new(spec.seed);
        let tilt = spec.tilt_deg.to_radians();
        let turn = (spec.rotation_deg + 90.0 * f64::from(pose.lying.quarters())).to_radians();
        let mut phantom = Self {
            spec: spec.clone(),
            person,
            bleed: None,
            sin_tilt: libm::sin(tilt),
            cos_tilt: libm::cos(tilt),
            sin_turn: libm::sin(turn),
            cos_turn: libm::cos(turn),
            pose,
        };
        phantom.bleed = spec.hematoma.as_ref().map(|hematoma| {
            let level_of = |p: [f64; 3]| p[0] * phantom.sin_turn + p[1] * phantom.cos_turn;
            Bleed::new(spec.seed, &phantom.person, hematoma, level_of)
        });
        Ok(phantom)
    }

    /// What was asked for.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Patient coordinates of the middle of slice `index`.
    ///
    /// The table moves along z only, so neighbours lie `spacing / cos(tilt)` apart on it.
    pub fn middle_mm(&self, index: u16) -> [f64; 3] {
        let steps = f64::from(index) - (f64::from(self.spec.slices) - 1.0) / 2.0;
        let z = MIDDLE_Z_MM + steps * self.spec.spacing_mm / self.cos_tilt;
        [0.0, 0.0, z]
    }

    /// Direction cosines of a row, then of a column (ImageOrientationPatient).
    pub fn orientation(&self) -> [f64; 6] {
        let row = self.pose.lying.to_patient([1.0, 0.0, 0.0]);
        let column = self.pose.lying.to_patient([0.0, self.cos_tilt, -self.sin_tilt]);
        [row[0], row[1], row[2], column[0], column[1], column[2]]
    }

    /// Patient coordinates of the first pixel's center (ImagePositionPatient).
    pub fn position_mm(&self, index: u16) -> [f64; 3] {
        let half = self.half_mm();
        let [x, y, z] = self.middle_mm(index);
        self.pose.lying.to_patient([x - half, y - half * self.cos_tilt, z + half * self.sin_tilt])
    }

    /// What stands at a place of the picture, were nobody there.
    pub(super) fn device_hu(&self, x: f64, height: f64, z: f64) -> f64 {
        // Whoever does not lie on the back does not fit the holder, and lies on the table.
        device(&self.person, x, height, z, self.pose.lying == Lying::Supine)
    }

    /// From the middle of the picture to the center of an outermost pixel.
    fn half_mm(&self) -> f64 {
        (f64::from(self.spec.rows_columns) - 1.0) / 2.0 * self.spec.pixel_mm
    }

    /// Renders slice `index`, foot to head.
    pub fn slice(&self, index: u16) -> RenderedSlice {
        let side = usize::from(self.spec.rows_columns);
        let pixel = self.spec.pixel_mm;
        let half = self.half_mm();
        let middle = self.middle_mm(index);
        let mut density = Array2::<f32>::zeros((side, side));
        let mut bone = Array2::<f32>::zeros((side, side));
        let mut truth = Array2::<u8>::zeros((side, side));
        let mut purity = Array2::<u8>::zeros((side, side));
        let mut blood = 0.0;
        for row in 0..side {
            let v = row as f64 * pixel - half;
            for column in 0..side {
                let u = column as f64 * pixel - half;
                let voxel = self.voxel(u, v, middle);
                density[[row, column]] = voxel.density_hu as f32;
                bone[[row, column]] = voxel.bone as f32;
                let (class, share) = class_of(voxel);
                truth[[row, column]] = class as u8;
                purity[[row, column]] = (share * 255.0).clamp(0.0, 255.0) as u8;
                blood += voxel.blood;
            }
        }
        harden(&mut density, &bone, pixel as f32);
        let sigma = (self.spec.kernel_mm / pixel) as f32;
        blur(&mut density, sigma);
        self.add_noise(&mut density, &bone, index);
        let radius = half + 0.5 * pixel;
        let hu = Array2::from_shape_fn((side, side), |(row, column)| {
            let u = column as f64 * pixel - half;
            let v = row as f64 * pixel - half;
            if u * u + v * v > radius * radius {
                return LOWEST_HU as i16;
            }
            // The lowest value is padding's alone.
            let hu = density[[row, column]];
            libm::rintf(hu.clamp(LOWEST_HU + 1.0, HIGHEST_HU)) as i16
        });
        let pixel_ml = pixel * pixel * self.spec.spacing_mm / 1000.0;
        RenderedSlice { hu, truth, purity, hematoma_ml: blood * pixel_ml }
    }

    /// Averages the sub-slices of one pixel at picture coordinates `u`, `v`.
    fn voxel(&self, u: f64, v: f64, middle: [f64; 3]) -> Voxel {
        let count = ((self.spec.spacing_mm / SUB_SLICE_MM).ceil()).clamp(1.0, 16.0);
        let [off_u, off_v] = self.spec.off_center_mm;
        let (x, height) = (u - off_u, v - off_v);
        let device_hu = self.device_hu(x, height, middle[2]);
        if x * x + height * height > 125.0 * 125.0 {
            return Voxel { density_hu: device_hu, ..Voxel::default() };
        }
        let mut sum = Voxel::default();
        for sub in 0..count as i32 {
            let along = ((f64::from(sub) + 0.5) / count - 0.5) * self.spec.spacing_mm;
            // Along the plane's column direction and its normal; the shift off center is in-plane.
            let y = height * self.cos_tilt + along * self.sin_tilt;
            let z = middle[2] - height * self.sin_tilt + along * self.cos_tilt;
            // The head's own axes are turned against the scanner's.
            let p = [x * self.cos_turn + y * self.sin_turn, y * self.cos_turn - x * self.sin_turn, z];
            let one = self.sample(p, y, device_hu);
            sum.density_hu += one.density_hu;
            sum.blood += one.blood;
            sum.bone += one.bone;
            sum.cavity += one.cavity;
            sum.brain += one.brain;
            sum.ventricle += one.ventricle;
            sum.csf += one.csf;
        }
        Voxel {
            density_hu: sum.density_hu / count,
            blood: sum.blood / count,
            bone: sum.bone / count,
            cavity: sum.cavity / count,
            brain: sum.brain / count,
            ventricle: sum.ventricle / count,
            csf: sum.csf / count,
        }
    }

    /// Tissue at head coordinates `real`, scanner height `y`; `device_hu` is what stands there otherwise.
    fn sample(&self, real: [f64; 3], y: f64, device_hu: f64) -> Voxel {
        let p = self.person.regular(real);
        let place = skull::place(&self.person, p);
        if place.skin_mm < -EDGE_MM {
            let ear_hu = if p[2] < -8.0 { skull::auricle(p) } else { 0.0 };
            return Voxel { density_hu: lerp(device_hu, 30.0, ear_hu), ..Voxel::default() };
        }
        let cavity = ramp(place.cavity_mm, EDGE_MM);
        let mut voxel = Voxel::default();
        if cavity < 1.0 {
            let outer = skull::outer(&self.person, p, place);
            voxel.density_hu = outer.density_hu.max(device_hu);
            voxel.bone = outer.bone * (1.0 - cavity);
        }
        if cavity > 0.0 {
            let depth = place.cavity_mm.max(0.0);
            let vault = place.vault_mm.max(0.0);
            let before =
                self.bleed.as_ref().map_or(p, |bleed| self.person.regular(bleed.before_push(real, depth)));
            let before = self.person.bent(before);
            let tissue = brain::tissue(&self.person, before, depth, vault);
            let mut hu = tissue.density_hu;
            if self.pose.enhanced {
                hu = lerp(hu, vessels::ENHANCED_HU, vessels::lumen(before, vault));
            }
            // What is left of beam hardening after the scanner's correction: a brighter margin.
            hu += 4.5 * (1.0 - smooth(0.0, 16.0, place.vault_mm));
            let mut left = cavity;
            if let Some(bleed) = &self.bleed
                && let Some(stain) = bleed.stain(real, place.cavity_mm, y)
            {
                hu = lerp(hu, hu.min(bleed.edema_hu()), stain.edema);
                hu = lerp(hu, stain.blood_hu, stain.blood);
                voxel.blood = stain.blood * cavity;
                left -= voxel.blood;
            }
            voxel.density_hu = lerp(voxel.density_hu, hu, cavity);
            voxel.cavity = cavity;
            voxel.brain = tissue.brain * left;
            voxel.ventricle = tissue.ventricle * left;
            voxel.csf = tissue.csf * left;
        }
        voxel
    }

    /// Correlated noise: stronger in the middle of the head and at the dense base.
    fn add_noise(&self, density: &mut Array2<f32>, bone: &Array2<f32>, index: u16) {
        if self.spec.noise_hu <= 0.0 {
            return;
        }
        let side = usize::from(self.spec.rows_columns);
        let pixel = self.spec.pixel_mm as f32;
        let grain = |stream, sigma: f32| {
            let counter = Counter::new(self.spec.seed, stream);
            let mut plane = Array2::from_shape_fn((side, side), |(row, column)| {
                counter.normal(i32::from(index), row as i32, column as i32)
            });
            let gain = 1.0 / blur(&mut plane, sigma);
            plane.mapv_inplace(|v| v * gain);
            plane
        };
        let quantum = grain(Stream::Quantum, (0.9 * self.spec.kernel_mm) as f32 / pixel);
        let mottle = grain(Stream::Mottle, 1.6 / pixel);
        let area: f64 = bone.iter().map(|&share| f64::from(share)).sum();
        let dense = area as f32 * pixel * pixel / 9000.0;
        let base = 1.0 + 0.35 * dense.min(1.5);
        let half = self.half_mm() as f32;
        let [off_u, off_v] = self.spec.off_center_mm.map(|mm| mm as f32);
        let strength = self.spec.noise_hu as f32 * base;
        for ((row, column), value) in density.indexed_iter_mut() {
            let u = (column as f32 * pixel - half - off_u) / 95.0;
            let v = (row as f32 * pixel - half - off_v) / 105.0;
            let local = strength * (1.0 - 0.45 * (u * u + v * v).min(1.0));
            *value += local * (0.93 * quantum[[row, column]] + 0.37 * mottle[[row, column]]);
        }
    }
}

/// The class of a pixel and the share that it fills.
fn class_of(voxel: Voxel) -> (Class, f64) {
    let Voxel { blood, bone, cavity, brain, ventricle, csf, .. } = voxel;
    let solid = cavity - blood - ventricle - csf;
    if blood >= 0.5 {
        (Class::Hematoma, blood)
    } else if bone >= 0.5 {
        (Class::Skull, bone)
    } else if cavity < 0.5 {
        (Class::Background, 1.0 - bone - cavity)
    } else if solid >= ventricle.max(csf) {
        (Class::Parenchyma, brain)
    } else if ventricle >= csf {
        (Class::Ventricle, ventricle)
    } else {
        (Class::Csf, csf)
    }
}

/// Head holder (where `held`) and table, seen across: a density in HU.
fn device(person: &Person, x: f64, height: f64, z: f64, held: bool) -> f64 {
    let mut hu = AIR_HU;
    let (center, radius, thick, side) = if person.holder_is_cradle {
        // A cradle with high sides.
        (-4.0, 101.0, 1.3, -12.0)
    } else {
        // A shallow, thick shell behind the head.
        (-30.0, 129.0, 1.9, 40.0)
    };
    // The headrest slopes, so that it meets the scalp in some slices only.
    let drop = 0.06 * (z - MIDDLE_Z_MM);
    let dy = height - center + drop;
    let ring = thick - ((x * x + dy * dy).sqrt() - radius).abs();
    if held && height > side {
        hu = lerp(hu, 420.0, ramp(ring, 0.8));
        // Foam on its inside.
        let foam = ramp(8.0 - (ring + 9.0).abs(), 2.0);
        hu = hu.max(lerp(AIR_HU, -960.0, foam));
    }
    // The table top: two thin sheets with a light core.
    let slab = 9.0 - (height - 150.0 - 0.0015 * x * x).abs();
    if x.abs() < 210.0 {
        hu = hu.max(lerp(AIR_HU, -880.0, ramp(slab, 1.0)));
        hu = hu.max(lerp(AIR_HU, -150.0, ramp(1.2 - slab.abs(), 0.8)));
    }
    hu
}

/// Dark bands between dense bones on the same row, the strongest effect of a beam that hardens.
///
/// A ray that crosses bone twice has lost more of its soft photons than the scanner's correction for
/// water expects; the pixel between is darkened by what the lesser of both sides absorbed.
fn harden(density: &mut Array2<f32>, bone: &Array2<f32>, pixel_mm: f32) {
    /// Bone up to this depth on either side is what the vault always has: corrected for.
    const CORRECTED_MM: f32 = 14.0;
    const DARKER_HU_PER_MM: f32 = 0.6;
    const DARKEST_HU: f32 = 20.0;
    let (rows, columns) = bone.dim();
    let mut band = Array2::<f32>::zeros((rows, columns));
    let mut weight = vec![0.0_f32; columns];
    for row in 0..rows {
        let mut left = 0.0;
        for column in 0..columns {
            left += bone_weight(bone[[row, column]], density[[row, column]]) * pixel_mm;
            weight[column] = left;
        }
        let total = left;
        for column in 0..columns {
            let lesser = weight[column].min(total - weight[column]);
            let excess = (lesser - CORRECTED_MM).max(0.0);
            band[[row, column]] = (excess * DARKER_HU_PER_MM).min(DARKEST_HU);
        }
    }
    blur(&mut band, 1.6 / pixel_mm);
    for (value, dark) in density.iter_mut().zip(&band) {
        if *value > -300.0 {
            *value -= dark;
        }
    }
}

fn bone_weight(share: f32, density_hu: f32) -> f32 {
    share * (density_hu / 1300.0).clamp(0.0, 1.5)
}

/// Convolves with a Gaussian of `sigma` pixels, borders repeated.
///
/// Returns the standard deviation that white noise of deviation 1 has afterwards.
fn blur(plane: &mut Array2<f32>, sigma: f32) -> f32 {
    let reach = libm::ceilf(3.0 * sigma).clamp(1.0, 24.0) as i32;
    let mut kernel: Vec<f32> =
        (-reach..=reach).map(|n| libm::expf(-0.5 * (n * n) as f32 / (sigma * sigma))).collect();
    let total: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|k| *k /= total);
    let (rows, columns) = plane.dim();
    let reach = reach as usize;
    let mut padded = vec![0.0_f32; columns + 2 * reach];
    let mut across = Array2::<f32>::zeros((rows, columns));
    for row in 0..rows {
        for (n, value) in padded.iter_mut().enumerate() {
            *value = plane[[row, n.saturating_sub(reach).min(columns - 1)]];
        }
        let mut out = across.row_mut(row);
        let Some(out) = out.as_slice_mut() else {
            continue;
        };
        for (n, k) in kernel.iter().enumerate() {
            for (o, v) in out.iter_mut().zip(&padded[n..]) {
                *o += k * v;
            }
        }
    }
    for row in 0..rows {
        let mut out = plane.row_mut(row);
        out.fill(0.0);
        for (n, k) in kernel.iter().enumerate() {
            let from = (row + n).saturating_sub(reach).min(rows - 1);
            for (o, v) in out.iter_mut().zip(across.row(from)) {
                *o += k * v;
            }
        }
    }
    kernel.iter().map(|k| k * k).sum()
}
