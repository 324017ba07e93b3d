//! Small networks of every shape that the form allows, against the document's equations written down naively.
//!
//! The shipped network is held against the same equations in Python, by `tests/peers_agree.rs`.

mod drawn;
mod file;
mod reference;

use super::description::{Description, Shortcut};
use super::equations;
use super::{recognise, understand};
use crate::engine::drawn::{Graph, Ready, SHAPES, bits, patches, run};
use crate::engine::fused::FusedNetwork;
use crate::engine::fused::network::Network;
use crate::simd::{Integers, Kernels, Level};
use reference::reference_logits;
use sha2::{Digest, Sha256};
use tract_core::prelude::*;

fn packed(description: &Description, kernels: Kernels) -> Network<Integers> {
    Network::new(&equations::plan(description).unwrap(), kernels)
}

#[test]
fn every_shape_gives_the_documents_logits_at_every_level() {
    for (seed, shape) in (0..).zip(&SHAPES) {
        let description = shape.draw(seed);
        let patches = patches(shape, 7);
        let expected = reference_logits(&description, &patches);
        let same = expected.iter().filter(|logit| **logit == expected[0]).count();
        assert!(same < expected.len() / 2, "{shape:?}: logits say something: {expected:?}");
        for level in Level::available() {
            let network = packed(&description, Kernels::of(level).unwrap());
            assert_eq!(bits(&run(&network, &patches, 7)), bits(&expected), "{shape:?} at {level}");
        }
    }
}

/// One hash for every level of every processor, emulated ones too: scripts/arm.
#[test]
fn every_processor_gives_the_same_bits() {
    for level in Level::available() {
        let mut hash = Sha256::new();
        for (seed, shape) in (0..).zip(&SHAPES[..3]) {
            let network = packed(&shape.draw(seed), Kernels::of(level).unwrap());
            let logits = run(&network, &patches(shape, 7), 7);
            logits.iter().for_each(|logit| hash.update(logit.to_le_bytes()));
        }
        let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, "568e41b8604dccb78c3d6b777bed4ababa916185321390c04c8174f4d7140937", "level {level}");
    }
}

#[test]
fn a_batch_of_any_size_gives_each_patch_its_own_logits() {
    let shape = &SHAPES[0];
    let network = packed(&shape.draw(3), Kernels::best());
    let batch = network.batch();
    let (most, length) = (3 * batch - 5, shape.views * shape.size * shape.size);
    let patches = patches(shape, most);
    let each: Vec<f32> = patches.chunks(length).flat_map(|patch| run(&network, patch, 1)).collect();
    let mut ready = Ready::new(&network);
    for count in [0, 1, batch - 1, batch, batch + 1, 2 * batch + 1, most] {
        let logits = ready.run(&patches[..count * length], count);
        assert_eq!(bits(&logits), bits(&each[..count]), "{count} patches");
    }
}

#[test]
fn what_is_written_is_recognised() {
    for (seed, shape) in (0..).zip(&SHAPES) {
        let description = shape.draw(seed);
        let (_, found) = understand(&file::encode(&description), description.input).unwrap();
        assert_eq!(found, description, "{shape:?}");
    }
}

#[test]
fn the_operator_takes_the_place_of_the_whole_model() {
    let shape = &SHAPES[1];
    let (model, description) = understand(&file::encode(&shape.draw(4)), [5, 16, 16]).unwrap();
    let network = packed(&description, Kernels::best());
    let patches = patches(shape, 3);
    let expected = run(&network, &patches, 3);
    let mut levels = Tensor::zero::<u8>(&[network.batch(), network.stride()]).unwrap();
    network.lay_out(&patches, levels.try_as_plain_ram_mut().unwrap().as_slice_mut().unwrap());
    let (levels, outputs) = (levels.into_tvalue(), network.outputs());
    let model = FusedNetwork::replace(model, Arc::new(network)).unwrap();
    assert_eq!(model.nodes.len(), 3, "the batch, the number of its patches, and the operator");
    let mut state = model.into_runnable().unwrap().spawn().unwrap();
    for count in [3, 0, 2] {
        let output = state.run(tvec!(levels.clone(), tensor0(count as i64).into())).unwrap();
        let logits = output[0].try_as_plain_ram().unwrap();
        let (logits, beyond) = logits.as_slice::<f32>().unwrap().split_at(count * outputs);
        assert_eq!(logits, &expected[..count * outputs]);
        assert!(beyond.iter().all(|&logit| logit == 0.0));
    }
    for count in [-1, i64::MAX] {
        assert!(state.run(tvec!(levels.clone(), tensor0(count).into())).is_err());
    }
}

