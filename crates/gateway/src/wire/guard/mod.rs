//! The strict HTTP/1.1 filter between a connection and hyper.
//!
//! hyper reads safely but forgives, and forgets what it forgave: a bare LF, a `Content-Length` beside a
//! `Transfer-Encoding`, merged lengths, chunk extensions. What it has forgotten cannot be refused later. So this
//! filter follows the message boundaries itself and lets only unambiguous bytes through. Heads and sized bodies pass
//! unchanged, in place; chunked framing loses its extensions and trailers. A head that is refused is replaced by a
//! constant one, and the refusal is written, with the request's number, into a [`Slot`] that no client can reach.
//!
//! **Invariant**: for any bytes, the heads and bodies that hyper yields behind the filter are those that it saw.
//! **Invariant**: after a refusal nothing more is read as HTTP; there is no resynchronisation.

mod chunk;
mod filter;
mod head;

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use portcullis_core::problem::Code;
use portcullis_plan::bounds::Bounds;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

pub(crate) use chunk::{ChunkScan, Fate};
pub(crate) use filter::Filter;
pub(crate) use head::{After, HeadScan, Mode, Place, Progress};

/// The sizes that a head may have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Header fields.
    pub headers: usize,
    /// Bytes of all fields.
    pub header_bytes: usize,
    /// Bytes of one value.
    pub header_value: usize,
    /// Bytes of one name.
    pub header_name: usize,
    /// Bytes of the target.
    pub target: usize,
    /// HTTP/1.0 is read too: one request, no chunks (loosening `http_1_0`).
    pub http_1_0: bool,
}

impl From<&Bounds> for Limits {
    fn from(bounds: &Bounds) -> Self {
        Self {
            headers: bounds.headers,
            header_bytes: bounds.header_bytes,
            header_value: bounds.header_value,
            header_name: bounds.header_name,
            target: bounds.target,
            http_1_0: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&Bounds::default())
    }
}

/// Why bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A bare LF.
    LineEnd,
    /// A second empty line before a request line.
    EmptyLine,
    /// Not `METHOD SP target SP HTTP/1.1`.
    RequestLine,
    /// A byte that no target has.
    Target,
    /// The target is too long.
    TargetSize,
    /// HTTP/1.0 and others.
    Version,
    /// The preface of HTTP/2 on an HTTP/1.1 connection.
    Preface,
    /// CONNECT.
    Connect,
    /// A field line without a colon.
    Field,
    /// A field name that is empty, too long, folded, or no token.
    FieldName,
    /// A byte that no value has.
    FieldValue,
    /// Fields that are too many or too large.
    HeaderSize,
    /// `Host` missing, twice, empty or no authority.
    Host,
    /// `Content-Length` twice or not a number.
    Length,
    /// A `Transfer-Encoding` that is not exactly `chunked`.
    Coding,
    /// `Content-Length` and `Transfer-Encoding`.
    BothLengths,
    /// Chunked framing.
    Chunk,
    /// `Upgrade` with a body.
    UpgradeBody,
    /// The head did not arrive in time.
    Late,
}

impl Rule {
    /// The public problem.
    pub const fn code(self) -> Code {
        match self {
            Self::TargetSize => Code::UriTooLong,
            Self::HeaderSize => Code::HeaderTooLarge,
            Self::Version => Code::HttpVersionUnsupported,
            Self::Connect => Code::MethodNotAllowed,
            Self::Late => Code::RequestTimeout,
            _ => Code::MalformedRequest,
        }
    }

    /// The label in `guard_violations_total{rule}` and the private reason.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LineEnd => "line-end",
            Self::EmptyLine => "empty-line",
            Self::RequestLine => "request-line",
            Self::Target => "target",
            Self::TargetSize => "target-size",
            Self::Version => "version",
            Self::Preface => "preface",
            Self::Connect => "connect",
            Self::Field => "field",
            Self::FieldName => "field-name",
            Self::FieldValue => "field-value",
            Self::HeaderSize => "header-size",
            Self::Host => "host",
            Self::Length => "length",
            Self::Coding => "coding",
            Self::BothLengths => "both-lengths",
            Self::Chunk => "chunk",
            Self::UpgradeBody => "upgrade-body",
            Self::Late => "late",
        }
    }

    /// Somebody may have tried to hide one request in another.
    pub const fn suspicious(self) -> bool {
        matches!(self, Self::BothLengths | Self::Chunk | Self::UpgradeBody | Self::Coding | Self::Length)
    }
}

/// What the filter and the connection's service tell each other.
#[derive(Debug)]
pub(crate) struct Slot {
    heads: Cell<u64>,
    violation: Cell<Option<(u64, Rule)>>,
    body: Cell<Option<Rule>>,
    head_since: Cell<Option<Instant>>,
    /// Since when a header block of HTTP/2 has been coming in.
    block_since: Cell<Option<Instant>>,
    late: Cell<bool>,
    pub(crate) writes: Writes,
}

