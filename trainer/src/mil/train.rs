//! Trains a network of bags: steps of windows, a running average of the weights, a curve.

use super::loss::bag_losses;
use super::net::{AttentionNet, pool};
use super::window::{Window, WindowCutter, Windows};
use crate::learning_curve::Point;
use crate::metrics;
use crate::optimizer::one_cycle;
use crate::recipe::Recipe;
use crate::rounds::Rounds;
use crate::shard::{Shard, ShardError, Source};
use crate::split::Side;
use crate::train::{Ending, Job, TrainError};
use hemapatch::label::BagLabel;
use indicatif::ProgressBar;
use std::sync::atomic::{AtomicBool, Ordering};
use tch::{Kind, Tensor};

/// Validation slices behind a point of the learning curve.
const PROBE: usize = 120;

/// Why training stops without a model.
#[derive(Debug, thiserror::Error)]
pub enum MilError {
    /// What stops any training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The shard cannot be read.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// Patches without slices around them are no bags.
    #[error("the shard holds labelled patches: bags need whole slices")]
    NoSlices,
    /// A label that no slice has, or all.
    #[error("the training patients have no slice with a label {}, or none without: nobody could learn it", .0.name())]
    UnknownLabel(BagLabel),
    /// Bags of one kind alone teach nothing.
    #[error("the {0:?} patients lack slices with a label, or slices without hematoma")]
    OneKind(Side),
}

/// One round's line of the learning curve.
#[derive(Clone, Copy, Debug, Default)]
pub struct BagPoint {
    /// Counted from 0.
    pub round: usize,
    /// Learning rate at its end.
    pub learning_rate: f64,
    /// Mean cross-entropy of the bags' labels.
    pub label_loss: f64,
    /// Mean squared difference of attention logits between neighbouring slices.
    pub roughness: f64,
    /// AUC of hematoma over validation slices of known labels, unpooled, of the averaged weights.
    pub validation_auc: f64,
    /// Since the start.
    pub seconds: f64,
}

impl Point for BagPoint {
    const NAMES: &'static [&'static str] =
        &["round", "learning_rate", "label_loss", "roughness", "validation_auc", "seconds"];

    fn numbers(&self) -> Vec<f64> {
        let BagPoint { round, learning_rate, label_loss, roughness, validation_auc, seconds } = *self;
        vec![round as f64, learning_rate, label_loss, roughness, validation_auc, seconds]
    }

    fn of(numbers: &[f64]) -> Option<BagPoint> {
        let &[round, learning_rate, label_loss, roughness, validation_auc, seconds] = numbers else {
            return None;
        };
        Some(BagPoint {
            round: round as usize,
            learning_rate,
            label_loss,
            roughness,
            validation_auc,
            seconds,
        })
    }

    fn seconds(&self) -> f64 {
        self.seconds
    }

    fn words(&self) -> String {
        let BagPoint { label_loss, roughness, validation_auc, .. } = self;
        format!("loss {label_loss:.4}, roughness {roughness:.3}, validation AUC {validation_auc:.3}")
    }
}

/// Trains on the shard's training patients, with the same files after every round as
/// [`train::train`](crate::train::train); `stop` ends it at the next step.
///
/// # Errors
/// [`MilError`].
pub fn train(job: &Job, stop: &AtomicBool, progress: &ProgressBar) -> Result<Ending, MilError> {
    let Job { recipe, split, .. } = *job;
    let training = &recipe.training;
    let shard = Shard::open(job.shard)?;
    if shard.index().source == Source::LabelledPatches {
        return Err(MilError::NoSlices);
    }
    let cutter = WindowCutter::new(shard.clone(), split, Side::Training, recipe);
    let probe = WindowCutter::new(shard.clone(), split, Side::Validation, recipe);
    if let Some(label) = cutter.unknown_label() {
        return Err(MilError::UnknownLabel(label));
    }
    for (side, cutter) in [(Side::Training, &cutter), (Side::Validation, &probe)] {
        if !cutter.has_both_kinds() {
            return Err(MilError::OneKind(side));
        }
    }
    let probe = probe.cut_plain(PROBE);
    let mut rounds = Rounds::<AttentionNet, BagPoint>::begin(job, &shard, stop, progress)?;
    let steps = training.rounds * training.steps;
    let mut step = rounds.done() * training.steps;
    let mut windows = Windows::start(cutter, step..steps);
    while step < steps {
        let mut point = BagPoint { round: rounds.done(), ..BagPoint::default() };
        let mut done = 0;
        while done < training.steps && !stop.load(Ordering::Relaxed) {
            let Some(windows) = windows.next() else { break };
            if windows.iter().all(|window| window.patches() == 0) {
                // Whoever scanned beyond the head: a step of empty slices teaches nothing.
                (step, done) = (step + 1, done + 1);
                continue;
            }
            point.learning_rate = one_cycle(training.learning_rate, step, steps);
            let outputs = rounds.weights.current.net.forward(&gray(recipe, &windows), true);
            let losses = bag_losses(&outputs, &windows, training.label_smoothing);
            let total = &losses.labels
                + &losses.slices * recipe.mil.smooth_slices
                + &losses.places * recipe.mil.smooth_places
                + &losses.scores * recipe.mil.score_decay;
            rounds.optimizer.step(&total, point.learning_rate);
            point.label_loss += losses.labels.double_value(&[]);
            point.roughness += losses.slices.double_value(&[]);
            (step, done) = (step + 1, done + 1);
            rounds.weights.follow(step);
            progress.inc(1);
        }
        point.label_loss /= done.max(1) as f64;
        point.roughness /= done.max(1) as f64;
        if !(point.label_loss + point.roughness).is_finite() {
            return Err(TrainError::Diverged { round: point.round }.into());
        }
        point.validation_auc = look(&rounds.weights.average.net, recipe, &probe)?;
        point.seconds = rounds.seconds();
        if rounds.end(point)? == Ending::Stopped {
            break;
        }
    }
    Ok(rounds.finish()?)
}

/// The patches of windows, one window after the other.
fn gray(recipe: &Recipe, windows: &[Window]) -> Tensor {
    let size = recipe.patch_size.pixels() as i64;
    let gray: Vec<u8> = windows.iter().flat_map(|window| &window.gray).copied().collect();
    Tensor::from_slice(&gray).view([-1, recipe.views.len() as i64, size, size]).to_kind(Kind::Float)
}

/// AUC of hematoma over the probe's slices; 0.5 where it is undefined.
fn look(net: &AttentionNet, recipe: &Recipe, probe: &[Window]) -> Result<f64, MilError> {
    let hematoma = recipe.mil.bag_labels().iter().position(|&label| label == BagLabel::Hematoma).unwrap_or(0);
    let mut cases = Vec::new();
    for window in probe {
        let outputs = tch::no_grad(|| net.forward(&gray(recipe, std::slice::from_ref(window)), false));
        for bag in window.bags.iter().filter(|bag| !bag.patches.is_empty()) {
            let rows: Vec<i64> = bag.patches.iter().map(|&(_, row)| row).collect();
            let logit = f32::try_from(pool(&outputs, &Tensor::from_slice(&rows)).get(hematoma as i64))?;
            cases.extend(bag.labels[hematoma].map(|truth| (logit, truth)));
        }
    }
    Ok(metrics::auc(&cases).unwrap_or(0.5))
}
