//! Security requirements and schemes, as the document states them.

use super::keys::Kind;
use super::reader::Reader;
use crate::document::{Node, Span};

/// The `security` of an operation: its own, or that of the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// Where it stands; `None` when neither the operation nor the document says anything.
    pub at: Option<Span>,
    /// Each is enough. An empty list says that the operation needs nothing, and so does an empty alternative.
    pub alternatives: Vec<Alternative>,
}

/// Schemes that must all be satisfied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alternative {
    /// Where it stands.
    pub at: Span,
    /// All of them; none means anonymous.
    pub requirements: Vec<Requirement>,
}

/// One scheme with its scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Name of the scheme.
    pub scheme: Box<str>,
    /// Scopes (or roles), all of them required.
    pub scopes: Vec<Box<str>>,
    /// Where it stands.
    pub at: Span,
}

/// A security scheme of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityScheme {
    /// Its name in `components.securitySchemes`.
    pub name: Box<str>,
    /// What it is.
    pub kind: SchemeKind,
    /// Where it stands.
    pub at: Span,
}

/// Kinds of security schemes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemeKind {
    /// `type: http`, with the scheme in lower case.
    Http {
        /// `bearer`, `basic`, …
        scheme: Box<str>,
    },
    /// `type: apiKey`.
    ApiKey {
        /// `header`, `query` or `cookie`.
        place: Box<str>,
        /// Name of the header, parameter or cookie.
        name: Box<str>,
    },
    /// `type: oauth2`; the scopes that its flows name.
    OAuth2 {
        /// Every scope of every flow.
        scopes: Vec<Box<str>>,
    },
    /// `type: openIdConnect`.
    OpenIdConnect {
        /// Where its discovery document is.
        url: Box<str>,
    },
    /// `type: mutualTLS`.
    MutualTls,
}

/// Reads `components.securitySchemes`.
pub(crate) fn schemes<'d>(reader: &mut Reader<'d>, components: Option<&'d Node>) -> Vec<SecurityScheme> {
    let mut schemes = Vec::new();
    let Some(components) = components else { return schemes };
    for (key, node) in reader.members(components, "securitySchemes") {
        if let Some(node) = reader.object(node, Kind::SecurityScheme)
            && let Some(kind) = scheme(reader, node)
        {
            schemes.push(SecurityScheme { name: key.text.clone(), kind, at: key.at });
        }
    }
    schemes
}

fn scheme<'d>(reader: &mut Reader<'d>, node: &'d Node) -> Option<SchemeKind> {
    match reader.text(node, "type") {
        Some("http") => {
            let scheme = reader.text(node, "scheme").unwrap_or("").to_ascii_lowercase();
            if scheme.is_empty() {
                reader.error(
                    "security-invalid",
                    node.at,
                    "a security scheme of `type: http` says which `scheme`",
                );
                return None;
            }
            Some(SchemeKind::Http { scheme: scheme.into() })
        }
        Some("apiKey") => {
            let place = reader.text(node, "in").unwrap_or("");
            let name = reader.text(node, "name").unwrap_or("");
            if !matches!(place, "header" | "query" | "cookie") || name.is_empty() {
                let message =
                    "a security scheme of `type: apiKey` has a `name`, and `in: header`, `query` or `cookie`";
                reader.error("security-invalid", node.at, message);
                return None;
            }
            Some(SchemeKind::ApiKey { place: place.into(), name: name.into() })
        }
        Some("oauth2") => {
            let mut scopes: Vec<Box<str>> = Vec::new();
            if let Some(flows) = node.get("flows")
                && let Some(flows) = reader.object(flows, Kind::OAuthFlows)
            {
                for (key, flow) in flows.as_object().unwrap_or_default() {
                    if key.text.starts_with("x-") {
                        continue;
                    }
                    let Some(flow) = reader.object(flow, Kind::OAuthFlow) else { continue };
                    for (scope, _) in reader.members(flow, "scopes") {
                        if !scopes.contains(&scope.text) {
                            scopes.push(scope.text.clone());
                        }
                    }
                }
            }
            Some(SchemeKind::OAuth2 { scopes })
        }
        Some("openIdConnect") => {
            let url = reader.text(node, "openIdConnectUrl").unwrap_or("");
            Some(SchemeKind::OpenIdConnect { url: url.into() })
        }
        Some("mutualTLS") => Some(SchemeKind::MutualTls),
        other => {
            let at = node.get("type").map_or(node.at, |value| value.at);
            let message = match other {
                Some(other) => format!("`{other}` is no type of security scheme"),
                None => "a security scheme has a `type`".to_owned(),
            };
            reader.error("security-invalid", at, message);
            None
        }
    }
}

/// Reads the `security` of `node` (the document or an operation); `None` when it has none.
pub(crate) fn security<'d>(
    reader: &mut Reader<'d>,
    node: &'d Node,
    schemes: &[SecurityScheme],
    declared: &dyn Fn(&str) -> bool,
) -> Option<Security> {
    let (key, _) = node.entry("security")?;
    let mut alternatives = Vec::new();
    for alternative in reader.items(node, "security") {
        let Some(members) = alternative.as_object() else {
            let message = format!("a security requirement is an object; this is {}", alternative.kind());
            reader.error("security-invalid", alternative.at, message);
            continue;
        };
        let mut requirements = Vec::new();
        for (name, scopes) in members {
            if !schemes.iter().any(|scheme| scheme.name == name.text) && !declared(&name.text) {
                let message = format!("there is no security scheme `{}`", name.text);
                reader.error("security-invalid", name.at, message);
            }
            let mut list = Vec::new();
            for scope in scopes.as_array().unwrap_or_default() {
                match scope.as_str() {
                    Some(scope) => list.push(scope.into()),
                    None => reader.error("security-invalid", scope.at, "a scope is text"),
                }
            }
            if scopes.as_array().is_none() {
                reader.error("security-invalid", scopes.at, "the scopes of a requirement are an array");
            }
            requirements.push(Requirement { scheme: name.text.clone(), scopes: list, at: name.at });
        }
        alternatives.push(Alternative { at: alternative.at, requirements });
    }
    Some(Security { at: Some(key.at), alternatives })
}
