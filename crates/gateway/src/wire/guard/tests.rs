#![expect(clippy::disallowed_methods, reason = "bodies of a test are small")]

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;

use super::head::After;
use super::*;

/// A connection that delivers what it is told to, piece by piece, and ends when it is told to.
struct Script(VecDeque<Vec<u8>>, Rc<Cell<bool>>);

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut piece) = self.0.pop_front() {
            let n = piece.len().min(buf.remaining());
            buf.put_slice(&piece[..n]);
            if n < piece.len() {
                self.0.push_front(piece.split_off(n));
            }
        } else if !self.1.get() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A request as somebody understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    line: String,
    fields: Vec<(String, Vec<u8>)>,
    /// `None` when the body broke off.
    body: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    requests: Vec<Seen>,
    rule: Option<Rule>,
    body_rule: Option<Rule>,
}

/// A header map keeps the order within a name.
fn by_name(fields: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    fields
}

/// What hyper yields behind the guard.
fn yields(pieces: Vec<Vec<u8>>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let slot = Rc::new(Slot::new());
        let seen = Rc::new(std::cell::RefCell::new(Vec::new()));
        let rule = Rc::new(Cell::new(None));
        let calls = Rc::new(Cell::new(0));
        let ended = Rc::new(Cell::new(false));
        let guard = Guard::new(Script(pieces.into(), ended.clone()), Limits::default(), slot.clone());
        let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
            let (slot, seen, rule, calls) = (slot.clone(), seen.clone(), rule.clone(), calls.clone());
            async move {
                calls.set(calls.get() + 1);
                let mut response = hyper::Response::new(Empty::<Bytes>::new());
                let close = hyper::header::HeaderValue::from_static("close");
                if let Some(violation) = slot.violation(calls.get()) {
                    rule.set(Some(violation));
                    response.headers_mut().insert("connection", close);
                    return Ok::<_, std::convert::Infallible>(response);
                }
                let (parts, body) = request.into_parts();
                let fields = parts.headers.iter();
                let fields = by_name(fields.map(|(n, v)| (n.to_string(), v.as_bytes().to_vec())));
                let body = body.collect().await.ok().map(|body| body.to_bytes().to_vec());
                let last = body.is_none() || parts.headers.get("upgrade").is_some_and(|u| u == "websocket");
                let line = format!("{} {}", parts.method, parts.uri);
                seen.borrow_mut().push(Seen { line, fields, body });
                if last {
                    response.headers_mut().insert("connection", close);
                }
                Ok(response)
            }
        });
        let mut connection = http1::Builder::new()
            .half_close(false)
            .max_headers(101)
            .max_buf_size(64 << 10)
            .serve_connection(TokioIo::new(guard), service);
        // The end of the stream comes when nothing moves any more: hyper gives up a request whose client is gone.
        let mut rounds = 0;
        std::future::poll_fn(|cx| {
            rounds += 1;
            ended.set(rounds > 20);
            cx.waker().wake_by_ref();
            assert!(rounds < 100, "it must end");
            Pin::new(&mut connection).poll(cx)
        })
        .await
        .ok();
        let requests = seen.borrow().clone();
        Outcome { requests, rule: rule.get(), body_rule: slot.body_violation() }
    })
}

