//! OAuth 2.0 Protected Resource Metadata (RFC 9728): which tokens an API takes, told by the gateway itself. The only
//! paths that no document declares.

use crate::passage::Passage;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use portcullis_core::head::{Head, Method};
use portcullis_core::trail::Gate;
use portcullis_core::verdict::Answer;
use portcullis_plan::Plan;
use portcullis_plan::access::Access;
use portcullis_plan::api::Api;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Signatures of proofs that are taken (`jose::alg::Algorithms::PROOF`).
pub(super) const DPOP_ALGORITHMS: [&str; 4] = ["ES256", "EdDSA", "PS256", "RS256"];

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Where an API's metadata is: beside the API, on the host that was asked (RFC 9728 § 3.1).
pub(super) fn url(head: &Head, api: &Api) -> String {
    format!("{}{WELL_KNOWN}{}", origin(head), api.contract.base_path())
}

/// The metadata, if that is what is asked for. `apis` are those on this host.
pub(super) fn answer<'p>(
    head: &Head,
    mut apis: impl Iterator<Item = &'p Api>,
    passage: &Passage,
) -> Option<Answer> {
    if !matches!(head.method(), Method::Get | Method::Head) {
        return None;
    }
    let path = head.path().to_string();
    let base = path.strip_prefix(WELL_KNOWN)?;
    let api = apis.find(|api| api.contract.base_path() == base && api.authenticate.takes_tokens())?;
    passage.note(Gate::Route, "protected resource metadata", Some(api.at));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    let body = document(&origin(head), api, &passage.plan).into_bytes();
    Some(Answer { status: 200, headers, body, reason: "protected-resource-metadata" })
}

fn origin(head: &Head) -> String {
    format!("{}://{}", head.scheme().text(), head.authority())
}

/// Only what is true for this API.
fn document(origin: &str, api: &Api, plan: &Plan) -> String {
    let jwt = api.authenticate.jwt.iter().filter_map(|jwt| plan.issuers.get(jwt.issuer)).map(|i| &*i.url);
    let opaque =
        api.authenticate.opaque.iter().filter_map(|opaque| plan.issuers.get(opaque.issuer)).map(|i| &*i.url);
    let servers: BTreeSet<&str> = jwt.chain(opaque).collect();
    let mut scopes: BTreeSet<&str> = BTreeSet::new();
    for operation in &api.operations {
        if let Access::AnyOf(alternatives) = &operation.access {
            scopes.extend(alternatives.iter().flat_map(|a| &a.scopes).map(|s| &**s));
            scopes.extend(operation.scopes.iter().map(|s| &**s));
        }
    }
    // Tokens are bound to certificates where some listener for APIs asks for them.
    let certificates = plan.listeners.iter().any(|l| {
        l.serve.contains(&portcullis_plan::listen::Serve::Apis)
            && l.tls.as_ref().is_some_and(|t| t.clients.is_some())
    });
    let mut out = String::with_capacity(512);
    out.push_str("{\"resource\":");
    text(&mut out, &format!("{origin}{}", api.contract.base_path()));
    list(&mut out, "authorization_servers", servers);
    if !scopes.is_empty() {
        list(&mut out, "scopes_supported", scopes);
    }
    list(&mut out, "bearer_methods_supported", ["header"]);
    list(&mut out, "dpop_signing_alg_values_supported", DPOP_ALGORITHMS);
    let _ = write!(out, ",\"tls_client_certificate_bound_access_tokens\":{certificates}}}");
    out
}

fn list<'t>(out: &mut String, name: &str, values: impl IntoIterator<Item = &'t str>) {
    let _ = write!(out, ",\"{name}\":[");
    for (at, value) in values.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        text(out, value);
    }
    out.push(']');
}

/// A JSON string (RFC 8259 § 7).
fn text(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_algorithms_are_those_that_proofs_may_use() {
        let told: BTreeSet<&str> = DPOP_ALGORITHMS.into_iter().collect();
        let taken: BTreeSet<&str> =
            portcullis_jose::alg::Algorithms::PROOF.iter().map(|a| a.name()).collect();
        assert_eq!(told, taken);
    }

    #[test]
    fn strings_are_json() {
        let mut out = String::new();
        text(&mut out, "a\"b\\c\u{1}é");
        assert_eq!(out, "\"a\\\"b\\\\c\\u0001é\"");
    }
}
