//! Who is calling.

use super::{At, Duration, Loosening, Map, OneOrMany, Reference};
use schemars::JsonSchema;
use serde::Deserialize;

/// A token issuer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Compared byte for byte with `iss`, a trailing slash included.
    #[schemars(extend("examples" = ["https://login.example.com/"]))]
    pub url: At<String>,
    /// Where its keys come from.
    #[serde(default)]
    pub discovery: At<Discovery>,
    /// Accepted algorithms (RS256, ES256).
    #[serde(default)]
    #[schemars(extend("examples" = [["RS256", "ES256"]]))]
    pub algorithms: Vec<At<String>>,
    /// How far clocks may differ (30s, at most 120s).
    #[serde(default)]
    pub skew: Option<At<Duration>>,
    /// The longest life of a token (24h).
    #[serde(default)]
    pub max_lifetime: Option<At<Duration>>,
    /// The greatest age of a token since `iat`, which is then needed.
    #[serde(default)]
    pub max_age: Option<At<Duration>>,
    /// RSA moduli up to so many bits (4096, at most 8192).
    #[serde(default)]
    #[schemars(range(min = 2048, max = 8192))]
    pub rsa_max_bits: Option<u32>,
    /// Its tokens can be revoked by `jti`; then the feed of revocations must be fresh.
    #[serde(default)]
    pub revocable: bool,
    /// Where scopes and client stand in its tokens.
    #[serde(default)]
    pub claims: Claims,
    /// Accepted `typ` of access tokens.
    #[serde(default)]
    pub typ: Typ,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Discovery {
    /// OpenID Connect discovery: `/.well-known/openid-configuration`.
    #[default]
    Oidc,
    /// OAuth metadata (RFC 8414): `/.well-known/oauth-authorization-server`.
    Oauth,
    /// The URL of a JWK set.
    Jwks(String),
    /// A file with a JWK set.
    File(String),
}

/// JSON pointers into the claims.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Claims {
    /// The scopes (`/scope`).
    pub scope: Option<At<String>>,
    /// The client (`/client_id`).
    pub client: Option<At<String>>,
}

/// Accepted `typ` of access tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Typ {
    /// `at+jwt`; and `JWT` or none where the claims do not tell of another kind of token.
    #[default]
    ByShape,
    /// `at+jwt` alone (RFC 9068).
    Strict,
}

/// An RFC 7662 end point.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Introspection {
    /// Where tokens are asked about.
    #[schemars(extend("examples" = ["https://login.example.com/introspect"]))]
    pub url: At<String>,
    /// Who we are there.
    pub client: At<Client>,
}

/// Who we are at an introspection end point: by `key` (preferred) or by `secret`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "IntrospectionClient")]
pub struct Client {
    /// Our client id.
    pub id: String,
    /// A PKCS#8 private key (P-256), PEM, for `private_key_jwt`.
    #[serde(default)]
    pub key: Option<At<Reference>>,
    /// A client secret, for `client_secret_basic`.
    #[serde(default)]
    pub secret: Option<At<Reference>>,
}

/// Rotation and notices of API keys.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// When a key must be replaced (90d, never more).
    pub rotate_every: Option<At<Duration>>,
    /// How long an old key works beside its successor (48h; 24h to 72h).
    pub grace: Option<At<Duration>>,
    /// A page for people, linked from answers to deprecated keys.
    pub docs: Option<At<String>>,
    /// Where notices about keys go.
    pub notify: Vec<At<Sink>>,
}

/// Where notices go.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(rename = "NoticeSink")]
pub enum Sink {
    /// A signed webhook (Standard Webhooks).
    Webhook(Webhook),
    /// E-mail by an SMTP relay.
    Email(Email),
}

/// A signed webhook.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where messages are posted.
    #[schemars(extend("examples" = ["https://ops.example.com/hooks/portcullis"]))]
    pub url: At<String>,
    /// The signing secret, `whsec_…`.
    pub secret: At<Reference>,
}

/// E-mail by an SMTP relay.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// The relay: `smtps://HOST:PORT`, or `smtp://HOST:PORT`, which is plain on loopback and demands STARTTLS elsewhere.
    #[schemars(extend("examples" = ["smtps://mail.example.com:465"]))]
    pub relay: At<String>,
    /// The sender.
    pub from: String,
    /// Recipients, besides the owner of the key.
    #[serde(default)]
    pub to: Vec<String>,
    /// Who we are at the relay.
    #[serde(default)]
    pub login: Option<At<MailLogin>>,
}

/// Who we are at a relay (`AUTH PLAIN`, over TLS alone).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MailLogin {
    /// User.
    pub user: String,
    /// Password.
    pub password: At<Reference>,
}

