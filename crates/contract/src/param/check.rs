//! Whether a decoded value fits its schema: natively for the simple scalars that most parameters are, else by the
//! validator. A law in the tests says that both agree.

use super::{Scalar, ScalarKind, Value};
use crate::schema::CompiledSchema;
use crate::violation::{In, Place, Rule, Violation};

/// The checks of one parameter.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) fast: Option<Fast>,
    pub(crate) schema: CompiledSchema,
}

/// A schema that is one scalar with bounds and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fast {
    Integer { min: i64, max: i64 },
    Boolean,
    Text { min: usize, max: usize, among: Option<Vec<Box<str>>> },
    Uuid,
}

impl Check {
    /// Whether `value` fits.
    pub(crate) fn accepts(&self, value: &Value) -> bool {
        if let (Some(fast), Value::Scalar(scalar)) = (&self.fast, value) {
            return fast.accepts(scalar);
        }
        value.tape().is_some_and(|tape| self.schema.is_valid(&tape))
    }

    /// Why it does not fit, at the parameter.
    pub(crate) fn violations(&self, value: &Value, name: &str, within: In) -> Vec<Violation> {
        let found = value.tape().map(|tape| self.schema.violations(&tape)).unwrap_or_default();
        let mut out: Vec<Violation> = Vec::new();
        for violation in found {
            let private = match &violation.at {
                Place::Pointer(pointer) if !pointer.is_empty() => {
                    format!("{} at {pointer}", violation.private)
                }
                _ => violation.private,
            };
            out.push(Violation::parameter(violation.rule, name, within, private));
        }
        if out.is_empty() {
            out.push(Violation::parameter(Rule::Schema, name, within, "the schema of the parameter"));
        }
        out
    }
}

impl Fast {
    fn accepts(&self, scalar: &Scalar) -> bool {
        match self {
            Self::Integer { min, max } => {
                scalar.kind == ScalarKind::Integer
                    && scalar.text.parse::<i64>().is_ok_and(|value| (*min..=*max).contains(&value))
            }
            Self::Boolean => scalar.kind == ScalarKind::Boolean,
            Self::Text { min, max, among } => {
                let length = scalar.text.len();
                // Characters are at most bytes and at least a quarter of them.
                let fits = (*min == 0 || length >= *min) && length / 4 <= *max && {
                    let exact = length > *max || (*min > 0 && length < min.saturating_mul(4));
                    !exact || (*min..=*max).contains(&scalar.text.chars().count())
                };
                scalar.kind == ScalarKind::String
                    && fits
                    && among.as_ref().is_none_or(|among| among.iter().any(|text| *text == scalar.text))
            }
            Self::Uuid => scalar.kind == ScalarKind::String && is_uuid(&scalar.text),
        }
    }
}

/// RFC 9562 § 4, the form with hyphens; nothing else is a UUID here.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}
