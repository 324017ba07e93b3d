//! Offline triage of head CT: looks for intracerebral hemorrhage patch by patch, on one CPU.
//!
//! Research use only. `ARCHITECTURE.md` has the map of the modules and what may import what.

pub mod alert;
pub mod cli;
pub mod codec;
pub mod deliver;
pub mod dicom;
pub mod dimse;
pub mod engine;
pub mod error;
pub mod evidence;
pub mod hu;
pub mod label;
pub mod limits;
pub mod mapped;
pub mod model;
pub mod net;
pub mod output;
pub mod own;
pub mod patch;
pub mod phantom;
pub mod prep;
pub mod receive;
pub mod series;
pub mod serve;
pub mod simd;
pub mod spool;
pub mod stream;
pub mod study;
pub mod watch;
pub mod web;
pub mod window;
