//! Clients that send exactly the bytes they are given.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::PATIENCE;
use crate::message::{self, Kind, Message};

/// A parsed response.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Body, without framing.
    pub body: Vec<u8>,
    /// The whole message; empty for HTTP/2 but for its fields.
    pub message: Message,
}

impl Response {
    /// The first value of a field, by name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.message.header(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, `null` when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The code of an RFC 9457 problem of this program: the last part of `type`.
    pub fn problem(&self) -> Option<String> {
        let json = self.json();
        json.get("type")?.as_str()?.strip_prefix("urn:portcullis:problem:").map(str::to_owned)
    }
}

/// A request with `Host: localhost` unless given, and `Content-Length` when there is a body.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    let given = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    if !given("host") {
        head.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() && !given("content-length") && !given("transfer-encoding") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let mut bytes = format!("{head}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Sends the bytes on a fresh connection and reads one response.
pub async fn send(address: SocketAddr, bytes: &[u8]) -> io::Result<Response> {
    let mut connection = Connection::open(address).await?;
    connection.head_request = bytes.starts_with(b"HEAD ");
    connection.write(bytes).await?;
    connection.response().await
}

/// As [`send`], over TLS.
pub async fn send_tls(
    address: SocketAddr,
    name: &str,
    config: Arc<rustls::ClientConfig>,
    bytes: &[u8],
) -> io::Result<Response> {
    let mut connection = Connection::open_tls(address, name, config).await?;
    connection.head_request = bytes.starts_with(b"HEAD ");
    connection.write(bytes).await?;
    connection.response().await
}

/// Bytes both ways, plain or TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One connection.
pub struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    /// Set before reading the response to HEAD, which has no body whatever its fields say.
    pub head_request: bool,
}

impl Connection {
    /// Opens a plain connection.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = patiently(TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Opens a TLS connection with this SNI name.
    pub async fn open_tls(
        address: SocketAddr,
        name: &str,
        config: Arc<rustls::ClientConfig>,
    ) -> io::Result<Self> {
        let stream = patiently(TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        Ok(Self::over(patiently(TlsConnector::from(config).connect(name, stream)).await?))
    }

    /// Over any stream.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new(), head_request: false }
    }

    /// Sends bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = &mut self.stream;
        patiently(async move {
            stream.write_all(bytes).await?;
            stream.flush().await
        })
        .await
    }

    /// Closes the sending side.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// The next final response; interim ones (1xx but 101) are passed over.
    pub async fn response(&mut self) -> io::Result<Response> {
        loop {
            let response = self.any_response().await?;
            if response.status / 100 != 1 || response.status == 101 {
                return Ok(response);
            }
        }
    }

    /// The next response, also an interim one.
    pub async fn any_response(&mut self) -> io::Result<Response> {
        let kind = if self.head_request { Kind::Bodiless } else { Kind::Response };
        let message = patiently(message::read(&mut self.stream, &mut self.buffer, kind))
            .await?
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "closed without a response"))?;
        let status = message
            .start
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .ok_or_else(|| io::Error::other(format!("status line {:?}", message.start)))?;
        Ok(Response { status, body: message.body.clone(), message })
    }

    /// Everything until the peer closes; a reset counts as a close.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut all = std::mem::take(&mut self.buffer);
        let stream = &mut self.stream;
        patiently(async move {
            let mut piece = [0_u8; 4096];
            loop {
                match stream.read(&mut piece).await {
                    Ok(0) => return Ok(all),
                    Ok(length) => all.extend_from_slice(&piece[..length]),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(all),
                    // rustls reports a close without close_notify this way.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(all),
                    Err(error) => return Err(error),
                }
            }
        })
        .await
    }
}

async fn patiently<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
    }
}
