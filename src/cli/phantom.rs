//! `hemapatch phantom`: a synthetic head CT series as DICOM.

use super::progress::Progress;
use super::say;
use crate::error::{Error, Exit};
use crate::phantom::{self, Hematoma, Marker, Side, Site, Spec};
use std::path::PathBuf;

/// Write a synthetic head CT series as DICOM, with or without a hematoma
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The folder to write into; made where it is missing
    #[arg(short, long = "output", value_name = "DIR")]
    output: PathBuf,
    /// Chooses the person, the noise and all UIDs; the same seed gives the same files everywhere
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of slices
    #[arg(long, default_value_t = Spec::default().slices)]
    slices: u16,
    /// Distance of slices, mm
    #[arg(long, default_value_t = Spec::default().spacing_mm)]
    spacing_mm: f64,
    /// Rows, and as many columns
    #[arg(long, default_value_t = Spec::default().rows_columns)]
    pixels: u16,
    /// Distance of pixels, mm
    #[arg(long, default_value_t = Spec::default().pixel_mm)]
    pixel_mm: f64,
    /// Gantry tilt, degrees
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    tilt: f64,
    /// Shift of the head in the picture, mm: to the right, down
    #[arg(long, value_names = ["X", "Y"], num_args = 2, default_values_t = [0.0, 0.0], allow_negative_numbers = true)]
    off_center: Vec<f64>,
    /// Turn of the head in the picture, degrees clockwise
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    rotation: f64,
    /// Standard deviation of the noise, HU
    #[arg(long, default_value_t = Spec::default().noise_hu)]
    noise_hu: f64,
    /// Site of the hematoma; without one the head has none
    #[arg(long, value_enum)]
    site: Option<SiteName>,
    /// Side of the hematoma
    #[arg(long, value_enum, default_value_t = SideName::Left, requires = "site")]
    side: SideName,
    /// Volume of the hematoma, mL
    #[arg(long, default_value_t = 20.0, requires = "site")]
    volume_ml: f64,
    /// A marker of growth that the hematoma shows; may be given several times
    #[arg(long = "marker", value_enum, requires = "site")]
    markers: Vec<MarkerName>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum SiteName {
    Putamen,
    Thalamus,
    Cerebellum,
    Pons,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum SideName {
    Left,
    Right,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum MarkerName {
    Hypodensity,
    IrregularMargin,
    BlendSign,
    FluidLevel,
}

impl Arguments {
    pub fn run(self) -> Result<Exit, Error> {
        let spec = self.spec();
        let mut progress = Progress::new("slices");
        progress.length(spec.slices.into());
        let written = phantom::write_series(&spec, &self.output, &mut |done, _| progress.at(done.into()))?;
        drop(progress);
        say(&format!(
            "{} slices in {}, hematoma {:.1} mL (synthetic, research use only)",
            written.files.len(),
            self.output.display(),
            written.hematoma_volume_ml
        ))?;
        Ok(Exit::Done)
    }

    fn spec(&self) -> Spec {
        let hematoma = self.site.map(|site| Hematoma {
            site: match site {
                SiteName::Putamen => Site::Putamen,
                SiteName::Thalamus => Site::Thalamus,
                SiteName::Cerebellum => Site::Cerebellum,
                SiteName::Pons => Site::Pons,
            },
            side: match self.side {
                SideName::Left => Side::Left,
                SideName::Right => Side::Right,
            },
            volume_ml: self.volume_ml,
            markers: self.markers.iter().map(|marker| marker.marker()).collect(),
        });
        Spec {
            seed: self.seed,
            slices: self.slices,
            spacing_mm: self.spacing_mm,
            rows_columns: self.pixels,
            pixel_mm: self.pixel_mm,
            tilt_deg: self.tilt,
            off_center_mm: [self.off_center[0], self.off_center[1]],
            rotation_deg: self.rotation,
            noise_hu: self.noise_hu,
            hematoma,
            ..Spec::default()
        }
    }
}

impl MarkerName {
    fn marker(self) -> Marker {
        match self {
            Self::Hypodensity => Marker::Hypodensity,
            Self::IrregularMargin => Marker::IrregularMargin,
            Self::BlendSign => Marker::BlendSign,
            Self::FluidLevel => Marker::FluidLevel,
        }
    }
}
