//! A model that is not what its manifest says is refused with exit code 6 and a message that names file and field.

mod program;

use program::run;
use std::path::Path;
use tempfile::{TempDir, tempdir};

const SHIPPED: &str = "models/ich16";

/// A manifest without the network in integers.
fn without_int8(manifest: &str) -> String {
    match manifest.split_once("[network.int8]") {
        Some((before, after)) => format!("{before}{}", after.find("\n[").map_or("", |next| &after[next..])),
        None => manifest.to_owned(),
    }
}

/// A copy of the shipped model whose manifest has `from` replaced by `to`.
fn altered(from: &str, to: &str) -> TempDir {
    let folder = tempdir().unwrap();
    let manifest = without_int8(&std::fs::read_to_string(Path::new(SHIPPED).join("model.toml")).unwrap());
    assert!(manifest.contains(from), "the manifest has no {from:?}");
    std::fs::write(folder.path().join("model.toml"), manifest.replacen(from, to, 1)).unwrap();
    std::fs::copy(Path::new(SHIPPED).join("model.onnx"), folder.path().join("model.onnx")).unwrap();
    folder
}

fn refused(folder: &Path, words: &[&str]) {
    let (code, _, complaint) = run(&["model", "verify", folder.to_str().unwrap()]);
    assert_eq!(code, 6, "{complaint}");
    for word in words {
        assert!(complaint.contains(word), "{complaint:?} lacks {word:?}");
    }
}

#[test]
fn the_shipped_model_is_whole() {
    let (code, out, complaint) = run(&["model", "verify", SHIPPED]);
    assert_eq!(code, 0, "{complaint}");
    assert!(
        out.starts_with("ich16 ") && out.contains("f32: sha256") && out.contains("int8: sha256"),
        "{out}"
    );
    assert!(out.contains("runs in hemapatch int8 on "), "{out}");
    let (code, out, _) = run(&["model", "list"]);
    assert_eq!(code, 0);
    assert!(out.contains("ich16"));
    let (code, out, _) = run(&["model", "show"]);
    assert_eq!(code, 0);
    assert!(out.contains("research use only"));
}

#[test]
fn a_wrong_hash() {
    let folder = altered("[network]", "[network]");
    let path = folder.path().join("model.onnx");
    let mut network = std::fs::read(&path).unwrap();
    let middle = network.len() / 2;
    network[middle] ^= 1;
    std::fs::write(&path, network).unwrap();
    refused(folder.path(), &["model.onnx", "sha256"]);
}

/// The shipped network in integers.
fn integers() -> Vec<u8> {
    std::fs::read(Path::new(SHIPPED).join("model.int8.onnx")).unwrap()
}

/// A copy of the shipped model with a network in integers, which is `bytes`, under `file`.
fn with_int8(file: &str, bytes: &[u8]) -> TempDir {
    with_int8_of(file, bytes, &hemapatch::model::sha256_hex(&integers()))
}

/// The same, vouched for by `sha256`.
fn with_int8_of(file: &str, bytes: &[u8], sha256: &str) -> TempDir {
    let table = format!(
        "[network.int8]\nfile = \"{file}\"\nsha256 = \"{sha256}\"\ncalibration = \"MSE\"\nargmax_agreement = 0.999\n\n[patch]"
    );
    let folder = altered("[patch]", &table);
    std::fs::write(folder.path().join("model.int8.onnx"), bytes).unwrap();
    folder
}

#[test]
fn a_network_in_integers_is_vouched_for_too() {
    let integers = &integers();
    let folder = with_int8("model.int8.onnx", integers);
    let (code, out, complaint) = run(&["model", "verify", folder.path().to_str().unwrap()]);
    assert_eq!(code, 0, "{complaint}");
    assert!(out.contains("int8: sha256"), "{out}");
    refused(with_int8("model.int8.onnx", b"other integers").path(), &["model.int8.onnx", "sha256"]);
    refused(with_int8("../model.int8.onnx", integers).path(), &["network.int8.file", "plain file name"]);
    refused(with_int8("model.onnx", integers).path(), &["network.int8.file", "f32 network's own"]);
    refused(with_int8("absent.onnx", integers).path(), &["absent.onnx", "cannot read"]);
}

