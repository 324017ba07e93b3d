//! Headers to studies: which object belongs to which, and what came of every path that was given.
//! What is a slice is left to `sorting`; which series of a study is read, to `choose`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::find::{Found, Input};
use super::sorting::{Held, Sorting};
use super::source::{Source, SourceError};
use super::unread::{self, Fruitless, FruitlessReason, Unread};
use super::{LeftOut, LeftOutReason, Study, Warning};
use crate::dicom::{self, DicomError, Identity, SliceHeader};
use crate::limits::Limits;

/// Everything that was found, in studies.
#[derive(Debug)]
pub struct Assembly {
    /// Every study of which an object was found, also where none of its objects is a CT slice or can be read; by
    /// UID.
    pub studies: Vec<Study>,
    /// Objects without pixels, of which the study does not matter: directories, reports.
    pub left_out: Vec<LeftOut>,
    /// What could not be read, not even the study that it belongs to. Slices may be among it.
    pub unread: Vec<Unread>,
    /// The paths that the caller named of which nothing came, and that are not in [`Assembly::unread`].
    pub fruitless: Vec<Fruitless>,
    /// Files that are not DICOM.
    pub not_dicom: u32,
    /// The first of these.
    pub first_not_dicom: Option<String>,
}

impl Assembly {
    /// Warnings `unreadable_file` for what could not be read and may belong to any study: so they belong to all
    /// of them. [`Study::warnings`] has those of one study.
    pub fn warnings(&self) -> Vec<Warning> {
        unread::warnings(&self.unread)
    }
}

/// Reads the header of everything found, and sorts it.
///
/// Every path that the caller named ends in a study, in an [`Unread`] that is `named`, or in a [`Fruitless`].
pub fn assemble(found: Found, limits: &Limits) -> Assembly {
    Headers::default().assemble(found, limits)
}

/// Headers that were read before, for folders that are looked at again while files arrive in them.
#[derive(Default)]
pub struct Headers {
    known: HashMap<PathBuf, (Version, Vec<SliceHeader>)>,
    versions: HashMap<PathBuf, Option<Version>>,
    changed: bool,
}

/// What tells that a file was written to.
#[derive(Clone, Copy, PartialEq)]
struct Version {
    bytes: u64,
    written: Option<SystemTime>,
}

impl Version {
    fn of(path: &Path) -> Option<Version> {
        let metadata = path.metadata().ok()?;
        Some(Version { bytes: metadata.len(), written: metadata.modified().ok() })
    }
}

impl Headers {
    /// As [`assemble`], but for headers of files that have not changed since the last time: these are not read again.
    pub fn assemble(&mut self, found: Found, limits: &Limits) -> Assembly {
        let paths = found.sources.iter().map(|source| source.path().to_owned());
        let versions = paths.map(|path| (Version::of(&path), path)).map(|(version, path)| (path, version));
        let versions = versions.collect();
        self.changed = versions != self.versions;
        self.versions = versions;
        self.known.retain(|path, _| self.versions.contains_key(path));
        gather(found, limits, |source| self.read(source, limits))
    }

    /// Whether any file came, went or was written to between the last two times.
    pub fn changed(&self) -> bool {
        self.changed
    }

    fn read(&mut self, source: &Source, limits: &Limits) -> Header {
        let Some(path) = source.file_path() else { return read(source, limits) };
        let Some(&Some(version)) = self.versions.get(path) else { return read(source, limits) };
        if let Some((known, header)) = self.known.get(path)
            && *known == version
        {
            return Ok(header.clone());
        }
        let header = read(source, limits)?;
        self.known.insert(path.to_owned(), (version, header.clone()));
        Ok(header)
    }
}

