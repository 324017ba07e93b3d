//! The standard view: every slice is seen from the feet, the patient's left at the right and the back below,
//! however the patient lay and whichever way the scanner wrote its rows.
//! The network has seen no other view, and "left" in a picture is to mean left.

use super::geometry::Orientation;

/// One of the eight exact ways to bring a slice into the standard view: first an exchange of rows and columns, then
/// mirrors. No pixel is mixed with another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reorientation {
    /// Rows become columns.
    pub transpose: bool,
    /// The order within each row is turned round, after the exchange.
    pub mirror: bool,
    /// The order of the rows is turned round, after the exchange.
    pub upend: bool,
}

impl Reorientation {
    /// All eight.
    pub const ALL: [Self; 8] = {
        let mut all = [Self { transpose: false, mirror: false, upend: false }; 8];
        let mut which = 0;
        while which < 8 {
            all[which] = Self { transpose: which & 4 != 0, mirror: which & 2 != 0, upend: which & 1 != 0 };
            which += 1;
        }
        all
    };

    /// The one that brings the axes of a slice nearest to the standard view: columns to the patient's left, rows to
    /// the back. The axes tell, and not PatientPosition: a console may have turned the picture already.
    pub(super) fn of(stored: &Orientation) -> Self {
        let near = |way: &Self| {
            let Orientation { row, column, .. } = way.axes(stored);
            row[0] + column[1]
        };
        // The first of equals, so that a head turned by 45 degrees stays as it is.
        Self::ALL
            .iter()
            .copied()
            .fold(Self::default(), |best, other| if near(&other) > near(&best) + 1e-6 { other } else { best })
    }

    /// True where nothing is to be done.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// The axes of a slice, brought into the view.
    pub(super) fn axes(self, stored: &Orientation) -> Orientation {
        let Orientation { row, column, normal } = *stored;
        let (row, column) = if self.transpose { (column, row) } else { (row, column) };
        let turned = |axis: [f64; 3], turn: bool| if turn { axis.map(|part| 0.0 - part) } else { axis };
        Orientation { row: turned(row, self.mirror), column: turned(column, self.upend), normal }
    }

    /// A pair of what rows and columns have, such as their number, brought into the view.
    pub(super) fn pair<T>(self, [of_rows, of_columns]: [T; 2]) -> [T; 2] {
        if self.transpose { [of_columns, of_rows] } else { [of_rows, of_columns] }
    }

    /// Brings the pixels of a slice into the view, in place but for the exchange of rows and columns, which needs a
    /// second slice of memory.
    ///
    /// # Shape
    /// `pixels` is row-major, `columns` wide as stored.
    pub fn apply<T: Copy>(self, pixels: &mut Vec<T>, columns: usize) {
        let mut width = columns.max(1);
        if self.transpose {
            let rows = pixels.len() / width;
            let stored = std::mem::take(pixels);
            pixels.reserve_exact(stored.len());
            for column in 0..width {
                pixels.extend(stored.iter().skip(column).step_by(width));
            }
            width = rows.max(1);
        }
        match (self.mirror, self.upend) {
            (true, true) => pixels.reverse(),
            (true, false) => pixels.chunks_exact_mut(width).for_each(<[T]>::reverse),
            (false, true) => {
                let rows = pixels.len() / width;
                let (upper, lower) = pixels.split_at_mut(rows / 2 * width);
                let below = lower.chunks_exact_mut(width).rev();
                upper.chunks_exact_mut(width).zip(below).for_each(|(a, b)| a.swap_with_slice(b));
            }
            (false, false) => {}
        }
    }

    /// Where [`apply`](Self::apply) brings a pixel: row and column as stored to row and column in the view.
    ///
    /// `stored` are the rows and columns of the slice as stored.
    pub fn place(self, row: usize, column: usize, stored: (usize, usize)) -> (usize, usize) {
        let (rows, columns) = if self.transpose { (stored.1, stored.0) } else { stored };
        let (row, column) = if self.transpose { (column, row) } else { (row, column) };
        (
            if self.upend { rows - 1 - row } else { row },
            if self.mirror { columns - 1 - column } else { column },
        )
    }

    /// What is done, in words.
    fn words(self) -> &'static str {
        match (self.transpose, self.mirror, self.upend) {
            (false, false, false) => "nothing was turned",
            (false, true, false) => "the pictures were mirrored",
            (false, false, true) => "the pictures were mirrored upside down",
            (false, true, true) => "the pictures were turned by 180 degrees",
            (true, false, false) => "rows and columns were exchanged",
            (true, true, false) => "the pictures were turned by 90 degrees clockwise",
            (true, false, true) => "the pictures were turned by 90 degrees counterclockwise",
            (true, true, true) => "rows and columns were exchanged from the end",
        }
    }

    /// What a report says: how the patient lay, and what was done about it.
    ///
    /// `position` is PatientPosition (0018,5100).
    pub(super) fn detail(self, position: Option<&str>) -> String {
        let words = self.words();
        match position.and_then(lying) {
            Some(lying) => format!("{lying}: {words}"),
            None => format!("by ImageOrientationPatient {words}"),
        }
    }
}

