//! No file harms: each of the suite of hostile files ends in its exit code and its reason, in bounded memory, alone and
//! in an archive; files that are only odd are read.

mod program;

use hemapatch::limits::Limits;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

/// What a run may hold beyond what it holds for a plain slice.
const ROOM_KIB: u64 = 64_000_000 / 1024;

struct Suite {
    /// The suite as `make.py` tells it.
    cases: Vec<Value>,
    /// What came of each case, alone and in an archive.
    runs: Vec<Value>,
}

/// Made and run once for all tests.
static SUITE: LazyLock<Suite> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    python(&["make.py", folder.path().to_str().unwrap()]);
    let read = std::fs::read_to_string(folder.path().join("cases.json")).unwrap();
    let program = program::hemapatch();
    let program = [program.get_program()].into_iter().chain(program.get_args());
    let program: Vec<&str> = program.map(|part| part.to_str().unwrap()).collect();
    let told = python(&[&["runs.py", folder.path().to_str().unwrap()], &program[..]].concat());
    Suite { cases: serde_json::from_str(&read).unwrap(), runs: serde_json::from_str(&told).unwrap() }
});

/// Runs a script of the suite, which needs nothing but Python itself; what it printed.
fn python(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hostile").join(arguments[0]);
    let python = std::env::var("PYTHON").unwrap_or("python3".to_owned());
    let output = Command::new(python).arg(script).args(&arguments[1..]).output().expect("Python 3 starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a run said of its input: of `triage`, the refusal.
fn said(command: &str, run: &Value) -> String {
    let output = run["output"].as_str().unwrap();
    if command == "inspect" {
        return output.to_owned();
    }
    let report: Value = serde_json::from_str(output.lines().next().unwrap_or_default()).unwrap_or_default();
    report["refusal"]["detail"].as_str().unwrap_or(output).to_owned()
}

/// Calls `judge` with the case, the command, and its run; each complaint becomes a line of the test's message.
fn of_all_runs(judge: impl Fn(&Value, &str, &Value) -> Option<String>) {
    let mut complaints = Vec::new();
    for runs in &SUITE.runs {
        let case = SUITE.cases.iter().find(|case| case["name"] == runs["name"]).unwrap();
        for command in ["triage", "inspect"] {
            if let Some(complaint) = judge(case, command, &runs[command]) {
                complaints.push(format!("{} {} {command}: {complaint}", runs["name"], runs["how"]));
            }
        }
    }
    assert!(
        complaints.is_empty(),
        "{} of {}:\n{}",
        complaints.len(),
        SUITE.runs.len(),
        complaints.join("\n")
    );
}

#[test]
fn every_file_ends_in_its_exit_code() {
    assert!(SUITE.cases.len() >= 200 && SUITE.runs.len() > SUITE.cases.len());
    of_all_runs(|case, command, run| {
        let expected = &case["expected"][usize::from(command == "inspect")];
        // Null: it hung; negative: a signal.
        (run["code"] != *expected)
            .then(|| format!("{} instead of {expected}: {}", run["code"], said(command, run)))
    });
}

#[test]
fn every_refusal_tells_its_reason() {
    of_all_runs(|case, command, run| {
        let words = case["words"].as_str().unwrap();
        let [triage, inspect] = [0, 1].map(|place| case["expected"][place].as_i64().unwrap());
        assert!(inspect != 4 || !words.is_empty(), "{} tells no reason", case["name"]);
        // One slice is no series: where `triage` says no more than that, pixels and names are left to `inspect`.
        let tells = command == "inspect" || triage != 3 || inspect == 0;
        let said = said(command, run);
        (tells && !said.contains(words)).then(|| format!("{words:?} is not in: {said}"))
    });
}

#[test]
fn nothing_of_a_file_drives_the_terminal_or_forges_a_line() {
    of_all_runs(|_, command, run| {
        let output = run["output"].as_str().unwrap();
        let printed = if command == "triage" { said(command, run) } else { output.replace('\n', "") };
        if let Some(control) = printed.chars().find(|c| c.is_control() || *c == '\u{202E}') {
            return Some(format!("{control:?} in {printed:?}"));
        }
        // `inspect` indents all but the first line of an object.
        let forged = output.lines().any(|line| line.starts_with("0 "));
        (forged || output.contains("panicked") || output.len() > 1 << 14).then(|| output.to_owned())
    });
}

#[test]
fn no_file_takes_more_memory_than_the_limits_allow() {
    let peak = |name: &str, command: &str| {
        let runs = SUITE.runs.iter().find(|runs| runs["name"] == name && runs["how"] == "alone").unwrap();
        runs[command]["peak_kib"].as_u64().unwrap()
    };
    of_all_runs(|_, command, run| {
        let (peak, base) = (run["peak_kib"].as_u64().unwrap(), peak("plain.dcm", command));
        (peak > base + ROOM_KIB).then(|| format!("{peak} KiB, the smallest slice takes {base}"))
    });
}

#[test]
fn the_page_shows_the_limits_and_every_file() {
    let page = std::fs::read_to_string("docs/security.md").unwrap();
    let shown = |name: &str| {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/security.md lacks the limit {name}"));
        row.split('|').nth(2).unwrap().trim().to_owned()
    };
    let Limits {
        file_bytes,
        elements,
        depth,
        fragments,
        header_bytes,
        parsed_bytes,
        rows,
        columns,
        frames,
        coded_pixels,
        inflated_bytes,
        archive_inflated_bytes,
        entries,
        folder_depth,
        slices,
        held_bytes,
    } = Limits::default();
    for (name, limit) in [
        ("file_bytes", file_bytes),
        ("elements", elements.into()),
        ("depth", depth.into()),
        ("fragments", fragments.into()),
        ("header_bytes", header_bytes),
        ("parsed_bytes", parsed_bytes.into()),
        ("rows", rows.into()),
        ("columns", columns.into()),
        ("frames", frames.into()),
        ("coded_pixels", coded_pixels.into()),
        ("inflated_bytes", inflated_bytes),
        ("archive_inflated_bytes", archive_inflated_bytes),
        ("entries", entries.into()),
        ("folder_depth", folder_depth.into()),
        ("slices", slices.into()),
        ("held_bytes", held_bytes),
    ] {
        assert_eq!(shown(name), written(name, limit), "{name}");
    }
    for case in &SUITE.cases {
        let name = case["name"].as_str().unwrap();
        assert!(page.contains(&format!("| `{name}` |")), "the table lacks {name}: run scripts/hostile-table");
    }
}

/// A limit as the page writes it: bytes in the largest unit that they are a whole number of, others with commas.
fn written(name: &str, limit: u64) -> String {
    if name.ends_with("bytes") {
        let (power, unit) = [(30, "GiB"), (20, "MiB"), (10, "KiB")]
            .into_iter()
            .find(|(power, _)| limit.is_multiple_of(1 << power))
            .expect("limits in bytes are whole KiB");
        return format!("{} {unit}", limit >> power);
    }
    let digits = limit.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}
