//! docs/report.md lists every refusal code with its exit code, and every warning code of the sources.

use hemapatch::error::Exit;
use hemapatch::study::RefusalCode;
use std::collections::BTreeSet;
use std::path::Path;

fn page() -> String {
    std::fs::read_to_string("docs/report.md").unwrap()
}

/// The first column of the table under a heading.
fn listed(heading: &str) -> BTreeSet<String> {
    let page = page();
    let section = page.split(heading).nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(str::to_owned).collect()
}

#[test]
fn refusal_codes_and_their_exit_codes() {
    let codes: BTreeSet<String> = RefusalCode::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(listed("## Refusal codes"), codes);
    let page = page();
    for code in RefusalCode::ALL {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", code.as_str()))).unwrap();
        let exit = Exit::refused(code) as i32;
        assert!(row.ends_with(&format!("| {exit} |")), "{row}: not {exit}");
    }
}

#[test]
fn warning_codes() {
    let mut found = BTreeSet::new();
    let mut folders = ["src/series", "src/study", "src/serve", "src/cli"]
        .map(|folder| Path::new(folder).to_owned())
        .to_vec();
    let mut sources = vec![std::fs::read_to_string("src/stream.rs").unwrap()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                sources.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    for source in sources {
        let code = source.split("#[cfg(test)]").next().unwrap();
        for opening in ["Warning::new(", "counted(", "Warning { code: "] {
            for rest in code.split(opening).skip(1) {
                if let Some(literal) = rest.trim_start().strip_prefix('"') {
                    found.insert(literal.split('"').next().unwrap().to_owned());
                }
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    assert_eq!(listed("## Warning codes"), found);
}
