//! The training losses: of a choice among classes, of a yes or no to each class, of a patch that is
//! only known not to be hematoma, and of a pseudo-label.

use crate::batch::Batch;
use crate::recipe::{Method, Recipe};
use hemapatch::label::Class;
use tch::{Device, Kind, Tensor};

/// Presence weighs at most so many times as much as absence, and at least that little.
const MOST_PRESENCE: f64 = 10.0;

/// What a step's batch costs, each a mean over its patches.
#[derive(Debug)]
pub struct Losses {
    /// Of the certain patches; multi-label: of all patches.
    pub certain: Tensor,
    /// `-log(1 - p(hematoma))` of the weak negatives; `None` without one, and multi-label.
    pub weak: Option<Tensor>,
    /// Cross-entropy against pseudo-labels; `None` without one.
    pub pseudo: Option<Tensor>,
}

/// What is minimised.
#[derive(Debug)]
pub struct Objective {
    method: Method,
    /// Weight of each class, of mean 1 over a batch's certain patches.
    class_weights: Option<Tensor>,
    weigh_presence: bool,
    focal_gamma: f64,
    label_smoothing: f64,
}

impl Objective {
    /// The recipe's.
    #[must_use]
    pub fn of(recipe: &Recipe, device: Device) -> Objective {
        let single = recipe.method == Method::Single;
        let class_weights = (single && recipe.loss.class_weights).then(|| {
            let batch = &recipe.training.batch;
            let known = recipe.method.classes();
            let counts = known.iter().map(|class| batch.counts()[class.index()]);
            // Inverse to the count, and together as much as the patches are many.
            let share = batch.certain() as f32 / known.len() as f32;
            let weights: Vec<f32> = counts.map(|count| share / count.max(1) as f32).collect();
            Tensor::from_slice(&weights).to_device(device)
        });
        Objective {
            method: recipe.method,
            class_weights,
            weigh_presence: !single && recipe.loss.class_weights,
            focal_gamma: recipe.loss.focal_gamma,
            label_smoothing: recipe.training.label_smoothing,
        }
    }

    /// The losses of a batch.
    ///
    /// # Shape
    /// `logits` is `[patches, classes]`.
    #[must_use]
    pub fn losses(&self, logits: &Tensor, batch: &Batch) -> Losses {
        if self.method == Method::Multilabel {
            return Losses { certain: self.each_class(logits, &batch.targets), weak: None, pseudo: None };
        }
        let (certain, weak) = (batch.classes.size()[0], batch.weak);
        let pseudo = batch.pseudo.size()[0];
        Losses {
            certain: self.choice(&logits.narrow(0, 0, certain), &batch.classes),
            weak: (weak > 0).then(|| not_hematoma(&logits.narrow(0, certain, weak))),
            pseudo: (pseudo > 0)
                .then(|| self.choice(&logits.narrow(0, certain + weak, pseudo), &batch.pseudo)),
        }
    }

    /// Cross-entropy, its labels smoothed, focused on what is called wrong, weighed by class.
    fn choice(&self, logits: &Tensor, classes: &Tensor) -> Tensor {
        let log = logits.log_softmax(1, Kind::Float);
        let of_truth = log.gather(1, &classes.unsqueeze(1), false).squeeze_dim(1);
        let spread = log.mean_dim([1i64].as_slice(), false, Kind::Float);
        let loss = &of_truth * (self.label_smoothing - 1.0) - spread * self.label_smoothing;
        let loss = match self.focal_gamma {
            0.0 => loss,
            gamma => loss * (-of_truth.exp() + 1.0).clamp_min(0.0).pow_tensor_scalar(gamma),
        };
        match &self.class_weights {
            None => loss.mean(Kind::Float),
            Some(weights) => {
                let weights = weights.index_select(0, classes);
                (loss * &weights).sum(Kind::Float) / weights.sum(Kind::Float)
            }
        }
    }

    /// Binary cross-entropy of each class where its target is known: the mean of the classes' means.
    fn each_class(&self, logits: &Tensor, targets: &Tensor) -> Tensor {
        let known = targets.ge(0.0).to_kind(Kind::Float);
        let present = targets.clamp_min(0.0);
        let by_class = |values: &Tensor| values.sum_dim_intlist([0i64].as_slice(), false, Kind::Float);
        // log(1 + exp(-z)) for presence and log(1 + exp(z)) for absence, finite for all z.
        let loss_present = (-logits).softplus();
        let loss_present = if self.weigh_presence {
            let (presences, all) = (by_class(&present), by_class(&known));
            let weights = (all - &presences) / presences.clamp_min(1.0);
            loss_present * weights.clamp(1.0 / MOST_PRESENCE, MOST_PRESENCE).unsqueeze(0)
        } else {
            loss_present
        };
        let loss = &present * loss_present + (-&present + 1.0) * logits.softplus();
        let loss = match self.focal_gamma {
            0.0 => loss,
            gamma => {
                let right = &present * logits.sigmoid() + (-&present + 1.0) * (-logits).sigmoid();
                loss * (-right + 1.0).clamp_min(0.0).pow_tensor_scalar(gamma)
            }
        };
        (by_class(&(loss * &known)) / by_class(&known).clamp_min(1.0)).mean(Kind::Float)
    }
}

