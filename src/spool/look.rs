//! What can be seen of a spool by whoever does not hold it: nothing is changed, and a service that holds it goes on.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{OWN, SpoolError, TRIAL, VERSION, at, free_bytes, sync_folder};

/// Bytes of the file that is written for a trial: about a slice.
const TRIAL_BYTES: usize = 512 << 10;
/// Trials, of which the median counts: another program may be writing just then.
const TRIALS: usize = 5;

/// File systems that are not a local disk, by what `statfs` calls them.
///
/// # Source
/// linux/magic.h; fs/smb/common/smb2pdu.h and fs/smb/client/cifsfs.h (SMB).
const FOREIGN: [(u32, &str); 7] = [
    (0x6969, "NFS, over a network: what is told to be kept hangs on another machine"),
    (0xFE53_4D42, "SMB, over a network: what is told to be kept hangs on another machine"),
    (0xFF53_4D42, "CIFS, over a network: what is told to be kept hangs on another machine"),
    (0x517B, "SMB, over a network: what is told to be kept hangs on another machine"),
    (0x6573_5546, "FUSE: whether what is told to be kept is kept hangs on the program behind it"),
    (0x0102_1994, "tmpfs, in memory: a power cut loses all of it"),
    (0x8584_58F6, "ramfs, in memory: a power cut loses all of it"),
];

/// What a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is not there; the first start makes it.
    Missing,
    /// There is nothing in it, or what a crash at its first start left.
    Empty,
    /// A spool.
    Spool {
        /// Whether a process holds it.
        is_held: bool,
    },
}

/// Says what a folder is.
///
/// # Errors
/// It is something else; it cannot be read.
pub fn look(folder: &Path) -> Result<Found, SpoolError> {
    let no_spool = || SpoolError::NotASpool { folder: folder.to_owned() };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Missing),
        entries => entries.map_err(at(folder))?,
    };
    let version = folder.join("VERSION");
    match fs::read_to_string(&version) {
        Ok(text) if text == VERSION => return Ok(Found::Spool { is_held: is_held(folder)? }),
        Ok(_) => return Err(no_spool()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(at(&version)(error)),
    }
    for entry in entries {
        let name = entry.map_err(at(folder))?.file_name();
        if !OWN.iter().any(|own| name == *own) {
            return Err(no_spool());
        }
    }
    Ok(Found::Empty)
}

/// Whether a process holds a spool.
fn is_held(folder: &Path) -> Result<bool, SpoolError> {
    let path = folder.join("LOCK");
    let lock = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        lock => lock.map_err(at(&path))?,
    };
    // Let go of at once, and shared: a service that starts just now waits longer than that, and others who look do not
    // take each other for one.
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(SpoolError::Io { path, source }),
    }
}

/// What is free on the disk that a folder is on, or would be made on.
///
/// # Errors
/// The disk.
pub fn free(folder: &Path) -> Result<u64, SpoolError> {
    let there = nearest(folder);
    free_bytes(there).map_err(at(there))
}

/// What speaks against the disk that a folder is on, or would be made on; None where it is a local one.
///
/// # Errors
/// The disk.
pub fn foreign(folder: &Path) -> Result<Option<&'static str>, SpoolError> {
    let there = nearest(folder);
    let disk = rustix::fs::statfs(there).map_err(|error| at(there)(error.into()))?;
    // Magic numbers have 32 bits, in a field that is wider, and signed, on some systems.
    let kind = disk.f_type as u32;
    Ok(FOREIGN.iter().find(|(magic, _)| *magic == kind).map(|(_, what)| *what))
}

/// The folder, or the first above it that is there.
pub fn nearest(folder: &Path) -> &Path {
    folder.ancestors().find(|folder| folder.exists()).unwrap_or(folder)
}

/// The time that it takes to keep an object: until a file, and its name in the folder, are durable. It is removed again.
///
/// # Errors
/// The disk or its rights.
pub fn time_to_keep(folder: &Path) -> Result<Duration, SpoolError> {
    let path = folder.join(TRIAL);
    let trial = || {
        let since = Instant::now();
        let mut file = File::create(&path).map_err(at(&path))?;
        file.write_all(&[0x5A; TRIAL_BYTES]).and_then(|()| file.sync_all()).map_err(at(&path))?;
        sync_folder(folder)?;
        Ok(since.elapsed())
    };
    let mut times: Vec<Duration> = Vec::with_capacity(TRIALS);
    let mut ended = Ok(());
    for _ in 0..TRIALS {
        match trial() {
            Ok(time) => times.push(time),
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
        // One that cannot be removed is seen by the next trial; somebody else's trial may have removed it.
        let _ = fs::remove_file(&path);
    }
    let _ = fs::remove_file(&path);
    ended?;
    times.sort();
    Ok(times[TRIALS / 2])
}
