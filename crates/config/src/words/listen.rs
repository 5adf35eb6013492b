//! Where requests come in.

use super::{At, Duration, Loosening, Network, OneOrMany, Reference, Short, Size};
use schemars::JsonSchema;
use serde::Deserialize;

/// An address, or a list of listeners.
pub type Listen = OneOrMany<Short<Listener>>;

/// One listening address.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Its name in logs and in the ready file. Default `public`, or `admin`.
    #[serde(default)]
    pub name: Option<At<String>>,
    /// IP address and port; port 0 takes a free one. `systemd:NAME` takes a socket that the service manager opened.
    #[schemars(extend("examples" = ["0.0.0.0:8443", "systemd:portcullis.socket"]))]
    pub address: At<String>,
    /// What answers here.
    #[serde(default)]
    pub serve: Vec<At<Serve>>,
    /// The port that clients see, when a balancer maps ports.
    #[serde(default)]
    pub public_port: Option<u16>,
    /// TLS. Without it only loopback addresses can serve APIs.
    #[serde(default)]
    pub tls: Option<At<Tls>>,
    /// A PROXY protocol header is demanded here, from these peers.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// A trusted proxy that ends TLS in front tells of clients' certificates by `Client-Cert` (RFC 9440). They are checked
    /// here again, by `clients` or `tls.clients`.
    #[serde(default)]
    pub client_cert_from_proxy: At<bool>,
    /// How the certificates are checked that a proxy tells of, on a listener without TLS of its own.
    #[serde(default)]
    pub clients: Option<At<Clients>>,
    /// Whether `/.well-known/portcullis/pins` tells the keys that apps may pin.
    #[serde(default)]
    pub publish_pins: bool,
    /// HTTP/2 without TLS, by prior knowledge; on loopback only.
    #[serde(default)]
    pub h2c: bool,
    /// Bounds of this listener's connections, instead of the global ones.
    #[serde(default)]
    pub bounds: Option<At<Bounds>>,
    /// Loosenings of this listener.
    #[serde(default)]
    pub loosen: Vec<At<Loosening<At<ListenerLoosening>>>>,
}

/// What can be loosened on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListenerLoosening {
    /// APIs are served without TLS off loopback: somebody else ends TLS in front.
    Plaintext,
    /// HTTP/1.0 is answered: one request a connection, no chunks.
    #[serde(rename = "http_1_0")]
    Http10,
}

/// What answers on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Serve {
    /// The APIs.
    Apis,
    /// Health, readiness and metrics; on loopback, or with client certificates.
    Admin,
    /// Challenges of ACME (http-01); may be plain HTTP anywhere.
    Acme,
    /// Whoever comes with GET or HEAD is sent to HTTPS; may be plain HTTP anywhere.
    Docs,
}

/// Certificate and key, and what clients must bring.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, PEM, leaf first.
    #[serde(default)]
    pub cert: Option<At<Reference>>,
    /// Its private key, PEM.
    #[serde(default)]
    pub key: Option<At<Reference>>,
    /// Further certificates, chosen by the name that the client asks for.
    #[serde(default)]
    pub certificates: Vec<At<Pair>>,
    /// Certificates by ACME, in place of files or beside them.
    #[serde(default)]
    pub acme: Option<At<Acme>>,
    /// The oldest version that is spoken.
    #[serde(default)]
    pub min: TlsVersion,
    /// Client certificates.
    #[serde(default)]
    pub clients: Option<At<Clients>>,
}

/// A certificate that is asked for, and renewed, while the program runs (RFC 8555). Asking means agreeing to the terms
/// of the authority.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// URL of the authority's directory.
    #[schemars(extend("examples" = ["https://acme-v02.api.letsencrypt.org/directory"]))]
    pub directory: At<String>,
    /// Names of the certificate.
    #[schemars(extend("examples" = [["api.example.com"]]))]
    pub hosts: Vec<At<String>>,
    /// Mail addresses for the authority.
    #[serde(default)]
    pub contact: Vec<At<String>>,
    /// How the names are proved.
    #[serde(default)]
    pub challenge: AcmeChallenge,
    /// Whether a renewed certificate keeps its key, so that apps may pin it.
    #[serde(default)]
    pub reuse_key: bool,
    /// The account at the authority that the ACME account is bound to.
    #[serde(default)]
    pub external_account: Option<At<ExternalAccount>>,
    /// Certificates of the authority's server, PEM, when it is not a public one.
    #[serde(default)]
    pub ca: Option<At<Reference>>,
}

