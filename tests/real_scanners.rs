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

/// Writes the slices of a folder anew with other axes, values in HU and rows of as many columns.
fn rewrite(from: &Path, to: &Path, change: impl Fn(&mut [f64; 6], Vec<i16>, usize) -> (Vec<i16>, usize)) {
    use dicom_core::value::PrimitiveValue;
    use dicom_core::{DataElement, VR};
    use dicom_dictionary_std::tags;
    for path in program::files(from) {
        let mut object = dicom_object::open_file(&path).unwrap();
        let number = |tag| object.element(tag).unwrap().to_float64().unwrap();
        let (slope, intercept) = (number(tags::RESCALE_SLOPE), number(tags::RESCALE_INTERCEPT));
        let columns = number(tags::COLUMNS) as usize;
        let stored = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
        let stored = stored.chunks_exact(2).map(|cell| i16::from_le_bytes([cell[0], cell[1]]));
        let hu = stored.map(|stored| (f64::from(stored) * slope + intercept) as i16).collect();
        let orientation = object.element(tags::IMAGE_ORIENTATION_PATIENT).unwrap();
        let mut axes: [f64; 6] = orientation.to_multi_float64().unwrap().try_into().unwrap();
        let (hu, columns) = change(&mut axes, hu, columns);
        object.remove_element(tags::PIXEL_PADDING_VALUE);
        let decimals = axes.map(|axis| axis.to_string()).join("\\");
        let mut put = |tag, vr, value: PrimitiveValue| object.put(DataElement::new(tag, vr, value));
        put(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, decimals.as_str().into());
        put(tags::RESCALE_SLOPE, VR::DS, "1".into());
        put(tags::RESCALE_INTERCEPT, VR::DS, "0".into());
        for (tag, value) in [
            (tags::ROWS, (hu.len() / columns) as u16),
            (tags::COLUMNS, columns as u16),
            (tags::BITS_STORED, 16),
            (tags::HIGH_BIT, 15),
            (tags::PIXEL_REPRESENTATION, 1),
        ] {
            put(tag, VR::US, value.into());
        }
        let cells = hu.into_iter().map(|hu| hu as u16);
        put(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(cells.collect()));
        object.write_to_file(to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn a_real_head_gives_the_same_report_whichever_way_its_rows_run() {
    let Some(folder) = shared_data("ge_philips_dcm_qa_ct/GE_human_head") else { return };
    let judged = |folder: &Path| {
        let mut report = triage(folder).1.remove(0);
        let reoriented = warnings(&report).contains(&"reoriented");
        ["timings_ms", "warnings"].iter().for_each(|field| report[field] = serde_json::Value::Null);
        for slice in report["slices"].as_array_mut().unwrap() {
            slice["file"] = serde_json::Value::Null;
        }
        (report, reoriented)
    };
    let (expected, reoriented) = judged(&folder);
    assert!(!reoriented);
    for (transpose, turn) in [(false, true), (true, false), (true, true)] {
        let stored = tempfile::tempdir().unwrap();
        rewrite(&folder, stored.path(), |axes, mut hu, columns| {
            if transpose {
                axes.rotate_left(3);
                hu = (0..columns)
                    .flat_map(|column| hu.iter().copied().skip(column).step_by(columns))
                    .collect();
            }
            if turn {
                *axes = axes.map(|axis| -axis);
                hu.reverse();
            }
            (hu, columns)
        });
        assert_eq!(judged(stored.path()), (expected.clone(), true), "{transpose} {turn}");
    }
}

#[test]
fn a_real_head_is_judged_cropped_and_padded_and_refused_as_gray_levels() {
    let Some(folder) = shared_data("ge_philips_dcm_qa_ct/GE_human_head") else { return };
    let told = |change: &dyn Fn(Vec<i16>, usize) -> (Vec<i16>, usize)| {
        let changed = tempfile::tempdir().unwrap();
        rewrite(&folder, changed.path(), |_, hu, columns| change(hu, columns));
        let report = triage(changed.path()).1.remove(0);
        assert!(!warnings(&report).contains(&"contrast_suspected"));
        report["refusal"]["code"].as_str().unwrap_or(report["outcome"].as_str().unwrap()).to_owned()
    };
    let each =
        |change: &dyn Fn(i16) -> i16| told(&|hu, columns| (hu.into_iter().map(change).collect(), columns));
    let middle = |hu: Vec<i16>, columns: usize| {
        let rows = hu.chunks_exact(columns).skip(columns / 2 - 64).take(128);
        (rows.flat_map(|row| row[columns / 2 - 64..][..128].to_vec()).collect(), 128)
    };
    assert_eq!(told(&middle), "no_alert");
    assert_eq!(each(&|hu| if hu < -200 { -2000 } else { hu }), "no_alert");
    assert_eq!(each(&|hu| if hu < -200 { 0 } else { hu }), "no_alert");
    assert_eq!(each(&|hu| (hu.clamp(0, 80) * 51 + 8) / 16), "not_hounsfield");
    assert_eq!(each(&|hu| hu + 1024), "not_hounsfield");
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
