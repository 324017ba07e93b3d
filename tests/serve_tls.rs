//! Over TLS, each side shows who it is: whoever has no certificate of the authority that is named is not spoken with, in either
//! direction, and nothing is said in the open.

mod service;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hemapatch::net::{ServerFiles, Standing, Stream};
use serde_json::json;
use service::certificates::{Authority, Pair};
use service::orthanc::{Orthanc, free_port};
use service::program::{BLEED, files, phantom, run};
use service::{Service, configure};

const QUICK: &str = "[study]\nsettled_s = 0\n";
const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration whose peers connect over TLS, and what is added.
fn configure_tls(folder: &Path, pair: &Pair, authority: &Authority, more: &str) -> std::path::PathBuf {
    let config = configure(folder, more);
    let text = std::fs::read_to_string(&config).unwrap();
    let receive = format!("[receive]\ntls = {}\n", pair.toml(authority));
    std::fs::write(&config, text.replace("[receive]\n", &receive)).unwrap();
    config
}

/// Whether DCMTK's echo is answered, with these options.
fn echo(service: &Service, options: &[&str]) -> bool {
    service.dcmtk("echoscu", "CT1", &[&["-to", "30"], options].concat())
}

#[test]
fn only_whoever_shows_a_certificate_of_the_authority_is_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(&folder.path().join("ours"));
    let others = Authority::new(&folder.path().join("others"));
    let (box_, scanner, stranger) = (ours.issue("box"), ours.issue("scanner"), others.issue("scanner"));
    let service = Service::start(&configure_tls(folder.path(), &box_, &ours, QUICK));
    fn text(path: &Path) -> &str {
        path.to_str().unwrap()
    }
    let authority = text(&ours.certificate);
    let with = |pair: &Pair, more: &[&str]| {
        let options = ["+tls", text(&pair.key), text(&pair.certificate), "+cf", authority];
        echo(&service, &[&options, more].concat())
    };
    assert!(with(&scanner, &[]));
    let ended = || service.wait_for("association")["ended"].as_str().unwrap().to_owned();
    assert_eq!(ended(), "Released");
    // Of another authority, without any, and without TLS.
    assert!(!with(&stranger, &[]));
    assert!(ended().contains("UnknownIssuer"));
    assert!(!echo(&service, &["+tla", "+cf", authority]));
    assert!(ended().contains("no certificate"));
    assert!(!echo(&service, &[]));
    assert!(ended().contains("TLS"));
    // Whoever believes another authority does not send to us.
    let mistrusting = ["+tls", text(&scanner.key), text(&scanner.certificate)];
    assert!(!echo(&service, &[&mistrusting[..], &["+cf", text(&others.certificate)]].concat()));
    ended();
    // A slice comes through as it is.
    phantom(&folder.path().join("bleed"), BLEED);
    let slices: Vec<String> =
        files(&folder.path().join("bleed")).iter().map(|file| text(file).to_owned()).collect();
    let mut words = vec!["+tls", text(&scanner.key), text(&scanner.certificate), "+cf", authority];
    words.extend(slices.iter().map(String::as_str));
    assert!(service.dcmtk("storescu", "CT1", &words));
    assert_eq!(service.wait_for("verdict")["outcome"], "alert");
}

