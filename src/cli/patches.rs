//! `hemapatch patches`: the paper's grid pictures and patch files of a series (P7).

use super::progress::Progress;
use super::say;
use crate::error::{Error, Exit};
use crate::limits::Limits;
use crate::output::grid;
use crate::patch::{Grid, PatchSize};
use crate::prep::{Bone, Centering, Preparation, Scratch};
use crate::series::{self, Assembly, Study};
use crate::stream::SliceStream;
use crate::study::RefusalCode;
use crate::window::Window;
use ndarray::Array2;
use std::path::PathBuf;

/// Cut slices into patch pictures: split_pic/xxxx_x0_y0.png, and xxxx_grid.png with the grid drawn
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Files, folders, ZIP archives with one head CT series
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The folder to write into; made where it is missing
    #[arg(short, long = "output", value_name = "DIR")]
    output: PathBuf,
    /// Side of a patch in pixels: 8, 16 or 32
    #[arg(long, default_value = "16", value_parser = patch_size)]
    size: PatchSize,
    /// Hounsfield window
    #[arg(long, value_name = "A,B", default_value = "0,80", value_parser = super::triage::window, allow_hyphen_values = true)]
    window: Window,
    /// What precedes each slice's number in the file names, such as a pseudonym of the patient
    #[arg(long, default_value = "")]
    prefix: String,
    /// Leave table, head holder and tubes in the picture
    #[arg(long)]
    keep_noise: bool,
    /// Remove bone
    #[arg(long)]
    remove_bone: bool,
    /// How the head is moved
    #[arg(long, value_enum, default_value_t = Center::Shift)]
    center: Center,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Center {
    /// Not at all
    Off,
    /// To the middle
    Shift,
    /// To the middle and upright
    Upright,
}

pub(super) fn not_one_study(assembly: &Assembly) -> Error {
    if assembly.studies.len() > 1 {
        return Error::SeveralStudies { count: assembly.studies.len() };
    }
    let code = match (assembly.unread.first(), assembly.fruitless.first()) {
        (Some(unread), _) => (&unread.error).into(),
        (None, Some(path)) => (&path.reason).into(),
        (None, None) => RefusalCode::NoCtSeries,
    };
    let unread = assembly.unread.iter().map(ToString::to_string);
    let mut places = unread.chain(assembly.fruitless.iter().map(ToString::to_string));
    let first = places.next().map(|place| format!("; {place}")).unwrap_or_default();
    Error::Refused { code, detail: format!("no study found{first}") }
}

/// What came out.
#[derive(Default)]
struct Cut {
    slices: u32,
    patches: u32,
    unreadable: u32,
}

fn patch_size(text: &str) -> Result<PatchSize, String> {
    let size: u16 = text.parse().map_err(|e| format!("{e}"))?;
    PatchSize::try_from(size).map_err(|e| e.to_string())
}

impl Arguments {
    pub fn run(self) -> Result<Exit, Error> {
        let limits = Limits::default();
        let assembly = series::assemble(series::find(&self.paths, &limits), &limits);
        let [study] = assembly.studies.as_slice() else {
            return Err(not_one_study(&assembly));
        };
        for unread in assembly.unread.iter().chain(&study.unread) {
            eprintln!("hemapatch: {unread}");
        }
        let Cut { slices, patches, unreadable } = self.cut(study, &limits)?;
        say(&format!("{slices} slices, {patches} patches in {}", self.output.display()))?;
        Ok(match (slices, unreadable) {
            (_, 0) => Exit::Done,
            (0, _) => Exit::Input,
            _ => Exit::Partial,
        })
    }

    /// Writes all pictures.
    fn cut(&self, study: &Study, limits: &Limits) -> Result<Cut, Error> {
        let choice = series::choose(study, 1)
            .map_err(|none| Error::Refused { code: (&none).into(), detail: none.to_string() })?;
        let series = choice.series;
        let (rows, columns) = (series.rows as usize, series.columns as usize);
        let grid = Grid::over(rows, columns, self.size);
        let steps = self.steps();
        let (mut hu, mut scratch) = (Vec::new(), Scratch::default());
        let mut gray = Array2::zeros((rows, columns));
        let mut progress = Progress::new("slices");
        progress.length(series.slices.len() as u64);
        let mut stream = SliceStream::new(series, limits);
        let (mut cut, mut number) = (Cut::default(), 0);
        while let Some(slice) = stream.next_into(&mut hu) {
            number += 1;
            match slice {
                Ok(_) => {
                    self.window.apply(&hu, gray.as_slice_mut().expect("planes are in standard layout"));
                    steps.prepare(&mut gray, &mut scratch);
                    let stem = format!("{}{number:04}", self.prefix);
                    cut.patches +=
                        grid::save(&self.output, &stem, gray.view(), grid, &vec![None; grid.patches()])?;
                    cut.slices += 1;
                }
                Err(error) => {
                    eprintln!("hemapatch: {error}");
                    cut.unreadable += 1;
                }
            }
            progress.at(number);
        }
        Ok(cut)
    }

    fn steps(&self) -> Preparation {
        Preparation {
            denoise: !self.keep_noise,
            bone: if self.remove_bone { Bone::Remove } else { Bone::Keep },
            center: match self.center {
                Center::Off => Centering::Off,
                Center::Shift => Centering::Shift,
                Center::Upright => Centering::Upright,
            },
        }
    }
}
