//! Where requests go.

use super::listen::Pair;
use super::{At, Duration, Reference};
use schemars::JsonSchema;
use serde::Deserialize;

/// Servers that answer for an API.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The servers; requests go to the less busy of two.
    pub servers: Vec<At<Server>>,
    /// Whom to trust and who we are, on `https` servers. Verification cannot be switched off.
    #[serde(default)]
    pub tls: Tls,
    /// Which HTTP is spoken.
    #[serde(default)]
    pub protocol: Protocol,
    /// Active probes.
    #[serde(default)]
    pub health: Option<At<Health>>,
    /// Time-outs of one exchange.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Requests in flight; further ones are refused (1024).
    #[serde(default)]
    pub in_flight: Option<u32>,
}

/// One server.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Its base URL. Plain `http` only on loopback, unless loosened with `plaintext_upstream`.
    #[schemars(extend("examples" = ["https://shop-1.internal:8443"]))]
    pub url: At<String>,
    /// Its share of the traffic, beside its neighbours (1).
    #[serde(default)]
    pub weight: Option<u32>,
}

/// TLS towards an upstream.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "UpstreamTls")]
pub struct Tls {
    /// A private CA, PEM. Without it the public roots count.
    pub ca: Option<At<Reference>>,
    /// The certificate by which we are known there.
    pub client_cert: Option<At<Pair>>,
}

/// Which HTTP an upstream is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// What the server offers over TLS; HTTP/1.1 without.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 over TLS.
    Http2,
    /// HTTP/2 without TLS.
    H2c,
}

/// An active probe.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// What is asked for with GET.
    #[schemars(extend("examples" = ["/healthz"]))]
    pub path: At<String>,
    /// How often (10s).
    #[serde(default)]
    pub every: Option<Duration>,
    /// How long a probe may take (2s).
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// Failures in a row that make a server unhealthy (3).
    #[serde(default)]
    pub unhealthy_after: Option<u32>,
    /// Successes in a row that make it healthy again (2).
    #[serde(default)]
    pub healthy_after: Option<u32>,
    /// Accepted statuses (200).
    #[serde(default)]
    pub status: Vec<u16>,
}

/// Time-outs of one exchange.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// To connect (2s).
    pub connect: Option<Duration>,
    /// For the TLS handshake (5s).
    pub tls: Option<Duration>,
    /// From the request to the first byte of the answer (30s).
    pub first_byte: Option<Duration>,
    /// Between two pieces of a body (30s).
    pub idle: Option<Duration>,
    /// The whole exchange, but for streams (60s, at most 10m).
    pub total: Option<Duration>,
}
