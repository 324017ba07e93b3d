//! The slices of a series in Hounsfield units, in order, one at a time.
//! Order and choice are left to `series`, gray levels to `window`.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use crate::dicom::{DicomError, Object, SliceHeader, StoredValues};
use crate::hu::{self, HuError, Rescale, StoredLayout};
use crate::limits::Limits;
use crate::series::{Bytes, Chain, Reorientation, Series, SliceEntry, SourceError, Warning};

/// Reads the slices of a series, from the feet to the head or each when its turn comes.
///
/// Only one slice's bytes are held, and only while [`SliceStream::read`] or [`SliceStream::next_into`] runs.
#[derive(Debug)]
pub struct SliceStream<'a> {
    slices: &'a [SliceEntry],
    reorientation: Reorientation,
    limits: &'a Limits,
    next: usize,
    /// Slices with values of -2000 HU or below that no padding element announced.
    untagged_padding: AtomicUsize,
    /// The object of many frames that was read last: its other frames are likely to be asked for next.
    opened: Mutex<Option<(String, Arc<Opened>)>>,
}

/// An object and its bytes.
#[derive(Debug)]
struct Opened {
    bytes: Bytes,
    object: Object,
}

/// Why a slice of the series cannot be read: its file or ZIP member and the whole reason, on one line.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The bytes cannot be had.
    #[error("{place}: {}", Chain(error))]
    Source {
        /// The slice.
        place: String,
        /// Why.
        error: SourceError,
    },
    /// The bytes are no slice that can be read.
    #[error("{place}: {}", Chain(error))]
    Dicom {
        /// The slice.
        place: String,
        /// Why.
        error: DicomError,
    },
    /// The header's numbers make no Hounsfield units.
    #[error("{place}: {}", Chain(error))]
    Hounsfield {
        /// The slice.
        place: String,
        /// Why.
        error: HuError,
    },
    /// Somebody replaced the file since the series was put together.
    #[error("{place}: the file has changed while the series was read")]
    Changed {
        /// The slice.
        place: String,
    },
}

impl<'a> SliceStream<'a> {
    /// A stream that stands before the first slice. Nothing is opened yet.
    pub fn new(series: &'a Series, limits: &'a Limits) -> SliceStream<'a> {
        SliceStream::part(series, 0..series.slices.len(), limits)
    }

    /// A stream of some consecutive slices, which it counts from 0.
    ///
    /// # Panics
    /// When the series does not have them.
    pub fn part(series: &'a Series, slices: Range<usize>, limits: &'a Limits) -> SliceStream<'a> {
        SliceStream {
            slices: &series.slices[slices],
            reorientation: series.reorientation,
            limits,
            next: 0,
            untagged_padding: AtomicUsize::new(0),
            opened: Mutex::new(None),
        }
    }

    /// How many slices there are.
    pub fn len(&self) -> usize {
        self.slices.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// A slice, counted from the feet.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn entry(&self, index: usize) -> &'a SliceEntry {
        &self.slices[index]
    }

    /// Reads one slice into `hu`, whose memory is used again; after an error it holds nothing of use. Several threads
    /// may read at once.
    ///
    /// # Shape
    /// `hu` becomes rows x columns of the series, row-major, in the standard view.
    ///
    /// # Units
    /// Hounsfield units; [`hu::PADDING`] where nothing was measured.
    ///
    /// # Errors
    /// The bytes cannot be had, are no slice, or are others than when the series was put together.
    ///
    /// # Panics
    /// When there are not so many slices.
    pub fn read(&self, index: usize, hu: &mut Vec<i16>) -> Result<&'a SliceEntry, StreamError> {
        let slice = self.entry(index);
        self.read_slice(slice, hu)?;
        self.reorientation.apply(hu, slice.header.columns as usize);
        if hu::has_untagged_padding(hu) {
            self.untagged_padding.fetch_add(1, Ordering::Relaxed);
        }
        Ok(slice)
    }

    /// [Reads](SliceStream::read) the next slice; None after the last. After an error the stream stands before the slice
    /// that follows.
    pub fn next_into(&mut self, hu: &mut Vec<i16>) -> Option<Result<&'a SliceEntry, StreamError>> {
        let index = (self.next < self.len()).then_some(self.next)?;
        self.next += 1;
        Some(self.read(index, hu))
    }

    /// What was unusual about the pixels of the slices read so far.
    pub fn warnings(&self) -> Vec<Warning> {
        let slices = self.untagged_padding.load(Ordering::Relaxed);
        let untagged = (slices > 0).then(|| {
            Warning::new(
                "untagged_padding",
                format!("{slices} slices with values of -2000 HU or below and no padding value"),
            )
        });
        untagged.into_iter().collect()
    }
}

