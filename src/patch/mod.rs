//! Patches (P6): the grid over a slice, the views of a place, and equal patches found once.
//!
//! A patch is a stack of *views* of one place; what the network sees of it is `[views, size, size]` gray levels.

mod pyramid;

pub use pyramid::Pyramid;

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

/// Side of a patch.
///
/// # Units
/// Pixels of the slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct PatchSize(u16);

/// A patch size that the grid does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("patch size {0} is none of 8, 16, 32")]
pub struct UnknownPatchSize(pub u16);

impl PatchSize {
    /// The paper's 16 pixels.
    pub const SIXTEEN: Self = Self(16);

    /// Side in pixels.
    pub fn pixels(self) -> usize {
        usize::from(self.0)
    }
}

impl TryFrom<u16> for PatchSize {
    type Error = UnknownPatchSize;

    fn try_from(size: u16) -> Result<Self, UnknownPatchSize> {
        if [8, 16, 32].contains(&size) { Ok(Self(size)) } else { Err(UnknownPatchSize(size)) }
    }
}

impl From<PatchSize> for u16 {
    fn from(size: PatchSize) -> u16 {
        size.0
    }
}

/// One view of a place: how wide, and on which slice.
///
/// At scale `s` a view shows the `s` times wider square around the patch, averaged to the patch's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawView", into = "RawView")]
pub struct View {
    scale: u8,
    slice_offset: i8,
}

/// A view that the pyramid does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("view of scale {scale}, slice offset {slice}: the scale is 1, 2 or 4, the offset -1, 0 or 1")]
pub struct UnknownView {
    /// The scale asked for.
    pub scale: u8,
    /// The slice offset asked for.
    pub slice: i8,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawView {
    scale: u8,
    #[serde(default)]
    slice: i8,
}

impl View {
    /// A view at `scale` (1, 2, 4) of the slice at `slice_offset` (-1 before, 0 this, 1 after).
    ///
    /// # Errors
    /// [`UnknownView`] for other values.
    pub fn new(scale: u8, slice_offset: i8) -> Result<Self, UnknownView> {
        if [1, 2, 4].contains(&scale) && [-1, 0, 1].contains(&slice_offset) {
            Ok(Self { scale, slice_offset })
        } else {
            Err(UnknownView { scale, slice: slice_offset })
        }
    }

    /// How many times wider than the patch the view is.
    pub fn scale(self) -> usize {
        usize::from(self.scale)
    }

    /// Which slice it shows, counted from the patch's own.
    pub fn slice_offset(self) -> i8 {
        self.slice_offset
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x{}", self.scale)?;
        match self.slice_offset {
            0 => Ok(()),
            offset => write!(f, " slice {offset:+}"),
        }
    }
}

impl TryFrom<RawView> for View {
    type Error = UnknownView;

    fn try_from(raw: RawView) -> Result<Self, UnknownView> {
        Self::new(raw.scale, raw.slice)
    }
}

impl From<View> for RawView {
    fn from(view: View) -> RawView {
        RawView { scale: view.scale, slice: view.slice_offset }
    }
}

/// The grid of patches over a slice. Patches at the right and lower edge may hang over it; beyond it is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub columns: usize,
    /// Side of a patch.
    pub size: PatchSize,
}

impl Grid {
    /// The grid of `size` patches over a slice.
    ///
    /// # Units
    /// `rows` and `columns` are the slice's, in pixels.
    pub fn over(rows: usize, columns: usize, size: PatchSize) -> Self {
        Self { rows: rows.div_ceil(size.pixels()), columns: columns.div_ceil(size.pixels()), size }
    }

    /// Patches of the grid.
    pub fn patches(&self) -> usize {
        self.rows * self.columns
    }
}

/// A slice and its neighbours, as the views need them.
#[derive(Clone, Copy)]
pub struct Neighbourhood<'a> {
    /// The slice below, towards the feet.
    pub before: Option<&'a Pyramid>,
    /// The slice itself.
    pub this: &'a Pyramid,
    /// The slice above.
    pub after: Option<&'a Pyramid>,
}

impl<'a> Neighbourhood<'a> {
    /// The pyramid at an offset; at the ends of a series the slice stands in for the neighbour that is missing.
    fn at(&self, slice_offset: i8) -> &'a Pyramid {
        match slice_offset {
            -1 => self.before.unwrap_or(self.this),
            1 => self.after.unwrap_or(self.this),
            _ => self.this,
        }
    }
}

/// Cuts the patch at `row`, `column` of the grid.
///
/// # Shape
/// `out` is `[views, size, size]`.
///
/// # Panics
/// When `out` has another length or the place lies outside of the slice: mistakes of ours.
pub fn cut(
    views: &[View],
    around: Neighbourhood<'_>,
    size: PatchSize,
    row: usize,
    column: usize,
    out: &mut [u8],
) {
    let pixels = size.pixels() * size.pixels();
    assert_eq!(out.len(), views.len() * pixels, "one plane a view");
    for (view, plane) in views.iter().zip(out.chunks_exact_mut(pixels)) {
        around.at(view.slice_offset).cut(view.scale(), size, row, column, plane);
    }
}

