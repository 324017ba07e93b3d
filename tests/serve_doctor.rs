//! `hemapatch doctor` says what is wrong, and only that: before the first start, beside a running service, and for each thing
//! that is broken. It changes nothing.

mod service;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dicom_ul::association::server::ServerAssociationOptions;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use hemapatch::dimse::{Command, Status};
use hemapatch::error::Exit;
use serde_json::Value;
use service::orthanc::free_port;
use service::program::{BLEED, phantom, run};
use service::{Service, configure};

/// What a run of it said.
struct Examined {
    code: i32,
    checks: Vec<Value>,
}

impl Examined {
    /// The checks in a state, by name.
    fn named(&self, state: &str) -> Vec<&str> {
        let named = self.checks.iter().filter(|check| check["state"] == state);
        named.map(|check| check["check"].as_str().unwrap()).collect()
    }

    fn detail(&self, name: &str) -> &str {
        let check = self.checks.iter().find(|check| check["check"] == name);
        check.unwrap_or_else(|| panic!("no check {name} of {:?}", self.checks))["detail"].as_str().unwrap()
    }

    /// Holds that these are wrong, each with its reason, and nothing else.
    fn is_wrong(&self, expected: &[(&str, &str)]) {
        let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
        assert_eq!((self.named("wrong"), self.code), (names, Exit::NotReady as i32), "{:?}", self.checks);
        for (name, why) in expected {
            assert!(self.detail(name).contains(why), "{name}: {}", self.detail(name));
        }
    }
}

fn doctor(config: &Path) -> Examined {
    let (code, out, complaint) = run(&["doctor", "--config", config.to_str().unwrap(), "--json"]);
    assert!(complaint.is_empty(), "{complaint}");
    let checks: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for check in &checks {
        assert_eq!(
            (&check["schema"], &check["intended_use"]),
            (&"hemapatch.doctor/1".into(), &"research use only".into())
        );
    }
    Examined { code, checks }
}

/// A configuration with a port that is known.
fn box_in(folder: &Path, more: &str) -> PathBuf {
    let path = configure(folder, more);
    change(&path, "listen = '127.0.0.1:0'", &format!("listen = '127.0.0.1:{}'", free_port()));
    path
}

fn change(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// All that is in a folder: names, contents and rights.
fn contents(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let (path, metadata) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
            let bytes = if metadata.is_dir() { Vec::new() } else { fs::read(&path).unwrap() };
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path, (metadata.permissions().mode(), bytes));
        }
    }
    found
}

/// An archive that agrees to these classes, and answers C-ECHO, for so many associations.
fn archive(classes: &'static [&str], associations: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for _ in 0..associations {
            let mut options = ServerAssociationOptions::new().ae_title("PACS").accept_any();
            for class in classes {
                options = options.with_abstract_syntax(*class);
            }
            let mut association = options.establish(listener.accept().unwrap().0).unwrap();
            while let Ok(Pdu::PData { data }) = association.receive() {
                let command = Command::read(&data[0].data).unwrap();
                assert_eq!((command.field, data.len()), (0x0030, 1), "nothing but C-ECHO is asked");
                let answer = PDataValue {
                    presentation_context_id: data[0].presentation_context_id,
                    value_type: PDataValueType::Command,
                    is_last: true,
                    data: command.answer(Status::Success, ""),
                };
                association.send(&Pdu::PData { data: vec![answer] }).unwrap();
            }
            let _ = association.send(&Pdu::ReleaseRP);
        }
    });
    port
}

const ECHO: &str = "1.2.840.10008.1.1";
const COMMITMENT: &str = "1.2.840.10008.1.20.1";
const SR: &str = "1.2.840.10008.5.1.4.1.1.88.34";
const SEG: &str = "1.2.840.10008.5.1.4.1.1.66.4";
const CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

fn archive_at(name: &str, port: u16, more: &str) -> String {
    format!(
        "[[deliver]]\nname = '{name}'\n\
         dicom = {{ address = '127.0.0.1:{port}', ae_title = 'PACS'{more} }}\n"
    )
}

#[test]
fn a_box_that_is_well_is_said_to_be_so_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let port = archive(&[ECHO, SR, SEG, CAPTURE, COMMITMENT], 2);
    let more = "[[alert]]\nname = 'lamp'\non = []\ncommand = ['true']\n[study]\nsettled_s = 0\n";
    // Nothing is sent there, so that the spool stays as it is.
    let pacs = archive_at("pacs", port, "").replace("dicom", "on = []\ndicom");
    let config = box_in(folder.path(), &(pacs.clone() + more));
    let spool = folder.path().join("spool");

    // Before the first start.
    let before = contents(folder.path());
    let examined = doctor(&config);
    assert_eq!((examined.named("wrong"), examined.code), (vec![], 0), "{:?}", examined.checks);
    assert!(contents(folder.path()) == before, "something was made");
    assert!(examined.detail("spool").contains("first start"));
    assert!(examined.detail("judging").contains("alerts"));
    assert!(examined.detail("deliver pacs").contains("commitment, answers C-ECHO"));

    // Beside a running service, which goes on.
    let service = Service::start(&config);
    service.send(&folder.path().join("bleed"));
    service.wait_for("verdict");
    service.wait_for("told");
    let before = contents(&spool);
    let (code, page, _) = run(&["doctor", "--config", config.to_str().unwrap()]);
    assert_eq!(code, 0, "{page}");
    assert!(contents(&spool) == before, "something was changed");
    assert!(page.contains("a service that runs") && page.contains("the service is reached"), "{page}");
    assert!(page.lines().last().unwrap().ends_with("Research use only."), "{page}");
    let study = fs::read_dir(spool.join("studies")).unwrap().next().unwrap().unwrap().file_name();
    assert!(!page.contains(study.to_str().unwrap()));
    assert_eq!(fs::metadata(spool.join("KEY")).unwrap().permissions().mode() & 0o777, 0o600);

    // After it was killed; a service starts on what was looked at.
    service.kill();
    change(&config, &pacs, "");
    let before = contents(&spool);
    let examined = doctor(&config);
    assert_eq!((examined.named("wrong"), examined.code), (vec![], 0), "{:?}", examined.checks);
    assert!(examined.detail("spool").contains("no service runs"));
    assert!(examined.detail("audit log").contains("whole"));
    assert!(contents(&spool) == before, "something was changed");
    drop(Service::start(&config));
}

