//! TIFF 6.0: directories, and every offset inside the file.

use super::image::{frame, pixels};
use super::read::{Hunt, Reader, only_padding};
use super::{Checked, Rejected};

const BAD: Rejected = Rejected::kind("image-structure");
/// Directories below a page (Exif, GPS, thumbnails).
const DIRECTORIES: usize = 4_000;

struct Tiff<'r, 'a> {
    reader: &'r mut Reader<'a>,
    little: bool,
    /// Where the furthest known byte ends.
    end: u64,
}

struct Entry {
    tag: u64,
    kind: u64,
    count: u64,
    /// Where the values stand.
    at: u64,
    size: u64,
}

/// Walks all directories; what is behind the last known byte is refused.
pub(super) fn check(reader: &mut Reader<'_>, most: u64) -> Checked {
    let little = reader.byte(0)? == b'I';
    let mut tiff = Tiff { reader, little, end: 8 };
    let mut pages = 0;
    let mut waiting = vec![(tiff.four(4)?, true)];
    let mut seen = std::collections::BTreeSet::new();
    while let Some((at, page)) = waiting.pop() {
        if at == 0 && !page {
            continue;
        }
        if at < 8 || !seen.insert(at) || seen.len() > DIRECTORIES {
            return Err(BAD);
        }
        if page {
            frame(&mut pages)?;
        }
        tiff.directory(at, page, most, &mut waiting)?;
    }
    let end = tiff.end;
    only_padding(reader, end)
}

impl Tiff<'_, '_> {
    fn directory(&mut self, at: u64, page: bool, most: u64, waiting: &mut Vec<(u64, bool)>) -> Checked {
        let count = self.two(at)?;
        if count == 0 {
            return Err(BAD);
        }
        let (mut width, mut height) = (None, None);
        let mut strips: [Option<Entry>; 2] = [None, None];
        for index in 0..count {
            let entry = self.entry(at + 2 + index * 12)?;
            match entry.tag {
                256 => width = Some(self.value(&entry, 0)?),
                257 => height = Some(self.value(&entry, 0)?),
                273 | 324 => strips[0] = Some(entry),
                279 | 325 => strips[1] = Some(entry),
                // Directories below: SubIFDs, Exif, GPS, Interoperability.
                330 | 34665 | 34853 | 40965 => {
                    for index in 0..entry.count.min(DIRECTORIES as u64) {
                        waiting.push((self.value(&entry, index)?, false));
                    }
                }
                _ => {}
            }
        }
        let next = at + 2 + count * 12;
        self.covers(next + 4)?;
        match (width, height) {
            (Some(width), Some(height)) => pixels(width, height, most)?,
            _ if page => return Err(BAD),
            _ => {}
        }
        match strips {
            [Some(offsets), Some(counts)] if offsets.count == counts.count => {
                for index in 0..offsets.count {
                    let end = self.value(&offsets, index)?.saturating_add(self.value(&counts, index)?);
                    self.covers(end)?;
                }
            }
            [None, None] if !page => {}
            _ => return Err(BAD),
        }
        let next = self.four(next)?;
        if next != 0 && page {
            waiting.push((next, true));
        }
        Ok(())
    }

    fn entry(&mut self, at: u64) -> Checked<Entry> {
        let (tag, kind, count) = (self.two(at)?, self.two(at + 2)?, self.four(at + 4)?);
        let size = match kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 => 8,
            _ => return Err(BAD),
        };
        let bytes = count.saturating_mul(size);
        let place = if bytes <= 4 { at + 8 } else { self.four(at + 8)? };
        self.covers(place.saturating_add(bytes))?;
        if matches!(kind, 1 | 2 | 6 | 7) {
            let mut hunt = Hunt::default();
            self.reader.each(place, place + bytes, |piece| hunt.piece(piece))?;
        }
        Ok(Entry { tag, kind, count, at: place, size })
    }

    fn value(&mut self, entry: &Entry, index: u64) -> Checked<u64> {
        if index >= entry.count {
            return Err(BAD);
        }
        let at = entry.at + index * entry.size;
        match entry.kind {
            3 => self.two(at),
            4 | 13 => self.four(at),
            _ => Err(BAD),
        }
    }

    fn covers(&mut self, end: u64) -> Checked {
        if end > self.reader.len() {
            return Err(BAD);
        }
        self.end = self.end.max(end);
        Ok(())
    }

    fn two(&mut self, at: u64) -> Checked<u64> {
        if self.little { self.reader.le16(at) } else { self.reader.be16(at) }
    }

    fn four(&mut self, at: u64) -> Checked<u64> {
        if self.little { self.reader.le32(at) } else { self.reader.be32(at) }
    }
}
