//! A plot: axes, lines, dots and a legend in one style, written as SVG by `plotters`.
//!
//! Axes and legend are drawn here, not by plotters' charts: without fonts these guess how wide
//! words are. Nothing here knows what is plotted.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Why a picture cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[error("drawing: {0}")]
pub struct DrawError(String);

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for DrawError {
    fn from(error: DrawingAreaErrorKind<E>) -> DrawError {
        DrawError(error.to_string())
    }
}

/// Size of a picture in pixels, as wide as a page's text.
const SIZE: (u32, u32) = (640, 480);

/// Colours that also those tell apart who see red and green alike (Okabe and Ito 2008).
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
/// See [`BLUE`].
pub const SKY: RGBColor = RGBColor(86, 180, 233);
/// See [`BLUE`].
pub const VERMILION: RGBColor = RGBColor(213, 94, 0);
/// See [`BLUE`].
pub const ORANGE: RGBColor = RGBColor(230, 159, 0);
/// See [`BLUE`].
pub const GREEN: RGBColor = RGBColor(0, 158, 115);
/// Of words, and of lines that are no data.
pub const INK: RGBColor = RGBColor(59, 68, 80);
const FAINT: RGBColor = RGBColor(226, 230, 236);
const PAPER: RGBColor = RGBColor(255, 255, 255);

/// plotters divides font sizes by this.
const FONT_SCALE: f64 = 1.24;

/// A place on the picture, pixels from its upper left corner.
pub type Pixel = (i32, i32);

/// A picture that is being drawn.
pub struct Picture<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

/// How words lie about their place.
#[derive(Clone, Copy, Debug)]
pub enum Align {
    /// To its right.
    Left,
    /// To both sides.
    Middle,
    /// To its left.
    Right,
}

/// How a legend shows its colour.
#[derive(Clone, Copy, Debug)]
pub enum Mark {
    /// A line.
    Line,
    /// A dashed line.
    Dashes,
    /// A dot.
    Dot,
    /// A filled box.
    Area,
}

/// Draws a picture of the usual size with its title and gives its SVG.
///
/// # Errors
/// [`DrawError`].
pub fn picture(
    title: &str,
    draw: impl FnOnce(&Picture<'_>) -> Result<(), DrawError>,
) -> Result<String, DrawError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&PAPER)?;
        let picture = Picture { area };
        picture.words(title, (20, 24), 18.0, true, INK, Align::Left)?;
        draw(&picture)?;
        picture.area.present()?;
    }
    Ok(svg)
}

impl Picture<'_> {
    /// Words whose vertical middle is at `at`.
    ///
    /// # Errors
    /// [`DrawError`].
    pub fn words(
        &self,
        words: &str,
        at: Pixel,
        size: f64,
        bold: bool,
        color: RGBColor,
        align: Align,
    ) -> Result<(), DrawError> {
        self.turned(words, at, size, bold, color, align, FontTransform::None)
    }

    #[expect(clippy::too_many_arguments, reason = "what a word needs, and private")]
    fn turned(
        &self,
        words: &str,
        at: Pixel,
        size: f64,
        bold: bool,
        color: RGBColor,
        align: Align,
        turn: FontTransform,
    ) -> Result<(), DrawError> {
        let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
        let h_pos = match align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        let font = FontDesc::new(FontFamily::SansSerif, size * FONT_SCALE, style).transform(turn);
        let style = font.color(&color).pos(Pos::new(h_pos, VPos::Center));
        Ok(self.area.draw_text(words, &style, at)?)
    }

    /// A line through `points`.
    ///
    /// # Errors
    /// [`DrawError`].
    pub fn line(&self, points: &[Pixel], color: RGBColor, width: u32) -> Result<(), DrawError> {
        Ok(self.area.draw(&PathElement::new(points.to_vec(), color.stroke_width(width)))?)
    }

    /// A straight dashed line.
    ///
    /// # Errors
    /// [`DrawError`].
    pub fn dashes(&self, from: Pixel, to: Pixel, color: RGBColor) -> Result<(), DrawError> {
        let (x, y) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
        let dashes = (libm::sqrt(x * x + y * y) / 10.0).max(1.0);
        for dash in 0..dashes as usize {
            let place = |part: f64| {
                let share = (dash as f64 + part) / dashes;
                (from.0 + (x * share).round() as i32, from.1 + (y * share).round() as i32)
            };
            self.line(&[place(0.0), place(0.6)], color, 1)?;
        }
        Ok(())
    }

    /// A filled circle.
    ///
    /// # Errors
    /// [`DrawError`].
    pub fn dot(&self, at: Pixel, radius: i32, color: RGBColor, opacity: f64) -> Result<(), DrawError> {
        Ok(self.area.draw(&Circle::new(at, radius, color.mix(opacity).filled()))?)
    }

    /// A filled box.
    ///
    /// # Errors
    /// [`DrawError`].
    pub fn block(&self, corners: [Pixel; 2], color: RGBColor, opacity: f64) -> Result<(), DrawError> {
        Ok(self.area.draw(&Rectangle::new(corners, color.mix(opacity).filled()))?)
    }

    /// A filled outline.
    ///
    /// # Errors
    /// [`DrawError`].
    pub fn outline(&self, points: Vec<Pixel>, color: RGBColor, opacity: f64) -> Result<(), DrawError> {
        Ok(self.area.draw(&Polygon::new(points, color.mix(opacity)))?)
    }

    /// What the colours mean, one below the other from `at` on.
    ///
    /// # Errors
    /// [`DrawError`].
    pub fn legend(&self, at: Pixel, entries: &[(Mark, RGBColor, String)]) -> Result<(), DrawError> {
        for (row, (mark, color, words)) in (0..).zip(entries) {
            let y = at.1 + 20 * row;
            match mark {
                Mark::Line => self.line(&[(at.0, y), (at.0 + 22, y)], *color, 3)?,
                Mark::Dashes => self.dashes((at.0, y), (at.0 + 22, y), *color)?,
                Mark::Dot => self.dot((at.0 + 11, y), 5, *color, 1.0)?,
                Mark::Area => self.block([(at.0, y - 6), (at.0 + 22, y + 6)], *color, 0.35)?,
            }
            self.words(words, (at.0 + 30, y), 14.0, false, INK, Align::Left)?;
        }
        Ok(())
    }
}

