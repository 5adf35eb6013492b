//! One connection: hyper's HTTP/1.1 and HTTP/2 with every bound named, and the clocks that hyper does not have.
//!
//! A connection has one task and one timer, which is armed again only when it fires too early or a nearer deadline
//! appears; a request costs neither.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_plan::listen::Listener;
use tokio::time::{Instant, Sleep, sleep_until};

use super::body::{Arrival, Cut, InBody, OutBody};
use super::census::Census;
use super::guard::{Guard, Limits, Rule, Slot, Writes};
use super::h2guard::{FrameCount, H2Guard};
use super::peer::Peer;
use super::sock::{Prefixed, Sock};
use super::tls::Handshake;
use super::upgrade::{Landing, Upgrade};

/// What answers requests. One per worker thread; it need be neither `Send` nor `Sync`.
pub trait Handler: 'static {
    /// Answers a request. Dropped when the client goes away.
    fn call(&self, raw: Raw) -> impl Future<Output = Response<OutBody>>;

    /// Answers bytes that were no request. The connection closes after it.
    fn refuse(&self, refused: Refused) -> Response<OutBody>;

    /// A TLS handshake ended, well or not; to be counted.
    fn shaken(&self, handshake: Option<&Handshake>) {
        let _ = handshake;
    }
}

/// A request as it came off the wire. It lives until `canonical::parse` and no longer.
pub struct Raw {
    /// Method, target, version, fields.
    pub parts: http::request::Parts,
    /// The body, of which nothing has been asked for.
    pub body: InBody,
    /// Who.
    pub peer: Peer,
    /// The TLS handshake's facts; empty in plaintext.
    pub handshake: Rc<Handshake>,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// When its head was complete.
    pub arrived: Instant,
    /// A WebSocket may be opened here: HTTP/1.1 `Upgrade: websocket`, or extended CONNECT.
    pub upgrade: Option<Upgrade>,
}

/// Bytes that were refused before they became a request.
pub struct Refused {
    /// Why.
    pub rule: Rule,
    /// Who.
    pub peer: Peer,
    /// The TLS handshake's facts; empty in plaintext.
    pub handshake: Rc<Handshake>,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// When.
    pub arrived: Instant,
}

/// Tells the connections of a listener to end. One per listener and worker.
#[derive(Default)]
pub(crate) struct Leave {
    asked: Cell<bool>,
    cut: Cell<bool>,
    next: Cell<u64>,
    wakers: RefCell<Vec<(u64, Waker)>>,
}

impl Leave {
    /// End gracefully.
    pub(crate) fn ask(&self) {
        self.asked.set(true);
        self.wake();
    }

    /// End now.
    pub(crate) fn cut(&self) {
        self.asked.set(true);
        self.cut.set(true);
        self.wake();
    }

    pub(crate) fn asked(&self) -> bool {
        self.asked.get()
    }

    /// Connections and accept loops that have not ended.
    pub(crate) fn present(&self) -> usize {
        self.wakers.borrow().len()
    }

    pub(crate) fn register(self: &Rc<Self>, waker: Waker) -> Presence {
        let id = self.next.get();
        self.next.set(id + 1);
        self.wakers.borrow_mut().push((id, waker));
        Presence { leave: self.clone(), id }
    }

    fn wake(&self) {
        for (_, waker) in self.wakers.borrow().iter() {
            waker.wake_by_ref();
        }
    }
}

/// A connection's entry in [`Leave`]; removed when dropped.
pub(crate) struct Presence {
    leave: Rc<Leave>,
    id: u64,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut wakers = self.leave.wakers.borrow_mut();
        // The newest are at the end, and short connections are the newest.
        if let Some(at) = wakers.iter().rposition(|(id, _)| *id == self.id) {
            wakers.swap_remove(at);
        }
    }
}

/// What a connection is served with.
pub(crate) struct Setting<H> {
    pub(crate) handler: Rc<H>,
    pub(crate) listener: Arc<Listener>,
    pub(crate) census: Arc<Census>,
    pub(crate) leave: Rc<Leave>,
    pub(crate) peer: Peer,
    pub(crate) handshake: Handshake,
}

