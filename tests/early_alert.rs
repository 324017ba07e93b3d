//! Slices are scored while later ones arrive; an alert does not wait for the last, and the verdict is that of the whole.

mod program;

use hemapatch::engine::EngineOptions;
use hemapatch::limits::Limits;
use hemapatch::model::Model;
use hemapatch::output::json;
use hemapatch::series::{Headers, assemble, find};
use hemapatch::study::{Early, Outcome, Triage};
use program::{BLEED, CLEAN, files, hemapatch, phantom, python, read, reports, run};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::tempdir;

fn triage() -> Triage {
    let model = Model::open(Path::new("models/ich16")).unwrap();
    Triage::new(model, None, EngineOptions::default(), NonZeroUsize::MIN, Limits::default()).unwrap()
}

/// Moves the slices into a folder one by one; after how many there was an alert, and the report on all of them.
fn arrive(slices: &[PathBuf]) -> (Option<usize>, serde_json::Value) {
    let folder = tempdir().unwrap();
    let paths = [folder.path().to_owned()];
    let limits = Limits::default();
    let (mut triage, mut headers, mut early) =
        (triage().remembering().unwrap(), Headers::default(), Early::default());
    let mut alert = None;
    for (number, slice) in slices.iter().enumerate() {
        fs::copy(slice, folder.path().join(slice.file_name().unwrap())).unwrap();
        let assembly = headers.assemble(find(&paths, &limits), &limits);
        assert!(headers.changed());
        if let Some(early) = early.look(&mut triage, &assembly.studies[0]).unwrap() {
            assert_eq!(alert, None, "a second alert");
            assert!(early.slices <= number + 1 && early.probability > 0.5, "{early:?}");
            alert = Some(number + 1);
        }
    }
    let report = triage.judge(&assemble(find(&paths, &limits), &limits).studies[0], Instant::now(), &mut ());
    assert_eq!(early.alerted(), alert.is_some());
    assert!(!early.alerted() || matches!(report.outcome, Outcome::Alert { .. }));
    (alert, plain(serde_json::from_str(&json::line(&report).unwrap()).unwrap()))
}

/// A report without what differs from folder to folder and from run to run.
fn plain(mut report: serde_json::Value) -> serde_json::Value {
    report["timings_ms"].take();
    report["slices"].as_array_mut().unwrap().iter_mut().for_each(|slice| drop(slice["file"].take()));
    report
}

#[test]
fn an_alert_does_not_wait_for_the_last_slice_and_the_verdict_is_the_same() {
    let whole = tempdir().unwrap();
    phantom(whole.path(), BLEED);
    let (_, out, _) = run(&["triage", whole.path().to_str().unwrap(), "--json"]);
    let expected = plain(reports(&out).remove(0));
    let upward = files(whole.path());
    let downward: Vec<PathBuf> = upward.iter().rev().cloned().collect();
    // Every second slice first, as scanners with two detectors' halves may send them.
    let (even, odd): (Vec<_>, Vec<_>) = upward.iter().cloned().enumerate().partition(|(at, _)| at % 2 == 0);
    let mixed: Vec<PathBuf> = even.into_iter().chain(odd).map(|(_, slice)| slice).collect();
    for (order, waits) in [(upward, false), (downward, false), (mixed, true)] {
        let (alert, report) = arrive(&order);
        assert_eq!(report, expected);
        assert!(alert.is_some_and(|after| after < order.len()) || waits, "alert after {alert:?}");
    }
}

#[test]
fn a_clean_head_gives_no_alert_at_any_time() {
    let whole = tempdir().unwrap();
    phantom(whole.path(), CLEAN);
    assert_eq!(arrive(&files(whole.path())).0, None);
}

#[test]
fn all_frames_of_an_object_count() {
    let folder = tempdir().unwrap();
    let (plain, ways) = (folder.path().join("plain"), folder.path().join("ways"));
    phantom(&plain, &[BLEED, &["--pixels", "256", "--pixel-mm", "0.9"]].concat());
    let made = Command::new(python()).arg("tests/peers/compress.py").args([&plain, &ways]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let limits = Limits::default();
    let [slices, frames] = [plain, ways.join("exact-enhanced")].map(|folder| {
        let assembly = assemble(find(&[folder], &limits), &limits);
        let early = Early::default().look(&mut triage(), &assembly.studies[0]).unwrap().expect("an alert");
        (early.probability, early.slices)
    });
    assert_eq!(slices, frames);
}

#[test]
fn the_program_follows_a_folder() {
    let (whole, growing) = (tempdir().unwrap(), tempdir().unwrap());
    phantom(whole.path(), BLEED);
    let slices = files(whole.path());
    let (last, first) = slices.split_last().unwrap();
    let arrive = |slice: &PathBuf| {
        fs::copy(slice, growing.path().join(slice.file_name().unwrap())).unwrap();
    };
    let path = growing.path().to_str().unwrap();
    let mut program = hemapatch()
        .args(["triage", path, "--json", "--follow", "--quiet", "5"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    first.iter().for_each(arrive);
    let mut out = BufReader::new(program.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    arrive(last);
    let early = reports(&line).remove(0);
    assert_eq!(early["schema"], "hemapatch.early_alert/1");
    assert_eq!(early["intended_use"], "research use only");
    assert!(early["slices"].as_u64().unwrap() < slices.len() as u64);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(program.wait().unwrap().success());
    let verdict = reports(&rest).remove(0);
    assert_eq!((&early["study_uid"], &early["series_uid"]), (&verdict["study_uid"], &verdict["series_uid"]));
    let (_, out, _) = run(&["triage", path, "--json"]);
    assert_eq!(plain(verdict), plain(reports(&out).remove(0)));
}

#[test]
fn what_never_becomes_a_study_is_refused_and_not_waited_for() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("slice.dcm"), b"cut off").unwrap();
    let path = folder.path().to_str().unwrap();
    let output = hemapatch().args(["triage", path, "--json", "--follow", "--quiet", "0"]).output().unwrap();
    let (code, out, _) = read(&output);
    assert_eq!((code, reports(&out)[0]["outcome"].as_str()), (4, Some("refused")));
}
