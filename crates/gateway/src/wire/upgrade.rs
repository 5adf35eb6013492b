//! Connections that stop being HTTP.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use http::header::{HeaderMap, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

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

/// A client's offer to upgrade. Dropping it leaves an ordinary request; an HTTP/1.1 connection closes after that.
pub struct Upgrade(Kind);

enum Kind {
    Http1(Landing),
    Http2(OnUpgrade),
}

impl Upgrade {
    pub(crate) const fn http1(landing: Landing) -> Self {
        Self(Kind::Http1(landing))
    }

    /// Extended CONNECT with `:protocol` `websocket` (RFC 8441).
    pub(crate) fn http2(parts: &http::request::Parts) -> Option<Self> {
        let websocket = parts.extensions.get::<hyper::ext::Protocol>()?.as_str() == "websocket";
        let pending = parts.extensions.get::<OnUpgrade>()?.clone();
        (websocket && parts.method == http::Method::CONNECT).then(|| Self(Kind::Http2(pending)))
    }

    /// Over HTTP/2 the answer is 200 and not 101.
    pub(crate) const fn is_http2(&self) -> bool {
        matches!(self.0, Kind::Http2(_))
    }

    pub(crate) fn accept(self, tunnel: Tunnel) {
        match self.0 {
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
pub(crate) fn is_offer(parts: &http::request::Parts) -> bool {
    offers(&parts.headers)
}

fn offers(headers: &HeaderMap) -> bool {
    headers.get_all(UPGRADE).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
