//! The only place where a refusal or a fault becomes HTTP.

use crate::gates::{cors, release_headers};
use crate::passage::Passage;
use crate::problem_json;
use crate::wire::OutBody;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use portcullis_core::caller::Kind;
use portcullis_core::head::Scheme;
use portcullis_core::problem::Code;
use portcullis_core::verdict::{ErrorItem, Stop};
use portcullis_limits::header as rate;

/// What respond must know of the exchange.
#[derive(Clone, Copy)]
pub struct To {
    /// Scheme of the connection.
    pub scheme: Scheme,
    /// Only headers are answered.
    pub head_only: bool,
    /// HTTP/1: `Connection: close` may be said.
    pub http1: bool,
    /// gRPC clients expect their status in headers of a 200.
    pub grpc: bool,
}

/// Answers a request that was stopped.
pub fn stopped(stop: Stop, passage: &Passage, to: To) -> Response<OutBody> {
    match stop {
        Stop::Refusal(refusal) => {
            let status = refusal.status.unwrap_or(refusal.code.status());
            passage.seen().problem = Some((refusal.code, refusal.reason));
            let close = refusal.close && to.http1;
            let mut response = problem(
                refusal.code,
                status,
                refusal.headers,
                &refusal.errors,
                &refusal.members,
                passage,
                to,
            );
            if close {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
        Stop::Fault(fault) => {
            passage.seen().problem = Some((fault.code, fault.reason));
            problem(fault.code, fault.code.status(), fault.headers, &[], &[], passage, to)
        }
        Stop::Answer(answer) => {
            let mut response =
                Response::new(if to.head_only { OutBody::Empty } else { OutBody::from(answer.body) });
            *response.status_mut() =
                StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            *response.headers_mut() = answer.headers;
            ours(response.headers_mut(), passage, to);
            response
        }
    }
}

fn problem(
    code: Code,
    status: u16,
    headers: HeaderMap,
    errors: &[ErrorItem],
    members: &[(&'static str, String)],
    passage: &Passage,
    to: To,
) -> Response<OutBody> {
    if to.grpc {
        return grpc(code, headers, passage, to);
    }
    let graphql = passage.read().graphql.as_ref().map(|seen| seen.media.clone());
    let (body, media) = match graphql {
        Some(media) => (problem_json::graphql(code, passage.id, members), media),
        None => {
            let body = problem_json::write(code, status, passage.id, errors, members);
            (body, HeaderValue::from_static("application/problem+json"))
        }
    };
    let mut response = Response::new(if to.head_only { OutBody::Empty } else { OutBody::from(body) });
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers;
    response.headers_mut().insert(CONTENT_TYPE, media);
    ours(response.headers_mut(), passage, to);
    response
}

/// A refusal as gRPC clients expect it: HTTP 200 with `grpc-status` (wire.md § 13).
fn grpc(code: Code, headers: HeaderMap, passage: &Passage, to: To) -> Response<OutBody> {
    let status = match code.status() {
        401 => "16",
        403 | 404 => "7",
        429 | 413 | 431 => "8",
        _ => "14",
    };
    let mut response = Response::new(OutBody::Empty);
    *response.headers_mut() = headers;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert("grpc-status", HeaderValue::from_static(status));
    fields.insert("grpc-message", HeaderValue::from_static(code.disclosed().text()));
    ours(fields, passage, to);
    response
}

fn ours(headers: &mut HeaderMap, passage: &Passage, to: To) {
    let policy = passage.matched().map(|(api, _)| &api.headers);
    release_headers::of_our_own(headers, policy.map(|p| &p.response), to.scheme, passage.id);
    if let Some(browsers) = policy.and_then(|p| p.browsers.as_ref())
        && !headers.contains_key(http::header::ACCESS_CONTROL_MAX_AGE)
    {
        cors::decorate(headers, browsers, passage.read().origin.clone());
    }
    limits(headers, passage);
}

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// The fields of limits.md § 4, on every answer of a limited operation, and those of a deprecated key.
pub fn limits(headers: &mut HeaderMap, passage: &Passage) {
    let seen = passage.read();
    for (name, value) in &seen.lifecycle_headers {
        headers.append(name.clone(), value.clone());
    }
    if let Some(nonce) = &seen.dpop_nonce {
        headers.insert("dpop-nonce", nonce.clone());
    }
    if seen.decisions.is_empty() {
        return;
    }
    let shown =
        || rate::shown(&seen.decisions, seen.caller.as_ref().is_some_and(|c| c.kind != Kind::Anonymous));
    let Some(legacy) = rate::legacy(shown()) else { return };
    headers.insert(LIMIT, HeaderValue::from(legacy.limit));
    headers.insert(REMAINING, HeaderValue::from(legacy.remaining));
    headers.insert(RESET, HeaderValue::from(legacy.reset_secs));
    let mut text = String::with_capacity(96);
    if rate::policy(&mut text, shown())
        && let Ok(value) = HeaderValue::try_from(&*text)
    {
        headers.insert(POLICY, value);
    }
    text.clear();
    if rate::state(&mut text, shown())
        && let Ok(value) = HeaderValue::try_from(text)
    {
        headers.insert(STATE, value);
    }
}
