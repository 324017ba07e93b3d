//! The number of hematoma patches per slice, with the slices' scores, as an SVG drawing.
//! The numbers are the report's; nothing is smoothed or hidden here.

use std::fmt::Write as _;

use super::{RESEARCH_USE, printable};
use crate::label::Class;
use crate::study::{Outcome, Report};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 440.0;
/// Room for the model's notice, where it has one.
const NOTICE: f64 = 20.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 890.0;
const TOP: f64 = 86.0;
const BOTTOM: f64 = 354.0;

/// Colours by class name, for light viewers and for dark ones.
const STYLE: &str = "\
.paper{fill:#fff}text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;\
font-size:14px;fill:#3b4450}.title{font-size:20px;font-weight:600;fill:#111820}\
.verdict{font-size:16px;font-weight:600}.alert{fill:#b3141c}.calm{fill:#0b6b55}\
.refused{fill:#8a5a00}.use{font-size:13px;font-weight:600;fill:#8a5a00}\
.faint{font-size:13px;fill:#66707d}\
.grid{stroke:#e3e7ec;stroke-width:1}.axis{stroke:#8b95a1;stroke-width:1}.bar{fill:#d8343b}\
.score{fill:none;stroke:#1f5fd0;stroke-width:2;stroke-linejoin:round}\
.dot{fill:#1f5fd0;stroke:#fff;stroke-width:1}\
.threshold{stroke:#1f5fd0;stroke-width:1.5;stroke-dasharray:6 5}.scale{fill:#1f5fd0}\
@media (prefers-color-scheme:dark){.paper{fill:#10141a}text{fill:#c3cad4}.title{fill:#f2f5f9}\
.alert{fill:#ff7b78}.calm{fill:#57d3b0}.refused,.use{fill:#ffbe3c}.faint{fill:#8f9aa8}\
.grid{stroke:#262d37}.axis{stroke:#5d6875}.bar{fill:#f0575a}.score,.threshold{stroke:#7db1ff}\
.dot{fill:#7db1ff;stroke:#10141a}.scale{fill:#7db1ff}}";

/// Draws the chart: bars count hematoma patches (left axis), the line is the slice's score
/// (right axis), the dashes are the score's threshold, where the model has one.
///
/// The drawing needs no script and no font of its own, and follows the viewer's dark mode.
///
/// # Source
/// The paper's figures 3 and 4.
pub fn svg(report: &Report, score_threshold: Option<f64>) -> String {
    let chart = Chart::of(report);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = chart.write(&mut out, report, score_threshold);
    out
}

/// Counts and scores in slice order, and the axes that hold them.
struct Chart {
    /// Hematoma patches and score.
    slices: Vec<(u32, f64)>,
    count_step: u32,
    count_top: u32,
}

impl Chart {
    fn of(report: &Report) -> Chart {
        let slices = report
            .slices
            .iter()
            .map(|slice| (slice.counts[Class::Hematoma.index()], f64::from(slice.score)))
            .collect::<Vec<_>>();
        let most = slices.iter().map(|&(count, _)| count).max().unwrap_or(0);
        // An axis up to 4 at least: a single patch must not look like a peak.
        let most = most.max(4);
        let count_step = tick_step(most, 6);
        Chart { slices, count_step, count_top: most.div_ceil(count_step).saturating_mul(count_step) }
    }

    /// Middle of a slice's bar; slices count from 0.
    fn x(&self, slice: usize) -> f64 {
        LEFT + (slice as f64 + 0.5) * self.pitch()
    }

    fn pitch(&self) -> f64 {
        (RIGHT - LEFT) / self.slices.len().max(1) as f64
    }

