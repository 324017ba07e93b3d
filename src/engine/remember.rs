//! An engine that remembers what it answered, for studies that are looked at again while their slices arrive.

use super::{Engine, EngineError, LayerTime, Precision};
use crate::patch::Patches;
use crate::simd::Level;
use ndarray::Array2;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Logits by the SHA-256 of the patches that they belong to: about 10 KiB a slice.
type Answers = Arc<Mutex<HashMap<[u8; 32], Vec<f32>>>>;

/// Another engine, and all its answers: the same patches are run once, in whichever of several threads.
pub(super) struct Remembering {
    engine: Box<dyn Engine>,
    answers: Answers,
}

impl Remembering {
    pub fn new(engine: Box<dyn Engine>) -> Self {
        Self { engine, answers: Answers::default() }
    }
}

impl Engine for Remembering {
    fn run(&mut self, patches: &Patches, logits: &mut Array2<f32>) -> Result<(), EngineError> {
        let count = patches.unique().len() / patches.length();
        let key: [u8; 32] = Sha256::digest(patches.unique()).into();
        let known = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            let outputs = known.len().checked_div(count).unwrap_or(0);
            *logits = Array2::from_shape_vec((count, outputs), known).expect("as long as when it was kept");
            return Ok(());
        }
        self.engine.run(patches, logits)?;
        let answer = logits.iter().copied().collect();
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(key, answer);
        Ok(())
    }

    fn another(&self) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(Self { engine: self.engine.another()?, answers: Arc::clone(&self.answers) }))
    }

    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn precision(&self) -> Precision {
        self.engine.precision()
    }

    fn level(&self) -> Option<Level> {
        self.engine.level()
    }

    fn note(&self) -> Option<&str> {
        self.engine.note()
    }

    fn profile(&mut self, patches: &Patches) -> Option<Vec<LayerTime>> {
        self.engine.profile(patches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::{Grid, Neighbourhood, PatchSize, Pyramid, View};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts how often it is asked, and sums each patch.
    struct Sums(Arc<AtomicUsize>);

    impl Engine for Sums {
        fn run(&mut self, patches: &Patches, logits: &mut Array2<f32>) -> Result<(), EngineError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let sums: Vec<f32> = patches
                .unique()
                .chunks(patches.length())
                .map(|patch| patch.iter().map(|&level| f32::from(level)).sum())
                .collect();
            *logits = Array2::from_shape_vec((sums.len(), 1), sums).unwrap();
            Ok(())
        }

        fn another(&self) -> Result<Box<dyn Engine>, EngineError> {
            Ok(Box::new(Sums(Arc::clone(&self.0))))
        }

        fn name(&self) -> &'static str {
            "sums"
        }

        fn precision(&self) -> Precision {
            Precision::F32
        }

        fn level(&self) -> Option<Level> {
            None
        }
    }

    #[test]
    fn the_same_patches_are_run_once_and_others_are_told_apart() {
        let asked = Arc::new(AtomicUsize::new(0));
        let mut engine = Remembering::new(Box::new(Sums(Arc::clone(&asked))));
        let mut another = engine.another().unwrap();
        let mut logits = Array2::zeros((0, 0));
        for (level, expected) in [(1, 1), (2, 2), (1, 2), (2, 2)] {
            let mut slice = Array2::zeros((16, 32));
            slice[[3, 3]] = level;
            let pyramid = Pyramid::of(&slice);
            let grid = Grid::over(16, 32, PatchSize::SIXTEEN);
            let mut patches = Patches::new(grid, &[View::new(1, 0).unwrap()]);
            patches.cut(Neighbourhood { before: None, this: &pyramid, after: None });
            for engine in [&mut engine as &mut dyn Engine, &mut *another] {
                engine.run(&patches, &mut logits).unwrap();
                assert_eq!(logits, Array2::from_shape_vec((2, 1), vec![f32::from(level), 0.0]).unwrap());
            }
            assert_eq!(asked.load(Ordering::Relaxed), expected);
        }
    }
}
