//! One thread's connections to servers, and how an exchange is made on them.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use portcullis_egress::{Door, EgressError};
use tokio::time::{Instant, Sleep};

use super::connect::{Fresh, connect};
use super::h1::{self, Answer, Failure, H1, Left};
use super::h2::{self, H2, H2Error};
use super::health::Admission;
use super::retry::{Reached, may_retry};
use super::{How, Link, SendBody, Upstream, UpstreamBody, UpstreamError, address, ticks};
use crate::wire::body::Cut;

/// Idle connections to one server, and how long they are kept.
const IDLE: usize = 64;
const IDLE_TIME: Duration = Duration::from_secs(55);
const LIFE: Duration = Duration::from_secs(300);
/// Event streams may be silent for as long.
const STREAM_IDLE: Duration = Duration::from_secs(60);
const SWEEP: Duration = Duration::from_secs(5);

/// One thread's connections. Not shared between threads.
pub struct Pool {
    door: Arc<Door>,
    /// By upstream and server.
    places: RefCell<Vec<Vec<Place>>>,
    dice: Cell<u64>,
}

#[derive(Default)]
struct Place {
    #[expect(
        clippy::vec_box,
        reason = "connections move between here and exchanges; only the pointer should"
    )]
    idle: Vec<Box<H1>>,
    shared: Vec<Rc<H2>>,
}

/// A connection that an exchange may use.
enum Got {
    /// The connection, and whether it has been used before.
    H1(Box<H1>, bool),
    H2(Rc<H2>),
}

