//! The series of a study that is read: the unenhanced soft-tissue series of the head.
//! What becomes of a study without one is left to `study`.

use std::cmp::Ordering;

use thiserror::Error;

use super::kernel::{KernelClass, kernel_class};
use super::naming::{HeadEvidence, has_contrast, head_evidence};
use super::{Series, Study, Unread, Warning};
use crate::dicom::{DicomError, check_decodable};

/// The thickness, in mm, at which heads are read.
///
/// Thinner slices have more noise, and gray and white matter differ by only 5 to 10 HU.
const BEST_MM: f64 = 5.0;

/// Beyond this thickness, in mm, a hematoma is mixed with what lies above and below it.
const THICKEST_MM: f64 = 6.0;

/// The series that is read.
#[derive(Debug)]
pub struct Choice<'a> {
    /// The series.
    pub series: &'a Series,
    /// Why it is thought to be a head.
    pub head: HeadEvidence,
    /// One sentence for the report. Holds no free text of the header.
    pub reason: String,
    /// What is unusual about the choice. What is unusual about the series stands in [`Series::warnings`].
    pub warnings: Vec<Warning>,
}

/// Why a study has no series to read.
#[derive(Debug, Error)]
pub enum NoSeries<'a> {
    /// No axial CT slice.
    #[error("the study has no axial CT series")]
    NoCtSeries,
    /// No series of a head.
    #[error("no series is one of a head")]
    NotHead,
    /// The best series is too short.
    #[error("the series has {slices} of the {needed} slices that are needed")]
    TooFewSlices {
        /// Slices of the best series.
        slices: usize,
        /// Slices asked for.
        needed: usize,
    },
    /// The pixels of the best series cannot be read.
    #[error(transparent)]
    Undecodable(DicomError),
    /// What can be read is no series to judge, and what cannot be read may have been one.
    #[error("{count} objects of the study cannot be read, first: {first}")]
    Unreadable {
        /// Objects that cannot be read.
        count: usize,
        /// The first of them.
        first: &'a Unread,
    },
}

/// Chooses the series to read, of at least `needed` slices.
///
/// In this order: a head; enough slices; named as a head; a soft-tissue kernel; no contrast agent, which is as
/// bright as blood; a thickness near 5 mm and up to 6 mm; original rather than derived. What is left is decided
/// by the extent of the head that is covered, then by the order within the study.
///
/// Where the pixels of the best series cannot be read, the next takes its place only if its kernel is no sharper
/// and it has no contrast agent that the best one lacks: a bone series must not stand in for the brain.
///
/// # Errors
/// There is no series to read; see [`NoSeries`].
pub fn choose(study: &Study, needed: usize) -> Result<Choice<'_>, NoSeries<'_>> {
    let (merits, series) = best(study, needed, |_| true)
        .ok_or(NoSeries::NoCtSeries)
        .and_then(|best| {
            let (merits, series) = &best;
            if merits.head == HeadEvidence::Other {
                Err(NoSeries::NotHead)
            } else if !merits.enough {
                Err(NoSeries::TooFewSlices { slices: series.slices.len(), needed })
            } else {
                Ok(best)
            }
        })
        // What could not be read may be the very slices that are missing.
        .map_err(|none| unreadable(study).unwrap_or(none))?;
    let among = study.series.len();
    let Some(error) = undecodable(series) else {
        let reason = merits.reason(series, among);
        let warnings = merits.warnings();
        return Ok(Choice { series, head: merits.head, reason, warnings });
    };
    let may_stand_in = |other: &Merits| {
        let is_head = other.head != HeadEvidence::Other && other.enough;
        other.decodable && is_head && other.kernel >= merits.kernel && other.plain >= merits.plain
    };
    let Some((next, stand_in)) = best(study, needed, may_stand_in) else {
        return Err(NoSeries::Undecodable(error));
    };
    let better = format!("series {} would be better: {error}", series.series_uid);
    Ok(Choice {
        series: stand_in,
        head: next.head,
        reason: format!("{}; a better one cannot be decoded", next.reason(stand_in, among)),
        warnings: [next.warnings(), vec![Warning::new("better_series_unreadable", better)]].concat(),
    })
}

/// The best of the series with such merits; the first of equals.
fn best(study: &Study, needed: usize, fits: impl Fn(&Merits) -> bool) -> Option<(Merits, &Series)> {
    let rated = study.series.iter().map(|series| (Merits::of(series, needed), series));
    rated
        .filter(|(merits, _)| fits(merits))
        .reduce(|best, other| if other.0.compare(&best.0) == Ordering::Greater { other } else { best })
}

