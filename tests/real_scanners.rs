//! Real scanners' files: a complete head series, a head phantom, a localizer, odd sets. Skipped, and said so, without
//! the data.

mod program;

use program::{reports, run, shared_data, warnings};
use std::path::Path;

fn triage(path: &Path) -> (i32, Vec<serde_json::Value>) {
    let (code, out, complaint) = run(&["triage", path.to_str().unwrap(), "--json"]);
    assert!(!complaint.contains("panicked"), "{complaint}");
    (code, reports(&out))
}

#[test]
fn a_head_without_hemorrhage_gives_one_report_and_no_alert() {
    let Some(folder) = shared_data("ge_philips_dcm_qa_ct/GE_human_head") else { return };
    let (code, reports) = triage(&folder);
    assert_eq!((code, reports.len()), (0, 1));
    let report = &reports[0];
    assert_eq!(report["outcome"], "no_alert", "probability {}", report["probability"]);
    let slices = report["slices"].as_array().unwrap();
    assert_eq!(slices.len(), 28);
    let z_mm: Vec<f64> = slices.iter().map(|slice| slice["z_mm"].as_f64().unwrap()).collect();
    assert!(z_mm.is_sorted_by(|a, b| a < b), "{z_mm:?}");
    let codes = warnings(report);
    assert!(codes.contains(&"gantry_tilt") && codes.contains(&"variable_spacing"), "{codes:?}");
    assert!(report["warnings"].to_string().contains("18.5 degrees"));
}

#[test]
fn a_head_phantom_is_no_patient_and_is_refused() {
    let Some(folder) = shared_data("ge_philips_dcm_qa_ct/Philips_phantom_tilt") else { return };
    let (code, reports) = triage(&folder);
    assert_eq!(code, 3, "{reports:?}");
    for report in &reports {
        assert_eq!(report["outcome"], "refused");
        assert!(report["refusal"]["detail"].as_str().unwrap().contains(".dcm"), "{report}");
    }
}

#[test]
fn a_localizer_is_no_series() {
    let Some(folder) = shared_data("ge_philips_dcm_qa_ct/Philips_phantom_tilt") else { return };
    let (code, reports) = triage(&folder.join("localizer_I10.dcm"));
    assert_eq!((code, reports.len()), (3, 1));
    assert_eq!(reports[0]["refusal"]["code"], "no_ct_series");
    assert!(reports[0]["refusal"]["detail"].as_str().unwrap().contains("localizer"), "{reports:?}");
}

#[test]
fn every_odd_file_ends_in_an_outcome() {
    let Some(folder) = shared_data("dicom_fixtures") else { return };
    let mut folders = vec![folder];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for path in program::files(&folder) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            seen += 1;
            let (code, reports) = triage(&path);
            assert_eq!(reports.len(), 1, "{}", path.display());
            assert_eq!(reports[0]["outcome"], "refused", "{}: one file is no study", path.display());
            assert!([3, 4, 5].contains(&code), "{}: {code}", path.display());
            assert!(!reports[0]["refusal"]["detail"].as_str().unwrap().is_empty());
        }
    }
    assert!(seen > 50, "only {seen} files");
}
