//! What is noted while a study is judged, for objects that speak of its slices.

use std::cmp::Reverse;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use image::RgbImage;
use ndarray::Array2;

use super::data_set::DataSet;
use crate::dicom::Inherited;
use crate::label::Class;
use crate::limits::Limits;
use crate::output::grid;
use crate::patch::Grid;
use crate::prep::Placement;
use crate::series::{Reorientation, Series, SliceEntry};
use crate::study::JudgedSlice;

/// Slices of which a picture is kept: those with the most patches called hematoma.
const MOST_OVERLAYS: usize = 8;

/// Slices that are asked whose they are, should the lowest not tell.
const MOST_ORIGINS: usize = 4;

/// What is known of a series that was judged.
pub struct Findings {
    origin: Result<Inherited, String>,
    grid: Grid,
    reorientation: Reorientation,
    slices: Vec<SliceFinding>,
    lossy: bool,
    overlays: Vec<Overlay>,
}

/// A slice, and the places of its patches that were called hematoma.
pub struct SliceFinding {
    pub sop_class_uid: String,
    pub sop_instance_uid: String,
    /// Which frame of its object it is, counted from 1; None where the object has one.
    pub frame: Option<u32>,
    /// Rows and columns as they are stored.
    pub stored: (usize, usize),
    pub plane: Option<Plane>,
    placement: Placement,
    /// Row by row.
    pub patches: Vec<usize>,
}

/// Where a slice lies, as it is stored.
#[derive(Clone, Copy, PartialEq)]
pub struct Plane {
    pub position: [f64; 3],
    pub orientation: [f64; 6],
    pub spacing_mm: [f64; 2],
    /// How much of the patient it stands for along the normal.
    pub thickness_mm: f64,
}

/// A slice with its grid over it.
pub struct Overlay {
    /// Of the slices that were judged, counted from 0.
    pub index: usize,
    hematoma: usize,
    pub picture: RgbImage,
}

impl Findings {
    /// For a series that is about to be judged.
    pub fn new(series: &Series, grid: Grid, limits: &Limits) -> Findings {
        let read = |slice: &SliceEntry| {
            let bytes = slice.source.read(limits).map_err(|error| error.to_string())?;
            Inherited::read(&bytes, limits).map_err(|error| error.to_string())
        };
        let mut tries = series.slices.iter().take(MOST_ORIGINS).map(read);
        let lowest = tries.next().unwrap_or_else(|| Err("no slices".to_owned()));
        let origin = lowest.or_else(|why| tries.find_map(Result::ok).ok_or(why));
        let reorientation = series.reorientation;
        let lossy = series.slices.iter().any(|slice| slice.header.lossy);
        Findings { origin, grid, reorientation, slices: Vec::new(), lossy, overlays: Vec::new() }
    }

    /// Notes a slice.
    pub fn add(&mut self, slice: JudgedSlice<'_>) {
        let patches = slice.classes.iter().enumerate();
        let patches: Vec<usize> =
            patches.filter(|(_, class)| **class == Some(Class::Hematoma)).map(|(place, _)| place).collect();
        self.draw(&slice, patches.len());
        let header = &slice.entry.header;
        let plane = header.image_position.zip(header.image_orientation).zip(header.pixel_spacing);
        self.slices.push(SliceFinding {
            sop_class_uid: header.sop_class_uid.clone(),
            sop_instance_uid: header.sop_instance_uid.clone(),
            frame: (header.frames > 1).then_some(header.frame + 1),
            stored: (header.rows as usize, header.columns as usize),
            plane: plane.map(|((position, orientation), spacing_mm)| Plane {
                position,
                orientation,
                spacing_mm,
                thickness_mm: slice.entry.slab_mm,
            }),
            placement: slice.placement,
            patches,
        });
    }

    fn draw(&mut self, slice: &JudgedSlice<'_>, hematoma: usize) {
        if hematoma == 0 {
            return;
        }
        if self.overlays.len() == MOST_OVERLAYS {
            let rank = |overlay: &Overlay| (overlay.hematoma, Reverse(overlay.index));
            let least = (0..MOST_OVERLAYS).min_by_key(|&at| rank(&self.overlays[at]));
            // Of equals, the lower slice stays.
            match least.filter(|&at| self.overlays[at].hematoma < hematoma) {
                Some(least) => self.overlays.remove(least),
                None => return,
            };
        }
        let picture = grid::draw(slice.gray, self.grid, slice.classes);
        self.overlays.push(Overlay { index: slice.index, hematoma, picture });
    }

    /// What the lowest slice that tells says of patient and study.
    pub fn origin(&self) -> Result<&Inherited, String> {
        self.origin.as_ref().map_err(Clone::clone)
    }

    /// A UID or date of that slice.
    pub fn told(&self, tag: Tag) -> Option<&str> {
        self.origin.as_ref().ok()?.plain(tag)
    }

    /// What was lost before the slices came: it is lost in whatever is made of them. Ratio and method, as far as they are told.
    ///
    /// # Source
    /// DICOM PS3.3 C.7.6.1.1.5.
    pub fn losses(&self) -> DataSet {
        let losses = DataSet::new();
        if !self.lossy {
            return losses.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
        }
        let losses = losses.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
        let told =
            [(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS), (tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS)];
        told.into_iter().fold(losses, |losses, (tag, vr)| match self.told(tag) {
            Some(value) => losses.text(tag, vr, value),
            None => losses,
        })
    }

    /// The frame of reference, where the slices have one and it is told where they lie in it.
    pub fn is_placed(&self) -> bool {
        self.told(tags::FRAME_OF_REFERENCE_UID).is_some()
            && self.slices.iter().all(|slice| slice.plane.is_some())
    }

    /// The slices that were judged, in the order of the report.
    pub fn slices(&self) -> &[SliceFinding] {
        &self.slices
    }

    /// The pictures, foot to head.
    pub fn overlays(&self) -> &[Overlay] {
        &self.overlays
    }

    /// Which pixels of a slice, as it is stored, lie in patches called hematoma.
    ///
    /// # Shape
    /// Row by row, as many rows and columns as the slice has as it is stored.
    pub fn mask(&self, slice: &SliceFinding) -> Vec<bool> {
        let (rows, columns) = slice.stored;
        let (seen_rows, seen_columns) =
            if self.reorientation.transpose { (columns, rows) } else { (rows, columns) };
        let side = self.grid.size.pixels();
        let mut plane = Array2::from_elem((seen_rows, seen_columns), false);
        for &place in &slice.patches {
            let (top, left) = (place / self.grid.columns * side, place % self.grid.columns * side);
            for row in top..(top + side).min(seen_rows) {
                for column in left..(left + side).min(seen_columns) {
                    plane[[row, column]] = true;
                }
            }
        }
        // Each stored pixel is looked for where the network saw it.
        let mut mask = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            for column in 0..columns {
                let seen = self.reorientation.place(row, column, (rows, columns));
                let seen = slice.placement.place(seen, (seen_rows, seen_columns));
                mask.push(seen.is_some_and(|place| plane[place]));
            }
        }
        mask
    }
}
