//! Dialects, numbers, formats, findings (§§ 2.2, 7, 9).

use super::{Doc, wrong};
use crate::document::Version::{V30, V31};
use crate::schema::Options;

#[test]
fn nullable_and_exclusive_bounds_of_3_0() {
    let doc = Doc::new(
        V30,
        r"
N: {type: string, nullable: true}
E: {type: string, nullable: true, enum: [a]}
F: {type: string, nullable: true, enum: [a, null]}
X: {type: integer, minimum: 1, exclusiveMinimum: true, maximum: 5, exclusiveMaximum: false}
R: {nullable: true, $ref: '#/components/schemas/X'}
",
    );
    let n = doc.part("N");
    assert!(wrong(&n, "null").is_empty() && wrong(&n, "\"x\"").is_empty());
    assert_eq!(wrong(&doc.part("E"), "null"), [" enum"]);
    assert!(wrong(&doc.part("F"), "null").is_empty());
    let x = doc.part("X");
    assert!(wrong(&x, "2").is_empty() && wrong(&x, "5").is_empty());
    assert_eq!(wrong(&x, "1"), [" minimum"]);
    assert_eq!(wrong(&x, "6"), [" maximum"]);
    assert_eq!(wrong(&doc.part("R"), "null"), [" type"]);
    assert_eq!(doc.codes("R"), ["ref-sibling-ignored"]);
}

