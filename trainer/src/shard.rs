//! A shard: a data set after preparation, as two files of planes and a list of their slices.
//!
//! `gray.bin` holds the prepared slices, `classes.bin` the certain class of each pixel, both
//! `[slices, rows, columns]` bytes; `shard.json` says whose they are. Slices are read one by one
//! (the system's page cache keeps them), so a shard may be larger than memory.

use hemapatch::phantom::Marker;
use hemapatch::prep::Preparation;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Version of the format and of the label rule: a shard of another one is not read.
pub const SCHEMA: &str = "hemapatch-train.shard/2";

const INDEX: &str = "shard.json";
const GRAY: &str = "gray.bin";
const CLASSES: &str = "classes.bin";

/// Which kind of data set a shard was made of. Its words are those that the list has kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// PHE-SICH-CT-IDS: whole series, with boxes.
    #[serde(rename = "PHE-SICH-CT-IDS (Ma et al. 2024, doi:10.6084/m9.figshare.23957937)")]
    PheSich,
    /// Patches with a class each, and nothing around them: no slices, no studies.
    #[serde(rename = "patches labelled with the grid tool")]
    LabelledPatches,
    /// Phantoms: whole series with an exact truth, of nobody.
    #[serde(rename = "phantoms drawn by hemapatch")]
    Phantoms,
}

impl Source {
    /// Whether it has slices and studies to be judged, and not patches alone.
    #[must_use]
    pub const fn has_whole_slices(self) -> bool {
        match self {
            Source::PheSich | Source::Phantoms => true,
            Source::LabelledPatches => false,
        }
    }
}

/// What is known of a slice besides its pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SliceEntry {
    /// The data set's own pseudonym.
    pub patient: String,
    /// The data set's name of the slice.
    pub name: String,
    /// Whether the slice has a lesion box; of a phantom, whether it has a hematoma of
    /// [`crate::phantoms::SMALLEST_ML`] or more.
    pub boxed: bool,
    /// Slices to the patient's nearest boxed one; `None` if there is none.
    pub box_distance: Option<usize>,
    /// Blood in the slice, mL, where that is known: of phantoms.
    pub hematoma_ml: Option<f64>,
    /// The markers of growth that the patient's hematoma shows, where that is known: of phantoms. They
    /// are the patient's, so all of his slices list the same; a slice without hematoma shows none.
    pub markers: Option<Vec<Marker>>,
}

/// The list of a shard's slices: patients together, each foot to head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// [`SCHEMA`].
    pub schema: String,
    /// Where the pixels come from.
    pub source: Source,
    /// How slices were prepared.
    pub preparation: Preparation,
    /// Rows of each plane.
    pub rows: usize,
    /// Columns of each plane.
    pub columns: usize,
    /// In the order of the planes.
    pub slices: Vec<SliceEntry>,
}

impl Index {
    /// The patients' names and their slices' places, in the order of the shard.
    #[must_use]
    pub fn patients(&self) -> Vec<(&str, std::ops::Range<usize>)> {
        let mut start = 0;
        self.slices
            .chunk_by(|a, b| a.patient == b.patient)
            .map(|slices| {
                let places = start..start + slices.len();
                start = places.end;
                (slices[0].patient.as_str(), places)
            })
            .collect()
    }

    fn plane_bytes(&self) -> usize {
        self.rows * self.columns
    }
}

/// What every version of the list says.
#[derive(Deserialize)]
struct Version {
    schema: String,
}

/// Why a shard cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// A file cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The list is damaged or from another version.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A slice is not as large as the shard's first.
    #[error("slice {name} is {found:?} pixels, the slices before it are {expected:?}")]
    SliceSize {
        /// The data set's name of the slice.
        name: String,
        /// Its rows and columns.
        found: (usize, usize),
        /// Those of the shard.
        expected: (usize, usize),
    },
    /// A patient's slices are not together.
    #[error("the slices of patient {0} are not together")]
    Scattered(String),
    /// No slice at all.
    #[error("there are no slices")]
    Empty,
}

/// Writes a shard slice by slice. Without [`ShardWriter::finish`] there is no shard: the list
/// comes last.
pub struct ShardWriter {
    folder: PathBuf,
    gray: BufWriter<File>,
    classes: BufWriter<File>,
    index: Index,
}

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> ShardError {
    move |source| ShardError::Io { path: path.into(), source }
}

