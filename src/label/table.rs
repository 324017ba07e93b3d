//! Statistics of a folder of labelled patches: the paper's Table 1.
//! It counts labels; whether the labels are right is left to their authors.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::file_name::patient;
use super::folder::walk;
use super::{Class, FileName, Label, LabelFolderError, LabelLimits};

/// Patches per class, and those without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClassCounts {
    /// Every patch, labelled or not.
    pub total: u64,
    /// Patches of air.
    pub background: u64,
    /// Patches of brain.
    pub parenchyma: u64,
    /// Patches of blood.
    pub hematoma: u64,
    /// Patches of bone.
    pub skull: u64,
    /// Patches of ventricle.
    pub ventricle: u64,
    /// Patches of the fluid gap.
    pub csf: u64,
    /// Patches of which nobody was certain.
    pub unlabelled: u64,
    /// Patches that lie in the folder under two classes; they count in none.
    pub conflicting: u64,
}

impl ClassCounts {
    /// Patches of one class.
    pub fn of(&self, class: Class) -> u64 {
        match class {
            Class::Background => self.background,
            Class::Parenchyma => self.parenchyma,
            Class::Hematoma => self.hematoma,
            Class::Skull => self.skull,
            Class::Ventricle => self.ventricle,
            Class::Csf => self.csf,
        }
    }

    fn add(&mut self, label: Label) {
        self.total += 1;
        *match label {
            Label::Unlabelled => &mut self.unlabelled,
            Label::Conflict => &mut self.conflicting,
            Label::One(Class::Background) => &mut self.background,
            Label::One(Class::Parenchyma) => &mut self.parenchyma,
            Label::One(Class::Hematoma) => &mut self.hematoma,
            Label::One(Class::Skull) => &mut self.skull,
            Label::One(Class::Ventricle) => &mut self.ventricle,
            Label::One(Class::Csf) => &mut self.csf,
        } += 1;
    }

    fn cells(&self) -> [u64; 9] {
        [
            self.total,
            self.background,
            self.parenchyma,
            self.hematoma,
            self.skull,
            self.ventricle,
            self.csf,
            self.unlabelled,
            self.conflicting,
        ]
    }
}

/// Counts of labelled patches: all, per patient where the names tell, per slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabelTable {
    /// All patches of the folder.
    pub all: ClassCounts,
    /// By patient, or `None` unless every slice is named patient, underscore, number.
    pub patients: Option<BTreeMap<String, ClassCounts>>,
    /// By stem of the slice.
    pub slices: BTreeMap<String, ClassCounts>,
    /// Patches by their size, columns x rows in pixels: `"16x16"`.
    pub sizes: BTreeMap<String, u64>,
    /// Grid pictures found beside the patches.
    pub grids: u64,
    /// Files with other names, which were left alone.
    pub others: u64,
}

impl LabelTable {
    /// Counts the labelled patches in a folder and the folders below it.
    ///
    /// Of each patch only the PNG header is read. Links are not followed.
    ///
    /// # Errors
    /// [`LabelTableError`], which names the file or folder. A folder without any patch is
    /// [`LabelTableError::NoPatches`], since it is almost surely the wrong folder.
    pub fn read(folder: &Path, limits: LabelLimits) -> Result<LabelTable, LabelTableError> {
        let mut gathered = Gathered::default();
        walk(folder, limits, |path, name| gathered.file(&path, name))?;
        if gathered.patches.is_empty() {
            return Err(LabelTableError::NoPatches { path: folder.to_path_buf() });
        }
        Ok(gathered.table())
    }

