//! What listeners answer besides APIs: challenges of ACME, pins, and requests that belong on HTTPS.
//!
//! A request for an API on a plaintext listener is refused and not redirected: a client that follows redirects would send
//! its credential twice, once for everybody to read.

use crate::passage::Passage;
use crate::services::Services;
use crate::wire::{Raw, pins};
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_contract::model::Found;
use portcullis_core::head::{Authority, Method as Verb, Target};
use portcullis_core::opaque;
use portcullis_core::problem::Code;
use portcullis_core::trail::Gate;
use portcullis_core::verdict::{Answer, Refusal, Stop};
use portcullis_plan::listen::Serve;
use portcullis_vault::api_keys::Place;
use portcullis_vault::notices::rfc3339;
use serde_json::{Value, json};

const CHALLENGE: &str = "/.well-known/acme-challenge/";
const PINS: &str = "/.well-known/portcullis/pins";

/// The answer to a request that no API may see; nothing when it is the APIs' to judge.
pub(crate) fn answer(raw: &Raw, passage: &Passage, services: &Services) -> Option<Stop> {
    let listener = &raw.listener;
    let path = raw.parts.uri.path();
    let reads = raw.parts.method == Method::GET || raw.parts.method == Method::HEAD;
    if listener.serve.contains(&Serve::Acme)
        && let Some(token) = path.strip_prefix(CHALLENGE)
    {
        let proof = services.shared.edge.get().and_then(|edge| edge.book().token(token)).filter(|_| reads);
        return Some(match proof {
            Some(proof) => said(200, "application/octet-stream", proof.into_bytes(), "acme-challenge"),
            None => Refusal::new(Code::OperationUndeclared, "no order in progress has this token").into(),
        });
    }
    if listener.publish_pins && path == PINS && reads && raw.parts.uri.query().is_none() {
        return Some(published(raw, services));
    }
    if listener.serve.contains(&Serve::Apis) { None } else { Some(insecure(raw, passage, services, reads)) }
}

fn said(status: u16, kind: &'static str, body: Vec<u8>, reason: &'static str) -> Stop {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Stop::Answer(Box::new(Answer { status, headers, body, reason }))
}

fn published(raw: &Raw, services: &Services) -> Stop {
    let edge = services.shared.edge.get();
    let (Some(edge), Some(tls)) = (edge, &raw.listener.tls) else {
        return Refusal::new(Code::OperationUndeclared, "pins without TLS").into();
    };
    let name = &raw.listener.name;
    let shown: Vec<_> = edge
        .certificates()
        .into_iter()
        .filter(|(listener, _)| listener == name)
        .map(|(_, shown)| shown)
        .collect();
    let backup = edge.book().backup(name);
    let document = document(&pins::of(&shown, tls, backup.as_deref()), services.now().secs());
    said(200, "application/json", format!("{document}\n").into_bytes(), "pins")
}

/// Pins as they are published: an object, or a list of them where a listener has several certificates.
pub fn document(all: &[pins::Pins], now: i64) -> Value {
    let key = |pin: &pins::Pin| {
        let mut key = json!({ "spki_sha256": pin.spki_sha256, "role": pin.role.word() });
        if let (Some(end), Some(key)) = (pin.not_after, key.as_object_mut()) {
            key.insert("not_after".to_owned(), rfc3339(end).into());
        }
        key
    };
    let one = |pins: &pins::Pins| {
        let keys: Vec<Value> = pins.keys.iter().map(key).collect();
        json!({ "host": pins.host, "generated": rfc3339(now), "keys": keys })
    };
    match all {
        [alone] => one(alone),
        several => several.iter().map(one).collect(),
    }
}

/// Without TLS: documentation is to be had over there; an API is not, and no credential is welcome.
fn insecure(raw: &Raw, passage: &Passage, services: &Services, reads: bool) -> Stop {
    if carries_credential(raw, passage, services) {
        passage.note(Gate::Canonical, "credential.on_plaintext", None);
        passage.seen().credentialed = true;
        return refused("a credential without TLS");
    }
    let raw_target = raw.parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let Ok(target) = Target::parse(raw_target) else { return refused("no target") };
    if !reads || !raw.listener.serve.contains(&Serve::Docs) || is_api(&target, passage) {
        return refused("an API without TLS");
    }
    let authority = raw.parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let Some(Ok(authority)) = authority.map(Authority::parse) else { return refused("no authority") };
    let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("https://{}{}{query}", authority.host(), target.path());
    let Ok(location) = HeaderValue::try_from(location) else { return refused("no location") };
    let mut headers = HeaderMap::new();
    headers.insert(LOCATION, location);
    Stop::Answer(Box::new(Answer { status: 308, headers, body: Vec::new(), reason: "to-https" }))
}

fn refused(why: &'static str) -> Stop {
    Refusal::new(Code::HttpsRequired, why).close().into()
}

/// Whether some API declares the path, at whatever host and method.
fn is_api(target: &Target, passage: &Passage) -> bool {
    let declares = |api: &portcullis_plan::api::Api| {
        !matches!(api.contract.find(Verb::Get, target.path()), Found::Undeclared)
    };
    passage.plan.apis.iter().any(declares)
}

/// Whatever could prove somebody. A key of ours that stood there is marked: others may have read it.
fn carries_credential(raw: &Raw, passage: &Passage, services: &Services) -> bool {
    let headers = &raw.parts.headers;
    let target = raw.parts.uri.path_and_query().map_or("", |target| target.as_str());
    let values = headers.values().map(HeaderValue::as_bytes).chain([target.as_bytes()]);
    let key = values.into_iter().find_map(opaque::find_key);
    let found = key.is_some();
    if let Some(key) = key {
        services.shared.keys.found_exposed(key, Place::Plaintext);
    }
    let named =
        |name: &HeaderName| passage.plan.apis.iter().any(|api| api.headers.credentials.contains(name));
    let signed = ["dpop", "signature", "signature-input"].iter().any(|name| headers.contains_key(*name));
    found
        || signed
        || headers.contains_key(AUTHORIZATION)
        || headers.contains_key(COOKIE)
        || headers.keys().any(named)
}
