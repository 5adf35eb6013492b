//! `application/x-www-form-urlencoded` bodies: split and decoded like a query, typed by schema and `encoding`,
//! checked as one object, and written again (`contract.md`, section 11.4).

use super::text::{self, TextRules};
use crate::json::{Builder, Tape};
use crate::model::{Parameter, Unknown};
use crate::param::Value;
use crate::param::encode::{self, Set};
use crate::param::grammar::decode_lines;
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

/// A form whose values were typed.
#[derive(Debug)]
pub struct FormBody {
    tape: Tape,
    text: String,
    violations: Vec<Violation>,
    stripped: u16,
}

/// Why a form was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormError {
    /// `malformed-body`: not UTF-8, no pairs, or too many. The text holds nothing of the request.
    Malformed(&'static str),
    /// A field cannot be typed, or is not declared: at most 20.
    Violations(Vec<Violation>),
}

impl FormBody {
    /// The form as one object, for rules that name a place in the body.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// What the schema says against it: to be refused, or reported where the operation is being learnt.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Pairs that were left out.
    pub const fn stripped(&self) -> u16 {
        self.stripped
    }

    /// The form written again: fields in the order of the document, items in the order received.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Form {
    /// What judges the form as one object.
    pub fn schema(&self) -> &CompiledSchema {
        &self.schema
    }

    /// Reads a form; `body` is complete and within its bounds.
    ///
    /// # Errors
    /// See [`FormError`].
    pub fn read(&self, body: &[u8]) -> Result<FormBody, FormError> {
        let text = std::str::from_utf8(body).map_err(|_| FormError::Malformed("form-not-utf-8"))?;
        let (mut violations, mut values, mut others) = (Vec::new(), Vec::new(), Vec::new());
        let mut stripped = 0u16;
        if !text.is_empty() {
            let mut nobody = |name: &str, raw: &str| {
                let wrong = match self.unknown {
                    Unknown::Reject => Some(Rule::UnknownProperty),
                    Unknown::Strip => {
                        stripped = stripped.saturating_add(1);
                        None
                    }
                    Unknown::Allow => self.pass(name, raw, &mut others).err(),
                };
                if let Some(rule) = wrong.filter(|_| violations.len() < MOST) {
                    violations.push(Violation::pointer(rule, pointer(name), "the form"));
                }
            };
            let pairs = form_pairs(text, &self.names, &mut nobody).map_err(|rule| {
                FormError::Malformed(if rule == Rule::TooMany { "too-many-pairs" } else { "form-syntax" })
            })?;
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
            return Err(FormError::Violations(violations));
        }
        let mut builder = Builder::new();
        builder.begin_object();
        for (field, value) in &values {
            builder.key(&field.name);
            build(&mut builder, value);
        }
        for (name, value) in &others {
            builder.key(name);
            builder.string(value);
        }
        builder.end();
        let tape = builder.finish().map_err(|_| {
            let twice = Violation::pointer(Rule::DuplicateParameter, String::new(), "the form");
            FormError::Violations(vec![twice])
        })?;
        let violations = if self.schema.is_valid(&tape) { Vec::new() } else { self.schema.violations(&tape) };
        let mut out = String::with_capacity(text.len());
        let mut first = true;
        for (field, value) in &values {
            field.writing().pairs(&mut out, value, &mut first);
        }
        for (name, value) in &others {
            if !std::mem::take(&mut first) {
                out.push('&');
            }
            encode::push(&mut out, name, Set::Unreserved);
            out.push('=');
            encode::push(&mut out, value, Set::Unreserved);
        }
        Ok(FormBody { tape, text: out, violations, stripped })
    }

    /// An undeclared pair under the loosening: text, and no name that some reader folds into a declared one.
    fn pass(&self, name: &str, raw: &str, others: &mut Vec<(String, String)>) -> Result<(), Rule> {
        self.names.may_pass(name)?;
        let value = decode_lines(raw)?;
        text::check(&value, TextRules::default())?;
        others.push((name.to_owned(), value.into_owned()));
        Ok(())
    }
}

fn pointer(name: &str) -> String {
    format!("/{}", crate::document::node::escape(&crate::violation::shown(name)))
}

pub(super) fn build(builder: &mut Builder, value: &Value) {
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
            Ok(tape) => super::multipart::copy(builder, tape.root()),
            // It was scanned when it was read.
            Err(_) => {
                builder.null();
            }
        },
    }
}