#[test]
fn siblings_of_a_reference_count_in_3_1() {
    let doc = Doc::new(
        V31,
        "A: {$ref: '#/components/schemas/B', properties: {y: {type: integer}}, required: [y]}\nB: {type: object, properties: {x: {type: integer}}}\n",
    );
    let a = doc.request("A");
    assert!(wrong(&a, r#"{"x":1,"y":2}"#).is_empty());
    assert_eq!(wrong(&a, r#"{"x":1}"#), ["/y required"]);
    assert_eq!(wrong(&a, r#"{"y":1,"z":1}"#), ["/z unknown-property"]);
    assert_eq!(wrong(&a, r#"{"y":1,"x":"1"}"#), ["/x type"]);
}

#[test]
fn numbers_by_their_text() {
    let doc = Doc::new(
        V31,
        r"
I: {type: integer}
I32: {type: integer, format: int32}
I64: {type: integer, format: int64}
U64: {type: integer, format: uint64}
Price: {type: number, minimum: 0, multipleOf: 0.01}
Float: {type: number, format: float}
Free: {type: number}
One: {const: 1}
",
    );
    let check = |name: &str, text: &str, expected: &[&str]| {
        assert_eq!(wrong(&doc.part(name), text), expected, "{name} {text}")
    };
    for text in ["0", "-1", "9007199254740993", "123456789012345678901234567890"] {
        check("I", text, &[]);
    }
    for text in ["1.0", "1e2", "-0", "0.0"] {
        check("I", text, &[" integer-form"]);
    }
    check("I", "1.5", &[" type"]);
    check("I32", "2147483647", &[]);
    check("I32", "2147483648", &[" maximum"]);
    check("I32", "-2147483649", &[" minimum"]);
    check("I64", "9223372036854775807", &[]);
    check("I64", "9223372036854775808", &[" maximum"]);
    check("I64", "99999999999999999999", &[" number-precision"]);
    check("U64", "18446744073709551615", &[]);
    check("U64", "-1", &[" minimum"]);
    check("Price", "19.99", &[]);
    check("Price", "0.001", &[" multiple-of"]);
    check("Price", "-0.01", &[" minimum"]);
    check("Price", "0.12345678901234567", &[" number-precision"]);
    check("Price", "1e301", &[" number-precision"]);
    check("Float", "3e38", &[]);
    check("Float", "3.5e38", &[" number-range"]);
    check("Free", "1e400", &[]);
    check("Free", "0.12345678901234567890123", &[]);
    check("One", "1", &[]);
    check("One", "1.0", &[]);
    check("One", "2", &[" enum"]);
    let lenient = Options { lenient_integers: true, ..Options::default() };
    let i = doc.compiler(lenient).part(doc.schema("I"), None).unwrap();
    assert!(wrong(&i, "1.0").is_empty() && wrong(&i, "1e2").is_empty());
}

#[test]
fn strings_and_formats() {
    let doc = Doc::new(
        V30,
        r"
S: {type: string, minLength: 2, maxLength: 3, pattern: '^[a-zé]+$'}
D: {type: string, format: date}
P: {type: string, format: password}
T: {type: string, enum: [on, 1, 2.50, true]}
",
    );
    let s = doc.part("S");
    assert!(wrong(&s, "\"éé\"").is_empty() && wrong(&s, "\"ééé\"").is_empty());
    assert_eq!(wrong(&s, "\"é\""), [" min-length"]);
    assert_eq!(wrong(&s, "\"éééé\""), [" max-length"]);
    assert_eq!(wrong(&s, "\"A1\""), [" pattern"]);
    assert_eq!(wrong(&doc.part("D"), "\"2023-02-29\""), [" format"]);
    assert!(wrong(&doc.part("P"), "\"x\"").is_empty());
    for text in ["\"on\"", "\"1\"", "\"2.50\"", "\"true\""] {
        assert!(wrong(&doc.part("T"), text).is_empty(), "{text}");
    }
    assert_eq!(wrong(&doc.part("T"), "1"), [" type"]);
}

#[test]
fn bounds_by_name() {
    let doc = Doc::new(
        V30,
        r"
Page:
  type: object
  properties:
    limit: {type: integer, format: int32}
    pageSize: {$ref: '#/components/schemas/Size'}
    offset: {type: integer}
    top: {type: integer, maximum: 5000}
    nested: {type: object, properties: {limit: {type: integer}}}
Size: {type: integer}
",
    );
    let page = doc.request("Page");
    assert!(
        wrong(&page, r#"{"limit":100,"pageSize":100,"offset":1000000,"top":5000,"nested":{"limit":101}}"#)
            .is_empty()
    );
    assert_eq!(wrong(&page, r#"{"limit":999999999}"#), ["/limit maximum"]);
    assert_eq!(wrong(&page, r#"{"limit":-1}"#), ["/limit minimum"]);
    assert_eq!(wrong(&page, r#"{"pageSize":101}"#), ["/pageSize maximum"]);
    assert_eq!(wrong(&page, r#"{"offset":1000001}"#), ["/offset maximum"]);
    assert_eq!(wrong(&page, r#"{"top":5001}"#), ["/top maximum"]);
    let limit = doc.compiler(Options::default()).part(doc.schema("Size"), Some("per_page")).unwrap();
    assert_eq!(wrong(&limit, "101"), [" maximum"]);
    assert!(doc.part("Size").is_valid(&super::tape("101")));
}

#[test]
fn every_doubt_is_a_finding() {
    for (expected, version, schema) in [
        (&["keyword-suspect"][..], V30, "{type: object, properties: {}, requried: [a]}"),
        (&["keyword-suspect"], V31, "{type: string, maxlength: 3}"),
        (&["key-unknown"], V30, "{type: string, sproing: 3}"),
        (&["key-unknown"], V30, "{type: string, const: x}"),
        (&["key-unknown"], V31, "{type: string, nullable: true}"),
        (&["extension-unknown"], V30, "{type: string, x-portcullis: {uploads: 1}}"),
        (&["type-inferred"], V30, "{properties: {a: {type: string}}}"),
        (&["type-inferred"], V30, "{items: {type: string}}"),
        (&["required-misplaced"], V30, "{type: object, properties: {a: {type: string, required: true}}}"),
        (&["keyword-idle"], V30, "{type: integer, maxLength: 3}"),
        (&["keyword-idle"], V30, "{type: integer, exclusiveMinimum: true}"),
        (&["keyword-idle"], V30, "{type: boolean, format: uuid}"),
        (&["nullable-idle"], V30, "{nullable: true, enum: [a]}"),
        (&["schema-invalid"], V30, "{type: file}"),
        (&["schema-invalid"], V30, "{type: strng}"),
        (&["schema-invalid"], V30, "{type: string, enum: []}"),
        (&["schema-invalid"], V30, "{type: integer, minimum: 3, maximum: 2}"),
        (&["schema-invalid"], V30, "{type: string, minLength: 3, maxLength: 2}"),
        (&["schema-invalid"], V30, "{type: string, minLength: -1}"),
        (&["schema-invalid"], V30, "{type: number, multipleOf: 0}"),
        (&["schema-invalid"], V30, "{type: array, items: [{type: string}]}"),
        (&["schema-invalid"], V30, "{allOf: []}"),
        (&["schema-invalid"], V30, "true"),
        (&["schema-invalid"], V31, "[]"),
        (&["pattern-invalid"], V30, "{type: string, pattern: '('}"),
        (&["pattern-too-large"], V30, "{type: string, pattern: '^.{0,1000000000}$'}"),
        (&["pattern-backtracks"], V30, "{type: string, pattern: '^(?=.*a)b'}"),
        (&["format-unknown"], V30, "{type: string, format: colour}"),
        (&["enum-text"], V30, "{type: string, enum: [1, x]}"),
        (&["body-shapeless"], V30, "{type: object}"),
        (&["body-shapeless"], V30, "{}"),
        (&["body-shapeless"], V31, "true"),
        (&["body-shapeless"], V30, "{$ref: '#/components/schemas/Any'}"),
        (&["body-shapeless"], V30, "{oneOf: [{type: string}, {type: object}]}"),
        (&["object-shapeless"], V30, "{type: object, properties: {a: {type: object}}}"),
        (
            &["object-open"],
            V30,
            "{type: object, properties: {a: {type: string}}, additionalProperties: true}",
        ),
        (&["object-open"], V30, "{type: object, properties: {a: {type: string}}, additionalProperties: {}}"),
        (&["number-precision"], V30, "{type: number, maximum: 0.12345678901234567}"),
        (&["ref-broken"], V30, "{$ref: '#/components/schemas/Nope'}"),
        (&["ref-broken"], V30, "{$ref: 'http://169.254.169.254/'}"),
        (&["ref-broken"], V30, "{$ref: '../../etc/passwd'}"),
        (&["ref-cycle"], V30, "{allOf: [{$ref: '#/components/schemas/S'}]}"),
        (&["ref-cycle"], V30, "{$ref: '#/components/schemas/S'}"),
        (
            &["ref-cycle"],
            V31,
            "{type: object, properties: {a: {type: string}}, not: {$ref: '#/components/schemas/S'}}",
        ),
        (&["ref-dynamic"], V31, "{type: object, properties: {a: {$dynamicRef: '#x'}}}"),
        (&["dialect-unknown"], V31, "{$schema: 'http://json-schema.org/draft-07/schema#', type: string}"),
        (&["discriminator-invalid"], V30, "{oneOf: [{$ref: '#/components/schemas/O'}], discriminator: {}}"),
        (
            &["discriminator-mapping"],
            V30,
            "{oneOf: [{$ref: '#/components/schemas/O'}], discriminator: {propertyName: a, mapping: {x: Nope}}}",
        ),
        (
            &["discriminator-inline"],
            V30,
            "{oneOf: [{$ref: '#/components/schemas/O'}, {type: string}], discriminator: {propertyName: a}}",
        ),
    ] {
        let text = format!(
            "S: {schema}\nAny: {{type: object}}\nO: {{type: object, properties: {{a: {{type: string}}}}}}\n"
        );
        let doc = Doc::new(version, &text);
        let codes = doc.codes("S");
        for code in expected {
            assert!(codes.contains(code), "{schema}: {codes:?}");
        }
        for finding in doc.findings("S") {
            assert!(finding.at.line > 0, "{schema}: {finding:?}");
        }
    }
}

#[test]
fn a_clean_schema_has_no_finding() {
    let doc = Doc::new(
        V31,
        r"
S:
  title: A thing
  description: Says what it is
  type: object
  required: [a]
  properties:
    a: {type: string, maxLength: 3, examples: [x], x-vendor: 1, x-portcullis: {text: plain}}
    b: {type: [integer, 'null'], minimum: 0}
    c: {anyOf: [{type: string}, {type: integer}]}
    d: {type: array, items: {$ref: '#/components/schemas/S'}}
",
    );
    assert_eq!(doc.findings("S"), []);
}

#[test]
fn an_error_belongs_to_those_who_reach_it() {
    let doc = Doc::new(
        V30,
        "Good: {type: object, properties: {a: {type: string}}}\nBad: {type: object, properties: {b: {$ref: '#/components/schemas/Worse'}}}\nWorse: {type: string, pattern: '('}\nToo: {type: array, items: {$ref: '#/components/schemas/Worse'}}\n",
    );
    let mut compiler = doc.compiler(Options::default());
    assert!(compiler.request(doc.schema("Bad")).is_err());
    let good = compiler.request(doc.schema("Good")).unwrap();
    assert!(compiler.request(doc.schema("Too")).is_err());
    drop(compiler);
    assert!(wrong(&good, r#"{"a":"x"}"#).is_empty());
}

#[test]
fn a_thousand_operations_share_their_components() {
    let mut text = String::new();
    for i in 0..300 {
        text.push_str(&format!(
            "C{i}: {{type: object, required: [id], properties: {{id: {{type: string, format: uuid}}, name: {{type: string, maxLength: 100, pattern: '^[a-z{i}]+$'}}, next: {{$ref: '#/components/schemas/C{}'}}, many: {{type: array, items: {{$ref: '#/components/schemas/C{}'}}}}}}}}\n",
            (i * 7 + 1) % 300,
            (i + 13) % 300
        ));
    }
    let doc = Doc::new(V30, &text);
    let mut compiler = doc.compiler(Options::default());
    let mut schemas = Vec::new();
    for i in 0..1_000 {
        let node = doc.schema(&format!("C{}", i % 300));
        schemas.push(compiler.request(node).unwrap());
        schemas.push(compiler.response(node).unwrap());
    }
    // Two directions, closed and loose, whole body and nested: each component once for each, however many use it.
    assert!(compiler.definitions() <= 8 * 300, "{}", compiler.definitions());
    drop(compiler);
    assert!(wrong(&schemas[0], r#"{"id":"0192f0c1-0000-7000-8000-00000000000a","next":{"id":"0192f0c1-0000-7000-8000-00000000000a"}}"#).is_empty());
}
