//! Every keyword that may stand in a schema, and what becomes of it.

use portcullis_core::finding::{Finding, did_you_mean, edit_distance};

use super::plan::{ARRAY, INTEGER, NUMBER, OBJECT, STRING};
use crate::document::{Key, Node, Version};
use crate::model::Class;
use crate::model::keys::{self, Kind};

/// Keywords of both dialects that are compiled.
const ENFORCED: &[&str] = &[
    "type",
    "format",
    "enum",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "discriminator",
    "readOnly",
    "writeOnly",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "$ref",
];

/// Those of 3.0 alone.
const ENFORCED_30: &[&str] = &["nullable"];

/// Those of 2020-12 alone.
const ENFORCED_31: &[&str] = &[
    "const",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependentRequired",
    "prefixItems",
    "contains",
    "minContains",
    "maxContains",
    "patternProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$id",
    "$anchor",
    "$defs",
    "$schema",
];

/// Without effect on purpose (§ 2.2).
const ANNOTATIONS: &[&str] = &[
    "title",
    "summary",
    "description",
    "externalDocs",
    "example",
    "examples",
    "default",
    "deprecated",
    "xml",
    "tags",
    "$comment",
    "contentSchema",
    "contentEncoding",
    "contentMediaType",
    "$dynamicAnchor",
];

/// Keys of `x-portcullis` in a schema.
const EXTENSION: &[&str] = &["upload", "url", "text", "never_in_request", "never_in_response", "encrypt"];

/// Which types a constraint speaks about.
const SPEAKS_OF: &[(&str, u8)] = &[
    ("minimum", NUMBER | INTEGER),
    ("maximum", NUMBER | INTEGER),
    ("exclusiveMinimum", NUMBER | INTEGER),
    ("exclusiveMaximum", NUMBER | INTEGER),
    ("multipleOf", NUMBER | INTEGER),
    ("minLength", STRING),
    ("maxLength", STRING),
    ("pattern", STRING),
    ("items", ARRAY),
    ("prefixItems", ARRAY),
    ("minItems", ARRAY),
    ("maxItems", ARRAY),
    ("uniqueItems", ARRAY),
    ("contains", ARRAY),
    ("properties", OBJECT),
    ("required", OBJECT),
    ("additionalProperties", OBJECT),
    ("patternProperties", OBJECT),
    ("propertyNames", OBJECT),
    ("minProperties", OBJECT),
    ("maxProperties", OBJECT),
    ("dependentRequired", OBJECT),
    ("dependentSchemas", OBJECT),
];

/// Whether a schema says something besides annotations, apart from `$ref` itself.
pub(crate) fn constrains(key: &str) -> bool {
    key != "$ref"
        && !key.starts_with("x-")
        && !ANNOTATIONS.contains(&key)
        && !matches!(key, "$defs" | "$id" | "$anchor")
}

/// Reports every key that nobody reads, and constraints that cannot apply to the types declared.
pub(super) fn check(node: &Node, version: Version, types: Option<u8>, findings: &mut Vec<Finding>) {
    let more = if version == Version::V30 { ENFORCED_30 } else { ENFORCED_31 };
    for (key, value) in node.as_object().unwrap_or_default() {
        let text = &*key.text;
        if text != "discriminator" && (ENFORCED.contains(&text) || more.contains(&text)) {
            let about = SPEAKS_OF.iter().find(|(name, _)| *name == text);
            // `required: true` in a property has a finding of its own.
            if let (Some(types), Some((_, about))) = (types, about)
                && types & about == 0
                && !(text == "required" && value.as_bool().is_some())
            {
                let message = format!("`{text}` says nothing about the declared type");
                findings.push(Finding::warning("keyword-idle", key.at, message));
            }
        } else if text == "x-portcullis" {
            extension(value, findings);
        } else if text == "discriminator" {
            keys::check(value, Kind::Discriminator, version, findings);
        } else if class(text, version) == Class::Finding {
            findings.push(finding(key, version, false));
        }
    }
}

/// `x-portcullis` of a schema: strict, as everywhere.
fn extension(node: &Node, findings: &mut Vec<Finding>) {
    let Some(members) = node.as_object() else {
        let message = format!("`x-portcullis` is an object; this is {}", node.kind());
        findings.push(Finding::error("extension-unknown", node.at, message));
        return;
    };
    for (name, value) in members {
        match &*name.text {
            text if !EXTENSION.contains(&text) => {
                let message = format!("`{text}` is no key of `x-portcullis` in a schema");
                let help = match did_you_mean(text, EXTENSION.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("known here: {}", EXTENSION.join(", ")),
                };
                findings.push(Finding::error("extension-unknown", name.at, message).help(help));
            }
            "encrypt" => {
                let message = "`encrypt` is not enforced by this version, so it is not accepted either";
                findings.push(Finding::error("extension-unsupported", name.at, message));
            }
            text if text.starts_with("never_in_") && value.as_bool() != Some(true) => {
                // `false` would be a loosening, and text that reads as one is a slip.
                let message = format!("`{text}` is `true` or not there");
                findings.push(Finding::error("extension-invalid", value.at, message));
            }
            _ => {}
        }
    }
}

/// What becomes of a key of a schema.
pub(crate) fn class(text: &str, version: Version) -> Class {
    let more = if version == Version::V30 { ENFORCED_30 } else { ENFORCED_31 };
    if text == "x-portcullis" || ENFORCED.contains(&text) || more.contains(&text) {
        Class::Enforced
    } else if ANNOTATIONS.contains(&text) || text.starts_with("x-") {
        Class::Annotation
    } else {
        Class::Finding
    }
}

/// What is said about a key beside `$ref` in 3.0.
pub(crate) fn sibling(key: &Key) -> Finding {
    let message = format!("`{}` beside `$ref` has no effect in OpenAPI 3.0", key.text);
    Finding::warning("ref-sibling-ignored", key.at, message).help("put the reference into `allOf`")
}

/// What is said about a key of a schema that nobody reads. Where the schema has no effect it is no constraint that went
/// astray.
pub(crate) fn finding(key: &Key, version: Version, idle: bool) -> Finding {
    let text = &*key.text;
    let more = if version == Version::V30 { ENFORCED_30 } else { ENFORCED_31 };
    if !idle && (text == "$dynamicRef" || text == "$recursiveRef") {
        let message = format!("`{text}`: what a schema refers to must be known when it is loaded");
        return Finding::error("ref-dynamic", key.at, message).help("use `$ref`");
    }
    if let Some(other) = ENFORCED_30.iter().chain(ENFORCED_31).find(|name| **name == text) {
        let has = if version == Version::V30 { "3.1" } else { "3.0" };
        let message = format!("`{other}` has a meaning in OpenAPI {has} only; it is not enforced");
        return Finding::warning("key-unknown", key.at, message);
    }
    if !idle && let Some(meant) = suspect(text, ENFORCED.iter().chain(more)) {
        let message = format!("`{text}` is no keyword of a schema");
        let help = format!("did you mean `{meant}`?");
        return Finding::error("keyword-suspect", key.at, message).help(help);
    }
    let message = format!("`{text}` is no keyword of a schema; nobody reads it");
    Finding::warning("key-unknown", key.at, message)
}

fn suspect<'k>(text: &str, known: impl Iterator<Item = &'k &'k str>) -> Option<&'k str> {
    let limit = match text.chars().count() {
        0..=2 => return None,
        3..=4 => 1,
        _ => 2,
    };
    known
        .filter(|name| name.len() > 2)
        .map(|name| (edit_distance(text, name), *name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
