//! The same seed gives the same bytes, on every platform and with every number of threads: fixtures/phantom.sha256.

use hemapatch::model::sha256_hex;
use hemapatch::phantom::{Hematoma, Marker, Side, Site, Spec, write_series};
use std::fmt::Write;
use std::path::Path;

#[test]
fn files_have_the_recorded_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let spec = Spec {
        slices: 4,
        rows_columns: 64,
        pixel_mm: 3.6,
        spacing_mm: 12.0,
        tilt_deg: 7.5,
        rotation_deg: -4.0,
        off_center_mm: [6.0, -3.0],
        hematoma: Some(Hematoma {
            site: Site::Thalamus,
            side: Side::Right,
            volume_ml: 14.0,
            markers: vec![Marker::FluidLevel, Marker::IrregularMargin],
        }),
        ..Spec::default()
    };
    let written = write_series(&spec, folder.path(), &mut |_, _| {}).unwrap();
    let mut hashes = String::new();
    for file in &written.files {
        let name = file.file_name().unwrap().to_str().unwrap();
        writeln!(hashes, "{}  {name}", sha256_hex(&std::fs::read(file).unwrap())).unwrap();
    }
    let recorded = Path::new("fixtures/phantom.sha256");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(recorded, &hashes).unwrap();
    }
    assert_eq!(hashes, std::fs::read_to_string(recorded).unwrap());
}
