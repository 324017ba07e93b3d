//! Notices as HL7 version 2 result messages, ORU^R01: so that the worklist shows the study first.
//!
//! # Source
//! HL7 2.5.1: 2.7 (escapes), 2.9.2 (acknowledgement), 2.15.9 (MSH), 3.4.2 (PID), 4.5.3 (OBR), 4.5.4 (TQ1), 7.3.1
//! (ORU), 7.4.2 (OBX); MLLP: HL7 Transport Specification, release 1.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, FixedOffset, Local};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Occasion, Told, Untold};
use crate::dicom::Order;
use crate::net::{Client, ClientFiles, Stream, Timed, is_address};

/// Time for a connection, and for the acknowledgement.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an acknowledgement.
const MOST_ANSWER: usize = 64 << 10;
/// What stands around a message.
const BEGIN: u8 = 0x0B;
const END: u8 = 0x1C;
const RETURN: u8 = 0x0D;

/// A system of the hospital.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hl7 {
    /// Name or number, and port.
    address: String,
    #[serde(default = "hemapatch")]
    sending_application: String,
    #[serde(default)]
    sending_facility: String,
    #[serde(default)]
    receiving_application: String,
    #[serde(default)]
    receiving_facility: String,
    /// Where it is spoken with over TLS.
    tls: Option<ClientFiles>,
}

fn hemapatch() -> String {
    "HEMAPATCH".to_owned()
}

impl Hl7 {
    /// Whether it can be used.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if !is_address(&self.address) {
            return Err(("alert.hl7.address", "must be a name or number, a colon and a port".into()));
        }
        self.client().map(drop).map_err(|why| ("alert.hl7.tls", why))
    }

    /// Connects, and sends nothing: who is there.
    pub(super) fn probe(&self, patience: Duration) -> Result<String, String> {
        let reached = Stream::reach(&self.address, self.client()?.as_ref(), patience);
        reached.map_err(|error| format!("{}: {error}", self.address))?;
        Ok(self.address.clone())
    }

    /// Files that nobody else should read.
    pub(super) fn secrets(&self) -> Vec<PathBuf> {
        self.tls.as_ref().and_then(|tls| tls.key.clone()).into_iter().collect()
    }

    /// How it is spoken with; read anew, since certificates are renewed.
    fn client(&self) -> Result<Option<Client>, String> {
        self.tls.as_ref().map(ClientFiles::load).transpose()
    }
}

/// Sends a notice and waits until it is acknowledged.
pub fn send(to: &Hl7, told: &Told, order: &Order) -> Result<(), Untold> {
    let control_id = control_id(&told.id);
    let message = message(to, told, order, &control_id, Local::now().fixed_offset());
    let tls = to.client().map_err(Untold::Away)?;
    let why = |error: io::Error| format!("{}: {error}", to.address);
    let stream =
        Stream::connect(&to.address, tls.as_ref(), PATIENCE).map_err(|error| Untold::Away(why(error)))?;
    let code = exchange(stream, &message, &control_id).map_err(|error| Untold::Nobody(why(error)))?;
    match code.as_deref() {
        Some("AA" | "CA") => Ok(()),
        // Neither says for sure that the same message will never be taken, so it is sent again.
        Some(code @ ("AE" | "AR" | "CE" | "CR")) => Err(Untold::Refused(format!("acknowledged with {code}"))),
        _ => Err(Untold::Nobody(format!("{}: no acknowledgement of this message", to.address))),
    }
}

/// Of a message, the same whenever it is sent: the receiver drops what it has. MSH-10 has 20 letters.
fn control_id(id: &str) -> String {
    Sha256::digest(id)[..10].iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The code of an acknowledgement, if it is one of this message.
fn acknowledgement<'a>(answer: &'a str, control_id: &str) -> Option<&'a str> {
    // The separator is whatever its own header says.
    let separator = answer.trim_start_matches(['\r', '\n']).strip_prefix("MSH")?.chars().next()?;
    let mut segments = answer.split(['\r', '\n']);
    let mut fields =
        segments.find_map(|segment| segment.strip_prefix("MSA")?.strip_prefix(separator))?.split(separator);
    let code = fields.next()?;
    // Whoever could not read the message may not know which one it was.
    let id = fields.next().unwrap_or_default();
    (id == control_id || id.is_empty() && matches!(code, "AE" | "AR" | "CE" | "CR")).then_some(code)
}

