//! The numbers that follow from those in a file, and what the file must keep so that they do:
//! `docs/quantization.md` (2) to (4) and (7) to (10).

use super::description::{Block, Convolution, Description, Head, Shortcut};
use crate::engine::fused::plan::{self, Plan};
use crate::simd::Integers;

/// How far apart two numbers may be that are the same by the document, each rounded to f32 on its own way.
const ROUNDING: f64 = 1e-6;
/// Largest n\[c\] of (7).
const LARGEST_FACTOR: f64 = 32_767.0;

/// A file of the right form whose numbers break the document: what it computes is not defined.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{layer}: {problem} (docs/quantization.md {equation})")]
pub(super) struct Inconsistent {
    layer: String,
    problem: String,
    equation: &'static str,
}

/// What the kernels multiply and add.
///
/// # Errors
/// Those of [`check`].
pub(super) fn plan(network: &Description) -> Result<Plan<Integers>, Inconsistent> {
    check(network)?;
    let block = |Block { first, second, shortcut, output_scale }: &Block| {
        Ok(plan::Block {
            first: plan_of(first, second.input_scale),
            second: plan_of(second, *output_scale),
            shortcut: match shortcut {
                Shortcut::Identity => plan::Shortcut::Identity(identity_factors(second, first.input_scale)?),
                Shortcut::Convolution(conv) => {
                    plan::Shortcut::Convolution(Box::new(plan_of(conv, *output_scale)))
                }
            },
        })
    };
    let Head { weights, bias, channels, places, .. } = &network.head;
    Ok(Plan {
        input: network.input,
        stem: plan_of(&network.stem, network.stem_scale),
        pool: network.pool,
        blocks: network.blocks.iter().map(block).collect::<Result<_, _>>()?,
        head: plan::Head {
            weights: weights.clone(),
            bias: bias.clone(),
            multipliers: head_multipliers(&network.head),
            channels: *channels,
            places: *places,
        },
    })
}

fn plan_of(conv: &Convolution, output_scale: f32) -> plan::Convolution<Integers> {
    plan::Convolution {
        weights: conv.weights.clone(),
        bias: conv.bias.clone(),
        multipliers: multipliers(conv.input_scale, &conv.scales, output_scale),
        inputs: conv.inputs,
        window: conv.window,
    }
}

/// Checks all that a [`Description`] says.
///
/// # Errors
/// [`Inconsistent`] names the layer and the equation.
pub(super) fn check(network: &Description) -> Result<(), Inconsistent> {
    convolution(&network.stem, network.stem_scale)?;
    for Block { first, second, shortcut, output_scale } in &network.blocks {
        convolution(first, second.input_scale)?;
        convolution(second, *output_scale)?;
        match shortcut {
            Shortcut::Identity => {
                identity_factors(second, first.input_scale)?;
            }
            Shortcut::Convolution(shortcut) => {
                convolution(shortcut, *output_scale)?;
                shared_steps(second, shortcut)?;
            }
        }
        bounded(second, Some(shortcut))?;
    }
    head(&network.head)
}

/// (4): what each channel's accumulator is multiplied by to become levels of scale `output`.
fn multipliers(input: f32, weights: &[f32], output: f32) -> Vec<f32> {
    weights.iter().map(|weight| input * weight / output).collect()
}

/// (9): what the head's accumulators are multiplied by to become logits.
fn head_multipliers(head: &Head) -> Vec<f32> {
    multipliers(head.input_scale, &head.scales, head.places as f32)
}

/// (7): how many steps of each channel's accumulator one level of the block's input is worth.
///
/// # Errors
/// It is no whole number from 1 to 32,767, to a millionth.
fn identity_factors(second: &Convolution, block_input: f32) -> Result<Vec<i16>, Inconsistent> {
    let factor = |(channel, step): (usize, f64)| {
        let exact = f64::from(block_input) / step;
        let whole = exact.round_ties_even();
        if (1.0..=LARGEST_FACTOR).contains(&whole) && same(exact, whole) {
            Ok(whole as i16)
        } else {
            let problem = format!("channel {channel} counts {exact} steps a level of the shortcut");
            Err(Inconsistent { layer: second.name.clone(), problem, equation: "(7)" })
        }
    };
    steps(second.input_scale, &second.scales).enumerate().map(factor).collect()
}