impl ShardWriter {
    /// Begins a shard in `folder`, replacing one that is there.
    ///
    /// # Errors
    /// [`ShardError::Io`].
    pub fn create(
        folder: &Path,
        source: Source,
        preparation: Preparation,
    ) -> Result<ShardWriter, ShardError> {
        fs::create_dir_all(folder).map_err(in_file(folder))?;
        let list = folder.join(INDEX);
        if list.exists() {
            // Half a new shard must not be read with an old list.
            fs::remove_file(&list).map_err(in_file(&list))?;
        }
        let create = |name| {
            let path = folder.join(name);
            File::create(&path).map(BufWriter::new).map_err(in_file(&path))
        };
        let index =
            Index { schema: SCHEMA.into(), source, preparation, rows: 0, columns: 0, slices: Vec::new() };
        Ok(ShardWriter { folder: folder.into(), gray: create(GRAY)?, classes: create(CLASSES)?, index })
    }

    /// Adds a slice.
    ///
    /// # Errors
    /// [`ShardError`] if it has another size than the first, its patient was left before, or the
    /// disk is full.
    pub fn push(
        &mut self,
        entry: SliceEntry,
        gray: &Array2<u8>,
        classes: &Array2<u8>,
    ) -> Result<(), ShardError> {
        let index = &mut self.index;
        if index.slices.is_empty() {
            (index.rows, index.columns) = gray.dim();
        }
        let expected = (index.rows, index.columns);
        if gray.dim() != expected || classes.dim() != expected {
            return Err(ShardError::SliceSize { name: entry.name, found: gray.dim(), expected });
        }
        let continues = index.slices.last().is_some_and(|last| last.patient == entry.patient);
        if !continues && index.slices.iter().any(|slice| slice.patient == entry.patient) {
            return Err(ShardError::Scattered(entry.patient));
        }
        for (plane, file, name) in [(gray, &mut self.gray, GRAY), (classes, &mut self.classes, CLASSES)] {
            let path = self.folder.join(name);
            plane
                .rows()
                .into_iter()
                .try_for_each(|row| file.write_all(&row.to_vec()))
                .map_err(in_file(&path))?;
        }
        index.slices.push(entry);
        Ok(())
    }

    /// Writes the list and with it the shard.
    ///
    /// # Errors
    /// [`ShardError`] if there is no slice or the disk is full.
    pub fn finish(self) -> Result<Index, ShardError> {
        let ShardWriter { folder, mut gray, mut classes, index } = self;
        if index.slices.is_empty() {
            return Err(ShardError::Empty);
        }
        gray.flush().map_err(in_file(&folder.join(GRAY)))?;
        classes.flush().map_err(in_file(&folder.join(CLASSES)))?;
        let path = folder.join(INDEX);
        let text = serde_json::to_string_pretty(&index)
            .map_err(|error| ShardError::Format { path: path.clone(), problem: error.to_string() })?;
        fs::write(&path, text).map_err(in_file(&path))?;
        Ok(index)
    }
}

/// A shard, open for reading.
#[derive(Debug)]
pub struct Shard {
    folder: PathBuf,
    gray: File,
    classes: File,
    index: Index,
}

impl Shard {
    /// Opens the shard in `folder` and compares the files' sizes with the list.
    ///
    /// # Errors
    /// [`ShardError`] if a file is missing, damaged or of another version.
    pub fn open(folder: &Path) -> Result<Shard, ShardError> {
        let path = folder.join(INDEX);
        let text = fs::read_to_string(&path).map_err(in_file(&path))?;
        let format = |path: &Path, problem| ShardError::Format { path: path.into(), problem };
        let damaged = |error: serde_json::Error| format(&path, error.to_string());
        // First, since a list of another version need not read as one of this.
        let Version { schema } = serde_json::from_str(&text).map_err(damaged)?;
        if schema != SCHEMA {
            return Err(format(&path, format!("is {schema:?}, expected {SCHEMA:?}: run prepare again")));
        }
        let index: Index = serde_json::from_str(&text).map_err(damaged)?;
        if index.slices.is_empty() {
            return Err(ShardError::Empty);
        }
        let patients = index.patients();
        for (at, (patient, _)) in patients.iter().enumerate() {
            if patients[..at].iter().any(|(before, _)| before == patient) {
                return Err(ShardError::Scattered((*patient).into()));
            }
        }
        let expected = (index.plane_bytes() * index.slices.len()) as u64;
        let open = |name: &str| {
            let path = folder.join(name);
            let file = File::open(&path).map_err(in_file(&path))?;
            let bytes = file.metadata().map_err(in_file(&path))?.len();
            if bytes == expected {
                Ok(file)
            } else {
                Err(format(&path, format!("has {bytes} bytes, its list says {expected}")))
            }
        };
        Ok(Shard { gray: open(GRAY)?, classes: open(CLASSES)?, folder: folder.into(), index })
    }