#[test]
fn no_version_before_1_2_is_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(&folder.path().join("ours"));
    let service = Service::start(&configure_tls(folder.path(), &ours.issue("box"), &ours, ""));
    // RFC 8446 4.1.2: a greeting of version 1.1 (0x0302), with ciphers of that time, and with those of 1.2 in 1.2 (0x0303).
    let greet = |version: u8, ciphers: &[u8]| {
        let body = [
            &[3, version][..],
            &[7; 32],
            &[0],
            &(ciphers.len() as u16).to_be_bytes(),
            ciphers,
            &[1, 0, 0, 22],
            // Groups x25519 and P-256; signatures by ECDSA with P-256 and SHA-256; no compressed points.
            &[0, 10, 0, 6, 0, 4, 0, 29, 0, 23],
            &[0, 13, 0, 4, 0, 2, 4, 3],
            // Extended master secret.
            &[0, 23, 0, 0],
        ]
        .concat();
        let hello = [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat();
        let record = [&[22, 3, 1][..], &(hello.len() as u16).to_be_bytes(), &hello].concat();
        let mut stream = TcpStream::connect(&service.address).unwrap();
        stream.write_all(&record).unwrap();
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).unwrap();
        answer
    };
    // An alert, fatal: protocol_version.
    let [kind, _, _, _, _, level, description] = greet(2, &[0xC0, 0x09, 0x00, 0x2F]);
    assert_eq!((kind, level, description), (21, 2, 70));
    // A handshake: it greets back.
    let [kind, _, _, _, _, message, _] = greet(3, &[0xC0, 0x2B, 0xC0, 0x2F]);
    assert_eq!((kind, message), (22, 2));
}

#[test]
fn orthanc_sends_and_gets_results_and_reports_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let ours = Authority::new(&folder.path().join("ours"));
    let (box_, pacs) = (ours.issue("box"), ours.issue("pacs"));
    let port = free_port();
    let tls = json!({
        "DicomTlsEnabled": true, "DicomTlsCertificate": pacs.certificate, "DicomTlsPrivateKey": pacs.key,
        "DicomTlsTrustedCertificates": ours.certificate, "DicomTlsRemoteCertificateRequired": true,
    });
    let orthanc = Orthanc::start_with(&folder.path().join("orthanc"), port, &tls);
    let more = format!(
        "[[receive.peer]]\nae_title = 'PACS'\naddress = '127.0.0.1'\n{QUICK}[[deliver]]\nname = 'pacs'\n\
         dicom = {{ address = '127.0.0.1:{port}', ae_title = 'PACS', tls = {} }}\n",
        box_.toml(&ours)
    );
    let service = Service::start(&configure_tls(folder.path(), &box_, &ours, &more));
    orthanc.know_with(&service.address, &json!({"UseDicomTls": true}));
    let ids: Vec<_> = files(&folder.path().join("bleed"))
        .iter()
        .map(|file| orthanc.post("/instances", &std::fs::read(file).unwrap())["ID"].clone())
        .collect();
    orthanc.post("/modalities/box/store", serde_json::to_string(&ids).unwrap().as_bytes());
    assert_eq!(service.wait_for("delivered")["confirmed_by"], "storage commitment");
    assert!(orthanc.modalities().iter().any(|modality| modality == "SR"));
}

#[test]
fn an_archive_that_cannot_show_who_it_is_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let ours = Authority::new(&folder.path().join("ours"));
    let others = Authority::new(&folder.path().join("others"));
    let (box_, impostor) = (ours.issue("box"), others.issue("pacs"));
    let (port, stored) = (free_port(), folder.path().join("stored"));
    std::fs::create_dir(&stored).unwrap();
    let mut archive = Command::new("storescp")
        .arg("+tls")
        .args([&impostor.key, &impostor.certificate])
        .arg("+cf")
        .arg(&ours.certificate)
        .arg("-od")
        .arg(&stored)
        .arg(port.to_string())
        .spawn()
        .expect("storescp, which `make setup` installs");
    let deliver = format!(
        "{QUICK}[[deliver]]\nname = 'pacs'\n\
         dicom = {{ address = 'localhost:{port}', ae_title = 'PACS', commit = false, tls = {} }}\n",
        box_.toml(&ours)
    );
    let service = Service::start(&configure(folder.path(), &deliver));
    service.send(&folder.path().join("bleed"));
    loop {
        let why = service.wait_for("not_delivered")["why"].as_str().unwrap().to_owned();
        // It may take a moment until it listens.
        if !why.contains("refused") {
            assert!(why.contains("UnknownIssuer"), "{why}");
            break;
        }
    }
    assert_eq!(files(&stored).len(), 0);
    archive.kill().unwrap();
    archive.wait().unwrap();
}