#[test]
fn another_network_is_not_recognised_and_the_node_is_named() {
    let departure = |change: &dyn Fn(&mut Graph)| {
        let mut graph = Graph::of(&SHAPES[3].draw(5));
        change(&mut graph);
        let found = understand(&graph.finish(), [3, 32, 32]).map(|_| ());
        format!("{:#}", found.expect_err("another network"))
    };
    let relu = departure(&|graph| graph.node_mut("stem_relu").op_type = "Sigmoid".into());
    assert!(relu.contains("stem_relu is") && relu.contains("expected a ReLU"), "{relu}");
    let pool = departure(&|graph| graph.node_mut("pool").op_type = "AveragePool".into());
    assert!(pool.contains("expected a max-pool"), "{pool}");
    let shortcut = departure(&|graph| graph.node_mut("block1_add").input[1] = "pool_real".into());
    assert!(shortcut.contains("pool_real"), "{shortcut}");
    let zero = departure(&|graph| graph.set_byte("zero", 3));
    assert!(zero.contains("zero point"), "{zero}");
}

#[test]
fn a_file_that_breaks_an_equation_is_refused_by_its_number() {
    let refusal = |change: &dyn Fn(&mut Description)| {
        let mut description = SHAPES[1].draw(6);
        change(&mut description);
        equations::check(&description).expect_err("an inconsistent file").to_string()
    };
    let weight = refusal(&|network| network.blocks[0].first.weights[3] = i8::MIN);
    assert!(weight.contains("(2)") && weight.contains("block0_first"), "{weight}");
    let bias = refusal(&|network| network.stem.bias_steps[2] *= 1.001);
    assert!(bias.contains("(3)") && bias.contains("stem"), "{bias}");
    let multiplier = refusal(&|network| network.stem_scale = f32::INFINITY);
    assert!(multiplier.contains("(4)"), "{multiplier}");
    let identity = refusal(&|network| {
        let block = network.blocks.iter_mut().find(|block| block.shortcut == Shortcut::Identity).unwrap();
        block.second.scales[1] *= 1.00002;
        block.second.bias_steps[1] *= 1.00002;
    });
    assert!(identity.contains("(7)"), "{identity}");
    let shared = refusal(&|network| {
        let convolution = network.blocks.iter_mut().find_map(|block| match &mut block.shortcut {
            Shortcut::Convolution(convolution) => Some(convolution),
            Shortcut::Identity => None,
        });
        let convolution = convolution.unwrap();
        convolution.scales[0] *= 2.0;
        convolution.bias_steps[0] *= 2.0;
    });
    assert!(shared.contains("(8)"), "{shared}");
    let head = refusal(&|network| network.head.scales[0] = 0.0);
    assert!(head.contains("the head"), "{head}");
    let bound = refusal(&|network| network.blocks[1].second.bias[0] = i32::MIN);
    assert!(bound.contains("(10)"), "{bound}");
}

#[test]
fn a_shape_that_is_not_the_networks_is_no_network() {
    let proto = file::encode(&SHAPES[0].draw(1));
    assert!(understand(&proto, [2, 8, 8]).is_err());
    // More pixels make larger maps, and a head that averages over them.
    let (_, larger) = understand(&proto, [1, 16, 16]).unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(larger.input, [1, 16, 16]);
}

#[test]
fn a_departure_says_where() {
    let (model, _) = understand(&file::encode(&SHAPES[0].draw(1)), [1, 8, 8]).unwrap();
    let mut twice = model.clone();
    twice.outputs.push(model.outputs[0]);
    assert!(recognise::recognise(&twice).unwrap_err().to_string().contains("one output"));
}
