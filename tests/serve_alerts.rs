//! A study that is sent slice by slice gives its early alert before the last slice, and one verdict; whoever is not listed
//! sends nothing.

mod service;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

use service::program::{BLEED, CLEAN, files, phantom};
use service::{Service, configure, notices, slices};

#[test]
fn an_early_alert_comes_before_the_last_slice_and_the_verdict_after_it() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let service = Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\n"));
    let mut sender = service.associate().unwrap();
    let slices = slices(&folder.path().join("bleed"));
    let (last, first) = slices.split_last().unwrap();
    for slice in first {
        assert_eq!(sender.store(slice), Some(0));
    }
    service.wait_for("early_alert");
    assert_eq!(sender.store(last), Some(0));
    sender.release();
    assert_eq!(service.wait_for("verdict")["outcome"], "alert");
    let occasions: Vec<String> = told(&service, folder.path(), 2);
    assert_eq!(occasions, ["early", "alert"]);
}

#[test]
fn an_alert_is_told_though_nobody_knows_whose_study_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let slices = folder.path().join("bleed");
    phantom(&slices, BLEED);
    files(&slices).iter().for_each(|slice| service::program::repeat_name(slice));
    let service = Service::start(&configure(folder.path(), ""));
    service.send(&slices);
    assert_eq!(service.wait_for("verdict")["outcome"], "alert");
    let notice = loop {
        let notices = notices(&folder.path().join("alerts.jsonl"));
        if let Some(notice) = notices.iter().find(|notice| notice["occasion"] == "alert") {
            break notice.clone();
        }
        service.wait_for("told");
    };
    let warnings = service::program::warnings(&notice["about"]);
    assert!(warnings.contains(&"no_result_objects"), "{warnings:?}");
}

#[test]
fn a_late_slice_opens_the_study_again_and_the_same_verdict_is_not_told_twice() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("clean"), CLEAN);
    let service = Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\n"));
    let slices = slices(&folder.path().join("clean"));
    let (last, first) = slices.split_last().unwrap();
    for part in [first, std::slice::from_ref(last)] {
        let mut sender = service.associate().unwrap();
        for slice in part {
            assert_eq!(sender.store(slice), Some(0));
        }
        sender.release();
        assert_eq!(service.wait_for("verdict")["outcome"], "no_alert");
    }
    let notices = notices(&folder.path().join("alerts.jsonl"));
    assert_eq!(notices.len(), 1, "{notices:#?}");
    assert_eq!(notices[0]["occasion"], "no_alert");
    let text = std::fs::read_to_string(folder.path().join("alerts.jsonl")).unwrap();
    assert!(text.contains("research use only"));
}

#[test]
fn a_study_with_a_gap_is_not_judged_before_the_missing_slice_comes() {
    let folder = tempfile::tempdir().unwrap();
    for (name, options) in [("bleed", BLEED), ("clean", CLEAN)] {
        phantom(&folder.path().join(name), options);
    }
    // Nothing but the missing slice makes it whole while this test runs.
    let service = Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\nquiet_s = 86400\n"));
    let mut others = slices(&folder.path().join("bleed"));
    let all = others.len().to_string();
    let missing = others.remove(others.len() / 2);
    let mut sender = service.associate().unwrap();
    for slice in &others {
        assert_eq!(sender.store(slice), Some(0));
    }
    let bleed = service.wait_for("stored")["study"].clone();
    sender.release();
    // Its sender is gone before another study comes.
    service.wait_for("association");
    service.send(&folder.path().join("clean"));
    assert_eq!(service.wait_for("verdict")["outcome"], "no_alert");
    // By then, whatever else is whole is being judged.
    while service.wait_for("told")["notice"] != "1-no_alert" {}
    let mut sender = service.associate().unwrap();
    assert_eq!(sender.store(&missing), Some(0));
    sender.release();
    while service.wait_for("told")["notice"] != "1-alert" {}
    let journal = service.journal();
    let verdicts = journal.iter().filter(|line| line["event"] == "verdict");
    let verdicts: Vec<_> = verdicts
        .map(|verdict| (verdict["study"] == bleed, &verdict["outcome"], &verdict["objects"]))
        .collect();
    let all = &all.into();
    assert_eq!(verdicts, [(false, &"no_alert".into(), all), (true, &"alert".into(), all)]);
}

