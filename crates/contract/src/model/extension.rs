//! `x-portcullis` as far as it is about the contract, and the rules of its neighbours that are bound to parameters.

use super::reader::Reader;
use super::terms::{Errors, Mode, ReadOnly, TextRule, Unknown};
use crate::document::{Finding, Node, Span};
use crate::violation::In;

/// `x-portcullis` of an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extension {
    /// `authorize.scope`: all required, in addition to `security`.
    pub scopes: Vec<(Box<str>, Span)>,
    /// `authorize.bind`: all must hold.
    pub binds: Vec<BindRule>,
    /// `limits.cost`: what one call costs; 1 when nothing is said.
    pub cost: u32,
    /// `limits.sensitive`: the endpoint layer applies.
    pub sensitive: bool,
    /// Where `limits` stands.
    pub limits_at: Option<Span>,
}

/// A value of the request must equal a value of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindRule {
    /// The value of the request; absent is never equal.
    pub from: Source,
    /// JSON pointer into the claims of the caller.
    pub claim: Box<str>,
    /// Where the rule stands.
    pub at: Span,
}

/// A value of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A declared parameter.
    Parameter {
        /// Which part of the request.
        location: In,
        /// Its name.
        name: Box<str>,
    },
    /// A place in the body, by JSON pointer; `*` is every element.
    Body {
        /// RFC 6901.
        pointer: Box<str>,
    },
}

/// `request` and `response` as they are written at one level.
#[derive(Clone, Debug, Default)]
pub(crate) struct Level {
    pub(crate) max_bytes: Option<(u64, Span)>,
    pub(crate) max_depth: Option<(u32, Span)>,
    pub(crate) max_values: Option<(u32, Span)>,
    pub(crate) unknown: Option<(Unknown, Span)>,
    pub(crate) read_only: Option<(ReadOnly, Span)>,
    pub(crate) text: Option<(TextRule, Span)>,
    pub(crate) require_length: Option<(bool, Span)>,
    pub(crate) patch_of: Option<(Box<str>, Span)>,
    pub(crate) response_unknown: Option<(Unknown, Span)>,
    pub(crate) errors: Option<(Errors, Span)>,
    pub(crate) mode: Option<(Mode, Span)>,
    pub(crate) response_bytes: Option<(u64, Span)>,
}

/// `x-portcullis` of a parameter.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParameterExtension {
    pub(crate) url: Option<Box<str>>,
    pub(crate) text: Option<(TextRule, Span)>,
    pub(crate) max_length: Option<(usize, Span)>,
    pub(crate) maximum: Option<(i64, Span)>,
}

/// Who the caller is, as `principal` at the root says.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    id: Box<str>,
    tenant: Option<Box<str>>,
    attributes: Vec<(Box<str>, Box<str>)>,
}

impl Default for Principal {
    fn default() -> Self {
        Self { id: "/sub".into(), tenant: None, attributes: Vec::new() }
    }
}

/// What is known at each level but not read by this version: a constraint that is not enforced is never ignored.
const LATER_ROOT: [&str; 6] = ["graphql", "resources", "lifecycle", "signin", "encrypt", "limits"];
const LATER_OPERATION: [&str; 2] = ["lifecycle", "encrypt"];
const LATER_RULE: [&str; 29] = [
    "roles",
    "action",
    "need",
    "of",
    "id",
    "all",
    "any",
    "max",
    "equals",
    "verify",
    "fresh",
    "when",
    "context",
    "force_query",
    "force_body",
    "each",
    "at",
    "on_foreign",
    "counts",
    "scoped",
    "cursor",
    "creates",
    "owner",
    "relate",
    "at_status",
    "deletes",
    "transfers",
    "ask",
    "any_of",
];

fn later(reader: &mut Reader<'_>, node: &Node, keys: &[&str]) {
    for (key, _) in node.as_object().unwrap_or_default() {
        if keys.contains(&&*key.text) {
            let message =
                format!("`{}` is not enforced by this version, so it is not accepted either", key.text);
            reader.error("extension-unsupported", key.at, message);
        }
    }
}

