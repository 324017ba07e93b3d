//! DIMSE command sets: what a peer asks for, and what it is answered.
//! Carrying them is left to `wire`, doing what they say to `association`.
//!
//! # Source
//! DICOM PS3.7 9.3 (C-STORE, C-ECHO), E.1 (dictionary), 6.3.1 (implicit VR little endian, always).

/// No command set that is answered here is longer.
pub const MOST_BYTES: usize = 4096;

/// The value of CommandDataSetType that says that no data set follows.
const NO_DATA_SET: u16 = 0x0101;

/// What an operation is called, by CommandField.
pub mod field {
    pub const C_STORE_RQ: u16 = 0x0001;
    pub const C_ECHO_RQ: u16 = 0x0030;
    pub const C_CANCEL_RQ: u16 = 0x0FFF;
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
    Success = 0x0000,
    /// The class of the object is not what its context was agreed on for.
    SopClassNotSupported = 0x0122,
    DuplicateInstance = 0x0111,
    UnrecognizedOperation = 0x0211,
    OutOfResources = 0xA700,
    DataSetDoesNotMatchClass = 0xA900,
    CannotUnderstand = 0xC000,
}

/// A command set of which everything is there that is needed to answer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub field: u16,
    pub message_id: u16,
    pub has_data_set: bool,
    pub sop_class_uid: String,
    pub sop_instance_uid: String,
}

impl Command {
    /// Reads a whole command set; None where it is not one.
    pub fn read(mut bytes: &[u8]) -> Option<Command> {
        let (mut field, mut message_id, mut data_set) = (None, None, None);
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
                0x0002 => sop_class_uid = uid(value)?,
                0x0100 => field = Some(number()?),
                0x0110 => message_id = Some(number()?),
                0x0800 => data_set = Some(number()?),
                0x1000 => sop_instance_uid = uid(value)?,
                // Priorities, originators: nothing depends on them.
                _ => {}
            }
        }
        let has_data_set = data_set? != NO_DATA_SET;
        // A C-CANCEL has another element in its place.
        let message_id = message_id.or((field? == field::C_CANCEL_RQ).then_some(0))?;
        Some(Command { field: field?, message_id, has_data_set, sop_class_uid, sop_instance_uid })
    }

    /// The command set that answers it. A comment, of which 64 letters are sent, says why something failed.
    pub fn answer(&self, status: Status, comment: &str) -> Vec<u8> {
        let mut body = Vec::with_capacity(256);
        let mut element = |number: u16, value: &[u8], padding: u8| {
            body.extend(0u16.to_le_bytes());
            body.extend(number.to_le_bytes());
            body.extend((value.len().next_multiple_of(2) as u32).to_le_bytes());
            body.extend(value);
            if !value.len().is_multiple_of(2) {
                body.push(padding);
            }
        };
        if !self.sop_class_uid.is_empty() {
            element(0x0002, self.sop_class_uid.as_bytes(), 0);
        }
        element(0x0100, &(self.field | field::RESPONSE).to_le_bytes(), 0);
        element(0x0120, &self.message_id.to_le_bytes(), 0);
        element(0x0800, &NO_DATA_SET.to_le_bytes(), 0);
        element(0x0900, &(status as u16).to_le_bytes(), 0);
        if !comment.is_empty() {
            // LO: 64 letters, without backslashes.
            let letter =
                |c: char| if c == '\\' || !c.is_ascii() || c.is_ascii_control() { b'?' } else { c as u8 };
            element(0x0902, &comment.chars().take(64).map(letter).collect::<Vec<_>>(), b' ');
        }
        if !self.sop_instance_uid.is_empty() {
            element(0x1000, self.sop_instance_uid.as_bytes(), 0);
        }
        let mut set = vec![0, 0, 0, 0, 4, 0, 0, 0];
        set.extend((body.len() as u32).to_le_bytes());
        set.extend(body);
        set
    }
}

/// A UID of a command; None where it is none, since it becomes part of a file.
fn uid(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim_end_matches(['\0', ' ']);
    let is_uid = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_uid.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Command {
        Command {
            field: field::C_STORE_RQ,
            message_id: 7,
            has_data_set: true,
            sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".into(),
            sop_instance_uid: "1.2.3".into(),
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
        assert_eq!(Command::read(&request()), Some(store()));
        let echo = [
            element(0x0100, &0x30u16.to_le_bytes()),
            element(0x0110, &1u16.to_le_bytes()),
            element(0x0800, &0x0101u16.to_le_bytes()),
        ];
        let echo = Command::read(&echo.concat()).unwrap();
        assert_eq!((echo.field, echo.message_id, echo.has_data_set), (field::C_ECHO_RQ, 1, false));
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
        let answer = store().answer(Status::OutOfResources, &"no room \\ \u{1b} ".repeat(20));
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
