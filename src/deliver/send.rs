//! Objects over DICOM: C-STORE, and the question whether they are kept.
//!
//! # Source
//! DICOM PS3.4 annexes B (storage) and J (storage commitment).

use std::time::{Duration, Instant};

use dicom_dictionary_std::uids;

use super::objects::Object;
use super::{Dicom, Failure, Fate, fate};
use crate::dimse::{self, COMMITMENT, Proposal, Report, Requestor, Status, field};
use crate::spool::SpoolError;

/// Time for an answer: an archive may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time for the report to come on the association on which it was asked for.
const REPORT: Duration = Duration::from_secs(5);

/// An association for objects, and for the question.
pub fn connect(to: &Dicom, objects: &[Object]) -> Result<Requestor, Failure> {
    let mut proposals: Vec<Proposal> = Vec::new();
    for object in objects {
        // As it is; and as everybody has to understand.
        for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN] {
            let proposal = Proposal { class: object.class_uid.clone(), syntax };
            if !proposals.contains(&proposal) {
                proposals.push(proposal);
            }
        }
    }
    if to.commit {
        proposals.push(Proposal { class: COMMITMENT.0.to_owned(), syntax: uids::IMPLICIT_VR_LITTLE_ENDIAN });
    }
    let tls = to.client().map_err(Failure::Peer)?;
    Ok(Requestor::connect(&to.address, tls.as_ref(), &to.calling, &to.ae_title, &proposals, PATIENCE)?)
}

/// Sends objects; `note` hears of each what became of it.
pub fn store(
    association: &mut Requestor,
    objects: &[Object],
    note: &mut dyn FnMut(&Object, Fate) -> Result<(), SpoolError>,
) -> Result<(), Failure> {
    for object in objects {
        let Some((context, syntax)) = association.context(&object.class_uid) else {
            note(object, Fate::Refused(format!("the class {} is not taken", object.class_uid)))?;
            continue;
        };
        let command = |number| dimse::store(number, &object.class_uid, &object.instance_uid);
        let status = if syntax == object.syntax {
            association.ask(context, command, object.data())?
        } else {
            match object.implicit() {
                Ok(data) => association.ask(context, command, &data)?,
                Err(why) => {
                    note(object, Fate::Refused(format!("it cannot be written in implicit VR: {why}")))?;
                    continue;
                }
            }
        };
        note(object, fate(status))?;
    }
    Ok(())
}

/// Asks whether objects are kept. The report, where it comes on this association while `is_wanted`.
pub fn commit(
    mut association: Requestor,
    transaction_uid: &str,
    objects: &[Object],
    is_wanted: impl Fn() -> bool,
) -> Result<Option<Report>, Failure> {
    let Some((context, _)) = association.context(COMMITMENT.0) else {
        association.release();
        let why = "it does not offer storage commitment; where it never will, set commit = false";
        return Err(Failure::Objects(why.to_owned()));
    };
    let pairs: Vec<(String, String)> =
        objects.iter().map(|object| (object.class_uid.clone(), object.instance_uid.clone())).collect();
    let status = association.ask(context, dimse::commit, &dimse::request(transaction_uid, &pairs))?;
    if status != 0 {
        association.release();
        return Err(Failure::Objects(format!(
            "it answers the question whether it keeps them with {status:04X}"
        )));
    }
    let (since, mut report) = (Instant::now(), None);
    while report.is_none() && is_wanted() && since.elapsed() < REPORT {
        // Whatever ends the association now: it is reported on another one, or asked for again.
        let Ok(heard) = association.hear(Duration::from_millis(200)) else { return Ok(None) };
        let Some(message) = heard else { continue };
        let is_report = message.command.field == field::N_EVENT_REPORT_RQ;
        report = Report::read(&message.data).filter(|_| is_report);
        let status = if report.is_some() { Status::Success } else { Status::UnrecognizedOperation };
        if association.answer(message.context, &message.command.answer(status, "")).is_err() {
            return Ok(report);
        }
    }
    association.release();
    Ok(report)
}

/// A UID that nobody else makes.
///
/// # Source
/// DICOM PS3.5 B.2: 2.25 and a random UUID as a decimal number.
pub fn new_uid() -> String {
    let mut bytes = [0; 16];
    // Never fails on systems that this runs on; two transactions would only share a name.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    // RFC 9562 5.4: version 4, variant 10.
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    format!("2.25.{}", u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use dicom_ul::association::server::ServerAssociationOptions;
    use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};

    use super::*;
    use crate::dimse::Command;

    /// Takes what it is sent on one association, in implicit VR little endian alone; where it listens.
    fn archive() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let options = ServerAssociationOptions::new()
                .accept_any()
                .with_abstract_syntax("1.2")
                .with_transfer_syntax(uids::IMPLICIT_VR_LITTLE_ENDIAN);
            let mut association = options.establish(listener.accept().unwrap().0).unwrap();
            let mut command = None;
            while let Ok(Pdu::PData { data }) = association.receive() {
                for value in data {
                    if value.value_type == PDataValueType::Command {
                        command = Command::read(&value.data);
                        continue;
                    }
                    let answer = command.take().unwrap().answer(Status::Success, "");
                    let value = PDataValue {
                        value_type: PDataValueType::Command,
                        data: answer,
                        is_last: true,
                        ..value
                    };
                    association.send(&Pdu::PData { data: vec![value] }).unwrap();
                }
            }
            let _ = association.send(&Pdu::ReleaseRP);
        });
        address
    }

    #[test]
    fn an_object_that_cannot_be_written_as_its_archive_wants_it_holds_up_no_other() {
        let to = serde_json::json!({ "address": archive(), "ae_title": "PACS", "commit": false });
        let to: Dicom = serde_json::from_value(to).unwrap();
        let mut plain = Object::sample("1.2.4");
        plain.syntax = uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned();
        // The first is no data set at all.
        let objects = [Object::sample("1.2.3"), plain];
        let mut association = connect(&to, &objects).unwrap();
        let mut fates = Vec::new();
        store(&mut association, &objects, &mut |object, fate| {
            fates.push((object.instance_uid.clone(), fate));
            Ok(())
        })
        .unwrap();
        association.release();
        assert!(matches!(&fates[0].1, Fate::Refused(why) if why.contains("implicit VR")), "{fates:?}");
        assert_eq!(fates[1..], [("1.2.4".to_owned(), Fate::Taken)]);
    }
}
