//! Parameters as the document declares them.

use std::sync::Arc;

use portcullis_core::head::{SecretRules, is_secret_name, names};

use super::extension::{self, ParameterExtension};
use super::keys::Kind;
use super::reader::Reader;
use super::shape;
use super::terms::{Over, Word};
use crate::body::text::TextRules;
use crate::body::{MediaRange, MediaType};
use crate::document::{Finding, Node, Span};
use crate::param::check::Check;
use crate::param::encode::Writing;
use crate::param::style::{self, Shape, Style};
use crate::schema::Compiler;
use crate::violation::In;

/// A parameter of an operation.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name as the document writes it.
    pub name: Box<str>,
    /// Which part of the request.
    pub location: In,
    /// Whether it must be there.
    pub required: bool,
    /// Whether the document says that it will go.
    pub deprecated: bool,
    /// How arrays and objects are written.
    pub style: Style,
    /// Whether each item or member is written on its own.
    pub explode: bool,
    /// Where it stands.
    pub at: Span,
    pub(crate) reserved: bool,
    pub(crate) allow_empty: bool,
    pub(crate) json: bool,
    pub(crate) shape: Shape,
    pub(crate) check: Arc<Check>,
    pub(crate) max_length: usize,
    pub(crate) text: TextRules,
    pub(crate) guard: Option<Guard>,
    pub(crate) uuid: bool,
    pub(crate) uri: bool,
    /// `url: {policy}`: its strings are URLs that somebody will fetch.
    pub(crate) url: Option<Box<str>>,
    /// A field of a form: tabs and line ends are text like any other.
    pub(crate) lines: bool,
    /// Of a path parameter: which variable of the template.
    pub(crate) slot: u16,
}

/// A bound of pagination that is written into the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) minimum: i64,
    pub(crate) maximum: i64,
    pub(crate) over: Over,
}

/// Bytes of one decoded value.
pub(crate) const MAX_LENGTH: usize = 4096;

impl Parameter {
    pub(crate) fn writing(&self) -> Writing<'_> {
        Writing {
            name: &self.name,
            location: self.location,
            style: self.style,
            explode: self.explode,
            reserved: self.reserved,
        }
    }

    /// Whether its value is one scalar of a type with one spelling or text: what a rule can compare.
    pub fn is_scalar(&self) -> bool {
        !self.json && self.shape.array.is_none() && self.shape.object.is_none()
    }

    /// Whether it takes every name of the query that nothing else claims.
    pub(crate) fn takes_rest(&self) -> bool {
        let open = self.shape.object.as_ref().is_some_and(|members| members.others.is_some());
        open && self.explode && self.style == Style::Form && !self.json
    }

    /// Whether URLs may be found in its values.
    pub(crate) fn may_hold_urls(&self) -> bool {
        self.url.is_some() || self.check.schema.is_marked()
    }

    /// Whether every value is an integer; `secret_in_url` does not take such for card numbers.
    pub fn is_integer(&self) -> bool {
        self.is_scalar()
            && self.shape.scalar == crate::param::grammar::Types::of(crate::param::ScalarKind::Integer)
    }
}

/// Reads one Parameter object. `None`: it is ignored, or there is an error.
pub(crate) fn parameter<'d>(
    reader: &mut Reader<'d>,
    compiler: &mut Compiler<'d>,
    node: &'d Node,
    operation: &str,
) -> Option<Parameter> {
    let node = reader.object(node, Kind::Parameter)?;
    let Some(name) = reader.text(node, "name").filter(|name| !name.is_empty()) else {
        reader.error("parameter-invalid", node.at, "a parameter has a `name`");
        return None;
    };
    let place = node.get("in");
    let location = match reader.text(node, "in") {
        Some("path") => In::Path,
        Some("query") => In::Query,
        Some("header") => In::Header,
        Some("cookie") => In::Cookie,
        other => {
            let message = match other {
                Some("body" | "formData") => "`in: body` and `in: formData` are Swagger 2.0".to_owned(),
                Some("querystring") => {
                    "`in: querystring` is OpenAPI 3.2, which is not understood yet".to_owned()
                }
                Some(other) => format!("`{other}` is no place of a parameter"),
                None => "a parameter says `in: path`, `query`, `header` or `cookie`".to_owned(),
            };
            reader.error("parameter-invalid", place.map_or(node.at, |p| p.at), message);
            return None;
        }
    };
    if !admitted(reader, node, name, location, operation) {
        return None;
    }
    let extension = extension::parameter(reader, node);
    let mut required = reader.flag(node, "required").unwrap_or(false);
    if location == In::Path && !required {
        reader.warning(
            "path-parameter-optional",
            node.at,
            format!("the path parameter `{name}` is not `required: true`"),
        );
        required = true;
    }
    let reserved = reader.flag(node, "allowReserved").unwrap_or(false);
    let empty = reader.flag(node, "allowEmptyValue").unwrap_or(false);
    let deprecated = reader.flag(node, "deprecated").unwrap_or(false);
    let (style, explode) = styling(reader, node, location)?;

    let (schema, json) = match (node.get("schema"), node.get("content")) {
        (Some(schema), None) => (schema, false),
        (None, Some(_)) => (json_content(reader, node, name)?, true),
        (Some(_), Some(content)) => {
            reader.error("parameter-invalid", content.at, "a parameter has `schema` or `content`, not both");
            return None;
        }
        (None, None) => {
            let message = format!("the parameter `{name}` has no `schema`: nothing says what it may be");
            reader.findings.push(
                Finding::error("parameter-shapeless", node.at, message)
                    .help("add  schema: { type: string, … }"),
            );
            return None;
        }
    };
    let mut field =
        field(reader, compiler, Field { name, schema, json, location, style, explode, at: node.at })?;
    field.required = required;
    field.reserved = reserved && location == In::Query;
    field.allow_empty |= empty;
    field.deprecated = deprecated;
    tighten(reader, &mut field, &extension);
    Some(field)
}