impl SliceStream<'_> {
    fn read_slice(&self, slice: &SliceEntry, hu: &mut Vec<i16>) -> Result<(), StreamError> {
        let place = || slice.source.to_string();
        let dicom = |error| StreamError::Dicom { place: place(), error };
        let opened = self.open(slice)?;
        let frame = slice.header.frame as usize;
        // Everything that was checked when the series was put together: identity, size, bits, rescale, position.
        let header = opened.object.slices.get(frame).filter(|&header| *header == slice.header);
        let header = header.ok_or_else(|| StreamError::Changed { place: place() })?;
        let stored = opened.object.stored_values(&opened.bytes, frame, self.limits).map_err(dicom)?;
        rescale(header, &stored, hu).map_err(|error| StreamError::Hounsfield { place: place(), error })
    }

    /// The object that holds a slice. Of an object of many frames the bytes are had once for all of them.
    fn open(&self, slice: &SliceEntry) -> Result<Arc<Opened>, StreamError> {
        let place = slice.source.to_string();
        if slice.header.frames == 1 {
            return self.open_at(slice, place).map(Arc::new);
        }
        // Held while the object is read: whoever else waits wants the same one.
        let mut last = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, opened)) = &*last
            && *at == place
        {
            return Ok(Arc::clone(opened));
        }
        // The one before goes first: two of them may not fit.
        *last = None;
        let opened = Arc::new(self.open_at(slice, place.clone())?);
        *last = Some((place, Arc::clone(&opened)));
        Ok(opened)
    }

    fn open_at(&self, slice: &SliceEntry, place: String) -> Result<Opened, StreamError> {
        let bytes = match slice.source.read(self.limits) {
            Ok(bytes) => bytes,
            Err(error) => return Err(StreamError::Source { place, error }),
        };
        match Object::read(&bytes, self.limits) {
            Ok(object) => Ok(Opened { bytes, object }),
            Err(error) => Err(StreamError::Dicom { place, error }),
        }
    }
}

