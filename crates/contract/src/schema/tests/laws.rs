//! Our evaluator against the crate `jsonschema`, over the tape and over `serde_json`, on schemas and values made up.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Doc, tape};
use crate::document::Version;
use crate::json::Tape;
use crate::schema::{CompiledSchema, Compiler, Options};

fn name() -> impl Strategy<Value = String> {
    "[abc]"
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5i64..6).prop_map(Value::from),
        (-50i64..60).prop_map(|n| json!(n as f64 / 10.0)),
        "[ab]{0,3}".prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn keyword(
    inner: impl Strategy<Value = Value> + Clone + 'static,
) -> impl Strategy<Value = (&'static str, Value)> {
    let list = prop::collection::vec(inner.clone(), 1..3).prop_map(Value::from).boxed();
    let members = prop::collection::btree_map(name(), inner.clone(), 1..3)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
        .boxed();
    prop_oneof![
        prop_oneof![
            Just("object"),
            Just("array"),
            Just("string"),
            Just("integer"),
            Just("number"),
            Just("null"),
            Just("boolean")
        ]
        .prop_map(|t| ("type", json!(t))),
        Just(("type", json!(["object", "string", "integer"]))),
        prop::collection::vec(scalar(), 1..4).prop_map(|v| ("enum", json!(v))),
        value().prop_map(|v| ("const", v)),
        (0u64..3).prop_map(|n| ("minLength", json!(n))),
        (0u64..3).prop_map(|n| ("maxLength", json!(n + 2))),
        Just(("pattern", json!("^a|b$"))),
        (-3i64..1).prop_map(|n| ("minimum", json!(n))),
        (1i64..4).prop_map(|n| ("maximum", json!(n))),
        Just(("exclusiveMinimum", json!(-2.5))),
        Just(("multipleOf", json!(0.5))),
        prop::collection::btree_set(name(), 1..3).prop_map(|names| ("required", json!(names))),
        (0u64..2).prop_map(|n| ("minProperties", json!(n))),
        (0u64..2).prop_map(|n| ("maxItems", json!(n + 2))),
        Just(("uniqueItems", json!(true))),
        members.clone().prop_map(|v| ("properties", v)),
        members.clone().prop_map(|v| ("dependentSchemas", v)),
        inner.clone().prop_map(|v| ("patternProperties", json!({ "^[ab]$": v }))),
        inner.clone().prop_map(|v| ("additionalProperties", v)),
        Just(("additionalProperties", json!(false))),
        Just(("unevaluatedProperties", json!(false))),
        inner.clone().prop_map(|v| ("unevaluatedProperties", v)),
        Just(("unevaluatedItems", json!(false))),
        inner.clone().prop_map(|v| ("items", v)),
        list.clone().prop_map(|v| ("prefixItems", v)),
        inner.clone().prop_map(|v| ("contains", v)),
        Just(("dependentRequired", json!({ "a": ["b"] }))),
        Just(("propertyNames", json!({ "pattern": "[ab]" }))),
        list.clone().prop_map(|v| ("allOf", v)),
        list.clone().prop_map(|v| ("anyOf", v)),
        list.prop_map(|v| ("oneOf", v)),
        inner.clone().prop_map(|v| ("not", v)),
        inner.clone().prop_map(|v| ("if", v)),
        inner.clone().prop_map(|v| ("then", v)),
        inner.prop_map(|v| ("else", v)),
        Just(("$ref", json!("#/$defs/x"))),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!({})),
        Just(json!({ "type": "string" })),
        Just(json!({ "type": ["integer", "object"] })),
        Just(json!({ "minimum": 1 })),
        Just(json!({ "properties": { "a": { "$ref": "#/$defs/x" } } })),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        prop::collection::vec(keyword(inner.boxed()), 1..5).prop_map(|keywords| {
            Value::Object(keywords.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>())
        })
    })
}

fn compiled(root: &Value, options: Options) -> Option<(CompiledSchema, Value)> {
    let doc = Doc::whole(Version::V31, "a.json", &root.to_string());
    let mut compiler = Compiler::new(&doc.bundle, Version::V31, options);
    let schema = compiler.part(doc.bundle.root()?, None).ok()?;
    let root = (0..).find(|i| compiler.translator.planned(*i) == schema.strict)?;
    let document = compiler.translator.document(root);
    Some((schema, document))
}

fn loose() -> Options {
    Options {
        allow_unknown: true,
        lenient_integers: true,
        shapeless: true,
        infer: false,
        ..Options::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_global_rejects: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn three_validators_agree(mut root in schema(), target in schema(), values in prop::collection::vec(value(), 1..12), closed: bool) {
        let options = if closed { Options { infer: false, lenient_integers: true, ..Options::default() } } else { loose() };
        if let Some(map) = root.as_object_mut() {
            map.insert("$defs".into(), json!({ "x": target }));
        }
        let Some((ours, document)) = compiled(&root, options) else { return Ok(()) };
        let theirs = jsonschema::draft202012::options().build(&document).unwrap();
        let over_tape = jsonschema::options_for::<Tape>()
            .with_draft(jsonschema::Draft::Draft202012)
            .offline()
            .build(&document)
            .unwrap();
        for value in values {
            let tape = tape(&value.to_string());
            let expected = theirs.is_valid(&value);
            prop_assert_eq!(over_tape.is_valid(tape.root()), expected, "tape: {} for {}", value, document);
            prop_assert_eq!(ours.is_valid(&tape), expected, "ours: {} for {}", value, document);
            prop_assert_eq!(ours.violations(&tape).is_empty(), expected, "located: {} for {}", value, document);
        }
    }

    #[test]
    fn keep_is_a_fixed_point_and_only_takes_away(mut root in schema(), target in schema(), values in prop::collection::vec(value(), 1..8)) {
        if let Some(map) = root.as_object_mut() {
            map.insert("$defs".into(), json!({ "x": target }));
        }
        let doc = Doc::whole(Version::V31, "a.json", &root.to_string());
        let options = Options { shapeless: true, ..Options::default() };
        let compiled = Compiler::new(&doc.bundle, Version::V31, options).response(doc.bundle.root().unwrap());
        let Ok(schema) = compiled else { return Ok(()) };
        for value in values {
            let once = kept(&schema, &value);
            prop_assert!(part_of(&once, &value), "{} of {}", once, value);
            let twice = kept(&schema, &once);
            // An alternative may fit only after something was dropped; it never brings anything back.
            prop_assert!(part_of(&twice, &once));
            if schema.is_valid(&tape(&value.to_string())) && !schema.holds_data {
                prop_assert_eq!(once, value);
            }
        }
    }
}

fn kept(schema: &CompiledSchema, value: &Value) -> Value {
    let tape = tape(&value.to_string());
    let mut out = Vec::new();
    crate::json::write(&tape, schema.keep(&tape).keep.as_ref(), &mut out);
    serde_json::from_slice(&out).unwrap()
}

fn part_of(small: &Value, large: &Value) -> bool {
    match (small, large) {
        (Value::Object(a), Value::Object(b)) => {
            a.iter().all(|(name, value)| b.get(name).is_some_and(|other| part_of(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => {
            let mut rest = b.iter();
            a.iter().all(|item| rest.any(|other| part_of(item, other)))
        }
        _ => small == large,
    }
}