/// Serves a connection to its end.
pub(crate) async fn connection<H: Handler>(sock: Sock, h2: bool, setting: Setting<H>) {
    let cx = Rc::new(Conn {
        handler: setting.handler,
        listener: setting.listener,
        census: setting.census,
        leave: setting.leave,
        peer: setting.peer,
        handshake: Rc::new(setting.handshake),
        slot: Rc::new(Slot::new()),
        started: Instant::now(),
        idle_since: Cell::new(Instant::now()),
        active: Cell::new(0),
        calls: Cell::new(0),
        retired: Cell::new(false),
        stream: RefCell::new(None),
    });
    let presence = poll_fn(|task| Poll::Ready(cx.leave.register(task.waker().clone()))).await;
    if h2 {
        http2(sock, cx).await
    } else {
        http1(sock, cx).await
    }
    drop(presence);
}

struct Conn<H> {
    handler: Rc<H>,
    listener: Arc<Listener>,
    census: Arc<Census>,
    leave: Rc<Leave>,
    peer: Peer,
    handshake: Rc<Handshake>,
    slot: Rc<Slot>,
    started: Instant,
    idle_since: Cell<Instant>,
    /// Exchanges in progress.
    active: Cell<u32>,
    calls: Cell<u64>,
    /// The connection takes no further request.
    retired: Cell<bool>,
    /// HTTP/2: the meter of the stream whose future is about to be spawned.
    stream: RefCell<Option<Rc<Writes>>>,
}

/// What the driver has to do.
enum Next {
    Wait(Instant),
    /// The head has had its time; hyper must read again to see the refusal.
    Late,
    Retire,
    Close,
}

impl<H: Handler> Conn<H> {
    /// The clocks, as far as hyper does not keep them. Pure but for the cells.
    fn check(&self, now: Instant) -> Next {
        let bounds = &self.listener.bounds;
        if self.leave.cut.get() {
            self.census.was_cut();
            return Next::Close;
        }
        if self.slot.writes.hopeless(now, bounds.unread, bounds.unread_rate) {
            self.census.slow_reader();
            return Next::Close;
        }
        let old = self.started + bounds.age;
        let mut next = old;
        if !self.retired.get() {
            if self.leave.asked() || now >= old {
                self.retired.set(true);
                return Next::Retire;
            }
        } else if now >= old {
            next = now + Duration::from_secs(1);
        }
        // Other streams are no excuse; and there is no stream yet on which 408 could be said.
        if let Some(since) = self.slot.block_since() {
            let end = since + bounds.head;
            if now >= end {
                return Next::Close;
            }
            next = next.min(end);
        }
        if self.active.get() > 0 {
            // A next head that has begun waits for this exchange, and its clock with it.
        } else if let Some(since) = self.slot.head_since() {
            let end = since + bounds.head;
            if now >= end {
                return if self.slot.expire() { Next::Late } else { Next::Close };
            }
            next = next.min(end);
        } else {
            let end = self.idle_since.get() + bounds.idle;
            if now >= end {
                if self.retired.replace(true) {
                    return Next::Close;
                }
                return Next::Retire;
            }
            next = next.min(end);
        }
        if let Some(end) = self.slot.writes.deadline(now, bounds.unread) {
            next = next.min(end);
        }
        Next::Wait(next)
    }

    fn arrival(&self) -> Arrival {
        let bounds = &self.listener.bounds;
        Arrival { grace: bounds.body_grace, rate: bounds.body_rate, total: bounds.body }
    }

    fn begin(self: &Rc<Self>) -> Turn<H> {
        self.active.set(self.active.get() + 1);
        Turn(self.clone())
    }
}

/// An exchange in progress.
struct Turn<H>(Rc<Conn<H>>);

impl<H> Drop for Turn<H> {
    fn drop(&mut self) {
        let active = self.0.active.get().saturating_sub(1);
        self.0.active.set(active);
        if active == 0 {
            let now = Instant::now();
            self.0.idle_since.set(now);
            self.0.slot.renew_head(now);
        }
    }
}

async fn http1<H: Handler>(sock: Sock, cx: Rc<Conn<H>>) {
    let bounds = &cx.listener.bounds;
    let landing = Landing::default();
    let service = service_fn({
        let (cx, landing) = (cx.clone(), landing.clone());
        move |request: Request<Incoming>| answer1(cx.clone(), landing.clone(), request)
    });
    let guard =
        Guard::new(sock, Limits { http_1_0: cx.listener.http_1_0, ..Limits::from(bounds) }, cx.slot.clone());
    let most = (bounds.target + bounds.header_bytes + 1024).max(64 << 10);
    let mut connection = http1::Builder::new()
        .half_close(false)
        .keep_alive(true)
        .header_read_timeout(None)
        .max_headers(bounds.headers + 1)
        .max_buf_size(most)
        .max_header_size(most)
        .serve_connection(TokioIo::new(guard), service);
    let done = drive(&cx, &mut connection, |connection| connection.graceful_shutdown()).await;
    if done.is_some_and(|result| result.is_ok())
        && let Some(tunnel) = landing.take()
    {
        let (io, early) = connection.into_parts().io.into_inner().into_parts();
        tunnel(Box::new(Prefixed { early, io })).await;
    }
}

