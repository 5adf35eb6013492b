//! `WWW-Authenticate` (RFC 9110 § 11.6.1, RFC 6750 § 3): one line per scheme; fixed sentences only.

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use portcullis_core::problem::Code;
use portcullis_core::verdict::Refusal;
use portcullis_plan::access::{Access, Kinds};
use portcullis_plan::api::Api;
use std::fmt::Write as _;

/// What an RFC 9421 client must cover (callers.md § 9).
pub(super) const ACCEPT_SIGNATURE: HeaderValue = HeaderValue::from_static(
    "sig1=(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\" \"content-type\");created;nonce;keyid;alg=\"hmac-sha256\";tag=\"portcullis-v1\"",
);

/// Adds the challenges of an operation to a 401 (or to the 403 for a missing scope).
pub(crate) fn add(refusal: &mut Refusal, api: &Api, access: &Access) {
    let kinds = match access {
        Access::AnyOf(alternatives) => alternatives.iter().fold(Kinds::NONE, |all, a| all.with(a.kinds)),
        Access::Anonymous { .. } => Kinds::TOKEN.with(Kinds::API_KEY),
    };
    let token = kinds.contains(Kinds::TOKEN)
        && !(api.authenticate.jwt.is_empty() && api.authenticate.opaque.is_none());
    let error = match refusal.code {
        Code::TokenInvalid | Code::TokenExpired => Some("invalid_token"),
        _ => None,
    };
    if token {
        push(refusal, bearer(&api.name, error, refusal.code, None));
    }
    if kinds.contains(Kinds::API_KEY) && api.authenticate.api_key.is_some() {
        push(refusal, format!("ApiKey realm=\"{}\"", api.name));
    }
    if kinds.contains(Kinds::SIGNATURE) && api.authenticate.signature.is_some() {
        refusal.headers.insert("accept-signature", ACCEPT_SIGNATURE);
    }
}

/// The challenge of a missing scope (RFC 6750 § 3.1).
pub(crate) fn insufficient_scope(refusal: &mut Refusal, api: &Api, scopes: &[&str]) {
    push(refusal, bearer(&api.name, Some("insufficient_scope"), refusal.code, Some(&scopes.join(" "))));
}

fn bearer(realm: &str, error: Option<&str>, code: Code, scope: Option<&str>) -> String {
    let mut out = format!("Bearer realm=\"{realm}\"");
    if let Some(error) = error {
        let _ = write!(out, ", error=\"{error}\", error_description=\"{}\"", code.title());
    }
    if let Some(scope) = scope {
        let _ = write!(out, ", scope=\"{scope}\"");
    }
    out
}

fn push(refusal: &mut Refusal, challenge: String) {
    if let Ok(value) = HeaderValue::try_from(challenge) {
        refusal.headers.append(WWW_AUTHENTICATE, value);
    }
}
