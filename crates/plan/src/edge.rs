//! What the edge lets in and out besides the contract: who tells the client's address, header rules in both
//! directions, browsers. Made once by the compiler, in the form in which the gates compare.

mod origin;

pub use origin::{Origin, OriginError, OriginPattern, is_registry};

use http::header::{HeaderName, HeaderValue};
use ipnet::IpNet;
use portcullis_core::head::{Authority, FieldRules, Scheme, SecretRules};
use std::net::IpAddr;

/// What holds for every request, before its operation is known.
#[derive(Clone, Debug, Default)]
pub struct EdgePolicy {
    /// Who may tell the client's address.
    pub trusted: TrustedProxies,
    /// Bounds and named exceptions of header fields.
    pub fields: FieldRules,
    /// Bytes of a target at most.
    pub target: Target,
    /// What counts as a secret in a URL: the names that any API adds, and where its documents declare integers.
    pub secrets: SecretRules,
    /// This gateway's name in `Via` (`portcullis-<instance>`); a request that carries it came round.
    pub via: Via,
}

/// Bytes of a target at most; 8 KiB unless configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target(pub usize);

impl Default for Target {
    fn default() -> Self {
        Self(8 << 10)
    }
}

/// Our entry in `Via`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    name: Box<str>,
    value: HeaderValue,
}

impl Via {
    /// For an instance name of `[a-z0-9-]{1,64}`.
    pub fn new(instance: &str) -> Option<Self> {
        let fits = (1..=64).contains(&instance.len())
            && instance.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let name = format!("portcullis-{instance}");
        let value = HeaderValue::try_from(format!("1.1 {name}")).ok()?;
        fits.then(|| Self { name: name.into(), value })
    }

    /// The pseudonym, `portcullis-<instance>`.
    pub const fn name(&self) -> &str {
        &self.name
    }

    /// The whole header value that is sent to upstreams.
    pub const fn value(&self) -> &HeaderValue {
        &self.value
    }
}

impl Default for Via {
    fn default() -> Self {
        Self { name: "portcullis-0".into(), value: HeaderValue::from_static("1.1 portcullis-0") }
    }
}

/// Peers whose word about the client is believed, and the one header in which they say it.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    nets: Vec<IpNet>,
    header: ClientHeader,
}

/// The one header that is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientHeader {
    /// `X-Forwarded-For`, and `X-Forwarded-Proto` for the scheme.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl TrustedProxies {
    /// Refuses a network that contains everybody.
    ///
    /// # Errors
    /// The network, when its prefix has no bit.
    pub fn new(nets: Vec<IpNet>, header: ClientHeader) -> Result<Self, IpNet> {
        match nets.iter().find(|net| net.prefix_len() == 0) {
            Some(everybody) => Err(*everybody),
            None => Ok(Self { nets, header }),
        }
    }

    /// Whether an address is one of them. An IPv4-mapped address is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.nets.iter().any(|net| net.contains(&address))
    }

    /// The header that is read.
    pub const fn header(&self) -> ClientHeader {
        self.header
    }
}

/// Header rules of one API.
#[derive(Clone, Debug, Default)]
pub struct HeaderPolicy {
    /// Names that go on to the upstream besides the fixed list (`forward_headers`).
    pub forward: Names,
    /// Names that may carry a credential here: those of the document's security schemes. They go on only as the
    /// verified credential.
    pub credentials: Names,
    /// `host: preserve`: the upstream sees the public authority.
    pub preserve_host: bool,
    /// Public host names of this API, in lower case (`hosts`); empty when it answers on any.
    pub hosts: Vec<Box<str>>,
    /// What goes back.
    pub response: ResponseHeaderPolicy,
    /// Pages that may call; nothing is allowed when absent.
    pub browsers: Option<Browsers>,
}

/// A sorted set of header names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<HeaderName>);

impl Names {
    /// Sorts and removes doubles.
    pub fn new(names: impl IntoIterator<Item = HeaderName>) -> Self {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Self(names)
    }

    /// Whether a name is in the set.
    pub fn contains(&self, name: &HeaderName) -> bool {
        !self.0.is_empty() && self.0.binary_search_by(|known| known.as_str().cmp(name.as_str())).is_ok()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter()
    }
}

impl FromIterator<HeaderName> for Names {
    fn from_iter<T: IntoIterator<Item = HeaderName>>(names: T) -> Self {
        Self::new(names)
    }
}

/// What goes back to the client.
#[derive(Clone, Debug)]
pub struct ResponseHeaderPolicy {
    /// Names that the upstream may send besides the fixed list (`return_headers`).
    pub admitted: Names,
    /// `Strict-Transport-Security`.
    pub hsts: HeaderValue,
    /// Whether the upstream may set cookies (`browsers.cookies: pass`).
    pub cookies: bool,
    /// Authorities of the upstream's servers: a Location there is rewritten to the public one.
    pub upstreams: Vec<(Scheme, Authority)>,
}

impl Default for ResponseHeaderPolicy {
    fn default() -> Self {
        Self {
            admitted: Names::default(),
            hsts: HeaderValue::from_static("max-age=63072000; includeSubDomains"),
            cookies: false,
            upstreams: Vec::new(),
        }
    }
}

impl ResponseHeaderPolicy {
    /// `hsts: { max_age, preload }`, in seconds. Nothing below one year.
    pub fn hsts(max_age: u64, preload: bool) -> Option<HeaderValue> {
        const YEAR: u64 = 31_536_000;
        let suffix = if preload { "; preload" } else { "" };
        let value = format!("max-age={max_age}; includeSubDomains{suffix}");
        (max_age >= YEAR).then(|| HeaderValue::try_from(value).ok())?
    }
}

