//! Too much and too slow: refused with the right word or closed, memory flat, and nobody else notices.

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM, SETTINGS, block, frame,
};
use crate::hostile::{Innocent, echo, is_problem, only_innocent};
use crate::world::{CONFIG, World, items};
use portcullis_testkit::{Connection, request, send};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const MEGABYTE: u64 = 1 << 20;

/// Heads of absurd size, over both protocols; memory stays where it was.
#[tokio::test]
async fn ten_thousand_headers_and_a_head_of_a_hundred_megabytes_are_refused_and_memory_stays_flat() {
    let world = World::with(CONFIG, echo);
    let innocent = Innocent::start(&world);
    for _ in 0..200 {
        assert_eq!(world.get("/items?tag=innocent-0").await.status, 200);
    }
    let before = world.program.resident_bytes().unwrap();
    let mut peak = before;
    let many: String = (0..10_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "a".repeat(9 << 10));
    for (head, status, code) in [
        (many.as_str(), 431, "header-too-large"),
        (long.as_str(), 431, "header-too-large"),
        ("Cookie: a=1; b=2\r\n", 200, ""),
    ] {
        let bytes = format!("GET /items?tag=innocent-1 HTTP/1.1\r\nHost: localhost\r\n{head}\r\n");
        let mut connection = Connection::open(world.public()).await.unwrap();
        // The gate stops reading before the end: what is written then may fail.
        let _ = connection.write(bytes.as_bytes()).await;
        let answer = connection.response().await.unwrap();
        assert_eq!(answer.status, status);
        if status != 200 {
            is_problem(&answer, status, code);
        }
    }
    let target = format!("/items?tag={}", "a".repeat(9 << 10));
    is_problem(&world.get(&target).await, 414, "uri-too-long");
    // One hundred megabytes in one head: one value, many fields, and a target.
    for start in
        ["GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ", "GET /", "GET / HTTP/1.1\r\nHost: localhost\r\n"]
    {
        let mut stream = TcpStream::connect(world.public()).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let piece = if start.ends_with(": ") || start.ends_with('/') {
            vec![b'a'; 1 << 20]
        } else {
            "X-Some-Name: some value\r\n".repeat((1 << 20) / 25).into_bytes()
        };
        let mut written = 0;
        while written < 100 {
            if stream.write_all(&piece).await.is_err() {
                break;
            }
            written += 1;
            peak = peak.max(world.program.resident_bytes().unwrap());
        }
        assert!(written < 100, "somebody has read all of it");
        let mut back = Vec::new();
        let _ = stream.read_to_end(&mut back).await;
        let text = String::from_utf8_lossy(&back);
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 431 ") || text.starts_with("HTTP/1.1 414 "),
            "{text}"
        );
    }
    // HTTP/2: ten thousand fields in CONTINUATION frames without an end (CVE-2024-27316).
    let mut frames = Frames::open(&world).await;
    let usual =
        block(&[(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/items")]);
    frames.write(&frame(HEADERS, END_STREAM, 1, &usual)).await.unwrap();
    let piece = block(&vec![("x-some-name", "some value"); 500]);
    let mut sent = 0;
    while sent < 5_000 && frames.write(&frame(CONTINUATION, 0, 1, &piece)).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 5_000, "a header block without an end is read for ever");
    // And the same many in one go, properly ended.
    let mut frames = Frames::open(&world).await;
    let fields: Vec<(String, String)> = (0..500).map(|n| (format!("x-{n}"), "y".repeat(100))).collect();
    let borrowed: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let whole = [usual, block(&borrowed)].concat();
    let mut pieces = whole.chunks(16_000).peekable();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        let flags = if kind == HEADERS { flags | END_STREAM } else { flags };
        let _ = frames.write(&frame(kind, flags, 1, piece)).await;
        kind = CONTINUATION;
    }
    let back = frames.end_of(1).await;
    assert!(back.status != Some(0x88), "{back:?}");
    peak = peak.max(world.program.resident_bytes().unwrap());
    innocent.finish();
    assert!(peak < before + 24 * MEGABYTE, "from {} to {} MiB", before / MEGABYTE, peak / MEGABYTE);
    only_innocent(&world, &[]);
}