#[test]
fn what_was_sent_before_is_kept_once_and_what_differs_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("clean"), CLEAN);
    let service = Service::start(&configure(folder.path(), ""));
    let slices = slices(&folder.path().join("clean"));
    let mut sender = service.associate().unwrap();
    assert_eq!(sender.store(&slices[0]), Some(0));
    assert_eq!(sender.store(&slices[0]), Some(0));
    let mut other = slices[0].clone();
    *other.data_set.last_mut().unwrap() ^= 1;
    assert_eq!(sender.store(&other), Some(0x0111));
    // Another UID in the command than in the data set, and bytes that are no data set.
    let wrong = service::Slice { instance_uid: "1.2.3".into(), ..slices[1].clone() };
    assert_eq!(sender.store(&wrong), Some(0xA900));
    let noise = service::Slice { data_set: vec![0xFF; 5000], ..slices[1].clone() };
    assert_eq!(sender.store(&noise), Some(0xC000));
    // None of it ended the association, and none of it left anything.
    assert_eq!(sender.store(&slices[1]), Some(0));
    let spool = folder.path().join("spool");
    assert_eq!(std::fs::read_dir(spool.join("incoming")).unwrap().count(), 0);
}

#[test]
fn an_object_over_the_limit_is_refused_and_the_next_one_is_taken() {
    for (object_mb, answer) in [(1, 0xA700), (2, 0)] {
        let folder = tempfile::tempdir().unwrap();
        phantom(&folder.path().join("clean"), CLEAN);
        let config = configure(folder.path(), "");
        let text = std::fs::read_to_string(&config).unwrap();
        let limit = format!("[receive]\nobject_mb = {object_mb}\n");
        std::fs::write(&config, text.replace("[receive]\n", &limit)).unwrap();
        let service = Service::start(&config);
        let slices = slices(&folder.path().join("clean"));
        // Data Set Trailing Padding: nothing is wrong with it but its length.
        let mut large = slices[0].clone();
        large.data_set.extend(b"\xFC\xFF\xFC\xFFOB\0\0\x40\x42\x0F\0");
        large.data_set.extend([0; 1_000_000]);
        let mut sender = service.associate().unwrap();
        assert_eq!(sender.store(&large), Some(answer), "{object_mb} MB");
        assert_eq!(sender.store(&slices[1]), Some(0), "{object_mb} MB");
        sender.release();
        let spool = folder.path().join("spool");
        assert_eq!(std::fs::read_dir(spool.join("incoming")).unwrap().count(), 0);
        let kept = files(&files(&spool.join("studies"))[0].join("objects")).len();
        assert_eq!(kept, if answer == 0 { 2 } else { 1 });
    }
}

#[test]
fn dcmtk_is_answered_and_nobody_is_who_is_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let service = Service::start(&configure(folder.path(), ""));
    assert!(service.dcmtk("echoscu", "CT1", &[]));
    assert!(!service.dcmtk("echoscu", "CT2", &[]));
    let bleed = folder.path().join("bleed");
    assert!(!service.dcmtk("storescu", "CT2", &["+sd", bleed.to_str().unwrap()]));
    assert!(service.dcmtk("storescu", "CT1", &["+sd", bleed.to_str().unwrap()]));
    assert_eq!(service.wait_for("verdict")["outcome"], "alert");
}

