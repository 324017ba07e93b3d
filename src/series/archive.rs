//! The members of a ZIP archive, found without inflating them.
//! Reading a member is left to `source`; archives inside of archives are not opened.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use zip::{CompressionMethod, ZipArchive};

use super::source::{Archive, Member, Source, SourceError, member_place};
use crate::limits::Limits;
use crate::mapped::Mapped;

/// What every archive with at least one member begins with.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";

/// What every entry of an archive's directory begins with.
const ENTRY_MAGIC: &[u8; 4] = b"PK\x01\x02";

/// A member, opened or refused.
pub(super) struct Entry {
    /// `archive.zip!member`.
    pub place: String,
    /// Its name in the archive.
    pub name: String,
    /// Where it is, and its first bytes.
    pub opened: Result<(Source, Vec<u8>), SourceError>,
}

/// Lists the members of an archive in the order of their names, each with its first `beginning` bytes.
///
/// Folders are left out. A member that cannot be read does not keep the others from being read, but an archive
/// that was made to take all day is refused whole: members that share bytes, or that inflate to more than
/// [`Limits::archive_inflated_bytes`] together.
pub(super) fn members(path: &Path, beginning: usize, limits: &Limits) -> Result<Vec<Entry>, SourceError> {
    let archive = Arc::new(Archive { path: path.to_owned(), bytes: Mapped::open(path, limits)? });
    // The `zip` crate reads the whole directory into memory, so its size is bounded here first: the crate
    // cannot find more entries than there are entry signatures.
    if has_more_entries(&archive.bytes, limits.entries as usize) {
        return Err(SourceError::Limit {
            what: "the number of members of the ZIP archive",
            limit: u64::from(limits.entries),
        });
    }
    let bytes: &[u8] = &archive.bytes;
    let mut listing = ZipArchive::new(Cursor::new(bytes))
        .map_err(|_| SourceError::Archive("its directory cannot be read"))?;
    if listing.has_duplicate_names() {
        return Err(SourceError::Archive("two members have the same name"));
    }
    let mut located = Vec::with_capacity(listing.len());
    for index in 0..listing.len() {
        let Ok(file) = listing.by_index_raw(index) else {
            let misplaced = SourceError::Archive("a member is not where it should be");
            located.push((format!("member {index}"), Err(misplaced)));
            continue;
        };
        if !file.is_dir() {
            let name = String::from_utf8_lossy(file.name_raw()).into_owned();
            let member = locate(&name, &file, archive.bytes.len());
            located.push((name, member));
        }
    }
    let readable = || located.iter().filter_map(|(_, member)| member.as_ref().ok());
    refuse_overlaps(readable())?;
    refuse_bombs(readable(), limits)?;
    located.sort_by(|a, b| a.0.cmp(&b.0));
    let open = |member: Member| {
        let beginning = member.beginning(&archive, beginning)?;
        Ok((Source::member(&archive, member), beginning))
    };
    let entry = |(name, member): (String, Result<Member, SourceError>)| {
        let place = member_place(path, &name);
        Entry { place, name, opened: member.and_then(open) }
    };
    Ok(located.into_iter().map(entry).collect())
}

/// True where the bytes hold more than `most` signatures of directory entries.
fn has_more_entries(bytes: &[u8], most: usize) -> bool {
    const CHUNK: usize = 4096;
    let [p, k, ..] = *ENTRY_MAGIC;
    let mut signatures = 0;
    for start in (0..bytes.len()).step_by(CHUNK) {
        // Chunks overlap by what a signature needs behind its first byte.
        let chunk = &bytes[start..bytes.len().min(start + CHUNK + ENTRY_MAGIC.len() - 1)];
        // Pixels rarely hold the first two letters, and looking for these alone can be vectorised.
        let pairs = chunk.iter().zip(&chunk[1..]);
        if pairs.fold(false, |found, (&first, &second)| found | ((first == p) & (second == k))) {
            signatures += chunk.windows(ENTRY_MAGIC.len()).filter(|window| *window == ENTRY_MAGIC).count();
        }
        if signatures > most {
            return true;
        }
    }
    false
}

fn locate<R: std::io::Read>(
    name: &str,
    file: &zip::read::ZipFile<'_, R>,
    archive_bytes: usize,
) -> Result<Member, SourceError> {
    if file.encrypted() {
        return Err(SourceError::ArchiveUnsupported("a member is encrypted"));
    }
    let deflated = match file.compression() {
        CompressionMethod::Stored => false,
        CompressionMethod::Deflated => true,
        _ => {
            return Err(SourceError::ArchiveUnsupported("a member is neither stored nor deflated"));
        }
    };
    let outside = || SourceError::Archive("a member ends behind the archive");
    let start = file.data_start().and_then(|start| usize::try_from(start).ok()).ok_or_else(outside)?;
    let end = usize::try_from(file.compressed_size())
        .ok()
        .and_then(|length| start.checked_add(length))
        .filter(|&end| end <= archive_bytes)
        .ok_or_else(outside)?;
    let (inflated_bytes, crc32) = (file.size(), file.crc32());
    Ok(Member { name: name.to_owned(), range: start..end, deflated, inflated_bytes, crc32 })
}

