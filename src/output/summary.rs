//! The report for a terminal of 80 columns: the outcome first, then what it rests on.
//! Programs read the JSON instead.

use super::{RESEARCH_USE, model_line, printable, volume};
use crate::label::Class;
use crate::study::{EarlyAlert, Outcome, Report, SliceReport};

const WIDTH: usize = 80;
/// Columns of the chart between its axis and the page's edge.
const CHART: usize = 70;
const CHART_ROWS: usize = 4;
const HIGHEST: usize = 5;

/// Whether the page is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text alone, for files and pipes.
    Plain,
    /// ANSI colour codes, for terminals that show them.
    Ansi,
}

/// The report as a page of text.
pub fn text(report: &Report, style: Style) -> String {
    let mut page = Page { out: String::new(), style };
    page.outcome(report);
    page.facts(report);
    if !report.slices.is_empty() {
        page.chart(&report.slices);
        page.highest(&report.slices);
    }
    page.warnings(report);
    page.trace(report);
    page.out
}

/// One line on a study that has not arrived as a whole.
pub fn early_text(alert: &EarlyAlert) -> String {
    let EarlyAlert { study_uid, probability, slices, .. } = alert;
    format!(
        "EARLY ALERT {probability:.2} by {slices} slices of study {}; the verdict follows. {RESEARCH_USE}.",
        printable(study_uid)
    )
}

#[derive(Clone, Copy)]
enum Ink {
    Alert,
    Calm,
    Attention,
    Bold,
    Faint,
}

