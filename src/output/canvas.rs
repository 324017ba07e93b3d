//! An RGB picture to draw on: tints, rectangles and text in fixed-width fonts.
//! What is drawn where is the business of `grid` and `montage`.

use std::convert::Infallible;

use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor as _};
use embedded_graphics::prelude::{DrawTarget, Drawable as _, OriginDimensions, Pixel, Point, Size};
use embedded_graphics::text::{Baseline, Text};
use image::{Rgb, RgbImage};

use super::printable;

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

/// Of the line that says what results are for.
pub(super) const AMBER: Colour = [255, 190, 60];

/// A rectangle of pixels, which may reach over the edge of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub x: u32,
    pub y: u32,
    pub columns: u32,
    pub rows: u32,
}

/// The picture being drawn.
pub(super) struct Canvas {
    picture: RgbImage,
}

impl Canvas {
    /// A canvas of one colour.
    pub fn new(columns: u32, rows: u32, colour: Colour) -> Canvas {
        Canvas { picture: RgbImage::from_pixel(columns, rows, Rgb(colour)) }
    }

    /// The finished picture.
    pub fn into_picture(self) -> RgbImage {
        self.picture
    }

    /// Width of the picture in pixels.
    pub fn columns(&self) -> u32 {
        self.picture.width()
    }

    /// Paints gray levels, row by row, `columns` a row.
    pub fn gray(&mut self, x: u32, y: u32, columns: usize, levels: &[u8]) {
        for (line, row) in levels.chunks(columns.max(1)).zip(y..) {
            for (&level, column) in line.iter().zip(x..) {
                if let Some(pixel) = self.picture.get_pixel_mut_checked(column, row) {
                    *pixel = Rgb([level; 3]);
                }
            }
        }
    }

    /// Paints a picture.
    pub fn picture(&mut self, x: u32, y: u32, picture: &RgbImage) {
        for (column, row, &pixel) in picture.enumerate_pixels() {
            if let Some(own) = self.picture.get_pixel_mut_checked(x + column, y + row) {
                *own = pixel;
            }
        }
    }

    /// Paints an area in one colour.
    pub fn fill(&mut self, area: Area, colour: Colour) {
        self.tint(area, colour, 255);
    }

    /// Lays a colour over an area: `opacity` 0 leaves it as it is, 255 hides what was there.
    pub fn tint(&mut self, area: Area, colour: Colour, opacity: u8) {
        let right = area.x.saturating_add(area.columns).min(self.picture.width());
        let bottom = area.y.saturating_add(area.rows).min(self.picture.height());
        let over = u32::from(opacity);
        for row in area.y..bottom {
            for column in area.x..right {
                let Rgb(below) = self.picture.get_pixel_mut(column, row);
                for (level, top) in below.iter_mut().zip(colour) {
                    let mixed = u32::from(*level) * (255 - over) + u32::from(top) * over + 127;
                    *level = (mixed / 255) as u8;
                }
            }
        }
    }

    /// Draws the inner edge of an area, `thickness` pixels wide.
    pub fn frame(&mut self, area: Area, thickness: u32, colour: Colour) {
        let Area { x, y, columns, rows } = area;
        let lower = y + rows.saturating_sub(thickness);
        let right = x + columns.saturating_sub(thickness);
        for (y, rows, x, columns) in [
            (y, thickness, x, columns),
            (lower, thickness, x, columns),
            (y, rows, x, thickness),
            (y, rows, right, thickness),
        ] {
            self.fill(Area { x, y, columns, rows }, colour);
        }
    }

    /// Writes one line; `x`, `y` is its upper left corner.
    pub fn text(&mut self, x: u32, y: u32, font: &MonoFont, colour: Colour, line: &str) {
        draw_line(self, (x, y), font, colour, line);
    }

