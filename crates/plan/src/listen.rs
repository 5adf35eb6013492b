//! Where the program listens, and as whom.

use std::net::SocketAddr;

use ipnet::IpNet;
use portcullis_core::secret::Secret;

use crate::bounds::Bounds;

/// One listening address. Equal listeners are the same listener: a reload leaves them alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// How the operator calls it (`public`, `admin`, …); unique.
    pub name: String,
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// What answers here.
    pub serve: Vec<Serve>,
    /// TLS, or plaintext when absent.
    pub tls: Option<Tls>,
    /// The port that clients see when a balancer maps ports.
    pub public_port: Option<u16>,
    /// When set, a PROXY protocol header is mandatory here and the peer must lie in one of these networks.
    pub proxy_protocol: Option<Vec<IpNet>>,
    /// HTTP/2 with prior knowledge on a plaintext listener (loopback only).
    pub h2c: bool,
    /// Extended CONNECT (RFC 8441): only where an operation declares a WebSocket.
    pub extended_connect: bool,
    /// The bounds of this listener's connections.
    pub bounds: Bounds,
}

/// A part of the program that answers on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Serve {
    /// The data plane.
    Apis,
    /// The authorization server.
    Identity,
    /// Admin API, metrics, readiness.
    Admin,
    /// The sealing API.
    Seal,
    /// ACME http-01 challenges.
    Acme,
    /// Documentation pages.
    Docs,
}

/// TLS of one listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// Certificates, chosen by SNI; never empty.
    pub certificates: Vec<Certificate>,
    /// The oldest version spoken.
    pub min: TlsVersion,
    /// Client certificates, when they are asked for.
    pub clients: Option<Clients>,
    /// Host names served here (lower case; `*.` for one label). When not empty, each must be covered by a
    /// certificate, and a handshake without SNI is refused.
    pub hosts: Vec<String>,
}

/// A protocol version. Older ones do not exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246) with extended master secret and AEAD suites.
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// A certificate chain and its key, as PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// Where it came from, for messages; never content.
    pub source: String,
    /// The chain, leaf first.
    pub chain: Vec<u8>,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: Secret<Vec<u8>>,
}

/// How clients are asked for certificates.
#[derive(Clone, Debug, PartialEq)]
pub struct Clients {
    /// CA certificates, PEM; at least one. There is no fallback to the platform's roots.
    pub ca: Vec<u8>,
    /// Revocation lists, PEM. One past its `nextUpdate` refuses.
    pub crl: Option<Vec<u8>>,
    /// Whether a client may come without.
    pub mode: ClientMode,
    /// Patterns of which one must fit a SAN: DNS (exact or `*.` one label) or URI (exact or `/*` one segment).
    /// Empty: any certificate of the CA.
    pub san: Vec<String>,
}

/// Whether a client certificate must be there. A bad one fails the handshake in either mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientMode {
    /// No certificate, no connection.
    Required,
    /// Absent is fine; present and bad is not.
    Optional,
}

impl Listener {
    /// A plaintext listener that serves `serve` with the default bounds.
    pub fn plain(name: &str, address: SocketAddr, serve: Vec<Serve>) -> Self {
        Self {
            name: name.to_owned(),
            address,
            serve,
            tls: None,
            public_port: None,
            proxy_protocol: None,
            h2c: false,
            extended_connect: false,
            bounds: Bounds::default(),
        }
    }
}