    /// The table as one line of JSON, `hemapatch.stats/1`.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            schema: &'static str,
            #[serde(flatten)]
            table: &'a LabelTable,
        }
        let line = Line { schema: "hemapatch.stats/1", table: self };
        // Strings, integers and maps with string keys: nothing here can fail to serialize.
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// The table for a terminal: one row a patient where known, else one a slice, then the sum.
    pub fn to_text(&self) -> String {
        const HEADINGS: [&str; 9] = [
            "total",
            "background",
            "parenchyma",
            "hematoma",
            "skull",
            "ventricle",
            "csf",
            "unlabelled",
            "conflict",
        ];
        let (heading, groups) = match &self.patients {
            Some(patients) => ("patient", patients),
            None => ("slice", &self.slices),
        };
        let rows = groups
            .iter()
            .map(|(name, counts)| (name.as_str(), counts.cells()))
            .chain([("all", self.all.cells())])
            .collect::<Vec<_>>();
        let name_width =
            rows.iter().map(|(name, _)| name.chars().count()).chain([heading.len()]).max().unwrap_or(0);
        let rule = "-".repeat(name_width + HEADINGS.iter().map(|h| h.len().max(7) + 2).sum::<usize>());

        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(text, "{heading:<name_width$}");
        for heading in HEADINGS {
            let _ = write!(text, "  {heading:>7}");
        }
        let _ = writeln!(text, "\n{rule}");
        let last = rows.len() - 1;
        for (row, (name, cells)) in rows.into_iter().enumerate() {
            if row == last {
                let _ = writeln!(text, "{rule}");
            }
            let _ = write!(text, "{name:<name_width$}");
            for (heading, cell) in HEADINGS.into_iter().zip(cells) {
                let width = heading.len().max(7);
                let _ = write!(text, "  {cell:>width$}");
            }
            text.push('\n');
        }
        let sizes = self
            .sizes
            .iter()
            .map(|(size, count)| format!("{count} of {size}"))
            .collect::<Vec<_>>()
            .join(", ");
        let _ = writeln!(
            text,
            "\n{} slices; patches in pixels: {sizes}; {} grid pictures; {} other files",
            self.slices.len(),
            self.grids,
            self.others
        );
        text
    }
}

/// Place of a patch in its slice: `x0`, `y0` in pixels.
type Place = (u32, u32);

/// Columns and rows of a patch.
type Size = (u32, u32);

#[derive(Default)]
struct Gathered {
    /// By stem of the slice.
    patches: BTreeMap<String, BTreeMap<Place, (Label, Size)>>,
    grids: u64,
    others: u64,
}

impl Gathered {
    fn file(&mut self, path: &Path, name: Option<FileName>) -> Result<(), LabelTableError> {
        match name {
            Some(FileName::Grid { .. }) => self.grids += 1,
            Some(FileName::Patch { stem, x0, y0, class }) => {
                let size = png_size(path)?;
                let (label, _) = self
                    .patches
                    .entry(stem)
                    .or_default()
                    .entry((x0, y0))
                    .or_insert((Label::Unlabelled, size));
                *label = label.and(class);
            }
            None => self.others += 1,
        }
        Ok(())
    }

    fn table(self) -> LabelTable {
        let mut all = ClassCounts::default();
        let mut slices = BTreeMap::new();
        let mut patients = Some(BTreeMap::<String, ClassCounts>::new());
        let mut sizes = BTreeMap::<String, u64>::new();
        for (stem, patches) in self.patches {
            let mut of_slice = ClassCounts::default();
            let patient = patient(&stem);
            if patient.is_none() {
                patients = None;
            }
            let mut of_patient = patient
                .zip(patients.as_mut())
                .map(|(patient, patients)| patients.entry(patient.to_owned()).or_default());
            for (label, (columns, rows)) in patches.into_values() {
                all.add(label);
                of_slice.add(label);
                if let Some(counts) = of_patient.as_mut() {
                    counts.add(label);
                }
                *sizes.entry(format!("{columns}x{rows}")).or_default() += 1;
            }
            slices.insert(stem, of_slice);
        }
        LabelTable { all, patients, slices, sizes, grids: self.grids, others: self.others }
    }
}

fn png_size(path: &Path) -> Result<Size, LabelTableError> {
    let file =
        fs::File::open(path).map_err(|source| LabelTableError::Read { path: path.to_path_buf(), source })?;
    image::ImageReader::with_format(BufReader::new(file), image::ImageFormat::Png)
        .into_dimensions()
        .map_err(|source| LabelTableError::Png { path: path.to_path_buf(), source })
}

