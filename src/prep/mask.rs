//! A binary mask of a slice, one bit a pixel, with the morphology that finds a head in it.
//!
//! Sixty-four pixels share a word, so a step of erosion over 512x512 touches 4,096 words instead of
//! 262,144 bytes. Which region is the head, and which the skull, is for the callers.

/// A mask over a slice; pixels beyond its border are 0.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(super) struct Mask {
    columns: usize,
    /// Words a row. Bits past the last column are 0.
    words: usize,
    bits: Vec<u64>,
}

impl Mask {
    /// Marks the pixels of at least `level`.
    ///
    /// # Shape
    /// `gray` is `[rows, columns]`, row-major.
    pub fn threshold(&mut self, gray: &[u8], columns: usize, level: u8) {
        self.columns = columns;
        self.words = columns.div_ceil(64);
        self.bits.clear();
        for row in gray.chunks_exact(columns) {
            for pixels in row.chunks(64) {
                let mut word = 0;
                for (bit, &pixel) in pixels.iter().enumerate() {
                    word |= u64::from(pixel >= level) << bit;
                }
                self.bits.push(word);
            }
        }
    }

    /// Sets the gray levels outside of the mask to 0.
    pub fn keep_inside(&self, gray: &mut [u8]) {
        for (row, words) in gray.chunks_exact_mut(self.columns).zip(self.bits.chunks_exact(self.words)) {
            for (pixels, &word) in row.chunks_mut(64).zip(words) {
                match word {
                    0 => pixels.fill(0),
                    u64::MAX => {}
                    _ => {
                        for (bit, pixel) in pixels.iter_mut().enumerate() {
                            *pixel &= 0u8.wrapping_sub((word >> bit) as u8 & 1);
                        }
                    }
                }
            }
        }
    }

    /// Number of marked pixels.
    pub fn count(&self) -> u32 {
        self.bits.iter().map(|word| word.count_ones()).sum()
    }

    pub fn copy_from(&mut self, other: &Mask) {
        self.columns = other.columns;
        self.words = other.words;
        self.bits.clear();
        self.bits.extend_from_slice(&other.bits);
    }

    /// Keeps what `other` has too.
    pub fn and(&mut self, other: &Mask) {
        for (word, &other) in self.bits.iter_mut().zip(&other.bits) {
            *word &= other;
        }
    }

    /// Drops what `other` has.
    pub fn and_not(&mut self, other: &Mask) {
        for (word, &other) in self.bits.iter_mut().zip(&other.bits) {
            *word &= !other;
        }
    }

    /// Marks what is not marked.
    pub fn invert(&mut self) {
        let tail = match self.columns % 64 {
            0 => u64::MAX,
            used => (1 << used) - 1,
        };
        for row in self.bits.chunks_exact_mut(self.words) {
            for word in row.iter_mut() {
                *word = !*word;
            }
            row[self.words - 1] &= tail;
        }
    }

    /// Keeps the pixels whose city-block distance to an unmarked pixel, or the border, is over `radius`.
    pub fn erode(&mut self, radius: usize, spare: &mut Vec<u64>) {
        for _ in 0..radius {
            self.step(spare, |here, around| here & around.iter().fold(u64::MAX, |all, word| all & word));
        }
    }

    /// Adds the pixels whose city-block distance to a marked pixel is at most `radius`.
    pub fn dilate(&mut self, radius: usize, spare: &mut Vec<u64>) {
        // Growing past the last column would leave bits that belong to no pixel.
        let tail = match self.columns % 64 {
            0 => u64::MAX,
            used => (1 << used) - 1,
        };
        for _ in 0..radius {
            self.step(spare, |here, around| here | around.iter().fold(0, |any, word| any | word));
            for row in self.bits.chunks_exact_mut(self.words) {
                row[self.words - 1] &= tail;
            }
        }
    }

    /// One step over the four neighbours: left, right, above, below.
    fn step(&mut self, spare: &mut Vec<u64>, combine: impl Fn(u64, [u64; 4]) -> u64) {
        let words = self.words;
        // One empty row above and below stands for what lies beyond the border.
        spare.clear();
        spare.resize(words, 0);
        spare.extend_from_slice(&self.bits);
        spare.resize(self.bits.len() + 2 * words, 0);
        for (row, out) in self.bits.chunks_exact_mut(words).enumerate() {
            let above = &spare[row * words..][..words];
            let here = &spare[(row + 1) * words..][..words];
            let below = &spare[(row + 2) * words..][..words];
            for i in 0..words {
                let from_left = here[i] << 1 | if i > 0 { here[i - 1] >> 63 } else { 0 };
                let from_right = here[i] >> 1 | if i + 1 < words { here[i + 1] << 63 } else { 0 };
                out[i] = combine(here[i], [from_left, from_right, above[i], below[i]]);
            }
        }
    }

