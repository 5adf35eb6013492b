//! Request bodies and responses by media type.

use std::sync::Arc;

use super::keys::Kind;
use super::multipart;
use super::parameter::{Field, field};
use super::reader::Reader;
use super::terms::Unknown;
use crate::body::form::Form;
use crate::body::multipart::Multipart;
use crate::body::patch::Patch;
use crate::body::{Family, MediaRange, MediaType};
use crate::document::{Finding, Key, Node, Span};
use crate::param::query::{Claim, Names};
use crate::param::style::Style;
use crate::schema::{CompiledSchema, Compiler};
use crate::upload::UploadRules;
use crate::violation::In;

/// The body that an operation takes.
#[derive(Clone, Debug)]
pub struct RequestBody {
    /// Whether there must be one.
    pub required: bool,
    /// Where it stands.
    pub at: Span,
    /// By media type.
    pub contents: Vec<Content>,
}

/// One media type of a request body.
#[derive(Clone, Debug)]
pub struct Content {
    /// As declared.
    pub range: MediaRange,
    /// How it is read.
    pub plan: BodyPlan,
    /// Where files stand in it as strings of base64.
    pub files: Vec<super::files::FilePlace>,
    /// Where it stands.
    pub at: Span,
}

/// How a body is read and checked.
#[derive(Clone, Debug)]
pub enum BodyPlan {
    /// One JSON text.
    Json(CompiledSchema),
    /// A JSON text on each line.
    NdJson(CompiledSchema),
    /// A JSON patch.
    Patch(Arc<Patch>),
    /// An urlencoded form.
    Form(Arc<Form>),
    /// `multipart/form-data`.
    Multipart(Arc<Multipart>),
    /// One file.
    Upload(Arc<UploadRules>),
    /// Text in UTF-8, checked as one string.
    Text(CompiledSchema),
    /// Any of JSON and text, as its real type says (`*/*`, `application/*`, `text/*`).
    ByType(CompiledSchema),
    /// Sizes only (loosening `opaque`).
    Opaque,
}

impl RequestBody {
    /// What reads a body of this type: exact, then `type/*`, then `*/*`. `None` is 415.
    pub fn plan(&self, media: &MediaType) -> Option<(&Content, BodyPlan)> {
        let fits = |content: &&Content| content.range.fits(media);
        let content = self.contents.iter().filter(|content| fits(content).is_some()).max_by_key(fits)?;
        let plan = match &content.plan {
            BodyPlan::ByType(schema) => match media.family() {
                Family::Json => BodyPlan::Json(schema.clone()),
                Family::NdJson => BodyPlan::NdJson(schema.clone()),
                Family::Text => BodyPlan::Text(schema.clone()),
                _ => return None,
            },
            plan => plan.clone(),
        };
        Some((content, plan))
    }
}

/// The responses of one status.
#[derive(Clone, Debug)]
pub struct Response {
    /// Which statuses.
    pub status: StatusRange,
    /// By media type; empty when the response has no body.
    pub contents: Vec<ResponseContent>,
    /// Declared headers, in lower case.
    pub headers: Vec<Box<str>>,
    /// Where it stands.
    pub at: Span,
}

/// One media type of a response.
#[derive(Clone, Debug)]
pub struct ResponseContent {
    /// As declared.
    pub range: MediaRange,
    /// The schema that its JSON is filtered by; none for what is not read.
    pub schema: Option<CompiledSchema>,
    /// Where it stands.
    pub at: Span,
}

/// The key of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusRange {
    /// `200`
    Exact(u16),
    /// `2XX`, by its first digit.
    Class(u8),
    /// `default`
    Default,
}

impl StatusRange {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "default" {
            return Some(Self::Default);
        }
        let bytes = text.as_bytes();
        match bytes {
            [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => Some(Self::Class(class - b'0')),
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => text.parse().ok().map(Self::Exact),
            _ => None,
        }
    }

    /// Exact before class before `default`; `None` when it is another status.
    pub fn fits(self, status: u16) -> Option<u8> {
        match self {
            Self::Exact(own) => (own == status).then_some(3),
            Self::Class(class) => (u16::from(class) == status / 100).then_some(2),
            Self::Default => Some(1),
        }
    }
}

impl Response {
    /// The media type that a response of this type was declared as.
    pub fn content(&self, media: &MediaType) -> Option<&ResponseContent> {
        let fits = |content: &&ResponseContent| content.range.fits(media);
        self.contents.iter().filter(|content| fits(content).is_some()).max_by_key(fits)
    }
}

