//! Offline triage of head CT: looks for intracerebral hemorrhage patch by patch, on one CPU.
//!
//! Research use only. `ARCHITECTURE.md` has the map of the modules and what may import what.

pub mod dicom;
pub mod hu;
pub mod limits;
pub mod mapped;
pub mod series;
pub mod stream;
