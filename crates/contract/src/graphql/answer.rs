//! The answer of the upstream, walked with the operation that was sent (contract.md §§ 16.4, 16.5).

use super::fields::{Form, FormNode, What};
use super::print::RESERVED;
use super::schema::{Scalar, Schema, Shape, Ty};
use super::value::{json_fits, write};
use crate::json::{Kind, Node, write_string};

/// Nulled places that are told about in one answer.
const MOST: usize = 50;
/// Errors of the upstream that are kept.
const MOST_ERRORS: usize = 50;

/// An answer written anew.
#[derive(Debug, Default)]
pub struct Written {
    /// The text.
    pub body: Vec<u8>,
    /// Keys that nobody had selected.
    pub dropped: u32,
}

/// Why an answer does not leave.
pub(super) type Wrong = &'static str;

/// What becomes of one answer.
pub(super) struct Walk<'a> {
    pub(super) schema: Option<&'a Schema>,
    pub(super) form: Option<&'a Form>,
    pub(super) keep_codes: &'a [Box<str>],
}

impl Walk<'_> {
    /// Writes one response of the GraphQL form.
    pub(super) fn response(&self, node: Node<'_>, out: &mut Written) -> Result<(), Wrong> {
        if node.kind() != Kind::Object {
            return Err("graphql-no-object");
        }
        let (data, errors) = (node.get("data"), node.get("errors"));
        if data.is_none() && errors.is_none() {
            return Err("graphql-neither-data-nor-errors");
        }
        out.dropped = out.dropped.saturating_add(
            u32::try_from(node.members().filter(|(name, _)| !matches!(*name, "data" | "errors")).count())
                .unwrap_or(u32::MAX),
        );
        let mut written = Vec::new();
        let mut nulled: Vec<Vec<u8>> = Vec::new();
        if let Some(data) = data {
            match (self.schema, self.form) {
                (Some(schema), Some(form)) => {
                    let mut walk = Data { schema, form, nulled: &mut nulled, dropped: 0, path: Vec::new() };
                    match data.kind() {
                        Kind::Null => written.extend_from_slice(b"null"),
                        Kind::Object => walk.object(data, 0, &mut written)?,
                        _ => return Err("graphql-data-no-object"),
                    }
                    out.dropped = out.dropped.saturating_add(walk.dropped);
                }
                _ => write(data, &mut written),
            }
        }
        let body = &mut out.body;
        body.push(b'{');
        let mut begun = false;
        let mut list = Vec::new();
        if let Some(errors) = errors.filter(|errors| !errors.is_null()) {
            if errors.kind() != Kind::Array {
                return Err("graphql-errors-no-list");
            }
            for error in errors.items().take(MOST_ERRORS) {
                let mut one = Vec::new();
                self.error(error, &mut one);
                list.push(one);
            }
        }
        for path in nulled {
            let mut one = b"{\"message\":\"Not allowed\",\"path\":".to_vec();
            one.extend_from_slice(&path);
            one.extend_from_slice(b",\"extensions\":{\"code\":\"graphql-forbidden\"}}");
            list.push(one);
        }
        if !list.is_empty() {
            body.extend_from_slice(b"\"errors\":[");
            body.extend_from_slice(&list.join(&b','));
            body.push(b']');
            begun = true;
        }
        if data.is_some() {
            if begun {
                body.push(b',');
            }
            body.extend_from_slice(b"\"data\":");
            body.extend_from_slice(&written);
        }
        if !begun && data.is_none() {
            // `errors: null` alone: there is nothing to say.
            return Err("graphql-neither-data-nor-errors");
        }
        body.push(b'}');
        Ok(())
    }

    /// An error of the upstream: its words only where its code is known, of its extensions the code alone.
    fn error(&self, error: Node<'_>, out: &mut Vec<u8>) {
        let code =
            error.get("extensions").and_then(|extensions| extensions.get("code")).and_then(Node::as_str);
        let kept = code.filter(|code| self.keep_codes.iter().any(|known| **known == **code));
        let message = kept.and_then(|_| error.get("message")).and_then(Node::as_str).map(cut);
        out.extend_from_slice(b"{\"message\":");
        write_string(message.filter(|text| !text.is_empty()).unwrap_or("Internal error"), out);
        if let Some(path) = error.get("path").filter(|path| self.is_path(*path)) {
            out.extend_from_slice(b",\"path\":");
            write(path, out);
        }
        if let Some(code) = code.filter(|code| is_code(code)) {
            out.extend_from_slice(b",\"extensions\":{\"code\":");
            write_string(code, out);
            out.push(b'}');
        }
        out.push(b'}');
    }

    fn is_path(&self, path: Node<'_>) -> bool {
        path.kind() == Kind::Array
            && path.len() <= 256
            && path.items().all(|step| match step.as_str() {
                Some(key) => self.form.is_some_and(|form| form.knows(key)),
                None => step.as_u64().is_some(),
            })
    }
}

