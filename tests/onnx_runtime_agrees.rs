//! The shipped network is plain ONNX: onnx.checker accepts it, and ONNX Runtime gives the logits of our engine.

mod program;

use hemapatch::engine::{self, EngineOptions};
use hemapatch::model::Model;
use hemapatch::patch::{Grid, Neighbourhood, Patches, Pyramid};
use hemapatch::phantom::{Phantom, Spec};
use hemapatch::prep::Scratch;
use ndarray::Array2;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;

#[test]
fn on_the_patches_of_a_slice() {
    let model = Model::open(Path::new("models/ich16")).unwrap();
    let manifest = model.manifest();
    let hu = Phantom::new(&Spec::demo(1)).unwrap().slice(13).hu;
    let mut gray = Array2::zeros(hu.dim());
    model.window().apply(hu.as_slice().unwrap(), gray.as_slice_mut().unwrap());
    manifest.preparation.steps.prepare(&mut gray, &mut Scratch::default());
    let pyramid = Pyramid::of(&gray);
    let grid = Grid::over(gray.nrows(), gray.ncols(), manifest.patch.size);
    let mut patches = Patches::new(grid, &manifest.patch.views);
    patches.cut(Neighbourhood { before: None, this: &pyramid, after: None });

    let mut engine = engine::load(&model, EngineOptions { threads: NonZeroUsize::MIN }).unwrap();
    let mut logits = Array2::zeros((0, 0));
    engine.run(&patches, &mut logits).unwrap();
    assert!(logits.nrows() > 300);

    let folder = tempfile::tempdir().unwrap();
    let (patches_file, logits_file) = (folder.path().join("patches.u8"), folder.path().join("logits.f32"));
    std::fs::write(&patches_file, patches.unique()).unwrap();
    let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    std::fs::write(&logits_file, bytes).unwrap();
    let output = Command::new(program::python())
        .arg("tests/peers/logits.py")
        .arg("models/ich16/model.onnx")
        .args([&patches_file, &logits_file])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let largest: f64 = said.trim().parse().unwrap();
    assert!(largest < 1e-3, "logits differ by {largest}");
}
