//! The spool's key: what studies are called in logs, and that nobody else wrote them, hangs on it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::spool::{SpoolError, at, write_secretly};

const FILE: &str = "KEY";

/// Its file in a spool, there or not.
pub fn file(spool: &Path) -> PathBuf {
    spool.join(FILE)
}

/// Reads it.
///
/// # Errors
/// The folder is no spool, or cannot be read.
pub fn read(spool: &Path) -> Result<[u8; 32], SpoolError> {
    let no_spool = || SpoolError::NotASpool { folder: spool.to_owned() };
    let path = file(spool);
    match fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|_| no_spool()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(no_spool()),
        Err(error) => Err(at(&path)(error)),
    }
}

/// Reads it, or makes it where it is needed first.
///
/// # Errors
/// The disk. What is no key is never replaced: names in older logs hang on it.
pub fn read_or_make(spool: &Path) -> Result<[u8; 32], SpoolError> {
    let path = file(spool);
    if path.exists() {
        return read(spool);
    }
    let mut key = [0; 32];
    rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| at(&path)(error.into()))?;
    write_secretly(&path, &key)?;
    Ok(key)
}

/// What a study is called in the logs of the spool with this key.
pub fn pseudonym(key: &[u8; 32], uid: &str) -> String {
    let digest = Sha256::new().chain_update(key).chain_update(uid).finalize();
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
