//! Associations, from the request to the end, into a spool.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hemapatch::dicom::Object;
use hemapatch::dimse::{AeTitle, Command, Unit, Wire, field};
use hemapatch::receive::{self, Event, Peer, Settings};
use hemapatch::spool::Spool;
use tempfile::TempDir;

use crate::choices::Choices;
use crate::connection::Connection;
use crate::conversation::{CALLING, UNIT_BYTES, conversation};
use crate::limits;

/// Nothing waits here: what is not there has ended.
const TIME: Duration = Duration::from_secs(60);

thread_local! {
    static SPOOL: (TempDir, Spool) = {
        let folder = super::series::memory_folder();
        let spool = Spool::open(&folder.path().join("spool"), 0).expect("a spool in a new folder");
        (folder, spool)
    };
}

/// Any bytes, or units that are nearly right, where the first byte says so: the association ends; the spool has what was
/// kept and nothing else, and all of it was answered with success, but where the peer was gone.
pub fn converse(input: &[u8]) {
    let mut choices = Choices::new(input);
    let (first, ends) = (choices.byte(), choices.byte());
    let made;
    let said = if first % 4 == 3 {
        choices.rest()
    } else {
        made = conversation(&mut choices);
        &made
    };
    let is_deaf = ends >= 0xF0;
    SPOOL.with(|(folder, spool)| {
        let folder = folder.path().join("spool");
        let mut heard = Vec::new();
        let mut connection = Connection::new(said, &mut heard);
        connection.end =
            [None, None, Some(ErrorKind::TimedOut), Some(ErrorKind::ConnectionReset)][usize::from(ends % 4)];
        connection.at_once = [usize::MAX, 1, 700, 3][usize::from(ends / 4 % 4)];
        if is_deaf {
            connection.hears = usize::from(ends % 16) * 300;
        }
        check(connection, &folder, spool);
        let (acknowledged, kept) = (acknowledged(&heard), take_out(&folder, spool));
        assert!(acknowledged.is_subset(&kept), "lost: {acknowledged:?} of {kept:?}");
        assert!(is_deaf || acknowledged == kept, "kept, but not so answered: {kept:?}, {acknowledged:?}");
    });
}

fn check(connection: Connection<'_>, folder: &Path, spool: &Spool) {
    let settings = Settings {
        ae_title: AeTitle::default(),
        peers: vec![Peer {
            ae_title: AeTitle::try_from(CALLING.to_owned()).expect("a title"),
            address: "127.0.0.1".parse().expect("an address"),
        }],
        tls: None,
        associations: 1,
        associations_per_second: 1,
        pdu_bytes: UNIT_BYTES,
        // Less than some objects have.
        object_bytes: 1500,
        idle: TIME,
        patience: TIME,
        object_time: TIME,
        reports: true,
    };
    let new = Cell::new(0);
    let tell = |event: Event| match event {
        Event::Stored { again, .. } => new.set(new.get() + usize::from(!again)),
        Event::Refused { why, .. } => super::object::one_line(&why),
        Event::Reported(report) => assert!(!report.transaction_uid.is_empty()),
    };
    receive::converse(connection, IpAddr::V4(Ipv4Addr::LOCALHOST), &settings, spool, &limits(), &tell);
    let drafts = fs::read_dir(folder.join("incoming")).expect("a folder").count();
    assert_eq!(drafts, 0, "a draft is left");
    let objects: usize =
        spool.studies().expect("a spool").iter().map(|study| objects(spool, study).len()).sum();
    assert_eq!(objects, new.get(), "told of other objects than are there");
    assert_eq!(
        fs::read_dir(folder.join("aside")).expect("a folder").count(),
        0,
        "something odd in the spool"
    );
}

/// Instances that were answered with success. Whatever is sent is an answer to be understood.
fn acknowledged(heard: &[u8]) -> BTreeSet<String> {
    let mut acknowledged = BTreeSet::new();
    let mut nothing = Vec::new();
    let mut wire = Wire::new(Connection::new(heard, &mut nothing), 1 << 20);
    while let Ok(unit) = wire.read(TIME, TIME) {
        let Unit::Data(values) = unit else { continue };
        for value in values {
            let answer = Command::read(value.data).expect("an answer can be read");
            assert!(value.is_command && value.is_last && answer.is_answer() && !answer.has_data_set);
            if answer.field == field::C_STORE_RQ | field::RESPONSE && answer.status == Some(0) {
                acknowledged.insert(answer.sop_instance_uid);
            }
        }
    }
    acknowledged
}

fn objects(spool: &Spool, study: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(spool.study(study).join("objects")).expect("a study has objects");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// The instances in the spool, each of which is what its name says; the next run finds the spool empty.
fn take_out(folder: &Path, spool: &Spool) -> BTreeSet<String> {
    let mut kept = BTreeSet::new();
    for study in spool.studies().expect("a spool") {
        let objects = objects(spool, &study);
        for path in &objects {
            let bytes = fs::read(path).expect("an object");
            let object = Object::read(&bytes, &limits()).expect("what was kept can be read");
            let header = &object.slices[0];
            assert_eq!(header.study_uid, study);
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            assert_eq!(header.sop_instance_uid, name);
            kept.insert(name);
        }
        assert!(spool.purge(&study, objects.len(), Duration::ZERO).expect("a study that is there"));
        spool.finish_purge(&study).expect("a study that was taken out");
    }
    assert_eq!(fs::read_dir(folder.join("purging")).expect("a folder").count(), 0);
    kept
}
