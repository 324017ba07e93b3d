//! Objects over HTTP: STOW-RS.
//!
//! # Source
//! DICOM PS3.18 10.5 (store transaction), annex F (JSON), RFC 2387 (multipart/related).

use std::fs;
use std::io::ErrorKind;
use std::slice;
use std::time::Duration;

use serde_json::Value;
use ureq::Body;
use ureq::http::Response;

use super::objects::Object;
use super::{Failure, Fate, Stow, fate, send};
use crate::net::http;
use crate::spool::SpoolError;

/// Time for all of it.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of an answer.
const MOST_ANSWER: u64 = 1 << 20;
/// How a request fails whose archive was there.
const HANG_UPS: [ErrorKind; 4] = [
    ErrorKind::BrokenPipe,
    ErrorKind::ConnectionAborted,
    ErrorKind::ConnectionReset,
    ErrorKind::UnexpectedEof,
];

/// Hears of an object what became of it.
type Note<'a> = dyn FnMut(&Object, Fate) -> Result<(), SpoolError> + 'a;

/// What came of a request.
enum Answer {
    /// Its status, and what is said of objects.
    Said(u16, Value),
    /// None: the archive hung up.
    HungUp(String),
}

impl Answer {
    /// Whether it may be one object of several, or all of them together, that is not taken.
    fn is_of_the_whole(&self) -> bool {
        match self {
            // Its form, its kind, its size; what an archive stumbles over.
            Answer::Said(status, _) => matches!(status, 400 | 406 | 413 | 415 | 500),
            // So do some where a request is too long.
            Answer::HungUp(_) => true,
        }
    }
}

/// Sends objects in one request, or, where that is not taken as a whole, each in one of its own; `note` hears of each what became
/// of it.
pub fn send(to: &Stow, objects: &[Object], note: &mut Note<'_>) -> Result<(), Failure> {
    if objects.is_empty() {
        return Ok(());
    }
    let answer = post(to, objects)?;
    if objects.len() > 1 && answer.is_of_the_whole() {
        return send_each(to, objects, note);
    }
    for object in objects {
        note(object, fate_of(object, &answer)?)?;
    }
    Ok(())
}

/// One that the archive has no answer to keeps no other from it.
fn send_each(to: &Stow, objects: &[Object], note: &mut Note<'_>) -> Result<(), Failure> {
    let mut unanswered = Ok(());
    for alone in objects.chunks(1) {
        match send(to, alone, note) {
            Err(Failure::Peer(why)) => unanswered = Err(Failure::Peer(why)),
            sent => sent?,
        }
    }
    unanswered
}

/// Makes a request.
fn post(to: &Stow, objects: &[Object]) -> Result<Answer, Failure> {
    let (boundary, body) = multipart(objects);
    let kind = format!("multipart/related; type=\"application/dicom\"; boundary={boundary}");
    let mut request = http::client(&to.url, to.tls.as_ref(), PATIENCE)
        .map_err(Failure::Peer)?
        .post(format!("{}/studies", to.url.trim_end_matches('/')))
        .header("Content-Type", kind)
        .header("Accept", "application/dicom+json");
    if let Some(value) = authorization(to).map_err(Failure::Peer)? {
        request = request.header("Authorization", value);
    }
    match request.send(&body[..]) {
        Ok(mut answer) => hear(&mut answer),
        Err(ureq::Error::Io(error)) if HANG_UPS.contains(&error.kind()) => {
            Ok(Answer::HungUp(error.to_string()))
        }
        Err(error) => Err(Failure::Peer(error.to_string())),
    }
}

/// Reads an answer.
fn hear(answer: &mut Response<Body>) -> Result<Answer, Failure> {
    let status = answer.status();
    let kind = answer.body().mime_type().unwrap_or_default().to_ascii_lowercase();
    let bytes = answer.body_mut().with_config().limit(MOST_ANSWER).read_to_vec();
    match bytes.map_err(|error| error.to_string()).and_then(|bytes| read(&kind, &bytes)) {
        // It may have listed objects that were not taken.
        Err(why) if status.is_success() => Err(Failure::Peer(format!("its answer cannot be read: {why}"))),
        said => Ok(Answer::Said(status.as_u16(), said.unwrap_or_default())),
    }
}

