//! DIMSE command sets: what one asks for, and what one is answered.
//! Carrying them is left to `wire`, doing what they say to `receive`.
//!
//! # Source
//! DICOM PS3.7 9.3 (C-STORE, C-ECHO), 10.3 (N-ACTION, N-EVENT-REPORT), E.1 (dictionary), 6.3.1 (implicit VR little
//! endian, always).

use dicom_dictionary_std::uids;

use super::COMMITMENT;

/// No command set that is answered here is longer.
pub const MOST_BYTES: usize = 4096;

/// The value of CommandDataSetType that says that no data set follows.
const NO_DATA_SET: u16 = 0x0101;

/// What an operation is called, by CommandField.
pub mod field {
    /// To keep an object.
    pub const C_STORE_RQ: u16 = 0x0001;
    /// To answer.
    pub const C_ECHO_RQ: u16 = 0x0030;
    /// To give up an operation.
    pub const C_CANCEL_RQ: u16 = 0x0FFF;
    /// To hear of something.
    pub const N_EVENT_REPORT_RQ: u16 = 0x0100;
    /// To do something.
    pub const N_ACTION_RQ: u16 = 0x0130;
    /// Set in answers.
    pub const RESPONSE: u16 = 0x8000;
}

/// How an operation ended.
///
/// # Source
/// DICOM PS3.7 annex C, PS3.4 B.2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Status {
    /// As it should.
    Success = 0x0000,
    /// The class of the object is not what its context was agreed on for.
    SopClassNotSupported = 0x0122,
    /// Another object has this UID.
    DuplicateInstance = 0x0111,
    /// It is none that is served.
    UnrecognizedOperation = 0x0211,
    /// There is no room now.
    OutOfResources = 0xA700,
    /// The object is not the one announced.
    DataSetDoesNotMatchClass = 0xA900,
    /// The object cannot be read.
    CannotUnderstand = 0xC000,
}

/// A command set of which everything is there that is needed to answer it, or to understand it as an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What operation it asks for or answers.
    pub field: u16,
    /// In an answer, that of what it answers.
    pub message_id: u16,
    /// Whether a data set follows.
    pub has_data_set: bool,
    /// Of the object; empty where there is none.
    pub sop_class_uid: String,
    /// Of the object; empty where there is none.
    pub sop_instance_uid: String,
    /// In an answer, how the operation ended.
    pub status: Option<u16>,
    /// What an N-EVENT-REPORT reports.
    pub event_type: Option<u16>,
}

impl Command {
    /// Reads a whole command set; None where it is not one.
    pub fn read(mut bytes: &[u8]) -> Option<Command> {
        let (mut field, mut message_id, mut data_set) = (None, None, None);
        let (mut status, mut event_type) = (None, None);
        let (mut sop_class_uid, mut sop_instance_uid) = (String::new(), String::new());
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_first_chunk::<8>()?;
            let [g0, g1, e0, e1, length @ ..] = *head;
            let (value, rest) = rest.split_at_checked(u32::from_le_bytes(length) as usize)?;
            bytes = rest;
            if u16::from_le_bytes([g0, g1]) != 0 {
                return None;
            }
            let number = || Some(u16::from_le_bytes(value.try_into().ok()?));
            match u16::from_le_bytes([e0, e1]) {
                // Affected or requested: no operation has both.
                0x0002 | 0x0003 => sop_class_uid = uid(value)?,
                0x0100 => field = Some(number()?),
                0x0110 | 0x0120 => message_id = Some(number()?),
                0x0800 => data_set = Some(number()?),
                0x0900 => status = Some(number()?),
                0x1000 | 0x1001 => sop_instance_uid = uid(value)?,
                0x1002 => event_type = Some(number()?),
                // Priorities, originators: nothing depends on them.
                _ => {}
            }
        }
        let has_data_set = data_set? != NO_DATA_SET;
        // A C-CANCEL has another element in its place.
        let message_id = message_id.or((field? == field::C_CANCEL_RQ).then_some(0))?;
        let field = field?;
        Some(Command { field, message_id, has_data_set, sop_class_uid, sop_instance_uid, status, event_type })
    }

    /// Whether it answers another one.
    pub fn is_answer(&self) -> bool {
        self.field & field::RESPONSE != 0
    }

    /// The command set that answers it. A comment, of which 64 letters are sent, says why something failed.
    pub fn answer(&self, status: Status, comment: &str) -> Vec<u8> {
        let mut set = Set::default();
        if !self.sop_class_uid.is_empty() {
            set.text(0x0002, &self.sop_class_uid);
        }
        set.number(0x0100, self.field | field::RESPONSE);
        set.number(0x0120, self.message_id);
        set.number(0x0800, NO_DATA_SET);
        set.number(0x0900, status as u16);
        if !comment.is_empty() {
            // LO: 64 letters, without backslashes.
            let letter =
                |c: char| if c == '\\' || !c.is_ascii() || c.is_ascii_control() { b'?' } else { c as u8 };
            set.add(0x0902, &comment.chars().take(64).map(letter).collect::<Vec<_>>(), b' ');
        }
        if !self.sop_instance_uid.is_empty() {
            set.text(0x1000, &self.sop_instance_uid);
        }
        if let Some(event_type) = self.event_type {
            set.number(0x1002, event_type);
        }
        set.finish()
    }
}

