//! Threads, sockets, and what happens to them on reload and at the end.
//!
//! One thread and one runtime per core, each with a socket of its own on every address (`SO_REUSEPORT`). A reload
//! swaps what new connections are served with; connections that are open keep what they began with.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_plan::bounds::Drain;
use portcullis_plan::listen::Listener;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::acme::Book;
use super::census::{Census, Seat};
use super::hello::Hello;
use super::peer::{self, Peer};
use super::serve::{self, Handler, Leave, Setting};
use super::sock::{Budget, Sock};
use super::tls::{self, Built, Handshake, TlsError};

const BACKLOG: i32 = 1024;
/// After an error of `accept` that is not the client's (no descriptors left).
const PAUSE: Duration = Duration::from_millis(50);

/// How the edge runs.
#[derive(Debug, Default)]
pub struct Options {
    /// Worker threads; the number of available cores when absent.
    pub workers: Option<usize>,
    /// What ACME has brought and proves.
    pub book: Arc<Book>,
    /// Sockets that the service manager has opened, by name.
    pub inherited: Vec<(String, std::net::TcpListener)>,
}

/// Why a listener cannot be opened.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be bound.
    Bind(SocketAddr, io::Error),
    /// The service manager has opened no socket of this name.
    Inherited(String),
    /// Its certificates cannot be used; at a reload the old ones stay.
    Tls(String, TlsError),
    /// A thread or its runtime cannot be made.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Inherited(name) => write!(f, "the service manager has opened no socket named `{name}`"),
            Self::Tls(listener, error) => write!(f, "listener `{listener}`: {error}"),
            Self::Thread(error) => write!(f, "cannot start a worker thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A listener's present setting.
struct Live {
    plan: Arc<Listener>,
    tls: Option<Built>,
}

impl Live {
    fn new(plan: Listener, book: &Book) -> Result<Self, StartError> {
        let told = plan.client_cert_from_proxy.as_ref().map(tls::usable).transpose();
        let tls = told.and_then(|_| plan.tls.as_ref().map(|tls| tls::build(tls, book)).transpose());
        let tls = tls.map_err(|error| StartError::Tls(plan.name.clone(), error))?;
        Ok(Self { plan: Arc::new(plan), tls })
    }
}

struct Open {
    configured: (SocketAddr, Option<String>),
    bound: SocketAddr,
    live: Arc<ArcSwap<Live>>,
    /// Open connections of this listener.
    connections: Arc<AtomicUsize>,
    id: usize,
}

enum Command {
    Listen { id: usize, socket: std::net::TcpListener, live: Arc<ArcSwap<Live>>, open: Arc<AtomicUsize> },
    Unlisten { id: usize, drain: Drain },
    Drain(Drain),
    Stop,
}

/// The running edge.
pub struct Handle {
    open: Mutex<Vec<Open>>,
    workers: Vec<UnboundedSender<Command>>,
    shared: Arc<Shared>,
    next: AtomicUsize,
}

struct Shared {
    census: Arc<Census>,
    book: Arc<Book>,
    inherited: Vec<(String, std::net::TcpListener)>,
    ready: AtomicBool,
    alive: Mutex<usize>,
    ended: Condvar,
}

/// Starts the edge.
pub struct Wire;

impl Wire {
    /// Binds every listener, starts the workers and returns once all of them accept. `make` is called once on each
    /// worker's thread, inside its runtime, with the worker's number.
    ///
    /// # Errors
    /// Nothing listens when one listener cannot.
    pub fn start<H: Handler>(
        listeners: Vec<Listener>,
        options: Options,
        make: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> Result<Handle, StartError> {
        let count = options
            .workers
            .or_else(|| std::thread::available_parallelism().ok().map(std::num::NonZero::get))
            .unwrap_or(1)
            .max(1);
        let Options { book, inherited, .. } = options;
        let mut ready = Vec::new();
        for (id, plan) in listeners.into_iter().enumerate() {
            let configured = (plan.address, plan.inherited.clone());
            let (sockets, bound) = open(&configured, &inherited, count)?;
            ready.push((
                Open {
                    configured,
                    bound,
                    live: Arc::new(ArcSwap::from_pointee(Live::new(plan, &book)?)),
                    connections: Arc::default(),
                    id,
                },
                sockets,
            ));
        }
        let shared = Arc::new(Shared {
            census: Arc::default(),
            book,
            inherited,
            ready: AtomicBool::new(true),
            alive: Mutex::new(0),
            ended: Condvar::new(),
        });
        let make = Arc::new(make);
        let mut workers = Vec::new();
        for number in 0..count {
            let (sender, receiver) = unbounded_channel();
            let (make, shared) = (make.clone(), shared.clone());
            *shared.alive.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            std::thread::Builder::new()
                .name(format!("portcullis-wire-{number}"))
                .spawn(move || {
                    let _alive = Alive(shared.clone());
                    worker(receiver, shared, || make(number));
                })
                .map_err(StartError::Thread)?;
            workers.push(sender);
        }
        let next = AtomicUsize::new(ready.len());
        let handle = Handle { open: Mutex::default(), workers, shared, next };
        for (open, sockets) in ready {
            handle.publish(open, sockets);
        }
        Ok(handle)
    }
}

impl Handle {
    /// What each listener is bound to, by name.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().map(|open| (open.live.load().plan.name.clone(), open.bound)).collect()
    }

    /// Counters of the edge.
    pub fn census(&self) -> &Arc<Census> {
        &self.shared.census
    }

    /// What ACME has brought and proves.
    pub fn book(&self) -> &Arc<Book> {
        &self.shared.book
    }

    /// Every certificate that is served now, by the listener's name.
    pub fn certificates(&self) -> Vec<(String, tls::Shown)> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |open: &Open| {
            let live = open.live.load();
            let shown = live.tls.as_ref().map(Built::shown).unwrap_or_default();
            let name = live.plan.name.clone();
            shown.into_iter().map(move |shown| (name.clone(), shown)).collect::<Vec<_>>()
        };
        open.iter().flat_map(of).collect()
    }

    /// False from the first moment of a drain.
    pub fn ready(&self) -> bool {
        self.shared.ready.load(Ordering::Relaxed)
    }

    /// Makes these the listeners. New ones open before old ones drain; one whose address stays is served with its new
    /// setting from the next connection on. A listener that cannot be opened or built keeps its old setting, if it has
    /// one, and is among the errors.
    pub fn apply(&self, listeners: Vec<Listener>, drain: Drain) -> Vec<StartError> {
        let mut errors = Vec::new();
        let mut kept = Vec::new();
        for plan in listeners {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let same = |open: &&mut Open| {
                open.configured.0 == plan.address
                    && open.configured.1 == plan.inherited
                    && open.live.load().plan.name == plan.name
            };
            if let Some(open) = open.iter_mut().find(same) {
                kept.push(open.id);
                if *open.live.load().plan != plan {
                    match Live::new(plan, &self.shared.book) {
                        Ok(live) => open.live.store(Arc::new(live)),
                        Err(error) => errors.push(error),
                    }
                }
                continue;
            }
            drop(open);
            let configured = (plan.address, plan.inherited.clone());
            let opened = Live::new(plan, &self.shared.book).and_then(|live| {
                Ok((live, self::open(&configured, &self.shared.inherited, self.workers.len())?))
            });
            match opened {
                Ok((live, (sockets, bound))) => {
                    let id = self.next.fetch_add(1, Ordering::Relaxed);
                    kept.push(id);
                    self.publish(
                        Open {
                            configured,
                            bound,
                            live: Arc::new(ArcSwap::from_pointee(live)),
                            connections: Arc::default(),
                            id,
                        },
                        sockets,
                    );
                }
                Err(error) => errors.push(error),
            }
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in open.extract_if(.., |open| !kept.contains(&open.id)) {
            for worker in &self.workers {
                let _ = worker
                    .send(Command::Unlisten { id: gone.id, drain: Drain { delay: Duration::ZERO, ..drain } });
            }
        }
        errors
    }

    /// Begins the end: readiness is red at once, accepting stops after `drain.delay`, and what is in progress has
    /// `drain.timeout` after that. Returns at once; [`Self::wait`] waits.
    pub fn drain(&self, drain: Drain) {
        self.shared.ready.store(false, Ordering::Relaxed);
        for worker in &self.workers {
            let _ = worker.send(Command::Drain(drain));
        }
    }

    /// Ends now (a second SIGTERM).
    pub fn stop(&self) {
        self.shared.ready.store(false, Ordering::Relaxed);
        for worker in &self.workers {
            let _ = worker.send(Command::Stop);
        }
    }

    /// Blocks until all workers have ended, at most `limit`. True when they have.
    pub fn wait(&self, limit: Duration) -> bool {
        let alive = self.shared.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.ended.wait_timeout_while(alive, limit, |alive| *alive > 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0 == 0
    }

    fn publish(&self, open: Open, sockets: Vec<std::net::TcpListener>) {
        for (worker, socket) in self.workers.iter().zip(sockets) {
            let _ = worker.send(Command::Listen {
                id: open.id,
                socket,
                live: open.live.clone(),
                open: open.connections.clone(),
            });
        }
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(open);
    }
}

struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        *self.0.alive.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.ended.notify_all();
    }
}

