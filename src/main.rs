//! The `hemapatch` program. All of it is in the library's `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hemapatch::cli::run(std::env::args_os()).into()
}
