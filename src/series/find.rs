//! DICOM objects among files, folders and ZIP archives.
//! Only the first bytes of each are looked at; what the objects are is left to `assemble`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::archive;
use super::source::{Source, SourceError, place};
use super::suspect::{Kin, is_named_archive, is_named_dicom};
use super::unread::Unread;
use crate::dicom::{DicomError, claims_dicom};
use crate::limits::Limits;
use crate::mapped::MappedError;

/// Bytes that tell DICOM: the preamble and the four letters behind it.
const BEGINNING: usize = 132;

/// What was found under the given paths.
#[derive(Debug, Default)]
pub struct Found {
    /// Everything that claims to be DICOM, in the order of the paths given and of names within folders.
    pub sources: Vec<Source>,
    /// What could not be looked at. Never dropped: somebody may be waiting for its result.
    pub unread: Vec<Unread>,
    /// What was found under each path that the caller named, in the caller's order.
    pub inputs: Vec<Input>,
}

/// What was found under one path that the caller named.
#[derive(Debug, Default)]
pub struct Input {
    /// The path.
    pub place: String,
    /// Its share of [`Found::sources`].
    pub sources: Range<usize>,
    /// Files and ZIP members that are not DICOM and do not seem to have been meant to be.
    pub not_dicom: u32,
    /// The first of these.
    pub first_not_dicom: Option<String>,
    /// The first of [`Found::unread`] that lies under it.
    pub first_unread: Option<usize>,
    /// True where it, or something below it, was found under a path named before.
    pub found_before: bool,
    /// False where the search ended at a limit before its turn came.
    pub reached: bool,
}

/// Searches files, folders in depth, and ZIP archives, in a deterministic order.
///
/// A file that is not DICOM is an [`Unread`] where the caller named it, and where its name or the files beside it
/// say that it was meant to be; others below a folder or in an archive are counted. Links are followed; a file or
/// folder reached twice is taken once, so links that lead in circles end. Reaching [`Limits::entries`] ends the
/// search with an [`Unread`] that says so.
pub fn find(paths: &[PathBuf], limits: &Limits) -> Found {
    let inputs = paths.iter().map(|path| Input { place: place(path), ..Input::default() });
    let mut search = Search {
        limits,
        found: Found { inputs: inputs.collect(), ..Found::default() },
        visited: BTreeMap::new(),
        entries: 0,
        kin: BTreeSet::new(),
        stubs: Vec::new(),
    };
    // The next path to look at is the last of the list, so that folders are walked in depth without recursion.
    let named = paths.iter().enumerate().rev();
    let mut waiting: Vec<Visit> =
        named.map(|(input, path)| Visit { path: path.clone(), depth: 0, input }).collect();
    while let Some(visit) = waiting.pop() {
        match search.visit(&visit) {
            Ok(mut below) => {
                below.reverse();
                waiting.append(&mut below);
            }
            Err(error) => search.unread(visit.input, place(&visit.path), visit.depth == 0, error),
        }
        if search.entries > limits.entries {
            let error = SourceError::Limit {
                what: "the number of files looked at",
                limit: u64::from(limits.entries),
            };
            search.unread(visit.input, place(&visit.path), true, error);
            break;
        }
    }
    search.judge_stubs();
    search.found
}

struct Visit {
    path: PathBuf,
    /// Folders between a given path and this one; 0 for a given path itself.
    depth: u16,
    /// Which of the given paths it lies under.
    input: usize,
}

/// A file too short to be DICOM: nothing of interest, or what is left of a slice.
struct Stub {
    input: usize,
    place: String,
    kin: Option<Kin>,
    is_empty: bool,
}

struct Search<'a> {
    limits: &'a Limits,
    found: Found,
    /// Files and folders, and under which of the given paths each was found.
    visited: BTreeMap<PathBuf, usize>,
    entries: u32,
    /// Of the DICOM objects found.
    kin: BTreeSet<Kin>,
    /// Judged in the end, when it is known what lies beside them.
    stubs: Vec<Stub>,
}