/// The sockets of a listener: its own, or duplicates of the one that the service manager opened (all workers then accept
/// from one queue).
fn open(
    (address, name): &(SocketAddr, Option<String>),
    inherited: &[(String, std::net::TcpListener)],
    count: usize,
) -> Result<(Vec<std::net::TcpListener>, SocketAddr), StartError> {
    let Some(name) = name else { return bind(*address, count) };
    let socket = inherited.iter().find(|(known, _)| known == name).map(|(_, socket)| socket);
    let socket = socket.ok_or_else(|| StartError::Inherited(name.clone()))?;
    let failed = |error| StartError::Bind(*address, error);
    socket.set_nonblocking(true).map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    let sockets = (0..count).map(|_| socket.try_clone()).collect::<io::Result<_>>().map_err(failed)?;
    Ok((sockets, bound))
}

/// One socket per worker on one address. They listen from here on: the kernel queues until the workers accept.
fn bind(address: SocketAddr, count: usize) -> Result<(Vec<std::net::TcpListener>, SocketAddr), StartError> {
    let bind = |address: SocketAddr| -> io::Result<std::net::TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false).or_else(|_| socket.set_only_v6(true))?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    let failed = |error| StartError::Bind(address, error);
    // SO_REUSEPORT would let a second program of the same user share the port unnoticed.
    if address.port() != 0 {
        let probe =
            Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(failed)?;
        probe.set_reuse_address(true).map_err(failed)?;
        probe.bind(&address.into()).map_err(failed)?;
    }
    let first = bind(address).map_err(failed)?;
    let bound = first.local_addr().map_err(failed)?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(bind(bound).map_err(failed)?);
    }
    Ok((sockets, bound))
}