    /// Writes one line in letters of twice the font's size.
    pub fn large_text(&mut self, x: u32, y: u32, font: &MonoFont, colour: Colour, line: &str) {
        draw_line(&mut Doubled { canvas: self, x, y }, (0, 0), font, colour, line);
    }
}

/// Width of a line in pixels.
pub(super) fn text_columns(font: &MonoFont, line: &str) -> u32 {
    let letters = u32::try_from(line.chars().count()).unwrap_or(u32::MAX);
    letters.saturating_mul(font.character_size.width + font.character_spacing)
}

/// The line, or as much of it as fits, with dots where it was cut.
pub(super) fn fitted(font: &MonoFont, line: &str, columns: u32) -> String {
    if text_columns(font, line) <= columns {
        return line.to_owned();
    }
    let letters = columns / (font.character_size.width + font.character_spacing).max(1);
    let kept = (letters as usize).saturating_sub(3);
    line.chars().take(kept).chain("...".chars()).collect()
}

fn draw_line<D>(target: &mut D, (x, y): (u32, u32), font: &MonoFont, colour: Colour, line: &str)
where
    D: DrawTarget<Color = Rgb888, Error = Infallible>,
{
    let [red, green, blue] = colour;
    let style = MonoTextStyle::new(font, Rgb888::new(red, green, blue));
    let line = printable(line);
    let place = Point::new(x as i32, y as i32);
    let Ok(_) = Text::with_baseline(&line, place, style, Baseline::Top).draw(target);
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.picture.width(), self.picture.height())
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(place, colour) in pixels {
            if let (Ok(x), Ok(y)) = (u32::try_from(place.x), u32::try_from(place.y))
                && let Some(pixel) = self.picture.get_pixel_mut_checked(x, y)
            {
                *pixel = Rgb([colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

/// A canvas seen through a magnifier: each pixel drawn becomes two by two.
struct Doubled<'a> {
    canvas: &'a mut Canvas,
    x: u32,
    y: u32,
}

impl OriginDimensions for Doubled<'_> {
    fn size(&self) -> Size {
        self.canvas.size() / 2
    }
}

impl DrawTarget for Doubled<'_> {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(place, colour) in pixels {
            if let (Ok(x), Ok(y)) = (u32::try_from(place.x), u32::try_from(place.y)) {
                let magnified = Area { x: self.x + 2 * x, y: self.y + 2 * y, columns: 2, rows: 2 };
                self.canvas.fill(magnified, [colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_graphics::mono_font::iso_8859_1::FONT_10X20;

    #[test]
    fn a_tint_mixes_by_its_opacity_and_stays_inside() {
        let mut canvas = Canvas::new(4, 4, [100, 100, 100]);
        let area = Area { x: 2, y: 2, columns: 50, rows: 50 };
        canvas.tint(area, [255, 0, 100], 51);
        let picture = canvas.into_picture();
        assert_eq!(picture.get_pixel(3, 3).0, [131, 80, 100]);
        assert_eq!(picture.get_pixel(1, 3).0, [100, 100, 100]);
    }

    #[test]
    fn text_is_drawn_where_it_was_asked_for_and_clipped() {
        let mut canvas = Canvas::new(30, 30, [0; 3]);
        canvas.text(10, 5, &FONT_10X20, [255; 3], "H\nlonger than the picture");
        let picture = canvas.into_picture();
        let lit = |columns: std::ops::Range<u32>| {
            columns
                .flat_map(|x| (0..30).map(move |y| (x, y)))
                .filter(|&(x, y)| picture.get_pixel(x, y).0 == [255; 3])
                .count()
        };
        assert_eq!(lit(0..10), 0);
        assert!(lit(10..20) > 20);
    }

    #[test]
    fn a_line_that_does_not_fit_ends_in_dots() {
        assert_eq!(fitted(&FONT_10X20, "0123456789", 100), "0123456789");
        assert_eq!(fitted(&FONT_10X20, "0123456789", 99), "012345...");
    }
}
