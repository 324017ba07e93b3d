//! What is kept for a time goes after it, and nothing sooner: no study of which somebody was not told, or that changed.

mod service;

use std::fs;
use std::path::{Path, PathBuf};

use service::program::{BLEED, CLEAN, phantom, run};
use service::{Service, configure, notices, slices};
use sha2::Digest;

/// Less than a second.
const SHORT: &str = "[retention]\ndays = 1e-6\n";

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Every file and folder below that is called like the study.
fn traces(folder: &Path, study_uid: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(folder) {
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(study_uid)) {
            found.push(path.clone());
        }
        found.extend(traces(&path, study_uid));
    }
    found
}

fn study_uid(folder: &Path) -> String {
    let studies = entries(&folder.join("spool/studies"));
    studies[0].file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn nothing_is_removed_unless_that_is_set() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("clean"), CLEAN);
    let service = Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\n"));
    service.send(&folder.path().join("clean"));
    service.wait_for("told");
    let study = folder.path().join("spool/studies").join(study_uid(folder.path()));
    service.kill();
    // As if it were of long ago.
    let verdict = fs::File::options().write(true).open(study.join("verdict.json")).unwrap();
    verdict.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let service = Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\n"));
    phantom(&folder.path().join("bleed"), BLEED);
    service.send(&folder.path().join("bleed"));
    service.wait_for("told");
    assert!(study.join("objects").is_dir());
}

/// Studies that were judged long ago and are done with.
fn long_ago(spool: &Path, count: usize) {
    let digest: String = sha2::Sha256::digest(b"{}").iter().map(|byte| format!("{byte:02x}")).collect();
    let verdict = r#"{"revision":1,"outcome":"no_alert","objects":1,"refused":0,"report":{}}"#;
    for number in 0..count {
        let study = spool.join("studies").join(format!("2.25.{number}"));
        fs::create_dir_all(study.join("objects")).unwrap();
        fs::write(study.join("objects/1.2.dcm"), "").unwrap();
        fs::write(study.join("verdict.json"), verdict).unwrap();
        fs::write(study.join("handed_on"), format!("1 1 0 {digest}\n")).unwrap();
    }
}

#[test]
fn a_study_that_comes_while_many_are_removed_does_not_wait_for_all_of_them() {
    // A time was set for the first time, and the studies of a year were removed in one go: nothing was looked at meanwhile.
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let config = configure(folder.path(), SHORT);
    Service::start(&config).kill();
    long_ago(&folder.path().join("spool"), 3000);
    let service = Service::start(&config);
    service.send(&folder.path().join("bleed"));
    service.wait_for("early_alert");
    let left = entries(&folder.path().join("spool/studies")).len();
    assert!(left > 1, "all others are gone");
    service.wait_for("purged");
}

#[test]
fn a_study_that_is_done_with_goes_with_all_that_tells_of_it_and_may_come_anew() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let more = format!(
        "[study]\nsettled_s = 0\n{SHORT}[[alert]]\nname = 'command'\non = ['early', 'alert']\ncommand = ['/bin/cat']\n"
    );
    let service = Service::start(&configure(folder.path(), &more));
    let uid = {
        service.send(&folder.path().join("bleed"));
        let told = notice(&service, folder.path());
        service.wait_for("purged");
        told
    };
    let spool = folder.path().join("spool");
    assert_eq!(traces(&spool, &uid), [] as [PathBuf; 0]);
    // The log of what happened stays, and is whole.
    let (code, text, complaint) = run(&["audit", "verify", "--spool", spool.to_str().unwrap()]);
    assert_eq!(code, 0, "{complaint}");
    assert!(text.contains("whole"), "{text}");
    // Sent again later, it is a study like any other.
    service.send(&folder.path().join("bleed"));
    service.wait_for("verdict");
    service.wait_for("purged");
    let alerts = notices(&folder.path().join("alerts.jsonl"));
    let verdicts = alerts.iter().filter(|notice| notice["occasion"] == "alert").count();
    assert_eq!(verdicts, 2);
}

#[test]
fn a_study_of_which_every_object_was_refused_goes_too() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let service =
        Service::start(&configure(folder.path(), &format!("[study]\nsettled_s = 0\nquiet_s = 1\n{SHORT}")));
    let mut cut = slices(&folder.path().join("bleed")).remove(0);
    cut.data_set.truncate(cut.data_set.len() / 2);
    assert_eq!(service.associate().unwrap().store(&cut), Some(0xC000));
    let uid = notice(&service, folder.path());
    service.wait_for("purged");
    assert_eq!(traces(&folder.path().join("spool"), &uid), [] as [PathBuf; 0]);
}

/// The study that was told of.
fn notice(service: &Service, folder: &Path) -> String {
    service.wait_for("told");
    notices(&folder.join("alerts.jsonl"))[0]["study_uid"].as_str().unwrap().to_owned()
}

#[test]
fn a_study_stays_while_somebody_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    phantom(&folder.path().join("clean"), CLEAN);
    // Nobody listens there, and alerts alone are told there.
    let more = format!(
        "[study]\nsettled_s = 0\n{SHORT}[[alert]]\nname = 'webhook'\non = ['alert']\nwebhook = {{ url = 'http://127.0.0.1:9/' }}\n"
    );
    let service = Service::start(&configure(folder.path(), &more));
    service.send(&folder.path().join("bleed"));
    service.wait_for("not_told");
    let uid = study_uid(folder.path());
    // Whoever came later goes sooner.
    service.send(&folder.path().join("clean"));
    service.wait_for("purged");
    assert_eq!(study_uid(folder.path()), uid);
    assert_eq!(entries(&folder.path().join("spool/alerts/webhook/pending")).len(), 1);
}

#[test]
fn what_a_crash_left_half_removed_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let config = configure(folder.path(), "[study]\nsettled_s = 0\n");
    let service = Service::start(&config);
    service.send(&folder.path().join("bleed"));
    // Of the verdict: there is no other later.
    while service.wait_for("told")["notice"] != "1-alert" {}
    service.kill();
    let spool = folder.path().join("spool");
    let uid = study_uid(folder.path());
    fs::rename(spool.join("studies").join(&uid), spool.join("purging").join(&uid)).unwrap();
    let first = entries(&spool.join("purging").join(&uid).join("objects")).remove(0);
    fs::remove_file(first).unwrap();
    let service = Service::start(&config);
    assert_eq!(traces(&spool, &uid), [] as [PathBuf; 0]);
    drop(service);
}
