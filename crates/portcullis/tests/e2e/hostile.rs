//! What two readers could read in two ways: refused with the right word or closed, at no cost to anybody else.

use crate::frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, block, frame};
use crate::world::{CONFIG, World};
use portcullis_testkit::{Answer, Connection, Recorded, Response, request};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
pub(crate) fn echo(seen: &Recorded) -> Answer {
    let tag = seen.target.split("tag=").nth(1).unwrap_or("none");
    Answer::json(format!("{{\"items\":[{{\"name\":\"{tag}\"}}]}}"))
}

pub(crate) fn is_problem(response: &Response, status: u16, code: &str) {
    let text = response.text();
    assert_eq!((response.status, response.problem().as_deref()), (status, Some(code)), "{text}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert_eq!(response.json()["status"], status);
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

/// A client that asks all the time, and is answered in time all the time.
pub(crate) struct Innocent {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(usize, Duration)>,
}

impl Innocent {
    pub(crate) fn start(world: &World) -> Self {
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

    pub(crate) fn finish(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let (count, slowest) = self.thread.join().unwrap();
        assert!(count > 0 && slowest < Duration::from_secs(3), "{count} answers, the slowest {slowest:?}");
        count
    }
}

/// All that the upstream saw, which must be the innocent requests and these.
pub(crate) fn only_innocent(world: &World, besides: &[&str]) {
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

/// A case of the table of targets, as far as it is about the target alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    name: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    version: Option<String>,
    expect: Expected,
}

#[derive(Deserialize)]
struct Expected {
    code: Option<String>,
}

/// The same table that `canonical` is tested with; cases that need another listener are left to it.
#[tokio::test]
async fn every_refused_target_of_the_table_is_refused_by_the_running_program_over_both_protocols() {
    let config = CONFIG.replace("    anonymous:", "    secrets_in_url: { names: [sig] }\n    anonymous:");
    let world = World::with(&config, echo);
    let all: Vec<serde_json::Value> =
        serde_saphyr::from_str(include_str!("../../../gateway/vectors/head.yaml")).unwrap();
    let targets: Vec<Target> = all.into_iter().filter_map(|case| serde_json::from_value(case).ok()).collect();
    let mut judged = [0, 0];
    for case in &targets {
        let (Some(code), Some(target)) = (&case.expect.code, &case.target) else { continue };
        let method = case.method.as_deref().unwrap_or("GET");
        // CONNECT over HTTP/1.1 ends at the guard, one step before: it is in the table of framing.
        if case.version.as_deref() != Some("2") && method != "CONNECT" {
            let mut connection = world.tls_connection().await.unwrap();
            let head = format!("{method} {target} HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
            connection.write(&bytes(&head)).await.unwrap();
            let answer = connection.response().await.unwrap();
            assert_eq!(answer.problem().as_ref(), Some(code), "{}: {}", case.name, answer.text());
            judged[0] += 1;
        }
        if case.version.as_deref() != Some("1.1") && target.starts_with('/') {
            let mut frames = Frames::open(&world).await;
            let fields = [
                (":method", method),
                (":scheme", "https"),
                (":authority", "api.example.com"),
                (":path", target),
            ];
            frames.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).await.unwrap();
            let back = frames.end_of(1).await;
            let json: serde_json::Value = serde_json::from_slice(&back.body).unwrap_or_default();
            let told = json["type"].as_str().and_then(|text| text.strip_prefix("urn:portcullis:problem:"));
            // What is no URI at all is refused a layer below, by a reset.
            assert!(
                told == Some(code) || (told.is_none() && back.reset),
                "{} over HTTP/2: {back:?}",
                case.name
            );
            judged[1] += 1;
        }
    }
    assert!(judged.iter().all(|count| *count > 40), "{judged:?}");
    assert!(world.upstream.requests().is_empty());
}
