//! Results as DICOM objects: valid by dciodvfy, read back by highdicom and pydicom with what the JSON says, and the same
//! bytes when the same study is judged again.

mod program;

use std::path::{Path, PathBuf};
use std::process::Command;

use program::{BLEED, CLEAN, files, phantom, run};

/// Judges a phantom; the folder of the results.
fn judge(folder: &Path, name: &str, options: &[&str]) -> PathBuf {
    let (slices, results) = (folder.join("slices"), folder.join(name));
    if !slices.is_dir() {
        phantom(&slices, options);
    }
    let at = |path: &Path| path.to_str().unwrap().to_owned();
    let (code, _, complaint) = run(&["triage", &at(&slices), "-o", &at(&results), "--dicom"]);
    assert_eq!(code, 0, "{complaint}");
    results
}

fn names(folder: &Path) -> Vec<String> {
    files(folder).iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

fn assert_valid(objects: &Path) {
    for file in files(objects) {
        let output = Command::new("dciodvfy").arg(&file).output();
        let output = output.expect("no dciodvfy: run `make setup`, as `make test` does");
        let said = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
        assert!(!said.is_empty() && !said.contains("Error"), "{}: {said}", file.display());
    }
}

fn assert_read_back(results: &Path, slices: &Path) {
    let mut command = Command::new(program::python());
    let output = command.arg("tests/peers/results.py").args([results, slices]).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}

#[test]
fn of_an_alert() {
    let folder = tempfile::tempdir().unwrap();
    // Turned, tilted and off center: the segmentation is to lie where the hematoma is all the same.
    let options = [BLEED, &["--tilt", "10", "--off-center", "12", "-9"]].concat();
    let results = judge(folder.path(), "results", &options);
    let objects = results.join("dicom");
    let made = names(&objects);
    for name in ["report.dcm", "segmentation.dcm", "montage.dcm"] {
        assert!(made.iter().any(|made| made == name), "{made:?}");
    }
    assert!(made.iter().any(|name| name.starts_with("overlay-")), "{made:?}");
    assert_valid(&objects);
    assert_read_back(&results, &folder.path().join("slices"));
}

#[test]
fn of_a_head_that_lies_on_its_face() {
    let folder = tempfile::tempdir().unwrap();
    // Its slices are turned before they are judged, and the segmentation is turned back.
    let results = judge(folder.path(), "results", &[BLEED, &["--trap", "prone"]].concat());
    assert!(results.join("dicom/segmentation.dcm").exists());
    assert_read_back(&results, &folder.path().join("slices"));
}

#[test]
fn of_slices_that_stand_for_more_than_others() {
    let folder = tempfile::tempdir().unwrap();
    let slices = folder.path().join("slices");
    phantom(&slices, BLEED);
    // One beside the middle of the hematoma is not there.
    std::fs::remove_file(&files(&slices)[3]).unwrap();
    let results = judge(folder.path(), "results", BLEED);
    assert_valid(&results.join("dicom"));
    assert_read_back(&results, &slices);
}

#[test]
fn of_slices_that_lost_something_when_they_were_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, ways) = (folder.path().join("plain"), folder.path().join("ways"));
    phantom(&plain, &[BLEED, &["--pixels", "256", "--pixel-mm", "0.9"]].concat());
    let made = Command::new(program::python()).arg("tests/peers/compress.py").args([&plain, &ways]).output();
    assert!(made.as_ref().unwrap().status.success(), "{}", String::from_utf8_lossy(&made.unwrap().stderr));
    std::fs::rename(ways.join("lossy-j2k-91"), folder.path().join("slices")).unwrap();
    let objects = judge(folder.path(), "results", BLEED).join("dicom");
    assert_valid(&objects);
    for file in files(&objects) {
        let bytes = std::fs::read(&file).unwrap();
        let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        let is_picture = !file.ends_with("report.dcm");
        // (0028,2110), (0028,2112) and (0028,2114)
        assert_eq!(has(b"\x28\0\x10\x21CS\x02\x0001"), is_picture, "{}", file.display());
        assert_eq!(has(b"\x28\0\x12\x21DS") && has(b"\x28\0\x14\x21CS"), is_picture, "{}", file.display());
    }
}

#[test]
fn of_no_alert() {
    let folder = tempfile::tempdir().unwrap();
    let results = judge(folder.path(), "results", CLEAN);
    let objects = results.join("dicom");
    assert!(names(&objects).contains(&"report.dcm".to_owned()));
    assert_valid(&objects);
    assert_read_back(&results, &folder.path().join("slices"));
}

#[test]
fn of_a_study_that_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    // There are slices, and none of them counts.
    let results = folder.path().join("results");
    let slices = folder.path().join("slices");
    phantom(&slices, &["--seed", "4", "--trap", "no-intercept"]);
    let at = |path: &Path| path.to_str().unwrap().to_owned();
    let (code, ..) = run(&["triage", &at(&slices), "-o", &at(&results), "--dicom"]);
    assert_eq!(code, 4);
    assert_eq!(names(&results.join("dicom")), ["montage.dcm", "report.dcm"]);
    assert_valid(&results.join("dicom"));
    assert_read_back(&results, &slices);
}

#[test]
fn judged_again_they_have_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let [once, again] = ["once", "again"].map(|name| judge(folder.path(), name, BLEED).join("dicom"));
    assert_eq!(names(&once), names(&again));
    for (once, again) in files(&once).iter().zip(files(&again)) {
        assert!(std::fs::read(once).unwrap() == std::fs::read(&again).unwrap(), "{}", once.display());
    }
}

#[test]
fn objects_of_an_earlier_report_do_not_stay() {
    let folder = tempfile::tempdir().unwrap();
    let results = judge(folder.path(), "results", BLEED);
    assert!(results.join("dicom/segmentation.dcm").exists());
    std::fs::remove_dir_all(folder.path().join("slices")).unwrap();
    judge(folder.path(), "results", CLEAN);
    let report = std::fs::read_to_string(results.join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let has_patches = report["hematoma_patches"].as_u64().unwrap() > 0;
    assert_eq!(results.join("dicom/segmentation.dcm").exists(), has_patches);
}

#[test]
fn where_none_can_be_made_the_report_is_there_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (slices, results) = (folder.path().join("slices"), folder.path().join("results"));
    phantom(&slices, BLEED);
    files(&slices).iter().for_each(|slice| program::repeat_name(slice));
    let at = |path: &Path| path.to_str().unwrap().to_owned();
    let (code, told, complaint) = run(&["triage", &at(&slices), "-o", &at(&results), "--dicom", "--json"]);
    assert_eq!(code, 7);
    assert!(complaint.contains("(0010,0010) PatientName") && !complaint.contains("PHANTOM"), "{complaint}");
    assert_eq!(told, std::fs::read_to_string(results.join("report.json")).unwrap());
    assert!(told.contains("\"outcome\":\"alert\"") && results.join("montage.png").exists());
    assert!(!results.join("dicom").exists());
}
