//! The shipped networks are plain ONNX, and mean what other runtimes make of them: onnx.checker accepts them, ONNX
//! Runtime gives our logits in f32, and in integers they are those of docs/quantization.md to the last bit.

mod peers;
mod program;

use hemapatch::engine::Precision;
use hemapatch::model::Model;
use hemapatch::patch::Patches;
use hemapatch::simd::{Kernels, Level};
use ndarray::Array2;
use std::path::Path;

fn shipped() -> (Model, &'static Path) {
    let folder = Path::new("models/ich16");
    (Model::open(folder).unwrap(), folder)
}

#[test]
fn in_floating_point_on_the_patches_of_a_slice() {
    let (model, folder) = shipped();
    let [below, this, above] = [12, 13, 14].map(|index| peers::phantom_slice(&model, index));
    let patches = peers::cut(&model, [&below, &this, &above]);
    let logits = peers::logits(&model, &patches, Precision::F32, None);
    assert!(logits.nrows() > 300);
    let said = peers::ask("logits.py", &folder.join("model.onnx"), patches.unique(), &logits);
    let largest: f64 = said.trim().parse().unwrap();
    assert!(largest < 1e-3, "logits differ by {largest}");
    assert_same_at_every_level(&model, &patches, Precision::F32, &logits);
}

/// Noise of every level, in blocks of that many pixels: no patch is like another, and all levels meet all weights.
fn noise(rows: usize, columns: usize, block: usize, seed: u32) -> Array2<u8> {
    Array2::from_shape_fn((rows, columns), |(y, x)| {
        let at = (y / block * columns + x / block) as u32;
        let mixed = at.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503));
        (mixed ^ mixed >> 15).wrapping_mul(2_246_822_519).to_be_bytes()[0]
    })
}

#[test]
fn in_integers_to_the_last_bit_at_every_level_of_this_processor() {
    let (model, folder) = shipped();
    let head = [12, 13, 14].map(|index| peers::phantom_slice(&model, index));
    let fine = [1, 2, 3].map(|seed| noise(200, 200, 1, seed));
    let coarse = [4, 5, 6].map(|seed| noise(200, 200, 9, seed));
    for [below, this, above] in [&head, &fine, &coarse] {
        let patches = peers::cut(&model, [below, this, above]);
        let logits = peers::logits(&model, &patches, Precision::Int8, None);
        assert!(logits.nrows() > 100);
        peers::ask("int8.py", &folder.join("model.int8.onnx"), patches.unique(), &logits);
        assert_same_at_every_level(&model, &patches, Precision::Int8, &logits);
    }
}

/// To the bit. The specification itself is slow, and is compared on smaller networks.
fn assert_same_at_every_level(model: &Model, patches: &Patches, precision: Precision, logits: &Array2<f32>) {
    let has = |level: &Level| {
        *level != Level::Scalar
            && Kernels::of(*level)
                .is_some_and(|kernels| precision == Precision::Int8 || kernels.floats().is_some())
    };
    for level in Level::available().into_iter().filter(has) {
        let found = peers::logits(model, patches, precision, Some(level));
        let differ = found.iter().zip(logits).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        assert_eq!(differ, 0, "{level} gives other logits");
    }
}
