//! Whoever is told over the network is told once, also where they were away, said no, or the service was killed in between.

mod service;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use service::orthanc::free_port;
use service::program::{BLEED, hemapatch, phantom, read};
use service::{Service, configure};
use sha2::Sha256;

const QUICK: &str = "[study]\nsettled_s = 0\n";
const PATIENCE: Duration = Duration::from_secs(120);

/// A request: its headers, by lower-case name, and its body.
struct Request {
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        let header = self.headers.iter().find(|(own, _)| own == name);
        &header.unwrap_or_else(|| panic!("no header {name}")).1
    }
}

/// A web server that answers its requests with these codes, one after the other, and then with 200.
fn web_server(port: u16, codes: &'static [u16]) -> Receiver<Request> {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for number in 0.. {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            assert!(line.starts_with("POST /alerts "), "{line}");
            let mut headers = Vec::new();
            loop {
                line.clear();
                reader.read_line(&mut line).unwrap();
                let Some((name, value)) = line.trim_end().split_once(": ") else { break };
                headers.push((name.to_lowercase(), value.to_owned()));
            }
            let mut request = Request { headers, body: String::new() };
            let length: u64 = request.header("content-length").parse().unwrap();
            (&mut reader).take(length).read_to_string(&mut request.body).unwrap();
            let code = codes.get(number).unwrap_or(&200);
            write!(reader.get_mut(), "HTTP/1.1 {code} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .unwrap();
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    requests
}

/// The codes with which a system of the hospital acknowledges, and then AA; what it was sent, without what stands around it.
fn hl7_server(port: u16, codes: &'static [&'static str]) -> Receiver<String> {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (sender, messages) = channel();
    std::thread::spawn(move || {
        for number in 0.. {
            let (mut stream, _) = listener.accept().unwrap();
            let mut message = Vec::new();
            BufReader::new(&stream).read_until(0x1C, &mut message).unwrap();
            let message = String::from_utf8(message[1..message.len() - 1].to_vec()).unwrap();
            let id = message.split('|').nth(9).unwrap();
            let code = codes.get(number).unwrap_or(&"AA");
            let answer = format!("\u{b}MSH|^~\\&|RIS||HEMAPATCH||||ACK|1|P|2.5.1\rMSA|{code}|{id}\r\u{1c}\r");
            stream.write_all(answer.as_bytes()).unwrap();
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    messages
}

#[test]
fn a_webhook_gets_each_notice_signed_and_under_one_key() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let port = free_port();
    let webhook = format!(
        "{QUICK}[[alert]]\nname = 'hook'\non = ['alert']\n\
         webhook = {{ url = 'http://127.0.0.1:{port}/alerts', secret_file = {secret:?} }}\n"
    );
    // Away at first; then it fails, and its first answer is not its last.
    let service = Service::start(&configure(folder.path(), &webhook));
    service.send(&folder.path().join("bleed"));
    service.wait_for("not_told");
    let requests = web_server(port, &[500]);
    let next = || requests.recv_timeout(PATIENCE).expect("a request");
    let (first, second) = (next(), next());
    let told = loop {
        let told = service.wait_for("told");
        if told["alert"] == "hook" {
            break told;
        }
    };
    assert_eq!(told["alert"], "hook");
    assert_eq!(first.header("idempotency-key"), second.header("idempotency-key"));
    assert_eq!(first.body, second.body);
    let notice: Value = serde_json::from_str(&second.body).unwrap();
    assert_eq!(
        (&notice["occasion"], &notice["id"]),
        (&"alert".into(), &second.header("idempotency-key").into())
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret").unwrap();
    mac.update(format!("{}.{}", second.header("x-hemapatch-timestamp"), second.body).as_bytes());
    let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(second.header("x-hemapatch-signature"), format!("sha256={expected}"));
    assert!(requests.try_recv().is_err());
}

#[test]
fn a_worklist_gets_result_messages_until_it_takes_them_even_over_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let port = free_port();
    let hl7 = format!(
        "{QUICK}[[alert]]\nname = 'ris'\non = ['alert']\nhl7 = {{ address = '127.0.0.1:{port}', receiving_application = 'RIS' }}\n"
    );
    let config = configure(folder.path(), &hl7);
    let service = Service::start(&config);
    service.send(&folder.path().join("bleed"));
    service.wait_for("not_told");
    service.kill();
    let messages = hl7_server(port, &["AE"]);
    let service = Service::start(&config);
    let next = || messages.recv_timeout(PATIENCE).expect("a message");
    let (first, second) = (next(), next());
    let ris = |event: &str| while service.wait_for(event)["alert"] != "ris" {};
    ris("told");
    let control_id = |message: &str| message.split('|').nth(9).unwrap().to_owned();
    assert_eq!(control_id(&first), control_id(&second));
    let segments: Vec<&str> = second.split('\r').collect();
    assert!(segments[0].contains("|RIS|") && segments[0].contains("|ORU^R01^ORU_R01|"));
    // The patient of the drawn series, and priority.
    let patient: Vec<&str> = segments[1].split('|').collect();
    assert!(!patient[3].is_empty() && patient[5].contains('^'), "{}", segments[1]);
    assert!(segments[3].starts_with("TQ1|1||||||||S"));
    assert!(second.contains("research use only"));
    assert!(messages.try_recv().is_err());
}

#[test]
fn a_notice_that_is_not_taken_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let port = free_port();
    let requests = web_server(port, &[422]);
    let webhook = format!(
        "{QUICK}[[alert]]\nname = 'hook'\nwebhook = {{ url = 'http://127.0.0.1:{port}/alerts' }}\n\
         [[alert]]\nname = 'none'\ncommand = ['/nowhere/program']\n"
    );
    let service = Service::start(&configure(folder.path(), &webhook));
    // What is no notice stands before both.
    let pending = folder.path().join("spool/alerts/hook/pending");
    std::fs::write(pending.join("0.json"), "{").unwrap();
    service.send(&folder.path().join("bleed"));
    let mut ids = Vec::new();
    for _ in 0..3 {
        let request = requests.recv_timeout(PATIENCE).expect("a request");
        ids.push(request.header("idempotency-key").to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2, "the early alert and the verdict: {ids:?}");
    assert!(folder.path().join("spool/alerts/hook/broken/0.json").exists());
    // A program that is not there leaves its notices where they are tried again.
    let none = folder.path().join("spool/alerts/none");
    while service.wait_for("not_told")["alert"] != "none" {}
    assert_eq!(std::fs::read_dir(none.join("done")).unwrap().count(), 0);
    assert!(std::fs::read_dir(none.join("pending")).unwrap().count() > 0);
}

#[test]
fn a_notice_that_drives_its_receiver_away_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    phantom(&first, BLEED);
    phantom(&second, &["--seed", "12", "--site", "putamen", "--volume-ml", "30"]);
    // Falls over whatever is of the study that comes first.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut poison = None;
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut part) = (Vec::new(), [0; 4096]);
            while !request.ends_with(b"}") {
                let count = stream.read(&mut part).unwrap();
                request.extend(&part[..count]);
            }
            let text = String::from_utf8(request).unwrap();
            let study = text.split("\"study_uid\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
            if *poison.get_or_insert(study.clone()) != study {
                write!(stream, "HTTP/1.1 200 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            }
        }
    });
    let webhook = format!(
        "{QUICK}[[alert]]\nname = 'hook'\non = ['alert']\nwebhook = {{ url = 'http://127.0.0.1:{port}/' }}\n"
    );
    let service = Service::start(&configure(folder.path(), &webhook));
    service.send(&first);
    let poisoned = service.wait_for("not_told")["study"].clone();
    service.send(&second);
    while service.wait_for("told")["alert"] != "hook" {}
    assert_ne!(service.wait_for("not_told")["study"], serde_json::Value::Null);
    let pending = std::fs::read_dir(folder.path().join("spool/alerts/hook/pending")).unwrap().count();
    assert_eq!(pending, 1, "of {poisoned}");
}

