//! What breaks around the service does not break it: full and read-only disks, a judging process that hangs, a spool that
//! somebody wrote into, a peer that dies, a clock that jumps, a second service.

mod service;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use service::program::{BLEED, CLEAN, hemapatch, phantom, run};
use service::{Service, configure, notices, slices};

const AT_ONCE: &str = "[study]\nsettled_s = 0\n";

/// The service with its spool on a disk of its own, made with `options`; None, and said, where the system lets nobody make one.
fn on_a_disk(folder: &Path, config: &Path, options: &str) -> Option<Command> {
    let spool = folder.join("spool");
    fs::create_dir_all(&spool).unwrap();
    let namespace = ["--user", "--map-root-user", "--mount"];
    if !Command::new("unshare").args(namespace).arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: no disk can be made here, unshare is not permitted");
        return None;
    }
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o \"$0\" disk \"$1\" && shift && exec \"$@\"";
    command.args(namespace).args(["sh", "-c", script, options]).arg(spool);
    let program = hemapatch();
    command.arg(program.get_program()).args(program.get_args()).arg("serve").arg("--config").arg(config);
    Some(command)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn replace(config: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(config).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(config, text.replace(from, to)).unwrap();
}

/// The processes that judge for a service.
fn workers(service: u32) -> Vec<Pid> {
    let id = service.to_string();
    let is_worker = |process: &PathBuf| {
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        let words = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        parent.is_some_and(|parent| parent.trim() == id) && words.contains("\0worker\0")
    };
    let number = |process: PathBuf| process.file_name()?.to_str()?.parse().ok().and_then(Pid::from_raw);
    entries(Path::new("/proc")).into_iter().filter(is_worker).filter_map(number).collect()
}

#[test]
fn a_disk_that_is_full_takes_nothing_and_takes_all_once_there_is_room() {
    // By what is to be kept free, and by the disk itself.
    for keep_free in ["keep_free_mb = 2", "keep_free_mb = 0"] {
        let folder = tempfile::tempdir().unwrap();
        phantom(&folder.path().join("bleed"), BLEED);
        let config = configure(folder.path(), AT_ONCE);
        replace(&config, "keep_free_mb = 1", keep_free);
        let Some(command) = on_a_disk(folder.path(), &config, "size=16m") else { return };
        let service = Service::start_as(command);
        // Seen from where the disk is.
        let spool = service.proc("root").join(folder.path().strip_prefix("/").unwrap()).join("spool");
        let ballast = spool.join("aside/ballast");
        fs::write(&ballast, vec![0; 13_500_000]).unwrap();
        let slices = slices(&folder.path().join("bleed"));
        let mut sender = service.associate().unwrap();
        let answers: Vec<u16> = slices.iter().map(|slice| sender.store(slice).unwrap()).collect();
        assert!(answers.contains(&0xA700), "{keep_free}: {answers:x?}");
        assert!(answers.iter().all(|status| [0, 0xA700].contains(status)), "{answers:x?}");
        fs::remove_file(&ballast).unwrap();
        for slice in &slices {
            assert_eq!(sender.store(slice), Some(0), "{keep_free}");
        }
        sender.release();
        loop {
            let verdict = service.wait_for("verdict");
            if verdict["objects"] == "9" {
                assert_eq!(verdict["outcome"], "alert");
                break;
            }
        }
    }
}

#[test]
fn a_disk_that_cannot_be_written_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path(), "");
    let Some(mut command) = on_a_disk(folder.path(), &config, "ro") else { return };
    let output = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{complaint}");
    assert!(complaint.contains("Read-only file system") && complaint.contains("spool"), "{complaint}");
}

