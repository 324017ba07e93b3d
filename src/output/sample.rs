//! Reports for tests: one that alerts, and one that was refused.

use std::collections::BTreeMap;

use crate::label::Class;
use crate::study::{Outcome, Refusal, RefusalCode, Report, Rules, SliceReport, Timings, Trace, Warning};

/// A report whose slices hold the given numbers of hematoma patches.
pub fn alert(hematoma: &[u32]) -> Report {
    let slices = hematoma
        .iter()
        .zip(0u32..)
        .map(|(&hematoma, index)| SliceReport {
            sop_uid: format!("1.2.840.99.{index}"),
            file: format!("series/IM{:04}.dcm", index + 1),
            frame: None,
            z_mm: f64::from(index) * 5.0 - 12.5,
            score: (hematoma as f32 / 40.0).min(0.99),
            counts: [512, 512u32.saturating_sub(hematoma), hematoma, 0, 0, 0],
        })
        .collect::<Vec<_>>();
    let hematoma_patches = hematoma.iter().sum();
    Report {
        study_uid: "1.2.840.1".to_owned(),
        series_uid: "1.2.840.1.7".to_owned(),
        series_reason: "the only axial series".to_owned(),
        outcome: Outcome::Alert { probability: 0.97 },
        rules: Rules { bag: true, threshold: true },
        hematoma_patches,
        hematoma_volume_ml: Some(f64::from(hematoma_patches) * 0.3200001),
        classes: vec![Class::Background, Class::Parenchyma, Class::Hematoma, Class::Skull],
        bag_labels: Vec::new(),
        slices,
        warnings: vec![Warning { code: "gantry_tilt", detail: "18.5 degrees".to_owned() }],
        timings: Timings { read_ms: 3.125_4, prepare_ms: 2.0, infer_ms: 160.2, total_ms: 166.0 },
        trace: Trace {
            program: "hemapatch 0.1.0".to_owned(),
            engine: "tract".to_owned(),
            model: "ich16".to_owned(),
            model_version: "1".to_owned(),
            model_sha256: "0123456789abcdef".repeat(4),
            precision: "int8",
            simd: Some("avx2"),
            window_hu: [0, 80],
            preprocessing: vec!["denoise".to_owned(), "center".to_owned()],
            rule: "threshold".to_owned(),
            thresholds: BTreeMap::from([("slice".to_owned(), 0.5), ("study".to_owned(), 0.6)]),
            notice: None,
        },
    }
}

/// A report without a result.
pub fn refused() -> Report {
    Report {
        series_uid: String::new(),
        series_reason: String::new(),
        outcome: Outcome::Refused(Refusal {
            code: RefusalCode::NoCtSeries,
            detail: "3 files, none of them an axial CT slice".to_owned(),
        }),
        ..alert(&[])
    }
}
