//! `hemapatch stats`: the paper's Table 1 of a folder of labelled patches.

use super::say;
use crate::error::{Error, Exit};
use crate::label::{LabelLimits, LabelTable};
use std::path::PathBuf;

/// Count the labelled patches of a folder, by class (the paper's Table 1)
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Folder with patches named xxxx_x0_y0.A.png (background), .B. (parenchyma), .C. (hematoma), .D. (skull)
    folder: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub fn run(self) -> Result<Exit, Error> {
        let table = LabelTable::read(&self.folder, LabelLimits::default())?;
        let text = if self.json { table.to_json() } else { table.to_text() };
        say(text.trim_end())?;
        Ok(Exit::Done)
    }
}
