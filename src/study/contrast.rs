//! Contrast agent that no header tells of, seen in the pixels: vessels are then denser than any blood that has left them.
//!
//! Clots end at about 100 HU, so what lies between 100 HU and bone inside of the skull, touches no bone and is
//! surrounded by brain or fluid is either calcified or full of contrast agent. Calcifications are small: 57 mm2 in the
//! worst slice of `GE_human_head`, 40 mm2 in drawn heads. Filled vessels and plexus are more, over several slices: 115
//! to 360 mm2 over 30 mm in heads drawn with 220 HU. So much is claimed, and no more: what lies at the skull (sinuses,
//! the arteries of the base) cannot be told from the bone that it touches, late and thin contrast stays below 100 HU,
//! and on contrast studies of patients it was never measured. Hence a warning, and no refusal.

use crate::series::Warning;

const DENSER_HU: i16 = 100;
const BONE_HU: i16 = 300;
/// Darker neighbours are fat or air: thin bone of sinuses and orbits has these, vessels in the brain do not.
const DARK_HU: i16 = -30;
/// No slice without contrast agent has as much.
const LARGE_MM2: f64 = 80.0;
/// As much of the head shows it: three slices of 5 mm.
const EXTENT_MM: f64 = 15.0;

/// Neighbouring dense pixels of a row.
struct Run {
    start: usize,
    end: usize,
    /// The run that stands for its region; its own place where that is itself.
    region: usize,
    /// Whether nothing speaks against a vessel; of a region's first run, that of all its runs.
    vessel: bool,
    pixels: u32,
}

/// Number of pixels of a slice that may be vessels full of contrast agent.
///
/// # Shape
/// `hu` is row-major.
pub(super) fn enhanced_pixels(hu: &[i16], columns: usize) -> u32 {
    let rows: Vec<&[i16]> = hu.chunks_exact(columns).collect();
    // Where bone begins and ends in each column and row: what lies between, in both, is inside of the skull, or near it.
    let mut column_bone = vec![(usize::MAX, 0); columns];
    let mut row_bone = vec![(usize::MAX, 0); rows.len()];
    let mut spans = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        each_dense(row, |start, end| {
            for (column, _) in (start..end).zip(&row[start..end]).filter(|&(_, &hu)| hu >= BONE_HU) {
                let (first, last) = &mut column_bone[column];
                (*first, *last) = ((*first).min(at), at);
                let (first, last) = &mut row_bone[at];
                (*first, *last) = ((*first).min(column), column);
            }
            spans.push((at, start, end));
        });
    }
    let mut runs: Vec<Run> = Vec::with_capacity(spans.len());
    let (mut above, mut this, mut row_now) = (0, 0, 0);
    for (at, start, end) in spans {
        if at != row_now {
            // After an empty row nothing can touch the runs above it.
            above = if at == row_now + 1 { this } else { runs.len() };
            (this, row_now) = (runs.len(), at);
        }
        let beside = start.checked_sub(1).zip((end < columns).then_some(end));
        let is_enclosed = beside.is_some_and(|(left, right)| rows[at][left].min(rows[at][right]) > DARK_HU)
            && row_bone[at].0 < start
            && end <= row_bone[at].1
            && (start..end).all(|column| {
                let (first, last) = column_bone[column];
                // Bone above and below: so there are a row above and a row below.
                first < at && at < last && rows[at - 1][column].min(rows[at + 1][column]) > DARK_HU
            });
        let vessel = is_enclosed && rows[at][start..end].iter().all(|&hu| hu < BONE_HU);
        let index = runs.len();
        runs.push(Run { start, end, region: index, vessel, pixels: (end - start) as u32 });
        while above < this && runs[above].end <= start {
            above += 1;
        }
        let mut other = above;
        while other < this && runs[other].start < end {
            join(&mut runs, other, index);
            other += 1;
        }
    }
    let regions = runs.iter().enumerate().filter(|(index, run)| run.region == *index && run.vessel);
    regions.map(|(_, run)| run.pixels).sum()
}

/// The runs of dense pixels of a row.
fn each_dense(row: &[i16], mut each: impl FnMut(usize, usize)) {
    const CHUNK: usize = 32;
    let mut start = None;
    for (chunk, pixels) in row.chunks(CHUNK).enumerate() {
        // Most chunks have none, and that can be seen in a few instructions.
        if start.is_none() && pixels.iter().fold(i16::MIN, |most, &hu| most.max(hu)) < DENSER_HU {
            continue;
        }
        for (column, &hu) in (chunk * CHUNK..).zip(pixels) {
            match start {
                None if hu >= DENSER_HU => start = Some(column),
                Some(first) if hu < DENSER_HU => {
                    each(first, column);
                    start = None;
                }
                _ => {}
            }
        }
    }
    if let Some(first) = start {
        each(first, row.len());
    }
}

