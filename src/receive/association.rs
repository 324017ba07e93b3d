//! One association, from its request to its end.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use dicom_ul::pdu::{AbortRQServiceProviderReason, AbortRQSource, PDataValue, PDataValueType, Pdu};

use super::negotiate::{Context, negotiate};
use super::store::{Incoming, Refused, Stored};
use super::{Event, Settings};
use crate::dimse::{COMMITMENT, Command, MOST_BYTES, Report, Status, Unit, Value, Wire, WireError, field};
use crate::limits::Limits;
use crate::net::Timed;
use crate::spool::Spool;

/// Bytes of a report on what an archive keeps.
const MOST_REPORT: usize = 1 << 20;

/// How an association ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// As it should, on the peer's request.
    Released,
    /// The peer gave up or is gone.
    Gone(String),
    /// The peer was not let in.
    Rejected(&'static str),
    /// The peer broke the protocol or a limit.
    Aborted(String),
}

/// What is to be done with the data set that comes next.
enum Expected<'a> {
    /// None comes.
    Nothing,
    /// It is an object.
    Object(Command, Incoming<'a>),
    /// It is a report on what an archive keeps.
    Report(Command, Vec<u8>),
    /// It belongs to something that failed: it is read over, and then answered so.
    Refused(Command, Refused),
}

/// Serves a connection until it ends. `tell` hears of each object.
pub fn serve<S: Timed>(
    stream: S,
    from: IpAddr,
    settings: &Settings,
    spool: &Spool,
    limits: &Limits,
    tell: &dyn Fn(Event),
) -> End {
    let mut wire = Wire::new(stream, settings.pdu_bytes);
    let contexts = match begin(&mut wire, from, settings) {
        Ok(contexts) => contexts,
        Err(end) => return end,
    };
    let mut association = Association {
        settings,
        spool,
        limits,
        tell,
        contexts,
        command: Vec::new(),
        expected: Expected::Nothing,
        since: Instant::now(),
    };
    loop {
        match association.step(&mut wire) {
            Ok(()) => {}
            Err(End::Aborted(why)) => {
                let source = AbortRQSource::ServiceProvider(AbortRQServiceProviderReason::ReasonNotSpecified);
                // Whether the peer hears it changes nothing.
                let _ = wire.send(&Pdu::AbortRQ { source });
                return End::Aborted(why);
            }
            Err(end) => return end,
        }
    }
}

/// The request and its answer.
fn begin<S: Timed>(wire: &mut Wire<S>, from: IpAddr, settings: &Settings) -> Result<Vec<Context>, End> {
    let request = match wire.read(settings.patience, settings.patience) {
        Ok(Unit::Other(Pdu::AssociationRQ(request))) => request,
        Ok(_) => return Err(End::Aborted("no request for an association".to_owned())),
        Err(error) => return Err(error.into()),
    };
    match negotiate(&request, from, settings) {
        Ok((answer, contexts)) => {
            wire.send(&answer.into())?;
            Ok(contexts)
        }
        Err((answer, why)) => {
            let _ = wire.send(&answer.into());
            Err(End::Rejected(why))
        }
    }
}

struct Association<'a> {
    settings: &'a Settings,
    spool: &'a Spool,
    limits: &'a Limits,
    tell: &'a dyn Fn(Event),
    contexts: Vec<Context>,
    /// The parts of a command that have come.
    command: Vec<u8>,
    expected: Expected<'a>,
    /// When the object that is being sent began.
    since: Instant,
}

/// An answer to be sent.
type Answer = (u8, Vec<u8>);