struct Page {
    out: String,
    style: Style,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }

    fn inked(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Alert => "1;31",
            Ink::Calm => "1;32",
            Ink::Attention => "1;33",
            Ink::Bold => "1",
            Ink::Faint => "2",
        };
        match self.style {
            Style::Plain => text.to_owned(),
            Style::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }

    fn heading(&mut self, heading: &str) {
        let heading = self.inked(Ink::Bold, heading);
        self.line("");
        self.line(&heading);
    }

    fn outcome(&mut self, report: &Report) {
        let (ink, word, rest) = match &report.outcome {
            Outcome::Alert { probability } => {
                (Ink::Alert, "ALERT", format!("probability of hematoma {probability:.2}"))
            }
            Outcome::NoAlert { probability } => (
                Ink::Calm,
                "NO ALERT",
                format!("probability of hematoma {probability:.2} (does not rule one out)"),
            ),
            Outcome::Refused(refusal) => {
                (Ink::Attention, "REFUSED", format!("not read, no result: {}", refusal.code.as_str()))
            }
        };
        let word = self.inked(ink, word);
        self.line(&format!("{word}  {rest}"));
        if let Outcome::Refused(refusal) = &report.outcome {
            for line in wrapped(&refusal.detail, WIDTH - 2) {
                self.line(&format!("  {line}"));
            }
        }
    }

    fn facts(&mut self, report: &Report) {
        if !matches!(report.outcome, Outcome::Refused(_)) {
            let with_hematoma = report.slices.iter().filter(|s| hematoma(s) > 0).count();
            self.line(&format!(
                "  hematoma  {} patches, {}, in {with_hematoma} of {} slices",
                report.hematoma_patches,
                volume(report),
                report.slices.len()
            ));
        }
        if !matches!(report.outcome, Outcome::Refused(_)) {
            let says = |alert| if alert { "alert" } else { "no alert" };
            self.line(&format!(
                "  rules     one patch is enough: {}, threshold: {}",
                says(report.rules.bag),
                says(report.rules.threshold)
            ));
        }
        // The strongest first; where they came from stands at the end of the page.
        let mut markers = report.bag_labels.clone();
        markers.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (place, (label, evidence)) in markers.into_iter().enumerate() {
            let heading = if place == 0 { "markers" } else { "" };
            self.line(&format!("  {heading:<9} {label:<17} {evidence:.2} (not calibrated)"));
        }
        if !report.study_uid.is_empty() {
            self.line(&format!("  study     {}", printable(&report.study_uid)));
        }
        if !report.series_uid.is_empty() {
            self.line(&format!("  series    {}", printable(&report.series_uid)));
            for line in wrapped(&report.series_reason, WIDTH - 12) {
                self.line(&format!("            {line}"));
            }
        }
    }

    /// Hematoma patches per slice, in eighths of a character.
    fn chart(&mut self, slices: &[SliceReport]) {
        const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        self.heading("Hematoma patches per slice");
        let together = slices.len().div_ceil(CHART).max(1);
        let bars = slices
            .chunks(together)
            .map(|group| group.iter().map(hematoma).max().unwrap_or(0))
            .collect::<Vec<_>>();
        let letters = (CHART / bars.len()).clamp(1, 2);
        let most = bars.iter().copied().max().unwrap_or(0);
        if most == 0 {
            self.line("  none in any slice");
            return;
        }
        let eighths = |count: u32| {
            let full = u64::from(most);
            let height = (u64::from(count) * (CHART_ROWS * 8) as u64).div_ceil(full);
            height as usize
        };
        for row in (0..CHART_ROWS).rev() {
            let mut line =
                if row + 1 == CHART_ROWS { format!("{most:>6} |") } else { format!("{:>6} |", "") };
            for &count in &bars {
                let filled = eighths(count).saturating_sub(row * 8).min(8);
                line.extend(std::iter::repeat_n(EIGHTHS[filled], letters));
            }
            self.line(&line);
        }
        let columns = bars.len() * letters;
        self.line(&format!("{:>6} +{}", 0, "-".repeat(columns)));
        let last = slices.len().to_string();
        let room = columns.saturating_sub(1).max(last.len());
        let line = if slices.len() == 1 { format!("{:>8}1", "") } else { format!("{:>8}1{last:>room$}", "") };
        self.line(&line);
        if together > 1 {
            self.line(&format!("{:>8}each column is the highest of {together} slices", ""));
        }
    }

    fn highest(&mut self, slices: &[SliceReport]) {
        self.heading("Slices with the highest scores");
        self.line("  slice  score  patches     z mm  file");
        let mut order = (0..slices.len()).collect::<Vec<_>>();
        order.sort_by(|&a, &b| slices[b].score.total_cmp(&slices[a].score).then(a.cmp(&b)));
        for index in order.into_iter().take(HIGHEST) {
            let slice = &slices[index];
            let start = format!(
                "  {:>5}  {:>5.2}  {:>7}  {:>7.1}  ",
                index + 1,
                slice.score,
                hematoma(slice),
                slice.z_mm
            );
            let room = WIDTH.saturating_sub(start.chars().count());
            self.line(&format!("{start}{}", tail(&slice.file, room)));
        }
    }

    fn warnings(&mut self, report: &Report) {
        if report.warnings.is_empty() {
            return;
        }
        self.heading("Warnings");
        for warning in &report.warnings {
            let text = format!("{}: {}", warning.code, warning.detail);
            for (number, line) in wrapped(&text, WIDTH - 4).into_iter().enumerate() {
                let indent = if number == 0 { "  " } else { "    " };
                let line = self.inked(Ink::Attention, &line);
                self.line(&format!("{indent}{line}"));
            }
        }
    }

    fn trace(&mut self, report: &Report) {
        let seconds = report.timings.total_ms / 1000.0;
        let line = model_line(&report.trace)
            .into_iter()
            .chain([report.trace.program.clone(), format!("{seconds:.2} s")])
            .collect::<Vec<_>>()
            .join(", ");
        self.line("");
        for line in wrapped(&line, WIDTH) {
            let line = self.inked(Ink::Faint, &line);
            self.line(&line);
        }
        for line in wrapped(report.trace.notice.unwrap_or_default(), WIDTH) {
            let line = self.inked(Ink::Attention, &line);
            self.line(&line);
        }
        let line = self.inked(Ink::Bold, RESEARCH_USE);
        self.line(&line);
    }
}

fn hematoma(slice: &SliceReport) -> u32 {
    slice.counts[Class::Hematoma.index()]
}

