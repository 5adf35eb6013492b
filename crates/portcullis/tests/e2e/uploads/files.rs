//! Types, polyglots, archives and names.

use super::*;
use portcullis_testkit::files::{self, Entry};

fn reason(world: &World, response: &Response) -> String {
    world.line_of(response).to_string()
}

#[tokio::test]
async fn files_arrive_under_a_name_of_ours_and_their_own_name_in_a_field() {
    let world = world(None, "");
    let png = files::png(&[]);
    let seen = arrived(&world, &send(&world, "/files", "image/png", "../../Mein Bild.PNG", &png).await);
    let body = String::from_utf8_lossy(&seen.message.body).into_owned();
    let name = body.split("filename=\"").nth(1).unwrap().split('"').next().unwrap();
    let (stem, extension) = name.split_once('.').unwrap();
    assert_eq!((stem.len(), extension), (36, "png"), "{name}");
    assert!(stem.chars().all(|c| c.is_ascii_hexdigit() || c == '-'), "{name}");
    assert!(body.contains("name=\"original\"\r\n\r\nMein_Bild.png\r\n"), "{body}");
    assert_eq!(body.matches("Mein").count(), 1);
    assert!(seen.message.body.windows(png.len()).any(|part| part == png), "the file is another");
    // `keep`: the cleaned name.
    let seen = arrived(&world, &send(&world, "/kept", "image/png", "C:\\\\fakepath\\\\a.b.png", &png).await);
    assert!(String::from_utf8_lossy(&seen.message.body).contains("filename=\"a_b.png\""));
    // Octets say nothing: the content does.
    let seen = arrived(&world, &send(&world, "/files", "application/octet-stream", "a.png", &png).await);
    assert!(String::from_utf8_lossy(&seen.message.body).contains("Content-Type: image/png"));
    // A whole body.
    let response = world.ask("PUT", "/avatar", &[("Content-Type", "image/png")], &png).await;
    let seen = arrived(&world, &response);
    assert_eq!((seen.header("content-type"), &seen.message.body), (Some("image/png"), &png));
}

#[tokio::test]
async fn polyglots_are_refused_and_nothing_arrives() {
    let world = world(None, "");
    let png = || files::png(&[]);
    let zip = |name: &str| files::zip(&[Entry::new(name, "text")]);
    for (media, name, bytes, why) in [
        ("image/png", "a.png", b"<?php system($_GET[0]);".to_vec(), "markup"),
        ("image/gif", "a.gif", b"GIF89a<?php system($_GET[0]); ?>".to_vec(), ""),
        ("image/gif", "a.gif", files::gif(1, b"<?php system($_GET[0]); ?>"), "script-in-metadata"),
        ("image/png", "a.png", [png(), zip("a.txt")].concat(), "data-after-structure"),
        (
            "image/png",
            "a.png",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>".to_vec(),
            "markup",
        ),
        ("image/png", "a.png", files::png(&[(b"tEXt", b"<script>alert(1)</script>")]), "script-in-metadata"),
        ("image/png", "a.png", files::png_sized(60_000, 60_000, &[]), "too-many-pixels"),
        ("image/png", "a.gif", png(), "extension-disagrees"),
        ("image/gif", "a.png", png(), "type-disagrees"),
        ("image/png", "a.php.png", png(), "extension-active"),
        ("image/png", "a.php", png(), "extension-disagrees"),
        ("text/plain", ".htaccess", b"AddType application/x-httpd-php .png".to_vec(), "server-configuration"),
        ("text/plain", "a.txt", b"\x7fELF\x02\x01\x01".to_vec(), "program-elf"),
        ("text/plain", "a.txt", b"#!/bin/sh\n".to_vec(), "script"),
        ("text/csv", "a.csv", b"name\n=cmd|' /C calc'!A0\n".to_vec(), "csv-formula"),
        ("application/pdf", "a.pdf", files::pdf("<< /S /J#61vaScript /JS (x) >>"), "pdf-javascript"),
        ("application/zip", "a.zip", zip("../../etc/cron.d/a.txt"), "archive-name"),
        ("application/zip", "a.zip", zip("..\\a.txt"), "archive-name"),
        ("application/zip", "a.zip", zip("a.php"), "type-unknown"),
        ("application/zip", "a.zip", files::nested("a.txt", b"text", 2), "archive-in-archive"),
        ("image/gif", "a.gif", b"GIF89a".to_vec(), "structure-cut"),
    ] {
        let response = send(&world, "/files", media, name, &bytes).await;
        is_refused(&world, &response, 422, "file-type-rejected");
        assert!(reason(&world, &response).contains(why), "{media} {name} {why}");
        assert!(!response.text().contains(name) && response.json().get("errors").is_none());
    }
    // A name that deceives is no well-formed body.
    for name in ["a\u{202e}gnp.exe", "a\u{1}.png"] {
        let response = send(&world, "/files", "image/png", name, &png()).await;
        is_refused(&world, &response, 400, "malformed-body");
    }
    // Bounds of a property.
    let response = send(&world, "/kept", "image/png", "a.png", &files::png_sized(11, 10, &[])).await;
    is_refused(&world, &response, 422, "file-type-rejected");
    let response =
        send(&world, "/kept", "image/png", "a.png", &files::png(&[(b"tEXt", &[b'x'; 1024])])).await;
    is_refused(&world, &response, 413, "payload-too-large");
    // A whole body is judged as a part is.
    for (media, bytes) in [("image/png", files::gif(1, b"")), ("image/gif", b"GIF89a<?php".to_vec())] {
        let response = world.ask("PUT", "/avatar", &[("Content-Type", media)], &bytes).await;
        is_refused(&world, &response, 422, "file-type-rejected");
    }
    let response = world.ask("PUT", "/avatar", &[("Content-Type", "image/svg+xml")], b"<svg/>").await;
    is_refused(&world, &response, 415, "unsupported-media-type");
}

