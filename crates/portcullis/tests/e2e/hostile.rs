//! What a stranger may send: refused with the right word or closed, at no cost to anybody else.

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM, SETTINGS, block, frame,
};
use crate::world::{CONFIG, World, items};
use portcullis_testkit::{Answer, Connection, Recorded, Response, request, send};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What one case of the edge's own table says.
#[derive(Deserialize)]
struct Case {
    name: String,
    input: String,
    #[serde(default)]
    bodies: Vec<String>,
    rule: Option<String>,
    status: Option<u16>,
    body_rule: Option<String>,
}

fn cases() -> Vec<Case> {
    serde_saphyr::from_str(include_str!("../../../gateway/vectors/framing.yaml")).unwrap()
}

/// `\xe9` in the table is a byte.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

/// The upstream says what it was asked for.
fn echo(seen: &Recorded) -> Answer {
    let tag = seen.target.split("tag=").nth(1).unwrap_or("none");
    Answer::json(format!("{{\"items\":[{{\"name\":\"{tag}\"}}]}}"))
}

fn is_problem(response: &Response, status: u16, code: &str) {
    let text = response.text();
    assert_eq!((response.status, response.problem().as_deref()), (status, Some(code)), "{text}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert_eq!(response.json()["status"], status);
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

/// A client that asks all the time, and is answered in time all the time.
struct Innocent {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(usize, Duration)>,
}

impl Innocent {
    fn start(world: &World) -> Self {
        let (address, stop) = (world.public(), Arc::new(AtomicBool::new(false)));
        let until = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let (mut count, mut slowest) = (0, Duration::ZERO);
                while !until.load(Ordering::SeqCst) {
                    let mut connection = Connection::open(address).await.unwrap();
                    for _ in 0..20 {
                        let began = Instant::now();
                        let bytes = request("GET", &format!("/items?tag=innocent-{count}"), &[], b"");
                        connection.write(&bytes).await.unwrap();
                        let answer = connection.response().await.unwrap();
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        assert_eq!(answer.json()["items"][0]["name"], format!("innocent-{count}"));
                        slowest = slowest.max(began.elapsed());
                        count += 1;
                    }
                }
                (count, slowest)
            })
        });
        Self { stop, thread }
    }

    fn finish(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let (count, slowest) = self.thread.join().unwrap();
        assert!(count > 0 && slowest < Duration::from_secs(3), "{count} answers, the slowest {slowest:?}");
        count
    }
}

/// All that the upstream saw, which must be the innocent requests and these.
fn only_innocent(world: &World, besides: &[&str]) {
    for seen in world.upstream.requests() {
        assert!(seen.message.anomalies.is_empty(), "{:?}", seen.message.anomalies);
        let known = seen.target.starts_with("/items?tag=innocent-");
        assert!(known || besides.contains(&seen.target.as_str()), "{}", seen.target);
    }
}

/// The table that the guard is tested with, through the running program: the same verdicts, as problems.
#[tokio::test]
async fn every_case_of_the_framing_table_is_judged_the_same_by_the_running_program() {
    let world = World::with(CONFIG, echo);
    let innocent = Innocent::start(&world);
    let cases = cases();
    assert!(cases.len() > 100);
    for case in &cases {
        if case.body_rule.is_some() {
            continue;
        }
        let mut connection = Connection::open(world.public()).await.unwrap();
        connection.write(&bytes(&case.input)).await.unwrap();
        for _ in &case.bodies {
            let answer = connection.response().await.unwrap_or_else(|e| panic!("{}: {e}", case.name));
            assert_ne!(answer.problem().as_deref(), Some("http-version-unsupported"), "{}", case.name);
            assert!(matches!(answer.status, 400 | 404 | 405), "{}: {}", case.name, answer.text());
        }
        let Some(rule) = &case.rule else { continue };
        let answer = connection.response().await.unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let code = match case.status.unwrap() {
            405 => "method-not-allowed",
            505 => "http-version-unsupported",
            _ => "malformed-request",
        };
        is_problem(&answer, case.status.unwrap(), code);
        assert!(connection.rest().await.unwrap().is_empty(), "{}: something follows", case.name);
        let line = world.line_of(&answer);
        assert_eq!(line["portcullis.reason"], rule.as_str(), "{}: {line}", case.name);
    }
    innocent.finish();
    only_innocent(&world, &[]);
}