/// Reads a Request Body object.
pub(crate) fn request_body<'d>(
    reader: &mut Reader<'d>,
    compiler: &mut Compiler<'d>,
    parts: &mut Compiler<'d>,
    node: &'d Node,
    operation: &str,
    unknown: Unknown,
) -> Option<RequestBody> {
    let node = reader.object(node, Kind::RequestBody)?;
    let required = reader.flag(node, "required").unwrap_or(false);
    let mut contents = Vec::new();
    let members = reader.members(node, "content");
    if members.is_empty() {
        reader.error("body-invalid", node.at, "a request body names at least one media type in `content`");
    }
    for (key, media) in members {
        let Some(range) = range(reader, key) else { continue };
        let Some(media) = reader.object(media, Kind::MediaType) else { continue };
        if let Some(plan) =
            plan(reader, [&mut *compiler, &mut *parts], key, &range, media, (operation, unknown))
        {
            let files = match (&plan, media.get("schema")) {
                (BodyPlan::Opaque | BodyPlan::Upload(_), _) | (_, None) => Vec::new(),
                (BodyPlan::Multipart(plan), Some(schema)) => {
                    let parts: Vec<&str> = plan.file_names().collect();
                    super::files::places(reader, schema, operation, false, &parts)
                }
                (plan, Some(schema)) => {
                    let read = matches!(plan, BodyPlan::Json(..));
                    super::files::places(reader, schema, operation, read, &[])
                }
            };
            contents.push(Content { range, plan, files, at: key.at });
        }
    }
    Some(RequestBody { required, at: node.at, contents })
}

fn range(reader: &mut Reader<'_>, key: &Key) -> Option<MediaRange> {
    match MediaRange::parse(&key.text) {
        Ok(range) => Some(range),
        Err(error) => {
            reader.error("media-invalid", key.at, format!("`{}`: {error}", key.text));
            None
        }
    }
}

fn plan<'d>(
    reader: &mut Reader<'d>,
    [compiler, parts]: [&mut Compiler<'d>; 2],
    key: &'d Key,
    range: &MediaRange,
    media: &'d Node,
    (operation, unknown): (&str, Unknown),
) -> Option<BodyPlan> {
    let loosened = reader.terms.opaque.iter().any(|l| l.names(operation, &range.to_string()));
    if loosened {
        return Some(BodyPlan::Opaque);
    }
    let family = match range {
        MediaRange::Exact(exact) if exact.essence() == "application/json-patch+json" => {
            let patch = super::patch::patch(reader, parts, key, media.get("schema"))?;
            return Some(BodyPlan::Patch(Arc::new(patch)));
        }
        MediaRange::Exact(media) => media.family(),
        MediaRange::Any => Family::Json,
        MediaRange::Kind(kind) if matches!(&**kind, "application" | "text") => Family::Json,
        MediaRange::Kind(_) => Family::Opaque,
    };
    if is_upload(range) {
        let schema = media.get("schema").unwrap_or(any_text());
        let schema = super::shape::target(reader.document.bundle(), schema);
        if schema.get("type").is_some_and(|kind| kind.as_str() != Some("string")) {
            let message = format!("a body of `{}` is bytes, and its schema says otherwise", key.text);
            reader.error("media-opaque", key.at, message);
            return None;
        }
        return super::upload::rules(reader, schema, std::slice::from_ref(range), operation, key.at)
            .map(BodyPlan::Upload);
    }
    if matches!(family, Family::Opaque | Family::JsonSeq | Family::EventStream) {
        reader.findings.push(
            Finding::error("media-opaque", key.at, format!("a body of `{}` cannot be looked into", key.text))
                .help("remove it, or loosen `opaque` for this operation in portcullis.yaml, with a reason and an end"),
        );
        return None;
    }
    let encoded = matches!(family, Family::Form | Family::Multipart);
    if let (Some((key, _)), false) = (media.entry("encoding"), encoded) {
        reader.warning("keyword-idle", key.at, "`encoding` has a meaning for forms only");
    }
    let Some(schema) = media.get("schema") else {
        if family == Family::Text {
            return compiled(reader, compiler.request(any_text())).map(BodyPlan::Text);
        }
        let shapeless = reader.terms.shapeless.iter().any(|l| l.covers(operation));
        if shapeless {
            return Some(BodyPlan::Opaque);
        }
        reader.findings.push(
            Finding::error("body-shapeless", key.at, format!("the body `{}` has no `schema`", key.text))
                .help("say what it holds, or loosen `shapeless` for this operation in portcullis.yaml"),
        );
        return None;
    };
    if family == Family::Multipart {
        let made = multipart::multipart(reader, parts, media, schema, (operation, unknown));
        return made.map(|multipart| BodyPlan::Multipart(Arc::new(multipart)));
    }
    if family == Family::Form {
        return form(reader, parts, media, schema, unknown).map(|form| BodyPlan::Form(Arc::new(form)));
    }
    let schema = compiled(reader, compiler.request(schema))?;
    Some(match (range, family) {
        (MediaRange::Any | MediaRange::Kind(_), _) => BodyPlan::ByType(schema),
        (_, Family::NdJson) => BodyPlan::NdJson(schema),
        (_, Family::Text) => BodyPlan::Text(schema),
        _ => BodyPlan::Json(schema),
    })
}

