//! The JSON line of `hemapatch bench` that programs rely on (docs/bench.md). No test here looks at how fast anything is.

mod program;

use hemapatch::error::Exit;
use hemapatch::model::Manifest;
use hemapatch::simd::{Kernels, Level};
use program::{BLEED, phantom, run};
use serde_json::Value;
use std::path::Path;
use tempfile::tempdir;

fn bench(arguments: &[&str]) -> Value {
    let (code, out, complaint) = run(&[&["bench", "--json", "--seconds", "0"], arguments].concat());
    assert_eq!((code, complaint.as_str()), (0, ""));
    assert_eq!(out.lines().count(), 1);
    serde_json::from_str(&out).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn is_spread(value: &Value) -> bool {
    let [p10, median, p90] = ["p10", "median", "p90"].map(|key| number(&value[key]));
    0.0 < p10 && p10 <= median && median <= p90
}

#[test]
fn a_line_has_every_field_and_its_sums_hold() {
    let folder = tempdir().unwrap();
    phantom(folder.path(), BLEED);
    let line = bench(&[folder.path().to_str().unwrap(), "--threads", "2"]);
    assert_eq!(line["schema"], "hemapatch.bench/1");
    for field in ["patches_per_second", "gmac_per_second", "peak_gmac_per_second", "share_of_peak"] {
        assert!(is_spread(&line[field]), "{field}");
    }
    for field in ["read", "prepare", "cut", "infer"] {
        assert!(is_spread(&line["slice_ms"][field]), "{field}");
    }
    assert!(number(&line["turns"]) >= 5.0 && number(&line["first_inference_ms"]) > 0.0);
    assert!(line["peak_memory_bytes"].is_u64() || !Path::new("/proc/self/status").exists());

    // 9 slices of 32x32 places; air alone is more than a fifth of a slice.
    assert_eq!((&line["slices"], &line["places"]), (&9.into(), &(9 * 1024).into()));
    let equal = 1.0 - number(&line["different_patches"]) / number(&line["places"]);
    assert!((number(&line["equal_share"]) - equal).abs() < 1e-5 && equal > 0.2);
    assert_eq!(line["patches"], 1024);
    assert_eq!(line["series"], "given");

    let layers = line["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3 + 2 * 8 + 1);
    let sum: u64 = layers.iter().map(|layer| layer["multiply_adds"].as_u64().unwrap()).sum();
    assert_eq!(line["multiply_adds_per_patch"], sum);
    // docs/quantization.md: 512 features, 4 classes.
    assert_eq!((&layers[19]["name"], &layers[19]["multiply_adds"]), (&"head".into(), &(512 * 4).into()));
    let whole: f64 = layers.iter().map(|layer| number(&layer["share_of_time"])).sum();
    assert!((whole - 1.0).abs() < 1e-4);
    for layer in layers {
        let products = layer["multiply_adds"].as_u64().unwrap() > 0;
        assert_eq!(layer["share_of_peak"].is_number(), products, "{}", layer["name"]);
        assert!(number(&layer["microseconds_per_patch"]) > 0.0);
    }
    // A turn's multiply-adds are its patches': both spreads are of the same turns.
    let gmac = number(&line["patches_per_second"]["median"]) * sum as f64 / 1e9;
    assert!((gmac / number(&line["gmac_per_second"]["median"]) - 1.0).abs() < 1e-4);

    let trace = &line["trace"];
    let manifest = Manifest::read(Path::new("models/ich16")).unwrap();
    assert_eq!(trace["program"], concat!("hemapatch ", env!("CARGO_PKG_VERSION")));
    assert_eq!((&trace["model"], &trace["model_version"]), (&"ich16".into(), &manifest.version.into()));
    assert_eq!(trace["model_sha256"], manifest.network.int8.unwrap().sha256);
    assert_eq!((&trace["engine"], &trace["precision"]), (&"hemapatch int8".into(), &"int8".into()));
    assert_eq!((&trace["simd"], &trace["threads"]), (&Kernels::best().level().name().into(), &2.into()));
    let levels: Vec<&str> = Level::available().into_iter().map(Level::name).collect();
    assert_eq!(trace["levels"], serde_json::json!(levels));
    assert_eq!(trace["architecture"], std::env::consts::ARCH);
    assert_eq!(trace["intended_use"], "research use only");
    every_field_is_documented(&line);
}

fn every_field_is_documented(line: &Value) {
    let page = std::fs::read_to_string("docs/bench.md").unwrap();
    let known = |name: &str| assert!(page.contains(&format!("`{name}`")), "docs/bench.md lacks {name}");
    for (field, value) in line.as_object().unwrap() {
        match field.as_str() {
            "slice_ms" => value.as_object().unwrap().keys().for_each(|key| known(&format!("slice_ms.{key}"))),
            "trace" => {
                for key in value.as_object().unwrap().keys() {
                    if key == "model_version" {
                        known(".model_version")
                    } else {
                        known(&format!("trace.{key}"))
                    }
                }
            }
            _ => known(field),
        }
    }
    for key in line["layers"][0].as_object().unwrap().keys() {
        known(&format!("layers[].{key}"));
    }
}

#[test]
fn floating_point_is_measured_by_its_own_yardstick() {
    let folder = tempdir().unwrap();
    phantom(folder.path(), BLEED);
    let line = bench(&[folder.path().to_str().unwrap(), "--precision", "f32"]);
    assert!(is_spread(&line["patches_per_second"]));
    // Without fused multiply-add the network runs in tract, which shows no layers.
    let ours = Kernels::best().floats().is_some();
    assert_eq!(line["trace"]["engine"], if ours { "hemapatch f32" } else { "tract f32" });
    for field in ["gmac_per_second", "peak_gmac_per_second", "share_of_peak"] {
        assert!(if ours { is_spread(&line[field]) } else { line[field].is_null() }, "{field}");
    }
    assert_eq!(line["layers"].is_array(), ours);
    assert_eq!(line["multiply_adds_per_patch"].is_u64(), ours);
}

#[test]
fn the_page_says_what_it_measured_and_research_use_only() {
    let folder = tempdir().unwrap();
    phantom(folder.path(), BLEED);
    let path = folder.path().to_str().unwrap();
    let (code, page, complaint) = run(&["bench", path, "--seconds", "0", "--threads", "1"]);
    assert_eq!((code, complaint.as_str()), (0, ""));
    for word in ["ich16", "one thread", "patches/s", "block 8, second", "RESEARCH USE ONLY"] {
        assert!(page.contains(word), "{word}: {page}");
    }
    assert!(!page.contains("PHANTOM"), "{page}");
}

#[test]
fn errors_end_as_those_of_other_commands() {
    let folder = tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    for (arguments, code) in [
        (&["bench", empty][..], Exit::NoCtSeries),
        (&["bench", "/nowhere/at/all"], Exit::Input),
        (&["bench", "--model", empty], Exit::Model),
        (&["bench", "--simd", "sse2", "--precision", "f32"], Exit::Usage),
    ] {
        let (found, out, complaint) = run(arguments);
        assert_eq!((found, out.as_str()), (code as i32, ""), "{arguments:?}: {complaint}");
        assert!(!complaint.is_empty());
    }
}

#[test]
fn the_scripts_of_bench_peers_are_python() {
    let scripts = program::files(Path::new("benches/peers"));
    let scripts = scripts.iter().filter(|path| path.extension().is_some_and(|extension| extension == "py"));
    let parse = "import ast, sys; [ast.parse(open(path).read()) for path in sys.argv[1:]]";
    let output =
        std::process::Command::new(program::python()).args(["-c", parse]).args(scripts).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
