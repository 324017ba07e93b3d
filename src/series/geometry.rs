//! How slices lie in the patient: axes, normal, tilt, and the place of a slice along the normal.
//! The distances between slices are left to `spacing`.

use crate::dicom::SliceHeader;

/// Largest angle between an axial slice's normal and the patient's long axis: cos 45 degrees.
///
/// Gantries tilt by up to 30 degrees; coronal and sagittal reconstructions are at 90.
const AXIAL_COSINE: f64 = 0.707;

/// Cosines that differ by no more than this belong to one stack: 0.06 degrees, above what writers round.
const SAME_COSINE: f64 = 1e-3;

/// The axes of a slice, unit vectors in patient coordinates (x to the left, y to the back, z to the head).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Orientation {
    /// Along a row: the direction in which columns count up.
    pub row: [f64; 3],
    /// Along a column: the direction in which rows count up.
    pub column: [f64; 3],
    /// Perpendicular to both, toward the head.
    pub normal: [f64; 3],
}

impl Orientation {
    /// The axes that a header gives; None where it gives none.
    ///
    /// # Source
    /// DICOM PS3.3 C.7.6.2.1.1.
    pub fn of(header: &SliceHeader) -> Option<Orientation> {
        let [a, b, c, d, e, f] = header.image_orientation?;
        let (row, column) = ([a, b, c], [d, e, f]);
        let cross = [b * f - c * e, c * d - a * f, a * e - b * d];
        let length = dot(cross, cross).sqrt();
        // Whether rows and columns run clockwise or not, the head is up.
        let upward = if cross[2] < 0.0 { -length } else { length };
        Some(Orientation { row, column, normal: cross.map(|part| part / upward) })
    }

    /// True where the slice is nearer to axial than to coronal or sagittal.
    pub fn is_axial(&self) -> bool {
        self.normal[2] >= AXIAL_COSINE
    }

    /// Place of a point along the normal, in mm.
    pub fn along_normal(&self, position: [f64; 3]) -> f64 {
        dot(self.normal, position)
    }

    /// Tilt of the gantry, in degrees: the rotation about the patient's left-right axis. Positive where the
    /// slice rises toward the face, as in a scan along the line from the eye to the ear.
    pub fn tilt_deg(&self) -> f64 {
        libm::atan2(self.normal[1], self.normal[2]).to_degrees()
    }

    /// Rotation about the patient's front-back axis, in degrees. Gantries cannot; reconstructions can.
    pub fn roll_deg(&self) -> f64 {
        libm::atan2(self.normal[0], self.normal[2]).to_degrees()
    }

    pub(super) fn is_same(&self, other: &Orientation) -> bool {
        let near = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= SAME_COSINE);
        near(self.row, other.row) && near(self.column, other.column)
    }
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::crafted::Crafted;
    use crate::dicom::crafted::read_header;
    use crate::limits::Limits;

    fn orientation(cosines: &str) -> Orientation {
        let file = Crafted::slice(2, 2).text(0x0020, 0x0037, b"DS", cosines).file();
        let (header, _) = read_header(&file, &Limits::default()).unwrap();
        Orientation::of(&header).unwrap()
    }

    #[test]
    fn the_tilt_of_a_real_scanner_is_found() {
        // GE HiSpeed Dual, GantryDetectorTilt +18.5.
        let tilted = orientation("1\\0\\0\\0\\0.9483237\\-0.3173047");
        assert!((tilted.tilt_deg() - 18.5).abs() < 0.001);
        assert!(tilted.roll_deg().abs() < 1e-9);
        assert!(tilted.is_axial());
        // 7.38 mm of table are 7 mm between slices.
        assert!((tilted.along_normal([0.0, 0.0, 7.38]) - 7.0).abs() < 0.002);
    }

    #[test]
    fn the_normal_points_to_the_head_also_for_a_prone_patient() {
        let flipped = orientation("1\\0\\0\\0\\-1\\0");
        assert_eq!(flipped.normal, [0.0, 0.0, 1.0]);
        assert!(flipped.is_axial());
    }

    #[test]
    fn coronal_and_sagittal_slices_are_not_axial() {
        assert!(!orientation("1\\0\\0\\0\\0\\-1").is_axial());
        assert!(!orientation("0\\1\\0\\0\\0\\-1").is_axial());
    }
}
