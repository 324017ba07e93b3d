//! Small networks of every shape, against naive loops in f64, and files of every spelling, against tract.

mod drawn;
mod reference;

use super::{read, understand};
use crate::engine::drawn::{Graph, SHAPES, bits, patches, run};
use crate::engine::fused::network::Network;
use crate::engine::fused::{FusedNetwork, Plan};
use crate::engine::{EngineOptions, Precision, load};
use crate::model::Model;
use crate::patch::{Grid, Neighbourhood, Patches, Pyramid};
use crate::phantom::{Phantom, Spec};
use crate::simd::{Floats, Kernels, Level};
use drawn::{Spelling, written};
use ndarray::Array2;
use reference::reference_logits;
use sha2::{Digest, Sha256};
use std::path::Path;
use tract_core::prelude::*;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{Framework, InferenceModelExt};

fn available() -> impl Iterator<Item = Kernels<Floats>> {
    Level::available().into_iter().filter_map(|level| Kernels::of(level)?.floats())
}

fn best() -> Kernels<Floats> {
    available().last().unwrap()
}

/// Checks that numbers differ by at most that share of the largest.
#[track_caller]
fn assert_near(found: &[f32], expected: &[f64], share: f64) {
    let largest = expected.iter().fold(0.0, |largest: f64, number| largest.max(number.abs()));
    let apart = found.iter().zip(expected).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
    assert!(found.len() == expected.len() && apart <= share * largest, "{apart} apart, of {largest}");
}

#[test]
fn every_shape_gives_the_references_logits_and_every_level_the_same_bits() {
    for (seed, shape) in (0..).zip(&SHAPES) {
        for spelling in [Spelling::Trainer, Spelling::Plain] {
            let plan = shape.draw_floats(seed, spelling);
            let patches = patches(shape, 7);
            let scalar = run(&Network::new(&plan, available().next().unwrap()), &patches, 7);
            assert_near(&scalar, &reference_logits(&plan, &patches), 1e-5);
            for kernels in available() {
                let logits = run(&Network::new(&plan, kernels), &patches, 7);
                assert_eq!(bits(&logits), bits(&scalar), "{shape:?} at {}", kernels.level());
            }
        }
    }
}

/// One hash that every processor must match.
#[test]
fn every_processor_gives_the_same_bits() {
    for kernels in available() {
        let mut hash = Sha256::new();
        for (seed, shape) in (0..).zip(&SHAPES[..3]) {
            let network = Network::new(&shape.draw_floats(seed, Spelling::Trainer), kernels);
            let logits = run(&network, &patches(shape, 7), 7);
            logits.iter().for_each(|logit| hash.update(logit.to_le_bytes()));
        }
        let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hash,
            "fa57fa72ade7e68c504e5866972584cf8636b4856917655c7361f97fb9b8aa40",
            "level {}",
            kernels.level()
        );
    }
}

#[test]
fn a_batch_of_any_size_gives_each_patch_its_own_logits() {
    let shape = &SHAPES[0];
    let network = Network::new(&shape.draw_floats(3, Spelling::Trainer), best());
    let batch = network.batch();
    let (most, length) = (3 * batch - 5, shape.views * shape.size * shape.size);
    let patches = patches(shape, most);
    let each: Vec<f32> = patches.chunks(length).flat_map(|patch| run(&network, patch, 1)).collect();
    for count in [0, 1, batch - 1, batch, batch + 1, 2 * batch + 1, most] {
        let logits = run(&network, &patches[..count * length], count);
        assert_eq!(bits(&logits), bits(&each[..count]), "{count} patches");
    }
}

#[test]
fn what_is_written_is_recognised() {
    for (seed, shape) in (0..).zip(&SHAPES) {
        for spelling in [Spelling::Trainer, Spelling::Plain] {
            let plan = shape.draw_floats(seed, spelling);
            let (_, found) = understand(&written(&plan, spelling).finish(), plan.input).unwrap();
            assert!(found == plan, "{shape:?}");
        }
    }
}

