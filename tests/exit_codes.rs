//! The exit codes of docs/exit-codes.md: one test a row, and every row of the page is here.

mod program;

use hemapatch::error::Exit;
use program::{BLEED, CLEAN, files, phantom, run};
use std::path::Path;
use tempfile::tempdir;

fn triage(path: &Path, more: &[&str]) -> (i32, String, String) {
    let mut arguments = vec!["triage", path.to_str().unwrap()];
    arguments.extend(more);
    run(&arguments)
}

#[test]
fn code_0_every_study_was_judged() {
    let folder = tempdir().unwrap();
    phantom(folder.path(), BLEED);
    let (code, out, _) = triage(folder.path(), &[]);
    assert_eq!(code, Exit::Done as i32, "{out}");
}

#[test]
fn code_1_is_our_mistake() {
    use hemapatch::study::{Outcome, Refusal, RefusalCode};
    // No input is known that leads here, so the mapping is what can be tested.
    let detail = "the network failed".into();
    let outcome = Outcome::Refused(Refusal { code: RefusalCode::Internal, detail });
    assert_eq!(Exit::of(&[outcome], false) as i32, 1);
}

#[test]
fn code_2_the_command_line_is_wrong() {
    for wrong in [
        &["triage"][..],
        &["triage", "x", "--window", "80,0"],
        &["triage", "x", "--window", "eighty"],
        &["triage", "x", "--threads", "0"],
        &["triage", "x", "--precision", "f16"],
        &["triage", "x", "--simd", "mmx"],
        &["bench", "--seconds", "-1"],
        &["bench", "--threads", "0"],
        &["bench", "--precision", "f16"],
        // It has no fused multiply-add; elsewhere than on x86-64 it is not there at all.
        &["triage", "x", "--simd", "sse2", "--precision", "f32"],
        &["nonsense"],
        &["phantom", "-o", "x", "--volume-ml", "3"],
    ] {
        let (code, out, complaint) = run(wrong);
        assert_eq!(code, Exit::Usage as i32, "{wrong:?}");
        assert!(out.is_empty() && !complaint.is_empty());
    }
    // Of two architectures' levels, one is never here.
    let elsewhere = if cfg!(target_arch = "aarch64") { "avx2" } else { "dotprod" };
    let (code, _, complaint) = run(&["triage", "x", "--simd", elsewhere]);
    assert_eq!(code, Exit::Usage as i32);
    assert!(complaint.contains(elsewhere) && complaint.contains("it runs scalar"), "{complaint}");

    let folder = tempdir().unwrap();
    let (code, _, complaint) =
        run(&["phantom", "-o", folder.path().to_str().unwrap(), "--site", "pons", "--volume-ml", "500"]);
    assert_eq!(code, Exit::Usage as i32);
    assert!(complaint.contains("volume_ml") && complaint.contains("500"), "{complaint}");

    // A shorter phantom over a longer one would leave a study of two heads.
    phantom(folder.path(), CLEAN);
    let (code, _, complaint) = run(&["phantom", "-o", folder.path().to_str().unwrap(), "--slices", "4"]);
    assert_eq!(code, Exit::Usage as i32);
    assert!(complaint.contains("IM000"), "{complaint}");

    let two = tempdir().unwrap();
    phantom(&two.path().join("a"), CLEAN);
    phantom(&two.path().join("b"), BLEED);
    let (code, _, complaint) = run(&["patches", two.path().to_str().unwrap(), "-o", "x"]);
    assert_eq!((code, complaint.contains("2 studies")), (Exit::Usage as i32, true));
}

#[test]
fn code_3_no_ct_series_was_found() {
    let folder = tempdir().unwrap();
    let (code, out, _) = triage(folder.path(), &["--json"]);
    assert_eq!(code, Exit::NoCtSeries as i32);
    let report = &program::reports(&out)[0];
    assert_eq!((&report["outcome"], &report["refusal"]["code"]), (&"refused".into(), &"no_ct_series".into()));
}