/// The refusal of a study that has objects that cannot be read, but for those of series that are no head.
fn unreadable(study: &Study) -> Option<NoSeries<'_>> {
    let others = |series_uid: &str| {
        let mut of_series = study.series.iter().filter(|series| series.series_uid == series_uid).peekable();
        of_series.peek().is_some() && of_series.all(|series| head_evidence(series) == HeadEvidence::Other)
    };
    let may_be_head = |unread: &&Unread| !unread.series_uid.as_deref().is_some_and(others);
    let mut unread = study.unread.iter().filter(may_be_head);
    let first = unread.next()?;
    Some(NoSeries::Unreadable { count: 1 + unread.count(), first })
}

/// The first reason that keeps the pixels of a series from being read.
fn undecodable(series: &Series) -> Option<DicomError> {
    series.slices.iter().find_map(|slice| check_decodable(&slice.header).err())
}

/// What speaks for a series, the weightiest first.
struct Merits {
    /// Counts only between those that may stand in for one that cannot be decoded.
    decodable: bool,
    enough: bool,
    head: HeadEvidence,
    kernel: KernelClass,
    plain: bool,
    original: bool,
    thickness_mm: f64,
    covered_mm: f64,
}

impl Merits {
    fn of(series: &Series, needed: usize) -> Merits {
        let header = series.header();
        let nominal = thickness_range_mm(series);
        Merits {
            decodable: undecodable(series).is_none(),
            enough: series.slices.len() >= needed,
            head: head_evidence(series),
            kernel: header
                .and_then(|header| header.convolution_kernel.as_deref())
                .map_or(KernelClass::Unknown, kernel_class),
            plain: !has_contrast(series),
            original: header
                .is_some_and(|header| header.image_type.first().is_none_or(|kind| kind != "DERIVED")),
            // Thickness is what noise depends on, and overlapping slices are thicker than their distance.
            thickness_mm: nominal.map(|(_, thickest)| thickest).or(series.spacing_mm).unwrap_or(0.0),
            covered_mm: series.slices.iter().map(|slice| slice.slab_mm).sum(),
        }
    }

    fn compare(&self, other: &Merits) -> Ordering {
        let is_head = |merits: &Merits| merits.head != HeadEvidence::Other;
        // In half millimetres: 4.98 and 5 mm are one thickness.
        let off = |merits: &Merits| {
            let off_mm = match merits.thickness_mm {
                thick_mm if thick_mm > THICKEST_MM => thick_mm,
                thin_mm => (thin_mm - BEST_MM).abs(),
            };
            (2.0 * off_mm).round()
        };
        is_head(self)
            .cmp(&is_head(other))
            .then(self.enough.cmp(&other.enough))
            .then(self.head.cmp(&other.head))
            .then(self.kernel.cmp(&other.kernel))
            .then(self.plain.cmp(&other.plain))
            .then(off(other).total_cmp(&off(self)))
            .then(self.original.cmp(&other.original))
            .then(self.covered_mm.total_cmp(&other.covered_mm))
    }

    /// What may make the verdict worse, although there is nothing better.
    fn warnings(&self) -> Vec<Warning> {
        let sharp = "a bone kernel: its noise hides what is little denser than brain";
        (self.kernel == KernelClass::Sharp).then(|| Warning::new("sharp_kernel", sharp)).into_iter().collect()
    }

    fn reason(&self, series: &Series, among: usize) -> String {
        let head = match self.head {
            HeadEvidence::Named => "named as head",
            HeadEvidence::FieldOfView | HeadEvidence::Other => "field of view of a head",
        };
        let kernel = match self.kernel {
            KernelClass::SoftTissue => "soft-tissue kernel",
            KernelClass::Unknown => "kernel not known",
            KernelClass::Sharp => "sharp kernel",
        };
        let contrast = if self.plain { "no contrast agent" } else { "contrast agent" };
        let origin = if self.original { "original" } else { "derived" };
        let slices = series.slices.len();
        let thickness = match thickness_range_mm(series) {
            Some((thinnest, thickest)) if thinnest < thickest => format!("{thinnest:.1} to {thickest:.1}"),
            _ => format!("{:.1}", self.thickness_mm),
        };
        let choice = match among {
            1 => "the only axial CT series".to_owned(),
            _ => format!("chosen of {among} axial CT series"),
        };
        format!("{choice}: {head}, {slices} slices, {thickness} mm thick, {kernel}, {contrast}, {origin}")
    }
}

