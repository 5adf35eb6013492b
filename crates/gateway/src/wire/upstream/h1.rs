//! HTTP/1.1 towards a server: one connection, one exchange at a time.
//!
//! The reader is the guard's own grammar, and there is no second one: what it judged is what is handed on. A
//! connection is driven by the exchange that uses it, so a request costs no further task and no wake-up between
//! tasks; a retry repeats the very bytes. hyper would parse what the guard has parsed, and would merge and forgive.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::SendBody;
use super::retry::Reached;
use crate::wire::body::InBodyError;
use crate::wire::guard::{ChunkScan, Fate, HeadScan, Limits, Mode, Place, Progress};

const INTERIM: u32 = 8;
const READ: usize = 8 << 10;
const READ_LARGE: usize = 64 << 10;
/// A body up to this size is written together with its head.
const TOGETHER: usize = 16 << 10;
/// Heads of responses: ≤ 100 fields and 32 KiB (names of servers' headers may be longer than a client's).
const LIMITS: Limits = Limits {
    headers: 100,
    header_bytes: 32 << 10,
    header_value: 16 << 10,
    header_name: 256,
    target: 4 << 10,
    http_1_0: false,
};

/// A server's bytes.
pub(crate) enum Link {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// Why an exchange failed on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection broke.
    Broken(Reached),
    /// The response is not HTTP as we read it.
    Malformed(&'static str),
    /// A clock ran out.
    Timeout,
    /// The client's body failed.
    Body(InBodyError),
}

/// A connection and what it keeps between exchanges.
pub(crate) struct H1 {
    link: Link,
    buf: BytesMut,
    out: Vec<u8>,
    sleep: Pin<Box<Sleep>>,
    armed: Instant,
    places: Vec<Place>,
    pub(crate) born: Instant,
    pub(crate) used: Instant,
}

/// How a response's body ends.
#[derive(Debug)]
pub(crate) enum Left {
    Nothing,
    Length(u64),
    Chunked(ChunkScan),
    Close,
}

/// A response's head, and what is known of the rest.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) left: Left,
    /// The connection may be used again once the body has ended.
    pub(crate) reusable: bool,
}

impl H1 {
    pub(crate) fn new(link: Link) -> Self {
        let now = Instant::now();
        let armed = now + std::time::Duration::from_secs(86_400);
        Self {
            link,
            buf: BytesMut::with_capacity(READ),
            out: Vec::with_capacity(1024),
            sleep: Box::pin(tokio::time::sleep_until(armed)),
            armed,
            places: Vec::new(),
            born: now,
            used: now,
        }
    }

    /// The server has neither closed nor said anything since the last exchange.
    pub(crate) fn quiet(&mut self) -> bool {
        let mut byte = [0u8; 1];
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.buf.is_empty()
            && Pin::new(&mut self.link).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Sends a request's head and body, reads a response's head. `head` comes from [`encode`].
    pub(crate) async fn exchange(
        &mut self,
        head: &[u8],
        method: &Method,
        body: &mut SendBody,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        self.out.clear();
        self.out.extend_from_slice(head);
        let mut sending = Sending { at: 0, wrote: false, state: State::Body, tail: Bytes::new() };
        if let SendBody::Full(bytes) = body {
            if bytes.len() <= TOGETHER {
                self.out.extend_from_slice(bytes);
            } else {
                sending.tail = bytes.clone();
            }
            sending.state = State::Last;
        } else if matches!(body, SendBody::Empty) {
            sending.state = State::Last;
        }
        let mut scan = HeadScan::new(Mode::Response);
        self.places.clear();
        let mut interim = 0;
        std::future::poll_fn(|cx| {
            loop {
                let sent = match sending.poll(cx, &mut self.link, &mut self.out, body) {
                    Poll::Ready(Ok(())) => true,
                    Poll::Ready(Err(SendError::Body(error))) => {
                        return Poll::Ready(Err(Failure::Body(error)));
                    }
                    // The server may have answered before it closed; reading tells.
                    Poll::Ready(Err(SendError::Io)) | Poll::Pending => false,
                };
                match self.poll_head(cx, &mut scan) {
                    Poll::Ready(Ok((end, status))) if (100..200).contains(&status) && status != 101 => {
                        interim += 1;
                        if interim > INTERIM {
                            return Poll::Ready(Err(Failure::Malformed("too many interim responses")));
                        }
                        self.buf.advance(end);
                        self.places.clear();
                        scan = HeadScan::new(Mode::Response);
                    }
                    Poll::Ready(Ok((end, _))) => return Poll::Ready(self.finish(end, &scan, method, sent)),
                    Poll::Ready(Err(Failure::Broken(_))) => {
                        let reached = match (sending.wrote, self.buf.is_empty() && interim == 0) {
                            (false, _) => Reached::Nothing,
                            (true, true) => Reached::Sent,
                            (true, false) => Reached::Answered,
                        };
                        return Poll::Ready(Err(Failure::Broken(reached)));
                    }
                    Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                    Poll::Pending => {
                        ready!(self.poll_clock(cx, deadline));
                        return Poll::Ready(Err(Failure::Timeout));
                    }
                }
            }
        })
        .await
    }

    /// Reads until a head is complete: its length and status.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scan: &mut HeadScan,
    ) -> Poll<Result<(usize, u16), Failure>> {
        loop {
            if !self.buf.is_empty() {
                let places = &mut self.places;
                match scan.feed(&self.buf, &LIMITS, &mut |place| places.push(place)) {
                    Progress::Done(end, _) => return Poll::Ready(Ok((end, scan.status.code))),
                    Progress::Bad(rule) => return Poll::Ready(Err(Failure::Malformed(rule.name()))),
                    Progress::More => {}
                }
            }
            match ready!(self.poll_fill(cx, READ)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Failure::Broken(Reached::Sent))),
                Ok(_) => {}
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        self.buf.reserve(room);
        pin!(self.link.read_buf(&mut self.buf)).poll(cx)
    }