/// The request to keep an object, which follows.
pub fn store(message_id: u16, sop_class_uid: &str, sop_instance_uid: &str) -> Vec<u8> {
    let mut set = Set::default();
    set.text(0x0002, sop_class_uid);
    set.number(0x0100, field::C_STORE_RQ);
    set.number(0x0110, message_id);
    // Medium: the priority of a queue that nobody is known to have.
    set.number(0x0700, 0);
    set.number(0x0800, 0);
    set.text(0x1000, sop_instance_uid);
    set.finish()
}

/// The question whether somebody is there.
pub fn echo(message_id: u16) -> Vec<u8> {
    let mut set = Set::default();
    set.text(0x0002, uids::VERIFICATION);
    set.number(0x0100, field::C_ECHO_RQ);
    set.number(0x0110, message_id);
    set.number(0x0800, NO_DATA_SET);
    set.finish()
}

/// The question whether objects, listed in a data set that follows, are kept for good.
///
/// # Source
/// DICOM PS3.4 J.3.2: action 1 of the only instance of its class.
pub fn commit(message_id: u16) -> Vec<u8> {
    let mut set = Set::default();
    set.text(0x0003, COMMITMENT.0);
    set.number(0x0100, field::N_ACTION_RQ);
    set.number(0x0110, message_id);
    set.number(0x0800, 0);
    set.text(0x1001, COMMITMENT.1);
    set.number(0x1008, 1);
    set.finish()
}

/// A command set in the making: elements in ascending order.
#[derive(Default)]
struct Set(Vec<u8>);

impl Set {
    fn add(&mut self, number: u16, value: &[u8], padding: u8) {
        self.0.extend(0u16.to_le_bytes());
        self.0.extend(number.to_le_bytes());
        self.0.extend((value.len().next_multiple_of(2) as u32).to_le_bytes());
        self.0.extend(value);
        if !value.len().is_multiple_of(2) {
            self.0.push(padding);
        }
    }

    fn text(&mut self, number: u16, uid: &str) {
        self.add(number, uid.as_bytes(), 0);
    }

    fn number(&mut self, number: u16, value: u16) {
        self.add(number, &value.to_le_bytes(), 0);
    }

    /// With its length before it.
    fn finish(self) -> Vec<u8> {
        let mut set = vec![0, 0, 0, 0, 4, 0, 0, 0];
        set.extend((self.0.len() as u32).to_le_bytes());
        set.extend(self.0);
        set
    }
}