/// Sends a message on a connection, and waits for the code that acknowledges it; None where something else is answered.
///
/// # Errors
/// The peer is gone, or answers nothing whole in time.
pub fn exchange<S: Timed>(mut stream: S, message: &str, control_id: &str) -> io::Result<Option<String>> {
    let framed = [&[BEGIN], message.as_bytes(), &[END, RETURN]].concat();
    stream.write_all(&framed)?;
    stream.flush()?;
    let until = Instant::now() + PATIENCE;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || answer.len() > MOST_ANSWER {
            return Err(io::Error::other("no whole acknowledgement"));
        }
        stream.set_patience(left)?;
        let count = match stream.read(&mut part) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        if count == 0 {
            return Err(io::Error::other("the connection ended before the acknowledgement"));
        }
        answer.extend(&part[..count]);
        if let Some(end) = answer.windows(2).position(|window| window == [END, RETURN]) {
            answer.truncate(end);
            let begin = answer.iter().position(|&byte| byte == BEGIN).map_or(0, |at| at + 1);
            let answer = String::from_utf8_lossy(&answer[begin..]);
            return Ok(acknowledgement(&answer, control_id).map(str::to_owned));
        }
    }
}

/// Text in a field: what divides messages is escaped, and what is no letter is dropped.
fn escaped(text: &str) -> String {
    let mut field = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' => field.push_str("\\F\\"),
            '^' => field.push_str("\\S\\"),
            '&' => field.push_str("\\T\\"),
            '~' => field.push_str("\\R\\"),
            '\\' => field.push_str("\\E\\"),
            c if c.is_control() => field.push(' '),
            c => field.push(c),
        }
    }
    field
}

/// A coded thing: what it is called, and in which system.
fn coded(code: &str, text: &str, system: &str) -> String {
    format!("{code}^{text}^{system}")
}

/// A segment in the making.
struct Segment(Vec<String>);

impl Segment {
    fn new(name: &str) -> Segment {
        Segment(vec![name.to_owned()])
    }

    /// Sets a field by its number, as the standard counts them.
    fn field(mut self, number: usize, value: impl Into<String>) -> Segment {
        if self.0.len() <= number {
            self.0.resize(number + 1, String::new());
        }
        self.0[number] = value.into();
        self
    }

    fn finish(self) -> String {
        self.0.join("|") + "\r"
    }
}

/// When the study began, with the scanner's zone where it tells it; empty where there is no whole date.
fn study_time(order: &Order) -> String {
    let is_of =
        |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_of(&order.study_date, 8) {
        return String::new();
    }
    let clock = order.study_time.split('.').next().unwrap_or_default();
    // The standard knows hours with minutes, and nothing less.
    let clock = if is_of(clock, 4) || is_of(clock, 6) { clock } else { "" };
    let zone = order.zone.strip_prefix(['+', '-']).filter(|digits| is_of(digits, 4) && !clock.is_empty());
    format!("{}{clock}{}", order.study_date, if zone.is_some() { &order.zone } else { "" })
}

