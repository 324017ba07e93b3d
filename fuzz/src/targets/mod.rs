//! The targets. Each is a function that panics where a promise is broken.

mod association;
mod codec;
mod config;
mod dimse;
mod honest;
mod manifest;
mod object;
mod page;
pub mod series;
mod text;

/// A target's name and what it does with the fuzzer's bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 18] = [
    ("object", object::bytes),
    ("object_structured", object::structured),
    ("honest", honest::object),
    ("deflate", object::deflated),
    ("rle", codec::rle),
    ("jpeg", codec::jpeg),
    ("jpegls", codec::jpegls),
    ("jpeg2000", codec::jpeg2000),
    ("zip", series::zip),
    ("series", series::structured),
    ("text", text::decode),
    ("manifest", manifest::read),
    ("config", config::read),
    ("command", dimse::command),
    ("report", dimse::report),
    ("association", association::converse),
    ("page", page::page),
    ("hl7", page::hl7),
];
