//! The closed lists of keys: what may stand in each object of an OpenAPI document, and who reads it.
//!
//! Schemas have their own list with the schema compiler.

use portcullis_core::finding::{Finding, edit_distance};

use crate::document::{Key, Node, Version};

/// An object of the OpenAPI specification with fixed keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Root,
    Info,
    Contact,
    License,
    Server,
    ServerVariable,
    Components,
    PathItem,
    Operation,
    ExternalDocs,
    Parameter,
    Header,
    RequestBody,
    MediaType,
    Encoding,
    Response,
    Example,
    Link,
    Tag,
    SecurityScheme,
    OAuthFlows,
    OAuthFlow,
    Discriminator,
    Xml,
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Compiled into what is checked.
    Enforced,
    /// Without effect on purpose.
    Annotation,
    /// Understood by nobody: there is a finding about it.
    Finding,
}

use Class::{Annotation as A, Enforced as E};

type Keys = &'static [(&'static str, Class)];

impl Kind {
    /// Keys of both versions.
    fn keys(self) -> Keys {
        match self {
            Self::Root => &[
                ("openapi", E),
                ("info", A),
                ("servers", E),
                ("paths", E),
                ("components", E),
                ("security", E),
                ("tags", A),
                ("externalDocs", A),
            ],
            Self::Info => &[
                ("title", A),
                ("description", A),
                ("termsOfService", A),
                ("contact", A),
                ("license", A),
                ("version", A),
            ],
            Self::Contact => &[("name", A), ("url", A), ("email", A)],
            Self::License => &[("name", A), ("url", A)],
            Self::Server => &[("url", E), ("description", A), ("variables", E)],
            Self::ServerVariable => &[("enum", A), ("default", E), ("description", A)],
            Self::Components => &[
                ("schemas", E),
                ("responses", E),
                ("parameters", E),
                ("examples", A),
                ("requestBodies", E),
                ("headers", E),
                ("securitySchemes", E),
                ("links", A),
                ("callbacks", A),
            ],
            Self::PathItem => &[
                ("$ref", E),
                ("summary", A),
                ("description", A),
                ("get", E),
                ("put", E),
                ("post", E),
                ("delete", E),
                ("options", E),
                ("head", E),
                ("patch", E),
                ("trace", E),
                ("servers", E),
                ("parameters", E),
            ],
            Self::Operation => &[
                ("tags", A),
                ("summary", A),
                ("description", A),
                ("externalDocs", A),
                ("operationId", E),
                ("parameters", E),
                ("requestBody", E),
                ("responses", E),
                ("callbacks", A),
                ("deprecated", A),
                ("security", E),
                ("servers", E),
            ],
            Self::ExternalDocs => &[("description", A), ("url", A)],
            Self::Parameter => &[
                ("name", E),
                ("in", E),
                ("description", A),
                ("required", E),
                ("deprecated", A),
                ("allowEmptyValue", E),
                ("style", E),
                ("explode", E),
                ("allowReserved", E),
                ("schema", E),
                ("example", A),
                ("examples", A),
                ("content", E),
            ],
            Self::Header => &[
                ("description", A),
                ("required", E),
                ("deprecated", A),
                ("allowEmptyValue", A),
                ("style", E),
                ("explode", E),
                ("allowReserved", A),
                ("schema", E),
                ("example", A),
                ("examples", A),
                ("content", E),
            ],
            Self::RequestBody => &[("description", A), ("content", E), ("required", E)],
            Self::MediaType => &[("schema", E), ("example", A), ("examples", A), ("encoding", E)],
            Self::Encoding => {
                &[("contentType", E), ("headers", E), ("style", E), ("explode", E), ("allowReserved", E)]
            }
            Self::Response => &[("description", A), ("headers", E), ("content", E), ("links", A)],
            Self::Example => &[("summary", A), ("description", A), ("value", A), ("externalValue", A)],
            Self::Link => &[
                ("operationRef", A),
                ("operationId", A),
                ("parameters", A),
                ("requestBody", A),
                ("description", A),
                ("server", A),
            ],
            Self::Tag => &[("name", A), ("description", A), ("externalDocs", A)],
            Self::SecurityScheme => &[
                ("type", E),
                ("description", A),
                ("name", E),
                ("in", E),
                ("scheme", E),
                ("bearerFormat", A),
                ("flows", E),
                ("openIdConnectUrl", E),
            ],
            Self::OAuthFlows => {
                &[("implicit", A), ("password", A), ("clientCredentials", A), ("authorizationCode", A)]
            }
            Self::OAuthFlow => &[("authorizationUrl", A), ("tokenUrl", A), ("refreshUrl", A), ("scopes", E)],
            Self::Discriminator => &[("propertyName", E), ("mapping", E)],
            Self::Xml => &[("name", A), ("namespace", A), ("prefix", A), ("attribute", A), ("wrapped", A)],
        }
    }

