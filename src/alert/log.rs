//! Notices as lines at the end of a file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes at the end of a file in which a line is looked for that may be there already.
const LOOKED_AT: u64 = 4 << 20;

/// Adds a line and makes it durable. A `doubtful` one is added only where it is not there: a crash may have come between
/// its writing and its being noted.
pub fn append(path: &Path, line: &str, doubtful: bool) -> io::Result<()> {
    let mut file = File::options().create(true).read(true).append(true).open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(if doubtful { LOOKED_AT } else { 1 });
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    if !(doubtful && end.split(|&byte| byte == b'\n').any(|known| known == line.as_bytes())) {
        // A line that a power cut left unfinished stays one of its own.
        let torn = end.last().is_some_and(|&byte| byte != b'\n');
        let text = format!("{}{line}\n", if torn { "\n" } else { "" });
        file.write_all(text.as_bytes())?;
    }
    file.sync_all()?;
    // A new file has a name only once its folder is durable; a crash may have come before that.
    match path.parent() {
        Some(folder) if length == 0 || doubtful => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}
