//! The report as `hemapatch.report/1`: one line of JSON, in a fixed order of fields.
//! docs/report.md describes it field by field.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::OutputError;
use crate::label::{BagLabel, Class};
use crate::study::{EarlyAlert, Outcome, Report, SliceReport};

/// Name and number of the contract. A field renamed or dropped needs a new number.
pub const SCHEMA: &str = "hemapatch.report/1";

const INTENDED_USE: &str = "research use only";

/// One line of JSON, without a line break at its end.
///
/// Every field is always there, but for `bag_labels` and `trace.notice`, which only models with marker labels have. A
/// refused study has no result, so its `probability`, `rules`,
/// `hematoma_patches` and `hematoma_volume_ml` are null: a 0 would read as "no hematoma".
/// `refusal` is null for every other study.
///
/// # Errors
/// [`OutputError::NotFinite`] if a number is infinite or NaN: serde_json would write null,
/// which means something else.
pub fn line(report: &Report) -> Result<String, OutputError> {
    let contract = Contract::of(report)?;
    // Structs of strings and finite numbers, and maps with string keys, always serialize.
    Ok(serde_json::to_string(&contract).unwrap_or_default())
}

/// Name and number of an early alert's contract.
pub const EARLY_SCHEMA: &str = "hemapatch.early_alert/1";

/// One line of JSON on a study that has not arrived as a whole.
///
/// # Errors
/// As [`line()`].
pub fn early_line(alert: &EarlyAlert) -> Result<String, OutputError> {
    let EarlyAlert { study_uid, series_uid, probability, slices } = alert;
    let probability = finite_single("probability", *probability)?;
    let contract = Early {
        schema: EARLY_SCHEMA,
        study_uid,
        series_uid,
        probability,
        slices: *slices,
        intended_use: INTENDED_USE,
    };
    Ok(serde_json::to_string(&contract).unwrap_or_default())
}

#[derive(Serialize)]
struct Early<'a> {
    schema: &'static str,
    study_uid: &'a str,
    series_uid: &'a str,
    probability: f32,
    slices: usize,
    intended_use: &'static str,
}

#[derive(Serialize)]
struct Contract<'a> {
    schema: &'static str,
    study_uid: &'a str,
    series_uid: &'a str,
    series_reason: &'a str,
    outcome: &'static str,
    refusal: Option<Coded<'a>>,
    probability: Option<f32>,
    rules: Option<Rules>,
    hematoma_patches: Option<u32>,
    hematoma_volume_ml: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bag_labels: Option<BTreeMap<&'static str, f32>>,
    slices: Vec<Slice<'a>>,
    warnings: Vec<Coded<'a>>,
    timings_ms: Timings,
    trace: Trace<'a>,
}

#[derive(Serialize)]
struct Coded<'a> {
    code: &'a str,
    detail: &'a str,
}

#[derive(Serialize)]
struct Rules {
    bag: bool,
    threshold: bool,
}

#[derive(Serialize)]
struct Slice<'a> {
    sop_uid: &'a str,
    file: &'a str,
    /// Only where the object has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<u32>,
    z_mm: f64,
    score: f32,
    counts: Counts,
}

/// Patches of each class: of the contract's four, and of those that the model knows beside them.
struct Counts(Vec<(Class, u32)>);

impl Serialize for Counts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(class, count)| (class.name(), count)))
    }
}

#[derive(Serialize)]
struct Timings {
    read: f64,
    prepare: f64,
    infer: f64,
    total: f64,
}

#[derive(Serialize)]
struct Trace<'a> {
    program: &'a str,
    engine: &'a str,
    model: &'a str,
    model_version: &'a str,
    model_sha256: &'a str,
    precision: &'static str,
    simd: Option<&'static str>,
    window_hu: [i32; 2],
    preprocessing: &'a [String],
    rule: &'a str,
    thresholds: &'a BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<&'static str>,
    intended_use: &'static str,
}

