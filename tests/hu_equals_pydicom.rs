//! Hounsfield units are pydicom's, pixel by pixel: of the phantom always, of real scanners where the data is there.

mod program;

use hemapatch::hu::PADDING;
use hemapatch::limits::Limits;
use hemapatch::series;
use hemapatch::stream::SliceStream;
use program::{phantom, python, shared_data};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::tempdir;

/// Compares every slice of every series below `folder`; returns how many there were.
fn compare(folder: &Path) -> usize {
    let limits = Limits::default();
    let assembly = series::assemble(series::find(&[folder.to_owned()], &limits), &limits);
    let dumps = tempdir().unwrap();
    let mut slices: Vec<(PathBuf, PathBuf)> = Vec::new();
    for series in assembly.studies.iter().flat_map(|study| &study.series) {
        let mut stream = SliceStream::new(series, &limits);
        let mut hu = Vec::new();
        while let Some(slice) = stream.next_into(&mut hu) {
            let slice = slice.unwrap();
            let dump = dumps.path().join(format!("{}.i16", slices.len()));
            let bytes: Vec<u8> = hu.iter().flat_map(|hu| hu.to_le_bytes()).collect();
            std::fs::write(&dump, bytes).unwrap();
            slices.push((slice.source.path().to_owned(), dump));
        }
    }
    let pairs = slices.iter().flat_map(|(file, dump)| [file, dump]);
    let output = Command::new(python())
        .arg("tests/peers/hu.py")
        .arg(PADDING.to_string())
        .args(pairs)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), format!("{} slices equal", slices.len()));
    slices.len()
}

#[test]
fn of_the_phantom() {
    let folder = tempdir().unwrap();
    phantom(folder.path(), &["--pixels", "128", "--pixel-mm", "1.8", "--tilt", "-9"]);
    assert_eq!(compare(folder.path()), 9);
}

#[test]
fn of_a_head_series_and_a_head_phantom() {
    let Some(folder) = shared_data("ge_philips_dcm_qa_ct") else { return };
    assert_eq!(compare(&folder.join("GE_human_head")), 28);
    assert!(compare(&folder.join("Philips_phantom_tilt")) >= 12);
}