#[test]
fn whoever_cannot_be_told_or_sent_to_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let away = free_port();
    let without_commitment = archive(&[ECHO, SR, SEG, CAPTURE], 1);
    let without_pictures = archive(&[SR, SEG], 1);
    let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = [
        "[[alert]]\nname = 'lamp'\ncommand = ['/nowhere/lamp', 'red']\n",
        &format!("[[alert]]\nname = 'hook'\nwebhook = {{ url = 'http://{http}/' }}\n"),
        "[[alert]]\nname = 'buzzer'\ncommand = ['sh']\n",
        "[[alert]]\nname = 'diary'\nlog = '/nowhere/log'\n",
        &archive_at("away", away, ""),
        &archive_at("forgetful", without_commitment, ""),
        &archive_at("blind", without_pictures, ", commit = false"),
    ];
    let examined = doctor(&box_in(folder.path(), &more.concat()));
    examined.is_wrong(&[
        ("alert lamp", "/nowhere/lamp: is not there"),
        ("alert hook", &http.to_string()),
        ("alert diary", "cannot be made"),
        ("deliver away", &away.to_string()),
        ("deliver forgetful", "set commit = false"),
        ("deliver blind", "does not take pictures"),
    ]);
}

#[test]
fn a_spool_that_is_not_as_it_should_be_is_said() {
    let folder = tempfile::tempdir().unwrap();
    // What is looked at here needs no verdict.
    let config = box_in(folder.path(), "");
    Service::start(&config).kill();
    change(&config, "[spool]", "study = { model = '/nowhere' }\n[spool]");
    let spool = folder.path().join("spool");
    let no_model = ("model", "/nowhere");
    doctor(&config).is_wrong(&[no_model]);

    change(&config, "keep_free_mb = 1\n", "keep_free_mb = 1000000000\n");
    doctor(&config).is_wrong(&[no_model, ("room", "no object is taken")]);
    change(&config, "keep_free_mb = 1000000000\n", "keep_free_mb = 1\n");

    let key = spool.join("KEY");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    doctor(&config).is_wrong(&[no_model, ("secrets", "KEY: mode 0644")]);
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();

    let log = fs::read_to_string(spool.join("audit.jsonl")).unwrap();
    fs::write(spool.join("audit.jsonl"), log.replacen("started", "stopped", 1)).unwrap();
    doctor(&config).is_wrong(&[no_model, ("audit log", "line 1")]);
    fs::write(spool.join("audit.jsonl"), log).unwrap();

    let moved = folder.path().join("key");
    fs::rename(&key, &moved).unwrap();
    doctor(&config).is_wrong(&[no_model, ("audit log", "key is gone")]);
    fs::rename(moved, key).unwrap();

    fs::write(spool.join("aside/1-x"), "").unwrap();
    let examined = doctor(&config);
    examined.is_wrong(&[no_model]);
    assert_eq!(examined.named("warn"), ["aside"]);
}

#[test]
fn a_model_that_was_changed_and_a_process_that_cannot_judge_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    fs::create_dir(&model).unwrap();
    for name in ["model.toml", "model.onnx", "model.int8.onnx"] {
        let mut bytes = fs::read(Path::new("models/ich16").join(name)).unwrap();
        if name.ends_with("onnx") {
            *bytes.last_mut().unwrap() ^= 1;
        }
        fs::write(model.join(name), bytes).unwrap();
    }
    let config = box_in(folder.path(), &format!("[study]\nmodel = '{}'\n", model.display()));
    doctor(&config).is_wrong(&[("model", "sha256")]);
    // The model itself is whole.
    let config = box_in(folder.path(), "[study]\nmemory_mb = 60\n");
    doctor(&config).is_wrong(&[("judging", "the worker ended")]);
}

#[test]
fn a_folder_of_somebody_else_is_no_spool_and_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = box_in(folder.path(), "[study]\nmodel = '/nowhere'\n");
    fs::create_dir(folder.path().join("spool")).unwrap();
    fs::write(folder.path().join("spool/thesis.txt"), "").unwrap();
    let examined = doctor(&config);
    assert_eq!((examined.named("wrong"), examined.code), (vec!["model", "spool"], Exit::NotReady as i32));
    assert_eq!(fs::read_dir(folder.path().join("spool")).unwrap().count(), 1);
    // A configuration that cannot be used ends as everywhere.
    fs::write(&config, "[spool]\nfolder = 'here'\n").unwrap();
    let (code, out, complaint) = run(&["doctor", "--config", config.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (Exit::Usage as i32, ""));
    assert!(complaint.contains("spool.folder"), "{complaint}");
}
