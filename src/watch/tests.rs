use super::*;
use crate::dicom::crafted::Crafted;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::cell::RefCell;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

/// Runs as somebody whom the modes of files keep out, also where the tests run as root.
fn without_privileges<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    let run = || {
        set_capabilities(None, none).unwrap();
        run()
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

fn change_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Looks at these seconds with a watcher that has begun already; what was told at each.
fn look_at(watcher: &mut Watcher<'_>, start: Instant, looks: &[u64]) -> Vec<Vec<Event>> {
    let look = |&second: &u64| {
        let events = RefCell::new(Vec::new());
        watcher.look(start + Duration::from_secs(second), &|event| events.borrow_mut().push(event));
        events.into_inner()
    };
    looks.iter().map(look).collect()
}

/// Drops files, looks at these seconds, and says what was told.
fn looked(folder: &Path, drops: &[(u64, &str, Vec<u8>)], looks: &[u64]) -> Vec<Event> {
    let watched = folder.join("in");
    fs::create_dir_all(&watched).unwrap();
    let spool = Spool::open(&folder.join("spool"), 0).unwrap();
    let settings = Settings { folder: watched.clone(), settle_s: 2.0 };
    let limits = Limits::default();
    let mut watcher = Watcher::new(&settings, &spool, &limits);
    let (events, start) = (RefCell::new(Vec::new()), Instant::now());
    for &second in looks {
        for (at, name, bytes) in drops {
            if *at == second {
                fs::write(watched.join(name), bytes).unwrap();
            }
        }
        watcher.look(start + Duration::from_secs(second), &|event| events.borrow_mut().push(event));
    }
    events.into_inner()
}

fn slice() -> Vec<u8> {
    Crafted::slice(2, 2).file()
}

fn another_slice() -> Vec<u8> {
    Crafted::slice(3, 3).text(0x0008, 0x0018, b"UI", "1.2.3.4.2").file()
}

#[test]
fn a_file_is_taken_once_it_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let half = slice()[..200].to_vec();
    let drops = [(0, "a", half), (1, "a", slice())];
    assert_eq!(looked(folder.path(), &drops, &[0, 1, 2]), []);
    let events = looked(folder.path(), &[], &[0, 2, 3]);
    assert!(matches!(&events[..], [Event::Taken { again: false, .. }, Event::Quiet]), "{events:?}");
    assert_eq!(fs::read_dir(folder.path().join("in")).unwrap().count(), 0);
    let events = looked(folder.path(), &[(0, "b", slice())], &[0, 2]);
    assert!(matches!(&events[..], [Event::Taken { again: true, .. }, Event::Quiet]), "{events:?}");
}

#[test]
fn what_is_not_wanted_is_kept_beside_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let drops = [(0, "Doe^Jane.txt", b"no DICOM".to_vec()), (0, "x.part", slice()), (0, ".y", slice())];
    let events = looked(folder.path(), &drops, &[0, 2, 4]);
    let [Event::Refused { study_uid: None, is_ct: true, why }] = &events[..] else { panic!("{events:?}") };
    assert!(!why.contains("Doe"), "{why}");
    let refused = folder.path().join("in/refused");
    assert_eq!(fs::read(refused.join("1-Doe^Jane.txt")).unwrap(), b"no DICOM");
    assert!(!fs::read_to_string(refused.join("1-Doe^Jane.txt.why.txt")).unwrap().is_empty());
    // Unfinished and hidden files stay.
    assert_eq!(fs::read_dir(folder.path().join("in")).unwrap().count(), 3);
}

#[test]
fn what_is_of_another_class_is_known_whole_and_broken() {
    // Ultrasound.
    let other = Crafted::slice(2, 2).text(0x0008, 0x0016, b"UI", "1.2.840.10008.5.1.4.1.1.6.1").file();
    for (dropped, expected) in
        [(&slice()[..slice().len() - 4], true), (&other, false), (&other[..other.len() - 4], false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let events = looked(folder.path(), &[(0, "a", dropped.to_vec())], &[0, 2]);
        let [Event::Refused { study_uid: Some(_), is_ct, .. }, ..] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(*is_ct, expected);
    }
}

#[test]
fn links_lead_nowhere() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let (watched, key) = (folder.path().join("in"), folder.path().join("KEY"));
    fs::create_dir_all(watched.join(REFUSED)).unwrap();
    fs::write(&key, "secret").unwrap();
    // Where the reason would be written.
    symlink(&key, watched.join(REFUSED).join("1-x.why.txt")).unwrap();
    let events = looked(folder.path(), &[(0, "x", b"no DICOM".to_vec())], &[0, 2]);
    assert!(matches!(&events[..], [Event::Refused { .. }, ..]), "{events:?}");
    assert_eq!(fs::read(&key).unwrap(), b"secret");
    assert!(watched.join(REFUSED).join("2-x.why.txt").exists());
    // A folder that was replaced by a link after it was looked into.
    let spool = Spool::open(&folder.path().join("spool"), 0).unwrap();
    let settings = Settings { folder: watched.clone(), settle_s: 0.0 };
    let limits = Limits::default();
    let watcher = Watcher::new(&settings, &spool, &limits);
    let identity = |path: &Path| Identity::of(&path.symlink_metadata().unwrap());
    symlink(folder.path(), watched.join("sub")).unwrap();
    assert!(watcher.remove(&watched.join("sub/KEY"), identity(&key)).is_err() && key.exists());
    fs::create_dir(watched.join("real")).unwrap();
    let real = watched.join("real/y");
    fs::write(&real, "").unwrap();
    assert!(watcher.remove(&real, identity(&real)).unwrap() && !real.exists());
    drop(spool);
    // Nor is a link taken for the folder of what is not wanted.
    fs::remove_dir_all(watched.join(REFUSED)).unwrap();
    symlink(folder.path(), watched.join(REFUSED)).unwrap();
    let events = looked(folder.path(), &[(0, "z", b"no DICOM".to_vec())], &[0, 2]);
    assert!(matches!(&events[..], [Event::Refused { .. }, Event::Troubled { .. }]), "{events:?}");
}