/// Does something while every process that looks is stopped as soon as it is there.
fn while_workers_hang(service: &Service, run: impl FnOnce()) {
    let (is_over, id) = (AtomicBool::new(false), service.id());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for worker in workers(id) {
                    let _ = kill_process(worker, Signal::STOP);
                }
            }
        });
        run();
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_study_whose_judging_hangs_twice_is_refused_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    phantom(&folder.path().join("clean"), CLEAN);
    // With less time than this, a busy machine would have healthy studies refused.
    let service =
        Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\nquiet_s = 1\nseconds = 10\n"));
    while_workers_hang(&service, || {
        service.send(&folder.path().join("bleed"));
        for _ in 0..2 {
            let died = service.wait_for("worker_died");
            assert!(died["why"].as_str().unwrap().contains("more than 10 s"), "{died}");
        }
        assert_eq!(service.wait_for("verdict")["outcome"], "refused");
    });
    service.send(&folder.path().join("clean"));
    assert_eq!(service.wait_for("verdict")["outcome"], "no_alert");
    let told = notices(&folder.path().join("alerts.jsonl"));
    let refused = told.iter().find(|notice| notice["occasion"] == "refused").unwrap();
    assert_eq!(refused["about"]["refusal"]["code"], "internal");
    // Sent again, it is tried again: what hindered may be mended.
    service.send(&folder.path().join("bleed"));
    assert_eq!(service.wait_for("verdict")["outcome"], "alert");
}

#[test]
fn what_comes_while_a_look_hangs_is_counted_before_it_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("clean"), CLEAN);
    phantom(&folder.path().join("bleed"), BLEED);
    let service =
        Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\nquiet_s = 1\nseconds = 10\n"));
    while_workers_hang(&service, || {
        for study in ["clean", "bleed"] {
            service.send(&folder.path().join(study));
        }
        service.wait_for("worker_died");
    });
    let mut judged = BTreeSet::new();
    while judged.len() < 2 {
        let verdict = service.wait_for("verdict");
        assert_eq!(verdict["objects"], "9", "{verdict}");
        judged.insert(verdict["study"].to_string());
    }
    // Nobody is told that slices are still arriving behind the verdict on all of them.
    let told = notices(&folder.path().join("alerts.jsonl"));
    let told: Vec<_> = told.iter().map(|notice| (&notice["study_uid"], &notice["occasion"])).collect();
    let early = told.iter().position(|(_, occasion)| *occasion == "early");
    assert!(
        early.is_none_or(|early| !told[..early].iter().any(|(study, _)| *study == told[early].0)),
        "{told:?}"
    );
}

#[test]
fn a_study_that_takes_all_memory_is_refused_and_the_service_receives() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let service =
        Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\nquiet_s = 1\nmemory_mb = 30\n"));
    service.send(&folder.path().join("bleed"));
    let died = service.wait_for("worker_died");
    assert!(died["why"].as_str().unwrap().contains("out of memory"), "{died}");
    assert_eq!(service.wait_for("verdict")["outcome"], "refused");
    service.send(&folder.path().join("bleed"));
}

#[test]
fn a_process_that_judges_ends_with_the_service_also_where_it_hangs() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let service = Service::start(&configure(folder.path(), AT_ONCE));
    let slices = slices(&folder.path().join("bleed"));
    let mut sender = service.associate().unwrap();
    slices.iter().for_each(|slice| assert_eq!(sender.store(slice), Some(0)));
    service.wait_for("early_alert");
    // It has answered, and is kept for the next question: the sender is still there.
    let worker = workers(service.id())[0];
    kill_process(worker, Signal::STOP).unwrap();
    service.kill();
    let (ended, end) = channel();
    std::thread::spawn(move || {
        let status = Path::new("/proc").join(worker.as_raw_nonzero().to_string()).join("status");
        let is_there = || fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ"));
        while is_there() {
            std::thread::yield_now();
        }
        let _ = ended.send(());
    });
    let is_over = end.recv_timeout(Duration::from_secs(120));
    let _ = kill_process(worker, Signal::KILL);
    is_over.expect("the end of the process that judged");
}

