//! Where requests go.

use std::time::Duration;

use crate::listen::Certificate;

/// One upstream: servers that answer for the same API. Equal upstreams keep their pools across a reload.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// The name in metrics and messages; unique.
    pub name: String,
    /// Never empty.
    pub servers: Vec<Server>,
    /// Whom to trust, and who we are, on `https` servers. Verification cannot be switched off.
    pub tls: UpstreamTls,
    /// Which HTTP is spoken.
    pub protocol: Protocol,
    /// Active probes.
    pub health: Option<Probe>,
    /// Time-outs of one exchange.
    pub timeouts: Timeouts,
    /// Requests in flight; further ones are refused.
    pub in_flight: u32,
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `https` or plaintext.
    pub tls: bool,
    /// Host name or address, in lower case, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Share of the traffic, relative to its neighbours; at least 1.
    pub weight: u32,
}

impl Server {
    /// `host:port`, the port left out when it is the scheme's own: the value of `Host`.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.tls { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }
}

/// TLS towards an upstream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpstreamTls {
    /// A private CA, PEM; public roots when absent.
    pub ca: Option<Vec<u8>>,
    /// A client certificate.
    pub identity: Option<Certificate>,
}

/// Which HTTP an upstream is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// By ALPN over TLS; HTTP/1.1 in plaintext.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 over TLS.
    Http2,
    /// HTTP/2 in plaintext, prior knowledge.
    H2c,
}

/// An active health probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Origin-form target.
    pub path: String,
    /// Interval.
    pub every: Duration,
    /// Time for one probe in all.
    pub timeout: Duration,
    /// Failures in a row that make a server unhealthy.
    pub unhealthy_after: u32,
    /// Successes in a row that make it healthy again.
    pub healthy_after: u32,
    /// Accepted statuses.
    pub status: Vec<u16>,
}

/// Time-outs of one exchange with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connect, name resolution included.
    pub connect: Duration,
    /// TLS handshake.
    pub tls: Duration,
    /// From the request to the response head.
    pub first_byte: Duration,
    /// Between two pieces of a body.
    pub idle: Duration,
    /// The whole exchange (not streams).
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            tls: Duration::from_secs(5),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(60),
        }
    }
}

impl Upstream {
    /// One server with the defaults of the reference page.
    pub fn single(name: &str, server: Server) -> Self {
        Self {
            name: name.to_owned(),
            servers: vec![server],
            tls: UpstreamTls::default(),
            protocol: Protocol::Auto,
            health: None,
            timeouts: Timeouts::default(),
            in_flight: 1024,
        }
    }
}