/// A UID of a command; None where it is none, since it becomes part of a file.
pub(super) fn uid(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim_end_matches(['\0', ' ']);
    let is_uid = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_uid.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request_read() -> Command {
        Command {
            field: field::C_STORE_RQ,
            message_id: 7,
            has_data_set: true,
            sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".into(),
            sop_instance_uid: "1.2.3".into(),
            status: None,
            event_type: None,
        }
    }

    fn element(number: u16, value: &[u8]) -> Vec<u8> {
        let head = [&[0, 0][..], &number.to_le_bytes(), &(value.len() as u32).to_le_bytes()].concat();
        [head, value.to_vec()].concat()
    }

    fn request() -> Vec<u8> {
        [
            element(0x0000, &[0; 4]),
            element(0x0002, b"1.2.840.10008.5.1.4.1.1.2\0"),
            element(0x0100, &1u16.to_le_bytes()),
            element(0x0110, &7u16.to_le_bytes()),
            element(0x0700, &0u16.to_le_bytes()),
            element(0x0800, &0u16.to_le_bytes()),
            element(0x1000, b"1.2.3\0"),
        ]
        .concat()
    }

    #[test]
    fn requests_are_read() {
        assert_eq!(Command::read(&request()), Some(request_read()));
        let echo = [
            element(0x0100, &0x30u16.to_le_bytes()),
            element(0x0110, &1u16.to_le_bytes()),
            element(0x0800, &0x0101u16.to_le_bytes()),
        ];
        let echo = Command::read(&echo.concat()).unwrap();
        assert_eq!((echo.field, echo.message_id, echo.has_data_set), (field::C_ECHO_RQ, 1, false));
    }

    #[test]
    fn what_is_asked_is_read_back() {
        let asked = Command::read(&store(7, "1.2.840.10008.5.1.4.1.1.2", "1.2.3")).unwrap();
        assert_eq!(asked, request_read());
        let asked = Command::read(&echo(3)).unwrap();
        assert_eq!((asked.field, asked.message_id, asked.has_data_set), (field::C_ECHO_RQ, 3, false));
        let asked = Command::read(&commit(9)).unwrap();
        assert_eq!((asked.field, asked.message_id, asked.has_data_set), (field::N_ACTION_RQ, 9, true));
        assert_eq!((&*asked.sop_class_uid, &*asked.sop_instance_uid), COMMITMENT);
        let report = Command { field: field::N_EVENT_REPORT_RQ, event_type: Some(2), ..asked };
        let answer = Command::read(&report.answer(Status::Success, "")).unwrap();
        assert!(answer.is_answer());
        assert_eq!((answer.message_id, answer.status, answer.event_type), (9, Some(0), Some(2)));
    }

    #[test]
    fn what_is_no_command_set_is_none() {
        let whole = request();
        for end in 0..whole.len() {
            // Only at the end of an element that was the last needed one could it be whole.
            let _ = Command::read(&whole[..end]);
        }
        assert_eq!(Command::read(&whole[..whole.len() - 1]), None);
        assert_eq!(Command::read(&[]), None);
        assert_eq!(Command::read(&[0xFF; 100]), None);
        let path = [request(), element(0x1000, b"../etc")].concat();
        assert_eq!(Command::read(&path), None);
        let huge = [element(0x0002, b""), vec![0, 0, 2, 0, 0xFF, 0xFF, 0xFF, 0xFF]].concat();
        assert_eq!(Command::read(&huge), None);
    }

    #[test]
    fn answers_tell_what_became_of_the_request() {
        let answer = request_read().answer(Status::OutOfResources, &"no room \\ \u{1b} ".repeat(20));
        assert_eq!(answer.len() % 2, 0);
        let length = u32::from_le_bytes(answer[8..12].try_into().unwrap()) as usize;
        assert_eq!(length, answer.len() - 12);
        let has = |part: &[u8]| answer.windows(part.len()).any(|window| window == part);
        assert!(has(&element(0x0100, &0x8001u16.to_le_bytes())));
        assert!(has(&element(0x0120, &7u16.to_le_bytes())));
        assert!(has(&element(0x0900, &0xA700u16.to_le_bytes())));
        assert!(has(&element(0x0902, &"no room ? ? ".repeat(20).as_bytes()[..64])));
        assert!(has(&element(0x1000, b"1.2.3\0")));
    }
}