#[test]
fn a_process_that_could_not_be_started_is_started_as_soon_as_it_can_be() {
    // The next look came when the study would have been whole without one: after `quiet_s`.
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let service = Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\nquiet_s = 86400\n"));
    let slices = slices(&folder.path().join("bleed"));
    let mut sender = service.associate().unwrap();
    let id = i32::try_from(service.id()).ok().and_then(Pid::from_raw);
    // As many files more as take a slice and count those that are there, and not as the pipes of a process.
    let files = entries(&service.proc("fd"));
    let is_open = |number: &u64| files.iter().any(|file| file.ends_with(number.to_string()));
    let most = (0..).filter(|number| !is_open(number)).nth(5);
    let before = getrlimit(Resource::Nofile);
    prlimit(id, Resource::Nofile, Rlimit { current: most, ..before }).unwrap();
    slices.iter().for_each(|slice| assert_eq!(sender.store(slice), Some(0)));
    service.wait_for("worker_not_started");
    prlimit(id, Resource::Nofile, before).unwrap();
    service.wait_for("early_alert");
}

#[test]
fn a_disk_that_takes_no_results_refuses_no_study() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let service = Service::start(&configure(folder.path(), AT_ONCE));
    let slices = slices(&folder.path().join("bleed"));
    let mut sender = service.associate().unwrap();
    assert_eq!(sender.store(&slices[0]), Some(0));
    let study = entries(&folder.path().join("spool/studies")).remove(0);
    // Where the folder of results is to be, nothing can be written.
    fs::write(study.join("results"), "in the way").unwrap();
    slices[1..].iter().for_each(|slice| assert_eq!(sender.store(slice), Some(0)));
    sender.release();
    // As often as a study may bring its process down before it is refused.
    for _ in 0..2 {
        service.wait_for("not_judged");
    }
    // Nor does it hold up another.
    phantom(&folder.path().join("clean"), CLEAN);
    service.send(&folder.path().join("clean"));
    assert_eq!(service.wait_for("verdict")["outcome"], "no_alert");
    fs::remove_file(study.join("results")).unwrap();
    assert_eq!(service.wait_for("verdict")["outcome"], "alert");
}

#[test]
fn what_somebody_wrote_into_the_spool_is_put_aside_and_nobody_is_told_again() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let config = configure(folder.path(), AT_ONCE);
    let service = Service::start(&config);
    service.send(&folder.path().join("bleed"));
    while service.wait_for("told")["notice"] != "1-alert" {}
    service.kill();
    let spool = folder.path().join("spool");
    let study = entries(&spool.join("studies")).remove(0);
    fs::write(study.join("verdict.json"), "{\"revision\": 1").unwrap();
    fs::write(study.join("refused.json"), "no list").unwrap();
    fs::write(spool.join("studies/notes.txt"), "who wrote this?").unwrap();
    fs::create_dir(spool.join("studies/..5")).unwrap();
    fs::write(spool.join("alerts/log/pending/1.2.3-1-alert.json"), "no notice").unwrap();
    let service = Service::start(&config);
    let verdict = service.wait_for("verdict");
    assert_eq!((&verdict["outcome"], &verdict["revision"]), (&"alert".into(), &"1".into()));
    let aside = entries(&spool.join("aside"));
    for name in ["verdict.json", "notes.txt", "..5"] {
        assert!(aside.iter().any(|path| path.to_string_lossy().ends_with(name)), "{aside:?}");
    }
    phantom(&folder.path().join("clean"), CLEAN);
    service.send(&folder.path().join("clean"));
    while service.wait_for("told")["notice"] != "1-no_alert" {}
    assert_eq!(entries(&spool.join("alerts/log/broken")).len(), 1);
    let told = notices(&folder.path().join("alerts.jsonl"));
    assert_eq!(told.iter().filter(|notice| notice["occasion"] == "alert").count(), 1, "{told:?}");
    let (code, _, complaint) = run(&["audit", "verify", "--spool", spool.to_str().unwrap()]);
    assert_eq!(code, 0, "{complaint}");
}

