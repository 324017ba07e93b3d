//! `hemapatch inspect`: what DICOM objects are, and whether their pixels can be read.

use super::say;
use crate::dicom::text::printable;
use crate::dicom::{self, Object, Oddities, Patient, SliceHeader};
use crate::error::{Error, Exit};
use crate::limits::Limits;
use crate::series::{self, Chain, Source, SourceError};
use crate::stream;
use serde::Serialize;
use std::path::PathBuf;

/// Show what DICOM objects are, and whether their pixels can be read
///
/// Every frame is decoded. Nothing that names the patient is read unless --patient asks for it.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Files, folders, ZIP archives
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print one line of JSON for each object
    #[arg(long)]
    json: bool,
    /// Show name, number and birth date of the patient, and the free texts: for a screen, not for a log
    #[arg(long, conflicts_with = "json")]
    patient: bool,
}

/// What is told of an object. Holds nothing that names a patient.
#[derive(Serialize)]
struct Told {
    schema: &'static str,
    file: String,
    /// What follows is absent where the object cannot be read.
    #[serde(flatten)]
    object: Option<Facts>,
    /// Why it, or one of its frames, cannot be read.
    error: Option<String>,
    intended_use: &'static str,
}

#[derive(Serialize)]
struct Facts {
    sop_uid: String,
    sop_class: String,
    modality: String,
    series_uid: String,
    transfer_syntax: String,
    rows: u32,
    columns: u32,
    frames: usize,
    bits_stored: u16,
    signed: bool,
    /// Lowest and highest of all frames, but for padding. None where no pixel was measured.
    hu: Option<[i16; 2]>,
    /// What is unusual about how the file is written.
    oddities: Vec<&'static str>,
}

impl Arguments {
    pub fn run(self) -> Result<Exit, Error> {
        let limits = Limits::default();
        let found = series::find(&self.paths, &limits);
        let mut failed = false;
        for source in &found.sources {
            let told = tell(source, &limits);
            failed |= told.error.is_some();
            if self.json {
                say(&serde_json::to_string(&told).unwrap_or_default())?;
                continue;
            }
            say(&told.to_text())?;
            if self.patient {
                say(&patient(source, &limits))?;
            }
        }
        for unread in &found.unread {
            failed = true;
            let told = Told::failed(unread.place.clone(), Chain(&unread.error).to_string());
            say(&if self.json { serde_json::to_string(&told).unwrap_or_default() } else { told.to_text() })?;
        }
        Ok(match (failed, found.sources.is_empty()) {
            (true, _) => Exit::Input,
            (false, true) => Exit::NoCtSeries,
            (false, false) => Exit::Done,
        })
    }
}

impl Told {
    fn failed(file: String, error: String) -> Told {
        Told { object: None, error: Some(error), ..Told::blank(file) }
    }

    fn blank(file: String) -> Told {
        Told {
            schema: "hemapatch.inspect/1",
            file,
            object: None,
            error: None,
            intended_use: "research use only",
        }
    }

    fn to_text(&self) -> String {
        let mut lines = vec![self.file.clone()];
        if let Some(facts) = &self.object {
            let class = dicom::sop_class_name(&facts.sop_class);
            let syntax = dicom::transfer_syntax_name(&facts.transfer_syntax);
            let sign = if facts.signed { "signed" } else { "unsigned" };
            let frames = if facts.frames == 1 { String::new() } else { format!(", {} frames", facts.frames) };
            lines.push(format!("{class}, {}", facts.modality));
            lines.push(format!("{syntax} ({})", facts.transfer_syntax));
            lines.push(format!(
                "{} x {}, {} bits {sign}{frames}",
                facts.rows, facts.columns, facts.bits_stored
            ));
            if let Some([lowest, highest]) = facts.hu {
                lines.push(format!("rescaled {lowest} to {highest}"));
            }
            if !facts.oddities.is_empty() {
                lines.push(format!("unusual: {}", facts.oddities.join(", ")));
            }
        }
        lines.push(
            self.error.as_ref().map_or("readable".to_owned(), |error| format!("not readable: {error}")),
        );
        lines.join("\n    ")
    }
}

fn tell(source: &Source, limits: &Limits) -> Told {
    let place = source.to_string();
    let read = source.read(limits).and_then(|bytes| Ok((Object::read(&bytes, limits)?, bytes)));
    let (object, bytes) = match read {
        Ok(read) => read,
        Err(error) => return Told::failed(place, Chain(&error).to_string()),
    };
    let mut range = None;
    let mut hu = Vec::new();
    let mut error = None;
    for (frame, header) in object.slices.iter().enumerate() {
        let stored = object.stored_values(&bytes, frame, limits).map_err(SourceError::from);
        let rescaled = stored
            .map_err(|error| Chain(&error).to_string())
            .and_then(|stored| stream::rescale(header, &stored, &mut hu).map_err(|error| error.to_string()));
        match rescaled {
            Ok(()) => range = widen(range, &hu),
            Err(reason) => {
                error = Some(reason);
                break;
            }
        }
    }
    // At least one slice: `Object` says so.
    let object = object.slices.first().map(|header| Facts::of(header, object.slices.len(), range));
    Told { object, error, ..Told::blank(place) }
}

fn widen(range: Option<[i16; 2]>, hu: &[i16]) -> Option<[i16; 2]> {
    let measured =
        || hu.iter().copied().filter(|&hu| hu != crate::hu::PADDING).chain(range.into_iter().flatten());
    Some([measured().min()?, measured().max()?])
}

impl Facts {
    fn of(header: &SliceHeader, frames: usize, hu: Option<[i16; 2]>) -> Facts {
        Facts {
            sop_uid: header.sop_instance_uid.clone(),
            sop_class: header.sop_class_uid.clone(),
            // A value that is printed, and the only one here that may be any text.
            modality: printable(&header.modality),
            series_uid: header.series_uid.clone(),
            transfer_syntax: header.transfer_syntax.clone(),
            rows: header.rows,
            columns: header.columns,
            frames,
            bits_stored: header.bits_stored,
            signed: header.signed,
            hu,
            oddities: named(header),
        }
    }
}

fn named(header: &SliceHeader) -> Vec<&'static str> {
    let Oddities { preamble_missing, file_meta, other_encoding, surplus_bytes, unfinished, frames_missing } =
        header.oddities;
    let odd = [
        (preamble_missing, "preamble_missing"),
        (file_meta, "file_meta_missing"),
        (other_encoding, "encoding_mismatch"),
        (surplus_bytes, "surplus_pixel_data"),
        (unfinished, "unfinished_file"),
        (frames_missing > 0, "frames_missing"),
        (header.rescale_missing, "rescale_missing"),
        (header.lossy, "lossy_compression"),
        (header.monochrome1, "monochrome1"),
    ];
    odd.into_iter().filter(|(is_odd, _)| *is_odd).map(|(_, name)| name).collect()
}

fn patient(source: &Source, limits: &Limits) -> String {
    let patient = match source.read(limits).and_then(|bytes| Ok(Patient::read(&bytes, limits)?)) {
        Ok(patient) => patient,
        Err(error) => return format!("    patient: {}", Chain(&error)),
    };
    let lines = [
        ("name", patient.name),
        ("number", patient.id),
        ("born", patient.birth_date),
        ("sex", patient.sex),
        ("study", patient.study_date),
        ("study description", patient.study_description),
        ("series description", patient.series_description),
    ];
    let told = lines.into_iter().filter_map(|(what, value)| Some(format!("    {what}: {}", value?)));
    told.collect::<Vec<_>>().join("\n")
}
