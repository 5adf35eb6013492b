//! Which header fields the upstream gets: an allow-list of the client's, and ours (wire.md §§ 7.2, 9.2–9.4).
//!
//! The map begins empty. What a client sent is copied only when somebody has asked for it by name, so nothing that
//! imitates ours can survive by not being overwritten (CVE-2025-29927, CVE-2026-33433).

mod identity;

pub use identity::{Claims, binding, rebound};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use portcullis_core::head::{Head, HostKind, Scheme, TraceParent};
use portcullis_core::id::RequestId;
use portcullis_plan::edge::{HeaderPolicy, Via};
use smallvec::SmallVec;
use std::fmt::Write as _;
use std::net::IpAddr;

/// `Portcullis-Identity`.
pub const IDENTITY: HeaderName = HeaderName::from_static("portcullis-identity");
/// `X-Request-Id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What decides about the header fields of one request.
pub struct Admission<'a> {
    /// The request.
    pub head: &'a Head,
    /// The API's rules.
    pub policy: &'a HeaderPolicy,
    /// Header parameters that the operation declares; intake has judged them.
    pub declared: &'a [HeaderName],
    /// The header that carried the verified credential, where `credentials: pass` lets it go on. Never one of a
    /// credential that Portcullis issued.
    pub credential: Option<&'a HeaderName>,
    /// Ours.
    pub ours: Ours<'a>,
}

/// What we say ourselves.
pub struct Ours<'a> {
    /// Correlation id.
    pub id: RequestId,
    /// Our span.
    pub trace: TraceParent,
    /// Our entry in `Via`.
    pub via: &'a Via,
    /// `Host` for HTTP/1.1 upstreams; nothing where the target carries the authority.
    pub host: Option<HeaderValue>,
    /// Whether the answer is read here: then it must come as it is.
    pub reads_answer: bool,
    /// Canonical media type of the body, when there is one.
    pub content_type: Option<HeaderValue>,
    /// Declared cookies, written anew.
    pub cookie: Option<HeaderValue>,
    /// The signed identity.
    pub identity: Option<HeaderValue>,
}

/// The header fields for the upstream.
pub struct Admitted {
    /// The fields; each name once.
    pub headers: HeaderMap,
    /// What the client sent and nobody asked for; counted, and named by `explain`.
    pub dropped: SmallVec<[HeaderName; 4]>,
}

/// Builds the header fields of the request to the upstream.
pub fn admit_request_headers(admission: Admission<'_>) -> Admitted {
    let Admission { head, policy, declared, credential, ours } = admission;
    let mut headers = HeaderMap::with_capacity(32);
    let mut dropped = SmallVec::new();
    for (name, value) in head.headers() {
        // Tracing is ours to write, and cookies are the contract's.
        if *name == TRACEPARENT || *name == TRACESTATE || *name == header::COOKIE {
            continue;
        }
        if goes_on(name, policy, declared, credential) {
            headers.insert(name, value.clone());
        } else {
            dropped.push(name.clone());
        }
    }
    add_ours(&mut headers, head, policy, ours);
    Admitted { headers, dropped }
}

fn goes_on(
    name: &HeaderName,
    policy: &HeaderPolicy,
    declared: &[HeaderName],
    credential: Option<&HeaderName>,
) -> bool {
    if is_credential(name) || policy.credentials.contains(name) {
        return credential == Some(name);
    }
    is_standard(name.as_str())
        || ((declared.contains(name) || policy.forward.contains(name)) && !is_ours(name))
}

/// § 7.2, step 7 (b).
fn is_standard(name: &str) -> bool {
    match name.len() {
        5 => name == "range",
        6 => matches!(name, "accept" | "origin" | "prefer"),
        8 => matches!(name, "if-match" | "if-range"),
        10 => name == "user-agent",
        13 => name == "if-none-match",
        15 => matches!(name, "accept-language" | "idempotency-key"),
        16 => name == "content-language",
        17 => name == "if-modified-since",
        19 => name == "if-unmodified-since",
        _ => false,
    }
}

/// Carries a proof of who the caller is: goes on as the verified credential, or not at all.
fn is_credential(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION
        || matches!(name.as_str(), "dpop" | "signature" | "signature-input" | "x-pc-signature")
}

/// Written by us or never passed, whatever a document or the configuration declares.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-type"
            | "accept-encoding"
            | "content-encoding"
            | "via"
            | "from"
            | "date"
            | "referer"
            | "max-forwards"
    ) || name.as_str().starts_with("sec-websocket-")
}

