//! Reads PHE-SICH-CT-IDS: its pictures, turned upright, and its boxes.
//!
//! What a box says about pixels is `label_rule`'s job.

use hemapatch::limits::Limits;
use ndarray::Array2;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A box around a lesion (hematoma with its edema), both corners inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LesionBox {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Last column.
    pub right: usize,
    /// Last row.
    pub bottom: usize,
}

impl LesionBox {
    /// The same box in the picture turned clockwise by 90 degrees, which had `rows` rows.
    ///
    /// The pixel at row `y`, column `x` goes to row `x`, column `rows - 1 - y`.
    #[must_use]
    pub fn turned_clockwise(self, rows: usize) -> LesionBox {
        LesionBox {
            left: rows - 1 - self.bottom,
            right: rows - 1 - self.top,
            top: self.left,
            bottom: self.right,
        }
    }
}

/// One annotated slice of the data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotatedSlice {
    /// The data set's own pseudonym.
    pub patient: String,
    /// `PPPP_SS`: the picture's name without `.png`.
    pub name: String,
    /// Boxes in the stored picture's coordinates.
    pub boxes: Vec<LesionBox>,
}

/// Why the folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PheSichError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of a table is not as the data set's README says.
    #[error("{} line {line}: {problem}", path.display())]
    Table {
        /// The table.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// A slice's number of boxes and its boxes disagree.
    #[error("slice {slice}: {counted} boxes in slices.csv, {listed} in boxes.csv")]
    BoxCount {
        /// Name of the slice.
        slice: String,
        /// In slices.csv.
        counted: usize,
        /// In boxes.csv.
        listed: usize,
    },
    /// A picture is damaged or of another kind.
    #[error("{}: {problem}", path.display())]
    Picture {
        /// The picture.
        path: PathBuf,
        /// What is wrong.
        problem: PictureProblem,
    },
}

/// What is wrong with a picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureProblem {
    /// No readable PNG.
    #[error(transparent)]
    Decode(#[from] image::ImageError),
    /// Not 8-bit gray.
    #[error("is {0:?}, not 8-bit gray")]
    NotGray(image::ColorType),
    /// A box reaches over its edge.
    #[error("a box reaches over the edge")]
    BoxOutside,
}

/// Lists the slices of fully annotated patients, by patient and slice number: foot to head.
///
/// A patient with a slice that was not annotated is left out: its slices are neither with nor
/// without a box.
///
/// # Errors
/// [`PheSichError`] if a table is missing, damaged or contradicts the other.
pub fn list(folder: &Path) -> Result<Vec<AnnotatedSlice>, PheSichError> {
    let mut boxes = read_boxes(&folder.join("boxes.csv"))?;
    let path = folder.join("slices.csv");
    let problem = |line, problem| PheSichError::Table { path: path.clone(), line, problem };
    let mut patients: BTreeMap<String, Option<Vec<AnnotatedSlice>>> = BTreeMap::new();
    for (line, fields) in rows(&path, "slice,boxes")? {
        let [name, count] = fields.as_slice() else {
            return Err(problem(line, "expected 2 fields"));
        };
        let Some((patient, _)) = name.split_once('_') else {
            return Err(problem(line, "a slice is named PPPP_SS"));
        };
        let slices = patients.entry(patient.into()).or_insert_with(|| Some(Vec::new()));
        if count.is_empty() {
            *slices = None;
            continue;
        }
        let counted = count.parse().map_err(|_| problem(line, "the number of boxes is no number"))?;
        let boxes = boxes.remove(name).unwrap_or_default();
        if boxes.len() != counted {
            return Err(PheSichError::BoxCount { slice: name.clone(), counted, listed: boxes.len() });
        }
        if let Some(slices) = slices {
            slices.push(AnnotatedSlice { patient: patient.into(), name: name.clone(), boxes });
        }
    }
    if let Some((slice, listed)) = boxes.into_iter().next() {
        return Err(PheSichError::BoxCount { slice, counted: 0, listed: listed.len() });
    }
    let mut slices: Vec<AnnotatedSlice> = patients.into_values().flatten().flatten().collect();
    slices.sort_by(|a, b| (&a.patient, &a.name).cmp(&(&b.patient, &b.name)));
    Ok(slices)
}

fn read_boxes(path: &Path) -> Result<BTreeMap<String, Vec<LesionBox>>, PheSichError> {
    let mut boxes: BTreeMap<String, Vec<LesionBox>> = BTreeMap::new();
    for (line, fields) in rows(path, "slice,x_min,y_min,x_max,y_max")? {
        let problem = |problem| PheSichError::Table { path: path.into(), line, problem };
        let [name, corners @ ..] = fields.as_slice() else {
            return Err(problem("empty"));
        };
        let corners: Vec<usize> = corners.iter().filter_map(|field| field.parse().ok()).collect();
        let [left, top, right, bottom] = corners[..] else {
            return Err(problem("expected a slice and 4 whole numbers"));
        };
        if right < left || bottom < top {
            return Err(problem("the box ends before it begins"));
        }
        boxes.entry(name.clone()).or_default().push(LesionBox { left, top, right, bottom });
    }
    Ok(boxes)
}