fn server_files(pair: &Pair, authority: &Authority) -> ServerFiles {
    ServerFiles {
        certificate: pair.certificate.clone(),
        key: pair.key.clone(),
        authorities: Some(authority.certificate.clone()),
        without_client_certificates: false,
    }
}

/// Answers each connection over TLS with `answer`; what it was sent, or why it was not agreed on. Whoever has no certificate is
/// not spoken with.
fn server(pair: &Pair, authority: &Authority, answer: fn(&str) -> Option<String>) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = server_files(pair, authority).load().unwrap();
    let (sender, said) = channel();
    std::thread::spawn(move || {
        loop {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = match Stream::accept(stream, Some(&tls), PATIENCE) {
                Ok(stream) => stream,
                Err(error) => {
                    let _ = sender.send(error.to_string());
                    continue;
                }
            };
            let (mut heard, mut part) = (Vec::new(), [0; 4096]);
            while let Ok(count @ 1..) = stream.read(&mut part) {
                heard.extend(&part[..count]);
                let text = String::from_utf8_lossy(&heard).into_owned();
                if let Some(answer) = answer(&text) {
                    stream.write_all(answer.as_bytes()).unwrap();
                    let _ = sender.send(text);
                    break;
                }
            }
        }
    });
    (port, said)
}

#[test]
fn a_webhook_and_a_worklist_are_told_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let ours = Authority::new(&folder.path().join("ours"));
    let (box_, hospital) = (ours.issue("box"), ours.issue("hospital"));
    let (hook, requests) = server(&hospital, &ours, |text| {
        let is_whole = text.contains("\r\n\r\n") && text.ends_with('}');
        is_whole.then(|| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned())
    });
    let (ris, messages) = server(&hospital, &ours, |text| {
        let id = text.ends_with("\u{1c}\r").then(|| text.split('|').nth(9))??;
        Some(format!("\u{b}MSH|^~\\&|RIS||HEMAPATCH||||ACK|1|P|2.5.1\rMSA|AA|{id}\r\u{1c}\r"))
    });
    let tls = box_.toml(&ours);
    let alerts = format!(
        "{QUICK}[[alert]]\nname = 'hook'\non = ['alert']\nwebhook = {{ url = 'https://localhost:{hook}/a', tls = {tls} }}\n\
         [[alert]]\nname = 'ris'\non = ['alert']\nhl7 = {{ address = '127.0.0.1:{ris}', tls = {tls} }}\n\
         [[alert]]\nname = 'nameless'\non = ['alert']\n\
         webhook = {{ url = 'https://localhost:{hook}/b', tls = {{ authorities = {:?} }} }}\n",
        ours.certificate
    );
    let service = Service::start(&configure(folder.path(), &alerts));
    service.send(&folder.path().join("bleed"));
    let message = messages.recv_timeout(PATIENCE).expect("a message");
    assert!(message.contains("ORU^R01"), "{message}");
    let heard = [requests.recv_timeout(PATIENCE).unwrap(), requests.recv_timeout(PATIENCE).unwrap()];
    assert!(heard.iter().any(|request| request.starts_with("POST /a ")), "{heard:?}");
    // Without a certificate of its own, nothing is said to anybody who wants one.
    assert!(heard.iter().any(|error| error.contains("no certificate")), "{heard:?}");
    let (mut told, mut not_told) = (Vec::new(), false);
    while told.len() < 2 {
        let line = service.wait_for("told");
        told.extend(line["alert"].as_str().filter(|name| ["hook", "ris"].contains(name)).map(str::to_owned));
        not_told |= line["alert"] == "nameless";
    }
    assert!(!not_told);
}