    fn finish(
        &mut self,
        end: usize,
        scan: &HeadScan,
        method: &Method,
        sent: bool,
    ) -> Result<Answer, Failure> {
        let status = StatusCode::from_u16(scan.status.code).map_err(|_| Failure::Malformed("status"))?;
        let head = self.buf.split_to(end).freeze();
        let mut headers = HeaderMap::with_capacity(self.places.len());
        for place in &self.places {
            let name = head.get(place.name.0..place.name.1).unwrap_or_default();
            let name = HeaderName::from_bytes(name).map_err(|_| Failure::Malformed("field-name"))?;
            let value = HeaderValue::from_maybe_shared(head.slice(place.value.0..place.value.1))
                .map_err(|_| Failure::Malformed("field-value"))?;
            headers.append(name, value);
        }
        let left = if method == Method::HEAD || matches!(scan.status.code, 101 | 204 | 304) {
            if scan.chunked() && scan.status.code == 204 {
                return Err(Failure::Malformed("coding"));
            }
            Left::Nothing
        } else if scan.chunked() {
            Left::Chunked(ChunkScan::new())
        } else {
            match scan.length() {
                Some(0) => Left::Nothing,
                Some(length) => Left::Length(length),
                None => Left::Close,
            }
        };
        let keep = !scan.close && (!scan.status.old || scan.keep_alive);
        let reusable = sent && keep && !matches!(left, Left::Close) && scan.status.code != 101;
        Ok(Answer { status, headers, left, reusable })
    }

    /// The next piece of a body; `None` at its end.
    pub(crate) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        left: &mut Left,
    ) -> Poll<Result<Option<Bytes>, Failure>> {
        loop {
            match left {
                Left::Nothing => return Poll::Ready(Ok(None)),
                Left::Length(length) => {
                    let n = self.buf.len().min(usize::try_from(*length).unwrap_or(usize::MAX));
                    if n > 0 {
                        *length -= n as u64;
                        if *length == 0 {
                            *left = Left::Nothing;
                        }
                        return Poll::Ready(Ok(Some(self.buf.split_to(n).freeze())));
                    }
                }
                Left::Close if !self.buf.is_empty() => {
                    return Poll::Ready(Ok(Some(self.buf.split().freeze())));
                }
                Left::Close => {}
                Left::Chunked(scan) => {
                    while let Some(&byte) = self.buf.first() {
                        let n = scan.data().min(self.buf.len());
                        if n > 0 {
                            scan.took(n);
                            return Poll::Ready(Ok(Some(self.buf.split_to(n).freeze())));
                        }
                        let fate = scan.byte(byte);
                        self.buf.advance(1);
                        match fate {
                            Ok(Fate::Keep | Fate::Drop) => {}
                            Ok(Fate::End) => {
                                *left = Left::Nothing;
                                return Poll::Ready(Ok(None));
                            }
                            Err(rule) => return Poll::Ready(Err(Failure::Malformed(rule.name()))),
                        }
                    }
                }
            }
            let room = match left {
                Left::Length(length) if *length < READ as u64 => READ,
                _ => READ_LARGE,
            };
            match ready!(self.poll_fill(cx, room)) {
                Ok(0) if matches!(left, Left::Close) => {
                    *left = Left::Nothing;
                    return Poll::Ready(Ok(None));
                }
                Ok(0) | Err(_) => return Poll::Ready(Err(Failure::Broken(Reached::Answered))),
                Ok(_) => {}
            }
        }
    }

    /// Ready when `deadline` has passed. The timer of the connection is moved only when it must be: it fires at most
    /// as often as the shortest time-out, whatever the number of exchanges.
    pub(crate) fn poll_clock(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        loop {
            if deadline < self.armed || self.sleep.is_elapsed() {
                if self.sleep.is_elapsed() && Instant::now() >= deadline {
                    return Poll::Ready(());
                }
                self.sleep.as_mut().reset(deadline);
                self.armed = deadline;
            }
            ready!(self.sleep.as_mut().poll(cx));
        }
    }

    /// Nothing is left over from the exchange.
    pub(crate) fn clean(&self) -> bool {
        self.buf.is_empty()
    }

    /// The connection after a 101, and what came behind the head.
    pub(crate) fn into_link(self) -> (Link, Vec<u8>) {
        (self.link, self.buf.to_vec())
    }
}