/// A body that is one file: the types of contract.md § 13.1, and bytes of which only that is said.
fn is_upload(range: &MediaRange) -> bool {
    match range {
        MediaRange::Exact(media) => {
            let named = [
                "application/octet-stream",
                "application/pdf",
                "application/zip",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
                "application/vnd.openxmlformats-officedocument.presentationml.presentation",
                "application/vnd.oasis.opendocument.text",
                "application/vnd.oasis.opendocument.spreadsheet",
                "application/vnd.oasis.opendocument.presentation",
            ];
            named.contains(&media.essence())
                || (matches!(media.kind(), "image" | "audio" | "video") && !media.subtype().ends_with("+xml"))
        }
        MediaRange::Kind(kind) => matches!(&**kind, "image" | "audio" | "video"),
        MediaRange::Any => false,
    }
}

/// Text without a schema is a string.
pub(super) fn any_text() -> &'static Node {
    use std::sync::OnceLock;
    static SCHEMA: OnceLock<Node> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let value = |value| Node { at: Span::default(), value };
        let kind = crate::document::Key { text: "type".into(), at: Span::default() };
        value(crate::document::Value::Object(vec![(
            kind,
            value(crate::document::Value::String("string".into())),
        )]))
    })
}

pub(super) fn compiled(
    reader: &mut Reader<'_>,
    result: Result<CompiledSchema, Vec<Finding>>,
) -> Option<CompiledSchema> {
    match result {
        Ok(schema) => Some(schema),
        Err(findings) => {
            reader.findings.extend(findings);
            None
        }
    }
}

fn form<'d>(
    reader: &mut Reader<'d>,
    compiler: &mut Compiler<'d>,
    media: &'d Node,
    schema: &'d Node,
    unknown: Unknown,
) -> Option<Form> {
    let compiled = compiled(reader, compiler.request(schema))?;
    let mut properties: Vec<(&'d Key, &'d Node)> = Vec::new();
    collect(reader.document.bundle(), schema, 0, &mut properties);
    let encodings = reader.members(media, "encoding");
    for (key, _) in encodings {
        if !properties.iter().any(|(name, _)| name.text == key.text) {
            reader.warning("keyword-idle", key.at, format!("there is no property `{}` to encode", key.text));
        }
    }
    let mut fields = Vec::new();
    let mut names = Names::default();
    let mut whole = true;
    for (key, property) in properties {
        let encoding = encodings.iter().find(|(name, _)| name.text == key.text).map(|(_, node)| node);
        let encoding = match encoding {
            Some(node) => reader.object(node, Kind::Encoding),
            None => None,
        };
        let Some(parsed) = form_field(reader, compiler, key, property, encoding) else {
            whole = false;
            continue;
        };
        let index = u16::try_from(fields.len()).unwrap_or(u16::MAX);
        if claim(&mut names, &parsed, index).is_err() {
            reader.error(
                "parameter-ambiguous",
                key.at,
                format!("the name `{}` is claimed twice in this form", key.text),
            );
            whole = false;
        }
        fields.push(parsed);
    }
    whole.then_some(Form { fields, names, schema: compiled, unknown })
}

fn form_field<'d>(
    reader: &mut Reader<'d>,
    compiler: &mut Compiler<'d>,
    key: &'d Key,
    property: &'d Node,
    encoding: Option<&'d Node>,
) -> Option<super::Parameter> {
    let styled =
        encoding.is_some_and(|e| ["style", "explode", "allowReserved"].iter().any(|k| e.get(k).is_some()));
    let style = match encoding.and_then(|e| reader.text(e, "style")) {
        None => Style::Form,
        Some(text) => match Style::parse(text) {
            Some(style) => style,
            None => {
                reader.error("style-undefined", key.at, format!("`style: {text}` is not defined in a form"));
                return None;
            }
        },
    };
    let explode = encoding.and_then(|e| reader.flag(e, "explode")).unwrap_or(style == Style::Form);
    let explode = explode || style == Style::DeepObject;
    let content = encoding.and_then(|e| reader.text(e, "contentType"));
    let content = content.and_then(|text| MediaType::parse(text).ok()).map(|media| media.family());
    let shape = super::shape::shape(reader.document.bundle(), property);
    // Objects are JSON where `encoding` names no style (OpenAPI 3.0.4, Encoding Object).
    let json = content == Some(Family::Json) || (!styled && (shape.nested || shape.object.is_some()));
    let mut parsed = field(
        reader,
        compiler,
        Field { name: &key.text, schema: property, json, location: In::Query, style, explode, at: key.at },
    )?;
    // Text of a form may be as long as a body's.
    parsed.max_length = 256 << 10;
    // An empty field is what a browser sends for every empty input; the schema judges it.
    parsed.allow_empty = true;
    parsed.lines = true;
    Some(parsed)
}

