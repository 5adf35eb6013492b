//! HTTP/2 towards a server, by hyper.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http::header;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::{Link, SendBody};

/// Streams of one connection.
pub(crate) const STREAMS: u32 = 100;

/// A connection that several exchanges share.
pub(crate) struct H2 {
    sender: http2::SendRequest<SendBody>,
    streams: Rc<Cell<u32>>,
    pub(crate) born: Instant,
    pub(crate) used: Cell<Instant>,
}

/// A stream in use; given back when dropped.
pub(crate) struct Stream(Rc<Cell<u32>>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

impl H2 {
    pub(crate) async fn new(link: Link) -> hyper::Result<Self> {
        let (sender, connection) = http2::Builder::new(Local)
            .timer(TokioTimer::new())
            .initial_stream_window_size(256 << 10)
            .initial_connection_window_size(1 << 20)
            .max_frame_size(16 << 10)
            .max_header_list_size(32 << 10)
            .max_send_buf_size(256 << 10)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20))
            .handshake(TokioIo::new(link))
            .await?;
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        let now = Instant::now();
        Ok(Self { sender, streams: Rc::default(), born: now, used: Cell::new(now) })
    }

    pub(crate) fn usable(&self) -> bool {
        !self.sender.is_closed() && self.streams.get() < STREAMS
    }

    pub(crate) fn idle(&self) -> bool {
        self.streams.get() == 0
    }

    pub(crate) fn closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Takes a stream's place.
    pub(crate) fn stream(&self) -> Stream {
        self.streams.set(self.streams.get() + 1);
        self.used.set(Instant::now());
        Stream(self.streams.clone())
    }

    /// The sending half, to be used outside of the pool's borrow.
    pub(crate) fn sender(&self) -> http2::SendRequest<SendBody> {
        self.sender.clone()
    }
}

/// What went wrong with a stream.
pub(crate) enum H2Error {
    /// The request was never sent.
    NotSent,
    /// It may have been.
    Broken,
}

/// Sends a request. Its fields are those that HTTP/2 may carry; the authority is that of `Host`.
pub(crate) async fn send(
    mut sender: http2::SendRequest<SendBody>,
    request: Request<SendBody>,
) -> Result<Response<Incoming>, H2Error> {
    sender.ready().await.map_err(|_| H2Error::NotSent)?;
    sender
        .try_send_request(request)
        .await
        .map_err(|mut error| if error.take_message().is_some() { H2Error::NotSent } else { H2Error::Broken })
}

/// A request of HTTP/1.1 form as HTTP/2 writes it.
pub(crate) fn request(
    mut parts: http::request::Parts,
    body: SendBody,
    tls: bool,
    authority: &str,
) -> Option<Request<SendBody>> {
    let host = parts.headers.remove(header::HOST);
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::UPGRADE,
        header::TRAILER,
    ] {
        parts.headers.remove(name);
    }
    let authority = match &host {
        Some(host) => Authority::try_from(host.as_bytes()).ok()?,
        None => Authority::try_from(authority).ok()?,
    };
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(authority);
    uri.path_and_query =
        Some(parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    parts.uri = Uri::from_parts(uri).ok()?;
    parts.version = Version::HTTP_2;
    if let SendBody::Full(bytes) = &body {
        parts.headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    }
    Some(Request::from_parts(parts, body))
}
