//! The request as it was received, and the base that is made of it (RFC 9421 § 2.5).

use super::Refusal;
use super::fields::{Component, Form};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sfv::{Dictionary, FieldType, Item, List, ListSerializer, Parser};
use std::borrow::Cow;

/// Target, authority and field lines before anything was normalised. There are no accessors:
/// matching, logs and forwarding cannot see it, and a base is all that it gives.
pub struct Received {
    method: String,
    scheme: &'static str,
    authority: String,
    target: String,
    /// Names and values one after another, and where each ends: a request has many, and none is looked at alone.
    text: Vec<u8>,
    fields: Vec<Line>,
}

struct Line {
    start: usize,
    name_end: usize,
    end: usize,
}

impl Received {
    /// `tls` says whether the external scheme is https; `target` is the request target as received
    /// (HTTP/2: `:path`); field lines come in the order received, each by itself.
    pub fn new<N: AsRef<str>, V: AsRef<[u8]>>(
        method: impl Into<String>,
        tls: bool,
        authority: &str,
        target: impl Into<String>,
        fields: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut authority = authority.to_ascii_lowercase();
        let (scheme, port) = if tls { ("https", ":443") } else { ("http", ":80") };
        if authority.ends_with(port) {
            authority.truncate(authority.len() - port.len());
        }
        let (mut text, mut lines) = (Vec::with_capacity(1_024), Vec::with_capacity(16));
        for (name, value) in fields {
            let start = text.len();
            text.extend(name.as_ref().bytes().map(|b| b.to_ascii_lowercase()));
            let name_end = text.len();
            text.extend_from_slice(value.as_ref());
            lines.push(Line { start, name_end, end: text.len() });
        }
        Self { method: method.into(), scheme, authority, target: target.into(), text, fields: lines }
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let own = move |line: &Line| self.text.get(line.start..line.name_end) == Some(name.as_bytes());
        let value = |line: &Line| self.text.get(line.name_end..line.end).unwrap_or_default();
        self.fields.iter().filter(move |line| own(line)).map(value)
    }

    /// The lines of a base for these components, each with its line feed.
    pub(super) fn lines(&self, components: &[Component], out: &mut Vec<u8>) -> Result<(), Refusal> {
        for component in components {
            component.write(out);
            out.extend_from_slice(b": ");
            let start = out.len();
            self.value(component, out)?;
            // A line break inside a value would be a line of the base that nobody covered.
            if out.get(start..).is_none_or(|value| value.iter().any(|b| matches!(b, b'\r' | b'\n'))) {
                return Err(Refusal::Coverage("line-break"));
            }
            out.push(b'\n');
        }
        Ok(())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }

    pub(super) fn field_lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.named(name).map(trim)
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// The URL without its query (`htu` of RFC 9449).
    pub(crate) fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority, self.path_and_query().0)
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query as received; the query with its `?`, or empty.
    pub(crate) fn path_and_query(&self) -> (&str, &str) {
        let target = match self.target.split_once("://") {
            // absolute-form, as clients of a forward proxy send it
            Some((scheme, rest)) if !self.target.starts_with('/') && !scheme.contains(['/', '?']) => {
                let start = rest.find(['/', '?']).unwrap_or(rest.len());
                rest.split_at(start).1
            }
            _ => self.target.as_str(),
        };
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        (if path.is_empty() { "/" } else { path }, query)
    }

    /// The one value of a field, trimmed; empty when it is absent.
    pub(crate) fn joined(&self, name: &str) -> Vec<u8> {
        self.field_lines(name).collect::<Vec<_>>().join(&b", "[..])
    }

    fn value(&self, component: &Component, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let (path, query) = self.path_and_query();
        let name = component.name();
        let form = component.form().filter(|form| *form == Form::Plain || !name.starts_with('@'));
        let form = form.ok_or(Refusal::Coverage("component-parameter"))?;
        let derived: Cow<'_, str> = match name {
            "@method" => self.method.as_str().into(),
            "@authority" => self.authority.as_str().into(),
            "@scheme" => self.scheme.into(),
            "@request-target" => self.target.as_str().into(),
            "@path" => path.into(),
            "@query" if query.is_empty() => "?".into(),
            "@query" => query.into(),
            "@target-uri" => format!("{}://{}{path}{query}", self.scheme, self.authority).into(),
            // @status belongs to answers, @query-param encodes again, others are unknown
            name if name.starts_with('@') => return Err(Refusal::Coverage("component-unknown")),
            name => return self.field(name, form, out),
        };
        out.extend_from_slice(derived.as_bytes());
        Ok(())
    }

    fn field(&self, name: &str, form: Form<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if !self.has(name) {
            return Err(Refusal::Coverage("component-absent"));
        }
        let text = match form {
            Form::Plain => {
                for (at, line) in self.field_lines(name).enumerate() {
                    if at > 0 {
                        out.extend_from_slice(b", ");
                    }
                    out.extend_from_slice(line);
                }
                return Ok(());
            }
            Form::Bytes => {
                let one = |line: &[u8]| format!(":{}:", STANDARD.encode(line));
                Some(self.field_lines(name).map(one).collect::<Vec<_>>().join(", "))
            }
            Form::Strict => strict(name, &self.joined(name)),
            Form::Member(key) => member(name, &self.joined(name), key),
        };
        out.extend_from_slice(text.ok_or(Refusal::Coverage("component-parameter"))?.as_bytes());
        Ok(())
    }
}

/// The fields whose structured type is known; for others `;sf` and `;key` would be a guess.
#[derive(Clone, Copy)]
enum Shape {
    Dictionary,
    List,
    Item,
}

fn shape(name: &str) -> Option<Shape> {
    Some(match name {
        "content-digest"
        | "repr-digest"
        | "want-content-digest"
        | "want-repr-digest"
        | "signature"
        | "signature-input"
        | "accept-signature"
        | "priority" => Shape::Dictionary,
        "client-cert-chain" => Shape::List,
        "client-cert" => Shape::Item,
        _ => return None,
    })
}

/// `;sf` (RFC 9421 § 2.1.1): the strict serialisation.
fn strict(name: &str, value: &[u8]) -> Option<String> {
    let parser = Parser::new(value);
    match shape(name)? {
        Shape::Dictionary => parser.parse::<Dictionary>().ok()?.serialize(),
        Shape::List => parser.parse::<List>().ok()?.serialize(),
        Shape::Item => Some(parser.parse::<Item>().ok()?.serialize()),
    }
}

/// `;key` (§ 2.1.2): one member of a dictionary.
fn member(name: &str, value: &[u8], key: &str) -> Option<String> {
    let Shape::Dictionary = shape(name)? else { return None };
    let dictionary = Parser::new(value).parse::<Dictionary>().ok()?;
    let mut list = ListSerializer::new();
    list.members(std::iter::once(dictionary.get(key)?));
    list.finish()
}

fn trim(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}