    fn write(&self, out: &mut String, report: &Report, score_threshold: Option<f64>) -> std::fmt::Result {
        let high = if report.trace.notice.is_some() { HEIGHT + NOTICE } else { HEIGHT };
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {high}\" \
             width=\"{WIDTH}\" height=\"{high}\" role=\"img\" aria-labelledby=\"title desc\">"
        )?;
        writeln!(out, "<title id=\"title\">Hematoma patches per slice</title>")?;
        writeln!(out, "<desc id=\"desc\">{}</desc>", escaped(&self.told(report)))?;
        writeln!(out, "<style>{STYLE}</style>")?;
        writeln!(out, "<rect class=\"paper\" width=\"{WIDTH}\" height=\"{high}\" rx=\"8\"/>")?;
        self.write_heading(out, report, score_threshold.is_some())?;
        self.write_axes(out)?;
        self.write_bars(out)?;
        if let Some(threshold) = score_threshold.filter(|threshold| threshold.is_finite()) {
            let y = height(threshold);
            writeln!(out, "<path class=\"threshold\" d=\"M{LEFT} {y:.2}H{RIGHT}\"/>")?;
        }
        self.write_scores(out)?;
        self.write_footer(out, report)?;
        out.push_str("</svg>\n");
        Ok(())
    }

    /// The chart in words, for who cannot see it.
    fn told(&self, report: &Report) -> String {
        if let Outcome::Refused(_) = report.outcome {
            return format!("{}. Not read, no result. {RESEARCH_USE}.", verdict(&report.outcome).0);
        }
        let peak = (0..self.slices.len()).max_by_key(|&slice| {
            (
                self.slices[slice].0,
                // Of equals the first.
                std::cmp::Reverse(slice),
            )
        });
        let peak = match peak.map(|slice| (slice, self.slices[slice].0)) {
            Some((slice, count)) if count > 0 => {
                format!("; most, {count}, in slice {}", slice + 1)
            }
            _ => String::new(),
        };
        format!(
            "{}. {} hematoma patches in {} slices{peak}. {RESEARCH_USE}.",
            verdict(&report.outcome).0,
            self.slices.iter().map(|&(count, _)| u64::from(count)).sum::<u64>(),
            self.slices.len(),
        )
    }

    fn write_heading(&self, out: &mut String, report: &Report, threshold: bool) -> std::fmt::Result {
        let (verdict, class) = verdict(&report.outcome);
        writeln!(
            out,
            "<text class=\"title\" x=\"{LEFT}\" y=\"36\">Hematoma patches per slice</text>\n\
             <text class=\"verdict {class}\" x=\"{RIGHT}\" y=\"36\" text-anchor=\"end\">{}</text>",
            escaped(&verdict)
        )?;
        writeln!(
            out,
            "<rect class=\"bar\" x=\"{LEFT}\" y=\"53\" width=\"14\" height=\"12\"/>\
             <text x=\"90\" y=\"64\">hematoma patches</text>\
             <path class=\"score\" d=\"M250 59H276\"/><circle class=\"dot\" cx=\"263\" cy=\"59\" r=\"3.5\"/>\
             <text x=\"284\" y=\"64\">slice score</text>"
        )?;
        if threshold {
            writeln!(
                out,
                "<path class=\"threshold\" d=\"M392 59H418\"/><text x=\"426\" y=\"64\">score threshold</text>"
            )?;
        }
        Ok(())
    }

    fn write_axes(&self, out: &mut String) -> std::fmt::Result {
        for count in (0..=self.count_top).step_by(self.count_step as usize) {
            let y = height(f64::from(count) / f64::from(self.count_top));
            let class = if count == 0 { "axis" } else { "grid" };
            writeln!(
                out,
                "<path class=\"{class}\" d=\"M{LEFT} {y:.2}H{RIGHT}\"/>\
                 <text x=\"60\" y=\"{:.2}\" text-anchor=\"end\">{count}</text>",
                y + 5.0
            )?;
        }
        for (score, label) in [(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")] {
            writeln!(out, "<text class=\"scale\" x=\"900\" y=\"{:.2}\">{label}</text>", height(score) + 5.0)?;
        }
        for number in slice_ticks(self.slices.len()) {
            let x = self.x(number - 1);
            writeln!(
                out,
                "<path class=\"axis\" d=\"M{x:.2} {BOTTOM}v5\"/>\
                 <text x=\"{x:.2}\" y=\"{:.0}\" text-anchor=\"middle\">{number}</text>",
                BOTTOM + 22.0
            )?;
        }
        let (middle, upright) = ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
        writeln!(
            out,
            "<text x=\"{middle}\" y=\"{:.0}\" text-anchor=\"middle\">slice</text>\n\
             <text transform=\"translate(24 {upright}) rotate(-90)\" text-anchor=\"middle\">patches</text>\n\
             <text class=\"scale\" transform=\"translate(946 {upright}) rotate(90)\" text-anchor=\"middle\">score</text>",
            BOTTOM + 44.0
        )
    }

    fn write_bars(&self, out: &mut String) -> std::fmt::Result {
        // Narrow bars touch: gaps thinner than a pixel would only pale the colour.
        let share = if self.pitch() < 4.0 { 1.0 } else { 0.72 };
        let width = (self.pitch() * share).min(48.0);
        let crisp = if share < 1.0 { "" } else { " shape-rendering=\"crispEdges\"" };
        for (slice, &(count, score)) in self.slices.iter().enumerate() {
            if count == 0 {
                continue;
            }
            let top = height(f64::from(count) / f64::from(self.count_top));
            writeln!(
                out,
                "<rect class=\"bar\"{crisp} x=\"{:.2}\" y=\"{top:.2}\" width=\"{width:.2}\" height=\"{:.2}\">\
                 <title>slice {}: {count} hematoma patches, score {score:.2}</title></rect>",
                self.x(slice) - width / 2.0,
                BOTTOM - top,
                slice + 1,
            )?;
        }
        Ok(())
    }

    fn write_scores(&self, out: &mut String) -> std::fmt::Result {
        let points = self
            .slices
            .iter()
            .enumerate()
            .filter(|(_, (_, score))| score.is_finite())
            .map(|(slice, &(_, score))| (self.x(slice), height(score)))
            .collect::<Vec<_>>();
        if points.is_empty() {
            return Ok(());
        }
        out.push_str("<polyline class=\"score\" points=\"");
        for (x, y) in &points {
            write!(out, "{x:.2},{y:.2} ")?;
        }
        out.truncate(out.trim_end().len());
        out.push_str("\"/>\n");
        // Closer than this the dots would hide the line.
        if self.pitch() >= 9.0 {
            for (x, y) in &points {
                writeln!(out, "<circle class=\"dot\" cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"3.5\"/>")?;
            }
        }
        Ok(())
    }

    fn write_footer(&self, out: &mut String, report: &Report) -> std::fmt::Result {
        let trace = &report.trace;
        let model = if trace.model.is_empty() {
            trace.program.clone()
        } else {
            format!("{}, model {} {}", trace.program, trace.model, trace.model_version)
        };
        let model = model.chars().take(60).collect::<String>();
        writeln!(
            out,
            "<text class=\"use\" x=\"{LEFT}\" y=\"426\">{RESEARCH_USE}</text>\n\
             <text class=\"faint\" x=\"{RIGHT}\" y=\"426\" text-anchor=\"end\">{}</text>",
            escaped(model.trim_end())
        )?;
        if let Some(notice) = trace.notice {
            let y = 426.0 + NOTICE;
            writeln!(out, "<text class=\"use\" x=\"{LEFT}\" y=\"{y}\">{}</text>", escaped(notice))?;
        }
        Ok(())
    }
}

