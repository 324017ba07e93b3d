//! Trains the patch network by a recipe: rounds of batches, a running average of the weights, hard weak
//! negatives and pseudo-labels looked for between rounds, and a curve of it all.

use crate::bag::{Bag, Bags, Cutter, UNLABELLED, WEAK};
use crate::batch::Sampler;
use crate::checkpoint::CheckpointError;
use crate::learning_curve::CurvePoint;
use crate::loss::{Losses, Objective};
use crate::net::ResNet18;
use crate::optimizer::{AdamW, one_cycle};
use crate::pseudo;
use crate::random::Random;
use crate::recipe::{Method, Recipe, Training};
use crate::record::{self, RECORD, Record};
use crate::rounds::Rounds;
use crate::score;
use crate::shard::{Index, Shard, ShardError, Source};
use crate::split::{Side, Split};
use crate::weights::{self, Averaged};
use hemapatch::label::Class;
use indicatif::ProgressBar;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io};
use tch::nn::ModuleT;

/// File of the averaged weights in the run's folder: the model.
pub const WEIGHTS: &str = "weights.safetensors";

/// Weak negatives scored in search of hard ones, and the share of them that count as hard.
const MINED: usize = 40_000;
const HARD_SHARE: usize = 8;

/// Validation patches of each kind behind a point of the learning curve.
pub(crate) const PROBE: usize = 1_000;

/// Why training stops without a model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The shard cannot be read.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// The state cannot be kept or taken up again.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The curve or the record cannot be written, or the shard not be read for its hashes.
    #[error("{}", path.display())]
    Io {
        /// The file or folder.
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
    /// The recipe learns from unlabelled patches and there are none.
    #[error("all training patients are labelled: semi.labelled_patients must leave some over")]
    NothingUnlabelled,
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

/// What is to be trained, on what, and where it goes.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// How.
    pub recipe: &'a Recipe,
    /// Folder of the shard.
    pub shard: &'a Path,
    /// Whose slices.
    pub split: &'a Split,
    /// Folder of the run.
    pub out: &'a Path,
    /// Go on after the last round of which [`CHECKPOINT`](crate::checkpoint::CHECKPOINT) knows.
    pub resume: bool,
}

impl Job<'_> {
    /// SHA-256 of the shard's files.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn hashes(&self) -> Result<BTreeMap<String, String>, TrainError> {
        record::hash_files(self.shard).map_err(|source| TrainError::Io { path: self.shard.into(), source })
    }

    /// Writes [`RECORD`].
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn write_record(&self, record: &Record) -> Result<(), TrainError> {
        let path = self.out.join(RECORD);
        let text = serde_json::to_string_pretty(record).map_err(io::Error::from);
        text.and_then(|text| fs::write(&path, text + "\n")).map_err(|source| TrainError::Io { path, source })
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

/// Trains on the shard's training patients. After every round the run's folder has [`WEIGHTS`],
/// [`CURVE`](crate::learning_curve::CURVE), [`RECORD`] and [`CHECKPOINT`](crate::checkpoint::CHECKPOINT); `stop` ends it at the next step, with the weights so far.
///
/// # Errors
/// [`TrainError`].
pub fn train(job: &Job, stop: &AtomicBool, progress: &ProgressBar) -> Result<Ending, TrainError> {
    let Job { recipe, split, .. } = *job;
    let shard = Shard::open(job.shard)?;
    let mut rounds = Rounds::<ResNet18, CurvePoint>::begin(job, &shard, stop, progress)?;
    let bags = Bags::start(shard.clone(), split, recipe, rounds.done());
    let mut probe = Cutter::new(shard, split, Side::Validation, recipe).cut_plain();
    probe.thin(PROBE);
    let objective = Objective::of(recipe, weights::device(recipe));
    for bag in bags {
        require_patches(&recipe.training, &bag)?;
        let round = Round { number: rounds.done(), recipe, bag: &bag, objective: &objective, stop };
        let mut point = round.train(&rounds.weights, &mut rounds.optimizer, progress)?;
        look(&rounds.weights.average.net, recipe.method, &probe, &mut point)?;
        point.seconds = rounds.seconds();
        if rounds.end(point)? == Ending::Stopped {
            break;
        }
    }
    rounds.finish()
}

/// One round of batches from one bag.
pub(crate) struct Round<'a> {
    pub number: usize,
    pub recipe: &'a Recipe,
    pub bag: &'a Bag,
    pub objective: &'a Objective,
    pub stop: &'a AtomicBool,
}