/// A file in JSON is a file.
#[tokio::test]
async fn base64_in_json_is_judged_as_a_file() {
    let world = world(None, "");
    let encode = |bytes: &[u8]| {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut out = String::new();
        for chunk in bytes.chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for at in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize] as char;
                out.push(if at <= chunk.len() { digit } else { '=' });
            }
        }
        out
    };
    let post = async |data: &str| {
        let text = format!("{{\"pictures\":[{{}},{{\"data\":\"{data}\"}}]}}");
        world.ask("POST", "/json", &[("Content-Type", "application/json")], text.as_bytes()).await
    };
    arrived(&world, &post(&encode(&files::png(&[]))).await);
    let polyglot = [files::png(&[]), files::zip(&[Entry::new("a", "b")])].concat();
    is_refused(&world, &post(&encode(&polyglot)).await, 422, "file-type-rejected");
    is_refused(&world, &post(&encode(b"<svg onload=alert(1)>")).await, 422, "file-type-rejected");
    is_refused(&world, &post(&encode(&files::gif(1, b""))).await, 422, "file-type-rejected");
    let odd = post("%%%%").await;
    assert_eq!(odd.status, 400, "{}", odd.text());
    assert!(world.upstream.requests().is_empty());
}

/// 16 KiB that become 16 MiB times 32 entries: 512 MiB.
#[tokio::test]
async fn bombs_are_refused_with_memory_flat() {
    let world = world(None, "");
    // The first file warms up what is kept for all.
    let _ = arrived(&world, &send(&world, "/files", "image/png", "a.png", &files::png(&[])).await);
    let before = world.program.resident_bytes().unwrap();
    let packed = files::deflate(&vec![b' '; 16 << 20]);
    let mut honest = Vec::new();
    for n in 0..32 {
        let mut entry = Entry::new(&format!("{n}.txt"), "");
        entry.packed = Some(packed.clone());
        entry.central_size = Some(16 << 20);
        entry.local_size = Some(16 << 20);
        honest.push(entry);
    }
    let one = {
        let mut entry = honest[0].clone();
        entry.data = vec![b' '; 60_000];
        entry.central_size = None;
        entry.local_size = None;
        entry
    };
    // Entries that lie over each other: one packed text for all of them.
    let overlapping = {
        let made = files::zip_parts(&[Entry::new("a.txt", "text"), Entry::new("b.txt", "text")]);
        let mut bytes = made.bytes;
        let at = made.central[1] + 42;
        bytes[at..at + 4].fill(0);
        bytes
    };
    let disagree = {
        let mut entry = Entry::new("a.txt", "text");
        entry.local_size = Some(1);
        files::zip(&[entry])
    };
    for (bytes, why) in [
        (files::zip(&honest), "archive-too-large"),
        (files::zip(&honest[..1]), "archive-ratio"),
        (files::zip(&[one]), "inflates-too-far"),
        (overlapping, "archive-gap-or-overlap"),
        (disagree, "archive-headers-disagree"),
    ] {
        let response = send(&world, "/files", "application/zip", "a.zip", &bytes).await;
        is_refused(&world, &response, 422, "file-type-rejected");
        assert!(reason(&world, &response).contains(why), "{why}: {}", reason(&world, &response));
    }
    let grown = world.program.resident_bytes().unwrap().saturating_sub(before);
    assert!(grown < 16 << 20, "grew by {grown}");
}

