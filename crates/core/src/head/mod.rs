//! The head of a request, read once. What does not fit these types is refused before anything else happens, so
//! that nothing behind can read the same bytes in a second way (`wire.md`, sections 6 and 7).

mod authority;
mod client;
mod fields;
mod method;
pub mod names;
mod path;
mod secrets;
mod target;
mod trace;

pub use authority::{Authority, AuthorityError, HostKind};
pub use client::{Client, How};
pub use fields::{FieldRules, Fields, Removed};
pub use method::Method;
pub use path::{CanonicalPath, MAX_SEGMENTS, Marks, PathError, Segment};
pub use secrets::{Place, SecretInUrl, SecretRules, Shape, is_secret_name, secret_in_url};
pub use target::Target;
pub use trace::TraceParent;

use crate::problem::Code;
use crate::verdict::{Refusal, Stop};
use http::HeaderMap;
use http::header;

/// A request's head in canonical form. Made from parts that cannot be wrong; raw bytes are not kept.
///
/// It has no `Debug` of its content: headers carry credentials.
pub struct Head {
    parts: HeadParts,
}

/// What a head is made of. Each part is valid by its own construction.
pub struct HeadParts {
    /// The method.
    pub method: Method,
    /// The version that the client speaks.
    pub version: Version,
    /// The scheme that the client used, told by the connection or by a trusted proxy.
    pub scheme: Scheme,
    /// The authority as the client wrote it, without the scheme's own port.
    pub authority: Authority,
    /// The port that clients see.
    pub public_port: u16,
    /// Path and query.
    pub target: Target,
    /// The header fields.
    pub fields: Fields,
    /// Who is the client.
    pub client: Client,
    /// Whether this is a WebSocket handshake, by `Upgrade` or by extended CONNECT (RFC 8441).
    pub websocket: bool,
}

/// The version of HTTP on the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0, a loosening.
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// As the log and metrics write it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }
}

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plaintext.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As it is written.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// In lower case; nothing else is a scheme here.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            _ => None,
        }
    }

    /// 80 or 443.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Head {
    /// Puts valid parts together.
    pub const fn new(parts: HeadParts) -> Self {
        Self { parts }
    }

    /// The method.
    pub const fn method(&self) -> Method {
        self.parts.method
    }

    /// The version that the client speaks.
    pub const fn version(&self) -> Version {
        self.parts.version
    }

    /// The scheme that the client used.
    pub const fn scheme(&self) -> Scheme {
        self.parts.scheme
    }

    /// The port that clients see.
    pub const fn public_port(&self) -> u16 {
        self.parts.public_port
    }

    /// The authority as the client wrote it, without the scheme's own port.
    pub const fn authority(&self) -> &Authority {
        &self.parts.authority
    }

    /// The path.
    pub const fn path(&self) -> &CanonicalPath {
        self.parts.target.path()
    }

    /// Path and query.
    pub const fn target(&self) -> &Target {
        &self.parts.target
    }

    /// The raw query: visible ASCII, neither split nor decoded yet.
    pub fn query(&self) -> Option<&str> {
        self.parts.target.query()
    }

    /// Who is the client.
    pub const fn client(&self) -> Client {
        self.parts.client
    }

    /// The header fields with what was set aside of them.
    pub const fn fields(&self) -> &Fields {
        &self.parts.fields
    }

    /// The header fields, each name once.
    pub const fn headers(&self) -> &HeaderMap {
        self.parts.fields.map()
    }

    /// One header field by its name, in any case; several lines are joined.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.fields.get(name)
    }

    /// One header field that may occur once: declared scalars, and headers that carry a credential.
    ///
    /// # Errors
    /// 400 `duplicate-header`.
    pub fn single(&self, name: &str) -> Result<Option<&str>, Stop> {
        if self.parts.fields.was_repeated(name) {
            let reason = "a header that may occur once occurs more than once";
            return Err(Refusal::new(Code::DuplicateHeader, reason).into());
        }
        Ok(self.header(name))
    }

    /// `Authorization`; owner: identify.
    pub fn authorization(&self) -> Option<&str> {
        self.parts.fields.get_name(&header::AUTHORIZATION)
    }

    /// `Origin`; owner: the rules for browsers.
    pub fn origin(&self) -> Option<&str> {
        self.parts.fields.get_name(&header::ORIGIN)
    }

    /// `Accept`; owner: intake.
    pub fn accept(&self) -> Option<&str> {
        self.parts.fields.get_name(&header::ACCEPT)
    }

    /// `Content-Type`; owner: intake.
    pub fn content_type(&self) -> Option<&str> {
        self.parts.fields.get_name(&header::CONTENT_TYPE)
    }

    /// `Content-Encoding`; owner: intake.
    pub fn content_encoding(&self) -> Option<&str> {
        self.parts.fields.get_name(&header::CONTENT_ENCODING)
    }

    /// `Content-Length`; owner: intake.
    pub const fn content_length(&self) -> Option<u64> {
        self.parts.fields.content_length()
    }

    /// `Expect: 100-continue`; answered at intake's first read.
    pub const fn expects_continue(&self) -> bool {
        self.parts.fields.expects_continue()
    }

    /// Whether this is a WebSocket handshake.
    pub const fn websocket(&self) -> bool {
        self.parts.websocket
    }

    /// The client's `traceparent`, well-formed; a parent of our span only from a trusted proxy.
    pub const fn trace(&self) -> Option<TraceParent> {
        self.parts.fields.trace()
    }

    /// The client's own X-Request-Id, for the log; ours goes on.
    pub fn client_request_id(&self) -> Option<&str> {
        self.parts.fields.request_id()
    }

    /// The raw cookies in order: name and value, without surrounding spaces. Decoding is the contract's.
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.parts
            .fields
            .get_name(&header::COOKIE)
            .into_iter()
            .flat_map(|cookies| cookies.split(';'))
            .map(|pair| pair.trim_matches([' ', '\t']))
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or(("", pair)))
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Head({} {} fields: {})", self.method(), self.version().text(), self.headers().len())
    }
}

/// Names a header whose name is outside the grammar, when it imitates one of ours; another name is the client's
/// own text and may be anything, also a secret.
fn odd_name_reason(name: &str) -> String {
    let folded = names::folded(name);
    if names::is_reserved(&folded) {
        return format!("a header name that back ends read as {folded}");
    }
    format!("a header name of {} bytes outside [A-Za-z0-9-]{{1,64}}", name.len())
}
