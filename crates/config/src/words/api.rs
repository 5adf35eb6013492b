//! One API: its document, its upstream, and what is asked of its callers.

use super::caller::{Anonymous, Authenticate, Require};
use super::graphql::GraphQl;
use super::limits::{ApiLimits, Closer};
use super::uploads::Uploads;
use super::upstream::Upstream;
use super::{At, Day, Duration, Loosening, Map, Short, Size};
use schemars::JsonSchema;
use serde::Deserialize;

/// One API.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// Its OpenAPI document (3.0 or 3.1, YAML or JSON), relative to this file. Only what it declares gets through.
    #[schemars(extend("examples" = ["openapi/shop.yaml"]))]
    pub spec: Option<At<String>>,
    /// In place of `spec`: a gRPC service.
    pub grpc: Option<At<Grpc>>,
    /// A GraphQL end point, beside `spec` or in place of it.
    pub graphql: Option<At<GraphQl>>,
    /// A file that adds `x-portcullis` to a document that cannot be edited.
    pub overlay: Option<At<String>>,
    /// In place of the path of the document's `servers`.
    #[schemars(extend("examples" = ["/v1"]))]
    pub base_path: Option<At<String>>,
    /// What an error in one operation does.
    pub on_error: OnError,
    /// Warnings about this API are errors.
    pub strict: bool,
    /// HEAD is answered wherever GET is declared.
    pub head: Head,
    /// Host names at which it answers. Without any it answers at every name that no other API has.
    #[schemars(extend("examples" = [["api.example.com"]]))]
    pub hosts: Vec<At<String>>,
    /// Where requests go: one URL, or servers with all settings.
    #[schemars(extend("examples" = ["http://127.0.0.1:3000"]))]
    pub upstream: Option<At<Short<Upstream>>>,
    /// The `Host` that the upstream sees.
    pub host: Host,
    /// Whether the verified credential goes on to the upstream.
    pub credentials: Option<Credentials>,
    /// A signed header that tells the upstream who is calling.
    pub identity: Option<At<Identity>>,
    /// Request headers that go on, besides declared ones.
    pub forward_headers: Vec<At<String>>,
    /// Response headers that go back, besides declared ones.
    pub return_headers: Vec<At<String>>,
    /// Pages that may call from a browser (CORS). Without it none may.
    pub browsers: Option<At<Browsers>>,
    /// `Strict-Transport-Security`.
    pub hsts: Option<At<Hsts>>,
    /// Further names of query parameters that carry secrets.
    pub secrets_in_url: SecretsInUrl,
    /// What is accepted as proof of who is calling.
    pub authenticate: At<Authenticate>,
    /// The one tenant that the API is for. Keys of another are refused, and so are tokens that name another.
    #[schemars(extend("examples" = ["acme"]))]
    pub tenant: Option<At<String>>,
    /// What is demanded besides what the document says.
    pub require: Require,
    /// Operations that anybody may call.
    pub anonymous: Vec<At<Anonymous>>,
    /// Defaults for requests.
    pub request: At<Request>,
    /// Defaults for responses.
    pub response: Response,
    /// Files that clients send.
    pub uploads: Uploads,
    /// Limits of this API.
    pub limits: ApiLimits,
    /// Settings of single operations, by `operationId`.
    pub operations: Map<Operation>,
    /// Loosenings of this API.
    pub loosen: Vec<At<Loosen>>,
}

/// A gRPC service: each method is one operation, with HTTP/2 on both sides.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// Methods that may be called.
    #[schemars(extend("examples" = [["shop.v1.Orders/Get"]]))]
    pub methods: Vec<At<String>>,
    /// Messages are not looked into, so this is a loosening: `allow: [application/grpc]`.
    #[serde(default)]
    pub opaque: Option<At<Loosening<Vec<At<String>>>>>,
}

/// What an error in one operation does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The configuration is refused; the last good plan stays.
    #[default]
    Refuse,
    /// That operation answers as if it were not declared.
    CloseOperation,
}

/// Whether HEAD needs a declaration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// Only where it is declared.
    #[default]
    Declared,
    /// Wherever GET is.
    FromGet,
}

/// The `Host` that the upstream sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Host {
    /// The upstream's own.
    #[default]
    Upstream,
    /// The one that the client used.
    Preserve,
}

/// What becomes of the verified credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// It goes on; the default without `identity`. API keys, signatures and proofs never do.
    Pass,
    /// It ends here; the default with `identity`.
    Strip,
}

/// A signed header that tells the upstream who is calling.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Whether `Portcullis-Identity` is sent.
    pub sign: bool,
    /// Its `aud`; the API's name if absent.
    #[serde(default)]
    pub audience: Option<String>,
}