#[tokio::test]
async fn words_about_files_are_judged_when_they_are_read() {
    let check = |spec: &str, uploads: &str, loosen: &str| {
        let dir = portcullis_testkit::TempDir::new("uploads");
        let config = CONFIG
            .replace("max_bytes: 20MiB SCAN", uploads)
            .replace("LOOSEN", loosen)
            .replace("UPSTREAM", "http://127.0.0.1:1");
        dir.write("portcullis.yaml", config);
        dir.write("files.yaml", spec);
        let done = portcullis_testkit::Program::run(crate::world::BINARY, dir.path(), &["check"]).unwrap();
        (done.code, done.stdout + &done.stderr)
    };
    let (code, said) = check(SPEC, "max_bytes: 20MiB", "");
    assert_eq!(code, Some(0), "{said}");
    let types = "types: [image/png], rename: keep, max_bytes: 1KiB, max_pixels: 100";
    for (words, uploads, expected) in [
        ("rename: keep", "max_bytes: 20MiB", "upload-types-missing"),
        ("types: [image/pgn]", "max_bytes: 20MiB", "upload-type-unknown"),
        ("types: [image/svg+xml]", "max_bytes: 20MiB", "upload-type-unknown"),
        ("types: [image/png], max_bytes: 21MiB", "max_bytes: 20MiB", "extension-loosens"),
        ("types: [image/png]", "types: [image/jpeg]", "extension-loosens"),
        ("types: [image/png], max_pixels: 50000001", "max_bytes: 20MiB", "extension-invalid"),
        ("types: [image/png], scan: required", "max_bytes: 20MiB", "upload-scanner-missing"),
        ("types: [image/png], scan: off", "max_bytes: 20MiB", "extension-invalid"),
        ("types: [image/png], colour: red", "max_bytes: 20MiB", "extension-unknown"),
        (
            "types: [application/zip], archive: { allow: [application/zip] }",
            "max_bytes: 20MiB",
            "extension-invalid",
        ),
        (types, "types: [image/pngg]", "upload-type-unknown"),
        (types, "scan: { clamav: { address: nowhere } }", "scanner-address"),
    ] {
        let (code, said) = check(&SPEC.replace(types, words), uploads, "");
        assert_ne!(code, Some(0), "{words} {uploads}");
        assert!(said.contains(expected), "{words} {uploads}: {said}");
    }
    for (loosen, expected) in [
        ("    loosen: [{ allow: active_pdf, because: scripts }]\n", "until-missing"),
        ("    loosen: [{ allow: csv_formulas, until: 2099-12-31 }]\n", "because"),
        ("    loosen: [{ allow: unscanned, because: none, until: 2099-12-31 }]\n", "loosening-idle"),
    ] {
        let (code, said) = check(SPEC, "max_bytes: 20MiB", loosen);
        assert_ne!(code, Some(0), "{loosen}");
        assert!(said.contains(expected), "{loosen}: {said}");
    }
}

#[tokio::test]
async fn what_is_loosened_passes() {
    let loosen = "    loosen:\n      - { allow: active_pdf, because: forms, until: 2099-12-31, operations: [postFile] }\n      \
                  - { allow: csv_formulas, because: sheets, until: 2099-12-31 }\n";
    let world = world(None, loosen);
    let pdf = files::pdf("<< /S /JavaScript /JS (x) >>");
    arrived(&world, &send(&world, "/files", "application/pdf", "a.pdf", &pdf).await);
    arrived(&world, &send(&world, "/files", "text/csv", "a.csv", b"=1+1").await);
}
