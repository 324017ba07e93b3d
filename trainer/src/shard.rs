//! A shard: a data set after preparation, as two files of planes and a list of their slices.
//!
//! `gray.bin` holds the prepared slices, `classes.bin` the certain class of each pixel, both
//! `[slices, rows, columns]` bytes; `shard.json` says whose they are. The planes are mapped, not read: a shard
//! may be larger than memory, and all who cut from it share the system's page cache without a copy.

use hemapatch::phantom::Marker;
use hemapatch::prep::Preparation;
use memmap2::Mmap;
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Version of the format and of the label rule: a shard of another one is not read.
pub const SCHEMA: &str = "hemapatch-train.shard/2";

const INDEX: &str = "shard.json";
const GRAY: &str = "gray.bin";
const CLASSES: &str = "classes.bin";

/// The files of a shard.
pub const FILES: [&str; 3] = [INDEX, GRAY, CLASSES];

/// What a file is called until its shard is whole.
const UNFINISHED: &str = "new";

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
    pub fn patients(&self) -> Vec<(&str, Range<usize>)> {
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

/// Writes a shard slice by slice, beside one that is there already: [`ShardWriter::finish`] puts it in its place,
/// and whoever has the old one open keeps it.
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
    /// Begins a shard in `folder`.
    ///
    /// # Errors
    /// [`ShardError::Io`].
    pub fn create(
        folder: &Path,
        source: Source,
        preparation: Preparation,
    ) -> Result<ShardWriter, ShardError> {
        fs::create_dir_all(folder).map_err(in_file(folder))?;
        let create = |name| {
            let path = unfinished(folder, name);
            // One that was left half way may be read-only by now.
            let _ = fs::remove_file(&path);
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
            let path = unfinished(&self.folder, name);
            plane
                .rows()
                .into_iter()
                .try_for_each(|row| file.write_all(&row.to_vec()))
                .map_err(in_file(&path))?;
        }
        index.slices.push(entry);
        Ok(())
    }

    /// Puts the shard in its place.
    ///
    /// # Errors
    /// [`ShardError`] if there is no slice or the disk is full.
    pub fn finish(self) -> Result<Index, ShardError> {
        let ShardWriter { folder, mut gray, mut classes, index } = self;
        if index.slices.is_empty() {
            return Err(ShardError::Empty);
        }
        for (file, name) in [(&mut gray, GRAY), (&mut classes, CLASSES)] {
            let path = unfinished(&folder, name);
            file.flush().map_err(in_file(&path))?;
            // Planes are mapped by whoever reads them: nobody is to write to them again.
            let mut permissions = file.get_ref().metadata().map_err(in_file(&path))?.permissions();
            permissions.set_readonly(true);
            file.get_ref().set_permissions(permissions).map_err(in_file(&path))?;
        }
        let path = unfinished(&folder, INDEX);
        let text = serde_json::to_string_pretty(&index)
            .map_err(|error| ShardError::Format { path: path.clone(), problem: error.to_string() })?;
        fs::write(&path, text).map_err(in_file(&path))?;
        // The list goes first and comes last: new planes are never read with an old list.
        match fs::remove_file(folder.join(INDEX)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(in_file(&folder.join(INDEX))(error));
            }
            _ => (),
        }
        for name in [GRAY, CLASSES, INDEX] {
            let path = folder.join(name);
            fs::rename(unfinished(&folder, name), &path).map_err(in_file(&path))?;
        }
        Ok(index)
    }
}

fn unfinished(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.{UNFINISHED}"))
}

/// A slice, what is certain of it, and its neighbours; all `[rows, columns]`.
#[derive(Clone, Copy, Debug)]
pub struct Slab<'a> {
    /// The slice.
    pub gray: ArrayView2<'a, u8>,
    /// Its pixels' classes.
    pub classes: ArrayView2<'a, u8>,
    /// The slices before and after.
    pub beside: [Option<ArrayView2<'a, u8>>; 2],
}

