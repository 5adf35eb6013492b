//! The configuration as people write it. Every doc comment here is shown in editors and on the reference page.

pub mod admin;
pub mod api;
pub(crate) mod at;
pub mod caller;
pub mod detect;
pub mod egress;
pub mod graphql;
pub mod limits;
pub mod listen;
pub mod observe;
pub(crate) mod scalar;
pub mod uploads;
pub mod upstream;

pub use at::{At, Map, OneOrMany, Short};
pub use scalar::{Day, Duration, Network, Rate, Reference, Size};

use schemars::JsonSchema;
use serde::Deserialize;

/// The configuration of Portcullis. Only `apis` is needed; everything has a safe default.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Document {
    /// Where requests come in: an address, or listeners with all their settings. Default `127.0.0.1:8080`, plain HTTP. Off loopback TLS is needed.
    pub listen: Option<At<listen::Listen>>,
    /// Certificate and key when `listen` is just an address.
    pub tls: Option<At<listen::Tls>>,
    /// Address of the admin listener, on loopback: `/livez`, `/readyz`, `/metrics`. Or that, and who may use the admin API. Off by default.
    #[schemars(extend("examples" = ["127.0.0.1:9443"]))]
    pub admin: Option<At<Short<admin::Admin>>>,
    /// The audit ledger.
    pub audit: admin::Audit,
    /// The APIs, by name.
    pub apis: Map<api::Api>,
    /// Token issuers that APIs refer to by name.
    pub issuers: Map<caller::Issuer>,
    /// RFC 7662 end points that judge opaque tokens, by name.
    pub introspection: Map<caller::Introspection>,
    /// Rotation and notices of API keys.
    pub keys: caller::Keys,
    /// Memory of nonces that were used.
    pub replay: caller::Replay,
    /// How stale the feed of revocations may become.
    pub revocation: caller::Revocation,
    /// How much may come, from whom, how fast.
    pub limits: limits::Limits,
    /// Where URLs that come in requests may lead.
    pub egress: At<egress::Egress>,
    /// Proxies that may say who the client is. Empty: the peer of the socket is the client.
    pub trusted_proxies: Vec<At<Network>>,
    /// The one header that is read from a trusted proxy.
    pub client_address: listen::ClientAddress,
    /// Header names that are removed from every request, besides the built-in ones.
    pub reserved_headers: Vec<At<String>>,
    /// Bounds of connections, heads and bodies.
    pub bounds: At<listen::Bounds>,
    /// How the program ends when it is told to.
    pub drain: listen::Drain,
    /// The request log.
    pub log: observe::Log,
    /// Where API keys, revocations and nonces are kept.
    pub store: Option<observe::Store>,
    /// How large OpenAPI documents may be.
    pub documents: At<observe::Documents>,
}

/// What is let through on purpose, why, and until when.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LooseningOf_{T}")]
pub struct Loosening<T> {
    /// What is let through.
    pub allow: T,
    /// Why, for whoever reads this next year.
    #[serde(default)]
    pub because: Option<At<String>>,
    /// The last day on which it holds. After it, the configuration is refused.
    #[serde(default)]
    pub until: Option<At<Day>>,
}
