//! The distances between slices: their usual size, and whether slices are missing between them.
//! Where the slices lie is left to `geometry`; SliceThickness says nothing about distances.

use super::Warning;

/// A distance that differs from the median by more than this part of it is not regular.
const TOLERANCE: f64 = 0.1;

/// Distances between neighbours, for positions in ascending order.
pub(super) struct Spacing {
    gaps_mm: Vec<f64>,
    /// None for a single slice.
    pub median_mm: Option<f64>,
}

impl Spacing {
    pub fn of(positions_mm: &[f64]) -> Spacing {
        let gaps_mm: Vec<f64> = positions_mm.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mut sorted = gaps_mm.clone();
        sorted.sort_by(f64::total_cmp);
        Spacing { median_mm: sorted.get(gaps_mm.len() / 2).copied(), gaps_mm }
    }

    /// How much of the patient a slice stands for, in mm along the normal: half the way to each neighbour, and
    /// at an end as much outward as inward. `alone_mm` for a slice without neighbours.
    pub fn slab_mm(&self, slice: usize, alone_mm: f64) -> f64 {
        let below = slice.checked_sub(1).and_then(|gap| self.gaps_mm.get(gap));
        match (below, self.gaps_mm.get(slice)) {
            (Some(below), Some(above)) => (below + above) / 2.0,
            (Some(gap), None) | (None, Some(gap)) => *gap,
            (None, None) => alone_mm,
        }
    }

    /// Warnings `missing_slices` and `variable_spacing`.
    ///
    /// A gap of a multiple of the median is a missing slice where such gaps are rare; where they are common, the
    /// protocol changed its spacing on the way (thin slices at the skull base, thicker ones above).
    pub fn warnings(&self) -> Vec<Warning> {
        let Some(median) = self.median_mm else {
            return Vec::new();
        };
        let is_regular = |gap: &&f64| (**gap - median).abs() <= TOLERANCE * median;
        let regular = self.gaps_mm.iter().filter(is_regular).count();
        let left_out = |gap: &f64| {
            let times = (gap / median).round();
            let is_multiple = times >= 2.0 && (gap - times * median).abs() <= TOLERANCE * median;
            is_multiple.then(|| times as u64 - 1)
        };
        let multiples: Vec<u64> = self.gaps_mm.iter().filter_map(left_out).collect();
        let are_rare = multiples.len() * 3 <= regular || (multiples.len() == 1 && regular >= 2);
        let mut warnings = Vec::new();
        let mut explained = regular;
        if are_rare && !multiples.is_empty() {
            explained += multiples.len();
            let missing: u64 = multiples.iter().sum();
            warnings.push(Warning::new(
                "missing_slices",
                format!(
                    "{missing} missing in {} gap{}, where {median:.1} mm is usual",
                    multiples.len(),
                    if multiples.len() == 1 { "" } else { "s" },
                ),
            ));
        }
        if explained < self.gaps_mm.len() {
            let least = self.gaps_mm.iter().copied().fold(f64::INFINITY, f64::min);
            let most = self.gaps_mm.iter().copied().fold(0.0, f64::max);
            warnings.push(Warning::new(
                "variable_spacing",
                format!("{least:.1} to {most:.1} mm between slices, median {median:.1} mm"),
            ));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(gaps: &[f64]) -> Vec<(&'static str, String)> {
        let mut positions = vec![-3.0];
        for gap in gaps {
            positions.push(positions[positions.len() - 1] + gap);
        }
        Spacing::of(&positions).warnings().into_iter().map(|warning| (warning.code, warning.detail)).collect()
    }

    #[test]
    fn equal_distances_need_no_warning() {
        assert!(codes(&[5.0, 5.01, 4.99, 5.0]).is_empty());
        assert!(codes(&[]).is_empty());
    }

    #[test]
    fn a_missing_slice_is_told() {
        let told = codes(&[5.0, 5.0, 10.0]);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, "missing_slices");
        assert_eq!(told[0].1, "1 missing in 1 gap, where 5.0 mm is usual");
    }

    #[test]
    fn a_change_of_protocol_is_variable_spacing() {
        let gaps = [[4.0; 13].as_slice(), &[1.1], &[7.0; 13]].concat();
        let told = codes(&gaps);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, "variable_spacing");
        assert_eq!(told[0].1, "1.1 to 7.0 mm between slices, median 4.0 mm");
        let doubled = [[4.0; 10].as_slice(), &[8.0; 9]].concat();
        assert_eq!(codes(&doubled)[0].0, "variable_spacing");
    }

    #[test]
    fn slabs_fill_the_stack() {
        let spacing = Spacing::of(&[0.0, 4.0, 5.0, 12.0]);
        let slabs: Vec<f64> = (0..4).map(|slice| spacing.slab_mm(slice, 9.0)).collect();
        assert_eq!(slabs, [4.0, 2.5, 4.0, 7.0]);
        assert_eq!(Spacing::of(&[1.0]).slab_mm(0, 9.0), 9.0);
    }
}
