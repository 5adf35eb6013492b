//! Content codings (contract.md § 11.3).

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::Write;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn br(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = brotli::CompressorWriter::new(&mut out, 4096, 5, 22);
    writer.write_all(bytes).unwrap();
    drop(writer);
    out
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// A frame with a window of 1 MiB and runs of 128 KiB, four bytes each.
fn zstd_runs(count: usize) -> Vec<u8> {
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 10 << 3];
    for n in 0..count {
        let header = (131_072u32 << 3) | 1 << 1 | u32::from(n + 1 == count);
        out.extend_from_slice(&header.to_le_bytes()[..3]);
        out.push(b' ');
    }
    out
}

#[tokio::test]
async fn the_upstream_gets_the_decoded_body() {
    let world = world();
    let text = br#"{ "n" : 1.50, "text" : "a" }"#;
    for (coding, body) in [
        ("gzip", gzip(text)),
        ("GZip", gzip(text)),
        ("br", br(text)),
        ("zstd", zstd(text)),
        ("identity", text.to_vec()),
    ] {
        let response = post(&world, "/json", &[JSON, ("Content-Encoding", coding)], &body).await;
        let seen = arrived(&world, &response);
        assert_eq!(seen.message.body, br#"{"n":1.50,"text":"a"}"#, "{coding}");
        assert_eq!(seen.header("content-encoding"), None);
        assert_eq!(seen.header("content-length"), Some("21"));
    }
    // What is not parsed is decoded as well, and a chunked body, and one of two members.
    let halves = [gzip(b"<a>"), gzip(b"</a>")].concat();
    let headers = [("Content-Type", "application/xml"), ("Content-Encoding", "gzip")];
    let seen = arrived(&world, &post(&world, "/xml", &headers, &halves).await);
    assert_eq!(
        (seen.message.body.as_slice(), seen.header("content-encoding")),
        (b"<a></a>".as_slice(), None)
    );
    let headers = [JSON, ("Content-Encoding", "br"), ("Transfer-Encoding", "chunked")];
    let body = br(text);
    let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    arrived(&world, &post(&world, "/json", &headers, &chunked).await);
}

#[tokio::test]
async fn one_layer_that_is_known_or_415() {
    let world = world();
    let (once, twice) = (gzip(b"{}"), gzip(&gzip(b"{}")));
    for coding in
        ["gzip, gzip", "gzip,gzip", "deflate", "x-gzip", "compress", "br;q=1", "identity, gzip", "*"]
    {
        let response = post(&world, "/json", &[JSON, ("Content-Encoding", coding)], &twice).await;
        is_refused(&world, &response, 415, "unsupported-encoding");
        assert_eq!(response.header("accept-encoding"), Some("gzip, br, zstd, identity"), "{coding}");
    }
    // On two lines it is a list as well.
    let two = [JSON, ("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")];
    let response = post(&world, "/json", &two, &twice).await;
    assert!(matches!(response.status, 400 | 415), "{}", response.text());
    // One layer named, two there: what is inside is no JSON.
    let response = post(&world, "/json", &[JSON, ("Content-Encoding", "gzip")], &twice).await;
    is_refused(&world, &response, 400, "malformed-json");
    arrived(&world, &post(&world, "/json", &[JSON, ("Content-Encoding", "gzip")], &once).await);
    let plain = with(&config().replace("codings: [gzip, br, zstd]", "codings: []"));
    let response = post(&plain, "/json", &[JSON, ("Content-Encoding", "gzip")], &once).await;
    is_refused(&plain, &response, 415, "unsupported-encoding");
    assert_eq!(response.header("accept-encoding"), Some("identity"));
    // zstd is off until it is asked for.
    let usual = with(&config().replace("request: { codings: [gzip, br, zstd] }", "request: {}"));
    let response = post(&usual, "/json", &[JSON, ("Content-Encoding", "zstd")], &zstd(b"{}")).await;
    is_refused(&usual, &response, 415, "unsupported-encoding");
    assert_eq!(response.header("accept-encoding"), Some("gzip, br, identity"));
}

#[tokio::test]
async fn what_does_not_decode_is_malformed() {
    let world = world();
    for (coding, whole) in
        [("gzip", gzip(b"{\"n\":1}")), ("br", br(b"{\"n\":1}")), ("zstd", zstd(b"{\"n\":1}"))]
    {
        let headers = [JSON, ("Content-Encoding", coding)];
        for body in [
            whole[..whole.len() - 1].to_vec(),
            whole[..3].to_vec(),
            [whole.as_slice(), b"\0"].concat(),
            [whole.as_slice(), b"{\"n\":2}"].concat(),
            b"{\"n\":1}".to_vec(),
        ] {
            is_refused(&world, &post(&world, "/json", &headers, &body).await, 400, "malformed-body");
        }
        arrived(&world, &post(&world, "/json", &headers, &whole).await);
    }
    // The checksum is compared.
    let mut wrong = gzip(b"{\"n\":1}");
    let at = wrong.len() - 8;
    wrong[at] ^= 1;
    let response = post(&world, "/json", &[JSON, ("Content-Encoding", "gzip")], &wrong).await;
    is_refused(&world, &response, 400, "malformed-body");
}

#[tokio::test]
async fn bombs_are_413_and_memory_stays_flat() {
    let world = world();
    let gzip_bomb = gzip(&vec![b' '; 128 << 20]);
    assert!(gzip_bomb.len() < 140_000, "{}", gzip_bomb.len());
    let zstd_bomb = zstd_runs(4096);
    assert!(zstd_bomb.len() < 17_000);
    let brotli_bomb = br(&vec![b' '; 32 << 20]);
    for (coding, bomb) in [("gzip", &gzip_bomb), ("zstd", &zstd_bomb), ("br", &brotli_bomb)] {
        let mut resident = Vec::new();
        // The first rounds warm the allocator of each worker.
        for _ in 0..12 {
            for target in ["/json", "/xml"] {
                let media = if target == "/json" { JSON } else { ("Content-Type", "application/xml") };
                let response = post(&world, target, &[media, ("Content-Encoding", coding)], bomb).await;
                is_refused(&world, &response, 413, "payload-too-large");
            }
            resident.push(world.program.resident_bytes().unwrap());
        }
        let grown = resident[11].saturating_sub(resident[5]);
        assert!(grown < 2 << 20, "{coding}: {resident:?}");
    }
    // Within a part of a form as well: the form is decoded before it is read.
    let head = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n";
    let bomb = gzip(&[head.as_slice(), &vec![b' '; 32 << 20], b"\r\n--b--\r\n"].concat());
    let headers = [("Content-Type", "multipart/form-data; boundary=b"), ("Content-Encoding", "gzip")];
    let response = post(&world, "/multi", &headers, &bomb).await;
    is_refused(&world, &response, 413, "payload-too-large");
}

#[tokio::test]
async fn the_ratio_counts_beside_the_size() {
    let world = world();
    // 900 KiB fit the bound of 1 MiB, but not out of so few bytes.
    let spaces = vec![b' '; 900 << 10];
    let response = post(&world, "/json", &[JSON, ("Content-Encoding", "gzip")], &gzip(&spaces)).await;
    is_refused(&world, &response, 413, "payload-too-large");
    // 64 KiB may come out of anything.
    let text = format!("{{\"text\":\"{}\"}}", "a".repeat(60 << 10));
    arrived(
        &world,
        &post(&world, "/json", &[JSON, ("Content-Encoding", "gzip")], &gzip(text.as_bytes())).await,
    );
    let wide = with(&config().replace("zstd] }", "zstd], max_ratio: 1000 }"));
    let text = format!("{{\"text\":\"{}\"}}", "a".repeat(200 << 10));
    arrived(
        &wide,
        &post(&wide, "/json", &[JSON, ("Content-Encoding", "gzip")], &gzip(text.as_bytes())).await,
    );
}
