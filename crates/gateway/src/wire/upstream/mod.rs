//! Servers behind the gateway: pools, health, time-outs, retries.
//!
//! An [`Upstream`] is shared by all threads and survives a reload while its plan is equal; a [`Pool`] belongs to one
//! thread and holds its connections.

mod connect;
mod h1;
mod h2;
pub mod health;
mod pool;
mod probe;
pub mod retry;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use portcullis_core::problem::Code;
use portcullis_egress::tls::{Trust, client_config};
use portcullis_plan::upstream as plan;
use rustls::ClientConfig;
use tokio::time::Instant;

use super::body::{Cut, InBody, InBodyError};
pub(crate) use h1::Link;
use health::{Circuit, Health, Sums, Window};
pub use pool::Pool;
pub(crate) use pool::{Flight, Handshaken};
pub use probe::probe;

/// A request's body on its way to a server.
#[derive(Default)]
pub enum SendBody {
    /// None.
    #[default]
    Empty,
    /// In memory: sized, and may be sent again.
    Full(Bytes),
    /// As the client sends it.
    Client(InBody),
    /// Anything else.
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = Cut>>>),
}

impl SendBody {
    const fn buffered(&self) -> bool {
        matches!(self, Self::Empty | Self::Full(_))
    }
}

impl From<Bytes> for SendBody {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}

impl Body for SendBody {
    type Data = Bytes;
    type Error = InBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InBodyError>>> {
        let me = self.get_mut();
        if let Self::Full(bytes) = me {
            let bytes = std::mem::take(bytes);
            *me = Self::Empty;
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        me.poll_piece(cx).map(|piece| piece.map(|data| data.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Client(_) | Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// How an exchange is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// The operation is declared idempotent, or carries a declared `Idempotency-Key`: it may be sent again.
    pub repeatable: bool,
    /// An event stream or gRPC: no total time, no retry once sent; the idle time still counts.
    pub stream: bool,
    /// gRPC: HTTP/2 only, and the response's trailers pass.
    pub trailers: bool,
}

/// Why no response came, or why it ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// No server may be asked, or none could be reached.
    Unavailable,
    /// The circuit is open.
    CircuitOpen {
        /// Seconds.
        retry_after: u32,
    },
    /// Too many requests are in flight.
    Overloaded,
    /// The connection broke before a response.
    Broken,
    /// The response is not HTTP as we read it; the guard's rule.
    Malformed(&'static str),
    /// A time-out.
    Timeout,
    /// The client's body failed; it is the client who is answered.
    Body(InBodyError),
}

impl UpstreamError {
    /// The public problem.
    pub const fn code(self) -> Code {
        match self {
            Self::Unavailable | Self::CircuitOpen { .. } => Code::UpstreamUnavailable,
            Self::Overloaded => Code::Overloaded,
            Self::Broken | Self::Malformed(_) => Code::UpstreamError,
            Self::Timeout => Code::UpstreamTimeout,
            Self::Body(error) => error.code(),
        }
    }

    /// Seconds for `Retry-After`, where it helps to come again.
    pub const fn retry_after(self) -> Option<u32> {
        match self {
            Self::CircuitOpen { retry_after } => Some(retry_after),
            Self::Overloaded => Some(1),
            _ => None,
        }
    }

    /// The label in `upstream_requests_total{result}`, and the private reason.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::CircuitOpen { .. } => "circuit-open",
            Self::Overloaded => "overloaded",
            Self::Broken => "broken",
            Self::Malformed(rule) => rule,
            Self::Timeout => "timeout",
            Self::Body(_) => "client-body",
        }
    }
}

impl std::fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for UpstreamError {}

/// A field of a request that depends on which server is chosen, by its authority. Goes with the request as an extension;
/// where it gives nothing, nothing is sent.
#[derive(Clone)]
pub struct PerServer(pub PerServerField);

/// From a server's authority to the field.
pub type PerServerField = Arc<dyn Fn(&str) -> Option<(HeaderName, HeaderValue)> + Send + Sync>;

/// Adds it. False when there is none to be had.
fn address<B>(request: &mut http::Request<B>, authority: &str) -> bool {
    let Some(PerServer(make)) = request.extensions().get::<PerServer>().cloned() else { return true };
    let field = make(authority);
    field.map(|(name, value)| request.headers_mut().insert(name, value)).is_some()
}

/// One server, as all threads see it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) plan: plan::Server,
    pub(crate) authority: String,
    pub(crate) health: Health,
    pub(crate) in_flight: AtomicU32,
}

/// Counters of an upstream, for metrics.
#[derive(Debug, Default)]
pub struct Counts {
    /// Exchanges that got a response.
    pub answered: AtomicU64,
    /// Exchanges that failed.
    pub failed: AtomicU64,
    /// Requests sent again.
    pub retries: AtomicU64,
    /// Servers taken out.
    pub ejections: AtomicU64,
    /// Connections dialled.
    pub dialled: AtomicU64,
}

/// An upstream, shared by all threads.
#[derive(Debug)]
pub struct Upstream {
    pub(crate) id: usize,
    pub(crate) plan: plan::Upstream,
    pub(crate) servers: Vec<Server>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) window: Window,
    pub(crate) circuit: Circuit,
    pub(crate) in_flight: AtomicU32,
    /// For metrics.
    pub counts: Counts,
}

