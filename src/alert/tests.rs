//! In which order somebody is told.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

/// A way to a web server of this port, and what is pending in it: verdicts on one study, in this order.
fn way(folder: &Path, port: u16) -> (Channel, Teller) {
    let webhook = serde_json::from_value(serde_json::json!({"url": format!("http://127.0.0.1:{port}/")}));
    let on = vec![Occasion::Alert, Occasion::NoAlert];
    channel_in(folder.to_owned(), on, Way::Webhook(webhook.unwrap())).unwrap()
}

fn post(channel: &Channel, occasion: Occasion, revision: u32) {
    let about = serde_json::value::RawValue::from_string("{}".to_owned()).unwrap();
    channel.post(&Notice::new(occasion, "1.2", revision, &about)).unwrap();
    // Notices are told by age; file systems do not note moments.
    let path = channel.waiting()[0].join(format!("1.2-{revision}-{}.json", occasion.name()));
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(revision));
    fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

fn memory() -> Memory {
    let (doubtful, nobody, notices) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    Memory { doubtful, way: Tries::default(), nobody, notices }
}

/// What a round tells, and why not.
fn round(teller: &Teller, memory: &mut Memory) -> Vec<(String, Result<(), String>)> {
    let heard = RefCell::new(Vec::new());
    let ended = |id: &str, ended: Result<(), &str>| {
        heard.borrow_mut().push((id.to_owned(), ended.map_err(str::to_owned)));
    };
    teller.round(memory, true, &|_| PathBuf::new(), &ended);
    heard.into_inner()
}

fn answer(mut stream: TcpStream, code: u16) {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    while !request.ends_with(b"}") {
        let count = stream.read(&mut part).unwrap();
        request.extend(&part[..count]);
    }
    write!(stream, "HTTP/1.1 {code} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
}

fn serve(port: u16, codes: &'static [u16]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        codes.iter().for_each(|&code| answer(listener.accept().unwrap().0, code));
    });
    port
}

#[test]
fn whoever_was_away_hears_in_the_order_in_which_it_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (channel, teller) = way(folder.path(), port);
    let mut memory = memory();
    post(&channel, Occasion::NoAlert, 1);
    for _ in 0..3 {
        assert!(round(&teller, &mut memory)[0].1.is_err());
    }
    post(&channel, Occasion::Alert, 2);
    serve(port, &[200, 200]);
    let told: Vec<_> = round(&teller, &mut memory).into_iter().map(|(id, told)| (id, told.is_ok())).collect();
    assert_eq!(told, [("1.2-1-no_alert".to_owned(), true), ("1.2-2-alert".to_owned(), true)]);
}

#[test]
fn what_was_taken_back_is_not_the_last_word() {
    let folder = tempfile::tempdir().unwrap();
    let (channel, teller) = way(folder.path(), serve(0, &[422, 200]));
    post(&channel, Occasion::Alert, 1);
    post(&channel, Occasion::NoAlert, 2);
    let heard = round(&teller, &mut memory());
    let (ids, ends): (Vec<_>, Vec<_>) = heard.into_iter().unzip();
    assert_eq!(ids, ["1.2-1-alert", "1.2-2-no_alert", "1.2-1-alert"]);
    assert!(ends[0].is_err() && ends[1].is_ok(), "{ends:?}");
    assert!(ends[2].as_ref().is_err_and(|why| why.starts_with("given up")), "{ends:?}");
    assert_eq!(fs::read_dir(folder.path().join("pending")).unwrap().count(), 0);
}
