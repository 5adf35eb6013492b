//! Bodies by media type, and urlencoded forms.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use portcullis_contract::body::MediaType;
use portcullis_contract::body::form::FormError;
use portcullis_contract::model::{BodyPlan, Terms};
use portcullis_contract::violation::{Place, Violation};
use support::{contract, findings};

fn text(content: &str) -> String {
    format!(
        "openapi: 3.0.3\ninfo: {{title: t, version: '1'}}\npaths:\n  /a:\n    post:\n      operationId: a\n      requestBody: {{required: true, content: {content}}}\n      responses: {{'204': {{description: none}}}}\n"
    )
}

fn plan(content: &str, media: &str) -> Option<&'static str> {
    let contract = contract(&text(content));
    let (_, plan) = contract.operation("a").unwrap().body(&MediaType::parse(media).unwrap())?;
    Some(match plan {
        BodyPlan::Json(_) => "json",
        BodyPlan::NdJson(_) => "ndjson",
        BodyPlan::Patch(_) => "patch",
        BodyPlan::Form(_) => "form",
        BodyPlan::Multipart(_) => "multipart",
        BodyPlan::Upload(_) => "upload",
        BodyPlan::Text(_) => "text",
        BodyPlan::ByType(_) => "by type",
        BodyPlan::Opaque => "opaque",
    })
}

#[test]
fn a_body_is_read_by_the_declared_type_that_fits_best() {
    let object = "{schema: {type: object, properties: {a: {type: string}}}}";
    let json = format!("{{application/json: {object}}}");
    assert_eq!(plan(&json, "application/json; charset=utf-8"), Some("json"));
    for other in
        ["text/plain", "application/xml", "application/problem+json", "text/json", "application/jsonx"]
    {
        assert_eq!(plan(&json, other), None, "{other}");
    }
    let all = format!(
        "{{'*/*': {object}, 'text/*': {{schema: {{type: string}}}}, text/csv: {{schema: {{type: string}}}}}}"
    );
    assert_eq!(plan(&all, "application/json"), Some("json"));
    assert_eq!(plan(&all, "text/csv"), Some("text"));
    assert_eq!(plan(&all, "text/plain"), Some("text"));
    // What matched `*/*` is treated by its real type.
    assert_eq!(plan(&all, "application/xml"), None);
    assert_eq!(plan(&all, "image/png"), None);
    assert_eq!(plan(&format!("{{application/x-ndjson: {object}}}"), "application/x-ndjson"), Some("ndjson"));
    assert_eq!(
        plan(
            &format!("{{application/x-www-form-urlencoded: {object}}}"),
            "application/x-www-form-urlencoded"
        ),
        Some("form")
    );
    assert_eq!(plan("{text/plain: {}}", "text/plain"), Some("text"));
}

fn form(content: &str, body: &str) -> Result<(String, String), Vec<String>> {
    let contract = contract(&text(&format!("{{application/x-www-form-urlencoded: {content}}}")));
    let media = MediaType::parse("application/x-www-form-urlencoded").unwrap();
    let (_, plan) = contract.operation("a").unwrap().body(&media).unwrap();
    let BodyPlan::Form(form) = plan else { panic!() };
    match form.read(body.as_bytes()) {
        Ok(done) if done.violations().is_empty() => {
            let mut json = Vec::new();
            portcullis_contract::json::write(done.tape(), None, &mut json);
            // What was written is read as the same form.
            let again = form.read(done.text().as_bytes()).unwrap();
            assert_eq!(again.text(), done.text());
            Ok((String::from_utf8(json).unwrap(), done.text().to_owned()))
        }
        Ok(done) => Err(places(done.violations())),
        Err(FormError::Violations(violations)) => Err(places(&violations)),
        Err(FormError::Malformed(reason)) => Err(vec![reason.to_owned()]),
    }
}

fn places(violations: &[Violation]) -> Vec<String> {
    let place = |v: &Violation| match &v.at {
        Place::Pointer(pointer) => format!("{pointer} {}", v.rule),
        other => format!("{other:?}"),
    };
    violations.iter().map(place).collect()
}

const USER: &str = "{schema: {type: object, required: [name], properties: {name: {type: string}, age: {type: integer, maximum: 150}, tags: {type: array, items: {type: string}}, at: {type: object, properties: {x: {type: integer}}}}}}";

