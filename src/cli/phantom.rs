//! `hemapatch phantom`: a synthetic head CT series as DICOM.

use super::progress::Progress;
use super::say;
use crate::error::{Error, Exit};
use crate::phantom::{self, Hematoma, Marker, Side, Site, Spec, Trap};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
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
    /// Number of slices [default: 28; 12 of most traps]
    #[arg(long)]
    slices: Option<u16>,
    /// Distance of slices, mm [default: 5]
    #[arg(long)]
    spacing_mm: Option<f64>,
    /// Rows, and as many columns [default: 512; 256 of most traps]
    #[arg(long)]
    pixels: Option<u16>,
    /// Distance of pixels, mm [default: 0.45; 0.9 of most traps]
    #[arg(long)]
    pixel_mm: Option<f64>,
    /// Gantry tilt, degrees [default: 0]
    #[arg(long, allow_negative_numbers = true)]
    tilt: Option<f64>,
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
    /// Something that goes wrong in practice, in a study that is small otherwise; docs/series-traps.md says what
    /// becomes of each
    #[arg(long, value_name = "NAME", value_parser = traps())]
    trap: Option<Trap>,
}

/// The names of all traps, with what they are, for `--help`.
fn traps() -> impl TypedValueParser<Value = Trap> {
    let names = Trap::ALL.iter().map(|trap| PossibleValue::new(trap.as_str()).help(trap.says()));
    PossibleValuesParser::new(names).map(|name| Trap::of(&name).expect("one of the names"))
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
        let mut step = |done: u16, all: u16| {
            progress.length(all.into());
            progress.at(done.into());
        };
        let written = match self.trap {
            Some(trap) => phantom::write_trap(trap, &spec, &self.output, &mut step)?,
            None => phantom::write_series(&spec, &self.output, &mut step)?,
        };
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
        let usual = self.trap.map_or_else(Spec::default, Trap::spec);
        Spec {
            seed: self.seed,
            slices: self.slices.unwrap_or(usual.slices),
            spacing_mm: self.spacing_mm.unwrap_or(usual.spacing_mm),
            rows_columns: self.pixels.unwrap_or(usual.rows_columns),
            pixel_mm: self.pixel_mm.unwrap_or(usual.pixel_mm),
            tilt_deg: self.tilt.unwrap_or(usual.tilt_deg),
            off_center_mm: [self.off_center[0], self.off_center[1]],
            rotation_deg: self.rotation,
            noise_hu: self.noise_hu,
            hematoma,
            ..usual
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
