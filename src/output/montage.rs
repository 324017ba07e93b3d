//! All slices of a series in one picture, with the patch grid coloured by class.
//! Slices come one by one; only their small tiles are kept.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use embedded_graphics::mono_font::iso_8859_1::{FONT_9X18_BOLD, FONT_10X20};
use image::RgbImage;
use ndarray::ArrayView2;

use super::canvas::{AMBER, Area, Canvas, Colour, fitted, text_columns};
use super::grid::Placed;
use super::{RESEARCH_USE, model_line, volume};
use crate::label::Class;
use crate::patch::Grid;
use crate::study::{Outcome, Report};

/// Tiles in one picture at most: 10 columns, 12 rows, 2,648 x about 3,700 pixels.
pub const MOST_TILES: usize = 120;

/// Longest side of a tile: half of a 512 x 512 slice.
const TILE: u32 = 256;
const CAPTION: u32 = 28;
const GAP: u32 = 8;
/// The header's first line needs the width of four tiles.
const COLUMNS: std::ops::RangeInclusive<u32> = 4..=10;
const MOST_FACTS: usize = 6;
const LINE: u32 = 26;
const TITLE: u32 = 64;

const PAPER: Colour = [16, 19, 24];
const PANEL: Colour = [30, 35, 43];
const INK: Colour = [236, 239, 244];
const FAINT_INK: Colour = [150, 159, 172];
const RED_INK: Colour = [255, 110, 100];

/// Gathers the slices of a series and draws them together.
///
/// A series of more than [`MOST_TILES`] slices shows every k-th slice and, between them, the
/// slices with hematoma; where even these are too many, those with the most hematoma patches.
pub struct Montage {
    slices: usize,
    every: usize,
    grid: Grid,
    tiles: BTreeMap<usize, Tile>,
}

/// One slice, shrunk.
struct Tile {
    rows: u32,
    columns: u32,
    /// Pixels of the slice to one pixel of the tile.
    shrink: usize,
    levels: Vec<u8>,
    classes: Vec<Option<Class>>,
    hematoma: usize,
}

impl Montage {
    /// A montage of a series of `slices` slices.
    pub fn new(slices: usize, grid: Grid) -> Montage {
        let every = if slices <= MOST_TILES {
            1
        } else {
            // Half of the places, so that the other half is free for hematoma between them.
            slices.div_ceil(MOST_TILES / 2)
        };
        Montage { slices, every, grid, tiles: BTreeMap::new() }
    }

    /// Adds a prepared slice; `index` counts from 0 in the order of the series.
    ///
    /// # Shape
    /// `classes`: row by row, `grid.rows * grid.columns`; [`Class`], or `Option<Class>` where some
    /// patches have none.
    pub fn add<C>(&mut self, index: usize, gray: ArrayView2<u8>, classes: &[C])
    where
        C: Copy + Into<Option<Class>>,
    {
        let classes = classes.iter().map(|&class| class.into()).collect::<Vec<Option<Class>>>();
        let hematoma = classes.iter().filter(|&&class| class == Some(Class::Hematoma)).count();
        if !self.is_regular(index) && hematoma == 0 {
            return;
        }
        self.tiles.insert(index, Tile::new(gray, classes, hematoma));
        if self.tiles.len() > MOST_TILES {
            let least = self
                .tiles
                .iter()
                .map(|(&index, tile)| (self.is_regular(index), tile.hematoma, Reverse(index)))
                .min();
            if let Some((_, _, Reverse(index))) = least {
                self.tiles.remove(&index);
            }
        }
    }

    fn is_regular(&self, index: usize) -> bool {
        index.is_multiple_of(self.every)
    }

