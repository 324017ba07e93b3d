//! A slice with its patch grid drawn, and the slice cut into patches, as the grid annotation
//! tool keeps them. Which class a patch has is the caller's to say.

use std::path::Path;

use embedded_graphics::mono_font::iso_8859_1::{FONT_6X13, FONT_10X20};
use image::RgbImage;
use ndarray::ArrayView2;

use super::canvas::{AMBER, Area, Canvas, Colour};
use super::{OutputError, RESEARCH_USE, encode_png, write_png};
use crate::label::{Class, FileName};
use crate::patch::Grid;

/// Every patch as (row, column), row by row: the order of the classes everywhere.
fn places(grid: Grid) -> impl Iterator<Item = (usize, usize)> {
    (0..grid.rows).flat_map(move |row| (0..grid.columns).map(move |column| (row, column)))
}

/// A slice on a canvas, and the grid that belongs to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub grid: Grid,
    /// The pixels of the canvas that show the slice.
    pub slice: Area,
    /// Pixels of the slice to one pixel of the canvas, at least 1.
    pub shrink: usize,
}

impl Placed {
    /// Pixels of the canvas that show one patch. Patches may hang over the slice; nothing is
    /// drawn there.
    pub fn patch(&self, row: usize, column: usize) -> Area {
        let edge = |index: usize, end: u32| {
            let pixels = index.saturating_mul(self.grid.size.pixels()) / self.shrink;
            u32::try_from(pixels).unwrap_or(end).min(end)
        };
        let (left, right) = (edge(column, self.slice.columns), edge(column + 1, self.slice.columns));
        let (upper, lower) = (edge(row, self.slice.rows), edge(row + 1, self.slice.rows));
        Area { x: self.slice.x + left, y: self.slice.y + upper, columns: right - left, rows: lower - upper }
    }

    /// Lays the classes' colours and the grid over the slice.
    ///
    /// Air is left nearly as it is, brain is tinted so weakly that it stays readable;
    /// hematoma is strong and has an outline.
    pub fn draw(&self, canvas: &mut Canvas, classes: &[Option<Class>], outline: u32) {
        const GRID: Colour = [90, 220, 255];
        // At full size the grid is what the picture is for; in a montage the anatomy is.
        let grid_opacity = if self.shrink == 1 { 90 } else { 26 };
        let visible_grid = self.grid.size.pixels() / self.shrink >= 6;
        for ((row, column), class) in places(self.grid).zip(every_class(classes)) {
            let area = self.patch(row, column);
            if let Some(class) = class {
                canvas.tint(area, class.colour(), opacity(class));
            }
            if visible_grid {
                canvas.tint(Area { rows: 1, ..area }, GRID, grid_opacity);
                canvas.tint(Area { columns: 1, ..area }, GRID, grid_opacity);
            }
        }
        let is_hematoma = |row: usize, column: usize| {
            let inside = row < self.grid.rows && column < self.grid.columns;
            let index = row.saturating_mul(self.grid.columns).saturating_add(column);
            inside && classes.get(index) == Some(&Some(Class::Hematoma))
        };
        for (row, column) in places(self.grid) {
            if !is_hematoma(row, column) {
                continue;
            }
            let area = self.patch(row, column);
            let lower = area.y + area.rows.saturating_sub(outline);
            let right = area.x + area.columns.saturating_sub(outline);
            let horizontal = |y| Area { y, rows: outline, ..area };
            let vertical = |x| Area { x, columns: outline, ..area };
            // Row 0 minus 1 wraps to a row beyond the grid, where no patch is.
            for (neighbour, edge) in [
                ((row.wrapping_sub(1), column), horizontal(area.y)),
                ((row + 1, column), horizontal(lower)),
                ((row, column.wrapping_sub(1)), vertical(area.x)),
                ((row, column + 1), vertical(right)),
            ] {
                if !is_hematoma(neighbour.0, neighbour.1) {
                    canvas.fill(edge, Class::Hematoma.colour());
                }
            }
        }
    }
}

/// Of 255.
fn opacity(class: Class) -> u8 {
    match class {
        Class::Background => 16,
        Class::Parenchyma => 32,
        Class::Hematoma => 120,
        Class::Skull => 92,
        Class::Ventricle | Class::Csf => 64,
    }
}

