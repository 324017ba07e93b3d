//! Archives, and the series that their slices make.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::io::{Cursor, Write};
use std::path::Path;

use hemapatch::series::{assemble, choose, find};
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

/// Every member ends in a series, left out, unread or counted as not DICOM; every series can be walked through.
fn check(archive: &[u8]) {
    let limits = limits();
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(memory_folder).path();
        let path = folder.join("archive.zip");
        std::fs::write(&path, archive).expect("memory takes everything");
        let found = find(&[path], &limits);
        let sources: BTreeSet<String> = found.sources.iter().map(ToString::to_string).collect();
        let assembly = assemble(found, &limits);
        let mut told: BTreeSet<String> = BTreeSet::new();
        told.extend(assembly.left_out.iter().map(|object| object.place.clone()));
        told.extend(assembly.unread.iter().map(|unread| unread.place.clone()));
        for study in &assembly.studies {
            told.extend(study.left_out.iter().map(|object| object.place.clone()));
            told.extend(study.unread.iter().map(|unread| unread.place.clone()));
            study.warnings();
            let _ = choose(study, 3);
            for series in &study.series {
                told.extend(series.slices.iter().map(|slice| slice.source.to_string()));
                assert!(series.slices.windows(2).all(|pair| pair[0].z_mm < pair[1].z_mm), "not in order");
                let stream = SliceStream::new(series, &limits);
                let mut hu = Vec::new();
                for index in 0..stream.len() {
                    if stream.read(index, &mut hu).is_ok() {
                        assert_eq!(hu.len(), (series.rows * series.columns) as usize);
                    }
                }
            }
        }
        let lost: Vec<&String> = sources.difference(&told).collect();
        // Of slices at one place, all but one are left out of a stack and told by number.
        let duplicates = assembly.studies.iter().flat_map(|study| &study.series);
        let duplicates =
            duplicates.flat_map(|series| &series.warnings).any(|warning| warning.code.starts_with("dup"));
        assert!(lost.is_empty() || duplicates, "lost: {lost:?}");
    });
}

/// A folder in memory where there is one, since each run writes a file.
pub fn memory_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a temporary folder")
}
