//! Connections that stop being HTTP: WebSocket (RFC 6455, RFC 8441).
//!
//! `Offer` → `Answer::Accepted` → tunnel. Only an upstream's 101 with the right `Sec-WebSocket-Accept` makes an
//! [`Accepted`], and nothing else has a tunnel: no byte of the client reaches a server that has not agreed
//! (CVE-2024-23326, CVE-2025-64763, CVE-2026-2833).
//!
//! ```text
//! let offer = Offer::read(&parts.headers, raw.upgrade)?;          // before `Raw` dies
//! match offer.pass_on(&pool, &upstream, request, &["chat"]).await? {
//!     Answer::Accepted(accepted) => accepted.tunnel(limits, end), // a response: 101, or 200 over HTTP/2
//!     Answer::Other(response) => …                                // an ordinary response; the connection closes
//! }
//! ```

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::OutBody;
use super::serve::Leave;
use super::tunnel::{self, Pump};
use super::upstream::{Flight, Handshaken, Link, Pool, SendBody, Upstream, UpstreamBody, UpstreamError};

pub use super::frames::FrameLimits;
pub use super::tunnel::TunnelLimits;

/// A client's bytes after the upgrade.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// What runs on a connection after it was upgraded.
pub(crate) type Tunnel = Box<dyn FnOnce(Box<dyn Duplex>) -> Pin<Box<dyn Future<Output = ()>>>>;

/// Where the driver of an HTTP/1.1 connection finds the tunnel, once hyper has let go.
#[derive(Clone, Default)]
pub(crate) struct Landing(Rc<RefCell<Option<Tunnel>>>);

impl Landing {
    pub(crate) fn take(&self) -> Option<Tunnel> {
        self.0.borrow_mut().take()
    }
}

/// A client's wish to upgrade. Dropping it leaves an ordinary request; an HTTP/1.1 connection closes after that.
pub struct Upgrade {
    kind: Kind,
    leave: Rc<Leave>,
}

enum Kind {
    Http1(Landing),
    Http2(OnUpgrade),
}

impl Upgrade {
    pub(crate) const fn http1(landing: Landing, leave: Rc<Leave>) -> Self {
        Self { kind: Kind::Http1(landing), leave }
    }

    /// Extended CONNECT with `:protocol` `websocket` (RFC 8441).
    pub(crate) fn http2(parts: &http::request::Parts, leave: Rc<Leave>) -> Option<Self> {
        let websocket = parts.extensions.get::<hyper::ext::Protocol>()?.as_str() == "websocket";
        let pending = parts.extensions.get::<OnUpgrade>()?.clone();
        (websocket && parts.method == Method::CONNECT).then_some(Self { kind: Kind::Http2(pending), leave })
    }

    fn accept(self, tunnel: Tunnel) {
        match self.kind {
            Kind::Http1(landing) => *landing.0.borrow_mut() = Some(tunnel),
            Kind::Http2(pending) => {
                tokio::task::spawn_local(async move {
                    if let Ok(io) = pending.await {
                        tunnel(Box::new(TokioIo::new(io))).await;
                    }
                });
            }
        }
    }
}