/// What an answer of some kind says of objects; nothing where it is empty, or says so in another way than we ask for.
fn read(kind: &str, bytes: &[u8]) -> Result<Value, String> {
    if kind.contains("html") && !bytes.trim_ascii().is_empty() {
        return Err(format!("a page for people ({kind}), as where a login is wanted"));
    }
    // UIDs are ASCII, whatever a comment beside them is written in.
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{FEFF}').trim();
    match serde_json::from_str(text) {
        Err(error) if kind.ends_with("json") && !text.is_empty() => Err(error.to_string()),
        said => Ok(said.unwrap_or_default()),
    }
}

/// Connects, and sends nothing: who is there.
pub fn probe(to: &Stow, patience: Duration) -> Result<String, String> {
    authorization(to)?;
    http::reach(&to.url, to.tls.as_ref(), patience)
}

/// The value of the header Authorization.
fn authorization(to: &Stow) -> Result<Option<String>, String> {
    let Some(file) = &to.authorization_file else { return Ok(None) };
    let value = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(Some(value.trim().to_owned()))
}

/// The boundary, and the body that it divides.
fn multipart(objects: &[Object]) -> (String, Vec<u8>) {
    // Random, so that no object has it in it.
    let boundary = send::new_uid();
    let mut body = Vec::new();
    for object in objects {
        body.extend(format!("--{boundary}\r\nContent-Type: application/dicom\r\n\r\n").bytes());
        body.extend(&object.bytes);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").bytes());
    (boundary, body)
}

/// What an answer says about an object.
///
/// # Source
/// DICOM PS3.18 10.5.3 (statuses), annex I (what is listed).
fn fate_of(object: &Object, answer: &Answer) -> Result<Fate, Failure> {
    let (status, said) = match answer {
        Answer::Said(status, said) => (*status, said),
        Answer::HungUp(why) => return Err(Failure::Peer(why.clone())),
    };
    // One data set; some archives say it as an array of one.
    let sets = said.as_array().map_or(slice::from_ref(said), Vec::as_slice);
    let is_it = |item: &&Value| {
        let uid = item["00081155"]["Value"][0].as_str();
        uid.is_some_and(|uid| uid.trim_end_matches(['\0', ' ']) == object.instance_uid)
    };
    let listed = |sequence: &str| {
        sets.iter().filter_map(|set| set[sequence]["Value"].as_array()).flatten().find(is_it)
    };
    if let Some(failed) = listed("00081198") {
        let reason = failed["00081197"]["Value"][0].as_u64().unwrap_or(0x0110);
        return Ok(fate(u16::try_from(reason).unwrap_or(0x0110)));
    }
    let tells_which = sets.iter().any(|set| set.get("00081199").is_some());
    match status {
        // All of them; an archive need not say which.
        200 if !tells_which => Ok(Fate::Taken),
        200 | 202 | 409 if listed("00081199").is_some() => Ok(Fate::Taken),
        200 => Ok(Fate::NotNow("HTTP 200, but it is not among those that were taken".to_owned())),
        202 | 409 => Ok(Fate::NotNow(format!("HTTP {status}"))),
        // The request itself: it will be no other one.
        400 | 406 | 413 | 415 => Ok(Fate::Refused(format!("HTTP {status}"))),
        _ => Err(Failure::Peer(format!("HTTP {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::alert::Occasion;
    use crate::deliver::{Memory, REFUSALS, To, outbox_in, tests::write};

    fn object(instance_uid: &str) -> Object {
        Object::sample(instance_uid)
    }

    fn told(status: u16, text: &str) -> Option<Fate> {
        let said = serde_json::from_str(text).unwrap_or_default();
        fate_of(&object("1.2.3"), &Answer::Said(status, said)).ok()
    }

    /// A list with one object, and more of it.
    fn list(tag: &str, uid: &str, more: &str) -> String {
        let item = format!(r#"{{"00081155":{{"vr":"UI","Value":["{uid}"]}}{more}}}"#);
        format!(r#"{{"{tag}":{{"vr":"SQ","Value":[{item}]}}}}"#)
    }

    /// A reason that is the object's.
    const REASON: &str = r#","00081197":{"vr":"US","Value":[49152]}"#;

    /// An archive that answers each request by its body, and hangs up after it.
    fn archive(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Stow {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut line, mut length) = (String::new(), 0);
                while line != "\r\n" {
                    line.clear();
                    stream.read_line(&mut line).unwrap();
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                // Whoever is answered too much may be gone.
                let _ = stream.get_mut().write_all(&answer(&String::from_utf8_lossy(&body)));
            }
        });
        serde_json::from_value(serde_json::json!({ "url": url })).unwrap()
    }

    fn answer(status: u16, kind: &str, body: &[u8]) -> Vec<u8> {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status} So\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    }

    fn count(body: &str) -> usize {
        body.matches("application/dicom").count()
    }

    /// What became of objects, and how it ended.
    fn fates(to: &Stow, uids: &[&str]) -> (Vec<Fate>, Result<(), Failure>) {
        let objects: Vec<Object> = uids.iter().map(|uid| object(uid)).collect();
        let mut fates = Vec::new();
        let ended = send(to, &objects, &mut |_, fate| {
            fates.push(fate);
            Ok(())
        });
        (fates, ended)
    }

    #[test]
    fn each_object_has_its_own_answer() {
        assert_eq!(told(200, "{}"), Some(Fate::Taken));
        assert_eq!(told(200, "<xml/>"), Some(Fate::Taken));
        assert_eq!(told(202, &list("00081199", "1.2.3", "")), Some(Fate::Taken));
        assert!(matches!(told(202, "{}"), Some(Fate::NotNow(_))));
        assert!(matches!(told(409, &list("00081198", "1.2.3", REASON)), Some(Fate::Refused(_))));
        assert!(matches!(told(200, &list("00081198", "1.2.3", "")), Some(Fate::NotNow(_))));
        assert!(matches!(told(415, ""), Some(Fate::Refused(_))));
        assert_eq!(told(503, ""), None);
        assert_eq!(told(302, ""), None);
    }

    #[test]
    fn an_archive_that_tells_what_it_took_took_nothing_else() {
        assert_eq!(told(200, &list("00081199", "1.2.3", "")), Some(Fate::Taken));
        assert!(matches!(told(200, &list("00081199", "1.2.4", "")), Some(Fate::NotNow(_))));
        assert_eq!(told(200, &list("00081198", "1.2.4", REASON)), Some(Fate::Taken));
        // As an array, and with what fills a UID up.
        let failed = format!("[{}]", list("00081198", "1.2.3\\u0000", REASON));
        assert!(matches!(told(200, &failed), Some(Fate::Refused(_))));
    }

    #[test]
    fn an_object_that_is_not_wanted_keeps_no_other_from_an_archive() {
        // A server that did not know segmentations answered 415 to the one request that all objects of a verdict went in, and after
        // eight of them its report was put aside too.
        let to = archive(|body| match body.contains("1.2.4") {
            true => answer(415, "text/html", b"<html>"),
            false => answer(200, "application/dicom+json", b"{}"),
        });
        let (fates, ended) = fates(&to, &["1.2.3", "1.2.4", "1.2.5"]);
        assert!(matches!(&fates[..], [Fate::Taken, Fate::Refused(_), Fate::Taken]), "{fates:?}");
        assert!(ended.is_ok());
    }

    #[test]
    fn what_is_too_much_at_once_goes_one_by_one() {
        // nginx takes a megabyte where nothing else is set; others hang up.
        for refusal in [answer(413, "text/html", b"<html>"), Vec::new()] {
            let to = archive(move |body| match count(body) {
                1 => answer(200, "", b""),
                _ => refusal.clone(),
            });
            let (fates, ended) = fates(&to, &["1.2.3", "1.2.4"]);
            assert_eq!(fates, [Fate::Taken, Fate::Taken]);
            assert!(ended.is_ok());
        }
    }

    #[test]
    fn an_object_without_an_answer_keeps_no_other_from_an_archive() {
        for stumble in [answer(500, "text/plain", b""), Vec::new()] {
            let to = archive(move |body| match body.contains("1.2.3") {
                true => stumble.clone(),
                false => answer(200, "", b""),
            });
            let (fates, ended) = fates(&to, &["1.2.3", "1.2.4"]);
            assert_eq!(fates, [Fate::Taken]);
            assert!(matches!(ended, Err(Failure::Peer(_))), "{ended:?}");
        }
        // One that is away is asked once.
        let (fates, ended) = fates(&archive(|_| answer(503, "", b"")), &["1.2.3", "1.2.4"]);
        assert!(fates.is_empty() && matches!(ended, Err(Failure::Peer(_))));
    }

    #[test]
    fn refusals_count_also_where_another_object_has_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let objects = folder.path().join("objects");
        fs::create_dir(&objects).unwrap();
        ["1.2.3", "1.2.4", "1.2.5"].iter().for_each(|uid| write(&objects, uid));
        let to = archive(|body| match (body.contains("1.2.3"), body.contains("1.2.4")) {
            (true, _) => answer(500, "", b""),
            (_, true) => answer(415, "", b""),
            _ => answer(200, "", b""),
        });
        let queue = folder.path().join("queue");
        let (outbox, courier) = outbox_in(queue, vec![Occasion::Alert], To::Stow(to)).unwrap();
        outbox.post(Occasion::Alert, "1.2", &objects).unwrap();
        let entry = &courier.queue.entries().unwrap()[0];
        let mut memory = Memory::default();
        for _ in 0..REFUSALS {
            assert_eq!(entry.waiting().unwrap().len(), if memory.refusals.is_empty() { 3 } else { 2 });
            let sent = courier.forward(entry, &mut memory, &|_| {});
            assert!(matches!(sent, Err(Failure::Peer(_))), "{sent:?}");
        }
        assert!(entry.path().join("1.2.3.dcm").exists());
        assert!(entry.path().join("1.2.4.refused").exists());
        assert!(entry.path().join("1.2.5.sent").exists());
    }

    #[test]
    fn an_answer_that_cannot_be_read_says_of_no_object_that_it_was_taken() {
        // All objects were called delivered, also those that the archive had listed as failed.
        const JSON: &str = "application/dicom+json";
        let failed = list("00081198", "1.2.3", REASON);
        let whole = answer(200, JSON, failed.as_bytes());
        let long = answer(200, JSON, &vec![b' '; MOST_ANSWER as usize + 1]);
        let half = answer(200, JSON, &failed.as_bytes()[..20]);
        let page = answer(200, "text/html; charset=utf-8", b"<html><form>Login</form></html>");
        for unreadable in [whole[..whole.len() - 1].to_vec(), long, half, page] {
            let (fates, ended) = fates(&archive(move |_| unreadable.clone()), &["1.2.3", "1.2.4"]);
            assert!(fates.is_empty() && matches!(ended, Err(Failure::Peer(_))), "{fates:?} {ended:?}");
        }
    }

    #[test]
    fn what_an_answer_is_written_in_hides_no_failure() {
        // One byte of a comment in Latin-1, and all objects were called delivered.
        let comment = r#","00000902":{"vr":"LO","Value":["refus~"]}"#;
        let text = list("00081198", "1.2.3", &[REASON, comment].concat());
        let latin: Vec<u8> = text.bytes().map(|byte| if byte == b'~' { 0xE9 } else { byte }).collect();
        let marked = [&b"\xEF\xBB\xBF"[..], text.as_bytes()].concat();
        for body in [latin, marked] {
            let to = archive(move |_| answer(200, "application/json", &body));
            let (fates, _) = fates(&to, &["1.2.3", "1.2.4"]);
            assert!(matches!(&fates[..], [Fate::Refused(_), Fate::Taken]), "{fates:?}");
        }
    }

    #[test]
    fn an_archive_need_not_say_more_than_that_it_took_all() {
        for (kind, body) in [
            ("application/dicom+json", ""),
            ("text/html", ""),
            ("application/dicom+json", "{}"),
            ("application/dicom+xml", "<NativeDicomModel/>"),
            ("text/plain", "stored"),
        ] {
            let (fates, _) = fates(&archive(|_| answer(200, kind, body.as_bytes())), &["1.2.3", "1.2.4"]);
            assert_eq!(fates, [Fate::Taken, Fate::Taken], "{kind} {body}");
        }
    }

    #[test]
    fn a_body_has_each_object_between_boundaries() {
        let (boundary, body) = multipart(&[object("1.2.3"), object("1.2.4")]);
        let text = String::from_utf8(body).unwrap();
        assert_eq!(text.matches(&format!("--{boundary}")).count(), 3);
        assert!(text.ends_with(&format!("\r\n--{boundary}--\r\n")));
    }
}
