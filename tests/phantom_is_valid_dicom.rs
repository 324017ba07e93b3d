//! The phantom's files pass dciodvfy, the validator of David Clunie's dicom3tools, without an error.

mod program;

use program::{files, phantom};
use std::process::Command;
use tempfile::tempdir;

#[test]
fn without_an_error() {
    for options in [
        &["--seed", "1", "--site", "putamen", "--volume-ml", "30", "--marker", "blend-sign"][..],
        &["--seed", "5", "--tilt", "18.5", "--off-center", "12", "-9", "--rotation", "7"],
        &["--seed", "9", "--pixels", "64", "--pixel-mm", "3.6", "--spacing-mm", "2.5"],
    ] {
        let folder = tempdir().unwrap();
        phantom(folder.path(), options);
        for file in files(folder.path()) {
            let output = Command::new("dciodvfy").arg(&file).output();
            let output = output.expect("no dciodvfy: run `make setup`, as `make test` does");
            let said = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("CTImage"), "{said}");
            assert!(!said.contains("Error"), "{options:?}: {said}");
        }
    }
}