impl Round<'_> {
    pub fn train(
        &self,
        weights: &Averaged<ResNet18>,
        optimizer: &mut AdamW,
        progress: &ProgressBar,
    ) -> Result<CurvePoint, TrainError> {
        let training = &self.recipe.training;
        let steps = training.rounds * training.steps;
        let mut sampler = self.sampler(weights)?;
        let mut point = CurvePoint { round: self.number, ..CurvePoint::default() };
        let mut done = 0;
        while done < training.steps && !self.stop.load(Ordering::Relaxed) {
            let step = self.number * training.steps + done;
            point.learning_rate = one_cycle(training.learning_rate, step, steps);
            let batch = sampler.draw();
            let logits = weights.current.net.forward_t(&batch.gray, true);
            let Losses { certain, weak, pseudo } = self.objective.losses(&logits, &batch);
            let mut total = certain.shallow_clone();
            if let Some(weak) = &weak {
                total += weak * training.weak_weight;
            }
            if let (Some(pseudo), Some(semi)) = (&pseudo, &self.recipe.semi) {
                total += pseudo * semi.weight;
            }
            optimizer.step(&total, point.learning_rate);
            let value = |loss: Option<tch::Tensor>| loss.map_or(0.0, |loss| loss.double_value(&[]));
            point.certain_loss += value(Some(certain));
            point.weak_loss += value(weak);
            point.pseudo_loss += value(pseudo);
            done += 1;
            weights.follow(step + 1);
            progress.inc(1);
        }
        for loss in [&mut point.certain_loss, &mut point.weak_loss, &mut point.pseudo_loss] {
            *loss /= done.max(1) as f64;
            if !loss.is_finite() {
                return Err(TrainError::Diverged { round: self.number });
            }
        }
        Ok(point)
    }

    /// The round's batches, with what the average of the rounds before finds hard or is sure of.
    fn sampler(&self, weights: &Averaged<ResNet18>) -> Result<Sampler<'_>, TrainError> {
        let Recipe { training, augmentation, method, .. } = self.recipe;
        let (shape, average) = (weights.current.net.shape, &weights.average.net);
        let random = Random::new(self.recipe.seed).fork(0xba).fork(self.number as u64);
        let device = weights::device(self.recipe);
        let mut sampler =
            Sampler::new(self.bag, [shape.views, shape.size], training.batch, augmentation.flips, random)
                .on(device);
        if self.number >= training.mine_from && training.batch.weak > 0 {
            sampler.set_hard(hardest(average, *method, self.bag)?);
        }
        if let Some(semi) = self.recipe.semi.as_ref().filter(|semi| self.number >= semi.from_round) {
            sampler.set_pseudo(pseudo::label(average, semi, self.bag)?);
        }
        Ok(sampler)
    }
}

fn require_patches(training: &Training, bag: &Bag) -> Result<(), TrainError> {
    let counts = training.batch.counts();
    if counts[UNLABELLED] > 0 && bag.count(UNLABELLED) == 0 {
        return Err(TrainError::NothingUnlabelled);
    }
    match Class::ALL.into_iter().find(|class| counts[class.index()] > 0 && bag.count(class.index()) == 0) {
        Some(class) => Err(TrainError::NoPatches(class)),
        None => Ok(()),
    }
}

/// The weak negatives that the network takes for hematoma most.
pub(crate) fn hardest(net: &ResNet18, method: Method, bag: &Bag) -> Result<Vec<usize>, tch::TchError> {
    let count = bag.count(WEAK);
    let scored = count.min(MINED);
    let places: Vec<usize> = (0..scored).map(|index| index * count / scored).collect();
    bag.hardest(WEAK, &places, scored / HARD_SHARE, |gray| {
        Ok(score::probabilities(net, method, gray)?.column(Class::Hematoma.index()).to_vec())
    })
}

/// Fills in the curve's validation columns.
pub(crate) fn look(
    net: &ResNet18,
    method: Method,
    probe: &Bag,
    point: &mut CurvePoint,
) -> Result<(), tch::TchError> {
    let called = |kind: usize, class: Class| -> Result<(usize, usize), tch::TchError> {
        let probabilities = score::probabilities(net, method, &probe.gray[kind])?;
        let found = probabilities.outer_iter().filter(|p| score::most_probable(*p) == class.index());
        Ok((found.count(), probabilities.nrows()))
    };
    let share = |(found, all): (usize, usize)| found as f64 / all.max(1) as f64;
    let (mut right, mut certain) = (0, 0);
    for &class in method.classes() {
        let of_class = called(class.index(), class)?;
        if class == Class::Hematoma {
            point.validation_hematoma = share(of_class);
        }
        (right, certain) = (right + of_class.0, certain + of_class.1);
    }
    point.validation_accuracy = share((right, certain));
    point.validation_false_alarms = share(called(WEAK, Class::Hematoma)?);
    Ok(())
}
