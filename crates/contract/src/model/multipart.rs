//! Reads the Media Type object of `multipart/form-data`: which part is what.

use super::keys::Kind;
use super::media::{any_text, collect, compiled};
use super::parameter::{self, field};
use super::reader::Reader;
use super::terms::Unknown;
use super::{Parameter, shape, upload};
use crate::body::multipart::{Field, FileField, Holds, Multipart, TEXT_BYTES};
use crate::body::{Family, MediaRange};
use crate::document::{Finding, Key, Node, Version};
use crate::param::query::{Claim, Names};
use crate::param::style::Style;
use crate::schema::Compiler;
use crate::violation::In;

/// Bytes that `minLength` of a file may ask for.
const SHORTEST: u64 = 4096;

pub(super) fn multipart<'d>(
    reader: &mut Reader<'d>,
    compiler: &mut Compiler<'d>,
    media: &'d Node,
    schema: &'d Node,
    (operation, unknown): (&str, Unknown),
) -> Option<Multipart> {
    let compiled = compiled(reader, compiler.request(schema))?;
    let mut properties: Vec<(&'d Key, &'d Node)> = Vec::new();
    collect(reader.document.bundle(), schema, 0, &mut properties);
    let encodings = reader.members(media, "encoding");
    for (key, _) in encodings {
        if !properties.iter().any(|(name, _)| name.text == key.text) {
            reader.warning("keyword-idle", key.at, format!("there is no property `{}` to encode", key.text));
        }
    }
    let (mut fields, mut names) = (Vec::new(), Names::default());
    let mut whole = true;
    for (index, (key, property)) in (0u16..).zip(properties) {
        let encoding = encodings.iter().find(|(name, _)| name.text == key.text).map(|(_, node)| node);
        let encoding = encoding.and_then(|node| reader.object(node, Kind::Encoding));
        // Names are distinct: a property is found once.
        let _ = names.claim(&key.text, Claim::Whole(index));
        match one(reader, compiler, key, property, encoding, operation) {
            Some(field) => fields.push(field),
            None => whole = false,
        }
    }
    let other = (unknown == Unknown::Allow).then(|| text(reader, compiler, None, any_text())).flatten();
    whole.then_some(Multipart { fields, schema: compiled, unknown, names, other })
}

fn one<'d>(
    reader: &mut Reader<'d>,
    compiler: &mut Compiler<'d>,
    key: &'d Key,
    property: &'d Node,
    encoding: Option<&'d Node>,
    operation: &str,
) -> Option<Field> {
    let media = content_type(reader, encoding)?;
    for name in ["style", "explode", "allowReserved"] {
        let Some((at, _)) = encoding.and_then(|encoding| encoding.entry(name)) else { continue };
        if reader.version() == Version::V30 {
            // Ignored outside of urlencoded forms (3.0.4, Encoding Object).
            reader.warning("keyword-idle", at.at, format!("`{name}` has no effect in multipart/form-data"));
        } else {
            let message = format!("`{name}` is not defined in multipart/form-data here");
            let help = "say `contentType` instead";
            reader.findings.push(Finding::error("style-undefined", at.at, message).help(help));
            return None;
        }
    }
    let headers = headers(reader, compiler, encoding)?;
    let bundle = reader.document.bundle();
    let target = shape::target(bundle, property);
    let repeats = has_type(target, "array");
    let item = if repeats { target.get("items").map(|items| shape::target(bundle, items)) } else { None };
    let item = item.unwrap_or(target);
    let shaped = shape::shape(bundle, item);
    let structured = shaped.object.is_some() || shaped.nested || shaped.array.is_some();
    let family = match media.first() {
        Some(MediaRange::Exact(media)) => Some(media.family()),
        Some(MediaRange::Kind(_)) => Some(Family::Opaque),
        Some(MediaRange::Any) | None => None,
    };
    let holds = if !structured && is_file(reader.version(), item, family) {
        Holds::File(file(reader, key, item, &media, operation)?)
    } else if family == Some(Family::Opaque) {
        let message = format!("a part of `{}` cannot be looked into", key.text);
        reader.findings.push(
            Finding::error("media-opaque", key.at, message).help("a file is `type: string, format: binary`"),
        );
        return None;
    } else if structured {
        Holds::Json
    } else {
        Holds::Text(Box::new(text(reader, compiler, Some(key), property)?))
    };
    Some(Field { name: key.text.clone(), repeats, holds, media, headers })
}