/// What the guard's grammar sees, by the shortest way.
fn saw(input: &[u8]) -> Outcome {
    let limits = Limits::default();
    let (mut rest, mut requests) = (input, Vec::new());
    loop {
        let mut places = Vec::new();
        let (end, after) =
            match HeadScan::new(Mode::Request).feed(rest, &limits, &mut |place| places.push(place)) {
                Progress::More => return Outcome { requests, rule: None, body_rule: None },
                Progress::Bad(rule) => return Outcome { requests, rule: Some(rule), body_rule: None },
                Progress::Done(end, after) => (end, after),
            };
        let (head, tail) = rest.split_at(end);
        let line = head.split(|&b| b == b'\n').find(|line| line.len() > 1).unwrap();
        let line =
            std::str::from_utf8(line).unwrap().trim_end().strip_suffix(" HTTP/1.1").unwrap().to_owned();
        let field = |place: &Place| {
            let name = String::from_utf8(head[place.name.0..place.name.1].to_ascii_lowercase()).unwrap();
            (name, head[place.value.0..place.value.1].to_vec())
        };
        let mut seen = Seen { line, fields: by_name(places.iter().map(field)), body: Some(Vec::new()) };
        rest = tail;
        match after {
            After::Nothing => {}
            After::Upgrade => {
                requests.push(seen);
                return Outcome { requests, rule: None, body_rule: None };
            }
            After::Length(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                seen.body = rest.get(..length).map(<[u8]>::to_vec);
                rest = rest.get(length..).unwrap_or_default();
            }
            After::Chunked => {
                let (mut scan, mut body, mut at) = (ChunkScan::new(), Vec::new(), 0);
                seen.body = loop {
                    let n = scan.data().min(rest.len() - at);
                    if n > 0 {
                        body.extend_from_slice(&rest[at..at + n]);
                        scan.took(n);
                        at += n;
                        continue;
                    }
                    let Some(&byte) = rest.get(at) else { break None };
                    at += 1;
                    match scan.byte(byte) {
                        Ok(Fate::End) => break Some(body),
                        Ok(_) => {}
                        Err(rule) => {
                            seen.body = None;
                            requests.push(seen);
                            return Outcome { requests, rule: None, body_rule: Some(rule) };
                        }
                    }
                };
                rest = &rest[at..];
            }
        }
        let broken = seen.body.is_none();
        requests.push(seen);
        if broken {
            return Outcome { requests, rule: None, body_rule: None };
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    input: String,
    #[serde(default)]
    bodies: Vec<String>,
    rule: Option<String>,
    status: Option<u16>,
    body_rule: Option<String>,
}

fn cases() -> Vec<(Case, Vec<u8>)> {
    let text = include_str!("../../../vectors/framing.yaml");
    let cases: Vec<Case> = serde_saphyr::from_str(text).expect("framing.yaml");
    // `\xe9` in YAML is a character; the vectors mean the byte.
    cases.into_iter().map(|case| (u8s(&case.input), case)).map(|(bytes, case)| (case, bytes)).collect()
}

fn u8s(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

#[test]
fn vectors() {
    let cases = cases();
    assert!(cases.len() > 90, "{}", cases.len());
    for (case, input) in cases {
        let whole = yields(vec![input.clone()]);
        let bodies: Vec<String> = whole
            .requests
            .iter()
            .filter_map(|seen| seen.body.clone().map(|body| String::from_utf8(body).unwrap()))
            .collect();
        assert_eq!(bodies, case.bodies, "{}", case.name);
        assert_eq!(whole.rule.map(Rule::name), case.rule.as_deref(), "{}", case.name);
        assert_eq!(whole.rule.map(|rule| rule.code().status()), case.status, "{}", case.name);
        assert_eq!(whole.body_rule.map(Rule::name), case.body_rule.as_deref(), "{}", case.name);
        assert_eq!(whole, saw(&input), "{}", case.name);
        let bytes = input.iter().map(|&b| vec![b]).collect();
        assert_eq!(yields(bytes), whole, "{} byte by byte", case.name);
        for cut in 1..input.len() {
            let (a, b) = input.split_at(cut);
            assert_eq!(yields(vec![a.to_vec(), b.to_vec()]), whole, "{} cut at {cut}", case.name);
        }
    }
}

#[test]
fn sizes() {
    let head = |fields: &str| format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
    let rule = |input: Vec<u8>| yields(input.chunks(1000).map(<[u8]>::to_vec).collect()).rule;
    assert_eq!(rule(head(&"X: 1\r\n".repeat(99))), None);
    assert_eq!(rule(head(&"X: 1\r\n".repeat(100))), Some(Rule::HeaderSize));
    assert_eq!(rule(head(&"X: 1\r\n".repeat(10_000))), Some(Rule::HeaderSize));
    assert_eq!(rule(head(&format!("X: {}\r\n", "v".repeat(8192)))), None);
    assert_eq!(rule(head(&format!("X: {}\r\n", "v".repeat(8193)))), Some(Rule::HeaderSize));
    let total = |n: usize| head(&format!("X: {}\r\n", "v".repeat(n)).repeat(5));
    assert_eq!(rule(total(6000)), None);
    assert_eq!(rule(total(8000)), Some(Rule::HeaderSize));
    let target = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(n)).into_bytes();
    assert_eq!(rule(target(8191)), None);
    assert_eq!(rule(target(8192)), Some(Rule::TargetSize));
    assert_eq!(rule(b"A".repeat(20_000)), Some(Rule::TargetSize), "a line that never ends");
    assert_eq!(Rule::TargetSize.code().status(), 414);
    assert_eq!(Rule::HeaderSize.code().status(), 431);
}

/// Pieces of requests, put together at random: most are nearly right.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        Just(&b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
        Just(&b"POST /a?b=c HTTP/1.1\r\nHost: a\r\n"[..]),
        Just(&b"Content-Length: 3\r\n"[..]),
        Just(&b"Content-Length: 5\r\n\r\nabcde"[..]),
        Just(&b"Transfer-Encoding: chunked\r\n\r\n"[..]),
        Just(&b"transfer-encoding:chunked\r\n"[..]),
        Just(&b"3\r\nabc\r\n"[..]),
        Just(&b"3;x=y\r\nabc\r\n"[..]),
        Just(&b"0\r\n\r\n"[..]),
        Just(&b"0\r\nX: y\r\n\r\n"[..]),
        Just(&b"\r\n"[..]),
        Just(&b"\n"[..]),
        Just(&b"\r"[..]),
        Just(&b" "[..]),
        Just(&b"X-A: b\r\n"[..]),
        Just(&b"X: \t y \r\n"[..]),
        Just(&b"Upgrade: websocket\r\n"[..]),
        Just(&b"Connection: close\r\n"[..]),
        Just(&b"Expect: 100-continue\r\n"[..]),
        Just(&b"GET / HTTP/1.1\r\n"[..]),
        Just(&b"Host: b\r\n"[..]),
        Just(&b"HTTP/1.1"[..]),
    ];
    let piece = prop_oneof![
        12 => fragment.prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 1..14).prop_map(|pieces| pieces.concat())
}