    /// The list of slices.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The folder it lies in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads a prepared slice.
    ///
    /// # Errors
    /// [`ShardError::Io`].
    pub fn gray(&mut self, slice: usize) -> Result<Array2<u8>, ShardError> {
        read_plane(&mut self.gray, &self.index, slice).map_err(in_file(&self.folder.join(GRAY)))
    }

    /// Reads the pixel classes of a slice, see [`crate::label_rule::pixel_classes`].
    ///
    /// # Errors
    /// [`ShardError::Io`].
    pub fn classes(&mut self, slice: usize) -> Result<Array2<u8>, ShardError> {
        read_plane(&mut self.classes, &self.index, slice).map_err(in_file(&self.folder.join(CLASSES)))
    }
}

fn read_plane(file: &mut File, index: &Index, slice: usize) -> io::Result<Array2<u8>> {
    let mut plane = Array2::zeros((index.rows, index.columns));
    file.seek(SeekFrom::Start((slice * index.plane_bytes()) as u64))?;
    file.read_exact(plane.as_slice_mut().expect("a new plane is in standard layout"))?;
    Ok(plane)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(patient: &str, name: &str) -> SliceEntry {
        SliceEntry {
            patient: patient.into(),
            name: name.into(),
            boxed: false,
            box_distance: None,
            hematoma_ml: None,
            markers: None,
        }
    }

    fn plane(level: u8) -> Array2<u8> {
        Array2::from_shape_fn((4, 6), |(row, column)| level + (row * 6 + column) as u8)
    }

    #[test]
    fn slices_come_back_as_they_went_in() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ShardWriter::create(folder.path(), Source::PheSich, Preparation::default()).unwrap();
        for (at, patient) in ["a", "a", "b"].into_iter().enumerate() {
            let at = at as u8;
            writer.push(entry(patient, "x"), &plane(at), &plane(100 + at)).unwrap();
        }
        let index = writer.finish().unwrap();
        let mut shard = Shard::open(folder.path()).unwrap();
        assert_eq!(shard.index(), &index);
        assert_eq!(index.patients(), [("a", 0..2), ("b", 2..3)]);
        for at in [2, 0, 1] {
            assert_eq!(shard.gray(at).unwrap(), plane(at as u8));
            assert_eq!(shard.classes(at).unwrap(), plane(100 + at as u8));
        }
    }

    #[test]
    fn an_older_shard_is_sent_back_to_prepare() {
        let folder = tempfile::tempdir().unwrap();
        let list = r#"{"schema": "hemapatch-train.shard/1", "source": "somebody", "slices": []}"#;
        fs::write(folder.path().join(INDEX), list).unwrap();
        let error = Shard::open(folder.path()).unwrap_err().to_string();
        let expected =
            r#"is "hemapatch-train.shard/1", expected "hemapatch-train.shard/2": run prepare again"#;
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn refuses_a_truncated_shard_and_scattered_patients() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ShardWriter::create(folder.path(), Source::PheSich, Preparation::default()).unwrap();
        for patient in ["a", "b"] {
            writer.push(entry(patient, "x"), &plane(0), &plane(0)).unwrap();
        }
        let again = writer.push(entry("a", "y"), &plane(0), &plane(0));
        assert!(matches!(again, Err(ShardError::Scattered(_))));
        writer.finish().unwrap();
        fs::write(folder.path().join(GRAY), [0; 47]).unwrap();
        let error = Shard::open(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("gray.bin: has 47 bytes, its list says 48"), "{error}");
    }
}
