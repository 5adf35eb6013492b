//! Bodies on their way in and out.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use portcullis_core::problem::Code;
use tokio::time::{Instant, Sleep};

use super::guard::Slot;
use super::upstream::UpstreamBody;

/// How fast a request body must arrive.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Time before the rate counts.
    pub grace: Duration,
    /// Bytes per second, from the first byte on.
    pub rate: u64,
    /// In all.
    pub total: Duration,
}

/// Why a request body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InBodyError {
    /// More bytes than the limit.
    TooLarge,
    /// Fewer bytes per second than allowed, or too long in all.
    TooSlow,
    /// Its framing was broken.
    Malformed,
    /// The client is gone, or reset the stream.
    Gone,
}

impl InBodyError {
    /// The public problem.
    pub const fn code(self) -> Code {
        match self {
            Self::TooLarge => Code::PayloadTooLarge,
            Self::TooSlow => Code::RequestTimeout,
            Self::Malformed | Self::Gone => Code::MalformedRequest,
        }
    }
}

impl std::fmt::Display for InBodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the body is too large",
            Self::TooSlow => "the body did not arrive in time",
            Self::Malformed => "the body is malformed",
            Self::Gone => "the client is gone",
        })
    }
}

impl std::error::Error for InBodyError {}

/// A request's body: counted, timed, without trailers. Nothing is read before it is polled, and a client that waits
/// for `100 Continue` gets it at the first poll.
pub struct InBody {
    inner: Option<Incoming>,
    given: Option<Bytes>,
    slot: Option<Rc<Slot>>,
    arrival: Option<Arrival>,
    started: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    received: u64,
    limit: u64,
}

impl InBody {
    pub(crate) fn new(inner: Incoming, slot: Option<Rc<Slot>>, arrival: Arrival) -> Self {
        let inner = (!inner.is_end_stream()).then_some(inner);
        Self {
            inner,
            given: None,
            slot,
            arrival: Some(arrival),
            started: None,
            sleep: None,
            received: 0,
            limit: u64::MAX,
        }
    }

    /// No body at all: for tests and requests that the program makes itself.
    pub const fn empty() -> Self {
        Self {
            inner: None,
            given: None,
            slot: None,
            arrival: None,
            started: None,
            sleep: None,
            received: 0,
            limit: u64::MAX,
        }
    }

    /// A body in memory: for requests that the program makes itself (`explain`).
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { given: (!bytes.is_empty()).then(|| bytes.into()), ..Self::empty() }
    }

    /// At most so many bytes. A declared length beyond fails before a byte is read.
    pub const fn set_limit(&mut self, bytes: u64) {
        self.limit = bytes;
    }

    /// Another clock, or none for streams.
    pub const fn set_arrival(&mut self, arrival: Option<Arrival>) {
        self.arrival = arrival;
    }

    /// Bytes received so far.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// There is no (further) byte.
    pub fn is_empty(&self) -> bool {
        self.given.is_none() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    /// Whether there is a byte; reads until that is known. The byte is not lost.
    ///
    /// # Errors
    /// See [`InBodyError`].
    pub async fn has_data(&mut self) -> Result<bool, InBodyError> {
        if self.given.is_none() {
            self.given = self.next().await?;
            // It is counted when it is taken.
            self.received = 0;
        }
        Ok(self.given.is_some())
    }

    /// The whole body, of at most `limit` bytes. One piece is handed on without a copy.
    ///
    /// # Errors
    /// See [`InBodyError`].
    pub async fn collect(mut self, limit: u64) -> Result<Bytes, InBodyError> {
        self.set_limit(limit);
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.next().await? else { return Ok(first) };
        let known = usize::try_from(self.size_hint().lower()).unwrap_or(0);
        let mut all = BytesMut::with_capacity(first.len() + second.len() + known);
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// The next piece.
    ///
    /// # Errors
    /// See [`InBodyError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, InBodyError> {
        std::future::poll_fn(|cx| self.poll_piece(cx)).await
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, InBodyError>> {
        if let Some(given) = self.given.take() {
            self.received = given.len() as u64;
            let fits = self.received <= self.limit;
            return Poll::Ready(if fits { Ok(Some(given)) } else { Err(InBodyError::TooLarge) });
        }
        loop {
            let Some(inner) = &mut self.inner else { return Poll::Ready(Ok(None)) };
            if inner.size_hint().lower() > self.limit.saturating_sub(self.received) {
                self.inner = None;
                return Poll::Ready(Err(InBodyError::TooLarge));
            }
            match Pin::new(inner).poll_frame(cx) {
                Poll::Ready(None) => {
                    self.inner = None;
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are dropped: nothing that is not in the head is ever read as a header.
                    let Ok(data) = frame.into_data() else { continue };
                    self.received += data.len() as u64;
                    if self.received > self.limit {
                        self.inner = None;
                        return Poll::Ready(Err(InBodyError::TooLarge));
                    }
                    if data.is_empty() {
                        continue;
                    }
                    return Poll::Ready(Ok(Some(data)));
                }
                Poll::Ready(Some(Err(_))) => {
                    self.inner = None;
                    let malformed = self.slot.as_ref().is_some_and(|slot| slot.body_violation().is_some());
                    return Poll::Ready(Err(if malformed {
                        InBodyError::Malformed
                    } else {
                        InBodyError::Gone
                    }));
                }
                Poll::Pending => return self.poll_clock(cx),
            }
        }
    }

    /// Only a body that lets itself be waited for costs a timer.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, InBodyError>> {
        let Some(arrival) = self.arrival else { return Poll::Pending };
        let now = Instant::now();
        let started = *self.started.get_or_insert(now);
        loop {
            let elapsed = now.saturating_duration_since(started);
            let needed = arrival.rate.saturating_mul(elapsed.as_secs());
            if elapsed >= arrival.total || (elapsed >= arrival.grace && self.received < needed) {
                self.inner = None;
                return Poll::Ready(Err(InBodyError::TooSlow));
            }
            let next =
                (started + arrival.grace).max(now + Duration::from_secs(1)).min(started + arrival.total);
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
            if sleep.is_elapsed() {
                sleep.as_mut().reset(next);
            }
            ready!(sleep.as_mut().poll(cx));
        }
    }
}

impl Body for InBody {
    type Data = Bytes;
    type Error = InBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InBodyError>>> {
        self.get_mut().poll_piece(cx).map(|piece| piece.map(|data| data.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// A body that must not be ended as if it were complete: the stream is reset or the connection closed.
#[derive(Debug)]
pub struct Cut(pub &'static str);

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Cut {}

/// A response's body.
#[derive(Default)]
pub enum OutBody {
    /// Nothing.
    #[default]
    Empty,
    /// Bytes in memory.
    Full(Bytes),
    /// What an upstream sends, as it comes.
    Upstream(UpstreamBody),
    /// Anything else: filters, event streams.
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = Cut>>>),
}

impl From<Bytes> for OutBody {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}

impl From<Vec<u8>> for OutBody {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
            Self::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) => false,
            Self::Upstream(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Upstream(body) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}
