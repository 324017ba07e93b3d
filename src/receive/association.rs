//! One association, from its request to its end.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AbortRQSource, AssociationRQ, PDataValue, PDataValueType, Pdu,
};

use super::negotiate::{Context, negotiate, no_room};
use super::store::{Incoming, Refused, Stored};
use super::{Event, Settings};
use crate::dimse::{COMMITMENT, Command, MOST_BYTES, Report, Status, Unit, Value, Wire, WireError, field};
use crate::limits::Limits;
use crate::net::Timed;
use crate::spool::Spool;

/// Bytes of a report on what an archive keeps.
const MOST_REPORT: usize = 1 << 20;

/// Why a peer is turned away that may come again.
pub const NO_ROOM: &str = "too many associations at once";

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
pub fn converse<S: Timed>(
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

/// Tells a peer to come again later, once it has said what it wants: an answer before that may be lost with the connection.
pub fn turn_away<S: Timed>(stream: S, settings: &Settings) -> End {
    let mut wire = Wire::new(stream, settings.pdu_bytes);
    match request(&mut wire, settings) {
        Ok(_) => {
            let _ = wire.send(&no_room().into());
            End::Rejected(NO_ROOM)
        }
        Err(end) => end,
    }
}

fn request<S: Timed>(wire: &mut Wire<S>, settings: &Settings) -> Result<AssociationRQ, End> {
    match wire.read(settings.patience, settings.patience) {
        Ok(Unit::Other(Pdu::AssociationRQ(request))) => Ok(request),
        Ok(_) => Err(End::Aborted("no request for an association".to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// The request and its answer.
fn begin<S: Timed>(wire: &mut Wire<S>, from: IpAddr, settings: &Settings) -> Result<Vec<Context>, End> {
    let request = request(wire, settings)?;
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
        let (mut answers, mut ended) = (Vec::new(), Ok(()));
        match wire.read(idle, self.settings.patience)? {
            Unit::Data(values) => {
                for value in values {
                    match self.take(value) {
                        Ok(answer) => answers.extend(answer),
                        // What came of the values before it is told all the same.
                        Err(end) => {
                            ended = Err(end);
                            break;
                        }
                    }
                }
            }
            Unit::Other(Pdu::ReleaseRQ) => {
                let _ = wire.send(&Pdu::ReleaseRP);
                return Err(End::Released);
            }
            Unit::Other(Pdu::AbortRQ { .. }) => return Err(End::Gone("it aborted".to_owned())),
            Unit::Other(_) => return Err(aborted("a unit that has no place in an association")),
        }
        for (presentation_context_id, data) in answers {
            let value_type = PDataValueType::Command;
            let value = PDataValue { presentation_context_id, value_type, is_last: true, data };
            wire.send(&Pdu::PData { data: vec![value] })?;
        }
        ended
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::{APPLICATION_CONTEXT, AeTitle};
    use crate::receive::Peer;
    use dicom_ul::pdu::{AssociationRQ, PresentationContextProposed, write_pdu};
    use std::io::{self, Read, Write};

    const TIME: Duration = Duration::from_secs(60);

    /// A peer that has said everything already.
    struct Said<'a> {
        said: &'a [u8],
        heard: &'a mut Vec<u8>,
    }

    impl Read for Said<'_> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            self.said.read(bytes)
        }
    }

    impl Write for Said<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.heard.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Timed for Said<'_> {
        fn set_patience(&mut self, _: Duration) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_came_before_a_fault_of_the_same_unit_is_answered() {
        // The promise of the fuzz target `association`: an object was kept and not acknowledged where its last part and something
        // that ends the association came in one unit.
        let title = |text: &str| AeTitle::try_from(text.to_owned()).unwrap();
        let settings = Settings {
            ae_title: title("HEMAPATCH"),
            peers: vec![Peer { ae_title: title("CT1"), address: "127.0.0.1".parse().unwrap() }],
            tls: None,
            associations: 1,
            associations_per_second: 1,
            pdu_bytes: 65_536,
            object_bytes: 1,
            idle: TIME,
            patience: TIME,
            object_time: TIME,
            reports: false,
        };
        let request = AssociationRQ {
            protocol_version: 1,
            calling_ae_title: "CT1".to_owned(),
            called_ae_title: "HEMAPATCH".to_owned(),
            application_context_name: APPLICATION_CONTEXT.to_owned(),
            presentation_contexts: vec![PresentationContextProposed {
                id: 1,
                abstract_syntax: "1.2.840.10008.1.1".to_owned(),
                transfer_syntaxes: vec!["1.2.840.10008.1.2".to_owned()],
            }],
            user_variables: Vec::new(),
        };
        let element = |number: u16, value: u16| {
            [&[0, 0][..], &number.to_le_bytes(), &[2, 0, 0, 0], &value.to_le_bytes()].concat()
        };
        let echo = [element(0x0100, field::C_ECHO_RQ), element(0x0110, 7), element(0x0800, 0x0101)].concat();
        let value = |presentation_context_id, data| {
            let value_type = PDataValueType::Command;
            PDataValue { presentation_context_id, value_type, is_last: true, data }
        };
        let mut said = Vec::new();
        write_pdu(&mut said, &request.into()).unwrap();
        write_pdu(&mut said, &Pdu::PData { data: vec![value(1, echo), value(99, Vec::new())] }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 0).unwrap();
        let (mut heard, mut nothing) = (Vec::new(), Vec::new());
        let peer = Said { said: &said, heard: &mut heard };
        let end =
            converse(peer, "127.0.0.1".parse().unwrap(), &settings, &spool, &Limits::default(), &|_| {});
        assert_eq!(end, aborted("data in a context that was not agreed on"));
        let mut wire = Wire::new(Said { said: &heard, heard: &mut nothing }, 65_536);
        assert!(matches!(wire.read(TIME, TIME), Ok(Unit::Other(Pdu::AssociationAC(_)))));
        let Ok(Unit::Data(mut values)) = wire.read(TIME, TIME) else { panic!("no answer") };
        let answer = Command::read(values.next().unwrap().data).unwrap();
        assert_eq!((answer.message_id, answer.status), (7, Some(0)));
        assert!(matches!(wire.read(TIME, TIME), Ok(Unit::Other(Pdu::AbortRQ { .. }))));
    }
}
