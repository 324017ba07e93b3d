//! Makes shards of what lies in folders: PHE-SICH-CT-IDS, or patches labelled with the grid tool (P7).
//! Drawn patients are `phantoms`'s.

use crate::label_rule;
use crate::phe_sich::{self, LesionBox, PheSichError};
use crate::shard::{Index, ShardError, ShardWriter, SliceEntry, Source};
use hemapatch::label::{self, FileName, Label, LabelFolderError, LabelLimits};
use hemapatch::patch::PatchSize;
use hemapatch::prep::{Placement, Preparation, Scratch};
use indicatif::ProgressBar;
use ndarray::Array2;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why a data set cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// PHE-SICH-CT-IDS cannot be read.
    #[error(transparent)]
    PheSich(#[from] PheSichError),
    /// The shard cannot be written.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The folder of labelled patches cannot be walked.
    #[error(transparent)]
    Folder(#[from] LabelFolderError),
    /// A labelled patch does not say whose it is.
    #[error(
        "{}: the name does not tell the patient, so that one patient could lie on every side of the split; \
         patches must be named PSEUDONYM_number_x0_y0.C.png, as `hemapatch patches --prefix PSEUDONYM_` names them",
        .0.display()
    )]
    NoPatient(PathBuf),
    /// Every labelled patch was saved under two letters.
    #[error("all {0} labelled patches are saved under two letters")]
    OnlyConflicts(usize),
    /// A labelled patch has another size than the recipe's.
    #[error("{} is {rows}x{columns}, the recipe's patches are {size}x{size}", path.display())]
    PatchSize {
        /// The picture.
        path: PathBuf,
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
        /// What the recipe asks for.
        size: usize,
    },
    /// Neither of the two kinds of folders.
    #[error("{} holds neither PHE-SICH-CT-IDS (slices.csv) nor labelled patches (xxxx_x0_y0.C.png)", .0.display())]
    UnknownFolder(PathBuf),
}

/// A shard that was made, and what was left out of it.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The shard's list.
    pub index: Index,
    /// Patches left out because they are saved under two letters.
    pub conflicting: usize,
}

/// Prepares the data set in `source`, whichever of the two it is, as a shard in `target`.
///
/// # Errors
/// [`PrepareError`].
pub fn prepare(
    source: &Path,
    target: &Path,
    preparation: Preparation,
    size: PatchSize,
    progress: &ProgressBar,
) -> Result<Prepared, PrepareError> {
    if source.join("slices.csv").is_file() {
        let index = phe_sich(source, target, preparation, progress)?;
        Ok(Prepared { index, conflicting: 0 })
    } else {
        labelled_patches(source, target, preparation, size, progress)
    }
}

/// PHE-SICH-CT-IDS: turned, prepared by the engine's own steps, labelled by the rule.
fn phe_sich(
    source: &Path,
    target: &Path,
    preparation: Preparation,
    progress: &ProgressBar,
) -> Result<Index, PrepareError> {
    let slices = phe_sich::list(source)?;
    progress.set_length(slices.len() as u64);
    let mut writer = ShardWriter::create(target, Source::PheSich, preparation)?;
    let mut scratch = Scratch::default();
    for series in slices.chunk_by(|a, b| a.patient == b.patient) {
        for (at, slice) in series.iter().enumerate() {
            let (mut gray, boxes) = phe_sich::read_upright(source, slice)?;
            let stored_rows = gray.ncols();
            let placement = preparation.prepare(&mut gray, &mut scratch);
            let neighbours = [at.checked_sub(1), Some(at + 1)];
            let beside = neighbours
                .into_iter()
                .filter_map(|at| series.get(at?))
                .flat_map(|slice| &slice.boxes)
                .map(|lesion| lesion.turned_clockwise(stored_rows));
            let moved = |lesion| moved(lesion, placement, gray.dim());
            let boxes: Vec<LesionBox> = boxes.into_iter().filter_map(moved).collect();
            let beside: Vec<LesionBox> = beside.filter_map(moved).collect();
            let classes = label_rule::pixel_classes(&gray, &boxes, &beside);
            let box_distance = (0..series.len())
                .filter(|&other| !series[other].boxes.is_empty())
                .map(|other| other.abs_diff(at))
                .min();
            let entry = SliceEntry {
                patient: slice.patient.clone(),
                name: slice.name.clone(),
                boxed: !slice.boxes.is_empty(),
                box_distance,
                hematoma_ml: None,
                markers: None,
            };
            writer.push(entry, &gray, &classes)?;
            progress.inc(1);
        }
    }
    Ok(writer.finish()?)
}