/// tract's own logits, of f32 patches.
fn tracts_logits(file: &ModelProto, patches: &[u8], shape: [usize; 4]) -> Vec<f64> {
    let model = tract_onnx::onnx().model_for_proto_model(file).unwrap();
    let model = model.with_input_fact(0, f32::fact(shape).into()).unwrap();
    let patches: Vec<f32> = patches.iter().copied().map(f32::from).collect();
    let input = Tensor::from_shape(&shape, &patches).unwrap();
    let output = model.into_optimized().unwrap().into_runnable().unwrap().run(tvec!(input.into())).unwrap();
    let logits = output[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap();
    logits.iter().copied().map(f64::from).collect()
}

#[test]
fn every_spelling_gives_tracts_logits() {
    for spelling in [Spelling::Trainer, Spelling::Plain, Spelling::Normalized] {
        let shape = &SHAPES[1];
        let patches = patches(shape, 9);
        let file = written(&shape.draw_floats(8, spelling), spelling).finish();
        let (model, plan) = understand(&file, [5, 16, 16]).unwrap_or_else(|e| panic!("{spelling:?}: {e:#}"));
        let expected = tracts_logits(&file, &patches, [9, 5, 16, 16]);
        let network = Network::new(&plan, best());
        assert_near(&run(&network, &patches, 9), &expected, 1e-5);
        let mut levels = Tensor::zero::<f32>(&[network.batch(), network.stride()]).unwrap();
        network.lay_out(&patches, levels.try_as_plain_ram_mut().unwrap().as_slice_mut().unwrap());
        let model = FusedNetwork::replace(model, Arc::new(network)).unwrap();
        assert_eq!(model.nodes.len(), 3, "the batch, the number of its patches, and the operator");
        let mut state = model.into_runnable().unwrap().spawn().unwrap();
        let output = state.run(tvec!(levels.into(), tensor0(9i64).into())).unwrap();
        let logits = output[0].try_as_plain_ram().unwrap();
        assert_near(&logits.as_slice::<f32>().unwrap()[..expected.len()], &expected, 1e-5);
    }
}

#[test]
fn another_network_is_not_recognised_and_the_node_is_named() {
    let said = |graph: Graph| {
        let found = understand(&graph.finish(), [3, 32, 32]).map(|_| ());
        format!("{:#}", found.expect_err("another network"))
    };
    let plan = SHAPES[3].draw_floats(5, Spelling::Trainer);
    let of_graph = |change: &dyn Fn(&mut Graph)| {
        let mut graph = written(&plan, Spelling::Trainer);
        change(&mut graph);
        said(graph)
    };
    let of_plan = |change: &dyn Fn(&mut Plan<Floats>)| {
        let mut plan = plan.clone();
        change(&mut plan);
        said(written(&plan, Spelling::Trainer))
    };
    let relu = of_graph(&|graph| graph.node_mut("stem_relu").op_type = "Sigmoid".into());
    assert!(relu.contains("stem_relu is") && relu.contains("expected a ReLU"), "{relu}");
    let pool = of_graph(&|graph| graph.node_mut("pool").op_type = "AveragePool".into());
    assert!(pool.contains("expected a max-pool"), "{pool}");
    let shortcut = of_graph(&|graph| graph.node_mut("block1_add").input[1] = "pool".into());
    assert!(shortcut.contains("pool is"), "{shortcut}");
    let weight = of_plan(&|plan| plan.blocks[1].first.weights[3] = f32::NAN);
    assert!(weight.contains("block1_first_weight") && weight.contains("finite"), "{weight}");
    let stem = of_plan(&|plan| plan.stem.weights[3] = 1e37);
    assert!(stem.contains("finite sums"), "{stem}");
}

/// The different patches of a middle slice of a synthetic head.
fn phantom_patches(model: &Model) -> Patches {
    let phantom = Phantom::new(&Spec::demo(1)).unwrap();
    let [below, this, above] = [13, 14, 15].map(|index| {
        let hu = phantom.slice(index).hu;
        let mut gray = Array2::zeros(hu.dim());
        model.window().apply(hu.as_slice().unwrap(), gray.as_slice_mut().unwrap());
        Pyramid::of(&gray)
    });
    let patch = &model.manifest().patch;
    let mut patches = Patches::new(Grid::over(this.rows(), this.columns(), patch.size), &patch.views);
    patches.cut(Neighbourhood { before: Some(&below), this: &this, after: Some(&above) });
    patches
}

#[test]
fn the_shipped_network_gives_tracts_logits_and_classes() {
    let model = Model::open(Path::new("models/ich16")).unwrap();
    let patches = phantom_patches(&model);
    let count = patches.unique().len() / patches.length();
    let mut engine = load(&model, EngineOptions { precision: Some(Precision::F32), level: None }).unwrap();
    assert_eq!((engine.name(), engine.level(), engine.note()), ("hemapatch f32", Some(best().level()), None));
    let mut logits = Array2::zeros((0, 0));
    engine.run(&patches, &mut logits).unwrap();
    assert_eq!(logits.dim(), (count, 4));
    let file = tract_onnx::onnx().proto_model_for_read(&mut model.network()).unwrap();
    let expected = tracts_logits(&file, patches.unique(), [count, 5, 16, 16]);
    assert_near(logits.as_slice().unwrap(), &expected, 1e-4);
    let class = |logits: &[f64]| (0..4).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    for (found, expected) in logits.outer_iter().zip(expected.chunks(4)) {
        assert_eq!(class(&found.mapv(f64::from).to_vec()), class(expected));
    }
    assert!(read(model.network(), [4, 16, 16]).is_err(), "of five views");
}