#[test]
fn integers_of_another_form_run_slowly_and_it_is_said() {
    let mut integers = integers();
    // The scale of gray levels, 1, becomes a half: a fine network, but not that of docs/quantization.md.
    let constant = b"x_scale\x4a\x04";
    let at = integers.windows(constant.len()).position(|bytes| bytes == constant).unwrap() + constant.len();
    assert_eq!(integers[at..at + 4], 1f32.to_le_bytes());
    integers[at..at + 4].copy_from_slice(&0.5f32.to_le_bytes());
    let sha256 = hemapatch::model::sha256_hex(&integers);
    let model = with_int8_of("model.int8.onnx", &integers, &sha256);
    let model = model.path().to_str().unwrap();
    let (code, out, complaint) = run(&["model", "verify", model]);
    assert_eq!(code, 0, "{complaint}");
    assert!(out.contains("runs in tract int8") && out.contains("expected gray levels, of scale 1"), "{out}");
    let dicom = tempdir().unwrap();
    program::phantom(dicom.path(), program::CLEAN);
    let arguments = ["triage", dicom.path().to_str().unwrap(), "--json", "--model", model];
    let (code, out, complaint) = run(&arguments);
    assert_eq!(code, 0, "{complaint}");
    let trace = &program::reports(&out)[0]["trace"];
    assert_eq!((&trace["engine"], &trace["precision"]), (&"tract int8".into(), &"int8".into()));
    assert!(trace["simd"].is_null() && trace["model_sha256"] == sha256.as_str());
    let (code, _, complaint) = run(&[&arguments[..], &["--simd", "scalar"]].concat());
    assert_eq!(code, 2);
    assert!(complaint.contains("runs in tract int8"), "{complaint}");
}

#[test]
fn a_model_without_integers_runs_in_floating_point() {
    let model = altered("[network]", "[network]");
    let model = model.path().to_str().unwrap();
    let (code, out, _) = run(&["model", "verify", model]);
    assert!(code == 0 && out.contains("f32: sha256") && !out.contains("int8"), "{out}");
    let (code, _, complaint) = run(&["triage", "x", "--model", model, "--precision", "int8"]);
    assert_eq!(code, 2);
    assert!(complaint.contains("ich16 has no network in integers"), "{complaint}");
}

#[test]
fn an_unknown_label() {
    refused(altered("\"hematoma\"", "\"tumor\"").path(), &["model.toml", "network.labels", "tumor"]);
}

#[test]
fn no_label_called_hematoma() {
    refused(altered("\"hematoma\"", "\"skull\"").path(), &["network.labels", "hematoma"]);
}

#[test]
fn an_input_shape_that_is_not_the_views() {
    refused(altered("scale = 4", "scale = 3").path(), &["model.toml", "scale"]);
    refused(altered("size = 16", "size = 32").path(), &["network.input"]);
}

#[test]
fn fewer_labels_than_the_network_has_outputs() {
    let manifest = std::fs::read_to_string(Path::new(SHIPPED).join("model.toml")).unwrap();
    let labels = manifest.split("labels = [").nth(1).unwrap().split(']').next().unwrap();
    refused(altered(labels, "\"background\", \"hematoma\"").path(), &["the network gives", "2 labels"]);
}

#[test]
fn a_field_unknown_or_missing() {
    refused(altered("[network]", "[network]\ncolour = 1").path(), &["model.toml", "colour"]);
    refused(altered("version = ", "# version = ").path(), &["model.toml", "version"]);
    refused(altered("hemapatch.model/1", "hemapatch.model/9").path(), &["schema", "hemapatch.model/9"]);
}

#[test]
fn a_purpose_other_than_research() {
    refused(altered("research use only", "diagnosis").path(), &["intended_use", "diagnosis"]);
}

#[test]
fn a_network_that_is_no_onnx() {
    let folder = altered("[network]", "[network]");
    std::fs::write(folder.path().join("model.onnx"), "no network").unwrap();
    let sha256 = hemapatch::model::sha256_hex(b"no network");
    let path = folder.path().join("model.toml");
    let manifest = std::fs::read_to_string(&path).unwrap();
    let old = manifest.split("sha256 = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    std::fs::write(&path, manifest.replace(&old, &sha256)).unwrap();
    refused(folder.path(), &["the network cannot be loaded"]);
}

#[test]
fn a_file_outside_of_the_folder() {
    refused(altered("model.onnx", "../model.onnx").path(), &["network.file", "plain file name"]);
}
