//! A ZIP reader that believes nothing twice: central directory and local headers must say the same, every byte of the
//! file belongs to exactly one entry or to the directory, and every entry is really inflated.
//!
//! Parsers of ZIP differ, and what one sees another does not (CVE-2024-7254 and its like; "My ZIP isn't your ZIP", 2025).
//! So whatever two readers could read in two ways is refused: comments, ZIP64, gaps, overlaps, names given twice.

use super::inflate::inflate;
use super::read::Reader;
use super::{Checked, Rejected, name};
use flate2::Crc;
use std::collections::BTreeSet;

/// Entries of an archive.
pub(super) const ENTRIES: u64 = 1_000;
/// Bytes of all entries, inflated.
pub(super) const SUM: u64 = 100 << 20;
/// Inflated to stored.
pub(super) const RATIO: u64 = 100;
/// A ratio says nothing of so few bytes.
const RATIO_FROM: u64 = 64 << 10;

const BAD: Rejected = Rejected::kind("archive-structure");
const DIFFERS: Rejected = Rejected::kind("archive-headers-disagree");

/// One entry, whose headers agree.
pub(super) struct Entry {
    /// Its name, a relative path.
    pub(super) name: String,
    /// Whether it is a folder.
    pub(super) folder: bool,
    /// Where its data stands.
    pub(super) data: (u64, u64),
    /// Whether it is deflated; else it is stored.
    pub(super) deflated: bool,
    /// Bytes, inflated, as both headers say.
    pub(super) size: u64,
    crc: u32,
}

/// What a central header says.
struct Central {
    name: Vec<u8>,
    flags: u64,
    method: u64,
    crc: u64,
    packed: u64,
    size: u64,
    at: u64,
    made_by: u64,
    attributes: u64,
}

/// The entries in the order of the file.
pub(super) fn entries(reader: &mut Reader<'_>) -> Checked<Vec<Entry>> {
    let (count, first, end) = directory(reader)?;
    let mut at = first;
    let mut centrals = Vec::new();
    for _ in 0..count {
        let (central, next) = central(reader, at)?;
        centrals.push(central);
        at = next;
    }
    if at != end {
        return Err(BAD);
    }
    centrals.sort_by_key(|central| central.at);
    let sum = centrals.iter().fold(0_u64, |sum, central| sum.saturating_add(central.size));
    if sum > SUM {
        return Err(Rejected::kind("archive-too-large"));
    }
    if sum > RATIO_FROM && sum > reader.len().saturating_mul(RATIO) {
        return Err(Rejected::kind("archive-ratio"));
    }
    let mut expected = 0;
    let mut entries = Vec::with_capacity(centrals.len());
    let mut names = BTreeSet::new();
    let mut rest = centrals.iter().peekable();
    while let Some(central) = rest.next() {
        // Each begins where the one before it ends: nothing overlaps, nothing hides between.
        if central.at != expected {
            return Err(Rejected::kind("archive-gap-or-overlap"));
        }
        expected = rest.peek().map_or(first, |next| next.at);
        let entry = local(reader, central, expected)?;
        let folded = name::composed(&entry.name).to_lowercase();
        if !names.insert(folded.trim_end_matches('/').to_owned()) {
            return Err(Rejected::kind("archive-name-twice"));
        }
        entries.push(entry);
    }
    if expected != first || entries.is_empty() {
        return Err(BAD);
    }
    // A file cannot be a folder: `a` and `a/b`.
    let files: Vec<String> =
        entries.iter().filter(|e| !e.folder).map(|e| name::composed(&e.name).to_lowercase()).collect();
    let below = |file: &String| {
        let folder = format!("{file}/");
        names.range(folder.clone()..).next().is_some_and(|next| next.starts_with(&folder))
    };
    if files.iter().any(below) {
        return Err(Rejected::kind("archive-name-twice"));
    }
    Ok(entries)
}

/// Entries, start and end of the central directory. The end record is the last 22 bytes, without a comment.
fn directory(reader: &mut Reader<'_>) -> Checked<(u64, u64, u64)> {
    let end = reader.len().checked_sub(22).ok_or(BAD)?;
    if reader.array(end)? != *b"PK\x05\x06" {
        return Err(Rejected::kind("archive-end"));
    }
    let (disk, other) = (reader.le16(end + 4)?, reader.le16(end + 6)?);
    let (here, count) = (reader.le16(end + 8)?, reader.le16(end + 10)?);
    let (size, start) = (reader.le32(end + 12)?, reader.le32(end + 16)?);
    if (disk, other) != (0, 0) || here != count || reader.le16(end + 20)? != 0 {
        return Err(BAD);
    }
    if count > ENTRIES {
        return Err(Rejected::kind("archive-entries"));
    }
    if start.checked_add(size) != Some(end) {
        return Err(BAD);
    }
    Ok((count, start, end))
}

fn central(reader: &mut Reader<'_>, at: u64) -> Checked<(Central, u64)> {
    if reader.array(at)? != *b"PK\x01\x02" {
        return Err(BAD);
    }
    let (name, extra) = (reader.le16(at + 28)?, reader.le16(at + 30)?);
    if reader.le16(at + 32)? != 0 || reader.le16(at + 34)? != 0 {
        return Err(BAD);
    }
    let central = Central {
        made_by: reader.le16(at + 4)? >> 8,
        flags: reader.le16(at + 8)?,
        method: reader.le16(at + 10)?,
        crc: reader.le32(at + 16)?,
        packed: reader.le32(at + 20)?,
        size: reader.le32(at + 24)?,
        attributes: reader.le32(at + 38)?,
        at: reader.le32(at + 42)?,
        name: reader.slice(at + 46, usize::try_from(name).unwrap_or(0))?.to_vec(),
    };
    extras(reader, at + 46 + name, extra)?;
    Ok((central, at + 46 + name + extra))
}