#[tokio::test]
async fn malformed_chunks_of_a_wanted_body_are_refused_and_never_reach_the_upstream() {
    let world = World::with(CONFIG, echo);
    let bearer = world.bearer("alice", "orders:write");
    let head = format!(
        "POST /orders HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    let tables = cases();
    let malformed: Vec<(String, String)> = tables
        .iter()
        .filter(|case| case.body_rule.is_some())
        .map(|case| (case.name.clone(), case.input.split_once("\r\n\r\n").unwrap().1.to_owned()))
        .collect();
    assert!(malformed.len() > 10);
    for (name, body) in &malformed {
        let mut connection = Connection::open(world.public()).await.unwrap();
        let follow = "GET /items?tag=smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
        connection.write(&bytes(&format!("{head}{body}{follow}"))).await.unwrap();
        let answer = connection.response().await.unwrap_or_else(|e| panic!("{name}: {e}"));
        is_problem(&answer, 400, "malformed-request");
        assert!(connection.rest().await.unwrap().is_empty(), "{name}: something follows");
    }
    // A body that ends early is nobody's body either.
    let mut connection = Connection::open(world.public()).await.unwrap();
    connection.write(format!("{head}3\r\n{{\"i").as_bytes()).await.unwrap();
    connection.finish().await.unwrap();
    let rest = connection.rest().await.unwrap();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&rest));
    assert!(world.upstream.requests().is_empty(), "{:?}", world.upstream.requests());
}