impl Search<'_> {
    fn unread(&mut self, input: usize, place: String, named: bool, error: SourceError) {
        self.found.inputs[input].first_unread.get_or_insert(self.found.unread.len());
        self.found.unread.push(Unread { place, named, series_uid: None, error });
    }

    /// Takes in an object. The paths given are searched one after the other, so the share of each is a range.
    fn source(&mut self, input: usize, source: Source, kin: Option<Kin>) {
        let place = self.found.sources.len();
        let share = &mut self.found.inputs[input].sources;
        *share = if share.start == share.end { place..place + 1 } else { share.start..place + 1 };
        self.found.sources.push(source);
        self.kin.extend(kin);
    }

    /// Takes in a file below a named path, or a member of an archive, that is not DICOM.
    fn other(&mut self, input: usize, place: String, name: &Path, beginning: &[u8], kin: Option<Kin>) {
        if is_named_dicom(name) {
            self.unread(input, place, false, not_dicom(beginning.is_empty()));
        } else if beginning.len() < BEGINNING {
            self.stubs.push(Stub { input, place, kin, is_empty: beginning.is_empty() });
        } else {
            self.count(input, place);
        }
    }

    fn count(&mut self, input: usize, place: String) {
        let input = &mut self.found.inputs[input];
        input.not_dicom += 1;
        input.first_not_dicom.get_or_insert(place);
    }

    /// A stub beside DICOM objects whose names end like its own is one that was not written to its end.
    fn judge_stubs(&mut self) {
        for stub in std::mem::take(&mut self.stubs) {
            if stub.kin.is_some_and(|kin| self.kin.contains(&kin)) {
                self.unread(stub.input, stub.place, false, not_dicom(stub.is_empty));
            } else {
                self.count(stub.input, stub.place);
            }
        }
    }

    /// Looks at one path; gives back what a folder holds.
    fn visit(&mut self, visit: &Visit) -> Result<Vec<Visit>, SourceError> {
        let path = &visit.path;
        self.entries = self.entries.saturating_add(1);
        self.found.inputs[visit.input].reached = true;
        let read = |source| MappedError::Read { path: path.clone(), source };
        let real = path.canonicalize().map_err(read)?;
        let kind = std::fs::metadata(&real).map_err(read)?.file_type();
        if let Some(&before) = self.visited.get(&real) {
            self.found.inputs[visit.input].found_before |= before != visit.input;
            return Ok(Vec::new());
        }
        self.visited.insert(real, visit.input);
        if kind.is_dir() {
            return self.list(visit);
        }
        if !kind.is_file() {
            if visit.depth == 0 {
                return Err(MappedError::NotAFile { path: path.clone() }.into());
            }
            self.count(visit.input, place(path));
            return Ok(Vec::new());
        }
        let mut beginning = Vec::with_capacity(BEGINNING);
        File::open(path)
            .and_then(|file| file.take(BEGINNING as u64).read_to_end(&mut beginning))
            .map_err(read)?;
        let kin = Kin::of(None, path);
        if claims_dicom(&beginning) {
            self.source(visit.input, Source::file(path), kin);
        } else if beginning.starts_with(archive::MAGIC) {
            self.open_archive(path, visit.input)?;
        } else if visit.depth == 0 {
            return Err(not_dicom(beginning.is_empty()));
        } else {
            self.other(visit.input, place(path), path, &beginning, kin);
        }
        Ok(Vec::new())
    }

    fn list(&self, visit: &Visit) -> Result<Vec<Visit>, SourceError> {
        if visit.depth > self.limits.folder_depth {
            return Err(SourceError::Limit {
                what: "the depth of folders",
                limit: u64::from(self.limits.folder_depth),
            });
        }
        let mut below = Vec::new();
        // One more than is left, so that the search meets its limit instead of ending silently.
        let left = self.limits.entries.saturating_sub(self.entries) as usize + 1;
        for entry in std::fs::read_dir(&visit.path).map_err(SourceError::Folder)? {
            if below.len() > left {
                break;
            }
            let path = entry.map_err(SourceError::Folder)?.path();
            below.push(Visit { path, depth: visit.depth + 1, input: visit.input });
        }
        below.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(below)
    }

    fn open_archive(&mut self, path: &Path, input: usize) -> Result<(), SourceError> {
        for member in archive::members(path, BEGINNING, self.limits)? {
            self.entries = self.entries.saturating_add(1);
            if self.entries > self.limits.entries {
                break;
            }
            let name = Path::new(&member.name);
            let kin = Kin::of(Some(path), name);
            match member.opened {
                Ok((source, beginning)) if claims_dicom(&beginning) => self.source(input, source, kin),
                Ok((_, beginning)) if beginning.starts_with(archive::MAGIC) && is_named_archive(name) => {
                    let inner = SourceError::ArchiveUnsupported("an archive inside of an archive");
                    self.unread(input, member.place, false, inner);
                }
                Ok((_, beginning)) => self.other(input, member.place, name, &beginning, kin),
                Err(error) => self.unread(input, member.place, false, error),
            }
        }
        Ok(())
    }
}

