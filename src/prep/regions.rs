//! Connected regions of a mask, kept as horizontal runs and joined by union-find.
//!
//! A slice has some thousand runs against 262,144 pixels, so measuring and choosing regions is cheap.

use super::mask::Mask;

/// The 4-connected regions of a mask.
#[derive(Default)]
pub(super) struct Regions {
    runs: Vec<Run>,
    /// Union-find over runs; a root is its own parent.
    parents: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Run {
    row: u32,
    start: u32,
    end: u32,
}

/// What is known of one region.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Region {
    /// The region's name: the index of its first run, in reading order.
    pub root: u32,
    /// Pixels.
    pub area: u32,
    /// Whether it touches the slice's border.
    pub at_border: bool,
}

impl Regions {
    /// Finds the regions of `mask`.
    pub fn find(&mut self, mask: &Mask) {
        self.runs.clear();
        self.parents.clear();
        let (runs, parents) = (&mut self.runs, &mut self.parents);
        let (mut above, mut this, mut row_now) = (0, 0, 0);
        mask.runs(|row, start, end| {
            if row != row_now {
                // After an empty row nothing can touch the runs above it.
                above = if row == row_now + 1 { this } else { runs.len() };
                this = runs.len();
                row_now = row;
            }
            let index = runs.len() as u32;
            runs.push(Run { row, start, end });
            parents.push(index);
            // Both rows are sorted: runs above that end before this one starts are done with.
            while above < this && runs[above].end <= start {
                above += 1;
            }
            for (other, run) in runs[..this].iter().enumerate().skip(above) {
                if run.start >= end {
                    break;
                }
                let (x, y) = (root(parents, other as u32), root(parents, index));
                // The smaller index is the root, so a region's name does not depend on the order of joins.
                parents[x.max(y) as usize] = x.min(y);
            }
        });
    }

    /// Area and border contact of each region, in reading order of their first pixels.
    ///
    /// `mask` is the one that [`Regions::find`] was given.
    pub fn list(&mut self, mask: &Mask) -> Vec<Region> {
        let (last_row, columns) = (mask.rows().saturating_sub(1) as u32, mask.columns() as u32);
        let mut regions: Vec<Region> = Vec::new();
        // Roots come before their members, so the slot of a root is known when a member asks for it.
        let mut slots = vec![u32::MAX; self.runs.len()];
        for index in 0..self.runs.len() {
            let name = root(&mut self.parents, index as u32);
            if slots[name as usize] == u32::MAX {
                slots[name as usize] = regions.len() as u32;
                regions.push(Region { root: name, ..Region::default() });
            }
            let Run { row, start, end } = self.runs[index];
            let region = &mut regions[slots[name as usize] as usize];
            region.area += end - start;
            region.at_border |= row == 0 || row == last_row || start == 0 || end == columns;
        }
        regions
    }

    /// The name of the region that holds a pixel, where one does.
    pub fn at(&mut self, row: u32, column: u32) -> Option<u32> {
        let first = self.runs.partition_point(|run| (run.row, run.end) <= (row, column));
        let run = self.runs.get(first)?;
        (run.row == row && run.start <= column).then(|| root(&mut self.parents, first as u32))
    }

    /// First pixel `(row, column)` of the region named `root`.
    pub fn first_pixel(&self, root: u32) -> (u32, u32) {
        let run = self.runs[root as usize];
        (run.row, run.start)
    }

    /// Marks in `mask` the pixels of the regions that `chosen` names.
    pub fn mark(&mut self, mask: &mut Mask, chosen: impl Fn(u32) -> bool) {
        for index in 0..self.runs.len() {
            if chosen(root(&mut self.parents, index as u32)) {
                let Run { row, start, end } = self.runs[index];
                mask.mark(row, start, end);
            }
        }
    }

    /// Marks the unmarked regions of at most `largest` pixels that do not touch the border.
    pub fn fill_holes(&mut self, mask: &mut Mask, spare: &mut Mask, largest: u32) {
        spare.copy_from(mask);
        spare.invert();
        self.find(spare);
        let holes: Vec<u32> = self
            .list(spare)
            .into_iter()
            .filter(|region| !region.at_border && region.area <= largest)
            .map(|region| region.root)
            .collect();
        // `list` names regions in ascending order.
        self.mark(mask, |root| holes.binary_search(&root).is_ok());
    }
}

fn root(parents: &mut [u32], mut run: u32) -> u32 {
    while parents[run as usize] != run {
        let grandparent = parents[parents[run as usize] as usize];
        parents[run as usize] = grandparent;
        run = grandparent;
    }
    run
}

#[cfg(test)]
mod tests {
    use super::super::mask::tests::{mask_of, pixels, pixels_of};
    use super::*;
    use proptest::prelude::*;

    /// Flood fill, pixel by pixel: the smallest pixel index of a region names it.
    fn reference_regions(pixels: &[u8], columns: usize, value: u8) -> Vec<Option<usize>> {
        let mut names = vec![None; pixels.len()];
        for seed in 0..pixels.len() {
            let mut open = vec![seed];
            while let Some(at) = open.pop() {
                if pixels[at] != value || names[at].is_some() {
                    continue;
                }
                names[at] = Some(seed);
                if !at.is_multiple_of(columns) {
                    open.push(at - 1);
                }
                if at % columns + 1 < columns {
                    open.push(at + 1);
                }
                if at >= columns {
                    open.push(at - columns);
                }
                if at + columns < pixels.len() {
                    open.push(at + columns);
                }
            }
        }
        names
    }

    fn on_border(at: usize, columns: usize, len: usize) -> bool {
        at < columns || at + columns >= len || at.is_multiple_of(columns) || at % columns == columns - 1
    }

    proptest! {
        #[test]
        fn regions_are_those_of_a_flood_fill((columns, pixels) in pixels()) {
            let names = reference_regions(&pixels, columns, 1);
            let mask = mask_of(&pixels, columns);
            let mut regions = Regions::default();
            regions.find(&mask);
            let list = regions.list(&mask);
            let mut seeds: Vec<usize> = names.iter().flatten().copied().collect();
            seeds.sort_unstable();
            seeds.dedup();
            prop_assert_eq!(list.len(), seeds.len());
            for (region, seed) in list.iter().zip(seeds) {
                let members: Vec<usize> = (0..pixels.len()).filter(|&at| names[at] == Some(seed)).collect();
                prop_assert_eq!(region.area as usize, members.len());
                prop_assert_eq!(region.at_border, members.iter().any(|&at| on_border(at, columns, pixels.len())));
                for at in members {
                    prop_assert_eq!(regions.at((at / columns) as u32, (at % columns) as u32), Some(region.root));
                }
            }
            for at in (0..pixels.len()).filter(|&at| pixels[at] == 0) {
                prop_assert_eq!(regions.at((at / columns) as u32, (at % columns) as u32), None);
            }
        }

        #[test]
        fn holes_are_what_the_border_does_not_reach((columns, pixels) in pixels(), largest in 0u32..6) {
            let names = reference_regions(&pixels, columns, 0);
            let len = pixels.len();
            let fills = |name: usize| {
                let members: Vec<usize> = (0..len).filter(|&at| names[at] == Some(name)).collect();
                members.len() <= largest as usize && !members.iter().any(|&at| on_border(at, columns, len))
            };
            let expected: Vec<u8> = names.iter().map(|name| name.is_none_or(fills).into()).collect();
            let mut mask = mask_of(&pixels, columns);
            Regions::default().fill_holes(&mut mask, &mut Mask::default(), largest);
            prop_assert_eq!(pixels_of(&mask), expected);
        }
    }
}