/// What a form field and a parameter have in common.
pub(crate) struct Field<'n, 'd> {
    pub(crate) name: &'n str,
    pub(crate) schema: &'d Node,
    pub(crate) json: bool,
    pub(crate) location: In,
    pub(crate) style: Style,
    pub(crate) explode: bool,
    pub(crate) at: Span,
}

pub(crate) fn field<'d>(
    reader: &mut Reader<'d>,
    compiler: &mut Compiler<'d>,
    field: Field<'_, 'd>,
) -> Option<Parameter> {
    let Field { name, schema, json, location, style, explode, at } = field;
    let bundle = &reader.document.bundle;
    let shape = if json { Shape::default() } else { shape::shape(bundle, schema) };
    if !json && let Err(what) = style::defined(location, style, explode, &shape) {
        let message = format!("`style: {}` is not defined {what}", style.text());
        let help = if shape.nested {
            "declare it with `content: {application/json: …}`, or flatten it"
        } else {
            "see the table of styles in the documentation"
        };
        reader.findings.push(Finding::error("style-undefined", at, message).help(help));
        return None;
    }
    let guarded = (location == In::Query).then_some(name);
    let check = match compiler.part(schema, guarded) {
        Ok(check) => check,
        Err(findings) => {
            reader.findings.extend(findings);
            return None;
        }
    };
    let pagination = reader.terms.request.pagination;
    let guards = crate::schema::Guards { page: pagination.maximum, offset: pagination.offset };
    let bound = guards.maximum(name).filter(|_| location == In::Query && !json);
    let integer = shape.scalar.has(crate::param::ScalarKind::Integer);
    let own = shape::has_maximum(bundle, schema);
    let bound = bound.filter(|_| integer && !own);
    if guards.maximum(name).is_some()
        && let Some(maximum) = shape::target(bundle, schema).get("maximum").and_then(Node::as_i64)
        && guarded.is_some()
        && guards.maximum(name) == Some(guards.page)
        && maximum > pagination.ceiling
    {
        let message = format!("`{name}` may be {maximum}, more than {} at once", pagination.ceiling);
        reader.warning("pagination-wide", at, message);
    }
    let fast = if json { None } else { shape::fast(bundle, schema, bound) };
    let minimum = if shape::has_minimum(bundle, schema) { i64::MIN } else { 0 };
    Some(Parameter {
        name: name.into(),
        location,
        required: false,
        deprecated: false,
        style,
        explode,
        at,
        reserved: false,
        allow_empty: !json && shape::names_empty(bundle, schema),
        json,
        uuid: shape::has_format(bundle, schema, "uuid"),
        uri: shape::has_format(bundle, schema, "uri"),
        url: None,
        shape,
        check: Arc::new(Check { fast, schema: check }),
        max_length: MAX_LENGTH,
        text: TextRules {
            markup: reader.terms.request.text,
            bidi_controls: reader.terms.request.bidi_controls,
        },
        guard: bound.map(|maximum| Guard { minimum, maximum, over: pagination.over }),
        lines: false,
        slot: 0,
    })
}