impl Upstream {
    /// Builds from the plan.
    ///
    /// # Errors
    /// A certificate or key of `tls:` that cannot be used; no server.
    pub fn new(plan: plan::Upstream) -> Result<Arc<Self>, String> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        if plan.servers.is_empty() {
            return Err(format!("upstream `{}` has no server", plan.name));
        }
        let tls = if plan.servers.iter().any(|server| server.tls) {
            let trust = plan.tls.ca.as_deref().map_or(Trust::Public, Trust::Private);
            let identity =
                plan.tls.identity.as_ref().map(|id| (id.chain.as_slice(), id.key.expose().as_slice()));
            let alpn: &[&[u8]] = match plan.protocol {
                plan::Protocol::Auto => &[b"h2", b"http/1.1"],
                plan::Protocol::Http1 => &[b"http/1.1"],
                plan::Protocol::Http2 | plan::Protocol::H2c => &[b"h2"],
            };
            let config = client_config(trust, identity, alpn);
            Some(config.map_err(|why| format!("upstream `{}`: {why}", plan.name))?)
        } else {
            None
        };
        let servers = plan
            .servers
            .iter()
            .map(|server| Server {
                plan: server.clone(),
                authority: server.authority(),
                health: Health::default(),
                in_flight: AtomicU32::new(0),
            })
            .collect();
        Ok(Arc::new(Self {
            id: NEXT.fetch_add(1, Relaxed),
            plan,
            servers,
            tls,
            window: Window::default(),
            circuit: Circuit::default(),
            in_flight: AtomicU32::new(0),
            counts: Counts::default(),
        }))
    }

    /// The plan that it was built from. A reload with an equal one keeps this upstream.
    pub const fn plan(&self) -> &plan::Upstream {
        &self.plan
    }

    /// A server may be asked (for readiness).
    pub fn available(&self) -> bool {
        let now = ticks();
        self.servers.iter().any(|server| server.health.usable(now))
    }

    /// The circuit is open or on trial.
    pub fn circuit_open(&self) -> bool {
        self.circuit.is_open()
    }

    /// Requests of the last ten seconds.
    pub fn recent(&self) -> Sums {
        self.window.sums(ticks())
    }

    /// An exchange with a server failed in a way that says something about the server.
    pub(crate) fn blame(&self, server: usize, now: i64) {
        let Some(blamed) = self.servers.get(server) else { return };
        if !blamed.health.failed(now) {
            return;
        }
        // Never more than half of the servers.
        let out = self.servers.iter().filter(|server| server.health.ejected(now)).count();
        if (out + 1) * 2 <= self.servers.len() {
            blamed.health.eject(now);
            self.counts.ejections.fetch_add(1, Relaxed);
        }
    }
}

/// Microseconds since the program's first look at the clock.
pub(crate) fn ticks() -> i64 {
    static ZERO: OnceLock<Instant> = OnceLock::new();
    // The origin lies back, so that "never" can be zero.
    let zero = ZERO
        .get_or_init(|| Instant::now().checked_sub(Duration::from_secs(3600)).unwrap_or_else(Instant::now));
    i64::try_from(zero.elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// A response's body as the server sends it.
pub struct UpstreamBody(pool::Coming);

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.get_mut().0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl UpstreamBody {
    /// The whole body, of at most `limit` bytes. One piece is handed on without a copy.
    ///
    /// # Errors
    /// [`CollectError`].
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, CollectError> {
        if self.size_hint().lower() > limit as u64 {
            return Err(CollectError::TooLarge);
        }
        let mut all: Option<Bytes> = None;
        let mut more = bytes::BytesMut::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
            let Ok(data) = frame.map_err(CollectError::Cut)?.into_data() else { continue };
            if all.as_ref().map_or(0, Bytes::len) + more.len() + data.len() > limit {
                return Err(CollectError::TooLarge);
            }
            match &all {
                None => all = Some(data),
                Some(first) => {
                    if more.is_empty() {
                        more.reserve(first.len() + data.len());
                    }
                    more.extend_from_slice(&data);
                }
            }
        }
        Ok(match all {
            None => Bytes::new(),
            Some(first) if more.is_empty() => first,
            Some(first) => {
                let mut joined = bytes::BytesMut::with_capacity(first.len() + more.len());
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&more);
                joined.freeze()
            }
        })
    }
}

/// Why a response's body could not be collected.
#[derive(Debug)]
pub enum CollectError {
    /// More bytes than the limit.
    TooLarge,
    /// It broke off; see [`Cut`].
    Cut(Cut),
}
