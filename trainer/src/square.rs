//! Means, maxima and minima over the square around each pixel; squares end at the plane's border.

use ndarray::Array2;

/// Rounded mean over the `(2 radius + 1)`-wide square around each pixel.
#[must_use]
pub fn mean(plane: &Array2<u8>, radius: usize) -> Array2<u8> {
    let (rows, columns) = plane.dim();
    let reach = |at: usize, extent: usize| (at + radius + 1).min(extent) - at.saturating_sub(radius);
    // Sums down the columns move along with the row: one row enters, one leaves.
    let mut sums = vec![0u32; columns];
    for row in plane.rows().into_iter().take(radius) {
        sums.iter_mut().zip(row).for_each(|(sum, &level)| *sum += u32::from(level));
    }
    let mut means = Array2::zeros((rows, columns));
    for (at, mut out) in means.rows_mut().into_iter().enumerate() {
        if at + radius < rows {
            let entering = plane.row(at + radius);
            sums.iter_mut().zip(entering).for_each(|(sum, &level)| *sum += u32::from(level));
        }
        if at > radius {
            let leaving = plane.row(at - radius - 1);
            sums.iter_mut().zip(leaving).for_each(|(sum, &level)| *sum -= u32::from(level));
        }
        let high = reach(at, rows);
        let mut sum: u32 = sums.iter().take(radius).sum();
        for (column, mean) in out.iter_mut().enumerate() {
            sum += sums.get(column + radius).copied().unwrap_or(0);
            if column > radius {
                sum -= sums[column - radius - 1];
            }
            let area = (high * reach(column, columns)) as u32;
            *mean = ((sum + area / 2) / area) as u8;
        }
    }
    means
}

/// Largest value of the `(2 radius + 1)`-wide square around each pixel: dilation of a mask.
#[must_use]
pub fn maximum(plane: &Array2<u8>, radius: usize) -> Array2<u8> {
    extreme(plane, radius, u8::max)
}

/// Smallest value of that square: erosion of a mask.
#[must_use]
pub fn minimum(plane: &Array2<u8>, radius: usize) -> Array2<u8> {
    extreme(plane, radius, u8::min)
}

fn extreme(plane: &Array2<u8>, radius: usize, choose: impl Fn(u8, u8) -> u8) -> Array2<u8> {
    let (rows, columns) = plane.dim();
    let mut extremes = plane.as_standard_layout().into_owned();
    let result = extremes.as_slice_mut().expect("just made so");
    let mut before = result.to_vec();
    // Along rows, then down the columns, all of which are one line whose pixels lie a row apart.
    for (pixels, apart) in [(columns, 1), (rows, columns)] {
        let line = (pixels * apart).max(1);
        let radius = radius.min(pixels.saturating_sub(1));
        // Pixels that know the line up to `reach` on both sides ask those that far away, and know twice as much.
        let mut reach = 0;
        while reach < radius {
            let distance = reach.max(1).min(radius - reach);
            before.copy_from_slice(result);
            for (to, from) in result.chunks_exact_mut(line).zip(before.chunks_exact(line)) {
                let distance = distance * apart;
                let choose = |(to, from): (&mut u8, &u8)| *to = choose(*to, *from);
                to.iter_mut().zip(&from[distance..]).for_each(choose);
                to[distance..].iter_mut().zip(from).for_each(choose);
            }
            reach += distance;
        }
    }
    extremes
}

/// Erosion, then dilation: drops what is narrower than `2 radius + 1` pixels.
#[must_use]
pub fn open(mask: &Array2<u8>, radius: usize) -> Array2<u8> {
    maximum(&minimum(mask, radius), radius)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use ndarray::s;

    fn around(plane: &Array2<u8>, radius: usize, row: usize, column: usize) -> Vec<u8> {
        let (rows, columns) = plane.dim();
        let reach = |at: usize, extent: usize| at.saturating_sub(radius)..(at + radius + 1).min(extent);
        plane.slice(s![reach(row, rows), reach(column, columns)]).iter().copied().collect()
    }

    #[test]
    fn equals_the_naive_square_of_every_pixel() {
        let mut random = Random::new(2);
        let shapes = [(1, 1, 2), (5, 9, 1), (9, 4, 3), (12, 12, 2), (40, 23, 5), (30, 31, 13), (50, 20, 26)];
        for (rows, columns, radius) in shapes {
            let plane = Array2::from_shape_fn((rows, columns), |_| random.below(256) as u8);
            let (means, maxima, minima) =
                (mean(&plane, radius), maximum(&plane, radius), minimum(&plane, radius));
            for ((row, column), &mean) in means.indexed_iter() {
                let square = around(&plane, radius, row, column);
                let area = square.len() as u32;
                let sum: u32 = square.iter().map(|&level| u32::from(level)).sum();
                assert_eq!(u32::from(mean), (sum + area / 2) / area);
                assert_eq!(Some(maxima[[row, column]]), square.iter().copied().max());
                assert_eq!(Some(minima[[row, column]]), square.iter().copied().min());
            }
        }
    }

    #[test]
    fn opening_drops_a_thin_line_and_keeps_a_square() {
        let mut mask = Array2::zeros((12, 12));
        mask.slice_mut(s![2..8, 2..8]).fill(1);
        let square = mask.clone();
        mask.slice_mut(s![10, ..]).fill(1);
        assert_eq!(open(&mask, 1), square);
    }
}
