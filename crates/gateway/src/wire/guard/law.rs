//! The guard's law, for tables, properties and the fuzzer: two readers of the same bytes, and that they agree.
//!
//! The fuzz target compiles this file and the guard by themselves, so that no part of the guard is public for it.
#![expect(clippy::disallowed_methods, reason = "bodies of a test are small")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::guard::{
    After, ChunkScan, Fate, Guard, HeadScan, Limits, Mode, Place, Progress, Rule, Slot,
};

/// The requests that hyper yields behind the guard are those that the guard saw. The first byte says in pieces of
/// which size the others arrive.
pub(crate) fn requests(data: &[u8]) {
    let Some((&size, input)) = data.split_first() else { return };
    same_requests(input, pieces(input, size));
}

/// As [`requests`], with the pieces given.
pub(crate) fn same_requests(input: &[u8], pieces: Vec<Vec<u8>>) {
    let (expected, got) = (saw(input), yields(pieces));
    // A request may end the connection of its own will (`Connection: close`); then the rest is not read.
    let closed = |seen: &Seen| {
        let close = |value: &[u8]| String::from_utf8_lossy(value).to_ascii_lowercase().contains("close");
        seen.fields.iter().any(|(name, value)| name == "connection" && close(value))
    };
    if let Some(at) = expected.requests.iter().position(closed) {
        assert!(got.requests.len() > at);
        assert_eq!(Some(&got.requests[..]), expected.requests.get(..got.requests.len()));
    } else {
        assert_eq!(got, expected);
    }
}

/// An answer that the guard's grammar lets pass is the answer that hyper's client reads from the same bytes. The
/// first byte says in pieces of which size the others arrive.
pub(crate) fn answers(data: &[u8]) {
    let Some((&size, input)) = data.split_first() else { return };
    let Some(expected) = answered(input) else { return };
    assert_eq!(received(pieces(input, size)), Ok(expected));
}

fn pieces(input: &[u8], size: u8) -> Vec<Vec<u8>> {
    match size {
        0 => vec![input.to_vec()],
        _ => input.chunks(usize::from(size)).map(<[u8]>::to_vec).collect(),
    }
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
}

/// A connection that delivers what it is told to, piece by piece, and ends when nothing has moved for a while: hyper
/// gives up a request whose client is gone.
struct Script {
    pieces: VecDeque<Vec<u8>>,
    /// Rounds since the last piece.
    idle: Rc<Cell<u32>>,
    /// A server says nothing before it is asked.
    asked: bool,
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            return Poll::Pending;
        }
        if let Some(mut piece) = self.pieces.pop_front() {
            self.idle.set(0);
            let n = piece.len().min(buf.remaining());
            buf.put_slice(&piece[..n]);
            if n < piece.len() {
                self.pieces.push_front(piece.split_off(n));
            }
        } else if self.idle.get() <= 20 {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = true;
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A message as somebody understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Method and target; of an answer, its status.
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    /// `None` when the body broke off.
    pub(crate) body: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) requests: Vec<Seen>,
    pub(crate) rule: Option<Rule>,
    pub(crate) body_rule: Option<Rule>,
}

/// A header map keeps the order within a name.
fn by_name(fields: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    fields
}

/// What hyper yields behind the guard.
pub(crate) fn yields(pieces: Vec<Vec<u8>>) -> Outcome {
    let enough = 100 + 4 * pieces.len();
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let slot = Rc::new(Slot::new());
            let seen = Rc::new(RefCell::new(Vec::new()));
            let rule = Rc::new(Cell::new(None));
            let calls = Rc::new(Cell::new(0));
            let idle = Rc::new(Cell::new(0));
            let script = Script { pieces: pieces.into(), idle: idle.clone(), asked: true };
            let guard = Guard::new(script, Limits::default(), slot.clone());
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
                    let upgrade = |value: &hyper::header::HeaderValue| {
                        value.as_bytes().eq_ignore_ascii_case(b"websocket")
                    };
                    let last = body.is_none() || parts.headers.get_all("upgrade").iter().any(upgrade);
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
            let mut rounds = 0;
            std::future::poll_fn(|cx| {
                rounds += 1;
                idle.set(idle.get() + 1);
                cx.waker().wake_by_ref();
                assert!(rounds < enough, "it must end");
                Pin::new(&mut connection).poll(cx)
            })
            .await
            .ok();
            let requests = seen.borrow().clone();
            Outcome { requests, rule: rule.get(), body_rule: slot.body_violation() }
        })
    })
}

