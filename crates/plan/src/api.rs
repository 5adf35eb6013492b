//! One API and its operations.

use crate::access::{Access, Authenticate};
use crate::edge::HeaderPolicy;
use portcullis_contract::Contract;
use portcullis_contract::graphql::GraphQl;
use portcullis_core::finding::Span;
use std::sync::Arc;

/// One API: a contract, an upstream, and what is asked of callers.
#[derive(Debug)]
pub struct Api {
    /// Name in the configuration.
    pub name: Arc<str>,
    /// The compiled document.
    pub contract: Contract,
    /// How bodies arrive.
    pub bodies: Bodies,
    /// Policy of each operation, by the contract's operation index.
    pub operations: Vec<Operation>,
    /// The one tenant that the API is for: callers of another are refused.
    pub tenant: Option<Arc<str>>,
    /// Index into `Plan::upstreams`.
    pub upstream: usize,
    /// Path of the upstream's base URL, without a trailing slash.
    pub upstream_base: Box<str>,
    /// Authenticators.
    pub authenticate: Authenticate,
    /// Header rules in both directions.
    pub headers: HeaderPolicy,
    /// How the caller's attributes are read from claims.
    pub principal: Principal,
    /// Whether the verified credential goes on to the upstream.
    pub pass_credentials: bool,
    /// `Portcullis-Identity`.
    pub identity: Option<IdentityHeader>,
    /// Where it is configured.
    pub at: Span,
}

/// How bodies of requests arrive (contract.md § 11.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bodies {
    /// Whether gzip is undone.
    pub gzip: bool,
    /// Whether Brotli is undone.
    pub brotli: bool,
    /// Whether Zstandard is undone.
    pub zstd: bool,
    /// Bytes that one coded byte may become, once 64 KiB have come out.
    pub max_ratio: u32,
    /// Where files wait until they are judged.
    pub spool: Arc<std::path::Path>,
    /// Who scans them.
    pub scan: Option<Scan>,
}

/// A scanner of files (contract.md § 13.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Where it listens.
    pub address: ScanAddress,
    /// Bytes that it must take at once: as many as the largest body, at most 100 MiB.
    pub sample_bytes: u64,
    /// Operations whose files pass when it is away, by id; `*` is all of them (loosening `unscanned`).
    pub unscanned: Box<[Box<str>]>,
}

/// Where a scanner listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanAddress {
    /// Host (without brackets) and port.
    Tcp {
        /// Name or address.
        host: Box<str>,
        /// Port.
        port: u16,
    },
    /// A Unix socket.
    Unix(Arc<std::path::Path>),
}

impl std::fmt::Display for ScanAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `x-portcullis: principal`: which claims name the caller. JSON pointers.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The caller's id; `/sub`.
    pub id: Box<str>,
    /// The tenant, if the API has tenants.
    pub tenant: Option<Box<str>>,
    /// Other names and attributes: name and pointer.
    pub attributes: Vec<(Box<str>, Box<str>)>,
}

impl Default for Principal {
    fn default() -> Self {
        Self { id: "/sub".into(), tenant: None, attributes: Vec::new() }
    }
}

/// The signed identity header (wire.md § 9.4).
#[derive(Clone, Debug)]
pub struct IdentityHeader {
    /// `aud`.
    pub audience: Arc<str>,
}

/// What is asked of one operation, besides its contract.
#[derive(Debug)]
pub struct Operation {
    /// Who may call.
    pub access: Access,
    /// Scopes demanded by `x-portcullis: authorize: scope`, besides the alternative's.
    pub scopes: Box<[Box<str>]>,
    /// Values of the request that must equal values of the caller.
    pub binds: Box<[Bind]>,
    /// Key, user and endpoint limits.
    pub limits: portcullis_limits::policy::Quota,
    /// Requests under way at once.
    pub concurrency: Option<u32>,
    /// How the exchange runs.
    pub exchange: Exchange,
    /// How the answer is judged.
    pub response: ResponseRule,
    /// May be sent twice although it is no GET, HEAD or OPTIONS.
    pub idempotent: bool,
    /// Header parameters that the operation declares; they go on to the upstream.
    pub declared_headers: Vec<http::HeaderName>,
    /// Largest body in bytes.
    pub max_bytes: u64,
    /// Largest body with files in it.
    pub upload_bytes: u64,
    /// Smallest arrival rate and longest arrival of a body.
    pub arrival_s: u32,
    /// Violations are reported and let through (loosening `report`).
    pub report_only: bool,
    /// Its bodies are requests of GraphQL.
    pub graphql: Option<Arc<GraphQl>>,
}

/// How an exchange runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// One request, one answer.
    Plain,
    /// WebSocket: allowed subprotocols (empty: none is negotiated) and the largest message in bytes.
    WebSocket {
        /// Subprotocols.
        subprotocols: Vec<Box<str>>,
        /// Largest message in bytes.
        max_message: u64,
    },
    /// `text/event-stream`: not buffered.
    Events,
    /// gRPC: HTTP/2 on both sides, trailers pass.
    Grpc,
}

/// How the answer of an operation is judged (contract.md § 15.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseRule {
    /// What happens to what is undeclared.
    pub mode: ResponseMode,
    /// Largest answer that is read, in bytes.
    pub max_bytes: u64,
}

/// What happens to what the document does not declare in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMode {
    /// Dropped and counted.
    Filter,
    /// 502.
    Enforce,
    /// Counted only (loosening).
    Report,
    /// The operation's answers are not read (loosening `undeclared_fields`).
    Open,
}

/// `bind: { SRC: PRINCIPAL }` (authorization.md § 2.3): the source must equal the caller's value.
#[derive(Clone, Debug)]
pub struct Bind {
    /// Where in the request.
    pub source: BindSource,
    /// Claim of the caller, as a JSON pointer.
    pub claim: Box<str>,
    /// Where the rule stands.
    pub at: Span,
}

/// Where in a request a bound value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindSource {
    /// Path parameter.
    Path(Box<str>),
    /// Query parameter.
    Query(Box<str>),
    /// Header parameter.
    Header(Box<str>),
    /// JSON pointer into the body.
    Body(Box<str>),
}