fn text<'d>(
    reader: &mut Reader<'d>,
    compiler: &mut Compiler<'d>,
    key: Option<&'d Key>,
    schema: &'d Node,
) -> Option<Parameter> {
    let made = parameter::Field {
        name: key.map_or("", |key| &key.text),
        schema,
        json: false,
        location: In::Query,
        style: Style::Form,
        explode: true,
        at: key.map_or(schema.at, |key| key.at),
    };
    let mut parsed = field(reader, compiler, made)?;
    parsed.max_length = TEXT_BYTES;
    parsed.allow_empty = true;
    parsed.lines = true;
    Some(parsed)
}

fn file<'d>(
    reader: &mut Reader<'d>,
    key: &'d Key,
    item: &'d Node,
    media: &[MediaRange],
    operation: &str,
) -> Option<FileField> {
    let rules = upload::rules(reader, item, media, operation, key.at)?;
    let count = |name: &str| item.get(name).and_then(Node::as_u64);
    let (shortest, longest) = (count("minLength").unwrap_or(0), count("maxLength"));
    if shortest > SHORTEST {
        let message = format!("a file of at least {shortest} bytes is not asked for here");
        reader.error("bound-too-large", key.at, message);
        return None;
    }
    let shown = shortest.max(1).min(longest.unwrap_or(1));
    let stand_in = "f".repeat(usize::try_from(shown).unwrap_or(1));
    Some(FileField { rules, shortest, longest, stand_in })
}

/// Whether the value is a file and not text. In 3.1 what says nothing of its type is bytes.
fn is_file(version: Version, item: &Node, family: Option<Family>) -> bool {
    let format = item.get("format").and_then(Node::as_str);
    let marked = item.get("x-portcullis").and_then(|x| x.get("upload")).is_some();
    let text = item.get("contentEncoding").is_some();
    let bytes = version != Version::V30
        && !text
        && (item.get("contentMediaType").is_some()
            || !["type", "enum", "const", "format", "pattern", "anyOf", "oneOf", "allOf", "$ref"]
                .iter()
                .any(|key| item.get(key).is_some()));
    let typed = item.get("type").is_none() || has_type(item, "string");
    typed && !text && (format == Some("binary") || marked || bytes || family == Some(Family::Opaque))
}

fn has_type(node: &Node, kind: &str) -> bool {
    let Some(types) = node.get("type") else { return kind == "array" && node.get("items").is_some() };
    types.as_str() == Some(kind)
        || types.as_array().unwrap_or_default().iter().any(|known| known.as_str() == Some(kind))
}

/// `contentType`: a list of media types and ranges.
fn content_type(reader: &mut Reader<'_>, encoding: Option<&Node>) -> Option<Vec<MediaRange>> {
    let Some(node) = encoding.and_then(|encoding| encoding.get("contentType")) else {
        return Some(Vec::new());
    };
    let ranges: Option<Vec<MediaRange>> = node
        .as_str()
        .and_then(|text| text.split(',').map(|range| MediaRange::parse(range.trim()).ok()).collect());
    if ranges.is_none() {
        reader.error("media-invalid", node.at, "`contentType` is a media type, or several with commas");
    }
    ranges
}

/// `headers` of an Encoding object.
fn headers<'d>(
    reader: &mut Reader<'d>,
    compiler: &mut Compiler<'d>,
    encoding: Option<&'d Node>,
) -> Option<Vec<Parameter>> {
    let Some(encoding) = encoding else { return Some(Vec::new()) };
    let mut headers = Vec::new();
    for (key, node) in reader.members(encoding, "headers") {
        let lower = key.text.to_ascii_lowercase();
        let node = reader.object(node, Kind::Header)?;
        if lower.starts_with("content-") {
            reader.remark("header-ignored", key.at, format!("`{}` is said elsewhere", key.text));
            continue;
        }
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let Some(schema) = node.get("schema").filter(|_| lower.bytes().all(token) && !lower.is_empty())
        else {
            let message =
                format!("the header `{}` of a part needs a name of a header and a `schema`", key.text);
            reader.error("parameter-invalid", key.at, message);
            return None;
        };
        let made = parameter::Field {
            name: &key.text,
            schema,
            json: false,
            location: In::Header,
            style: Style::Simple,
            explode: reader.flag(node, "explode").unwrap_or(false),
            at: key.at,
        };
        let mut parsed = field(reader, compiler, made)?;
        parsed.required = reader.flag(node, "required").unwrap_or(false);
        headers.push(parsed);
    }
    Some(headers)
}