/// Extra fields are records, and none of them says another name, size or key.
fn extras(reader: &mut Reader<'_>, mut at: u64, length: u64) -> Checked {
    let end = at + length;
    while at < end {
        let (kind, size) = (reader.le16(at)?, reader.le16(at + 2)?);
        // ZIP64, strong encryption, Unicode comment and path, AES.
        if matches!(kind, 0x0001 | 0x0017 | 0x6375 | 0x7075 | 0x9901) {
            return Err(Rejected::kind("archive-extra-field"));
        }
        at += 4 + size;
    }
    if at == end { Ok(()) } else { Err(BAD) }
}

/// The local header must say what the central one says, and the entry must end at `end`.
fn local(reader: &mut Reader<'_>, central: &Central, end: u64) -> Checked<Entry> {
    let at = central.at;
    if reader.array(at)? != *b"PK\x03\x04" {
        return Err(BAD);
    }
    let (flags, method) = (reader.le16(at + 6)?, reader.le16(at + 8)?);
    let (crc, packed, size) = (reader.le32(at + 14)?, reader.le32(at + 18)?, reader.le32(at + 22)?);
    let (name, extra) = (reader.le16(at + 26)?, reader.le16(at + 28)?);
    if flags & 0x2041 != 0 || central.flags & 0x2041 != 0 {
        return Err(Rejected::kind("archive-encrypted"));
    }
    if flags != central.flags || method != central.method || name != central.name.len() as u64 {
        return Err(DIFFERS);
    }
    if reader.slice(at + 30, central.name.len())? != central.name {
        return Err(DIFFERS);
    }
    extras(reader, at + 30 + name, extra)?;
    let streamed = flags & 8 != 0;
    let told = (crc, packed, size) == (central.crc, central.packed, central.size);
    if !(told || (streamed && (crc, packed, size) == (0, 0, 0))) {
        return Err(DIFFERS);
    }
    let from = at + 30 + name + extra;
    let to = from + central.packed;
    let behind = end.checked_sub(to).ok_or(Rejected::kind("archive-gap-or-overlap"))?;
    let sizes = match (streamed, behind) {
        (false, 0) => None,
        (true, 12) => Some(to),
        (true, 16) if reader.array(to)? == *b"PK\x07\x08" => Some(to + 4),
        _ => return Err(Rejected::kind("archive-gap-or-overlap")),
    };
    if let Some(at) = sizes
        && (reader.le32(at)?, reader.le32(at + 4)?, reader.le32(at + 8)?)
            != (central.crc, central.packed, central.size)
    {
        return Err(DIFFERS);
    }
    let deflated = match method {
        0 if central.packed == central.size => false,
        8 => true,
        0 => return Err(DIFFERS),
        _ => return Err(Rejected::kind("archive-method")),
    };
    let name = entry_name(&central.name, flags)?;
    let folder = name.ends_with('/');
    kind(central, folder)?;
    let crc = u32::try_from(central.crc).unwrap_or(0);
    Ok(Entry { name, folder, data: (from, to), deflated, size: central.size, crc })
}

/// A relative path that is the same on every system (CVE-2018-1002200, "Zip Slip").
fn entry_name(bytes: &[u8], flags: u64) -> Checked<String> {
    let bad = Rejected::kind("archive-name");
    let name = std::str::from_utf8(bytes).map_err(|_| bad)?;
    // Without the flag, bytes above ASCII are of a code page that nobody names.
    if flags & 0x800 == 0 && !name.is_ascii() {
        return Err(bad);
    }
    let path = name.strip_suffix('/').unwrap_or(name);
    if name.len() > 512 || name.contains(['\\', ':', '*', '?', '"', '<', '>', '|']) {
        return Err(bad);
    }
    name::well_formed(name).map_err(|_| bad)?;
    for part in path.split('/') {
        let stem = part.split('.').next().unwrap_or(part);
        if matches!(part, "" | "." | "..") || part.ends_with(['.', ' ']) || name::is_device(stem) {
            return Err(bad);
        }
    }
    Ok(name.to_owned())
}

/// A file or a folder; by the attributes of Unix it could be a link or a device.
fn kind(central: &Central, folder: bool) -> Checked {
    let mode = (central.attributes >> 16) & 0xf000;
    let unix = matches!(central.made_by, 3 | 19);
    match mode {
        0 => {}
        0x8000 if !folder => {}
        0x4000 if folder => {}
        // Other systems use these bits for other things, but whoever unpacks may not ask.
        _ if !unix && mode != 0xa000 => {}
        _ => return Err(Rejected::kind("archive-link-or-device")),
    }
    if folder && central.size != 0 { Err(BAD) } else { Ok(()) }
}

/// Inflates an entry and compares what came out with what was said. `each` sees it.
pub(super) fn unpack(
    reader: &mut Reader<'_>,
    entry: &Entry,
    mut each: impl FnMut(&[u8]) -> Checked,
) -> Checked {
    let (from, to) = entry.data;
    let most = ratio_bound(to - from);
    let mut crc = Crc::new();
    let mut see = |piece: &[u8]| {
        crc.update(piece);
        each(piece)
    };
    let (read, out) = if entry.deflated {
        let done = inflate(reader, entry.data, false, entry.size.min(most), &mut see)?;
        (done.read, done.out)
    } else {
        reader.each(from, to, &mut see)?;
        (to - from, to - from)
    };
    if read != to - from || out != entry.size || crc.sum() != entry.crc {
        return Err(DIFFERS);
    }
    Ok(())
}

/// Bytes that so many packed ones may become.
pub(super) fn ratio_bound(packed: u64) -> u64 {
    packed.saturating_mul(RATIO).max(RATIO_FROM)
}
