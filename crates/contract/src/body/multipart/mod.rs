//! `multipart/form-data` (contract.md § 11.5): parsed strictly, each part by its declared type, the fields checked
//! together as one object, and written anew under a boundary of our own.

mod head;
mod parser;

pub use head::PartHead;
pub use parser::{Event, HEADER_BYTES, HEADERS, Malformed, PARTS, Parser};

use super::{Family, MediaRange, MediaType};
use crate::json::{self, Bounds, Builder, JsonError, Kind, Node, Tape};
use crate::model::{Parameter, Unknown};
use crate::param::Value;
use crate::param::query::Names;
use crate::param::read::Wrong;
use crate::schema::CompiledSchema;
use crate::upload::UploadRules;
use crate::violation::{MOST, Rule, Violation, shown};
use std::sync::Arc;

/// Bytes of one part of text.
pub const TEXT_BYTES: usize = 256 << 10;

/// How a multipart body is read.
#[derive(Debug)]
pub struct Multipart {
    pub(crate) fields: Vec<Field>,
    pub(crate) schema: CompiledSchema,
    pub(crate) unknown: Unknown,
    pub(crate) names: Names,
    /// What an undeclared field is read as, where it may pass.
    pub(crate) other: Option<Parameter>,
}

impl Multipart {
    /// What judges the fields as one object.
    pub fn schema(&self) -> &CompiledSchema {
        &self.schema
    }
}

/// A declared field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: Box<str>,
    /// An array: the name may come more than once.
    pub(crate) repeats: bool,
    pub(crate) holds: Holds,
    /// `encoding.contentType`; empty where the document leaves it at the default.
    pub(crate) media: Vec<MediaRange>,
    /// `encoding.headers`.
    pub(crate) headers: Vec<Parameter>,
}

/// What the parts of a field are.
#[derive(Debug)]
pub(crate) enum Holds {
    Json,
    Text(Box<Parameter>),
    File(FileField),
}

/// A field of files.
#[derive(Debug)]
pub(crate) struct FileField {
    pub(crate) rules: Arc<UploadRules>,
    /// `minLength`, `maxLength`, in bytes.
    pub(crate) shortest: u64,
    pub(crate) longest: Option<u64>,
    /// What stands for the file where the schema is asked.
    pub(crate) stand_in: String,
}

impl Multipart {
    /// Whether a field is a file: then the body is bounded as an upload.
    pub fn takes_files(&self) -> bool {
        self.fields.iter().any(|field| matches!(field.holds, Holds::File(_)))
    }

    /// The fields that are files.
    pub(crate) fn file_names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(|field| matches!(field.holds, Holds::File(_))).map(|field| &*field.name)
    }

    /// For one body.
    pub fn gather(&self) -> Gathering<'_> {
        Gathering {
            plan: self,
            parts: Vec::new(),
            violations: Vec::new(),
            files: 0,
            stripped: 0,
            current: Current::None,
        }
    }
}

/// What is done with the bytes of the part that began.
#[derive(Clone, Copy, Debug)]
pub enum Takes<'m> {
    /// They are handed to [`Gathering::bytes`], at most so many.
    Bytes(usize),
    /// They are a file; when it is judged, [`Gathering::file`] is told.
    File(&'m Arc<UploadRules>),
    /// They are left out: a violation was noted, or the field is stripped.
    Nothing,
}

/// Why a part ends the body's reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartError {
    /// `malformed-body`.
    Malformed(Malformed),
    /// It is no JSON.
    Json(JsonError),
}

/// A body part by part.
#[derive(Debug)]
pub struct Gathering<'m> {
    plan: &'m Multipart,
    parts: Vec<Part>,
    violations: Vec<Violation>,
    files: usize,
    stripped: u16,
    current: Current,
}

#[derive(Debug)]
enum Current {
    None,
    /// Declared: by its index; its headers, checked.
    Field(usize, Vec<(Box<str>, String)>),
    Other(Box<str>),
}

#[derive(Debug)]
struct Part {
    /// Of a declared one, its index.
    field: Option<usize>,
    name: Box<str>,
    headers: Vec<(Box<str>, String)>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Json(Tape),
    Text(String),
    File,
}

