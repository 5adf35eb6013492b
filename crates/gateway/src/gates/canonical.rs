//! Raw becomes Head: one parse, one truth (wire.md §§ 6–8). After this gate nobody can see a raw target, a raw
//! header name, or the order of duplicates.

mod certificate;
mod client;

use crate::passage::{Passage, Sealed};
use crate::wire::peer::Peer;
use crate::wire::tls::Handshake;
use http::header::{ALLOW, COOKIE, HOST, HeaderMap, HeaderValue};
/// A request's head as it came off the wire. It lives until [`parse`] and no longer.
pub use http::request::Parts as Raw;
use portcullis_contract::Found;
use portcullis_core::head::{
    Authority, CanonicalPath, Client, Fields, Head, HeadParts, How, Method, Scheme, SecretInUrl, Shape,
    Target, Version, secret_in_url,
};
use portcullis_core::opaque;
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Refusal, Stop};
use portcullis_jose::message::Received;
use portcullis_plan::HostTable;
use portcullis_plan::edge::EdgePolicy;
use portcullis_plan::listen::Listener;
use portcullis_vault::api_keys;
use std::borrow::Cow;
use std::net::IpAddr;

/// What the connection knows of a request.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// The socket's peer, or the client that a PROXY header named.
    pub peer: IpAddr,
    /// Which of the two.
    pub how: How,
    /// TLS or not.
    pub scheme: Scheme,
    /// The listener's name.
    pub listener: &'a str,
    /// The name in the TLS handshake.
    pub sni: Option<&'a str>,
    /// The port that clients see, when it is known.
    pub public_port: Option<u16>,
    /// A WebSocket may be opened here: `Upgrade`, or extended CONNECT.
    pub websocket: bool,
    /// A body follows the head: a length above 0, chunks, or an HTTP/2 stream that does not end with its headers.
    pub body: bool,
}

impl<'a> Connection<'a> {
    /// From what the wire hands on.
    pub fn new(
        peer: &Peer,
        handshake: &'a Handshake,
        listener: &'a Listener,
        websocket: bool,
        body: bool,
    ) -> Self {
        let port = listener.address.port();
        Self {
            peer: peer.address(),
            how: if peer.proxied.is_some() { How::Proxy } else { How::Peer },
            scheme: if peer.tls { Scheme::Https } else { Scheme::Http },
            listener: &listener.name,
            sni: handshake.sni.as_deref(),
            public_port: listener.public_port.or((port != 0).then_some(port)),
            websocket,
            body,
        }
    }
}

/// Reads a request's head, once.
///
/// # Errors
/// The first step of `wire.md`, sections 6 and 7, that fails.
pub fn parse(parts: Raw, connection: &Connection<'_>, passage: &Passage) -> Result<Head, Stop> {
    let (client, scheme) = client::find(&parts.headers, connection, &passage.plan.edge.trusted);
    passage.seen().client = Some((client.address, client.how.word()));
    if client.malformed {
        passage.note(Gate::Canonical, "client.address_malformed", None);
    }
    if client.through_proxy {
        certificate::take(&parts.headers, connection.listener, passage)?;
    }
    let plan = &passage.plan;
    let declared = |authority: &Authority, path: &CanonicalPath, method: Method| {
        passage
            .hosts()
            .apis(authority.host())
            .unwrap_or_default()
            .iter()
            .filter_map(|api| plan.api(*api))
            .any(|api| matches!(api.contract.find(method, path), Found::Operation { .. }))
    };
    // Kept aside before the parts are gone; if it is refused for it, its owner is told beside the request.
    let raw = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str).as_bytes();
    let exposed = memchr::memmem::find(raw, b"pck_").and_then(|_| opaque::find_key(raw));
    let received = carries_proof(&parts.headers).then(|| as_received(&parts, scheme));
    let head = read(parts, connection, (client, scheme), &plan.edge, passage.hosts(), &declared)
        .inspect_err(|stop| {
            passage.note(Gate::Canonical, told(stop), None);
            if matches!(stop, Stop::Refusal(refusal) if refusal.code == Code::SecretInUrl) {
                passage.seen().exposed = exposed.map(|key| (key, api_keys::Place::Url));
            }
        })?;
    if let Some(received) = received {
        passage.keep(Sealed { received, body: connection.body });
    }
    passage.seen().client_request_id = head.client_request_id().map(Box::from);
    Ok(head)
}

/// The private reason, for the trail.
fn told(stop: &Stop) -> Cow<'static, str> {
    match stop {
        Stop::Refusal(refusal) => refusal.reason.clone(),
        Stop::Fault(fault) => fault.reason.clone(),
        Stop::Answer(answer) => answer.reason.into(),
    }
}

