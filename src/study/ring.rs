//! The three slices that are held at a time: the one before, the one judged, the one after.

use crate::patch::{Neighbourhood, Pyramid};
use crate::series::SliceEntry;
use ndarray::Array2;

/// A prepared slice.
pub(super) struct Prepared<'a> {
    pub entry: &'a SliceEntry,
    pub gray: Array2<u8>,
    pyramid: Pyramid,
}

/// Slices pass from `after` to `middle` to `before`; planes and pyramids are used again.
pub(super) struct Ring<'a> {
    rows: usize,
    columns: usize,
    before: Option<Prepared<'a>>,
    middle: Option<Prepared<'a>>,
    after: Option<Prepared<'a>>,
    spare: Vec<(Array2<u8>, Pyramid)>,
}

impl<'a> Ring<'a> {
    pub fn new(rows: usize, columns: usize) -> Self {
        Self { rows, columns, before: None, middle: None, after: None, spare: Vec::new() }
    }

    /// Takes in the next slice; `fill` writes its gray levels.
    pub fn push(&mut self, entry: &'a SliceEntry, fill: impl FnOnce(&mut Array2<u8>)) {
        let (mut gray, mut pyramid) = self.spare.pop().unwrap_or_else(|| {
            (Array2::zeros((self.rows, self.columns)), Pyramid::empty(self.rows, self.columns))
        });
        fill(&mut gray);
        pyramid.fill(&gray);
        self.shift(Some(Prepared { entry, gray, pyramid }));
    }

    /// Moves on without a further slice: the last one becomes the middle.
    pub fn advance(&mut self) {
        self.shift(None);
    }

    fn shift(&mut self, next: Option<Prepared<'a>>) {
        if let Some(done) = self.before.take() {
            self.spare.push((done.gray, done.pyramid));
        }
        self.before = self.middle.take();
        self.middle = self.after.take();
        self.after = next;
    }

    /// The slice whose turn it is, once the one after it is known or the series has ended.
    pub fn middle(&self) -> Option<(&Prepared<'a>, Neighbourhood<'_>)> {
        let middle = self.middle.as_ref()?;
        let around = Neighbourhood {
            before: self.before.as_ref().map(|slice| &slice.pyramid),
            this: &middle.pyramid,
            after: self.after.as_ref().map(|slice| &slice.pyramid),
        };
        Some((middle, around))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::phantom::{Spec, write_series};
    use crate::series;

    /// A thousand slices pass; at no time are more than four planes allocated.
    #[test]
    fn a_long_series_needs_four_planes() {
        let folder = tempfile::tempdir().unwrap();
        let spec = Spec { slices: 10, rows_columns: 32, pixel_mm: 7.0, ..Spec::default() };
        write_series(&spec, folder.path(), &mut |_, _| {}).unwrap();
        let limits = Limits::default();
        let assembly = series::assemble(series::find(&[folder.path().to_owned()], &limits), &limits);
        let slices = &assembly.studies[0].series[0].slices;
        let (mut ring, mut judged) = (Ring::new(32, 32), 0u32);
        for number in 0..1000u32 {
            ring.push(&slices[number as usize % 10], |gray| gray.fill(number as u8));
            let held =
                [&ring.before, &ring.middle, &ring.after].iter().filter(|slice| slice.is_some()).count();
            assert!(held + ring.spare.len() <= 4);
            if let Some((slice, around)) = ring.middle() {
                assert_eq!(slice.gray[[0, 0]], judged as u8);
                assert_eq!((around.before.is_some(), around.after.is_some()), (judged > 0, true));
                judged += 1;
            }
        }
        ring.advance();
        assert!(ring.middle().is_some_and(|(_, around)| around.after.is_none()));
        assert_eq!(judged, 999);
    }
}