impl<'m> Gathering<'m> {
    /// A part begins.
    ///
    /// # Errors
    /// A header that is not declared.
    pub fn begin(&mut self, head: PartHead) -> Result<Takes<'m>, Malformed> {
        self.current = Current::None;
        let plan = self.plan;
        let Some((index, field)) = plan.fields.iter().enumerate().find(|(_, field)| field.name == head.name)
        else {
            if !head.others.is_empty() {
                return Err(Malformed("part-header-undeclared"));
            }
            return Ok(self.undeclared(head));
        };
        let mut headers = Vec::new();
        let mut fine = true;
        for (name, value) in &head.others {
            let declared = field.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            let declared = declared.ok_or(Malformed("part-header-undeclared"))?;
            match declared.in_line(value) {
                Ok(value) => {
                    let mut text = String::new();
                    declared.writing().value(&mut text, &value);
                    headers.push((declared.name.clone(), text));
                }
                Err(Wrong::Rule(rule)) => fine = self.wrong(rule, &field.name),
                Err(Wrong::Schema(_)) => fine = self.wrong(Rule::Schema, &field.name),
            }
        }
        for header in field.headers.iter().filter(|header| header.required) {
            if !head.others.iter().any(|(name, _)| header.name.eq_ignore_ascii_case(name)) {
                fine = self.wrong(Rule::Required, &field.name);
            }
        }
        if !field.repeats && self.parts.iter().any(|part| part.field == Some(index)) {
            fine = self.wrong(Rule::DuplicateParameter, &field.name);
        }
        if let Some(media) = &head.media
            && !field.takes(media)
        {
            fine = self.wrong(Rule::MediaType, &field.name);
        }
        if !fine {
            return Ok(Takes::Nothing);
        }
        self.current = Current::Field(index, headers);
        Ok(match &field.holds {
            Holds::Json => Takes::Bytes(usize::MAX),
            Holds::Text(_) => Takes::Bytes(TEXT_BYTES),
            Holds::File(file) => Takes::File(&file.rules),
        })
    }

    fn undeclared(&mut self, head: PartHead) -> Takes<'m> {
        let texts = || {
            MediaType::parse("text/plain").is_ok_and(|plain| {
                head.media.as_ref().is_none_or(|media| media.is_utf8() && media.essence() == plain.essence())
            })
        };
        match self.plan.unknown {
            Unknown::Strip => self.stripped = self.stripped.saturating_add(1),
            // Text may pass; a file that nobody looked at may not.
            Unknown::Allow if self.plan.names.may_pass(&head.name).is_err() => {
                self.wrong(Rule::AmbiguousName, &head.name);
            }
            Unknown::Allow if head.file_name.is_none() && texts() => {
                self.current = Current::Other(head.name);
                return Takes::Bytes(TEXT_BYTES);
            }
            Unknown::Allow | Unknown::Reject => {
                self.wrong(Rule::UnknownProperty, &head.name);
            }
        }
        Takes::Nothing
    }

    /// The part that began has ended: its bytes, as [`Takes::Bytes`] asked for them.
    ///
    /// # Errors
    /// See [`PartError`].
    pub fn bytes(&mut self, bytes: Vec<u8>, bounds: &Bounds, hash_key: [u64; 2]) -> Result<(), PartError> {
        let (field, name, headers) = match std::mem::replace(&mut self.current, Current::None) {
            Current::None => return Ok(()),
            Current::Other(name) => (None, name, Vec::new()),
            Current::Field(index, headers) => {
                let name = self.plan.fields.get(index).map_or_else(Box::default, |f| f.name.clone());
                (Some(index), name, headers)
            }
        };
        let holds = field.and_then(|index| self.plan.fields.get(index)).map(|field| &field.holds);
        let content = match holds {
            Some(Holds::Json) => Content::Json(json::scan(bytes, bounds, hash_key).map_err(PartError::Json)?),
            _ => match String::from_utf8(bytes) {
                Ok(text) => Content::Text(text),
                Err(_) => return Err(PartError::Malformed(Malformed("part-not-utf-8"))),
            },
        };
        self.parts.push(Part { field, name, headers, content });
        Ok(())
    }

    /// The part that began has ended, and was a file of so many bytes.
    pub fn file(&mut self, length: u64) {
        let Current::Field(index, headers) = std::mem::replace(&mut self.current, Current::None) else {
            return;
        };
        let Some(Field { name, holds: Holds::File(file), .. }) = self.plan.fields.get(index) else { return };
        if length < file.shortest {
            self.wrong(Rule::MinLength, name);
        }
        if file.longest.is_some_and(|longest| length > longest) {
            self.wrong(Rule::MaxLength, name);
        }
        self.parts.push(Part { field: Some(index), name: name.clone(), headers, content: Content::File });
        self.files += 1;
    }

    /// How many files were taken so far.
    pub const fn files(&self) -> usize {
        self.files
    }

    /// The body has ended: its fields are typed and checked together.
    ///
    /// # Errors
    /// At most 20 violations, each at a part.
    pub fn finish(mut self) -> Result<MultipartBody, Vec<Violation>> {
        let mut builder = Builder::new();
        builder.begin_object();
        let mut done: Vec<&str> = Vec::new();
        // Where each part's value stands: its name, and which of the name's.
        let parts = std::mem::take(&mut self.parts);
        let mut others: Vec<Violation> = Vec::new();
        for part in &parts {
            if done.contains(&&*part.name) {
                continue;
            }
            done.push(&part.name);
            let own: Vec<&Part> = parts.iter().filter(|other| other.name == part.name).collect();
            let field = part.field.and_then(|index| self.plan.fields.get(index));
            builder.key(&part.name);
            if let Err(rule) = build(&mut builder, field, self.plan.other.as_ref(), &own) {
                builder.null();
                others.push(Violation::pointer(rule, pointer(&part.name), "a field of the form"));
            }
        }
        builder.end();
        self.violations.append(&mut others);
        if !self.violations.is_empty() {
            self.violations.truncate(MOST);
            return Err(self.violations);
        }
        let whole = |_| vec![Violation::pointer(Rule::Schema, String::new(), "the form")];
        let tape = builder.finish().map_err(whole)?;
        let violations =
            if self.plan.schema.is_valid(&tape) { Vec::new() } else { self.plan.schema.violations(&tape) };
        let sent = parts.into_iter().map(|part| self.sent(part)).collect();
        Ok(MultipartBody { tape, sent, violations, stripped: self.stripped })
    }

    fn sent(&self, part: Part) -> SentPart {
        let field = part.field.and_then(|index| self.plan.fields.get(index));
        let (media, bytes) = match &part.content {
            Content::File => (None, None),
            Content::Json(tape) => {
                let mut out = Vec::new();
                json::write(tape, None, &mut out);
                (Some("application/json"), Some(out))
            }
            Content::Text(text) => {
                let text = match field.map(|field| &field.holds) {
                    Some(Holds::Text(parameter)) => canonical(parameter, text),
                    _ => text.clone(),
                };
                (None, Some(text.into_bytes()))
            }
        };
        // Where the document names one type, that is what the upstream expects to read.
        let named = field.and_then(|field| match field.media.as_slice() {
            [MediaRange::Exact(media)] if bytes.is_some() => Some(media.essence().into()),
            _ => None,
        });
        SentPart { name: part.name, media: named.or(media.map(Into::into)), headers: part.headers, bytes }
    }

    fn wrong(&mut self, rule: Rule, name: &str) -> bool {
        if self.violations.len() < MOST {
            self.violations.push(Violation::pointer(rule, pointer(name), "a field of the form"));
        }
        false
    }
}

