//! Sound and film: frames, chunks, boxes and elements, consistent to the end.

use super::image::riff_size;
use super::read::{Hunt, Reader};
use super::{Checked, Rejected};

const BAD: Rejected = Rejected::kind("media-structure");
/// Boxes or elements of one file.
const PARTS: u32 = 1_000_000;

/// Chunks: `fmt ` before `data`, the size is the file's.
pub(super) fn wav(reader: &mut Reader<'_>) -> Checked {
    riff_size(reader)?;
    let (mut at, mut format, mut data) = (12, false, false);
    while at < reader.len() {
        let kind: [u8; 4] = reader.array(at)?;
        let length = reader.le32(at + 4)?;
        match &kind {
            b"fmt " if !format && length >= 14 => format = true,
            b"data" if format && !data => data = true,
            b"fmt " | b"data" => return Err(BAD),
            _ => {}
        }
        at += 8 + length + (length & 1);
        // The last chunk of many writers lacks its padding.
        if at == reader.len() + 1 && length & 1 == 1 {
            at -= 1;
        }
    }
    if at == reader.len() && data { Ok(()) } else { Err(BAD) }
}

/// Tags of version 2 in front and 1 at the end, and frames between them, each where the one before it ends.
pub(super) fn mp3(reader: &mut Reader<'_>) -> Checked {
    let mut at = 0;
    if reader.slice(0, 3)? == b"ID3" {
        let [a, b, c, d] = reader.array(6)?.map(u64::from);
        if (a | b | c | d) & 0x80 != 0 {
            return Err(BAD);
        }
        let footer = if reader.byte(5)? & 0x10 == 0 { 0 } else { 10 };
        at = 10 + (a << 21 | b << 14 | c << 7 | d) + footer;
        let mut hunt = Hunt::default();
        reader.each(10, at, |piece| hunt.piece(piece))?;
    }
    let mut end = reader.len();
    if end >= at + 128 && reader.slice(end - 128, 3)? == b"TAG" {
        end -= 128;
    }
    let mut frames = 0_u32;
    while at < end {
        at += frame_length(reader.array(at)?)?;
        frames = frames.saturating_add(1);
    }
    if at == end && frames > 1 { Ok(()) } else { Err(BAD) }
}