/// What stands before archives: takes one request over TLS from whoever has a certificate, and hands it on in the clear.
fn terminate(pair: &Pair, authority: &Authority, to: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = server_files(pair, authority).load().unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = Stream::accept(stream, Some(&tls), PATIENCE).unwrap();
        let (mut request, mut part) = (Vec::new(), [0; 4096]);
        let rest = loop {
            let count = stream.read(&mut part).unwrap();
            request.extend(&part[..count]);
            let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let head = String::from_utf8(request[..end].to_vec()).unwrap().to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            // So that its answer has an end.
            let first = request.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let rest = end + 4 + length.parse::<usize>().unwrap() - request.len();
            request.splice(first..first, *b"Connection: close\r\n");
            break rest;
        };
        let mut archive = TcpStream::connect(to).unwrap();
        archive.write_all(&request).unwrap();
        std::io::copy(&mut (&mut stream).take(rest as u64), &mut archive).unwrap();
        std::io::copy(&mut archive, &mut stream).unwrap();
    });
    port
}

/// Debian's Orthanc 1.10.1 falls over any request by HTTPS, curl's too, so something stands before it, as in hospitals.
#[test]
fn orthanc_gets_results_by_stow_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let ours = Authority::new(&folder.path().join("ours"));
    let (box_, pacs) = (ours.issue("box"), ours.issue("pacs"));
    let orthanc = Orthanc::start(&folder.path().join("orthanc"), free_port());
    let url = orthanc.dicom_web();
    let (address, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let port = terminate(&pacs, &ours, address.to_owned());
    let deliver = format!(
        "{QUICK}[[deliver]]\nname = 'web'\nstow = {{ url = 'https://localhost:{port}/{path}', tls = {} }}\n",
        box_.toml(&ours)
    );
    let service = Service::start(&configure(folder.path(), &deliver));
    service.send(&folder.path().join("bleed"));
    let delivered = service.wait_for("delivered");
    assert_eq!(delivered["confirmed_by"], "its answer");
    assert_eq!(delivered["objects"], orthanc.modalities().len().to_string());
}

#[test]
fn a_certificate_that_peers_cannot_take_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(&folder.path().join("ours"));
    let (good, ended) = (ours.issue("good"), ours.issue_until("ended", 2001));
    let own = Pair { certificate: ours.certificate.clone(), key: ours.key.clone() };
    let standing = |pair: &Pair, days: u64| {
        server_files(pair, &ours).standing(Duration::from_secs(days * 86_400)).unwrap()
    };
    assert_eq!(standing(&good, 30), Standing::Good);
    assert_eq!(standing(&good, 1_000_000), Standing::EndsSoon);
    assert!(matches!(standing(&ended, 30), Standing::Unusable(why) if why.contains("expired")));
    assert!(matches!(standing(&own, 30), Standing::Unusable(_)));
    let others = Authority::new(&folder.path().join("others"));
    assert_eq!(standing(&others.issue("other"), 30), Standing::Unknown);
    let config = configure_tls(folder.path(), &ended, &ours, "");
    let (code, said, _) = run(&["doctor", "--config", config.to_str().unwrap()]);
    assert!(code == 9 && said.contains("peers cannot take our certificate"), "{said}");
}

#[test]
fn files_that_cannot_be_used_are_said_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(&folder.path().join("ours"));
    let (one, other) = (ours.issue("one"), ours.issue("other"));
    let missing = folder.path().join("missing.pem");
    let authority = &ours.certificate;
    for (tls, expected) in [
        (Pair { certificate: one.certificate.clone(), key: other.key.clone() }.toml(&ours), "one.pem"),
        (Pair { certificate: missing, key: one.key.clone() }.toml(&ours), "missing.pem"),
        (Pair { certificate: one.key.clone(), key: one.key.clone() }.toml(&ours), "one-key.pem"),
        (
            format!("{{ certificate = {:?}, key = {:?} }}", one.certificate, one.key),
            "without_client_certificates",
        ),
        (
            format!("{{ certificate = 'one.pem', key = {:?}, authorities = {authority:?} }}", one.key),
            "absolute",
        ),
    ] {
        let config = configure(folder.path(), "");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.replace("[receive]\n", &format!("[receive]\ntls = {tls}\n"))).unwrap();
        let (code, _, complaint) = run(&["config", "check", config.to_str().unwrap()]);
        assert!(
            code == 2 && complaint.contains("receive.tls") && complaint.contains(expected),
            "{complaint}"
        );
    }
}
