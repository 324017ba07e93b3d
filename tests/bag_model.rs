//! A model of bags (P15, P16): what it says, what it may not say, and that its marker labels are never taken for read
//! ones.
//!
//! No such model is shipped. The shipped network, its outputs called an attention logit and bag labels, stands in:
//! what it then says means nothing, and where it says it is what is tested.

mod program;

use hemapatch::label::BagLabel;
use hemapatch::model::Manifest;
use program::{BLEED, phantom, reports, run, warnings};
use std::path::Path;
use tempfile::{TempDir, tempdir};

const SHIPPED: &str = "models/ich16";

/// The shipped network with `labels` behind an attention logit.
fn bag_model(labels: &[&str]) -> TempDir {
    let folder = tempdir().unwrap();
    let manifest = std::fs::read_to_string(Path::new(SHIPPED).join("model.toml")).unwrap();
    let (before, rest) = manifest.split_once("labels = [").unwrap();
    let (_, after) = rest.split_once(']').unwrap();
    // Bags have no network in integers.
    let after = match after.split_once("[network.int8]") {
        Some((before, int8)) => format!("{before}{}", int8.find("\n[").map_or("", |next| &int8[next..])),
        None => after.to_owned(),
    };
    let manifest = format!("{before}outputs = \"attention\"\nlabels = {labels:?}{after}");
    std::fs::write(folder.path().join("model.toml"), manifest).unwrap();
    std::fs::copy(Path::new(SHIPPED).join("model.onnx"), folder.path().join("model.onnx")).unwrap();
    folder
}

/// As many bag labels as the shipped network has outputs behind the first.
fn marker_labels() -> Vec<&'static str> {
    let outputs = Manifest::read(Path::new(SHIPPED)).unwrap().network.labels.len();
    BagLabel::ALL.iter().take(outputs - 1).map(|label| label.name()).collect()
}

#[test]
fn every_output_of_a_model_with_marker_labels_says_that_they_were_drawn() {
    let (folder, labels) = (tempdir().unwrap(), marker_labels());
    let (dicom, out) = (folder.path().join("dicom"), folder.path().join("out"));
    phantom(&dicom, BLEED);
    let model = bag_model(&labels);
    let (dicom, model) = (dicom.to_str().unwrap(), model.path().to_str().unwrap());
    let arguments = ["triage", dicom, "--model", model, "-o", out.to_str().unwrap()];
    let (code, page, complaint) = run(&arguments);
    assert_eq!((code, complaint.as_str()), (0, ""));
    let in_one_line = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(in_one_line.contains(BagLabel::MARKERS_ARE_DRAWN), "{page}");
    assert!(page.contains("  markers"), "{page}");
    let chart = std::fs::read_to_string(out.join("chart.svg")).unwrap();
    assert!(chart.contains(BagLabel::MARKERS_ARE_DRAWN), "{chart}");

    let (_, line, _) = run(&[&arguments[..], &["--json"]].concat());
    let report = reports(&line).remove(0);
    assert_eq!(report["trace"]["notice"], BagLabel::MARKERS_ARE_DRAWN);
    assert!(warnings(&report).contains(&"drawn_markers"), "{line}");
    let found = report["bag_labels"].as_object().unwrap();
    let mut markers: Vec<&str> = labels.iter().copied().filter(|&label| label != "hematoma").collect();
    markers.sort_unstable();
    assert_eq!(found.keys().collect::<Vec<_>>(), markers);
    assert!(found.values().all(|evidence| (0.0..=1.0).contains(&evidence.as_f64().unwrap())));

    // Where nothing was read, too.
    let empty = tempdir().unwrap();
    let (_, page, _) = run(&["triage", empty.path().to_str().unwrap(), "--model", model]);
    let in_one_line = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(in_one_line.contains(BagLabel::MARKERS_ARE_DRAWN), "{page}");
}

#[test]
fn patches_of_a_bag_are_hematoma_or_nothing() {
    let (folder, labels) = (tempdir().unwrap(), marker_labels());
    phantom(folder.path(), BLEED);
    let model = bag_model(&labels);
    let (code, line, _) = run(&[
        "triage",
        folder.path().to_str().unwrap(),
        "--json",
        "--model",
        model.path().to_str().unwrap(),
    ]);
    assert_eq!(code, 0);
    let report = reports(&line).remove(0);
    let slices = report["slices"].as_array().unwrap();
    let counted: u64 = slices.iter().map(|slice| slice["counts"]["hematoma"].as_u64().unwrap()).sum();
    assert_eq!(report["hematoma_patches"], counted);
    for slice in slices {
        // The contract's four, of which such a model calls but one.
        let counts = slice["counts"].as_object().unwrap();
        assert!(counts.len() == 4 && counts["skull"] == 0, "{counts:?}");
        assert!((0.0..=1.0).contains(&slice["score"].as_f64().unwrap()));
    }
    // 9 x 1024 places, of which half are air: in no bag.
    assert!(counted < 9 * 512, "{counted}");
}

#[test]
fn refuses_labels_that_no_bag_has() {
    let refused = |labels: &[&str], words: &[&str]| {
        let model = bag_model(labels);
        let (code, _, complaint) = run(&["model", "verify", model.path().to_str().unwrap()]);
        assert_eq!(code, 6, "{complaint}");
        for word in words {
            assert!(complaint.contains(word), "{complaint:?} lacks {word:?}");
        }
    };
    refused(&["hematoma", "skull"], &["network.labels", "\"skull\" is no bag label"]);
    refused(&["blend_sign", "fluid_level"], &["network.labels", "hematoma"]);
    refused(&["hematoma", "hematoma"], &["network.labels", "at most once"]);
    refused(&["hematoma"], &["the network gives", "1 labels behind the attention logit"]);
}
