//! Noise removal (P3): finds the head; table, head holder and tubes are what is left.

use super::{Scratch, of_512};

/// Gray level from which a pixel may be tissue. At the usual window it is 5 HU: above air, fat and foam.
const TISSUE: u8 = 16;
/// Links up to twice this wide (512-column pixels) between the head and what touches it are cut.
const LINK: usize = 2;
/// A head is somewhere thicker than twice this; a table's edge or a head holder nowhere is.
const CORE: usize = 12;
/// Dark spots up to this area belong to the tissue around them: cerebrospinal fluid under noise, small air cells.
const SPOT: usize = 2_000;

impl Scratch {
    /// Leaves the head in `self.head`: empty where the slice shows none.
    pub(super) fn find_head(&mut self, gray: &[u8], columns: usize) {
        let Self { head, core, spare, words, regions, .. } = self;
        let spot = of_512(of_512(SPOT, columns), columns) as u32;
        head.threshold(gray, columns, TISSUE);
        regions.fill_holes(head, spare, spot);
        // What is thick enough for a head, and the largest such region.
        core.copy_from(head);
        core.erode(of_512(LINK, columns), words);
        spare.copy_from(core);
        spare.erode(of_512(CORE - LINK, columns), words);
        regions.find(spare);
        let largest = regions.list(spare).into_iter().max_by_key(|region| region.area);
        let Some(largest) = largest else {
            head.clear();
            return;
        };
        let (row, column) = regions.first_pixel(largest.root);
        // All that hangs together with it once thin links are cut.
        regions.find(core);
        let root = regions.at(row, column);
        spare.clear();
        regions.mark(spare, |region| Some(region) == root);
        // Back to the full outline, and no further than tissue goes.
        spare.dilate(of_512(LINK + 1, columns), words);
        head.and(spare);
        regions.fill_holes(head, spare, u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use crate::prep::{Centering, Preparation, Scratch};
    use ndarray::Array2;

    /// A disc of brain in a ring of bone, a table's edge below it and a tube beside it.
    fn slice_with_table(columns: usize) -> Array2<u8> {
        let unit = columns as f64 / 512.0;
        Array2::from_shape_fn((columns, columns), |(row, column)| {
            let (y, x) = (row as f64 / unit - 240.0, column as f64 / unit - 256.0);
            let radius = (x * x + y * y).sqrt();
            let arc = (x * x + (y + 500.0) * (y + 500.0)).sqrt();
            match radius {
                r if r < 150.0 => 105,
                r if r < 165.0 => 255,
                _ if (690.0..704.0).contains(&arc) => 255,
                _ if (-205.0..-200.0).contains(&x) => 180,
                _ => 0,
            }
        })
    }

    #[test]
    fn leaves_the_head_and_removes_table_and_tube() {
        for columns in [128, 256, 512, 700] {
            let mut gray = slice_with_table(columns);
            let unit = columns as f64 / 512.0;
            let preparation = Preparation { center: Centering::Off, ..Preparation::default() };
            preparation.prepare(&mut gray, &mut Scratch::default());
            for ((row, column), &level) in gray.indexed_iter() {
                let (y, x) = (row as f64 / unit - 240.0, column as f64 / unit - 256.0);
                let radius = (x * x + y * y).sqrt();
                if radius < 163.0 {
                    assert!(level >= 105, "head pixel {row},{column} of {columns} columns is {level}");
                } else if radius > 172.0 {
                    assert_eq!(level, 0, "{row},{column} of {columns} columns is not of the head");
                }
            }
        }
    }

    #[test]
    fn a_slice_with_only_a_table_becomes_empty() {
        let mut gray = slice_with_table(512);
        gray.slice_mut(ndarray::s![..420, ..]).fill(0);
        let placement = Preparation::default().prepare(&mut gray, &mut Scratch::default());
        assert!(gray.iter().all(|&level| level == 0));
        assert_eq!(placement.head_pixels, 0);
    }
}