/// An axis: what it shows, from where to where, and where it says so.
pub struct Axis {
    /// Name and unit.
    pub name: String,
    /// Values at both ends.
    pub range: [f64; 2],
    /// Values with a line, and their words.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to 1 in fifths.
    #[must_use]
    pub fn share(name: &str) -> Axis {
        Axis::shares(name, [0.0, 1.0], 0.2)
    }

    /// Part of the way from 0 to 1, in equal steps.
    #[must_use]
    pub fn shares(name: &str, range: [f64; 2], step: f64) -> Axis {
        let count = ((range[1] - range[0]) / step).round() as usize;
        let ticks = (0..=count).map(|tick| range[0] + step * tick as f64);
        let decimals = if step < 0.1 { 2 } else { 1 };
        let ticks = ticks.map(|value| (value, format!("{value:.decimals$}"))).collect();
        Axis { name: name.into(), range, ticks }
    }

    /// A range widened to round numbers, four to eight of them.
    #[must_use]
    pub fn round(name: &str, range: [f64; 2]) -> Axis {
        let width = (range[1] - range[0]).max(1e-9);
        let power = libm::pow(10.0, libm::floor(libm::log10(width / 4.0)));
        let step = [5.0, 2.0, 1.0].map(|factor| factor * power).into_iter().find(|step| width / step >= 4.0);
        let step = step.unwrap_or(power);
        let (first, last) = (libm::floor(range[0] / step), libm::ceil(range[1] / step));
        let ticks = (0..=(last - first) as usize).map(|tick| (first + tick as f64) * step);
        let decimals = (-libm::floor(libm::log10(step))).max(0.0) as usize;
        Axis {
            name: name.into(),
            range: [first * step, last * step],
            ticks: ticks.map(|value| (value, format!("{value:.decimals$}"))).collect(),
        }
    }
}

/// A rectangle of a picture with two axes.
pub struct Panel<'p, 'a> {
    picture: &'p Picture<'a>,
    corners: [Pixel; 2],
    x: Axis,
    y: Axis,
}

