//! What all trainings share: rounds, the files that each leaves behind, stopping and going on.

use crate::checkpoint::{self, CHECKPOINT};
use crate::learning_curve::{self, CURVE, Point};
use crate::optimizer::AdamW;
use crate::record::{self, Record};
use crate::shard::Shard;
use crate::train::{self, Ending, Job, TrainError, WEIGHTS};
use crate::weights::{Averaged, Network};
use indicatif::ProgressBar;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A training between its rounds.
pub(crate) struct Rounds<'a, N, P> {
    /// What is trained.
    pub weights: Averaged<N>,
    /// What moves it.
    pub optimizer: AdamW,
    job: &'a Job<'a>,
    record: Record<'a>,
    fingerprint: checkpoint::Fingerprint,
    curve: Vec<P>,
    progress: &'a ProgressBar,
    stop: &'a AtomicBool,
    stopped: bool,
    /// Seconds of earlier goes.
    spent: f64,
    started: Instant,
}

impl<'a, N: Network, P: Point> Rounds<'a, N, P> {
    /// Fresh weights, or those of the job's checkpoint.
    pub fn begin(
        job: &'a Job<'a>,
        shard: &Shard,
        stop: &'a AtomicBool,
        progress: &'a ProgressBar,
    ) -> Result<Rounds<'a, N, P>, TrainError> {
        let Job { recipe, split, out, .. } = *job;
        let training = &recipe.training;
        train::check(recipe, shard.index())?;
        let hashes = job.hashes()?;
        let fingerprint = record::fingerprint(recipe, split, &hashes);
        let record = Record::begin(recipe, shard.index(), hashes);
        tch::set_num_threads(training.threads);
        tch::manual_seed(recipe.seed as i64);
        let mut weights = Averaged::new(recipe)?;
        let mut optimizer = AdamW::new(&weights.current.store, training.weight_decay);
        let kept = out.join(CHECKPOINT);
        let mut curve = Vec::new();
        if job.resume {
            let numbers =
                checkpoint::load(&kept, &fingerprint, P::NAMES.len(), &mut weights, &mut optimizer)?;
            curve.extend(numbers.chunks(P::NAMES.len()).filter_map(P::of));
            // Those beside it may be of a training that came after it and was stopped.
            checkpoint::save_weights(&weights.average, &out.join(WEIGHTS))?;
        } else {
            checkpoint::forget(&kept)?;
        }
        progress.set_length((training.rounds * training.steps) as u64);
        progress.set_position((curve.len() * training.steps) as u64);
        let spent = curve.last().map_or(0.0, P::seconds);
        let started = Instant::now();
        let stopped = false;
        Ok(Rounds {
            weights,
            optimizer,
            job,
            record,
            fingerprint,
            curve,
            progress,
            stop,
            stopped,
            spent,
            started,
        })
    }

    /// Rounds that are done.
    pub fn done(&self) -> usize {
        self.curve.len()
    }

    /// Spent on all rounds so far.
    pub fn seconds(&self) -> f64 {
        self.spent + self.started.elapsed().as_secs_f64()
    }

    /// Writes what a round leaves behind; [`Ending::Stopped`] if it is the last one because somebody asked.
    pub fn end(&mut self, point: P) -> Result<Ending, TrainError> {
        let out = self.job.out;
        self.progress.set_message(format!("round {}: {}", self.curve.len(), point.words()));
        self.curve.push(point);
        self.stopped = self.stop.load(Ordering::Relaxed);
        checkpoint::save_weights(&self.weights.average, &out.join(WEIGHTS))?;
        let path = out.join(CURVE);
        learning_curve::write(&path, &self.curve).map_err(|source| TrainError::Io { path, source })?;
        if self.stopped {
            // Of a round that was cut short the checkpoint knows nothing: resuming does it over.
            return Ok(Ending::Stopped);
        }
        let numbers: Vec<f64> = self.curve.iter().flat_map(P::numbers).collect();
        checkpoint::save(&out.join(CHECKPOINT), &self.fingerprint, &self.weights, &self.optimizer, &numbers)?;
        Ok(Ending::Finished)
    }

    /// Writes the record, whether all rounds were done or not.
    pub fn finish(self) -> Result<Ending, TrainError> {
        let whole = self.curve.len() - usize::from(self.stopped);
        let seconds = self.seconds();
        self.job.write_record(&self.record.after(whole, seconds))?;
        self.progress.finish();
        Ok(if self.stopped { Ending::Stopped } else { Ending::Finished })
    }
}
