//! The loss of a step: cross-entropy of its bags' labels, and how much attention jumps between neighbours.

use super::net::pool;
use super::window::Window;
use tch::{Kind, Tensor};

/// What a step costs.
#[derive(Debug)]
pub struct BagLosses {
    /// Binary cross-entropy over the known labels of all bags.
    pub labels: Tensor,
    /// Mean squared difference of attention logits between neighbouring slices, at the same place.
    pub slices: Tensor,
    /// The same between neighbouring places of a slice.
    pub places: Tensor,
    /// Mean squared score of all patches.
    pub scores: Tensor,
}

/// The losses of windows whose patches, one window after the other, gave `outputs`.
///
/// Smoothness is asked of the attention logits, the latent function of SA-DMIL, and not of the shares: shares are of
/// the order of one over the bag's size, where squares vanish, and they answer to everything else in their own slice,
/// so that two slices that look alike at a place may rightly differ there once one of them has a lesion elsewhere.
///
/// # Shape
/// `outputs` is `[patches, 1 + labels]`.
///
/// # Source
/// The first-order term of SA-DMIL (Wu, Castro-Macias et al. 2023): the sum over neighbours of squared differences is
/// the quadratic form of their graph's Laplacian. Here its mean, so that its weight does not depend on the window.
#[must_use]
pub fn bag_losses(outputs: &Tensor, windows: &[Window], label_smoothing: f64) -> BagLosses {
    let (mut logits, mut targets) = (Vec::new(), Vec::new());
    let (mut across, mut within) = (Pairs::default(), Pairs::default());
    let mut start = 0;
    for window in windows {
        for (at, bag) in window.bags.iter().enumerate() {
            if let Some(next) = window.bags.get(at + 1) {
                bag.patches.iter().for_each(|&(place, row)| {
                    across.join(start + row, next.row_at(place).map(|row| start + row));
                });
            }
            for &(place, row) in &bag.patches {
                let right = (place + 1) % window.columns != 0;
                let right = right.then(|| bag.row_at(place + 1)).flatten();
                for beside in [right, bag.row_at(place + window.columns)] {
                    within.join(start + row, beside.map(|row| start + row));
                }
            }
            if bag.patches.is_empty() || bag.labels.iter().all(Option::is_none) {
                continue;
            }
            let rows: Vec<i64> = bag.patches.iter().map(|&(_, row)| start + row).collect();
            let pooled = pool(outputs, &Tensor::from_slice(&rows));
            for (label, known) in bag.labels.iter().enumerate() {
                if let &Some(is_so) = known {
                    logits.push(pooled.get(label as i64));
                    targets.push(
                        f32::from(is_so) * (1.0 - label_smoothing as f32) + 0.5 * label_smoothing as f32,
                    );
                }
            }
        }
        start += window.patches() as i64;
    }
    let attention = outputs.select(1, 0);
    let labels = if logits.is_empty() {
        Tensor::zeros([], (Kind::Float, outputs.device()))
    } else {
        Tensor::stack(&logits, 0).binary_cross_entropy_with_logits::<Tensor>(
            &Tensor::from_slice(&targets),
            None,
            None,
            tch::Reduction::Mean,
        )
    };
    let scores = outputs.narrow(1, 1, outputs.size()[1] - 1).square().mean(Kind::Float);
    BagLosses { labels, slices: across.roughness(&attention), places: within.roughness(&attention), scores }
}

/// Pairs of neighbours, as rows of the attention.
#[derive(Default)]
struct Pairs {
    from: Vec<i64>,
    to: Vec<i64>,
}

impl Pairs {
    fn join(&mut self, from: i64, to: Option<i64>) {
        if let Some(to) = to {
            self.from.push(from);
            self.to.push(to);
        }
    }

    /// Mean squared difference over the pairs; 0 without any.
    fn roughness(&self, attention: &Tensor) -> Tensor {
        if self.from.is_empty() {
            return Tensor::zeros([], (Kind::Float, attention.device()));
        }
        let of = |rows: &[i64]| attention.index_select(0, &Tensor::from_slice(rows));
        (of(&self.from) - of(&self.to)).square().mean(Kind::Float)
    }
}

#[cfg(test)]
mod tests {
    use super::super::window::WindowBag;
    use super::*;

    /// Two slices of 2 x 2 places; the first lacks the last place.
    fn window() -> Window {
        let bag =
            |patches: &[(usize, i64)], label| WindowBag { labels: vec![label], patches: patches.to_vec() };
        Window {
            gray: vec![0; 7],
            patch_bytes: 1,
            columns: 2,
            bags: vec![
                bag(&[(0, 0), (1, 1), (2, 2)], Some(true)),
                bag(&[(0, 3), (1, 4), (2, 5), (3, 6)], None),
            ],
        }
    }

    fn outputs(attention: &[f32]) -> Tensor {
        let scores = Tensor::zeros([attention.len() as i64, 1], (Kind::Float, tch::Device::Cpu));
        Tensor::cat(&[Tensor::from_slice(attention).unsqueeze(1), scores], 1)
    }

    #[test]
    fn roughness_is_that_of_neighbours_and_of_no_others() {
        let found = bag_losses(&outputs(&[0.0, 1.0, 5.0, 0.0, 4.0, 5.0, 9.0]), &[window()], 0.0);
        // Places 0, 1, 2 of both slices.
        assert!((found.slices.double_value(&[]) - 9.0 / 3.0).abs() < 1e-6);
        // First slice 0-1, 0-2; second 0-1, 0-2, 1-3, 2-3.
        let expected = (1.0 + 25.0 + 16.0 + 25.0 + 25.0 + 16.0) / 6.0;
        assert!((found.places.double_value(&[]) - expected).abs() < 1e-5);
        assert!((found.labels.double_value(&[]) - f64::ln(2.0)).abs() < 1e-6, "scores of 0 say nothing");
    }

    #[test]
    fn smoothness_pulls_neighbours_together() {
        let attention = outputs(&[0.0, 1.0, 5.0, 0.0, 4.0, 5.0, 9.0]).set_requires_grad(true);
        bag_losses(&attention, &[window()], 0.0).slices.backward();
        let slope = |row| attention.grad().double_value(&[row, 0]);
        assert!(slope(1) < 0.0 && slope(4) > 0.0, "descent raises the lower one and lowers the higher");
        assert!((slope(1) + slope(4)).abs() < 1e-6);
        assert_eq!((slope(0), slope(2), slope(6)), (0.0, 0.0, 0.0), "equal neighbours, and one without");
    }

    #[test]
    fn rows_of_later_windows_come_after_those_of_earlier_ones() {
        let attention = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0];
        let found = bag_losses(&outputs(&attention), &[window(), window()], 0.0);
        assert!((found.slices.double_value(&[]) - 2.0).abs() < 1e-6, "half of the pairs are 2 apart");
    }
}
