//! Centering (P5): the head's middle to the slice's middle, its long axis upright if asked for.

use super::Centering;
use super::mask::Mask;
use ndarray::Array2;

/// Fractional bits of the rotation's coordinates.
const FRACTION: u32 = 16;
/// A head lies at most this far off upright; a larger angle is an axis mistaken, as in round vertex slices.
const LARGEST_ANGLE_DEG: f64 = 25.0;
/// The long axis of a rounder outline (ratio of second moments) says nothing.
const ROUNDEST: f64 = 1.15;

/// How a slice was moved by centering.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Placement {
    /// Rows the head moved down.
    pub shift_rows: i32,
    /// Columns the head moved right.
    pub shift_columns: i32,
    /// Angle the head was turned by, clockwise as seen.
    ///
    /// # Units
    /// Degrees.
    pub rotation_deg: f64,
    /// Pixels of the head; 0 where the slice shows none.
    pub head_pixels: u32,
}

impl Placement {
    pub(super) fn of(head: &Mask, centering: Centering) -> Self {
        let (rows, columns) = (head.rows() as i64, head.columns() as i64);
        // Sums over runs are exact in integers: a run of n pixels from x on adds n x + n (n - 1) / 2.
        let (mut area, mut sum_row, mut sum_column) = (0i64, 0i64, 0i64);
        head.runs(|row, start, end| {
            let (row, start, end) = (i64::from(row), i64::from(start), i64::from(end));
            let n = end - start;
            area += n;
            sum_row += n * row;
            sum_column += (start + end - 1) * n / 2;
        });
        let mut placement = Self { head_pixels: area as u32, ..Self::default() };
        if area == 0 || centering == Centering::Off {
            return placement;
        }
        let (middle_row, middle_column) = ((sum_row + area / 2) / area, (sum_column + area / 2) / area);
        placement.shift_rows = (rows / 2 - middle_row) as i32;
        placement.shift_columns = (columns / 2 - middle_column) as i32;
        if centering == Centering::Upright {
            placement.rotation_deg = upright_angle_deg(head, middle_row, middle_column);
        }
        placement
    }

    /// Where centering brings the middle of a pixel, to the nearest pixel; None where that is outside.
    ///
    /// `size` are rows and columns of the slice.
    pub fn place(&self, from: (usize, usize), size: (usize, usize)) -> Option<[usize; 2]> {
        let (middle_row, middle_column) = ((size.0 / 2) as f64, (size.1 / 2) as f64);
        let (shift_row, shift_column) = (f64::from(self.shift_rows), f64::from(self.shift_columns));
        let (y, x) = (from.0 as f64 + shift_row - middle_row, from.1 as f64 + shift_column - middle_column);
        let angle = self.rotation_deg.to_radians();
        let (sin, cos) = (libm::sin(angle), libm::cos(angle));
        // What `rotate` looks up, solved for where it puts it.
        let (row, column) = (y * cos + x * sin + middle_row, x * cos - y * sin + middle_column);
        let nearest = |at: f64, length: usize| {
            let at = at.round();
            (at >= 0.0 && at < length as f64).then_some(at as usize)
        };
        Some([nearest(row, size.0)?, nearest(column, size.1)?])
    }

    /// Moves a plane the way the slice was moved: masks and labels follow their slice.
    ///
    /// # Shape
    /// `plane` is `[rows, columns]`, as large as the slice.
    ///
    /// # Panics
    /// When `plane` is not in standard layout.
    pub fn apply(&self, plane: &mut Array2<u8>) {
        let columns = plane.ncols();
        let pixels = plane.as_slice_mut().expect("planes are in standard layout");
        self.apply_pixels(pixels, columns, &mut Vec::new());
    }

    pub(super) fn apply_pixels(&self, pixels: &mut [u8], columns: usize, moved: &mut Vec<u8>) {
        if self.rotation_deg != 0.0 {
            self.rotate(pixels, columns, moved);
        } else if (self.shift_rows, self.shift_columns) != (0, 0) {
            shift(pixels, columns, self.shift_rows as isize, self.shift_columns as isize);
        }
    }