/// Pages that may call an API (`browsers`).
#[derive(Clone, Debug)]
pub struct Browsers {
    origins: Vec<OriginPattern>,
    any: bool,
    credentials: bool,
    expose: HeaderValue,
    max_age: HeaderValue,
}

/// Why a `browsers` block is refused at load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrowsersError {
    /// An origin of the list does not parse.
    Origin(Box<str>, OriginError),
    /// `*` together with `credentials`, or with other origins.
    AnyWithMore,
    /// No origin at all.
    Empty,
    /// `expose` holds something that is no header name.
    Expose(Box<str>),
}

/// What a page may always read: how to come back, and what to tell support.
const EXPOSED: &str = "RateLimit, RateLimit-Policy, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, \
                       X-RateLimit-Reset, X-Request-Id";

impl Browsers {
    /// From the words of the configuration; `max_age` in seconds. `*` is only for operations that are anonymous.
    ///
    /// # Errors
    /// The first thing that is refused at load.
    pub fn new<'a>(
        origins: impl IntoIterator<Item = &'a str>,
        credentials: bool,
        expose: impl IntoIterator<Item = &'a str>,
        max_age: u64,
    ) -> Result<Self, BrowsersError> {
        let origins: Vec<&str> = origins.into_iter().collect();
        let any = origins.contains(&"*");
        if origins.is_empty() {
            return Err(BrowsersError::Empty);
        }
        if any && (credentials || origins.len() > 1) {
            return Err(BrowsersError::AnyWithMore);
        }
        let origins = origins
            .into_iter()
            .filter(|origin| *origin != "*")
            .map(|o| OriginPattern::parse(o).map_err(|error| BrowsersError::Origin(o.into(), error)))
            .collect::<Result<_, _>>()?;
        let mut names = String::from(EXPOSED);
        for name in expose {
            HeaderName::try_from(name).map_err(|_| BrowsersError::Expose(name.into()))?;
            if !names.split(", ").any(|known| known.eq_ignore_ascii_case(name)) {
                names.push_str(", ");
                names.push_str(name);
            }
        }
        let expose = HeaderValue::try_from(names).map_err(|_| BrowsersError::Expose("".into()))?;
        Ok(Self { origins, any, credentials, expose, max_age: HeaderValue::from(max_age) })
    }

    /// Whether a page of this origin is in the list. `*` is not looked at.
    pub fn names(&self, origin: &Origin) -> bool {
        self.origins.iter().any(|pattern| pattern.matches(origin))
    }

    /// `*`: any page, for anonymous operations.
    pub const fn any(&self) -> bool {
        self.any
    }

    /// Whether pages may send cookies and other credentials of the browser.
    pub const fn credentials(&self) -> bool {
        self.credentials
    }

    /// `Access-Control-Expose-Headers`.
    pub const fn expose(&self) -> &HeaderValue {
        &self.expose
    }

    /// `Access-Control-Max-Age`.
    pub const fn max_age(&self) -> &HeaderValue {
        &self.max_age
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_trusts_nobody_by_default_and_never_everybody() {
        assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
        for everybody in ["0.0.0.0/0", "::/0"] {
            let nets = vec![everybody.parse().unwrap()];
            assert!(TrustedProxies::new(nets, ClientHeader::XForwardedFor).is_err());
        }
        let proxies =
            TrustedProxies::new(vec!["10.0.0.0/24".parse().unwrap()], ClientHeader::Forwarded).unwrap();
        assert!(proxies.contains("10.0.0.7".parse().unwrap()));
        assert!(proxies.contains("::ffff:10.0.0.7".parse().unwrap()));
        assert!(!proxies.contains("10.0.1.7".parse().unwrap()));
    }

    #[test]
    fn edge_browsers_refuse_at_load() {
        let none: [&str; 0] = [];
        assert_eq!(Browsers::new(["*"], true, none, 600).err(), Some(BrowsersError::AnyWithMore));
        assert_eq!(
            Browsers::new(["*", "https://a.example"], false, none, 600).err(),
            Some(BrowsersError::AnyWithMore)
        );
        assert_eq!(Browsers::new(none, false, none, 600).err(), Some(BrowsersError::Empty));
        assert!(matches!(Browsers::new(["null"], false, none, 600), Err(BrowsersError::Origin(..))));
        assert!(matches!(Browsers::new(["*"], false, ["a b"], 600), Err(BrowsersError::Expose(_))));
        let browsers =
            Browsers::new(["https://a.example"], true, ["X-Total-Count", "x-request-id"], 600).unwrap();
        assert_eq!(browsers.expose().to_str().unwrap(), format!("{EXPOSED}, X-Total-Count"));
    }

    #[test]
    fn edge_hsts_is_never_below_a_year() {
        assert!(ResponseHeaderPolicy::hsts(31_535_999, false).is_none());
        assert_eq!(
            ResponseHeaderPolicy::hsts(63_072_000, true).unwrap(),
            "max-age=63072000; includeSubDomains; preload"
        );
    }

    #[test]
    fn edge_via_names_the_instance() {
        assert_eq!(Via::new("eu-1").unwrap().value(), "1.1 portcullis-eu-1");
        assert!(Via::new("").is_none() && Via::new("a b").is_none());
    }
}