/// The pure half: facts in, head out.
fn read(
    parts: Raw,
    connection: &Connection<'_>,
    (client, scheme): (Client, Scheme),
    edge: &EdgePolicy,
    hosts: &HostTable,
    declared: &dyn Fn(&Authority, &CanonicalPath, Method) -> bool,
) -> Result<Head, Stop> {
    let version = match parts.version {
        http::Version::HTTP_11 => Version::Http11,
        http::Version::HTTP_2 => Version::Http2,
        http::Version::HTTP_10 => Version::Http10,
        _ => return Err(refuse(Code::HttpVersionUnsupported, "an HTTP version that is not spoken here")),
    };
    // A tunnel by CONNECT has no path (RFC 9113 § 8.5), and there are none here.
    if version == Version::Http2
        && parts.method == http::Method::CONNECT
        && parts.uri.path_and_query().is_none()
    {
        return Err(refuse(Code::MethodNotAllowed, "connect"));
    }
    let written = authority(&parts, version, connection.scheme)?;
    let target = target(&parts, edge)?;
    if let Some(found) = secret_in_url(&target, &edge.secrets) {
        return Err(refuse(Code::SecretInUrl, describe(&found)));
    }
    judge_authority(&written, connection, hosts)?;
    if client.through_proxy && came_round(&parts.headers, edge) {
        return Err(refuse(Code::LoopDetected, "our own name stands in Via"));
    }
    let websocket = connection.websocket;
    let fields = Fields::admit(parts.headers, version, &edge.fields)?;
    let method = match Method::parse(parts.method.as_str().as_bytes()) {
        Some(method) => method,
        // Extended CONNECT is how HTTP/2 says GET with Upgrade (RFC 8441, section 5).
        None if websocket && version == Version::Http2 && parts.method == http::Method::CONNECT => {
            Method::Get
        }
        None => {
            let allow = Method::ALL.into_iter().filter(|method| declared(&written, target.path(), *method));
            return Err(unknown_method(&parts.method, allow));
        }
    };
    let default_port = scheme.default_port();
    let public_port = connection.public_port.unwrap_or_else(|| written.port_or(default_port));
    let authority = if written.port() == Some(default_port) { written.without_port() } else { written };
    Ok(Head::new(HeadParts {
        method,
        version,
        scheme,
        authority,
        public_port,
        target,
        fields,
        client,
        websocket,
    }))
}

/// A signature or a DPoP proof is made over the request as it was sent, before anything was normalised.
fn carries_proof(headers: &HeaderMap) -> bool {
    ["signature-input", "signature", "x-pc-signature", "dpop"].iter().any(|name| headers.contains_key(*name))
}

fn as_received(parts: &Raw, scheme: Scheme) -> Received {
    let host = || parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let authority = parts.uri.authority().map_or_else(host, http::uri::Authority::as_str);
    let origin_form = || parts.uri.path_and_query().map(|target| target.as_str().to_owned());
    let target = match parts.uri.scheme() {
        Some(_) if parts.version < http::Version::HTTP_2 => parts.uri.to_string(),
        _ => origin_form().unwrap_or_default(),
    };
    let crumbs = parts.version == http::Version::HTTP_2 && parts.headers.get_all(COOKIE).iter().count() > 1;
    let lines = parts.headers.iter().filter(|(name, _)| !(crumbs && **name == COOKIE));
    let whole: Vec<u8>;
    let mut lines: Vec<(&str, &[u8])> =
        lines.map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    if crumbs {
        // HTTP/2 may split one Cookie field (RFC 9113 § 8.2.3); the client signed it whole.
        let crumbs: Vec<&[u8]> = parts.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        whole = crumbs.join(&b"; "[..]);
        lines.push((COOKIE.as_str(), &whole));
    }
    Received::new(parts.method.as_str(), scheme == Scheme::Https, authority, target, lines)
}

/// The authority that was asked for: `Host`, `:authority`, or both when they are equal (§§ 5.2, 6.2).
fn authority(parts: &Raw, version: Version, scheme: Scheme) -> Result<Authority, Stop> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().map(|value| value.to_str().unwrap_or_default());
    if hosts.next().is_some() {
        return Err(malformed("Host occurs more than once"));
    }
    let asked = parts.uri.authority().map(http::uri::Authority::as_str);
    let text = match (version, host, asked) {
        (Version::Http2, _, None) => return Err(malformed("no :authority")),
        (Version::Http2, None, Some(asked)) => asked,
        (_, None, _) => return Err(malformed("no Host")),
        (_, Some(host), _) => host,
    };
    let authority = Authority::parse(text).map_err(|error| malformed(error.reason()))?;
    let Some(asked) = asked else { return Ok(authority) };
    if parts.uri.scheme_str() != Some(scheme.text()) {
        return Err(malformed("the target's scheme is not the connection's"));
    }
    if host.is_some() && !same(&authority, asked, scheme) {
        return Err(malformed("the target's authority is not Host"));
    }
    Ok(authority)
}