/// Why a folder of labelled patches could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum LabelTableError {
    /// The folder cannot be walked.
    #[error(transparent)]
    Folder(#[from] LabelFolderError),
    /// The file system refused.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is named as a patch and is no PNG.
    #[error("{} is named as a patch but is no readable PNG: {source}", path.display())]
    Png {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: image::ImageError,
    },
    /// No file is named as a patch.
    #[error("{} holds no patches (xxxx_x0_y0.png or xxxx_x0_y0.C.png)", path.display())]
    NoPatches {
        /// The folder.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(folder: &Path, name: &str, side: u32) {
        let patch = image::GrayImage::new(side, side);
        patch.save(folder.join(name)).expect("a temporary folder");
    }

    fn labelled() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let patches = folder.path().join("split_pic");
        fs::create_dir(&patches).expect("a temporary folder");
        save(folder.path(), "0002_16_grid.png", 32);
        for name in [
            "0002_16_0_0.png",
            "0002_16_0_0.A.png",
            "0002_16_16_0.C.png",
            "0002_16_0_16.png",
            "0002_17_0_0.D.png",
            "0004_01_0_0.B.png",
            "0004_01_16_0.A.png",
            "0004_01_16_0.D.png",
        ] {
            save(&patches, name, 16);
        }
        fs::write(folder.path().join("notes.txt"), "by hand").expect("a temporary folder");
        folder
    }

    #[test]
    fn counts_each_patch_once_however_often_it_was_saved() {
        let folder = labelled();
        let table = LabelTable::read(folder.path(), LabelLimits::default()).expect("all readable");
        assert_eq!(table.all.cells(), [6, 1, 1, 1, 1, 0, 0, 1, 1]);
        let patients = table.patients.as_ref().expect("names tell the patients");
        assert_eq!(patients["0002"].cells(), [4, 1, 0, 1, 1, 0, 0, 1, 0]);
        assert_eq!(patients["0004"].cells(), [2, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(table.slices.len(), 3);
        assert_eq!(table.sizes["16x16"], 6);
        assert_eq!((table.grids, table.others), (1, 1));
    }

    #[test]
    fn prints_an_aligned_table_and_one_line_of_json() {
        let folder = labelled();
        let table = LabelTable::read(folder.path(), LabelLimits::default()).expect("all readable");
        let text = table.to_text();
        let expected = "\
patient    total  background  parenchyma  hematoma    skull  ventricle      csf  unlabelled  conflict
-----------------------------------------------------------------------------------------------------
0002           4           1           0         1        1          0        0           1         0
0004           2           0           1         0        0          0        0           0         1
-----------------------------------------------------------------------------------------------------
all            6           1           1         1        1          0        0           1         1

3 slices; patches in pixels: 6 of 16x16; 1 grid pictures; 1 other files
";
        assert_eq!(text, expected);
        let json = table.to_json();
        assert!(json.starts_with(
            "{\"schema\":\"hemapatch.stats/1\",\"all\":{\"total\":6,\"background\":1,\
             \"parenchyma\":1,\"hematoma\":1,\"skull\":1,\"ventricle\":0,\"csf\":0,\"unlabelled\":1,\"conflicting\":1},\
             \"patients\":{\"0002\":{\"total\":4,"
        ));
        assert!(!json.contains('\n'));
    }

    #[test]
    fn lists_slices_where_names_do_not_tell_patients() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        save(folder.path(), "0002_16_0_0.A.png", 16);
        save(folder.path(), "IM7_0_0.C.png", 16);
        let table = LabelTable::read(folder.path(), LabelLimits::default()).expect("all readable");
        assert_eq!(table.patients, None);
        assert!(table.to_text().starts_with("slice      total"));
    }

    #[test]
    fn names_the_file_that_cannot_be_counted() {
        let folder = labelled();
        fs::write(folder.path().join("0002_16_32_0.C.png"), "no PNG").expect("a temporary folder");
        let refused = LabelTable::read(folder.path(), LabelLimits::default());
        let message = refused.expect_err("a broken PNG").to_string();
        assert!(message.contains("0002_16_32_0.C.png"), "{message}");

        let absent = folder.path().join("absent");
        let refused = LabelTable::read(&absent, LabelLimits::default());
        let message = refused.expect_err("no such folder").to_string();
        assert!(message.contains("absent"), "{message}");
    }

    #[test]
    fn an_empty_folder_and_endless_folders_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let empty = LabelTable::read(folder.path(), LabelLimits::default());
        assert!(matches!(empty, Err(LabelTableError::NoPatches { .. })));
        let labelled = labelled();
        let flat = LabelLimits { folder_depth: 0, ..LabelLimits::default() };
        let deep = LabelTable::read(labelled.path(), flat);
        assert!(matches!(deep, Err(LabelTableError::Folder(LabelFolderError::TooDeep { .. }))));
        let few = LabelLimits { files: 3, ..LabelLimits::default() };
        let many = LabelTable::read(labelled.path(), few);
        assert!(matches!(many, Err(LabelTableError::Folder(LabelFolderError::TooMany { .. }))));
    }
}
