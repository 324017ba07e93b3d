//! What a phantom is asked to be: a head, a scan of it, perhaps a hematoma; and what it cannot be.

use serde::{Deserialize, Serialize};

/// What to render: a head, a scan of it, and perhaps a hematoma.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Chooses the person, the noise and all UIDs.
    pub seed: u64,
    /// Number of slices, foot to head, around the level of the thalami.
    pub slices: u16,
    /// Distance between neighbouring slice planes along their normal; also the slice thickness.
    pub spacing_mm: f64,
    /// Rows, and as many columns.
    pub rows_columns: u16,
    /// Distance between pixel centers.
    pub pixel_mm: f64,
    /// Gantry tilt about the left-right axis; positive moves the back of the picture footward.
    pub tilt_deg: f64,
    /// Shift of the head in the picture: toward higher columns, toward higher rows.
    pub off_center_mm: [f64; 2],
    /// Turn of the head in the picture, clockwise.
    pub rotation_deg: f64,
    /// The hematoma, if any.
    pub hematoma: Option<Hematoma>,
    /// Standard deviation of the noise in the middle of the head.
    pub noise_hu: f64,
    /// Standard deviation of the in-plane point spread: small is sharp.
    pub kernel_mm: f64,
}

impl Default for Spec {
    /// A head without hematoma: 28 slices of 5 mm, 512 x 512 pixels of 0.45 mm, a soft-tissue kernel.
    fn default() -> Self {
        Self {
            seed: 1,
            slices: 28,
            spacing_mm: 5.0,
            rows_columns: 512,
            pixel_mm: 0.45,
            tilt_deg: 0.0,
            off_center_mm: [0.0; 2],
            rotation_deg: 0.0,
            hematoma: None,
            noise_hu: 3.5,
            kernel_mm: 0.55,
        }
    }
}

/// An intracerebral hematoma.
#[derive(Clone, Debug, PartialEq)]
pub struct Hematoma {
    /// Where in the brain.
    pub site: Site,
    /// On which side (of the pons: toward which side).
    pub side: Side,
    /// Its volume.
    pub volume_ml: f64,
    /// Signs of coming growth that it shows.
    pub markers: Vec<Marker>,
}

/// The sites of the paper (P17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// Lateral basal ganglia, the commonest.
    Putamen,
    /// Beside the third ventricle.
    Thalamus,
    /// Below the tentorium, behind.
    Cerebellum,
    /// In the brainstem.
    Pons,
}

impl Site {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Putamen, Self::Thalamus, Self::Cerebellum, Self::Pons];

    /// Its name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Putamen => "putamen",
            Self::Thalamus => "thalamus",
            Self::Cerebellum => "cerebellum",
            Self::Pons => "pons",
        }
    }

    /// The largest volume that the phantom's brain has room for there.
    pub const fn max_volume_ml(self) -> f64 {
        match self {
            Self::Putamen => 80.0,
            Self::Thalamus => 30.0,
            Self::Cerebellum => 30.0,
            Self::Pons => 12.0,
        }
    }
}

/// The patient's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Higher columns in an unturned picture.
    Left,
    /// Lower columns in an unturned picture.
    Right,
}

impl Side {
    /// Its name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }
}

/// The markers of hematoma growth.
///
/// # Source
/// Boulouis et al. 2016 by way of the paper (P16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Marker {
    /// A dark island inside, without connection to the outside.
    Hypodensity,
    /// A lobulated outline.
    IrregularMargin,
    /// Two densities side by side with a sharp border, at least 18 HU apart.
    BlendSign,
    /// A level border, dark above dense.
    FluidLevel,
}

impl Marker {
    /// All of them, in the paper's order A to D.
    pub const ALL: [Self; 4] = [Self::Hypodensity, Self::IrregularMargin, Self::BlendSign, Self::FluidLevel];

    /// Its name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hypodensity => "hypodensity",
            Self::IrregularMargin => "irregular margin",
            Self::BlendSign => "blend sign",
            Self::FluidLevel => "fluid level",
        }
    }
}

/// Smallest volume of a hematoma.
const MIN_VOLUME_ML: f64 = 0.2;

