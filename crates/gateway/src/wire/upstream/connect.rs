//! A connection to one server, and which HTTP is spoken on it.

use portcullis_egress::{Door, EgressError, Purpose, tls};
use portcullis_plan::upstream::Protocol;
use std::sync::atomic::Ordering::Relaxed;

use super::{Link, Server, Upstream};

/// A fresh connection.
pub(crate) struct Fresh {
    pub(crate) link: Link,
    pub(crate) h2: bool,
}

/// Dials, and agrees on a protocol. `http1` asks for HTTP/1.1 whatever the plan prefers (WebSocket).
pub(crate) async fn connect(
    door: &Door,
    upstream: &Upstream,
    server: &Server,
    http1: bool,
) -> Result<Fresh, EgressError> {
    let times = &upstream.plan.timeouts;
    upstream.counts.dialled.fetch_add(1, Relaxed);
    let tcp = door.dial(Purpose::Upstream, &server.plan.host, server.plan.port, times.connect).await?;
    if !server.plan.tls {
        return Ok(Fresh { link: Link::Plain(tcp), h2: upstream.plan.protocol == Protocol::H2c && !http1 });
    }
    let mut config = upstream.tls.clone().ok_or(EgressError::Tls)?;
    if http1 {
        let mut only = (*config).clone();
        only.alpn_protocols = vec![b"http/1.1".to_vec()];
        config = std::sync::Arc::new(only);
    }
    let stream = tls::handshake(config, &server.plan.host, tcp, times.tls).await?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if !h2 && matches!(upstream.plan.protocol, Protocol::Http2 | Protocol::H2c) && !http1 {
        return Err(EgressError::Protocol);
    }
    Ok(Fresh { link: Link::Tls(Box::new(stream)), h2 })
}
