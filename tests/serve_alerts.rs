//! A study that is sent slice by slice gives its early alert before the last slice, and one verdict; whoever is not listed
//! sends nothing.

mod service;

use service::program::{BLEED, CLEAN, phantom};
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
