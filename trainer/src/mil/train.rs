//! Trains a network of bags: steps of windows, a running average of the weights, a curve.

use super::loss::bag_losses;
use super::net::{AttentionNet, pool};
use super::window::{Window, WindowCutter, Windows};
use crate::checkpoint::{self, CHECKPOINT, CheckpointError};
use crate::learning_curve::CURVE;
use crate::metrics;
use crate::optimizer::{AdamW, one_cycle};
use crate::recipe::Recipe;
use crate::record::{self, Record};
use crate::shard::{Shard, ShardError, Source};
use crate::split::Side;
use crate::train::{self, Ending, Job, TrainError, WEIGHTS};
use crate::weights::Averaged;
use hemapatch::label::BagLabel;
use indicatif::ProgressBar;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
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
    /// The state cannot be kept or taken up again.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
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

impl BagPoint {
    fn numbers(&self) -> [f64; 6] {
        let BagPoint { round, learning_rate, label_loss, roughness, validation_auc, seconds } = *self;
        [round as f64, learning_rate, label_loss, roughness, validation_auc, seconds]
    }

    fn of([round, learning_rate, label_loss, roughness, validation_auc, seconds]: [f64; 6]) -> BagPoint {
        let round = round as usize;
        BagPoint { round, learning_rate, label_loss, roughness, validation_auc, seconds }
    }
}

/// Trains on the shard's training patients, with the same files after every round as
/// [`train::train`]; `stop` ends it at the next step.
///
/// # Errors
/// [`MilError`].
pub fn train(job: &Job, stop: &AtomicBool, progress: &ProgressBar) -> Result<Ending, MilError> {
    let Job { recipe, split, out, .. } = *job;
    let training = &recipe.training;
    let (first, second) = (Shard::open(job.shard)?, Shard::open(job.shard)?);
    train::check(recipe, first.index())?;
    if first.index().source == Source::LabelledPatches {
        return Err(MilError::NoSlices);
    }
    let index = first.index().clone();
    let hashes = job.hashes()?;
    let fingerprint = record::fingerprint(recipe, split, &hashes);
    tch::set_num_threads(training.threads);
    tch::manual_seed(recipe.seed as i64);
    let cutter = WindowCutter::new(first, split, Side::Training, recipe);
    let mut probe = WindowCutter::new(second, split, Side::Validation, recipe);
    if let Some(label) = cutter.unknown_label() {
        return Err(MilError::UnknownLabel(label));
    }
    for (side, cutter) in [(Side::Training, &cutter), (Side::Validation, &probe)] {
        if !cutter.has_both_kinds() {
            return Err(MilError::OneKind(side));
        }
    }
    let probe = probe.cut_plain(PROBE)?;
    let mut weights = Averaged::<AttentionNet>::new(recipe)?;
    let mut optimizer = AdamW::new(&weights.current.store, training.weight_decay);
    let kept = out.join(CHECKPOINT);
    let mut curve: Vec<BagPoint> = if job.resume {
        let points = checkpoint::load(&kept, &fingerprint, &mut weights, &mut optimizer)?;
        // Those beside it may be of a training that came after it and was stopped.
        checkpoint::save_weights(&weights.average, &out.join(WEIGHTS))?;
        points.into_iter().map(BagPoint::of).collect()
    } else {
        checkpoint::forget(&kept)?;
        Vec::new()
    };
    let spent = curve.last().map_or(0.0, |point| point.seconds);
    let started = Instant::now();
    let steps = training.rounds * training.steps;
    let mut step = curve.len() * training.steps;
    let mut windows = Windows::start(cutter, step..steps);
    progress.set_length(steps as u64);
    progress.set_position(step as u64);
    let mut ending = Ending::Finished;
    while step < steps {
        let mut point = BagPoint { round: curve.len(), ..BagPoint::default() };
        let mut done = 0;
        while done < training.steps && !stop.load(Ordering::Relaxed) {
            let Some(windows) = windows.next().transpose()? else { break };
            if windows.iter().all(|window| window.patches() == 0) {
                // Whoever scanned beyond the head: a step of empty slices teaches nothing.
                (step, done) = (step + 1, done + 1);
                continue;
            }
            point.learning_rate = one_cycle(training.learning_rate, step, steps);
            let outputs = weights.current.net.forward(&gray(recipe, &windows), true);
            let losses = bag_losses(&outputs, &windows, training.label_smoothing);
            let total = &losses.labels
                + &losses.slices * recipe.mil.smooth_slices
                + &losses.places * recipe.mil.smooth_places
                + &losses.scores * recipe.mil.score_decay;
            optimizer.step(&total, point.learning_rate);
            point.label_loss += losses.labels.double_value(&[]);
            point.roughness += losses.slices.double_value(&[]);
            (step, done) = (step + 1, done + 1);
            weights.follow(step);
            progress.inc(1);
        }
        point.label_loss /= done.max(1) as f64;
        point.roughness /= done.max(1) as f64;
        if !(point.label_loss + point.roughness).is_finite() {
            return Err(TrainError::Diverged { round: point.round }.into());
        }
        point.validation_auc = look(&weights.average.net, recipe, &probe)?;
        point.seconds = spent + started.elapsed().as_secs_f64();
        progress.set_message(format!(
            "round {}: loss {:.4}, roughness {:.3}, validation AUC {:.3}",
            point.round, point.label_loss, point.roughness, point.validation_auc
        ));
        curve.push(point);
        write_curve(&out.join(CURVE), &curve)?;
        checkpoint::save_weights(&weights.average, &out.join(WEIGHTS))?;
        if stop.load(Ordering::Relaxed) {
            ending = Ending::Stopped;
            break;
        }
        let points: Vec<_> = curve.iter().map(BagPoint::numbers).collect();
        checkpoint::save(&kept, &fingerprint, &weights, &optimizer, &points)?;
    }
    let whole = curve.len() - usize::from(ending == Ending::Stopped);
    let seconds = spent + started.elapsed().as_secs_f64();
    job.write_record(&Record::new(recipe, &index, hashes, whole, seconds))?;
    progress.finish();
    Ok(ending)
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

fn write_curve(path: &Path, curve: &[BagPoint]) -> Result<(), TrainError> {
    let mut text = String::from("round,learning_rate,label_loss,roughness,validation_auc,seconds\n");
    for point in curve {
        text += &format!(
            "{},{:.6},{:.5},{:.5},{:.5},{:.1}\n",
            point.round,
            point.learning_rate,
            point.label_loss,
            point.roughness,
            point.validation_auc,
            point.seconds
        );
    }
    fs::write(path, text).map_err(|source| TrainError::Io { path: path.into(), source })
}
