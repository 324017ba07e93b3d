//! Runs the program the way its users do, and makes series for it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program, to be given arguments. A runner named by `HEMAPATCH_RUNNER` (an emulator) starts it where set.
pub fn hemapatch() -> Command {
    let program = env!("CARGO_BIN_EXE_hemapatch");
    match std::env::var_os("HEMAPATCH_RUNNER") {
        Some(runner) => {
            let mut command = Command::new(runner);
            command.arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Runs the program; its exit code, standard output and standard error.
pub fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = hemapatch().args(arguments).output().expect("the program starts");
    read(&output)
}

pub fn read(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the program prints UTF-8");
    (output.status.code().expect("not ended by a signal"), text(&output.stdout), text(&output.stderr))
}

/// A short series around the level of the basal ganglia: enough for a verdict, quick to make.
pub fn phantom(folder: &Path, options: &[&str]) {
    let folder = folder.to_str().unwrap();
    let mut arguments = vec!["phantom", "-o", folder, "--slices", "9"];
    arguments.extend(options);
    let (code, _, complaint) = run(&arguments);
    assert_eq!(code, 0, "{complaint}");
}

pub const BLEED: &[&str] = &["--seed", "1", "--site", "putamen", "--volume-ml", "30"];
pub const CLEAN: &[&str] = &["--seed", "2"];

/// The DICOM files of a folder, by name.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The JSON lines of a run of `triage --json`.
pub fn reports(stdout: &str) -> Vec<serde_json::Value> {
    stdout.lines().map(|line| serde_json::from_str(line).expect("one JSON document a line")).collect()
}

/// A folder of the data that stays outside of the repository; says so where it is missing.
pub fn shared_data(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    eprintln!("skipped: {} is not there", path.display());
    None
}

/// The Python that `make setup` installs peers into.
pub fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    assert!(python.is_file(), "no Python peers: run `make setup`, as `make test` does");
    python
}

/// Codes of a report's warnings.
pub fn warnings(report: &serde_json::Value) -> Vec<&str> {
    let warnings = report["warnings"].as_array().expect("a list of warnings");
    warnings.iter().map(|warning| warning["code"].as_str().expect("a code")).collect()
}

/// Writes a slice's patient name into it a second time: whose it is then, nobody knows.
pub fn repeat_name(slice: &Path) {
    let mut bytes = std::fs::read(slice).unwrap();
    let at = bytes.windows(6).position(|window| window == b"\x10\0\x10\0PN").expect("a name");
    let end = at + 8 + usize::from(bytes[at + 6]);
    let name = bytes[at..end].to_vec();
    bytes.splice(end..end, name);
    std::fs::write(slice, bytes).unwrap();
}