/// The steps of accumulators, s_x s_w\[c\].
fn steps(input: f32, weights: &[f32]) -> impl Iterator<Item = f64> {
    weights.iter().map(move |&weight| f64::from(input) * f64::from(weight))
}

/// (8): both convolutions of a block's accumulator count in the same steps.
fn shared_steps(second: &Convolution, shortcut: &Convolution) -> Result<(), Inconsistent> {
    let own = steps(second.input_scale, &second.scales);
    let other = steps(shortcut.input_scale, &shortcut.scales);
    match own.zip(other).position(|(own, other)| !same(own, other)) {
        None => Ok(()),
        Some(channel) => {
            let problem = format!("channel {channel} counts in other steps than {}", second.name);
            Err(Inconsistent { layer: shortcut.name.clone(), problem, equation: "(8)" })
        }
    }
}

fn convolution(conv: &Convolution, output_scale: f32) -> Result<(), Inconsistent> {
    let refuse =
        |problem: String, equation| Err(Inconsistent { layer: conv.name.clone(), problem, equation });
    if conv.weights.contains(&i8::MIN) {
        return refuse("a weight of -128".into(), "(2)");
    }
    let steps = steps(conv.input_scale, &conv.scales);
    if let Some(channel) = steps.zip(&conv.bias_steps).position(|(step, &bias)| !same(step, bias.into())) {
        return refuse(format!("the bias of channel {channel} counts in steps of its own"), "(3)");
    }
    let multipliers = multipliers(conv.input_scale, &conv.scales, output_scale);
    // Of positive scales alone: NaN and infinities are not normal either.
    if !multipliers.iter().all(|multiplier| multiplier.is_normal() && *multiplier > 0.0) {
        return refuse("a multiplier that is no normal number".into(), "(4)");
    }
    bounded(conv, None)
}

fn head(head: &Head) -> Result<(), Inconsistent> {
    let refuse = |problem: &str, equation| {
        Err(Inconsistent { layer: "the head".into(), problem: problem.into(), equation })
    };
    if head.weights.contains(&i8::MIN) {
        return refuse("a weight of -128", "(2)");
    }
    let steps = steps(head.input_scale, &head.scales).map(|step| step / head.places as f64);
    if steps.zip(&head.bias_steps).any(|(step, &bias)| !same(step, bias.into())) {
        return refuse("a bias that counts in steps of its own", "(3)");
    }
    if !head_multipliers(head).iter().all(|multiplier| multiplier.is_normal() && *multiplier > 0.0) {
        return refuse("a multiplier that is no normal number", "(9)");
    }
    let sum = products(head.places * head.channels) + largest(&head.bias);
    if sum > i64::from(i32::MAX) { refuse("sums may leave 32 bits", "(10)") } else { Ok(()) }
}

/// (10).
fn bounded(conv: &Convolution, shortcut: Option<&Shortcut>) -> Result<(), Inconsistent> {
    let sum = |conv: &Convolution| {
        let taps: usize = conv.window.kernel.iter().product();
        products(conv.inputs * taps) + largest(&conv.bias)
    };
    let more = match shortcut {
        None => 0,
        Some(Shortcut::Identity) => LARGEST_FACTOR as i64 * 255,
        Some(Shortcut::Convolution(shortcut)) => sum(shortcut),
    };
    if sum(conv) + more <= i64::from(i32::MAX) {
        return Ok(());
    }
    let problem = "sums may leave 32 bits".into();
    Err(Inconsistent { layer: conv.name.clone(), problem, equation: "(10)" })
}

/// The largest sum of so many products of a weight and a level.
fn products(count: usize) -> i64 {
    count as i64 * 127 * 255
}

fn largest(bias: &[i32]) -> i64 {
    bias.iter().map(|&bias| i64::from(bias).abs()).max().unwrap_or(0)
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= ROUNDING * b.abs()
}
