//! A GraphQL end point: its schema and bounds, and the one operation by which it is reached.

use super::desk::{Desk, Terms};
use super::document::{load_made, within};
use crate::words::api::Api;
use crate::words::graphql::{GraphQl as Words, GraphQlLimits, Match, PersistedMode};
use crate::words::{At, Loosening};
use portcullis_contract::body::text::TextRules;
use portcullis_contract::document::{Bounds, Document};
use portcullis_contract::graphql::{GraphQl, Limits, Mode, Persisted, Schema};
use portcullis_contract::model::RequestTerms;
use portcullis_core::finding::Span;
use serde_json::json;
use std::sync::Arc;

/// Its name under `operations`, `anonymous` and in logs.
pub(crate) const OPERATION: &str = "graphql";

/// Bytes of a body (contract.md § 16.1).
const BODY: u64 = 100 << 10;

/// The path.
pub(crate) fn path(words: &Words) -> &str {
    words.path.as_ref().map_or("/graphql", |path| path.as_str())
}

/// The operation that takes the requests: a POST with JSON. Whoever can be authenticated may call; who else may is
/// said in the configuration, as for any operation.
pub(crate) fn document(
    desk: &mut Desk<'_>,
    name: &str,
    words: &At<Words>,
    api: &Api,
    key_header: Option<&str>,
    bounds: Bounds,
) -> Option<Document> {
    let path = path(words);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~');
    if !path.starts_with('/') || path.len() < 2 || path.contains("//") || !path.bytes().all(plain) {
        let at = words.path.as_ref().map_or(words.at, |path| path.at);
        desk.error(
            "graphql-path",
            at,
            format!("`{path}` is no path"),
            "it begins with `/`, such as /graphql",
        );
        return None;
    }
    let mut schemes = serde_json::Map::new();
    let authenticate = &api.authenticate;
    if authenticate.jwt.is_some() || authenticate.opaque.is_some() {
        schemes.insert("graphql_token".to_owned(), json!({ "type": "http", "scheme": "bearer" }));
    }
    if authenticate.api_key.is_some() {
        let header = key_header.unwrap_or("x-api-key");
        schemes.insert("graphql_key".to_owned(), json!({ "type": "apiKey", "in": "header", "name": header }));
    }
    if authenticate.mtls.is_some() {
        schemes.insert("graphql_certificate".to_owned(), json!({ "type": "mutualTLS" }));
    }
    let security: Vec<_> = schemes.keys().map(|name| json!({ name.as_str(): [] })).collect();
    // What bodies hold is judged by the schema of GraphQL, not by this one.
    let text = json!({ "type": "object", "properties": { "query": { "type": "string" } } });
    let answer = json!({ "schema": { "type": "object", "properties": { "data": { "type": ["object", "null"], "properties": { "__typename": { "type": "string" } } } } } });
    let mut operation = json!({
        "operationId": OPERATION,
        "requestBody": { "required": true, "content": { "application/json": { "schema": text } } },
        "responses": { "200": {
            "description": "GraphQL",
            "content": { "application/graphql-response+json": answer.clone(), "application/json": answer },
        } },
    });
    if let Some(object) = operation.as_object_mut().filter(|_| !security.is_empty()) {
        object.insert("security".to_owned(), security.into());
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": name, "version": "graphql" },
        "paths": { path: { "post": operation } },
        "components": { "securitySchemes": schemes },
    });
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    load_made(desk, &format!("{name} (graphql)"), "graphql.json", &text, bounds)
}

/// What judges the requests, and the bytes that a body may have.
pub(crate) fn plan(
    desk: &mut Desk<'_>,
    name: &str,
    words: &At<Words>,
    request: &RequestTerms,
) -> Option<(Arc<GraphQl>, u64)> {
    let subject = format!("{name}/{OPERATION}");
    let schema = match (&words.schema, &words.no_schema) {
        (Some(file), None) => Some(schema(desk, file)?),
        (None, Some(loosening)) if loosens(desk, "no_schema", &subject, Some(loosening)) => None,
        (None, Some(_)) => return None,
        (Some(_), Some(both)) => {
            let help = "remove `no_schema`";
            desk.error("graphql-schema-twice", both.at, "there is a schema, and `no_schema`", help);
            return None;
        }
        (None, None) => {
            let help = "add  schema: graphql/shop.graphql; the loosening is `no_schema`";
            desk.error(
                "graphql-schema-missing",
                words.at,
                "without a schema nothing is judged but sizes",
                help,
            );
            return None;
        }
    };
    let limits = limits(desk, &words.limits, request);
    let introspection = loosens(desk, "introspection", &subject, words.introspection.as_ref());
    let persisted = persisted(desk, words)?;
    let batch = words.batch.as_ref().map_or(0, |batch| batch.max);
    if let Some(words) = words.batch.as_ref().filter(|batch| !(1..=10).contains(&batch.max)) {
        desk.error("bound-too-large", words.at, "`batch.max` is outside its hard limit", "it is 1 to 10");
    }
    let max_bytes = match words.max_bytes {
        Some(size) => within(desk, "graphql.max_bytes", size.0, 10 << 20, words.at),
        None => BODY,
    };
    let plan = GraphQl {
        schema,
        limits,
        costs: words.costs.iter().map(|(scope, cost)| (scope.as_str().into(), cost.value)).collect(),
        batch,
        introspection,
        persisted,
        keep_codes: words.errors.keep_codes.iter().map(|code| code.as_str().into()).collect(),
        text: TextRules { markup: request.text, bidi_controls: request.bidi_controls },
    };
    Some((Arc::new(plan), max_bytes))
}

