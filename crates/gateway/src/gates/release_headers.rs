//! Which header fields of an answer leave (wire.md § 12). The map begins empty: an allow-list of the upstream's, and
//! ours, always, on refusals too.

mod cookie;
mod disposition;
mod location;

use super::cors;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use portcullis_core::head::{Head, Method, Scheme};
use portcullis_core::id::RequestId;
use portcullis_core::problem::Code;
use portcullis_core::verdict::{Fault, Stop};
use portcullis_plan::edge::{HeaderPolicy, ResponseHeaderPolicy};

const MAX_FIELDS: usize = 100;
const MAX_BYTES: usize = 32 << 10;

/// How the caller of this request proved who he is, for `Cache-Control` and `Vary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof<'a> {
    /// Not at all: anonymous.
    None,
    /// `Authorization`, or a certificate.
    Authorization,
    /// A cookie.
    Cookie,
    /// Another header.
    Header(&'a str),
}

/// What decides about the header fields of one answer.
pub struct Release<'a> {
    /// The request.
    pub head: &'a Head,
    /// The API's rules.
    pub policy: &'a HeaderPolicy,
    /// Header fields that the answer declares.
    pub declared: &'a [HeaderName],
    /// How the caller proved who he is.
    pub proof: Proof<'a>,
    /// The body was read here: judged, filtered, decrypted or masked. What the upstream says about its bytes is
    /// about other bytes.
    pub body_judged: bool,
    /// Canonical media type of what leaves, when there is a body.
    pub content_type: Option<HeaderValue>,
    /// What `Access-Control-Allow-Origin` says, by [`cors::allowed_origin`].
    pub allowed_origin: Option<HeaderValue>,
    /// Correlation id.
    pub id: RequestId,
}

/// The header fields of an answer, and what was left out.
#[derive(Debug)]
pub struct Released {
    /// The fields.
    pub headers: HeaderMap,
    /// How many fields of the upstream were dropped, for `headers_dropped_total{kind="response"}`.
    pub dropped: u32,
}

/// Builds the header fields of the answer to the client.
///
/// # Errors
/// 502 `upstream-error` when there are more than 100 fields or 32 KiB.
pub fn release(upstream: &HeaderMap, release: Release<'_>) -> Result<Released, Stop> {
    let bytes: usize = upstream.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if upstream.len() > MAX_FIELDS || bytes > MAX_BYTES {
        return Err(Fault::new(Code::UpstreamError, "the upstream's header fields are too large").into());
    }
    let mut headers = HeaderMap::with_capacity(32);
    let mut dropped = 0;
    for (name, value) in upstream {
        match admit(name, value, upstream, &release) {
            Some(value) => {
                headers.append(name, value);
            }
            None => dropped += 1,
        }
    }
    if let Some(content_type) = release.content_type {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    cache(&mut headers, release.proof, release.head.method());
    if let Some(browsers) = &release.policy.browsers {
        cors::decorate(&mut headers, browsers, release.allowed_origin);
    }
    ours(&mut headers, Some(&release.policy.response), release.head.scheme(), release.id);
    Ok(Released { headers, dropped })
}

/// The fields of a refusal, fault or answer of our own: never cached, with ours. What stands in `headers` already
/// (`Allow`, `Retry-After`, …) stays. `policy` is nothing before an API was found.
pub fn of_our_own(
    headers: &mut HeaderMap,
    policy: Option<&ResponseHeaderPolicy>,
    scheme: Scheme,
    id: RequestId,
) {
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    ours(headers, policy, scheme, id);
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// § 12, step 5: replacing what came.
fn ours(headers: &mut HeaderMap, policy: Option<&ResponseHeaderPolicy>, scheme: Scheme, id: RequestId) {
    if scheme == Scheme::Https {
        let hsts = policy.map_or_else(
            || HeaderValue::from_static("max-age=63072000; includeSubDomains"),
            |policy| policy.hsts.clone(),
        );
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts);
    }
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_bytes(&id.text()) {
        headers.insert(super::headers::X_REQUEST_ID, id);
    }
}

const FIXED: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "accelerometer=(), autoplay=(), bluetooth=(), camera=(), display-capture=(), encrypted-media=(), \
         fullscreen=(), geolocation=(), gyroscope=(), hid=(), identity-credentials-get=(), idle-detection=(), \
         local-fonts=(), magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), \
         publickey-credentials-create=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), \
         web-share=(), window-management=(), xr-spatial-tracking=()",
    ),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What becomes of one field of the upstream.