impl Pool {
    /// An empty pool. Must be made within its thread's runtime: it sweeps idle connections there.
    /// The door through which its connections go.
    pub fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// For one thread.
    pub fn new(door: Arc<Door>) -> Rc<Self> {
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0u8) | 1;
        let pool = Rc::new(Self { door, places: RefCell::default(), dice: Cell::new(seed) });
        let weak = Rc::downgrade(&pool);
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(pool) = weak.upgrade() else { return };
                pool.sweep(Instant::now());
            }
        });
        pool
    }

    /// Sends a request and reads the response's head.
    ///
    /// The request's target is its path and query; scheme and server come from the upstream. `Host` is the one in the
    /// fields, or the server's authority. Framing, `Connection`, `TE` and `Upgrade` are written here.
    ///
    /// # Errors
    /// See [`UpstreamError`]. A 5xx of the server is a response and no error.
    pub async fn send(
        self: &Rc<Self>,
        upstream: &Arc<Upstream>,
        request: Request<SendBody>,
        how: How,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let now = ticks();
        let flight = Flight::enter(upstream)?;
        let admission = match upstream.circuit.admit(now) {
            Admission::Open(retry_after) => return Err(UpstreamError::CircuitOpen { retry_after }),
            admission => admission,
        };
        upstream.window.request(now);
        let result = self.attempts(upstream, request, how, flight).await;
        let failed = match &result {
            Ok(response) => response.status().as_u16() >= 502,
            Err(UpstreamError::Body(_)) => false,
            Err(_) => true,
        };
        if failed || admission == Admission::Trial {
            let now = ticks();
            if failed {
                upstream.window.failure(now);
            }
            upstream.circuit.report(now, admission, failed, &upstream.window);
        }
        let counter = if result.is_ok() { &upstream.counts.answered } else { &upstream.counts.failed };
        counter.fetch_add(1, Relaxed);
        result
    }

    async fn attempts(
        self: &Rc<Self>,
        upstream: &Arc<Upstream>,
        request: Request<SendBody>,
        how: How,
        flight: Flight,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let started = Instant::now();
        let first = self.choose(upstream, None).ok_or(UpstreamError::Unavailable)?;
        // Asked before HTTP/2 takes a stream away: what stands in its place looks like no body, and would be sent.
        let buffered = request.body().buffered();
        let mut exchange =
            Exchange { pool: self, upstream, request, how, started, flight: Some(flight), head: Vec::new() };
        let (reached, error) = match exchange.on(first).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let total = upstream.plan.timeouts.total;
        let again = may_retry(reached, exchange.request.method(), buffered, how.repeatable, how.stream)
            && (how.stream || started.elapsed() < total)
            && exchange.flight.is_some();
        if !again {
            return Err(error);
        }
        let Some(second) = self.choose(upstream, Some(first)) else { return Err(error) };
        if !upstream.window.retry(ticks()) {
            return Err(error);
        }
        upstream.counts.retries.fetch_add(1, Relaxed);
        exchange.on(second).await.map_err(|(_, error)| error)
    }

    /// Two at random by weight, the one with fewer requests in flight; another than `not` where there is one.
    fn choose(&self, upstream: &Upstream, not: Option<usize>) -> Option<usize> {
        let now = ticks();
        if let [only] = upstream.servers.as_slice() {
            return only.health.usable(now).then_some(0);
        }
        let usable = |index: usize| upstream.servers.get(index).filter(|server| server.health.usable(now));
        let weight = |index: usize| usable(index).map_or(0, |server| u64::from(server.plan.weight.max(1)));
        let mut avoid = not;
        let mut total: u64 =
            (0..upstream.servers.len()).filter(|&index| Some(index) != avoid).map(weight).sum();
        if total == 0 {
            // The server that failed is the only one left.
            avoid = None;
            total = (0..upstream.servers.len()).map(weight).sum();
        }
        let draw = || {
            let mut at = self.random().checked_rem(total)?;
            (0..upstream.servers.len()).filter(|&index| Some(index) != avoid).find(|&index| {
                let weight = weight(index);
                let hit = at < weight;
                at = at.saturating_sub(weight);
                hit
            })
        };
        let (a, b) = (draw()?, draw()?);
        let load = |index: usize| {
            usable(index).map_or(u64::MAX, |server| {
                (u64::from(server.in_flight.load(Relaxed)) << 16) / u64::from(server.plan.weight.max(1))
            })
        };
        Some(if load(b) < load(a) { b } else { a })
    }

    /// xorshift64*: fair enough to spread load.
    fn random(&self) -> u64 {
        let mut x = self.dice.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.dice.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn with_place<R>(
        &self,
        upstream: &Upstream,
        server: usize,
        f: impl FnOnce(&mut Place) -> R,
    ) -> Option<R> {
        let mut places = self.places.borrow_mut();
        if places.len() <= upstream.id {
            places.resize_with(upstream.id + 1, Vec::new);
        }
        let servers = places.get_mut(upstream.id)?;
        if servers.len() < upstream.servers.len() {
            servers.resize_with(upstream.servers.len(), Place::default);
        }
        servers.get_mut(server).map(f)
    }

    /// A connection that is there already.
    fn idle(&self, upstream: &Upstream, server: usize) -> Option<Got> {
        self.with_place(upstream, server, |place| {
            if let Some(shared) =
                place.shared.iter().find(|shared| shared.usable() && shared.born.elapsed() < LIFE)
            {
                return Some(Got::H2(shared.clone()));
            }
            let now = Instant::now();
            while let Some(mut connection) = place.idle.pop() {
                let fresh = now.saturating_duration_since(connection.used) < IDLE_TIME
                    && now.saturating_duration_since(connection.born) < LIFE;
                if fresh && connection.quiet() {
                    return Some(Got::H1(connection, true));
                }
            }
            None
        })?
    }

    async fn get(&self, upstream: &Upstream, server: usize) -> Result<Got, EgressError> {
        if let Some(got) = self.idle(upstream, server) {
            return Ok(got);
        }
        let target = upstream.servers.get(server).ok_or(EgressError::Connect)?;
        let Fresh { link, h2 } = connect(&self.door, upstream, target, false).await?;
        if !h2 {
            return Ok(Got::H1(Box::new(H1::new(link)), false));
        }
        let shared = Rc::new(H2::new(link).await.map_err(|_| EgressError::Protocol)?);
        self.with_place(upstream, server, |place| place.shared.push(shared.clone()));
        Ok(Got::H2(shared))
    }

    fn put(&self, upstream: &Upstream, server: usize, mut connection: Box<H1>) {
        connection.used = Instant::now();
        self.with_place(upstream, server, |place| {
            if place.idle.len() < IDLE {
                place.idle.push(connection);
            }
        });
    }

    fn sweep(&self, now: Instant) {
        for place in self.places.borrow_mut().iter_mut().flatten() {
            place.idle.retain_mut(|connection| {
                now.saturating_duration_since(connection.used) < IDLE_TIME
                    && now.saturating_duration_since(connection.born) < LIFE
                    && connection.quiet()
            });
            place.shared.retain(|shared| {
                let old = now.saturating_duration_since(shared.born) >= LIFE
                    || now.saturating_duration_since(shared.used.get()) >= IDLE_TIME;
                !shared.closed() && (!old || !shared.idle())
            });
        }
    }

    /// Opens a connection of its own, sends a WebSocket handshake on it and reads the answer's head. Never retried.
    pub(crate) async fn handshake(
        self: &Rc<Self>,
        upstream: &Arc<Upstream>,
        mut request: Request<SendBody>,
    ) -> Result<Handshaken, UpstreamError> {
        let mut flight = Flight::enter(upstream)?;
        let server = self.choose(upstream, None).ok_or(UpstreamError::Unavailable)?;
        let target = upstream.servers.get(server).ok_or(UpstreamError::Unavailable)?;
        flight.at(server);
        let link = match connect(&self.door, upstream, target, true).await {
            Ok(fresh) => fresh.link,
            Err(_) => {
                upstream.blame(server, ticks());
                return Err(UpstreamError::Unavailable);
            }
        };
        if !address(&mut request, &target.authority) {
            return Err(UpstreamError::Unavailable);
        }
        let head = h1::encode(&request, &target.authority, true);
        let mut connection = Box::new(H1::new(link));
        let deadline = Instant::now() + upstream.plan.timeouts.first_byte;
        let answer = connection.exchange(&head, request.method(), &mut SendBody::Empty, deadline).await;
        let Answer { status, headers, left, .. } = answer.map_err(|failure| match failure {
            Failure::Malformed(rule) => UpstreamError::Malformed(rule),
            Failure::Timeout => UpstreamError::Timeout,
            _ => UpstreamError::Broken,
        })?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let (link, early) = connection.into_link();
            return Ok(Handshaken::Switched { headers, link, early, flight });
        }
        let coming =
            self.coming(upstream, server, connection, left, false, flight, How::default(), Instant::now());
        Ok(Handshaken::Other(response(status, headers, coming)))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one value, made in two places")]
    fn coming(
        self: &Rc<Self>,
        upstream: &Arc<Upstream>,
        server: usize,
        connection: Box<H1>,
        left: Left,
        reusable: bool,
        flight: Flight,
        how: How,
        started: Instant,
    ) -> Coming {
        let times = &upstream.plan.timeouts;
        let mut coming = Coming::H1 {
            pool: self.clone(),
            server,
            connection: Some(connection),
            left,
            reusable,
            flight: Some(flight),
            idle: if how.stream { times.idle.max(STREAM_IDLE) } else { times.idle },
            end: (!how.stream).then(|| started + times.total),
            waiting: None,
        };
        coming.settle();
        coming
    }
}