fn every_class(classes: &[Option<Class>]) -> impl Iterator<Item = Option<Class>> {
    classes.iter().copied().chain(std::iter::repeat(None))
}

/// A slice at full resolution with its grid, coloured by class where classes are known.
///
/// # Shape
/// `classes`: row by row, `grid.rows * grid.columns`, or empty while nobody has looked.
pub fn draw(gray: ArrayView2<u8>, grid: Grid, classes: &[Option<Class>]) -> RgbImage {
    let (rows, columns) = gray.dim();
    let pixels = |length| u32::try_from(length).unwrap_or(u32::MAX);
    let mut canvas = Canvas::new(pixels(columns), pixels(rows), [0; 3]);
    let levels = gray.iter().copied().collect::<Vec<_>>();
    canvas.gray(0, 0, columns, &levels);
    let slice = Area { x: 0, y: 0, columns: pixels(columns), rows: pixels(rows) };
    let placed = Placed { grid, slice, shrink: 1 };
    placed.draw(&mut canvas, classes, 2);
    canvas.into_picture()
}

/// What stands above and below a slice that leaves the program alone.
pub struct Caption {
    /// Which slice it is, counted from 1, foot to head.
    pub slice: usize,
    /// Of how many.
    pub slices: usize,
    /// The slice's probability of hematoma.
    pub score: f32,
    /// Whether it is seen from the feet, the patient's right at the left.
    pub has_sides: bool,
}

impl Caption {
    /// What the slice is, on one line.
    pub fn line(&self) -> String {
        let Caption { slice, slices, score, .. } = self;
        format!("slice {slice} of {slices}, probability {score:.2}")
    }
}

/// A slice's picture between lines that say what it is.
pub fn captioned(picture: &RgbImage, caption: &Caption) -> RgbImage {
    const LINE: u32 = 20;
    let (columns, rows) = picture.dimensions();
    let mut canvas = Canvas::new(columns, rows + 2 * LINE, [0; 3]);
    canvas.text(4, 4, &FONT_6X13, [255; 3], &caption.line());
    canvas.picture(0, LINE, picture);
    if caption.has_sides {
        let middle = LINE + rows / 2;
        canvas.text(4, middle, &FONT_10X20, AMBER, "R");
        canvas.text(columns.saturating_sub(14), middle, &FONT_10X20, AMBER, "L");
    }
    canvas.text(4, rows + LINE + 4, &FONT_6X13, AMBER, RESEARCH_USE);
    canvas.into_picture()
}