/// A shard, open for reading. A clone costs nothing and shares what is mapped.
#[derive(Clone, Debug)]
pub struct Shard {
    folder: PathBuf,
    gray: Arc<Mmap>,
    classes: Arc<Mmap>,
    index: Arc<Index>,
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
            if bytes != expected {
                return Err(format(&path, format!("has {bytes} bytes, its list says {expected}")));
            }
            map(&file).map(Arc::new).map_err(in_file(&path))
        };
        let (gray, classes) = (open(GRAY)?, open(CLASSES)?);
        Ok(Shard { gray, classes, folder: folder.into(), index: Arc::new(index) })
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

    /// A prepared slice, `[rows, columns]`.
    ///
    /// # Panics
    /// If the shard has no such slice.
    #[must_use]
    pub fn gray(&self, slice: usize) -> ArrayView2<'_, u8> {
        self.plane(&self.gray, slice)
    }

    /// The pixel classes of a slice, see [`crate::label_rule::pixel_classes`], `[rows, columns]`.
    ///
    /// # Panics
    /// If the shard has no such slice.
    #[must_use]
    pub fn classes(&self, slice: usize) -> ArrayView2<'_, u8> {
        self.plane(&self.classes, slice)
    }

    /// A slice with its classes and the slices before and after it, as far as they are among `patient`'s.
    ///
    /// # Panics
    /// If the shard has no such slice.
    #[must_use]
    pub fn slab(&self, slice: usize, patient: &Range<usize>) -> Slab<'_> {
        let beside = [slice.checked_sub(1), slice.checked_add(1)];
        let beside =
            beside.map(|other| other.filter(|other| patient.contains(other)).map(|other| self.gray(other)));
        Slab { gray: self.gray(slice), classes: self.classes(slice), beside }
    }

    fn plane<'a>(&'a self, planes: &'a [u8], slice: usize) -> ArrayView2<'a, u8> {
        let bytes = self.index.plane_bytes();
        ArrayView2::from_shape((self.index.rows, self.index.columns), &planes[slice * bytes..][..bytes])
            .expect("a plane has as many bytes as pixels")
    }
}

/// Maps a finished file of planes.
#[allow(unsafe_code)]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the bytes stay put while the map lives, since nobody writes to a finished file: `ShardWriter` writes
    // under another name, takes the right to write away and only then renames, so a shard prepared anew is another
    // file and this one stays until it is unmapped. A user who grants himself that right and changes the file
    // during a training breaks this, as he would break any training.
    unsafe { Mmap::map(file) }
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
        let shard = Shard::open(folder.path()).unwrap();
        assert_eq!(shard.index(), &index);
        assert_eq!(index.patients(), [("a", 0..2), ("b", 2..3)]);
        for at in [2, 0, 1] {
            assert_eq!(shard.gray(at), plane(at as u8));
            assert_eq!(shard.classes(at), plane(100 + at as u8));
        }
    }

    #[test]
    fn whoever_has_a_shard_open_keeps_it_when_another_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let write = |level| {
            let mut writer =
                ShardWriter::create(folder.path(), Source::PheSich, Preparation::default()).unwrap();
            writer.push(entry("a", "x"), &plane(level), &plane(level)).unwrap();
            writer
        };
        write(1).finish().unwrap();
        let first = Shard::open(folder.path()).unwrap();
        let second = write(2);
        assert_eq!(Shard::open(folder.path()).unwrap().gray(0), plane(1), "nothing changes before the end");
        second.finish().unwrap();
        assert_eq!(first.gray(0), plane(1));
        assert_eq!(Shard::open(folder.path()).unwrap().gray(0), plane(2));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), FILES.len(), "nothing is left over");
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
        fs::remove_file(folder.path().join(GRAY)).unwrap();
        fs::write(folder.path().join(GRAY), [0; 47]).unwrap();
        let error = Shard::open(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("gray.bin: has 47 bytes, its list says 48"), "{error}");
    }
}