/// The message on a notice.
fn message(to: &Hl7, told: &Told, order: &Order, control_id: &str, now: DateTime<FixedOffset>) -> String {
    let stamp = |time: DateTime<FixedOffset>| time.format("%Y%m%d%H%M%S%z").to_string();
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    // MSH-1 is the separator itself, so its fields stand one place earlier than they count.
    let header = Segment::new("MSH")
        .field(1, "^~\\&")
        .field(2, escaped(&to.sending_application))
        .field(3, escaped(&to.sending_facility))
        .field(4, escaped(&to.receiving_application))
        .field(5, escaped(&to.receiving_facility))
        // Its zone is that of all times below that name none, such as the scanner's.
        .field(6, stamp(now))
        .field(8, "ORU^R01^ORU_R01")
        .field(9, control_id)
        .field(10, "P")
        .field(11, "2.5.1")
        .field(17, "UNICODE UTF-8");
    // DICOM has prefix before suffix, HL7 after it.
    let part = |at: usize| order.name.get(at).map(|part| escaped(part)).unwrap_or_default();
    let name = [part(0), part(1), part(2), part(4), part(3)].join("^");
    let mut patient = Segment::new("PID").field(1, "1").field(5, name.trim_end_matches('^'));
    if !order.patient_id.is_empty() {
        let id = format!("{}^^^{}", escaped(&order.patient_id), escaped(&order.issuer));
        patient = patient.field(3, id.trim_end_matches('^'));
    }
    let patient = patient.field(7, digits(&order.birth_date)).field(8, escaped(&order.sex));
    let is_urgent = matches!(told.occasion, Occasion::Early | Occasion::Alert);
    let accession = escaped(&order.accession_number);
    // When the notice was taken: of two that were sent late, the later one counts.
    let taken = DateTime::from_timestamp_millis((told.time * 1000.0) as i64);
    let taken = taken.map(|taken| stamp(taken.with_timezone(now.offset()))).unwrap_or_default();
    let request = Segment::new("OBR")
        .field(1, "1")
        .field(3, accession.clone())
        .field(4, coded("TRIAGE", "Head CT triage for intracerebral hemorrhage", "99HEMAPATCH"))
        .field(7, study_time(order))
        .field(18, accession)
        .field(22, taken)
        .field(24, "CT")
        .field(25, "P");
    let timing = Segment::new("TQ1").field(1, "1").field(9, if is_urgent { "S" } else { "R" });
    let mut segments = vec![header, patient, request, timing];
    let mut observe = |kind: &str, what: String, value: String, unit: &str, flag: &str| {
        let number = (segments.len() - 3).to_string();
        segments.push(
            Segment::new("OBX")
                .field(1, number)
                .field(2, kind)
                .field(3, what)
                .field(5, value)
                .field(6, unit)
                .field(8, flag)
                .field(11, "P"),
        );
    };
    let own = |code: &str, text: &str| coded(code, text, "99HEMAPATCH");
    let (code, text) = match told.occasion {
        Occasion::Early => ("early", "Suspected before all slices came"),
        Occasion::Alert => ("alert", "Intracerebral hemorrhage suspected"),
        Occasion::NoAlert => ("no_alert", "Not suspected; does not rule it out"),
        Occasion::Refused => ("refused", "Not judged"),
    };
    let flag = if is_urgent { "AA" } else { "" };
    observe("CWE", own("OUTCOME", "Triage outcome"), own(code, text), "", flag);
    observe("ST", coded("110180", "Study Instance UID", "DCM"), escaped(&told.study_uid), "", "");
    observe("NM", own("REVISION", "Number of the verdict"), told.revision.to_string(), "", "");
    let number = |name: &str| told.about[name].as_f64();
    if let Some(probability) = number("probability") {
        observe(
            "NM",
            own("PROBABILITY", "Probability of hematoma"),
            probability.to_string(),
            "1^no units^UCUM",
            "",
        );
    }
    if let Some(volume) = number("hematoma_volume_ml") {
        let what = coded("118565006", "Volume", "SCT");
        observe("NM", what, format!("{volume:.1}"), "mL^milliliter^UCUM", "");
    }
    if let Some(detail) = told.about["refusal"]["code"].as_str() {
        observe("ST", own("REFUSAL", "Why it was not judged"), escaped(detail), "", "");
    }
    let notice = "For research use only. Not a medical device, not for diagnosis or treatment.";
    observe("TX", own("NOTICE", "Intended use"), notice.to_owned(), "", "");
    segments.into_iter().map(Segment::finish).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn to() -> Hl7 {
        Hl7 {
            address: "127.0.0.1:2575".into(),
            sending_application: hemapatch(),
            sending_facility: "CT1".into(),
            receiving_application: "RIS".into(),
            receiving_facility: String::new(),
            tls: None,
        }
    }

    fn told(about: serde_json::Value) -> Told {
        Told {
            id: "1.2.3-1-alert".into(),
            occasion: Occasion::Alert,
            study_uid: "1.2.3".into(),
            revision: 1,
            time: 1_714_972_195.5,
            about,
        }
    }

    fn written(order: &Order) -> String {
        let about = json!({"probability": 0.97, "hematoma_volume_ml": 12.34, "refusal": null});
        let now = DateTime::parse_from_rfc3339("2024-05-06T07:10:00+02:00").unwrap();
        message(&to(), &told(about), order, &control_id("1.2.3-1-alert"), now)
    }

    #[test]
    fn a_message_has_the_fields_that_a_worklist_needs() {
        let order = Order {
            name: vec!["Doe".into(), "Jane".into(), String::new(), "Dr".into()],
            patient_id: "77".into(),
            issuer: "HOSP".into(),
            birth_date: "1970-01-02".into(),
            sex: "F".into(),
            accession_number: "A1".into(),
            study_date: "20240506".into(),
            study_time: "070809.123".into(),
            zone: "+0100".into(),
        };
        let expected = [
            "MSH|^~\\&|HEMAPATCH|CT1|RIS||20240506071000+0200||ORU^R01^ORU_R01|\
             CONTROL|P|2.5.1||||||UNICODE UTF-8",
            "PID|1||77^^^HOSP||Doe^Jane^^^Dr||19700102|F",
            "OBR|1||A1|TRIAGE^Head CT triage for intracerebral hemorrhage^99HEMAPATCH|||20240506070809+0100|||||||||||A1||||20240506070955+0200||CT|P",
            "TQ1|1||||||||S",
            "OBX|1|CWE|OUTCOME^Triage outcome^99HEMAPATCH||alert^Intracerebral hemorrhage suspected^99HEMAPATCH|||AA|||P",
            "OBX|2|ST|110180^Study Instance UID^DCM||1.2.3||||||P",
            "OBX|3|NM|REVISION^Number of the verdict^99HEMAPATCH||1||||||P",
            "OBX|4|NM|PROBABILITY^Probability of hematoma^99HEMAPATCH||0.97|1^no units^UCUM|||||P",
            "OBX|5|NM|118565006^Volume^SCT||12.3|mL^milliliter^UCUM|||||P",
            "OBX|6|TX|NOTICE^Intended use^99HEMAPATCH||For research use only. Not a medical device, not for diagnosis or treatment.||||||P",
        ];
        let message = written(&order).replace(&control_id("1.2.3-1-alert"), "CONTROL");
        assert_eq!(message.split_terminator('\r').collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_study_time_is_whole_or_not_there() {
        let time = |date: &str, time: &str, zone: &str| {
            let order = Order {
                study_date: date.into(),
                study_time: time.into(),
                zone: zone.into(),
                ..Order::default()
            };
            study_time(&order)
        };
        assert_eq!(time("20240506", "070809.123", "+0100"), "20240506070809+0100");
        assert_eq!(time("20240506", "0708", ""), "202405060708");
        assert_eq!(time("20240506", "07", "-0500"), "20240506");
        assert_eq!(time("20240506", "070809", "CET|"), "20240506070809");
        assert_eq!(time("", "070809", "+0100"), "");
        assert_eq!(time("2024.05.06", "070809", ""), "");
    }

    #[test]
    fn only_the_acknowledgement_of_this_message_counts() {
        let answer = |msa: &str| format!("MSH|^~\\&|RIS||HEMAPATCH||2024||ACK|1|P|2.5.1\r{msa}\r");
        assert_eq!(acknowledgement(&answer("MSA|AA|ID"), "ID"), Some("AA"));
        assert_eq!(acknowledgement(&answer("MSA|AE|ID|why"), "ID"), Some("AE"));
        assert_eq!(acknowledgement(&answer("MSA|AA|OTHER"), "ID"), None);
        // What says no may not know to what.
        assert_eq!(acknowledgement(&answer("MSA|AR||why"), "ID"), Some("AR"));
        assert_eq!(acknowledgement(&answer("MSA|AA|"), "ID"), None);
        assert_eq!(acknowledgement(&answer("MSA|||"), "ID"), None);
        assert_eq!(acknowledgement(&answer("MSAX|AA|ID"), "ID"), None);
        assert_eq!(acknowledgement("MSA|AA|ID", "ID"), None);
        assert_eq!(acknowledgement("", "ID"), None);
        assert_eq!(control_id("x").len(), 20);
    }

    proptest! {
        #[test]
        fn nothing_in_a_header_changes_the_form_of_a_message(
            name in proptest::collection::vec("\\PC{0,20}|[|^&~\\\\\r\n\u{b}\u{1c}]{0,9}", 0..7),
            id in "\\PC{0,20}|[|^&~\\\\\r\n\u{b}\u{1c}]{0,9}",
            accession in "\\PC{0,20}|[|^&~\\\\\r\n\u{b}\u{1c}]{0,9}",
        ) {
            let plain = Order { name: vec!["A".into(); 5], patient_id: "A".into(), issuer: "A".into(), ..Order::default() };
            let wild = Order { name, patient_id: id.clone(), issuer: id, accession_number: accession, ..Order::default() };
            let (plain, wild) = (written(&plain), written(&wild));
            let breaks = wild.contains(['\n', '\u{b}', '\u{1c}']);
            prop_assert!(!breaks);
            let names = |message: &str| message.split('\r').map(|segment| segment[..segment.len().min(3)].to_owned()).collect::<Vec<_>>();
            prop_assert_eq!(names(&plain), names(&wild));
            let fields = |message: &str| message.split('\r').nth(2).unwrap().split('|').count();
            prop_assert_eq!(fields(&plain), fields(&wild));
        }
    }
}
