//! An association that we ask for.
//!
//! # Source
//! DICOM PS3.8 9.3.2, 9.3.3; PS3.7 annex D.

use std::io;
use std::time::{Duration, Instant};

use dicom_ul::pdu::{
    AssociationRQ, PDataValue, PDataValueType, Pdu, PresentationContextProposed,
    PresentationContextResultReason, UserVariableItem,
};
use thiserror::Error;

use super::{APPLICATION_CONTEXT, AeTitle, Command, MOST_BYTES, Unit, VERSION_NAME, Wire, WireError};
use crate::dicom::IMPLEMENTATION_UID;
use crate::net::{Client, Stream};

/// Bytes of a unit that we read and write, whatever more a peer would take.
const PDU_BYTES: u32 = 128 << 10;
/// Bytes of a unit before its data: those that its length counts.
const VALUE_HEAD: usize = 6;
/// Bytes of a data set that comes with a command.
const MOST_DATA: usize = 1 << 20;

/// A class, and the one way in which it would be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// UID of the class.
    pub class: String,
    /// UID of the transfer syntax.
    pub syntax: &'static str,
}

/// What a peer says.
#[derive(Debug)]
pub struct Message {
    /// The context it was said in.
    pub context: u8,
    /// What it is.
    pub command: Command,
    /// The data set that came with it.
    pub data: Vec<u8>,
}