    /// Keys that 3.1 adds.
    fn keys_31(self) -> Keys {
        match self {
            Self::Root => &[("webhooks", A), ("jsonSchemaDialect", E)],
            Self::Info => &[("summary", A)],
            Self::License => &[("identifier", A)],
            Self::Components => &[("pathItems", E)],
            _ => &[],
        }
    }

    /// The name that the specification gives it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "the OpenAPI object",
            Self::Info => "an Info object",
            Self::Contact => "a Contact object",
            Self::License => "a License object",
            Self::Server => "a Server object",
            Self::ServerVariable => "a Server Variable object",
            Self::Components => "the Components object",
            Self::PathItem => "a Path Item object",
            Self::Operation => "an Operation object",
            Self::ExternalDocs => "an External Documentation object",
            Self::Parameter => "a Parameter object",
            Self::Header => "a Header object",
            Self::RequestBody => "a Request Body object",
            Self::MediaType => "a Media Type object",
            Self::Encoding => "an Encoding object",
            Self::Response => "a Response object",
            Self::Example => "an Example object",
            Self::Link => "a Link object",
            Self::Tag => "a Tag object",
            Self::SecurityScheme => "a Security Scheme object",
            Self::OAuthFlows => "an OAuth Flows object",
            Self::OAuthFlow => "an OAuth Flow object",
            Self::Discriminator => "a Discriminator object",
            Self::Xml => "an XML object",
        }
    }

    /// Where `x-portcullis` has a meaning.
    fn extensible(self) -> bool {
        matches!(self, Self::Root | Self::PathItem | Self::Operation | Self::Parameter)
    }

    /// What becomes of `key` here.
    pub(crate) fn class(self, key: &str, version: Version) -> Class {
        if key == "x-portcullis" {
            return if self.extensible() { E } else { Class::Finding };
        }
        if key.starts_with("x-") {
            return A;
        }
        let mut known = self.known(version);
        known.find(|(name, _)| *name == key).map_or(Class::Finding, |(_, class)| class)
    }

    fn known(self, version: Version) -> impl Iterator<Item = (&'static str, Class)> {
        let more = if version == Version::V31 { self.keys_31() } else { &[] };
        self.keys().iter().chain(more).copied()
    }

    #[cfg(test)]
    pub(crate) const ALL: [Self; 24] = [
        Self::Root,
        Self::Info,
        Self::Contact,
        Self::License,
        Self::Server,
        Self::ServerVariable,
        Self::Components,
        Self::PathItem,
        Self::Operation,
        Self::ExternalDocs,
        Self::Parameter,
        Self::Header,
        Self::RequestBody,
        Self::MediaType,
        Self::Encoding,
        Self::Response,
        Self::Example,
        Self::Link,
        Self::Tag,
        Self::SecurityScheme,
        Self::OAuthFlows,
        Self::OAuthFlow,
        Self::Discriminator,
        Self::Xml,
    ];
}

