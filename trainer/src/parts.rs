//! Parts of a mask that hang together.

use ndarray::Array2;

/// The parts of a mask whose pixels hang together by their edges, as those pixels' places.
#[must_use]
pub fn parts(mask: &Array2<u8>) -> Vec<Vec<(usize, usize)>> {
    let mut left = mask.clone();
    let mut parts = Vec::new();
    for (start, _) in mask.indexed_iter() {
        if left[start] == 0 {
            continue;
        }
        left[start] = 0;
        let mut part = vec![start];
        let mut next = 0;
        while let Some(&(row, column)) = part.get(next) {
            next += 1;
            let beside = [
                (row.wrapping_sub(1), column),
                (row + 1, column),
                (row, column.wrapping_sub(1)),
                (row, column + 1),
            ];
            for place in beside {
                if left.get(place) == Some(&1) {
                    left[place] = 0;
                    part.push(place);
                }
            }
        }
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hang_together_by_edges() {
        let mask = ndarray::arr2(&[[1, 1, 0], [0, 0, 1], [1, 0, 1]]);
        let mut sizes: Vec<usize> = parts(&mask).iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 2, 2]);
    }
}
