//! The compiled, immutable plan: types only.
//!
//! `config` makes a [`Plan`] from words; the data plane reads it and never changes it. A request loads the plan
//! once and keeps it to its end, so a reload is never half seen.

pub mod access;
pub mod api;
pub mod bounds;
pub mod edge;
pub mod egress;
pub mod listen;
pub mod observe;
pub mod upstream;

use portcullis_core::finding::{SourceMap, Span};
use portcullis_jose::jwt::{MAX_SKEW, Policy};
use std::sync::Arc;

/// The name of the admin API among `Plan::apis`.
pub const ADMINISTRATION: &str = "portcullis";

/// Everything that the data plane knows, from one reading of the configuration.
#[derive(Debug)]
pub struct Plan {
    /// First 16 hex digits of the SHA-256 over every source file, in order; on every log line.
    pub digest: Arc<str>,
    /// The files that the plan was made from, for `file:line` in decisions.
    pub sources: SourceMap,
    /// Where requests come in.
    pub listeners: Vec<listen::Listener>,
    /// Bounds of the edge.
    pub bounds: bounds::Bounds,
    /// How the program ends.
    pub drain: bounds::Drain,
    /// Who may tell the client's address.
    pub edge: edge::EdgePolicy,
    /// The APIs, in the order of the file.
    pub apis: Vec<api::Api>,
    /// Which API answers for an authority and a path.
    pub hosts: HostTable,
    /// The same for admin listeners: the admin API, or nothing. What stands here stands not in `hosts`.
    pub administration: HostTable,
    /// Where checkpoints of the audit ledger go.
    pub audit: observe::AuditPlan,
    /// Token issuers, by index.
    pub issuers: Vec<access::Issuer>,
    /// Introspection end points, by index.
    pub introspections: Vec<access::Introspection>,
    /// Which URLs of requests may be handed on.
    pub egress: egress::Egress,
    /// Upstreams, by index.
    pub upstreams: Vec<upstream::Upstream>,
    /// Layers of `flood`: global and address.
    pub flood: portcullis_limits::policy::Flood,
    /// Plans of consumers (`limits.plans`), by name.
    pub consumer_plans: Vec<(Arc<str>, portcullis_limits::policy::ConsumerPlan)>,
    /// Rules of API keys.
    pub keys: access::KeyRules,
    /// Where the store is.
    pub store: observe::StorePlace,
    /// Where logs go.
    pub log: observe::LogPlan,
    /// Loosenings in force: name, reason, end, place.
    pub loosenings: Vec<Loosening>,
}

/// Law 5: a loosening has a name, a reason and an end.
#[derive(Clone, Debug)]
pub struct Loosening {
    /// Name from the catalogue (`plaintext_upstream`, `opaque`, `anonymous`, …).
    pub name: &'static str,
    /// What it is about (API, operation, header).
    pub subject: String,
    /// Why.
    pub because: String,
    /// The last day on which it holds, `YYYY-MM-DD`, if it has one.
    pub until: Option<String>,
    /// Where it stands.
    pub at: Span,
}

/// Which API answers: by authority first, then by the longest base path.
#[derive(Clone, Debug, Default)]
pub struct HostTable {
    /// Lower-case host (without port) and the APIs on it; sorted by host.
    pub named: Vec<(Box<str>, Vec<u16>)>,
    /// APIs without `hosts`: answer on every authority that is not named.
    pub any: Vec<u16>,
}

impl FromIterator<u16> for HostTable {
    /// APIs that answer at every authority.
    fn from_iter<T: IntoIterator<Item = u16>>(apis: T) -> Self {
        Self { named: Vec::new(), any: apis.into_iter().collect() }
    }
}

impl HostTable {
    /// The APIs for a host (lower case, without port); nothing when the host is unknown and every API names its
    /// hosts (421).
    pub fn apis(&self, host: &str) -> Option<&[u16]> {
        match self.named.binary_search_by(|(name, _)| (**name).cmp(host)) {
            Ok(at) => self.named.get(at).map(|(_, apis)| apis.as_slice()),
            Err(_) if self.any.is_empty() => None,
            Err(_) => Some(&self.any),
        }
    }
}

/// Seconds for which a revocation is kept when nothing bounds the life of what it covers: an opaque token, or a JWT that
/// need not say when it was issued.
const UNBOUNDED_S: i64 = 400 * 86_400;

impl Plan {
    /// Whether there is such an API (`shop`), or such an operation of it (`shop:createTransfer`).
    pub fn has(&self, entry: &str) -> bool {
        let (name, operation) = entry.split_once(':').map_or((entry, None), |(name, id)| (name, Some(id)));
        self.apis.iter().any(|api| {
            let has = |id: &str| api.contract.operations().iter().any(|one| *one.id == *id);
            *api.name == *name && operation.is_none_or(has)
        })
    }

    /// An issuer by its name under `issuers`, or by its URL.
    pub fn issuer_named(&self, named: &str) -> Option<(usize, &access::Issuer)> {
        let fits = |issuer: &&access::Issuer| *issuer.name == *named || *issuer.url == *named;
        self.issuers.iter().enumerate().find(|(_, issuer)| fits(issuer))
    }

    /// The longest that a token of the issuer can live from now, in seconds.
    pub fn token_life_s(&self, issuer: usize) -> i64 {
        let of = |policy: &Policy| match policy.max_age {
            Some(_) => policy.max_lifetime.saturating_add(2 * MAX_SKEW),
            None => UNBOUNDED_S,
        };
        let signed =
            self.apis.iter().flat_map(|api| &api.authenticate.jwt).filter(|jwt| jwt.issuer == issuer);
        let opaque = self.apis.iter().filter_map(|api| api.authenticate.opaque.as_ref());
        let opaque = opaque.filter(|opaque| opaque.issuer == issuer).map(|_| UNBOUNDED_S);
        signed.map(|jwt| of(&jwt.policy)).chain(opaque).max().unwrap_or(UNBOUNDED_S)
    }

    /// The API with an index of the [`HostTable`].
    pub fn api(&self, index: u16) -> Option<&api::Api> {
        self.apis.get(usize::from(index))
    }
}
