//! Runs the engine and a peer in Python on the same patches.

use hemapatch::engine::{self, EngineOptions, Precision};
use hemapatch::model::Model;
use hemapatch::patch::{Grid, Neighbourhood, Patches, Pyramid};
use hemapatch::phantom::{Phantom, Spec};
use hemapatch::prep::Scratch;
use hemapatch::simd::Level;
use ndarray::Array2;
use std::path::Path;
use std::process::Command;

/// Prepared gray levels of a slice of a phantom with a hematoma.
pub fn phantom_slice(model: &Model, index: u16) -> Array2<u8> {
    let hu = Phantom::new(&Spec::demo(1)).unwrap().slice(index).hu;
    let mut gray = Array2::zeros(hu.dim());
    model.window().apply(hu.as_slice().unwrap(), gray.as_slice_mut().unwrap());
    model.manifest().preparation.steps.prepare(&mut gray, &mut Scratch::default());
    gray
}

/// The patches of a slice between two others.
pub fn cut(model: &Model, [before, this, after]: [&Array2<u8>; 3]) -> Patches {
    let [before, this, after] = [before, this, after].map(Pyramid::of);
    let patch = &model.manifest().patch;
    let mut patches = Patches::new(Grid::over(this.rows(), this.columns(), patch.size), &patch.views);
    patches.cut(Neighbourhood { before: Some(&before), this: &this, after: Some(&after) });
    patches
}

/// The engine's logits.
pub fn logits(model: &Model, patches: &Patches, precision: Precision, level: Option<Level>) -> Array2<f32> {
    let mut engine = engine::load(model, EngineOptions { precision: Some(precision), level }).unwrap();
    assert_eq!((engine.precision(), engine.note()), (precision, None));
    let mut logits = Array2::zeros((0, 0));
    engine.run(patches, &mut logits).unwrap();
    logits
}

/// What a script of this folder says of a network, patches and logits.
pub fn ask(script: &str, network: &Path, patches: &[u8], logits: &Array2<f32>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (patches_file, logits_file) = (folder.path().join("patches.u8"), folder.path().join("logits.f32"));
    std::fs::write(&patches_file, patches).unwrap();
    let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    std::fs::write(&logits_file, bytes).unwrap();
    let mut command = Command::new(super::program::python());
    command.arg(Path::new("tests/peers").join(script)).arg(network).args([&patches_file, &logits_file]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}
