//! The figures of a report, drawn from a judgement's cases.
//!
//! Every number in them stands in the judgement's JSON too. How a plot looks is `plot`'s business.

use super::plot::{
    Align, Axis, BLUE, DrawError, GREEN, INK, Mark, ORANGE, Panel, Picture, Pixel, SKY, VERMILION, picture,
};
use crate::curve;
use crate::evaluate::{Choices, Judgement, WholeJudgement};
use crate::metrics::{self, Case, ConfusionMatrix, Estimate};
use plotters::style::RGBColor;

/// A figure: its name, its words for those who do not see it, and its SVG.
pub struct Figure {
    /// File name without its ending.
    pub name: &'static str,
    /// What it shows.
    pub caption: &'static str,
    /// The drawing.
    pub svg: String,
}

/// Where the data of a whole picture lies, below this many rows of legend.
fn below_legend(rows: i32) -> [Pixel; 2] {
    [(84, 56 + 20 * rows), (616, 426)]
}

/// Steps of probability in the calibration curve.
const BINS: usize = 10;

/// Prevalences of the predictive values, as powers of 10: 0.1 % to 50 %.
const PREVALENCES: [f64; 2] = [-3.0, -std::f64::consts::LOG10_2];

/// Counted areas below this are drawn here: a logarithm has no 0.
const SMALLEST_AREA: f64 = 64.0;

/// All figures that a judgement has the cases for.
///
/// # Errors
/// [`DrawError`].
pub fn draw(judgement: &Judgement, choices: &Choices) -> Result<Vec<Figure>, DrawError> {
    let mut figures = Vec::new();
    let mut add = |name, caption, svg| figures.push(Figure { name, caption, svg });
    if let Some(whole) = &judgement.whole {
        let cases = Cases::of(whole);
        add("roc", "ROC curves of slices and studies", roc(&cases, whole)?);
        add("precision_recall", "Precision and recall of slices and studies", precision_recall(&cases)?);
        add("calibration", "Calibration of slice and study probabilities", calibration(&cases)?);
        add("confusion", "Confusion matrices of slices, runs and studies", confusion(whole)?);
        if let (Some(sensitivity), Some(specificity)) =
            (whole.study_sensitivity_wilson, whole.study_specificity_wilson)
        {
            let svg = predictive_values(sensitivity, specificity)?;
            add("predictive_values", "Predictive values of an alert against prevalence", svg);
        }
        add("area", "Counted against labelled area", area(whole)?);
        if let Some(svg) = bland_altman(whole)? {
            add("bland_altman", "Differences of counted and labelled area", svg);
        }
        add("distance", "Slice probability by distance from the box", distance(whole, choices)?);
        add("patches", "Hematoma patches of each slice", patches(whole, choices)?);
    }
    add("confusion_patches", "Confusion matrix of certain patches", confusion_patches(&judgement.patches)?);
    Ok(figures)
}

/// A judgement's cases as curves take them.
struct Cases {
    slices: Vec<Case>,
    strongest_patch: Vec<Case>,
    runs: Vec<Case>,
    studies: Vec<Case>,
}

impl Cases {
    fn of(whole: &WholeJudgement) -> Cases {
        let mut studies: Vec<Case> = Vec::new();
        for patient in whole.study_cases.chunk_by(|a, b| a.patient == b.patient) {
            let of = |truth| patient.iter().filter(move |case| case.hemorrhage == truth);
            let strongest = of(false).map(|case| case.probability).max_by(f32::total_cmp);
            studies.extend(strongest.map(|probability| (probability, false)));
            studies.extend(of(true).map(|case| (case.probability, true)));
        }
        Cases {
            slices: whole.slice_cases.iter().map(|case| (case.probability, case.boxed)).collect(),
            strongest_patch: whole
                .slice_cases
                .iter()
                .map(|case| (case.strongest_patch, case.boxed))
                .collect(),
            runs: whole.study_cases.iter().map(|case| (case.probability, case.hemorrhage)).collect(),
            studies,
        }
    }