/// Members that share bytes: no program packs files so, and thousands of them fit a small archive.
///
/// The `zip` crate has `has_overlapping_files`, but it gives up at the first member that is damaged.
fn refuse_overlaps<'a>(members: impl Iterator<Item = &'a Member>) -> Result<(), SourceError> {
    let mut ranges: Vec<_> = members.map(|member| &member.range).filter(|range| !range.is_empty()).collect();
    ranges.sort_by_key(|range| range.start);
    if ranges.windows(2).any(|neighbours| neighbours[0].end > neighbours[1].start) {
        return Err(SourceError::Archive("two members share the same bytes"));
    }
    Ok(())
}

fn refuse_bombs<'a>(members: impl Iterator<Item = &'a Member>, limits: &Limits) -> Result<(), SourceError> {
    let claims = members.map(|member| member.inflated_bytes);
    // Larger ones are refused one by one, and never inflated.
    let inflated = claims.filter(|&bytes| bytes <= limits.inflated_bytes);
    if inflated.fold(0u64, u64::saturating_add) > limits.archive_inflated_bytes {
        return Err(SourceError::Limit {
            what: "the inflated size of all members of the ZIP archive in bytes",
            limit: limits.archive_inflated_bytes,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn write(path: &Path, method: CompressionMethod, fill: impl Fn(&mut ZipWriter<File>, SimpleFileOptions)) {
        let mut writer = ZipWriter::new(File::create(path).unwrap());
        fill(&mut writer, SimpleFileOptions::default().compression_method(method));
        writer.finish().unwrap();
    }

    fn refusal(path: &Path, limits: &Limits) -> String {
        members(path, 132, limits).err().unwrap().to_string()
    }

    #[test]
    fn members_that_share_bytes_are_refused() {
        // 100,000 entries that point at one member of 64 KB, which inflates to 64 MiB, keep a computer busy for
        // hours: each was inflated by itself, and each was within its limit.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        write(&path, CompressionMethod::Deflated, |writer, options| {
            writer.start_file("a", options).unwrap();
            writer.write_all(&[7; 1000]).unwrap();
            writer.shallow_copy_file("a", "b").unwrap();
        });
        let text = "the ZIP archive is damaged: two members share the same bytes";
        assert_eq!(refusal(&path, &Limits::default()), text);
    }

    #[test]
    fn an_archive_that_inflates_to_too_much_is_refused_whole() {
        // The limit held for one member at a time, so an archive had no limit but the number of its members.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        write(&path, CompressionMethod::Deflated, |writer, options| {
            for name in ["a", "b", "c"] {
                writer.start_file(name, options).unwrap();
                writer.write_all(&[0; 1000]).unwrap();
            }
        });
        let limits = Limits { archive_inflated_bytes: 2999, ..Limits::default() };
        let text = "the inflated size of all members of the ZIP archive in bytes is over the limit of 2999";
        assert_eq!(refusal(&path, &limits), text);
        let limits = Limits { archive_inflated_bytes: 3000, ..Limits::default() };
        assert_eq!(members(&path, 132, &limits).unwrap().len(), 3);
    }

    #[test]
    fn stored_members_are_held_to_the_same_size_as_deflated_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        write(&path, CompressionMethod::Stored, |writer, options| {
            writer.start_file("a", options).unwrap();
            writer.write_all(&[0; 1000]).unwrap();
        });
        let limits = Limits { inflated_bytes: 999, ..Limits::default() };
        let (source, _) = members(&path, 132, &limits).unwrap().remove(0).opened.unwrap();
        assert!(matches!(source.read(&limits), Err(SourceError::Limit { limit: 999, .. })));
    }

    #[test]
    fn a_member_is_inflated_no_further_than_its_directory_tells() {
        // The directory told 1 byte, and 64 MiB were inflated before the two were compared.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        write(&path, CompressionMethod::Deflated, |writer, options| {
            writer.start_file("a", options).unwrap();
            // Noise, so that the packed bytes are as many, and their second half can be spoilt.
            let mut state = 1u32;
            let noise = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            });
            writer.write_all(&noise.take(100_000).collect::<Vec<u8>>()).unwrap();
        });
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[50_000..90_000].fill(0xFF);
        let claim = bytes.windows(4).rposition(|window| window == 100_000u32.to_le_bytes()).unwrap();
        bytes[claim..claim + 4].copy_from_slice(&1u32.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let limits = Limits::default();
        let (source, _) = members(&path, 1, &limits).unwrap().remove(0).opened.unwrap();
        let text = "the ZIP archive is damaged: a member does not have the size that its directory tells";
        assert_eq!(source.read(&limits).unwrap_err().to_string(), text);
    }

    #[test]
    fn signatures_are_counted_wherever_they_lie() {
        let mut bytes = vec![b'P'; 20_000];
        for place in [0, 4094, 8192, 12_285, 12_289, 19_996] {
            bytes[place..place + 4].copy_from_slice(ENTRY_MAGIC);
        }
        assert!(has_more_entries(&bytes, 5));
        assert!(!has_more_entries(&bytes, 6));
        assert!(!has_more_entries(b"", 0) && !has_more_entries(b"PK\x01", 0));
    }
}