fn gather(found: Found, limits: &Limits, mut read: impl FnMut(&Source) -> Header) -> Assembly {
    let mut assembly = Assembly {
        studies: Vec::new(),
        left_out: Vec::new(),
        unread: found.unread,
        fruitless: Vec::new(),
        not_dicom: found.inputs.iter().map(|input| input.not_dicom).fold(0, u32::saturating_add),
        first_not_dicom: found.inputs.iter().find_map(|input| input.first_not_dicom.clone()),
    };
    let mut studies: BTreeMap<String, Sorting> = BTreeMap::new();
    let mut held = Held { bytes: 0, limit: limits.held_bytes };
    let mut came: Vec<Came> = Vec::with_capacity(found.sources.len());
    for source in found.sources {
        let place = source.to_string();
        came.push(match read(&source) {
            Ok(headers) => {
                for header in headers {
                    let study = studies.entry(header.study_uid.clone()).or_default();
                    study.sort(&source, header, &mut held, limits);
                }
                Came::Sorted
            }
            Err((SourceError::Dicom(DicomError::NoPixelData), _)) => {
                assembly.left_out.push(LeftOut { place, reason: LeftOutReason::NoPixels });
                Came::WithoutPixels(assembly.left_out.len() - 1)
            }
            Err((error, Some(Identity { study_uid, series_uid }))) => {
                let study = studies.entry(study_uid).or_default();
                study.unread.push(Unread { place, named: false, series_uid, error });
                Came::Sorted
            }
            Err((error, None)) => {
                assembly.unread.push(Unread { place, named: false, series_uid: None, error });
                Came::Unread(assembly.unread.len() - 1)
            }
        });
    }
    assembly.studies = studies.into_iter().map(|(study_uid, sorting)| sorting.finish(study_uid)).collect();
    for input in &found.inputs {
        assembly.account_for(input, came.get(input.sources.clone()).unwrap_or_default(), limits);
    }
    assembly
}

/// What came of a source.
enum Came {
    /// It belongs to a study, readable or not.
    Sorted,
    /// Place in [`Assembly::left_out`].
    WithoutPixels(usize),
    /// Place in [`Assembly::unread`].
    Unread(usize),
}

/// The headers of a source's slices, or why there are none and where it belongs all the same.
type Header = Result<Vec<SliceHeader>, (SourceError, Option<Identity>)>;

fn read(source: &Source, limits: &Limits) -> Header {
    let bytes = source.read(limits).map_err(|error| (error, None))?;
    match dicom::Object::read(&bytes, limits) {
        Ok(object) => Ok(object.slices),
        Err(error) => Err((error.into(), dicom::identify(&bytes, limits))),
    }
}

impl Assembly {
    /// Sees to it that a named path of which nothing became part of a study is told to its caller.
    fn account_for(&mut self, input: &Input, came: &[Came], limits: &Limits) {
        let is_told = input.first_unread.is_some_and(|first| self.unread[first].named);
        if is_told || came.iter().any(|came| matches!(came, Came::Sorted)) {
            return;
        }
        let of_sources = came.iter().find_map(|came| match came {
            Came::Unread(place) => Some(*place),
            Came::Sorted | Came::WithoutPixels(_) => None,
        });
        if let Some(unread) = of_sources.or(input.first_unread) {
            self.unread[unread].named = true;
            return;
        }
        let no_pixels = came.iter().find_map(|came| match came {
            Came::WithoutPixels(place) => self.left_out.get(*place),
            Came::Sorted | Came::Unread(_) => None,
        });
        let reason = match (no_pixels, &input.first_not_dicom) {
            _ if !input.reached => FruitlessReason::NotReached { limit: limits.entries },
            // Whatever is in it was accounted for under the path that was named before.
            _ if input.found_before => return,
            (Some(first), _) => {
                FruitlessReason::NoPixels { count: came.len() as u32, first: first.place.clone() }
            }
            (None, Some(first)) => FruitlessReason::NotDicom { count: input.not_dicom, first: first.clone() },
            (None, None) => FruitlessReason::Empty,
        };
        self.fruitless.push(Fruitless { place: input.place.clone(), reason });
    }
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;

    use super::*;
    use crate::dicom::crafted::{self, Crafted};
    use crate::series::{Series, find};

    /// Assembles the given slices, which lie in one folder in this order.
    fn assembled(files: &[Vec<u8>], limits: &Limits) -> Assembly {
        let folder = tempfile::tempdir().unwrap();
        for (number, file) in files.iter().enumerate() {
            std::fs::write(folder.path().join(format!("{number:03}")), file).unwrap();
        }
        assemble(find(&[folder.path().to_owned()], limits), limits)
    }

    fn slice(uid: u32, place_mm: f64) -> Crafted {
        Crafted::slice(4, 4).text(0x0008, 0x0018, b"UI", &format!("1.2.{uid}")).text(
            0x0020,
            0x0032,
            b"DS",
            &format!("0\\0\\{place_mm}"),
        )
    }

