//! Files made by code: small and right, for tests that then break them.

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use std::io::Write as _;

/// A PNG of 1 × 1 pixel, with these chunks (kind and data) before its image.
pub fn png(extra: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    png_sized(1, 1, extra)
}

/// A PNG whose header says these sizes.
pub fn png_sized(width: u32, height: u32, extra: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    png_chunk(&mut out, b"IHDR", &header);
    for (kind, data) in extra {
        png_chunk(&mut out, kind, data);
    }
    png_chunk(&mut out, b"IDAT", b"\x78\x9c\x63\x60\x00\x00\x00\x02\x00\x01");
    png_chunk(&mut out, b"IEND", b"");
    out
}

fn png_chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    out.extend_from_slice(kind);
    out.extend_from_slice(data);
    out.extend_from_slice(&crc.sum().to_be_bytes());
}

/// A JPEG frame of these sizes with a comment.
pub fn jpeg(width: u16, height: u16, comment: &[u8]) -> Vec<u8> {
    let mut out = b"\xff\xd8".to_vec();
    let mut segment = |marker: u8, data: &[u8]| {
        out.extend_from_slice(&[0xff, marker]);
        out.extend_from_slice(&(data.len() as u16 + 2).to_be_bytes());
        out.extend_from_slice(data);
    };
    segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    segment(0xfe, comment);
    let sizes = [&[8][..], &height.to_be_bytes(), &width.to_be_bytes(), &[1, 1, 0x11, 0]].concat();
    segment(0xc0, &sizes);
    segment(0xda, &[1, 1, 0, 0, 63, 0]);
    // Entropy-coded data with stuffing and a restart.
    out.extend_from_slice(b"\x12\x34\xff\x00\x56\xff\xd0\x78\xff\xd9");
    out
}

/// A GIF of so many frames, with a comment.
pub fn gif(frames: usize, comment: &[u8]) -> Vec<u8> {
    let mut out = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    if !comment.is_empty() {
        out.extend_from_slice(b"\x21\xfe");
        for block in comment.chunks(255) {
            out.push(block.len() as u8);
            out.extend_from_slice(block);
        }
        out.push(0);
    }
    for _ in 0..frames {
        out.extend_from_slice(b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0");
    }
    out.push(0x3b);
    out
}

/// RIFF chunks of a kind (`WEBP`, `WAVE`).
pub fn riff(kind: &[u8; 4], chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut body = kind.to_vec();
    for (name, data) in chunks {
        body.extend_from_slice(*name);
        body.extend_from_slice(&(data.len() as u32).to_le_bytes());
        body.extend_from_slice(data);
        if data.len() % 2 == 1 {
            body.push(0);
        }
    }
    [b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat()
}

/// A PDF with one object of this text.
pub fn pdf(object: &str) -> Vec<u8> {
    format!("%PDF-1.7\n1 0 obj\n{object}\nendobj\ntrailer << /Root 1 0 R >>\nstartxref\n9\n%%EOF\n")
        .into_bytes()
}

/// One entry of a ZIP, every field of which can lie.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name in the local header.
    pub name: Vec<u8>,
    /// Its name in the central directory.
    pub central_name: Vec<u8>,
    /// What it holds.
    pub data: Vec<u8>,
    /// Deflated and not stored.
    pub deflate: bool,
    /// A data descriptor follows.
    pub streamed: bool,
    /// Flags besides that of the descriptor.
    pub flags: u16,
    /// External attributes (Unix mode in the upper half).
    pub attributes: u32,
    /// In place of the true size, in the central directory.
    pub central_size: Option<u32>,
    /// In place of the true size, in the local header.
    pub local_size: Option<u32>,
    /// Extra field.
    pub extra: Vec<u8>,
    /// Packed bytes in place of the right ones.
    pub packed: Option<Vec<u8>>,
}

impl Entry {
    /// An honest one.
    pub fn new(name: &str, data: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            central_name: name.as_bytes().to_vec(),
            data: data.into(),
            deflate: true,
            streamed: false,
            flags: 0x800,
            attributes: 0o100_644 << 16,
            central_size: None,
            local_size: None,
            extra: Vec::new(),
            packed: None,
        }
    }

    /// Stored as it is.
    #[must_use]
    pub fn stored(mut self) -> Self {
        self.deflate = false;
        self
    }
}