/// Who dribbles is told 408 and closed, over both protocols, while everybody else is served.
#[tokio::test]
async fn slow_heads_and_slow_bodies_end_in_408_and_disturb_nobody() {
    let config = CONFIG.replace("limits:", "bounds: { head: 1s, connections_per_address: 2000 }\nlimits:");
    let world = World::with(&config, echo);
    let innocent = Innocent::start(&world);
    let before = world.program.resident_bytes().unwrap();
    let bearer = world.bearer("alice", "orders:write");
    let mut tasks = tokio::task::JoinSet::new();
    let address = world.public();
    for number in 0..300 {
        tasks.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            connection.write(b"GET /items HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await.unwrap();
            // A byte now and then keeps nobody waiting longer.
            let mut beat = tokio::time::interval(Duration::from_millis(50 + number % 7));
            let dribble = async {
                loop {
                    beat.tick().await;
                    if connection.write(b"a").await.is_err() {
                        return;
                    }
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(3), dribble).await;
            let answer = connection.response().await.ok();
            if let Some(answer) = &answer {
                is_problem(answer, 408, "request-timeout");
            }
            assert!(connection.rest().await.unwrap().is_empty());
            answer.is_some()
        });
    }
    for _ in 0..100 {
        let head = format!(
            "POST /orders HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\n\
             Content-Length: 100000\r\n\r\n{{\"item\":"
        );
        tasks.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            connection.write(head.as_bytes()).await.unwrap();
            let answer = connection.response().await.unwrap();
            is_problem(&answer, 408, "request-timeout");
            assert!(connection.rest().await.unwrap().is_empty());
            true
        });
    }
    // The same clock runs for HTTP/2 (GHSA-7ghq-v6jf-g56c).
    let mut frames = Frames::open(&world).await;
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/orders"),
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let mut bytes = frame(HEADERS, END_HEADERS, 1, &block(&fields));
    bytes.extend(frame(DATA, 0, 1, b"{\"item\":"));
    frames.write(&bytes).await.unwrap();
    let back = frames.end_of(1).await;
    let json: serde_json::Value = serde_json::from_slice(&back.body).unwrap_or_default();
    assert_eq!(json["type"], "urn:portcullis:problem:request-timeout", "{back:?}");
    // A header block that never ends is a slow head.
    let mut frames = Frames::open(&world).await;
    frames.write(&frame(HEADERS, 0, 1, &block(&fields))).await.unwrap();
    let back =
        tokio::time::timeout(Duration::from_secs(20), frames.end_of(1)).await.expect("a slow head of HTTP/2");
    assert!(back.gone || back.reset, "{back:?}");
    let told = tasks.join_all().await.into_iter().filter(|told| *told).count();
    assert!(told >= 300, "{told} of 400 were told why");
    let after = world.program.resident_bytes().unwrap();
    innocent.finish();
    assert!(after < before + 48 * MEGABYTE, "from {} to {} MiB", before / MEGABYTE, after / MEGABYTE);
    only_innocent(&world, &[]);
}

/// Rapid reset (CVE-2023-44487), PING and SETTINGS floods: the connection ends, the others do not.
#[tokio::test]
async fn floods_of_http2_frames_end_their_connection_alone() {
    let world = World::with(CONFIG, echo);
    let innocent = Innocent::start(&world);
    let before = world.program.resident_bytes().unwrap();
    let usual = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/items?tag=innocent-x"),
    ];
    let mut resets = Vec::new();
    for stream in (1..4_000_u32).step_by(2) {
        resets.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&usual)));
        resets.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let pings: Vec<u8> = (0..2_000).flat_map(|_| frame(PING, 0, 0, &[0; 8])).collect();
    let settings: Vec<u8> = (0..2_000).flat_map(|_| frame(SETTINGS, 0, 0, &[])).collect();
    let mut empty = frame(
        HEADERS,
        END_HEADERS,
        1,
        &block(&[
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", "/orders"),
        ]),
    );
    empty.extend((0..2_000).flat_map(|_| frame(DATA, 0, 1, &[])));
    for (name, flood) in [("resets", resets), ("pings", pings), ("settings", settings), ("empty data", empty)]
    {
        let mut frames = Frames::open(&world).await;
        let _ = frames.write(&flood).await;
        let ended = async { while frames.next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap_or_else(|_| panic!("{name} go on"));
    }
    let after = world.program.resident_bytes().unwrap();
    innocent.finish();
    assert!(after < before + 24 * MEGABYTE, "from {} to {} MiB", before / MEGABYTE, after / MEGABYTE);
}

