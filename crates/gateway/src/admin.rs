//! The admin listener: liveness, readiness, metrics, published keys. Loopback, or behind client certificates.

use crate::passage::Passage;
use crate::services::Services;
use crate::wire::{OutBody, Raw};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Response, StatusCode};
use portcullis_core::problem::Code;
use portcullis_core::verdict::{Refusal, Stop};
use portcullis_telemetry::metrics::Metrics;
use std::sync::atomic::Ordering::Relaxed;

/// A node whose clock is further from the store's, in microseconds, judges times that nobody means (callers.md).
const CLOCK_OFF_US: u64 = 30_000_000;

/// Answers a request on a listener that does not serve APIs.
pub fn answer(raw: &Raw, services: &Services) -> Response<OutBody> {
    let admin = raw.listener.serve.contains(&portcullis_plan::listen::Serve::Admin);
    if !admin {
        return text(StatusCode::NOT_FOUND, "nothing is served here\n");
    }
    if raw.parts.method != Method::GET && raw.parts.method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match raw.parts.uri.path() {
        "/livez" | "/live" => text(StatusCode::OK, "ok\n"),
        "/readyz" | "/ready" => ready(services),
        "/metrics" => {
            let mut response = text(StatusCode::OK, "");
            *response.body_mut() = OutBody::from(services.shared.metrics.render().into_bytes());
            let kind = HeaderValue::from_static(Metrics::CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        "/identity.jwks" => match &services.shared.signer {
            Some(signer) => {
                let mut response = text(StatusCode::OK, "");
                *response.body_mut() = OutBody::from(signer.jwks(services.now()).into_bytes());
                let kind = HeaderValue::from_static("application/jwk-set+json");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            None => text(StatusCode::NOT_FOUND, "no API has `identity: { sign: true }`\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "/livez /readyz /metrics /identity.jwks\n"),
    }
}

/// The admin API answers nobody where nothing proves who administers: closed, and never open.
pub fn closed(passage: &Passage) -> Option<Stop> {
    let nobody = passage.hosts().any.is_empty();
    nobody.then(|| Refusal::new(Code::AdministrationClosed, "no-administrators").into())
}

/// Ready: not draining, every upstream has a server that may be asked, and the issuers' keys are there.
fn ready(services: &Services) -> Response<OutBody> {
    let mut missing: Vec<String> = Vec::new();
    if !services.shared.edge.get().is_some_and(crate::wire::Handle::ready) {
        missing.push("draining".to_owned());
    }
    let live = services.shared.live.load();
    for upstream in live.upstreams.iter().filter(|u| !u.available()) {
        missing.push(format!("upstream {}", upstream.plan().name));
    }
    for keys in live.key_sets().filter(|k| k.epoch() == 0) {
        missing.push(format!("keys of issuer {}", keys.name()));
    }
    if services.shared.clock_off.load(Relaxed).unsigned_abs() > CLOCK_OFF_US {
        missing.push("the clock differs from the store's".to_owned());
    }
    for scanner in live.scanners.iter().flatten().filter(|scanner| !scanner.is_trusted()) {
        // Where files pass without it, it is missed by nobody.
        if scanner.plan().unscanned.is_empty() {
            missing.push(format!("scanner {}", scanner.plan().address));
        }
    }
    if missing.is_empty() {
        return text(StatusCode::OK, "ready\n");
    }
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "");
    *response.body_mut() = OutBody::from(format!("not ready: {}\n", missing.join(", ")).into_bytes());
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<OutBody> {
    let mut response = Response::new(OutBody::from(bytes::Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
