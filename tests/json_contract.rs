//! The JSON line that programs rely on (docs/report.md), and that it tells nobody who the patient is.

mod program;

use hemapatch::model::Manifest;
use hemapatch::simd::{Kernels, Level};
use program::{BLEED, CLEAN, phantom, reports, run};
use std::path::Path;
use tempfile::tempdir;

#[test]
fn a_line_has_every_field_of_the_contract() {
    let folder = tempdir().unwrap();
    phantom(folder.path(), BLEED);
    let (code, out, complaint) = run(&["triage", folder.path().to_str().unwrap(), "--json"]);
    assert_eq!((code, complaint.as_str()), (0, ""));
    assert_eq!(out.lines().count(), 1);
    let report = reports(&out).remove(0);
    assert_eq!(report["schema"], "hemapatch.report/1");
    for field in ["study_uid", "series_uid", "outcome"] {
        assert!(report[field].is_string(), "{field}");
    }
    for field in ["probability", "hematoma_patches", "hematoma_volume_ml"] {
        assert!(report[field].is_number(), "{field}");
    }
    for slice in report["slices"].as_array().unwrap() {
        assert!(slice["sop_uid"].is_string() && slice["file"].is_string() && slice["z_mm"].is_number());
        assert!((0.0..=1.0).contains(&slice["score"].as_f64().unwrap()));
        let counts = slice["counts"].as_object().unwrap();
        let total: u64 = counts.values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(total, 1024);
        assert_eq!(counts.keys().collect::<Vec<_>>(), ["background", "hematoma", "parenchyma", "skull"]);
    }
    for field in ["read", "prepare", "infer", "total"] {
        assert!(report["timings_ms"][field].as_f64().unwrap() > 0.0, "{field}");
    }
    let trace = &report["trace"];
    assert_eq!(trace["program"], concat!("hemapatch ", env!("CARGO_PKG_VERSION")));
    assert_eq!(trace["model"], "ich16");
    let network = Manifest::read(Path::new("models/ich16")).unwrap().network;
    assert_eq!(trace["model_sha256"], network.int8.unwrap().sha256);
    assert_eq!((&trace["engine"], &trace["precision"]), (&"hemapatch int8".into(), &"int8".into()));
    assert_eq!(trace["simd"], Kernels::best().level().name());
    assert_eq!(trace["window_hu"], serde_json::json!([0, 80]));
    assert!(trace["thresholds"]["study_probability"].is_number());
    assert_eq!(trace["intended_use"], "research use only");
}

#[test]
fn the_network_that_was_asked_for_is_the_one_in_the_trace() {
    let folder = tempdir().unwrap();
    phantom(folder.path(), BLEED);
    let path = folder.path().to_str().unwrap();
    let (_, out, _) = run(&["triage", path, "--json", "--precision", "f32"]);
    let network = Manifest::read(Path::new("models/ich16")).unwrap().network;
    let trace = &reports(&out)[0]["trace"];
    let floats = Kernels::best().floats().map(|kernels| kernels.level().name());
    let engine = if floats.is_some() { "hemapatch f32" } else { "tract f32" };
    assert_eq!((&trace["engine"], &trace["precision"]), (&engine.into(), &"f32".into()));
    assert_eq!((&trace["simd"], &trace["model_sha256"]), (&floats.into(), &network.sha256.into()));

    // Another instruction set gives the same report but for its name.
    let judged = |options: &[&str]| {
        let (_, out, _) = run(&[&["triage", path, "--json"], options].concat());
        let mut report = reports(&out).remove(0);
        report["timings_ms"].take();
        (report["trace"]["simd"].take(), report)
    };
    let levels: Vec<&str> = Level::available().into_iter().map(Level::name).collect();
    let (best, other) = (levels[levels.len() - 1], levels[levels.len().saturating_sub(2)]);
    let ((default, expected), (level, found)) = (judged(&[]), judged(&["--simd", other]));
    assert_eq!((default, level), (best.into(), other.into()));
    assert_eq!(found, expected);
}

#[test]
fn counts_add_up() {
    let folder = tempdir().unwrap();
    phantom(folder.path(), BLEED);
    let (_, out, _) = run(&["triage", folder.path().to_str().unwrap(), "--json"]);
    let report = reports(&out).remove(0);
    let slices = report["slices"].as_array().unwrap();
    let sum: u64 = slices.iter().map(|slice| slice["counts"]["hematoma"].as_u64().unwrap()).sum();
    assert_eq!(report["hematoma_patches"], sum);
    // 16 pixels of 0.45 mm squared, slices 5 mm apart.
    let expected_ml = sum as f64 * (16.0 * 0.45f64).powi(2) * 5.0 / 1000.0;
    assert!((report["hematoma_volume_ml"].as_f64().unwrap() - expected_ml).abs() < 0.01);
}

#[test]
fn another_window_is_used_and_traced() {
    let folder = tempdir().unwrap();
    phantom(folder.path(), CLEAN);
    let (_, out, _) = run(&["triage", folder.path().to_str().unwrap(), "--json", "--window", "-10,90"]);
    assert_eq!(reports(&out)[0]["trace"]["window_hu"], serde_json::json!([-10, 90]));
}

#[test]
fn nothing_that_is_printed_or_written_names_the_patient() {
    let folder = tempdir().unwrap();
    let (dicom, out) = (folder.path().join("dicom"), folder.path().join("out"));
    phantom(&dicom, BLEED);
    // The phantom has a name and an ID, and they are in its files.
    let bytes = std::fs::read(dicom.join("IM0001.dcm")).unwrap();
    let holds = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    let identity = ["HEMAPATCH^PHANTOM", "PHANTOM-1"];
    assert!(identity.iter().all(|word| holds(&bytes, word)));
    // A slice with a broken header makes errors, too.
    std::fs::write(dicom.join("broken.dcm"), &bytes[..bytes.len() - 1000]).unwrap();
    for more in [&["--json"][..], &[]] {
        let mut arguments = vec!["triage", dicom.to_str().unwrap(), "-o", out.to_str().unwrap()];
        arguments.extend(more);
        let (_, stdout, stderr) = run(&arguments);
        for word in identity {
            assert!(!stdout.contains(word) && !stderr.contains(word));
        }
    }
    for file in program::files(&out) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(identity.iter().all(|word| !holds(&bytes, word)), "{}", file.display());
    }
}

#[test]
fn every_outcome_says_research_use_only() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out");
    phantom(&folder.path().join("dicom"), CLEAN);
    let (_, text, _) =
        run(&["triage", folder.path().join("dicom").to_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert!(text.to_lowercase().contains("research use only"), "{text}");
    assert!(
        std::fs::read_to_string(out.join("chart.svg")).unwrap().to_lowercase().contains("research use only")
    );
    let empty = tempdir().unwrap();
    let (_, text, _) = run(&["triage", empty.path().to_str().unwrap()]);
    assert!(text.to_lowercase().contains("research use only"), "{text}");
}
