//! The paper's figures of patch accuracy beside ours: its three networks (P10 to P12), its split over
//! patches and ours by patient.
//!
//! Accuracy is that of certain patches, mixed as the paper's Table 1 mixes them: of all patches of a head
//! nine in ten are air, and whoever calls everything air is right nine times.

use crate::bag::Cutter;
use crate::metrics::ConfusionMatrix;
use crate::net::ResNet18;
use crate::recipe::{Augmentation, Dealt, Method, Recipe};
use crate::score;
use crate::shard::Shard;
use crate::shares::Target;
use crate::split::{Side, Split};
use hemapatch::label::Class;
use serde::Serialize;
use std::fmt::Write as _;

/// The paper's networks by the names of our recipes, with its training, validation and test accuracy in
/// percent.
pub const PAPER: [(&str, [f64; 3]); 3] =
    [("single", [99.1, 98.7, 98.6]), ("weighted", [99.2, 98.8, 98.7]), ("multilabel", [99.1, 98.8, 98.7])];

/// Patches of each class that the paper used (P8, Table 1).
const TABLE_1: [f64; 4] = [3225.0, 3225.0, 330.0, 733.0];

/// From this probability on a multi-label network says yes.
const YES: f32 = 0.5;

/// How well the certain patches of one side are called.
#[derive(Clone, Debug, Serialize)]
pub struct PatchAccuracy {
    /// True class against called class.
    pub patches: ConfusionMatrix,
    /// Share called right, the classes mixed as in Table 1; `None` if one of the four is missing.
    pub mixed: Option<f64>,
    /// Multi-label: share of the yes and no that are right, where the truth is known.
    pub answers: Option<f64>,
}

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The recipe's name.
    pub recipe: String,
    /// What was dealt out.
    pub by: Dealt,
    /// Training, validation, test; `None` where nobody was to look.
    pub sides: [Option<PatchAccuracy>; 3],
}

/// The recipe as it is for patches dealt out: nothing may move a patch.
#[must_use]
pub fn by_patch(recipe: &Recipe) -> Recipe {
    let mut recipe = recipe.clone();
    recipe.split.by = Dealt::Patch;
    let Augmentation { shift, rotation_deg, size_percent, .. } = &mut recipe.augmentation;
    (*shift, *rotation_deg, *size_percent) = (false, 0.0, 0.0);
    recipe
}

/// Judges a network on one side's certain patches, as they are.
///
/// # Errors
/// When libtorch fails.
pub fn accuracy(
    net: &ResNet18,
    recipe: &Recipe,
    shard: &Shard,
    split: &Split,
    side: Side,
) -> Result<PatchAccuracy, tch::TchError> {
    let bag = Cutter::new(shard.clone(), split, side, recipe).cut_plain();
    let mut patches = ConfusionMatrix::new(recipe.method.classes().iter().map(|class| class.name()));
    let (mut right, mut known) = (0u64, 0u64);
    for &truth in recipe.method.classes() {
        let kind = truth.index();
        let probabilities = score::probabilities(net, recipe.method, &bag.gray[kind])?;
        for (probability, targets) in probabilities.outer_iter().zip(&bag.targets[kind]) {
            patches.add(kind, score::most_probable(probability));
            for (&probability, target) in probability.iter().zip(targets) {
                let truth = match target {
                    Target::Present => true,
                    Target::Absent => false,
                    Target::Unknown => continue,
                };
                known += 1;
                right += u64::from((probability >= YES) == truth);
            }
        }
    }
    let answers = (recipe.method == Method::Multilabel && known > 0).then(|| right as f64 / known as f64);
    Ok(PatchAccuracy { mixed: mixed(&patches), patches, answers })
}

/// Accuracy with the classes mixed as in Table 1.
fn mixed(patches: &ConfusionMatrix) -> Option<f64> {
    let weighed = Class::SINGLE
        .iter()
        .zip(TABLE_1)
        .map(|(class, weight)| patches.recall(class.index()).map(|recall| recall * weight));
    let sum: Option<f64> = weighed.sum();
    sum.map(|sum| sum / TABLE_1.iter().sum::<f64>())
}

/// The table in Markdown: a row for each network and split, the paper's own above them.
#[must_use]
pub fn markdown(rows: &[Row]) -> String {
    let mut text =
        String::from("| network | split | training | validation | test |\n|---|---|---|---|---|\n");
    let percent =
        |share: Option<f64>| share.map_or("not looked at".into(), |s| format!("{:.2} %", 100.0 * s));
    for (name, paper) in PAPER {
        let [training, validation, test] = paper;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {name} | the paper's own | {training} % | {validation} % | {test} % |");
        for row in rows.iter().filter(|row| row.recipe == name) {
            let split = match row.by {
                Dealt::Patch => "by patch, as the paper",
                Dealt::Patient => "by patient",
            };
            let [training, validation, test] =
                row.sides.each_ref().map(|side| percent(side.as_ref().and_then(|side| side.mixed)));
            let _ = writeln!(text, "| {name} | {split} | {training} | {validation} | {test} |");
            if row.sides.iter().flatten().any(|side| side.answers.is_some()) {
                let [training, validation, test] =
                    row.sides.each_ref().map(|side| percent(side.as_ref().and_then(|side| side.answers)));
                let _ = writeln!(
                    text,
                    "| {name}, each yes and no | {split} | {training} | {validation} | {test} |"
                );
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_mixed_as_in_table_1() {
        let mut patches = ConfusionMatrix::new(Class::SINGLE.map(Class::name));
        assert_eq!(mixed(&patches), None);
        // However many patches of air there are, they weigh as in the paper.
        (0..1_000_000).for_each(|_| patches.add(0, 0));
        for class in 1..4 {
            patches.add(class, class);
            patches.add(class, 0);
        }
        let expected = (3225.0 + 0.5 * (3225.0 + 330.0 + 733.0)) / (2.0 * 3225.0 + 330.0 + 733.0);
        assert!((mixed(&patches).unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn the_table_puts_the_papers_figures_first() {
        let mut patches = ConfusionMatrix::new(Class::SINGLE.map(Class::name));
        (0..4).for_each(|class| patches.add(class, class));
        let side = PatchAccuracy { mixed: mixed(&patches), patches, answers: None };
        let row = Row { recipe: "weighted".into(), by: Dealt::Patch, sides: [Some(side), None, None] };
        let table = markdown(&[row]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[3], "| weighted | the paper's own | 99.2 % | 98.8 % | 98.7 % |");
        assert_eq!(
            lines[4],
            "| weighted | by patch, as the paper | 100.00 % | not looked at | not looked at |"
        );
    }
}
