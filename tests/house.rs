//! The house rules that a compiler does not hold: who may import whom, where `unsafe` may stand, where tract is named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The modules, lowest first: one imports only from lines above its own. ARCHITECTURE.md shows the same list.
const LAYERS: &[&[&str]] = &[
    &["simd", "codec", "limits", "net", "own"],
    &["mapped", "hu", "window", "label", "evidence"],
    &["dicom", "prep", "patch"],
    &["series", "phantom"],
    &["stream", "model"],
    &["engine"],
    &["study"],
    &["output", "spool", "dimse"],
    &["alert", "receive", "watch", "web"],
    &["deliver"],
    &["serve"],
    &["error"],
    &["cli"],
    &["main", "lib"],
];

/// The places where `unsafe` may stand.
const UNSAFE: &[&str] = &["mapped.rs", "simd/"];

/// The same of the trainer: shards are mapped.
const UNSAFE_OF_THE_TRAINER: &[&str] = &["shard.rs"];

fn sources() -> Vec<(PathBuf, String)> {
    sources_below("src")
}

/// Files and their text, named from `root` on.
fn sources_below(root: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                sources.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(sources.len() > 20, "the sources were not found");
    sources.sort();
    sources
}

/// The code of a file: without comments, and without its tests, which may import what they test with.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = before_tests.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

fn module_of(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// Modules that follow `crate::`, those in braces too.
fn imports(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for rest in code.split("crate::").skip(1) {
        if let Some(list) = rest.strip_prefix('{') {
            // The names at the list's own depth: what stands in inner braces belongs to a module already named.
            let mut depth = 0;
            let mut name = String::new();
            for c in list.chars() {
                match c {
                    '}' if depth == 0 => break,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => modules.push(std::mem::take(&mut name)),
                    c if depth == 0 => name.push(c),
                    _ => {}
                }
            }
            modules.push(name);
        } else {
            modules.push(rest.to_owned());
        }
    }
    let first_word = |name: &String| -> String {
        name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    modules.iter().map(first_word).filter(|name| name.starts_with(char::is_lowercase)).collect()
}

#[test]
fn a_module_imports_only_from_lines_above_its_own() {
    let layer: BTreeMap<&str, usize> =
        LAYERS.iter().enumerate().flat_map(|(i, names)| names.iter().map(move |name| (*name, i))).collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        let own = *layer.get(module.as_str()).unwrap_or_else(|| panic!("{module} is not in the table"));
        for import in imports(&code(&text)) {
            let Some(&other) = layer.get(import.as_str()) else {
                panic!("{}: crate::{import} is not in the table", path.display());
            };
            if import != module && other >= own {
                wrong.push(format!("{} imports {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_is_the_one_of_the_architecture() {
    let architecture = std::fs::read_to_string("ARCHITECTURE.md").unwrap();
    for names in LAYERS.iter().take(LAYERS.len() - 1) {
        let line = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ");
        assert!(architecture.contains(&line), "ARCHITECTURE.md lacks the layer {line}");
    }
}

#[test]
fn every_module_is_in_the_table() {
    let lib = std::fs::read_to_string("src/lib.rs").unwrap();
    for line in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let name = line.trim_end_matches(';');
        assert!(LAYERS.iter().any(|names| names.contains(&name)), "{name} is not in the table");
    }
}

#[test]
fn unsafe_stands_only_where_it_is_allowed() {
    for (root, places) in [("src", UNSAFE), ("trainer/src", UNSAFE_OF_THE_TRAINER)] {
        for (path, text) in sources_below(root) {
            let allowed = places.iter().any(|place| path.to_str().unwrap().starts_with(place));
            let code = code(&text);
            let found = code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
            assert!(allowed || !found, "{} has unsafe code", path.display());
        }
    }
}

#[test]
fn only_the_engine_names_tract() {
    for (path, text) in sources() {
        let code = code(&text);
        let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        let found = words.any(|word| word.starts_with("tract_"));
        assert!(path.starts_with("engine") || !found, "{} names tract", path.display());
    }
}

#[test]
fn the_engine_does_not_need_the_trainer() {
    let manifest: toml::Table = std::fs::read_to_string("Cargo.toml").unwrap().parse().unwrap();
    for section in ["dependencies", "dev-dependencies"] {
        let dependencies = manifest[section].as_table().unwrap();
        assert!(dependencies.contains_key("tempfile") || dependencies.contains_key("proptest"));
        for name in ["tch", "torch-sys", "hemapatch-train"] {
            assert!(!dependencies.contains_key(name), "the engine depends on {name}");
        }
    }
}

#[test]
fn imports_are_found_in_all_their_forms() {
    let code = "use crate::a::B; use crate::{b::{C, D}, d::E, f}; crate::g::h()";
    assert_eq!(imports(code), ["a", "b", "d", "f", "g"]);
}
