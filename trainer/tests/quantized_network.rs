//! The quantized network is one network: the file gives the engine the reference's logits to the last bit, and other
//! runtimes those that rounding in another order leaves.

mod untuned;

use hemapatch::engine::{self, EngineOptions, Precision};
use hemapatch::model::{Int8, MANIFEST, Manifest, Model, sha256_hex};
use hemapatch::patch::{Grid, Neighbourhood, Patches, Pyramid};
use hemapatch_train::export;
use hemapatch_train::fold::Folded;
use hemapatch_train::net::ResNet18;
use hemapatch_train::passport::Passport;
use hemapatch_train::quantize;
use hemapatch_train::quantize::calibrate::{Method, Observed};
use hemapatch_train::quantize::network::QuantNet;
use hemapatch_train::quantize::qdq;
use hemapatch_train::quantize::reference::Reference;
use hemapatch_train::random::Random;
use hemapatch_train::recipe::Recipe;
use hemapatch_train::score;
use hemapatch_train::weights::Weights;
use ndarray::{Array2, aview1};
use std::path::Path;
use std::process::Command;
use tch::Tensor;
use tch::nn::ModuleT;
use tract_onnx::prelude::*;

const CLASSES: usize = 4;

/// Patches whose every level is looked at.
const EXAMINED: usize = 256;

/// Patches of a slice drawn at random: blobs on noise, so that patches differ in more than noise.
fn patches(recipe: &Recipe, seed: u64) -> Patches {
    let mut random = Random::new(seed);
    let blobs: Vec<(f64, f64, f64)> = (0..40)
        .map(|_| (random.between(0.0, 512.0), random.between(0.0, 512.0), random.between(20.0, 200.0)))
        .collect();
    let slice = Array2::from_shape_fn((512, 512), |(y, x)| {
        let near = |&(row, column, level): &(f64, f64, f64)| {
            if (row - y as f64).hypot(column - x as f64) < 40.0 { level } else { 0.0 }
        };
        blobs.iter().map(near).fold(0.0, f64::max) as u8 + random.below(56) as u8
    });
    let pyramid = Pyramid::of(&slice);
    let mut patches = Patches::new(Grid::over(512, 512, recipe.patch_size), &recipe.views);
    patches.cut(Neighbourhood { before: None, this: &pyramid, after: None });
    patches
}

/// Random weights with the statistics that training would leave.
fn seen(net: &ResNet18, gray: &[u8]) {
    let shape = net.shape;
    let gray = Tensor::from_slice(gray).view([-1, shape.views, shape.size, shape.size]);
    let gray = gray.to_kind(tch::Kind::Float);
    tch::no_grad(|| (0..40).for_each(|_| drop(net.forward_t(&gray.slice(0, 0, 256, 1), true))));
}

/// Share of the patches with the same class, and the largest difference of their logits.
fn closeness(expected: &[f32], found: &[f32]) -> (f64, f32) {
    assert_eq!(expected.len(), found.len());
    let (mut same, mut off) = (0, 0.0f32);
    for (a, b) in expected.chunks(CLASSES).zip(found.chunks(CLASSES)) {
        same += usize::from(score::most_probable(aview1(a)) == score::most_probable(aview1(b)));
        off = a.iter().zip(b).fold(off, |most, (a, b)| most.max((a - b).abs()));
    }
    (same as f64 / (expected.len() / CLASSES) as f64, off)
}

fn spread(logits: &[f32]) -> f32 {
    let (low, high) = logits.iter().fold((f32::MAX, f32::MIN), |(low, high), &l| (low.min(l), high.max(l)));
    high - low
}

/// The engine's logits, on the kernels of this processor.
fn in_the_engine(file: &[u8], net: &ResNet18, recipe: &Recipe, patches: &Patches) -> Vec<f32> {
    let choices = untuned::choices();
    let folder = tempfile::tempdir().unwrap();
    let passport = Passport::phe_sich(recipe.method, "0.0.0");
    export::export(net, recipe, &choices, &passport, folder.path()).unwrap();
    let mut manifest = Manifest::read(folder.path()).unwrap();
    manifest.network.int8 = Some(Int8 {
        file: quantize::NETWORK.into(),
        sha256: sha256_hex(file),
        calibration: "min-max".into(),
        argmax_agreement: 1.0,
    });
    std::fs::write(folder.path().join(quantize::NETWORK), file).unwrap();
    std::fs::write(folder.path().join(MANIFEST), toml::to_string_pretty(&manifest).unwrap()).unwrap();
    let model = Model::open(folder.path()).unwrap();
    let mut engine = engine::load(&model, EngineOptions::default()).unwrap();
    assert_eq!((engine.precision(), engine.note()), (Precision::Int8, None), "the form is recognised");
    let mut logits = Array2::zeros((0, 0));
    engine.run(patches, &mut logits).unwrap();
    logits.into_raw_vec_and_offset().0
}

