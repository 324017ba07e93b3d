//! A side's slices one by one, for whoever wants to look at what was missed.

use crate::recipe::Recipe;
use crate::score::ScoredStudy;
use hemapatch::evidence;
use ndarray::Axis;
use std::fmt::Write as _;

/// Slices as CSV: the data set's pseudonym, place in the series from 0, whether there is a box, slices
/// to the nearest one, strongest single patch, strongest pooled evidence.
#[must_use]
pub fn csv(studies: &[ScoredStudy], recipe: &Recipe) -> String {
    let mut text = String::from("patient,slice,boxed,box_distance,strongest,pooled\n");
    for study in studies {
        let pooled = evidence::pool(&recipe.pooling, study.hematoma.view());
        for (at, (single, pooled)) in
            study.hematoma.axis_iter(Axis(0)).zip(pooled.axis_iter(Axis(0))).enumerate()
        {
            let distance = study.box_distance[at].map(|distance| distance.to_string()).unwrap_or_default();
            let (single, pooled) = (evidence::strongest(single), evidence::strongest(pooled));
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{},{at},{},{distance},{single:.4},{pooled:.4}",
                study.patient,
                u8::from(study.boxed[at])
            );
        }
    }
    text
}