    fn places(series: &Series) -> Vec<f64> {
        series.slices.iter().map(|slice| slice.z_mm).collect()
    }

    fn codes(series: &Series) -> Vec<&'static str> {
        series.warnings.iter().map(|warning| warning.code).collect()
    }

    #[test]
    fn slices_are_ordered_by_place_and_each_place_is_kept_once() {
        let files: Vec<Vec<u8>> = [(4, 10.0), (9, 5.0), (2, 0.0), (3, 5.004), (7, 15.0)]
            .map(|(uid, place)| slice(uid, place).file())
            .into();
        let assembly = assembled(&files, &Limits::default());
        let study = &assembly.studies[0];
        assert_eq!(places(&study.series[0]), [0.0, 5.004, 10.0, 15.0]);
        assert_eq!(study.series[0].slices[1].header.sop_instance_uid, "1.2.3");
        assert_eq!(codes(&study.series[0]), ["duplicate_positions"]);
        assert_eq!(study.left_out[0].reason, LeftOutReason::DuplicatePosition);
    }

    #[test]
    fn what_is_no_axial_ct_slice_is_left_out_with_its_reason() {
        let text = |group, element, vr, value| slice(1, 0.0).text(group, element, vr, value).file();
        for (file, reason) in [
            (text(0x0008, 0x0016, b"UI", uids::MR_IMAGE_STORAGE), LeftOutReason::NotCt),
            (text(0x0008, 0x0008, b"CS", "ORIGINAL\\PRIMARY\\LOCALIZER"), LeftOutReason::Localizer),
            (
                text(0x0008, 0x0008, b"CS", "DERIVED\\SECONDARY\\OTHER\\CT_SOM5 PROT"),
                LeftOutReason::NotASlice,
            ),
            (slice(1, 0.0).without(0x0020, 0x0032).file(), LeftOutReason::NoPosition),
            (text(0x0020, 0x0037, b"DS", "1\\0\\0\\0\\0\\-1"), LeftOutReason::NotAxial),
            (text(0x0028, 0x1054, b"LO", "Z_EFF"), LeftOutReason::NotHounsfield),
        ] {
            let assembly = assembled(&[file], &Limits::default());
            let study = &assembly.studies[0];
            assert!(study.series.is_empty());
            assert_eq!(study.left_out[0].reason, reason);
        }
    }

    #[test]
    fn headers_of_files_that_have_not_changed_are_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [1, 2, 3].map(|number: u32| folder.path().join(number.to_string()));
        let limits = Limits::default();
        let mut headers = Headers::default();
        let mut places_now = || {
            let assembly = headers.assemble(find(&[folder.path().to_owned()], &limits), &limits);
            assembly.studies.first().map_or(Vec::new(), |study| places(&study.series[0]))
        };
        assert!(places_now().is_empty());
        std::fs::write(&paths[0], slice(1, 0.0).file()).unwrap();
        let mut cut_off = slice(2, 5.0).file();
        let rest = cut_off.split_off(cut_off.len() - 4);
        std::fs::write(&paths[1], &cut_off).unwrap();
        assert_eq!(places_now(), [0.0]);
        std::fs::write(&paths[1], [cut_off, rest].concat()).unwrap();
        assert_eq!(places_now(), [0.0, 5.0]);
        // The same length and time, but not the same slice: it is not looked at.
        let written = std::fs::metadata(&paths[0]).unwrap().modified().unwrap();
        std::fs::write(&paths[0], slice(1, 9.0).file()).unwrap();
        let file = std::fs::File::options().write(true).open(&paths[0]).unwrap();
        file.set_modified(written).unwrap();
        assert_eq!(places_now(), [0.0, 5.0]);
        file.set_modified(written + std::time::Duration::from_secs(2)).unwrap();
        assert_eq!(places_now(), [5.0, 9.0]);
        std::fs::remove_file(&paths[1]).unwrap();
        std::fs::write(&paths[2], slice(3, -5.0).file()).unwrap();
        assert_eq!(places_now(), [-5.0, 9.0]);
    }

    #[test]
    fn a_copy_of_a_slice_is_taken_once() {
        let file = slice(1, 0.0).file();
        let assembly = assembled(&[file.clone(), file], &Limits::default());
        let study = &assembly.studies[0];
        assert_eq!(study.series[0].slices.len(), 1);
        assert_eq!(study.left_out[0].reason, LeftOutReason::Copy);
    }

    #[test]
    fn unreadable_files_are_never_lost() {
        let mut truncated = slice(1, 0.0).file();
        truncated.truncate(truncated.len() - 9);
        let directory = crafted::file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[]);
        let foreign = crafted::file("1.2.840.113619.5.2", &[]);
        let files = [truncated, directory, vec![b'x'; 500], slice(2, 5.0).file(), foreign];
        let assembly = assembled(&files, &Limits::default());
        assert_eq!(assembly.studies.len(), 1);
        assert_eq!(assembly.not_dicom, 1);
        assert!(assembly.first_not_dicom.as_ref().unwrap().ends_with("002"));
        assert_eq!(assembly.left_out[0].reason, LeftOutReason::NoPixels);
        let warnings = assembly.studies[0].warnings();
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].code, "unreadable_file");
        assert!(warnings[0].detail.ends_with("000: (7FE0,0010) PixelData: 32 bytes expected, 23 present"));
        assert_eq!(assembly.warnings().len(), 1);
        assert!(assembly.warnings()[0].detail.contains("004: transfer syntax 1.2.840.113619.5.2"));
        assert!(assembly.fruitless.is_empty() && !assembly.unread[0].named);
    }

    #[test]
    fn a_study_of_broken_files_is_still_a_study() {
        // Of two studies in a folder, every file of one was cut off. Its files became warnings of the other,
        // which ended without an alert, and with exit code 0: nobody learned that a study was not judged.
        let study_b = |number: u32| slice(number, 0.0).text(0x0020, 0x000D, b"UI", "1.2.3.9");
        let cut = |file: Vec<u8>| file[..file.len() - 9].to_vec();
        let files = [slice(1, 0.0).file(), cut(study_b(2).file()), cut(study_b(3).file())];
        let assembly = assembled(&files, &Limits::default());
        let [a, b] = &assembly.studies[..] else { panic!("two studies") };
        assert!(a.unread.is_empty() && a.warnings().is_empty() && assembly.warnings().is_empty());
        assert_eq!((b.study_uid.as_str(), b.series.len(), b.unread.len()), ("1.2.3.9", 0, 2));
        assert_eq!(b.unread[0].series_uid.as_deref(), Some("1.2.3.2"));
    }

    #[test]
    fn every_named_path_comes_to_something() {
        // Beside a study that was judged, an empty folder, a folder of texts, a report that was named, and a
        // folder of broken files ended without a word.
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        let report = crafted::file(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[]);
        write("good/1", &slice(1, 0.0).file());
        write("good/2", &report);
        write("texts/a.txt", b"a");
        write("texts/b.txt", b"b");
        write("report.dcm", &report);
        write("broken/1", &slice(2, 0.0).file()[..200]);
        write("broken/2", &slice(3, 0.0).file()[..200]);
        let names = ["good", "empty", "texts", "report.dcm", "broken", "good/1", "missing"];
        let paths: Vec<PathBuf> = names.map(|name| folder.path().join(name)).into();
        let limits = Limits::default();
        let assembly = assemble(find(&paths, &limits), &limits);
        let root = format!("{}/", folder.path().display());
        let told: Vec<String> =
            assembly.fruitless.iter().map(|fruitless| fruitless.to_string().replace(&root, "")).collect();
        assert_eq!(
            told,
            [
                "empty: no file was found",
                "texts: none of the 2 files is DICOM, first: texts/a.txt",
                "report.dcm: the object has no pixel data",
            ]
        );
        let named = assembly.unread.iter().filter(|unread| unread.named);
        let named: Vec<String> = named.map(|unread| unread.place.replace(&root, "")).collect();
        assert_eq!(named, ["missing", "broken/1"]);
        let limits = Limits { entries: 2, ..limits };
        let assembly = assemble(find(&paths, &limits), &limits);
        assert_eq!(assembly.fruitless.len(), 6);
        assert!(assembly.fruitless[0].to_string().ends_with("the limit of 2 files was reached before"));
    }

    #[test]
    fn of_two_copies_the_one_that_can_be_decoded_is_kept() {
        // An archive sent a series twice, compressed and not. The compressed copy came first in the folder, and
        // the study was refused for it.
        let compressed = [
            &crafted::file("1.2.840.10008.1.2.4.102", &slice(1, 0.0).data_set())[..],
            b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\0\0\0\0\
            \xFE\xFF\x00\xE0\x02\0\0\0ab\xFE\xFF\xDD\xE0\0\0\0\0",
        ]
        .concat();
        let plain = slice(1, 0.0).file();
        for (files, left_out) in [([&compressed, &plain], "000"), ([&plain, &compressed], "001")] {
            let assembly = assembled(&files.map(Vec::clone), &Limits::default());
            let study = &assembly.studies[0];
            let kept = &study.series[0].slices[0].header.transfer_syntax;
            assert_eq!(kept, uids::EXPLICIT_VR_LITTLE_ENDIAN);
            assert_eq!(study.left_out[0].reason, LeftOutReason::Copy);
            assert!(study.left_out[0].place.ends_with(left_out));
        }
    }

    #[test]
    fn two_stacks_in_one_series_are_kept_apart() {
        let tilted = |uid, place| {
            slice(uid, place).text(0x0020, 0x0037, b"DS", "1\\0\\0\\0\\0.9483237\\-0.3173047").file()
        };
        let files = [slice(1, 0.0).file(), tilted(2, 10.0), slice(3, 5.0).file(), tilted(4, 20.0)];
        let assembly = assembled(&files, &Limits::default());
        let series = &assembly.studies[0].series;
        assert_eq!(series.len(), 2);
        assert_eq!(codes(&series[0]), ["split_series"]);
        assert_eq!(codes(&series[1]), ["gantry_tilt", "split_series"]);
        assert_eq!(series[1].warnings[0].detail, "18.5 degrees");
    }

    #[test]
    fn a_second_scan_of_the_same_places_is_kept_apart() {
        let files: Vec<Vec<u8>> = (0..8)
            .map(|number| {
                slice(number, f64::from(number % 4) * 5.0)
                    .text(0x0020, 0x0012, b"IS", &(number / 4).to_string())
                    .file()
            })
            .collect();
        let assembly = assembled(&files, &Limits::default());
        let series = &assembly.studies[0].series;
        assert_eq!(series.len(), 2);
        assert!(series.iter().all(|series| series.slices.len() == 4));
        // One acquisition number a slice, as step-and-shoot scanners count, splits nothing.
        let files: Vec<Vec<u8>> = (0..6)
            .map(|number| {
                slice(number, f64::from(number) * 5.0).text(0x0020, 0x0012, b"IS", &number.to_string()).file()
            })
            .collect();
        let assembly = assembled(&files, &Limits::default());
        assert_eq!(assembly.studies[0].series.len(), 1);
    }

    #[test]
    fn a_series_over_the_limit_is_left_out_whole() {
        // A part of it would look like a complete head without a hematoma.
        let files: Vec<Vec<u8>> = (0..4).map(|number| slice(number, f64::from(number)).file()).collect();
        let limits = Limits { slices: 3, ..Limits::default() };
        let assembly = assembled(&files, &limits);
        assert!(assembly.studies[0].series.is_empty());
        assert_eq!(assembly.studies[0].left_out.len(), 4);
    }

    #[test]
    fn headers_are_held_up_to_a_limit_over_all_series() {
        // Limits were looked at when all headers were in memory already, and there was none over all series.
        let of_series = |number: u32, series: &str| {
            slice(number, f64::from(number)).text(0x0020, 0x000E, b"UI", series).file()
        };
        let files: Vec<Vec<u8>> =
            [(1, "1.1"), (2, "1.2"), (3, "1.2"), (4, "1.2"), (5, "1.3")].map(|(n, s)| of_series(n, s)).into();
        let one = SliceHeader::held_bytes(&crafted::read_header(&files[0], &Limits::default()).unwrap().0);
        let limits = Limits { held_bytes: 3 * one, ..Limits::default() };
        let study = &assembled(&files, &limits).studies[0];
        let kept: Vec<&str> = study.series.iter().map(|series| series.series_uid.as_str()).collect();
        assert_eq!(kept, ["1.1", "1.3"], "the series that met the limit made room");
        assert_eq!(
            LeftOut::summary(&study.left_out).unwrap().split(',').next(),
            Some("3 (too many slices in the series)")
        );
    }
}