    /// Draws the montage, with outcome, model and `facts` about the series above the slices.
    ///
    /// `facts` are lines of text, such as spacing and kernel; they must not identify the patient.
    /// Six are shown at most.
    /// Scores and counts are those of the report, so that picture and JSON agree.
    pub fn draw(&self, report: &Report, facts: &[String]) -> RgbImage {
        let columns = self.columns();
        let shown = u32::try_from(self.tiles.len()).unwrap_or(u32::MAX);
        let rows = shown.div_ceil(columns);
        let lines = self.header_lines(report, facts);
        let header = TITLE + LINE * (lines.len() as u32 + 1) + 2 * GAP;
        let footer = LINE + GAP;
        let mut canvas = Canvas::new(
            GAP + columns * (TILE + GAP),
            header + GAP + rows * (TILE + CAPTION + GAP) + footer,
            PAPER,
        );
        let width = canvas.columns();
        let panel = Area { x: 0, y: 0, columns: width, rows: header };
        canvas.fill(panel, PANEL);
        draw_title(&mut canvas, &report.outcome);
        let mut y = TITLE + GAP;
        for line in &lines {
            let line = fitted(&FONT_10X20, line, width - 4 * GAP);
            canvas.text(2 * GAP, y, &FONT_10X20, INK, &line);
            y += LINE;
        }
        draw_legend(&mut canvas, y, report);

        for ((&index, tile), place) in self.tiles.iter().zip(0u32..) {
            let x = GAP + place % columns * (TILE + GAP);
            let y = header + GAP + place / columns * (TILE + CAPTION + GAP);
            self.draw_tile(&mut canvas, (x, y), index, tile, report);
        }
        let y = header + GAP + rows * (TILE + CAPTION + GAP) + GAP / 2;
        canvas.text(2 * GAP, y, &FONT_10X20, AMBER, RESEARCH_USE);
        let program = &report.trace.program;
        let x = width.saturating_sub(2 * GAP + text_columns(&FONT_10X20, program));
        canvas.text(x, y, &FONT_10X20, FAINT_INK, program);
        canvas.into_picture()
    }

    /// A picture somewhat wider than high.
    fn columns(&self) -> u32 {
        COLUMNS
            .clone()
            .find(|&columns| (columns * columns) as usize * 5 >= self.tiles.len() * 6)
            .unwrap_or(*COLUMNS.end())
    }

    fn header_lines(&self, report: &Report, facts: &[String]) -> Vec<String> {
        let mut lines = vec![match &report.outcome {
            // The detail names files, and a file's name may be a patient's.
            Outcome::Refused(refusal) => format!("reason: {}", refusal.code.as_str()),
            Outcome::Alert { .. } | Outcome::NoAlert { .. } => format!(
                "{} hematoma patches, {}, in {} of {} slices",
                report.hematoma_patches,
                volume(report),
                report.slices.iter().filter(|slice| slice.counts[Class::Hematoma.index()] > 0).count(),
                report.slices.len(),
            ),
        }];
        let pixels = self.grid.size.pixels();
        lines.extend(
            model_line(&report.trace).map(|model| format!("{model}, patches of {pixels} x {pixels} pixels")),
        );
        lines.extend(report.trace.notice.map(str::to_owned));
        lines.extend(facts.iter().take(MOST_FACTS).cloned());
        if self.every > 1 {
            let with_hematoma = self.tiles.keys().filter(|&&index| !self.is_regular(index)).count();
            lines.push(format!(
                "shown: {} of {} slices (1 in {}, and of the others the {with_hematoma} with most hematoma)",
                self.tiles.len(),
                self.slices,
                self.every,
            ));
        }
        lines
    }

    fn draw_tile(&self, canvas: &mut Canvas, (x, y): (u32, u32), index: usize, tile: &Tile, report: &Report) {
        let box_of_tile = Area { x, y, columns: TILE, rows: TILE + CAPTION };
        canvas.fill(Area { rows: TILE, ..box_of_tile }, [0; 3]);
        let slice = Area {
            x: x + (TILE - tile.columns) / 2,
            y: y + (TILE - tile.rows) / 2,
            columns: tile.columns,
            rows: tile.rows,
        };
        let placed = Placed { grid: self.grid, slice, shrink: tile.shrink };
        canvas.gray(slice.x, slice.y, tile.columns as usize, &tile.levels);
        placed.draw(canvas, &tile.classes, 1);

        let caption = Area { y: y + TILE, rows: CAPTION, ..box_of_tile };
        canvas.fill(caption, PANEL);
        let baseline = y + TILE + 5;
        let number = format!("#{}", index + 1);
        canvas.text(x + GAP, baseline, &FONT_10X20, INK, &number);
        let slice = report.slices.get(index);
        let hematoma = slice.map_or(tile.hematoma, |slice| slice.counts[Class::Hematoma.index()] as usize);
        if hematoma > 0 {
            let patches = if hematoma == 1 { "patch" } else { "patches" };
            let count = format!("{hematoma} {patches}");
            let middle = x + (TILE - text_columns(&FONT_9X18_BOLD, &count)) / 2 + GAP;
            canvas.text(middle, baseline + 1, &FONT_9X18_BOLD, RED_INK, &count);
            canvas.frame(box_of_tile, 2, Class::Hematoma.colour());
        }
        if let Some(slice) = slice {
            let score = format!("{:.2}", slice.score);
            let right = x + TILE - GAP - text_columns(&FONT_10X20, &score);
            let ink = if hematoma > 0 { INK } else { FAINT_INK };
            canvas.text(right, baseline, &FONT_10X20, ink, &score);
        }
    }
}

