//! Chooses the activations' scales from what training patches make of them.

use super::scheme::LARGEST_ACTIVATION;
use crate::fold::Folded;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Bins of a histogram, from 0 to the largest activation seen.
const BINS: usize = 8192;

/// Where a range may end by [`Method::Mse`]: at so many equal steps.
const ENDS: usize = 256;

/// Patches of one forward pass.
const FORWARD: usize = 256;

/// How an activation's range is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The largest activation seen.
    MinMax,
    /// What 99.99 % of the activations above 0 stay below.
    #[serde(rename = "percentile-99.99")]
    Percentile9999,
    /// What 99.9 % of the activations above 0 stay below.
    #[serde(rename = "percentile-99.9")]
    Percentile999,
    /// The range of least mean squared error.
    Mse,
}

impl Method {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Method; 4] = [Method::MinMax, Method::Percentile9999, Method::Percentile999, Method::Mse];

    /// As tables and manifests spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Method::MinMax => "min-max",
            Method::Percentile9999 => "percentile 99.99",
            Method::Percentile999 => "percentile 99.9",
            Method::Mse => "MSE",
        }
    }
}

/// What was seen of one activation.
#[derive(Clone, Debug)]
struct Histogram {
    largest: f32,
    /// Activations above 0: the zeros of ReLU are exact in any scale.
    counts: Vec<u64>,
}

/// What was seen of all activations of a network.
#[derive(Clone, Debug)]
pub struct Observed {
    histograms: Vec<Histogram>,
}

impl Histogram {
    fn add(&mut self, reals: &[f32]) {
        let bins_per_unit = BINS as f32 / self.largest;
        for &real in reals.iter().filter(|&&real| real > 0.0) {
            self.counts[((real * bins_per_unit) as usize).min(BINS - 1)] += 1;
        }
    }

    /// Middle of a bin.
    fn middle(&self, bin: usize) -> f64 {
        (bin as f64 + 0.5) * f64::from(self.largest) / BINS as f64
    }

    /// The end of the range.
    fn end(&self, method: Method) -> f32 {
        match method {
            Method::MinMax => self.largest,
            Method::Percentile9999 => self.percentile(0.9999),
            Method::Percentile999 => self.percentile(0.999),
            Method::Mse => self.least_error(),
        }
    }

    fn percentile(&self, share: f64) -> f32 {
        let wanted = self.counts.iter().sum::<u64>() as f64 * share;
        let mut below = 0;
        let bin = self.counts.iter().position(|&count| {
            below += count;
            below as f64 >= wanted
        });
        bin.map_or(self.largest, |bin| self.largest * (bin + 1) as f32 / BINS as f32)
    }

    /// The end whose squared errors, of rounding below and of cutting off above, sum to least.
    fn least_error(&self) -> f32 {
        let error = |end: f64| -> f64 {
            let step = end / f64::from(LARGEST_ACTIVATION);
            let of_bin = |(bin, &count): (usize, &u64)| {
                let real = self.middle(bin);
                let off = real - (real / step).round_ties_even().min(f64::from(LARGEST_ACTIVATION)) * step;
                count as f64 * off * off
            };
            self.counts.iter().enumerate().map(of_bin).sum()
        };
        let ends = (1..=ENDS).map(|part| f64::from(self.largest) * part as f64 / ENDS as f64);
        let best = ends.map(|end| (error(end), end)).min_by(|a, b| a.0.total_cmp(&b.0));
        best.map_or(self.largest, |(_, end)| end as f32)
    }
}

impl Observed {
    /// Runs `net` over patches of gray levels, twice: for the largest activations, then to count.
    ///
    /// # Shape
    /// `gray` is `[patches, views, size, size]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn of(net: &Folded, gray: &[u8]) -> Result<Observed, tch::TchError> {
        let mut histograms =
            vec![Histogram { largest: 0.0, counts: vec![0; BINS] }; 1 + 2 * net.blocks.len()];
        each_activation(net, gray, |index, reals| {
            let largest = &mut histograms[index].largest;
            *largest = reals.iter().copied().fold(*largest, f32::max);
        })?;
        // Maps that are 0 throughout have no range; any will do.
        histograms.iter_mut().filter(|h| h.largest == 0.0).for_each(|h| h.largest = 1.0);
        each_activation(net, gray, |index, reals| histograms[index].add(reals))?;
        Ok(Observed { histograms })
    }

    /// One scale for each of [`Folded::activations`].
    ///
    /// # Source
    /// docs/quantization.md (11).
    #[must_use]
    pub fn scales(&self, method: Method) -> Vec<f32> {
        self.histograms.iter().map(|histogram| histogram.end(method) / LARGEST_ACTIVATION).collect()
    }
}

fn each_activation(
    net: &Folded,
    gray: &[u8],
    mut see: impl FnMut(usize, &[f32]),
) -> Result<(), tch::TchError> {
    let (views, size) = (net.shape.views, net.shape.size);
    for gray in gray.chunks(FORWARD * (views * size * size) as usize) {
        let gray = Tensor::from_slice(gray).view([-1, views, size, size]).to_kind(Kind::Float);
        let activations = tch::no_grad(|| net.activations(&gray));
        for (index, activation) in activations.iter().enumerate() {
            see(index, &Vec::<f32>::try_from(activation.contiguous().view([-1]))?);
        }
    }
    Ok(())
}
