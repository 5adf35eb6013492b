//! Who may call: issuers, authenticators, alternatives (callers.md §§ 4–8, 15, 19).

use portcullis_core::dn::Dn;
use portcullis_core::finding::Span;
use portcullis_jose::jwt;
use std::path::PathBuf;
use std::sync::Arc;

/// A set of credential kinds. Small, `Copy`, compared as a whole (callers.md § 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Kinds(u8);

impl Kinds {
    /// No credential.
    pub const NONE: Self = Self(0);
    /// A token in `Authorization` (`Bearer` or `DPoP`), JWT or opaque.
    pub const TOKEN: Self = Self(1);
    /// An API key sent as a bearer.
    pub const API_KEY: Self = Self(2);
    /// A signed request.
    pub const SIGNATURE: Self = Self(4);
    /// A client certificate.
    pub const CERTIFICATE: Self = Self(8);

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without those.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` are in here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether something is in both.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// One alternative of an operation: all of these kinds, with these scopes.
#[derive(Clone, Debug)]
pub struct Alternative {
    /// What must be presented.
    pub kinds: Kinds,
    /// Scopes that the document demands.
    pub scopes: Box<[Box<str>]>,
    /// Where the document says so.
    pub at: Span,
}

/// Who may call an operation. There is no variant for "unspecified": the compiler refuses that.
#[derive(Clone, Debug)]
pub enum Access {
    /// Named in `portcullis.yaml`, with a reason.
    Anonymous {
        /// Why.
        because: Arc<str>,
        /// Where.
        at: Span,
    },
    /// Any of these (at least one).
    AnyOf(Box<[Alternative]>),
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A file with a JWK set, read when the plan was compiled.
    File {
        /// As resolved from the configuration's folder.
        path: PathBuf,
        /// Content at compile time.
        set: Arc<[u8]>,
    },
    /// A JWKS URL.
    Url(Arc<str>),
    /// Discovery (OpenID Connect or RFC 8414): the URL of the metadata document.
    Discovery(Arc<str>),
}

/// A token issuer (callers.md §§ 4–6).
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Name in the configuration, or made from the URL.
    pub name: Arc<str>,
    /// Compared byte for byte with `iss`.
    pub url: Arc<str>,
    /// Keys.
    pub keys: KeySource,
    /// RSA moduli up to this many bits (4,096; at most 8,192).
    pub rsa_max_bits: u32,
    /// Whether single tokens can be revoked by `jti` (then the feed must be fresh).
    pub revocable: bool,
    /// Where it is configured.
    pub at: Span,
}

/// How JWTs of one issuer are accepted by one API.
#[derive(Clone, Debug)]
pub struct JwtPolicy {
    /// Index into `Plan::issuers`.
    pub issuer: usize,
    /// The checks, ready for `jose::jwt`.
    pub policy: Arc<jwt::Policy>,
    /// In the key of the verification cache, so that a lax route cannot warm a strict one.
    pub policy_id: u64,
    /// Where it is configured.
    pub at: Span,
}

/// An RFC 7662 end point.
#[derive(Clone, Debug)]
pub struct Introspection {
    /// Name in the configuration.
    pub name: Arc<str>,
    /// URL.
    pub url: Arc<str>,
    /// Our client id there.
    pub client_id: Arc<str>,
    /// How we authenticate there.
    pub client: IntrospectionClient,
    /// Where it is configured.
    pub at: Span,
}

/// Client authentication at an introspection end point.
#[derive(Clone)]
pub enum IntrospectionClient {
    /// `private_key_jwt` with a PKCS#8 key (ES256), the preferred kind.
    PrivateKey(Arc<portcullis_core::secret::Secret<Vec<u8>>>),
    /// `client_secret_basic`.
    Secret(Arc<portcullis_core::secret::Secret<String>>),
}

impl std::fmt::Debug for IntrospectionClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PrivateKey(_) => "PrivateKey(…)",
            Self::Secret(_) => "Secret(…)",
        })
    }
}

/// Opaque tokens of one API.
#[derive(Clone, Debug)]
pub struct OpaquePolicy {
    /// Index into `Plan::introspections`.
    pub introspection: usize,
    /// Index into `Plan::issuers`: whose tokens they are.
    pub issuer: usize,
    /// The checks of what the answer tells.
    pub policy: Arc<jwt::Policy>,
    /// In the key of what is remembered, so that a lax API cannot answer for a strict one.
    pub policy_id: u64,
}

/// API keys of one API.
#[derive(Clone, Debug)]
pub struct ApiKeyPolicy {
    /// `true`: `pck_live_…`; `false`: `pck_test_…`.
    pub live: bool,
    /// Lower-case header name besides `Authorization: ApiKey` (default `x-api-key`).
    pub header: Box<str>,
}

/// Signed requests of one API (callers.md §§ 9–10).
#[derive(Clone, Debug)]
pub struct SignaturePolicy {
    /// RFC 9421 profile `portcullis-v1`.
    pub portcullis_v1: bool,
    /// The simple scheme.
    pub pc1: bool,
    /// `true`: keys of the environment `live`; `false`: `test`.
    pub live: bool,
    /// Lower-case fields that must be present and covered.
    pub cover: Vec<Box<str>>,
}

/// One known client certificate holder (callers.md § 13).
#[derive(Clone, Debug)]
pub struct MtlsClient {
    /// Client name: the subject of the caller.
    pub name: Arc<str>,
    /// What in the certificate names it.
    pub by: MtlsName,
    /// Scopes granted.
    pub scopes: Vec<Box<str>>,
    /// Attributes readable as `token.NAME`.
    pub attributes: Vec<(Box<str>, Box<str>)>,
}

/// What in a certificate names a client; compared as bytes.
#[derive(Clone, Debug)]
pub enum MtlsName {
    /// URI SAN.
    Uri(Box<str>),
    /// DNS SAN.
    Dns(Box<str>),
    /// The whole subject.
    Subject(Dn),
    /// SHA-256 of the DER certificate, base64url.
    Thumbprint(Box<str>),
}

/// What an API accepts as proof of identity.
#[derive(Clone, Debug, Default)]
pub struct Authenticate {
    /// JWTs, by issuer.
    pub jwt: Vec<JwtPolicy>,
    /// Opaque tokens.
    pub opaque: Option<OpaquePolicy>,
    /// API keys.
    pub api_key: Option<ApiKeyPolicy>,
    /// Signed requests.
    pub signature: Option<SignaturePolicy>,
    /// Client certificates; empty: not accepted as a credential.
    pub mtls: Vec<MtlsClient>,
    /// DPoP proofs must carry our nonce.
    pub dpop_nonce: bool,
}

impl Authenticate {
    /// Whether tokens in `Authorization` are accepted.
    pub fn takes_tokens(&self) -> bool {
        !self.jwt.is_empty() || self.opaque.is_some()
    }
}

/// Rules of API keys (callers.md § 8).
#[derive(Clone, Debug)]
pub struct KeyRules {
    /// Seconds from creation to rotation: at most 90 days.
    pub rotate_every_s: i64,
    /// Seconds of overlap: 24–72 h.
    pub grace_s: i64,
    /// Page for people, in `Link` of deprecated keys.
    pub docs: Option<Arc<str>>,
    /// Where notices go.
    pub notify: Vec<NoticeSink>,
    /// Seconds without the revocation feed before own tokens and keys are refused (60).
    pub revocation_max_staleness_s: u32,
    /// Entries of the replay store (4,000,000).
    pub replay_capacity: u64,
}

impl Default for KeyRules {
    fn default() -> Self {
        Self {
            rotate_every_s: 90 * 86_400,
            grace_s: 48 * 3_600,
            docs: None,
            notify: Vec::new(),
            revocation_max_staleness_s: 60,
            replay_capacity: 4_000_000,
        }
    }
}

/// Where notices about keys go.
#[derive(Clone, Debug)]
pub enum NoticeSink {
    /// Standard Webhooks, signed.
    Webhook {
        /// URL.
        url: Arc<str>,
        /// `whsec_…` decoded.
        secret: Arc<portcullis_core::secret::Secret<Vec<u8>>>,
    },
    /// SMTP.
    Email {
        /// `smtps://host:port`, or `smtp://host:port`: plain on loopback, STARTTLS elsewhere.
        relay: Arc<str>,
        /// Envelope and header sender.
        from: Arc<str>,
        /// Recipients besides the key's owner.
        to: Vec<Box<str>>,
        /// User and password; told over TLS alone.
        login: Option<(Arc<str>, Arc<portcullis_core::secret::Secret<String>>)>,
    },
}