    /// What is compared, in the figures' order: words, colour and width. What may hide another lies
    /// thinner above it.
    fn curves(&self) -> [(&'static str, RGBColor, u32, &[Case]); 4] {
        [
            ("slices, strongest patch", SKY, 4, &self.strongest_patch),
            ("slices, pooled evidence", BLUE, 2, &self.slices),
            ("studies, each box-free run", VERMILION, 4, &self.runs),
            ("studies, one negative a patient", ORANGE, 2, &self.studies),
        ]
    }
}

fn roc(cases: &Cases, whole: &WholeJudgement) -> Result<String, DrawError> {
    picture("Receiver operating characteristic", |picture| {
        let legend = cases.curves().map(|(words, color, _, cases)| {
            let auc = metrics::auc(cases).map_or("none".into(), |auc| format!("{auc:.3}"));
            (Mark::Line, color, format!("{words}: AUC {auc}"))
        });
        picture.legend((84, 54), &legend)?;
        picture.legend((424, 54), &[(Mark::Dot, INK, "chosen thresholds".into())])?;
        let (x, y) = ("false alarm rate (1 - specificity)", "sensitivity");
        let panel = Panel::new(picture, below_legend(4), Axis::share(x), Axis::share(y))?;
        panel.dashes([0.0, 0.0], [1.0, 1.0], INK)?;
        // Good curves crowd into the corner: the empty half of the panel shows it enlarged.
        let corner = |name: &str, range| Axis::shares(name, range, 0.05);
        let close = [(384, 220), (596, 366)];
        let close = Panel::new(picture, close, corner("", [0.0, 0.1]), corner("", [0.9, 1.0]))?;
        for (_, color, width, cases) in cases.curves() {
            let points = steps(&curve::roc(cases));
            panel.line(&points, color, width)?;
            close.line(&corner_of(&points), color, width)?;
        }
        let chosen = [
            (whole.slice_specificity, whole.slice_sensitivity, BLUE),
            (whole.study_specificity, whole.study_sensitivity, ORANGE),
        ];
        for (specificity, sensitivity, color) in chosen {
            let (Some(specificity), Some(sensitivity)) = (specificity, sensitivity) else { continue };
            for panel in [&panel, &close] {
                panel.dot(1.0 - specificity.value, sensitivity.value, 5, color, 1.0)?;
            }
        }
        Ok(())
    })
}

/// The part of a curve of steps that lies in the corner of few false alarms and few misses.
fn corner_of(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let mut inside: Vec<[f64; 2]> =
        points.iter().copied().filter(|point| point[0] <= 0.1 && point[1] >= 0.9).collect();
    // Steps come in from below and leave to the right.
    if let (Some(&[first, _]), Some(&[_, last])) = (inside.first(), inside.last()) {
        inside.insert(0, [first, 0.9]);
        inside.push([0.1, last]);
    }
    inside
}

/// The corners between points, so that the curve does not claim what lies between its thresholds.
fn steps(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let corner = |pair: &[[f64; 2]]| [[pair[0][0], pair[1][1]], pair[1]];
    points.iter().take(1).copied().chain(points.windows(2).flat_map(corner)).collect()
}

fn precision_recall(cases: &Cases) -> Result<String, DrawError> {
    picture("Precision and recall, with average precision (AP)", |picture| {
        let legend = cases.curves().map(|(words, color, _, cases)| {
            let area = curve::average_precision(cases).map_or("none".into(), |area| format!("{area:.3}"));
            let positive = cases.iter().filter(|case| case.1).count();
            (Mark::Line, color, format!("{words}: AP {area}, {positive} of {} positive", cases.len()))
        });
        picture.legend((84, 54), &legend)?;
        let (x, y) =
            (Axis::share("recall (sensitivity)"), Axis::share("precision (share of alarms that are right)"));
        let panel = Panel::new(picture, below_legend(4), x, y)?;
        for (_, color, width, cases) in cases.curves() {
            let points = curve::precision_recall(cases);
            let start = points.first().map(|[_, precision]| [0.0, *precision]);
            let points: Vec<[f64; 2]> = start.into_iter().chain(points).collect();
            panel.line(&points, color, width)?;
        }
        Ok(())
    })
}

fn calibration(cases: &Cases) -> Result<String, DrawError> {
    let groups =
        [("slices", BLUE, &cases.slices), ("studies, one negative a patient", ORANGE, &cases.studies)];
    picture("Calibration", |picture| {
        let legend = groups.map(|(words, color, cases)| {
            let brier = metrics::brier(cases).map_or("none".into(), |brier| format!("{brier:.3}"));
            (Mark::Dot, color, format!("{words}: {} cases, Brier score {brier}", cases.len()))
        });
        picture.legend((84, 54), &legend)?;
        let [corner, (right, _)] = below_legend(2);
        let panel = Panel::new(
            picture,
            [corner, (right, 310)],
            Axis::share(""),
            Axis::share("share with hemorrhage"),
        )?;
        panel.dashes([0.0, 0.0], [1.0, 1.0], INK)?;
        let most = cases.slices.len().max(10) as f64;
        let powers = 0..=libm::ceil(libm::log10(most)) as usize;
        let counts = Axis {
            name: "cases".into(),
            range: [-0.3, *powers.end() as f64],
            ticks: powers.map(|power| (power as f64, 10u64.pow(power as u32).to_string())).collect(),
        };
        let counted = Panel::new(
            picture,
            [(corner.0, 346), (right, 426)],
            Axis::share("predicted probability"),
            counts,
        )?;
        for (at, (_, color, cases)) in groups.into_iter().enumerate() {
            for bin in curve::reliability(cases, BINS) {
                let Estimate { value, low, high } = bin.observed;
                panel.line(&[[bin.predicted, low], [bin.predicted, high]], color, 2)?;
                panel.dot(bin.predicted, value, 5, color, 1.0)?;
                let width = 1.0 / BINS as f64;
                let bin_at = ((bin.predicted / width) as usize).min(BINS - 1) as f64 * width;
                let left = bin_at + width * (0.12 + 0.4 * at as f64);
                let top = libm::log10(bin.cases as f64);
                picture.block([counted.at(left, top), counted.at(left + 0.36 * width, -0.3)], color, 1.0)?;
            }
        }
        Ok(())
    })
}

fn predictive_values(sensitivity: Estimate, specificity: Estimate) -> Result<String, DrawError> {
    picture("What an alert means where hemorrhage is rare", |picture| {
        let words = [
            (Mark::Line, BLUE, "alerts that are right (PPV)".to_owned()),
            (Mark::Line, GREEN, "silences that are right (NPV)".to_owned()),
            (
                Mark::Area,
                INK,
                format!(
                    "sensitivity {:.3} to {:.3}, specificity {:.3} to {:.3} (95 %, Wilson)",
                    sensitivity.low, sensitivity.high, specificity.low, specificity.high
                ),
            ),
        ];
        picture.legend((84, 54), &words)?;
        let ticks = [0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.5];
        let x = Axis {
            name: "share of studies with hemorrhage (prevalence)".into(),
            range: PREVALENCES,
            ticks: ticks.map(|share| (libm::log10(share), format!("{} %", 100.0 * share))).to_vec(),
        };
        let panel = Panel::new(picture, below_legend(3), x, Axis::share("predictive value"))?;
        let places: Vec<f64> = (0..=100)
            .map(|step| PREVALENCES[0] + (PREVALENCES[1] - PREVALENCES[0]) * f64::from(step) / 100.0)
            .collect();
        for (which, (color, width)) in [(BLUE, 5), (GREEN, 2)].into_iter().enumerate() {
            let value = |sensitivity: f64, specificity: f64, place: f64| {
                metrics::predictive_values(sensitivity, specificity, libm::pow(10.0, place))[which]
            };
            let band: Vec<(f64, [f64; 2])> = places
                .iter()
                .filter_map(|&place| {
                    let low = value(sensitivity.low, specificity.low, place)?;
                    Some((place, [low, value(sensitivity.high, specificity.high, place)?]))
                })
                .collect();
            panel.band(&band, color)?;
            let line: Vec<[f64; 2]> = places
                .iter()
                .filter_map(|&place| Some([place, value(sensitivity.value, specificity.value, place)?]))
                .collect();
            panel.line(&line, color, width)?;
        }
        Ok(())
    })
}

fn area(whole: &WholeJudgement) -> Result<String, DrawError> {
    picture("Area of hematoma: counted against labelled", |picture| {
        let slices = whole.slice_cases.iter().map(|case| case.area).filter(|area| area[1] > 0.0);
        let slices: Vec<[f64; 2]> = slices.collect();
        let legend = [
            (Mark::Dot, SKY, format!("{} slices with labelled hematoma", slices.len())),
            (Mark::Dot, VERMILION, format!("{} patients", whole.patient_areas.len())),
            (Mark::Dashes, INK, format!("equal (counted areas below {SMALLEST_AREA} are drawn there)")),
        ];
        picture.legend((84, 54), &legend)?;
        let powers = [64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0];
        let axis = |name: &str| Axis {
            name: name.into(),
            range: [powers[0], powers[5]].map(libm::log10),
            ticks: powers.map(|area| (libm::log10(area), area.to_string())).to_vec(),
        };
        let panel = Panel::new(
            picture,
            below_legend(3),
            axis("labelled area, pixels"),
            axis("counted area, pixels"),
        )?;
        panel.dashes([0.0, 0.0], [9.0, 9.0], INK)?;
        for (areas, radius, color) in [(&slices, 3, SKY), (&whole.patient_areas, 5, VERMILION)] {
            for [counted, labelled] in areas {
                let [x, y] = [*labelled, *counted].map(|area| libm::log10(area.max(SMALLEST_AREA)));
                panel.dot(x, y, radius, color, 0.75)?;
            }
        }
        Ok(())
    })
}

/// `None` where no agreement was judged.
fn bland_altman(whole: &WholeJudgement) -> Result<Option<String>, DrawError> {
    let chosen = whole.patch_rules.iter().find(|rule| rule.chosen);
    let Some(agreement) = chosen.and_then(|rule| rule.area.patients) else { return Ok(None) };
    let Some([low, high]) = agreement.limits else { return Ok(None) };
    let thousand = |pixels: f64| pixels / 1000.0;
    let points: Vec<[f64; 2]> = whole
        .patient_areas
        .iter()
        .map(|[counted, labelled]| [thousand(0.5 * (counted + labelled)), thousand(counted - labelled)])
        .collect();
    let svg = picture("Area of hematoma: difference by patient", |picture| {
        let legend = [
            (Mark::Dot, VERMILION, format!("{} patients", points.len())),
            (Mark::Line, BLUE, format!("bias {:.0} pixels", agreement.bias.value)),
            (Mark::Dashes, BLUE, format!("95 % limits of agreement, {low:.0} to {high:.0} pixels")),
        ];
        picture.legend((84, 54), &legend)?;
        let most = points.iter().fold(0.0, |most: f64, point| most.max(point[0]));
        let least = points.iter().fold(thousand(low), |least, point| least.min(point[1]));
        let largest = points.iter().fold(thousand(high), |largest, point| largest.max(point[1]));
        let x = Axis::round("mean of counted and labelled area, thousand pixels", [0.0, most]);
        let y = Axis::round("counted less labelled, thousand pixels", [least, largest]);
        let ends = x.range;
        let panel = Panel::new(picture, below_legend(3), x, y)?;
        panel.line(&ends.map(|x| [x, 0.0]), INK, 1)?;
        panel.line(&ends.map(|x| [x, thousand(agreement.bias.value)]), BLUE, 2)?;
        for limit in [low, high] {
            panel.dashes([ends[0], thousand(limit)], [ends[1], thousand(limit)], BLUE)?;
        }
        points.iter().try_for_each(|[x, y]| panel.dot(*x, *y, 5, VERMILION, 0.75))
    });
    svg.map(Some)
}

/// Groups of slices by their distance from the box: name, nearest and farthest.
const DISTANCES: [(&str, usize, usize); 7] = [
    ("box", 0, 0),
    ("1", 1, 1),
    ("2", 2, 2),
    ("3", 3, 3),
    ("4 to 5", 4, 5),
    ("6 to 9", 6, 9),
    ("10 +", 10, usize::MAX),
];

fn distance(whole: &WholeJudgement, choices: &Choices) -> Result<String, DrawError> {
    let logit = |probability: f64| libm::log(probability / (1.0 - probability));
    picture("Slice probability by distance from the box", |picture| {
        let legend = [
            (Mark::Dot, VERMILION, "slices with a box".to_owned()),
            (Mark::Dot, BLUE, "slices without; dots at the ends of the axis lie beyond it".to_owned()),
            (
                Mark::Dashes,
                INK,
                format!("shown as positive from {:.3} on; bars: medians", choices.slice_probability),
            ),
        ];
        picture.legend((84, 54), &legend)?;
        let x = Axis {
            name: "distance from the nearest slice with a box, slices".into(),
            range: [-0.5, DISTANCES.len() as f64 - 0.5],
            ticks: DISTANCES
                .iter()
                .enumerate()
                .map(|(at, (words, ..))| (at as f64, (*words).into()))
                .collect(),
        };
        let ticks = [0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999];
        let y = Axis {
            name: "slice probability (logit scale)".into(),
            range: [logit(5e-5), logit(1.0 - 5e-5)],
            ticks: ticks.map(|probability| (logit(probability), probability.to_string())).to_vec(),
        };
        let panel = Panel::new(picture, below_legend(3), x, y)?;
        let threshold = logit(f64::from(choices.slice_probability).clamp(1e-9, 1.0 - 1e-9));
        panel.dashes([-0.5, threshold], [9.0, threshold], INK)?;
        for (group, (_, nearest, farthest)) in DISTANCES.into_iter().enumerate() {
            let inside = whole.slice_cases.iter().filter(|case| {
                case.box_distance.is_some_and(|distance| (nearest..=farthest).contains(&distance))
            });
            let logits: Vec<f64> =
                inside.map(|case| logit(f64::from(case.probability).clamp(1e-9, 1.0 - 1e-9))).collect();
            let color = if group == 0 { VERMILION } else { BLUE };
            for (at, value) in logits.iter().enumerate() {
                // The golden ratio spreads any number of dots evenly.
                let spread = (at as f64 * 0.618_034).fract() - 0.5;
                panel.dot(group as f64 + 0.6 * spread, *value, 3, color, 0.45)?;
            }
            if let Some(median) = metrics::median(&logits) {
                let ends = [group as f64 - 0.38, group as f64 + 0.38];
                panel.line(&ends.map(|x| [x, median]), INK, 2)?;
            }
        }
        Ok(())
    })
}

/// Marks of the axis of patch counts.
const COUNTS: [usize; 10] = [0, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000];

/// The paper's figures 3 and 4 (P14): false counts stand out where a slice has no box.
fn patches(whole: &WholeJudgement, choices: &Choices) -> Result<String, DrawError> {
    let cases = &whole.slice_cases;
    // A logarithm that has a 0, and tells 1 from it.
    let height = |patches: usize| libm::log1p(patches as f64);
    picture("Hematoma patches of each slice", |picture| {
        let slices = |boxed| cases.iter().filter(move |case| case.boxed == boxed);
        let (boxed, free) = (slices(true).count(), slices(false).count());
        let missed = slices(true).filter(|case| case.patches == 0).count();
        let alarmed = slices(false).filter(|case| case.patches > 0).count();
        let legend = [
            (
                Mark::Dot,
                VERMILION,
                format!("{boxed} slices with a box, {missed} of them without such patches"),
            ),
            (Mark::Dot, BLUE, format!("{free} slices without, {alarmed} of them with such patches")),
        ];
        let threshold =
            format!("Patches whose hematoma probability is at least {:.3}:", choices.patch_probability);
        picture.words(&threshold, (84, 54), 14.0, false, INK, Align::Left)?;
        picture.legend((84, 74), &legend)?;
        let most = cases.iter().map(|case| case.patches).fold(10, usize::max);
        let end = COUNTS.into_iter().find(|&count| count >= most).unwrap_or(most);
        let counts = COUNTS.into_iter().filter(|&count| count <= end);
        let y = Axis {
            name: "hematoma patches (log scale of 1 + patches)".into(),
            range: [0.0, height(end)],
            ticks: counts.map(|count| (height(count), count.to_string())).collect(),
        };
        let first_of_patient = (1..cases.len()).filter(|&at| cases[at - 1].patient != cases[at].patient);
        let x = Axis {
            name: "slices in order, patient after patient (a line between two)".into(),
            range: [-0.5, cases.len().max(1) as f64 - 0.5],
            ticks: first_of_patient.map(|at| (at as f64 - 0.5, String::new())).collect(),
        };
        let panel = Panel::new(picture, below_legend(3), x, y)?;
        // Boxes last, so that a missed one is not lost among the many others at 0.
        for (boxed, color) in [(false, BLUE), (true, VERMILION)] {
            for (at, case) in cases.iter().enumerate().filter(|(_, case)| case.boxed == boxed) {
                let (x, y) = (at as f64, height(case.patches));
                panel.line(&[[x, 0.0], [x, y]], color, 1)?;
                panel.dot(x, y, 2, color, 1.0)?;
            }
        }
        Ok(())
    })
}

fn confusion(whole: &WholeJudgement) -> Result<String, DrawError> {
    picture("Called right and wrong at the chosen thresholds", |picture| {
        let matrices = [
            ("Slices", &whole.slice_matrix),
            ("Full studies, and each box-free run", &whole.run_matrix),
            ("Full studies, and one negative a patient", &whole.study_matrix),
        ];
        for (at, (title, matrix)) in (0..).zip(matrices) {
            let top = 92 + 134 * at;
            picture.words(title, (20, top - 34), 14.0, true, INK, Align::Left)?;
            squares(picture, matrix, [(150, top), (610, top + 80)])?;
        }
        Ok(())
    })
}

fn confusion_patches(matrix: &ConfusionMatrix) -> Result<String, DrawError> {
    picture("Certain patches: true class and called class", |picture| {
        squares(picture, matrix, [(130, 92), (616, 452)])
    })
}

/// The fields of a matrix, true classes at the left and called ones above, the darker the larger their share of the true class.
fn squares(picture: &Picture<'_>, matrix: &ConfusionMatrix, corners: [Pixel; 2]) -> Result<(), DrawError> {
    let [(left, top), (right, bottom)] = corners;
    picture.words("true \u{2193}  called \u{2192}", (left - 10, top - 12), 12.0, false, INK, Align::Right)?;
    let classes = matrix.classes.len().max(1) as i32;
    let (width, height) = ((right - left) / classes, (bottom - top) / classes);
    for (row, (class, counts)) in (0..).zip(matrix.classes.iter().zip(&matrix.counts)) {
        let y = top + row * height;
        picture.words(class, (left - 10, y + height / 2), 13.0, false, INK, Align::Right)?;
        picture.words(class, (left + row * width + width / 2, top - 12), 13.0, false, INK, Align::Middle)?;
        let all = counts.iter().sum::<u64>().max(1) as f64;
        for (column, &count) in (0..).zip(counts) {
            let share = count as f64 / all;
            let x = left + column * width;
            let color = if row == column { BLUE } else { VERMILION };
            picture.block([(x + 1, y + 1), (x + width - 1, y + height - 1)], color, 0.06 + 0.9 * share)?;
            let ink = if share > 0.45 { RGBColor(255, 255, 255) } else { INK };
            let middle = (x + width / 2, y + height / 2);
            picture.words(&count.to_string(), (middle.0, middle.1 - 8), 13.0, true, ink, Align::Middle)?;
            let percent = format!("{:.1} %", 100.0 * share);
            picture.words(&percent, (middle.0, middle.1 + 9), 12.0, false, ink, Align::Middle)?;
        }
    }
    Ok(())
}