/// Saves `xxxx_grid.png` and every patch of a slice under `split_pic/`; returns their number.
///
/// The patches have the slice's own gray levels, without the grid; where a patch hangs over the
/// slice it is 0.
///
/// # Shape
/// `classes`: row by row, or empty: then the patches are saved without a letter.
///
/// # Errors
/// [`OutputError::FileName`] if `stem` cannot name files, else the file that failed.
pub fn save(
    folder: &Path,
    stem: &str,
    gray: ArrayView2<u8>,
    grid: Grid,
    classes: &[Option<Class>],
) -> Result<u32, OutputError> {
    let picture = folder.join(FileName::grid(stem)?.to_string());
    write_png(&picture, &draw(gray, grid, classes))?;
    let patches = folder.join(FileName::PATCH_FOLDER);
    let not_writable = |path: &Path| {
        let path = path.to_owned();
        move |source| OutputError::NotWritable { path, source }
    };
    std::fs::create_dir_all(&patches).map_err(not_writable(&patches))?;
    let side = grid.size.pixels();
    let pixels = u32::from(u16::from(grid.size));
    let mut levels = vec![0; side * side];
    let mut saved = 0;
    for ((row, column), class) in places(grid).zip(every_class(classes)) {
        let (x0, y0) = (column * side, row * side);
        levels.fill(0);
        let lines = gray.rows().into_iter().skip(y0);
        for (into, line) in levels.chunks_exact_mut(side).zip(lines) {
            for (level, from) in into.iter_mut().zip(line.iter().skip(x0)) {
                *level = *from;
            }
        }
        let origin = |pixels| u32::try_from(pixels).unwrap_or(u32::MAX);
        let name = FileName::patch(stem, origin(x0), origin(y0), class)?;
        let path = patches.join(name.to_string());
        let encoded = encode_png(&path, &levels, (pixels, pixels), image::ExtendedColorType::L8)?;
        // Written plainly: waiting for the disk a thousand times a slice would take minutes, and patches are
        // cut again as easily.
        std::fs::write(&path, encoded).map_err(not_writable(&path))?;
        saved += 1;
    }
    Ok(saved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::{LabelLimits, LabelTable};
    use crate::patch::PatchSize;
    use ndarray::Array2;

    /// 3 x 5 patches, of which the lowest and the rightmost hang over.
    fn ramp() -> (Array2<u8>, Grid) {
        let gray = Array2::from_shape_fn((40, 70), |(row, column)| (row * 3 + column) as u8);
        (gray, Grid::over(40, 70, PatchSize::SIXTEEN))
    }

    #[test]
    fn saves_patches_that_hold_the_pixels_of_their_place() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (gray, grid) = ramp();
        let mut classes = vec![None; 15];
        classes[6] = Some(Class::Hematoma);
        let saved = save(folder.path(), "0002_16", gray.view(), grid, &classes);
        assert_eq!(saved.expect("writable"), 15);

        let open = |name: &str| {
            let path = folder.path().join("split_pic").join(name);
            image::open(path).expect("a patch").into_luma8()
        };
        let inner = open("0002_16_16_16.C.png");
        assert_eq!(inner.dimensions(), (16, 16));
        assert_eq!(inner.get_pixel(3, 2).0, [gray[[18, 19]]]);
        let corner = open("0002_16_64_32.png");
        assert_eq!(corner.dimensions(), (16, 16));
        assert_eq!(corner.get_pixel(5, 7).0, [gray[[39, 69]]]);
        assert_eq!(corner.get_pixel(6, 7).0, [0]);
        assert_eq!(corner.get_pixel(5, 8).0, [0]);

        let table = LabelTable::read(folder.path(), LabelLimits::default()).expect("our own");
        assert_eq!(table.all.total, 15);
        assert_eq!((table.all.hematoma, table.all.unlabelled), (1, 14));
        assert_eq!(table.grids, 1);
    }

    #[test]
    fn a_stem_that_leads_out_of_the_folder_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (gray, grid) = ramp();
        let refused = save(folder.path(), "../0002", gray.view(), grid, &[]);
        assert!(matches!(refused, Err(OutputError::FileName(_))));
    }

    #[test]
    fn draws_hematoma_red_with_an_outline_and_keeps_the_size() {
        let (_, grid) = ramp();
        let gray = Array2::from_elem((40, 70), 100);
        let mut classes = vec![None; 15];
        classes[6] = Some(Class::Hematoma);
        let picture = draw(gray.view(), grid, &classes);
        assert_eq!(picture.dimensions(), (70, 40));
        let [red, green, blue] = picture.get_pixel(24, 24).0;
        assert!(red > 150 && green < 90 && blue < 90, "{red} {green} {blue}");
        assert_eq!(picture.get_pixel(16, 24).0, Class::Hematoma.colour());
        assert_eq!(picture.get_pixel(8, 24).0, [100; 3]);
        assert_eq!(picture.get_pixel(69, 39).0, [100; 3]);
    }

    #[test]
    fn a_slice_that_leaves_the_program_says_research_use_only_below_it() {
        let (columns, rows) = (512, 40);
        let slice = RgbImage::from_pixel(columns, rows, image::Rgb([100; 3]));
        for has_sides in [false, true] {
            let caption = Caption { slice: 3, slices: 9, score: 0.5, has_sides };
            let picture = captioned(&slice, &caption);
            let below = (0..columns).flat_map(|x| (rows + 20..picture.height()).map(move |y| (x, y)));
            let amber = below.filter(|&(x, y)| picture.get_pixel(x, y).0 == AMBER).count();
            // As many pixels as its letters have, at least.
            assert!(amber > 5 * RESEARCH_USE.len(), "{amber}");
        }
    }

    #[test]
    fn too_few_or_too_many_classes_draw_what_there_is() {
        let (gray, _) = ramp();
        let larger = Grid::over(64, 128, PatchSize::SIXTEEN);
        draw(gray.view(), larger, &[Some(Class::Skull)]);
        draw(gray.view(), larger, &vec![Some(Class::Hematoma); 500]);
        let empty = Array2::<u8>::zeros((0, 0));
        draw(empty.view(), Grid::over(0, 0, PatchSize::SIXTEEN), &[]);
    }
}