/// Well-formed requests one after the other, with a few bytes replaced, inserted or removed.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let request = prop_oneof![
        Just(&b"GET /a HTTP/1.1\r\nHost: a\r\nX-B: c d\r\n\r\n"[..]),
        Just(&b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nGET / HTTP/1."[..]),
        Just(&b"PUT /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n"[..]),
        Just(&b"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok"[..]),
        Just(&b"\r\nDELETE /d HTTP/1.1\r\nhost:a\r\nContent-Length: 0\r\n\r\n"[..]),
    ];
    let byte = prop_oneof![any::<u8>(), prop::sample::select(&b"\r\n \t:;,0123456789abcdefx+-\0"[..])];
    let change = (any::<prop::sample::Index>(), 0u8..3, byte);
    (prop::collection::vec(request, 1..5), prop::collection::vec(change, 0..3)).prop_map(
        |(requests, changes)| {
            let mut bytes = requests.concat();
            for (at, kind, byte) in changes {
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => drop(bytes.remove(at)),
                }
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The guard's law.
    #[test]
    fn hyper_yields_what_the_guard_saw(input in prop_oneof![soup(), nearly()], cuts in prop::collection::vec(1usize..40, 0..8)) {
        let expected = saw(&input);
        let mut pieces = Vec::new();
        let mut rest = &input[..];
        for cut in cuts {
            if cut < rest.len() {
                let (a, b) = rest.split_at(cut);
                pieces.push(a.to_vec());
                rest = b;
            }
        }
        pieces.push(rest.to_vec());
        let got = yields(pieces);
        // A request may end the connection of its own will (`Connection: close`); then the rest is not read.
        let closed = |seen: &Seen| seen.fields.iter().any(|(n, v)| n == "connection" && v == b"close");
        if let Some(at) = expected.requests.iter().position(closed) {
            prop_assert!(got.requests.len() <= expected.requests.len());
            prop_assert!(got.requests.len() > at);
            prop_assert_eq!(&got.requests[..], &expected.requests[..got.requests.len()]);
        } else {
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn any_bytes(input in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(yields(vec![input.clone()]), saw(&input));
    }
}