/// How the peer takes what is written to it.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// Since when the peer lags behind, and the bytes that it took since.
    lag: Cell<Option<(Instant, u64)>>,
    /// When it took the last byte, while it lags.
    progress: Cell<Option<Instant>>,
}

impl Writes {
    pub(crate) fn wrote(&self, taken: usize, offered: usize) {
        if taken >= offered {
            self.lag.set(None);
        } else if let Some((since, bytes)) = self.lag.get() {
            self.lag.set(Some((since, bytes + taken as u64)));
            self.progress.set(Some(Instant::now()));
        }
    }

    pub(crate) fn blocked(&self) {
        if self.lag.get().is_none() {
            let now = Instant::now();
            self.lag.set(Some((now, 0)));
            self.progress.set(Some(now));
        }
    }

    /// When to look again, if the peer lags.
    pub(crate) fn deadline(&self, now: Instant, unread: Duration) -> Option<Instant> {
        let (since, _) = self.lag.get()?;
        let first = since + unread;
        if now < first {
            return Some(first);
        }
        Some((self.progress.get()? + unread).min(now + Duration::from_secs(1)))
    }

    /// The peer has caught up, or it is not the peer that is waited for.
    pub(crate) fn level(&self) {
        self.lag.set(None);
    }

    /// Taken while it lags.
    pub(crate) fn took(&self, bytes: usize) {
        self.wrote(bytes, usize::MAX);
    }

    /// The peer takes nothing, or too little.
    pub(crate) fn hopeless(&self, now: Instant, unread: Duration, rate: u64) -> bool {
        let (Some((since, bytes)), Some(progress)) = (self.lag.get(), self.progress.get()) else {
            return false;
        };
        let lagged = now.saturating_duration_since(since);
        now.saturating_duration_since(progress) >= unread
            || (lagged >= unread && bytes < rate.saturating_mul(lagged.as_secs()))
    }
}

impl Slot {
    pub(crate) fn new() -> Self {
        Self {
            heads: Cell::new(0),
            violation: Cell::new(None),
            body: Cell::new(None),
            head_since: Cell::new(None),
            block_since: Cell::new(None),
            late: Cell::new(false),
            writes: Writes::default(),
        }
    }

    /// The refusal of request number `ordinal` (the first is 1).
    pub(crate) fn violation(&self, ordinal: u64) -> Option<Rule> {
        self.violation.get().and_then(|(at, rule)| (at == ordinal).then_some(rule))
    }

    /// A body of this connection broke its framing.
    pub(crate) fn body_violation(&self) -> Option<Rule> {
        self.body.get()
    }

    /// Since when a head is incomplete.
    /// A header block of HTTP/2 is coming in, or none is.
    pub(crate) fn block(&self, open: bool) {
        match (open, self.block_since.get()) {
            (true, None) => self.block_since.set(Some(Instant::now())),
            (false, Some(_)) => self.block_since.set(None),
            _ => {}
        }
    }

    /// Since when, if one is.
    pub(crate) fn block_since(&self) -> Option<Instant> {
        self.block_since.get()
    }

    pub(crate) fn head_since(&self) -> Option<Instant> {
        self.head_since.get()
    }

    /// The head has had its time: it is refused at the next read. False when it should have been by now.
    pub(crate) fn expire(&self) -> bool {
        !self.late.replace(true)
    }

    /// The clock of a head that had to wait for an exchange begins now.
    pub(crate) fn renew_head(&self, now: Instant) {
        if self.head_since.get().is_some() {
            self.head_since.set(Some(now));
        }
    }
}

/// What hyper gets in place of a refused head.
const REPLACEMENT: &[u8] = b"GET / HTTP/1.1\r\nHost: refused.invalid\r\n\r\n";
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 << 10;

/// The filter around a connection.
pub(crate) struct Guard<S> {
    io: S,
    filter: Filter,
    limits: Limits,
    /// An incomplete head.
    hold: Vec<u8>,
    /// Filtered bytes that did not fit the reader's buffer.
    out: Vec<u8>,
    out_at: usize,
    failed: Option<Rule>,
    ended: bool,
    linger: Option<(Pin<Box<Sleep>>, usize)>,
    slot: std::rc::Rc<Slot>,
}

impl<S> Guard<S> {
    pub(crate) fn new(io: S, limits: Limits, slot: std::rc::Rc<Slot>) -> Self {
        Self {
            io,
            filter: Filter::new(),
            limits,
            hold: Vec::new(),
            out: Vec::new(),
            out_at: 0,
            failed: None,
            ended: false,
            linger: None,
            slot,
        }
    }

