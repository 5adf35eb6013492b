//! The closed world (§ 8), what violations say (§ 14), what responses keep (§ 15), and attacks on all three.

use super::{Doc, tape, wrong};
use crate::document::Version::{V30, V31};
use crate::json::write;
use crate::response::Kept;
use crate::schema::check::steps;
use crate::schema::{CompiledSchema, Options};

const USER: &str = r"
User:
  type: object
  required: [id, name]
  properties:
    id: {type: string, format: uuid, readOnly: true}
    name: {type: string, minLength: 1, maxLength: 20}
    secret: {type: string, writeOnly: true}
    address: {$ref: '#/components/schemas/Address'}
    tags: {type: array, items: {type: object, properties: {label: {type: string}}}}
Address:
  type: object
  properties:
    street: {type: string}
    zip: {type: string, pattern: '^[0-9]{5}$'}
Admin:
  allOf:
    - $ref: '#/components/schemas/User'
    - type: object
      required: [id, level]
      properties:
        level: {type: integer, format: int32}
        address:
          type: object
          properties: {country: {type: string}}
Free:
  type: object
  properties: {known: {type: string}}
  additionalProperties: true
Numbers:
  type: object
  additionalProperties: {type: integer}
";

#[test]
fn what_is_not_declared_is_refused_wherever_it_stands() {
    let doc = Doc::new(V30, USER);
    let user = doc.request("User");
    assert!(wrong(&user, r#"{"name":"a","address":{"street":"x"},"tags":[{"label":"y"}]}"#).is_empty());
    assert_eq!(wrong(&user, r#"{"name":"a","is_admin":true}"#), ["/is_admin unknown-property"]);
    assert_eq!(
        wrong(&user, r#"{"name":"a","address":{"is_admin":true}}"#),
        ["/address/is_admin unknown-property"]
    );
    assert_eq!(wrong(&user, r#"{"name":"a","tags":[{},{"x":1}]}"#), ["/tags/1/x unknown-property"]);
    // Read-only: neither taken nor required.
    assert_eq!(
        wrong(&user, r#"{"name":"a","id":"0192f0c1-0000-7000-8000-00000000000a"}"#),
        ["/id not-allowed"]
    );
    // Of another shape than declared.
    for body in ["[]", "null", "\"a\"", "1"] {
        assert_eq!(wrong(&user, body), [" type"], "{body}");
    }
    assert_eq!(wrong(&user, "{}"), ["/name required"]);
    assert_eq!(wrong(&user, r#"{"name":["a"]}"#), ["/name type"]);
}

#[test]
fn a_branch_is_closed_by_the_union() {
    let doc = Doc::new(V30, USER);
    let admin = doc.request("Admin");
    assert!(wrong(&admin, r#"{"name":"a","level":1}"#).is_empty());
    // Both branches describe the address: closed once, by both.
    assert!(wrong(&admin, r#"{"name":"a","level":1,"address":{"street":"x","country":"y"}}"#).is_empty());
    assert_eq!(
        wrong(&admin, r#"{"name":"a","level":1,"address":{"street":"x","is_admin":true}}"#),
        ["/address/is_admin unknown-property"]
    );
    assert_eq!(wrong(&admin, r#"{"name":"a","level":1,"is_admin":true}"#), ["/is_admin unknown-property"]);
    assert_eq!(wrong(&admin, r#"{"name":"a","level":2147483648}"#), ["/level maximum"]);
    // The `id` that a sibling requires is read-only all the same.
    assert_eq!(wrong(&admin, r#"{"name":"a","level":1,"id":"x"}"#), ["/id not-allowed"]);
}

#[test]
fn alternatives_and_negations() {
    let doc = Doc::new(
        V31,
        r"
Either:
  oneOf:
    - {type: object, required: [a], properties: {a: {type: string}, n: {type: object, properties: {x: {type: integer}}}}}
    - {type: object, required: [b], properties: {b: {type: string}}}
Base:
  type: object
  properties: {kind: {type: string}}
  anyOf:
    - {required: [kind]}
    - {properties: {other: {type: string}}, required: [other]}
Not:
  type: object
  properties: {a: {type: string}, b: {type: string}}
  not: {required: [a, b]}
If:
  type: object
  properties: {a: {type: string}}
  if: {properties: {a: {const: x}}, required: [a]}
  then: {properties: {b: {type: string}}, required: [b]}
  else: {properties: {c: {type: string}}}
Tuple:
  type: array
  prefixItems: [{type: string}, {type: integer}]
Half:
  anyOf:
    - {type: object, required: [a], properties: {a: {type: string}}, additionalProperties: false}
    - {type: object, required: [b], properties: {b: {type: string}}}
",
    );
    let either = doc.request("Either");
    assert!(wrong(&either, r#"{"a":"x","n":{"x":1}}"#).is_empty());
    assert_eq!(wrong(&either, r#"{"a":"x","n":{"y":1}}"#), [" branch"]);
    assert_eq!(wrong(&either, r#"{"a":"x","b":"y"}"#), [" several-branches"]);
    assert_eq!(wrong(&either, r#"{"a":"x","is_admin":1}"#), ["/is_admin unknown-property"]);
    assert_eq!(wrong(&either, r#"{}"#), [" branch"]);

    let base = doc.request("Base");
    assert!(wrong(&base, r#"{"kind":"x"}"#).is_empty());
    assert!(wrong(&base, r#"{"kind":"x","other":"y"}"#).is_empty());
    assert_eq!(wrong(&base, r#"{"kind":"x","is_admin":1}"#), ["/is_admin unknown-property"]);

    let not = doc.request("Not");
    assert!(wrong(&not, r#"{"a":"x"}"#).is_empty());
    assert_eq!(wrong(&not, r#"{"a":"x","b":"y"}"#), [" not"]);

    let when = doc.request("If");
    assert!(wrong(&when, r#"{"a":"x","b":"y"}"#).is_empty());
    assert!(wrong(&when, r#"{"a":"z","c":"y"}"#).is_empty());
    assert_eq!(wrong(&when, r#"{"a":"z","b":"y"}"#), ["/b unknown-property"]);
    assert_eq!(wrong(&when, r#"{"a":"x"}"#), ["/b required"]);

    let tuple = doc.request("Tuple");
    assert!(wrong(&tuple, r#"["a",1]"#).is_empty());
    assert_eq!(wrong(&tuple, r#"["a",1,2]"#), ["/2 unknown-item"]);

    // That one alternative is closed by its author opens no other.
    let half = doc.request("Half");
    assert!(wrong(&half, r#"{"b":"x"}"#).is_empty());
    assert_eq!(wrong(&half, r#"{"b":"x","is_admin":true}"#), ["/is_admin unknown-property"]);
}

#[test]
fn open_objects_are_open_and_nothing_more() {
    let doc = Doc::new(V30, USER);
    let free = doc.request("Free");
    assert!(wrong(&free, r#"{"known":"a","any":{"thing":1}}"#).is_empty());
    // A decoder that folds case would let the second one win.
    assert_eq!(wrong(&free, r#"{"known":"a","KNOWN":"b"}"#), ["/KNOWN ambiguous-name"]);
    assert_eq!(wrong(&free, r#"{"known":1}"#), ["/known type"]);
    let numbers = doc.request("Numbers");
    assert!(wrong(&numbers, r#"{"a":1}"#).is_empty());
    assert_eq!(wrong(&numbers, r#"{"a":1.0}"#), ["/a integer-form"]);
    assert!(doc.codes("Free").contains(&"object-open"));
}

#[test]
fn stripping_keeps_the_declared_and_still_refuses_the_wrong() {
    let doc = Doc::new(V30, USER);
    let options = Options { strip_unknown: true, strip_read_only: true, ..Options::default() };
    let user = doc.compiler(options).request(doc.schema("User")).unwrap();
    let body = tape(r#"{"name":"a","is_admin":true,"id":"x","address":{"zip":"12345","root":1}}"#);
    assert!(user.is_valid(&body));
    let (text, kept) =
        kept(&user, r#"{"name":"a","is_admin":true,"id":"x","address":{"zip":"12345","root":1}}"#);
    assert_eq!(text, r#"{"name":"a","address":{"zip":"12345"}}"#);
    assert_eq!(kept.dropped, 3);
    assert!(!user.is_valid(&tape(r#"{"name":"a","address":{"zip":"x"}}"#)));
    // What is left keeps the closed contract.
    assert!(doc.request("User").is_valid(&tape(&text)));
}

fn kept(schema: &CompiledSchema, text: &str) -> (String, Kept) {
    let tape = tape(text);
    let kept = schema.keep(&tape);
    let mut out = Vec::new();
    write(&tape, kept.keep.as_ref(), &mut out);
    (String::from_utf8(out).unwrap(), kept)
}

#[test]
fn a_response_shows_what_is_declared() {
    let doc = Doc::new(V30, USER);
    let admin = doc.response("Admin");
    let (text, result) = kept(
        &admin,
        r#"{"id":"0192f0c1-0000-7000-8000-00000000000a","name":"a","level":1,"password_hash":"x","secret":"s",
            "address":{"street":"x","country":"y","geo":[1,2]},"tags":[{"label":"l","_id":7}]}"#,
    );
    assert_eq!(
        text,
        r#"{"id":"0192f0c1-0000-7000-8000-00000000000a","name":"a","level":1,"address":{"street":"x","country":"y"},"tags":[{"label":"l"}]}"#
    );
    assert_eq!(result.names, ["password_hash", "secret", "_id", "geo"]);
    assert_eq!((result.dropped, result.violations, result.nothing_left), (4, 0, false));

    // Valid and closed: not walked, nothing dropped.
    let body = r#"{"id":"0192f0c1-0000-7000-8000-00000000000a","name":"a","level":1}"#;
    assert_eq!(kept(&admin, body), (body.into(), Kept::everything()));

    // Never-leak names go where nothing declares them, also deep in data.
    let free = doc.response("Free");
    let (text, result) =
        kept(&free, r#"{"known":"a","x":{"accessToken":"t","ok":[{"pin":1,"n":2}]},"password":"p"}"#);
    assert_eq!(text, r#"{"known":"a","x":{"ok":[{"n":2}]}}"#);
    assert_eq!(result.dropped, 3);
}

#[test]
fn a_response_that_does_not_fit_shows_less() {
    let doc = Doc::new(V30, USER);
    let user = doc.response("User");
    // An object where a string is declared: its members are declared nowhere.
    let (text, result) = kept(&user, r#"{"id":"x","name":{"password":"p","x":1}}"#);
    assert_eq!(text, r#"{"id":"x","name":{}}"#);
    assert!(result.violations > 0);
    for body in [r#"[{"name":"x"}]"#, r#""text""#] {
        assert!(kept(&user, body).1.nothing_left, "{body}");
    }
    let (text, result) = kept(&user, r#"{"error":"at com.a.B"}"#);
    assert_eq!((text.as_str(), result.nothing_left), ("{}", true));
}

#[test]
fn alternatives_of_a_response() {
    let doc = Doc::new(
        V31,
        r"
Pet:
  oneOf: [{$ref: '#/components/schemas/Cat'}, {$ref: '#/components/schemas/Dog'}]
Marked:
  oneOf: [{$ref: '#/components/schemas/Cat'}, {$ref: '#/components/schemas/Dog'}]
  discriminator: {propertyName: kind, mapping: {cat: Cat, dog: '#/components/schemas/Dog'}}
Any:
  anyOf: [{$ref: '#/components/schemas/Cat'}, {$ref: '#/components/schemas/Dog'}]
Cat: {type: object, required: [kind], properties: {kind: {type: string}, meow: {type: boolean}}}
Dog: {type: object, required: [kind], properties: {kind: {type: string}, bark: {type: boolean}}}
",
    );
    // Both fit open; closed, one is meant.
    let (text, result) = kept(&doc.response("Pet"), r#"{"kind":"c","meow":true}"#);
    assert_eq!((text.as_str(), result.violations), (r#"{"kind":"c","meow":true}"#, 0));
    let (text, result) = kept(&doc.response("Pet"), r#"{"kind":"c","meow":true,"chip":1}"#);
    assert_eq!((text.as_str(), result.violations), (r#"{"kind":"c","meow":true}"#, 1));
    let (text, result) = kept(&doc.response("Marked"), r#"{"kind":"dog","meow":true,"bark":false}"#);
    assert_eq!((text.as_str(), result.violations), (r#"{"kind":"dog","bark":false}"#, 0));
    let (text, result) = kept(&doc.response("Marked"), r#"{"kind":"cow","meow":true}"#);
    assert_eq!((text.as_str(), result.violations), (r#"{"kind":"cow"}"#, 1));
    let (text, _) = kept(&doc.response("Any"), r#"{"kind":"c","meow":true,"bark":1,"x":0}"#);
    assert_eq!(text, r#"{"kind":"c","meow":true}"#);

    let marked = doc.request("Marked");
    assert!(wrong(&marked, r#"{"kind":"cat","meow":true}"#).is_empty());
    assert!(wrong(&marked, r#"{"kind":"Cat","meow":true}"#).is_empty());
    assert_eq!(wrong(&marked, r#"{"kind":"cat","bark":true}"#), ["/bark unknown-property"]);
    assert_eq!(wrong(&marked, r#"{"kind":"cow"}"#), ["/kind discriminator"]);
    assert_eq!(wrong(&marked, r#"{"kind":1}"#), ["/kind discriminator"]);
    assert_eq!(wrong(&marked, r#"{"meow":true}"#), ["/kind required"]);
    assert_eq!(wrong(&marked, r#"{"kind":"cat","meow":1}"#), ["/meow type"]);
}

#[test]
fn heirs_are_the_alternatives_of_their_base() {
    let doc = Doc::new(
        V30,
        r"
Zoo: {type: object, properties: {pet: {$ref: '#/components/schemas/Pet'}}}
Pet:
  type: object
  required: [kind]
  properties: {kind: {type: string}, name: {type: string}}
  discriminator: {propertyName: kind, mapping: {feline: '#/components/schemas/Cat'}}
Cat:
  allOf:
    - $ref: '#/components/schemas/Pet'
    - {type: object, properties: {meow: {type: boolean}}}
Kitten:
  allOf:
    - $ref: '#/components/schemas/Cat'
    - {type: object, properties: {age: {type: integer}}}
",
    );
    let zoo = doc.request("Zoo");
    for body in [
        r#"{"pet":{"kind":"Pet","name":"x"}}"#,
        r#"{"pet":{"kind":"Cat","name":"x","meow":true}}"#,
        r#"{"pet":{"kind":"feline","meow":true}}"#,
        r#"{"pet":{"kind":"Kitten","meow":true,"age":1}}"#,
    ] {
        assert!(wrong(&zoo, body).is_empty(), "{body} {:?}", wrong(&zoo, body));
    }
    assert_eq!(wrong(&zoo, r#"{"pet":{"kind":"Pet","meow":true}}"#), ["/pet/meow unknown-property"]);
    assert_eq!(wrong(&zoo, r#"{"pet":{"kind":"Cat","age":1}}"#), ["/pet/age unknown-property"]);
    assert_eq!(wrong(&zoo, r#"{"pet":{"kind":"Cow"}}"#), ["/pet/kind discriminator"]);
    let (text, _) = kept(&doc.response("Zoo"), r#"{"pet":{"kind":"Cat","meow":true,"age":1,"salt":2}}"#);
    assert_eq!(text, r#"{"pet":{"kind":"Cat","meow":true}}"#);
}

const TREE: &str = r"
Tree:
  anyOf:
    - {type: object, required: [l], properties: {l: {$ref: '#/components/schemas/Tree'}, r: {type: string}}}
    - {type: object, required: [l], properties: {l: {$ref: '#/components/schemas/Tree'}, s: {type: string}}}
    - {type: object, required: [end], properties: {end: {type: boolean}}}
";

#[test]
fn a_schema_that_recurses_through_branches_stays_linear() {
    let doc = Doc::new(V31, TREE);
    let nested = |depth: usize, inner: &str| "{\"l\":".repeat(depth) + inner + &"}".repeat(depth);
    // Two branches that recurse: 2^depth questions without memory.
    for (schema, depth, inner, valid) in [
        (doc.request("Tree"), 32, "{\"end\":1}", false),
        (doc.request("Tree"), 32, "1", false),
        (doc.request("Tree"), 120, "{\"end\":true}", true),
        (doc.request("Tree"), 120, "{\"end\":0}", false),
        (doc.response("Tree"), 120, "{\"end\":0}", false),
    ] {
        let body = tape(&nested(depth, inner));
        let (answer, asked) = steps(|| schema.is_valid(&body));
        assert_eq!(answer, valid);
        assert!(asked < 10_000, "{asked}");
        let (found, asked) = steps(|| schema.violations(&body));
        assert_eq!(found.is_empty(), valid);
        assert!(asked < 30_000, "{asked}");
        let (_, asked) = steps(|| schema.keep(&body));
        assert!(asked < 30_000, "{asked}");
    }
}

#[test]
fn composition_upon_depth_does_not_reach_the_end_of_the_stack() {
    let mut text = String::from("C0: {type: object, properties: {n: {$ref: '#/components/schemas/C40'}}}\n");
    for i in 1..=40 {
        text.push_str(&format!("C{i}: {{allOf: [{{$ref: '#/components/schemas/C{}'}}]}}\n", i - 1));
    }
    let doc = Doc::new(V31, &text);
    let (request, response) = (doc.request("C40"), doc.response("C40"));
    let body = |depth: usize| tape(&("{\"n\":".repeat(depth) + "{}" + &"}".repeat(depth)));
    assert!(request.is_valid(&body(10)));
    let deep = body(120);
    assert!(!request.is_valid(&deep));
    assert!(!request.violations(&deep).is_empty());
    response.keep(&deep);
}

#[test]
fn violations_are_bounded_in_number_and_time() {
    let doc = Doc::new(V30, "List: {type: array, items: {type: object, properties: {a: {type: integer}}}}\n");
    let list = doc.request("List");
    let text = format!("[{}]", vec![r#"{"a":"x","b":1}"#; 9_000].join(","));
    let body = tape(&text);
    let (found, asked) = steps(|| list.violations(&body));
    assert_eq!(found.len(), 20);
    // Nothing is asked any more once the list is full.
    assert!(asked < 200, "{asked}");
    // Names of the client are cut and cleaned.
    let found = list.violations(&tape(&format!("[{{\"{}\\u001b\":1}}]", "n".repeat(60))));
    let crate::violation::Place::Pointer(pointer) = &found[0].at else { panic!() };
    assert_eq!(pointer, &format!("/0/{}\u{fffd}", "n".repeat(60)));
    let found = list.violations(&tape(&format!("[{{\"{}\":1}}]", "n".repeat(200))));
    let crate::violation::Place::Pointer(pointer) = &found[0].at else { panic!() };
    assert_eq!(pointer.len(), 3 + 64);
}

#[test]
fn unique_items_are_not_quadratic() {
    let doc = Doc::new(V30, "List: {type: array, uniqueItems: true, items: {type: integer}}\n");
    let list = doc.request("List");
    let items: Vec<String> = (0..20_000).map(|i| i.to_string()).collect();
    let (unique, asked) = steps(|| list.is_valid(&tape(&format!("[{}]", items.join(",")))));
    assert!(unique && asked < 3 * 20_000, "{asked}");
    assert!(!list.is_valid(&tape(&format!("[{},7]", items.join(",")))));
}

#[test]
fn a_pattern_that_gives_up_refuses_under_not_as_well() {
    let doc = Doc::new(
        V31,
        "A: {type: object, properties: {a: {type: string, not: {pattern: '^(?:(a+)+\\1)+b$'}}}}\n",
    );
    let schema = doc.request("A");
    assert!(schema.is_valid(&tape(r#"{"a":"xyz"}"#)));
    let long = tape(&format!(r#"{{"a":"{}"}}"#, "a".repeat(5_000)));
    assert!(!schema.is_valid(&long));
    assert_eq!(schema.violations(&long).len(), 1);
}

#[test]
fn nothing_is_valid_while_the_compiler_works() {
    let doc = Doc::new(V30, USER);
    let mut compiler = doc.compiler(Options::default());
    let user = compiler.request(doc.schema("User")).unwrap();
    let body = tape(r#"{"name":"a"}"#);
    assert!(!user.is_valid(&body));
    assert_eq!(user.violations(&body).len(), 1);
    assert!(user.keep(&body).nothing_left);
    drop(compiler);
    assert!(user.is_valid(&body));
}
