//! Files that are dropped into a watched folder are judged as those that are sent.

mod service;

use service::program::{BLEED, files, phantom};
use service::{Service, configure};

#[test]
fn a_study_that_is_dropped_is_judged_and_the_folder_is_empty_then() {
    let folder = tempfile::tempdir().unwrap();
    phantom(&folder.path().join("bleed"), BLEED);
    let dropped = folder.path().join("dropped");
    std::fs::create_dir_all(dropped.join("study")).unwrap();
    let watch = format!("[study]\nsettled_s = 0\n[watch]\nfolder = {dropped:?}\nsettle_s = 0.1\n");
    let service = Service::start(&configure(folder.path(), &watch));
    std::fs::write(dropped.join("readme.txt"), "no DICOM").unwrap();
    for file in files(&folder.path().join("bleed")) {
        std::fs::copy(&file, dropped.join("study").join(file.file_name().unwrap())).unwrap();
    }
    assert!(service.wait_for("not_taken")["why"].as_str().is_some());
    assert_eq!(service.wait_for("verdict")["outcome"], "alert");
    assert_eq!(files(&dropped.join("study")).len(), 0);
    assert_eq!(files(&dropped.join("refused")).len(), 2);
}