/// A box after its slice was shifted, cut off at the slice's edge; `None` if nothing is left.
///
/// A turned slice (`Centering::Upright`) gets the upright box around the turned corners.
fn moved(lesion: LesionBox, placement: Placement, (rows, columns): (usize, usize)) -> Option<LesionBox> {
    let (middle_row, middle_column) = (rows as f64 / 2.0, columns as f64 / 2.0);
    let angle = placement.rotation_deg.to_radians();
    let (sin, cos) = (libm::sin(angle), libm::cos(angle));
    let corners = [
        (lesion.top, lesion.left),
        (lesion.top, lesion.right),
        (lesion.bottom, lesion.left),
        (lesion.bottom, lesion.right),
    ]
    .map(|(row, column)| {
        let y = row as f64 + f64::from(placement.shift_rows) - middle_row;
        let x = column as f64 + f64::from(placement.shift_columns) - middle_column;
        (middle_row + cos * y + sin * x, middle_column - sin * y + cos * x)
    });
    let span = |values: [f64; 4], extent: usize| {
        let low = values.into_iter().fold(f64::INFINITY, f64::min).floor();
        let high = values.into_iter().fold(f64::NEG_INFINITY, f64::max).ceil();
        (high >= 0.0 && low < extent as f64).then(|| (low.max(0.0) as usize, (high as usize).min(extent - 1)))
    };
    let (top, bottom) = span(corners.map(|corner| corner.0), rows)?;
    let (left, right) = span(corners.map(|corner| corner.1), columns)?;
    Some(LesionBox { left, top, right, bottom })
}

/// Which patch of which slice: ordered by patient first, since a shard keeps patients together.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct PatchPlace {
    patient: String,
    stem: String,
    y0: u32,
    x0: u32,
}