    /// Turns about the head's middle and shifts, in one bilinear resampling in fixed point.
    fn rotate(&self, pixels: &mut [u8], columns: usize, moved: &mut Vec<u8>) {
        let rows = pixels.len() / columns;
        let angle = self.rotation_deg.to_radians();
        let one = f64::from(1u32 << FRACTION);
        let (sin, cos) = ((libm::sin(angle) * one).round() as i64, (libm::cos(angle) * one).round() as i64);
        let (middle_row, middle_column) = ((rows / 2) as i64, (columns / 2) as i64);
        let (from_row, from_column) =
            (middle_row - i64::from(self.shift_rows), middle_column - i64::from(self.shift_columns));
        moved.clear();
        moved.extend_from_slice(pixels);
        let level = |row: i64, column: i64| {
            let inside = (0..rows as i64).contains(&row) && (0..columns as i64).contains(&column);
            if inside { i64::from(moved[row as usize * columns + column as usize]) } else { 0 }
        };
        let half = 1i64 << (FRACTION - 1);
        for (row, out) in pixels.chunks_exact_mut(columns).enumerate() {
            let y = row as i64 - middle_row;
            let (mut source_row, mut source_column) = (
                (from_row << FRACTION) + y * cos + middle_column * sin,
                (from_column << FRACTION) + y * sin - middle_column * cos,
            );
            for pixel in out {
                let (row, column) = (source_row >> FRACTION, source_column >> FRACTION);
                let (down, right) = (source_row - (row << FRACTION), source_column - (column << FRACTION));
                let above =
                    (level(row, column) << FRACTION) + (level(row, column + 1) - level(row, column)) * right;
                let below = (level(row + 1, column) << FRACTION)
                    + (level(row + 1, column + 1) - level(row + 1, column)) * right;
                let between = above + (((below - above) * down) >> FRACTION);
                *pixel = ((between + half) >> FRACTION) as u8;
                source_row -= sin;
                source_column += cos;
            }
        }
    }
}

/// The angle that turns the long axis of the head upright: from the second moments of its outline.
fn upright_angle_deg(head: &Mask, middle_row: i64, middle_column: i64) -> f64 {
    let (mut rows2, mut columns2, mut mixed) = (0i64, 0i64, 0i64);
    head.runs(|row, start, end| {
        let y = i64::from(row) - middle_row;
        for column in start..end {
            let x = i64::from(column) - middle_column;
            rows2 += y * y;
            columns2 += x * x;
            mixed += x * y;
        }
    });
    let (rows2, columns2, mixed) = (rows2 as f64, columns2 as f64, mixed as f64);
    // Eigenvalues of the 2x2 moment matrix; their ratio says how round the outline is.
    let (mean, half) = ((rows2 + columns2) / 2.0, (rows2 - columns2) / 2.0);
    let spread = (half * half + mixed * mixed).sqrt();
    if mean + spread < ROUNDEST * (mean - spread) {
        return 0.0;
    }
    let angle = 0.5 * libm::atan2(2.0 * mixed, rows2 - columns2).to_degrees();
    if angle.abs() > LARGEST_ANGLE_DEG { 0.0 } else { angle }
}

