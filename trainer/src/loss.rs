//! The training loss: cross-entropy of certain patches, and of weak negatives the probability
//! that they are no hematoma.

use hemapatch::label::Class;
use tch::{Kind, Reduction, Tensor};

/// What a step's batch costs, each a mean over its patches.
#[derive(Debug)]
pub struct Losses {
    /// Cross-entropy of the certain patches, labels smoothed.
    pub certain: Tensor,
    /// `-log(1 - p(hematoma))` of the weak negatives; `None` without one.
    pub weak: Option<Tensor>,
}

/// The losses of a batch whose first patches are certain and whose others are weak negatives.
///
/// # Shape
/// `logits` is `[patches, classes]`, `classes` is `[certain patches]`.
#[must_use]
pub fn losses(logits: &Tensor, classes: &Tensor, label_smoothing: f64) -> Losses {
    let (patches, certain) = (logits.size()[0], classes.size()[0]);
    let weak = (patches > certain).then(|| not_hematoma(&logits.narrow(0, certain, patches - certain)));
    let certain = logits.narrow(0, 0, certain).cross_entropy_loss(
        classes,
        None::<&Tensor>,
        Reduction::Mean,
        -100,
        label_smoothing,
    );
    Losses { certain, weak }
}

/// Mean of `-log(1 - softmax(logits)[hematoma])`, as a difference of two log-sum-exps: no
/// probability is ever rounded to 0 or 1 on the way.
fn not_hematoma(logits: &Tensor) -> Tensor {
    let others: Vec<i64> = Class::ALL
        .into_iter()
        .filter(|&class| class != Class::Hematoma)
        .map(|class| class.index() as i64)
        .collect();
    let all = logits.logsumexp([1i64].as_slice(), false);
    let rest = logits.index_select(1, &Tensor::from_slice(&others)).logsumexp([1i64].as_slice(), false);
    (all - rest).mean(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_negative_costs_the_probability_of_hematoma() {
        let logits = Tensor::from_slice2(&[[0.3f32, -0.2, 1.1, 0.4], [0.0, 2.0, -1.0, 0.5]]);
        let found = not_hematoma(&logits).double_value(&[]);
        let hematoma: Vec<f64> =
            Vec::try_from(logits.to_kind(Kind::Double).softmax(1, Kind::Double).select(1, 2)).unwrap();
        let expected = hematoma.iter().map(|p| -(1.0 - p).ln()).sum::<f64>() / 2.0;
        assert!((found - expected).abs() < 1e-6);
    }

    #[test]
    fn stays_finite_where_probabilities_saturate() {
        let logits = Tensor::from_slice2(&[[0.0f32, 0.0, 300.0, 0.0]]).set_requires_grad(true);
        let loss = not_hematoma(&logits);
        loss.backward();
        assert!((loss.double_value(&[]) - (300.0 - 3f64.ln())).abs() < 1e-3);
        assert_eq!(logits.grad().double_value(&[0, 2]), 1.0);
    }

    #[test]
    fn the_first_patches_are_the_certain_ones() {
        let logits = Tensor::from_slice2(&[[9.0f32, 0.0, 0.0, 0.0], [0.0, 0.0, -9.0, 0.0]]);
        let both = losses(&logits, &Tensor::from_slice(&[0i64]), 0.0);
        assert!(both.certain.double_value(&[]) < 1e-3);
        assert!(both.weak.unwrap().double_value(&[]) < 1e-3);
        assert!(losses(&logits, &Tensor::from_slice(&[0i64, 1]), 0.0).weak.is_none());
    }
}
