//! What is known of a slice as a bag.

use crate::shard::SliceEntry;
use hemapatch::label::BagLabel;
use hemapatch::phantom::Marker;

/// Whether a slice has each of `labels`; `None` where that is not known.
///
/// A slice with a box shows a hematoma; one at least `box_distance` slices from every box shows none. Between them
/// nothing is known: the ends of a hematoma may be there. A slice with hematoma shows the markers of its patient,
/// which only phantoms have; one without hematoma shows none.
#[must_use]
pub fn bag_labels(entry: &SliceEntry, labels: &[BagLabel], box_distance: usize) -> Vec<Option<bool>> {
    let far = entry.box_distance.is_none_or(|distance| distance >= box_distance);
    let hematoma = if entry.boxed { Some(true) } else { far.then_some(false) };
    let shows = |label: BagLabel| {
        let listed = entry.markers.as_ref()?.iter().any(|&marker| label_of(marker) == label);
        Some(hematoma? && listed)
    };
    labels.iter().map(|&label| if label.is_marker() { shows(label) } else { hematoma }).collect()
}

/// The bag label that stands for a phantom's marker.
fn label_of(marker: Marker) -> BagLabel {
    match marker {
        Marker::Hypodensity => BagLabel::Hypodensity,
        Marker::IrregularMargin => BagLabel::IrregularMargin,
        Marker::BlendSign => BagLabel::BlendSign,
        Marker::FluidLevel => BagLabel::FluidLevel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(box_distance: Option<usize>, markers: Option<Vec<Marker>>) -> SliceEntry {
        SliceEntry {
            patient: "a".into(),
            name: "a_0".into(),
            boxed: box_distance == Some(0),
            box_distance,
            hematoma_ml: None,
            markers,
        }
    }

    #[test]
    fn slices_beside_a_box_are_neither_with_nor_without_hematoma() {
        let known = |distance| bag_labels(&entry(distance, None), &BagLabel::ALL, 2);
        assert_eq!(known(Some(0)), [Some(true), None, None, None, None]);
        assert_eq!(known(Some(1)), [None; 5]);
        assert_eq!(known(Some(2)), [Some(false), None, None, None, None]);
        assert_eq!(known(None)[0], Some(false));
    }

    #[test]
    fn markers_of_a_phantom_are_those_of_its_slices_with_hematoma() {
        let labels = [BagLabel::Hematoma, BagLabel::BlendSign, BagLabel::FluidLevel];
        let known = |distance| bag_labels(&entry(distance, Some(vec![Marker::FluidLevel])), &labels, 2);
        assert_eq!(known(Some(0)), [Some(true), Some(false), Some(true)]);
        assert_eq!(known(Some(1)), [None; 3]);
        assert_eq!(known(Some(4)), [Some(false); 3]);
        assert_eq!(bag_labels(&entry(None, Some(Vec::new())), &labels, 2), [Some(false); 3]);
    }

    #[test]
    fn markers_have_the_names_that_shards_give_them() {
        for marker in Marker::ALL {
            let name = serde_json::to_string(&marker).unwrap();
            assert_eq!(name, format!("\"{}\"", label_of(marker).name()));
        }
    }
}