/// A listener on one worker.
struct Local {
    id: usize,
    accepting: Rc<Leave>,
    connections: Rc<Leave>,
}

impl Local {
    fn present(&self) -> usize {
        self.accepting.present() + self.connections.present()
    }
}

fn worker<H: Handler>(receiver: UnboundedReceiver<Command>, shared: Arc<Shared>, make: impl FnOnce() -> H) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default());
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async move { obey(receiver, &shared, Rc::new(make())).await });
}

async fn obey<H: Handler>(mut receiver: UnboundedReceiver<Command>, shared: &Arc<Shared>, handler: Rc<H>) {
    let mut locals: Vec<Local> = Vec::new();
    while let Some(command) = receiver.recv().await {
        match command {
            Command::Listen { id, socket, live, open } => {
                let Ok(socket) = TcpListener::from_std(socket) else { continue };
                let local = Local { id, accepting: Rc::default(), connections: Rc::default() };
                let accept = Accept {
                    book: shared.book.clone(),
                    live,
                    open,
                    census: shared.census.clone(),
                    handler: handler.clone(),
                    accepting: local.accepting.clone(),
                    connections: local.connections.clone(),
                };
                tokio::task::spawn_local(accept.run(socket));
                locals.push(local);
            }
            Command::Unlisten { id, drain } => {
                for local in locals.extract_if(.., |local| local.id == id) {
                    tokio::task::spawn_local(async move { end(&[local], drain, shared_none()).await });
                }
            }
            Command::Drain(drain) => {
                let stop = async {
                    while let Some(command) = receiver.recv().await {
                        if matches!(command, Command::Stop) {
                            return;
                        }
                    }
                };
                end(&locals, drain, stop).await;
                return;
            }
            Command::Stop => {
                for local in &locals {
                    local.accepting.ask();
                    local.connections.cut();
                }
                tokio::task::yield_now().await;
                return;
            }
        }
    }
}

