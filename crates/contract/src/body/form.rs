//! `application/x-www-form-urlencoded` bodies: split and decoded like a query, typed by schema and `encoding`,
//! checked as one object, and written again (`contract.md`, section 11.4).

use crate::json::{Builder, Kind, Node, Tape};
use crate::model::{Parameter, Unknown};
use crate::param::Value;
use crate::param::query::Names;
use crate::param::read::{Wrong, form_pairs};
use crate::schema::CompiledSchema;
use crate::violation::{MOST, Rule, Violation};

/// How a form is read.
#[derive(Debug)]
pub struct Form {
    pub(crate) fields: Vec<Parameter>,
    pub(crate) names: Names,
    pub(crate) schema: CompiledSchema,
    pub(crate) unknown: Unknown,
}

/// A form whose values were checked.
#[derive(Debug)]
pub struct FormBody {
    tape: Tape,
    text: String,
}

impl FormBody {
    /// The form as one object, for rules that name a place in the body.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// The form written again: fields in the order of the document, items in the order received.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Form {
    /// Reads a form; `body` is complete and within its bounds.
    ///
    /// # Errors
    /// Violations by pointer, at most 20.
    pub fn read(&self, body: &[u8]) -> Result<FormBody, Vec<Violation>> {
        let whole = |rule: Rule| vec![Violation::pointer(rule, String::new(), "the form")];
        let text = std::str::from_utf8(body).map_err(|_| whole(Rule::Encoding))?;
        let mut violations = Vec::new();
        let mut values: Vec<(&Parameter, Value)> = Vec::new();
        if !text.is_empty() {
            let pairs = form_pairs(text, &self.names, |name| {
                if self.unknown == Unknown::Reject && violations.len() < MOST {
                    violations.push(Violation::pointer(Rule::UnknownProperty, pointer(name), "the form"));
                }
            })
            .map_err(whole)?;
            for (index, field) in self.fields.iter().enumerate() {
                match field.in_pairs(index, &pairs) {
                    Ok(None) => {}
                    Ok(Some(value)) => values.push((field, value)),
                    Err(Wrong::Rule(rule)) => {
                        violations.push(Violation::pointer(rule, pointer(&field.name), "the form"));
                    }
                    Err(Wrong::Schema(_)) => {
                        violations.push(Violation::pointer(Rule::Schema, pointer(&field.name), "the form"));
                    }
                }
            }
        }
        if !violations.is_empty() {
            violations.truncate(MOST);
            return Err(violations);
        }
        let mut builder = Builder::new();
        builder.begin_object();
        for (field, value) in &values {
            builder.key(&field.name);
            build(&mut builder, value);
        }
        builder.end();
        let tape = builder.finish().map_err(|_| whole(Rule::Schema))?;
        if !self.schema.is_valid(&tape) {
            return Err(self.schema.violations(&tape));
        }
        let mut out = String::with_capacity(text.len());
        let mut first = true;
        for (field, value) in &values {
            field.writing().pairs(&mut out, value, &mut first);
        }
        Ok(FormBody { tape, text: out })
    }
}

fn pointer(name: &str) -> String {
    format!("/{}", crate::document::node::escape(&crate::violation::shown(name)))
}

fn build(builder: &mut Builder, value: &Value) {
    match value {
        Value::Scalar(scalar) => scalar.build(builder),
        Value::Array(items) => {
            builder.begin_array();
            items.iter().for_each(|item| item.build(builder));
            builder.end();
        }
        Value::Object(members) => {
            builder.begin_object();
            for (name, scalar) in members {
                builder.key(name);
                scalar.build(builder);
            }
            builder.end();
        }
        Value::Json(text) => match crate::param::grammar::json(text) {
            Ok(tape) => copy(builder, tape.root()),
            // It was scanned when it was read.
            Err(_) => {
                builder.null();
            }
        },
    }
}

/// Recursion is as deep as a tape may be.
fn copy(builder: &mut Builder, node: Node<'_>) {
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
