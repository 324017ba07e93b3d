//! A series is the same series from a folder, from a ZIP archive, under shuffled names, or with a bad file in it.

mod program;

use program::{BLEED, files, phantom, reports, run, warnings};
use std::io::Write;
use std::path::Path;
use tempfile::tempdir;

fn triage(path: &Path) -> serde_json::Value {
    let (_, out, complaint) = run(&["triage", path.to_str().unwrap(), "--json"]);
    assert_eq!(complaint, "");
    let mut reports = reports(&out);
    assert_eq!(reports.len(), 1, "{out}");
    reports.remove(0)
}

/// A report without what depends on where the files lay and how fast the machine was.
fn result(mut report: serde_json::Value) -> serde_json::Value {
    report["timings_ms"] = serde_json::Value::Null;
    for slice in report["slices"].as_array_mut().unwrap() {
        slice["file"] = serde_json::Value::Null;
    }
    report["warnings"].as_array_mut().unwrap().retain(|warning| warning["code"] != "not_dicom");
    report
}

fn zip(series: &Path, archive: &Path, method: zip::CompressionMethod) {
    let mut writer = zip::ZipWriter::new(std::fs::File::create(archive).unwrap());
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    writer.start_file("README.txt", options).unwrap();
    writer.write_all(b"not DICOM").unwrap();
    for file in files(series) {
        let name = file.file_name().unwrap().to_str().unwrap();
        writer.start_file(format!("disc/series 1/{name}"), options).unwrap();
        writer.write_all(&std::fs::read(&file).unwrap()).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn the_same_report_from_folder_archive_and_shuffled_names() {
    let folder = tempdir().unwrap();
    let series = folder.path().join("a/deep/folder");
    phantom(&series, BLEED);
    let expected = result(triage(folder.path()));
    assert_eq!(expected["outcome"], "alert");

    for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
        let elsewhere = tempdir().unwrap();
        let archive = elsewhere.path().join("series.zip");
        zip(&series, &archive, method);
        let report = triage(&archive);
        assert!(report["slices"][0]["file"].as_str().unwrap().contains("series.zip!disc/series 1/"));
        assert_eq!(result(report), expected);
    }

    // Names that sort the other way round, and files that are none of ours beside them.
    let shuffled = tempdir().unwrap();
    for (i, file) in files(&series).iter().enumerate() {
        std::fs::copy(file, shuffled.path().join(format!("{:04}", 9999 - i))).unwrap();
    }
    std::fs::write(shuffled.path().join("notes.txt"), "notes").unwrap();
    let report = triage(shuffled.path());
    assert_eq!(warnings(&report), ["not_dicom"]);
    assert!(report["warnings"].to_string().contains("notes.txt"));
    assert_eq!(result(report), expected);
}

#[test]
fn slices_are_in_the_order_of_their_positions() {
    let folder = tempdir().unwrap();
    phantom(folder.path(), &["--seed", "3", "--tilt", "12"]);
    let report = triage(folder.path());
    let z_mm: Vec<f64> =
        report["slices"].as_array().unwrap().iter().map(|slice| slice["z_mm"].as_f64().unwrap()).collect();
    assert!(z_mm.is_sorted_by(|a, b| a < b), "{z_mm:?}");
    assert!(warnings(&report).contains(&"gantry_tilt"));
}

#[test]
fn a_truncated_slice_is_named_and_the_others_are_judged() {
    let folder = tempdir().unwrap();
    phantom(folder.path(), BLEED);
    let victim = folder.path().join("IM0002.dcm");
    let bytes = std::fs::read(&victim).unwrap();
    std::fs::write(&victim, &bytes[..bytes.len() - 2]).unwrap();
    let report = triage(folder.path());
    assert_eq!(report["outcome"], "alert");
    assert_eq!(report["slices"].as_array().unwrap().len(), 8);
    let codes = warnings(&report);
    assert!(codes.contains(&"unreadable_file") && codes.contains(&"missing_slices"), "{codes:?}");
    assert!(report["warnings"].to_string().contains("IM0002.dcm"));
}

#[test]
fn a_slice_given_twice_counts_once() {
    let folder = tempdir().unwrap();
    phantom(folder.path(), BLEED);
    let once = result(triage(folder.path()));
    std::fs::copy(folder.path().join("IM0005.dcm"), folder.path().join("again.dcm")).unwrap();
    let twice = triage(folder.path());
    assert!(warnings(&twice).contains(&"left_out"), "{twice}");
    assert_eq!(twice["hematoma_patches"], once["hematoma_patches"]);
}

#[test]
fn a_file_named_beside_a_good_series_still_gets_its_outcome() {
    let folder = tempdir().unwrap();
    let series = folder.path().join("series");
    phantom(&series, BLEED);
    let text = folder.path().join("text.dcm");
    std::fs::write(&text, "no DICOM").unwrap();
    let (code, out, _) = run(&["triage", series.to_str().unwrap(), text.to_str().unwrap(), "--json"]);
    let reports = reports(&out);
    assert_eq!((code, reports.len()), (8, 2));
    assert!(reports.iter().any(|report| report["outcome"] == "alert"));
    assert!(
        reports
            .iter()
            .any(|report| report["refusal"]["detail"].as_str().is_some_and(|d| d.contains("text.dcm")))
    );
}

/// A folder with a good study and one whose files were all cut short used to give one "no alert" and exit code 0.
#[test]
fn a_study_that_cannot_be_read_at_all_is_refused_beside_a_good_one() {
    let folder = tempdir().unwrap();
    phantom(&folder.path().join("good"), BLEED);
    let bad = folder.path().join("bad");
    phantom(&bad, &["--seed", "6"]);
    for file in files(&bad) {
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    }
    let (code, out, _) = run(&["triage", folder.path().to_str().unwrap(), "--json"]);
    let reports = reports(&out);
    assert_eq!((code, reports.len()), (8, 2), "{out}");
    let refused = reports.iter().find(|report| report["outcome"] == "refused").unwrap();
    assert_eq!(refused["refusal"]["code"], "corrupt_input");
    assert!(refused["refusal"]["detail"].as_str().unwrap().contains("bad"), "{refused}");
    let judged = reports.iter().find(|report| report["outcome"] == "alert").unwrap();
    assert!(!warnings(judged).contains(&"unreadable_file"), "the bad files belong to the other study");
}

#[test]
fn a_path_of_which_nothing_comes_gets_an_outcome_of_its_own() {
    let folder = tempdir().unwrap();
    let (series, empty) = (folder.path().join("series"), folder.path().join("empty"));
    phantom(&series, BLEED);
    std::fs::create_dir(&empty).unwrap();
    let (code, out, _) = run(&["triage", series.to_str().unwrap(), empty.to_str().unwrap(), "--json"]);
    let reports = reports(&out);
    assert_eq!((code, reports.len()), (8, 2), "{out}");
    assert!(reports.iter().any(|report| {
        report["refusal"]["code"] == "no_ct_series"
            && report["refusal"]["detail"].as_str().is_some_and(|detail| detail.contains("empty"))
    }));
}