/// Hidden requests never get out, and who follows on the same upstream connection gets their own answer.
#[tokio::test]
async fn five_hundred_smuggling_attempts_and_every_innocent_request_gets_its_own_answer() {
    let world = World::with(CONFIG, echo);
    let bearer = world.bearer("alice", "orders:write");
    let hidden = "GET /items?tag=smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let chunked = format!("0\r\n\r\n{hidden}");
    let length = chunked.len();
    let forms = [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
        format!(
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n",
            hidden.len()
        ),
        format!("Transfer-Encoding: xchunked\r\nContent-Length: {length}\r\n\r\n{chunked}"),
        format!("Transfer-Encoding : chunked\r\nContent-Length: {length}\r\n\r\n{chunked}"),
        format!("Transfer-Encoding:\x0bchunked\r\n\r\n{chunked}"),
        format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n{chunked}"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\n{chunked}"),
        format!("X: y\nTransfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{chunked}"),
        format!("Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()),
        format!("Content-Length: 0, {}\r\n\r\n{hidden}", hidden.len()),
        format!("Content-Length: 0x0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\n\r\n5;\n{hidden}0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n0\n\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\n\r\n0\r\n{hidden}"),
        format!(
            "Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: {}\r\n\r\n{hidden}",
            hidden.len()
        ),
        format!("Expect: 100-continue\r\n : x\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()),
    ];
    let mut steady = Connection::open(world.public()).await.unwrap();
    for number in 0..500 {
        let form = &forms[number % forms.len()];
        let attempt = format!(
            "POST /orders HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\n{form}"
        );
        let mut connection = Connection::open(world.public()).await.unwrap();
        connection.write(attempt.as_bytes()).await.unwrap();
        let rest = String::from_utf8_lossy(&connection.rest().await.unwrap()).into_owned();
        assert!(rest.starts_with("HTTP/1.1 400 "), "{form:?}: {rest}");
        assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{form:?}: {rest}");
        let ask = request("GET", &format!("/items?tag=innocent-{number}"), &[], b"");
        steady.write(&ask).await.unwrap();
        let answer = steady.response().await.unwrap();
        assert_eq!(answer.json()["items"][0]["name"], format!("innocent-{number}"), "{form:?}");
    }
    assert_eq!(world.upstream.requests().len(), 500);
    only_innocent(&world, &[]);
}

/// Forms that only HTTP/2 has: none is translated into something else (CVE-2021-21295 and its kin).
#[tokio::test]
async fn smuggling_forms_of_http2_are_refused_and_the_next_stream_is_served() {
    let world = World::with(CONFIG, echo);
    let usual: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/items?tag=evil")];
    let with = |extra: &[(&'static str, &'static str)]| [&usual[..], extra].concat();
    let without = |name: &str| usual.iter().copied().filter(|(n, _)| *n != name).collect::<Vec<_>>();
    let swapped = |name: &'static str, value: &'static str| {
        usual.iter().map(|(n, v)| if *n == name { (name, value) } else { (*n, *v) }).collect::<Vec<_>>()
    };
    let forms: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("connection", with(&[("connection", "keep-alive")])),
        ("upgrade", with(&[("upgrade", "h2c")])),
        ("te", with(&[("te", "gzip")])),
        ("line break in a value", with(&[("x-region", "a\r\nx-evil: 1")])),
        ("NUL in a value", with(&[("x-region", "a\0b")])),
        ("line break in the path", swapped(":path", "/items?tag=evil HTTP/1.1\r\nHost: a\r\n\r\nGET /x")),
        ("space in the path", swapped(":path", "/items?tag=evil HTTP/1.1")),
        ("line break in the method", swapped(":method", "GET /items HTTP/1.1\r\nX: y")),
        ("upper case", with(&[("X-Region", "a")])),
        ("colon in a name", with(&[("x:region", "a")])),
        ("underscore", with(&[("x_forwarded_for", "1.2.3.4")])),
        ("no path", without(":path")),
        ("no method", without(":method")),
        ("no authority", without(":authority")),
        ("path twice", with(&[(":path", "/orders")])),
        ("unknown pseudo header", with(&[(":evil", "1")])),
        ("late pseudo header", [&[("x-region", "a")], &usual[..]].concat()),
        ("path without a slash", swapped(":path", "items")),
        ("asterisk", swapped(":path", "*")),
        ("another host", with(&[("host", "other.example")])),
        ("another scheme", swapped(":scheme", "http")),
        ("userinfo", swapped(":authority", "user@localhost")),
        ("content-length without a body", with(&[("content-length", "5")])),
        ("two content-lengths", with(&[("content-length", "0"), ("content-length", "5")])),
        ("method override", with(&[("x-http-method-override", "DELETE")])),
    ];
    for (name, fields) in &forms {
        let mut frames = Frames::open(&world).await;
        frames.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields))).await.unwrap();
        let back = frames.end_of(1).await;
        assert!(back.reset || back.gone || back.status == Some(0x8c), "{name}: {back:?}");
        if back.status.is_some() && !back.body.is_empty() {
            let json: serde_json::Value = serde_json::from_slice(&back.body).unwrap();
            let code = json["type"].as_str().unwrap();
            assert!(
                code.ends_with("malformed-request") || code.ends_with("header-refused"),
                "{name}: {code}"
            );
        }
        if !back.gone {
            let next = block(&swapped(":path", "/items?tag=innocent-1"));
            frames.write(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &next)).await.unwrap();
            assert_eq!(frames.end_of(3).await.status, Some(0x88), "{name}: the next one");
        }
    }
    // A body that is longer or shorter than it says.
    let bearer = world.bearer("alice", "orders:write");
    for (said, sent) in [("3", "{\"item\":\"a\"}"), ("99", "{\"item\":\"a\"}")] {
        let mut frames = Frames::open(&world).await;
        let fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", "/orders"),
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("content-length", said),
        ];
        let mut bytes = frame(HEADERS, END_HEADERS, 1, &block(&fields));
        bytes.extend(frame(DATA, END_STREAM, 1, sent.as_bytes()));
        frames.write(&bytes).await.unwrap();
        let back = frames.end_of(1).await;
        assert!(back.reset || back.gone || back.status == Some(0x8c), "{said}: {back:?}");
    }
    only_innocent(&world, &[]);
}

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