/// Line numbers and fields below the header. The tables have no quotes.
fn rows(path: &Path, header: &str) -> Result<Vec<(usize, Vec<String>)>, PheSichError> {
    let text = fs::read_to_string(path).map_err(|source| PheSichError::Io { path: path.into(), source })?;
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some(header) {
        return Err(PheSichError::Table { path: path.into(), line: 1, problem: "unexpected column names" });
    }
    Ok(lines
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| (index + 2, line.trim().split(',').map(str::to_owned).collect()))
        .collect())
}

/// Reads a slice's picture and turns it and the boxes clockwise by 90 degrees: the face upwards.
///
/// # Errors
/// [`PheSichError`] if the picture cannot be read, is not 8-bit gray or a box leaves it.
pub fn read_upright(
    folder: &Path,
    slice: &AnnotatedSlice,
) -> Result<(Array2<u8>, Vec<LesionBox>), PheSichError> {
    let path = folder.join("images").join(format!("{}.png", slice.name));
    let stored = read_gray(&path)?;
    let (rows, columns) = stored.dim();
    if slice.boxes.iter().any(|lesion| lesion.right >= columns || lesion.bottom >= rows) {
        return Err(PheSichError::Picture { path, problem: PictureProblem::BoxOutside });
    }
    let boxes = slice.boxes.iter().map(|lesion| lesion.turned_clockwise(rows)).collect();
    Ok((turned_clockwise(&stored), boxes))
}

/// Reads an 8-bit gray PNG of at most the size that the engine takes.
///
/// # Errors
/// [`PheSichError`] if it cannot be read or is of another kind.
pub fn read_gray(path: &Path) -> Result<Array2<u8>, PheSichError> {
    let picture = |problem| PheSichError::Picture { path: path.into(), problem };
    let mut reader =
        image::ImageReader::open(path).map_err(|source| PheSichError::Io { path: path.into(), source })?;
    let bounds = Limits::default();
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(bounds.columns);
    limits.max_image_height = Some(bounds.rows);
    reader.limits(limits);
    let decoded = reader.decode().map_err(|error| picture(error.into()))?;
    match decoded {
        image::DynamicImage::ImageLuma8(gray) => {
            let shape = (gray.height() as usize, gray.width() as usize);
            // The decoder gives exactly width x height bytes of 8-bit gray.
            Ok(Array2::from_shape_vec(shape, gray.into_raw()).expect("one byte a pixel"))
        }
        other => Err(picture(PictureProblem::NotGray(other.color()))),
    }
}

/// A plane turned clockwise by 90 degrees.
#[must_use]
pub fn turned_clockwise(stored: &Array2<u8>) -> Array2<u8> {
    let (rows, columns) = stored.dim();
    Array2::from_shape_fn((columns, rows), |(row, column)| stored[[rows - 1 - column, row]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_turns_with_its_picture() {
        let mut stored = Array2::zeros((6, 9));
        let lesion = LesionBox { left: 5, top: 1, right: 7, bottom: 2 };
        for row in lesion.top..=lesion.bottom {
            for column in lesion.left..=lesion.right {
                stored[[row, column]] = 200;
            }
        }
        stored[[0, 0]] = 1;
        let (upright, turned) = (turned_clockwise(&stored), lesion.turned_clockwise(6));
        assert_eq!(upright.dim(), (9, 6));
        // What was at the upper left is at the upper right.
        assert_eq!(upright[[0, 5]], 1);
        for ((row, column), &level) in upright.indexed_iter() {
            let inside =
                (turned.top..=turned.bottom).contains(&row) && (turned.left..=turned.right).contains(&column);
            assert_eq!(level == 200, inside, "{row},{column}");
        }
    }

    fn folder(slices: &str, boxes: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("slices.csv"), slices).unwrap();
        fs::write(folder.path().join("boxes.csv"), boxes).unwrap();
        folder
    }

    const BOXES: &str = "slice,x_min,y_min,x_max,y_max\n0002_01,10,20,30,40\n";

    #[test]
    fn leaves_out_a_patient_that_was_not_annotated() {
        let slices = "slice,boxes\n0009_00,\n0009_01,0\n0002_01,1\n0002_00,0\n";
        let listed = list(folder(slices, BOXES).path()).unwrap();
        let names: Vec<&str> = listed.iter().map(|slice| slice.name.as_str()).collect();
        assert_eq!(names, ["0002_00", "0002_01"]);
        assert_eq!(listed[1].boxes, [LesionBox { left: 10, top: 20, right: 30, bottom: 40 }]);
    }

    #[test]
    fn names_what_is_wrong_with_a_table() {
        let error = |slices, boxes| list(folder(slices, boxes).path()).unwrap_err().to_string();
        let found = error("slice,boxes\n0002_01,2\n", BOXES);
        assert_eq!(found, "slice 0002_01: 2 boxes in slices.csv, 1 in boxes.csv");
        let found = error("slice,boxes\n0002_00,0\n", BOXES);
        assert_eq!(found, "slice 0002_01: 0 boxes in slices.csv, 1 in boxes.csv");
        let found = error("slice,boxes\n0002_01,1\n", "slice,x_min,y_min,x_max,y_max\n0002_01,10,20,30\n");
        assert!(found.ends_with("boxes.csv line 2: expected a slice and 4 whole numbers"), "{found}");
        let found = error("slice;boxes\n", BOXES);
        assert!(found.ends_with("slices.csv line 1: unexpected column names"), "{found}");
    }
}
