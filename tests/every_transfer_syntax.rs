//! A series is the same however it is written: in every transfer syntax, in one object or in many. Lossy ones are the same
//! within their error, and say so.

mod program;

use hemapatch::hu::PADDING;
use hemapatch::limits::Limits;
use hemapatch::series;
use hemapatch::stream::SliceStream;
use program::{BLEED, phantom, python, reports, run, shared_data, warnings};
use std::path::Path;
use std::process::Command;
use tempfile::tempdir;

/// The slices of the longest series below a folder, in Hounsfield units.
fn hounsfield(folder: &Path) -> Vec<Vec<i16>> {
    let limits = Limits::default();
    let assembly = series::assemble(series::find(&[folder.to_owned()], &limits), &limits);
    let all = assembly.studies.iter().flat_map(|study| &study.series);
    let series = all.max_by_key(|series| series.slices.len()).expect("a series");
    let stream = SliceStream::new(series, &limits);
    let read = |slice| {
        let mut hu = Vec::new();
        stream.read(slice, &mut hu).unwrap();
        hu
    };
    (0..series.slices.len()).map(read).collect()
}

/// Mean and largest distance of two series, where both were measured: what is nearly padding is none.
fn apart(ours: &[Vec<i16>], theirs: &[Vec<i16>]) -> (f64, u16) {
    assert_eq!(ours.len(), theirs.len());
    let pairs = ours.iter().flatten().zip(theirs.iter().flatten());
    let measured = pairs.filter(|(a, b)| **a != PADDING && **b != PADDING);
    let distances: Vec<u16> = measured.map(|(a, b)| a.abs_diff(*b)).collect();
    let sum: f64 = distances.iter().copied().map(f64::from).sum();
    (sum / distances.len() as f64, distances.into_iter().max().unwrap())
}

#[test]
fn a_phantom_is_the_same_in_all_of_them() {
    let folder = tempdir().unwrap();
    let (plain, ways) = (folder.path().join("plain"), folder.path().join("ways"));
    phantom(&plain, &[BLEED, &["--pixels", "256", "--pixel-mm", "0.9"]].concat());
    let made = Command::new(python()).arg("tests/peers/compress.py").args([&plain, &ways]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let wanted = hounsfield(&plain);
    let report = |folder: &Path| {
        let (code, told, complaint) = run(&["triage", folder.to_str().unwrap(), "--json"]);
        assert_eq!(code, 0, "{complaint}");
        reports(&told).remove(0)
    };
    let plain = report(&plain);
    assert_eq!(plain["outcome"], "alert");
    let judged = |report: &serde_json::Value| {
        let slices = report["slices"].as_array().unwrap().iter();
        slices.map(|slice| (slice["score"].clone(), slice["counts"].clone())).collect::<Vec<_>>()
    };
    let (mut exact, mut lossy) = (0, 0);
    for way in program::files(&ways) {
        let name = way.file_name().unwrap().to_str().unwrap();
        let ours = hounsfield(&way);
        let (mean, most) = apart(&ours, &wanted);
        let report = report(&way);
        assert_eq!(report["outcome"], "alert", "{name}");
        if name.starts_with("exact") {
            assert!(ours == wanted, "{name}: {most} HU apart");
            assert_eq!((judged(&report), warnings(&report)), (judged(&plain), warnings(&plain)), "{name}");
            exact += 1;
        } else {
            assert!(warnings(&report).contains(&"lossy_compression"), "{name}: {:?}", warnings(&report));
            // Of 8 bits only what the window shows is kept.
            assert!(name.contains("jpeg-50") || mean < 3.0, "{name}: {mean} HU apart, {most} at most");
            println!("{name}: {mean:.2} HU apart, {most} at most");
            lossy += 1;
        }
    }
    assert_eq!((exact, lossy), (14, 4));
}

#[test]
fn a_frame_is_numbered_in_the_report_and_parts_that_are_missing_are_told() {
    let folder = tempdir().unwrap();
    let (plain, ways) = (folder.path().join("plain"), folder.path().join("ways"));
    phantom(&plain, &[BLEED, &["--pixels", "128", "--pixel-mm", "1.8"]].concat());
    let made = Command::new(python()).arg("tests/peers/compress.py").args([&plain, &ways]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let report = |path: &Path| {
        let (_, told, _) = run(&["triage", path.to_str().unwrap(), "--json"]);
        reports(&told).remove(0)
    };
    let whole = report(&ways.join("exact-enhanced"));
    let frames: Vec<u64> =
        whole["slices"].as_array().unwrap().iter().map(|slice| slice["frame"].as_u64().unwrap()).collect();
    assert_eq!(frames, (1..=9).collect::<Vec<u64>>());
    let half = report(&ways.join("exact-enhanced-divided/2.dcm"));
    assert_eq!(half["slices"].as_array().unwrap().len(), 5);
    assert!(warnings(&half).contains(&"concatenation_incomplete"), "{:?}", warnings(&half));
    // Cut off in its sixth frame: five are whole.
    let file = ways.join("exact-enhanced/all.dcm");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 128 * 128 * 2 * 7 / 2]).unwrap();
    let cut = report(&file);
    assert_eq!(cut["slices"].as_array().unwrap().len(), 5);
    let told = cut["warnings"].as_array().unwrap().iter().find(|warning| warning["code"] == "frames_missing");
    assert_eq!(told.unwrap()["detail"], "4 frames are told and not there");
}

#[test]
fn a_real_slice_is_the_same_in_all_of_them() {
    let Some(folder) = shared_data("dicom_fixtures/cornerstone_ctimage_all_syntaxes") else { return };
    let alone = tempdir().unwrap();
    let mut count = 0;
    let read = |file: &Path| {
        let copy = alone.path().join("slice");
        std::fs::copy(file, &copy).unwrap();
        hounsfield(alone.path())
    };
    let wanted = read(&folder.join("CTImage.dcm"));
    for file in program::files(&folder) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("CTImage.dcm_") {
            continue;
        }
        let (mean, most) = apart(&read(&file), &wanted);
        // Processes 1, 2, 6 and 10 of JPEG, JPEG-LS near-lossless, JPEG 2000 irreversible.
        let lossy =
            ["4.50.", "4.51.", "4.53.", "4.55.", "4.81.", "4.91."].iter().any(|uid| name.contains(uid));
        println!("{name}: {mean:.2} HU apart, {most} at most");
        // 8 bits of process 1 hold what a window showed when they were made.
        assert!(most == 0 || (lossy && (mean < 15.0 || name.contains("4.50."))), "{name}: {mean}, {most}");
        count += 1;
    }
    assert_eq!(count, 15);
}