/// Where things stand in a ZIP that was made.
#[derive(Clone, Debug)]
pub struct Zip {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Where the central directory begins.
    pub directory: usize,
    /// Where each central header begins.
    pub central: Vec<usize>,
    /// Where each local header begins.
    pub local: Vec<usize>,
}

/// A ZIP of these entries.
pub fn zip(entries: &[Entry]) -> Vec<u8> {
    zip_parts(entries).bytes
}

/// A ZIP of these entries, and where its parts stand.
pub fn zip_parts(entries: &[Entry]) -> Zip {
    let (mut out, mut directory, mut central, mut local) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        let at = out.len() as u32;
        local.push(out.len());
        let packed = entry
            .packed
            .clone()
            .unwrap_or_else(|| if entry.deflate { deflate(&entry.data) } else { entry.data.clone() });
        let mut crc = Crc::new();
        crc.update(&entry.data);
        let (crc, size) = (crc.sum(), entry.data.len() as u32);
        let flags = entry.flags | if entry.streamed { 8 } else { 0 };
        let method: u16 = if entry.deflate { 8 } else { 0 };
        let sums =
            |size: u32| [crc.to_le_bytes(), (packed.len() as u32).to_le_bytes(), size.to_le_bytes()].concat();
        let shared = [&flags.to_le_bytes()[..], &method.to_le_bytes(), &[0, 0, 0x21, 0x58]].concat();
        out.extend_from_slice(b"PK\x03\x04\x14\0");
        out.extend_from_slice(&shared);
        out.extend_from_slice(&if entry.streamed {
            vec![0; 12]
        } else {
            sums(entry.local_size.unwrap_or(size))
        });
        out.extend_from_slice(&(entry.name.len() as u16).to_le_bytes());
        out.extend_from_slice(&(entry.extra.len() as u16).to_le_bytes());
        out.extend_from_slice(&entry.name);
        out.extend_from_slice(&entry.extra);
        out.extend_from_slice(&packed);
        if entry.streamed {
            out.extend_from_slice(b"PK\x07\x08");
            out.extend_from_slice(&sums(size));
        }
        central.push(directory.len());
        directory.extend_from_slice(b"PK\x01\x02\x14\x03\x14\0");
        directory.extend_from_slice(&shared);
        directory.extend_from_slice(&sums(entry.central_size.unwrap_or(size)));
        directory.extend_from_slice(&(entry.central_name.len() as u16).to_le_bytes());
        directory.extend_from_slice(&[0; 8]);
        directory.extend_from_slice(&entry.attributes.to_le_bytes());
        directory.extend_from_slice(&at.to_le_bytes());
        directory.extend_from_slice(&entry.central_name);
    }
    let start = out.len();
    let count = (entries.len() as u16).to_le_bytes();
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&count);
    out.extend_from_slice(&count);
    out.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    out.extend_from_slice(&(start as u32).to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    Zip { bytes: out, directory: start, central: central.into_iter().map(|at| start + at).collect(), local }
}

/// A file in a ZIP in a ZIP, so many deep.
pub fn nested(name: &str, data: &[u8], deep: usize) -> Vec<u8> {
    let mut inner = zip(&[Entry::new(name, data)]);
    for level in 1..deep {
        inner = zip(&[Entry::new(&format!("{level}.zip"), inner).stored()]);
    }
    inner
}

/// Raw deflate.
pub fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

/// An Office document (`word`, `xl`, `ppt`) by its main content type, with further parts.
pub fn office(main: &str, parts: &[(&str, &str)]) -> Vec<u8> {
    let types = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">\
         <Default Extension=\"xml\" ContentType=\"application/xml\"/><Override PartName=\"/main.xml\" ContentType=\"{main}\"/></Types>"
    );
    let mut entries = vec![Entry::new("[Content_Types].xml", types), Entry::new("main.xml", "<x/>")];
    entries.extend(parts.iter().map(|(name, text)| Entry::new(name, *text)));
    zip(&entries)
}

/// The text that every scanner knows; put together here, so that no scanner finds it in this file.
pub fn eicar() -> Vec<u8> {
    let reversed = b"*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\\4[PA@%P!O5X";
    reversed.iter().rev().copied().collect()
}