/// The answer to a WebSocket handshake.
pub(crate) enum Handshaken {
    /// 101, and the bytes that came behind it.
    Switched { headers: HeaderMap, link: Link, early: Vec<u8>, flight: Flight },
    /// An ordinary response.
    Other(Response<UpstreamBody>),
}

fn response(status: StatusCode, headers: HeaderMap, coming: Coming) -> Response<UpstreamBody> {
    let mut response = Response::new(UpstreamBody(coming));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A request in flight; counted until its response has ended.
pub(crate) struct Flight {
    upstream: Arc<Upstream>,
    server: Option<usize>,
}

impl Flight {
    fn enter(upstream: &Arc<Upstream>) -> Result<Self, UpstreamError> {
        if upstream.in_flight.fetch_add(1, Relaxed) >= upstream.plan.in_flight {
            upstream.in_flight.fetch_sub(1, Relaxed);
            return Err(UpstreamError::Overloaded);
        }
        Ok(Self { upstream: upstream.clone(), server: None })
    }

    fn count(&self) -> Option<&AtomicU32> {
        self.server.and_then(|server| self.upstream.servers.get(server)).map(|server| &server.in_flight)
    }

    fn at(&mut self, server: usize) {
        if let Some(count) = self.count() {
            count.fetch_sub(1, Relaxed);
        }
        self.server = Some(server);
        if let Some(count) = self.count() {
            count.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.upstream.in_flight.fetch_sub(1, Relaxed);
        if let Some(count) = self.count() {
            count.fetch_sub(1, Relaxed);
        }
    }
}

/// One request on its way, over at most two servers.
struct Exchange<'a> {
    pool: &'a Rc<Pool>,
    upstream: &'a Arc<Upstream>,
    request: Request<SendBody>,
    how: How,
    started: Instant,
    flight: Option<Flight>,
    /// The head as HTTP/1.1 writes it, once it was needed.
    head: Vec<u8>,
}

impl Exchange<'_> {
    async fn on(&mut self, server: usize) -> Result<Response<UpstreamBody>, (Reached, UpstreamError)> {
        if let Some(flight) = &mut self.flight {
            flight.at(server);
        }
        let result = self.on_server(server).await;
        let bad = match &result {
            Ok(response) => matches!(response.status().as_u16(), 502 | 504),
            Err((_, UpstreamError::Body(_))) => return result,
            Err(_) => true,
        };
        let upstream = self.upstream;
        if bad {
            upstream.blame(server, ticks());
        } else if let Some(server) = upstream.servers.get(server) {
            server.health.succeeded(ticks());
        }
        result
    }

    async fn on_server(&mut self, server: usize) -> Result<Response<UpstreamBody>, (Reached, UpstreamError)> {
        let authority = self.upstream.servers.get(server).map_or("", |server| &server.authority);
        if !address(&mut self.request, authority) {
            return Err((Reached::Nothing, UpstreamError::Unavailable));
        }
        loop {
            let got = self.pool.get(self.upstream, server).await;
            match got.map_err(|_| (Reached::Nothing, UpstreamError::Unavailable))? {
                Got::H2(shared) => return self.on_h2(server, &shared).await,
                Got::H1(..) if self.how.trailers => {
                    return Err((Reached::Nothing, UpstreamError::Malformed("grpc needs HTTP/2")));
                }
                Got::H1(connection, used) => match self.on_h1(server, connection).await {
                    // The server closed a connection that was waiting: no failure of the server, and no retry.
                    Err((Reached::Nothing, UpstreamError::Broken)) if used => {}
                    result => return result,
                },
            }
        }
    }

    /// When a response's head must be there.
    fn deadline(&self) -> Instant {
        let times = &self.upstream.plan.timeouts;
        let first = Instant::now() + times.first_byte;
        if self.how.stream { first } else { first.min(self.started + times.total) }
    }

    async fn on_h1(
        &mut self,
        server: usize,
        mut connection: Box<H1>,
    ) -> Result<Response<UpstreamBody>, (Reached, UpstreamError)> {
        let deadline = self.deadline();
        if self.head.is_empty() || self.upstream.servers.len() > 1 {
            let authority = self.upstream.servers.get(server).map_or("", |server| &server.authority);
            self.head = h1::encode(&self.request, authority, false);
        }
        let method = self.request.method().clone();
        let answer = connection.exchange(&self.head, &method, self.request.body_mut(), deadline).await;
        let Answer { status, headers, left, reusable } = answer.map_err(|failure| match failure {
            Failure::Broken(reached) => (reached, UpstreamError::Broken),
            Failure::Malformed(rule) => (Reached::Answered, UpstreamError::Malformed(rule)),
            Failure::Timeout => (Reached::Answered, UpstreamError::Timeout),
            Failure::Body(error) => (Reached::Answered, UpstreamError::Body(error)),
        })?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err((Reached::Answered, UpstreamError::Malformed("an upgrade that nobody asked for")));
        }
        let flight = self.flight.take().ok_or((Reached::Answered, UpstreamError::Broken))?;
        let coming = self.pool.coming(
            self.upstream,
            server,
            connection,
            left,
            reusable,
            flight,
            self.how,
            self.started,
        );
        Ok(response(status, headers, coming))
    }

    async fn on_h2(
        &mut self,
        server: usize,
        shared: &Rc<H2>,
    ) -> Result<Response<UpstreamBody>, (Reached, UpstreamError)> {
        let broken = (Reached::Answered, UpstreamError::Broken);
        let target = self.upstream.servers.get(server).ok_or(broken)?;
        // What may be sent again is kept; a body that streams is given away.
        let kept = match self.request.body() {
            SendBody::Full(bytes) => SendBody::Full(bytes.clone()),
            _ => SendBody::Empty,
        };
        let buffered = self.request.body().buffered();
        let mut head = Request::new(());
        *head.method_mut() = self.request.method().clone();
        *head.uri_mut() = self.request.uri().clone();
        *head.headers_mut() = self.request.headers().clone();
        let (parts, ()) = head.into_parts();
        let body = std::mem::replace(self.request.body_mut(), kept);
        let request = h2::request(parts, body, target.plan.tls, &target.authority).ok_or(broken)?;
        let stream = shared.stream();
        let sent = tokio::time::timeout_at(self.deadline(), h2::send(shared.sender(), request)).await;
        let response = match sent {
            Err(_) => return Err((Reached::Answered, UpstreamError::Timeout)),
            Ok(Err(H2Error::NotSent)) if buffered => return Err((Reached::Nothing, UpstreamError::Broken)),
            Ok(Err(_)) => return Err((Reached::Sent, UpstreamError::Broken)),
            Ok(Ok(response)) => response,
        };
        let times = &self.upstream.plan.timeouts;
        let (parts, incoming) = response.into_parts();
        let coming = Coming::H2 {
            incoming,
            _stream: stream,
            _flight: self.flight.take(),
            trailers: self.how.trailers,
            idle: if self.how.stream { times.idle.max(STREAM_IDLE) } else { times.idle },
            end: (!self.how.stream).then(|| self.started + times.total),
            waiting: None,
            sleep: None,
        };
        let mut response = Response::new(UpstreamBody(coming));
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        Ok(response)
    }
}

