//! The edge over real sockets.
#![expect(clippy::disallowed_methods, reason = "clients of the edge under test")]

mod attacks;
mod h2;
mod life;
mod out;
mod tls;
mod websocket;

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use portcullis_egress::Door;
use portcullis_plan::bounds::Bounds;
use portcullis_plan::listen::{Listener, Serve};
use portcullis_plan::upstream as plan;

use super::upgrade::{Answer, Offer, TunnelLimits};
use super::upstream::{How, Pool, SendBody, Upstream};
use super::*;

/// A handler that forwards to one upstream, and answers a few paths by itself.
struct Forward {
    pool: Rc<Pool>,
    upstream: Option<Arc<Upstream>>,
    worker: usize,
    log: RefCell<Vec<String>>,
}

fn text(status: u16, body: impl Into<String>) -> Response<OutBody> {
    let mut response = Response::new(OutBody::from(Bytes::from(body.into())));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    response
}

impl Handler for Forward {
    async fn call(&self, raw: Raw) -> Response<OutBody> {
        self.log.borrow_mut().push(raw.parts.uri.to_string());
        let path = raw.parts.uri.path().to_owned();
        match path.as_str() {
            "/hello" => return text(200, "hello"),
            "/worker" => return text(200, self.worker.to_string()),
            "/peer" => return text(200, format!("{:?}", raw.peer)),
            "/ja4" => return text(200, raw.handshake.ja4.as_deref().unwrap_or("none")),
            "/tls" => {
                let tls = &raw.handshake;
                return text(200, {
                    let sans = tls.client_cert.as_ref().map(|c| c.sans.clone()).unwrap_or_default();
                    format!("{:?} {:?} {:?} {sans:?}", tls.version, tls.group, tls.sni)
                });
            }
            "/count" | "/stream/count" if !path.starts_with("/via") => {
                return match raw.body.collect(1 << 20).await {
                    Ok(body) => text(200, body.len().to_string()),
                    Err(error) => text(error.code().status(), error.to_string()),
                };
            }
            "/large" => return text(200, "x".repeat(32 << 20)),
            "/slow" => {
                tokio::time::sleep(Duration::from_millis(500)).await;
                return text(200, "slow");
            }
            _ => {}
        }
        let Some(upstream) = self.upstream.as_ref() else { return text(500, "no upstream") };
        let target = raw.parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
        let target = target.strip_prefix("/via").unwrap_or(&target);
        let mut request = Request::builder().method(raw.parts.method.clone()).uri(target);
        for name in ["x-id", "idempotency-key"] {
            if let Some(value) = raw.parts.headers.get(name) {
                request = request.header(name, value);
            }
        }
        if let Some(upgrade) = raw.upgrade {
            let offer = match Offer::read(&raw.parts.headers, upgrade) {
                Ok(offer) => offer,
                Err(why) => return text(400, why),
            };
            let request = request.body(SendBody::Empty).unwrap();
            return match offer.pass_on(&self.pool, upstream, request, &["chat"]).await {
                Ok(Answer::Accepted(accepted)) => {
                    accepted.tunnel(TunnelLimits::default(), std::future::pending())
                }
                Ok(Answer::Other(response)) => response.map(OutBody::Upstream),
                Err(error) => text(error.code().status(), error.name()),
            };
        }
        let body = if path.contains("/stream") {
            SendBody::Client(raw.body)
        } else {
            match raw.body.collect(1 << 20).await {
                Ok(body) => body.into(),
                Err(error) => return text(error.code().status(), error.to_string()),
            }
        };
        let how = How {
            stream: path.starts_with("/sse"),
            trailers: path.starts_with("/grpc"),
            repeatable: raw.parts.headers.contains_key("idempotency-key"),
        };
        match self.pool.send(upstream, request.body(body).unwrap(), how).await {
            Ok(response) => response.map(OutBody::Upstream),
            Err(error) => text(error.code().status(), error.name()),
        }
    }

    fn refuse(&self, refused: Refused) -> Response<OutBody> {
        text(refused.rule.code().status(), refused.rule.name())
    }
}

fn listener() -> Listener {
    Listener::plain("test", "127.0.0.1:0".parse().unwrap(), vec![Serve::Apis])
}