/// Outcome in words, and the style of these words.
fn verdict(outcome: &Outcome) -> (String, &'static str) {
    match outcome {
        Outcome::Alert { probability } => (format!("Alert, probability {probability:.2}"), "alert"),
        Outcome::NoAlert { probability } => (format!("No alert, probability {probability:.2}"), "calm"),
        Outcome::Refused(refusal) => (format!("Refused: {}", refusal.code.as_str()), "refused"),
    }
}

/// Height in the drawing of a share of the axis, 0 at the bottom and 1 at the top.
fn height(share: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * share.clamp(0.0, 1.0)
}

/// The smallest of 1, 2, 5, 10, 20, 50 ... that divides `span` into `most` steps at most.
fn tick_step(span: u32, most: u32) -> u32 {
    let mut decade = 1u32;
    loop {
        for factor in [1, 2, 5] {
            let step = decade.saturating_mul(factor);
            if span.div_ceil(step) <= most || step == u32::MAX {
                return step;
            }
        }
        decade = decade.saturating_mul(10);
    }
}

/// Slice numbers to write under the axis, from 1.
fn slice_ticks(slices: usize) -> Vec<usize> {
    let step = tick_step(u32::try_from(slices).unwrap_or(u32::MAX), 20) as usize;
    // With steps of 2, a 1 beside the 2 would look like an exception.
    let first = (step > 2 && slices > 0).then_some(1);
    first.into_iter().chain((step..=slices).step_by(step)).collect()
}

