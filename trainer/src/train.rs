//! Trains the patch network by a recipe: rounds of batches, a running average of the weights,
//! hard weak negatives looked for between rounds, and a curve of it all.

use crate::bag::{Bag, Bags, Cutter, WEAK};
use crate::batch::Sampler;
use crate::loss::{Losses, losses};
use crate::net::{ResNet18, Shape, Taps};
use crate::random::Random;
use crate::recipe::{Recipe, Training};
use crate::score;
use crate::shard::{Index, Shard, ShardError, Source};
use crate::split::{Side, Split};
use hemapatch::label::Class;
use indicatif::ProgressBar;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use std::{fs, io};
use tch::nn::{self, ModuleT, OptimizerConfig, VarStore};
use tch::{Device, Tensor};

/// File of the averaged weights in the run's folder: the model.
pub const WEIGHTS: &str = "weights.safetensors";

/// File of the learning curve.
pub const CURVE: &str = "curve.csv";

/// The average follows the weights every so many steps: as good, and cheaper.
const AVERAGE_EVERY: usize = 8;

/// Weak negatives scored in search of hard ones, and the share of them that count as hard.
const MINED: usize = 40_000;
const HARD_SHARE: usize = 8;

/// Validation patches of each kind behind a point of the learning curve.
const PROBE: usize = 1_000;

/// Why training stops without a model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The shard cannot be read.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// The curve cannot be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The shard's slices are not what the recipe's network will be given.
    #[error("the shard was prepared otherwise than the recipe says: run prepare again")]
    Preparation,
    /// A labelled patch has nothing around it, and the recipe looks there.
    #[error("labelled patches show nothing around them: the recipe's views must be [{{ scale = 1 }}]")]
    Views,
    /// The training patients have no certain patch of a class that batches need.
    #[error("the training patients have no {0} patch that the recipe calls certain")]
    NoPatches(Class),
    /// The loss is no longer a number.
    #[error("round {round}: the loss is not finite; a lower learning rate may help")]
    Diverged {
        /// Which round.
        round: usize,
    },
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All rounds were done.
    Finished,
    /// It was asked to stop; the weights are those so far.
    Stopped,
}

/// One round's line of the learning curve.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct CurvePoint {
    /// Counted from 0.
    pub round: usize,
    /// Learning rate at its end.
    pub learning_rate: f64,
    /// Mean cross-entropy of certain training patches.
    pub certain_loss: f64,
    /// Mean loss of weak negatives, hard ones included.
    pub weak_loss: f64,
    /// Share of certain validation patches that the averaged weights call right.
    pub validation_accuracy: f64,
    /// Share of certain hematoma patches called so.
    pub validation_hematoma: f64,
    /// Share of weak negatives called hematoma.
    pub validation_false_alarms: f64,
    /// Since the start.
    pub seconds: f64,
}

/// A network and the variables that hold its weights.
pub struct Weights {
    /// The variables, by torchvision's names.
    pub store: VarStore,
    /// The network.
    pub net: ResNet18,
}

impl Weights {
    /// Fresh weights for a recipe's network.
    #[must_use]
    pub fn new(recipe: &Recipe) -> Weights {
        let shape = Shape {
            views: recipe.views.len() as i64,
            size: recipe.patch_size.pixels() as i64,
            classes: Class::COUNT as i64,
        };
        let store = VarStore::new(Device::Cpu);
        let net = ResNet18::new(&store.root(), shape, Taps::Live);
        Weights { store, net }
    }

    /// The weights of an earlier run.
    ///
    /// # Errors
    /// When the file is missing or belongs to another network.
    pub fn load(recipe: &Recipe, path: &Path) -> Result<Weights, tch::TchError> {
        let mut weights = Weights::new(recipe);
        weights.store.load(path)?;
        weights.store.freeze();
        Ok(weights)
    }
}

/// Whether a shard is what a recipe was written for.
///
/// # Errors
/// [`TrainError::Preparation`], [`TrainError::Views`].
pub fn check(recipe: &Recipe, index: &Index) -> Result<(), TrainError> {
    if index.preparation != recipe.preparation {
        return Err(TrainError::Preparation);
    }
    let looks_around = recipe.views.iter().any(|view| view.scale() != 1 || view.slice_offset() != 0);
    if index.source == Source::LabelledPatches && looks_around {
        return Err(TrainError::Views);
    }
    Ok(())
}

