//! Images: blocks are walked to the end, sizes are read, no pixel is decoded.

use super::read::{Hunt, Reader, only_padding};
use super::{Checked, MAX_FRAMES, Rejected};

const BAD: Rejected = Rejected::kind("image-structure");
const BEHIND: Rejected = Rejected::kind("data-after-structure");

/// Width and height, neither of them nothing.
pub(super) fn pixels(width: u64, height: u64, most: u64) -> Checked {
    if width == 0 || height == 0 {
        return Err(BAD);
    }
    if width.saturating_mul(height) > most { Err(Rejected::kind("too-many-pixels")) } else { Ok(()) }
}

/// One more frame.
pub(super) fn frame(frames: &mut u32) -> Checked {
    *frames = frames.saturating_add(1);
    if *frames > MAX_FRAMES { Err(Rejected::kind("too-many-frames")) } else { Ok(()) }
}

fn hunt(reader: &mut Reader<'_>, from: u64, to: u64) -> Checked {
    let mut hunt = Hunt::default();
    reader.each(from, to, |piece| hunt.piece(piece))
}

/// Chunks (PNG 3rd edition § 5): IHDR first, IEND last, nothing behind it.
pub(super) fn png(reader: &mut Reader<'_>, most: u64) -> Checked {
    let (mut at, mut frames, mut data) = (8, 0, false);
    loop {
        let length = reader.be32(at)?;
        let kind: [u8; 4] = reader.array(at + 4)?;
        let (from, to) = (at + 8, at + 8 + length);
        let next = to + 4;
        if length > i32::MAX as u64 || next > reader.len() || !kind.iter().all(u8::is_ascii_alphabetic) {
            return Err(BAD);
        }
        if (at == 8) != (&kind == b"IHDR") {
            return Err(BAD);
        }
        match &kind {
            b"IHDR" if length == 13 => pixels(reader.be32(from)?, reader.be32(from + 4)?, most)?,
            b"IHDR" => return Err(BAD),
            b"IDAT" => data = true,
            b"fdAT" => {}
            b"fcTL" => {
                frame(&mut frames)?;
                pixels(reader.be32(from + 4)?, reader.be32(from + 8)?, most)?;
            }
            b"IEND" => {
                return match (data && length == 0, next == reader.len()) {
                    (true, true) => Ok(()),
                    (true, false) => Err(BEHIND),
                    _ => Err(BAD),
                };
            }
            _ => hunt(reader, from, to)?,
        }
        at = next;
    }
}

/// Segments (ITU-T T.81 annex B): SOI, one frame header, scans, EOI.
pub(super) fn jpeg(reader: &mut Reader<'_>, most: u64) -> Checked {
    let (mut at, mut sized, mut scanned) = (2, false, false);
    loop {
        if reader.byte(at)? != 0xff {
            return Err(BAD);
        }
        let marker = reader.byte(at + 1)?;
        match marker {
            // A fill byte before a marker.
            0xff => {
                at += 1;
                continue;
            }
            0xd9 if sized && scanned => return only_padding(reader, at + 2),
            0x01 => {
                at += 2;
                continue;
            }
            0x00 | 0x02..=0xbf | 0xd0..=0xd9 => return Err(BAD),
            _ => {}
        }
        let length = reader.be16(at + 2)?;
        let (from, to) = (at + 4, at + 2 + length);
        if length < 2 || to > reader.len() {
            return Err(BAD);
        }
        match marker {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                if sized || length < 8 {
                    return Err(BAD);
                }
                pixels(reader.be16(from + 3)?, reader.be16(from + 1)?, most)?;
                sized = true;
            }
            0xe0..=0xef | 0xfe => hunt(reader, from, to)?,
            _ => {}
        }
        at = to;
        if marker == 0xda {
            if !sized {
                return Err(BAD);
            }
            scanned = true;
            at = scan_end(reader, at)?;
        }
    }
}

/// Where entropy-coded data ends: at a marker that is neither stuffing nor a restart.
fn scan_end(reader: &mut Reader<'_>, mut at: u64) -> Checked<u64> {
    loop {
        let piece = reader.some(at)?;
        let Some(found) = memchr::memchr(0xff, piece) else {
            at += piece.len() as u64;
            continue;
        };
        at += found as u64;
        match reader.byte(at + 1)? {
            0x00 | 0xd0..=0xd7 => at += 2,
            0xff => at += 1,
            _ => return Ok(at),
        }
    }
}

/// Blocks (GIF89a): the trailer is the last byte.
pub(super) fn gif(reader: &mut Reader<'_>, most: u64) -> Checked {
    pixels(reader.le16(6)?, reader.le16(8)?, most)?;
    let mut at = 13;
    let flags = reader.byte(10)?;
    at = colors(reader, at, flags)?;
    let mut frames = 0;
    loop {
        match reader.byte(at)? {
            0x21 => at = sub_blocks(reader, at + 2, true)?,
            0x2c => {
                frame(&mut frames)?;
                pixels(reader.le16(at + 5)?, reader.le16(at + 7)?, most)?;
                let flags = reader.byte(at + 9)?;
                at = colors(reader, at + 10, flags)?;
                at = sub_blocks(reader, at + 1, false)?;
            }
            0x3b if frames > 0 => return if at + 1 == reader.len() { Ok(()) } else { Err(BEHIND) },
            _ => return Err(BAD),
        }
    }
}

