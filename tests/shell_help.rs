//! Shell completions and manual pages come from the program itself, for every command.

mod program;

use program::run;
use tempfile::tempdir;

const COMMANDS: [&str; 7] = ["triage", "patches", "stats", "phantom", "model", "bench", "doctor"];

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = run(&["completions", shell]);
        assert_eq!(code, 0);
        assert!(COMMANDS.iter().all(|command| script.contains(command)), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempdir().unwrap();
    let (code, _, complaint) = run(&["man", "-o", folder.path().to_str().unwrap()]);
    assert_eq!(code, 0, "{complaint}");
    for command in COMMANDS {
        let page = std::fs::read_to_string(folder.path().join(format!("hemapatch-{command}.1"))).unwrap();
        assert!(page.starts_with(".ie") || page.contains(".TH"), "{command}");
    }
    let page = std::fs::read_to_string(folder.path().join("hemapatch.1")).unwrap();
    assert!(page.to_lowercase().contains("research use only"));
}