    /// The connection, and bytes that came after the head of an accepted upgrade.
    pub(crate) fn into_parts(self) -> (S, Vec<u8>) {
        (self.io, self.hold)
    }

    /// Runs the filter over `hold` and leaves what passes in `out`.
    fn filter_hold(&mut self) {
        let done = self.filter.run(&mut self.hold, &self.limits);
        self.slot.heads.set(self.slot.heads.get() + done.heads);
        let tail = self.hold.split_off(self.hold.len() - done.held);
        let mut passed = std::mem::replace(&mut self.hold, tail);
        passed.truncate(done.passed);
        self.out = passed;
        self.out_at = 0;
        self.verdict(done.verdict);
    }

    fn verdict(&mut self, verdict: filter::Verdict) {
        match verdict {
            filter::Verdict::Fine => {
                let waiting = !self.hold.is_empty() && !self.filter.upgrading();
                match (waiting, self.slot.head_since.get()) {
                    (true, None) => self.slot.head_since.set(Some(Instant::now())),
                    (false, Some(_)) => self.slot.head_since.set(None),
                    _ => {}
                }
            }
            filter::Verdict::Head(rule) => self.refuse(rule),
            filter::Verdict::Body(rule) => {
                self.slot.body.set(Some(rule));
                self.failed = Some(rule);
                self.ended = true;
            }
        }
    }

    fn refuse(&mut self, rule: Rule) {
        self.slot.violation.set(Some((self.slot.heads.get() + 1, rule)));
        self.slot.head_since.set(None);
        self.hold = Vec::new();
        self.out.drain(..self.out_at);
        self.out_at = 0;
        self.out.extend_from_slice(REPLACEMENT);
        self.ended = true;
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let Some(rest) = self.out.get(self.out_at..).filter(|rest| !rest.is_empty()) else { return false };
        let n = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..n).unwrap_or_default());
        self.out_at += n;
        if self.out_at == self.out.len() {
            self.out = Vec::new();
            self.out_at = 0;
        }
        true
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if me.slot.late.get() && !me.ended {
            me.refuse(Rule::Late);
        }
        loop {
            if me.give(buf) {
                return Poll::Ready(Ok(()));
            }
            if let Some(rule) = me.failed.take() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, rule.name())));
            }
            if me.ended || me.filter.upgrading() {
                // Nothing more is read: the answer closes the connection, or takes it over.
                return Poll::Pending;
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut me.io).poll_read(cx, buf))?;
            let Some(fresh) = buf.filled_mut().get_mut(before..).filter(|fresh| !fresh.is_empty()) else {
                return Poll::Ready(Ok(()));
            };
            if me.hold.is_empty() {
                let len = fresh.len();
                let done = me.filter.run(fresh, &me.limits);
                me.slot.heads.set(me.slot.heads.get() + done.heads);
                me.hold.extend_from_slice(fresh.get(len - done.held..).unwrap_or_default());
                buf.set_filled(before + done.passed);
                me.verdict(done.verdict);
                if done.passed > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                me.hold.extend_from_slice(fresh);
                buf.set_filled(before);
                me.filter_hold();
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let poll = Pin::new(&mut me.io).poll_write(cx, buf);
        me.note(&poll, buf.len());
        poll
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let poll = Pin::new(&mut me.io).poll_write_vectored(cx, bufs);
        me.note(&poll, bufs.iter().map(|buf| buf.len()).sum());
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let poll = Pin::new(&mut me.io).poll_flush(cx);
        if poll.is_pending() {
            me.slot.writes.blocked();
        }
        poll
    }

    /// After a refusal the peer may still be sending: closing at once would reset the connection and lose the
    /// answer on its way. So at most 64 KiB are read and forgotten, for at most one second.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if me.linger.is_none() {
            ready!(Pin::new(&mut me.io).poll_shutdown(cx))?;
            if me.slot.violation.get().is_none() && me.slot.body.get().is_none() {
                return Poll::Ready(Ok(()));
            }
            me.linger = Some((Box::pin(tokio::time::sleep(LINGER)), 0));
        }
        let Some((sleep, drained)) = &mut me.linger else { return Poll::Ready(Ok(())) };
        let mut scratch = [0u8; 4096];
        loop {
            if sleep.as_mut().poll(cx).is_ready() || *drained > LINGER_BYTES {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut me.io).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => *drained += buf.filled().len(),
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S> Guard<S> {
    fn note(&self, poll: &Poll<io::Result<usize>>, offered: usize) {
        match poll {
            Poll::Ready(Ok(n)) => self.slot.writes.wrote(*n, offered),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.slot.writes.blocked(),
        }
    }
}

#[cfg(test)]
mod law;
#[cfg(test)]
mod tests;
