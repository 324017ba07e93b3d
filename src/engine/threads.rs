//! Spreads the patches of a slice over threads.

use super::EngineError;
use ndarray::Array2;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use tract_core::prelude::{TractError, TractResult};

/// What is spread.
pub(super) struct Work<'a> {
    /// Patch after patch.
    pub patches: &'a [u8],
    /// Bytes of one.
    pub length: usize,
    /// Outputs of one.
    pub outputs: usize,
    /// Patches that are run together.
    pub batch: usize,
}

/// Lets the workers take batches, each the next one when it is done with its own, and waits for all of them: cores
/// differ in speed, and in what else they have to do. `logits` becomes `[patches, outputs]`.
///
/// # Errors
/// [`EngineError::Run`], with the first worker's that failed.
pub(super) fn spread<W: Send>(
    workers: &mut [W],
    work: Work<'_>,
    logits: &mut Array2<f32>,
    run: impl Fn(&mut W, &[u8], &mut [f32]) -> TractResult<()> + Sync,
) -> Result<(), EngineError> {
    let Work { patches, length, outputs, batch } = work;
    let count = patches.len() / length;
    let mut flat = std::mem::take(logits).into_raw_vec_and_offset().0;
    flat.clear();
    flat.resize(count * outputs, 0.0);
    let needed = count.div_ceil(batch);
    let batches = Mutex::new(patches.chunks(batch * length).zip(flat.chunks_mut(batch * outputs)));
    let next = || batches.lock().ok()?.next();
    let turn = |worker: &mut W| {
        let all = || {
            while let Some((patches, logits)) = next() {
                run(worker, patches, logits)?;
            }
            Ok(())
        };
        // A panic ends in a report that says so, whichever thread it was.
        let ended = catch_unwind(AssertUnwindSafe(all));
        ended.unwrap_or_else(|_| Err(TractError::msg("a thread of the engine panicked")))
    };
    let outcomes: Vec<TractResult<()>> = std::thread::scope(|scope| {
        let turn = &turn;
        let mut workers = workers.iter_mut().take(needed);
        // The caller's own thread works too, instead of waiting for another to start.
        let own = workers.next();
        let others: Vec<_> = workers.map(|worker| scope.spawn(move || turn(worker))).collect();
        let own = own.map(turn);
        let others = others.into_iter().map(|thread| thread.join().expect("panics are caught"));
        own.into_iter().chain(others).collect()
    });
    let outcome: TractResult<()> = outcomes.into_iter().collect();
    outcome.map_err(|e| EngineError::Run { reason: format!("{e:#}") })?;
    *logits = Array2::from_shape_vec((count, outputs), flat).expect("as long as its shape says");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_patch_is_run_once_whatever_the_threads() {
        for (count, threads) in [(0, 2), (1, 3), (7, 2), (8, 3), (9, 1), (100, 4)] {
            let patches: Vec<u8> = (0..count).flat_map(|patch| [patch, patch]).collect();
            let mut logits = Array2::zeros((0, 0));
            let mut runs = vec![Vec::new(); threads];
            let work = Work { patches: &patches, length: 2, outputs: 1, batch: 2 };
            spread(&mut runs, work, &mut logits, |seen: &mut Vec<usize>, patches, logits| {
                seen.push(patches.len() / 2);
                for (logit, patch) in logits.iter_mut().zip(patches.chunks(2)) {
                    *logit = f32::from(patch[0]);
                }
                Ok(())
            })
            .unwrap();
            let expected: Vec<f32> = (0..count).map(f32::from).collect();
            assert_eq!(logits.iter().copied().collect::<Vec<_>>(), expected);
            let mut sizes = runs.concat();
            sizes.sort_unstable();
            assert_eq!(sizes.iter().sum::<usize>(), usize::from(count));
            assert!(sizes.iter().skip(usize::from(count % 2)).all(|&size| size == 2), "{sizes:?}");
        }
    }

    #[test]
    fn a_worker_that_fails_or_panics_is_heard() {
        for panics in [false, true] {
            let mut logits = Array2::zeros((0, 0));
            let work = Work { patches: &[0, 0, 1, 0, 0, 0], length: 1, outputs: 1, batch: 1 };
            let failed = spread(&mut [(), ()], work, &mut logits, |(), patches, _| match patches {
                [1] if panics => panic!("patch 2"),
                [1] => Err(TractError::msg("patch 2")),
                _ => Ok(()),
            });
            let word = if panics { "panicked" } else { "patch 2" };
            assert!(matches!(failed, Err(EngineError::Run { reason }) if reason.contains(word)));
        }
    }
}