#[test]
fn code_4_the_input_is_corrupt_or_unsupported() {
    let folder = tempdir().unwrap();
    let text = folder.path().join("text.dcm");
    std::fs::write(&text, "this is no DICOM file").unwrap();
    let (code, out, _) = triage(&text, &[]);
    assert_eq!(code, Exit::Input as i32);
    assert!(out.contains("text.dcm") && out.contains("not a DICOM file"), "{out}");

    phantom(folder.path(), CLEAN);
    let whole = folder.path().join("IM0001.dcm");
    let cut = folder.path().join("cut.dcm");
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let (code, out, _) = triage(&cut, &["--json"]);
    assert_eq!(code, Exit::Input as i32);
    let report = &program::reports(&out)[0];
    let detail = report["refusal"]["detail"].as_str().unwrap();
    assert!(detail.contains("cut.dcm") && detail.contains("PixelData"), "{detail}");
}

#[test]
fn code_5_a_limit_was_exceeded() {
    let folder = tempdir().unwrap();
    phantom(folder.path(), CLEAN);
    let path = folder.path().join("IM0001.dcm");
    let mut bytes = std::fs::read(&path).unwrap();
    // Rows (0028,0010), US, 2 bytes: 60,000 of them.
    let rows = b"\x28\x00\x10\x00US\x02\x00";
    let at = bytes.windows(rows.len()).position(|window| window == rows).unwrap() + rows.len();
    bytes[at..at + 2].copy_from_slice(&60_000u16.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let (code, out, _) = triage(&path, &[]);
    assert_eq!(code, Exit::Limit as i32);
    assert!(out.contains("IM0001.dcm") && out.contains("60000"), "{out}");
}

#[test]
fn code_6_the_model_is_missing() {
    let folder = tempdir().unwrap();
    let (code, _, complaint) = triage(folder.path(), &["--model", "/nowhere"]);
    assert_eq!(code, Exit::Model as i32);
    assert!(complaint.contains("/nowhere/model.toml"), "{complaint}");
}

#[test]
fn code_7_the_output_cannot_be_written() {
    let folder = tempdir().unwrap();
    let series = folder.path().join("series");
    phantom(&series, CLEAN);
    let in_the_way = folder.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    let (code, _, complaint) = triage(&series, &["-o", in_the_way.to_str().unwrap()]);
    assert_eq!(code, Exit::Output as i32);
    assert!(complaint.contains("cannot write") && complaint.contains("file"), "{complaint}");
}

#[test]
fn code_8_some_studies_were_judged_and_some_refused() {
    let folder = tempdir().unwrap();
    phantom(&folder.path().join("whole"), CLEAN);
    let part = folder.path().join("part");
    phantom(&part, BLEED);
    for file in files(&part).iter().skip(2) {
        std::fs::remove_file(file).unwrap();
    }
    let (code, out, _) = triage(folder.path(), &["--json"]);
    assert_eq!(code, Exit::Partial as i32);
    let reports = program::reports(&out);
    let mut outcomes: Vec<&str> = reports.iter().map(|r| r["outcome"].as_str().unwrap()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["no_alert", "refused"]);
}

#[test]
fn code_9_something_keeps_a_service_from_its_work() {
    let folder = tempdir().unwrap();
    let config = folder.path().join("hemapatch.toml");
    let text = format!(
        "[spool]\nfolder = {:?}\nkeep_free_mb = 1000000000\n[study]\nmodel = '/nowhere'\n",
        folder.path().join("spool")
    );
    std::fs::write(&config, text).unwrap();
    let (code, out, _) = run(&["doctor", "--config", config.to_str().unwrap()]);
    assert_eq!(code, Exit::NotReady as i32);
    assert!(out.contains("/nowhere/model.toml") && out.contains("no object is taken"), "{out}");
    assert!(out.ends_with("Research use only.\n"), "{out}");
}

#[test]
fn code_10_an_alert_was_raised_and_asked_for() {
    let folder = tempdir().unwrap();
    phantom(folder.path(), BLEED);
    let (code, out, _) = triage(folder.path(), &["--exit-on-alert"]);
    assert_eq!(code, Exit::Alert as i32, "{out}");
    let clean = tempdir().unwrap();
    phantom(clean.path(), CLEAN);
    let (code, out, _) = triage(clean.path(), &["--exit-on-alert"]);
    assert_eq!(code, Exit::Done as i32, "{out}");
}

#[test]
fn the_page_lists_these_codes_and_no_others() {
    let page = std::fs::read_to_string("docs/exit-codes.md").unwrap();
    let listed: Vec<i32> =
        page.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
    assert_eq!(listed, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
}