impl Spec {
    /// README's demonstration: a putaminal hematoma of 28 mL on the left.
    pub fn demo(seed: u64) -> Self {
        Self {
            seed,
            hematoma: Some(Hematoma {
                site: Site::Putamen,
                side: Side::Left,
                volume_ml: 28.0,
                markers: vec![Marker::IrregularMargin],
            }),
            ..Self::default()
        }
    }

    /// Checks every number against what can be rendered.
    ///
    /// # Errors
    /// [`SpecError`] names the first parameter that is out of range or contradicts another.
    pub fn validate(&self) -> Result<(), SpecError> {
        within("slices", f64::from(self.slices), 1.0, 2000.0)?;
        within("spacing_mm", self.spacing_mm, 0.2, 20.0)?;
        within("rows_columns", f64::from(self.rows_columns), 16.0, 2048.0)?;
        within("pixel_mm", self.pixel_mm, 0.1, 16.0)?;
        within("tilt_deg", self.tilt_deg, -30.0, 30.0)?;
        within("off_center_mm x", self.off_center_mm[0], -80.0, 80.0)?;
        within("off_center_mm y", self.off_center_mm[1], -80.0, 80.0)?;
        within("rotation_deg", self.rotation_deg, -45.0, 45.0)?;
        within("noise_hu", self.noise_hu, 0.0, 60.0)?;
        within("kernel_mm", self.kernel_mm, 0.2, 3.0)?;
        let Some(hematoma) = &self.hematoma else {
            return Ok(());
        };
        let most = hematoma.site.max_volume_ml();
        within("volume_ml", hematoma.volume_ml, MIN_VOLUME_ML, most)?;
        let has = |marker| hematoma.markers.contains(&marker);
        if has(Marker::BlendSign) && has(Marker::FluidLevel) {
            return Err(SpecError::Contradiction { first: "blend sign", second: "fluid level" });
        }
        Ok(())
    }
}

fn within(parameter: &'static str, got: f64, least: f64, most: f64) -> Result<(), SpecError> {
    if got >= least && got <= most {
        Ok(())
    } else {
        Err(SpecError::OutOfRange { parameter, got, least, most })
    }
}

/// Why a [`Spec`] cannot be rendered: the caller's fault.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// A number outside of its range, or not a number.
    #[error("{parameter} is {got}, must be {least} to {most}")]
    OutOfRange {
        /// Which one.
        parameter: &'static str,
        /// Its value.
        got: f64,
        /// Smallest that can be rendered.
        least: f64,
        /// Largest that can be rendered.
        most: f64,
    },
    /// Two markers that divide the hematoma in two different ways.
    #[error("{first} and {second} exclude each other")]
    Contradiction {
        /// One of them.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(site: Site, volume_ml: f64, markers: Vec<Marker>) -> Spec {
        Spec { hematoma: Some(Hematoma { site, side: Side::Right, volume_ml, markers }), ..Spec::default() }
    }

    #[test]
    fn the_default_and_the_demonstration_are_valid() {
        assert_eq!(Spec::default().validate(), Ok(()));
        assert_eq!(Spec::demo(7).validate(), Ok(()));
    }

    #[test]
    fn refuses_what_it_cannot_render() {
        let bad = |spec: Spec| spec.validate().expect_err("refused");
        for (parameter, spec) in [
            ("slices", Spec { slices: 0, ..Spec::default() }),
            ("tilt_deg", Spec { tilt_deg: f64::NAN, ..Spec::default() }),
            ("pixel_mm", Spec { pixel_mm: 0.0, ..Spec::default() }),
            ("noise_hu", Spec { noise_hu: -1.0, ..Spec::default() }),
            ("volume_ml", with(Site::Pons, 50.0, vec![])),
        ] {
            let SpecError::OutOfRange { parameter: got, .. } = bad(spec) else {
                panic!("{parameter} accepted");
            };
            assert_eq!(got, parameter);
        }
        let both = with(Site::Putamen, 9.0, vec![Marker::BlendSign, Marker::FluidLevel]);
        assert!(matches!(bad(both), SpecError::Contradiction { .. }));
    }
}