/// A response's body.
pub(crate) enum Coming {
    H1 {
        pool: Rc<Pool>,
        server: usize,
        connection: Option<Box<H1>>,
        left: Left,
        reusable: bool,
        flight: Option<Flight>,
        idle: Duration,
        end: Option<Instant>,
        /// Since when a piece is waited for.
        waiting: Option<Instant>,
    },
    H2 {
        incoming: Incoming,
        _stream: h2::Stream,
        _flight: Option<Flight>,
        trailers: bool,
        idle: Duration,
        end: Option<Instant>,
        waiting: Option<Instant>,
        sleep: Option<Pin<Box<Sleep>>>,
    },
}

impl Coming {
    /// Gives the connection back as soon as nothing more can come.
    fn settle(&mut self) {
        let Self::H1 { pool, server, connection, left: Left::Nothing, reusable, flight, .. } = self else {
            return;
        };
        if let (Some(connection), Some(flight)) = (connection.take(), flight.take()) {
            // Bytes behind the response would be read as the next one (CVE-2026-2835 and its kin).
            if *reusable && connection.clean() {
                pool.put(&flight.upstream, *server, connection);
            }
        }
    }

    pub(crate) fn is_end(&self) -> bool {
        match self {
            Self::H1 { left, .. } => matches!(left, Left::Nothing),
            Self::H2 { incoming, .. } => incoming.is_end_stream(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::H1 { left: Left::Nothing, .. } => SizeHint::with_exact(0),
            Self::H1 { left: Left::Length(length), .. } => SizeHint::with_exact(*length),
            Self::H1 { .. } => SizeHint::default(),
            Self::H2 { incoming, .. } => incoming.size_hint(),
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self {
            Self::H1 { connection, left, idle, end, waiting, flight, server, .. } => {
                let Some(link) = connection else { return Poll::Ready(None) };
                match link.poll_body(cx, left) {
                    Poll::Ready(Ok(piece)) => {
                        *waiting = None;
                        self.settle();
                        Poll::Ready(piece.map(|data| Ok(Frame::data(data))))
                    }
                    Poll::Ready(Err(failure)) => {
                        if let (Some(flight), Failure::Broken(_)) = (flight.as_ref(), failure) {
                            flight.upstream.blame(*server, ticks());
                        }
                        *connection = None;
                        *left = Left::Nothing;
                        *flight = None;
                        Poll::Ready(Some(Err(Cut("the upstream's body broke off"))))
                    }
                    Poll::Pending => {
                        let since = *waiting.get_or_insert_with(Instant::now);
                        let deadline = end.map_or(since + *idle, |end| end.min(since + *idle));
                        if link.poll_clock(cx, deadline).is_pending() {
                            return Poll::Pending;
                        }
                        *connection = None;
                        *left = Left::Nothing;
                        *flight = None;
                        Poll::Ready(Some(Err(Cut("the upstream's body did not come in time"))))
                    }
                }
            }
            Self::H2 { incoming, trailers, idle, end, waiting, sleep, .. } => loop {
                match Pin::new(&mut *incoming).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        *waiting = None;
                        match frame.into_trailers() {
                            Ok(_) if !*trailers => {}
                            Ok(all) => return Poll::Ready(Some(Ok(Frame::trailers(of_a_call(all))))),
                            Err(frame) => return Poll::Ready(Some(Ok(frame))),
                        }
                    }
                    Poll::Ready(Some(Err(_))) => {
                        return Poll::Ready(Some(Err(Cut("the upstream's body broke off"))));
                    }
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => {
                        let since = *waiting.get_or_insert_with(Instant::now);
                        let deadline = end.map_or(since + *idle, |end| end.min(since + *idle));
                        let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
                        if sleep.deadline() != deadline {
                            sleep.as_mut().reset(deadline);
                        }
                        if sleep.as_mut().poll(cx).is_pending() {
                            return Poll::Pending;
                        }
                        return Poll::Ready(Some(Err(Cut("the upstream's body did not come in time"))));
                    }
                }
            },
        }
    }
}

/// Of a call's trailers, those that say how it ended (wire.md § 13): trailers have no other allow-list.
fn of_a_call(mut trailers: HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(3);
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        if let Some(value) = trailers.remove(name) {
            kept.insert(HeaderName::from_static(name), value);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_how_a_call_ended_leaves_in_its_trailers() {
        let mut trailers = HeaderMap::new();
        for (name, value) in [("grpc-status", "0"), ("x-backend-host", "db-3"), ("set-cookie", "a=1")] {
            trailers.insert(name, value.parse().unwrap());
        }
        let kept = of_a_call(trailers);
        assert_eq!(kept.len(), 1);
        assert_eq!(kept["grpc-status"], "0");
    }
}
