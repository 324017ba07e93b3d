//! The command `hemapatch-train`: data set in, model out.

use std::process::ExitCode;

fn main() -> ExitCode {
    hemapatch_train::cli::main()
}
