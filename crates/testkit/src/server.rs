//! A scriptable HTTP/1.1 server on its own thread, which keeps every byte that it was sent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;

use crate::PATIENCE;
use crate::message::{self, Kind, Message};

/// One request as the upstream saw it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Ordinal of the connection that it came on, from 0.
    pub connection: usize,
    /// Method.
    pub method: String,
    /// Target, as written.
    pub target: String,
    /// The whole message, raw bytes included.
    pub message: Message,
}

impl Recorded {
    /// The first value of a field, by name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.message.header(name)
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.message.body).expect("the recorded body is JSON")
    }
}

/// Holds answers back until it is released.
#[derive(Debug, Clone)]
pub struct Latch(watch::Sender<bool>);

impl Default for Latch {
    fn default() -> Self {
        Self(watch::channel(false).0)
    }
}

impl Latch {
    /// A closed latch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets every held and every later answer go.
    pub fn release(&self) {
        self.0.send_replace(true);
    }

    async fn wait(&self) {
        let mut receiver = self.0.subscribe();
        let _ = receiver.wait_for(|released| *released).await;
    }
}

/// What the server says.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
    delay: Duration,
    latch: Option<Latch>,
    close: bool,
}

#[derive(Debug, Clone)]
enum Body {
    Full(Vec<u8>),
    Chunks(Vec<Vec<u8>>, Duration),
    Raw(Vec<u8>),
    Nothing,
}

impl Answer {
    /// A status with an empty body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Full(Vec::new()),
            delay: Duration::ZERO,
            latch: None,
            close: false,
        }
    }

    /// 200 with a JSON text.
    pub fn json(text: impl Into<String>) -> Self {
        Self::status(200).header("Content-Type", "application/json").body(text.into())
    }

    /// These bytes and nothing else, then the connection is closed: for answers that break the rules.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { body: Body::Raw(bytes.into()), close: true, ..Self::status(0) }
    }

    /// The connection is closed without a byte.
    pub fn hang_up() -> Self {
        Self { body: Body::Nothing, close: true, ..Self::status(0) }
    }

    /// Adds a field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A body with `Content-Length`.
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Full(bytes.into());
        self
    }

    /// A chunked body with a pause before each chunk.
    pub fn chunks(mut self, chunks: Vec<Vec<u8>>, pause: Duration) -> Self {
        self.body = Body::Chunks(chunks, pause);
        self
    }

    /// Waits before the first byte.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits for the latch before the first byte.
    pub fn held_by(mut self, latch: &Latch) -> Self {
        self.latch = Some(latch.clone());
        self
    }

    /// `Connection: close`, and so it is.
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    async fn write<W: AsyncWrite + Unpin>(&self, stream: &mut W, head_only: bool) -> io::Result<()> {
        tokio::time::sleep(self.delay).await;
        if let Some(latch) = &self.latch {
            latch.wait().await;
        }
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.close {
            head.push_str("Connection: close\r\n");
        }
        match &self.body {
            Body::Nothing => {}
            Body::Raw(bytes) => stream.write_all(bytes).await?,
            Body::Full(bytes) => {
                let bodiless = self.status / 100 == 1 || self.status == 204;
                if !bodiless {
                    head.push_str(&format!("Content-Length: {}\r\n", bytes.len()));
                }
                let mut out = format!("{head}\r\n").into_bytes();
                if !head_only && !bodiless && self.status != 304 {
                    out.extend_from_slice(bytes);
                }
                stream.write_all(&out).await?;
            }
            Body::Chunks(chunks, pause) => {
                stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await?;
                for chunk in chunks {
                    tokio::time::sleep(*pause).await;
                    stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
                    stream.write_all(chunk).await?;
                    stream.write_all(b"\r\n").await?;
                    stream.flush().await?;
                }
                stream.write_all(b"0\r\n\r\n").await?;
            }
        }
        stream.flush().await
    }
}

type Script = Box<dyn Fn(&Recorded) -> Answer + Send>;

struct Shared {
    script: Mutex<Script>,
    recorded: watch::Sender<Vec<Recorded>>,
    connections: watch::Sender<usize>,
    keep: bool,
}

/// A fake upstream on loopback: records what arrives, answers what it is told.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    scheme: &'static str,
}

impl Upstream {
    /// Answers every request with `script`.
    pub fn start(script: impl Fn(&Recorded) -> Answer + Send + 'static) -> Self {
        Self::launch(Box::new(script), None, true)
    }

    /// As [`Upstream::start`], over TLS.
    pub fn start_tls(
        config: Arc<rustls::ServerConfig>,
        script: impl Fn(&Recorded) -> Answer + Send + 'static,
    ) -> Self {
        Self::launch(Box::new(script), Some(TlsAcceptor::from(config)), true)
    }

