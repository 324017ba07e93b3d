//! DCMTK's storescp, an archive that keeps whatever it is sent and knows no storage commitment.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::program::files;
use super::{Digest, slice};

/// A running archive, which is ended when the value goes; what it stored stays in its folder.
pub struct StoreScp {
    child: Child,
    folder: PathBuf,
}

impl StoreScp {
    /// Starts it on a port, with options of its own. Each object that it is sent is a file, also one that it has already.
    pub fn start(folder: &Path, port: u16, options: &[&str]) -> StoreScp {
        fs::create_dir_all(folder).unwrap();
        let mut command = Command::new("storescp");
        command.args(["--bit-preserving", "--unique-filenames", "-od"]).arg(folder).args(options);
        let child = command.arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        StoreScp { child: child.expect("storescp, which `make setup` installs"), folder: folder.to_owned() }
    }

    /// The different data sets that came, by their UID: of each, one, if nobody sends two objects under one UID.
    pub fn objects(&self) -> BTreeMap<String, BTreeSet<Digest>> {
        let mut objects: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
        for path in files(&self.folder) {
            let object = slice(&path);
            objects.entry(object.instance_uid.clone()).or_default().insert(object.digest());
        }
        objects
    }
}

impl Drop for StoreScp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