/// A ClientHello of an old version, as `openssl s_client -tls1` would send it.
pub(crate) fn client_hello(version: [u8; 2], name: &[u8], padding: usize) -> Vec<u8> {
    let mut hello = version.to_vec();
    hello.extend([7; 32]);
    hello.push(0);
    // TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_RC4_128_SHA.
    hello.extend([0, 6, 0xc0, 0x13, 0, 0x2f, 0, 5, 1, 0]);
    let mut extensions = vec![0, 0];
    for more in [5, 3] {
        extensions.extend(u16::try_from(name.len() + more).unwrap().to_be_bytes());
    }
    extensions.push(0);
    extensions.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
    extensions.extend(name);
    // supported_groups, ec_point_formats.
    extensions.extend([0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0]);
    if padding > 0 {
        extensions.extend([0, 21]);
        extensions.extend(u16::try_from(padding).unwrap().to_be_bytes());
        extensions.extend(vec![0; padding]);
    }
    hello.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    hello.extend(extensions);
    let mut message = vec![1];
    message.extend(&u32::try_from(hello.len()).unwrap().to_be_bytes()[1..]);
    message.extend(hello);
    let mut out = Vec::new();
    for piece in message.chunks(16_000) {
        out.extend([0x16, 3, 1]);
        out.extend(u16::try_from(piece.len()).unwrap().to_be_bytes());
        out.extend(piece);
    }
    out
}

#[tokio::test]
async fn old_tls_huge_hellos_and_the_wrong_protocol_get_no_handshake() {
    let world = World::with(CONFIG, echo);
    let innocent = Innocent::start(&world);
    for (name, bytes) in [
        ("SSL 3.0", client_hello([3, 0], b"localhost", 0)),
        ("TLS 1.0", client_hello([3, 1], b"localhost", 0)),
        ("TLS 1.1", client_hello([3, 2], b"localhost", 0)),
        ("TLS 1.2 with CBC and RC4 alone", client_hello([3, 3], b"localhost", 0)),
        ("a hello above 16 KiB", client_hello([3, 3], b"localhost", 40_000)),
        ("plain HTTP", request("GET", "/items", &[], b"")),
        ("SSL 2.0", vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10]),
        ("noise", (0..2_000_u32).map(|n| u8::try_from(n * 37 % 251).unwrap()).collect()),
    ] {
        let mut stream = TcpStream::connect(world.secure()).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let mut back = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut back)).await;
        assert!(read.is_ok(), "{name}: not closed");
        // An alert (RFC 8446, section 6): fatal, and of a version problem where that is the problem.
        assert!(back.is_empty() || (back[0] == 0x15 && back[5] == 2), "{name}: {back:?}");
        if name.starts_with("TLS 1.0") || name.starts_with("TLS 1.1") {
            assert!(
                matches!(back.last(), Some(40 | 70)),
                "{name}: handshake_failure or protocol_version: {back:?}"
            );
        }
    }
    // TLS on the plain port is no HTTP.
    let answer = send(world.public(), &client_hello([3, 3], b"localhost", 0)).await.unwrap();
    is_problem(&answer, 400, "malformed-request");
    // TLS 1.2 and 1.3 as they should be.
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        let pem =
            <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(
                world.authority.pem().as_bytes(),
            );
        roots.add(pem.unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connection =
            Connection::open_tls(world.secure(), "localhost", Arc::new(config)).await.unwrap();
        connection.write(&request("GET", "/items?tag=innocent-1", &[], b"")).await.unwrap();
        assert_eq!(connection.response().await.unwrap().status, 200);
    }
    innocent.finish();
    only_innocent(&world, &[]);
}

/// Two hundred connections of one address, and no more.
#[tokio::test]
async fn connections_of_one_address_are_bounded_and_free_again_when_they_end() {
    let config = CONFIG.replace("limits:", "bounds: { connections_per_address: 10 }\nlimits:");
    let world = World::with(&config, |_| items());
    let ask = request("GET", "/items", &[], b"");
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut connection = Connection::open(world.public()).await.unwrap();
        connection.write(&ask).await.unwrap();
        assert_eq!(connection.response().await.unwrap().status, 200);
        open.push(connection);
    }
    let mut surplus = Connection::open(world.public()).await.unwrap();
    let _ = surplus.write(&ask).await;
    assert!(surplus.rest().await.unwrap().is_empty(), "closed at accept, without a word");
    let mut last = open.pop().unwrap();
    last.finish().await.unwrap();
    assert!(last.rest().await.unwrap().is_empty());
    // The gate has closed its side, so the place is free.
    let mut next = Connection::open(world.public()).await.unwrap();
    next.write(&ask).await.unwrap();
    assert_eq!(next.response().await.unwrap().status, 200);
}