/// Reads `x-portcullis` at the root.
pub(crate) fn root<'d>(reader: &mut Reader<'d>, document: &'d Node) -> (Level, Principal) {
    let mut principal = Principal::default();
    let Some(node) = document.get("x-portcullis") else { return (Level::default(), principal) };
    let mut known = vec!["request", "response", "principal"];
    known.extend(LATER_ROOT);
    reader.strict(node, &known, "`x-portcullis` at the root");
    later(reader, node, &LATER_ROOT);
    if let Some(node) = node.get("principal") {
        let known = ["id", "type", "subject", "tenant", "roles", "attributes", "also"];
        reader.strict(node, &known, "`principal`");
        later(reader, node, &["type", "subject", "roles", "also"]);
        if let Some(value) = node.get("id")
            && let Some(claim) = claim_of(reader, value)
        {
            principal.id = claim;
        }
        if let Some(value) = node.get("tenant") {
            principal.tenant = claim_of(reader, value);
        }
        for (key, value) in reader.members(node, "attributes") {
            if let Some(claim) = claim_of(reader, value) {
                principal.attributes.push((key.text.clone(), claim));
            }
        }
    }
    (level(reader, node), principal)
}

/// `token.NAME` as a pointer into the claims.
fn claim_of(reader: &mut Reader<'_>, value: &Node) -> Option<Box<str>> {
    let claim = value.as_str().and_then(token_claim);
    if claim.is_none() {
        let message = format!(
            "expected `token.NAME`, found {}",
            if value.as_str().is_some() { "other text" } else { value.kind() }
        );
        reader.error("extension-invalid", value.at, message);
    }
    claim
}

fn token_claim(text: &str) -> Option<Box<str>> {
    let name = text.strip_prefix("token.").filter(|name| !name.is_empty())?;
    Some(format!("/{}", crate::document::node::escape(name)).into())
}

/// Reads `x-portcullis` of a path item.
pub(crate) fn path_item<'d>(reader: &mut Reader<'d>, item: &'d Node) -> Level {
    let Some(node) = item.get("x-portcullis") else { return Level::default() };
    reader.strict(node, &["request", "response"], "`x-portcullis` of a path item");
    level(reader, node)
}

/// Reads `x-portcullis` of an operation.
pub(crate) fn operation<'d>(
    reader: &mut Reader<'d>,
    operation: &'d Node,
    principal: &Principal,
) -> (Level, Extension) {
    let mut extension = Extension { cost: 1, ..Extension::default() };
    let Some(node) = operation.get("x-portcullis") else { return (Level::default(), extension) };
    let mut known = vec!["request", "response", "authorize", "limits"];
    known.extend(LATER_OPERATION);
    reader.strict(node, &known, "`x-portcullis` of an operation");
    later(reader, node, &LATER_OPERATION);
    if let Some(rule) = node.get("authorize") {
        // A list of rules means all of them.
        match rule.as_array() {
            Some(rules) => rules.iter().for_each(|rule| authorize(reader, rule, principal, &mut extension)),
            None => authorize(reader, rule, principal, &mut extension),
        }
    }
    if let Some((key, limits)) = node.entry("limits") {
        reader.strict(limits, &["cost", "sensitive"], "`limits`");
        extension.limits_at = Some(key.at);
        if let Some(cost) = limits.get("cost") {
            match cost.as_u64().and_then(|cost| u32::try_from(cost).ok()).filter(|cost| *cost > 0) {
                Some(cost) => extension.cost = cost,
                None => reader.error("extension-invalid", cost.at, "`cost` is a whole number from 1"),
            }
        }
        extension.sensitive = reader.flag(limits, "sensitive").unwrap_or(false);
    }
    (level(reader, node), extension)
}