/// Whether the place at `row`, `column` of the grid belongs to a slice's bag (P15): one or more of the patch's own
/// pixels, at scale 1 and on the slice itself, are brighter than 0.
///
/// What lies around the place does not count, so that air beside the head is in no bag. Prepared slices are 0 where
/// nothing of the head is; beyond the slice's edge is 0, too.
///
/// # Panics
/// When the place lies outside of the slice: a mistake of ours.
pub fn in_bag(slice: &Pyramid, size: PatchSize, row: usize, column: usize) -> bool {
    slice.shows(size, row, column)
}

/// The patches of one slice, each different one once.
///
/// Air is about half of a slice, and a network gives equal patches equal scores, so only the
/// [`Patches::unique`] ones go through it and [`Patches::places`] says which score a place gets.
pub struct Patches {
    views: Vec<View>,
    grid: Grid,
    unique: Vec<u8>,
    places: Vec<u32>,
    in_bag: Vec<bool>,
    known: HashMap<u64, u32>,
}

impl Patches {
    /// No patches yet, for a grid and the views of a model.
    pub fn new(grid: Grid, views: &[View]) -> Self {
        Self {
            views: views.to_vec(),
            grid,
            unique: Vec::new(),
            places: Vec::new(),
            in_bag: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Patches that were cut elsewhere, one above the other in the grid: an engine is measured on them, equal or not.
    ///
    /// # Shape
    /// `patches` is `[any number, views, size, size]`.
    ///
    /// # Panics
    /// When `patches` ends within a patch.
    pub fn given(views: &[View], size: PatchSize, patches: Vec<u8>) -> Self {
        let mut given = Self::new(Grid { rows: 0, columns: 1, size }, views);
        assert_eq!(patches.len() % given.length(), 0, "whole patches");
        given.grid.rows = patches.len() / given.length();
        given.places = (0..given.grid.rows as u32).collect();
        given.in_bag = vec![true; given.grid.rows];
        given.unique = patches;
        given
    }

    /// Cuts all patches of a slice.
    ///
    /// # Panics
    /// When the slice has another size than the grid was made for.
    pub fn cut(&mut self, around: Neighbourhood<'_>) {
        let Grid { rows, columns, size } = self.grid;
        assert_eq!(Grid::over(around.this.rows(), around.this.columns(), size), self.grid);
        let length = self.length();
        self.unique.clear();
        self.places.clear();
        self.in_bag.clear();
        self.known.clear();
        for row in 0..rows {
            for column in 0..columns {
                let start = self.unique.len();
                self.unique.resize(start + length, 0);
                let (before, patch) = self.unique.split_at_mut(start);
                cut(&self.views, around, size, row, column, patch);
                let next = (start / length) as u32;
                let found = *self.known.entry(fingerprint(patch)).or_insert(next);
                // The bytes decide, not the fingerprint: two patches that merely share one stay two.
                let equal = found != next && before[found as usize * length..][..length] == *patch;
                if equal {
                    self.unique.truncate(start);
                }
                self.places.push(if equal { found } else { next });
                self.in_bag.push(in_bag(around.this, size, row, column));
            }
        }
    }

    /// The grid.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Bytes of one patch: views x size x size.
    pub fn length(&self) -> usize {
        self.views.len() * self.grid.size.pixels() * self.grid.size.pixels()
    }

    /// The different patches.
    ///
    /// # Shape
    /// `[different patches, views, size, size]`.
    pub fn unique(&self) -> &[u8] {
        &self.unique
    }

    /// For each place of the grid, row by row, the index of its patch among the unique ones.
    pub fn places(&self) -> &[u32] {
        &self.places
    }

    /// For each place of the grid, row by row, whether it belongs to the slice's bag, see [`in_bag`].
    pub fn in_bag(&self) -> &[bool] {
        &self.in_bag
    }
}

/// 64 bits of a patch, eight bytes at a time: multiply and rotate, as in FxHash. Need not be good, only fast.
fn fingerprint(patch: &[u8]) -> u64 {
    const ODD: u64 = 0x51_7c_c1_b7_27_22_0a_95;
    // The length is a multiple of 64: size x size is.
    patch
        .as_chunks::<8>()
        .0
        .iter()
        .fold(0, |sum: u64, bytes| (sum.rotate_left(5) ^ u64::from_le_bytes(*bytes)).wrapping_mul(ODD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use proptest::prelude::*;

    /// The average, in integers with rounding, of the square that pixel `(row, column)` of a view stands for.
    fn reference_pixel(slice: &Array2<u8>, scale: usize, row: isize, column: isize) -> u8 {
        let level = |row: isize, column: isize| -> u32 {
            let inside = row >= 0 && column >= 0;
            let at = [row.max(0) as usize, column.max(0) as usize];
            if inside { slice.get(at).copied().map_or(0, u32::from) } else { 0 }
        };
        match scale {
            1 => level(row, column) as u8,
            _ => {
                let half = scale / 2;
                let mut sum = 0;
                for (down, right) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    sum += u32::from(reference_pixel(slice, half, 2 * row + down, 2 * column + right));
                }
                ((sum + 2) / 4) as u8
            }
        }
    }

    fn reference_view(slice: &Array2<u8>, scale: usize, size: usize, row: usize, column: usize) -> Vec<u8> {
        // The window's upper left corner in the slice, then in pixels of the view.
        let origin = |at: usize| (at * size) as isize - ((scale - 1) * size / 2) as isize;
        let (top, left) = (origin(row) / scale as isize, origin(column) / scale as isize);
        (0..size * size)
            .map(|i| reference_pixel(slice, scale, top + (i / size) as isize, left + (i % size) as isize))
            .collect()
    }

    fn slices() -> impl Strategy<Value = Array2<u8>> {
        (1usize..80, 1usize..80, any::<u64>()).prop_map(|(rows, columns, seed)| {
            let mut state = seed | 1;
            // Large flat areas, so that some patches are equal.
            Array2::from_shape_fn((rows, columns), |(row, column)| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if (row / 24 + column / 24) % 2 == 0 { (state >> 56) as u8 } else { 0 }
            })
        })
    }

    fn sizes() -> impl Strategy<Value = PatchSize> {
        prop_oneof![Just(8u16), Just(16), Just(32)].prop_map(|size| PatchSize::try_from(size).unwrap())
    }

    proptest! {
        #[test]
        fn views_are_averages_of_the_square_around_the_patch(slice in slices(), size in sizes()) {
            let pyramid = Pyramid::of(&slice);
            let grid = Grid::over(slice.nrows(), slice.ncols(), size);
            let mut view = vec![0; size.pixels() * size.pixels()];
            for scale in [1, 2, 4] {
                for row in 0..grid.rows {
                    for column in 0..grid.columns {
                        pyramid.cut(scale, size, row, column, &mut view);
                        prop_assert_eq!(&view, &reference_view(&slice, scale, size.pixels(), row, column));
                    }
                }
            }
        }

        #[test]
        fn every_place_gets_its_own_patch_and_none_is_kept_twice(a in slices(), size in sizes()) {
            let (b, plane) = (a.mapv(|level| level / 2), a.clone());
            let (a, b) = (Pyramid::of(&a), Pyramid::of(&b));
            let views = [(1, 0), (2, -1), (4, 1)].map(|(scale, offset)| View::new(scale, offset).unwrap());
            let grid = Grid::over(a.rows(), a.columns(), size);
            let around = Neighbourhood { before: Some(&b), this: &a, after: None };
            let mut patches = Patches::new(grid, &views);
            patches.cut(around);
            let length = patches.length();
            prop_assert_eq!(patches.places().len(), grid.patches());
            for (place, &index) in patches.places().iter().enumerate() {
                let mut expected = vec![0; length];
                cut(&views, around, size, place / grid.columns, place % grid.columns, &mut expected);
                prop_assert_eq!(&patches.unique()[index as usize * length..][..length], &expected[..]);
            }
            for (place, &in_bag) in patches.in_bag().iter().enumerate() {
                // The patch's own pixels, which no view of these shows.
                let own = reference_view(&plane, 1, size.pixels(), place / grid.columns, place % grid.columns);
                prop_assert_eq!(in_bag, own.iter().any(|&level| level > 0));
            }
            let mut all: Vec<&[u8]> = patches.unique().chunks_exact(length).collect();
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(all.len(), count);
        }
    }

    #[test]
    fn patches_cut_elsewhere_are_kept_as_they_are() {
        let views = [View::new(1, 0).unwrap(), View::new(2, 0).unwrap()];
        let patches = Patches::given(&views, PatchSize::SIXTEEN, vec![7; 3 * 512]);
        assert_eq!((patches.length(), patches.unique().len(), patches.places()), (512, 1536, &[0, 1, 2][..]));
        assert_eq!((patches.grid().patches(), patches.in_bag()), (3, &[true; 3][..]));
    }

    #[test]
    fn an_empty_slice_is_one_patch() {
        let pyramid = Pyramid::of(&Array2::zeros((512, 512)));
        let grid = Grid::over(512, 512, PatchSize::SIXTEEN);
        let mut patches = Patches::new(grid, &[View::new(1, 0).unwrap()]);
        patches.cut(Neighbourhood { before: None, this: &pyramid, after: None });
        assert_eq!((patches.unique().len(), patches.places().len()), (256, 1024));
    }
}
