//! How DICOM programs speak with each other: units on a connection, commands, associations that are asked for,
//! storage commitment. Who may say what is left to `receive`, what is sent to `deliver`.

mod command;
mod commitment;
mod requestor;
mod title;
mod wire;

pub use command::{Command, MOST_BYTES, Status, commit, echo, field, store};
pub use commitment::{Report, request};
pub use requestor::{Message, PeerError, Proposal, Requestor};
pub use title::AeTitle;
pub use wire::{Unit, Value, Wire, WireError};

/// The only application context that there is.
///
/// # Source
/// DICOM PS3.7 A.2.1.
pub const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";

/// The class that stands for storage commitment, and its only instance.
///
/// # Source
/// DICOM PS3.4 J.3.
pub const COMMITMENT: (&str, &str) = ("1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1");

/// How we call ourselves in associations, beside the implementation's UID.
pub const VERSION_NAME: &str = "HEMAPATCH";