async fn answer1<H: Handler>(
    cx: Rc<Conn<H>>,
    landing: Landing,
    request: Request<Incoming>,
) -> Result<Response<Sent<H>>, Infallible> {
    let turn = cx.begin();
    let ordinal = cx.calls.get() + 1;
    cx.calls.set(ordinal);
    let arrived = Instant::now();
    let old = request.version() == Version::HTTP_10;
    let (mut response, offered) = if let Some(rule) = cx.slot.violation(ordinal) {
        cx.census.violation(rule);
        let (peer, handshake, listener) = (cx.peer, cx.handshake.clone(), cx.listener.clone());
        (cx.handler.refuse(Refused { rule, peer, handshake, listener, arrived }), true)
    } else {
        let (mut parts, body) = request.into_parts();
        // hyper's own handle would keep the connection's memory; ours is the landing.
        parts.extensions.clear();
        let offered = super::upgrade::is_offer(&parts.headers);
        let raw = Raw {
            parts,
            body: InBody::new(body, Some(cx.slot.clone()), cx.arrival()),
            peer: cx.peer,
            handshake: cx.handshake.clone(),
            listener: cx.listener.clone(),
            arrived,
            upgrade: offered.then(|| Upgrade::http1(landing, cx.leave.clone())),
        };
        (cx.handler.call(raw).await, offered)
    };
    if let Some(rule) = cx.slot.body_violation() {
        cx.census.violation(rule);
    }
    let last = old
        || (offered && response.status() != StatusCode::SWITCHING_PROTOCOLS)
        || cx.retired.get()
        || cx.leave.asked()
        || ordinal >= cx.listener.bounds.requests_http1
        || cx.slot.body_violation().is_some();
    if last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    *response.version_mut() = Version::HTTP_11;
    Ok(response.map(|body| Sent { body, _turn: turn, meter: None, last: 0 }))
}

async fn http2<H: Handler>(sock: Sock, cx: Rc<Conn<H>>) {
    let bounds = &cx.listener.bounds;
    let flooded = Rc::new(Cell::new(false));
    let service = service_fn({
        let cx = cx.clone();
        move |request: Request<Incoming>| {
            let meter = Rc::new(Writes::default());
            *cx.stream.borrow_mut() = Some(meter.clone());
            answer2(cx.clone(), meter, request)
        }
    });
    let count = FrameCount::new(bounds.resets, bounds.control_frames);
    let io = H2Guard::new(sock, count, cx.slot.clone(), flooded.clone());
    let mut builder = http2::Builder::new(Streams(cx.clone()));
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .adaptive_window(false)
        .max_frame_size(16 << 10)
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(u32::try_from(bounds.header_bytes).unwrap_or(u32::MAX))
        .header_table_size(4096)
        .max_send_buf_size(64 << 10)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    if cx.listener.extended_connect {
        builder.enable_connect_protocol();
    }
    let mut connection = builder.serve_connection(TokioIo::new(io), service);
    drive(&cx, &mut connection, |connection| connection.graceful_shutdown()).await;
    if flooded.get() {
        cx.census.flood();
    }
}

async fn answer2<H: Handler>(
    cx: Rc<Conn<H>>,
    meter: Rc<Writes>,
    request: Request<Incoming>,
) -> Result<Response<Sent<H>>, Infallible> {
    let turn = cx.begin();
    let ordinal = cx.calls.get() + 1;
    cx.calls.set(ordinal);
    if ordinal >= cx.listener.bounds.requests_http2 && !cx.retired.get() {
        // The driver sees it when it is polled next, which is when this answer is written.
        cx.retired.set(true);
    }
    let arrived = Instant::now();
    let (parts, body) = request.into_parts();
    let upgrade = Upgrade::http2(&parts, cx.leave.clone());
    let raw = Raw {
        parts,
        body: InBody::new(body, None, cx.arrival()),
        peer: cx.peer,
        handshake: cx.handshake.clone(),
        listener: cx.listener.clone(),
        arrived,
        upgrade,
    };
    let mut response = cx.handler.call(raw).await;
    *response.version_mut() = Version::HTTP_2;
    // From here on, a stream that is not asked for its body waits for the client.
    meter.blocked();
    Ok(response.map(|body| Sent { body, _turn: turn, meter: Some(meter), last: 0 }))
}