impl Field {
    /// Whether a part that says what it is may be that.
    fn takes(&self, media: &MediaType) -> bool {
        let named = self.media.iter().any(|range| range.fits(media).is_some());
        match &self.holds {
            Holds::Json if self.media.is_empty() => media.family() == Family::Json && media.is_utf8(),
            Holds::Text(_) if self.media.is_empty() => media.essence() == "text/plain" && media.is_utf8(),
            Holds::Json | Holds::Text(_) => named && media.is_utf8(),
            // The content decides; `application/octet-stream` says nothing against it.
            Holds::File(_) => self.media.is_empty() || named || media.essence() == "application/octet-stream",
        }
    }
}

/// One text as it is written again: integers and UUIDs have one spelling.
fn canonical(parameter: &Parameter, text: &str) -> String {
    match parameter.in_parts(&[text]) {
        Ok(Value::Scalar(scalar)) => scalar.text.into(),
        Ok(Value::Array(items)) if items.len() == 1 => {
            items.into_iter().next().map_or_else(String::new, |item| item.text.into())
        }
        Ok(Value::Json(json)) => json.into(),
        _ => text.to_owned(),
    }
}

/// The value of one field, from its parts.
fn build(
    builder: &mut Builder,
    field: Option<&Field>,
    other: Option<&Parameter>,
    parts: &[&Part],
) -> Result<(), Rule> {
    let stand_in = match field.map(|field| &field.holds) {
        Some(Holds::File(file)) => file.stand_in.as_str(),
        _ => "",
    };
    let texts: Vec<&str> = parts
        .iter()
        .filter_map(|part| if let Content::Text(text) = &part.content { Some(text.as_str()) } else { None })
        .collect();
    if !texts.is_empty() {
        let parameter = match field.map(|field| &field.holds) {
            Some(Holds::Text(parameter)) => parameter,
            _ => other.ok_or(Rule::UnknownProperty)?,
        };
        super::form::build(builder, &parameter.in_parts(&texts)?);
        return Ok(());
    }
    let repeats = field.is_some_and(|field| field.repeats);
    if repeats {
        builder.begin_array();
    }
    for part in parts {
        match &part.content {
            Content::Json(tape) => copy(builder, tape.root()),
            Content::File => {
                builder.string(stand_in);
            }
            Content::Text(_) => {}
        }
    }
    if repeats {
        builder.end();
    }
    Ok(())
}