fn loosens(
    desk: &mut Desk<'_>,
    name: &'static str,
    subject: &str,
    words: Option<&At<Loosening<bool>>>,
) -> bool {
    words.filter(|words| words.allow).is_some_and(|words| {
        let terms = Terms { because: &words.because, until: &words.until, at: words.at };
        desk.loosen(name, subject, terms)
    })
}

fn schema(desk: &mut Desk<'_>, file: &At<String>) -> Option<Schema> {
    let path = desk.files.path(file);
    let (id, text) = match desk.files.text(&path, 10 << 20, file.at) {
        Ok(read) => read,
        Err(finding) => {
            desk.findings.push(*finding);
            return None;
        }
    };
    let span = |start: usize, end: usize| {
        let before = text.get(..start).unwrap_or_default();
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span { file: id, start: number(start), end: number(end), line: number(line), column: number(column) }
    };
    match Schema::compile(&text, &span) {
        Ok((schema, findings)) => {
            desk.findings.extend(findings);
            Some(schema)
        }
        Err(findings) => {
            desk.findings.extend(findings);
            None
        }
    }
}

fn limits(desk: &mut Desk<'_>, words: &At<GraphQlLimits>, request: &RequestTerms) -> Limits {
    let hard = Limits::HARD;
    let mut made = Limits::default();
    let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let count = |value: u32| size(u64::from(value));
    let sizes = [
        (&mut made.query_bytes, words.query.map(|s| size(s.0)), hard.query_bytes, "query"),
        (&mut made.tokens, words.tokens.map(count), hard.tokens, "tokens"),
        (&mut made.string_bytes, words.string.map(|s| size(s.0)), hard.string_bytes, "string"),
        (&mut made.variables_bytes, words.variables.map(|s| size(s.0)), hard.variables_bytes, "variables"),
        (&mut made.operations, words.operations.map(count), hard.operations, "operations"),
        (&mut made.fragments, words.fragments.map(count), hard.fragments, "fragments"),
        (&mut made.directives, words.directives.map(count), hard.directives, "directives"),
    ];
    let mut wrong: Vec<(&str, u64)> = Vec::new();
    for (slot, value, hard, name) in sizes {
        match value {
            Some(value) if (1..=hard).contains(&value) => *slot = value,
            Some(_) => wrong.push((name, u64::try_from(hard).unwrap_or(u64::MAX))),
            None => {}
        }
    }
    let counts = [
        (&mut made.aliases, words.aliases, hard.aliases, "aliases"),
        (&mut made.root_fields, words.root_fields, hard.root_fields, "root_fields"),
        (&mut made.depth, words.depth, hard.depth, "depth"),
        (&mut made.fields, words.fields, hard.fields, "fields"),
        (&mut made.cost, words.cost, hard.cost, "cost"),
    ];
    for (slot, value, hard, name) in counts {
        match value.map(u64::from) {
            Some(value) if value <= hard => *slot = value,
            Some(_) => wrong.push((name, hard)),
            None => {}
        }
    }
    for (name, hard) in wrong {
        let message = format!("`graphql.limits.{name}` is outside its hard limit");
        desk.error("bound-too-large", words.at, message, format!("it is at most {hard}"));
    }
    made.slice = u64::try_from(request.pagination.maximum).unwrap_or(made.slice);
    made.offset = u64::try_from(request.pagination.offset).unwrap_or(made.offset);
    made
}

fn persisted(desk: &mut Desk<'_>, words: &Words) -> Option<Persisted> {
    let Some(words) = &words.persisted else { return Some(Persisted::off()) };
    let mode = match words.mode {
        PersistedMode::Log => Mode::Log,
        PersistedMode::Safelist => Mode::Safelist,
        PersistedMode::RequireId => Mode::RequireId,
    };
    let path = desk.files.path(&words.manifest);
    let bytes = match desk.files.bytes(&path, 64 << 20, words.manifest.at) {
        Ok(bytes) => bytes,
        Err(finding) => {
            desk.findings.push(*finding);
            return None;
        }
    };
    let sha256 = |bytes: &[u8]| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        digest.as_ref().first_chunk().copied().unwrap_or_default()
    };
    let text = String::from_utf8_lossy(&bytes);
    match Persisted::manifest(mode, words.matching == Match::Normalised, &text, &sha256) {
        Ok(persisted) => Some(persisted),
        Err(why) => {
            let message = format!("`{}` is no manifest: {why}", words.manifest.value);
            desk.error(
                "graphql-manifest",
                words.manifest.at,
                message,
                "make it anew with the client's build",
            );
            None
        }
    }
}