fn same(authority: &Authority, asked: &str, scheme: Scheme) -> bool {
    let default = scheme.default_port();
    Authority::parse(asked)
        .is_ok_and(|a| a.host() == authority.host() && a.port_or(default) == authority.port_or(default))
}

/// § 6.2, steps 1 to 8.
fn target(parts: &Raw, edge: &EdgePolicy) -> Result<Target, Stop> {
    let raw = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    if raw.len() > edge.target.0 {
        return Err(refuse(Code::UriTooLong, "the target is too long"));
    }
    Target::parse(raw).map_err(|error| {
        let code = if error.is_malformed() { Code::MalformedRequest } else { Code::PathRefused };
        refuse(code, error.reason())
    })
}

/// § 6.3: a port that is ours, a host that is served, and the one that the handshake was for.
fn judge_authority(written: &Authority, connection: &Connection<'_>, hosts: &HostTable) -> Result<(), Stop> {
    if let (Some(port), Some(public)) = (written.port(), connection.public_port)
        && port != public
    {
        return Err(misdirected("the authority's port is not the public one"));
    }
    let Some(apis) = hosts.apis(written.host()) else {
        return Err(misdirected("the host is not served here"));
    };
    // Browsers share HTTP/2 connections between hosts of one certificate. Only hosts of one API may share here:
    // the handshake chose a policy (CVE-2022-23632).
    match connection.sni {
        Some(sni) if !sni.eq_ignore_ascii_case(written.host()) => {
            let shared = hosts.apis(&sni.to_ascii_lowercase()).unwrap_or_default();
            if apis.iter().any(|api| shared.contains(api)) {
                Ok(())
            } else {
                Err(misdirected("the host is not the one of the TLS handshake"))
            }
        }
        _ => Ok(()),
    }
}

/// Read from trusted proxies alone; a stranger's Via says nothing and goes nowhere.
fn came_round(headers: &HeaderMap, edge: &EdgePolicy) -> bool {
    headers
        .get_all(http::header::VIA)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|entry| entry.split_whitespace().nth(1) == Some(edge.via.name())))
}

/// What was found, for the operator; never the secret itself.
fn describe(found: &SecretInUrl) -> Cow<'static, str> {
    Cow::Borrowed(match &found.shape {
        Shape::Name => "a query parameter whose name says that it is a secret",
        Shape::Jwt => "a JWT in the URL",
        Shape::Card => "a card number in the URL",
        Shape::PortcullisKey(Some(opaque::Found::ApiKey(id))) => {
            return Cow::Owned(format!("the API key {id} in the URL"));
        }
        Shape::PortcullisKey(_) => "a secret of ours in the URL",
    })
}

/// What route would say, could such a method come so far: 404, or 405 with those that are declared (RFC 9110,
/// section 15.5.6).
fn unknown_method(method: &http::Method, allow: impl Iterator<Item = Method>) -> Stop {
    let allow: Vec<&str> = allow.map(Method::text).collect();
    let refusal = match HeaderValue::try_from(allow.join(", ")) {
        Ok(value) if !allow.is_empty() => {
            Refusal::new(Code::MethodNotAllowed, "a method that no operation can have").header(ALLOW, value)
        }
        _ => Refusal::new(Code::OperationUndeclared, "a path that is not declared, with an unknown method"),
    };
    // A CONNECT leaves a connection behind whose bytes are no longer HTTP (GHSA-3ccp-42pg-hgv6).
    if *method == http::Method::CONNECT { refusal.close().into() } else { refusal.into() }
}

fn refuse(code: Code, reason: impl Into<Cow<'static, str>>) -> Stop {
    Refusal::new(code, reason).into()
}

fn malformed(reason: &'static str) -> Stop {
    refuse(Code::MalformedRequest, reason)
}

fn misdirected(reason: &'static str) -> Stop {
    refuse(Code::MisdirectedRequest, reason)
}

#[cfg(test)]
pub(in crate::gates) mod tests;
#[cfg(test)]
mod upstream_tests;
