//! Modes, loosenings and tightenings, as clients and operators see them.

use super::{all, open, open_with, post};
use crate::world::World;
use portcullis_testkit::{Response, request};
use serde_json::Value;

const SPEC: &str = "openapi: 3.0.3
info: { title: t, version: '1' }
paths:
  /a:
    post:
      operationId: a
      requestBody: { content: { application/json: { schema: { $ref: '#/components/schemas/Thing' } } } }
      responses: { '204': { description: none } }
  /b:
    post:
      operationId: b
      requestBody: { content: { application/json: { schema: { $ref: '#/components/schemas/Thing' } } } }
      responses: { '204': { description: none } }
components:
  schemas:
    Thing:
      type: object
      properties:
        id: { type: integer, readOnly: true }
        name: { type: string, maxLength: 5 }
        count: { type: integer, maximum: 9 }
";

async fn tell(world: &World, path: &str, body: &str) -> Response {
    all(world, vec![post(path, body.as_bytes())], 1).await.pop().unwrap()
}

async fn metric(world: &World, line: &str) -> bool {
    world.admin("/metrics").await.text().lines().any(|known| known == line)
}

#[tokio::test]
async fn in_report_mode_what_would_be_refused_passes_and_is_counted_by_operation_and_rule() {
    let world = open(
        SPEC,
        &["a", "b"],
        "    operations: { a: { request: { mode: { allow: report, because: new document, until: 2099-12-31 } } } }\n",
    );
    let body = "{\"name\":\"too long\",\"count\":10,\"extra\":{\"deep\":[1]}}";
    let passed = tell(&world, "/a", body).await;
    assert_eq!(passed.status, 204, "{}", passed.text());
    assert_eq!(world.upstream.requests()[0].message.body, body.as_bytes());
    // The operator sees which rules, and where in the document they stand.
    let line = world.line_of(&passed);
    let text = line.to_string();
    for rule in ["max-length", "maximum", "unknown-property"] {
        assert!(text.contains(&format!("reported, not refused: {rule}")), "{text}");
        let wanted =
            format!("portcullis_contract_reported_total{{api=\"shop\",operation=\"a\",rule=\"{rule}\"}} 1");
        assert!(metric(&world, &wanted).await, "{}", world.admin("/metrics").await.text());
    }
    assert!(!text.contains("too long"));
    // Only that operation, and never grammar, media types, sizes or parameters.
    let refused = tell(&world, "/b", body).await;
    assert_eq!(refused.problem().as_deref(), Some("schema-violation"));
    assert!(
        metric(
            &world,
            "portcullis_contract_violations_total{api=\"shop\",operation=\"b\",rule=\"max-length\"} 1"
        )
        .await
    );
    for (body, code) in [
        ("{\"name\":", "malformed-json"),
        ("{\"name\":\"a\",\"name\":\"b\"}", "duplicate-key"),
        ("{\"name\":1e999}", "json-too-complex"),
    ] {
        assert_eq!(tell(&world, "/a", body).await.problem().as_deref(), Some(code), "{body}");
    }
    let typed = request("POST", "/a", &[("Content-Type", "text/plain")], b"x");
    assert_eq!(all(&world, vec![typed], 1).await[0].status, 415);
    let undeclared = request("POST", "/a?x=1", &[("Content-Type", "application/json")], b"{}");
    assert_eq!(all(&world, vec![undeclared], 1).await[0].problem().as_deref(), Some("unknown-parameter"));
    assert_eq!(world.upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_violation_says_where_and_nothing_else() {
    let world = open(SPEC, &["a", "b"], "");
    let answer = tell(&world, "/a", "{\"name\":\"secret-value\",\"role\":\"secret-role\",\"id\":7}").await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let json = answer.json();
    assert_eq!(json["type"], "urn:portcullis:problem:schema-violation");
    assert!(json["instance"].as_str().unwrap().starts_with("urn:uuid:"));
    let mut errors: Vec<(&str, &str)> = json["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["pointer"].as_str().unwrap(), e["rule"].as_str().unwrap()))
        .collect();
    errors.sort_unstable();
    assert_eq!(errors, [("/id", "not-allowed"), ("/name", "max-length"), ("/role", "unknown-property")]);
    for hidden in ["secret", "Thing", "openapi", "9"] {
        assert!(!json["errors"].to_string().contains(hidden), "{json}");
    }
    // At most 20, however many there are.
    let many: Vec<String> = (0..90).map(|i| format!("\"x{i}\":1")).collect();
    let answer = tell(&world, "/a", &format!("{{{}}}", many.join(","))).await;
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 20);
    // Names of the client are cut and cleaned.
    let answer = tell(&world, "/a", &format!("{{\"{}\\u0085\\u202e\":1}}", "n".repeat(62))).await;
    assert_eq!(answer.json()["errors"][0]["pointer"], format!("/{}\u{fffd}\u{fffd}", "n".repeat(62)));
    let answer = tell(&world, "/a", &format!("{{\"{}\":1}}", "n".repeat(200))).await;
    assert_eq!(answer.json()["errors"][0]["pointer"].as_str().unwrap().len(), 65);
}

#[tokio::test]
async fn strangers_learn_nothing_where_errors_are_none_and_the_status_may_be_422() {
    let world = open(SPEC, &["a", "b"], "    response: { errors: none, violation_status: 422 }\n");
    let answer = tell(&world, "/a", "{\"role\":1}").await;
    assert_eq!((answer.status, answer.problem().as_deref()), (422, Some("schema-violation")));
    assert_eq!(answer.json()["errors"], Value::Null);
    assert_eq!(answer.json()["status"], 422);
    // Other problems keep their status.
    assert_eq!(tell(&world, "/a", "{").await.status, 400);

    // A caller who has proved who they are gets the list.
    let secured = SPEC.replacen("operationId: a\n", "operationId: a\n      security: [{ bearer: [] }]\n", 1)
        + "  securitySchemes: { bearer: { type: http, scheme: bearer } }\n";
    let config = crate::world::CONFIG.replace(
        "anonymous: [{ allow: listItems, because: the catalogue is public, until: 2099-12-31 }]",
        "anonymous: [{ allow: b, because: a test }]\n    response: { errors: none }",
    );
    let world = World::behind(
        portcullis_testkit::Upstream::start(|_| portcullis_testkit::Answer::status(204)),
        &config,
        &[("openapi.yaml", &secured)],
    );
    let bearer = world.bearer("ann", "");
    let body = b"{\"role\":1}";
    let known = world
        .ask("POST", "/a", &[("Authorization", &bearer), ("Content-Type", "application/json")], body)
        .await;
    assert_eq!(known.json()["errors"][0]["pointer"], "/role", "{}", known.text());
    let stranger = world.ask("POST", "/b", &[("Content-Type", "application/json")], body).await;
    assert_eq!((stranger.status, &stranger.json()["errors"]), (400, &Value::Null));
}

#[tokio::test]
async fn a_broken_operation_is_closed_and_all_others_work() {
    let broken = SPEC.replacen("operationId: b\n", "operationId: b\n      parametrs: []\n", 1);
    let world = open(&broken, &["a", "b"], "    on_error: close_operation\n");
    assert_eq!(tell(&world, "/a", "{\"name\":\"x\"}").await.status, 204);
    let closed = tell(&world, "/b", "{\"name\":\"x\"}").await;
    assert_eq!((closed.status, closed.problem().as_deref()), (404, Some("operation-undeclared")));
    // The client learns no more than of a path that is not declared; the operator does.
    let nowhere = tell(&world, "/c", "{}").await;
    let strip = |answer: &Response| {
        let mut json = answer.json();
        json["instance"] = Value::Null;
        json
    };
    assert_eq!(strip(&closed), strip(&nowhere));
    assert!(world.line_of(&closed).to_string().contains("operation-closed"));
    assert!(
        metric(&world, "portcullis_contract_closed_operations_total{api=\"shop\",operation=\"b\"} 1").await
    );
    assert_eq!(world.upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_document_tightens_at_every_level() {
    let tight = "openapi: 3.0.3
info: { title: t, version: '1' }
x-portcullis: { request: { max_depth: 3, text: plain } }
paths:
  /a:
    x-portcullis: { request: { max_bytes: 64B } }
    post:
      operationId: a
      x-portcullis: { request: { max_values: 6, require_length: true } }
      parameters:
        - { name: q, in: query, schema: { type: string }, x-portcullis: { max_length: 3, text: plain } }
        - { name: n, in: query, schema: { type: integer }, x-portcullis: { maximum: 5 } }
      requestBody:
        content:
          application/json:
            schema:
              type: object
              properties:
                name: { type: string }
                list: { type: array, items: { type: array, items: { type: array, items: { type: integer } } } }
                role: { type: string, x-portcullis: { never_in_request: true } }
      responses: { '204': { description: none } }
";
    let world = open(tight, &["a"], "");
    for (target, body, status) in [
        ("/a?q=abc&n=5", "{\"name\":\"a\"}", 204),
        ("/a?q=abcd", "{}", 400),
        ("/a?n=6", "{}", 400),
        ("/a?q=%3Cb", "{}", 400),
        ("/a", "{\"name\":\"<b>\"}", 400),
        ("/a", "{\"list\":[[[1]]]}", 400),
        ("/a", "{\"list\":[[],[],[],[],[],[],[]]}", 400),
        ("/a", "{\"role\":\"admin\"}", 400),
        ("/a", "{\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", 413),
    ] {
        assert_eq!(tell(&world, target, body).await.status, status, "{target} {body}");
    }
    let chunked = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_vec();
    assert_eq!(all(&world, vec![chunked], 1).await[0].status, 411);
    assert_eq!(world.upstream.requests().len(), 1);
}

#[tokio::test]
async fn an_overlay_tightens_a_document_that_cannot_be_edited() {
    let world = open_with(
        SPEC,
        &["a", "b"],
        "    overlay: overlay.yaml\n",
        "",
        &[(
            "overlay.yaml",
            "/paths/~1a/post: { request: { max_bytes: 4B } }\n/components/schemas/Thing/properties/name: { never_in_request: true }\n",
        )],
    );
    assert_eq!(tell(&world, "/a", "{\"count\":1}").await.status, 413);
    assert_eq!(tell(&world, "/b", "{\"count\":1}").await.status, 204);
    assert_eq!(tell(&world, "/b", "{\"name\":\"x\"}").await.status, 400);
}

#[tokio::test]
async fn undeclared_and_read_only_members_are_stripped_where_the_configuration_says_so() {
    let world = open(SPEC, &["a", "b"], "    request: { unknown: strip, read_only: strip }\n");
    let answer = tell(&world, "/a", "{\"id\":7,\"name\":\"x\",\"is_admin\":true,\"count\":1}").await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(world.upstream.requests()[0].message.body, b"{\"name\":\"x\",\"count\":1}");
    assert!(
        metric(
            &world,
            "portcullis_contract_dropped_fields_total{api=\"shop\",operation=\"a\",direction=\"request\"} 2"
        )
        .await
    );
}

/// For upstreams that verify a signature over the body: checked as always, and not a byte is changed.
#[tokio::test]
async fn a_verbatim_body_is_checked_and_goes_on_as_it_came() {
    let world = open(
        SPEC,
        &["a", "b"],
        "    loosen: [{ allow: verbatim_body, operations: [a], because: signed webhooks, until: 2099-12-31 }]\n",
    );
    let body = "{ \"name\" : \"\\u0061\",\n \"count\":1 }";
    for path in ["/a", "/b"] {
        assert_eq!(tell(&world, path, body).await.status, 204);
        assert_eq!(tell(&world, path, "{ \"extra\": 1 }").await.status, 400);
    }
    let seen = world.upstream.requests();
    assert_eq!(seen[0].message.body, body.as_bytes());
    assert_eq!(seen[1].message.body, b"{\"name\":\"a\",\"count\":1}");
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_merge_patch_obeys_the_closed_world_and_null_only_where_it_is_allowed() {
    let spec = SPEC
        .replace("application/json:", "application/merge-patch+json:")
        .replace("count: {", "note: { type: string, nullable: true }\n        count: {");
    let world = open(&spec, &["a", "b"], "");
    for (body, status) in [
        ("{\"name\":\"x\"}", 204),
        ("{\"note\":null}", 204),
        ("{\"name\":null}", 400),
        ("{\"is_admin\":true}", 400),
        ("{\"is_admin\":null}", 400),
        ("{\"id\":7}", 400),
        ("[]", 400),
    ] {
        let patch =
            request("POST", "/a", &[("Content-Type", "application/merge-patch+json")], body.as_bytes());
        assert_eq!(all(&world, vec![patch], 1).await[0].status, status, "{body}");
    }
    // What is sent as another type is not read by this schema.
    assert_eq!(tell(&world, "/a", "{\"name\":\"x\"}").await.status, 415);
    assert_eq!(world.upstream.requests().len(), 2);
}

#[tokio::test]
async fn a_json_patch_reaches_what_is_declared_and_nothing_else() {
    let spec = SPEC
        .replace(
            "application/json: { schema: { $ref: '#/components/schemas/Thing' } }",
            "application/json-patch+json: { schema: { type: array, items: { type: object, properties: { op: { type: string }, path: { type: string }, value: {} } } } }",
        )
        .replace("operationId: a\n", "operationId: a\n      x-portcullis: { request: { patch_of: Thing } }\n")
        .replace("operationId: b\n", "operationId: b\n      x-portcullis: { request: { patch_of: Thing } }\n");
    let world = open(&spec, &["a", "b"], "");
    for (body, pointer) in [
        ("[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"x\"}]", ""),
        ("[{\"op\":\"replace\",\"path\":\"\",\"value\":{}}]", "/0/path"),
        ("[{\"op\":\"add\",\"path\":\"/is_admin\",\"value\":true}]", "/0/path"),
        ("[{\"op\":\"replace\",\"path\":\"/id\",\"value\":1}]", "/0/path"),
        ("[{\"op\":\"replace\",\"path\":\"/name\",\"value\":\"too long\"}]", "/0/value"),
    ] {
        let patch =
            request("POST", "/a", &[("Content-Type", "application/json-patch+json")], body.as_bytes());
        let answer = all(&world, vec![patch], 1).await.pop().unwrap();
        match pointer {
            "" => assert_eq!(answer.status, 204, "{body}: {}", answer.text()),
            pointer => {
                assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{body}: {}", answer.text())
            }
        }
    }
    assert_eq!(world.upstream.requests().len(), 1);
}
