//! The Debian package's service starts with the configuration that comes with it, opens nothing to other machines, and has
//! no rights that it does not need.

use std::path::Path;
use std::process::Command;

mod program;

use program::run;

fn text(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn the_packaged_configuration_can_be_used_and_reaches_this_machine_alone() {
    let name = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/hemapatch.toml");
    let (code, said, complaint) = run(&["config", "check", name]);
    assert_eq!(code, 0, "{complaint}");
    assert!(said.contains("can be used"), "{said}");
    let table: toml::Table = text("packaging/hemapatch.toml").parse().unwrap();
    assert!(table["receive"]["listen"].as_str().unwrap().starts_with("127.0.0.1:"));
    for peer in table["receive"]["peer"].as_array().unwrap() {
        assert_eq!(peer["address"].as_str(), Some("127.0.0.1"));
    }
}

#[test]
fn what_the_configuration_writes_is_what_the_unit_may_write() {
    let (table, unit) = (text("packaging/hemapatch.toml"), text("packaging/hemapatch.service"));
    assert!(table.contains("folder = \"/var/lib/hemapatch\"") && unit.contains("StateDirectory=hemapatch\n"));
    assert!(table.contains("log = \"/var/log/hemapatch/") && unit.contains("LogsDirectory=hemapatch\n"));
    // The paths that the unit names are those of the package.
    let manifest = text("Cargo.toml");
    for (path, asset) in [
        ("/usr/bin/hemapatch", "\"usr/bin/\""),
        ("/etc/hemapatch/hemapatch.toml", "\"etc/hemapatch/hemapatch.toml\""),
    ] {
        assert!(unit.contains(path) && manifest.contains(asset), "{path}");
    }
}

#[test]
fn systemd_finds_the_unit_hardened() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("hemapatch.service");
    // The program is where it was built, not where it is installed.
    let unit =
        text("packaging/hemapatch.service").replace("/usr/bin/hemapatch", env!("CARGO_BIN_EXE_hemapatch"));
    // Manual pages come with the package.
    let unit: String = unit
        .lines()
        .filter(|line| !line.starts_with("Documentation="))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&copy, unit).unwrap();
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&copy).output();
        let output =
            output.unwrap_or_else(|error| panic!("systemd-analyze, which `make setup` installs: {error}"));
        let told = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&told).into_owned())
    };
    let (verified, told) = analyze(&["verify", "--man=no"]);
    assert!(verified && !told.contains("hemapatch.service:"), "{told}");
    // Exposure in tenths, of 100: 20 is what systemd calls OK, and services that it was not asked of have 96.
    let (hardened, told) = analyze(&["security", "--offline=true", "--threshold=20", "--no-pager"]);
    assert!(hardened, "{told}");
    // The sum may stay below that without one of these.
    let unit = text("packaging/hemapatch.service");
    for setting in [
        "NoNewPrivileges=yes",
        "PrivateTmp=yes",
        "ProtectSystem=strict",
        "StateDirectory=hemapatch",
        "User=hemapatch",
    ] {
        assert!(unit.lines().any(|line| line == setting), "{setting}");
    }
}