/// Memory of nonces that were used.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Replay {
    /// Entries (4000000). When it is full, signed requests are refused.
    pub capacity: Option<u64>,
}

/// How stale the feed of revocations may become.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Revocation {
    /// After so long without news own credentials are refused (60s).
    pub max_staleness: Option<Duration>,
}

/// What an API accepts as proof of who is calling.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Authenticate {
    /// JWTs of one issuer or several.
    pub jwt: Option<OneOrMany<Jwt>>,
    /// Tokens that only their issuer can read, judged by introspection.
    pub opaque: Option<At<Opaque>>,
    /// API keys made with `portcullis keys create`.
    pub api_key: Option<At<ApiKey>>,
    /// Signed requests.
    pub signature: Option<At<Signature>>,
    /// Client certificates.
    pub mtls: Option<At<Mtls>>,
    /// Whether DPoP proofs must carry our nonce.
    pub dpop_nonce: DpopNonce,
    /// What security schemes of the document mean whose type does not say it.
    #[schemars(extend("examples" = [{"partnerSignature": "signature"}]))]
    pub schemes: Map<Kind>,
}

/// JWTs of one issuer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// A name under `issuers`, or the issuer's URL for one with defaults.
    #[schemars(extend("examples" = ["https://login.example.com/"]))]
    pub issuer: At<String>,
    /// One of these must be in `aud`. Without it a token for any other API would do here.
    #[serde(default)]
    pub audience: Option<At<OneOrMany<String>>>,
}

/// Opaque tokens.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Opaque {
    /// A name under `introspection`.
    pub introspection: At<String>,
    /// A name under `issuers`, or the issuer's URL: `iss` of the answers.
    pub issuer: At<String>,
    /// One of these must be in `aud` of the answer.
    #[serde(default)]
    pub audience: Option<At<OneOrMany<String>>>,
}

/// API keys.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKey {
    /// Which keys: `pck_live_…` or `pck_test_…`.
    pub env: KeyEnv,
}

/// Which keys an API takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyEnv {
    /// `pck_live_…`
    #[default]
    Live,
    /// `pck_test_…`
    Test,
}

/// Signed requests.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Accepted schemes.
    pub schemes: Vec<At<SignatureScheme>>,
    /// Which keys sign: that of `api_key` where there is one, else `live`.
    #[serde(default)]
    pub env: Option<KeyEnv>,
    /// Fields that must be there and be signed.
    #[serde(default)]
    #[schemars(extend("examples" = [["idempotency-key"]]))]
    pub cover: Vec<At<String>>,
}

/// A scheme of signed requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureScheme {
    /// HTTP Message Signatures (RFC 9421), our profile.
    PortcullisV1,
    /// The simple scheme, for clients without a library.
    Pc1,
}

/// Client certificates. CA and revocation lists stand on the listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mtls {
    /// Known clients, by name.
    pub clients: Map<MtlsClient>,
}

/// One known client: named by exactly one of `san_uri`, `san_dns`, `subject`, `thumbprint`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MtlsClient {
    /// A URI in the certificate.
    pub san_uri: Option<String>,
    /// A DNS name in the certificate.
    pub san_dns: Option<String>,
    /// The certificate's whole subject, the most specific part first (RFC 4514); compared exactly.
    #[schemars(extend("examples" = ["CN=orders,O=Acme,C=DE"]))]
    pub subject: Option<At<String>>,
    /// SHA-256 of the certificate, base64url (`x5t#S256`).
    pub thumbprint: Option<At<String>>,
    /// Scopes granted.
    pub scopes: Vec<String>,
    /// Readable in rules as `token.NAME`.
    pub attributes: Map<String>,
}

/// Whether DPoP proofs must carry our nonce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DpopNonce {
    /// They need not.
    #[default]
    Off,
    /// They must.
    Required,
}

/// A kind of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "CredentialKind")]
pub enum Kind {
    /// A JWT.
    Jwt,
    /// An opaque token.
    Opaque,
    /// An API key.
    ApiKey,
    /// A signed request.
    Signature,
    /// A client certificate.
    Mtls,
}

/// What is demanded besides what the document says.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Require {
    /// Where the document states no security at all.
    pub default: Option<At<Demand>>,
    /// Added to what the document states, by operation.
    pub operations: Map<Demand>,
}

/// Kinds of credentials that are demanded.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Demand {
    /// One of them.
    AnyOf(Vec<At<Kind>>),
    /// All of them together.
    AllOf(Vec<At<Kind>>),
}

/// An operation that anybody may call.
pub type Anonymous = Loosening<At<String>>;