/// Recursion is as deep as a tape may be.
pub(super) fn copy(builder: &mut Builder, node: Node<'_>) {
    match node.kind() {
        Kind::Null => {
            builder.null();
        }
        Kind::Bool => {
            builder.bool(node.as_bool().unwrap_or(false));
        }
        Kind::Number => {
            builder.number(node.number_text().unwrap_or("0"));
        }
        Kind::String => {
            builder.string(node.as_str().unwrap_or(""));
        }
        Kind::Array => {
            builder.begin_array();
            node.items().for_each(|item| copy(builder, item));
            builder.end();
        }
        Kind::Object => {
            builder.begin_object();
            for (name, member) in node.members() {
                builder.key(name);
                copy(builder, member);
            }
            builder.end();
        }
    }
}

fn pointer(name: &str) -> String {
    format!("/{}", crate::document::node::escape(&shown(name)))
}

/// A body whose fields were typed.
#[derive(Debug)]
pub struct MultipartBody {
    tape: Tape,
    sent: Vec<SentPart>,
    violations: Vec<Violation>,
    stripped: u16,
}

impl MultipartBody {
    /// The form as one object, for rules that name a place in the body. A file is some text.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// What the schema says against it: to be refused, or reported where the operation is being learnt.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Fields that were left out.
    pub const fn stripped(&self) -> u16 {
        self.stripped
    }

    /// The parts, in the order received.
    pub fn into_parts(self) -> (Tape, Vec<SentPart>) {
        (self.tape, self.sent)
    }
}

/// A part as it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentPart {
    /// The field.
    pub name: Box<str>,
    /// `Content-Type`; of a file, the caller says it.
    pub media: Option<Box<str>>,
    /// Declared headers.
    pub headers: Vec<(Box<str>, String)>,
    /// Its content; none for a file.
    pub bytes: Option<Vec<u8>>,
}

impl SentPart {
    /// Appends delimiter and head. `media` and `file_name` are those of a file: cleaned, or ours.
    pub fn write_head(
        &self,
        boundary: &str,
        file_name: Option<&str>,
        media: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"").as_bytes());
        quote(&self.name, out);
        out.push(b'"');
        if let Some(file_name) = file_name {
            out.extend_from_slice(b"; filename=\"");
            quote(file_name, out);
            out.push(b'"');
        }
        out.extend_from_slice(b"\r\n");
        if let Some(media) = media.or(self.media.as_deref()) {
            out.extend_from_slice(format!("Content-Type: {media}\r\n").as_bytes());
        }
        for (name, value) in &self.headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn quote(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}