/// Of a layer III frame (ISO 11172-3 § 2.4.2.3, ISO 13818-3).
fn frame_length([a, b, c, _]: [u8; 4]) -> Checked<u64> {
    const V1: [u64; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const V2: [u64; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let version = (b >> 3) & 3;
    if a != 0xff || b & 0xe6 != 0xe2 || version == 1 {
        return Err(BAD);
    }
    let first = version == 3;
    let table = if first { V1 } else { V2 };
    let rate = table.get(usize::from(c >> 4)).copied().filter(|rate| *rate > 0).ok_or(BAD)?;
    let sample = [44_100_u64, 48_000, 32_000].get(usize::from((c >> 2) & 3)).copied().ok_or(BAD)?;
    let sample = match version {
        3 => sample,
        2 => sample / 2,
        _ => sample / 4,
    };
    let factor = if first { 144_000 } else { 72_000 };
    Ok(factor * rate / sample + u64::from((c >> 1) & 1))
}

/// Boxes (ISO 14496-12): `ftyp` first with a brand of MP4, sizes to the end, `moov` there.
pub(super) fn mp4(reader: &mut Reader<'_>) -> Checked {
    const BRANDS: [&[u8; 4]; 19] = [
        b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41", b"mp42",
        b"avc1", b"M4A ", b"M4B ", b"M4V ", b"MSNV", b"dash", b"3gp4", b"3gp5",
    ];
    let brand: [u8; 4] = reader.array(8)?;
    if !BRANDS.contains(&&brand) {
        return Err(Rejected::kind("type-unknown"));
    }
    let mut movie = false;
    let mut parts = 0;
    let len = reader.len();
    boxes(reader, (0, len), 0, &mut parts, &mut movie)?;
    if movie { Ok(()) } else { Err(BAD) }
}

fn boxes(
    reader: &mut Reader<'_>,
    (mut at, end): (u64, u64),
    depth: u8,
    parts: &mut u32,
    movie: &mut bool,
) -> Checked {
    while at < end {
        *parts = parts.saturating_add(1);
        if *parts > PARTS || depth > 10 {
            return Err(BAD);
        }
        let (small, kind) = (reader.be32(at)?, reader.array::<4>(at + 4)?);
        let (head, size) = match small {
            // "To the end of the file": whatever is appended would belong to it.
            0 => return Err(BAD),
            1 => (16, u64::from_be_bytes(reader.array(at + 8)?)),
            size => (8, size),
        };
        let next = at.checked_add(size).filter(|next| size >= head && *next <= end).ok_or(BAD)?;
        match &kind {
            b"moov" if depth == 0 => {
                *movie = true;
                boxes(reader, (at + head, next), depth + 1, parts, movie)?;
            }
            b"trak" | b"mdia" | b"minf" | b"stbl" | b"edts" | b"dinf" | b"moof" | b"traf" | b"mvex" => {
                boxes(reader, (at + head, next), depth + 1, parts, movie)?;
            }
            b"udta" | b"uuid" | b"meta" => {
                let mut hunt = Hunt::default();
                reader.each(at + head, next, |piece| hunt.piece(piece))?;
            }
            _ if depth == 0 && !is_box(&kind) => return Err(BAD),
            _ => {}
        }
        at = next;
    }
    Ok(())
}

/// What may stand at the top.
fn is_box(kind: &[u8; 4]) -> bool {
    matches!(
        kind,
        b"ftyp"
            | b"mdat"
            | b"free"
            | b"skip"
            | b"wide"
            | b"pdin"
            | b"sidx"
            | b"ssix"
            | b"styp"
            | b"mfra"
            | b"prft"
            | b"emsg"
            | b"iods"
            | b"bloc"
    )
}

/// Elements (RFC 8794, RFC 9559): the DocType is `webm`, one segment, and only elements that belong there.
pub(super) fn webm(reader: &mut Reader<'_>) -> Checked {
    let (head, size) = element_size(reader, 4)?;
    let (from, to) = (4 + head, 4 + head + size.ok_or(BAD)?);
    if to > 4096 {
        return Err(BAD);
    }
    let header = reader.whole(from, to, 4096)?;
    if memchr::memmem::find(&header, b"\x42\x82\x84webm").is_none() {
        return Err(Rejected::kind("type-unknown"));
    }
    let (mut at, mut parts, mut segment, mut tracks) = (to, 0_u32, false, false);
    let len = reader.len();
    while at < len {
        parts = parts.saturating_add(1);
        if parts > PARTS {
            return Err(BAD);
        }
        let first = reader.byte(at)?;
        let width = u64::from(first.leading_zeros()) + 1;
        if width > 4 {
            return Err(BAD);
        }
        let id = reader
            .slice(at, usize::try_from(width).unwrap_or(4))?
            .iter()
            .fold(0_u32, |id, b| id << 8 | u32::from(*b));
        let (head, size) = element_size(reader, at + width)?;
        let from = at + width + head;
        at = match (id, size) {
            // A segment is as long as the file, or as it will be (recorders do not know).
            (0x1853_8067, size) if !segment => {
                segment = true;
                if size.is_some_and(|size| from + size != len) {
                    return Err(Rejected::kind("data-after-structure"));
                }
                from
            }
            (_, _) if !segment => return Err(BAD),
            (0x1f43_b675, None) => from,
            (
                0x114d_9b74 | 0x1549_a966 | 0x1654_ae6b | 0x1c53_bb6b | 0x1254_c367 | 0x1f43_b675
                | 0x1043_a770 | 0xec | 0xbf | 0xe7 | 0xa3 | 0xa0 | 0xab | 0xa7,
                Some(size),
            ) => {
                tracks |= id == 0x1654_ae6b;
                if matches!(id, 0x1254_c367 | 0xec | 0x1043_a770) {
                    let mut hunt = Hunt::default();
                    reader.each(from, from.saturating_add(size), |piece| hunt.piece(piece))?;
                }
                from.checked_add(size).filter(|next| *next <= len).ok_or(BAD)?
            }
            // Attachments, too: files in files.
            _ => return Err(BAD),
        };
    }
    if tracks { Ok(()) } else { Err(BAD) }
}

/// How long the size is, and the size; nothing when it is unknown.
fn element_size(reader: &mut Reader<'_>, at: u64) -> Checked<(u64, Option<u64>)> {
    let first = reader.byte(at)?;
    let width = u64::from(first.leading_zeros()) + 1;
    if width > 8 {
        return Err(BAD);
    }
    let bytes = reader.slice(at, usize::try_from(width).unwrap_or(8))?;
    let all = bytes.iter().fold(0_u64, |size, b| size << 8 | u64::from(*b));
    let mask = (1_u64 << (7 * width)) - 1;
    let size = all & mask;
    Ok((width, (size != mask).then_some(size)))
}
