//! Objects over HTTP: STOW-RS.
//!
//! # Source
//! DICOM PS3.18 10.5 (store transaction), annex F (JSON), RFC 2387 (multipart/related).

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::objects::Object;
use super::{Failure, Fate, Stow, fate, send};
use crate::net::http;
use crate::spool::SpoolError;

/// Time for all of it.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of an answer.
const MOST_ANSWER: u64 = 1 << 20;

/// Sends objects in one request; `note` hears of each what became of it.
pub fn send(
    to: &Stow,
    objects: &[Object],
    note: &mut dyn FnMut(&Object, Fate) -> Result<(), SpoolError>,
) -> Result<(), Failure> {
    if objects.is_empty() {
        return Ok(());
    }
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
    let mut answer = request.send(&body[..]).map_err(|error| Failure::Peer(error.to_string()))?;
    let status = answer.status().as_u16();
    let text = answer.body_mut().with_config().limit(MOST_ANSWER).read_to_string().unwrap_or_default();
    let said: Value = serde_json::from_str(&text).unwrap_or_default();
    for object in objects {
        note(object, fate_of(object, status, &said)?)?;
    }
    Ok(())
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
fn fate_of(object: &Object, status: u16, said: &Value) -> Result<Fate, Failure> {
    let listed = |sequence: &str| {
        said[sequence]["Value"]
            .as_array()
            .and_then(|items| items.iter().find(|item| item["00081155"]["Value"][0] == *object.instance_uid))
    };
    if let Some(failed) = listed("00081198") {
        let reason = failed["00081197"]["Value"][0].as_u64().unwrap_or(0x0110);
        return Ok(fate(u16::try_from(reason).unwrap_or(0x0110)));
    }
    match status {
        200 => Ok(Fate::Taken),
        202 | 409 if listed("00081199").is_some() => Ok(Fate::Taken),
        202 | 409 => Ok(Fate::NotNow(format!("HTTP {status}"))),
        // The request itself: it will be no other one.
        400 | 406 | 413 | 415 => Ok(Fate::Refused(format!("HTTP {status}"))),
        _ => Err(Failure::Peer(format!("HTTP {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(instance_uid: &str) -> Object {
        Object::sample(instance_uid)
    }

    fn told(status: u16, text: &str) -> Option<Fate> {
        fate_of(&object("1.2.3"), status, &serde_json::from_str(text).unwrap_or_default()).ok()
    }

    #[test]
    fn each_object_has_its_own_answer() {
        let item = |uid: &str, more: &str| format!(r#"{{"00081155":{{"vr":"UI","Value":["{uid}"]}}{more}}}"#);
        let reason = r#","00081197":{"vr":"US","Value":[49152]}"#;
        let list = |tag: &str, item: String| format!(r#"{{"{tag}":{{"vr":"SQ","Value":[{item}]}}}}"#);
        assert_eq!(told(200, "{}"), Some(Fate::Taken));
        assert_eq!(told(200, "<xml/>"), Some(Fate::Taken));
        assert_eq!(told(202, &list("00081199", item("1.2.3", ""))), Some(Fate::Taken));
        assert!(matches!(told(202, "{}"), Some(Fate::NotNow(_))));
        assert!(matches!(told(409, &list("00081198", item("1.2.3", reason))), Some(Fate::Refused(_))));
        assert!(matches!(told(200, &list("00081198", item("1.2.3", ""))), Some(Fate::NotNow(_))));
        assert!(matches!(told(415, ""), Some(Fate::Refused(_))));
        assert_eq!(told(503, ""), None);
        assert_eq!(told(302, ""), None);
    }

    #[test]
    fn a_body_has_each_object_between_boundaries() {
        let (boundary, body) = multipart(&[object("1.2.3"), object("1.2.4")]);
        let text = String::from_utf8(body).unwrap();
        assert_eq!(text.matches(&format!("--{boundary}")).count(), 3);
        assert!(text.ends_with(&format!("\r\n--{boundary}--\r\n")));
    }
}