fn add_ours(headers: &mut HeaderMap, head: &Head, policy: &HeaderPolicy, ours: Ours<'_>) {
    let client = head.client().address;
    let scheme = head.scheme();
    let host = (!policy.hosts.is_empty()).then(|| head.authority());
    let mut text = Text::new();

    headers.insert(X_FORWARDED_FOR, text.value(format_args!("{client}")));
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme.text()));
    headers.insert(X_FORWARDED_PORT, HeaderValue::from(head.public_port()));
    if let Some(host) = host {
        headers.insert(X_FORWARDED_HOST, text.value(format_args!("{host}")));
    }
    headers.insert(header::FORWARDED, forwarded(&mut text, client, scheme, host));
    headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(&ours.id.text()).unwrap_or(EMPTY));
    headers.insert(TRACEPARENT, text.value(format_args!("{}", ours.trace)));
    // A stranger's state says nothing about our trace.
    if head.client().through_proxy
        && head.trace().is_some_and(|trace| trace.trace_id == ours.trace.trace_id)
        && let Some(state) = head.headers().get(TRACESTATE)
    {
        headers.insert(TRACESTATE, state.clone());
    }
    headers.insert(header::VIA, ours.via.value().clone());
    headers.insert(header::ACCEPT_ENCODING, accept_encoding(head, ours.reads_answer));
    for (name, value) in [
        (header::HOST, ours.host),
        (header::CONTENT_TYPE, ours.content_type),
        (header::COOKIE, ours.cookie),
        (IDENTITY, ours.identity),
    ] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
}

const EMPTY: HeaderValue = HeaderValue::from_static("");

/// RFC 7239: an IPv6 address is quoted and stands in brackets, a host with a port is quoted.
fn forwarded(
    text: &mut Text,
    client: IpAddr,
    scheme: Scheme,
    host: Option<&portcullis_core::head::Authority>,
) -> HeaderValue {
    let proto = scheme.text();
    let plain = host.filter(|host| host.port().is_none() && host.kind() != HostKind::V6);
    match (client, host, plain) {
        (IpAddr::V4(client), None, _) => text.value(format_args!("for={client};proto={proto}")),
        (IpAddr::V6(client), None, _) => text.value(format_args!("for=\"[{client}]\";proto={proto}")),
        (IpAddr::V4(client), _, Some(host)) => {
            text.value(format_args!("for={client};proto={proto};host={host}"))
        }
        (IpAddr::V6(client), _, Some(host)) => {
            text.value(format_args!("for=\"[{client}]\";proto={proto};host={host}"))
        }
        (IpAddr::V4(client), Some(host), None) => {
            text.value(format_args!("for={client};proto={proto};host=\"{host}\""))
        }
        (IpAddr::V6(client), Some(host), None) => {
            text.value(format_args!("for=\"[{client}]\";proto={proto};host=\"{host}\""))
        }
    }
}

/// `identity` where the answer is read here, else what both the client and we know.
fn accept_encoding(head: &Head, reads_answer: bool) -> HeaderValue {
    if reads_answer {
        return HeaderValue::from_static("identity");
    }
    let accepts = |coding: &str| {
        head.header("accept-encoding").is_some_and(|list| {
            list.split(',').any(|entry| {
                let (name, weight) = entry.split_once(';').unwrap_or((entry, ""));
                let refused = weight
                    .trim()
                    .strip_prefix("q=")
                    .is_some_and(|q| q.trim_end_matches(['0', '.']).is_empty());
                name.trim().eq_ignore_ascii_case(coding) && !refused
            })
        })
    };
    HeaderValue::from_static(match (accepts("gzip"), accepts("br")) {
        (true, true) => "gzip, br",
        (true, false) => "gzip",
        (false, true) => "br",
        (false, false) => "identity",
    })
}

/// One buffer for the values that are made of text.
struct Text(String);

impl Text {
    fn new() -> Self {
        Self(String::with_capacity(96))
    }

    fn value(&mut self, text: std::fmt::Arguments<'_>) -> HeaderValue {
        self.0.clear();
        // Writing to a String cannot fail; addresses, hosts and schemes are visible ASCII.
        let _ = self.0.write_fmt(text);
        HeaderValue::from_str(&self.0).unwrap_or(EMPTY)
    }
}

#[cfg(test)]
mod tests;
