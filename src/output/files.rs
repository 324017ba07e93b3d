//! A report's folder: the report as JSON, its pictures, its chart, and all of it as DICOM objects if asked for.

use std::io::ErrorKind;
use std::path::Path;

use super::dicom::{self, Findings};
use super::montage::Montage;
use super::{OutputError, UNFINISHED, chart, json, write_atomically, write_png};
use crate::limits::Limits;
use crate::patch::Grid;
use crate::series::Series;
use crate::study::{JudgedSlice, Observer, Report};

const REPORT: &str = "report.json";
const MONTAGE: &str = "montage.png";
const CHART: &str = "chart.svg";
const OBJECTS: &str = "dicom";

/// The pictures of a judged study.
pub struct Pictures<'a> {
    /// Its slices.
    pub montage: &'a Montage,
    /// Lines for the montage's header.
    pub facts: Vec<String>,
    /// What DICOM objects are made of; None where none are asked for.
    pub findings: Option<&'a Findings>,
}

/// Draws a study while it is judged.
#[derive(Default)]
pub struct Drawing {
    montage: Option<Montage>,
    slices: usize,
    spacing_mm: Option<f64>,
    /// Limits for reading a slice again; None where no DICOM objects are asked for.
    limits: Option<Limits>,
    findings: Option<Findings>,
}

impl Drawing {
    /// A drawing that also notes what DICOM objects are made of.
    pub fn with_objects(limits: &Limits) -> Drawing {
        Drawing { limits: Some(limits.clone()), ..Drawing::default() }
    }

    /// What was drawn; None where nothing was judged.
    pub fn pictures(&self) -> Option<Pictures<'_>> {
        // No free text of the DICOM header: it may name the patient.
        let spacing = self.spacing_mm.map(|mm| format!(", {mm:.1} mm apart")).unwrap_or_default();
        let facts = vec![format!("{} slices{spacing}, foot to head", self.slices)];
        let findings = self.findings.as_ref();
        self.montage.as_ref().map(|montage| Pictures { montage, facts, findings })
    }
}

impl Observer for Drawing {
    fn begin(&mut self, series: &Series, grid: Grid) {
        (self.slices, self.spacing_mm) = (series.slices.len(), series.spacing_mm);
        self.montage = Some(Montage::new(series.slices.len(), grid));
        self.findings = self.limits.as_ref().map(|limits| Findings::new(series, grid, limits));
    }

    fn slice(&mut self, slice: JudgedSlice<'_>) {
        if let Some(montage) = &mut self.montage {
            montage.add(slice.index, slice.gray, slice.classes);
        }
        if let Some(findings) = &mut self.findings {
            findings.add(slice);
        }
    }
}

/// Writes a report and its pictures into a folder, which is made where it is missing. Pictures of an earlier report are
/// removed where this one has none. Where no DICOM objects can be made, the rest is written all the same.
///
/// # Errors
/// [`OutputError`], which names the file; [`OutputError::Object`], when all else is there.
pub fn write(folder: &Path, report: &Report, pictures: Option<Pictures<'_>>) -> Result<(), OutputError> {
    // The pictures first: whoever sees the report finds them there, and never those of an earlier run.
    let objects = match &pictures {
        Some(Pictures { montage, facts, findings: Some(findings) }) => {
            dicom::objects(report, findings, montage, facts)
        }
        _ => Ok(Vec::new()),
    };
    write_objects(&folder.join(OBJECTS), objects.as_deref().unwrap_or_default())?;
    if let Some(Pictures { montage, facts, .. }) = pictures {
        write_png(&folder.join(MONTAGE), &montage.draw(report, &facts))?;
        let threshold = report.trace.thresholds.get("slice_probability").copied();
        write_atomically(&folder.join(CHART), chart::svg(report, threshold).as_bytes())?;
    } else {
        remove_old(&folder.join(MONTAGE))?;
        remove_old(&folder.join(CHART))?;
    }
    let line = json::line(report)?;
    write_atomically(&folder.join(REPORT), format!("{line}\n").as_bytes())?;
    let study_uid = &report.study_uid;
    objects.map(drop).map_err(|reason| OutputError::Object { study_uid: study_uid.clone(), reason })
}

/// Removes what a process that was killed while it wrote into a folder left there. Nobody else may be writing into it.
///
/// # Errors
/// [`OutputError::NotWritable`], which names the file.
pub fn clear_unfinished(folder: &Path) -> Result<(), OutputError> {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            remove_old(&entry.path())?;
        }
    }
    Ok(())
}

/// Those of an earlier report are removed.
fn write_objects(folder: &Path, objects: &[dicom::ResultObject]) -> Result<(), OutputError> {
    for object in objects {
        write_atomically(&folder.join(&object.name), &object.bytes)?;
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if !objects.iter().any(|object| entry.file_name() == *object.name) {
            remove_old(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_old(path: &Path) -> Result<(), OutputError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound && source.kind() != ErrorKind::NotADirectory => {
            Err(OutputError::NotWritable { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
