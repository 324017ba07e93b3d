//! A verdict reaches somebody whatever else fails, no report overwrites another, and no old picture stands beside a new
//! report.

mod program;

use program::{BLEED, phantom, reports, run};
use tempfile::tempdir;

/// An alert used to be lost when its montage could not be written: the run ended before it was printed.
#[test]
fn an_alert_is_printed_although_nothing_can_be_written() {
    let folder = tempdir().unwrap();
    let series = folder.path().join("series");
    phantom(&series, BLEED);
    let in_the_way = folder.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    let mut arguments =
        vec!["triage", series.to_str().unwrap(), "--json", "-o", in_the_way.to_str().unwrap()];
    let (code, out, complaint) = run(&arguments);
    assert_eq!((code, reports(&out)[0]["outcome"].as_str()), (7, Some("alert")));
    assert!(complaint.contains("cannot write"));
    arguments.push("--exit-on-alert");
    assert_eq!(run(&arguments).0, 10);
}

#[test]
fn every_report_has_a_place_of_its_own() {
    let folder = tempdir().unwrap();
    let (a, b, out) = (folder.path().join("a.txt"), folder.path().join("b.txt"), folder.path().join("out"));
    std::fs::write(&a, "a").unwrap();
    std::fs::write(&b, "b").unwrap();
    let (code, _, _) =
        run(&["triage", a.to_str().unwrap(), b.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert_eq!(code, 4);
    let first = std::fs::read_to_string(out.join("refused/report.json")).unwrap();
    let second = std::fs::read_to_string(out.join("refused-2/report.json")).unwrap();
    assert!(first.contains("a.txt") && second.contains("b.txt"));
}

#[test]
fn a_refused_study_has_no_picture_of_an_earlier_run_beside_it() {
    let folder = tempdir().unwrap();
    let (series, out) = (folder.path().join("series"), folder.path().join("out"));
    phantom(&series, BLEED);
    run(&["triage", series.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert!(out.join("montage.png").is_file() && out.join("chart.svg").is_file());
    let empty = tempdir().unwrap();
    let (code, _, _) = run(&["triage", empty.path().to_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert_eq!(code, 3);
    assert!(!out.join("montage.png").exists() && !out.join("chart.svg").exists());
    assert!(std::fs::read_to_string(out.join("report.json")).unwrap().contains("no_ct_series"));
}