    /// As [`Upstream::start`], without keeping what arrives: for runs with many requests.
    pub fn start_forgetful(script: impl Fn(&Recorded) -> Answer + Send + 'static) -> Self {
        Self::launch(Box::new(script), None, false)
    }

    fn launch(script: Script, tls: Option<TlsAcceptor>, keep: bool) -> Self {
        let listener =
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket can be made non-blocking");
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            recorded: watch::channel(Vec::new()).0,
            connections: watch::channel(0).0,
            keep,
        });
        let (stop, stopped) = oneshot::channel();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let inside = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be built");
            runtime.block_on(async move {
                tokio::select! {
                    () = accept(listener, tls, inside) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread), scheme }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`, without a path.
    pub fn url(&self) -> String {
        match self.scheme {
            "https" => format!("https://localhost:{}", self.address.port()),
            _ => format!("http://{}", self.address),
        }
    }

    /// Replaces the script.
    pub fn answer(&self, script: impl Fn(&Recorded) -> Answer + Send + 'static) {
        *lock(&self.shared.script) = Box::new(script);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.recorded.borrow().clone()
    }

    /// Forgets the requests so far.
    pub fn clear(&self) {
        self.shared.recorded.send_replace(Vec::new());
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// Waits until at least `count` requests have arrived and returns them. Fails after [`PATIENCE`].
    pub async fn received(&self, count: usize) -> io::Result<Vec<Recorded>> {
        let mut receiver = self.shared.recorded.subscribe();
        let waited = tokio::time::timeout(PATIENCE, receiver.wait_for(|all| all.len() >= count)).await;
        match waited {
            Ok(Ok(all)) => Ok(all.clone()),
            _ => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{} of {count} requests arrived", self.requests().len()),
            )),
        }
    }

    /// Stops listening and closes every connection.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn accept(listener: std::net::TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("the socket belongs to this runtime");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let mut number = 0;
        shared.connections.send_modify(|count| {
            number = *count;
            *count += 1;
        });
        let shared = Arc::clone(&shared);
        match tls.clone() {
            None => drop(tokio::spawn(converse(stream, number, shared))),
            Some(acceptor) => drop(tokio::spawn(async move {
                match acceptor.accept(stream).await {
                    Ok(stream) => converse(stream, number, shared).await,
                    Err(error) => Err(error),
                }
            })),
        }
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    connection: usize,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(message) = message::read(&mut stream, &mut buffer, Kind::Request).await? {
        let mut words = message.start.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default().to_owned();
        let recorded = Recorded { connection, method, target, message };
        let answer = lock(&shared.script)(&recorded);
        let head_only = recorded.method == "HEAD";
        if shared.keep {
            shared.recorded.send_modify(|all| all.push(recorded));
        }
        answer.write(&mut stream, head_only).await?;
        if answer.close {
            return stream.shutdown().await;
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Connection, request, send};

    #[tokio::test]
    async fn records_raw_bytes_and_answers_by_script() {
        let upstream = Upstream::start(|seen| Answer::json(format!("{{\"target\":{:?}}}", seen.target)));
        let bytes = request("POST", "/a?b=c", &[("X-One", "1"), ("X-One", "2")], b"body");
        let response = send(upstream.address(), &bytes).await.unwrap();
        assert_eq!((response.status, response.json()["target"].as_str()), (200, Some("/a?b=c")));
        let seen = upstream.received(1).await.unwrap();
        assert_eq!(seen[0].message.raw, bytes);
        assert_eq!(seen[0].message.values("x-one"), ["1", "2"]);
        assert_eq!((seen[0].method.as_str(), seen[0].message.body.as_slice()), ("POST", b"body".as_slice()));
    }

    #[tokio::test]
    async fn keeps_connections_holds_and_hangs_up() {
        let latch = Latch::new();
        let held = latch.clone();
        let upstream = Upstream::start(move |seen| match seen.target.as_str() {
            "/held" => Answer::status(204).held_by(&held),
            "/gone" => Answer::hang_up(),
            _ => Answer::status(200).chunks(vec![b"ab".to_vec(), b"c".to_vec()], Duration::ZERO),
        });
        let mut connection = Connection::open(upstream.address()).await.unwrap();
        connection.write(&request("GET", "/", &[], b"")).await.unwrap();
        assert_eq!(connection.response().await.unwrap().body, b"abc");
        connection.write(&request("GET", "/held", &[], b"")).await.unwrap();
        upstream.received(2).await.unwrap();
        latch.release();
        assert_eq!(connection.response().await.unwrap().status, 204);
        connection.write(&request("GET", "/gone", &[], b"")).await.unwrap();
        assert!(connection.response().await.is_err());
        assert_eq!(upstream.connections(), 1);
    }
}