/// Least and greatest nominal thickness; None where no slice gives one.
fn thickness_range_mm(series: &Series) -> Option<(f64, f64)> {
    let nominal = series.slices.iter().filter_map(|slice| slice.header.slice_thickness_mm);
    nominal.fold(None, |range, thickness| match range {
        None => Some((thickness, thickness)),
        Some((thinnest, thickest)) => Some((thickness.min(thinnest), thickness.max(thickest))),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::dicom::crafted::Crafted;
    use crate::limits::Limits;
    use crate::series::{assemble, find};

    /// A series of the head: 10 slices of 64 x 64 pixels of 4 mm, unless changed.
    fn write(folder: &Path, number: u16, change: impl Fn(Crafted) -> Crafted) {
        for slice in 0..10 {
            let crafted = Crafted::slice(64, 64)
                .text(0x0008, 0x0018, b"UI", &format!("1.2.{number}.{slice}"))
                .text(0x0018, 0x0015, b"CS", "HEAD")
                .text(0x0018, 0x0050, b"DS", "5")
                .text(0x0018, 0x1210, b"SH", "H30s")
                .text(0x0020, 0x000E, b"UI", &format!("1.2.{number}"))
                .text(0x0020, 0x0011, b"IS", &number.to_string())
                .text(0x0020, 0x0032, b"DS", &format!("0\\0\\{}", slice * 5))
                .text(0x0028, 0x0030, b"DS", "4\\4");
            let path = folder.join(format!("{number}-{slice}"));
            std::fs::write(path, change(crafted).file()).unwrap();
        }
    }

    /// Makes a series of two frames a slice, which cannot be decoded.
    fn undecodable(slice: Crafted) -> Crafted {
        let mut slice = slice.number(0x0028, 0x0002, 3);
        slice.cells = slice.cells.repeat(3);
        slice
    }

    /// The chosen series and its warnings, or why there is none, as the report tells it.
    fn told(folder: &Path) -> Result<(String, Vec<Warning>), String> {
        let limits = Limits::default();
        let assembly = assemble(find(&[folder.to_owned()], &limits), &limits);
        match choose(&assembly.studies[0], 8) {
            Ok(choice) => Ok((choice.series.series_uid.clone(), choice.warnings)),
            Err(none) => Err(none.to_string()),
        }
    }

    fn variant(none: &NoSeries<'_>) -> &'static str {
        match none {
            NoSeries::NoCtSeries => "NoCtSeries",
            NoSeries::NotHead => "NotHead",
            NoSeries::TooFewSlices { .. } => "TooFewSlices",
            NoSeries::Undecodable(_) => "Undecodable",
            NoSeries::Unreadable { .. } => "Unreadable",
        }
    }

    fn chosen(folder: &Path) -> Result<String, &'static str> {
        let limits = Limits::default();
        let assembly = assemble(find(&[folder.to_owned()], &limits), &limits);
        match choose(&assembly.studies[0], 8) {
            Ok(choice) => Ok(format!("{} {}", choice.series.series_uid, choice.reason)),
            Err(none) => Err(variant(&none)),
        }
    }

    #[test]
    fn takes_the_plain_thick_soft_tissue_series() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, 1, |slice| slice.text(0x0018, 0x1210, b"SH", "H70h"));
        write(folder, 2, |slice| slice.text(0x0018, 0x0010, b"LO", "Agent"));
        write(folder, 3, |slice| slice.text(0x0018, 0x0050, b"DS", "1"));
        write(folder, 4, |slice| slice);
        write(folder, 5, |slice| slice.text(0x0018, 0x0050, b"DS", "10"));
        write(folder, 6, |slice| slice.text(0x0008, 0x0008, b"CS", "DERIVED\\SECONDARY\\AXIAL"));
        write(folder, 7, |slice| slice.text(0x0018, 0x0015, b"CS", "CHEST"));
        assert_eq!(
            chosen(folder).unwrap(),
            "1.2.4 chosen of 7 axial CT series: named as head, 10 slices, 5.0 mm thick, \
             soft-tissue kernel, no contrast agent, original"
        );
    }

    #[test]
    fn a_study_without_a_head_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 1, |slice| slice.text(0x0018, 0x0015, b"CS", "CHEST"));
        assert_eq!(chosen(folder.path()), Err("NotHead"));
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 1, |slice| slice.without(0x0018, 0x0015).text(0x0028, 0x0030, b"DS", "7\\7"));
        assert_eq!(chosen(folder.path()), Err("NotHead"));
    }

    #[test]
    fn too_few_slices_and_no_slices_have_codes() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 1, |slice| slice);
        for slice in 0..3 {
            std::fs::remove_file(folder.path().join(format!("1-{slice}"))).unwrap();
        }
        assert_eq!(chosen(folder.path()), Err("TooFewSlices"));
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 1, |slice| slice.text(0x0008, 0x0008, b"CS", "ORIGINAL\\PRIMARY\\LOCALIZER"));
        assert_eq!(chosen(folder.path()), Err("NoCtSeries"));
    }

    #[test]
    fn pixels_that_cannot_be_read_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 1, undecodable);
        assert_eq!(chosen(folder.path()), Err("Undecodable"));
    }

    #[test]
    fn a_compressed_head_is_refused_as_such_beside_a_chest() {
        // Pixels that can be read weighed more than the head: the chest was taken, and the study was refused as
        // one that shows no head.
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 1, undecodable);
        write(folder.path(), 2, |slice| slice.text(0x0018, 0x0015, b"CS", "CHEST"));
        assert_eq!(chosen(folder.path()), Err("Undecodable"));
    }

    #[test]
    fn a_bone_or_contrast_series_does_not_stand_in_for_the_brain() {
        // The brain series was compressed, so the bone series was judged, without a word.
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, 1, undecodable);
        write(folder, 2, |slice| slice.text(0x0018, 0x1210, b"SH", "H70h"));
        write(folder, 3, |slice| slice.text(0x0018, 0x0010, b"LO", "Agent"));
        assert_eq!(told(folder), Err("3 samples per pixel are not supported".to_owned()));
        write(folder, 4, |slice| slice.text(0x0018, 0x0050, b"DS", "1"));
        let (series_uid, warnings) = told(folder).unwrap();
        assert_eq!(series_uid, "1.2.4");
        assert_eq!(warnings[0].code, "better_series_unreadable");
        assert_eq!(warnings[0].detail, "series 1.2.1 would be better: 3 samples per pixel are not supported");
        assert!(chosen(folder).unwrap().ends_with("original; a better one cannot be decoded"));
    }

    #[test]
    fn thick_derived_slices_are_read_rather_than_thin_original_ones() {
        // Originals of 0.6 mm outranked the axial 5 mm series that was made of them to be read.
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let derived = |slice: Crafted| slice.text(0x0008, 0x0008, b"CS", "DERIVED\\SECONDARY\\AXIAL");
        write(folder, 1, |slice| slice.text(0x0018, 0x0050, b"DS", "0.6"));
        write(folder, 2, derived);
        assert_eq!(told(folder).unwrap().0, "1.2.2");
        write(folder, 3, |slice| slice.text(0x0018, 0x0050, b"DS", "4.98"));
        assert_eq!(told(folder).unwrap().0, "1.2.3", "of equals, the original");
    }

    #[test]
    fn a_study_of_which_the_head_cannot_be_read_says_so_and_names_a_file() {
        // All slices of a study were cut off, and the study said that it had no CT series.
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let cut = |number: u16, keep: usize| {
            for slice in keep..10 {
                let path = folder.join(format!("{number}-{slice}"));
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
            }
        };
        write(folder, 1, |slice| slice);
        cut(1, 0);
        let refusal = told(folder).unwrap_err();
        assert!(refusal.starts_with("10 objects of the study cannot be read, first: "), "{refusal}");
        assert!(refusal.ends_with("1-0: (7FE0,0010) PixelData: 8192 bytes expected, 8092 present"));
        write(folder, 1, |slice| slice);
        cut(1, 4);
        assert_eq!(chosen(folder), Err("Unreadable"), "of 10 slices, 4 can be read");
        write(folder, 2, |slice| slice.text(0x0018, 0x0015, b"CS", "CHEST"));
        cut(1, 0);
        assert_eq!(chosen(folder), Err("Unreadable"), "the head is what cannot be read");
        write(folder, 3, |slice| slice);
        assert!(chosen(folder).is_ok());
        for number in [1, 3] {
            (0..10).for_each(|slice| std::fs::remove_file(folder.join(format!("{number}-{slice}"))).unwrap());
        }
        cut(2, 9);
        assert_eq!(chosen(folder), Err("NotHead"), "a broken slice of a chest is no head");
    }
}