fn authorize<'d>(reader: &mut Reader<'d>, rule: &'d Node, principal: &Principal, extension: &mut Extension) {
    let mut known = vec!["scope", "bind"];
    known.extend(LATER_RULE);
    reader.strict(rule, &known, "`authorize`");
    later(reader, rule, &LATER_RULE);
    if let Some(scope) = rule.get("scope") {
        let list = scope.as_array().unwrap_or_else(|| std::slice::from_ref(scope));
        for scope in list {
            match scope.as_str() {
                Some(text) => extension.scopes.push((text.into(), scope.at)),
                None => reader.error("extension-invalid", scope.at, "`scope` is a name, or a list of names"),
            }
        }
    }
    let Some(bind) = rule.get("bind") else { return };
    // `{ SRC: PRINCIPAL }`, or spelled out: `{ claim: POINTER, to: SRC }`.
    if let (Some(claim), Some(to)) = (bind.get("claim"), bind.get("to")) {
        reader.strict(bind, &["claim", "to"], "`bind`");
        let pointer = claim.as_str().filter(|text| text.starts_with('/'));
        if pointer.is_none() {
            reader.error(
                "extension-invalid",
                claim.at,
                "`claim` is a JSON pointer into the claims, such as `/sub`",
            );
        }
        let from = to.as_str().and_then(source);
        if from.is_none() {
            reader.findings.push(bad_source(to.at));
        }
        if let (Some(claim), Some(from)) = (pointer, from) {
            extension.binds.push(BindRule { from, claim: claim.into(), at: bind.at });
        }
        return;
    }
    let Some(members) = bind.as_object().filter(|members| !members.is_empty()) else {
        reader.error(
            "extension-invalid",
            bind.at,
            "`bind` maps values of the request to the caller's: `path.id: principal.id`",
        );
        return;
    };
    for (key, value) in members {
        let from = source(&key.text);
        if from.is_none() {
            reader.findings.push(bad_source(key.at));
        }
        let claim = match value.as_str() {
            Some("principal.id" | "principal") => Some(principal.id.clone()),
            Some("principal.tenant") => {
                if principal.tenant.is_none() {
                    reader.findings.push(
                        Finding::error(
                            "extension-invalid",
                            value.at,
                            "nothing says what the tenant of a caller is",
                        )
                        .help("add  x-portcullis: { principal: { tenant: token.org_id } }  at the root"),
                    );
                }
                principal.tenant.clone()
            }
            Some(text) => {
                let attribute = text.strip_prefix("principal.attributes.").and_then(|name| {
                    principal
                        .attributes
                        .iter()
                        .find(|(known, _)| **known == *name)
                        .map(|(_, claim)| claim.clone())
                });
                let claim = attribute.or_else(|| token_claim(text));
                if claim.is_none() {
                    reader.findings.push(
                        Finding::error("extension-invalid", value.at, format!("`{text}` names nothing of the caller")).help(
                            "`principal.id`, `principal.tenant`, `principal.attributes.NAME` as declared at the root, or `token.NAME`",
                        ),
                    );
                }
                claim
            }
            None => {
                reader.error(
                    "extension-invalid",
                    value.at,
                    format!("expected `principal.id` or the like, found {}", value.kind()),
                );
                None
            }
        };
        if let (Some(from), Some(claim)) = (from, claim) {
            extension.binds.push(BindRule { from, claim, at: key.at });
        }
    }
}

fn bad_source(at: Span) -> Finding {
    Finding::error("extension-invalid", at, "not a value of the request").help(
        "`path.NAME`, `query.NAME`, `header.NAME`, `cookie.NAME` or `body.POINTER`, such as `body./user/id`",
    )
}

/// `SRC` of `authorization.md`, section 2.3, as far as it is known before the answer.
fn source(text: &str) -> Option<Source> {
    let (place, rest) = text.split_once('.')?;
    if rest.is_empty() {
        return None;
    }
    let location = match place {
        "path" => In::Path,
        "query" => In::Query,
        "header" => In::Header,
        "cookie" => In::Cookie,
        "body" => {
            let escapes =
                rest.split('/').skip(1).all(|token| crate::document::node::unescape(token).is_some());
            return (rest.starts_with('/') && escapes).then(|| Source::Body { pointer: rest.into() });
        }
        _ => return None,
    };
    Some(Source::Parameter { location, name: rest.into() })
}

/// Reads `x-portcullis` of a parameter.
pub(crate) fn parameter<'d>(reader: &mut Reader<'d>, parameter: &'d Node) -> ParameterExtension {
    let mut extension = ParameterExtension::default();
    let Some(node) = parameter.get("x-portcullis") else { return extension };
    reader.strict(node, &["text", "url", "max_length", "maximum"], "`x-portcullis` of a parameter");
    if let Some(url) = node.get("url") {
        let built_in = crate::schema::default_policies();
        let known: &[Box<str>] =
            if reader.terms.url_policies.is_empty() { &built_in } else { &reader.terms.url_policies };
        let alone = url.as_object().is_some_and(|members| members.len() == 1);
        let name = url.get("policy").and_then(Node::as_str);
        match name.filter(|name| alone && known.iter().any(|policy| **policy == **name)) {
            Some(name) => extension.url = Some(name.into()),
            None => {
                let message = format!("`url` names a policy for URLs of requests: {}", known.join(", "));
                reader.error("extension-invalid", url.at, message);
            }
        }
    }
    extension.text = text_rule(reader, node);
    if let Some(value) = node.get("max_length") {
        match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(length) => extension.max_length = Some((length, value.at)),
            None => reader.error("extension-invalid", value.at, "`max_length` is a whole number of bytes"),
        }
    }
    if let Some(value) = node.get("maximum") {
        extension.maximum = value.as_i64().map(|maximum| (maximum, value.at));
        if extension.maximum.is_none() {
            reader.error("extension-invalid", value.at, "`maximum` is a whole number");
        }
    }
    extension
}