/// How names are proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AcmeChallenge {
    /// In a TLS handshake on port 443 (RFC 8737).
    #[default]
    #[serde(rename = "tls_alpn_01")]
    TlsAlpn01,
    /// On port 80, by a listener with `serve: [acme]`.
    #[serde(rename = "http_01")]
    Http01,
}

/// An account at a certificate authority.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalAccount {
    /// Its name.
    pub kid: At<String>,
    /// The key that the authority gave, base64url.
    pub key: At<Reference>,
}

/// A certificate chain and its key.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The certificate chain, PEM, leaf first.
    pub cert: At<Reference>,
    /// Its private key, PEM.
    pub key: At<Reference>,
}

/// A version of TLS. Older ones do not exist here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 alone.
    #[serde(rename = "1.3")]
    V1_3,
}

/// How clients are asked for certificates.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clients {
    /// The CA certificates that sign them, PEM.
    pub ca: At<Reference>,
    /// Revocation lists, PEM.
    #[serde(default)]
    pub crl: Option<At<Reference>>,
    /// Whether a client may come without one. A bad one fails the handshake in either mode.
    #[serde(default)]
    pub mode: ClientMode,
    /// Patterns, one of which must fit a name in the certificate: `*.partner.example`, `spiffe://partner/*`.
    #[serde(default)]
    pub san: Vec<String>,
}

/// Whether a client certificate must be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientMode {
    /// No certificate, no connection.
    #[default]
    Required,
    /// Absent is fine; present and bad is not.
    Optional,
}

/// PROXY protocol, versions 1 and 2.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocol {
    /// The balancers that send it.
    pub from: Vec<At<Network>>,
}

/// The one header that is read from a trusted proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAddress {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Bounds of connections, heads and bodies. What is absent keeps its default.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Open connections in all (20000).
    pub connections: Option<u32>,
    /// Open connections of one IPv4 address or IPv6 /64 (200).
    pub connections_per_address: Option<u32>,
    /// TLS handshakes in progress (1000).
    pub handshakes: Option<u32>,
    /// Time for a TLS handshake (5s).
    pub handshake: Option<Duration>,
    /// Time for a request's head, from its first byte (10s, at most 60s).
    pub head: Option<Duration>,
    /// Time between two requests (60s, at most 10m).
    pub idle: Option<Duration>,
    /// Age of a connection (1h).
    pub age: Option<Duration>,
    /// Requests of one HTTP/1.1 connection (1000).
    pub requests_http1: Option<u32>,
    /// Requests of one HTTP/2 connection (10000).
    pub requests_http2: Option<u32>,
    /// Header fields of a request (100, at most 500).
    pub headers: Option<u32>,
    /// Bytes of all headers of a request (32KiB, at most 128KiB).
    pub header_bytes: Option<Size>,
    /// Bytes of one header value (8KiB, at most 32KiB).
    pub header_value: Option<Size>,
    /// Bytes of the request's target (8KiB, at most 64KiB).
    pub target: Option<Size>,
    /// Path segments (64).
    pub segments: Option<u32>,
    /// Cookies of a request (50).
    pub cookies: Option<u32>,
    /// Bytes of the `Cookie` header (8KiB, at most 32KiB).
    pub cookie_bytes: Option<Size>,
    /// Time that an answer may lie unread (30s).
    pub unread: Option<Duration>,
    /// Time for a request's body in all (60s, at most 30m).
    pub body: Option<Duration>,
    /// Concurrent HTTP/2 streams of one connection (100, at most 1000).
    pub streams: Option<u32>,
}

/// How the program ends when it is told to.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// Readiness is red and accepting goes on, so that balancers notice (5s).
    pub delay: Option<Duration>,
    /// What exchanges in progress have after that (30s).
    pub timeout: Option<Duration>,
}
