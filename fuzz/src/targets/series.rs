//! Archives, and the series that their slices make.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::Path;

use hemapatch::dicom::Object;
use hemapatch::limits::Limits;
use hemapatch::series::{Assembly, Series, Source, assemble, choose, find};
use hemapatch::stream::SliceStream;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::choices::Choices;
use crate::limits;
use crate::objects::{self, Place};

thread_local! {
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

/// Any bytes as an archive.
pub fn zip(input: &[u8]) {
    check(&[b"PK\x03\x04", input].concat());
}

/// Some slices that are nearly valid, at any places.
pub fn structured(input: &[u8]) {
    check(&archive(&mut Choices::new(input)));
}

/// An archive of such slices.
pub fn archive(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for member in 0..=choices.below(7) {
        let method = choices.of(&[CompressionMethod::Stored, CompressionMethod::Deflated]);
        let place = Place {
            study: choices.byte() % 8 / 7,
            series: choices.byte() % 8 / 6,
            instance: if choices.rarely() { 0 } else { member as u8 },
            z: if choices.rarely() { choices.number() as i16 } else { 5 * member as i16 },
        };
        let slice = objects::object(choices, place);
        let options = SimpleFileOptions::default().compression_method(method);
        writer.start_file(format!("{member}"), options).expect("a name that is free");
        writer.write_all(&slice).expect("memory takes everything");
    }
    writer.finish().expect("memory takes everything").into_inner()
}

/// Every slice of every member that is DICOM ends once: in a series, left out or unread. Every series can be walked through.
fn check(archive: &[u8]) {
    let limits = limits();
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(memory_folder).path();
        let path = folder.join("archive.zip");
        std::fs::write(&path, archive).expect("memory takes everything");
        let found = find(&[path], &limits);
        let mut given: BTreeMap<String, usize> = BTreeMap::new();
        for source in &found.sources {
            *given.entry(source.to_string()).or_default() += slices(source, &limits);
        }
        for unread in &found.unread {
            *given.entry(unread.place.clone()).or_default() += 1;
        }
        let assembly = assemble(found, &limits);
        assert_eq!(given, told(&assembly));
        assert!(given.keys().all(|place| !place.chars().any(char::is_control)), "{given:?}");
        for study in &assembly.studies {
            study.warnings();
            let _ = choose(study, 3);
            study.series.iter().for_each(|series| walk(series, &limits));
        }
    });
}

/// How many slices an object has: one, where it cannot be read.
fn slices(source: &Source, limits: &Limits) -> usize {
    let object = source.read(limits).ok().and_then(|bytes| Object::read(&bytes, limits).ok());
    object.map_or(1, |object| object.slices.len())
}

/// What came of every slice, by its place: each has one fate.
fn told(assembly: &Assembly) -> BTreeMap<String, usize> {
    let studies = &assembly.studies;
    let left_out = studies.iter().flat_map(|study| &study.left_out).chain(&assembly.left_out);
    let unread = studies.iter().flat_map(|study| &study.unread).chain(&assembly.unread);
    let kept = studies.iter().flat_map(|study| &study.series).flat_map(|series| &series.slices);
    let places = left_out.map(|object| object.place.clone()).chain(unread.map(|unread| unread.place.clone()));
    let mut told = BTreeMap::new();
    for place in places.chain(kept.map(|slice| slice.source.to_string())) {
        *told.entry(place).or_default() += 1;
    }
    told
}

fn walk(series: &Series, limits: &Limits) {
    assert!(series.slices.windows(2).all(|pair| pair[0].z_mm < pair[1].z_mm), "not in order");
    let stream = SliceStream::new(series, limits);
    let mut hu = Vec::new();
    for index in 0..stream.len() {
        if stream.read(index, &mut hu).is_ok() {
            assert_eq!(hu.len(), (series.rows * series.columns) as usize);
        }
    }
}

/// A folder in memory where there is one, since each run writes a file.
pub fn memory_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a temporary folder")
}