/// Polls a connection, keeps its clocks, tells it to end. `None` when it was cut.
async fn drive<H: Handler, C, E>(
    cx: &Rc<Conn<H>>,
    connection: &mut C,
    retire: impl Fn(Pin<&mut C>),
) -> Option<Result<(), E>>
where
    C: Future<Output = Result<(), E>> + Unpin,
{
    let mut armed = cx.started + cx.listener.bounds.idle.min(cx.listener.bounds.age);
    let mut sleep = pin!(sleep_until(armed));
    let mut registered = false;
    let mut retired = false;
    poll_fn(|task| {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(task) {
                return Poll::Ready(Some(result));
            }
            if cx.retired.get() && !retired {
                retired = true;
                retire(Pin::new(connection));
                continue;
            }
            match cx.check(Instant::now()) {
                Next::Close => return Poll::Ready(None),
                Next::Retire | Next::Late => continue,
                Next::Wait(next) => {
                    if rearm(sleep.as_mut(), &mut armed, &mut registered, next, task).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    })
    .await
}

/// Ready when `next` is due or the timer fired too early and was moved.
fn rearm(
    mut sleep: Pin<&mut Sleep>,
    armed: &mut Instant,
    registered: &mut bool,
    next: Instant,
    task: &mut Context<'_>,
) -> Poll<()> {
    if next < *armed || sleep.is_elapsed() {
        sleep.as_mut().reset(next);
        *armed = next;
        *registered = false;
    }
    if *registered {
        return Poll::Pending;
    }
    let poll = sleep.poll(task);
    *registered = poll.is_pending();
    poll
}

/// Spawns HTTP/2 streams on this thread, and resets those whose client does not read.
struct Streams<H>(Rc<Conn<H>>);

impl<H> Clone for Streams<H> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<H: Handler, F: Future + 'static> hyper::rt::Executor<F> for Streams<H> {
    fn execute(&self, future: F) {
        let meter = self.0.stream.borrow_mut().take();
        let cx = self.0.clone();
        tokio::task::spawn_local(async move {
            let mut future = pin!(future);
            let Some(meter) = meter else {
                future.await;
                return;
            };
            let (unread, rate) = (cx.listener.bounds.unread, cx.listener.bounds.unread_rate);
            let mut sleep: Option<Pin<Box<Sleep>>> = None;
            poll_fn(|task| {
                loop {
                    if future.as_mut().poll(task).is_ready() {
                        return Poll::Ready(());
                    }
                    let now = Instant::now();
                    if meter.hopeless(now, unread, rate) {
                        // Dropping the future resets the stream.
                        cx.census.slow_reader();
                        return Poll::Ready(());
                    }
                    let Some(next) = meter.deadline(now, unread) else { return Poll::Pending };
                    let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(next)));
                    if sleep.is_elapsed() {
                        sleep.as_mut().reset(next);
                    }
                    if sleep.as_mut().poll(task).is_pending() {
                        return Poll::Pending;
                    }
                }
            })
            .await;
        });
    }
}

/// Pieces of an HTTP/2 body are no larger, so that a stream holds little while its window is closed.
const PIECE: usize = 16 << 10;

/// A response's body on its way to hyper.
struct Sent<H> {
    body: OutBody,
    _turn: Turn<H>,
    meter: Option<Rc<Writes>>,
    last: usize,
}

impl<H> Body for Sent<H> {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let me = self.get_mut();
        let Some(meter) = &me.meter else { return Pin::new(&mut me.body).poll_frame(cx) };
        meter.took(me.last);
        me.last = 0;
        let frame = match &mut me.body {
            OutBody::Full(bytes) if bytes.len() > PIECE => {
                Poll::Ready(Some(Ok(Frame::data(bytes.split_to(PIECE)))))
            }
            body => Pin::new(body).poll_frame(cx),
        };
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                me.last = frame.data_ref().map_or(0, Bytes::len);
                meter.blocked();
            }
            // It is the upstream that is waited for.
            _ => meter.level(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
