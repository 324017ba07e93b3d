//! How fast training is beside plain libtorch calls: whether the loader holds the network up, and what
//! leaving out dead taps gains.
//!
//! All are measured in turns within one run, so that whatever else the machine does meets all of them.

use crate::bag::{Bag, Cutter};
use crate::batch::{Batch, Sampler};
use crate::learning_curve::CurvePoint;
use crate::loss::Objective;
use crate::net::{ResNet18, Taps};
use crate::optimizer::AdamW;
use crate::random::Random;
use crate::recipe::Recipe;
use crate::shard::Shard;
use crate::split::{Side, Split};
use crate::train::{self, Round, TrainError};
use crate::weights::{self, Averaged, Weights};
use indicatif::ProgressBar;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Instant;
use tch::nn::{self, ModuleT, OptimizerConfig, VarStore};

/// Times of one turn, each of as many steps.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// A round's steps as `train` does them, the next round's patches being cut meanwhile.
    pub training_s: f64,
    /// What a round does between steps: look for hard negatives, judge the validation probe.
    pub between_s: f64,
    /// The same network and libtorch's own AdamW on one batch that lies ready.
    pub libtorch_s: f64,
    /// The same with all taps of the kernels, dead ones too.
    pub all_taps_s: f64,
}

/// Training steps as a plain program would make them: one batch, libtorch's optimizer, no average.
struct Plain {
    net: ResNet18,
    optimizer: nn::Optimizer,
    _store: VarStore,
}

impl Plain {
    fn new(recipe: &Recipe, taps: Taps) -> Result<Plain, tch::TchError> {
        let store = VarStore::new(weights::device(recipe));
        let net = ResNet18::new(&store.root(), Weights::<ResNet18>::new(recipe).net.shape, taps);
        let optimizer = nn::AdamW::default().build(&store, 1e-4)?;
        Ok(Plain { net, optimizer, _store: store })
    }

    fn steps(&mut self, steps: usize, batch: &Batch, objective: &Objective) -> f64 {
        let started = Instant::now();
        for _ in 0..steps {
            let logits = self.net.forward_t(&batch.gray, true);
            let losses = objective.losses(&logits, batch);
            let total = losses.weak.map_or(losses.certain.shallow_clone(), |weak| losses.certain + weak);
            self.optimizer.backward_step(&total);
            let _ = total.double_value(&[]);
        }
        started.elapsed().as_secs_f64()
    }
}

/// Measures `turns` turns of a round's steps each.
///
/// # Errors
/// [`TrainError`].
pub fn measure(recipe: &Recipe, shard: &Shard, split: &Split, turns: usize) -> Result<Vec<Turn>, TrainError> {
    tch::set_num_threads(recipe.training.threads);
    let steps = recipe.training.steps;
    let cutter = Cutter::new(shard.clone(), split, Side::Training, recipe);
    let mut probe = Cutter::new(shard.clone(), split, Side::Validation, recipe).cut_plain();
    probe.thin(train::PROBE);
    let mut bag = cutter.cut_round(0);
    let device = weights::device(recipe);
    let objective = Objective::of(recipe, device);
    let averaged = Averaged::<ResNet18>::new(recipe)?;
    let mut optimizer = AdamW::new(&averaged.current.store, recipe.training.weight_decay);
    let mut live = Plain::new(recipe, Taps::Live)?;
    let mut all = Plain::new(recipe, Taps::All)?;
    let shape = averaged.current.net.shape;
    let random = Random::new(recipe.seed);
    let flips = recipe.augmentation.flips;
    let ready =
        Sampler::new(&bag, [shape.views, shape.size], recipe.training.batch, flips, random).on(device).draw();
    live.steps(1, &ready, &objective);
    all.steps(1, &ready, &objective);
    let (stop, progress) = (AtomicBool::new(false), ProgressBar::hidden());
    let mut measured = Vec::new();
    for turn in 1..=turns {
        let started = Instant::now();
        let next = thread::scope(|scope| {
            let cutting = scope.spawn(|| cutter.cut_round(turn));
            // Number 0: a round that looks for nothing before its steps.
            let round = Round { number: 0, recipe, bag: &bag, objective: &objective, stop: &stop };
            round.train(&averaged, &mut optimizer, &progress)?;
            Ok::<Bag, TrainError>(cutting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })?;
        let training_s = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let average = &averaged.average.net;
        if recipe.training.batch.weak > 0 && recipe.training.mine_from < recipe.training.rounds {
            train::hardest(average, recipe.method, &bag)?;
        }
        train::look(average, recipe.method, &probe, &mut CurvePoint::default())?;
        let between_s = started.elapsed().as_secs_f64();
        bag = next;
        let libtorch_s = live.steps(steps, &ready, &objective);
        // Some of the steps tell as much: dead taps cost the same each time.
        let some = steps.div_ceil(10);
        let all_taps_s = all.steps(some, &ready, &objective) * steps as f64 / some as f64;
        measured.push(Turn { training_s, between_s, libtorch_s, all_taps_s });
    }
    Ok(measured)
}

/// A table of the ratios, with patches a second of training beside them.
#[must_use]
pub fn report(turns: &[Turn], patches: usize) -> String {
    let line = |what: &str, of: &dyn Fn(&Turn) -> f64| {
        let mut values: Vec<f64> = turns.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values.get(((values.len() as f64 - 1.0) * share).round() as usize);
        match (at(0.5), at(0.1), at(0.9)) {
            (Some(median), Some(low), Some(high)) => {
                format!("| {what} | {median:.2} | {low:.2} to {high:.2} |\n")
            }
            _ => String::new(),
        }
    };
    let mut text = String::from("| what | median | 10th to 90th percentile |\n|---|---|---|\n");
    text +=
        &line("speed of training / same network in plain libtorch calls", &|t| t.libtorch_s / t.training_s);
    text += &line("the same, with the search for hard negatives and the validation probe", &|t| {
        t.libtorch_s / (t.training_s + t.between_s)
    });
    text += &line("speed of training / plain libtorch with all taps", &|t| t.all_taps_s / t.training_s);
    text += &line("patches a second", &|t| patches as f64 / t.training_s);
    text
}