#[test]
fn whoever_sends_the_same_for_ever_does_not_keep_a_study_from_its_verdict() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let service = Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\nquiet_s = 2\n"));
    let slices = slices(&folder.path().join("bleed"));
    let (is_over, address) = (AtomicBool::new(false), service.address.clone());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sender = service::associate(&address).unwrap();
            slices.iter().for_each(|slice| assert_eq!(sender.store(slice), Some(0)));
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(sender.store(&slices[4]), Some(0));
            }
        });
        assert_eq!(service.wait_for("verdict")["outcome"], "alert");
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_job_that_is_sent_again_for_ever_does_not_keep_a_study_from_its_verdict() {
    // A slice of the middle is refused, so that only `quiet_s` counts, and a router sends the whole job again, each time on an
    // association of its own: the end of each began that time anew.
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let service = Service::start(&configure(folder.path(), "[study]\nsettled_s = 0\nquiet_s = 2\n"));
    let mut slices = slices(&folder.path().join("bleed"));
    let half = slices[4].data_set.len() / 2;
    slices[4].data_set.truncate(half);
    let (is_over, address) = (AtomicBool::new(false), service.address.clone());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let mut sender = service::associate(&address).unwrap();
                for (index, slice) in slices.iter().enumerate() {
                    assert_eq!(sender.store(slice), Some(if index == 4 { 0xC000 } else { 0 }));
                }
                sender.release();
            }
        });
        assert_eq!(service.wait_for("verdict")["objects"], "8");
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_study_that_is_sent_again_unchanged_is_not_judged_again() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    phantom(&folder.path().join("clean"), CLEAN);
    let service = Service::start(&configure(folder.path(), AT_ONCE));
    service.send(&folder.path().join("bleed"));
    while service.wait_for("told")["notice"] != "1-alert" {}
    for _ in 0..3 {
        service.send(&folder.path().join("bleed"));
        while service.wait_for("association")["ended"] != "Released" {}
    }
    // The freshest is judged first: behind the first of these, nothing else is due before the second.
    phantom(&folder.path().join("other"), &["--seed", "3"]);
    for study in ["clean", "other"] {
        service.send(&folder.path().join(study));
        while service.wait_for("told")["notice"] != "1-no_alert" {}
    }
    let journal = service.journal();
    let verdicts = journal.iter().filter(|line| line["event"] == "verdict");
    assert_eq!(verdicts.filter(|line| line["outcome"] == "alert").count(), 1, "{journal:?}");
}

#[test]
fn a_slice_that_got_its_name_without_being_told_of_is_judged_when_it_is_sent_again() {
    // The disk refused behind the link: the sender was told so, and nobody else. Sent again, the slice was there already.
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    phantom(&folder.path().join("bleed"), BLEED);
    let slices = slices(&folder.path().join("bleed"));
    let objects = |folder: &Path| entries(&folder.join("spool/studies")).remove(0).join("objects");
    let send = |service: &Service, slices: &[service::Slice]| {
        let mut sender = service.associate().unwrap();
        slices.iter().for_each(|slice| assert_eq!(sender.store(slice), Some(0)));
        sender.release();
    };
    let (last, others) = slices.split_last().unwrap();
    fs::create_dir_all(&first).unwrap();
    let service = Service::start(&configure(&first, AT_ONCE));
    send(&service, std::slice::from_ref(last));
    service.kill();
    fs::create_dir_all(&second).unwrap();
    let service = Service::start(&configure(&second, AT_ONCE));
    send(&service, others);
    while service.wait_for("verdict")["objects"] != "8" {}
    let named = entries(&objects(&first)).remove(0);
    fs::copy(&named, objects(&second).join(named.file_name().unwrap())).unwrap();
    send(&service, std::slice::from_ref(last));
    assert_eq!(service.wait_for("stored")["again"], "yes");
    while service.wait_for("verdict")["objects"] != "9" {}
}

