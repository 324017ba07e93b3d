//! What came of a study can be shown later: an audit log that shows each change, results that come out the same again, a report
//! that says what is missing.

mod service;

use std::fs;
use std::path::Path;

use serde_json::Value;
use service::program::{BLEED, phantom, run};
use service::{Service, Slice, configure, slices};

/// A spool in which a study was judged and told of, and the line of the journal that says so.
fn judged(folder: &Path) -> Value {
    phantom(&folder.join("bleed"), BLEED);
    let service = Service::start(&configure(folder, "[study]\nsettled_s = 0\n"));
    service.send(&folder.join("bleed"));
    service.wait_for("verdict");
    loop {
        let told = service.wait_for("told");
        if told["notice"] == "1-alert" {
            return told;
        }
    }
}

fn of(folder: &Path, words: &[&str]) -> (i32, String, String) {
    let spool = folder.join("spool");
    run(&[words, &["--spool", spool.to_str().unwrap()]].concat())
}

fn verify(folder: &Path) -> (i32, String, String) {
    of(folder, &["audit", "verify"])
}

#[test]
fn the_audit_log_tells_what_came_of_a_study_and_every_change_shows() {
    let folder = tempfile::tempdir().unwrap();
    let told = judged(folder.path());
    let (code, text, complaint) = verify(folder.path());
    assert_eq!(code, 0, "{complaint}");
    let last = told["audit"].as_str().unwrap();
    assert!(text.starts_with("whole: ") && text.contains(last), "{text}");
    let path = folder.path().join("spool/audit.jsonl");
    let log = fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert!(events.starts_with(&["started"]), "{events:?}");
    for event in ["early_alert", "verdict", "told"] {
        assert!(events.contains(&event), "{events:?}");
    }
    assert_eq!(lines.last().unwrap()["study"], told["study"]);
    // Seen to, by another process.
    let study = told["study"].as_str().unwrap();
    assert_eq!(of(folder.path(), &["alerts", "ack", study, "--by", "night shift"]).0, 0);
    let log = fs::read_to_string(&path).unwrap();
    assert!(log.lines().last().unwrap().contains("night shift"));
    assert_eq!(verify(folder.path()).0, 0);
    assert_eq!(of(folder.path(), &["audit", "verify", "--holds", last]).0, 0);
    // No study is named, and nobody.
    let study_uid = fs::read_dir(folder.path().join("spool/studies")).unwrap().next().unwrap().unwrap();
    assert!(!log.contains(study_uid.file_name().to_str().unwrap()));

    fs::write(&path, log.replacen("early_alert", "early_alarm", 1)).unwrap();
    let (code, _, complaint) = verify(folder.path());
    assert!(code == 4 && complaint.contains("not as it was written"), "{complaint}");
    // The end is cut off: the journal still has what stood there.
    let cut: Vec<&str> = log.lines().take(2).collect();
    fs::write(&path, cut.join("\n") + "\n").unwrap();
    let (code, _, complaint) = of(folder.path(), &["audit", "verify", "--holds", last]);
    assert!(code == 4 && complaint.contains("removed at the end"), "{complaint}");
    fs::write(&path, &log).unwrap();
    // A verdict that somebody else wrote.
    let verdict = study_uid.path().join("verdict.json");
    let text = fs::read_to_string(&verdict).unwrap();
    fs::write(&verdict, text.replacen("\"alert\"", "\"no_alert\"", 2)).unwrap();
    let (code, _, complaint) = verify(folder.path());
    assert!(code == 4 && complaint.contains("is not the last one"), "{complaint}");
}

