//! What the first bytes say.

use super::read::Reader;
use super::{Checked, Rejected};

macro_rules! types {
    ($($name:ident = $media:literal, $text:literal, [$($extension:literal),+], [$($alias:literal),*];)+) => {
        /// A type that can be let in (contract.md § 13.1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FileType { $(#[doc = $media] $name,)+ }

        impl FileType {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its media type.
            pub const fn media(self) -> &'static str {
                match self { $(Self::$name => $media,)+ }
            }

            /// Its extensions, in lower case; the first is the one that we write.
            pub const fn extensions(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($extension),+],)+ }
            }

            /// Other spellings of its media type that clients really use.
            const fn aliases(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($alias),*],)+ }
            }

            /// A text: UTF-8, and without a magic.
            pub const fn is_text(self) -> bool {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

types! {
    Png = "image/png", false, ["png"], [];
    Jpeg = "image/jpeg", false, ["jpg", "jpeg"], ["image/jpg"];
    Gif = "image/gif", false, ["gif"], [];
    Webp = "image/webp", false, ["webp"], [];
    Bmp = "image/bmp", false, ["bmp"], ["image/x-ms-bmp"];
    Tiff = "image/tiff", false, ["tif", "tiff"], [];
    Pdf = "application/pdf", false, ["pdf"], [];
    Zip = "application/zip", false, ["zip"], ["application/x-zip-compressed"];
    Docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document", false, ["docx"], [];
    Xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", false, ["xlsx"], [];
    Pptx = "application/vnd.openxmlformats-officedocument.presentationml.presentation", false, ["pptx"], [];
    Odt = "application/vnd.oasis.opendocument.text", false, ["odt"], [];
    Ods = "application/vnd.oasis.opendocument.spreadsheet", false, ["ods"], [];
    Odp = "application/vnd.oasis.opendocument.presentation", false, ["odp"], [];
    Mp3 = "audio/mpeg", false, ["mp3"], ["audio/mp3"];
    Wav = "audio/wav", false, ["wav"], ["audio/x-wav", "audio/wave", "audio/vnd.wave"];
    Mp4 = "video/mp4", false, ["mp4", "m4a"], ["audio/mp4", "audio/x-m4a"];
    Webm = "video/webm", false, ["webm"], ["audio/webm"];
    Txt = "text/plain", true, ["txt"], [];
    Csv = "text/csv", true, ["csv"], [];
    Json = "application/json", true, ["json"], [];
}

impl FileType {
    /// The extension that we write.
    pub const fn extension(self) -> &'static str {
        match self.extensions() {
            [first, ..] => first,
            [] => "",
        }
    }

    /// By media type, in lower case.
    pub fn of_media(essence: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.is(essence))
    }

    /// By extension, in lower case.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.extensions().contains(&extension))
    }

    /// Whether a media type, in lower case, names it.
    pub fn is(self, essence: &str) -> bool {
        self.media() == essence || self.aliases().contains(&essence)
    }
}

/// The type whose magic it has. Nothing: it may be a text.
pub(super) fn of(reader: &mut Reader<'_>) -> Checked<Option<FileType>> {
    if reader.len() == 0 {
        return Ok(None);
    }
    let head = reader.some(0)?;
    let riff = |kind: &[u8]| head.starts_with(b"RIFF") && head.get(8..12) == Some(kind);
    Ok(Some(match head {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => FileType::Png,
        [0xff, 0xd8, 0xff, ..] => FileType::Jpeg,
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => FileType::Gif,
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => FileType::Tiff,
        [b'%', b'P', b'D', b'F', b'-', ..] => FileType::Pdf,
        [b'P', b'K', 3, 4, ..] => FileType::Zip,
        [0x1a, 0x45, 0xdf, 0xa3, ..] => FileType::Webm,
        [b'I', b'D', b'3', 2..=4, ..] => FileType::Mp3,
        // Eleven bits of frame synchronisation, a layer and a version that exist.
        [0xff, b, ..] if b & 0xe6 == 0xe2 => FileType::Mp3,
        _ if riff(b"WEBP") => FileType::Webp,
        _ if riff(b"WAVE") => FileType::Wav,
        _ if head.get(4..8) == Some(b"ftyp") => FileType::Mp4,
        // `BM` begins a text, too: the reserved words of the header must be zero.
        [b'B', b'M', ..] if head.get(6..10) == Some(&[0; 4]) => FileType::Bmp,
        _ => return Ok(None),
    }))
}

/// What is refused always, whatever a list says: programs, and what a browser runs.
pub(super) fn never(reader: &mut Reader<'_>, name: Option<&str>) -> Checked {
    if let Some(name) = name.map(super::name::last)
        && [".htaccess", ".htpasswd", ".user.ini", "web.config"]
            .iter()
            .any(|never| name.eq_ignore_ascii_case(never))
    {
        return Err(Rejected::kind("server-configuration"));
    }
    if reader.len() == 0 {
        return Err(Rejected::kind("file-empty"));
    }
    never_head(reader.some(0)?)
}

fn never_head(head: &[u8]) -> Checked {
    let binary: [(&[u8], &'static str); 12] = [
        (b"\x7fELF", "program-elf"),
        (b"\xfe\xed\xfa\xce", "program-mach-o"),
        (b"\xfe\xed\xfa\xcf", "program-mach-o"),
        (b"\xce\xfa\xed\xfe", "program-mach-o"),
        (b"\xcf\xfa\xed\xfe", "program-mach-o"),
        // A Java class, and a Mach-O for many processors.
        (b"\xca\xfe\xba\xbe", "program-java-or-mach-o"),
        (b"FWS", "flash"),
        (b"CWS", "flash"),
        (b"ZWS", "flash"),
        (b"L\0\0\0\x01\x14\x02\0", "shortcut"),
        (b"#!", "script"),
        (b"MZ", "program-pe"),
    ];
    // Flash and PE begin with letters: the byte behind them tells them from a text.
    let looks_binary = |magic: &[u8]| match magic {
        b"FWS" | b"CWS" | b"ZWS" => head.get(3..8).is_some_and(|header| header.iter().any(|b| *b < 9)),
        b"MZ" => head.get(2..64).is_none_or(|header| header.iter().any(|b| *b < 9 || *b > 0x7e)),
        _ => true,
    };
    if let Some((_, reason)) = binary.iter().find(|(magic, _)| head.starts_with(magic) && looks_binary(magic))
    {
        return Err(Rejected::kind(reason));
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    // UTF-16 of markup is markup to a browser.
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] = text {
        return Err(Rejected::kind("text-not-utf-8"));
    }
    let first = text.iter().position(|b| !b.is_ascii_whitespace() && *b != 0).unwrap_or(text.len());
    let text = text.get(first..).unwrap_or_default();
    let markup: [&[u8]; 14] = [
        b"<?php",
        b"<?=",
        b"<?xml",
        b"<!doctype",
        b"<html",
        b"<head",
        b"<body",
        b"<svg",
        b"<script",
        b"<!--",
        b"<iframe",
        b"<%",
        b"<style",
        b"<?",
    ];
    let begins = |word: &&[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if markup.iter().any(begins) { Err(Rejected::kind("markup")) } else { Ok(()) }
}
