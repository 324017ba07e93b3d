//! A study's report in the forms that people and programs read: JSON, pictures, a terminal page.
//! What the report says is decided in `study`; nothing here changes a verdict.

pub mod chart;
pub mod dicom;
pub mod files;
pub mod grid;
pub mod json;
pub mod montage;
pub mod summary;

mod canvas;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::study::Report;
use image::{ImageEncoder as _, RgbImage};

use crate::study::Trace;

/// Stands in every picture and on every page that leaves the program.
pub const RESEARCH_USE: &str = "RESEARCH USE ONLY - not a medical device";

/// How the names of files begin that are being written.
const UNFINISHED: &str = ".hemapatch-";

/// Writes a file so that a reader sees the old contents or the new ones, never a part.
///
/// The bytes go to a temporary file in the same folder, which then takes the name.
/// A missing folder is made.
///
/// # Errors
/// [`OutputError::NotWritable`], which names the file that was to be written.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<(), OutputError> {
    let not_writable = |source| OutputError::NotWritable { path: path.to_path_buf(), source };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(not_writable)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    // Temporary files are private by default; a report is as readable as any file of its user.
    #[cfg(unix)]
    let builder = builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(not_writable)?;
    file.write_all(contents).map_err(not_writable)?;
    file.as_file().sync_all().map_err(not_writable)?;
    file.persist(path).map_err(|refused| not_writable(refused.error))?;
    Ok(())
}

/// Writes a picture as PNG, as [`write_atomically`] does.
///
/// # Errors
/// [`OutputError::NotWritable`] or [`OutputError::Png`], which name the file.
pub fn write_png(path: &Path, picture: &RgbImage) -> Result<(), OutputError> {
    let encoded = encode_png(path, picture.as_raw(), picture.dimensions(), image::ExtendedColorType::Rgb8)?;
    write_atomically(path, &encoded)
}

/// A picture as PNG; `path`, where it will stand, is for the error alone.
fn encode_png(
    path: &Path,
    samples: &[u8],
    (columns, rows): (u32, u32),
    colour: image::ExtendedColorType,
) -> Result<Vec<u8>, OutputError> {
    let mut encoded = Vec::new();
    image::codecs::png::PngEncoder::new(&mut encoded)
        .write_image(samples, columns, rows, colour)
        .map_err(|source| OutputError::Png { path: path.to_path_buf(), source })?;
    Ok(encoded)
}

/// Text of a DICOM header or file name, safe to print: control characters, which could steer a
/// terminal, become `?`.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Which model judged, with the first digits of its hash: enough to tell models apart on a page.
/// `None` where the study was refused before a model was chosen.
fn model_line(trace: &Trace) -> Option<String> {
    if trace.model.is_empty() {
        return None;
    }
    let hash = trace.model_sha256.chars().take(12).collect::<String>();
    let [low, high] = trace.window_hu;
    Some(printable(&format!(
        "model {} {} (sha256 {hash}), window {low} to {high} HU",
        trace.model, trace.model_version
    )))
}

/// The hematoma's volume in words.
fn volume(report: &Report) -> String {
    report.hematoma_volume_ml.map_or_else(|| "volume unknown".to_owned(), |ml| format!("{ml:.1} mL"))
}

/// Why a result could not be handed out.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The file system refused (exit code 7).
    #[error("cannot write {}: {source}", path.display())]
    NotWritable {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A picture could not be encoded, such as one without pixels.
    #[error("cannot encode {}: {source}", path.display())]
    Png {
        /// The file that was to be written.
        path: PathBuf,
        /// What the encoder said.
        source: image::ImageError,
    },
    /// The slice's name cannot be part of a file name.
    #[error(transparent)]
    FileName(#[from] crate::label::FileNameError),
    /// A DICOM object could not be made.
    #[error("cannot make DICOM objects of study {study_uid}: {reason}")]
    Object {
        /// The study.
        study_uid: String,
        /// Why.
        reason: String,
    },
    /// A number of the report is infinite or not a number: our own mistake, never written out.
    #[error("{field} of the report is {value}, which JSON cannot hold")]
    NotFinite {
        /// Name of the field in JSON.
        field: &'static str,
        /// The number.
        value: f64,
    },
}

#[cfg(test)]
mod sample;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_whole_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("new").join("report.json");
        write_atomically(&path, b"old and long").expect("writable");
        write_atomically(&path, b"new").expect("writable");
        assert_eq!(std::fs::read(&path).expect("written"), b"new");
        let names = std::fs::read_dir(path.parent().expect("a folder")).expect("readable").count();
        assert_eq!(names, 1);
    }

    #[test]
    fn names_the_file_that_cannot_be_written() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let in_the_way = folder.path().join("out");
        std::fs::write(&in_the_way, "a file, not a folder").expect("writable");
        let refused = write_atomically(&in_the_way.join("report.json"), b"{}");
        let message = refused.expect_err("no folder").to_string();
        assert!(message.contains("report.json"), "{message}");
    }
}