/// How the patient lay; None for a word that DICOM does not have.
///
/// # Source
/// DICOM PS3.3 C.7.3.1.1.2 (Patient Position).
fn lying(position: &str) -> Option<&'static str> {
    Some(match position {
        "HFS" => "on the back, head first",
        "HFP" => "prone, head first",
        "HFDL" => "on the left side, head first",
        "HFDR" => "on the right side, head first",
        "FFS" => "on the back, feet first",
        "FFP" => "prone, feet first",
        "FFDL" => "on the left side, feet first",
        "FFDR" => "on the right side, feet first",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::crafted::Crafted;
    use crate::limits::Limits;
    use crate::series::{assemble, find};
    use crate::stream::SliceStream;

    /// The axes of a picture whose columns run along `row` and whose rows run along `column`.
    fn axes(row: [f64; 3], column: [f64; 3]) -> Orientation {
        Orientation { row, column, normal: [0.0, 0.0, 1.0] }
    }

    const LEFT: [f64; 3] = [1.0, 0.0, 0.0];
    const RIGHT: [f64; 3] = [-1.0, 0.0, 0.0];
    const BACK: [f64; 3] = [0.0, 1.0, 0.0];
    const FRONT: [f64; 3] = [0.0, -1.0, 0.0];

    #[test]
    fn a_pixel_is_told_to_be_where_it_is_brought() {
        let (rows, columns) = (3, 5);
        for way in Reorientation::ALL {
            let mut pixels: Vec<usize> = (0..rows * columns).collect();
            way.apply(&mut pixels, columns);
            let width = if way.transpose { rows } else { columns };
            for stored in 0..rows * columns {
                let (row, column) = way.place(stored / columns, stored % columns, (rows, columns));
                assert_eq!(pixels[row * width + column], stored, "{way:?}");
            }
        }
    }

    #[test]
    fn every_way_of_lying_comes_into_the_standard_view() {
        for (row, column, words) in [
            (LEFT, BACK, "nothing was turned"),
            (RIGHT, FRONT, "the pictures were turned by 180 degrees"),
            (RIGHT, BACK, "the pictures were mirrored"),
            (LEFT, FRONT, "the pictures were mirrored upside down"),
            (BACK, LEFT, "rows and columns were exchanged"),
            (FRONT, RIGHT, "rows and columns were exchanged from the end"),
            // Left is down, so the picture has to be turned until left is at the right.
            (FRONT, LEFT, "the pictures were turned by 90 degrees counterclockwise"),
            (BACK, RIGHT, "the pictures were turned by 90 degrees clockwise"),
        ] {
            let way = Reorientation::of(&axes(row, column));
            let seen = way.axes(&axes(row, column));
            assert_eq!((seen.row, seen.column, way.words()), (LEFT, BACK, words));
        }
    }

    #[test]
    fn a_tilted_gantry_and_a_turned_head_stay_as_they_are() {
        for degrees in [-44.0f64, -20.0, 18.5, 45.0] {
            let (sin, cos) = degrees.to_radians().sin_cos();
            assert!(Reorientation::of(&axes([cos, sin, 0.0], [-sin, cos, 0.0])).is_none(), "{degrees}");
            assert!(Reorientation::of(&axes(LEFT, [0.0, cos, -sin])).is_none(), "{degrees}");
        }
    }

    /// A pixel ends where its place in the patient says, for every way and every shape.
    #[test]
    fn pixels_follow_the_axes() {
        for (rows, columns) in [(3, 5), (4, 4), (1, 6), (5, 1), (2, 2)] {
            for way in Reorientation::ALL {
                let mut pixels: Vec<usize> = (0..rows * columns).collect();
                way.apply(&mut pixels, columns);
                let [high, wide] = way.pair([rows, columns]);
                for row in 0..high {
                    for column in 0..wide {
                        let y = if way.upend { high - 1 - row } else { row };
                        let x = if way.mirror { wide - 1 - column } else { column };
                        let (y, x) = if way.transpose { (x, y) } else { (y, x) };
                        assert_eq!(pixels[row * wide + column], y * columns + x, "{way:?}");
                    }
                }
            }
        }
    }

    /// A decubitus series of pixels that are not square: everything that has a row and a column is exchanged.
    #[test]
    fn a_series_has_the_shape_that_its_stream_gives() {
        let folder = tempfile::tempdir().unwrap();
        let slice = Crafted::slice(2, 3)
            .text(0x0018, 0x5100, b"CS", "HFDL")
            .text(0x0020, 0x0037, b"DS", "0\\-1\\0\\1\\0\\0")
            .text(0x0028, 0x0030, b"DS", "0.5\\0.7");
        std::fs::write(folder.path().join("slice"), slice.file()).unwrap();
        let limits = Limits::default();
        let study = assemble(find(&[folder.path().to_owned()], &limits), &limits).studies.remove(0);
        let series = &study.series[0];
        assert_eq!((series.rows, series.columns), (3, 2));
        assert_eq!(series.pixel_spacing_mm, Some([0.7, 0.5]));
        assert_eq!((series.orientation.row, series.orientation.column), (LEFT, BACK));
        let told: Vec<&str> = series.warnings.iter().map(|warning| &*warning.detail).collect();
        assert_eq!(
            told,
            ["on the left side, head first: the pictures were turned by 90 degrees counterclockwise"]
        );
        let mut hu = Vec::new();
        SliceStream::new(series, &limits).next_into(&mut hu).unwrap().unwrap();
        // Stored as 0 1 2 over 3 4 5: what was below is at the right.
        assert_eq!(hu, [2, 5, 1, 4, 0, 3]);
    }

    #[test]
    fn the_report_tells_how_the_patient_lay() {
        let way = Reorientation { transpose: false, mirror: true, upend: true };
        assert_eq!(way.detail(Some("HFP")), "prone, head first: the pictures were turned by 180 degrees");
        let told = "by ImageOrientationPatient the pictures were turned by 180 degrees";
        assert_eq!((way.detail(None), way.detail(Some("DOE^JOHN"))), (told.into(), told.into()));
    }
}