async fn shared_none() {
    std::future::pending().await
}

/// Stops accepting, lets connections end, cuts what is left, or everything as soon as `stop` is ready.
async fn end(locals: &[Local], drain: Drain, stop: impl Future<Output = ()>) {
    let graceful = async {
        tokio::time::sleep(drain.delay).await;
        for local in locals {
            local.accepting.ask();
            local.connections.ask();
        }
        let deadline = Instant::now() + drain.timeout;
        while locals.iter().any(|local| local.present() > 0) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (mut graceful, mut stop) = (std::pin::pin!(graceful), std::pin::pin!(stop));
    std::future::poll_fn(|cx| {
        if graceful.as_mut().poll(cx).is_ready() || stop.as_mut().poll(cx).is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    for local in locals {
        local.accepting.ask();
        local.connections.cut();
    }
    // The connections see it when they are polled.
    for _ in 0..100 {
        if locals.iter().all(|local| local.present() == 0) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// The accept loop of one listener on one worker.
struct Accept<H> {
    book: Arc<Book>,
    live: Arc<ArcSwap<Live>>,
    open: Arc<AtomicUsize>,
    census: Arc<Census>,
    handler: Rc<H>,
    accepting: Rc<Leave>,
    connections: Rc<Leave>,
}

impl<H: Handler> Accept<H> {
    async fn run(self, socket: TcpListener) {
        let _presence =
            std::future::poll_fn(|cx| Poll::Ready(self.accepting.register(cx.waker().clone()))).await;
        loop {
            let accepted = std::future::poll_fn(|cx| {
                if self.accepting.asked() {
                    return Poll::Ready(None);
                }
                socket.poll_accept(cx).map(Some)
            });
            match accepted.await {
                None => return,
                Some(Ok((tcp, address))) => self.accepted(tcp, peer::unmapped(address)),
                Some(Err(error)) if is_clients(&error) => {}
                Some(Err(_)) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn accepted(&self, tcp: TcpStream, address: SocketAddr) {
        let live = self.live.load_full();
        let bounds = &live.plan.bounds;
        let one =
            if live.plan.proxy_protocol.is_some() { usize::MAX } else { bounds.connections_per_address };
        let Some(seat) = self.census.enter(&self.open, address.ip(), bounds.connections, one) else { return };
        let _ = tcp.set_nodelay(true);
        let (census, handler, leave) = (self.census.clone(), self.handler.clone(), self.connections.clone());
        let book = self.book.clone();
        tokio::task::spawn_local(greet(tcp, address, live, seat, census, handler, leave, book));
    }
}

/// Errors of `accept` that are about one connection and not about us.
fn is_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// What comes before HTTP.
#[expect(clippy::too_many_arguments, reason = "one caller, in a task of its own")]
async fn greet<H: Handler>(
    mut tcp: TcpStream,
    address: SocketAddr,
    live: Arc<Live>,
    mut seat: Seat,
    census: Arc<Census>,
    handler: Rc<H>,
    leave: Rc<Leave>,
    book: Arc<Book>,
) {
    let bounds = &live.plan.bounds;
    let mut peer = Peer { socket: address, proxied: None, tls: live.tls.is_some() };
    if let Some(from) = &live.plan.proxy_protocol {
        let Ok(proxied) = peer::proxy_header(&mut tcp, address, from, bounds.proxy_header).await else {
            census.handshake_failed();
            return;
        };
        peer.proxied = proxied;
        if let Some(client) = proxied
            && !seat.stand_for(client.ip(), bounds.connections_per_address)
        {
            return;
        }
    }
    let (sock, h2, handshake) = match &live.tls {
        None => {
            let h2 = live.plan.h2c && prior_knowledge(&tcp, bounds.head).await;
            (Sock::Plain(tcp), h2, Handshake::default())
        }
        Some(built) => {
            let Some(shaking) = census.handshake(bounds.handshakes) else { return };
            let shaking_hands = shake(tcp, built, &live.plan.name, &book);
            let (sock, handshake) = match tokio::time::timeout(bounds.handshake, shaking_hands).await {
                Ok(Ok(Some(done))) => {
                    handler.shaken(Some(&done.1));
                    done
                }
                // It proved a name, and that was all.
                Ok(Ok(None)) => return,
                Ok(Err(_)) | Err(_) => {
                    census.handshake_failed();
                    handler.shaken(None);
                    return;
                }
            };
            drop(shaking);
            (sock, handshake.h2, handshake)
        }
    };
    let listener = live.plan.clone();
    serve::connection(sock, h2, Setting { handler, listener, census, leave, peer, handshake }).await;
    drop(seat);
}

/// Fatal alert `unrecognized_name` (RFC 8446 § 6.2, RFC 6066 § 3).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// A handshake, unless it is one that proves a name (RFC 8737): that one ends the connection.
async fn shake(
    tcp: TcpStream,
    built: &Built,
    listener: &str,
    book: &Book,
) -> io::Result<Option<(Sock, Handshake)>> {
    use tokio::io::AsyncWriteExt as _;
    let acceptor = rustls::server::Acceptor::default();
    let mut start = tokio_rustls::LazyConfigAcceptor::new(acceptor, Budget::hello(tcp)).await?;
    let hello = Hello::read(&start.io.lift());
    if hello.as_ref().is_some_and(Hello::is_acme)
        && let Some(proof) = start.client_hello().server_name().and_then(|host| book.handshake(host))
    {
        let mut stream = start.into_stream(proof).await?;
        stream.shutdown().await?;
        return Ok(None);
    }
    if !built.knows(start.client_hello().server_name()) {
        start.io.write_all(&UNRECOGNIZED_NAME).await?;
        start.io.shutdown().await?;
        return Err(io::Error::other("unknown server name"));
    }
    let stream = start.into_stream(built.config.clone()).await?;
    let mut handshake = tls::facts(stream.get_ref().1, listener);
    handshake.ja4 = hello.map(|hello| hello.ja4().into());
    Ok(Some((Sock::Tls(Box::new(stream)), handshake)))
}

/// HTTP/2's preface, without taking it from the socket.
async fn prior_knowledge(tcp: &TcpStream, limit: Duration) -> bool {
    const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut first = [0u8; 24];
    let look = async {
        loop {
            let n = tcp.peek(&mut first).await.unwrap_or(0);
            let same = first.get(..n).is_some_and(|seen| PREFACE.starts_with(seen));
            if n == 0 || n == PREFACE.len() || !same {
                return n == PREFACE.len() && same;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(limit, look).await.unwrap_or(false)
}
