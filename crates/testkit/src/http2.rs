//! A small HTTP/2 client, over TLS (ALPN `h2`) or with prior knowledge.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::PATIENCE;
use crate::client::Response;
use crate::message::Message;

/// One HTTP/2 connection; requests on it run side by side.
#[derive(Clone)]
pub struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    origin: String,
}

impl Http2 {
    /// With prior knowledge, over plain TCP.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let (sender, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { sender, origin: format!("http://{address}") })
    }

    /// Over TLS. Offers ALPN `h2` alone.
    pub async fn open_tls(
        address: SocketAddr,
        name: &str,
        mut config: rustls::ClientConfig,
    ) -> io::Result<Self> {
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(address).await?;
        let server = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(server, stream).await?;
        let (sender, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { sender, origin: format!("https://{name}:{}", address.port()) })
    }

    /// One exchange. `target` is the path with its query.
    pub async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut builder = hyper::Request::builder().method(method).uri(format!("{}{target}", self.origin));
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let request = builder.body(Full::new(Bytes::copy_from_slice(body))).map_err(io::Error::other)?;
        let mut sender = self.sender.clone();
        let exchange = async move {
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec();
            let headers = parts
                .headers
                .iter()
                .map(|(name, value)| {
                    (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                })
                .collect();
            let message = Message { headers, body: body.clone(), ..Message::default() };
            Ok(Response { status: parts.status.as_u16(), body, message })
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))?
    }
}
