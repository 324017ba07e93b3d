//! README's first command: a phantom with a hematoma alerts, one without does not, and pictures and report are left.

mod program;

use program::{reports, run};
use tempfile::tempdir;

/// The very seeds and options of `make demo`.
fn demo(options: &[&str]) -> (serde_json::Value, tempfile::TempDir) {
    let folder = tempdir().unwrap();
    let (dicom, out) = (folder.path().join("dicom"), folder.path().join("out"));
    let mut arguments = vec!["phantom", "-o", dicom.to_str().unwrap()];
    arguments.extend(options);
    let (code, _, complaint) = run(&arguments);
    assert_eq!(code, 0, "{complaint}");
    let (code, stdout, complaint) =
        run(&["triage", dicom.to_str().unwrap(), "--json", "-o", out.to_str().unwrap()]);
    assert_eq!(code, 0, "{complaint}");
    let report = reports(&stdout).remove(0);
    let written = std::fs::read_to_string(out.join("report.json")).unwrap();
    assert_eq!(written, stdout, "report.json is the line on standard output");
    let montage = image::open(out.join("montage.png")).unwrap();
    assert!(montage.width() > 1000 && montage.height() > 1000);
    assert!(std::fs::read_to_string(out.join("chart.svg")).unwrap().contains("</svg>"));
    (report, folder)
}

#[test]
fn a_phantom_with_a_hematoma_alerts() {
    let (report, _folder) = demo(&["--seed", "1", "--site", "putamen", "--volume-ml", "30"]);
    assert_eq!(report["outcome"], "alert", "{report}");
    assert_eq!(report["slices"].as_array().unwrap().len(), 28);
    let volume_ml = report["hematoma_volume_ml"].as_f64().unwrap();
    assert!((10.0..90.0).contains(&volume_ml), "{volume_ml} mL of 30");
}

#[test]
fn a_phantom_without_one_does_not() {
    let (report, _folder) = demo(&["--seed", "2"]);
    assert_eq!(report["outcome"], "no_alert", "{report}");
}

#[test]
fn the_makefile_runs_what_is_tested_here() {
    let makefile = std::fs::read_to_string("Makefile").unwrap();
    assert!(makefile.contains("--seed 1 --site putamen --volume-ml 30"));
    assert!(makefile.contains("--seed 2\n"));
}
