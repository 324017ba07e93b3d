use super::*;

fn keep(spool: &Spool, study: &str, instance: &str, bytes: &[u8]) -> Kept {
    let mut draft = spool.draft().unwrap();
    draft.write_all(bytes).unwrap();
    draft.keep(study, instance).unwrap()
}

#[test]
fn objects_are_kept_once_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), 0).unwrap();
    let named = folder.path().join("studies/1.2/objects/1.2.3.dcm");
    assert_eq!(keep(&spool, "1.2", "1.2.3", b"pixels"), Kept::New(named.clone()));
    assert_eq!(keep(&spool, "1.2", "1.2.3", b"pixels"), Kept::Again(named.clone()));
    assert_eq!(keep(&spool, "1.2", "1.2.3", b"others"), Kept::Differs(named.clone()));
    assert_eq!(keep(&spool, "1.2", "1.2.3", b"longer ones"), Kept::Differs(named.clone()));
    assert_eq!(fs::read(&named).unwrap(), b"pixels");
    assert_eq!(spool.studies().unwrap(), ["1.2"]);
    assert_eq!(fs::read_dir(folder.path().join("incoming")).unwrap().count(), 0);
}

#[test]
fn a_study_that_is_being_sent_again_is_not_taken_out() {
    // Slices 1 to 50 of an old study were there, and acknowledged; then it was removed, and slices from 51 on came as a study.
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), 0).unwrap();
    let month = Duration::from_secs(30 * 24 * 3600);
    keep(&spool, "1.2", "1.2.3", b"pixels");
    assert!(!spool.purge("1.2", 0, month).unwrap(), "another number of objects");
    keep(&spool, "1.2", "1.2.3", b"pixels");
    assert!(!spool.purge("1.2", 1, month).unwrap());
    assert!(spool.purge("1.2", 1, Duration::ZERO).unwrap());
    spool.finish_purge("1.2").unwrap();
    // A study like any other when it comes anew.
    keep(&spool, "1.2", "1.2.3", b"pixels");
    assert!(spool.purge("1.2", 1, month).unwrap());
}

#[test]
fn what_was_not_kept_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), 0).unwrap();
    let mut draft = spool.draft().unwrap();
    draft.write_all(b"half").unwrap();
    drop(draft);
    let mut draft = spool.draft().unwrap();
    draft.write_all(b"half of another").unwrap();
    // As a crash does: nothing is tidied up.
    std::mem::forget(draft);
    drop(spool);
    assert_eq!(fs::read_dir(folder.path().join("incoming")).unwrap().count(), 1);
    let spool = Spool::open(folder.path(), 0).unwrap();
    assert_eq!(fs::read_dir(folder.path().join("incoming")).unwrap().count(), 0);
    assert!(spool.studies().unwrap().is_empty());
}

#[test]
fn two_processes_cannot_hold_one_spool() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), 0).unwrap();
    assert!(matches!(Spool::open(folder.path(), 0), Err(SpoolError::Held { .. })));
    drop(spool);
    Spool::open(folder.path(), 0).unwrap();
}

#[test]
fn a_disk_of_its_own_becomes_a_spool() {
    let folder = tempfile::tempdir().unwrap();
    // As mkfs leaves it.
    fs::create_dir(folder.path().join("lost+found")).unwrap();
    drop(Spool::open(folder.path(), 0).unwrap());
    drop(Spool::open(folder.path(), 0).unwrap());
    assert!(folder.path().join("lost+found").exists());
}

#[test]
fn other_folders_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "").unwrap();
    assert!(matches!(Spool::open(folder.path(), 0), Err(SpoolError::NotASpool { .. })));
    fs::remove_file(folder.path().join("thesis.txt")).unwrap();
    fs::write(folder.path().join("VERSION"), "hemapatch spool 99\n").unwrap();
    assert!(matches!(Spool::open(folder.path(), 0), Err(SpoolError::NotASpool { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made");
}

#[test]
fn a_full_disk_takes_nothing_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), u64::MAX).unwrap();
    let error = spool.draft().unwrap_err();
    assert!(error.is_full(), "{error}");
    // Told each time, it would be news each time.
    let SpoolError::Full { free, reserve } = error else { panic!("{error}") };
    assert_eq!(error.reason(), SpoolError::Full { free: free / 2, reserve }.reason());
    spool.reserve_bytes = 0;
    keep(&spool, "1.2", "1.2.3", b"pixels");
}

#[test]
fn what_does_not_belong_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), 0).unwrap();
    keep(&spool, "1.2", "1.2.3", b"pixels");
    for name in ["notes.txt", "1.2.."] {
        fs::write(folder.path().join("studies").join(name), name).unwrap();
    }
    assert_eq!(spool.studies().unwrap(), ["1.2"]);
    assert_eq!(fs::read(folder.path().join("aside/1-notes.txt")).unwrap(), b"notes.txt");
    assert_eq!(fs::read(folder.path().join("aside/1-1.2..")).unwrap(), b"1.2..");
    assert_eq!(spool.take_strays(), ["studies", "studies"]);
    drop(spool);
    // Nor does it keep a service from its start.
    fs::create_dir(folder.path().join("incoming/folder")).unwrap();
    fs::write(folder.path().join("purging/1.2.4"), "a file").unwrap();
    let spool = Spool::open(folder.path(), 0).unwrap();
    assert_eq!(spool.purging().unwrap(), [""; 0]);
    assert_eq!(spool.take_strays(), ["incoming", "purging"]);
    assert!(folder.path().join("aside/1-folder").is_dir() && folder.path().join("aside/1-1.2.4").is_file());
}

#[test]
fn many_threads_keep_one_object_once() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), 0).unwrap();
    let kept: Vec<Kept> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| keep(&spool, "1.2", "1.2.3", b"pixels"))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(kept.iter().filter(|kept| matches!(kept, Kept::New(_))).count(), 1);
    assert!(!kept.iter().any(|kept| matches!(kept, Kept::Differs(_))));
}

#[test]
#[should_panic = "a UID that was not checked"]
fn a_uid_is_no_way_out_of_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), 0).unwrap();
    keep(&spool, "..", "1.2.3", b"pixels");
}

#[test]
fn whoever_looks_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, missing) = (folder.path().join("spool"), folder.path().join("missing"));
    assert_eq!(look(&missing).unwrap(), Found::Missing);
    assert!(free(&missing).unwrap() > 0 && foreign(&missing).is_ok() && !missing.exists());
    fs::create_dir(&path).unwrap();
    assert_eq!(look(&path).unwrap(), Found::Empty);
    time_to_keep(&path).unwrap();
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    // A crash may leave the trial.
    fs::write(path.join(TRIAL), "").unwrap();
    assert_eq!(look(&path).unwrap(), Found::Empty);
    let spool = Spool::open(&path, 0).unwrap();
    assert_eq!(look(&path).unwrap(), Found::Spool { is_held: true });
    time_to_keep(&path).unwrap();
    assert!(!path.join(TRIAL).exists());
    drop(spool);
    assert_eq!(look(&path).unwrap(), Found::Spool { is_held: false });
    fs::write(folder.path().join("thesis.txt"), "").unwrap();
    assert!(matches!(look(folder.path()), Err(SpoolError::NotASpool { .. })));
}

#[test]
fn a_secret_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("KEY");
    // As a crash left it.
    fs::write(folder.path().join("KEY.new"), "half").unwrap();
    write_secretly(&path, b"secret").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"secret");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