fn not_dicom(is_empty: bool) -> SourceError {
    if is_empty { DicomError::Empty.into() } else { DicomError::NotDicom.into() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use dicom_dictionary_std::uids::IMPLICIT_VR_LITTLE_ENDIAN as IMPLICIT;
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::*;
    use crate::dicom::crafted::Crafted;

    fn names(found: &Found, root: &Path) -> Vec<String> {
        let root = format!("{}/", root.display());
        found.sources.iter().map(|source| source.to_string().replace(&root, "")).collect()
    }

    fn zip(path: &Path, members: &[(&str, &[u8], CompressionMethod)]) {
        let mut writer = ZipWriter::new(File::create(path).unwrap());
        for (name, bytes, method) in members {
            let options = SimpleFileOptions::default().compression_method(*method);
            writer.start_file(*name, options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap();
    }

    #[test]
    fn finds_slices_in_folders_and_archives_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let slice = Crafted::slice(4, 4).file();
        std::fs::create_dir_all(root.join("b/c")).unwrap();
        std::fs::write(root.join("b/c/2"), &slice).unwrap();
        std::fs::write(root.join("b/1"), &slice).unwrap();
        std::fs::write(root.join("a"), &slice).unwrap();
        std::fs::write(root.join("notes.txt"), "text").unwrap();
        std::fs::write(root.join("empty.txt"), "").unwrap();
        zip(
            &root.join("d.zip"),
            &[
                ("y/2", &slice, CompressionMethod::Deflated),
                ("x", &slice, CompressionMethod::Stored),
                ("readme.txt", b"text", CompressionMethod::Stored),
            ],
        );
        let limits = Limits::default();
        let found = find(&[root.to_owned()], &limits);
        assert_eq!(names(&found, root), ["a", "b/1", "b/c/2", "d.zip!x", "d.zip!y/2"]);
        assert_eq!(found.inputs[0].not_dicom, 3);
        assert!(found.inputs[0].first_not_dicom.as_ref().unwrap().ends_with("d.zip!readme.txt"));
        assert!(found.unread.is_empty());
        for source in &found.sources {
            assert_eq!(&*source.read(&limits).unwrap(), slice);
        }
    }

    #[test]
    fn files_without_a_preamble_are_found() {
        // Exports exist that write no preamble, and no file meta group: they were told as unreadable.
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let slice = Crafted::slice(4, 4).file();
        let implicit = Crafted::slice(4, 4).syntax(IMPLICIT).data_set();
        for (name, bytes) in [("1", &slice[132..]), ("2", &implicit), ("3.dcm", &slice[128..])] {
            std::fs::write(root.join(name), bytes).unwrap();
        }
        let found = find(&[root.to_owned()], &Limits::default());
        assert_eq!(names(&found, root), ["1", "2", "3.dcm"]);
    }

    #[test]
    fn a_named_path_that_is_no_dicom_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text.dcm");
        std::fs::write(&text, "no slice").unwrap();
        let paths = [text, folder.path().join("missing")];
        let found = find(&paths, &Limits::default());
        assert!(found.sources.is_empty());
        assert_eq!(found.unread.len(), 2);
        assert!(found.unread.iter().all(|unread| unread.named));
        assert!(matches!(found.unread[0].error, SourceError::Dicom(DicomError::NotDicom)));
    }

    #[test]
    fn slices_that_are_no_dicom_any_more_are_told() {
        // A copy to a full disc left IM0028.dcm empty, an archive packed each slice by itself: such files were
        // counted as "not DICOM", and a study was judged without them.
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let slice = Crafted::slice(4, 4).file();
        std::fs::create_dir(root.join("disc")).unwrap();
        for (name, bytes) in [
            ("IM0027.dcm", &slice[..]),
            ("IM0028.dcm", b""),
            ("IM0029.DCM", &slice[..100]),
            ("IM0030.dcm.gz", b"\x1F\x8B and so on"),
            ("._IM0027.dcm", b"Mac OS X"),
            ("notes.txt", b""),
            ("disc/IM1", &slice),
            ("disc/IM2", b""),
            ("disc/DICOMDIR", &slice),
            ("LOCKFILE", b""),
        ] {
            std::fs::write(root.join(name), bytes).unwrap();
        }
        let inner = ("inner.zip", &b"PK\x03\x04 and so on"[..], CompressionMethod::Stored);
        zip(&root.join("outer.zip"), &[inner, ("x/2.dcm", b"", CompressionMethod::Deflated)]);
        let found = find(&[root.to_owned()], &Limits::default());
        let root = format!("{}/", root.display());
        let told: Vec<String> =
            found.unread.iter().map(|unread| unread.to_string().replace(&root, "")).collect();
        let no_dicom = "not a DICOM file";
        assert_eq!(
            told,
            [
                "IM0028.dcm: the file is empty".to_owned(),
                format!("IM0029.DCM: {no_dicom}"),
                format!("IM0030.dcm.gz: {no_dicom}"),
                "outer.zip!inner.zip: the ZIP archive is not supported: an archive inside of an archive"
                    .to_owned(),
                "outer.zip!x/2.dcm: the file is empty".to_owned(),
                "disc/IM2: the file is empty".to_owned(),
            ]
        );
        assert!(found.unread.iter().all(|unread| !unread.named));
        assert_eq!(found.inputs[0].not_dicom, 3, "of macOS, notes and lock");
    }

    #[test]
    fn what_each_named_path_gave_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["a", "b", "c"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        std::fs::write(root.join("a/1"), Crafted::slice(4, 4).file()).unwrap();
        std::fs::write(root.join("a/2"), Crafted::slice(4, 4).file()).unwrap();
        std::fs::write(root.join("b/notes.txt"), "text").unwrap();
        let paths = ["b", "a", "c", "a/1", "b"].map(|name| root.join(name));
        let found = find(&paths, &Limits::default());
        let shares: Vec<_> = found.inputs.iter().map(|input| input.sources.len()).collect();
        assert_eq!(shares, [0, 2, 0, 0, 0]);
        let before: Vec<_> = found.inputs.iter().map(|input| input.found_before).collect();
        assert_eq!(before, [false, false, false, true, true]);
        assert_eq!(found.inputs[0].not_dicom, 1);
        let few = find(&paths, &Limits { entries: 2, ..Limits::default() });
        let reached: Vec<_> = few.inputs.iter().map(|input| input.reached).collect();
        assert_eq!(reached, [true, true, false, false, false]);
    }

    #[test]
    fn a_zip_bomb_is_refused_and_the_rest_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bomb.zip");
        let slice = Crafted::slice(4, 4).file();
        let bomb = [slice.clone(), vec![0; 100 << 20]].concat();
        zip(
            &path,
            &[("bomb", &bomb, CompressionMethod::Deflated), ("slice", &slice, CompressionMethod::Deflated)],
        );
        drop(bomb);
        let limits = Limits::default();
        let found = find(&[path], &limits);
        assert_eq!(found.sources.len(), 2);
        assert!(matches!(found.sources[0].read(&limits), Err(SourceError::Limit { .. })));
        assert_eq!(&*found.sources[1].read(&limits).unwrap(), slice);
    }

    #[test]
    fn damaged_archives_are_told_and_never_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        let slice = Crafted::slice(2, 2).file();
        zip(&path, &[("slice", &slice, CompressionMethod::Deflated)]);
        let whole = std::fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x55;
            std::fs::write(&path, &damaged).unwrap();
            let limits = Limits::default();
            for source in &find(std::slice::from_ref(&path), &limits).sources {
                if let Ok(bytes) = source.read(&limits) {
                    assert_eq!(&*bytes, slice, "the checksum holds");
                }
            }
        }
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let found = find(&[path], &Limits::default());
        assert!(matches!(found.unread[0].error, SourceError::Archive(_)));
    }

    #[test]
    fn limits_of_entries_and_depth_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        for name in ["1", "2", "3", "4"] {
            std::fs::write(root.join(name), "text").unwrap();
        }
        let small = Limits { entries: 3, ..Limits::default() };
        let found = find(std::slice::from_ref(&root), &small);
        assert!(matches!(found.unread[..], [Unread { error: SourceError::Limit { limit: 3, .. }, .. }]));
        std::fs::create_dir_all(root.join("a/b/c/d")).unwrap();
        let shallow = Limits { folder_depth: 2, ..Limits::default() };
        let found = find(&[root], &shallow);
        assert_eq!(found.unread.len(), 1);
        assert!(found.unread[0].place.ends_with("a/b/c"));
    }

    #[cfg(unix)]
    #[test]
    fn links_in_circles_end_and_files_are_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir(root.join("a")).unwrap();
        std::fs::write(root.join("a/slice"), Crafted::slice(2, 2).file()).unwrap();
        std::os::unix::fs::symlink(root, root.join("a/up")).unwrap();
        std::os::unix::fs::symlink(root.join("a/slice"), root.join("again")).unwrap();
        let paths = [root.to_owned(), root.join("a")];
        let found = find(&paths, &Limits::default());
        assert_eq!(names(&found, root), ["a/slice"]);
        assert!(found.unread.is_empty());
        let before: Vec<_> = found.inputs.iter().map(|input| input.found_before).collect();
        assert_eq!(before, [false, true], "a link to its own folder is nothing found before");
    }
}