#[test]
fn a_verdict_that_a_crash_kept_from_the_audit_log_is_noted_at_the_next_start() {
    // A study was judged again, with the same outcome, and the service was killed behind the verdict's file: the audit log knew
    // another report, and `audit verify` told of tampering. An earlier version noted no report at all.
    let folder = tempfile::tempdir().unwrap();
    judged(folder.path());
    let config = configure(folder.path(), "[study]\nsettled_s = 0\n");
    // Whoever was to be told of the first is.
    Service::start(&config).kill();
    let spool = folder.path().join("spool");
    let study = fs::read_dir(spool.join("studies")).unwrap().next().unwrap().unwrap().path();
    let told = service::notices(&folder.path().join("alerts.jsonl")).len();
    for earlier_version in [false, true] {
        if earlier_version {
            fs::write(study.join("handed_on"), "1 9 0\n").unwrap();
        }
        let verdict = fs::read_to_string(study.join("verdict.json")).unwrap();
        let other = verdict.replacen("\"timings_ms\":{", "\"timings_ms\":{\"more\":1.0,", 1);
        assert_ne!(verdict, other);
        fs::write(study.join("verdict.json"), other).unwrap();
        let journal = Service::start(&config).journal();
        assert_eq!(journal.iter().filter(|line| line["event"] == "verdict").count(), 1, "{journal:?}");
        let (code, _, complaint) = verify(folder.path());
        assert_eq!(code, 0, "{complaint}");
        // Nobody is told again.
        assert_eq!(fs::read_dir(spool.join("alerts/log/pending")).unwrap().count(), 0);
        assert_eq!(service::notices(&folder.path().join("alerts.jsonl")).len(), told);
    }
}

#[test]
fn a_study_that_is_judged_again_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let told = judged(folder.path());
    let study = told["study"].as_str().unwrap();
    let (code, text, complaint) = of(folder.path(), &["replay", study]);
    assert!(code == 0 && text.contains("the same"), "{complaint}");
    let study_uid = fs::read_dir(folder.path().join("spool/studies")).unwrap().next().unwrap().unwrap();
    let (code, _, complaint) = of(folder.path(), &["replay", study_uid.file_name().to_str().unwrap()]);
    assert_eq!(code, 0, "{complaint}");
    let montage = study_uid.path().join("results/montage.png");
    let mut bytes = fs::read(&montage).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&montage, bytes).unwrap();
    fs::remove_file(fs::read_dir(study_uid.path().join("objects")).unwrap().next().unwrap().unwrap().path())
        .unwrap();
    let (code, _, complaint) = of(folder.path(), &["replay", study]);
    assert_eq!(code, 4);
    for difference in ["montage.png", "report: slices", "has 8 objects, its verdict is on 9"] {
        assert!(complaint.contains(difference), "{complaint}");
    }
    assert_eq!(of(folder.path(), &["replay", "1.2.3"]).0, 2);
}