fn bounded(change: impl FnOnce(&mut Bounds)) -> Listener {
    let mut listener = listener();
    change(&mut listener.bounds);
    listener
}

fn serve(listeners: Vec<Listener>, upstream: Option<plan::Upstream>) -> (Handle, SocketAddr) {
    let (handle, address, _) = serve_with(listeners, upstream);
    (handle, address)
}

fn serve_with(
    listeners: Vec<Listener>,
    upstream: Option<plan::Upstream>,
) -> (Handle, SocketAddr, Option<Arc<Upstream>>) {
    let upstream = upstream.map(|plan| Upstream::new(plan).unwrap());
    let door = Arc::new(Door::new());
    let shared = upstream.clone();
    let handle = Wire::start(listeners, Options { workers: Some(1), ..Options::default() }, move |worker| {
        Forward { pool: Pool::new(door.clone()), upstream: shared.clone(), worker, log: RefCell::default() }
    })
    .unwrap();
    let address = handle.addresses()[0].1;
    (handle, address, upstream)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Writes, then reads to the end of the connection.
fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    // The server may refuse before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads one response with a Content-Length.
fn one(stream: &mut TcpStream) -> (u16, String, String) {
    let mut bytes = Vec::new();
    let mut byte = [0u8; 1];
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    let head = String::from_utf8(bytes).unwrap();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, String::from_utf8_lossy(&body).into_owned())
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (status, _, body) = one(&mut stream);
    (status, body)
}

/// True when the other side has closed.
fn closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(n) => n == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// An upstream that keeps every byte and answers with what `answer` makes of a request's head and body.
struct Recorder {
    address: SocketAddr,
    /// One entry per connection.
    bytes: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    fn start(answer: impl Fn(&str, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bytes: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (kept, answer) = (bytes.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), kept, answer) = (stream, kept.clone(), answer.clone()) else { return };
                let index = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(Vec::new());
                    kept.len() - 1
                };
                std::thread::spawn(move || record(stream, &kept, index, &*answer));
            }
        });
        Self { address, bytes }
    }

    /// Answers 200 with the request's target.
    fn echo() -> Self {
        Self::start(|head, _| ok(head.split(' ').nth(1).unwrap_or("?")))
    }

    fn plan(&self) -> plan::Upstream {
        plan::Upstream::single("test", server(self.address))
    }

    fn all(&self) -> String {
        let bytes = self.bytes.lock().unwrap();
        bytes.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    fn connections(&self) -> usize {
        self.bytes.lock().unwrap().len()
    }
}

fn server(address: SocketAddr) -> plan::Server {
    plan::Server { tls: false, host: address.ip().to_string(), port: address.port(), weight: 1 }
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn record(
    mut stream: TcpStream,
    kept: &Mutex<Vec<Vec<u8>>>,
    index: usize,
    answer: &dyn Fn(&str, &[u8]) -> Vec<u8>,
) {
    let (mut buffer, mut piece) = (Vec::new(), [0u8; 4096]);
    loop {
        while let Some((head, body, used)) = whole(&buffer) {
            let reply = answer(&head, &body);
            buffer.drain(..used);
            // An empty answer closes the connection.
            if reply.is_empty() || stream.write_all(&reply).is_err() {
                return;
            }
        }
        match stream.read(&mut piece) {
            Ok(n) if n > 0 => {
                kept.lock().unwrap()[index].extend_from_slice(&piece[..n]);
                buffer.extend_from_slice(&piece[..n]);
            }
            _ => return,
        }
    }
}

/// A second, independent reader of requests: by string search.
fn whole(buffer: &[u8]) -> Option<(String, Vec<u8>, usize)> {
    let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    if field("transfer-encoding: ").is_some() {
        let rest = &buffer[end..];
        let last = rest.windows(5).position(|five| five == b"0\r\n\r\n")? + 5;
        return Some((head, rest[..last].to_vec(), end + last));
    }
    let length = field("content-length: ").map_or(0, |n| n.parse::<usize>().unwrap());
    let body = buffer.get(end..end + length)?.to_vec();
    Some((head, body, end + length))
}
