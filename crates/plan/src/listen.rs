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
    /// In place of the address: a socket that the service manager has opened, by its name.
    pub inherited: Option<String>,
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
    /// HTTP/1.0 is answered, without keep-alive and without chunks (loosening `http_1_0`).
    pub http_1_0: bool,
    /// `GET /.well-known/portcullis/pins` is answered.
    pub publish_pins: bool,
    /// Extended CONNECT (RFC 8441): only where an operation declares a WebSocket.
    pub extended_connect: bool,
    /// The rules for certificates that a trusted proxy tells of by `Client-Cert` (RFC 9440); the header is read under no
    /// other.
    pub client_cert_from_proxy: Option<Clients>,
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
    /// Certificates, chosen by SNI; empty only where ACME brings them.
    pub certificates: Vec<Certificate>,
    /// Certificates that are asked for while the program runs.
    pub acme: Option<Acme>,
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

/// One certificate by ACME (RFC 8555).
#[derive(Clone, Debug, PartialEq)]
pub struct Acme {
    /// URL of the server's directory.
    pub directory: String,
    /// Whose certificates the server may show, PEM; the public authorities when absent.
    pub ca: Option<Vec<u8>>,
    /// Names of the certificate: lower case, sorted, no wildcards, never empty.
    pub hosts: Vec<String>,
    /// `mailto:` URLs.
    pub contact: Vec<String>,
    /// How the names are proved.
    pub challenge: AcmeChallenge,
    /// A renewed certificate keeps its key, so that a pin outlives it.
    pub reuse_key: bool,
    /// The account at the CA that the ACME account is bound to (RFC 8555 § 7.3.4).
    pub external_account: Option<ExternalAccount>,
}

impl Acme {
    /// What the certificate is called in the store: the same words are the same certificate.
    pub fn name(&self) -> String {
        format!("{} {}", self.directory, self.hosts.join(","))
    }
}

/// How names are proved to an ACME server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// In the TLS handshake of the listener itself (RFC 8737).
    TlsAlpn01,
    /// On a plaintext listener with `serve: [acme]` (RFC 8555 § 8.3).
    Http01,
}

/// An account at the CA.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalAccount {
    /// Its name.
    pub kid: String,
    /// The key that the CA gave, decoded.
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
            inherited: None,
            serve,
            tls: None,
            public_port: None,
            proxy_protocol: None,
            h2c: false,
            http_1_0: false,
            publish_pins: false,
            extended_connect: false,
            client_cert_from_proxy: None,
            bounds: Bounds::default(),
        }
    }
}