#[test]
fn a_peer_too_many_is_told_to_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path(), "");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[receive]\n", "[receive]\nassociations = 1\n")).unwrap();
    let service = Service::start(&config);
    let first = service.associate().unwrap();
    let (host, port) = service.address.split_once(':').unwrap();
    let echo = ["-aet", "CT1", "-aec", "HEMAPATCH", host, port];
    let said = std::process::Command::new("echoscu").args(echo).output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("Rejected Transient") && said.contains("Local Limit Exceeded"), "{said}");
    assert!(service.wait_for("association")["ended"].as_str().unwrap().contains("too many"));
    first.release();
    service.wait_for("association");
    assert!(service.dcmtk("echoscu", "CT1", &[]));
}

/// Stands between a peer and the service, and lets nothing more of the peer through once so many objects are acknowledged, until
/// it is told to.
fn hold_after(acknowledged: usize, service: &str) -> (u16, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let service = service.to_owned();
    let (go, gone) = channel();
    std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut service = TcpStream::connect(service).unwrap();
        let (mut from_service, mut to_peer) = (service.try_clone().unwrap(), peer.try_clone().unwrap());
        let is_held = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut answers = 0;
                let mut head = [0; 6];
                while from_service.read_exact(&mut head).is_ok() {
                    let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
                    let mut unit = head.to_vec();
                    (&mut from_service).take(u64::from(length)).read_to_end(&mut unit).unwrap();
                    // PS3.8 9.3.1: data; here, the answer to an object.
                    answers += usize::from(head[0] == 4);
                    // Before the peer hears of it, and sends the next one.
                    if answers == acknowledged && head[0] == 4 {
                        is_held.store(true, Ordering::SeqCst);
                    }
                    to_peer.write_all(&unit).unwrap();
                }
            });
            let mut part = [0; 8192];
            while let Ok(count @ 1..) = peer.read(&mut part) {
                if is_held.swap(false, Ordering::SeqCst) {
                    gone.recv().unwrap();
                }
                service.write_all(&part[..count]).unwrap();
            }
            let _ = service.shutdown(std::net::Shutdown::Write);
        });
    });
    (port, go)
}

#[test]
fn a_series_from_storescu_alerts_before_its_last_slice() {
    let folder = tempfile::tempdir().unwrap();
    let bleed = folder.path().join("bleed");
    phantom(&bleed, BLEED);
    let slices = files(&bleed);
    let service = Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\n"));
    let (port, go) = hold_after(slices.len() - 1, &service.address);
    let mut storescu = Command::new("storescu")
        .args(["-aet", "CT1", "-aec", "HEMAPATCH", "127.0.0.1", &port.to_string()])
        .args(&slices)
        .spawn()
        .expect("storescu, which `make setup` installs");
    // The last slice is on this side still.
    service.wait_for("early_alert");
    let objects = folder.path().join("spool/studies");
    assert_eq!(files(&files(&objects)[0].join("objects")).len(), slices.len() - 1);
    go.send(()).unwrap();
    assert!(storescu.wait().unwrap().success());
    let verdict = service.wait_for("verdict");
    assert_eq!(
        (&verdict["outcome"], &verdict["objects"]),
        (&"alert".into(), &slices.len().to_string().into())
    );
    assert_eq!(told(&service, folder.path(), 2), ["early", "alert"]);
}

#[test]
fn a_series_from_dcmsend_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    let clean = folder.path().join("clean");
    phantom(&clean, CLEAN);
    let service = Service::start(&configure(folder.path(), ""));
    assert!(service.dcmtk("dcmsend", "CT1", &["+sd", clean.to_str().unwrap()]));
    assert_eq!(service.wait_for("verdict")["outcome"], "no_alert");
}

/// The occasions of the notices, once there are so many.
fn told(service: &Service, folder: &std::path::Path, count: usize) -> Vec<String> {
    loop {
        let notices = notices(&folder.join("alerts.jsonl"));
        if notices.len() >= count {
            return notices.iter().map(|notice| notice["occasion"].as_str().unwrap().to_owned()).collect();
        }
        // The journal says when one was told.
        service.wait_for("told");
    }
}