/// `Upgrade: websocket`, as the guard judged it.
pub(crate) fn is_offer(headers: &HeaderMap) -> bool {
    headers.get_all(UPGRADE).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

const KEY: HeaderName = header::SEC_WEBSOCKET_KEY;
const ACCEPT: HeaderName = header::SEC_WEBSOCKET_ACCEPT;
const VERSION: HeaderName = header::SEC_WEBSOCKET_VERSION;
const PROTOCOL: HeaderName = header::SEC_WEBSOCKET_PROTOCOL;
const EXTENSIONS: HeaderName = header::SEC_WEBSOCKET_EXTENSIONS;
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A well-formed handshake of a client.
pub struct Offer {
    upgrade: Upgrade,
    /// The answer to the client's key; HTTP/2 has none.
    accept: Option<HeaderValue>,
    protocols: Vec<String>,
}

impl Offer {
    /// Checks a client's handshake (RFC 6455 § 4.2.1).
    ///
    /// # Errors
    /// What is wrong with it; a 400.
    pub fn read(headers: &HeaderMap, upgrade: Upgrade) -> Result<Self, &'static str> {
        let single = |name: HeaderName| {
            let mut values = headers.get_all(name).iter();
            let first = values.next().and_then(|value| value.to_str().ok());
            first.filter(|_| values.next().is_none())
        };
        if single(VERSION) != Some("13") {
            return Err("the WebSocket version is not 13");
        }
        let accept = match &upgrade.kind {
            Kind::Http2(_) => None,
            Kind::Http1(_) => {
                let options =
                    headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
                let named =
                    options.flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case("upgrade"));
                if !named {
                    return Err("Connection does not name the upgrade");
                }
                let key = single(KEY).ok_or("no Sec-WebSocket-Key")?;
                if STANDARD.decode(key).map(|bytes| bytes.len()) != Ok(16) {
                    return Err("the Sec-WebSocket-Key is not 16 bytes");
                }
                Some(accept_of(key.as_bytes()).ok_or("the Sec-WebSocket-Key")?)
            }
        };
        let lists = headers.get_all(PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        let protocols: Vec<String> =
            lists.flat_map(|list| list.split(',')).map(|name| name.trim().to_owned()).collect();
        if protocols.len() > 16 || protocols.iter().any(String::is_empty) {
            return Err("the subprotocols");
        }
        Ok(Self { upgrade, accept, protocols })
    }

    /// The subprotocols that the client speaks, in its order.
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }

    /// Makes our own handshake with a server: fresh key, no extension, at most one subprotocol, the first of the
    /// client's that is in `allowed`. `request` carries target and fields; its body is not sent.
    ///
    /// # Errors
    /// See [`UpstreamError`]. An answer that is not the one handshake we began is [`UpstreamError::Malformed`].
    pub async fn pass_on(
        self,
        pool: &Rc<Pool>,
        upstream: &Arc<Upstream>,
        mut request: Request<SendBody>,
        allowed: &[&str],
    ) -> Result<Answer, UpstreamError> {
        let mut nonce = [0u8; 16];
        rand::fill(&mut nonce).map_err(|_| UpstreamError::Broken)?;
        let key = STANDARD.encode(nonce);
        let expected = accept_of(key.as_bytes()).ok_or(UpstreamError::Broken)?;
        let chosen = self.protocols.iter().find(|name| allowed.contains(&name.as_str())).cloned();
        *request.method_mut() = Method::GET;
        *request.body_mut() = SendBody::Empty;
        let headers = request.headers_mut();
        for name in [KEY, ACCEPT, VERSION, PROTOCOL, EXTENSIONS] {
            headers.remove(name);
        }
        headers.insert(KEY, HeaderValue::from_str(&key).map_err(|_| UpstreamError::Broken)?);
        headers.insert(VERSION, HeaderValue::from_static("13"));
        if let Some(chosen) = &chosen {
            headers.insert(PROTOCOL, HeaderValue::from_str(chosen).map_err(|_| UpstreamError::Broken)?);
        }
        let (headers, link, early, flight) = match pool.handshake(upstream, request).await? {
            Handshaken::Other(response) => return Ok(Answer::Other(response)),
            Handshaken::Switched { headers, link, early, flight } => (headers, link, early, flight),
        };
        let only = |name: HeaderName| {
            let mut values = headers.get_all(name).iter();
            (values.next(), values.next().is_some())
        };
        if only(ACCEPT) != (Some(&expected), false) {
            return Err(UpstreamError::Malformed("the Sec-WebSocket-Accept is wrong"));
        }
        if !is_offer(&headers) || headers.contains_key(EXTENSIONS) {
            return Err(UpstreamError::Malformed("an upgrade to something else"));
        }
        let protocol = match only(PROTOCOL) {
            (None, _) => None,
            (Some(value), false)
                if chosen.as_ref().is_some_and(|name| value.as_bytes() == name.as_bytes()) =>
            {
                Some(value.clone())
            }
            _ => return Err(UpstreamError::Malformed("a subprotocol that was not offered")),
        };
        Ok(Answer::Accepted(Accepted {
            upgrade: self.upgrade,
            accept: self.accept,
            protocol,
            link,
            early,
            flight,
        }))
    }
}

fn accept_of(key: &[u8]) -> Option<HeaderValue> {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(GUID);
    HeaderValue::from_str(&STANDARD.encode(hash.finish())).ok()
}

/// What the server answered.
pub enum Answer {
    /// It agreed.
    Accepted(Accepted),
    /// An ordinary response.
    Other(Response<UpstreamBody>),
}

/// A handshake that the server has agreed to.
pub struct Accepted {
    upgrade: Upgrade,
    accept: Option<HeaderValue>,
    protocol: Option<HeaderValue>,
    link: Link,
    early: Vec<u8>,
    flight: Flight,
}

impl Accepted {
    /// The response to the client; once it is written, frames flow until either side closes, a bound is hit, the
    /// program drains (1001), or `end` is ready with a close code (1008: the credential ended).
    pub fn tunnel(self, limits: TunnelLimits, end: impl Future<Output = u16> + 'static) -> Response<OutBody> {
        let Self { upgrade, accept, protocol, link, early, flight } = self;
        let mut response = Response::new(OutBody::Empty);
        if let Some(protocol) = protocol {
            response.headers_mut().insert(PROTOCOL, protocol);
        }
        if let Some(accept) = accept {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(ACCEPT, accept);
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        let leave = upgrade.leave.clone();
        upgrade.accept(Box::new(move |client| {
            Box::pin(async move {
                let pump = Pump::new(client, Box::new(link), &early, limits);
                tunnel::run(pump, leave, Box::pin(end)).await;
                drop(flight);
            })
        }));
        response
    }
}