    /// The runs of marked pixels, row by row, as `(row, first column, one past the last)`.
    pub fn runs(&self, mut each: impl FnMut(u32, u32, u32)) {
        for (row, words) in self.bits.chunks_exact(self.words).enumerate() {
            let mut start = None;
            for (i, &word) in words.iter().enumerate() {
                let base = (i * 64) as u32;
                let mut at = 0;
                // Inside a run the next unmarked pixel is looked for, outside the next marked one.
                while at < 64 {
                    let rest = if start.is_some() { !word } else { word } >> at;
                    if rest == 0 {
                        break;
                    }
                    at += rest.trailing_zeros();
                    match start.take() {
                        None => start = Some(base + at),
                        Some(first) => each(row as u32, first, base + at),
                    }
                }
            }
            if let Some(first) = start {
                each(row as u32, first, self.columns as u32);
            }
        }
    }

    /// Marks the columns `start..end` of a row.
    pub fn mark(&mut self, row: u32, start: u32, end: u32) {
        let words = &mut self.bits[row as usize * self.words..][..self.words];
        let (first, last) = (start as usize / 64, (end as usize - 1) / 64);
        for (i, word) in words.iter_mut().enumerate().take(last + 1).skip(first) {
            let low = if i == first { u64::MAX << (start % 64) } else { u64::MAX };
            let high = if i == last { u64::MAX >> (63 - (end - 1) % 64) } else { u64::MAX };
            *word |= low & high;
        }
    }

    /// Unmarks everything, keeping the shape.
    pub fn clear(&mut self) {
        self.bits.fill(0);
    }

    pub fn rows(&self) -> usize {
        self.bits.len().checked_div(self.words).unwrap_or(0)
    }

    pub fn columns(&self) -> usize {
        self.columns
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Small masks, and some whose rows cross words.
    pub(in crate::prep) fn pixels() -> impl Strategy<Value = (usize, Vec<u8>)> {
        (1usize..10, prop_oneof![1usize..12, 60usize..70, 126usize..132]).prop_flat_map(|(rows, columns)| {
            (
                Just(columns),
                proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(1)], rows * columns),
            )
        })
    }

    pub(in crate::prep) fn mask_of(pixels: &[u8], columns: usize) -> Mask {
        let mut mask = Mask::default();
        mask.threshold(pixels, columns, 1);
        mask
    }

    pub(in crate::prep) fn pixels_of(mask: &Mask) -> Vec<u8> {
        let mut pixels = vec![1; mask.rows() * mask.columns()];
        mask.keep_inside(&mut pixels);
        pixels
    }

    fn reference_distance(pixels: &[u8], columns: usize, at: usize, value: u8) -> Option<usize> {
        let apart = |other: usize| {
            (at / columns).abs_diff(other / columns) + (at % columns).abs_diff(other % columns)
        };
        (0..pixels.len()).filter(|&other| pixels[other] == value).map(apart).min()
    }

    proptest! {
        #[test]
        fn pixels_survive_the_packing((columns, pixels) in pixels()) {
            let mask = mask_of(&pixels, columns);
            prop_assert_eq!(mask.count(), pixels.iter().map(|&p| u32::from(p)).sum::<u32>());
            prop_assert_eq!(pixels_of(&mask), pixels);
        }

        #[test]
        fn runs_cover_exactly_the_marked_pixels((columns, pixels) in pixels()) {
            let mask = mask_of(&pixels, columns);
            let mut again = mask.clone();
            again.clear();
            mask.runs(|row, start, end| again.mark(row, start, end));
            prop_assert_eq!(again, mask);
        }

        #[test]
        fn erosion_and_dilation_are_city_block_distances((columns, pixels) in pixels(), radius in 0usize..4) {
            let rows = pixels.len() / columns;
            let mut spare = Vec::new();
            let (mut eroded, mut dilated, mut inverted) =
                (mask_of(&pixels, columns), mask_of(&pixels, columns), mask_of(&pixels, columns));
            eroded.erode(radius, &mut spare);
            dilated.dilate(radius, &mut spare);
            inverted.invert();
            let (eroded, dilated, inverted) = (pixels_of(&eroded), pixels_of(&dilated), pixels_of(&inverted));
            for at in 0..pixels.len() {
                let (row, column) = (at / columns, at % columns);
                let border = (row + 1).min(column + 1).min(rows - row).min(columns - column);
                let inside = reference_distance(&pixels, columns, at, 0).unwrap_or(usize::MAX).min(border);
                let outside = reference_distance(&pixels, columns, at, 1).unwrap_or(usize::MAX);
                prop_assert_eq!(eroded[at] == 1, inside > radius);
                prop_assert_eq!(dilated[at] == 1, outside <= radius);
                prop_assert_eq!(inverted[at], 1 - pixels[at]);
            }
        }
    }
}