/// A validator's help for those who guess.
fn cut(message: &str) -> &str {
    let folded = message.to_ascii_lowercase();
    match folded.find("did you mean") {
        Some(at) => message.get(..at).unwrap_or("").trim_end(),
        None => message,
    }
}

fn is_code(code: &str) -> bool {
    code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

struct Data<'a, 'n> {
    schema: &'a Schema,
    form: &'a Form,
    nulled: &'n mut Vec<Vec<u8>>,
    dropped: u32,
    /// Each step already JSON.
    path: Vec<Vec<u8>>,
}

impl Data<'_, '_> {
    fn object(&mut self, node: Node<'_>, at: usize, out: &mut Vec<u8>) -> Result<(), Wrong> {
        let Some(form) = self.form.nodes.get(at) else { return Err("graphql-form") };
        out.push(b'{');
        let mut begun = false;
        let mut comma = |out: &mut Vec<u8>| {
            if begun {
                out.push(b',');
            }
            begun = true;
        };
        for (key, value) in node.members() {
            if let Some(key) = marked(form, key) {
                // What the caller may not see, where it would have stood.
                if node.get(key).is_none() {
                    comma(out);
                    write_string(key, out);
                    out.extend_from_slice(b":null");
                    self.tell(key);
                }
                continue;
            }
            let Some(selected) = form.get(key) else {
                self.dropped = self.dropped.saturating_add(1);
                continue;
            };
            comma(out);
            write_string(key, out);
            out.push(b':');
            let mut step = Vec::new();
            write_string(key, &mut step);
            self.path.push(step);
            match selected.what {
                What::TypeName => match value.as_str() {
                    Some(name) if self.schema.find(name).is_some() => write_string(name, out),
                    _ => return Err("graphql-typename"),
                },
                What::Field(parent, index) => {
                    let Some(def) = self.schema.field_at(parent, index) else { return Err("graphql-form") };
                    self.value(value, &def.ty, selected.below, out)?;
                }
            }
            self.path.pop();
        }
        out.push(b'}');
        Ok(())
    }

    fn value(
        &mut self,
        node: Node<'_>,
        ty: &Ty,
        below: Option<usize>,
        out: &mut Vec<u8>,
    ) -> Result<(), Wrong> {
        if node.is_null() {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match (ty, below) {
            (Ty::List(inner, _), _) => {
                if node.kind() != Kind::Array {
                    return Err("graphql-no-list");
                }
                out.push(b'[');
                for (at, item) in node.items().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    self.path.push(at.to_string().into_bytes());
                    self.value(item, inner, below, out)?;
                    self.path.pop();
                }
                out.push(b']');
                Ok(())
            }
            (Ty::Named(..), Some(below)) => {
                if node.kind() != Kind::Object {
                    return Err("graphql-no-object-where-one-was-selected");
                }
                self.object(node, below, out)
            }
            (Ty::Named(id, _), None) => {
                let fits = match self.schema.ty(*id).map(|ty| &ty.shape) {
                    Some(Shape::Scalar(scalar)) => {
                        *scalar == Scalar::Custom || json_fits(*scalar, node, false)
                    }
                    Some(Shape::Enum(values)) => {
                        node.as_str().is_some_and(|name| values.iter().any(|value| **value == *name))
                    }
                    _ => false,
                };
                if !fits {
                    return Err("graphql-leaf-of-another-kind");
                }
                write(node, out);
                Ok(())
            }
        }
    }

    fn tell(&mut self, key: &str) {
        if self.nulled.len() >= MOST {
            return;
        }
        let mut steps = self.path.clone();
        let mut step = Vec::new();
        write_string(key, &mut step);
        steps.push(step);
        let mut path = b"[".to_vec();
        path.extend_from_slice(&steps.join(&b','));
        path.push(b']');
        self.nulled.push(path);
    }
}

fn marked<'f>(form: &'f FormNode, key: &str) -> Option<&'f str> {
    let number: u32 = key.strip_prefix(RESERVED)?.parse().ok()?;
    form.cut.iter().find(|(known, _)| *known == number).map(|(_, key)| &**key)
}