impl Tile {
    fn new(gray: ArrayView2<u8>, classes: Vec<Option<Class>>, hematoma: usize) -> Tile {
        let longest = gray.nrows().max(gray.ncols());
        let shrink = longest.div_ceil(TILE as usize).max(1);
        let (rows, columns) = (gray.nrows() / shrink, gray.ncols() / shrink);
        let area = shrink * shrink;
        let mut levels = Vec::with_capacity(rows * columns);
        let mut sums = vec![0usize; columns];
        for row in 0..rows {
            sums.fill(0);
            for line in gray.rows().into_iter().skip(row * shrink).take(shrink) {
                for (column, &level) in line.iter().take(columns * shrink).enumerate() {
                    sums[column / shrink] += usize::from(level);
                }
            }
            levels.extend(sums.iter().map(|sum| ((sum + area / 2) / area) as u8));
        }
        Tile { rows: rows as u32, columns: columns as u32, shrink, levels, classes, hematoma }
    }
}

/// Outcome and probability at the left, the research-use line at the right.
fn draw_title(canvas: &mut Canvas, outcome: &Outcome) {
    let (badge, colour, probability) = match outcome {
        Outcome::Alert { probability } => ("ALERT", [200, 30, 36], Some(probability)),
        Outcome::NoAlert { probability } => ("NO ALERT", [26, 112, 92], Some(probability)),
        Outcome::Refused(_) => ("REFUSED", [150, 96, 0], None),
    };
    let badge_columns = 2 * text_columns(&FONT_10X20, badge) + 3 * GAP;
    let area = Area { x: 2 * GAP, y: 2 * GAP, columns: badge_columns, rows: TITLE - 2 * GAP };
    canvas.fill(area, colour);
    canvas.large_text(2 * GAP + 3 * GAP / 2, 2 * GAP + 4, &FONT_10X20, [255; 3], badge);
    let beside = match probability {
        Some(probability) => format!("probability {probability:.2}"),
        None => "no result".to_owned(),
    };
    canvas.large_text(badge_columns + 5 * GAP, 2 * GAP + 4, &FONT_10X20, INK, &beside);
    let columns = text_columns(&FONT_10X20, RESEARCH_USE) + 2 * GAP;
    let area = Area { x: canvas.columns().saturating_sub(columns + 2 * GAP), y: 2 * GAP, columns, rows: 36 };
    canvas.frame(area, 2, AMBER);
    canvas.text(area.x + GAP, area.y + 8, &FONT_10X20, AMBER, RESEARCH_USE);
}

