//! Who calls, once it is beyond doubt.

use std::sync::Arc;

/// What kind of principal calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nobody; the operation is named anonymous in `portcullis.yaml`.
    Anonymous,
    /// A person, by a token.
    User,
    /// A program with a token of its own (`sub` = `client_id`).
    Client,
    /// An API key.
    Key,
    /// A client certificate.
    Certificate,
}

impl Kind {
    /// Lower-case word for logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::User => "user",
            Self::Client => "client",
            Self::Key => "key",
            Self::Certificate => "certificate",
        }
    }
}

/// (issuer, sub): never compared without its issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Issuer of the identifier; `portcullis:keys` for API keys.
    pub issuer: Arc<str>,
    /// The identifier.
    pub id: Arc<str>,
}

/// The API key that was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRef {
    /// Public id (16 characters), shown in logs.
    pub id: Arc<str>,
    /// `active`, `due` or `deprecated`.
    pub state: &'static str,
    /// Unix seconds at which a deprecated key was deprecated.
    pub deprecated_at: Option<i64>,
    /// Unix seconds at which it ends for good.
    pub ends_at: i64,
    /// Public id of its successor.
    pub successor: Option<Arc<str>>,
}

/// What a token leaves behind for logs, streams and revocation; never the token.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TokenRef {
    /// JWT id.
    pub jti: Option<Arc<str>>,
    /// Session id.
    pub sid: Option<Arc<str>>,
    /// Issued at, unix seconds.
    pub iat: Option<i64>,
    /// Expiry, unix seconds.
    pub exp: i64,
}

/// What proves possession besides the token.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Binding {
    /// Nothing: a bearer.
    #[default]
    None,
    /// DPoP: the key's RFC 7638 thumbprint.
    Dpop(Arc<str>),
    /// mTLS: `x5t#S256` of the certificate.
    Certificate(Arc<str>),
}

/// Verified claims: reads by JSON pointer, kept as the strict reader left them.
pub trait ClaimSource: Send + Sync {
    /// The string (or integer, as its digits) at a JSON pointer, or nothing.
    fn text_at(&self, pointer: &str) -> Option<std::borrow::Cow<'_, str>>;
    /// The strings of an array (or the one string) at a JSON pointer; empty if there is none.
    fn texts_at(&self, pointer: &str) -> Vec<String>;
}

/// The caller of one request. The gate `identify` alone hands one on (as evidence of its own type).
#[derive(Clone)]
pub struct Caller {
    /// Kind of principal.
    pub kind: Kind,
    /// (issuer, sub); nothing for anonymous callers.
    pub subject: Option<Subject>,
    /// OAuth client.
    pub client: Option<Arc<str>>,
    /// Tenant, as the API's principal mapping reads it.
    pub tenant: Option<Arc<str>>,
    /// Scopes granted (RFC 6749 § 3.3); at most 64.
    pub scopes: Arc<[Box<str>]>,
    /// Verified claims.
    pub claims: Option<Arc<dyn ClaimSource>>,
    /// Proof of possession.
    pub binding: Binding,
    /// API key.
    pub key: Option<KeyRef>,
    /// Token.
    pub token: Option<TokenRef>,
}

impl Caller {
    /// Nobody.
    pub fn anonymous() -> Self {
        Self {
            kind: Kind::Anonymous,
            subject: None,
            client: None,
            tenant: None,
            scopes: Arc::from([]),
            claims: None,
            binding: Binding::None,
            key: None,
            token: None,
        }
    }

    /// Whether a scope was granted.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|s| &**s == scope)
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller")
            .field("kind", &self.kind)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