/// Lines of at most `width` characters, broken at spaces where there are any.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in printable(text).split_whitespace() {
        let letters = word.chars().collect::<Vec<_>>();
        for (piece_number, piece) in letters.chunks(width.max(1)).enumerate() {
            let space = usize::from(used > 0);
            if piece_number > 0 || used + space + piece.len() > width {
                lines.push(String::new());
                used = 0;
            }
            let Some(line) = lines.last_mut() else {
                continue;
            };
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.extend(piece);
            used += piece.len();
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// The end of a path, which tells files apart, where the whole does not fit.
fn tail(path: &str, room: usize) -> String {
    let path = printable(path);
    let letters = path.chars().count();
    if letters <= room {
        return path;
    }
    let left_out = letters - room.saturating_sub(3);
    "...".chars().chain(path.chars().skip(left_out)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;
    use crate::study::Warning;

    #[test]
    fn an_alert_reads_like_this() {
        let expected = "\
ALERT  probability of hematoma 0.97
  hematoma  57 patches, 18.2 mL, in 3 of 6 slices
  rules     one patch is enough: alert, threshold: alert
  study     1.2.840.1
  series    1.2.840.1.7
            the only axial series

Hematoma patches per slice
    37 |    ██
       |    ██
       |  ▇▇██
       |  ████▃▃
     0 +------------
        1          6

Slices with the highest scores
  slice  score  patches     z mm  file
      3   0.93       37     -2.5  series/IM0003.dcm
      2   0.43       17     -7.5  series/IM0002.dcm
      4   0.08        3      2.5  series/IM0004.dcm
      1   0.00        0    -12.5  series/IM0001.dcm
      5   0.00        0      7.5  series/IM0005.dcm

Warnings
  gantry_tilt: 18.5 degrees

model ich16 1 (sha256 0123456789ab), window 0 to 80 HU, hemapatch 0.1.0, 0.17 s
RESEARCH USE ONLY - not a medical device
";
        let report = sample::alert(&[0, 17, 37, 3, 0, 0]);
        assert_eq!(text(&report, Style::Plain), expected);
    }

    #[test]
    fn a_refusal_says_that_nothing_was_read() {
        let page = text(&sample::refused(), Style::Plain);
        assert!(page.starts_with(
            "REFUSED  not read, no result: no_ct_series\n  3 files, none of them an axial CT slice\n"
        ));
        assert!(!page.contains("0 patches"));
        assert!(page.ends_with("RESEARCH USE ONLY - not a medical device\n"));
    }

    #[test]
    fn no_line_is_longer_than_the_terminal_is_wide() {
        let mut report = sample::alert(&(0..1000).map(|n| n % 77).collect::<Vec<_>>());
        // The first of the slices with the highest score, so that it is listed.
        report.slices[40].file = "folder/".repeat(40) + "end.dcm";
        report.warnings.push(Warning {
            code: "spacing_variable",
            detail: "between slices ".repeat(20) + &"9".repeat(200),
        });
        let page = text(&report, Style::Plain);
        for line in page.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(page.contains("folder/end.dcm"));
        assert!(page.contains("each column is the highest of 15 slices"));
    }

    #[test]
    fn colours_come_only_when_asked_for_and_never_from_the_input() {
        let mut report = sample::alert(&[1]);
        report.slices[0].file = "\u{1b}[2J.dcm".to_owned();
        report.warnings[0].detail = "\u{1b}]0;title\u{7}".to_owned();
        assert!(!text(&report, Style::Plain).contains('\u{1b}'));
        let coloured = text(&report, Style::Ansi);
        assert!(coloured.starts_with("\u{1b}[1;31mALERT\u{1b}[0m"));
        assert!(!coloured.contains("\u{1b}[2J") && !coloured.contains("\u{1b}]"));
    }

    #[test]
    fn a_single_patch_is_never_rounded_away() {
        let page = text(&sample::alert(&[1024, 1]), Style::Plain);
        assert!(page.contains('▁'), "{page}");
        let page = text(&sample::alert(&[0, 0]), Style::Plain);
        assert!(page.contains("none in any slice"));
    }
}
