//! What is trained is what runs: the engine gives an exported network the trainer's own logits.

mod untuned;

use hemapatch::engine::{self, EngineOptions};
use hemapatch::patch::{Grid, Neighbourhood, Patches, Pyramid};
use hemapatch_train::export;
use hemapatch_train::net::ResNet18;
use hemapatch_train::passport::Passport;
use hemapatch_train::random::Random;
use hemapatch_train::recipe::Recipe;
use hemapatch_train::weights::Weights;
use ndarray::Array2;
use std::path::Path;
use tch::nn::ModuleT;
use tch::{Kind, Tensor};

/// Logits of both lie this close together. They are of the order of 1; f32 sums of some hundred
/// products in another order differ by about 1e-6.
const CLOSE: f32 = 1e-4;

#[test]
fn engine_and_trainer_give_the_same_logits_on_a_thousand_patches() {
    for recipe in ["ship.toml", "single.toml", "multilabel.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes").join(recipe);
        let recipe = Recipe::read(&path).unwrap();
        tch::manual_seed(11);
        let weights = Weights::<ResNet18>::new(&recipe);
        let mut random = Random::new(12);
        let slice = Array2::from_shape_fn((512, 512), |_| random.below(256) as u8);

        // A few training passes, so that the running statistics are not the ones they began with.
        let patches = cut(&recipe, &slice);
        let gray = tensor(&recipe, patches.unique());
        tch::no_grad(|| (0..5).for_each(|_| drop(weights.net.forward_t(&gray, true))));

        let choices = untuned::choices();
        let folder = tempfile::tempdir().unwrap();
        let passport = Passport::phe_sich(recipe.method, "0.0.0");
        let model = export::export(&weights.net, &recipe, &choices, &passport, folder.path()).unwrap();
        assert!(model.network().len() < 9_000_000, "dead taps are left out");

        let mut engine = engine::load(&model, EngineOptions::default()).unwrap();
        let mut found = Array2::zeros((0, 0));
        engine.run(&patches, &mut found).unwrap();
        let expected = tch::no_grad(|| weights.net.forward_t(&gray, false));
        let expected = Vec::<f32>::try_from(expected.contiguous().view([-1])).unwrap();
        assert!(found.nrows() >= 1000);
        assert_eq!(found.len(), expected.len());
        let spread = expected.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
        assert!(spread > 0.05, "the logits say something: {spread}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= CLOSE, "{found} in the engine, {expected} in the trainer");
        }
    }
}

fn cut(recipe: &Recipe, slice: &Array2<u8>) -> Patches {
    let pyramid = Pyramid::of(slice);
    let grid = Grid::over(slice.nrows(), slice.ncols(), recipe.patch_size);
    let mut patches = Patches::new(grid, &recipe.views);
    patches.cut(Neighbourhood { before: None, this: &pyramid, after: None });
    patches
}

fn tensor(recipe: &Recipe, gray: &[u8]) -> Tensor {
    let size = recipe.patch_size.pixels() as i64;
    Tensor::from_slice(gray).view([-1, recipe.views.len() as i64, size, size]).to_kind(Kind::Float)
}