/// What the guard's grammar sees, by the shortest way.
pub(crate) fn saw(input: &[u8]) -> Outcome {
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
        let line = std::str::from_utf8(line).unwrap().trim_end().strip_suffix(" HTTP/1.1").unwrap();
        // A URI in absolute form is printed with its scheme in lower case and at least a slash.
        let (method, target) = line.split_once(' ').unwrap();
        let line = match target.starts_with('/') {
            true => line.to_owned(),
            false => format!("{method} {}", target.parse::<http::Uri>().unwrap()),
        };
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
                let (body, at, rule) = chunks(rest);
                seen.body = body;
                if rule.is_some() {
                    requests.push(seen);
                    return Outcome { requests, rule: None, body_rule: rule };
                }
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

/// A chunked body, the bytes that it took, and what is wrong with it.
fn chunks(input: &[u8]) -> (Option<Vec<u8>>, usize, Option<Rule>) {
    let (mut scan, mut body, mut at) = (ChunkScan::new(), Vec::new(), 0);
    loop {
        let n = scan.data().min(input.len() - at);
        if n > 0 {
            body.extend_from_slice(&input[at..at + n]);
            scan.took(n);
            at += n;
            continue;
        }
        let Some(&byte) = input.get(at) else { return (None, at, None) };
        at += 1;
        match scan.byte(byte) {
            Ok(Fate::End) => return (Some(body), at, None),
            Ok(_) => {}
            Err(rule) => return (None, at, Some(rule)),
        }
    }
}

/// The answer to a GET that the grammar sees, as `upstream::h1` reads it; `None` when it is refused or not complete.
fn answered(input: &[u8]) -> Option<Seen> {
    let limits = Limits::default();
    let mut rest = input;
    for _ in 0..9 {
        let (mut scan, mut places) = (HeadScan::new(Mode::Response), Vec::new());
        let Progress::Done(end, _) = scan.feed(rest, &limits, &mut |place| places.push(place)) else {
            return None;
        };
        let (head, tail) = rest.split_at(end);
        let status = scan.status.code;
        if (100..200).contains(&status) && status != 101 {
            rest = tail;
            continue;
        }
        let field = |place: &Place| {
            let name = String::from_utf8(head[place.name.0..place.name.1].to_ascii_lowercase()).unwrap();
            (name, head[place.value.0..place.value.1].to_vec())
        };
        let body = match (status, scan.chunked(), scan.length()) {
            // 101 is for who asked for it.
            (101, ..) | (204, true, _) => return None,
            (204 | 304, ..) => Vec::new(),
            (_, true, _) => chunks(tail).0?,
            (_, false, Some(length)) => tail.get(..usize::try_from(length).ok()?)?.to_vec(),
            (_, false, None) => tail.to_vec(),
        };
        return Some(Seen {
            line: status.to_string(),
            fields: by_name(places.iter().map(field)),
            body: Some(body),
        });
    }
    None
}

/// The answer to a GET that hyper's client reads.
fn received(pieces: Vec<Vec<u8>>) -> Result<Seen, String> {
    let enough = 100 + 4 * pieces.len();
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let idle = Rc::new(Cell::new(0));
            let script = Script { pieces: pieces.into(), idle: idle.clone(), asked: false };
            let (mut sender, mut connection) =
                client::handshake(TokioIo::new(script)).await.map_err(|error| error.to_string())?;
            let request =
                hyper::Request::builder().uri("/").header("host", "a").body(Empty::<Bytes>::new()).unwrap();
            let mut exchange = Box::pin(async move {
                let (parts, body) =
                    sender.send_request(request).await.map_err(|e| e.to_string())?.into_parts();
                let fields = parts.headers.iter().map(|(n, v)| (n.to_string(), v.as_bytes().to_vec()));
                let fields = by_name(fields);
                let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes().to_vec();
                Ok(Seen { line: parts.status.as_u16().to_string(), fields, body: Some(body) })
            });
            let (mut rounds, mut over) = (0, false);
            std::future::poll_fn(|cx| {
                rounds += 1;
                idle.set(idle.get() + 1);
                cx.waker().wake_by_ref();
                assert!(rounds < enough, "it must end");
                let answer = exchange.as_mut().poll(cx);
                over = over || Pin::new(&mut connection).poll(cx).is_ready();
                answer
            })
            .await
        })
    })
}