/// Constructs that only OpenAPI 3.2 has: to ignore one would be to let through what it forbids, or the reverse.
const ONLY_32: [(Kind, &str); 4] = [
    (Kind::PathItem, "query"),
    (Kind::PathItem, "additionalOperations"),
    (Kind::MediaType, "itemSchema"),
    (Kind::MediaType, "itemEncoding"),
];

/// Reports every key of `node` that nobody reads. What is not an object is reported by who reads it.
pub(crate) fn check(node: &Node, kind: Kind, version: Version, findings: &mut Vec<Finding>) {
    for (key, _) in node.as_object().unwrap_or_default() {
        if kind.class(&key.text, version) == Class::Finding {
            findings.push(finding(key, kind, version, false));
        }
    }
}

/// What is said about a key that nobody reads. Where nothing around it has an effect it is no constraint that went
/// astray.
pub(crate) fn finding(key: &Key, kind: Kind, version: Version, idle: bool) -> Finding {
    let text = &*key.text;
    if text == "x-portcullis" {
        let message = format!("`x-portcullis` has no meaning in {}", kind.name());
        return Finding::error("extension-unknown", key.at, message)
            .help("it stands at the root, in path items, operations, parameters and schemas");
    }
    if !idle {
        if ONLY_32.contains(&(kind, text)) {
            let message = format!("`{text}` is OpenAPI 3.2, which is not understood yet");
            return Finding::error("keyword-suspect", key.at, message);
        }
        if let Some(meant) = suspect(text, kind, version) {
            let message = format!("`{text}` is no key of {}", kind.name());
            return Finding::error("keyword-suspect", key.at, message)
                .help(format!("did you mean `{meant}`?"));
        }
    }
    let message = format!("`{text}` is no key of {}; nobody reads it", kind.name());
    Finding::warning("key-unknown", key.at, message)
}

/// An enforced key that `text` may be a slip of: within two edits, one for short words.
fn suspect(text: &str, kind: Kind, version: Version) -> Option<&'static str> {
    let limit = match text.len() {
        0..=2 => return None,
        3..=4 => 1,
        _ => 2,
    };
    kind.known(version)
        .filter(|(name, class)| *class == E && name.len() > 2)
        .map(|(name, _)| (edit_distance(text, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Bounds, parse};

    fn findings(kind: Kind, version: Version, text: &str) -> Vec<Finding> {
        let node = parse(0, "a.yaml", text.as_bytes(), &Bounds::default()).unwrap();
        let mut findings = Vec::new();
        check(&node, kind, version, &mut findings);
        findings
    }

    #[test]
    fn an_unknown_key_in_every_kind_is_a_finding() {
        for kind in Kind::ALL {
            for version in [Version::V30, Version::V31] {
                let found = findings(kind, version, "sproing: 1\nx-mine: 2\n");
                assert_eq!(found.len(), 1, "{kind:?}");
                assert_eq!(found[0].code, "key-unknown");
            }
            let found = findings(kind, Version::V30, "x-portcullis: {}\n");
            assert_eq!(found.is_empty(), kind.extensible(), "{kind:?}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_an_error() {
        for (kind, text, meant) in [
            (Kind::Operation, "parametrs: []", "parameters"),
            (Kind::Operation, "securty: []", "security"),
            (Kind::Operation, "requestbody: {}", "requestBody"),
            (Kind::Parameter, "requried: true", "required"),
            (Kind::Parameter, "shcema: {}", "schema"),
            (Kind::PathItem, "gte: {}", "get"),
            (Kind::RequestBody, "contents: {}", "content"),
        ] {
            let found = findings(kind, Version::V30, text);
            assert_eq!(found[0].code, "keyword-suspect", "{text}");
            assert!(found[0].help.as_ref().unwrap().contains(meant), "{text}");
        }
        assert_eq!(findings(Kind::PathItem, Version::V31, "query: {}")[0].code, "keyword-suspect");
        assert_eq!(findings(Kind::Root, Version::V30, "webhooks: {}")[0].code, "key-unknown");
        assert!(findings(Kind::Root, Version::V31, "webhooks: {}").is_empty());
    }
}