/// Why a peer cannot be spoken with.
#[derive(Debug, Error)]
pub enum PeerError {
    /// There is nobody.
    #[error("{address}: {source}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// It does not speak with us.
    #[error("it rejects the association: {0}")]
    Rejected(String),
    /// It gave up.
    #[error("it aborted the association")]
    Aborted,
    /// It says what has no place.
    #[error("it {0}")]
    Odd(&'static str),
    /// The connection.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// An association that a peer accepted.
pub struct Requestor {
    wire: Wire<Stream>,
    /// Number, class and syntax of what was agreed on.
    contexts: Vec<(u8, Proposal)>,
    /// Bytes of data in a unit that it takes.
    part_bytes: usize,
    /// Time for an answer.
    patience: Duration,
    last_message: u16,
    /// Said while an answer was waited for.
    heard: Vec<Message>,
}

impl Requestor {
    /// Asks whoever listens at `address`, a name or number with a port, for an association; over TLS where it says how.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn connect(
        address: &str,
        tls: Option<&Client>,
        calling: &AeTitle,
        called: &AeTitle,
        proposals: &[Proposal],
        patience: Duration,
    ) -> Result<Requestor, PeerError> {
        let unreachable = |source| PeerError::Unreachable { address: address.to_owned(), source };
        let stream = Stream::connect(address, tls, patience).map_err(unreachable)?;
        let mut wire = Wire::new(stream, PDU_BYTES);
        // Numbers are odd.
        let numbered: Vec<(u8, Proposal)> = (1..=u8::MAX).step_by(2).zip(proposals.iter().cloned()).collect();
        let proposed = numbered.iter().map(|(id, proposal)| PresentationContextProposed {
            id: *id,
            abstract_syntax: proposal.class.clone(),
            transfer_syntaxes: vec![proposal.syntax.to_owned()],
        });
        wire.send(&Pdu::AssociationRQ(AssociationRQ {
            protocol_version: 1,
            calling_ae_title: calling.as_str().to_owned(),
            called_ae_title: called.as_str().to_owned(),
            application_context_name: APPLICATION_CONTEXT.to_owned(),
            presentation_contexts: proposed.collect(),
            user_variables: vec![
                UserVariableItem::MaxLength(PDU_BYTES),
                UserVariableItem::ImplementationClassUID(IMPLEMENTATION_UID.to_owned()),
                UserVariableItem::ImplementationVersionName(VERSION_NAME.to_owned()),
            ],
        }))?;
        let answer = match wire.read(patience, patience)? {
            Unit::Other(Pdu::AssociationAC(answer)) => answer,
            Unit::Other(Pdu::AssociationRJ(rejected)) => {
                return Err(PeerError::Rejected(format!("{:?}", rejected.source)));
            }
            Unit::Other(Pdu::AbortRQ { .. }) => return Err(PeerError::Aborted),
            _ => return Err(PeerError::Odd("does not answer the request for an association")),
        };
        let is_agreed = |id: u8| {
            answer
                .presentation_contexts
                .iter()
                .any(|result| result.id == id && result.reason == PresentationContextResultReason::Acceptance)
        };
        let contexts = numbered.into_iter().filter(|(id, _)| is_agreed(*id)).collect();
        let most = answer.user_variables.iter().find_map(|item| match item {
            UserVariableItem::MaxLength(bytes) => Some(*bytes),
            _ => None,
        });
        // Zero means no limit; less than this holds no command.
        let most = match most.unwrap_or(0) {
            0 => PDU_BYTES,
            bytes => bytes.clamp(1024, PDU_BYTES),
        };
        let part_bytes = most as usize - VALUE_HEAD;
        Ok(Requestor { wire, contexts, part_bytes, patience, last_message: 0, heard: Vec::new() })
    }

    /// What was agreed on for a class: number and syntax of the first proposal that was accepted.
    pub fn context(&self, class: &str) -> Option<(u8, &'static str)> {
        let agreed = self.contexts.iter().find(|(_, proposal)| proposal.class == class);
        agreed.map(|(id, proposal)| (*id, proposal.syntax))
    }

    /// Sends a command, made for the number of a message, with a data set, and waits for its answer's status.
    ///
    /// # Errors
    /// [`PeerError`]; the association is of no more use.
    pub fn ask(
        &mut self,
        context: u8,
        command: impl Fn(u16) -> Vec<u8>,
        data: &[u8],
    ) -> Result<u16, PeerError> {
        self.last_message = self.last_message.wrapping_add(1).max(1);
        let number = self.last_message;
        self.send(context, PDataValueType::Command, &command(number))?;
        self.send(context, PDataValueType::Data, data)?;
        loop {
            let message = self.read(self.patience)?;
            if !message.command.is_answer() {
                self.heard.push(message);
                if self.heard.len() > 16 {
                    return Err(PeerError::Odd("asks without end, and does not answer"));
                }
                continue;
            }
            if message.command.message_id != number {
                return Err(PeerError::Odd("answers what was not asked"));
            }
            return message.command.status.ok_or(PeerError::Odd("answers without a status"));
        }
    }

    /// What the peer asks for of its own accord; None where it asks for nothing in that time.
    ///
    /// # Errors
    /// [`PeerError`]; the association is of no more use.
    pub fn hear(&mut self, patience: Duration) -> Result<Option<Message>, PeerError> {
        if let Some(message) = self.heard.pop() {
            return Ok(Some(message));
        }
        match self.read(patience) {
            Ok(message) => Ok(Some(message)),
            Err(PeerError::Wire(WireError::Quiet)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends the command set that answers a message.
    ///
    /// # Errors
    /// [`PeerError`]; the association is of no more use.
    pub fn answer(&mut self, context: u8, command: &[u8]) -> Result<(), PeerError> {
        self.send(context, PDataValueType::Command, command)
    }

    /// Ends the association as it should be.
    pub fn release(mut self) {
        // Whether the peer hears it, and says so, changes nothing.
        if self.wire.send(&Pdu::ReleaseRQ).is_ok() {
            let _ = self.wire.read(Duration::from_secs(2), Duration::from_secs(2));
        }
    }

    fn send(&mut self, context: u8, value_type: PDataValueType, data: &[u8]) -> Result<(), PeerError> {
        let mut parts = data.chunks(self.part_bytes).peekable();
        while let Some(part) = parts.next() {
            let value = PDataValue {
                presentation_context_id: context,
                value_type: value_type.clone(),
                is_last: parts.peek().is_none(),
                data: part.to_vec(),
            };
            self.wire.send(&Pdu::PData { data: vec![value] })?;
        }
        Ok(())
    }

    /// The next message, which has to begin within a time.
    fn read(&mut self, mut idle: Duration) -> Result<Message, PeerError> {
        let until = Instant::now() + idle + self.patience;
        let (mut set, mut command, mut data, mut number) = (Vec::new(), None::<Command>, Vec::new(), None);
        loop {
            if Instant::now() > until {
                return Err(PeerError::Odd("sends a message too slowly"));
            }
            let begun = self.wire.read(idle, self.patience)?;
            idle = self.patience;
            let values = match begun {
                Unit::Data(values) => values,
                Unit::Other(Pdu::AbortRQ { .. }) => return Err(PeerError::Aborted),
                Unit::Other(_) => return Err(PeerError::Odd("says what has no place in an association")),
            };
            // One message at a time is spoken of, so no unit has parts of two.
            for value in values {
                if *number.get_or_insert(value.context) != value.context
                    || value.is_command == command.is_some()
                {
                    return Err(PeerError::Odd("mixes messages"));
                }
                let (whole, most) =
                    if value.is_command { (&mut set, MOST_BYTES) } else { (&mut data, MOST_DATA) };
                if whole.len() + value.data.len() > most {
                    return Err(PeerError::Odd("sends a message that is too long"));
                }
                whole.extend(value.data);
                if !value.is_last {
                    continue;
                }
                if value.is_command {
                    let read =
                        Command::read(&set).ok_or(PeerError::Odd("sends a command that cannot be read"))?;
                    command = Some(read);
                }
                if let Some(read) = &command
                    && (!value.is_command || !read.has_data_set)
                {
                    return Ok(Message { context: value.context, command: read.clone(), data });
                }
            }
        }
    }
}