/// Rescales the stored values of a slice as its header tells.
///
/// # Units
/// Hounsfield units, where that is what the header's rescale makes; [`hu::PADDING`] where nothing was measured.
///
/// # Errors
/// The header's numbers make none.
pub fn rescale(header: &SliceHeader, stored: &StoredValues<'_>, hu: &mut Vec<i16>) -> Result<(), HuError> {
    let layout = StoredLayout::new(header.bits_stored, header.high_bit, header.signed, header.pixel_padding)?;
    let line = Rescale::new(header.rescale_slope, header.rescale_intercept)?;
    match stored {
        StoredValues::Bits8(cells) => {
            hu.resize(cells.len(), 0);
            hu::to_hounsfield_8(cells, &layout, line, hu);
        }
        StoredValues::Bits16(cells) => {
            hu.resize(cells.len(), 0);
            hu::to_hounsfield(cells, &layout, line, hu);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::dicom::crafted::Crafted;
    use crate::series::{assemble, find};

    /// Slices at the given places, with descending instance numbers.
    fn write_series(folder: &Path, places_mm: &[f64]) {
        for (number, place) in places_mm.iter().enumerate() {
            let mut slice = Crafted::slice(2, 3)
                .text(0x0008, 0x0018, b"UI", &format!("1.2.{number}"))
                .text(0x0020, 0x0013, b"IS", &format!("{}", 100 - number))
                .text(0x0020, 0x0032, b"DS", &format!("0\\0\\{place}"))
                .number(0x0028, 0x0120, 1);
            slice.cells[5] = *place as i16 as u16;
            std::fs::write(folder.join(format!("{number}")), slice.file()).unwrap();
        }
    }

    fn series(folder: &Path) -> Series {
        let found = find(&[folder.to_owned()], &Limits::default());
        let mut assembly = assemble(found, &Limits::default());
        assembly.studies.remove(0).series.remove(0)
    }

    #[test]
    fn slices_come_in_order_and_use_one_buffer() {
        let folder = tempfile::tempdir().unwrap();
        write_series(folder.path(), &[5.0, -5.0, 10.0, 0.0]);
        let series = series(folder.path());
        let limits = Limits::default();
        let mut stream = SliceStream::new(&series, &limits);
        let mut hu = Vec::new();
        let mut places = Vec::new();
        while let Some(slice) = stream.next_into(&mut hu) {
            let slice = slice.unwrap();
            assert_eq!(hu[..5], [0, hu::PADDING, 2, 3, 4]);
            assert_eq!(f64::from(hu[5]), slice.z_mm);
            places.push(slice.z_mm);
        }
        assert_eq!(places, [-5.0, 0.0, 5.0, 10.0]);
        assert!(stream.warnings().is_empty());
    }

    #[test]
    fn a_file_that_changed_is_told_and_the_rest_is_read() {
        let folder = tempfile::tempdir().unwrap();
        write_series(folder.path(), &[0.0, 5.0, 10.0, 15.0]);
        let series = series(folder.path());
        let limits = Limits::default();
        let stranger = Crafted::slice(2, 3).text(0x0008, 0x0018, b"UI", "1.2.99");
        std::fs::write(folder.path().join("0"), stranger.file()).unwrap();
        std::fs::write(folder.path().join("1"), b"short").unwrap();
        std::fs::remove_file(folder.path().join("2")).unwrap();
        let mut stream = SliceStream::new(&series, &limits);
        let mut hu = Vec::new();
        let mut next = || stream.next_into(&mut hu).unwrap();
        assert!(matches!(next(), Err(StreamError::Changed { .. })));
        assert!(matches!(next(), Err(StreamError::Dicom { .. })));
        // "cannot read 2" was all that was told.
        let missing = next().unwrap_err().to_string();
        assert!(missing.contains("2: cannot be read: ") && missing.matches("/2").count() == 1, "{missing}");
        assert_eq!(next().unwrap().z_mm, 15.0);
    }

    #[test]
    fn monochrome1_is_shown_inverted_but_means_the_same() {
        // DICOM PS3.3 C.7.6.3.1.2 speaks of display only. Inverting here would turn blood into fat.
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits::default();
        let mut both = Vec::new();
        for photometric in ["MONOCHROME1", "MONOCHROME2"] {
            let slice = Crafted::slice(2, 3).text(0x0028, 0x0004, b"CS", photometric);
            std::fs::write(folder.path().join("slice"), slice.file()).unwrap();
            let series = series(folder.path());
            let mut hu = Vec::new();
            let mut stream = SliceStream::new(&series, &limits);
            stream.next_into(&mut hu).unwrap().unwrap();
            both.push(hu);
        }
        assert_eq!(both[0], both[1]);
    }

    #[test]
    fn padding_without_a_tag_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut slice = Crafted::slice(2, 3);
        slice.cells[0] = -3024i16 as u16;
        std::fs::write(folder.path().join("slice"), slice.file()).unwrap();
        let series = series(folder.path());
        let limits = Limits::default();
        let mut stream = SliceStream::new(&series, &limits);
        let mut hu = Vec::new();
        stream.next_into(&mut hu).unwrap().unwrap();
        assert_eq!(hu[0], -3024);
        assert_eq!(stream.warnings()[0].code, "untagged_padding");
    }
}
