//! Results are in the archive once it says so: over DICOM with storage commitment, over HTTP, and whatever it was doing meanwhile.

mod service;

use std::path::Path;

use hemapatch::dimse::{self, Report, Status, field};
use service::archive::{self, Answer};
use service::orthanc::{Orthanc, free_port};
use service::program::{BLEED, files, phantom};
use service::storescp::StoreScp;
use service::{Service, configure, element};

const QUICK: &str = "[study]\nsettled_s = 0\n";

/// The configuration of an archive over DICOM, and of the peer that it is when it reports and sends.
fn pacs(port: u16, more: &str) -> String {
    format!(
        "[[receive.peer]]\nae_title = 'PACS'\naddress = '127.0.0.1'\n{QUICK}\
         [[deliver]]\nname = 'pacs'\ndicom = {{ address = '127.0.0.1:{port}', ae_title = 'PACS'{more} }}\n"
    )
}

/// The result objects of the only study of a spool.
fn results(folder: &Path) -> usize {
    let studies = files(&folder.join("spool/studies"));
    files(&studies[0].join("results/dicom")).len()
}

/// What waits in a queue, and what is done.
fn states(folder: &Path, name: &str) -> (usize, usize, usize) {
    let queue = folder.join("spool/deliver").join(name);
    let count = |state: &str| files(&queue.join(state)).len();
    (count("pending"), count("done"), count("refused"))
}

#[test]
fn orthanc_sends_a_study_and_keeps_its_results() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let port = free_port();
    let orthanc = Orthanc::start(&folder.path().join("orthanc"), port);
    let service = Service::start(&configure(folder.path(), &pacs(port, "")));
    orthanc.know(&service.address);
    let ids: Vec<_> = files(&folder.path().join("bleed"))
        .iter()
        .map(|file| orthanc.post("/instances", &std::fs::read(file).unwrap())["ID"].clone())
        .collect();
    orthanc.post("/modalities/box/store", serde_json::to_string(&ids).unwrap().as_bytes());
    assert_eq!(service.wait_for("verdict")["outcome"], "alert");
    let delivered = service.wait_for("delivered");
    assert_eq!(delivered["confirmed_by"], "storage commitment");
    let count = results(folder.path());
    assert_eq!(delivered["objects"], count.to_string());
    let modalities = orthanc.modalities();
    assert_eq!(modalities.len(), ids.len() + count);
    for modality in ["SR", "SEG", "OT"] {
        assert!(modalities.iter().any(|other| other == modality), "{modality} of {modalities:?}");
    }
    // They stand with the slices in one study.
    assert_eq!(orthanc.get("/studies").as_array().unwrap().len(), 1);
    assert_eq!(states(folder.path(), "pacs"), (0, 1, 0));
}

#[test]
fn an_archive_that_was_away_gets_everything_later_and_once() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let port = free_port();
    let config = configure(folder.path(), &pacs(port, ""));
    let service = Service::start(&config);
    service.send(&folder.path().join("bleed"));
    assert!(service.wait_for("not_delivered")["why"].as_str().unwrap().contains(&port.to_string()));
    service.kill();
    let orthanc = Orthanc::start(&folder.path().join("orthanc"), port);
    let service = Service::start(&config);
    orthanc.know(&service.address);
    service.wait_for("delivered");
    let count = results(folder.path());
    assert_eq!(orthanc.modalities().len(), count);
    // After a restart, what was delivered is not on its way again.
    service.kill();
    let service = Service::start(&config);
    assert_eq!(states(folder.path(), "pacs"), (0, 1, 0));
    drop(service);
}

#[test]
fn results_go_over_http_too() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let orthanc = Orthanc::start(&folder.path().join("orthanc"), free_port());
    let deliver = format!("{QUICK}[[deliver]]\nname = 'web'\nstow = {{ url = '{}' }}\n", orthanc.dicom_web());
    let service = Service::start(&configure(folder.path(), &deliver));
    service.send(&folder.path().join("bleed"));
    assert_eq!(service.wait_for("delivered")["confirmed_by"], "its answer");
    assert_eq!(orthanc.modalities().len(), results(folder.path()));
}