impl<'a> Contract<'a> {
    fn of(report: &'a Report) -> Result<Contract<'a>, OutputError> {
        let (outcome, probability, refusal) = match &report.outcome {
            Outcome::Alert { probability } => ("alert", Some(*probability), None),
            Outcome::NoAlert { probability } => ("no_alert", Some(*probability), None),
            Outcome::Refused(refusal) => {
                ("refused", None, Some(Coded { code: refusal.code.as_str(), detail: &refusal.detail }))
            }
        };
        let was_read = refusal.is_none();
        let timings = &report.timings;
        let trace = &report.trace;
        for &threshold in trace.thresholds.values() {
            finite("thresholds", threshold)?;
        }
        Ok(Contract {
            schema: SCHEMA,
            study_uid: &report.study_uid,
            series_uid: &report.series_uid,
            series_reason: &report.series_reason,
            outcome,
            refusal,
            probability: probability
                .map(|probability| finite_single("probability", probability))
                .transpose()?,
            rules: was_read.then_some(Rules { bag: report.rules.bag, threshold: report.rules.threshold }),
            hematoma_patches: was_read.then_some(report.hematoma_patches),
            hematoma_volume_ml: report
                .hematoma_volume_ml
                .filter(|_| was_read)
                .map(|ml| thousandths("hematoma_volume_ml", ml))
                .transpose()?,
            bag_labels: (was_read && !report.bag_labels.is_empty())
                .then(|| {
                    let finite = |&(label, evidence): &(BagLabel, f32)| {
                        Ok((label.name(), finite_single("bag_labels", evidence)?))
                    };
                    report.bag_labels.iter().map(finite).collect::<Result<_, OutputError>>()
                })
                .transpose()?,
            slices: report
                .slices
                .iter()
                .map(|slice| Slice::of(slice, &report.classes))
                .collect::<Result<_, _>>()?,
            warnings: report
                .warnings
                .iter()
                .map(|warning| Coded { code: warning.code, detail: &warning.detail })
                .collect(),
            timings_ms: Timings {
                read: thousandths("timings_ms.read", timings.read_ms)?,
                prepare: thousandths("timings_ms.prepare", timings.prepare_ms)?,
                infer: thousandths("timings_ms.infer", timings.infer_ms)?,
                total: thousandths("timings_ms.total", timings.total_ms)?,
            },
            trace: Trace {
                program: &trace.program,
                engine: &trace.engine,
                model: &trace.model,
                model_version: &trace.model_version,
                model_sha256: &trace.model_sha256,
                precision: trace.precision,
                simd: trace.simd,
                window_hu: trace.window_hu,
                preprocessing: &trace.preprocessing,
                rule: &trace.rule,
                thresholds: &trace.thresholds,
                notice: trace.notice,
                intended_use: INTENDED_USE,
            },
        })
    }
}

impl<'a> Slice<'a> {
    fn of(slice: &'a SliceReport, classes: &[Class]) -> Result<Slice<'a>, OutputError> {
        // The first four are the contract's, whether the model can call a patch so or not.
        let more = classes.iter().filter(|class| !Class::SINGLE.contains(class));
        let classes: BTreeSet<Class> = Class::SINGLE.iter().chain(more).copied().collect();
        Ok(Slice {
            sop_uid: &slice.sop_uid,
            file: &slice.file,
            frame: slice.frame,
            z_mm: thousandths("z_mm", slice.z_mm)?,
            score: finite_single("score", slice.score)?,
            counts: Counts(classes.into_iter().map(|class| (class, slice.counts[class.index()])).collect()),
        })
    }
}

fn finite(field: &'static str, value: f64) -> Result<f64, OutputError> {
    if value.is_finite() { Ok(value) } else { Err(OutputError::NotFinite { field, value }) }
}

/// Single precision is kept, so that 0.97 is not written as 0.9700000286102295.
fn finite_single(field: &'static str, value: f32) -> Result<f32, OutputError> {
    finite(field, f64::from(value))?;
    Ok(value)
}

/// Micrometers, microliters and microseconds are finer than anything measured here.
fn thousandths(field: &'static str, value: f64) -> Result<f64, OutputError> {
    let rounded = (finite(field, value)? * 1000.0).round() / 1000.0;
    // Adding 0 turns -0.0 into 0.0.
    finite(field, rounded).map(|rounded| rounded + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn an_alert_is_this_line() {
        let expected = concat!(
            r#"{"schema":"hemapatch.report/1","study_uid":"1.2.840.1","series_uid":"1.2.840.1.7","#,
            r#""series_reason":"the only axial series","#,
            r#""outcome":"alert","refusal":null,"probability":0.97,"rules":{"bag":true,"threshold":true},"hematoma_patches":37,"#,
            r#""hematoma_volume_ml":11.84,"slices":["#,
            r#"{"sop_uid":"1.2.840.99.0","file":"series/IM0001.dcm","z_mm":-12.5,"score":0.0,"#,
            r#""counts":{"background":512,"parenchyma":512,"hematoma":0,"skull":0}},"#,
            r#"{"sop_uid":"1.2.840.99.1","file":"series/IM0002.dcm","z_mm":-7.5,"score":0.925,"#,
            r#""counts":{"background":512,"parenchyma":475,"hematoma":37,"skull":0}}],"#,
            r#""warnings":[{"code":"gantry_tilt","detail":"18.5 degrees"}],"#,
            r#""timings_ms":{"read":3.125,"prepare":2.0,"infer":160.2,"total":166.0},"#,
            r#""trace":{"program":"hemapatch 0.1.0","engine":"tract","model":"ich16","model_version":"1","#,
            r#""model_sha256":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","#,
            r#""precision":"int8","simd":"avx2","window_hu":[0,80],"preprocessing":["denoise","center"],"rule":"threshold","#,
            r#""thresholds":{"slice":0.5,"study":0.6},"intended_use":"research use only"}}"#,
        );
        assert_eq!(line(&sample::alert(&[0, 37])).expect("finite"), expected);
    }

    #[test]
    fn a_refused_study_has_a_reason_and_no_numbers() {
        let line = line(&sample::refused()).expect("finite");
        let expected = concat!(
            r#""outcome":"refused","refusal":{"code":"no_ct_series","#,
            r#""detail":"3 files, none of them an axial CT slice"},"probability":null,"rules":null,"#,
            r#""hematoma_patches":null,"hematoma_volume_ml":null,"slices":[],"#,
        );
        assert!(line.contains(expected), "{line}");
    }

    #[test]
    fn stays_one_line_whatever_the_names_hold() {
        let mut report = sample::alert(&[1]);
        report.slices[0].file = "a\n\"b\"\u{2028}\u{1b}[2J.dcm".to_owned();
        let line = line(&report).expect("finite");
        assert!(!line.contains(['\n', '\u{1b}']));
        let read: serde_json::Value = serde_json::from_str(&line).expect("valid JSON");
        assert_eq!(read["slices"][0]["file"], "a\n\"b\"\u{2028}\u{1b}[2J.dcm");
    }

    #[test]
    fn refuses_to_write_a_number_that_is_none() {
        let mut report = sample::alert(&[1]);
        report.slices[0].score = f32::NAN;
        let refused = line(&report).expect_err("NaN");
        assert!(matches!(refused, OutputError::NotFinite { field: "score", .. }));
        let mut report = sample::alert(&[1]);
        report.hematoma_volume_ml = Some(f64::MAX);
        assert!(line(&report).is_err());
    }
}