/// Trains by `recipe` on the shard's training patients and leaves [`WEIGHTS`] and [`CURVE`] in
/// `out` after every round; `stop` ends it at the next step.
///
/// # Errors
/// [`TrainError`].
pub fn train(
    recipe: &Recipe,
    shard: &Path,
    split: &Split,
    out: &Path,
    stop: &AtomicBool,
    progress: &ProgressBar,
) -> Result<Ending, TrainError> {
    let started = Instant::now();
    let training = &recipe.training;
    let (first, second) = (Shard::open(shard)?, Shard::open(shard)?);
    check(recipe, first.index())?;
    tch::set_num_threads(training.threads);
    tch::manual_seed(recipe.seed as i64);
    let bags = Bags::start(first, split, recipe);
    let mut probe = Cutter::new(second, split, Side::Validation, recipe).cut_plain()?;
    probe.thin(PROBE);
    let current = Weights::new(recipe);
    let mut average = Weights::new(recipe);
    average.store.copy(&current.store)?;
    average.store.freeze();
    let mut optimizer =
        nn::AdamW::default().wd(training.weight_decay).build(&current.store, training.learning_rate)?;
    let pairs = variable_pairs(&current, &average);
    let random = Random::new(recipe.seed).fork(0xba);
    let shape = [current.net.shape.views, current.net.shape.size];
    let steps = training.rounds * training.steps;
    progress.set_length(steps as u64);
    let mut curve = Vec::new();
    let mut step = 0;
    let mut ending = Ending::Finished;
    for bag in bags {
        let (round, bag) = (curve.len(), bag?);
        require_classes(training, &bag)?;
        let mut sampler =
            Sampler::new(&bag, shape, training.batch, recipe.augmentation.flips, random.fork(round as u64));
        if round >= training.mine_from && training.batch.weak > 0 {
            sampler.set_hard(hardest(&average.net, &bag)?);
        }
        let mut point = CurvePoint { round, ..CurvePoint::default() };
        let mut done = 0;
        while done < training.steps && !stop.load(Ordering::Relaxed) {
            point.learning_rate = one_cycle(training.learning_rate, step, steps);
            optimizer.set_lr(point.learning_rate);
            let batch = sampler.draw();
            let logits = current.net.forward_t(&batch.gray, true);
            let Losses { certain, weak } = losses(&logits, &batch.classes, training.label_smoothing);
            let total = match &weak {
                Some(weak) => &certain + weak * training.weak_weight,
                None => certain.shallow_clone(),
            };
            optimizer.backward_step(&total);
            point.certain_loss += certain.double_value(&[]);
            point.weak_loss += weak.map_or(0.0, |weak| weak.double_value(&[]));
            (step, done) = (step + 1, done + 1);
            if step % AVERAGE_EVERY == 0 {
                follow(&pairs, training.average_decay, step);
            }
            progress.inc(1);
        }
        point.certain_loss /= done.max(1) as f64;
        point.weak_loss /= done.max(1) as f64;
        if !(point.certain_loss + point.weak_loss).is_finite() {
            return Err(TrainError::Diverged { round });
        }
        look(&average.net, &probe, &mut point)?;
        point.seconds = started.elapsed().as_secs_f64();
        progress.set_message(format!(
            "round {round}: loss {:.4} + {:.4}, validation {:.4}, false alarms {:.4}",
            point.certain_loss, point.weak_loss, point.validation_accuracy, point.validation_false_alarms
        ));
        curve.push(point);
        write_curve(&out.join(CURVE), &curve)?;
        average.store.save(out.join(WEIGHTS))?;
        if stop.load(Ordering::Relaxed) {
            ending = Ending::Stopped;
            break;
        }
    }
    progress.finish();
    Ok(ending)
}

fn require_classes(training: &Training, bag: &Bag) -> Result<(), TrainError> {
    let counts = training.batch.counts();
    match Class::ALL.into_iter().find(|class| counts[class.index()] > 0 && bag.count(class.index()) == 0) {
        Some(class) => Err(TrainError::NoPatches(class)),
        None => Ok(()),
    }
}