/// Labelled patches: each becomes a slice of one patch. Whose it is and what its files say
/// together is decided as `hemapatch stats` does.
fn labelled_patches(
    source: &Path,
    target: &Path,
    preparation: Preparation,
    size: PatchSize,
    progress: &ProgressBar,
) -> Result<Prepared, PrepareError> {
    let mut patches: BTreeMap<PatchPlace, (Label, PathBuf)> = BTreeMap::new();
    label::walk(source, LabelLimits::default(), |path, name| {
        let Some(name) = name else { return Ok(()) };
        let patient = name.patient().map(str::to_owned);
        let FileName::Patch { stem, x0, y0, class: class @ Some(_) } = name else { return Ok(()) };
        let Some(patient) = patient else { return Err(PrepareError::NoPatient(path)) };
        let (label, file) = patches
            .entry(PatchPlace { patient, stem, y0, x0 })
            .or_insert_with(|| (Label::Unlabelled, path.clone()));
        *label = label.and(class);
        // Folders are listed in any order: of two copies the same one is read everywhere.
        if path < *file {
            *file = path;
        }
        Ok(())
    })?;
    if patches.is_empty() {
        return Err(PrepareError::UnknownFolder(source.into()));
    }
    let found = patches.len();
    patches.retain(|_, (label, _)| *label != Label::Conflict);
    let conflicting = found - patches.len();
    if patches.is_empty() {
        return Err(PrepareError::OnlyConflicts(conflicting));
    }
    progress.set_length(patches.len() as u64);
    let mut writer = ShardWriter::create(target, Source::LabelledPatches, preparation)?;
    for (PatchPlace { patient, .. }, (label, path)) in patches {
        let Label::One(class) = label else { continue };
        let gray = phe_sich::read_gray(&path)?;
        let size = size.pixels();
        let (rows, columns) = gray.dim();
        if (rows, columns) != (size, size) {
            return Err(PrepareError::PatchSize { path, rows, columns, size });
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let entry =
            SliceEntry { patient, name, boxed: false, box_distance: None, hematoma_ml: None, markers: None };
        writer.push(entry, &gray, &Array2::from_elem(gray.dim(), class as u8))?;
        progress.inc(1);
    }
    Ok(Prepared { index: writer.finish()?, conflicting })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hemapatch::label::Class;
    use hemapatch::prep::{Bone, Centering};

    #[test]
    fn a_box_follows_its_shifted_slice_and_ends_at_the_edge() {
        let lesion = LesionBox { left: 10, top: 20, right: 30, bottom: 40 };
        let placement = Placement { shift_rows: -25, shift_columns: 5, ..Placement::default() };
        let expected = LesionBox { left: 15, top: 0, right: 35, bottom: 15 };
        assert_eq!(moved(lesion, placement, (512, 512)), Some(expected));
        let placement = Placement { shift_rows: -50, ..Placement::default() };
        assert_eq!(moved(lesion, placement, (512, 512)), None);
    }

    #[test]
    fn a_box_turns_the_way_the_engine_turns_its_slice() {
        let mut plane = Array2::zeros((101, 121));
        let lesion = LesionBox { left: 70, top: 20, right: 80, bottom: 35 };
        plane.slice_mut(ndarray::s![20..=35, 70..=80]).fill(255);
        let placement = Placement { shift_rows: 3, rotation_deg: 18.0, ..Placement::default() };
        placement.apply(&mut plane);
        let turned = moved(lesion, placement, plane.dim()).unwrap();
        for ((row, column), _) in plane.indexed_iter().filter(|(_, level)| **level > 127) {
            assert!((turned.top..=turned.bottom).contains(&row), "row {row} of {turned:?}");
            assert!((turned.left..=turned.right).contains(&column), "column {column} of {turned:?}");
        }
    }

    /// A shard of 16x16 patches with these names, all of the same gray.
    fn prepare_named(names: &[&str]) -> Result<(Prepared, crate::shard::Shard), PrepareError> {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let patch = image::GrayImage::from_pixel(16, 16, image::Luma([180]));
        for name in names {
            let path = source.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            patch.save(path).unwrap();
        }
        let preparation = Preparation { denoise: false, bone: Bone::Keep, center: Centering::Off };
        let bar = ProgressBar::hidden();
        let prepared = prepare(source.path(), target.path(), preparation, PatchSize::SIXTEEN, &bar)?;
        Ok((prepared, crate::shard::Shard::open(target.path()).unwrap()))
    }

    #[test]
    fn takes_patches_of_the_grid_tool() {
        let names = [
            // Sorted by name alone, a_1's slice would come between two of a's.
            "a_1/split_pic/a_1_2_0_0.A.png",
            "a/split_pic/a_1_32_64.C.png",
            "a/split_pic/a_1_32_48.B.png",
            "a/split_pic/a_3_0_0.D.png",
            "a/split_pic/a_3_0_16.png",
            "a/a_3_grid.png",
        ];
        let (Prepared { index, conflicting }, shard) = prepare_named(&names).unwrap();
        assert_eq!((index.rows, index.columns, index.slices.len(), conflicting), (16, 16, 4, 0));
        assert_eq!(index.source, Source::LabelledPatches);
        assert_eq!(index.patients(), [("a", 0..3), ("a_1", 3..4)]);
        assert_eq!(index.slices[1].name, "a_1_32_64.C.png");
        assert_eq!(shard.classes(1)[[3, 3]], Class::Hematoma as u8);
    }

    #[test]
    fn refuses_a_patch_that_does_not_tell_its_patient() {
        // `hemapatch patches` numbers slices unless it is given a prefix. Every slice was taken for
        // a patient then, and one patient's slices were trained and tested on.
        let error = prepare_named(&["a_0001_0_0.C.png", "0001_0_0.C.png"]).unwrap_err();
        assert!(matches!(&error, PrepareError::NoPatient(path) if path.ends_with("0001_0_0.C.png")));
        assert!(error.to_string().contains("`hemapatch patches --prefix PSEUDONYM_`"), "{error}");
        assert!(prepare_named(&["a_0001_0_0.C.png", "0001_0_0.png"]).is_ok(), "nothing is learned from it");
    }

    #[test]
    fn leaves_out_a_patch_that_is_saved_under_two_letters() {
        let both = ["a_1_0_0.B.png", "again/a_1_0_0.C.png"];
        let (prepared, _) = prepare_named(&[both[0], both[1], "a_1_0_16.C.png"]).unwrap();
        assert_eq!((prepared.index.slices.len(), prepared.conflicting), (1, 1));
        assert!(matches!(prepare_named(&both), Err(PrepareError::OnlyConflicts(1))));
        let same = ["a_1_0_0.C.png", "again/a_1_0_0.C.png"];
        let (prepared, _) = prepare_named(&same).unwrap();
        assert_eq!((prepared.index.slices.len(), prepared.conflicting), (1, 0));
    }

    #[test]
    fn says_when_a_folder_holds_no_data_set() {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bar = ProgressBar::hidden();
        let result = prepare(source.path(), target.path(), Preparation::default(), PatchSize::SIXTEEN, &bar);
        assert!(matches!(result, Err(PrepareError::UnknownFolder(_))));
    }
}