fn tighten(reader: &mut Reader<'_>, field: &mut Parameter, extension: &ParameterExtension) {
    if let Some((text, at)) = extension.text {
        if text > field.text.markup {
            loosens(reader, at, "text", "request.default_text", field.text.markup.word());
        } else {
            field.text.markup = text;
        }
    }
    field.url.clone_from(&extension.url);
    if let Some((length, at)) = extension.max_length {
        if length > MAX_LENGTH {
            loosens(reader, at, "max_length", "", format!("{MAX_LENGTH} bytes for any parameter"));
        } else {
            field.max_length = length;
        }
    }
    if let Some((maximum, at)) = extension.maximum {
        let over = reader.terms.request.pagination.over;
        let own = field.guard.map(|guard| guard.maximum);
        if let Some(own) = own.filter(|own| maximum > *own) {
            loosens(reader, at, "maximum", "request.pagination", own.to_string());
            return;
        }
        let minimum = field.guard.map_or(i64::MIN, |guard| guard.minimum);
        field.guard = Some(Guard { minimum, maximum, over });
    }
}

/// The error of a word that is looser than what `portcullis.yaml` says, with both places.
pub(crate) fn loosens(reader: &mut Reader<'_>, at: Span, name: &str, place: &str, says: String) {
    let also = reader.terms.place(place);
    let who = if also.line > 0 { "portcullis.yaml says" } else { "the default is" };
    reader.findings.push(
        Finding::error("extension-loosens", at, format!("`{name}` here is looser than portcullis.yaml"))
            .also(also)
            .help(format!("{who} {says}; a document only tightens")),
    );
}

/// Names that no document may declare, and names that OpenAPI says to ignore.
fn admitted(reader: &mut Reader<'_>, node: &Node, name: &str, location: In, operation: &str) -> bool {
    let at = node.get("name").map_or(node.at, |n| n.at);
    match location {
        In::Header => {
            let lower = name.to_ascii_lowercase();
            if matches!(&*lower, "accept" | "content-type" | "authorization") {
                let message = format!("OpenAPI ignores a header parameter `{name}`");
                reader.remark("parameter-ignored", at, message);
                return false;
            }
            let plain = (1..=64).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !plain {
                let message =
                    format!("no header called `{name}` is let in: letters, digits and hyphens, at most 64");
                reader.error("parameter-invalid", at, message);
                return false;
            }
            if lower == "x-request-id" {
                reader.warning(
                    "parameter-ignored",
                    at,
                    "the upstream gets our own X-Request-Id in place of the client's",
                );
                return false;
            }
            let loosened = reader.terms.reserved_header.iter().any(|l| l.names(operation, name));
            if names::is_reserved(&lower) && !loosened {
                reader.findings.push(
                    Finding::error(
                        "header-reserved",
                        at,
                        format!("`{name}` is a header that only a gateway may set"),
                    )
                    .help(
                        "a client that may send it may say who it is; rename it, or loosen `reserved_header`",
                    ),
                );
                return false;
            }
        }
        In::Query => {
            let loosened = reader.terms.secret_parameter.iter().any(|l| l.names(operation, name));
            if is_secret_name(name, &SecretRules::new()) && !loosened {
                reader.findings.push(
                    Finding::error(
                        "secret-parameter",
                        at,
                        format!("`{name}` in the query is a secret in a URL"),
                    )
                    .help(
                        "URLs stand in logs and histories: send it in a header, or loosen `secret_parameter`",
                    ),
                );
                return false;
            }
        }
        In::Path | In::Cookie => {}
    }
    true
}

fn styling<'d>(reader: &mut Reader<'d>, node: &'d Node, location: In) -> Option<(Style, bool)> {
    let style = match reader.text(node, "style") {
        None => Style::default_of(location),
        Some(text) => match Style::parse(text) {
            Some(style) => style,
            None => {
                let at = node.get("style").map_or(node.at, |s| s.at);
                let message = format!("`style: {text}` is not defined in this place");
                reader.error("style-undefined", at, message);
                return None;
            }
        },
    };
    let explode = reader.flag(node, "explode").unwrap_or(style == Style::Form);
    Some((style, explode || style == Style::DeepObject))
}

/// The schema of a `content` parameter, which holds one JSON text.
fn json_content<'d>(reader: &mut Reader<'d>, node: &'d Node, name: &str) -> Option<&'d Node> {
    let content = node.get("content")?;
    let [(key, media)] = reader.members(node, "content") else {
        reader.error(
            "parameter-invalid",
            content.at,
            "`content` of a parameter names exactly one media type",
        );
        return None;
    };
    let range = MediaRange::parse(&key.text);
    let json = matches!(&range, Ok(MediaRange::Exact(media)) if media.family() == crate::body::Family::Json)
        || MediaType::parse(&key.text).is_ok_and(|media| media.family() == crate::body::Family::Json);
    if !json {
        let message = format!("the parameter `{name}` is `{}`; only JSON is read here", key.text);
        reader.error("media-opaque", key.at, message);
        return None;
    }
    let media = reader.object(media, Kind::MediaType)?;
    let schema = media.get("schema");
    if schema.is_none() {
        let message = format!("the parameter `{name}` has no `schema`: nothing says what it may be");
        reader.error("parameter-shapeless", media.at, message);
    }
    schema
}
