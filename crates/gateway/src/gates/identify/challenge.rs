//! `WWW-Authenticate` (RFC 9110 § 11.6.1, RFC 6750 § 3, RFC 9449 § 7.1): one line per scheme; fixed sentences only.

use crate::gates::metadata;
use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use portcullis_core::head::Head;
use portcullis_core::problem::Code;
use portcullis_core::verdict::Refusal;
use portcullis_plan::access::{Access, Kinds};
use portcullis_plan::api::Api;
use std::fmt::Write as _;

/// What an RFC 9421 client must cover (callers.md § 9).
pub(super) const ACCEPT_SIGNATURE: HeaderValue = HeaderValue::from_static(
    "sig1=(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\" \"content-type\");created;nonce;keyid;alg=\"hmac-sha256\";tag=\"portcullis-v1\"",
);

/// Adds the challenges of an operation to a 401.
pub(crate) fn add(refusal: &mut Refusal, head: &Head, api: &Api, access: &Access) {
    let kinds = match access {
        Access::AnyOf(alternatives) => alternatives.iter().fold(Kinds::NONE, |all, a| all.with(a.kinds)),
        Access::Anonymous { .. } => Kinds::TOKEN.with(Kinds::API_KEY).with(Kinds::SIGNATURE),
    };
    if kinds.contains(Kinds::TOKEN) && api.authenticate.takes_tokens() {
        let code = refusal.code;
        push(refusal, bearer(head, api, bearer_error(code), code, None));
        push(refusal, dpop(&api.name, code));
    }
    if kinds.contains(Kinds::API_KEY) && api.authenticate.api_key.is_some() {
        push(refusal, format!("ApiKey realm=\"{}\"", api.name));
    }
    if kinds.contains(Kinds::SIGNATURE) && api.authenticate.signature.is_some() {
        refusal.headers.insert("accept-signature", ACCEPT_SIGNATURE);
    }
}

/// The challenge of a missing scope (RFC 6750 § 3.1).
pub(crate) fn insufficient_scope(refusal: &mut Refusal, head: &Head, api: &Api, scopes: &[&str]) {
    if api.authenticate.takes_tokens() {
        let text = bearer(head, api, Some("insufficient_scope"), refusal.code, Some(&scopes.join(" ")));
        push(refusal, text);
    }
}

fn bearer_error(code: Code) -> Option<&'static str> {
    matches!(code, Code::TokenInvalid | Code::TokenExpired).then_some("invalid_token")
}

fn bearer(head: &Head, api: &Api, error: Option<&str>, code: Code, scope: Option<&str>) -> String {
    let mut out = format!("Bearer realm=\"{}\"", api.name);
    if let Some(error) = error {
        let _ = write!(out, ", error=\"{error}\", error_description=\"{}\"", code.title());
    }
    if let Some(scope) = scope {
        let _ = write!(out, ", scope=\"{scope}\"");
    }
    let _ = write!(out, ", resource_metadata=\"{}\"", metadata::url(head, api));
    out
}

fn dpop(realm: &str, code: Code) -> String {
    let mut out = format!("DPoP realm=\"{realm}\", algs=\"{}\"", metadata::DPOP_ALGORITHMS.join(" "));
    let error = match code {
        Code::DpopProofInvalid => "invalid_dpop_proof",
        Code::DpopNonceRequired => "use_dpop_nonce",
        _ => return out,
    };
    let _ = write!(out, ", error=\"{error}\", error_description=\"{}\"", code.title());
    out
}

fn push(refusal: &mut Refusal, challenge: String) {
    if let Ok(value) = HeaderValue::try_from(challenge) {
        refusal.headers.append(WWW_AUTHENTICATE, value);
    }
}