/// Pages that may call.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Browsers {
    /// Their origins; `*.` stands for one label.
    #[schemars(extend("examples" = [["https://shop.example.com"]]))]
    pub origins: Vec<At<String>>,
    /// Whether they may send cookies and other credentials of the browser.
    #[serde(default)]
    pub credentials: bool,
    /// Response headers that scripts may read, besides ours.
    #[serde(default)]
    pub expose: Vec<At<String>>,
    /// How long a browser remembers a preflight (600s).
    #[serde(default)]
    pub max_age: Option<Duration>,
    /// Whether the upstream may set cookies.
    #[serde(default)]
    pub cookies: Cookies,
}

/// Whether the upstream may set cookies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cookies {
    /// It may not.
    #[default]
    Drop,
    /// It may; `Secure` and `SameSite=Lax` are added.
    Pass,
}

/// `Strict-Transport-Security`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hsts {
    /// At least one year (730d).
    #[serde(default)]
    pub max_age: Option<Duration>,
    /// For the preload lists of browsers.
    #[serde(default)]
    pub preload: bool,
}

/// Further names of query parameters that carry secrets.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretsInUrl {
    /// The names; case and separators do not matter.
    pub names: Vec<String>,
}

/// Defaults for requests.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// Bytes of a body (1MiB, at most 10MiB).
    pub max_bytes: Option<At<Size>>,
    /// Nesting of a JSON body (32, at most 128).
    #[schemars(range(min = 1, max = 128))]
    pub max_depth: Option<At<u32>>,
    /// Values in a JSON body (50000, at most 1000000).
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_values: Option<At<u32>>,
    /// Undeclared properties and query parameters.
    pub unknown: At<Unknown>,
    /// `readOnly` properties.
    pub read_only: At<ReadOnly>,
    /// Markup in strings.
    pub default_text: At<Text>,
    /// Chunked bodies are refused.
    pub require_length: At<bool>,
    /// Content codings of bodies that are undone ([gzip, br]). `[]`: none.
    pub codings: Option<Vec<Coding>>,
    /// Bytes that one coded byte may become (100, at most 1000).
    #[schemars(range(min = 1, max = 1000))]
    pub max_ratio: Option<At<u32>>,
    /// Bounds of `limit`, `page_size`, `offset` and the like where the document has none.
    pub pagination: At<Pagination>,
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// Brotli, RFC 7932.
    Br,
    /// Zstandard, RFC 8878, with windows of at most 8 MiB.
    Zstd,
}

/// What becomes of what is undeclared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// The request is refused.
    #[default]
    Reject,
    /// It is removed and counted.
    Strip,
}

/// What becomes of `readOnly` properties in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadOnly {
    /// The request is refused.
    #[default]
    Reject,
    /// They are removed.
    Strip,
}

/// Markup in strings of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Text {
    /// No rule.
    #[default]
    None,
    /// Source code: no rule, said on purpose.
    Code,
    /// No markup, and only http, https and mailto in URLs.
    Plain,
}

/// Bounds of pagination.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pagination {
    /// Of `limit` and its like (100).
    #[schemars(range(min = 1))]
    pub maximum: Option<i64>,
    /// Of `offset` and its like (1000000).
    #[schemars(range(min = 0))]
    pub offset: Option<i64>,
    /// A document's own `maximum` above this is a warning (10000).
    #[schemars(range(min = 1))]
    pub ceiling: Option<i64>,
    /// What is done beyond the bound.
    pub over: Over,
}

/// What is done beyond the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The request is refused.
    #[default]
    Reject,
    /// The bound is forwarded in place of the value.
    Clamp,
}

/// Defaults for responses.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Response {
    /// What is done with what the document does not declare.
    pub mode: At<Mode>,
    /// Undeclared fields: dropped, or a reason to replace the answer by 502.
    pub unknown: At<Undeclared>,
    /// Bytes of an answer that is read (10MiB).
    pub max_bytes: Option<At<Size>>,
    /// Further names of fields that no answer shows unless the document declares them; any case and spelling.
    #[schemars(extend("examples" = [["national_id"]]))]
    pub never_leak: Vec<At<String>>,
    /// Who is told what is wrong with a request.
    pub errors: At<Errors>,
    /// Status of a request whose body breaks the contract: 400 or 422 (400).
    #[schemars(extend("enum" = [400, 422]))]
    pub violation_status: Option<At<u16>>,
}

/// Undeclared fields of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Undeclared {
    /// They are dropped and counted.
    #[default]
    Strip,
    /// The answer is replaced by 502.
    Reject,
}

/// Who is told what is wrong with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Errors {
    /// Everybody gets the list of violations.
    #[default]
    List,
    /// Whoever has not proved who they are gets the problem without its list.
    None,
}