fn text_rule(reader: &mut Reader<'_>, node: &Node) -> Option<(TextRule, Span)> {
    let value = node.get("text")?;
    let rule = match value.as_str() {
        Some("plain") => TextRule::Plain,
        Some("code") => TextRule::Code,
        Some("none") => TextRule::None,
        Some("html") => {
            reader.error("extension-unsupported", value.at, "`text: html` is not built into this version");
            return None;
        }
        _ => {
            reader.error("extension-invalid", value.at, "`text` is `plain`, `html`, `code` or `none`");
            return None;
        }
    };
    Some((rule, value.at))
}

fn level<'d>(reader: &mut Reader<'d>, node: &'d Node) -> Level {
    let mut level = Level::default();
    if let Some(request) = node.get("request") {
        let known = [
            "max_bytes",
            "max_depth",
            "max_values",
            "unknown",
            "read_only",
            "text",
            "patch_of",
            "require_length",
        ];
        reader.strict(request, &known, "`request`");
        if let Some(value) = request.get("patch_of") {
            match value.as_str().filter(|name| !name.is_empty()) {
                Some(name) => level.patch_of = Some((name.into(), value.at)),
                None => reader.error(
                    "extension-invalid",
                    value.at,
                    "`patch_of` is the name of a schema, or a reference to one",
                ),
            }
        }
        level.max_bytes = size(reader, request, "max_bytes");
        let small = |reader: &mut Reader<'d>, key: &str| {
            let value = request.get(key)?;
            let number = value.as_u64().and_then(|n| u32::try_from(n).ok());
            if number.is_none() {
                reader.error("extension-invalid", value.at, format!("`{key}` is a whole number"));
            }
            number.map(|n| (n, value.at))
        };
        level.max_depth = small(reader, "max_depth");
        level.max_values = small(reader, "max_values");
        level.unknown = unknown(reader, request);
        if let Some(value) = request.get("read_only") {
            level.read_only = match value.as_str() {
                Some("reject") => Some((ReadOnly::Reject, value.at)),
                Some("strip") => Some((ReadOnly::Strip, value.at)),
                _ => {
                    reader.error("extension-invalid", value.at, "`read_only` is `reject` or `strip`");
                    None
                }
            };
        }
        level.text = text_rule(reader, request);
        level.require_length = reader
            .flag(request, "require_length")
            .map(|flag| (flag, request.get("require_length").map_or(request.at, |v| v.at)));
    }
    if let Some(response) = node.get("response") {
        reader.strict(response, &["mode", "unknown", "max_bytes", "errors"], "`response`");
        level.response_unknown = unknown(reader, response);
        if let Some(value) = response.get("errors") {
            level.errors = match value.as_str() {
                Some("none") => Some((Errors::None, value.at)),
                Some("list") => Some((Errors::List, value.at)),
                _ => {
                    reader.error("extension-invalid", value.at, "`errors` is `none` or `list`");
                    None
                }
            };
        }
        level.response_bytes = size(reader, response, "max_bytes");
        if let Some(value) = response.get("mode") {
            level.mode = match value.as_str() {
                Some("enforce") => Some((Mode::Enforce, value.at)),
                Some("filter") => Some((Mode::Filter, value.at)),
                Some("report") => Some((Mode::Report, value.at)),
                _ => {
                    reader.error("extension-invalid", value.at, "`mode` is `enforce`, `filter` or `report`");
                    None
                }
            };
        }
    }
    level
}

fn unknown(reader: &mut Reader<'_>, node: &Node) -> Option<(Unknown, Span)> {
    let value = node.get("unknown")?;
    let word = match value.as_str() {
        Some("reject") => Unknown::Reject,
        Some("strip") => Unknown::Strip,
        Some("allow") => Unknown::Allow,
        _ => {
            reader.error("extension-invalid", value.at, "`unknown` is `reject` or `strip`");
            return None;
        }
    };
    Some((word, value.at))
}

/// A number of bytes, or `10KiB`, `1MiB`.
pub(super) fn size(reader: &mut Reader<'_>, node: &Node, key: &str) -> Option<(u64, Span)> {
    let value = node.get(key)?;
    let bytes = value.as_u64().or_else(|| {
        let text = value.as_str()?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text.get(..digits)?.parse().ok()?;
        let unit = match text.get(digits..)?.trim_start() {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        number.checked_mul(unit)
    });
    if bytes.is_none() {
        reader.error("extension-invalid", value.at, format!("`{key}` is a size such as `64KiB`"));
    }
    bytes.map(|bytes| (bytes, value.at))
}