/// Moves rows and columns in place; what enters is 0.
fn shift(pixels: &mut [u8], columns: usize, down: isize, right: isize) {
    let rows = pixels.len() / columns;
    let width = columns.saturating_sub(right.unsigned_abs());
    let (from, to) = if right >= 0 { (0, right as usize) } else { (right.unsigned_abs(), 0) };
    let move_row = |pixels: &mut [u8], target: usize| {
        let row = target * columns..(target + 1) * columns;
        match target.checked_add_signed(-down).filter(|&source| source < rows && width > 0) {
            Some(source) => {
                let start = source * columns + from;
                pixels.copy_within(start..start + width, row.start + to);
                pixels[row.start..row.start + to].fill(0);
                pixels[row.start + to + width..row.end].fill(0);
            }
            None => pixels[row].fill(0),
        }
    };
    // In place, a row must be read before it is written.
    if down > 0 {
        (0..rows).rev().for_each(|row| move_row(pixels, row));
    } else {
        (0..rows).for_each(|row| move_row(pixels, row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prep::{Preparation, Scratch};
    use proptest::prelude::*;

    fn ellipse(turn_deg: f64, down: f64, right: f64) -> Array2<u8> {
        let (sin, cos) = (libm::sin(turn_deg.to_radians()), libm::cos(turn_deg.to_radians()));
        Array2::from_shape_fn((256, 256), |(row, column)| {
            let (y, x) = (row as f64 - 128.0 - down, column as f64 - 128.0 - right);
            let (along, across) = (y * cos - x * sin, y * sin + x * cos);
            if (along / 90.0).powi(2) + (across / 65.0).powi(2) < 1.0 { 110 } else { 0 }
        })
    }

    fn middle(gray: &Array2<u8>) -> (f64, f64) {
        let marked: Vec<_> =
            gray.indexed_iter().filter(|(_, level)| **level > 55).map(|(at, _)| at).collect();
        let n = marked.len() as f64;
        (
            marked.iter().map(|at| at.0 as f64).sum::<f64>() / n,
            marked.iter().map(|at| at.1 as f64).sum::<f64>() / n,
        )
    }

    #[test]
    fn moves_an_off_center_head_to_the_middle() {
        let mut gray = ellipse(0.0, -21.0, 17.0);
        let placement = Preparation::default().prepare(&mut gray, &mut Scratch::default());
        assert_eq!((placement.shift_rows, placement.shift_columns), (21, -17));
        let (row, column) = middle(&gray);
        assert!((row - 128.0).abs() <= 0.5 && (column - 128.0).abs() <= 0.5, "{row} {column}");
    }

    #[test]
    fn a_pixel_is_told_to_be_where_it_is_moved() {
        for rotation_deg in [0.0, 9.0, -17.0] {
            let placement = Placement { shift_rows: 14, shift_columns: -9, rotation_deg, head_pixels: 1 };
            for (row, column) in [(100, 90), (128, 128), (40, 200), (141, 60)] {
                let mut plane = Array2::zeros((256, 256));
                // A block, since turning spreads a pixel over its neighbours.
                plane.slice_mut(ndarray::s![row - 1..=row + 1, column - 1..=column + 1]).fill(200);
                placement.apply(&mut plane);
                let (there_row, there_column) = middle(&plane);
                let [told_row, told_column] = placement.place((row, column), (256, 256)).unwrap();
                assert!((told_row as f64 - there_row).abs() <= 1.0, "{rotation_deg} {row} {column}");
                assert!((told_column as f64 - there_column).abs() <= 1.0, "{rotation_deg} {row} {column}");
            }
            assert_eq!(placement.place((255, 0), (256, 256)), None);
        }
    }

    #[test]
    fn turns_a_tilted_head_upright() {
        for turn in [-18.0, -4.0, 7.0, 15.0] {
            let mut gray = ellipse(turn, 10.0, -6.0);
            let upright = Preparation { center: Centering::Upright, ..Preparation::default() };
            let placement = upright.prepare(&mut gray, &mut Scratch::default());
            assert!((placement.rotation_deg.abs() - turn.abs()).abs() < 0.5, "{turn}: {placement:?}");
            let expected = ellipse(0.0, 0.0, 0.0);
            let wrong = gray.iter().zip(&expected).filter(|(a, b)| a.abs_diff(**b) > 60).count();
            assert!(wrong < 400, "{wrong} pixels off after turning back {turn} degrees");
        }
    }

    #[test]
    fn leaves_a_round_head_unturned() {
        let mut gray = Array2::from_shape_fn((256, 256), |(row, column)| {
            let (y, x) = (row as f64 - 128.0, column as f64 - 128.0);
            if y * y + x * x < 6400.0 { 110 } else { 0 }
        });
        let upright = Preparation { center: Centering::Upright, ..Preparation::default() };
        assert_eq!(upright.prepare(&mut gray, &mut Scratch::default()).rotation_deg, 0.0);
    }

    proptest! {
        #[test]
        fn a_shift_is_what_a_copy_would_do(
            rows in 1usize..12, columns in 1usize..12, down in -14isize..14, right in -14isize..14,
        ) {
            let before: Vec<u8> = (0..rows * columns).map(|i| (i % 251) as u8 + 1).collect();
            let mut after = before.clone();
            shift(&mut after, columns, down, right);
            for row in 0..rows as isize {
                for column in 0..columns as isize {
                    let (y, x) = (row - down, column - right);
                    let inside = (0..rows as isize).contains(&y) && (0..columns as isize).contains(&x);
                    let expected = if inside { before[y as usize * columns + x as usize] } else { 0 };
                    prop_assert_eq!(after[row as usize * columns + column as usize], expected);
                }
            }
        }
    }
}