impl Association<'_> {
    /// Reads a unit and does what it says.
    fn step<S: Timed>(&mut self, wire: &mut Wire<S>) -> Result<(), End> {
        // Between two objects a scanner may reconstruct the next slice.
        let idle = match self.expected {
            Expected::Nothing => self.settings.idle,
            _ => self.settings.patience.min(self.left()?),
        };
        let answers = match wire.read(idle, self.settings.patience)? {
            Unit::Data(values) => {
                let mut answers = Vec::new();
                for value in values {
                    answers.extend(self.take(value)?);
                }
                answers
            }
            Unit::Other(Pdu::ReleaseRQ) => {
                let _ = wire.send(&Pdu::ReleaseRP);
                return Err(End::Released);
            }
            Unit::Other(Pdu::AbortRQ { .. }) => return Err(End::Gone("it aborted".to_owned())),
            Unit::Other(_) => return Err(aborted("a unit that has no place in an association")),
        };
        for (presentation_context_id, data) in answers {
            let value_type = PDataValueType::Command;
            let value = PDataValue { presentation_context_id, value_type, is_last: true, data };
            wire.send(&Pdu::PData { data: vec![value] })?;
        }
        Ok(())
    }

    /// What is left of the time for an object: a peer that sends a byte now and then holds nothing for ever.
    fn left(&self) -> Result<Duration, End> {
        let left = self.settings.object_time.saturating_sub(self.since.elapsed());
        if left.is_zero() { Err(aborted("an object that takes too long")) } else { Ok(left) }
    }

    fn take(&mut self, value: Value<'_>) -> Result<Option<Answer>, End> {
        let context = self.contexts.iter().find(|context| context.id == value.context);
        let context = context.ok_or_else(|| aborted("data in a context that was not agreed on"))?.clone();
        if value.is_command {
            if !matches!(self.expected, Expected::Nothing) {
                return Err(aborted("a command within a data set"));
            }
            if self.command.len() + value.data.len() > MOST_BYTES {
                return Err(aborted("a command that is too long"));
            }
            self.command.extend(value.data);
            if !value.is_last {
                return Ok(None);
            }
            let command = Command::read(&self.command);
            self.command.clear();
            let command = command.ok_or_else(|| aborted("a command that cannot be read"))?;
            return Ok(self.begin(&context, command).map(|answer| (context.id, answer)));
        }
        match &mut self.expected {
            Expected::Nothing => return Err(aborted("a data set without a command")),
            Expected::Refused(..) => {}
            Expected::Object(command, incoming) => {
                if let Err(refused) = incoming.write(value.data) {
                    self.expected = Expected::Refused(command.clone(), refused);
                }
            }
            Expected::Report(_, report) => {
                if report.len() + value.data.len() > MOST_REPORT {
                    return Err(aborted("a report that is too long"));
                }
                report.extend(value.data);
            }
        }
        if !value.is_last {
            return Ok(None);
        }
        let (command, ended) = match std::mem::replace(&mut self.expected, Expected::Nothing) {
            Expected::Nothing => return Ok(None),
            Expected::Refused(command, refused) => (command, Err(refused)),
            Expected::Report(command, report) => {
                let answer = self.note(&command, &report);
                return Ok(Some((context.id, answer)));
            }
            Expected::Object(command, incoming) => {
                let ended = incoming.finish(&command, self.limits);
                (command, ended)
            }
        };
        Ok(Some((context.id, self.answer(&command, ended))))
    }

    /// Begins what a command asks for; Some where that is done already.
    fn begin(&mut self, context: &Context, command: Command) -> Option<Vec<u8>> {
        self.since = Instant::now();
        match command.field {
            field::C_ECHO_RQ if !command.has_data_set => Some(command.answer(Status::Success, "")),
            field::C_STORE_RQ if command.has_data_set => {
                let incoming = Incoming::begin(self.spool, context, &command, self.settings.object_bytes);
                self.expected = match incoming {
                    Ok(incoming) => Expected::Object(command, incoming),
                    Err(refused) => Expected::Refused(command, refused),
                };
                None
            }
            field::N_EVENT_REPORT_RQ if command.has_data_set && context.sop_class_uid == COMMITMENT.0 => {
                self.expected = Expected::Report(command, Vec::new());
                None
            }
            // There is nothing to cancel, and it has no answer.
            field::C_CANCEL_RQ => None,
            _ => {
                let why = "only C-STORE and C-ECHO are served";
                let refused =
                    Refused { status: Status::UnrecognizedOperation, why: why.into(), study_uid: None };
                if command.has_data_set {
                    self.expected = Expected::Refused(command, refused);
                    return None;
                }
                Some(command.answer(refused.status, &refused.why))
            }
        }
    }

    /// What an archive keeps. Whose question it answers is for others to find out.
    fn note(&self, command: &Command, report: &[u8]) -> Vec<u8> {
        match Report::read(report) {
            Some(report) => {
                (self.tell)(Event::Reported(report));
                command.answer(Status::Success, "")
            }
            None => command.answer(Status::CannotUnderstand, "no report on storage commitment"),
        }
    }

    fn answer(&self, command: &Command, ended: Result<Stored, Refused>) -> Vec<u8> {
        match ended {
            Ok(Stored { study_uid, again }) => {
                (self.tell)(Event::Stored { study_uid, again });
                command.answer(Status::Success, "")
            }
            Err(refused) => {
                let answer = command.answer(refused.status, &refused.why);
                let Refused { status, why, study_uid } = refused;
                (self.tell)(Event::Refused { study_uid, status: status as u16, why });
                answer
            }
        }
    }
}

fn aborted(why: &str) -> End {
    End::Aborted(why.to_owned())
}

impl From<WireError> for End {
    fn from(error: WireError) -> End {
        match error {
            WireError::Ended | WireError::CutOff | WireError::Io(_) => End::Gone(error.to_string()),
            _ => End::Aborted(error.to_string()),
        }
    }
}