/// The warning codes of the report on the only study.
fn warnings(folder: &Path) -> Vec<String> {
    let study = fs::read_dir(folder.join("spool/studies")).unwrap().next().unwrap().unwrap();
    let report = fs::read_to_string(study.path().join("results/report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let codes = report["warnings"].as_array().unwrap().iter();
    codes.map(|warning| warning["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_verdict_that_takes_something_back_says_so_and_is_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let bleed = folder.path().join("bleed");
    // The lowest four slices show no hematoma, and have no gap.
    let options = ["phantom", "-o", bleed.to_str().unwrap(), "--slices", "14"];
    assert_eq!(run(&[&options[..], BLEED].concat()).0, 0);
    let service = Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\n"));
    let slices = slices(&bleed);
    let send = |slices: &[Slice]| {
        let mut sender = service.associate().unwrap();
        slices.iter().for_each(|slice| assert_eq!(sender.store(slice), Some(0)));
        sender.release();
    };
    send(&slices[..4]);
    let first = service.wait_for("verdict");
    assert_eq!((&first["outcome"], &first["revision"]), (&"no_alert".into(), &"1".into()));
    assert!(!warnings(folder.path()).contains(&"verdict_revised".to_owned()));
    // The sender may be slow, so that the study counts as whole more than once; the last verdict is what counts.
    send(&slices[4..]);
    let revised = loop {
        let verdict = service.wait_for("verdict");
        if verdict["objects"] == "14" {
            break verdict;
        }
    };
    assert_eq!((&revised["outcome"], &revised["revision"]), (&"alert".into(), &"2".into()));
    assert!(warnings(folder.path()).contains(&"verdict_revised".to_owned()));
    // Whoever was told of the first is told of the second.
    while service.wait_for("told")["notice"] != "2-alert" {}
    let notices = service::notices(&folder.path().join("alerts.jsonl"));
    let told: Vec<_> = notices.iter().map(|notice| (&notice["occasion"], &notice["revision"])).collect();
    assert!(told.contains(&(&"no_alert".into(), &1.into())) && told.contains(&(&"alert".into(), &2.into())));
    // Nothing in the objects tells that any more: it stands with the verdict.
    let study = revised["study"].as_str().unwrap();
    let (code, _, complaint) = of(folder.path(), &["replay", study]);
    assert_eq!(code, 0, "{complaint}");
}

#[test]
fn an_early_alert_that_is_withdrawn_is_known_to_whoever_judges_later() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("clean"), &["--seed", "2"]);
    let config = configure(folder.path(), "[study]\nsettled_s = 0\n");
    let slices = slices(&folder.path().join("clean"));
    let service = Service::start(&config);
    let mut sender = service.associate().unwrap();
    assert_eq!(sender.store(&slices[0]), Some(0));
    // As a service leaves it that was killed behind its early alert.
    let study = fs::read_dir(folder.path().join("spool/studies")).unwrap().next().unwrap().unwrap();
    fs::write(study.path().join("early"), "").unwrap();
    service.kill();
    let service = Service::start(&config);
    let mut sender = service.associate().unwrap();
    slices.iter().for_each(|slice| assert_eq!(sender.store(slice), Some(0)));
    sender.release();
    let verdict = service.wait_for("verdict");
    assert_eq!(verdict["outcome"], "no_alert");
    assert!(warnings(folder.path()).contains(&"early_alert_withdrawn".to_owned()));
    // What a process left that was killed while it wrote is none of the results.
    let results = study.path().join("results");
    fs::write(results.join(".hemapatch-half"), "half").unwrap();
    let mut sender = service.associate().unwrap();
    let one_more = Slice { instance_uid: "1.2.3".into(), ..slices[0].clone() };
    assert_eq!(sender.store(&one_more), Some(0xA900));
    sender.release();
    service.wait_for("verdict");
    let (code, _, complaint) = of(folder.path(), &["replay", verdict["study"].as_str().unwrap()]);
    assert_eq!(code, 0, "{complaint}");
}

#[test]
fn objects_that_were_refused_are_said_in_the_report_once() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let service = Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\n"));
    let mut slices = slices(&folder.path().join("bleed"));
    let last = slices.pop().unwrap();
    // Cut off in its pixels: whose it is can be read.
    let cut = Slice { data_set: last.data_set[..last.data_set.len() / 2].to_vec(), ..last };
    let refuse = || {
        let mut sender = service.associate().unwrap();
        assert_eq!(sender.store(&cut), Some(0xC000));
        sender.release();
    };
    refuse();
    let mut sender = service.associate().unwrap();
    for slice in &slices {
        assert_eq!(sender.store(slice), Some(0));
    }
    sender.release();
    let verdict = service.wait_for("verdict");
    let report = || -> Value {
        let study = fs::read_dir(folder.path().join("spool/studies")).unwrap().next().unwrap().unwrap();
        serde_json::from_str(&fs::read_to_string(study.path().join("results/report.json")).unwrap()).unwrap()
    };
    let warnings = report()["warnings"].clone();
    let warning = warnings.as_array().unwrap().iter().find(|warning| warning["code"] == "refused_object");
    assert!(warning.is_some_and(|warning| !warning["detail"].as_str().unwrap().is_empty()), "{warnings}");
    // Sent again and again, it changes nothing; another one, refused for another reason, does.
    refuse();
    let differs = Slice { instance_uid: "1.2.3".into(), ..slices[0].clone() };
    let mut sender = service.associate().unwrap();
    assert_eq!(sender.store(&differs), Some(0xA900));
    sender.release();
    let again = service.wait_for("verdict");
    assert_eq!((&again["revision"], &again["objects"]), (&verdict["revision"], &verdict["objects"]));
    let warnings = report()["warnings"].clone();
    let count =
        warnings.as_array().unwrap().iter().filter(|warning| warning["code"] == "refused_object").count();
    assert_eq!(count, 2, "{warnings}");
    service.kill();
    // All of it was told once, and is known after a start too.
    let service = Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\n"));
    drop(service);
    let study = again["study"].as_str().unwrap();
    let (code, _, complaint) = of(folder.path(), &["replay", study]);
    assert_eq!(code, 0, "{complaint}");
}

/// Slices that are cut off in their pixels: whose they are can be read.
fn cut_off(slices: &[Slice]) -> Vec<Slice> {
    let half = |slice: &Slice| slice.data_set[..slice.data_set.len() / 2].to_vec();
    slices.iter().map(|slice| Slice { data_set: half(slice), ..slice.clone() }).collect()
}

#[test]
fn a_study_of_which_every_object_is_refused_is_refused_until_one_comes() {
    // Such a study had no outcome: nobody heard of it who asked for refused ones.
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let slices = slices(&folder.path().join("bleed"));
    let config = configure(folder.path(), "[study]\nsettled_s = 0\nquiet_s = 1\n");
    let service = Service::start(&config);
    let refuse = || {
        let mut sender = service.associate().unwrap();
        assert_eq!(sender.store(&cut_off(&slices)[0]), Some(0xC000));
        sender.release();
    };
    refuse();
    let verdict = service.wait_for("verdict");
    assert_eq!((&verdict["outcome"], &verdict["objects"]), (&"refused".into(), &"0".into()));
    while service.wait_for("told")["notice"] != "1-refused" {}
    let notices = service::notices(&folder.path().join("alerts.jsonl"));
    assert_eq!(notices[0]["about"]["refusal"]["code"], "unreadable_input");
    assert_eq!(warnings(folder.path()), ["refused_object"]);
    // Refused once more, and found at a start, it is judged no other time.
    refuse();
    service.kill();
    let service = Service::start(&config);
    assert_eq!(verify(folder.path()).0, 0);
    let (code, _, complaint) = of(folder.path(), &["replay", verdict["study"].as_str().unwrap()]);
    assert_eq!(code, 0, "{complaint}");
    service.send(&folder.path().join("bleed"));
    let revised = service.wait_for("verdict");
    assert_eq!((&revised["outcome"], &revised["revision"]), (&"alert".into(), &"2".into()));
}

#[test]
fn an_object_that_was_refused_before_a_crash_is_said_after_it() {
    // The answer was given, and the reason was in memory.
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let mut slices = slices(&folder.path().join("bleed"));
    let cut = cut_off(&[slices.pop().unwrap()]).remove(0);
    let config = configure(folder.path(), "[study]\nsettled_s = 0\n");
    let service = Service::start(&config);
    assert_eq!(service.associate().unwrap().store(&cut), Some(0xC000));
    service.kill();
    let service = Service::start(&config);
    let mut sender = service.associate().unwrap();
    slices.iter().for_each(|slice| assert_eq!(sender.store(slice), Some(0)));
    sender.release();
    assert_eq!(service.wait_for("verdict")["objects"], "8");
    assert!(warnings(folder.path()).contains(&"refused_object".to_owned()));
}

#[test]
fn a_study_of_which_the_scanner_tells_more_images_waits_for_them() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let slices = slices(&folder.path().join("bleed"));
    for told in ["8 ", "9 "] {
        let folder = tempfile::tempdir_in(folder.path()).unwrap();
        // No gap, nobody connected: whatever is not waited for is judged at once.
        let service = Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\n"));
        let tell = |slice: &Slice| {
            let mut data_set = slice.data_set.clone();
            // (0020,1002) IS, before group 0028.
            let at = data_set.windows(6).position(|window| window == b"\x28\0\x02\0US").unwrap();
            data_set.splice(at..at, [b"\x20\0\x02\x10IS\x02\0", told.as_bytes()].concat());
            Slice { data_set, ..slice.clone() }
        };
        let slices: Vec<Slice> = slices.iter().map(tell).collect();
        let (last, first) = slices.split_last().unwrap();
        let mut sender = service.associate().unwrap();
        for slice in first {
            assert_eq!(sender.store(slice), Some(0));
        }
        sender.release();
        if told == "8 " {
            assert_eq!(service.wait_for("verdict")["objects"], "8");
        }
        let mut sender = service.associate().unwrap();
        assert_eq!(sender.store(last), Some(0));
        sender.release();
        assert_eq!(service.wait_for("verdict")["objects"], "9");
    }
}
