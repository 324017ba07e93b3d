//! Files that are dropped into a watched folder are judged as those that are sent.

mod service;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use service::program::{BLEED, CLEAN, files, phantom};
use service::{Service, configure};

/// A service whom the modes of files keep out, also where the tests run as root.
fn start_without_privileges(config: &Path) -> Service {
    let start = || {
        for capability in [CapabilitySet::DAC_OVERRIDE, CapabilitySet::DAC_READ_SEARCH] {
            // Who may not give it up has none.
            let _ = remove_capability_from_bounding_set(capability);
        }
        Service::start(config)
    };
    std::thread::scope(|scope| scope.spawn(start).join().unwrap())
}

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

/// A gateway that made a folder for each study, in which nobody but itself may write, had each slice taken again every three
/// seconds, and the study judged again each minute, for ever.
#[test]
fn a_study_that_cannot_be_removed_is_judged_once() {
    let folder = tempfile::tempdir().unwrap();
    let dropped = folder.path().join("dropped");
    phantom(&dropped.join("Doe^Jane"), BLEED);
    phantom(&folder.path().join("next"), CLEAN);
    let slices = files(&dropped.join("Doe^Jane")).len();
    fs::set_permissions(dropped.join("Doe^Jane"), Permissions::from_mode(0o555)).unwrap();
    // After so long, it is judged because nothing waits any more.
    let study = "[study]\nsettled_s = 0\nquiet_s = 86400\n";
    let watch = format!("{study}[watch]\nfolder = {dropped:?}\nsettle_s = 0.1\n");
    let service = start_without_privileges(&configure(folder.path(), &watch));
    let first = service.wait_for("verdict")["study"].clone();
    // As long as another one takes, nothing more comes of it.
    fs::rename(folder.path().join("next"), dropped.join("next")).unwrap();
    assert_ne!(service.wait_for("verdict")["study"], first);
    assert_eq!(files(&dropped.join("Doe^Jane")).len(), slices);
    assert_eq!(files(&dropped.join("next")).len(), 0);
    let journal = service.journal();
    let count = |event: &str| journal.iter().filter(|line| line["event"] == event).count();
    assert_eq!(
        (count("stored"), count("verdict"), count("watch_troubled")),
        (2 * slices, 2, 1),
        "{journal:?}"
    );
    assert!(!format!("{journal:?}").contains("Doe"), "{journal:?}");
    fs::set_permissions(dropped.join("Doe^Jane"), Permissions::from_mode(0o755)).unwrap();
}