/// Text as XML holds it. Characters that XML 1.0 forbids are control characters and two
/// noncharacters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('?'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;
    use crate::study::{Refusal, RefusalCode};

    /// Every tag is closed in turn, attributes are quoted, no bare ampersand.
    fn is_well_formed(xml: &str) -> Result<(), String> {
        let mut open = Vec::new();
        let mut rest = xml.trim_end();
        while let Some(start) = rest.find('<') {
            let (text, tagged) = rest.split_at(start);
            for entity in text.split('&').skip(1) {
                let name = entity.split(';').next().unwrap_or("");
                if !["amp", "lt", "gt", "quot"].contains(&name) {
                    return Err(format!("bare & before {entity:?}"));
                }
            }
            let end = tagged.find('>').ok_or("a tag without end")?;
            let tag = &tagged[1..end];
            rest = &tagged[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop() != Some(name) {
                    return Err(format!("{name} closed out of turn"));
                }
                if open.is_empty() && !rest.is_empty() {
                    return Err("something after the root".to_owned());
                }
                continue;
            }
            if tag.matches('"').count() % 2 != 0 || tag.contains('<') {
                return Err(format!("quotes in <{tag}>"));
            }
            if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap_or(""));
            }
        }
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?} left open")) }
    }

    #[test]
    fn the_check_itself_finds_broken_xml() {
        assert!(is_well_formed("<a><b/></a>").is_ok());
        for broken in ["<a><b></a>", "<a>&</a>", "<a", "<a x=\"></a>", "<a/><b>"] {
            assert!(is_well_formed(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn is_well_formed_for_any_number_of_slices() {
        for slices in [0, 1, 2, 28, 300, 1000] {
            let counts = (0..slices).map(|slice| slice % 90).collect::<Vec<_>>();
            let drawing = svg(&sample::alert(&counts), Some(0.5));
            assert_eq!(is_well_formed(&drawing), Ok(()), "{slices} slices");
            assert!(drawing.contains(RESEARCH_USE));
            assert!(!drawing.contains("NaN") && !drawing.contains("inf"));
        }
    }

    #[test]
    fn names_from_outside_cannot_add_elements() {
        let mut report = sample::alert(&[3]);
        report.trace.model = "<script>&\"\u{0}".to_owned();
        report.slices[0].score = f32::NAN;
        let drawing = svg(&report, Some(f64::NAN));
        assert_eq!(is_well_formed(&drawing), Ok(()));
        assert!(!drawing.contains("<script"));
        report.outcome =
            Outcome::Refused(Refusal { code: RefusalCode::NoCtSeries, detail: "<b>".to_owned() });
        assert_eq!(is_well_formed(&svg(&report, None)), Ok(()));
    }

    #[test]
    fn a_bar_is_as_high_as_its_count() {
        let drawing = svg(&sample::alert(&[0, 40, 20]), None);
        let heights = drawing
            .lines()
            .filter(|line| line.contains("<title>slice"))
            .filter_map(|line| line.split("height=\"").nth(1)?.split('"').next())
            .collect::<Vec<_>>();
        assert_eq!(heights, ["268.00", "134.00"]);
        assert!(drawing.contains("60 hematoma patches in 3 slices; most, 40, in slice 2."));
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!([4, 6, 7, 37, 1024].map(|span| tick_step(span, 6)), [1, 1, 2, 10, 200]);
        assert!(tick_step(u32::MAX, 6) > u32::MAX / 10);
        assert_eq!(slice_ticks(0), [0usize; 0]);
        assert_eq!(slice_ticks(3), [1, 2, 3]);
        assert_eq!(slice_ticks(28).len(), 14);
        assert_eq!(slice_ticks(61)[..3], [1, 5, 10]);
        assert_eq!(slice_ticks(1000).last(), Some(&1000));
    }
}