/// A colour table is as good a place for a script as a comment.
fn colors(reader: &mut Reader<'_>, at: u64, flags: u8) -> Checked<u64> {
    if flags & 0x80 == 0 {
        return Ok(at);
    }
    let to = at + 3 * (2 << (flags & 7));
    hunt(reader, at, to)?;
    Ok(to)
}

fn sub_blocks(reader: &mut Reader<'_>, mut at: u64, text: bool) -> Checked<u64> {
    let mut words = Hunt::default();
    loop {
        let length = reader.byte(at)?;
        if length == 0 {
            return Ok(at + 1);
        }
        let block = reader.slice(at + 1, usize::from(length))?;
        if text {
            words.piece(block)?;
        }
        at += 1 + u64::from(length);
    }
}

/// RIFF chunks (RFC 9649): the size is the file's, an image chunk is first.
pub(super) fn webp(reader: &mut Reader<'_>, most: u64) -> Checked {
    let len = reader.len();
    riff_size(reader)?;
    let (mut at, mut frames, mut images) = (12, 0, 0);
    while at < len {
        let kind: [u8; 4] = reader.array(at)?;
        let length = reader.le32(at + 4)?;
        let (from, to) = (at + 8, at + 8 + length);
        let next = to + (length & 1);
        if next > len || (at == 12 && !matches!(&kind, b"VP8 " | b"VP8L" | b"VP8X")) {
            return Err(BAD);
        }
        match &kind {
            b"VP8X" if at == 12 && length == 10 => {
                pixels(u24(reader, from + 4)? + 1, u24(reader, from + 7)? + 1, most)?;
            }
            b"VP8 " => {
                if reader.array(from + 3)? != [0x9d, 0x01, 0x2a] {
                    return Err(BAD);
                }
                pixels(reader.le16(from + 6)? & 0x3fff, reader.le16(from + 8)? & 0x3fff, most)?;
                images += 1;
            }
            b"VP8L" => {
                if reader.byte(from)? != 0x2f {
                    return Err(BAD);
                }
                let sizes = reader.le32(from + 1)?;
                pixels((sizes & 0x3fff) + 1, ((sizes >> 14) & 0x3fff) + 1, most)?;
                images += 1;
            }
            b"ANMF" if length >= 16 => {
                frame(&mut frames)?;
                pixels(u24(reader, from + 6)? + 1, u24(reader, from + 9)? + 1, most)?;
            }
            b"VP8X" | b"ANMF" => return Err(BAD),
            b"ALPH" => {}
            _ => hunt(reader, from, to)?,
        }
        at = next;
    }
    if at == len && (images == 1) != (frames > 0) && images <= 1 { Ok(()) } else { Err(BAD) }
}

fn u24(reader: &mut Reader<'_>, at: u64) -> Checked<u64> {
    let [a, b, c] = reader.array(at)?;
    Ok(u64::from(u32::from_le_bytes([a, b, c, 0])))
}

/// The RIFF size must be the file's.
pub(super) fn riff_size(reader: &mut Reader<'_>) -> Checked {
    match reader.le32(4)?.saturating_add(8).cmp(&reader.len()) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(BEHIND),
        std::cmp::Ordering::Greater => Err(Rejected::kind("structure-cut")),
    }
}

/// File header, information header, masks and colours, pixels to the end.
pub(super) fn bmp(reader: &mut Reader<'_>, most: u64) -> Checked {
    let len = reader.len();
    let (size, start, header) = (reader.le32(2)?, reader.le32(10)?, reader.le32(14)?);
    if size != len || start >= len || !matches!(header, 12 | 40 | 52 | 56 | 64 | 108 | 124) {
        return Err(BAD);
    }
    let (width, height, planes, bits, coding, image) = if header == 12 {
        (reader.le16(18)?, reader.le16(20)?, reader.le16(22)?, reader.le16(24)?, 0, 0)
    } else {
        let height = reader.le32(22)? as u32 as i32;
        let size = (reader.le32(18)?, u64::from(height.unsigned_abs()));
        (size.0, size.1, reader.le16(26)?, reader.le16(28)?, reader.le32(30)?, reader.le32(34)?)
    };
    if planes != 1 || width > i32::MAX as u64 || !matches!(bits, 1 | 2 | 4 | 8 | 16 | 24 | 32) {
        return Err(BAD);
    }
    pixels(width, height, most)?;
    let end = match coding {
        // Rows are padded to four bytes.
        0 | 3 | 6 => start + width.saturating_mul(bits).div_ceil(32).saturating_mul(4).saturating_mul(height),
        1 | 2 => start + image,
        // JPEG and PNG inside.
        _ => return Err(BAD),
    };
    // A colour profile may stand behind the pixels (BITMAPV5HEADER).
    let profile = if header == 124 { (reader.le32(14 + 112)?, reader.le32(14 + 116)?) } else { (0, 0) };
    let end = if profile.1 > 0 { end.max(14 + profile.0 + profile.1) } else { end };
    let between = 14 + header;
    if start < between || end > len {
        return Err(BAD);
    }
    // Masks, and at most 256 colours of four bytes.
    if start - between > 16 + 1024 {
        return Err(BAD);
    }
    hunt(reader, between, start)?;
    only_padding(reader, end)
}