fn draw_legend(canvas: &mut Canvas, y: u32, report: &Report) {
    const SWATCH: u32 = 16;
    let mut x = 2 * GAP;
    // Only multi-label models tell the fluid spaces apart.
    let found = |class: Class| report.slices.iter().any(|slice| slice.counts[class.index()] > 0);
    let fluid = [Class::Ventricle, Class::Csf].into_iter().filter(|&class| found(class));
    let usual = [Class::Hematoma, Class::Skull, Class::Parenchyma, Class::Background];
    for class in usual.into_iter().chain(fluid) {
        let swatch = Area { x, y: y + 2, columns: SWATCH, rows: SWATCH };
        canvas.fill(swatch, class.colour());
        x += SWATCH + GAP;
        canvas.text(x, y, &FONT_10X20, FAINT_INK, class.name());
        x += text_columns(&FONT_10X20, class.name()) + 3 * GAP;
    }
    let key = "| #slice, hematoma patches, score";
    canvas.text(x, y, &FONT_10X20, FAINT_INK, key);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;
    use crate::patch::PatchSize;
    use ndarray::Array2;

    const GRID: Grid = Grid { rows: 32, columns: 32, size: PatchSize::SIXTEEN };

    /// Upper left corner of the first tile: below two header lines and the legend.
    fn first_tile() -> (u32, u32) {
        (GAP, TITLE + LINE * 3 + 2 * GAP + GAP)
    }

    fn classes(hematoma_at: &[usize]) -> Vec<Option<Class>> {
        let mut classes = vec![Some(Class::Background); 1024];
        for &index in hematoma_at {
            classes[index] = Some(Class::Hematoma);
        }
        classes
    }

    #[test]
    fn a_hematoma_patch_is_reddish_at_its_place_and_the_slice_is_seen_elsewhere() {
        let mut montage = Montage::new(5, GRID);
        let gray = Array2::from_elem((512, 512), 100u8);
        for index in 0..5 {
            // The third slice: patch row 2, column 5, so tile pixels 40.. and 16.. .
            let hematoma: &[usize] = if index == 2 { &[2 * 32 + 5] } else { &[] };
            montage.add(index, gray.view(), &classes(hematoma));
        }
        let picture = montage.draw(&sample::alert(&[0, 0, 1, 0, 0]), &[]);
        let (x, y) = first_tile();
        let third = x + 2 * (TILE + GAP);
        let [red, green, blue] = picture.get_pixel(third + 44, y + 20).0;
        assert!(red > 150 && green < 90 && blue < 90, "{red} {green} {blue}");
        let [red, green, blue] = picture.get_pixel(third + 52, y + 20).0;
        assert!(red.abs_diff(100) < 12 && green.abs_diff(100) < 12 && blue.abs_diff(100) < 12);
        let [red, ..] = picture.get_pixel(x + 44, y + 20).0;
        assert!(red < 110, "the first slice has no hematoma there");
        assert_eq!(picture.get_pixel(third, y).0, Class::Hematoma.colour());
    }

    #[test]
    fn five_slices_stand_in_two_rows_of_four() {
        let mut montage = Montage::new(5, GRID);
        let gray = Array2::from_elem((512, 512), 100u8);
        for index in 0..5 {
            montage.add(index, gray.view(), &classes(&[]));
        }
        let picture = montage.draw(&sample::alert(&[0; 5]), &[]);
        let (_, y) = first_tile();
        assert_eq!(picture.width(), GAP + 4 * (TILE + GAP));
        let second_row = y + TILE + CAPTION + GAP;
        assert_eq!(picture.height(), second_row + TILE + CAPTION + GAP + LINE + GAP);
        assert!(picture.get_pixel(GAP + 100, second_row + 100).0[0] > 80);
        assert_eq!(picture.get_pixel(2 * GAP + TILE + 100, second_row + 100).0, PAPER);
    }

    #[test]
    fn a_thousand_slices_stay_one_bounded_picture_that_keeps_the_hematoma() {
        let mut montage = Montage::new(1000, GRID);
        let gray = Array2::from_elem((64, 64), 100u8);
        for index in 0..1000 {
            // One slice in the middle of many has the largest hematoma.
            let hematoma = match index {
                503 => vec![1, 2, 3, 4],
                300..700 => vec![1],
                _ => vec![],
            };
            montage.add(index, gray.view(), &classes(&hematoma));
            assert!(montage.tiles.len() <= MOST_TILES);
        }
        assert!(montage.tiles.contains_key(&503));
        assert!((0..1000).step_by(17).all(|index| montage.tiles.contains_key(&index)));
        let report = sample::alert(&vec![0; 1000]);
        let lines = montage.header_lines(&report, &[]);
        assert_eq!(
            lines[2],
            "shown: 120 of 1000 slices (1 in 17, and of the others the 61 with most hematoma)"
        );
        let picture = montage.draw(&report, &[]);
        assert!(picture.width() <= 2700 && picture.height() <= 3800);
    }

    #[test]
    fn every_picture_says_research_use_even_without_slices() {
        let montage = Montage::new(0, GRID);
        let picture = montage.draw(&sample::refused(), &["x".repeat(10_000)]);
        let amber = picture.pixels().filter(|pixel| pixel.0 == AMBER).count();
        assert!(amber > 2000, "{amber}");
    }

    #[test]
    fn slices_of_any_shape_fit_their_tile() {
        for (rows, columns) in [(1, 1), (300, 200), (512, 512), (768, 1024), (1, 3000)] {
            let mut montage = Montage::new(1, Grid::over(rows, columns, PatchSize::SIXTEEN));
            let gray = Array2::from_elem((rows, columns), 9u8);
            montage.add(0, gray.view(), &[Some(Class::Hematoma)]);
            let tile = &montage.tiles[&0];
            assert!(tile.rows <= TILE && tile.columns <= TILE);
            montage.draw(&sample::alert(&[1]), &[]);
        }
    }

    #[test]
    fn a_tile_is_the_rounded_mean_of_the_pixels_it_shows() {
        let gray = Array2::from_shape_fn((512, 512), |(row, column)| match (row, column) {
            (0, 0) => 3,
            (0, 1) | (1, 0) => 2,
            _ => 0,
        });
        let tile = Tile::new(gray.view(), Vec::new(), 0);
        assert_eq!(&tile.levels[..2], &[2, 0]);
    }
}