fn admit(
    name: &HeaderName,
    value: &HeaderValue,
    all: &HeaderMap,
    release: &Release<'_>,
) -> Option<HeaderValue> {
    let kind = kind_of(name);
    let listed = match kind {
        Kind::Never => false,
        Kind::Unlisted => release.declared.contains(name) || release.policy.response.admitted.contains(name),
        Kind::Body => !release.body_judged,
        _ => true,
    };
    // Of two values of a singleton nobody knows which one the next reader takes.
    let single = matches!(kind, Kind::Single | Kind::Body | Kind::Location | Kind::Disposition);
    if !listed || (single && all.get_all(name).iter().nth(1).is_some()) {
        return None;
    }
    if kind == Kind::Disposition {
        return disposition::rewrite(value.as_bytes());
    }
    let text = value.to_str().ok()?;
    let place = location::Place { head: release.head, policy: release.policy };
    match kind {
        Kind::Location => place.target(text).map(|target| target.into_value(value)),
        Kind::Links => place.links(text).map(|links| links.into_value(value)),
        Kind::Cookie if release.policy.response.cookies => cookie::rewrite(text, &release.policy.hosts),
        Kind::Cookie => None,
        Kind::Challenge if names_connection_scheme(text) => None,
        _ => Some(value.clone()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Of the fixed list, once.
    Single,
    /// Of the fixed list, may be repeated.
    List,
    /// About the bytes of the body.
    Body,
    Location,
    Links,
    Disposition,
    Challenge,
    Cookie,
    /// Admitted where somebody names it.
    Unlisted,
    /// Whoever names it: of one connection, of our making, or about what stands behind.
    Never,
}

fn kind_of(name: &HeaderName) -> Kind {
    let name = name.as_str();
    match name {
        "content-language"
        | "content-range"
        | "accept-ranges"
        | "expires"
        | "age"
        | "retry-after"
        | "deprecation"
        | "sunset"
        | "idempotency-replayed" => Kind::Single,
        "etag" | "last-modified" | "content-length" | "content-encoding" => Kind::Body,
        "cache-control" | "vary" | "allow" => Kind::List,
        "location" | "content-location" => Kind::Location,
        "link" => Kind::Links,
        "content-disposition" => Kind::Disposition,
        "www-authenticate" => Kind::Challenge,
        "set-cookie" => Kind::Cookie,
        "content-type"
        | "connection"
        | "keep-alive"
        | "proxy-connection"
        | "proxy-authenticate"
        | "proxy-authentication-info"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade"
        | "server"
        | "x-powered-by"
        | "x-runtime"
        | "via"
        | "alt-svc"
        | "refresh"
        | "sourcemap"
        | "x-sourcemap"
        | "nel"
        | "report-to"
        | "reporting-endpoints"
        | "x-request-id"
        | "strict-transport-security"
        | "x-content-type-options"
        | "x-frame-options"
        | "content-security-policy"
        | "content-security-policy-report-only"
        | "referrer-policy"
        | "permissions-policy"
        | "cross-origin-resource-policy"
        | "portcullis-identity"
        | "clear-site-data"
        | "set-cookie2"
        | "public-key-pins"
        | "service-worker-allowed"
        | "x-xss-protection"
        | "date" => Kind::Never,
        _ if name.starts_with("ratelimit") => Kind::Single,
        _ if FAMILIES.iter().any(|family| name.starts_with(family)) => Kind::Never,
        _ => Kind::Unlisted,
    }
}

/// Told by programs behind about themselves or to programs in between; and CORS, which is ours.
const FAMILIES: [&str; 9] = [
    "access-control-",
    "x-aspnet",
    "x-debug-",
    "x-envoy-",
    "x-backend",
    "x-accel-",
    "surrogate-",
    "portcullis-",
    "x-sendfile",
];

/// Whether a field of an answer that is replaced may stand on what replaces it: readable, and no challenge of a
/// scheme that authenticates a connection.
pub(super) fn may_accompany(name: &HeaderName, value: &HeaderValue) -> bool {
    let text = value.to_str();
    text.is_ok_and(|text| name != header::WWW_AUTHENTICATE || !names_connection_scheme(text))
}

/// NTLM and Negotiate authenticate a connection, and ours are shared.
fn names_connection_scheme(challenges: &str) -> bool {
    challenges
        .split([',', ' ', '\t'])
        .any(|word| word.eq_ignore_ascii_case("ntlm") || word.eq_ignore_ascii_case("negotiate"))
}

/// § 12, step 6.
fn cache(headers: &mut HeaderMap, proof: Proof<'_>, method: Method) {
    let vary = match proof {
        Proof::None => {
            if !headers.contains_key(header::CACHE_CONTROL) {
                let readable = matches!(method, Method::Get | Method::Head);
                let value = if readable { HeaderValue::from_static("no-cache") } else { NO_STORE };
                headers.insert(header::CACHE_CONTROL, value);
            }
            return;
        }
        Proof::Authorization => "Authorization",
        Proof::Cookie => "Cookie",
        Proof::Header(name) => name,
    };
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.remove(header::EXPIRES);
    headers.remove(header::AGE);
    cors::vary(headers, vary);
}

#[cfg(test)]
mod tests;
