//! The targets. Each is a function that panics where a promise is broken.

mod codec;
mod honest;
mod manifest;
mod object;
pub mod series;
mod text;

/// A target's name and what it does with the fuzzer's bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 12] = [
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
];