/// A gateway that made a folder for each study, in which nobody but itself may write, had each slice taken again every three
/// seconds for ever: its study was judged again each minute, and none was ever removed.
#[test]
fn a_file_that_cannot_be_removed_is_taken_once() {
    let folder = tempfile::tempdir().unwrap();
    let (watched, spool) = (folder.path().join("in"), Spool::open(&folder.path().join("spool"), 0).unwrap());
    let study = watched.join("study");
    fs::create_dir_all(&study).unwrap();
    fs::write(study.join("a"), slice()).unwrap();
    change_mode(&study, 0o555);
    let settings = Settings { folder: watched.clone(), settle_s: 2.0 };
    let limits = Limits::default();
    let (mut watcher, start) = (Watcher::new(&settings, &spool, &limits), Instant::now());
    let told = without_privileges(|| look_at(&mut watcher, start, &[0, 2, 3, 5, 7, 60, 120]));
    // With its study goes on what is there: nothing waits.
    let [Event::Taken { again: false, .. }, Event::Troubled { why }, Event::Quiet] = &told[1][..] else {
        panic!("{told:?}")
    };
    assert!(why.contains("cannot be removed: Permission denied"), "{why}");
    assert_eq!(told.concat().len(), 3, "{told:?}");
    assert_eq!(probe(&settings), Ok(0));
    assert_eq!(without_privileges(|| probe(&settings)), Ok(1));
    // However many stay, those that came since are seen.
    watcher.most_files = 1;
    fs::write(watched.join("b"), another_slice()).unwrap();
    let told = without_privileges(|| look_at(&mut watcher, start, &[121, 123]));
    assert!(matches!(&told[1][..], [Event::Taken { again: false, .. }, Event::Quiet]), "{told:?}");
    // Another one under its name is no longer the one that was taken.
    change_mode(&study, 0o755);
    fs::write(study.join("c"), slice()).unwrap();
    fs::rename(study.join("c"), study.join("a")).unwrap();
    change_mode(&study, 0o555);
    let told = without_privileges(|| look_at(&mut watcher, start, &[124, 126]));
    assert!(matches!(told[1].first(), Some(Event::Taken { again: true, .. })), "{told:?}");
    // Whoever mends the folder has them removed.
    change_mode(&study, 0o755);
    let told = without_privileges(|| look_at(&mut watcher, start, &[127, 136, 137]));
    assert_eq!((told.concat(), study.join("a").exists(), watcher.seen.len()), (vec![], false, 0));
}

/// A file that was not wanted, and could not be moved, left a text with the reason every three seconds.
#[test]
fn a_file_that_cannot_be_moved_is_refused_once() {
    let folder = tempfile::tempdir().unwrap();
    // With a number before it, no name of a file is so long.
    let name = "x".repeat(255);
    let drops = [(0, name.as_str(), b"no DICOM".to_vec()), (3, "a", slice())];
    let events = looked(folder.path(), &drops, &[0, 2, 3, 5, 7, 30, 60]);
    let [Event::Refused { .. }, Event::Troubled { why }, Event::Taken { .. }, Event::Quiet] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert!(!why.contains("xx"), "{why}");
    let watched = folder.path().join("in");
    assert!(watched.join(&name).exists());
    assert_eq!(fs::read_dir(watched.join(REFUSED)).unwrap().count(), 0);
}

