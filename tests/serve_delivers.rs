//! Results are in the archive once it says so: over DICOM with storage commitment, over HTTP, and whatever it was doing meanwhile.

mod service;

use std::path::Path;

use dicom_ul::association::server::ServerAssociationOptions;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use hemapatch::dimse::{Command, Status};
use service::orthanc::{Orthanc, free_port};
use service::program::{BLEED, files, phantom};
use service::storescp::StoreScp;
use service::{Service, configure};

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
        for _ in 0..2 {
            let (stream, _) = listener.accept().unwrap();
            let mut options = ServerAssociationOptions::new().ae_title("PACS").accept_any();
            for class in ["88.34", "66.4", "7", "7.4"] {
                options = options.with_abstract_syntax(format!("1.2.840.10008.5.1.4.1.1.{class}"));
            }
            let mut association = options.establish(stream).unwrap();
            while let Ok(Pdu::PData { data }) = association.receive() {
                let mut last = data.into_iter().next().unwrap();
                let command = last.data.clone();
                while last.value_type == PDataValueType::Command || !last.is_last {
                    let Ok(Pdu::PData { data }) = association.receive() else { return asked };
                    last = data.into_iter().next().unwrap();
                }
                let command = Command::read(&command).unwrap();
                asked.push(command.sop_instance_uid.clone());
                let status = if asked.len() == 2 { Status::OutOfResources } else { Status::Success };
                let value = PDataValue {
                    presentation_context_id: last.presentation_context_id,
                    value_type: PDataValueType::Command,
                    is_last: true,
                    data: command.answer(status, ""),
                };
                association.send(&Pdu::PData { data: vec![value] }).unwrap();
            }
            let _ = association.send(&Pdu::ReleaseRP);
        }
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
