//! `portcullis check` about documents: coverage, closed operations, both places of what loosens, each loosening.

use crate::world::BINARY;
use portcullis_testkit::program::Finished;
use portcullis_testkit::{Program, TempDir};
use serde_json::Value;

const SPEC: &str = "openapi: 3.0.3
info: { title: t, version: '1' }
paths:
  /a:
    post:
      operationId: a
      sproing: 1
      requestBody: { content: { application/json: { schema: { $ref: '#/components/schemas/Thing' } } } }
      responses: { '204': { description: none } }
  /b:
    get:
      operationId: b
      responses: { '204': { description: none } }
components:
  schemas: { Thing: { type: object, description: d, properties: { name: { type: string, maxLength: 5 } } } }
";

fn config(extra: &str) -> String {
    format!(
        "apis:\n  shop:\n    spec: openapi.yaml\n    upstream: http://127.0.0.1:1\n    authenticate: {{ jwt: {{ issuer: https://login.example.com/, audience: shop }} }}\n    anonymous: [{{ allow: a, because: a test }}, {{ allow: b, because: a test }}]\n{extra}"
    )
}

fn check(spec: &str, extra: &str, arguments: &[&str]) -> Finished {
    let dir = TempDir::new("check");
    dir.write("openapi.yaml", spec);
    dir.write("portcullis.yaml", config(extra));
    Program::run(BINARY, dir.path(), &[&["check"], arguments].concat()).unwrap()
}

#[test]
fn coverage_lists_every_key_in_one_class() {
    let done = check(SPEC, "", &["--coverage"]);
    assert_eq!(done.code, Some(0), "{}", done.stdout);
    for line in [
        "shop: POST /a  openapi.yaml:5",
        "  enforced         6  /operationId",
        "  finding          7  /sproing",
        "  annotation       9  /responses/204/description",
        "shop: components/schemas/Thing  openapi.yaml:15",
        "  annotation      15  /description",
        "  enforced        15  /properties/name/maxLength",
    ] {
        assert!(done.stdout.lines().any(|known| known.trim_end() == line), "{line}\n{}", done.stdout);
    }
    let done = check(SPEC, "", &["--coverage", "--format", "json"]);
    let json: Value = serde_json::from_str(&done.stdout).unwrap();
    let sections = json[0]["coverage"].as_array().unwrap();
    let keys: Vec<&Value> = sections.iter().flat_map(|section| section["keys"].as_array().unwrap()).collect();
    assert_eq!(keys.iter().filter(|key| key["class"] == "finding").count(), 1);
    // As many as the document has keys: each once.
    let written = SPEC.matches(": ").count() + SPEC.matches(":\n").count();
    assert_eq!(keys.len(), written, "{sections:#?}");
}

#[test]
fn closed_operations_are_listed() {
    let broken = SPEC.replace("sproing", "parametrs");
    let refused = check(&broken, "", &[]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stdout.contains("openapi.yaml:7  parametrs: 1"), "{}", refused.stdout);
    let done = check(&broken, "    on_error: close_operation\n", &[]);
    assert_eq!(done.code, Some(0), "{}", done.stdout);
    assert!(done.stdout.contains("closed: shop POST /a  openapi.yaml:5"), "{}", done.stdout);
    assert!(!done.stdout.contains("closed: shop GET /b"));
    let done = check(&broken, "    on_error: close_operation\n", &["--format", "json"]);
    let json: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(json[0]["closed"][0]["operation"], "POST /a");
    // What stands above the operations refuses all the same, and so does `strict`.
    let fatal = SPEC.replace("paths:\n", "x-portcullis: { requst: {} }\npaths:\n");
    assert_eq!(check(&fatal, "    on_error: close_operation\n", &[]).code, Some(1));
    assert_eq!(check(&broken, "    on_error: close_operation\n    strict: true\n", &[]).code, Some(1));
    assert_eq!(check(SPEC, "    strict: true\n", &[]).code, Some(1));
}

#[test]
fn what_loosens_is_shown_with_both_places() {
    let loose = SPEC.replace("sproing: 1", "x-portcullis: { request: { max_bytes: 2MiB, unknown: strip } }");
    let done = check(&loose, "    request:\n      max_bytes: 1MiB\n      unknown: reject\n", &[]);
    assert_eq!(done.code, Some(1));
    let text = done.stdout;
    assert!(
        text.contains("error[extension-loosens]: `request.max_bytes` here is looser than portcullis.yaml"),
        "{text}"
    );
    assert!(
        text.contains("openapi.yaml:7  x-portcullis: { request: { max_bytes: 2MiB, unknown: strip } }"),
        "{text}"
    );
    assert!(text.contains("portcullis.yaml:8  max_bytes: 1MiB"), "{text}");
    assert!(text.contains("portcullis.yaml:9  unknown: reject"), "{text}");
}

/// Each loosening of section 17: with a reason and an end it holds; without one of them, or past its end, it is refused.
#[test]
fn every_loosening_has_a_reason_and_an_end() {
    let spec = SPEC.replace("      sproing: 1\n", "");
    let of_api = |rule: &str| format!("    loosen: [{{ allow: {rule}TERMS }}]\n");
    let of_operation = |words: &str| format!("    operations: {{ a: {{ {words} }} }}\n");
    let cases = [
        of_operation("request: { mode: { allow: reportTERMS } }"),
        of_operation("response: { mode: { allow: reportTERMS } }"),
        of_operation("request: { opaque: { allow: [application/xml]TERMS } }"),
        of_api("unknown_parameters"),
        of_api("unknown_properties"),
        of_api("shapeless"),
        of_api("verbatim_body"),
        of_api("lenient_integers"),
        of_api("bidi_controls"),
        of_api("undeclared_fields"),
    ];
    for case in cases {
        for (terms, code) in [
            (", because: why, until: 2099-12-31", None),
            (", because: why", Some("until-missing")),
            (", until: 2099-12-31", Some("because-missing")),
            (", because: ' ', until: 2099-12-31", Some("because-missing")),
            (", because: why, until: 2020-01-01", Some("loosening-expired")),
        ] {
            let done = check(&spec, &case.replace("TERMS", terms), &[]);
            assert_eq!(done.code, Some(i32::from(code.is_some())), "{case} {terms}\n{}", done.stdout);
            assert!(code.is_none_or(|code| done.stdout.contains(code)), "{case} {terms}\n{}", done.stdout);
        }
    }
    // A document cannot loosen at all.
    for words in ["request: { mode: report }", "request: { opaque: [application/xml] }", "loosen: []"] {
        let text =
            spec.replace("operationId: a\n", &format!("operationId: a\n      x-portcullis: {{ {words} }}\n"));
        assert_eq!(check(&text, "", &[]).code, Some(1), "{words}");
    }
}
