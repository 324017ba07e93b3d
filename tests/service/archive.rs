//! An archive that answers as a test wants it to.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{TcpListener, TcpStream};

use dicom_ul::association::server::{ServerAssociation, ServerAssociationOptions};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use hemapatch::dimse::{COMMITMENT, Command, Status};

use super::command_set;

/// What it says.
pub enum Answer {
    /// How the operation ended.
    Status(Status),
    /// It succeeded; and then, on the same association, an event with its type and data set.
    Event(u16, Vec<u8>),
}

/// Serves so many associations, one after the other. `answer` hears of each command and its data set.
pub fn serve(listener: &TcpListener, associations: usize, mut answer: impl FnMut(&Command, &[u8]) -> Answer) {
    for _ in 0..associations {
        let (stream, _) = listener.accept().unwrap();
        let mut options = ServerAssociationOptions::new().ae_title("PACS").accept_any();
        for class in ["88.34", "66.4", "7", "7.4"] {
            options = options.with_abstract_syntax(format!("1.2.840.10008.5.1.4.1.1.{class}"));
        }
        let mut association = options.with_abstract_syntax(COMMITMENT.0).establish(stream).unwrap();
        while let Some((context, command, data)) = hear(&mut association) {
            if command.is_answer() {
                continue;
            }
            let (status, event) = match answer(&command, &data) {
                Answer::Status(status) => (status, None),
                Answer::Event(event_type, data) => (Status::Success, Some((event_type, data))),
            };
            say(&mut association, context, PDataValueType::Command, command.answer(status, ""));
            if let Some((event_type, data)) = event {
                let event = command_set(&[
                    (0x0002, COMMITMENT.0.as_bytes()),
                    (0x0100, &0x0100u16.to_le_bytes()),
                    (0x0110, &1u16.to_le_bytes()),
                    (0x0800, &0u16.to_le_bytes()),
                    (0x1000, COMMITMENT.1.as_bytes()),
                    (0x1002, &event_type.to_le_bytes()),
                ]);
                say(&mut association, context, PDataValueType::Command, event);
                say(&mut association, context, PDataValueType::Data, data);
            }
        }
        let _ = association.send(&Pdu::ReleaseRP);
    }
}

/// The next message; None where the peer has no more to say.
fn hear(association: &mut ServerAssociation<TcpStream>) -> Option<(u8, Command, Vec<u8>)> {
    let (mut command, mut data) = (None, Vec::new());
    loop {
        let Ok(Pdu::PData { data: values }) = association.receive() else { return None };
        for value in values {
            match value.value_type {
                PDataValueType::Command => command = Command::read(&value.data),
                PDataValueType::Data => data.extend(value.data),
            }
            let has_data_set = command.as_ref().is_some_and(|command| command.has_data_set);
            if value.is_last && (value.value_type == PDataValueType::Data || !has_data_set) {
                return Some((value.presentation_context_id, command?, data));
            }
        }
    }
}

fn say(
    association: &mut ServerAssociation<TcpStream>,
    presentation_context_id: u8,
    value_type: PDataValueType,
    data: Vec<u8>,
) {
    let value = PDataValue { presentation_context_id, value_type, is_last: true, data };
    // Whether the peer hears it is the peer's concern.
    let _ = association.send(&Pdu::PData { data: vec![value] });
}
