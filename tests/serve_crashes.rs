//! Whatever was acknowledged survives `kill -9` at any moment; no alert is told twice, and none is missing; the objects of
//! every last verdict reach the archive.
//!
//! An object may reach it twice: a kill may come between its answer and the note of it. Then it is the same object, by its UID
//! and by its bytes, so the archive has it once.
//!
//! The moments come from sleeping: they have to fall anywhere. `HEMAPATCH_KILLS` says how often it is killed (docs/serve.md has the count of a long run).

mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread;
use std::time::Duration;

use service::orthanc::free_port;
use service::program::{files, phantom};
use service::storescp::StoreScp;
use service::{Digest, Service, Slice, associate, configure, notices, slice, slices};

/// Numbers that look random, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn nothing_acknowledged_is_lost_nobody_is_told_twice_and_all_is_delivered() {
    let kills: u64 = std::env::var("HEMAPATCH_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(12);
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let archive = StoreScp::start(&folder.path().join("stored"), port, &[]);
    let more = format!(
        "[study]\nsettled_s = 0.05\n[[alert]]\nname = 'command'\non = ['early', 'alert', 'no_alert', 'refused']\n\
         command = ['/bin/sh', '-c', 'cat >> \"$0\"', '{}']\n\
         [[deliver]]\nname = 'pacs'\n\
         dicom = {{ address = '127.0.0.1:{port}', ae_title = 'PACS', commit = false }}\n",
        folder.path().join("told.jsonl").display()
    );
    let config = configure(folder.path(), &more);
    let mut numbers = Numbers(7);
    let mut sent: Vec<(String, usize)> = Vec::new();
    for round in 0..kills {
        let series = folder.path().join(format!("series-{round}"));
        let seed = round.to_string();
        let options = if round % 2 == 0 {
            ["--seed", &seed, "--site", "putamen", "--volume-ml", "30"].to_vec()
        } else {
            vec!["--seed", &seed]
        };
        phantom(&series, &options);
        let mut waiting: Vec<Slice> = slices(&series);
        let whole = waiting.len();
        let mut acknowledged: BTreeSet<String> = BTreeSet::new();
        // Killed at a random moment: mostly while it receives, each fourth time also while it judges, tells and delivers.
        let service = Service::start(&config);
        let after = Duration::from_millis(numbers.below(if round % 4 == 3 { 4000 } else { 700 }));
        let address = service.address.clone();
        thread::scope(|scope| {
            scope.spawn(|| {
                if let Some(mut sender) = associate(&address) {
                    for slice in &waiting {
                        match sender.store(slice) {
                            Some(0) => drop(acknowledged.insert(slice.instance_uid.clone())),
                            _ => return,
                        }
                    }
                    sender.release();
                }
            });
            thread::sleep(after);
            // The thread that sends ends once nobody answers.
            service.kill();
        });
        let kept = kept(folder.path());
        assert!(acknowledged.is_subset(&kept), "lost after {after:?}: {:?}", acknowledged.difference(&kept));
        // A sender sends again what was not acknowledged.
        waiting.retain(|slice| !acknowledged.contains(&slice.instance_uid));
        let service = Service::start(&config);
        if let Some(mut sender) = service.associate() {
            for slice in &waiting {
                assert_eq!(sender.store(slice), Some(0));
            }
            sender.release();
        }
        sent.push((series.display().to_string(), whole));
        service.kill();
    }
    // Left alone, it finishes what is left.
    let service = Service::start(&config);
    loop {
        let ids = |name: &str| -> Vec<String> {
            let notices = notices(&folder.path().join(name));
            notices.iter().map(|notice| notice["id"].as_str().unwrap().to_owned()).collect()
        };
        let lists = [ids("alerts.jsonl"), ids("told.jsonl")];
        let verdicts = |list: &Vec<String>| {
            list.iter()
                .filter(|id| !id.ends_with("early"))
                .map(|id| id.split('-').next().unwrap().to_owned())
                .collect::<BTreeSet<_>>()
                .len()
        };
        for list in &lists {
            let once: BTreeSet<&String> = list.iter().collect();
            assert_eq!(once.len(), list.len(), "told twice: {list:?}");
        }
        if lists.iter().all(|list| verdicts(list) == sent.len()) {
            break;
        }
        service.wait_for("told");
    }
    let pending = folder.path().join("spool/deliver/pacs/pending");
    let results = results(folder.path());
    // The journal tells of a delivery once it is no longer pending.
    let arrived = loop {
        if files(&pending).is_empty() {
            break archive.objects();
        }
        service.wait_for("delivered");
    };
    for (uid, different) in &arrived {
        assert_eq!(different.len(), 1, "two objects under {uid}");
    }
    for (uid, data_set) in &results {
        assert!(arrived[uid].contains(data_set), "{uid} is not what is in the spool");
    }
    assert_eq!(kept(folder.path()).len(), sent.iter().map(|(_, slices)| slices).sum::<usize>());
}

/// The result objects of all last verdicts, by UID: of each study a report and a montage, of bleeds a segmentation too.
fn results(folder: &Path) -> BTreeMap<String, Digest> {
    let mut results = BTreeMap::new();
    for study in files(&folder.join("spool/studies")) {
        let objects = study.join("results/dicom");
        let verdict = std::fs::read_to_string(study.join("verdict.json")).unwrap();
        let verdict: serde_json::Value = serde_json::from_str(&verdict).unwrap();
        let expected: &[&str] = match verdict["outcome"].as_str() {
            Some("alert") => &["report.dcm", "montage.dcm", "segmentation.dcm"],
            Some("no_alert") => &["report.dcm", "montage.dcm"],
            other => panic!("{other:?} is no verdict on a whole study"),
        };
        assert!(expected.iter().all(|name| objects.join(name).is_file()), "{:?}", files(&objects));
        for object in files(&objects).iter().map(|path| slice(path)) {
            results.insert(object.instance_uid.clone(), object.digest());
        }
    }
    results
}

/// The instances in the spool.
fn kept(folder: &Path) -> BTreeSet<String> {
    let studies = std::fs::read_dir(folder.join("spool/studies")).into_iter().flatten().flatten();
    let objects = studies
        .flat_map(|study| std::fs::read_dir(study.path().join("objects")).into_iter().flatten().flatten());
    objects.map(|object| object.file_name().to_string_lossy().trim_end_matches(".dcm").to_owned()).collect()
}
