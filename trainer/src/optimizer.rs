//! AdamW with its moments in reach, so that a run can go on to the last bit where it stopped, and the
//! one-cycle learning rate.

use std::collections::BTreeMap;
use tch::Tensor;
use tch::nn::VarStore;

/// Kept share of the first and second moment, a step, and what keeps the quotient finite.
const FIRST_DECAY: f64 = 0.9;
const SECOND_DECAY: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Name of the number of steps in a checkpoint.
const STEPS: &str = "steps";

/// A variable and the running moments of its gradient.
struct Slot {
    name: String,
    variable: Tensor,
    first: Tensor,
    second: Tensor,
}

/// Adam with decoupled weight decay.
///
/// # Source
/// Loshchilov and Hutter 2019, algorithm 2, as PyTorch's `AdamW`.
pub struct AdamW {
    slots: Vec<Slot>,
    steps: i32,
    weight_decay: f64,
}

impl AdamW {
    /// Optimizes all trainable variables of a store.
    #[must_use]
    pub fn new(store: &VarStore, weight_decay: f64) -> AdamW {
        // By name: a hash map's own order differs from run to run.
        let variables: BTreeMap<String, Tensor> =
            store.variables().into_iter().filter(|(_, variable)| variable.requires_grad()).collect();
        let slots = variables
            .into_iter()
            .map(|(name, variable)| {
                let (first, second) = (variable.zeros_like(), variable.zeros_like());
                Slot { name, variable, first: first.detach(), second: second.detach() }
            })
            .collect();
        AdamW { slots, steps: 0, weight_decay }
    }

    /// One step down the gradient of `loss`.
    pub fn step(&mut self, loss: &Tensor, learning_rate: f64) {
        for slot in &mut self.slots {
            slot.variable.zero_grad();
        }
        loss.backward();
        self.steps += 1;
        let corrected = |decay: f64| 1.0 - libm::pow(decay, f64::from(self.steps));
        let (first_share, second_share) = (corrected(FIRST_DECAY), corrected(SECOND_DECAY));
        tch::no_grad(|| {
            for Slot { variable, first, second, .. } in &mut self.slots {
                let gradient = variable.grad();
                if !gradient.defined() {
                    continue;
                }
                let _ = variable.g_mul_scalar_(1.0 - learning_rate * self.weight_decay);
                let _ = first.lerp_(&gradient, 1.0 - FIRST_DECAY);
                let _ = second.lerp_(&gradient.square(), 1.0 - SECOND_DECAY);
                let mut spread = second.sqrt();
                let _ = spread.g_mul_scalar_(1.0 / second_share.sqrt());
                let _ = spread.g_add_scalar_(EPSILON);
                let mut change = &*first / spread;
                let _ = change.g_mul_scalar_(learning_rate / first_share);
                *variable -= change;
            }
        });
    }

    /// Moments and number of steps, by name, for a checkpoint.
    #[must_use]
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let moments = self.slots.iter().flat_map(|slot| {
            [
                (format!("first/{}", slot.name), slot.first.shallow_clone()),
                (format!("second/{}", slot.name), slot.second.shallow_clone()),
            ]
        });
        moments.chain([(STEPS.to_owned(), Tensor::from_slice(&[self.steps]))]).collect()
    }

    /// Takes the state of a checkpoint. `None` if a part is missing or of another shape.
    #[must_use]
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Option<()> {
        for slot in &mut self.slots {
            for (kind, moment) in [("first", &mut slot.first), ("second", &mut slot.second)] {
                let saved = state.get(&format!("{kind}/{}", slot.name))?;
                if saved.size() != moment.size() {
                    return None;
                }
                tch::no_grad(|| moment.copy_(saved));
            }
        }
        self.steps = Vec::<i32>::try_from(state.get(STEPS)?).ok()?.first().copied()?;
        Some(())
    }
}

/// Learning rate of a step: up from a 25th in the first fifth, then down a cosine to nearly 0.
#[must_use]
pub fn one_cycle(highest: f64, step: usize, steps: usize) -> f64 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use tch::nn::{self, OptimizerConfig};
    use tch::{Device, Kind};

    #[test]
    fn takes_the_steps_of_libtorchs_own() {
        let (ours, theirs) = (VarStore::new(Device::Cpu), VarStore::new(Device::Cpu));
        let begin = Tensor::from_slice(&[0.5f32, -1.0, 2.0, 0.0]);
        let [a, b] = [&ours, &theirs].map(|store| store.root().var_copy("x", &begin));
        let mut adam = AdamW::new(&ours, 0.1);
        let mut reference = nn::AdamW::default().wd(0.1).build(&theirs, 0.0).unwrap();
        for step in 0..20 {
            let rate = one_cycle(0.1, step, 20);
            let loss = |x: &Tensor| ((x - 1.0).square() * (step as f64 + 1.0)).sum(Kind::Float);
            adam.step(&loss(&a), rate);
            reference.set_lr(rate);
            reference.backward_step(&loss(&b));
        }
        let off = (&a - &b).abs().max().double_value(&[]);
        assert!(off < 1e-5, "off by {off}");
        assert!((&a - begin).abs().max().double_value(&[]) > 0.1, "nothing moved");
    }

    #[test]
    fn the_learning_rate_rises_and_falls_once() {
        let rates: Vec<f64> = (0..100).map(|step| one_cycle(1.0, step, 100)).collect();
        assert!((rates[0] - 0.04).abs() < 1e-9 && rates[99] < 2e-3);
        let peak = rates.iter().position(|&rate| rate == 1.0).unwrap();
        assert_eq!(peak, 20);
        assert!(rates[..=peak].is_sorted() && rates[peak..].is_sorted_by(|a, b| a >= b));
    }
}
