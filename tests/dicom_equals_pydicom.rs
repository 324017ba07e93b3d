//! Every DICOM file that pydicom reads is read to the same pixels, or refused for a reason that docs/dicom-conformance.md
//! names: of the files that come with pydicom always, of compressed and odd scanner files where the data is there.

mod program;

use hemapatch::dicom::{Object, StoredValues};
use hemapatch::limits::Limits;
use hemapatch::stream;
use program::{python, shared_data};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// The cells of all frames as they are stored, and as they are rescaled.
fn read(bytes: &[u8]) -> Result<(Vec<i32>, Vec<i16>), String> {
    let limits = Limits::default();
    let object = Object::read(bytes, &limits).map_err(|error| error.to_string())?;
    let (mut cells, mut rescaled, mut frame_hu) = (Vec::new(), Vec::new(), Vec::new());
    for (frame, header) in object.slices.iter().enumerate() {
        let stored = object.stored_values(bytes, frame, &limits).map_err(|error| error.to_string())?;
        match &stored {
            StoredValues::Bits8(values) if header.signed => {
                cells.extend(values.iter().map(|&value| i32::from(value as i8)));
            }
            StoredValues::Bits8(values) => cells.extend(values.iter().map(|&value| i32::from(value))),
            StoredValues::Bits16(values) if header.signed => {
                cells.extend(values.iter().map(|&value| i32::from(i16::from_le_bytes(value))));
            }
            StoredValues::Bits16(values) => {
                cells.extend(values.iter().map(|&value| i32::from(u16::from_le_bytes(value))));
            }
        }
        stream::rescale(header, &stored, &mut frame_hu).map_err(|error| error.to_string())?;
        rescaled.append(&mut frame_hu);
    }
    Ok((cells, rescaled))
}

/// Compares every file below a folder; at least so many must have been equal.
fn compare(folder: &Path, at_least: u64) {
    let dumps = tempfile::tempdir().unwrap();
    let entries = files(folder).into_iter().enumerate().map(|(number, file)| {
        let ours = read(&std::fs::read(&file).unwrap());
        match ours {
            Ok((cells, rescaled)) => {
                let dump = dumps.path().join(number.to_string());
                let cells = cells.iter().flat_map(|cell| cell.to_le_bytes());
                let rescaled = rescaled.iter().flat_map(|value| value.to_le_bytes());
                std::fs::write(dump.with_extension("cells"), cells.collect::<Vec<u8>>()).unwrap();
                std::fs::write(dump.with_extension("hu"), rescaled.collect::<Vec<u8>>()).unwrap();
                json!({"file": file, "dump": dump})
            }
            Err(error) => json!({"file": file, "error": error}),
        }
    });
    let entries: Vec<_> = entries.collect();
    let list = dumps.path().join("list.json");
    std::fs::write(&list, serde_json::to_vec(&entries).unwrap()).unwrap();
    let output = Command::new(python()).arg("tests/peers/pixels.py").arg(&list).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let counts: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert!(counts["equal"].as_u64().unwrap() >= at_least, "{counts}");
}

#[test]
fn of_the_files_that_come_with_pydicom() {
    let script = "import pydicom.data; print(pydicom.data.DATA_ROOT)";
    let output = Command::new(python()).args(["-c", script]).output().unwrap();
    let folder = String::from_utf8(output.stdout).unwrap();
    compare(Path::new(folder.trim()), 30);
}

#[test]
fn of_compressed_and_odd_files_of_scanners() {
    let Some(folder) = shared_data("dicom_fixtures") else { return };
    compare(&folder, 30);
}