/// What is still to be written.
struct Sending {
    /// Written of `out`.
    at: usize,
    /// A byte has been written, or taken from a body that cannot be read twice.
    wrote: bool,
    state: State,
    /// A large body in memory, written after `out`.
    tail: Bytes,
}

enum State {
    /// The body has pieces left.
    Body,
    /// What is in `out` and `tail` is the rest.
    Last,
    Flush,
    Done,
}

enum SendError {
    Io,
    Body(InBodyError),
}

impl Sending {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut Link,
        out: &mut Vec<u8>,
        body: &mut SendBody,
    ) -> Poll<Result<(), SendError>> {
        loop {
            while self.at < out.len() || !self.tail.is_empty() {
                let rest = out.get(self.at..).unwrap_or_default();
                let written = if rest.is_empty() {
                    Pin::new(&mut *link).poll_write(cx, &self.tail)
                } else if self.tail.is_empty() {
                    Pin::new(&mut *link).poll_write(cx, rest)
                } else {
                    let both = [io::IoSlice::new(rest), io::IoSlice::new(&self.tail)];
                    Pin::new(&mut *link).poll_write_vectored(cx, &both)
                };
                let n = match ready!(written) {
                    Ok(n) if n > 0 => n,
                    _ => return Poll::Ready(Err(SendError::Io)),
                };
                self.wrote = true;
                let head = n.min(out.len() - self.at);
                self.at += head;
                self.tail.advance(n - head);
            }
            match self.state {
                State::Done => return Poll::Ready(Ok(())),
                State::Flush => {
                    if ready!(Pin::new(&mut *link).poll_flush(cx)).is_err() {
                        return Poll::Ready(Err(SendError::Io));
                    }
                    self.state = State::Done;
                }
                State::Last => self.state = State::Flush,
                State::Body => {
                    out.clear();
                    self.at = 0;
                    match body.poll_piece(cx) {
                        Poll::Ready(Ok(Some(piece))) => {
                            self.wrote = true;
                            out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                            out.extend_from_slice(&piece);
                            out.extend_from_slice(b"\r\n");
                        }
                        Poll::Ready(Ok(None)) => {
                            out.extend_from_slice(b"0\r\n\r\n");
                            self.state = State::Last;
                        }
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(SendError::Body(error))),
                        Poll::Pending => {
                            // What has been written must not wait in a TLS buffer for the rest.
                            let _ = Pin::new(&mut *link).poll_flush(cx);
                            return Poll::Pending;
                        }
                    }
                }
            }
        }
    }
}

/// Prints a request's head. Framing is ours: `Content-Length` for bodies in memory, chunks for streams, nothing for no
/// body but `Content-Length: 0` where a body is usual. Connection fields of the map are left out.
pub(crate) fn encode(request: &Request<SendBody>, authority: &str, upgrade: bool) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    for part in [request.method().as_str(), " ", target, " HTTP/1.1\r\nhost: "] {
        head.extend_from_slice(part.as_bytes());
    }
    let host = request.headers().get(header::HOST).map_or(authority.as_bytes(), HeaderValue::as_bytes);
    head.extend_from_slice(host);
    head.extend_from_slice(b"\r\n");
    for (name, value) in request.headers() {
        if is_ours(name) {
            continue;
        }
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    if upgrade {
        head.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    }
    match request.body() {
        SendBody::Empty => {
            if [Method::POST, Method::PUT, Method::PATCH].contains(request.method()) {
                head.extend_from_slice(b"content-length: 0\r\n");
            }
        }
        SendBody::Full(bytes) => {
            head.extend_from_slice(format!("content-length: {}\r\n", bytes.len()).as_bytes())
        }
        SendBody::Client(_) | SendBody::Stream(_) => {
            head.extend_from_slice(b"transfer-encoding: chunked\r\n")
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Fields that decide about framing and connections are written by this file or not at all.
fn is_ours(name: &HeaderName) -> bool {
    [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
    ]
    .contains(name)
}

impl SendBody {
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, InBodyError>> {
        loop {
            let frame = match self {
                Self::Empty | Self::Full(_) => return Poll::Ready(Ok(None)),
                Self::Client(body) => ready!(Pin::new(body).poll_frame(cx)),
                Self::Stream(body) => {
                    ready!(body.as_mut().poll_frame(cx)).map(|f| f.map_err(|_| InBodyError::Gone))
                }
            };
            match frame {
                None => return Poll::Ready(Ok(None)),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Poll::Ready(Ok(Some(data))),
                    _ => {}
                },
            }
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(&mut **io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(&mut **io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(&mut **io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(&mut **io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(&mut **io).poll_shutdown(cx),
        }
    }
}