#[test]
fn storescp_takes_the_results_without_commitment() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let port = free_port();
    // `+xi` speaks implicit VR little endian only.
    let archive = StoreScp::start(&folder.path().join("stored"), port, &["+xi"]);
    let service = Service::start(&configure(folder.path(), &pacs(port, ", commit = false")));
    service.send(&folder.path().join("bleed"));
    assert_eq!(service.wait_for("delivered")["confirmed_by"], "its answer");
    assert_eq!(archive.objects().len(), results(folder.path()));
}

#[test]
fn what_is_not_taken_for_now_is_sent_again_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Has no room for the second object that it is sent, and then for all.
    let archive = std::thread::spawn(move || {
        let mut asked: Vec<String> = Vec::new();
        archive::serve(&listener, 2, |command, _| {
            asked.push(command.sop_instance_uid.clone());
            Answer::Status(if asked.len() == 2 { Status::OutOfResources } else { Status::Success })
        });
        asked
    });
    let service = Service::start(&configure(folder.path(), &pacs(port, ", commit = false")));
    service.send(&folder.path().join("bleed"));
    assert!(service.wait_for("not_delivered")["why"].as_str().unwrap().contains("A700"));
    service.wait_for("delivered");
    let asked = archive.join().unwrap();
    let count = results(folder.path());
    // Each once, but for the one that had no room.
    assert_eq!(asked.len(), count + 1, "{asked:?}");
    assert_eq!(asked[1], asked[count]);
    assert_eq!(asked.iter().collect::<std::collections::BTreeSet<_>>().len(), count);
}

#[test]
fn what_an_archive_took_and_does_not_keep_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Takes all that it is sent, and has lost the first object when it is asked for the first time.
    let archive = std::thread::spawn(move || {
        let (mut stored, mut questions) = (Vec::new(), Vec::new());
        archive::serve(&listener, 2, |command, data| {
            if command.field == field::C_STORE_RQ {
                stored.push(command.sop_instance_uid.clone());
                return Answer::Status(Status::Success);
            }
            assert_eq!(command.field, field::N_ACTION_RQ);
            // A question is written as the report that all of it is kept.
            let question = Report::read(data).unwrap();
            questions.push(question.kept.clone());
            if questions.len() == 2 {
                return Answer::Event(1, data.to_vec());
            }
            let kept: Vec<_> = question
                .kept
                .into_iter()
                .filter(|uid| *uid != stored[0])
                .map(|uid| ("1.2".into(), uid))
                .collect();
            let item = [
                element(0x0008, 0x1150, b"1.2"),
                element(0x0008, 0x1155, stored[0].as_bytes()),
                // No such object instance.
                element(0x0008, 0x1197, &0x0112u16.to_le_bytes()),
            ];
            let failed = element(0x0008, 0x1198, &element(0xFFFE, 0xE000, &item.concat()));
            Answer::Event(2, [dimse::request(&question.transaction_uid, &kept), failed].concat())
        });
        (stored, questions)
    });
    let service = Service::start(&configure(folder.path(), &pacs(port, "")));
    service.send(&folder.path().join("bleed"));
    let why = service.wait_for("not_delivered")["why"].clone();
    assert!(why.as_str().unwrap().contains("1 of its objects are not kept: reason 0112"), "{why}");
    assert_eq!(service.wait_for("delivered")["confirmed_by"], "storage commitment");
    let (stored, questions) = archive.join().unwrap();
    let count = results(folder.path());
    assert_eq!(stored.len(), count + 1, "{stored:?}");
    assert_eq!(stored[0], stored[count]);
    // It is asked for all of them each time: what it keeps now is all that counts.
    assert!(questions.iter().all(|question| question.len() == count), "{questions:?}");
    assert_eq!(states(folder.path(), "pacs"), (0, 1, 0));
}
