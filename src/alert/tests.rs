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

#[test]
fn only_a_later_verdict_to_the_contrary_takes_one_back() {
    let folder = tempfile::tempdir().unwrap();
    let notice = |name: &str, seconds: u64| {
        let path = folder.path().join(format!("{name}.json"));
        let file = fs::File::create(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        path
    };
    let check = |(later, now), (earlier, then)| takes_back(&notice(later, now), &notice(earlier, then));
    // Whatever the clock was set to in between.
    for then in [1, 3] {
        assert!(check(("1.2-2-no_alert", 2), ("1.2-1-alert", then)));
        assert!(check(("1.2-10-alert", 2), ("1.2-9-no_alert", then)));
        assert!(!check(("1.2-1-no_alert", 2), ("1.2-2-alert", then)), "the alert is the later one");
        assert!(!check(("1.2-2-alert", 2), ("1.2-1-alert", then)));
        assert!(!check(("1.2-2-refused", 2), ("1.2-1-alert", then)), "not judged is not taken back");
        assert!(!check(("1.3-2-no_alert", 2), ("1.2-1-alert", then)));
    }
    assert!(check(("1.2-1-no_alert", 2), ("1.2-0-early", 1)));
    assert!(!check(("1.2-1-no_alert", 2), ("1.2-0-early", 3)), "of slices that came behind the verdict");
    assert!(!check(("1.2-1-alert", 2), ("1.2-0-early", 1)));
    assert!(!check(("0", 2), ("1", 1)));
}

#[test]
fn a_worklist_hears_of_a_study_whose_objects_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hl7 = serde_json::from_value(serde_json::json!({"address": format!("127.0.0.1:{port}")}));
    let way = Way::Hl7(hl7.unwrap());
    let (channel, teller) = channel_in(folder.path().to_owned(), vec![Occasion::Alert], way).unwrap();
    post(&channel, Occasion::Alert, 1);
    let mut memory = memory();
    // A file where the folder of the objects should be.
    let objects = folder.path().join("objects");
    fs::write(&objects, "in the way").unwrap();
    let mut whys = Vec::new();
    for _ in 0..=MOST_UNNAMED {
        let heard = RefCell::new(Vec::new());
        let ended = |_: &str, ended: Result<(), &str>| heard.borrow_mut().push(ended.unwrap_err().to_owned());
        // Due at once.
        memory.notices.values_mut().for_each(|tries| tries.rest(Duration::ZERO));
        teller.round(&mut memory, true, &|_| objects.clone(), &ended);
        whys.extend(heard.into_inner());
        assert!(memory.way.wait().is_zero() || whys.len() > MOST_UNNAMED, "others go on: {whys:?}");
    }
    assert!(whys[..MOST_UNNAMED].iter().all(|why| why.contains("whose study it is")), "{whys:?}");
    assert!(whys[MOST_UNNAMED].contains(&port.to_string()), "{whys:?}");
}
