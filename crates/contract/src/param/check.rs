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
                    && among.as_ref().is_none_or(|among| among.contains(&scalar.text))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::document::{Bounds, Bundle, Version, parse};
    use crate::model::fast;
    use crate::schema::{Compiler, Options};

    /// The native check of a schema, and the validator's.
    fn both(schema: &str) -> (Option<Fast>, CompiledSchema) {
        let mut bundle = Bundle::default();
        bundle.add(0, "s.yaml", parse(0, "s.yaml", schema.as_bytes(), &Bounds::default()).unwrap());
        let node = bundle.root().unwrap();
        let mut compiler = Compiler::new(&bundle, Version::V30, Options::default());
        let compiled = compiler.part(node, None).unwrap_or_else(|f| panic!("{schema}: {f:?}"));
        drop(compiler);
        (fast(&bundle, node, None), compiled)
    }

    fn agrees(schema: &str, kind: ScalarKind, text: &str) {
        let (fast, compiled) = both(schema);
        let scalar = Scalar { kind, text: text.into() };
        let fast = fast.unwrap_or_else(|| panic!("{schema} has no native check")).accepts(&scalar);
        let tape = Value::Scalar(scalar).tape().unwrap();
        assert_eq!(fast, compiled.is_valid(&tape), "{schema} {kind:?} {text}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn law_the_native_check_agrees_with_the_validator(
            bounds in (0i64..12, 0i64..12),
            format in prop::sample::select(vec!["int32", "int64"]),
            number in prop_oneof![-20i64..20, any::<i64>(), any::<i32>().prop_map(i64::from)],
            text in prop_oneof!["[aé😀]{0,14}", "[ -~]{0,14}"],
        ) {
            let (low, high) = (bounds.0.min(bounds.1), bounds.0.max(bounds.1));
            let number = number.to_string();
            for (schema, kind, text) in [
                (format!("{{type: integer, format: {format}}}"), ScalarKind::Integer, &number),
                (format!("{{type: integer, minimum: {low}, maximum: {high}}}"), ScalarKind::Integer, &number),
                (format!("{{type: integer, format: {format}, maximum: {high}}}"), ScalarKind::Integer, &number),
                (format!("{{type: integer, format: {format}}}"), ScalarKind::String, &text),
                ("{type: boolean}".to_owned(), ScalarKind::Integer, &number),
                (format!("{{type: string, minLength: {low}, maxLength: {high}}}"), ScalarKind::String, &text),
                (format!("{{type: string, minLength: {low}}}"), ScalarKind::String, &text),
                (format!("{{type: string, maxLength: {high}}}"), ScalarKind::String, &text),
                ("{type: string, enum: [a, é, aa]}".to_owned(), ScalarKind::String, &text),
                ("{type: string}".to_owned(), ScalarKind::Integer, &number),
                ("{type: string, format: uuid}".to_owned(), ScalarKind::String, &text),
            ] {
                agrees(&schema, kind, text);
            }
        }
    }

    #[test]
    fn the_native_check_agrees_at_the_edges() {
        for (format, texts) in [
            ("int32", ["2147483647", "2147483648", "-2147483648", "-2147483649", "99999999999999999999"]),
            (
                "int64",
                [
                    "9223372036854775807",
                    "9223372036854775808",
                    "-9223372036854775808",
                    "-9223372036854775809",
                    "0",
                ],
            ),
        ] {
            for text in texts {
                agrees(&format!("{{type: integer, format: {format}}}"), ScalarKind::Integer, text);
            }
        }
        for text in ["true", "false"] {
            agrees("{type: boolean}", ScalarKind::Boolean, text);
        }
        for text in [
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "6ba7b810-9dad-11d1-80b4-00c04fd430c",
            "6ba7b8109dad11d180b400c04fd430c8",
            "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}",
            "6ba7b810-9dad-11d1-80b4-00c04fd430cg",
            "00000000-0000-0000-0000-000000000000",
            "6ba7b81-09dad-11d1-80b4-00c04fd430c8",
        ] {
            agrees("{type: string, format: uuid}", ScalarKind::String, text);
        }
        // What is more than one scalar with bounds goes to the validator.
        for schema in [
            "{type: integer}",
            "{type: integer, multipleOf: 2, format: int32}",
            "{type: string, pattern: a}",
            "{type: string, format: email}",
            "{type: number}",
            "{type: integer, format: int32, nullable: true}",
            "{type: integer, format: int32, exclusiveMinimum: true, minimum: 1}",
            "{anyOf: [{type: string}]}",
        ] {
            assert!(both(schema).0.is_none(), "{schema}");
        }
    }
}