#[test]
fn forms_are_typed_closed_and_written_again() {
    let (json, written) =
        form(USER, "age=7&tags=a&tags=b%26c&name=J%C3%BCrgen+K.&at=%7B%22x%22:1%7D").unwrap();
    assert_eq!(json, r#"{"name":"Jürgen K.","age":7,"tags":["a","b&c"],"at":{"x":1}}"#);
    assert_eq!(written, "name=J%C3%BCrgen%20K.&age=7&tags=a&tags=b%26c&at=%7B%22x%22%3A1%7D");
    for (body, expected) in [
        ("name=a&is_admin=true", "/is_admin unknown-property"),
        ("name=a&name=b", "/name duplicate-parameter"),
        ("name=a&age=07", "/age type"),
        ("name=a&age=7.0", "/age type"),
        ("name=a&age=151", "/age maximum"),
        ("age=1", "/name required"),
        ("", "/name required"),
        ("name=a&&age=1", "form-syntax"),
        ("name=a&=1", "form-syntax"),
        ("name=%ff", "/name encoding"),
        ("name=%00", "/name characters"),
        ("name=a&tags[]=b", "/tags[] unknown-property"),
        ("name=a&at=%7B%22x%22:1,%22x%22:2%7D", "/at syntax"),
        ("name=a&at=%7B%22y%22:1%7D", "/at/y unknown-property"),
        ("name=a&_method=DELETE", "/_method unknown-property"),
    ] {
        assert_eq!(form(USER, body), Err(vec![expected.to_owned()]), "{body}");
    }
    assert_eq!(form(USER, &vec!["name=a"; 1001].join("&")), Err(vec!["too-many-pairs".to_owned()]));
    // A text area has several lines, and no other control.
    let (json, written) = form(USER, "name=a%0D%0Ab%09c").unwrap();
    assert_eq!((&*json, &*written), (r#"{"name":"a\r\nb\tc"}"#, "name=a%0D%0Ab%09c"));
    assert_eq!(form(USER, "name=a%1b"), Err(vec!["/name characters".to_owned()]));
}

#[test]
fn a_stripping_form_forwards_only_what_is_declared() {
    let mut terms = Terms::default();
    terms.request.unknown = portcullis_contract::model::Unknown::Strip;
    let text = text(&format!("{{application/x-www-form-urlencoded: {USER}}}"));
    let contract = support::compiled(&text, &terms).unwrap().contract;
    let media = MediaType::parse("application/x-www-form-urlencoded").unwrap();
    let (_, plan) = contract.operation("a").unwrap().body(&media).unwrap();
    let BodyPlan::Form(form) = plan else { panic!() };
    assert_eq!(form.read(b"name=a&is_admin=true&age=1").unwrap().text(), "name=a&age=1");
    // Inside the JSON of a field nothing is stripped, so what is not declared is refused.
    assert!(!form.read(b"name=a&at=%7B%22y%22:1%7D").unwrap().violations().is_empty());
}

#[test]
fn forms_follow_their_encoding() {
    let content = "{schema: {type: object, properties: {ids: {type: array, items: {type: integer}}, f: {type: object, properties: {a: {type: integer}}}}}, encoding: {ids: {explode: false}, f: {style: deepObject}}}";
    let (json, written) = form(content, "ids=1,2,3&f[a]=4").unwrap();
    assert_eq!(json, r#"{"ids":[1,2,3],"f":{"a":4}}"#);
    assert_eq!(written, "ids=1,2,3&f%5Ba%5D=4");
    let idle = text(
        "{application/x-www-form-urlencoded: {schema: {type: object, properties: {a: {type: string}}}, encoding: {b: {explode: false}}}}",
    );
    assert_eq!(
        findings(&idle, &Terms::default()).iter().map(|f| f.code).collect::<Vec<_>>(),
        ["keyword-idle"]
    );
}

/// Section 8: a patch writes only where the schema declares something that is not the server's own.
#[test]
fn a_json_patch_reaches_what_is_declared() {
    let text = "openapi: 3.0.3
info: {title: t, version: '1'}
paths:
  /users/{id}:
    parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
    patch:
      operationId: patch
      x-portcullis: {request: {patch_of: User}}
      requestBody: {content: {application/json-patch+json: {schema: {type: array, items: {type: object, properties: {op: {type: string}, path: {type: string}, from: {type: string}, value: {}}}}}}}
      responses: {'204': {description: none}}
components:
  schemas:
    User:
      allOf:
        - {type: object, properties: {id: {type: integer, readOnly: true}, name: {type: string, maxLength: 5}}}
        - type: object
          properties:
            role: {type: string, x-portcullis: {never_in_request: true}}
            tags: {type: array, items: {type: string}}
            a~/b: {type: integer}
            address: {$ref: '#/components/schemas/Address'}
            labels: {type: object, additionalProperties: {type: string}}
            parent: {$ref: '#/components/schemas/User'}
    Address: {type: object, properties: {street: {type: string}, verified: {type: boolean, readOnly: true}}}
";
    let contract = contract(text);
    let operation = contract.operation("patch").unwrap();
    let media = MediaType::parse("application/json-patch+json").unwrap();
    let Some((_, BodyPlan::Patch(patch))) = operation.body(&media) else { panic!() };
    let judge = |body: &str| {
        let tape =
            portcullis_contract::json::scan(body, &portcullis_contract::json::Bounds::default(), [0, 1])
                .unwrap();
        patch
            .violations(&tape)
            .iter()
            .map(|v| match &v.at {
                portcullis_contract::violation::Place::Pointer(at) => format!("{at} {}", v.rule),
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    for body in [
        r#"[]"#,
        r#"[{"op":"replace","path":"/name","value":"ann"},{"op":"test","path":"/a~0~1b","value":1}]"#,
        r#"[{"op":"add","path":"/tags/-","value":"x"},{"op":"remove","path":"/tags/0"}]"#,
        r#"[{"op":"add","path":"/address","value":{"street":"x"}}]"#,
        r#"[{"op":"move","from":"/tags/1","path":"/tags/0"},{"op":"copy","from":"/name","path":"/address/street"}]"#,
        r#"[{"op":"add","path":"/labels/any","value":"x"},{"op":"add","path":"/parent/parent/name","value":"x"}]"#,
    ] {
        assert_eq!(judge(body), [""; 0], "{body}");
    }
    for (body, violation) in [
        (r#"[{"op":"replace","path":"","value":{}}]"#, "/0/path not-allowed"),
        (r#"[{"op":"replace","path":"name","value":"x"}]"#, "/0/path syntax"),
        (r#"[{"op":"replace","path":"/id","value":1}]"#, "/0/path not-allowed"),
        (r#"[{"op":"replace","path":"/role","value":"admin"}]"#, "/0/path not-allowed"),
        (r#"[{"op":"copy","from":"/role","path":"/name"}]"#, "/0/from not-allowed"),
        (r#"[{"op":"replace","path":"/is_admin","value":true}]"#, "/0/path unknown-property"),
        (r#"[{"op":"replace","path":"/name/x","value":true}]"#, "/0/path unknown-property"),
        (r#"[{"op":"replace","path":"/tags/01","value":"x"}]"#, "/0/path unknown-property"),
        (r#"[{"op":"replace","path":"/address/verified","value":true}]"#, "/0/path not-allowed"),
        (r#"[{"op":"replace","path":"/parent/role","value":"admin"}]"#, "/0/path not-allowed"),
        (r#"[{"op":"add","path":"/address","value":{"verified":true}}]"#, "/0/value not-allowed"),
        (r#"[{"op":"add","path":"/address","value":{"admin":true}}]"#, "/0/value unknown-property"),
        (r#"[{"op":"add","path":"/name","value":"too long"}]"#, "/0/value max-length"),
        (r#"[{"op":"add","path":"/name"}]"#, "/0/value required"),
        (r#"[{"op":"remove","path":"/name","value":1}]"#, "/0/value unknown-property"),
        (r#"[{"op":"patch","path":"/name"}]"#, "/0/op enum"),
        (r#"[{"op":"add","path":"/a~2b","value":1}]"#, "/0/path syntax"),
    ] {
        assert_eq!(judge(body), [violation], "{body}");
    }
    let many = vec![r#"{"op":"test","path":"/name","value":"x"}"#; 101].join(",");
    assert_eq!(judge(&format!("[{many}]")), [" max-items"]);
    assert_eq!(judge("{}"), [" type"]);

    // Without a word about what it patches, and with one that leads nowhere.
    for (from, to, code) in [
        ("      x-portcullis: {request: {patch_of: User}}\n", "", "patch-unbounded"),
        ("patch_of: User", "patch_of: Nobody", "ref-unresolved"),
        ("patch_of: User", "patch_of: 1", "extension-invalid"),
    ] {
        let found = support::findings(&text.replace(from, to), &Terms::default());
        assert!(found.iter().any(|f| f.code == code), "{to}: {found:?}");
    }
}