fn join(runs: &mut [Run], a: usize, b: usize) {
    let root = |runs: &mut [Run], mut run: usize| {
        while runs[run].region != run {
            runs[run].region = runs[runs[run].region].region;
            run = runs[run].region;
        }
        run
    };
    let (a, b) = (root(runs, a), root(runs, b));
    if a != b {
        let (first, second) = (a.min(b), a.max(b));
        runs[second].region = first;
        runs[first].vessel &= runs[second].vessel;
        runs[first].pixels += runs[second].pixels;
    }
}

/// How much of a series looks as if there were contrast agent.
pub(super) struct Contrast {
    pixel_mm2: Option<f64>,
    slices: u32,
    extent_mm: f64,
    most_mm2: f64,
}

impl Contrast {
    /// Of a series with such pixels; without their spacing nothing can be said.
    pub fn new(pixel_spacing_mm: Option<[f64; 2]>) -> Self {
        let pixel_mm2 = pixel_spacing_mm.map(|[rows, columns]| rows * columns);
        Self { pixel_mm2, slices: 0, extent_mm: 0.0, most_mm2: 0.0 }
    }

    /// Takes in a slice that stands for `slab_mm` of the patient.
    pub fn see(&mut self, pixels: u32, slab_mm: f64) {
        let mm2 = self.pixel_mm2.unwrap_or(0.0) * f64::from(pixels);
        if mm2 >= LARGE_MM2 {
            self.slices += 1;
            self.extent_mm += slab_mm;
            self.most_mm2 = self.most_mm2.max(mm2);
        }
    }

    /// The warning, where the evidence suffices.
    pub fn warning(&self) -> Option<Warning> {
        (self.extent_mm >= EXTENT_MM).then(|| {
            let Self { slices, most_mm2, .. } = self;
            let detail = format!(
                "{slices} slices have {LARGE_MM2} mm2 or more at {DENSER_HU} to {BONE_HU} HU inside of the skull, the \
                 most {most_mm2:.0} mm2: vessels with contrast agent, or large calcifications"
            );
            Warning::new("contrast_suspected", detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 40;

    /// A brain of 30 HU in a skull, in air; `paint` says what else is where.
    fn slice(paint: impl Fn(usize, usize) -> Option<i16>) -> Vec<i16> {
        let at = |pixel: usize| {
            let (row, column) = (pixel / SIDE, pixel % SIDE);
            let edge = row.min(column).min(SIDE - 1 - row).min(SIDE - 1 - column);
            let plain = match edge {
                0..3 => -1000,
                3..6 => 900,
                _ => 30,
            };
            paint(row, column).unwrap_or(plain)
        };
        (0..SIDE * SIDE).map(at).collect()
    }

    fn block(rows: std::ops::Range<usize>, columns: std::ops::Range<usize>, hu: i16) -> u32 {
        let paint = |row, column| (rows.contains(&row) && columns.contains(&column)).then_some(hu);
        enhanced_pixels(&slice(paint), SIDE)
    }

    #[test]
    fn vessels_count_and_bone_blood_and_calcifications_do_not() {
        assert_eq!(block(0..0, 0..0, 0), 0);
        assert_eq!(block(10..14, 20..25, 200), 20);
        assert_eq!(block(10..14, 20..25, 95), 0, "a clot");
        assert_eq!(block(10..14, 20..25, 400), 0, "as dense as bone");
        assert_eq!(block(6..10, 20..25, 200), 0, "at the skull");
        assert_eq!(block(0..2, 20..25, 200), 0, "outside");
    }

    #[test]
    fn a_region_is_a_vessel_as_a_whole_or_not_at_all() {
        // A U, whose arms meet below, with something dark at the end of one.
        let arm = |row: usize, column: usize| {
            (row == 20 && (10..=20).contains(&column))
                || ((10..20).contains(&row) && (column == 10 || column == 20))
        };
        let u = |row, column| arm(row, column).then_some(150);
        assert_eq!(enhanced_pixels(&slice(u), SIDE), 31);
        let air = |row, column| if (row, column) == (9, 20) { Some(-500) } else { u(row, column) };
        assert_eq!(enhanced_pixels(&slice(air), SIDE), 0);
    }

    #[test]
    fn slices_of_any_size_are_looked_at() {
        for (rows, columns) in [(1, 1), (1, 50), (50, 1), (2, 2)] {
            for hu in [0, 200, 1000] {
                assert_eq!(enhanced_pixels(&vec![hu; rows * columns], columns), 0);
            }
        }
    }

    #[test]
    fn one_slice_is_a_calcification_and_fifteen_millimetres_are_contrast() {
        let warns = |slices: u32, pixels: u32, spacing: Option<[f64; 2]>| {
            let mut contrast = Contrast::new(spacing);
            (0..slices).for_each(|_| contrast.see(pixels, 5.0));
            contrast.warning().is_some()
        };
        let half = Some([0.5, 0.5]);
        assert!(warns(3, 400, half));
        assert!(!warns(2, 4000, half) && !warns(28, 240, half) && !warns(28, 4000, None));
    }
}