/// Learning rate of a step: up from a 25th in the first fifth, then down a cosine to nearly 0.
fn one_cycle(highest: f64, step: usize, steps: usize) -> f64 {
    let cosine = |from: f64, to: f64, share: f64| {
        to + (from - to) * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * share))
    };
    let rise = (steps / 5).max(1);
    if step < rise {
        cosine(highest / 25.0, highest, step as f64 / rise as f64)
    } else {
        cosine(highest, highest / 1e4, (step - rise) as f64 / (steps - rise).max(1) as f64)
    }
}

/// The variables of both networks, weights and running statistics, as `(current, average)`.
fn variable_pairs(current: &Weights, average: &Weights) -> Vec<(Tensor, Tensor)> {
    let mut averaged = average.store.variables();
    let mut pairs: Vec<(String, Tensor, Tensor)> = current
        .store
        .variables()
        .into_iter()
        .filter_map(|(name, variable)| averaged.remove(&name).map(|other| (name, variable, other)))
        .collect();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs.into_iter().map(|(_, variable, other)| (variable, other)).collect()
}

/// Moves the average towards the weights. Early on it follows faster: the first weights are noise.
fn follow(pairs: &[(Tensor, Tensor)], decay: f64, step: usize) {
    let warm = (1 + step) as f64 / (10 + step) as f64;
    let kept = libm::pow(decay.min(warm), AVERAGE_EVERY as f64);
    tch::no_grad(|| {
        for (current, average) in pairs {
            let mut average = average.shallow_clone();
            let _ = average.lerp_(current, 1.0 - kept);
        }
    });
}

/// The weak negatives that the network takes for hematoma most.
fn hardest(net: &ResNet18, bag: &Bag) -> Result<Vec<usize>, tch::TchError> {
    let count = bag.count(WEAK);
    let scored = count.min(MINED);
    let places: Vec<usize> = (0..scored).map(|index| index * count / scored).collect();
    let gray: Vec<u8> = places.iter().flat_map(|&place| bag.patch(WEAK, place)).copied().collect();
    let mut ranked: Vec<(f32, usize)> = score::probabilities(net, &gray)?
        .into_iter()
        .map(|probability| probability[Class::Hematoma.index()])
        .zip(places)
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.truncate(scored / HARD_SHARE);
    Ok(ranked.into_iter().map(|(_, place)| place).collect())
}

/// Fills in the curve's validation columns.
fn look(net: &ResNet18, probe: &Bag, point: &mut CurvePoint) -> Result<(), tch::TchError> {
    let hematoma = Class::Hematoma.index();
    let (mut right, mut certain) = (0, 0);
    for class in Class::ALL {
        let called = score::probabilities(net, &probe.gray[class.index()])?;
        let found = called.iter().filter(|p| score::most_probable(p) == class.index()).count();
        if class == Class::Hematoma {
            point.validation_hematoma = found as f64 / called.len().max(1) as f64;
        }
        right += found;
        certain += called.len();
    }
    point.validation_accuracy = right as f64 / certain.max(1) as f64;
    let weak = score::probabilities(net, &probe.gray[WEAK])?;
    let alarms = weak.iter().filter(|p| score::most_probable(p) == hematoma).count();
    point.validation_false_alarms = alarms as f64 / weak.len().max(1) as f64;
    Ok(())
}

fn write_curve(path: &Path, curve: &[CurvePoint]) -> Result<(), TrainError> {
    let mut text = String::from(
        "round,learning_rate,certain_loss,weak_loss,validation_accuracy,validation_hematoma,\
         validation_false_alarms,seconds\n",
    );
    for point in curve {
        text += &format!(
            "{},{:.6},{:.5},{:.5},{:.5},{:.5},{:.5},{:.1}\n",
            point.round,
            point.learning_rate,
            point.certain_loss,
            point.weak_loss,
            point.validation_accuracy,
            point.validation_hematoma,
            point.validation_false_alarms,
            point.seconds
        );
    }
    fs::write(path, text).map_err(|source| TrainError::Io { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_and_falls_once() {
        let rates: Vec<f64> = (0..100).map(|step| one_cycle(1.0, step, 100)).collect();
        assert!((rates[0] - 0.04).abs() < 1e-9 && rates[99] < 2e-3);
        let peak = rates.iter().position(|&rate| rate == 1.0).unwrap();
        assert_eq!(peak, 20);
        assert!(rates[..=peak].is_sorted() && rates[peak..].is_sorted_by(|a, b| a >= b));
    }
}