impl<'p, 'a> Panel<'p, 'a> {
    /// Draws the axes between the upper left and the lower right corner of the data.
    ///
    /// # Errors
    /// [`DrawError`].
    pub fn new(
        picture: &'p Picture<'a>,
        corners: [Pixel; 2],
        x: Axis,
        y: Axis,
    ) -> Result<Panel<'p, 'a>, DrawError> {
        let panel = Panel { picture, corners, x, y };
        let [(left, top), (right, bottom)] = corners;
        picture.block(corners, PAPER, 1.0)?;
        for (value, words) in &panel.x.ticks {
            let x = panel.at(*value, panel.y.range[0]).0;
            picture.line(&[(x, top), (x, bottom)], FAINT, 1)?;
            picture.words(words, (x, bottom + 14), 13.0, false, INK, Align::Middle)?;
        }
        for (value, words) in &panel.y.ticks {
            let y = panel.at(panel.x.range[0], *value).1;
            picture.line(&[(left, y), (right, y)], FAINT, 1)?;
            picture.words(words, (left - 8, y), 13.0, false, INK, Align::Right)?;
        }
        picture.line(&[(left, top), (left, bottom), (right, bottom)], INK, 1)?;
        let (middle_x, middle_y) = ((left + right) / 2, (top + bottom) / 2);
        picture.words(&panel.x.name, (middle_x, bottom + 36), 14.0, false, INK, Align::Middle)?;
        // Words at the side read upwards.
        let turn = FontTransform::Rotate270;
        picture.turned(&panel.y.name, (left - 52, middle_y), 14.0, false, INK, Align::Middle, turn)?;
        Ok(panel)
    }

    /// Where a point of the data lies; beyond the axes at their ends.
    #[must_use]
    pub fn at(&self, x: f64, y: f64) -> Pixel {
        let [(left, top), (right, bottom)] = self.corners;
        let place = |axis: &Axis, value: f64, from: i32, to: i32| {
            let share = ((value - axis.range[0]) / (axis.range[1] - axis.range[0])).clamp(0.0, 1.0);
            from + (share * f64::from(to - from)).round() as i32
        };
        (place(&self.x, x, left, right), place(&self.y, y, bottom, top))
    }

    /// A line through points of the data.
    ///
    /// # Errors
    /// [`DrawError`].
    pub fn line(&self, points: &[[f64; 2]], color: RGBColor, width: u32) -> Result<(), DrawError> {
        let mut points: Vec<Pixel> = points.iter().map(|[x, y]| self.at(*x, *y)).collect();
        points.dedup();
        self.picture.line(&points, color, width)
    }

    /// A dashed line across the data.
    ///
    /// # Errors
    /// [`DrawError`].
    pub fn dashes(&self, from: [f64; 2], to: [f64; 2], color: RGBColor) -> Result<(), DrawError> {
        self.picture.dashes(self.at(from[0], from[1]), self.at(to[0], to[1]), color)
    }

    /// A dot at a point of the data.
    ///
    /// # Errors
    /// [`DrawError`].
    pub fn dot(&self, x: f64, y: f64, radius: i32, color: RGBColor, opacity: f64) -> Result<(), DrawError> {
        self.picture.dot(self.at(x, y), radius, color, opacity)
    }

    /// The area between two lines over the same places.
    ///
    /// # Errors
    /// [`DrawError`].
    pub fn band(&self, points: &[(f64, [f64; 2])], color: RGBColor) -> Result<(), DrawError> {
        let low = points.iter().map(|(x, [low, _])| self.at(*x, *low));
        let high = points.iter().rev().map(|(x, [_, high])| self.at(*x, *high));
        self.picture.outline(low.chain(high).collect(), color, 0.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_numbers_enclose_the_range() {
        for range in [[0.0, 1.0], [-340.0, 1270.0], [0.0, 37.0], [-0.004, 0.011], [5.0, 5.0]] {
            let axis = Axis::round("a", range);
            assert!(axis.range[0] <= range[0] && axis.range[1] >= range[1], "{range:?} in {:?}", axis.range);
            assert!(axis.ticks.len() <= 11, "{:?}", axis.ticks);
        }
        let words: Vec<String> = Axis::round("a", [0.0, 9.5]).ticks.into_iter().map(|tick| tick.1).collect();
        assert_eq!(words, ["0", "2", "4", "6", "8", "10"]);
    }

    #[test]
    fn a_panel_places_points_and_keeps_them_inside() {
        let svg = picture("a <title>", |picture| {
            let panel = Panel::new(picture, [(100, 50), (300, 250)], Axis::share("x"), Axis::share("y"))?;
            assert_eq!(panel.at(0.0, 0.0), (100, 250));
            assert_eq!(panel.at(0.5, 1.0), (200, 50));
            assert_eq!(panel.at(7.0, -7.0), (300, 250));
            panel.line(&[[0.0, 0.0], [1.0, 1.0]], BLUE, 2)
        });
        let svg = svg.unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("a &lt;title&gt;"), "words are no markup");
    }
}