/// What is done with what the document does not declare in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is dropped and counted.
    #[default]
    Filter,
    /// The answer is replaced by 502.
    Enforce,
}

/// Settings of one operation.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Operation {
    /// It answers as if it were not declared.
    pub closed: bool,
    /// It may be sent twice although it is no GET, HEAD or OPTIONS.
    pub idempotent: bool,
    /// Requests under way at once.
    #[schemars(range(min = 1))]
    pub concurrency: Option<u32>,
    /// It is a WebSocket.
    pub websocket: Option<At<WebSocket>>,
    /// Its requests.
    pub request: OperationRequest,
    /// Its responses.
    pub response: OperationResponse,
    /// Its limits.
    pub limits: Closer,
}

/// A WebSocket. Messages are not looked into, so `opaque` is needed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebSocket {
    /// Subprotocols, one of which may be agreed on.
    pub subprotocols: Vec<At<String>>,
    /// Bytes of a message (256KiB).
    pub max_message: Option<Size>,
    /// The loosening: `allow: messages`.
    pub opaque: Option<At<Loosening<Messages>>>,
}

/// What passes unread on a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Messages {
    /// All messages.
    Messages,
}

/// Requests of one operation.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OperationRequest {
    /// Bytes of a body.
    pub max_bytes: Option<Size>,
    /// Media types that pass unread: `allow: [application/xml]`.
    pub opaque: Option<At<Loosening<Vec<At<String>>>>>,
    /// Violations are reported and let through: `allow: report`.
    pub mode: Option<At<Loosening<Report>>>,
}

/// Responses of one operation.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OperationResponse {
    /// Bytes of an answer that is read.
    pub max_bytes: Option<Size>,
    /// Violations are counted and let through: `allow: report`.
    pub mode: Option<At<Loosening<Report>>>,
}

/// Violations are reported and let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Reported only.
    Report,
}

/// A loosening of an API.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ApiLoosening")]
pub struct Loosen {
    /// Which rule.
    pub allow: At<Rule>,
    /// Names of headers or parameters, where the rule is about names.
    #[serde(default)]
    pub of: Vec<At<String>>,
    /// Operations for which it holds; all of them if absent.
    #[serde(default)]
    pub operations: Vec<At<String>>,
    /// Why, for whoever reads this next year.
    #[serde(default)]
    pub because: Option<At<String>>,
    /// The last day on which it holds. After it, the configuration is refused.
    #[serde(default)]
    pub until: Option<At<Day>>,
}

/// A rule that an API can loosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LoosenedRule")]
pub enum Rule {
    /// The upstream is reached without TLS off loopback.
    PlaintextUpstream,
    /// Headers (`of`) whose names are not made of letters, digits and hyphens.
    HeaderNames,
    /// Header parameters (`of`) with a reserved name that carries no identity.
    ReservedHeader,
    /// Query parameters (`of`) with the name of a secret.
    SecretParameter,
    /// Bodies without a schema that says anything.
    Shapeless,
    /// Undeclared query parameters pass.
    UnknownParameters,
    /// Undeclared properties pass.
    UnknownProperties,
    /// Answers with undeclared fields pass.
    UndeclaredFields,
    /// Integers may be written `1.0` or `1e2`; for the whole API.
    LenientIntegers,
    /// Bidirectional control characters pass; for the whole API.
    BidiControls,
    /// Checked JSON bodies go on as the bytes that came: for upstreams that verify a signature over them.
    VerbatimBody,
    /// An object id in the path needs no object rule.
    ObjectWithoutRule,
    /// Files pass when the scanner is away, with a critical event for each.
    Unscanned,
    /// PDF files may hold scripts, launches and embedded files.
    ActivePdf,
    /// CSV files may hold cells that a spreadsheet computes.
    CsvFormulas,
}

impl Rule {
    /// The name in the catalogue of loosenings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PlaintextUpstream => "plaintext_upstream",
            Self::HeaderNames => "header_names",
            Self::ReservedHeader => "reserved_header",
            Self::SecretParameter => "secret_parameter",
            Self::Shapeless => "shapeless",
            Self::UnknownParameters => "unknown_parameters",
            Self::UnknownProperties => "unknown_properties",
            Self::UndeclaredFields => "undeclared_fields",
            Self::LenientIntegers => "lenient_integers",
            Self::BidiControls => "bidi_controls",
            Self::VerbatimBody => "verbatim_body",
            Self::ObjectWithoutRule => "object_without_rule",
            Self::Unscanned => "unscanned",
            Self::ActivePdf => "active_pdf",
            Self::CsvFormulas => "csv_formulas",
        }
    }
}