#[test]
fn whoever_is_added_later_does_not_get_what_was() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let service = Service::start(&configure(folder.path(), QUICK));
    service.send(&folder.path().join("bleed"));
    service.wait_for("verdict");
    let spool = folder.path().join("spool");
    let study = std::fs::read_dir(spool.join("studies")).unwrap().next().unwrap().unwrap().path();
    // The verdict is in the journal before it is handed on; whoever is told is told after that.
    while service.wait_for("told")["alert"] != "log" {}
    service.kill();
    if !study.join("handed_on").exists() {
        Service::start(&configure(folder.path(), QUICK)).kill();
    }
    let more = format!("{QUICK}[[alert]]\nname = 'late'\ncommand = ['/bin/true']\n");
    let _service = Service::start(&configure(folder.path(), &more));
    let late = spool.join("alerts/late");
    for state in ["pending", "running", "done"] {
        assert_eq!(std::fs::read_dir(late.join(state)).unwrap().count(), 0, "{state}");
    }
}

#[test]
fn alerts_are_listed_and_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let service = Service::start(&configure(folder.path(), QUICK));
    service.send(&folder.path().join("bleed"));
    while service.wait_for("told")["alert"] != "log" {}
    let study = service.wait_for("verdict")["study"].as_str().unwrap().to_owned();
    let spool = folder.path().join("spool");
    let run = |arguments: &[&str]| {
        let mut command = hemapatch();
        command.arg("alerts").args(arguments).arg("--spool").arg(&spool);
        read(&command.output().unwrap())
    };
    let list = || -> Vec<Value> {
        let (code, lines, complaint) = run(&["list", "--json"]);
        assert_eq!(code, 0, "{complaint}");
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let listed = list();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["study"], &listed[0]["occasion"]), (&study.as_str().into(), &"alert".into()));
    assert!(listed[0]["acknowledged"].is_null() && listed[0].get("study_uid").is_none());
    assert_eq!(listed[0]["intended_use"], "research use only");
    let (code, text, _) = run(&["list"]);
    assert!(code == 0 && text.contains(&study), "{text}");
    assert_eq!(run(&["ack", &study, "--by", "Dr. Who"]).0, 0);
    assert_eq!(list()[0]["acknowledged"]["by"], "Dr. Who");
    let (_, identified, _) = run(&["list", "--json", "--identify"]);
    assert!(identified.contains("\"study_uid\""));
    let (code, _, complaint) = run(&["ack", "0123456789abcdef"]);
    assert!(code == 2 && complaint.contains("0123456789abcdef"), "{complaint}");
}