/// Mean of `-log(1 - softmax(logits)[hematoma])`, as a difference of two log-sum-exps: no
/// probability is ever rounded to 0 or 1 on the way.
fn not_hematoma(logits: &Tensor) -> Tensor {
    let others: Vec<i64> = Class::SINGLE
        .into_iter()
        .filter(|&class| class != Class::Hematoma)
        .map(|class| class.index() as i64)
        .collect();
    let all = logits.logsumexp([1i64].as_slice(), false);
    let others = Tensor::from_slice(&others).to_device(logits.device());
    let rest = logits.index_select(1, &others).logsumexp([1i64].as_slice(), false);
    (all - rest).mean(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Reduction;

    fn plain(method: Method) -> Objective {
        Objective {
            method,
            class_weights: None,
            weigh_presence: false,
            focal_gamma: 0.0,
            label_smoothing: 0.0,
        }
    }

    fn batch(classes: &[i64], weak: i64, pseudo: &[i64], targets: Tensor) -> Batch {
        let (classes, pseudo) = (Tensor::from_slice(classes), Tensor::from_slice(pseudo));
        Batch { gray: Tensor::zeros([0], (Kind::Float, Device::Cpu)), classes, weak, pseudo, targets }
    }

    fn logits(patches: i64, classes: i64) -> Tensor {
        tch::manual_seed(5);
        Tensor::randn([patches, classes], (Kind::Float, Device::Cpu)) * 2.0
    }

    fn close(found: &Tensor, expected: &Tensor) {
        let off = (found - expected).abs().max().double_value(&[]);
        assert!(off < 1e-5, "{found} is not {expected}");
    }

    #[test]
    fn a_choice_is_libtorchs_cross_entropy() {
        let (logits, classes) = (logits(7, 4), Tensor::from_slice(&[0i64, 1, 2, 3, 2, 2, 0]));
        let weights = Tensor::from_slice(&[0.5f32, 0.25, 3.0, 1.0]);
        let smoothed = Objective { label_smoothing: 0.1, ..plain(Method::Single) };
        let expected = logits.cross_entropy_loss(&classes, None::<&Tensor>, Reduction::Mean, -100, 0.1);
        close(&smoothed.choice(&logits, &classes), &expected);
        let expected = logits.cross_entropy_loss(&classes, Some(&weights), Reduction::Mean, -100, 0.0);
        let weighted = Objective { class_weights: Some(weights), ..plain(Method::Single) };
        close(&weighted.choice(&logits, &classes), &expected);
    }

    #[test]
    fn the_focal_loss_cares_less_for_what_is_right() {
        let sure = Tensor::from_slice2(&[[4.0f32, 0.0, 0.0, 0.0]]);
        let wrong = Tensor::from_slice2(&[[-4.0f32, 0.0, 0.0, 0.0]]);
        let truth = Tensor::from_slice(&[0i64]);
        let ratio = |objective: &Objective| {
            objective.choice(&sure, &truth).double_value(&[])
                / objective.choice(&wrong, &truth).double_value(&[])
        };
        let focal = Objective { focal_gamma: 2.0, ..plain(Method::Single) };
        assert!(ratio(&focal) < 0.05 * ratio(&plain(Method::Single)));
    }

    #[test]
    fn each_class_is_binary_cross_entropy_where_it_is_known() {
        let logits = logits(5, 6);
        let targets = Tensor::from_slice2(&[
            [1.0f32, 0.0, 0.0, 1.0, 0.0, 0.0],
            [0.0, 1.0, 1.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0, 1.0, 1.0],
            [1.0, 0.0, 0.0, 1.0, 0.0, 1.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        ]);
        let expected =
            logits.binary_cross_entropy_with_logits::<Tensor>(&targets, None, None, Reduction::Mean);
        close(&plain(Method::Multilabel).each_class(&logits, &targets), &expected);
        // One more patch of which nothing is known changes nothing.
        let more = Tensor::cat(&[&logits, &Tensor::ones([1, 6], (Kind::Float, Device::Cpu))], 0);
        let unknown = Tensor::cat(&[&targets, &-Tensor::ones([1, 6], (Kind::Float, Device::Cpu))], 0);
        close(&plain(Method::Multilabel).each_class(&more, &unknown), &expected);
    }

    #[test]
    fn rare_presence_weighs_more() {
        let targets = Tensor::from_slice2(&[[1.0f32], [0.0], [0.0], [0.0]]);
        let weighted = Objective { weigh_presence: true, ..plain(Method::Multilabel) };
        let zeros = Tensor::zeros([4, 1], (Kind::Float, Device::Cpu));
        let found = weighted.each_class(&zeros, &targets).double_value(&[]);
        assert!((found - 2f64.ln() * 6.0 / 4.0).abs() < 1e-6);
    }

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
    fn certain_weak_and_pseudo_labelled_patches_come_one_after_the_other() {
        let logits =
            Tensor::from_slice2(&[[9.0f32, 0.0, 0.0, 0.0], [0.0, 0.0, -9.0, 0.0], [0.0, 0.0, 0.0, 9.0]]);
        let targets = Tensor::zeros([3, 6], (Kind::Float, Device::Cpu));
        let all = plain(Method::Single).losses(&logits, &batch(&[0], 1, &[3], targets));
        assert!(all.certain.double_value(&[]) < 1e-3);
        assert!(all.weak.unwrap().double_value(&[]) < 1e-3);
        assert!(all.pseudo.unwrap().double_value(&[]) < 1e-3);
        let targets = Tensor::zeros([3, 6], (Kind::Float, Device::Cpu));
        let certain = plain(Method::Single).losses(&logits, &batch(&[0, 1, 2], 0, &[], targets));
        assert!(certain.weak.is_none() && certain.pseudo.is_none());
    }
}