/// The properties of an object schema, through references and compositions.
pub(super) fn collect<'d>(
    bundle: &'d crate::document::Bundle,
    schema: &'d Node,
    depth: usize,
    out: &mut Vec<(&'d Key, &'d Node)>,
) {
    if depth > 16 {
        return;
    }
    let schema = super::shape::target(bundle, schema);
    for (key, property) in schema.get("properties").and_then(Node::as_object).unwrap_or_default() {
        if !out.iter().any(|(known, _)| known.text == key.text) {
            out.push((key, property));
        }
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        for branch in schema.get(keyword).and_then(Node::as_array).unwrap_or_default() {
            collect(bundle, branch, depth + 1, out);
        }
    }
}

/// Gives the names of a query parameter or field to it.
pub(crate) fn claim(names: &mut Names, parameter: &super::Parameter, index: u16) -> Result<(), ()> {
    let exploded = parameter.explode && parameter.style != Style::DeepObject && !parameter.json;
    match &parameter.shape.object {
        Some(members) if exploded => {
            for (name, _) in &members.properties {
                names.claim(name, Claim::Property(index))?;
            }
            if members.others.is_some() {
                names.claim_rest(index)?;
            }
            // Where it may also be something else, that stands under its own name.
            if parameter.shape.array.is_some() || !parameter.shape.scalar.is_empty() {
                names.claim(&parameter.name, Claim::Whole(index))?;
            }
        }
        Some(_) if parameter.style == Style::DeepObject && !parameter.json => {
            names.claim_deep(&parameter.name, index);
            if !parameter.shape.scalar.is_empty() {
                names.claim(&parameter.name, Claim::Whole(index))?;
            }
        }
        _ => names.claim(&parameter.name, Claim::Whole(index))?,
    }
    Ok(())
}

/// Reads the `responses` of an operation.
pub(crate) fn responses<'d>(
    reader: &mut Reader<'d>,
    compiler: &mut Compiler<'d>,
    operation: &'d Node,
    id: &str,
) -> Vec<Response> {
    let mut out: Vec<Response> = Vec::new();
    for (key, node) in reader.members(operation, "responses") {
        if key.text.starts_with("x-") {
            continue;
        }
        let Some(status) = StatusRange::parse(&key.text) else {
            let finding = Finding::error("response-invalid", key.at, format!("`{}` is no status", key.text));
            reader.findings.push(finding.help("`200`, `4XX` or `default`"));
            continue;
        };
        let Some(node) = reader.object(node, Kind::Response) else { continue };
        let mut contents = Vec::new();
        for (media_key, media) in reader.members(node, "content") {
            let Some(range) = range(reader, media_key) else { continue };
            let Some(media) = reader.object(media, Kind::MediaType) else { continue };
            let reads = match &range {
                MediaRange::Exact(media) => matches!(
                    media.family(),
                    Family::Json | Family::NdJson | Family::JsonSeq | Family::EventStream
                ),
                MediaRange::Any => true,
                MediaRange::Kind(kind) => &**kind == "application",
            };
            let schema = match media.get("schema") {
                // An event stream's schema is of its items, and optional.
                Some(schema) if reads => match compiler.response(schema) {
                    Ok(schema) => Some(schema),
                    Err(findings) => {
                        reader.findings.extend(findings);
                        continue;
                    }
                },
                None if reads && is_json(&range) && !reader.terms.shapeless.iter().any(|l| l.covers(id)) => {
                    reader.findings.push(
                        Finding::error(
                            "body-shapeless",
                            media_key.at,
                            format!("the response `{}` has no `schema`", media_key.text),
                        )
                        .help(
                            "say what it holds, or loosen `shapeless` for this operation in portcullis.yaml",
                        ),
                    );
                    continue;
                }
                _ => None,
            };
            contents.push(ResponseContent { range, schema, at: media_key.at });
        }
        super::annotations::links(reader, node);
        let mut headers = Vec::new();
        for (name, header) in reader.members(node, "headers") {
            if reader.object(header, Kind::Header).is_some() {
                headers.push(name.text.to_ascii_lowercase().into());
            }
        }
        if out.iter().any(|known| known.status == status) {
            reader.error("response-invalid", key.at, format!("the status `{}` stands here twice", key.text));
        }
        out.push(Response { status, contents, headers, at: key.at });
    }
    out
}

fn is_json(range: &MediaRange) -> bool {
    matches!(range, MediaRange::Exact(media) if media.family() == Family::Json)
}