/// One file that could not be read had every study wait for `quiet_s`.
#[test]
fn a_file_that_cannot_be_read_keeps_no_study_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let watched = folder.path().join("in");
    fs::create_dir_all(&watched).unwrap();
    fs::write(watched.join("shut"), slice()).unwrap();
    change_mode(&watched.join("shut"), 0);
    let drops = [(0, "a", slice())];
    let events = without_privileges(|| looked(folder.path(), &drops, &[0, 2, 4, 30]));
    let [Event::Taken { .. }, Event::Troubled { why }, Event::Quiet] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(why, "cannot be read: Permission denied (os error 13)");
}

/// A study in a folder that could not be read was ignored without a word, and so was one that lay too deep.
#[test]
fn a_folder_that_cannot_be_looked_into_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let watched = folder.path().join("in");
    let deep = watched.join("1/2/3/4/5/6/7/Doe^Jane");
    fs::create_dir_all(deep.join("9")).unwrap();
    fs::write(deep.join("a"), slice()).unwrap();
    let (shut, listed) = (watched.join("Roe^Richard"), watched.join("Poe^Pat"));
    for (path, mode) in [(&shut, 0), (&listed, 0o444)] {
        fs::create_dir(path).unwrap();
        fs::write(path.join("b"), slice()).unwrap();
        change_mode(path, mode);
    }
    let settings = Settings { folder: watched.clone(), settle_s: 2.0 };
    let (events, found) =
        without_privileges(|| (looked(folder.path(), &[], &[0, 2, 4, 6]), probe(&settings)));
    let whys = [
        "a folder in it cannot be looked into: Permission denied (os error 13)",
        "folders that lie more than 8 deep are not looked into",
    ];
    let troubled = whys.map(|why| Event::Troubled { why: why.to_owned() });
    assert_eq!(events[..2], troubled);
    assert!(matches!(&events[2..], [Event::Taken { .. }, Event::Quiet]), "{events:?}");
    assert_eq!(found, Err(whys.join("; ")));
    change_mode(&listed, 0o755);
    change_mode(&shut, 0o755);
}

/// Below `keep_free_mb`, all that waited was read again each second, and a line told each time how many bytes were free.
#[test]
fn without_room_nothing_is_read_and_that_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let watched = folder.path().join("in");
    fs::create_dir(&watched).unwrap();
    fs::write(watched.join("a"), slice()).unwrap();
    fs::write(watched.join("b"), "what would be refused if it were read").unwrap();
    let full = Spool::open(&folder.path().join("full"), u64::MAX).unwrap();
    let roomy = Spool::open(&folder.path().join("roomy"), 0).unwrap();
    let settings = Settings { folder: watched, settle_s: 2.0 };
    let limits = Limits::default();
    let (mut watcher, start) = (Watcher::new(&settings, &full, &limits), Instant::now());
    let told = look_at(&mut watcher, start, &[0, 2, 3, 4, 5]);
    assert!(matches!(&told.concat()[..], [Event::Troubled { .. }]), "{told:?}");
    watcher.spool = &roomy;
    let told = look_at(&mut watcher, start, &[6, 7]).concat();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().any(|event| matches!(event, Event::Taken { .. })), "{told:?}");
    assert_eq!(told.last(), Some(&Event::Quiet));
}

/// A gateway that uses names again wrote the next slice while the one before was being taken: it was removed unseen.
#[test]
fn a_file_that_is_replaced_while_it_is_taken_is_taken_too() {
    for first in [slice(), b"no DICOM".to_vec()] {
        let folder = tempfile::tempdir().unwrap();
        let (watched, next) = (folder.path().join("in"), folder.path().join("next"));
        fs::create_dir(&watched).unwrap();
        let name = watched.join("IM0001");
        fs::write(&name, first).unwrap();
        fs::write(&next, another_slice()).unwrap();
        let spool = Spool::open(&folder.path().join("spool"), 0).unwrap();
        let settings = Settings { folder: watched.clone(), settle_s: 2.0 };
        let limits = Limits::default();
        let (mut watcher, start) = (Watcher::new(&settings, &spool, &limits), Instant::now());
        let events = RefCell::new(Vec::new());
        for second in [0, 2, 3, 5] {
            watcher.look(start + Duration::from_secs(second), &|event| {
                // Only the first time is there another one.
                let _ = fs::rename(&next, &name);
                events.borrow_mut().push(event);
            });
        }
        let events = events.into_inner();
        assert!(matches!(&events[1..], [Event::Taken { again: false, .. }, Event::Quiet]), "{events:?}");
        assert_eq!(fs::read_dir(&watched).unwrap().count(), 0);
    }
}

#[test]
fn a_folder_that_is_not_there_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&folder.path().join("spool"), 0).unwrap();
    let settings = Settings { folder: folder.path().join("none"), settle_s: 0.0 };
    let limits = Limits::default();
    let mut watcher = Watcher::new(&settings, &spool, &limits);
    let events = RefCell::new(Vec::new());
    for _ in 0..3 {
        watcher.look(Instant::now(), &|event| events.borrow_mut().push(event));
    }
    assert!(matches!(&events.into_inner()[..], [Event::Troubled { .. }]));
}
