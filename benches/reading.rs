//! How fast a series is read, from the files' names to Hounsfield units, on one thread and, in turns with it, on all:
//! `cargo bench --bench reading -- FOLDER...` prints a line of JSON for each folder. Without folders, a drawn series of 28
//! slices is read.
//! `benches/peers/reading.py` sets it beside pydicom.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hemapatch::limits::Limits;
use hemapatch::phantom::{self, Spec};
use hemapatch::series;
use hemapatch::stream::SliceStream;

/// Times of a folder that are taken; told are the median, the least and the most.
const TURNS: usize = 9;

fn main() {
    let folders: Vec<PathBuf> =
        std::env::args_os().skip(1).filter(|argument| argument != "--bench").map(PathBuf::from).collect();
    let drawn = tempfile::tempdir().expect("a temporary folder");
    let folders = if folders.is_empty() {
        phantom::write_series(&Spec::demo(1), drawn.path(), &mut |_, _| {}).expect("a drawn series");
        vec![drawn.path().to_owned()]
    } else {
        folders
    };
    let all = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    for folder in folders {
        let (slices, bytes) = read(&folder, 1);
        let (mut alone, mut together) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            alone.push(milliseconds(&folder, 1));
            together.push(milliseconds(&folder, all));
        }
        let [alone, together] = [alone, together].map(|mut turns| {
            turns.sort_by(f64::total_cmp);
            turns
        });
        let median = alone[TURNS / 2];
        let line = serde_json::json!({
            "folder": folder, "slices": slices, "pixel_bytes": bytes, "ms": median,
            "least_ms": alone[0], "most_ms": alone[TURNS - 1], "gb_per_s": bytes as f64 / median / 1e6,
            "threads": all, "threads_ms": together[TURNS / 2],
        });
        println!("{line}");
    }
}

fn milliseconds(folder: &Path, threads: usize) -> f64 {
    let started = Instant::now();
    read(folder, threads);
    started.elapsed().as_secs_f64() * 1e3
}

/// Finds, sorts and reads the longest series below a folder; its slices and the bytes of their pixels.
fn read(folder: &Path, threads: usize) -> (usize, usize) {
    let limits = Limits::default();
    let assembly = series::assemble(series::find(&[folder.to_owned()], &limits), &limits);
    let all = assembly.studies.iter().flat_map(|study| &study.series);
    let series = all.max_by_key(|series| series.slices.len()).expect("a series");
    let stream = SliceStream::new(series, &limits);
    let (next, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let read = || {
        let mut hu = Vec::new();
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && index < stream.len()
        {
            stream.read(index, &mut hu).expect("a slice that can be read");
            bytes.fetch_add(2 * hu.len(), Ordering::Relaxed);
            std::hint::black_box(&hu);
        }
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(read)));
        read();
    });
    (series.slices.len(), bytes.into_inner())
}
