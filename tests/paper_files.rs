//! The paper's files (P7, P8): a grid picture a slice, every patch under `split_pic`, and the table of labelled ones.

mod program;

use program::{CLEAN, files, phantom, run};
use tempfile::tempdir;

#[test]
fn a_series_becomes_grid_pictures_and_patches() {
    let folder = tempdir().unwrap();
    let (series, out) = (folder.path().join("series"), folder.path().join("out"));
    phantom(&series, CLEAN);
    for (size, patches) in [("16", 1024), ("32", 256)] {
        let arguments = [
            "patches",
            series.to_str().unwrap(),
            "-o",
            out.to_str().unwrap(),
            "--size",
            size,
            "--prefix",
            "P7_",
        ];
        let (code, said, complaint) = run(&arguments);
        assert_eq!(code, 0, "{complaint}");
        assert!(said.contains(&format!("{} patches", 9 * patches)), "{said}");
        let grid = image::open(out.join("P7_0005_grid.png")).unwrap();
        assert_eq!((grid.width(), grid.height()), (512, 512));
        let patch = image::open(out.join("split_pic/P7_0005_256_224.png")).unwrap().to_luma8();
        let size: u32 = size.parse().unwrap();
        assert_eq!(patch.dimensions(), (size, size));
        assert!(patch.pixels().any(|pixel| pixel.0[0] > 0), "a patch in the middle of a head is not black");
        std::fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn labelled_patches_are_counted_by_class() {
    let folder = tempdir().unwrap();
    let (series, out) = (folder.path().join("series"), folder.path().join("out"));
    phantom(&series, CLEAN);
    run(&[
        "patches",
        series.to_str().unwrap(),
        "-o",
        out.to_str().unwrap(),
        "--size",
        "32",
        "--prefix",
        "P7_",
    ]);
    let patches = out.join("split_pic");
    // What the grid tool does with a patch that somebody is certain of: it saves it again with its letter.
    for (i, letter) in ["A", "A", "B", "C", "D", "D", "D"].iter().enumerate() {
        let file = &files(&patches)[i * 100];
        let labelled = file.to_str().unwrap().replace(".png", &format!(".{letter}.png"));
        std::fs::copy(file, labelled).unwrap();
    }
    let (code, out, _) = run(&["stats", patches.to_str().unwrap(), "--json"]);
    assert_eq!(code, 0);
    let table: serde_json::Value = serde_json::from_str(&out).unwrap();
    let all = &table["all"];
    assert_eq!(
        [&all["background"], &all["parenchyma"], &all["hematoma"], &all["skull"], &all["total"]],
        [2, 1, 1, 3, 9 * 256]
    );
    let (_, text, _) = run(&["stats", patches.to_str().unwrap()]);
    assert!(text.contains("hematoma") && text.contains("2304"), "{text}");
}

#[test]
fn what_cannot_be_cut_or_named_is_an_error() {
    let folder = tempdir().unwrap();
    let (series, out) = (folder.path().join("series"), folder.path().join("out"));
    let out = out.to_str().unwrap();
    phantom(&series, CLEAN);
    let series = series.to_str().unwrap();
    assert_eq!(run(&["patches", series, "-o", out, "--size", "17"]).0, 2);
    assert_eq!(run(&["patches", series, "-o", out, "--prefix", "a/b"]).0, 2);
    let empty = tempdir().unwrap();
    assert_eq!(run(&["patches", empty.path().to_str().unwrap(), "-o", out]).0, 3);
    assert_eq!(run(&["stats", "/nowhere"]).0, 4);
}
