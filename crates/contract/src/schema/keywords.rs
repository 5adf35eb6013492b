//! Every keyword that may stand in a schema, and what becomes of it.

use portcullis_core::finding::{Finding, edit_distance};

use super::plan::{ARRAY, INTEGER, NUMBER, OBJECT, STRING};
use crate::document::{Node, Version};

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
pub(super) fn constrains(key: &str) -> bool {
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
        if ENFORCED.contains(&text) || more.contains(&text) {
            let about = SPEAKS_OF.iter().find(|(name, _)| *name == text);
            if let (Some(types), Some((_, about))) = (types, about)
                && types & about == 0
            {
                let message = format!("`{text}` says nothing about the declared type");
                findings.push(Finding::warning("keyword-idle", key.at, message));
            }
        } else if text == "x-portcullis" {
            for (name, _) in value.as_object().unwrap_or_default() {
                if !EXTENSION.contains(&&*name.text) {
                    let message = format!("`{}` is no key of `x-portcullis` in a schema", name.text);
                    let help = format!("known here: {}", EXTENSION.join(", "));
                    findings.push(Finding::error("extension-unknown", name.at, message).help(help));
                }
            }
        } else if text == "$dynamicRef" || text == "$recursiveRef" {
            let message = format!("`{text}`: what a schema refers to must be known when it is loaded");
            findings.push(Finding::error("ref-dynamic", key.at, message).help("use `$ref`"));
        } else if ANNOTATIONS.contains(&text) || text.starts_with("x-") {
            // Without effect on purpose.
        } else if let Some(other) = ENFORCED_30.iter().chain(ENFORCED_31).find(|name| **name == text) {
            let has = if version == Version::V30 { "3.1" } else { "3.0" };
            let message = format!("`{other}` has a meaning in OpenAPI {has} only; it is not enforced");
            findings.push(Finding::warning("key-unknown", key.at, message));
        } else if let Some(meant) = suspect(text, ENFORCED.iter().chain(more)) {
            let message = format!("`{text}` is no keyword of a schema");
            let help = format!("did you mean `{meant}`?");
            findings.push(Finding::error("keyword-suspect", key.at, message).help(help));
        } else {
            let message = format!("`{text}` is no keyword of a schema; nobody reads it");
            findings.push(Finding::warning("key-unknown", key.at, message));
        }
    }
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