#[test]
fn a_service_whose_program_was_replaced_still_judges() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let told = folder.path().join("told.jsonl");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/ich16");
    let more = format!(
        "[study]\nsettled_s = 0\nmodel = {model:?}\n[[alert]]\nname = 'command'\n\
         command = ['/bin/sh', '-c', 'cat >> \"$0\"', {told:?}]\n"
    );
    let config = configure(folder.path(), &more);
    let program = folder.path().join("hemapatch");
    fs::copy(env!("CARGO_BIN_EXE_hemapatch"), &program).unwrap();
    let mut command = Command::new(&program);
    command.arg("serve").arg("--config").arg(&config);
    let service = Service::start_as(command);
    // As a package manager does it.
    fs::remove_file(&program).unwrap();
    fs::write(&program, "another version").unwrap();
    service.send(&folder.path().join("bleed"));
    assert_eq!(service.wait_for("verdict")["outcome"], "alert");
    while service.wait_for("told")["alert"] != "command" {}
    assert!(!notices(&told).is_empty());
}

#[test]
fn a_second_service_on_the_same_spool_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path(), "");
    let service = Service::start(&config);
    let (code, _, complaint) = run(&["serve", "--config", config.to_str().unwrap()]);
    assert!(code == 7 && complaint.contains("another process holds this spool"), "{complaint}");
    assert!(service.dcmtk("echoscu", "CT1", &[]));
}

#[test]
fn a_peer_that_dies_within_an_object_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let service = Service::start(&configure(folder.path(), AT_ONCE));
    let slices = slices(&folder.path().join("bleed"));
    for slice in &slices {
        service.associate().unwrap().begin(slice);
        let ended = service.wait_for("association");
        assert!(ended["ended"].as_str().unwrap().starts_with("Gone"), "{ended}");
    }
    let spool = folder.path().join("spool");
    assert_eq!(entries(&spool.join("incoming")), [] as [PathBuf; 0]);
    assert_eq!(entries(&spool.join("studies")), [] as [PathBuf; 0]);
    service.send(&folder.path().join("bleed"));
    assert_eq!(service.wait_for("verdict")["outcome"], "alert");
}

#[test]
fn a_clock_that_jumps_changes_nothing_and_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let library = entries(Path::new("/usr/lib"))
        .into_iter()
        .map(|path| path.join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists())
        .expect("libfaketime, which `make setup` installs");
    phantom(&folder.path().join("bleed"), BLEED);
    phantom(&folder.path().join("clean"), CLEAN);
    let config = configure(folder.path(), &format!("{AT_ONCE}[retention]\ndays = 1\n"));
    let clock = folder.path().join("clock");
    fs::write(&clock, "+0").unwrap();
    let mut command = hemapatch();
    command.arg("serve").arg("--config").arg(&config);
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &clock);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let service = Service::start_as(command);
    let mut last = 0.0;
    for (jump, series) in [("-400d", "bleed"), ("+4000d", "clean")] {
        let slices = slices(&folder.path().join(series));
        let mut sender = service.associate().unwrap();
        for (index, slice) in slices.iter().enumerate() {
            if index == 4 {
                fs::write(&clock, jump).unwrap();
            }
            assert_eq!(sender.store(slice), Some(0));
        }
        sender.release();
        let verdict = service.wait_for("verdict");
        assert_eq!(verdict["outcome"], if series == "bleed" { "alert" } else { "no_alert" });
        // It did jump.
        let time = verdict["time"].as_f64().unwrap();
        assert!((time - last).abs() > 300.0 * 86_400.0);
        last = time;
        let which = format!("1-{}", verdict["outcome"].as_str().unwrap());
        while service.wait_for("told")["notice"] != which.as_str() {}
    }
    assert_eq!(entries(&folder.path().join("spool/studies")).len(), 2);
    let ids: Vec<String> = notices(&folder.path().join("alerts.jsonl"))
        .iter()
        .map(|notice| notice["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
}