fn in_tract(file: &[u8], gray: &[u8], shape: [usize; 4]) -> Vec<f32> {
    let plan = tract_onnx::onnx()
        .model_for_read(&mut &file[..])
        .unwrap()
        .with_input_fact(0, u8::fact(shape).into())
        .unwrap()
        .into_optimized()
        .unwrap()
        .into_runnable()
        .unwrap();
    let bytes: usize = shape[1..].iter().product();
    let run = |gray: &[u8]| {
        let mut input = tract_onnx::prelude::Tensor::zero::<u8>(&shape).unwrap();
        let mut view = input.to_plain_array_view_mut::<u8>().unwrap();
        view.iter_mut().zip(gray).for_each(|(level, &gray)| *level = gray);
        let output = plan.run(tvec!(input.into())).unwrap();
        output[0].to_plain_array_view::<f32>().unwrap().iter().copied().collect::<Vec<f32>>()
    };
    gray.chunks_exact(shape[0] * bytes).flat_map(run).collect()
}

#[test]
fn other_runtimes_give_the_logits_of_the_reference() {
    for name in ["ship.toml", "single.toml"] {
        let recipe = Recipe::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes").join(name)).unwrap();
        tch::manual_seed(21);
        let weights = Weights::<ResNet18>::new(&recipe);
        let patches = patches(&recipe, 22);
        let gray = patches.unique();
        seen(&weights.net, gray);
        let folded = Folded::of(&weights.net);
        let observed = Observed::of(&folded, gray).unwrap();
        let quantized = QuantNet::of(&folded, &observed.scales(Method::MinMax)).unwrap();
        let reference = Reference::new(&quantized).logits(gray).unwrap();

        // Eight bits are close to f32; how close on real weights is what the command measures.
        let in_f32 = score::logits(&weights.net, gray).unwrap().into_raw_vec_and_offset().0;
        let range = spread(&in_f32);
        let (_, off) = closeness(&in_f32, &reference);
        assert!(off < 0.1 * range, "{name}: off by {off} of {range} from f32");

        let file = qdq::encode(&quantized, &[("intended_use", "a test")]);
        let found = in_the_engine(&file, &weights.net, &recipe, &patches);
        let bits = |logits: &[f32]| logits.iter().map(|logit| logit.to_bits()).collect::<Vec<_>>();
        assert!(bits(&found) == bits(&reference), "{name}: the engine gives other logits");

        let shape = weights.net.shape;
        let (views, size) = (shape.views as usize, shape.size as usize);
        let whole = gray.len() / (views * size * size) / 16 * 16;
        let found = in_tract(&file, &gray[..whole * views * size * size], [16, views, size, size]);
        let (same, off) = closeness(&reference[..whole * CLASSES], &found);
        println!("{name}: tract: same class {same}, largest difference {off} of {range}");
        assert!(same >= 0.99 && off < 0.05 * range, "{name}: tract: {same}, {off} of {range}");

        let some = EXAMINED.min(whole);
        let (gray, reference) = (&gray[..some * views * size * size], &reference[..some * CLASSES]);
        for found in in_onnx_runtime(&file, gray, reference) {
            println!("{name}: ONNX Runtime: {found:?}, logits over {range}");
            let Peer { same_class, logit, levels, rounding } = found;
            assert!(same_class >= 0.99 && logit < 0.05 * f64::from(range), "{name}: {found:?} of {range}");
            // What another order of f32 sums explains, and nothing else does.
            assert!(levels < 1e-2 && rounding < 0.501, "{name}: {found:?}");
        }
    }
}

/// How close ONNX Runtime is, as `tests/peers/int8.py` says.
#[derive(Clone, Copy, Debug)]
struct Peer {
    same_class: f64,
    logit: f64,
    levels: f64,
    rounding: f64,
}

/// ONNX Runtime operator by operator and optimized; `onnx.checker` sees the file, and the
/// document's equations, run in Python, give `reference` to the last bit.
fn in_onnx_runtime(file: &[u8], gray: &[u8], reference: &[f32]) -> Vec<Peer> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = repository.join(".venv/bin/python");
    assert!(python.is_file(), "no Python peers: run `make setup`, as `make test` does");
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let logits: Vec<u8> = reference.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    let files = [put("model.int8.onnx", file), put("patches.u8", gray), put("logits.f32", &logits)];
    let output =
        Command::new(python).arg(repository.join("tests/peers/int8.py")).args(&files).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let peers: Vec<Peer> = said
        .lines()
        .map(|line| {
            let mut numbers = line.split_whitespace().map(|word| word.parse().unwrap());
            let mut next = || numbers.next().unwrap();
            Peer { same_class: next(), logit: next(), levels: next(), rounding: next() }
        })
        .collect();
    assert_eq!(peers.len(), 2, "{said}");
    peers
}
