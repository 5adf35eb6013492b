//! Browsers (wire.md § 11). Nothing is allowed until `browsers` is configured: no CORS header at all.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use portcullis_core::head::{Authority, Head, Method, Scheme};
use portcullis_core::problem::Code;
use portcullis_core::verdict::{Answer, Refusal, Stop};
use portcullis_plan::edge::{Browsers, Origin};

/// The answer to a preflight. It never reaches `identify` or the upstream.
#[derive(Clone, Debug)]
pub struct Preflight {
    headers: HeaderMap,
}

/// What a path offers to other sites.
pub struct Offer<'a> {
    /// The API's rules for browsers.
    pub browsers: &'a Browsers,
    /// Methods declared for the path, and whether each is anonymous.
    pub methods: &'a [(Method, bool)],
    /// Whether a page may send a header, by its name in lower case: declared header parameters of those methods,
    /// Content-Type, Authorization where a scheme uses it, `forward_headers`.
    pub header: &'a dyn Fn(&str) -> bool,
}

/// Whether a request asks for permission on behalf of a page (Fetch, "CORS-preflight request").
pub fn is_preflight(head: &Head) -> bool {
    head.method() == Method::Options
        && head.origin().is_some()
        && head.header("access-control-request-method").is_some()
}

/// Judges a preflight.
///
/// # Errors
/// 403 `origin-refused` when the origin is not allowed or the method is not declared, without any CORS header.
pub fn preflight(head: &Head, offer: &Offer<'_>) -> Result<Preflight, Stop> {
    let asked = head.header("access-control-request-method").unwrap_or_default();
    let asked = Method::parse(asked.as_bytes());
    let anonymous =
        offer.methods.iter().find(|(method, _)| Some(*method) == asked).map(|(_, anonymous)| *anonymous);
    let Some(anonymous) = anonymous else {
        return Err(refused("a preflight for a method that the path does not declare"));
    };
    let Some(origin) = allowed_origin(head, offer.browsers, anonymous) else {
        return Err(refused("a preflight from an origin that is not allowed"));
    };
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        list(offer.methods.iter().map(|(method, _)| method.text())),
    );
    let names = head.header("access-control-request-headers").unwrap_or_default();
    // Only what was asked for and is a header name; nothing of the client's is echoed unread.
    let names: Vec<HeaderName> = names
        .split(',')
        .filter_map(|name| HeaderName::from_bytes(name.trim_matches([' ', '\t']).as_bytes()).ok())
        .filter(|name| (offer.header)(name.as_str()))
        .collect();
    if !names.is_empty() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, list(names.iter().map(HeaderName::as_str)));
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, offer.browsers.max_age().clone());
    allow(&mut headers, offer.browsers, origin);
    vary(&mut headers, "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    Ok(Preflight { headers })
}

impl From<Preflight> for Answer {
    fn from(preflight: Preflight) -> Self {
        Self { status: 204, headers: preflight.headers, body: Vec::new(), reason: "preflight" }
    }
}

impl From<&Preflight> for Answer {
    fn from(preflight: &Preflight) -> Self {
        preflight.clone().into()
    }
}

/// What `Access-Control-Allow-Origin` says to this request, if anything: the origin itself, or `*` for anonymous
/// operations of an API that says so.
pub fn allowed_origin(head: &Head, browsers: &Browsers, anonymous: bool) -> Option<HeaderValue> {
    let value = head.headers().get(header::ORIGIN)?;
    if browsers.any() {
        return anonymous.then(|| HeaderValue::from_static("*"));
    }
    let origin = Origin::parse(value.to_str().ok()?)?;
    browsers.names(&origin).then(|| value.clone())
}

/// Writes the fields of an answer to a page, refusals included. Whatever the upstream said was removed before.
pub fn decorate(headers: &mut HeaderMap, browsers: &Browsers, allowed: Option<HeaderValue>) {
    vary(headers, "Origin");
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, browsers.expose().clone());
        allow(headers, browsers, origin);
    }
}

/// A caller that the browser itself identifies (a cookie) needs an allowed or same origin for unsafe methods.
///
/// # Errors
/// 403 `origin-refused`.
pub fn cookie_caller(head: &Head, browsers: Option<&Browsers>) -> Result<(), Stop> {
    if head.method().is_safe() && !head.websocket() {
        return Ok(());
    }
    let fits = match head.origin() {
        Some(origin) => is_ours_or_allowed(head, browsers, origin),
        None => head.header("sec-fetch-site") == Some("same-origin"),
    };
    if fits { Ok(()) } else { Err(refused("an unsafe request with a cookie from another site")) }
}

/// A WebSocket handshake of a page is judged for any caller: the browser does not ask first.
///
/// # Errors
/// 403 `origin-refused`.
pub fn websocket(head: &Head, browsers: Option<&Browsers>) -> Result<(), Stop> {
    match head.origin() {
        Some(origin) if !is_ours_or_allowed(head, browsers, origin) => {
            Err(refused("a WebSocket handshake from an origin that is not allowed"))
        }
        _ => Ok(()),
    }
}

fn is_ours_or_allowed(head: &Head, browsers: Option<&Browsers>, origin: &str) -> bool {
    Origin::parse(origin).is_some_and(|origin| {
        origin == same_origin(head.scheme(), head.authority()) || browsers.is_some_and(|b| b.names(&origin))
    })
}

/// The origin of a page that was loaded from where this request goes.
fn same_origin(scheme: Scheme, authority: &Authority) -> Origin {
    Origin::new(scheme, authority)
}

fn allow(headers: &mut HeaderMap, browsers: &Browsers, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if browsers.credentials() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// Adds names to `Vary`, where it does not say `*` and does not name them yet.
pub(super) fn vary(headers: &mut HeaderMap, names: &str) {
    let there = |name: &str| {
        headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok()).any(|value| {
            value.split(',').any(|known| known.trim() == "*" || known.trim().eq_ignore_ascii_case(name))
        })
    };
    if names.split(", ").all(there) {
        return;
    }
    if let Ok(value) = HeaderValue::try_from(names) {
        headers.append(header::VARY, value);
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> HeaderValue {
    let names: Vec<&str> = names.collect();
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

fn refused(reason: &'static str) -> Stop {
    Refusal::new(Code::OriginRefused, reason).into()
}

#[cfg(test)]
mod tests;
