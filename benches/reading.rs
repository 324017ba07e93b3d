//! How fast a series is read, from the files' names to Hounsfield units, on one thread: `cargo bench --bench reading --
//! FOLDER...` prints a line of JSON for each folder. Without folders, a drawn series of 28 slices is read.
//! `benches/peers/reading.py` sets it beside pydicom.

use std::path::{Path, PathBuf};
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
    for folder in folders {
        let (slices, bytes) = read(&folder);
        let mut turns: Vec<f64> = (0..TURNS)
            .map(|_| {
                let started = Instant::now();
                read(&folder);
                started.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        turns.sort_by(f64::total_cmp);
        let median = turns[TURNS / 2];
        let line = serde_json::json!({
            "folder": folder, "slices": slices, "pixel_bytes": bytes, "ms": median,
            "least_ms": turns[0], "most_ms": turns[TURNS - 1], "gb_per_s": bytes as f64 / median / 1e6,
        });
        println!("{line}");
    }
}

/// Finds, sorts and reads the longest series below a folder; its slices and the bytes of their pixels.
fn read(folder: &Path) -> (usize, usize) {
    let limits = Limits::default();
    let assembly = series::assemble(series::find(&[folder.to_owned()], &limits), &limits);
    let all = assembly.studies.iter().flat_map(|study| &study.series);
    let series = all.max_by_key(|series| series.slices.len()).expect("a series");
    let mut stream = SliceStream::new(series, &limits);
    let (mut hu, mut bytes) = (Vec::new(), 0);
    while let Some(slice) = stream.next_into(&mut hu) {
        slice.expect("a slice that can be read");
        bytes += 2 * hu.len();
        std::hint::black_box(&hu);
    }
    (series.slices.len(), bytes)
}
