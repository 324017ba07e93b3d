//! An object that a peer sends: written into the spool, looked at by the guard, kept.

use std::io::Write;

use super::negotiate::Context;
use crate::dicom::{self, IMPLEMENTATION_UID, Object};
use crate::dimse::{Command, Status};
use crate::limits::Limits;
use crate::mapped::Mapped;
use crate::series::Chain;
use crate::spool::{Draft, Kept, Spool, SpoolError};

/// Why an object was not kept: what the peer is answered, and a line for it and for the log.
#[derive(Debug)]
pub struct Refused {
    pub status: Status,
    pub why: String,
    /// The study that lacks it; None where even that is not known.
    pub study_uid: Option<String>,
}

impl Refused {
    fn new(status: Status, why: impl Into<String>) -> Refused {
        Refused { status, why: why.into(), study_uid: None }
    }
}

impl From<SpoolError> for Refused {
    fn from(error: SpoolError) -> Refused {
        // Either way it is nothing about the object, and may be otherwise later.
        let why = if error.is_full() { "no room on the disk" } else { "the disk refuses" };
        Refused::new(Status::OutOfResources, format!("{why}: {}", error.reason()))
    }
}

/// An object that was kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    pub study_uid: String,
    /// True where it had been sent before.
    pub again: bool,
}

/// An object of which not everything has come.
pub struct Incoming<'a> {
    draft: Draft<'a>,
    bytes: u64,
    most: u64,
}

impl<'a> Incoming<'a> {
    /// Begins the file: what stands before a data set, which is all that comes.
    pub fn begin(spool: &'a Spool, context: &Context, command: &Command, most: u64) -> Result<Self, Refused> {
        if command.sop_class_uid != context.sop_class_uid {
            let why = "the object is of another class than its context";
            return Err(Refused::new(Status::SopClassNotSupported, why));
        }
        let draft = spool.draft()?;
        let mut incoming = Incoming { draft, bytes: 0, most };
        incoming.write(&file_meta(command, &context.transfer_syntax))?;
        Ok(incoming)
    }

    /// Adds a part.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.most {
            let why = format!("more than the limit of {} bytes", self.most);
            return Err(Refused::new(Status::OutOfResources, why));
        }
        let path = self.draft.path().to_owned();
        self.draft.write_all(bytes).map_err(|source| SpoolError::Io { path, source }.into())
    }

    /// Looks at the whole, and keeps it.
    pub fn finish(mut self, command: &Command, limits: &Limits) -> Result<Stored, Refused> {
        self.write(&[])?;
        let path = self.draft.path().to_owned();
        self.draft.flush().map_err(|source| SpoolError::Io { path, source })?;
        let bytes = Mapped::open(self.draft.path(), limits)
            .map_err(|error| Refused::new(Status::OutOfResources, Chain(&error).to_string()))?;
        let object = Object::read(&bytes, limits).map_err(|error| Refused {
            status: Status::CannotUnderstand,
            why: Chain(&error).to_string(),
            study_uid: dicom::identify(&bytes, limits).map(|identity| identity.study_uid),
        })?;
        let header = &object.slices[0];
        let (study_uid, instance_uid) = (header.study_uid.clone(), header.sop_instance_uid.clone());
        let refused =
            |status, why: &str| Refused { study_uid: Some(study_uid.clone()), ..Refused::new(status, why) };
        if instance_uid != command.sop_instance_uid || header.sop_class_uid != command.sop_class_uid {
            return Err(refused(Status::DataSetDoesNotMatchClass, "the object is not the one announced"));
        }
        drop(object);
        drop(bytes);
        match self.draft.keep(&study_uid, &instance_uid)? {
            Kept::New(_) => Ok(Stored { study_uid, again: false }),
            Kept::Again(_) => Ok(Stored { study_uid, again: true }),
            Kept::Differs(_) => {
                Err(refused(Status::DuplicateInstance, "another object with this UID is here already"))
            }
        }
    }
}

/// Preamble and file meta group.
///
/// # Source
/// DICOM PS3.10 7.1. Nothing of the sender or the time, so that the same object gives the same bytes.
fn file_meta(command: &Command, transfer_syntax: &str) -> Vec<u8> {
    let mut group = Vec::new();
    let mut uid = |element: u16, uid: &str| {
        group.extend([2, 0]);
        group.extend(element.to_le_bytes());
        group.extend(b"UI");
        group.extend((uid.len().next_multiple_of(2) as u16).to_le_bytes());
        group.extend(uid.as_bytes());
        if !uid.len().is_multiple_of(2) {
            group.push(0);
        }
    };
    uid(0x0002, &command.sop_class_uid);
    uid(0x0003, &command.sop_instance_uid);
    uid(0x0010, transfer_syntax);
    uid(0x0012, IMPLEMENTATION_UID);
    let version = [2, 0, 1, 0, b'O', b'B', 0, 0, 2, 0, 0, 0, 0, 1];
    let mut file = vec![0; 128];
    file.extend(b"DICM\x02\0\0\0UL\x04\0");
    file.extend(((version.len() + group.len()) as u32).to_le_bytes());
    file.extend(version);
    file.extend(group);
    file
}
